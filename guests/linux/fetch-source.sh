#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetch those files of Debian's kernel source that the patch in patches/ changes. The package is
# large (140 MB), and thrown away: what remains is fetched once, until it is deleted.
#
# Usage: fetch-source.sh OUTDIR
#
# Prints the folder with them, OUTDIR/linux-source-6.1. Needs no root.
set -euo pipefail

SERIES=6.1

[ $# = 1 ] || {
	echo "usage: fetch-source.sh OUTDIR" >&2
	exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9>"$out/.lock"
flock 9

source=linux-source-$SERIES
mapfile -t files < <(sed -n "s|^--- a/|$source/|p" "$here/patches/"*.patch | sort -u)
for file in "${files[@]}"; do
	[ -e "$out/$file" ] || rm -rf "${out:?}/$source"
done
if [ ! -d "$out/$source" ]; then
	tmp=$(mktemp -d "$out/.fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	"$here/fetch-deb.sh" $source "$tmp" usr/src/$source.tar.xz >/dev/null 9>&-
	tar -x -f "$tmp/$source/usr/src/$source.tar.xz" -C "$tmp" "${files[@]}"
	rm "$tmp/$source/usr/src/$source.tar.xz"
	mkdir -p "$tmp/done"
	mv "$tmp/$source/drivers" "$tmp/done/"
	mv "$tmp/done" "$out/$source"
fi
echo "$out/$source"
