# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# What the test scripts share, for any POSIX shell (the lab's is busybox). Source it.
# Prints TAP; the plan comes last, by tap_end, which also says whether anything failed.

tap_n=0
tap_failed=0

ok() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $*"
}

# not_ok NAME [FILE ...]: the files' last lines follow as comments
not_ok() {
	tap_n=$((tap_n + 1))
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_n - $1"
	shift
	for tap_file in "$@"; do
		[ ! -s "$tap_file" ] || tail -n 25 "$tap_file" | tr -d '\r' | sed "s|^|# ${tap_file##*/}: |"
	done
}

skip() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

# check NAME COMMAND [ARG ...]
check() {
	tap_name=$1
	shift
	if "$@"; then
		ok "$tap_name"
	else
		not_ok "$tap_name"
		echo "# failed: $*"
	fi
}

# is NAME GOT WANTED [FILE ...]
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		tap_name=$1 tap_got=$2 tap_want=$3
		shift 3
		not_ok "$tap_name: got '$tap_got', wanted '$tap_want'" "$@"
	fi
}

tap_end() {
	echo "1..$tap_n"
	[ "$tap_failed" = 0 ]
}
