#!/bin/bash
# SPDX-License-Identifier: MIT
# Make a raw disk image: an ext4 file system with files of known content and their SHA256SUMS; or a
# CD of the same files. Needs no root, no mount, no loop device.
#
# Usage: mkdisk.sh OUT SIZE		SIZE like 64M, at least 16M
#	 mkdisk.sh OUT.iso
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "mkdisk: $*" >&2
	exit 1
}

case $#:${1:-} in
1:*.iso) tool=genisoimage package=genisoimage ;;
2:*) tool=mke2fs package=e2fsprogs ;;
*) die "usage: mkdisk.sh OUT SIZE | OUT.iso" ;;
esac
command -v $tool >/dev/null || die "$tool is not installed: install the package $package"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree/files/deep/er"
echo "This disk was made for a guest of bantam." >"$tree/files/hello.txt"
: >"$tree/files/empty"
seq 1 200000 >"$tree/files/numbers"
# Every block differs from every other, so that a block in the wrong place is found.
seq -f 'block %017.0f' 1 83333 >"$tree/files/deep/er/blocks"
(cd "$tree" && find files -type f | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
chmod 755 "$tree"

rm -f "$1.tmp"
if [ $tool = genisoimage ]; then
	genisoimage -quiet -R -V bantam -o "$1.tmp" "$tree" || die "cannot make $1"
	mv "$1.tmp" "$1"
	exit 0
fi
mke2fs -q -F -t ext4 -m 0 -L bantam -E root_owner=0:0,lazy_itable_init=0,nodiscard \
	-d "$tree" "$1.tmp" "$2" >/dev/null || die "cannot make $1 with $2"
mv "$1.tmp" "$1"
