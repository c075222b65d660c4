#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# Where the KVM is: one round of the same requests to the same disk under each VMM in turn, a line of
# figures for each kind of request; or, as "counts", what bantam itself counts of IDE's.
# Usage: disk-inside.sh ide|tmpfs|disk|counts some|full SECONDS QEMU-DATA-FOLDER
part=$1 matrix=$2 seconds=$3
data=${4:+-L $4/qemu -L $4/seabios}
debug=/sys/kernel/debug/kvm
tracing=/sys/kernel/tracing
SIZE=32 # MiB, of the disk, which is in memory by then
LIMIT=90

# shellcheck disable=SC2086 # a list of words
qemu() {
	append=$1
	shift
	exec "$(command -v qemu-system-x86_64)" $data -accel kvm -cpu host -M pc -m 256 -smp 1 -nodefaults \
		-display none -serial stdio -no-reboot -kernel vmlinuz -initrd initrd -append "$append" "$@"
}

bantam() {
	append=$1
	shift
	exec ./bantam run --kernel vmlinuz --initrd initrd --append "$append" --memory 256M --no-reboot "$@"
}

qemu_ide() {
	qemu "$1" -drive "file=disk.img,format=raw,if=ide"
}

qemu_virtio() {
	qemu "$1" -drive "file=disk.img,format=raw,if=virtio"
}

# qemu_aio APPEND IMAGE threads|native|io_uring CACHE: the fastest way that QEMU has
qemu_aio() {
	qemu "$1" -object iothread,id=t -drive "file=$2,format=raw,if=none,id=d,aio=$3,cache=$4" \
		-device virtio-blk-pci,drive=d,iothread=t
}

bantam_ide() {
	bantam "$1" --disk path=disk.img,if=ide
}

# bantam_virtio APPEND [IMAGE [CACHE]]
bantam_virtio() {
	bantam "$1" --disk "path=${2:-disk.img},if=virtio${3:+,cache=$3}"
}

# append ACTIONS [WORD ...]: the command line of a guest
append() {
	actions=$1
	shift
	echo "console=ttyS0 quiet panic=-1 bantam.run=$actions $*"
}

# counters: KVM's own of the VM of process pid (all exits, those for a port, halts), those that
# reached user space, and the ticks of 10 ms that the process has used, and its guest of them
counters() {
	for counter in exits io_exits halt_exits; do
		cat $debug/$pid-*/$counter
	done
	cat $tracing/per_cpu/cpu*/stats 2>/dev/null |
		awk '$1 == "entries:" || $1 == "overrun:" { n += $2 } END { print n + 0 }'
	sed 's/.*) //' /proc/$pid/stat | awk '{ print $12 + $13, $41 }'
}

# wait_for COUNT: until the guest has said so often that it waits
wait_for() {
	begun=$(cut -d . -f 1 /proc/uptime)
	until [ "$(grep -c '^test: waits' out)" -ge "$1" ]; do
		kill -0 $pid 2>/dev/null || return 1
		[ $(($(cut -d . -f 1 /proc/uptime) - begun)) -lt $LIMIT ] || return 1
		usleep 20000
	done
}

rm -f stdin
mkfifo stdin
exec 9<>stdin

# attempt NAME ACTIONS COMMAND [ARG ...]: a guest that goes through the actions, its command line
# COMMAND's first argument; append are words for that
attempt() {
	name=$1 actions=$2 command=$3
	shift 3
	: >out
	"$command" "$(append "$actions" "$words")" "$@" <stdin >out 2>errors 9>&- &
	pid=$!
	: >counts
	i=0 waits=$(($(echo "$actions" | tr , '\n' | wc -l) * 2))
	while [ $i -lt $waits ] && wait_for $((i + 1)); do
		i=$((i + 1))
		counters | tr '\n' ' ' >>counts
		echo >>counts
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
	# The dio lines and the pairs of counts are in the same order. The first, with one request, says
	# what it costs to tell of waiting and be told to go on.
	tr -d '\r' <out | grep '^dio ' | awk -v name="$name" -v prefix="$prefix" '
		BEGIN { while ((getline line <"counts") > 0) count[++n] = line }
		{
			for (i = 2; i <= NF; i++) { split($i, kv, "="); v[kv[1]] = kv[2] }
			split(count[2 * NR - 1], a)
			split(count[2 * NR], b)
			for (i = 1; i <= 6; i++) {
				b[i] -= a[i]
				if (NR == 1)
					base[i] = b[i]
			}
			if (NR == 1)
				next
			printf "%s%s-%s-%s-%s %s %s", prefix, v["bytes"], v["op"], v["order"], v["depth"], name, v["iops"]
			for (i = 1; i <= 4; i++)
				printf " %.3f", (b[i] - base[i]) / v["n"]
			for (i = 5; i <= 6; i++)
				printf " %.1f", b[i] * 10000 / v["n"]
			printf " %s\n", v["p50_us"]
		}'
}

