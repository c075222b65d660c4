#!/bin/bash
# SPDX-License-Identifier: MIT
# Build the driver bantam_ata for one of Debian's kernels; or, with SOURCE, Debian's own ata_piix as
# patches/ change it.
#
# Usage: mkmodule.sh KERNEL OUTDIR HEADERS [SOURCE]
#
# KERNEL is what fetch-kernel.sh printed, HEADERS the folder where fetch-headers.sh keeps them, SOURCE
# what fetch-source.sh printed. Prints the path of each module, in the order in which they are loaded:
# OUTDIR/bantam_ata.ko; or OUTDIR/libata_batch.ko, which in a kernel would be a part of libata, and
# OUTDIR/ata_piix.ko.
set -euo pipefail

die() {
	echo "mkmodule: $*" >&2
	exit 1
}

[ $# = 3 ] || [ $# = 4 ] || die "usage: mkmodule.sh KERNEL OUTDIR HEADERS [SOURCE]"
here=$(cd "$(dirname "$0")" && pwd)
build=$("$here/fetch-headers.sh" "$1" "$3")
mkdir -p "$2"
out=$(cd "$2" && pwd)

# Elsewhere, as a kernel's build leaves its own beside the sources.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
batch=("$here"/bantam_ata/ata_batch.[ch] "$here/../include/bantam/coalesced_io.h")

ours() {
	folder=$work/linux/bantam_ata modules="bantam_ata"
	mkdir -p "$work/linux" "$work/include"
	cp -R "$here/bantam_ata" "$work/linux/"
	cp -R "$here/../include/bantam" "$work/include/"
}

# patched SOURCE
patched() {
	folder=$work/tree/drivers/ata modules="libata_batch ata_piix"
	cp -R "$1" "$work/tree"
	cat "$here"/patches/*.patch | patch -s -p1 -d "$work/tree"
	cp "${batch[@]}" "$folder/"
	printf '%s\n' '#include <linux/module.h>' 'MODULE_LICENSE("Dual MIT/GPL");' >"$folder/license.c"
	printf '%s\n' 'obj-m := libata_batch.o ata_piix.o' 'libata_batch-y := ata_batch.o license.o' \
		>"$folder/Kbuild"
}

if [ $# = 3 ]; then
	ours
else
	patched "$4"
fi
# None of the make that this may run under.
env -u MAKEFLAGS -u MAKELEVEL make -C "$build" M="$folder" >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	die "$modules: they do not compile for ${1##*/}"
}
for module in $modules; do
	cp "$folder/$module.ko" "$out/"
	echo "$out/$module.ko"
done
