#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetch some files of a Debian package without installing it.
#
# Usage: fetch-deb.sh PACKAGE OUTDIR PATH ...
#
# Prints the folder in which the PATHs lie, which are the package's own without their leading slash.
# apt is asked at most once a day; without a network the cached files are used. Needs no root.
set -euo pipefail

die() {
	echo "fetch-deb: $*" >&2
	exit 1
}

[ $# -ge 3 ] || die "usage: fetch-deb.sh PACKAGE OUTDIR PATH ..."
package=$1 out=$2
shift 2
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 9>"$out/.lock"
flock 9
here=$out/$package

complete() {
	local path
	for path in "$@"; do
		[ -e "$here/$path" ] || return 1
	done
}

fetch() {
	local tmp version
	version=$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: //p')
	[ -n "$version" ] || return 1
	if [ "$(cat "$here/.version" 2>/dev/null)" = "$version" ] && complete "$@"; then
		touch "$here/.version"
		return 0
	fi
	tmp=$(mktemp -d "$out/.fetch.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$tmp'" EXIT
	echo "fetching: Debian's package $package" >&2
	# The sandbox user of apt cannot write into a private folder.
	if ! (cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$package=$version" \
		>apt.log 2>&1); then
		rm -rf "$tmp"
		return 1
	fi
	mkdir "$tmp/root"
	dpkg-deb --fsys-tarfile "$tmp"/*.deb | tar -x -C "$tmp/root" --no-same-owner "${@/#/./}" ||
		die "$package $version: not all of it is there: $*"
	echo "$version" >"$tmp/root/.version"
	rm -rf "$here"
	mv "$tmp/root" "$here"
}

# A list that is behind its archive names packages which are gone from it; only root may renew it.
refresh() {
	[ "$(id -u)" = 0 ] && apt-get -qq update >/dev/null 2>&1
}

if [ -z "$(find "$here/.version" -mmin -1440 2>/dev/null)" ] || ! complete "$@"; then
	fetch "$@" || { refresh && fetch "$@"; } || complete "$@" ||
		die "cannot download $package: run 'apt-get update' as root and look at the network"
fi
echo "$here"
