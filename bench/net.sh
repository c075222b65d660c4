#!/bin/bash
# SPDX-License-Identifier: MIT
# Traffic with a guest by a tap, bantam's virtio-net beside QEMU's, the VMM moving the frames and the kernel's
# vhost-net doing so for it, interleaved in one run: one TCP connection, small packets, and round trips
# (bench/netload.c), to the guest ("in") and from it ("out"); from it with the driver's NAPI for frames that were sent and
# without that as well. Of each the rate, frames for an exit by KVM's own count, how often an exit reached
# user space, and the CPU time of the VMM with the kernel's thread for it, and the guest's share of that.
#
# In the lab where this host's /dev/kvm cannot run a stock kernel (BENCH_LAB=0|1 decides otherwise). Each
# round is a lab of its own: what one that dies takes along is its own figures, and the rest count.
#
# Usage: BANTAM=build/bantam bench/net.sh [ROUNDS [SECONDS]]	(3 rounds of four passes; half a second each)
#	BENCH_KINDS="napi|no-napi KIND in|out [INTERVAL];...": these instead of all
#	BENCH_BEFORE=BANTAM: another bantam measured beside, as "before"
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-3} seconds=${2:-0.5}
PASSES=4
# One for each who works at the same time: the guest, what moves its frames, and the other end of the traffic. With
# two, figures are of how the host deals those out.
export lab_cpus=4
cache=${BANTAM_CACHE:-$top/build/cache}
out=$top/build/bench
work=$(mktemp -d)
# shellcheck source=beside.sh
. "$top/bench/beside.sh"
# shellcheck source=figures.sh
. "$top/bench/figures.sh"
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

kernel=$("$top/guests/linux/fetch-kernel.sh" cloud "$cache/kernel")
cp "$kernel/vmlinuz" "${BANTAM:?path of the built bantam}" "$top"/bench/{net-inside,vmm}.sh "$work/"
[ -z "${BENCH_KINDS:-}" ] || tr ';' '\n' <<<"$BENCH_KINDS" >"$work/kinds.given"
[ -z "${BENCH_BEFORE:-}" ] || cp "$BENCH_BEFORE" "$work/bantam-before"
gcc -std=gnu11 -D_GNU_SOURCE -static -O2 -o "$work/netload" "$top/bench/netload.c"
"$top/guests/linux/mkinitramfs.sh" --kernel-dir "$kernel" --modules "virtio_pci virtio_net" \
	--init "$top/guests/linux/init-test" --add "$work/netload:/bin/netload" "$work/initrd"

for ((round = 0; round < rounds; round++)); do
	run_inside 900 net-inside.sh $PASSES "$seconds" </dev/null |
		sed -u 's/\r$//; /^[a-z-]* [a-z-]* [0-9]/! s/^[^#]/# &/' ||
		echo "# a round that did not get to its end"
done | tee "$out/net.csv"

# beside CASE COLUMN NAME OTHER: NAME's figure to OTHER's
beside() {
	awk -v kind="$1" -v a="$3" -v b="$4" '$1 == kind { n[$2]++ } END { exit !(n[a] && n[b]) }' "$csv" ||
		{ echo none && return; }
	ratio "$(median "$1" "$3" "$2")" "$(median "$1" "$4" "$2")"
}

# Columns: 3 the rate, 4 the median time. For small packets there is no bar.
bars() {
	local case
	while read -r case; do
		case $case in
		stream-*)
			bar "$case: to QEMU's" "$(beside "$case" 3 bantam qemu)" at-least 1.2
			bar "$case, vhost: to QEMU's" "$(beside "$case" 3 bantam-vhost qemu-vhost)" at-least 1
			;;
		packets-*)
			echo "$case: to QEMU's $(beside "$case" 3 bantam qemu)," \
				"vhost to vhost $(beside "$case" 3 bantam-vhost qemu-vhost)"
			;;
		*)
			bar "$case: the round trip to QEMU's" "$(beside "$case" 4 bantam qemu)" at-most 1
			bar "$case, vhost: the round trip to QEMU's" \
				"$(beside "$case" 4 bantam-vhost qemu-vhost)" at-most 1
			;;
		esac
	done < <(awk '!/^#/ && !seen[$1]++ { print $1 }' "$csv")
}

# part one-way|trips: the figures of either, in a file of their own; only trips have times
part() {
	csv=$work/$1.csv
	if [ "$1" = trips ]; then
		grep -v -E '^(stream|packets)-' "$out/net.csv"
	else
		grep -E '^(# case|stream-|packets-)' "$out/net.csv" |
			awk '{ i = $1 == "#"; $(4 + i) = $(5 + i) = ""; print }' | tr -s ' '
	fi >"$csv"
}

{
	part one-way
	tables
	part trips
	tables
	csv=$out/net.csv
	bars
} | tee "$out/net.txt"
