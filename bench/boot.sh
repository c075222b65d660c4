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
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

kernel=$("$top/guests/linux/fetch-kernel.sh" cloud "$cache/kernel")
cp "$kernel/vmlinuz" "$work/vmlinuz"
cp "${BANTAM:?path of the built bantam}" "$work/bantam"
cp "$top/bench/boot-inside.sh" "$work/"
"$top/guests/linux/mkinitramfs.sh" --kernel-dir "$kernel" --modules "virtio_pci virtio_blk" \
	--init "$top/guests/linux/init-test" "$work/initrd"
gcc -static -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -o "$work/bootmeter" "$top/bench/bootmeter.c"

lab=${BENCH_LAB:-}
if [ -z "$lab" ]; then
	lab=1
	if [ -w /dev/kvm ] && [ ! -d /sys/module/kvm_pvm ] && grep -qEw 'vmx|svm' /proc/cpuinfo &&
		[ -r /sys/kernel/debug/kvm ]; then
		lab=0
	fi
fi
if [ "$lab" = 1 ]; then
	mkdir -p "$work/share"
	cp -rL /usr/share/qemu "$work/share/" 2>/dev/null || true
	cp -rL /usr/share/seabios "$work/share/"
	"$top/tests/lab/lab" --timeout $((rounds * 60)) --memory 3072 --with qemu-system-x86_64 "$work" \
		-- sh boot-inside.sh "$rounds" share | tee "$out/boot.csv"
else
	(cd "$work" && sh boot-inside.sh "$rounds" "") | tee "$out/boot.csv"
fi
"$top/bench/summary.sh" "$out/boot.csv" | tee "$out/boot.txt"
