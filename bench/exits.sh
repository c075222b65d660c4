#!/bin/bash
# SPDX-License-Identifier: MIT
# Nanoseconds per exit to user space and back, for an empty port write in a tight loop: the bare
# KVM_RUN loop (the floor), and bantam without accounts, with them, and with the profile. On this
# machine's /dev/kvm, and in the lab where that one interprets guest kernels (BENCH_LAB=0|1: only
# here, only there).
#
# Usage: bench/exits.sh EXITCOST [ROUNDS [WRITES]]	(25 20000)
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
exitcost=$(realpath "${1:?path of the built exitcost}")
rounds=${2:-25} writes=${3:-20000}
out=$top/build/bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# report WHERE: the figures in $out/exits-WHERE.csv, and the bars
report() {
	echo
	echo "$1:"
	"$top/bench/summary.sh" "$out/exits-$1.csv"
	awk '$1 != "#" { v[$1, ++n[$1]] = $2 }
	function median(name,   i, k, x, m) {
		m = n[name]
		for (i = 1; i <= m; i++) a[i] = v[name, i]
		for (i = 2; i <= m; i++) {
			x = a[i]
			for (k = i - 1; k > 0 && a[k] > x; k--) a[k + 1] = a[k]
			a[k + 1] = x
		}
		return m % 2 ? a[(m + 1) / 2] : (a[m / 2] + a[m / 2 + 1]) / 2
	}
	function bar(what, ratio, limit) {
		printf "%-28s %.3f, bar %.2f: %s\n", what, ratio, limit, ratio <= limit ? "met" : "MISSED"
	}
	END {
		bar("accounts on / floor", median("on") / median("floor"), 1.10)
		bar("accounts on / off", median("on") / median("off"), 1.03)
	}' "$out/exits-$1.csv"
}

{
	if [ "${BENCH_LAB:-0}" = 0 ] && [ -w /dev/kvm ]; then
		"$exitcost" "$rounds" "$writes" >"$out/exits-here.csv"
		report here
	fi
	if [ "${BENCH_LAB:-1}" = 1 ] && { [ -n "${BENCH_LAB:-}" ] || [ -d /sys/module/kvm_pvm ] || ! [ -w /dev/kvm ]; }; then
		cp "$exitcost" "$work/exitcost"
		"$top/tests/lab/lab" --timeout 500 --memory 1024 --with "$work/exitcost" "$work" -- \
			./exitcost "$rounds" "$writes" | tr -d '\r' | grep -E '^(#|[a-z]+ [0-9])' >"$out/exits-lab.csv"
		report lab
	fi
} | tee "$out/exits.txt"
