#!/bin/bash
# SPDX-License-Identifier: MIT
# Provide a QEMU that is steady enough for the lab: version 10 or newer. Older ones lose nested
# guests. Debian's installed one serves if it is new enough, else the one from backports is
# unpacked into the cache, beside the installed one and without touching it.
#
# Usage: fetch-qemu.sh CACHEDIR
#
# Prints the path of a program to be used like qemu-system-x86_64. Needs no root.
set -euo pipefail

WANTED=10
PACKAGE=qemu-system-x86
PROGRAM=qemu-system-x86_64

die() {
	echo "fetch-qemu: $*" >&2
	exit 1
}

[ $# = 1 ] || die "usage: fetch-qemu.sh CACHEDIR"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cache=$(cd "$1" && pwd)
exec 9>"$cache/.lock"
flock 9

major() {
	"$1" --version 2>/dev/null | sed -n '1s/.*version \([0-9]*\)\..*/\1/p'
}

for found in $(find "$cache" -mindepth 2 -maxdepth 2 -path '*/[0-9]*/qemu' | sort -rV); do
	echo "$found"
	exit 0
done
system=$(command -v $PROGRAM || true)
if [ -n "$system" ] && version=$(major "$system") && [ "${version:-0}" -ge $WANTED ]; then
	echo "$system"
	exit 0
fi

# fall_back REASON: the old one is better than none
fall_back() {
	[ -n "$system" ] || die "no QEMU: $1, and $PACKAGE is not installed"
	echo "fetch-qemu: warning: $1; using QEMU ${version:-?}, which may lose guests" >&2
	echo "$system"
	exit 0
}

release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
[ -n "$release" ] || fall_back "this is not a Debian release"
suite=$release-backports
work=$cache/.fetch
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
trap 'rm -rf "$work"' EXIT

# The machine's own sources of this release, and of its backports.
"$here/../../guests/linux/apt-sources.sh" "$release" | while read -r entry; do
	echo "deb $entry $release main"
	echo "deb $entry $suite main"
done >"$work/sources.list"
[ -s "$work/sources.list" ] || fall_back "apt's sources name no archive for $release"

apt=(-qq
	-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
	-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
	-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
	-o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::archives=archives
	-o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Acquire::Languages=none)

echo "fetching: QEMU $WANTED or newer from $suite, into the cache" >&2
# A mirror without backports is an error of update's, but whatever it did fetch may be enough.
apt-get "${apt[@]}" update >"$work/apt.log" 2>&1 || true
# Libraries that this machine has already are not downloaded again.
apt-get "${apt[@]}" -y --no-install-recommends -t "$suite" --download-only \
	install $PACKAGE >>"$work/apt.log" 2>&1 ||
	fall_back "$suite cannot be had: $(grep '^E:' "$work/apt.log" | head -n 1)"
for deb in "$work"/cache/archives/*.deb; do
	[ -e "$deb" ] || fall_back "$suite has nothing newer"
	dpkg-deb -x "$deb" "$work/root"
done

cat >"$work/root/qemu" <<'END'
#!/bin/sh
# The unpacked QEMU with its own libraries, modules and firmware.
root=${0%/*}
lib=usr/lib/x86_64-linux-gnu
LD_LIBRARY_PATH=$root/$lib:$root/lib/x86_64-linux-gnu QEMU_MODULE_DIR=$root/$lib/qemu \
exec "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
END
chmod +x "$work/root/qemu"
got=$(major "$work/root/qemu")
[ "${got:-0}" -ge $WANTED ] || fall_back "$suite has only QEMU ${got:-?}"
full=$("$work/root/qemu" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
rm -rf "$work/root/usr/share/doc" "$work/root/usr/share/man" "${cache:?}/$full"
mv "$work/root" "$cache/$full"
echo "$cache/$full/qemu"
