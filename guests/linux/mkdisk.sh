#!/bin/bash
# SPDX-License-Identifier: MIT
# Make a raw disk image: an ext4 file system with files of known content and their SHA256SUMS.
# Needs no root, no mount, no loop device.
#
# Usage: mkdisk.sh OUT SIZE		SIZE like 64M, at least 16M
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "mkdisk: $*" >&2
	exit 1
}

[ $# = 2 ] || die "usage: mkdisk.sh OUT SIZE"
command -v mke2fs >/dev/null || die "mke2fs is not installed: install the package e2fsprogs"
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
mke2fs -q -F -t ext4 -m 0 -L bantam -E root_owner=0:0,lazy_itable_init=0,nodiscard \
	-d "$tree" "$1.tmp" "$2" >/dev/null || die "cannot make $1 with $2"
mv "$1.tmp" "$1"
