#!/bin/bash
# SPDX-License-Identifier: MIT
# Where this machine gets its Debian packages: apt's own sources of a release, each with its mirror
# and key, whichever of apt's two formats they are in. Prints "[OPTION=...] URI", one a line, to be
# put between "deb" and a suite's name.
#
# Usage: apt-sources.sh RELEASE
set -euo pipefail

[ $# = 1 ] || {
	echo "usage: apt-sources.sh RELEASE" >&2
	exit 2
}
release=$1

{
	[ ! -d /etc/apt/sources.list.d ] || find /etc/apt/sources.list.d -name '*.sources' \
		-exec awk -v release="$release" '
			function flush_stanza(	n, u, i, opts) {
				if (uris != "" && off != "no" && index(" " suites " ", " " release " ")) {
					if (key != "" && !inline_key)
						opts = "[signed-by=" key "] "
					n = split(uris, u, " ")
					for (i = 1; i <= n; i++)
						print opts u[i]
				}
				uris = suites = key = off = field = ""
				inline_key = 0
			}
			FNR == 1 { flush_stanza() }
			/^#/ { next }
			/^[ \t]*$/ { flush_stanza(); next }
			/^[ \t]/ {
				sub(/^[ \t]+/, "")
				if (field == "uris") uris = uris " " $0
				if (field == "suites") suites = suites " " $0
				if (field == "signed-by") inline_key = 1
				next
			}
			{
				field = tolower($1)
				sub(/:.*/, "", field)
				value = $0
				sub(/^[^:]*:[ \t]*/, "", value)
				if (field == "uris") uris = value
				if (field == "suites") suites = value
				if (field == "signed-by") key = value
				if (field == "enabled") off = tolower(value)
			}
			END { flush_stanza() }' {} +
	{ find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.list' -exec cat {} + || true; } 2>/dev/null |
		awk -v release="$release" '
			$1 == "deb" {
				opts = ""
				line = $0
				sub(/^deb[ \t]+/, "", line)
				if (line ~ /^\[/) {
					opts = line
					sub(/\].*/, "] ", opts)
					sub(/^[^]]*\][ \t]*/, "", line)
				}
				split(line, f, /[ \t]+/)
				if (f[2] == release)
					print opts f[1]
			}'
} | sort -u
