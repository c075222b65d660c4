#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetch Debian's current kernel package and unpack it without installing it.
#
# Usage: fetch-kernel.sh [cloud|generic] OUTDIR
#
# Prints the directory of the unpacked kernel, OUTDIR/VERSION, which holds
#	vmlinuz			the bzImage
#	vmlinux			the ELF image inside it, with the PVH note
#	config			its configuration
#	lib/modules/VERSION	its modules
# apt is asked at most once a day; without a network the newest cached kernel is used.
# Needs no root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

die() {
	echo "fetch-kernel: $*" >&2
	exit 1
}

case $# in
1) flavour=cloud out=$1 ;;
2) flavour=$1 out=$2 ;;
*) die "usage: fetch-kernel.sh [cloud|generic] OUTDIR" ;;
esac
case $flavour in
cloud) meta=linux-image-cloud-amd64 pattern='*-cloud-amd64' ;;
generic) meta=linux-image-amd64 pattern='*-amd64' ;;
*) die "unknown flavour '$flavour': cloud or generic" ;;
esac

# The generic pattern matches the other flavours' names as well.
cached() {
	find "$out" -mindepth 1 -maxdepth 1 -type d -name "$pattern" -printf '%f\n' |
		if [ "$flavour" = generic ]; then
			grep -v -E -e '-(cloud|rt)-amd64$' || true
		else
			cat
		fi | sort -V | tail -n 1
}

current() {
	apt-cache depends "$meta" 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { sub("linux-image-", "", $2); print $2; exit }'
}

# A list that is behind its archive names packages which are gone from it; only root may renew it.
refresh() {
	[ "$(id -u)" = 0 ] && apt-get -qq update >/dev/null 2>&1
}

# unpack VERSION: false when it cannot be downloaded; anything else that fails ends the script,
# so that nothing half done is ever taken for a cached kernel
unpack() {
	local version=$1 tmp root
	tmp=$(mktemp -d "$out/.fetch.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$tmp'" EXIT
	echo "fetching: Debian's kernel package linux-image-$version" >&2
	# The sandbox user of apt cannot write into a private folder.
	(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "linux-image-$version" \
		>apt.log 2>&1) || return 1
	dpkg-deb -x "$tmp"/linux-image-*.deb "$tmp/x" || die "cannot unpack linux-image-$version"
	root=$tmp/root
	mkdir -p "$root/lib/modules"
	mv "$tmp/x/boot/vmlinuz-$version" "$root/vmlinuz" || die "linux-image-$version: no kernel in it"
	mv "$tmp/x/boot/config-$version" "$root/config" || die "linux-image-$version: no config in it"
	if [ -d "$tmp/x/usr/lib/modules/$version" ]; then
		mv "$tmp/x/usr/lib/modules/$version" "$root/lib/modules/"
	else
		mv "$tmp/x/lib/modules/$version" "$root/lib/modules/"
	fi
	"$here/extract-vmlinux.sh" "$root/vmlinuz" "$root/vmlinux" || exit 1
	chmod -R u+rwX,go+rX "$root"
	rm -rf "${out:?}/$version"
	mv "$root" "$out/$version"
	rm -rf "$tmp"
	trap - EXIT
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 9>"$out/.lock"
flock 9

stamp=$out/.current-$flavour
if [ -n "$(find "$stamp" -mmin -1440 2>/dev/null)" ]; then
	version=$(cat "$stamp")
	if [ -d "$out/$version" ]; then
		echo "$out/$version"
		exit 0
	fi
fi

version=$(current || true)
if [ -z "$version" ] && refresh; then
	version=$(current || true)
fi
if [ -n "$version" ] && [ ! -d "$out/$version" ] && ! unpack "$version"; then
	if refresh && version=$(current) && [ -n "$version" ]; then
		[ -d "$out/$version" ] || unpack "$version" || version=
	else
		version=
	fi
fi
if [ -n "$version" ]; then
	echo "$version" >"$stamp"
else
	version=$(cached)
	[ -n "$version" ] ||
		die "cannot download $meta: run 'apt-get update' as root and look at the network"
fi
echo "$out/$version"
