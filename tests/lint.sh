#!/bin/bash
# SPDX-License-Identifier: MIT
# What the compilers do not check of the design. Prints TAP.
#
# Usage: lint.sh floors		includes go down only
#	 lint.sh files		licence line, length
#	 lint.sh data BUILD	no mutable data at file scope, by the object files of a build
#	 lint.sh patches	those for Linux apply, if its source is in the cache: fetch-source.sh
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tap.sh
. tests/tap.sh

# floor FOLDER ALLOWED: files in FOLDER include, by path from the root, only from ALLOWED
floor() {
	local bad
	[ -d "$1" ] || return 0
	bad=$(find "$1" -name '*.[chS]' -exec grep -H -n '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' {} + |
		grep -v -E "\"($2)/[^\"]*\"")
	if [ -z "$bad" ]; then
		ok "$1 includes only ${2//|/, }"
	else
		not_ok "$1 includes more than ${2//|/, }"
		echo "# ${bad//$'\n'/$'\n'# }"
	fi
}

floors() {
	floor base base
	floor backends 'backends|base'
	floor devices 'devices|backends|base'
	floor symbols 'symbols|base'
	floor cpu 'cpu|base|guests/include'
	floor firmware 'firmware|base|guests/include'
	floor vmm 'vmm|firmware|symbols|cpu|devices|backends|base|guests/include'
	floor guests/baremetal 'guests/baremetal|guests/include|base/platform.h|base'
	# Guests run inside: of ours they may know only the page of addresses.
	local bad
	bad=$(grep -r -n '#include "base/' guests/baremetal | grep -v '"base/platform.h"')
	is "guests/baremetal includes of base only platform.h" "$bad" ""
}

files() {
	local file lines
	while IFS= read -r file; do
		case $(head -n 3 "$file") in
		*SPDX-License-Identifier:\ MIT*) ;;
		*)
			not_ok "$file: its first line is not the licence"
			continue
			;;
		esac
		lines=$(wc -l <"$file")
		if [ "$lines" -gt 800 ]; then
			not_ok "$file: $lines lines, more than 800"
		fi
	done < <(find base backends symbols cpu devices firmware vmm guests tests bench -name '*.[chS]')
	[ $tap_failed != 0 ] || ok "every file has its licence line and at most 800 lines"
}

# Const tables with pointers in them lie in .data.rel.ro: constant once the program runs.
data() {
	local file bad
	for file in base backends symbols cpu devices firmware vmm; do
		bad=$(find "$1/$file" -name '*.o' -exec objdump -t {} + |
			awk '/file format/ { file = $1 }
				$4 ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && $4 !~ /^\.data\.rel\.ro/ && $5 !~ /^0+$/ { print "# " file " " $NF }
				$3 ~ /^(\.data|\.bss|\*COM\*)/ && $3 !~ /^\.data\.rel\.ro/ && $4 !~ /^0+$/ { print "# " file " " $NF }')
		if [ -z "$bad" ]; then
			ok "$file has no mutable data at file scope"
		else
			not_ok "$file has mutable data at file scope"
			echo "$bad"
		fi
	done
}

# Exactly: where it says, without fuzz.
patches() {
	local cache=${BANTAM_CACHE:-build/cache}/source source tree patch
	source=$(find "$cache" -maxdepth 1 -name 'linux-source-*' 2>/dev/null | head -n 1)
	for patch in guests/linux/patches/*.patch; do
		if [ -z "$source" ]; then
			skip "$patch" "no source: guests/linux/fetch-source.sh $cache"
			continue
		fi
		tree=$(mktemp -d)
		cp -R "$source/." "$tree/"
		if patch -p1 --fuzz=0 -d "$tree" <"$patch" >"$tree/log" 2>&1 && ! grep -q offset "$tree/log"; then
			ok "$patch applies to ${source##*/}"
		else
			not_ok "$patch applies to ${source##*/}" "$tree/log"
		fi
		rm -rf "$tree"
	done
}

case ${1:-} in
floors | files | patches) "$1" ;;
data) data "$2" ;;
*)
	echo "usage: lint.sh floors | files | patches | data BUILD" >&2
	exit 2
	;;
esac
tap_end
