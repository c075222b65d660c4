#!/bin/bash
# SPDX-License-Identifier: MIT
# Requests to a disk: bantam's IDE beside QEMU's, and both beside virtio, where only a word on the
# command line differs. Direct I/O at random places, one request at a time, of 512 bytes, 4 KiB and
# 64 KiB, reading, writing and mixed; interleaved in one run. Requests per second, exits per request
# (KVM's own count), and the accesses per request to each register that bantam counts. In the lab
# where this host's /dev/kvm cannot run a stock kernel (BENCH_LAB=0|1 decides otherwise).
#
# Usage: BANTAM=build/bantam bench/disk.sh [ROUNDS [SECONDS]]	(5 rounds, 1 second for each kind)
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-5} seconds=${2:-1}
cache=${BANTAM_CACHE:-$top/build/cache}
out=$top/build/bench
work=$(mktemp -d)
# shellcheck source=beside.sh
. "$top/bench/beside.sh"
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

kernel=$("$top/guests/linux/fetch-kernel.sh" cloud "$cache/kernel")
cp "$kernel/vmlinuz" "$work/vmlinuz"
cp "${BANTAM:?path of the built bantam}" "$work/bantam"
cp "$(dirname "$BANTAM")/guests/exits.elf" "$top/bench/disk-inside.sh" "$work/"
gcc -static -O2 -o "$work/disktool" "$top/guests/linux/disktool.c"
"$top/guests/linux/mkinitramfs.sh" --kernel-dir "$kernel" \
	--modules "virtio_pci virtio_blk ata_piix sd_mod" --init "$top/guests/linux/init-test" \
	--add "$work/disktool:/bin/disktool" "$work/initrd"
# Not a sparse one: every request finds its bytes.
head -c 32M /dev/urandom >"$work/disk.img"

run_inside $((rounds * (240 + 60 * seconds) + 300)) disk-inside.sh "$rounds" "$seconds" |
	tr -d '\r' | tee "$out/disk.csv" | grep --line-buffered -v '^count '

# median CASE NAME: of its requests per second
median() {
	awk -v kind="$1" -v name="$2" '$1 == kind && $2 == name { print $3 }' "$out/disk.csv" | sort -g |
		awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# added NAME REGISTER: exits to registers that match, for each of the requests that the longer run
# has more than the shorter one. What has fewer exits than requests belongs to the boot.
added() {
	awk -v name="$1" -v register="$2" '$1 == "count" && $2 == name && $4 ~ register && $8 >= $3 {
			if (!first)
				first = $3
			last = $3
			n[$3] += $8
		}
		END {
			if (last > first)
				print (n[last] - n[first]) / (last - first)
			else
				print "none"
		}' "$out/disk.csv"
}

# bar WHAT VALUE at-least|at-most|exactly LIMIT
bar() {
	awk -v what="$1" -v value="$2" -v how="$3" -v limit="$4" 'BEGIN {
		met = how == "at-least" ? value + 0 >= limit : how == "at-most" ? value + 0 <= limit : value + 0 == limit
		printf "%-50s %8.2f, %s %g: %s\n", what, value, how, limit, met && value != "none" ? "met" : "MISSED"
	}'
}

{
	for case in {512,4096,65536}-{read,write,mixed}; do
		{
			echo "# vmm iops exits io_exits p50_us"
			grep "^$case " "$out/disk.csv" | cut -d ' ' -f 2-
		} >"$work/case"
		echo
		echo "$case:"
		"$top/bench/summary.sh" "$work/case" | sed '$d'
	done
	echo "median [smallest..largest], and the ratio to the first"
	echo
	for mode in read write mixed; do
		bar "4 KiB DMA $mode: requests/s to QEMU's" "$(awk -v a="$(median 4096-$mode bantam-ide)" \
			-v b="$(median 4096-$mode qemu-ide)" 'BEGIN { print b ? a / b : 0 }')" at-least 1.3
	done
	bar "READ DMA: exits per request" "$(added dma-read '^ide')" exactly 26
	bar "WRITE DMA: exits per request" "$(added dma-write '^ide')" exactly 26
	bar "READ DMA EXT: exits per request" "$(added ext-read '^ide')" exactly 31
	bar "READ MULTIPLE: data exits for each 1024 bytes" \
		"$(awk -v n="$(added multiple '[.]data$')" 'BEGIN { print n / 8 }')" at-most 1
	echo "as Linux takes them, by the sector: $(awk -v n="$(added pio-read '[.]data$')" \
		'BEGIN { print n / 4 }')"
	echo "WRITE MULTIPLE: data exits for each dword: $(awk -v n="$(added pio-write '[.]data$')" 'BEGIN { print n / 1024 }')"
} | tee "$out/disk.txt"
