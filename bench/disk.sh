#!/bin/bash
# SPDX-License-Identifier: MIT
# Requests to a disk, bantam's beside QEMU's, direct I/O in a Linux guest, interleaved in one run:
#
#	ide	IDE beside IDE, and both beside virtio, where only a word on the command line differs: one
#		request at a time at random places, of 512 bytes, 4 KiB and 64 KiB, reading, writing and mixed
#	virtio	virtio beside QEMU's with an I/O thread and each of its ways to the disk, on tmpfs and, past
#		the page cache, on a disk: 512 bytes to 1 MiB, random and sequential, 1, 8 and 32 at a time
#	bare	virtio again, on this machine's own /dev/kvm, whatever that is: a bare-metal guest
#		(guests/baremetal/blkrate.c), which sleeps for interrupts or polls
#
# Of a request: requests per second, exits by KVM's own count, those that reached user space, the VMM's
# CPU time and the guest's share of that; the accesses to each IDE register that bantam counts. The
# first two in the lab where this host's /dev/kvm cannot run a stock kernel (BENCH_LAB=0|1 decides
# otherwise).
#
# Each round, and in it each place of the image, is a lab of its own: what one that dies takes along is
# its own figures, and the rest count.
#
# Usage: BANTAM=build/bantam bench/disk.sh [--full] [ide|virtio|bare ...] [ROUNDS [SECONDS]]
#	(all of them; 3 rounds, half a second for each kind; --full: virtio's 48 kinds instead of 18)
#	BENCH_KINDS="read|write BYTES DEPTH random|seq ...": these kinds for virtio instead
#	BENCH_BEFORE=BANTAM: another bantam measured beside, as "before"
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
parts=() matrix=some
if [ "${1:-}" = --full ]; then
	matrix=full
	shift
fi
while [[ ${1:-} =~ ^(ide|virtio|bare)$ ]]; do
	parts+=("$1")
	shift
