#!/bin/bash
# SPDX-License-Identifier: MIT
# Install the Debian packages that a purpose needs and this machine lacks. Silent when it lacks
# none. Uses root's rights, or sudo.
#
# Usage: deps.sh PURPOSE ...	build, check, lab, demo, bench, disk
set -euo pipefail

BUILD="gcc make libc6-dev pkg-config libfdt-dev acpica-tools libcjson-dev liburing-dev zlib1g-dev libzstd-dev libnbd-dev libzydis-dev libslirp-dev"
LAB="busybox-static cpio e2fsprogs lz4 xz-utils zstd qemu-system-x86"
# guests/linux/mkmodule.sh: a kernel's build tools are linked with libelf.
MODULE="libelf-dev"
# guests/linux/mkdebian.sh
DISK="mmdebstrap uidmap fdisk e2fsprogs grub-common grub-pc-bin"
# What networks are tried with, from both ends.
NET="iperf3 iputils-ping tcpdump"
# What the tests' guests run, read and are started by.
GUESTS="fio genisoimage seabios nbdkit qemu-utils patch $NET"
CHECK="clang clang-runtime libcmocka-dev clang-format clang-tidy cppcheck shellcheck device-tree-compiler mandoc python3-jsonschema libxml2-utils"

die() {
	echo "deps: $*" >&2
	exit 1
}

[ $# -gt 0 ] || die "usage: deps.sh build|check|lab|demo|bench|disk ..."
wanted=
for purpose in "$@"; do
	case $purpose in
	build) wanted+=" $BUILD" ;;
	check) wanted+=" $BUILD $LAB $CHECK $DISK $GUESTS $MODULE" ;;
	disk) wanted+=" $DISK" ;;
	lab) wanted+=" $LAB" ;;
	demo) wanted+=" $BUILD $LAB" ;;
	bench) wanted+=" $BUILD $LAB $MODULE $NET" ;;
	*) die "unknown purpose '$purpose': build, check, lab, demo, bench or disk" ;;
	esac
done
command -v apt-get >/dev/null ||
	die "this is not Debian; install by hand what these packages hold:$wanted"

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# The sanitizers' run-time library carries the version of the default clang in its name.
clang_runtime() {
	local version
	version=$({
		dpkg-query -W -f '${Depends}\n' clang 2>/dev/null
		apt-cache depends clang 2>/dev/null
	} | sed -n 's/.*clang-\([0-9][0-9]*\).*/\1/p' | head -n 1)
	echo "libclang-rt-${version:-14}-dev"
}

# find_missing: sets missing to the packages that are not installed
find_missing() {
	local package installed
	missing=
	installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | tr '\n' ' ') "
	for package in $wanted; do
		[ "$package" != clang-runtime ] || package=$(clang_runtime)
		case "$installed$missing " in
		*" $package "*) ;;
		*) missing+=" $package" ;;
		esac
	done
}

find_missing
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
	die "these packages are missing; as root: apt-get install$missing"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive

update() {
	as_root apt-get -qq update >"$log" 2>&1 || true
}

install() {
	# shellcheck disable=SC2086
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
		install $missing >"$log" 2>&1
}

lists=/var/lib/apt/lists
updated=0
if [ -z "$(find $lists -name '*_Packages*' 2>/dev/null | head -n 1)" ] ||
	[ -z "$(find $lists -maxdepth 0 -mtime -7)" ]; then
	update
	updated=1
	# Only now can the names that depend on a version be right.
	find_missing
fi
echo "installing:$missing"
if ! install; then
	# Lists that are behind the archive name files which are gone from it.
	if [ $updated = 0 ]; then
		update
		install && exit 0
	fi
	die "cannot install$missing: $(grep '^E:' "$log" | tail -n 1)"
fi
