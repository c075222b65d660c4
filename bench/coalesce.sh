#!/bin/bash
# SPDX-License-Identifier: MIT
# What each way to spare a disk's driver exits is worth (docs/coalesced-io.md), direct I/O in a Linux
# guest, one request at a time at random places, interleaved in one run:
#
#	plain		IDE, Debian's ata_piix
#	pio		the same with --coalesce pio
#	lookahead	the same with --coalesce lookahead
#	lists		IDE by bantam_ata, with --coalesce hypercall
#	virtio		virtio-blk
#
# Of a request: requests a second, exits that reached user space and those that the kernel served, both by
# the host's KVM, the CPU time of the guest and of the host for it; the accesses to the disk's registers that
# bantam counts, and by the profile, the functions of the guest that made them. In the lab where this host's
# /dev/kvm cannot run a stock kernel (BENCH_LAB=0|1 decides otherwise).
#
# Each round is a lab of its own.
#
# Usage: BANTAM=build/bantam bench/coalesce.sh [ROUNDS [SECONDS]]	(5, half a second for each kind)
set -euo pipefail

MODES="plain pio lookahead lists virtio"

top=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-5} seconds=${2:-0.5}
cache=${BANTAM_CACHE:-$top/build/cache}
out=$top/build/bench
work=$(mktemp -d)
csv=$out/coalesce.csv
# shellcheck source=beside.sh
. "$top/bench/beside.sh"
# shellcheck source=figures.sh
. "$top/bench/figures.sh"
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# initramfs OUT DRIVER
initramfs() {
	"$top/guests/linux/mkinitramfs.sh" --kernel-dir "$kernel" --modules "virtio_pci virtio_blk $2 sd_mod" \
		--init "$top/guests/linux/init-test" --add "$work/disktool:/bin/disktool" "$work/$1"
}

prepare() {
	local linux=$top/guests/linux
	kernel=$("$linux/fetch-kernel.sh" cloud "$cache/kernel")
	cp "$kernel/vmlinuz" "${BANTAM:?path of the built bantam}" "$top"/bench/{coalesce-inside,requests,vmm}.sh "$work/"
	gcc -static -O2 -o "$work/disktool" "$linux/disktool.c"
	initramfs initrd-piix ata_piix
	initramfs initrd-lists "$("$linux/mkmodule.sh" "$kernel" "$work/modules" "$cache/headers")"
	# Not a sparse one: every request finds its bytes.
	head -c 32M /dev/urandom >"$work/disk.img"
}

# inside PART: its lines; of KVM's exits those that did not get to user space are the kernel's, and of the CPU
# time what is not the guest's is the host's
inside() {
	{
		run_inside 900 coalesce-inside.sh "$1" "$seconds" "$MODES" </dev/null | sed -u 's/\r$//' ||
			echo "# a round that did not get to its end"
	} | awk '
		/^# case/ { print "# case mode iops user_exits kernel_exits guest_us host_us p50_us"; next }
		!/^#|^count/ { $0 = sprintf("%s %s %s %s %.3f %s %.1f %s", $1, $2, $3, $7, $4 - $7, $9, $8 - $9, $10) }
		{ print; fflush() }'
}

# per_site: exits for each request by each function of the guest, hottest first, in each mode
per_site() {
	local mode site all
	printf '%-28s' "exits of a 4 KiB read by"
	# shellcheck disable=SC2086 # a list of words
	printf ' %10s' $MODES
	echo
	while read -r site; do
		printf '%-28s' "$site"
		for mode in $MODES; do
			[ "$mode" = lookahead ] && all=all || all=
			added "$mode-sites" "^$site\$" $all |
				awk '{ printf " %10s", $1 == "none" || $1 < 0.05 ? "-" : sprintf("%.3g", $1) }'
		done
		echo
	done < <(awk '$1 == "count" && $2 ~ /-sites$/ && $8 >= $3 { n[$4] += $8 } END { for (s in n) print n[s], s }' \
		"$csv" | sort -rn | cut -d ' ' -f 2)
}

# hottest: the two functions that exit most in plain
hottest() {
	awk '$1 == "count" && $2 == "plain-sites" { n[$4] += $8 } END { for (s in n) print n[s], s }' "$csv" |
		sort -rn | head -n 2 | cut -d ' ' -f 2
}

# exits MODE REQUESTS SITE: how many that function made in a guest that booted and made so many requests of 4 KiB
exits() {
	awk -v name="$1-sites" -v requests="$2" -v site="$3" '
		$2 == name && $3 == requests && $4 == site { n = $8 } END { print n + 0 }' "$csv"
}

# In the paper that merged port accesses first, they fell from 111,050 to 17,226 and from 15,864 to 2,343.
before_and_after() {
	local site
	echo
	for site in $(hottest); do
		echo "$site: $(exits plain 300 "$site") exits in a boot and 300 requests; with lookahead" \
			"$(exits lookahead 300 "$site"), with lists $(exits lists 300 "$site")"
	done
	echo "what makes the lists: $(exits lists 300 ata_batch_qc_issue) and $(exits lists 300 ata_batch_interrupt)"
	echo
}

bars() {
	local kind
	bar "plain: exits of READ DMA, 4 KiB" "$(added plain-28 '^ide')" exactly 26
	bar "plain: exits of READ DMA EXT" "$(added plain-48 '^ide')" exactly 31
	for kind in 28 48; do
		bar "pio: exits with an LBA of $kind bits" "$(added pio-$kind '^ide')" at-most 17
		bar "lookahead: exits with an LBA of $kind bits, to pio's" "$(added lookahead-$kind '^ide' all)" \
			less-than "$(added pio-$kind '^ide')"
		bar "lists: exits with an LBA of $kind bits" "$(added lists-$kind '^(ide|coalesced-io)')" at-most 3
	done
	for kind in 512-read 512-write 4096-read 4096-write; do
		bar "lists: $kind: requests/s to plain's" \
			"$(ratio "$(median $kind-random-1 lists 3)" "$(median $kind-random-1 plain 3)")" at-least 1.5
	done
}

prepare
{
	inside counts
	for ((round = 0; round < rounds; round++)); do
		inside round
	done
} | tee "$csv" | grep --line-buffered -v '^count '
{
	tables
	per_site
	before_and_after
	bars
} | tee "$out/coalesce.txt"
