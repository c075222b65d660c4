#!/bin/bash
# SPDX-License-Identifier: MIT
# Boot time, VM exits and own memory of bantam beside Debian's QEMU: the same kernel, initramfs and
# command line, one CPU, 128 MiB, interleaved in one run. In the lab where this host's /dev/kvm cannot
# run a stock kernel (BENCH_LAB=0|1 decides otherwise).
#
# Usage: BANTAM=build/bantam bench/boot.sh [ROUNDS]	(7)
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-7}
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
cp "$top/bench/boot-inside.sh" "$work/"
"$top/guests/linux/mkinitramfs.sh" --kernel-dir "$kernel" --modules "virtio_pci virtio_blk" \
	--init "$top/guests/linux/init-test" "$work/initrd"
gcc -static -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -o "$work/bootmeter" "$top/bench/bootmeter.c"

run_inside $((rounds * 60)) boot-inside.sh "$rounds" | tee "$out/boot.csv"
"$top/bench/summary.sh" "$out/boot.csv" | tee "$out/boot.txt"
