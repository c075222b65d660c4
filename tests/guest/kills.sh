#!/bin/bash
# SPDX-License-Identifier: MIT
# Kill bantam at random points while a guest writes and flushes, and look at what is left: each
# time, all that was flushed must be there, and nothing may be half of a write
# (guests/baremetal/durable.c); a qcow2 image must be without corruption.
#
# Usage: kills.sh BANTAM GUESTS [KILLS]
#
# KILLS (50, and 20 in make check) are shared out between raw and qcow2 images, cached and not. Prints TAP.
# TEST_OUT keeps what the guests printed, and the images.
set -u

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || {
	echo "usage: kills.sh BANTAM GUESTS [KILLS]" >&2
	exit 2
}
bantam=$(realpath "$1")
guest=$(realpath "$2")/durable.elf
kills=${3:-50}
# shellcheck source=../tap.sh
. "$here/../tap.sh"
if ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
	skip "killed at random" "there is no /dev/kvm"
	tap_end
	exit
fi
if [ -n "${TEST_OUT:-}" ]; then
	out=$TEST_OUT
	mkdir -p "$out"
else
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
cd "$out" || exit 2

# start NAME OPTIONS APPEND: sets pid
start() {
	"$bantam" run --kernel "$guest" --append "$3" --disk "path=$1.img,$2" \
		</dev/null >"$1.out" 2>"$1.err" &
	pid=$!
}

# writing NAME: it has verified what was there, and writes; false: it is dead, or says nothing
writing() {
	local tries=0
	until grep -q '^verified' "$1.out"; do
		kill -0 $pid 2>/dev/null && [ $((tries += 1)) -lt 600 ] || return 1
		sleep 0.1
	done
}

# promised NAME: the last flush whose line came out in full
promised() {
	tr -d '\r' <"$1.out" | sed -n 's/^flushed \([0-9]*\)$/\1/p' | tail -n 1
}

# clean NAME: qemu-img finds no corruption; leaks are what a crash may leave
clean() {
	local tries=0 found
	while :; do
		qemu-img check -q -f qcow2 "$1.img" >"$1.check" 2>&1
		found=$?
		# The kernel may still be ending what the dead process had begun, under its lock.
		grep -q 'Failed to lock' "$1.check" && [ $((tries += 1)) -lt 100 ] || break
		sleep 0.05
	done
	[ $found = 0 ] || [ $found = 3 ]
}

# killed NAME OPTIONS CHECK TIMES: CHECK is what the image must pass after each kill
killed() {
	local name=$1 flushed=0 now i
	for i in $(seq "$4"); do
		start "$name" "$2" "flushed=$flushed"
		if ! writing "$name"; then
			kill -KILL $pid 2>/dev/null
			wait $pid 2>/dev/null
			not_ok "$name: what was flushed before kill $((i - 1)) is there" "$name.out" "$name.err"
			return
		fi
		sleep "0.$(printf %03d $((20 + RANDOM % 500)))"
		kill -KILL $pid
		wait $pid 2>/dev/null
		now=$(promised "$name")
		flushed=${now:-$flushed}
		if ! "$3" "$name"; then
			not_ok "$name: the image is sound after kill $i" "$name.check"
			return
		fi
	done
	start "$name" "$2" "flushed=$flushed verify-only"
	wait $pid
	is "$name: after $4 kills all that was flushed is there (up to write $flushed)" $? 0 \
		"$name.out" "$name.err"
	check "$name: there was something to lose" [ "$flushed" -gt 0 ]
	check "$name: the image is sound" "$3" "$name"
}

# image NAME [OPTION ...]: 4 MiB of qcow2
image() {
	local name=$1
	shift
	qemu-img create -q -f qcow2 "$@" "$name.img" 4M
}

# Of each process that it kills the shell would say so.
{
	part=$(((kills + 5) / 6))
	truncate -s 4M raw.img direct.img
	killed raw "cache=writeback" true $part
	killed direct "cache=none" true $part
	image qcow2
	killed qcow2 "format=qcow2" clean $part
	image small -o cluster_size=512,refcount_bits=1
	killed small "format=qcow2" clean $part
	image lazy -o cluster_size=4096,lazy_refcounts=on
	killed lazy "format=qcow2,cache=none" clean $part
	image small-direct -o cluster_size=512
	killed small-direct "format=qcow2,cache=none" clean $part
} 2>/dev/null
tap_end
