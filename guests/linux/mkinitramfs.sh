#!/bin/bash
# SPDX-License-Identifier: MIT
# Make a small initramfs: static busybox, a few kernel modules with what they depend on, an init.
#
# Usage: mkinitramfs.sh --kernel-dir DIR [--modules "NAME ..."] --init FILE
#		[--add SRC:DST ...] OUT
#
# DIR is what fetch-kernel.sh printed. The modules lie in /lib/modules of the initramfs, and
# /lib/modules/load lists them in the order in which insmod takes them. A module that the kernel
# has built in is passed over; one that it does not have is given as the path of its file, NAME.ko.
# --add puts a file at the absolute path DST.
# OUT ending in .gz is compressed. Uncompressed boots faster: the guest saves the unpacking.
set -euo pipefail

die() {
	echo "mkinitramfs: $*" >&2
	exit 1
}

usage() {
	die "usage: mkinitramfs.sh --kernel-dir DIR [--modules LIST] --init FILE [--add SRC:DST] OUT"
}

kernel='' modules='' init='' out='' add=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel-dir | --modules | --init | --add)
		[ $# -ge 2 ] || usage
		case $1 in
		--kernel-dir) kernel=$2 ;;
		--modules) modules=$2 ;;
		--init) init=$2 ;;
		--add) add+=("$2") ;;
		esac
		shift 2
		;;
	-*) usage ;;
	*)
		[ -z "$out" ] || usage
		out=$1
		shift
		;;
	esac
done
case "$out:$init:$kernel" in :* | *::* | *:) usage ;; esac
[ -f "$init" ] || die "no such file: $init"

# Of the shared busybox of a machine nothing would run without its C library.
busybox=
for try in /bin/busybox /usr/bin/busybox; do
	if [ -x "$try" ] && ! LC_ALL=C ldd "$try" 2>/dev/null | grep -q '=>'; then
		busybox=$try
		break
	fi
done
[ -n "$busybox" ] || die "no static busybox: install the package busybox-static"
command -v cpio >/dev/null || die "cpio is not installed"

tree=$kernel/lib/modules
[ -d "$tree" ] || die "$kernel: no lib/modules in it"
tree=$(find "$tree" -mindepth 1 -maxdepth 1 -type d | head -n 1)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,lib/modules,mnt,proc,run,sys,tmp}
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
	[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cp "$init" "$root/init"
chmod 755 "$root/init"

unpack() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -dcq "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

# The kernel package has no modules.dep before its installation runs depmod, so what a module
# depends on is read from the module itself.
load=()
declare -A seen=()
add_module() {
	local name=${1##*/} file needs need
	name=${name%.ko} name=${name//-/_}
	[ -z "${seen[$name]:-}" ] || return 0
	seen[$name]=1
	case $1 in
	*/*) file=$1 ;;
	*) file=$(find "$tree" -name "${name//_/[-_]}.ko*" | head -n 1) ;;
	esac
	if [ -z "$file" ]; then
		grep -q "/${name//_/[-_]}\.ko$" "$tree/modules.builtin" ||
			die "kernel ${tree##*/} has no module $1"
		return 0
	fi
	unpack "$file" >"$root/lib/modules/$name.ko"
	needs=$(tr '\0' '\n' <"$root/lib/modules/$name.ko" | LC_ALL=C sed -n 's/^depends=//p')
	for need in ${needs//,/ }; do
		add_module "$need"
	done
	load+=("$name")
}
for module in $modules; do
	add_module "$module"
done
printf '%s\n' "${load[@]}" >"$root/lib/modules/load"

for pair in "${add[@]}"; do
	src=${pair%%:*} dst=${pair#*:}
	[ -e "$src" ] || die "no such file: $src"
	case $dst in /*) ;; *) die "--add $pair: the destination must be an absolute path" ;; esac
	mkdir -p "$root${dst%/*}"
	cp -L "$src" "$root$dst"
done

pack() {
	(cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0)
}
case $out in
*.gz) pack | gzip -1n >"$out.tmp" ;;
*) pack >"$out.tmp" ;;
esac
mv "$out.tmp" "$out"
