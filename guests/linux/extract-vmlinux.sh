#!/bin/bash
# SPDX-License-Identifier: MIT
# Take the ELF kernel out of a bzImage: QEMU's and bantam's PVH entry boots it without the time
# the kernel needs to decompress itself, which under software emulation is most of a boot.
#
# Usage: extract-vmlinux.sh VMLINUZ OUT
set -euo pipefail

die() {
	echo "extract-vmlinux: $*" >&2
	exit 1
}

[ $# = 2 ] || die "usage: extract-vmlinux.sh VMLINUZ OUT"
image=$1 out=$2
[ -r "$image" ] || die "cannot read $image"

# field OFFSET SIZE: a little-endian number of the setup header
field() {
	od -A n -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '
}

[ "$(field $((0x202)) 4)" = $((0x53726448)) ] || die "$image: not a bzImage"
[ "$(field $((0x206)) 2)" -ge $((0x208)) ] || die "$image: boot protocol older than 2.08"
sectors=$(field $((0x1f1)) 1)
[ "$sectors" != 0 ] || sectors=4
offset=$(((sectors + 1) * 512 + $(field $((0x248)) 4)))
length=$(field $((0x24c)) 4)
magic=$(od -A n -t x1 -j "$offset" -N 6 "$image" | tr -d ' ')

# gzip and zstd payloads carry the unpacked size behind their own end, which zcat and zstd
# report as trailing garbage; what counts is the ELF header checked below.
case $magic in
fd377a585a00) tool=(xz -dc --single-stream) ;;
1f8b*) tool=(gzip -dc) ;;
28b52ffd*) tool=(zstd -dc) ;;
02214c18*) tool=(lz4 -dc) ;;
5d0000*) tool=(lzma -dc) ;;
*) die "$image: unknown compression (magic $magic)" ;;
esac
command -v "${tool[0]}" >/dev/null || die "${tool[0]} is not installed"
tail -c +$((offset + 1)) "$image" | head -c "$length" | "${tool[@]}" >"$out.tmp" 2>/dev/null || true
if [ "$(od -A n -t x1 -N 4 "$out.tmp" | tr -d ' ')" != 7f454c46 ]; then
	rm -f "$out.tmp"
	die "$image: its payload is not an ELF image"
fi
mv "$out.tmp" "$out"
