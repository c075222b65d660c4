#!/bin/bash
# SPDX-License-Identifier: MIT
# A bare-metal guest's requests to a virtio disk on tmpfs, under bantam and under QEMU with an I/O
# thread, on this machine's own /dev/kvm: a line of figures for each run, interleaved.
# Usage: BANTAM=build/bantam bench/disk-bare.sh [ROUNDS]
set -euo pipefail

rounds=${1:-3}
guest=$(dirname "${BANTAM:?path of the built bantam}")/guests/blkrate.elf
work=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$work"' EXIT
head -c 32M /dev/urandom >"$work/disk.img"

bantam() {
	exec timeout 120 "$BANTAM" run --kernel "$guest" --append "$1" --memory 128M --no-reboot \
		--disk "path=$work/disk.img"
}

# The CPU without what KVM that is not a CPU's own cannot do.
qemu() {
	exec timeout 120 qemu-system-x86_64 -accel kvm -cpu host,-arch-capabilities -M pc -m 128 -nodefaults \
		-display none -serial stdio -no-reboot -kernel "$guest" -append "$1" \
		-object iothread,id=t -drive "file=$work/disk.img,format=raw,if=none,id=d,aio=$2" \
		-device virtio-blk-pci,drive=d,iothread=t,disable-legacy=on -device isa-debug-exit,iobase=0xf4,iosize=4
}

# ticks PID: of 10 ms that it has used, and its guest of them
ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13, $41 }'
}

# run CASE NAME APPEND COMMAND [ARG ...]
run() {
	local case=$1 name=$2 append=$3 command=$4 line pid before='' after='' result=''
	shift 4
	mkfifo "$work/lines"
	"$command" "$append" "$@" </dev/null >"$work/lines" 2>"$work/errors" &
	pid=$!
	while read -r line; do
		case $line in
		# The process that the shell knows is timeout.
		begin*) before=$(ticks "$(pgrep -P $pid)") ;;
		end*) after=$(ticks "$(pgrep -P $pid)") ;;
		rate*) result=${line%$'\r'} ;;
		esac
	done <"$work/lines"
	wait $pid || true
	rm "$work/lines"
	if [ -z "$result" ] || [ -z "$after" ]; then
		echo "# $name: it did not get to its end: $(tail -n 2 "$work/errors" | tr '\n' ' ')"
		return
	fi
	echo "$result $before $after" | awk -v case="$case" -v name="$name" '{
		for (i = 2; i <= NF - 4; i++) { split($i, kv, "="); v[kv[1]] = kv[2] }
		n = v["count"]
		printf "%s %s %.0f %.3f %.3f %.2f %.2f\n", case, name, n * 1e6 / v["us"], v["kicks"] / n,
			v["irqs"] / n, ($(NF - 1) - $(NF - 3)) * 1e4 / n, ($NF - $(NF - 2)) * 1e4 / n
	}'
}

# compare CASE APPEND
compare() {
	run "$1" bantam "$2" bantam
	run "$1" qemu-threads "$2" qemu threads
	run "$1" qemu-io_uring "$2" qemu io_uring
}

echo "# case vmm iops kicks irqs cpu_us guest_us"
for ((round = 0; round < rounds; round++)); do
	compare interrupts-1 "bytes=4096 depth=1 count=10000"
	compare interrupts-32 "bytes=4096 depth=32 count=30000"
	compare polled-1 "poll bytes=4096 depth=1 count=30000"
	compare polled-32 "poll bytes=4096 depth=32 count=300000"
done
