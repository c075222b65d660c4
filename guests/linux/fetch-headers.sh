#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetch what modules for a Debian kernel are built against, without installing it: the packages
# linux-headers-VERSION, linux-headers-...-common and linux-kbuild-..., put together.
#
# Usage: fetch-headers.sh KERNEL OUTDIR
#
# KERNEL is what fetch-kernel.sh printed. Prints the folder for make -C, in OUTDIR/VERSION, which is
# made once. Needs no root; of Debian's packages, gcc and libelf1.
set -euo pipefail

die() {
	echo "fetch-headers: $*" >&2
	exit 1
}

[ $# = 2 ] || die "usage: fetch-headers.sh KERNEL OUTDIR"
here=$(cd "$(dirname "$0")" && pwd)
version=$(basename "$1")
mkdir -p "$2"
out=$(cd "$2" && pwd)
exec 9>"$out/.lock"
flock 9

build=$out/$version/usr/src/linux-headers-$version
if [ -d "$build" ]; then
	echo "$build"
	exit 0
fi

# 6.1.0-56-cloud-amd64: its common part is 6.1.0-56-common, its tools are linux-kbuild-6.1.
abi=$(sed -E 's/^([0-9.]+-[0-9]+)-.*/\1/' <<<"$version")
series=${version%.*}
tmp=$(mktemp -d "$out/.fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
for part in "linux-headers-$version usr/src/linux-headers-$version" \
	"linux-headers-$abi-common usr/src/linux-headers-$abi-common" \
	"linux-kbuild-$series usr/lib/linux-kbuild-$series"; do
	read -r package path <<<"$part"
	"$here/fetch-deb.sh" "$package" "$tmp" "$path" >/dev/null 9>&-
	mkdir -p "$tmp/root/${path%/*}"
	mv "$tmp/$package/$path" "$tmp/root/${path%/*}/"
done

# All but one of their ways to each other are relative.
sed -i "s|/usr/src/|$out/$version/usr/src/|" "$tmp/root/usr/src/linux-headers-$version/Makefile"
rm -rf "${out:?}/$version"
mv "$tmp/root" "$out/$version"
echo "$build"