# measure ...: as attempt(); a guest that has got stuck is given one more try
measure() {
	attempt "$@" || attempt "$@"
}

# requests MODE BYTES DEPTH ORDER ...: the actions for these
requests() {
	list=measure:read:512:1:0:1
	while [ $# -ge 4 ]; do
		one="measure:$1:$2:$seconds:$((SIZE << 20)):4000000:$3"
		[ "$4" = random ] || one=$one:$4
		list=$list,$one
		shift 4
	done
	echo "$list"
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
	bantam "$(append "dio:$op:$bytes:600:0:$requests" "$@")" --disk "path=disk.img,if=$disk" --exits=exits.json \
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

# Those that reach user space are what a tracepoint has counted.
count_user_exits() {
	mount -t tracefs tracefs $tracing 2>/dev/null
	echo "$1" >$tracing/events/kvm/kvm_userspace_exit/enable
}

part_ide() {
	kinds=''
	for bytes in 512 4096 65536; do
		kinds="$kinds read $bytes 1 random write $bytes 1 random mixed $bytes 1 random"
	done
	# shellcheck disable=SC2086 # a list of words
	dma=$(requests $kinds)
	pio=$(requests read 4096 1 random write 4096 1 random)
	count_user_exits 1
	measure qemu-ide "$dma" qemu_ide
	measure bantam-ide "$dma" bantam_ide
	measure qemu-virtio "$dma" qemu_virtio
	measure bantam-virtio "$dma" bantam_virtio
	words=libata.dma=0
	measure pio-qemu-ide "$pio" qemu_ide
	measure pio-bantam-ide "$pio" bantam_ide
	count_user_exits 0
}

# A request of more than 256 sectors needs an EXT command.
part_counts() {
	for requests in 100 300; do
		count dma-read $requests 4096 read ide
		count dma-write $requests 4096 write ide
		count ext-read $requests 262144 read ide
		count pio-read $requests 4096 read ide libata.dma=0
		count pio-write $requests 4096 write ide libata.dma=0
		count_multiple multiple $requests
	done
}

# some_kinds, full_kinds: lines of kinds of requests; each is a guest of its own, a kernel's command
# line takes no more
some_kinds() {
	for depth in 1 8 32; do
		for bytes in 512 4096 65536; do
			printf 'read %s %s random ' $bytes $depth
		done
		echo "read 4096 $depth seq read 1048576 $depth seq write 4096 $depth random"
	done | tr '\n' ' '
	echo
}

full_kinds() {
	for mode in read write; do
		for order in random seq; do
			for depth in 1 8 32; do
				for bytes in 512 4096 65536 1048576; do
					printf '%s %s %s %s ' $mode $bytes $depth $order
				done
			done
			echo
		done
	done
}

# each_kind VMM COMMAND [ARG ...]: all of the matrix's
each_kind() {
	vmm=$1
	shift
	# Not in a pipe: whoever is started reads the standard input.
	while read -r kinds <&8; do
		# shellcheck disable=SC2086 # a list of words
		measure "$vmm" "$(requests $kinds)" "$@"
	done 8<kinds
}

part_tmpfs() {
	prefix=tmpfs-
	cp disk.img /tmp/disk.img
	count_user_exits 1
	each_kind bantam bantam_virtio /tmp/disk.img
	each_kind qemu-threads qemu_aio /tmp/disk.img threads writeback
	each_kind qemu-io_uring qemu_aio /tmp/disk.img io_uring writeback
	count_user_exits 0
}

# aio=native is for O_DIRECT only, so all go past the page cache.
part_disk() {
	prefix=disk-
	count_user_exits 1
	each_kind bantam bantam_virtio disk.img none
	each_kind qemu-threads qemu_aio disk.img threads none
	each_kind qemu-native qemu_aio disk.img native none
	each_kind qemu-io_uring qemu_aio disk.img io_uring none
	count_user_exits 0
}

echo "# case vmm iops exits io_exits halt_exits user_exits cpu_us guest_us p50_us"
cat disk.img >/dev/null
prefix='' words=''
"${matrix}_kinds" >kinds
"part_$part"
