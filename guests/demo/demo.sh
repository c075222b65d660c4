#!/bin/bash
# SPDX-License-Identifier: MIT
# Boot Debian's kernel under bantam with a disk: the guest of `make demo` checks the disk, writes
# to it and powers off; `make shell` leaves the person at the guest's prompt.
#
# Usage: BANTAM=FILE demo.sh demo|shell [BANTAM-OPTION ...]
#
# BANTAM is the built program. Options given are passed on to `bantam run`. Where /dev/kvm cannot
# run a stock kernel, everything happens inside the lab; DEMO_LAB=1 asks for it, DEMO_LAB=0
# refuses it, DEMO_LAB_OPTIONS are options for it.
# BANTAM_CACHE (build/cache) keeps what is downloaded and made.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

top=$(cd "$(dirname "$0")/../.." && pwd)
linux=$top/guests/linux

die() {
	echo "demo: $*" >&2
	exit 1
}

mode=${1:-}
case $mode in
demo | shell) shift ;;
*) die "usage: BANTAM=FILE demo.sh demo|shell [BANTAM-OPTION ...]" ;;
esac
bantam=${BANTAM:-$top/build/bantam}
[ -x "$bantam" ] || die "no program $bantam: run 'make' first"

# why_not: why this machine's /dev/kvm will not do, or nothing
why_not() {
	if [ ! -e /dev/kvm ]; then
		echo "there is no /dev/kvm"
	elif [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
		echo "/dev/kvm may not be opened by $(id -un)"
	elif [ -e /sys/module/kvm_pvm ]; then
		echo "/dev/kvm is kvm_pvm, which cannot run a stock kernel"
	elif ! grep -q -w -E 'vmx|svm' /proc/cpuinfo; then
		echo "this CPU has neither VT-x nor SVM"
	fi
}

reason=$(why_not)
case ${DEMO_LAB:-auto} in
0) reason='' ;;
1) reason=${reason:-DEMO_LAB=1} ;;
esac

cache=${BANTAM_CACHE:-$top/build/cache}
mkdir -p "$cache/demo"
cache=$(cd "$cache" && pwd)
kernel=$("$linux/fetch-kernel.sh" cloud "$cache/kernel") || exit 1
modules="virtio_pci virtio_blk"
key=$(cat "$linux/init-$mode" "$linux/mkinitramfs.sh" - <<<"$modules" | sha256sum | cut -c 1-12)
initrd=$cache/demo/initramfs-$mode-${kernel##*/}-$key
if [ ! -e "$initrd" ]; then
	echo "making: the guest's initramfs and its disk"
	rm -f "$cache/demo/initramfs-$mode"-*
	"$linux/mkinitramfs.sh" --kernel-dir "$kernel" --modules "$modules" \
		--init "$linux/init-$mode" "$initrd" || exit 1
fi

folder=$(mktemp -d "$cache/demo/run.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cp "$bantam" "$folder/bantam"
cp "$kernel/vmlinuz" "$folder/vmlinuz"
cp "$initrd" "$folder/initramfs"
"$linux/mkdisk.sh" "$folder/disk.img" 32M || exit 1

# What the guest writes must be of this run.
nonce=$(od -A n -t x8 -N 8 /dev/urandom | tr -d ' ')
command=(bantam run --kernel vmlinuz --initrd initramfs
	--append "console=ttyS0 quiet bantam.nonce=$nonce"
	--cpus 1 --memory 256M --disk "path=disk.img,if=virtio,format=raw"
	--serial stdio --exits --no-reboot "$@")

# The image comes back through the lab's output folder, with the command's own exit status.
cat >"$folder/in-lab.sh" <<'END'
#!/bin/sh
"$@"
status=$?
cp disk.img "$LAB_OUT/"
exit $status
END

status=0
echo "running: bantam run --kernel vmlinuz --initrd initramfs --cpus 1 --memory 256M" \
	"--disk path=disk.img,if=virtio,format=raw --exits"
if [ -n "$reason" ]; then
	echo "in the lab, because $reason"
	options=(--cache "$cache" --out "$folder/out")
	if [ "$mode" = shell ]; then
		options+=(--interactive)
	else
		options+=(--timeout 120)
	fi
	# shellcheck disable=SC2086
	"$top/tests/lab/lab" "${options[@]}" ${DEMO_LAB_OPTIONS:-} "$folder" -- \
		sh in-lab.sh "${command[@]}" || status=$?
	image=$folder/out/disk.img
else
	(cd "$folder" && PATH=$folder:$PATH "${command[@]}") || status=$?
	image=$folder/disk.img
fi
[ $status = 0 ] || die "bantam ended with exit status $status"
[ "$mode" = demo ] || exit 0

[ "$(debugfs -R 'cat /from-the-guest' "$image" 2>/dev/null)" = "$nonce" ] ||
	die "what the guest wrote is not on the disk image"
echo "on the host: the disk image holds what the guest wrote ($nonce)"