done
[ ${#parts[@]} != 0 ] || parts=(ide virtio bare)
rounds=${1:-3} seconds=${2:-0.5}
cache=${BANTAM_CACHE:-$top/build/cache}
out=$top/build/bench
work=$(mktemp -d)
# shellcheck source=beside.sh
. "$top/bench/beside.sh"
# shellcheck source=figures.sh
. "$top/bench/figures.sh"
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

prepare() {
	kernel=$("$top/guests/linux/fetch-kernel.sh" cloud "$cache/kernel")
	cp "$kernel/vmlinuz" "$work/vmlinuz"
	cp "${BANTAM:?path of the built bantam}" "$work/bantam"
	cp "$(dirname "$BANTAM")/guests/exits.elf" "$top"/bench/{disk-inside,requests,vmm}.sh "$work/"
	[ -z "${BENCH_KINDS:-}" ] || echo "$BENCH_KINDS" >"$work/kinds.given"
	[ -z "${BENCH_BEFORE:-}" ] || cp "$BENCH_BEFORE" "$work/bantam-before"
	gcc -static -O2 -o "$work/disktool" "$top/guests/linux/disktool.c"
	"$top/guests/linux/mkinitramfs.sh" --kernel-dir "$kernel" \
		--modules "virtio_pci virtio_blk ata_piix sd_mod" --init "$top/guests/linux/init-test" \
		--add "$work/disktool:/bin/disktool" "$work/initrd"
	# Not a sparse one: every request finds its bytes.
	head -c 32M /dev/urandom >"$work/disk.img"
}

# lab_round GROUP: the lines of figures of one round
lab_round() {
	local limit=900
	[ $matrix != full ] || limit=2400
	run_inside $limit disk-inside.sh "$1" $matrix "$seconds" </dev/null | sed -u 's/\r$//' ||
		echo "# $1: a round that did not get to its end"
}

# run_part PART: its figures are left in disk-PART.csv
run_part() {
	local round group groups=(ide)
	[ "$1" = ide ] || groups=(tmpfs disk)
	{
		for ((round = 0; round < rounds; round++)); do
			for group in "${groups[@]}"; do
				lab_round "$group"
			done
		done
		[ "$1" != ide ] || lab_round counts
	} | tee "$out/disk-$1.csv" | grep --line-buffered -v '^count '
}

bars_ide() {
	local mode
	for mode in read write mixed; do
		bar "4 KiB DMA $mode: requests/s to QEMU's" \
			"$(ratio "$(median 4096-$mode-random-1 bantam-ide 3)" "$(median 4096-$mode-random-1 qemu-ide 3)")" \
			at-least 1.3
	done
	bar "READ DMA: exits per request" "$(added dma-read '^ide')" exactly 26
	bar "WRITE DMA: exits per request" "$(added dma-write '^ide')" exactly 26
	bar "READ DMA EXT: exits per request" "$(added ext-read '^ide')" exactly 31
	bar "READ MULTIPLE: data exits for each 1024 bytes" \
		"$(awk -v n="$(added multiple '[.]data$')" 'BEGIN { print n / 8 }')" at-most 1
	echo "as Linux takes them, by the sector: $(awk -v n="$(added pio-read '[.]data$')" \
		'BEGIN { print n / 4 }')"
	echo "WRITE MULTIPLE: data exits for each dword: $(awk -v n="$(added pio-write '[.]data$')" 'BEGIN { print n / 1024 }')"
}

# best max|min CASE COLUMN: QEMU's, of all its ways to the disk; not what is below 0, as is the rest when
# more was taken off for the measuring than there was, of a handful of requests
best() {
	local vmm
	for vmm in $(awk -v kind="$2" '$1 == kind && $2 ~ /^qemu/ && !seen[$2]++ { print $2 }' "$csv"); do
		median "$2" "$vmm" "$3"
	done | awk '$1 > 0' | sort -g | if [ "$1" = max ]; then tail -n 1; else head -n 1; fi
}

# Columns: 3 requests/s, 4 exits, 7 exits to user space, 8 CPU time.
bars_virtio() {
	local case exits
	while read -r case; do
		case $case in
		*-1) bar "$case: requests/s to QEMU's best" \
			"$(ratio "$(median "$case" bantam 3)" "$(best max "$case" 3)")" at-least 1 ;;
		*-32) bar "$case: requests/s to QEMU's best" \
			"$(ratio "$(median "$case" bantam 3)" "$(best max "$case" 3)")" at-least 1.25 ;;
		*) continue ;;
		esac
		exits=0.3
		[[ $case = *-32 ]] || exits=$(best min "$case" 4)
		bar "$case: exits per request" "$(median "$case" bantam 4)" at-most "$exits"
		bar "$case: exits to user space" "$(median "$case" bantam 7)" at-most 0.05
		bar "$case: CPU time to QEMU's least" \
			"$(ratio "$(median "$case" bantam 8)" "$(best min "$case" 8)")" at-most 1
	done < <(awk '!/^#/ && !seen[$1]++ { print $1 }' "$csv")
}

bars_bare() {
	local case
	while read -r case; do
		bar "$case: requests/s to QEMU's best" \
			"$(ratio "$(median "$case" bantam 3)" "$(best max "$case" 3)")" \
			at-least "$([[ $case = *-32 ]] && echo 1.25 || echo 1)"
		bar "$case: CPU time to QEMU's least" \
			"$(ratio "$(median "$case" bantam 6)" "$(best min "$case" 6)")" at-most 1
	done < <(awk '!/^#/ && !seen[$1]++ { print $1 }' "$csv")
}

for part in "${parts[@]}"; do
	if [ "$part" = bare ]; then
		"$top/bench/disk-bare.sh" "$rounds" | tee "$out/disk-bare.csv"
	else
		[ -f "$work/initrd" ] || prepare
		run_part "$part"
	fi
done
for part in "${parts[@]}"; do
	csv=$out/disk-$part.csv
	tables
	"bars_$part"
done | tee "$out/disk.txt"
