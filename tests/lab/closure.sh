#!/bin/bash
# SPDX-License-Identifier: MIT
# Copy programs of this machine into a root folder, with the shared libraries and the data they
# need to run there.
#
# Usage: closure.sh ROOT [PROGRAM ...]
#	 closure.sh --libraries FILE ...
#
# The first form copies; PROGRAM is a name or a path and keeps its path below ROOT. The second
# prints the libraries that the ELF files need, one path a line, and copies nothing.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "closure: $*" >&2
	exit 1
}

# What a program reads beside its libraries.
data_of() {
	case ${1##*/} in
	qemu-system-x86_64) echo /usr/share/qemu /usr/share/seabios /usr/lib/x86_64-linux-gnu/qemu ;;
	mke2fs | mkfs.ext4) echo /etc/mke2fs.conf ;;
	esac
}

# ldd fails on a static program, which needs nothing.
libraries() {
	{ LC_ALL=C ldd "$@" 2>/dev/null || true; } | awk '
		/=> not found/ { print $1 " not found" >"/dev/stderr"; next }
		$2 == "=>" && $3 ~ /^\// { print $3 }
		$1 ~ /^\// && $2 ~ /^\(0x/ { print $1 }' | sort -u
}

if [ "${1:-}" = --libraries ]; then
	shift
	[ $# = 0 ] || libraries "$@"
	exit 0
fi
[ $# -ge 1 ] || die "usage: closure.sh ROOT [PROGRAM ...]"
root=$1
shift

# The layout of a merged /usr, so that either spelling of a path works.
if [ ! -e "$root/bin" ]; then
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
	for dir in bin sbin lib lib64; do
		ln -s "usr/$dir" "$root/$dir"
	done
fi

# Links are followed: only what they end in counts below ROOT.
copy() {
	[ ! -e "$root$1" ] || return 0
	mkdir -p "$root${1%/*}"
	cp -RL --preserve=mode "$1" "$root$1"
}

for program in "$@"; do
	path=$(command -v "$program") || die "no such program: $program"
	path=$(cd "$(dirname "$path")" && pwd)/${path##*/}
	copy "$path"
	while read -r file; do
		copy "$file"
	done < <(libraries "$path")
	for file in $(data_of "$path"); do
		[ ! -e "$file" ] || copy "$file"
	done
done
