#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# Where the KVM is: the same requests to the same disk under each VMM in turn, ROUNDS times, a line of
# figures for each kind of request; then what bantam itself counts.
# Usage: disk-inside.sh ROUNDS SECONDS QEMU-DATA-FOLDER
rounds=$1 seconds=$2
data=${3:+-L $3/qemu -L $3/seabios}
debug=/sys/kernel/debug/kvm
SIZE=32 # MiB, of the disk, which is in memory by then
LIMIT=60

# shellcheck disable=SC2086 # a list of words
qemu() {
	disk=$1 append=$2
	exec "$(command -v qemu-system-x86_64)" $data -accel kvm -cpu host -M pc -m 128 -smp 1 -nodefaults \
		-display none -serial stdio -no-reboot -kernel vmlinuz -initrd initrd -append "$append" \
		-drive "file=disk.img,format=raw,if=$disk"
}

bantam() {
	disk=$1 append=$2
	shift 2
	exec ./bantam run --kernel vmlinuz --initrd initrd --append "$append" --memory 128M --no-reboot \
		--disk "path=disk.img,if=$disk" "$@"
}

# append ACTIONS [WORD ...]: the command line of a guest
append() {
	actions=$1
	shift
	echo "console=ttyS0 quiet panic=-1 bantam.run=$actions $*"
}

# counters: KVM's own of the VM of process pid, all exits and those for a port
counters() {
	echo "$(cat $debug/$pid-*/exits 2>/dev/null) $(cat $debug/$pid-*/io_exits 2>/dev/null)"
}

# wait_for COUNT: until the guest has said so often that it waits
wait_for() {
	begun=$(cut -d . -f 1 /proc/uptime)
	until [ "$(grep -c '^test: waits' out)" -ge "$1" ]; do
		kill -0 $pid 2>/dev/null || return 1
		[ $(($(cut -d . -f 1 /proc/uptime) - begun)) -lt $LIMIT ] || return 1
		usleep 50000
	done
}

rm -f stdin
mkfifo stdin
exec 9<>stdin

# attempt NAME VMM DISK ACTIONS [WORD ...]: a guest that goes through the actions
attempt() {
	name=$1 vmm=$2 disk=$3 actions=$4
	shift 4
	: >out
	"$vmm" "$disk" "$(append "$actions" "$@")" <stdin >out 2>errors 9>&- &
	pid=$!
	: >counts
	i=0 waits=$(($(echo "$actions" | tr , '\n' | wc -l) * 2))
	while [ $i -lt $waits ] && wait_for $((i + 1)); do
		i=$((i + 1))
		counters >>counts
		echo >stdin
	done
	(
		sleep $LIMIT
		kill -9 $pid
	) 2>/dev/null &
	guard=$!
	wait $pid
	kill $guard 2>/dev/null
	if [ "$(grep -c '^dio ' out)" != $((waits / 2)) ]; then
		echo "# $name: it did not get to its end:"
		tail -n 5 out | cat - errors | head -n 25 | sed 's/^/# /'
		return 1
	fi
	# The dio lines and the pairs of counts are in the same order.
	tr -d '\r' <out | grep '^dio ' | awk -v name="$name" '
		BEGIN { while ((getline line <"counts") > 0) { split(line, f); n++; exits[n] = f[1]; io[n] = f[2] } }
		{
			for (i = 2; i <= NF; i++) { split($i, kv, "="); v[kv[1]] = kv[2] }
			printf "%s-%s %s %s %.2f %.2f %s\n", v["bytes"], v["op"], name, v["iops"],
				(exits[2 * NR] - exits[2 * NR - 1]) / v["n"], (io[2 * NR] - io[2 * NR - 1]) / v["n"], v["p50_us"]
		}'
}

# measure ...: as attempt(); a guest that has got stuck is given one more try
measure() {
	attempt "$@" || attempt "$@"
}

# tally NAME REQUESTS: how often each register was accessed, by the exits that bantam has counted in
# user space
tally() {
	./bantam exits --file exits.json | awk -v name="$1" -v requests="$2" '
		$1 ~ /^(ide|virtio-blk)[0-9]*[.]/ { print "count", name, requests, $0 }'
}

# count NAME REQUESTS BYTES OP DISK [WORD ...]: what Linux's drivers do
count() {
	name=$1 requests=$2 bytes=$3 op=$4 disk=$5
	shift 5
	bantam "$disk" "$(append "dio:$op:$bytes:600:0:$requests" "$@")" --exits=exits.json \
		<stdin >out 2>errors 9>&- &
	wait $!
	tally "$name" "$requests"
}

# count_multiple NAME REQUESTS: a driver that takes 8 KiB from READ MULTIPLE by one instruction
count_multiple() {
	./bantam run --kernel exits.elf --append "multiple=$2" --disk path=disk.img,if=ide \
		--exits=exits.json </dev/null >out 2>errors
	tally "$1" "$2"
}

echo "# case vmm iops exits io_exits p50_us"
cat disk.img >/dev/null
modes="read write mixed"
dma=''
for bytes in 512 4096 65536; do
	for mode in $modes; do
		dma="$dma${dma:+,}measure:$mode:$bytes:$seconds:$((SIZE << 20))"
	done
done
pio="measure:read:4096:$seconds:$((SIZE << 20)),measure:write:4096:$seconds:$((SIZE << 20))"
round=0
while [ $round -lt "$rounds" ]; do
	measure qemu-ide qemu ide "$dma"
	measure bantam-ide bantam ide "$dma"
	measure qemu-virtio qemu virtio "$dma"
	measure bantam-virtio bantam virtio "$dma"
	measure pio-qemu-ide qemu ide "$pio" libata.dma=0
	measure pio-bantam-ide bantam ide "$pio" libata.dma=0
	round=$((round + 1))
done
# A request of more than 256 sectors needs an EXT command.
for requests in 100 300; do
	count dma-read $requests 4096 read ide
	count dma-write $requests 4096 write ide
	count ext-read $requests 262144 read ide
	count pio-read $requests 4096 read ide libata.dma=0
	count pio-write $requests 4096 write ide libata.dma=0
	count_multiple multiple $requests
done
