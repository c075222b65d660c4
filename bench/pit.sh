#!/bin/bash
# SPDX-License-Identifier: MIT
# What a guest's timer costs: a bare-metal guest that asks for 1000 ticks a second, under the timer in user
# space without and with a cap of 100 Hz, under KVM's, and under QEMU's with KVM's (two policies for lost ticks)
# and with its own; interleaved in one run. VM exits a second, ticks a second that the guest has counted, what a
# fixed computation took and what an IDE disk gave by PIO beside them. In the lab where this host's /dev/kvm
# cannot run QEMU's machines (BENCH_LAB=0|1 decides otherwise).
#
# Usage: BANTAM=build/bantam bench/pit.sh [ROUNDS]	(5)
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-5}
out=$top/build/bench
work=$(mktemp -d)
# shellcheck source=beside.sh
. "$top/bench/beside.sh"
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

cp "${BANTAM:?path of the built bantam}" "$work/bantam"
cp "$(dirname "$BANTAM")/guests/load.elf" "$top/bench/pit-inside.sh" "$work/"
head -c 8M /dev/urandom >"$work/disk.img"

run_inside $((rounds * 240 + 60)) pit-inside.sh "$rounds" | tr -d '\r' | tee "$out/pit.csv"
"$top/bench/summary.sh" "$out/pit.csv" | tee "$out/pit.txt"
