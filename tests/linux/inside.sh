#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# Stock Linux under bantam, on a /dev/kvm that can run it: the part of run.sh that runs in the
# lab, or directly where the host's own KVM will do. For any POSIX shell.
#
# Usage: inside.sh TEST ...
#
# In the working folder lie bantam, disktool, jsonget, tap.sh, pc.sh, disks.sh, pit.sh, coalesce.sh,
# net.sh, net_user.sh, vmlinuz, vmlinux, initramfs, disk.img, for the test "generic" vmlinuz-generic
# and initramfs-generic, and what pc.sh, disks.sh, coalesce.sh and net.sh name. What the host is to
# look at goes to $LAB_OUT.
#
# A test may have an argument, TEST:ARGUMENT. It prints its verdicts at its end. A guest that makes
# no progress within its time is a stall, not a failure: exit status 75 after "# stalled: TEST", and
# run.sh goes on from there in a fresh lab. So is one that the lab's KVM has given up: under every VMM
# it loses one now and then, on a busy machine. DIRECT=1 says that this is no lab.
set -u
STALL=75

# shellcheck source=../tap.sh
. ./tap.sh
# Two L1s beside each other are slow: what counts is only that it ends.
out=$LAB_OUT
mkdir -p "$out"
stalled=0

# shellcheck source=pc.sh
. ./pc.sh
# shellcheck source=pit.sh
. ./pit.sh
# shellcheck source=disks.sh
. ./disks.sh
# shellcheck source=coalesce.sh
. ./coalesce.sh
# shellcheck source=net.sh
. ./net.sh
# shellcheck source=net_user.sh
. ./net_user.sh

# Of bantam's stdin nothing ever comes, and it does not end.
rm -f stdin
mkfifo stdin
exec 9<>stdin

say() {
	echo "# $(cut -d ' ' -f 1 /proc/uptime) $*"
}

# boot NAME ACTIONS [OPTION ...]: runs the guest of initramfs to its end; sets status.
# kernel, initrd and extra (words for the command line) may be set before.
boot() {
	name=$1 actions=$2
	shift 2
	timeout -k 2 $LIMIT ./bantam run --kernel "${kernel:-vmlinuz}" --initrd "${initrd:-initramfs}" \
		--append "console=ttyS0 quiet bantam.run=$actions ${extra:-}" "$@" \
		<stdin >"$name.raw" 2>"$name.err" 9>&-
	status=$?
	# The fifo may have been closed by timeout's signal; what counts is the guest's output.
	tr -d '\r' <"$name.raw" >"$name.out"
	[ $status != 124 ] && [ $status != 137 ] || stalled=1
}

# start NAME ACTIONS [OPTION ...]: the same in the background; sets pid. input (a fifo of its own) and
# within (the command that runs it) may be set before.
start() {
	name=$1 actions=$2
	shift 2
	: >"$name.raw"
	# A fifo that is open for writing, too, does not end.
	${within:-} ./bantam run --kernel vmlinuz --initrd "${initrd:-initramfs}" \
		--append "console=ttyS0 quiet bantam.run=$actions ${extra:-}" "$@" \
		<>"${input:-stdin}" >"$name.raw" 2>"$name.err" 9>&- &
	pid=$!
}

# wait_for NAME TEXT [TIMES]: until the guest has printed it; 1: it has not
wait_for() {
	tries=0
	until [ "$(grep -c "$2" "$1.raw")" -ge "${3:-1}" ]; do
		tries=$((tries + 1))
		if [ $tries -gt $((LIMIT * 10)) ] || ! kill -0 $pid 2>/dev/null; then
			kill -0 $pid 2>/dev/null && stalled=1
			return 1
		fi
		sleep 0.1
	done
}

# stop SIGNAL: ends the guest that start() started; sets status
stop() {
	kill -"$1" $pid 2>/dev/null
	(
		sleep 20
		kill -KILL $pid
	) 2>/dev/null &
	guard=$!
	wait $pid 2>/dev/null
	status=$?
	kill $guard 2>/dev/null
}

# runtime: machines that are named can be told things until no_runtime
runtime() {
	mkdir -p runtime
	chmod 700 runtime
	export XDG_RUNTIME_DIR="$PWD/runtime"
}

no_runtime() {
	unset XDG_RUNTIME_DIR
	rm -rf runtime
}

# said NAME TEXT: the guest has printed the line "test: TEXT"
said() {
	if grep -q -x "test: $2" "$1.out"; then
		ok "$1: guest: $2"
	else
		not_ok "$1: guest: $2" "$1.out" "$1.err"
	fi
}

# value NAME KEY: the rest of the line "test: KEY "
value() {
	sed -n "s/^test: $2 //p" "$1.out" | head -n 1
}

ended() {
	is "$1: exit status" "$status" "$2" "$1.out" "$1.err"
}

# between NAME VALUE LOW HIGH
between() {
	if [ "${2:-0}" -ge "$3" ] && [ "${2:-0}" -le "$4" ]; then
		ok "$1: $2"
	else
		not_ok "$1: '$2' is not from $3 to $4"
	fi
}

# --- the tests ------------------------------------------------------------------

# One CPU, 128 MiB: the machine, the disk, power-off, what the exits cost.
test_one() {
	cp disk.img one.img
	boot one cpus,mem,clock,pci,irqs,disk-info,disk-verify,disk-write:2048 --cpus 1 --memory 128M \
		--disk path=one.img,if=virtio,format=raw,serial=bantam-0 --exits=one.json --no-reboot
	ended one 0
	said one "cpus 1"
	between "one: MemTotal in KiB" "$(value one memkb)" 80000 131072
	check "one: a clock source that is no PIT" grep -q -E 'clocksource (kvm-clock|tsc)' one.out
	said one "pci 00:00.0 8086:1237 060000"
	said one "pci 00:01.0 8086:7000 060100"
	check "one: the disk is there" grep -q '^test: pci .* 1af4:1001 ' one.out
	check "one: the disk has MSI-X" grep -q '^test: irq .*MSI.*virtio' one.out
	said one "disk $(($(wc -c <disk.img) / 512)) sectors ro 0 serial bantam-0"
	said one "verify ok"
	check "one: it has written" grep -q '^test: write ok ' one.out
	cp one.img one.out one.json "$out/"

	total=$(./jsonget one.json total.exits)
	between "one: exits until power-off" "$total" 100 20000
	for reason in io-in io-out mmio-read mmio-write; do
		count=$(./jsonget one.json total.reasons.$reason.count)
		check "one: exits by $reason: ${count:-none}" [ "${count:-0}" -gt 0 ]
	done
	is "one: they are all of one CPU" "$(./jsonget one.json cpus.0.exits)" "$total"
	check "one: KVM's own counters" [ "$(./jsonget one.json kvm.vcpu.exits)" -ge "$total" ]
}

# Two CPUs, 256 MiB, a read-only disk, the exit table.
test_two() {
	cp disk.img two.img
	boot two cpus,mem,irqs,disk-info,disk-verify --cpus 2 --memory 256M \
		--disk path=two.img,readonly=on --exits --no-reboot
	ended two 0
	said two "cpus 2"
	between "two: MemTotal in KiB" "$(value two memkb)" 190000 262144
	check "two: the disk is read-only" grep -q '^test: disk .* ro 1 ' two.out
	said two "verify ok"
	check "two: the image is as it was" cmp disk.img two.img
	check "two: --exits prints a table" grep -q '^io-out ' two.err
	is "two: with a line for each CPU" "$(grep -c -E '^[01]  +[0-9]' two.err)" 2 two.err
}

# RAM on both sides of the hole below 4 GiB.
test_big() {
	boot big cpus,mem --cpus 2 --memory 5G --no-reboot
	ended big 0
	said big "cpus 2"
	between "big: MemTotal in KiB" "$(value big memkb)" 4900000 5242880
}

# The ELF inside the bzImage, by its PVH entry.
test_pvh() {
	kernel=vmlinux
	boot pvh cpus,mem --cpus 1 --memory 128M --no-reboot
	kernel=
	ended pvh 0
	said pvh "cpus 1"
}

# Debian's ordinary kernel: another configuration, ext4 as a module.
test_generic() {
	cp disk.img generic.img
	kernel=vmlinuz-generic initrd=initramfs-generic
	boot generic cpus,mem,disk-verify --cpus 2 --memory 256M --disk path=generic.img --no-reboot
	kernel='' initrd=''
	ended generic 0
	said generic "cpus 2"
	said generic "verify ok"
}

# A guest that restarts itself comes up again; under --no-reboot it ends.
test_reboot() {
	boot reboot-once reboot --no-reboot
	ended reboot-once 0
	is "reboot-once: it ran once" "$(grep -c 'init: first line' reboot-once.out)" 1
	start reboot cpus,reboot --cpus 2
	if wait_for reboot 'test: cpus 2' 3; then
		ok "reboot: it came up three times, with both CPUs"
	else
		[ $stalled = 1 ] || not_ok "reboot: it came up three times" reboot.raw reboot.err
	fi
	stop TERM
	is "reboot: SIGTERM ends it" "$status" 143 reboot.err
}

# A panic with panic=1 restarts the guest.
test_panic() {
	extra="panic=1"
	boot panic-once panic --no-reboot
	ended panic-once 0
	check "panic-once: it did panic" grep -q 'Kernel panic' panic-once.out
	start panic cpus,panic
	extra=
	if wait_for panic 'test: cpus 1' 2; then
		ok "panic: it came up again"
	else
		[ $stalled = 1 ] || not_ok "panic: it came up again" panic.raw panic.err
	fi
	stop TERM
	is "panic: SIGTERM ends it" "$status" 143 panic.err
}

# What the host's kernel serves alone of the ports: PIC, PIT, ELCR.
KERNEL_PORTS='0x(20|21|a0|a1|40|41|42|43|61|4d0|4d1)'

# What exited, which of the guest's functions did it, and whether KVM counts the same.
test_exits() {
	trace=/sys/kernel/tracing
	cp disk.img exits.img
	echo 0 >$trace/tracing_on
	echo 16384 >$trace/buffer_size_kb
	echo >$trace/trace
	echo 1 >$trace/events/kvm/kvm_pio/enable
	echo 1 >$trace/tracing_on
	boot exits disk-info,disk-verify,disk-write:64 --cpus 1 --memory 128M \
		--disk path=exits.img,ioeventfd=off --exits=exits.json --profile hot.txt \
		--trace trace.json --no-reboot
	echo 0 >$trace/tracing_on
	echo 0 >$trace/events/kvm/kvm_pio/enable
	ended exits 0
	said exits "verify ok"

	for sum in "ports io-in io-out" "mmio mmio-read mmio-write"; do
		# shellcheck disable=SC2086
		set -- $sum
		is "exits: $1 by register are $1 by reason" "$(./jsonget exits.json "total.$1.*.count")" \
			"$(($(./jsonget exits.json total.reasons.$2.count) + $(./jsonget exits.json total.reasons.$3.count)))"
	done
	# Each access to a port leaves a line in KVM's own trace, whoever serves it.
	grep -o 'kvm_pio: pio_[a-z]* at 0x[0-9a-f]*' $trace/trace | sed 's/.* at //' >pio
	echo >$trace/trace
	alone=$(grep -c -x -E "$KERNEL_PORTS" pio)
	is "exits: KVM's trace of ports is what bantam counts" "$(($(wc -l <pio) - alone))" \
		"$(./jsonget exits.json 'total.ports.*.count')" exits.json
	is "exits: what the kernel served alone is what is missing" \
		"$(./jsonget exits.json kvm.io_by_kernel)" "$alone"
	is "exits: KVM's io_exits are both" "$(./jsonget exits.json kvm.vcpu.io_exits)" "$(wc -l <pio)"
	notify=$(./jsonget exits.json total.ports.register=notify.count)
	check "exits: each notification is seen: ${notify:-none}" [ "${notify:-0}" -gt 20 ]
	is "exits: what the disk took to the host has come back" \
		"$(./jsonget exits.json stages.disk=virtio-blk0,stage=submitted-completed.count)" \
		"$(./jsonget exits.json stages.disk=virtio-blk0,stage=popped-submitted.count)"
	check "exits: and a guest's request has a time of its own" \
		[ "$(./jsonget exits.json stages.disk=virtio-blk0,stage=total.p50_ns)" -gt 0 ]

	# No symbol file was given: the names come from the guest's memory, modules' too.
	check "exits: the names are the guest's own" grep -q 'kallsyms' hot.txt
	check "exits: vp_notify notifies the disk" grep -q 'virtio-blk0.notify.*vp_notify' hot.txt
	check "exits: the 8250's functions write the console" grep -q 'io_serial_out.*uart0.thr' hot.txt
	check "exits: and somebody of the 8250's calls them" \
		grep -q -E 'io_serial_(in|out).*(serial8250|wait_for)' hot.txt
	check "exits: the trace can be read: $(./jsonget trace.json traceEvents) events" \
		[ "$(./jsonget trace.json traceEvents)" -gt 1000 ]
	cp exits.json hot.txt trace.json "$out/"

	# With the ioeventfd the same notifications are the kernel's.
	cp disk.img exits.img
	boot doorbell disk-verify --disk path=exits.img --exits=doorbell.json --no-reboot
	ended doorbell 0
	bells=$(./jsonget doorbell.json doorbells)
	check "exits: doorbells that the kernel took: ${bells:-none}" [ "${bells:-0}" -gt 20 ]
	check "exits: they are among what it served alone" \
		[ "$(./jsonget doorbell.json kvm.io_by_kernel)" -ge "${bells:-0}" ]
	is "exits: and bantam saw none of them" \
		"$(./jsonget doorbell.json total.ports.register=notify.count)" ""
	./bantam exits --diff doorbell.json exits.json >diff.txt 2>&1
	check "exits: the two side by side" grep -q 'virtio-blk0.notify' diff.txt
	rm -f exits.img ./*.json hot.txt diff.txt pio
}

# features NAME WANTED UNWANTED: what the driver has negotiated of VIRTIO_F_EVENT_IDX (29),
# VERSION_1 (32) and RING_PACKED (34)
features() {
	for bit in $2; do
		check "$1: feature $bit" grep -q "^test: virtio .* features .*\<$bit\>.* end" "$1.out"
	done
	for bit in $3; do
		check "$1: not feature $bit" \
			sh -c 'grep "^test: virtio " "$1.out" | grep -v -q "\<$2\>"' sh "$1" "$bit"
	done
}

# Every way to a paravirtual disk that a stock driver knows: the same disk.
test_virtio() {
	set -- packed packed=on '29 32 34' '' \
		packed-flags packed=on,event-idx=off '32 34' 29 \
		flags event-idx=off 32 '29 34' \
		modern virtio=modern '29 32' 34 \
		flr flr=on '29 32' 34 \
		legacy virtio=legacy 29 '32 34' \
		forced packed=on 29 '32 34'
	while [ $# -gt 0 ]; do
		way=virtio-$1
		[ "$1" != forced ] || extra=virtio_pci.force_legacy=1
		cp disk.img way.img
		boot "$way" virtio,irqs,disk-info,disk-verify,disk-write:256,dio:mixed:4096:60:0:300 --cpus 2 \
			--memory 128M --disk "path=way.img,$2" --exits="$way.json" --no-reboot
		extra=
		ended "$way" 0
		features "$way" "$3" "$4"
		said "$way" "verify ok"
		check "$way: it has written" grep -q '^test: write ok ' "$way.out"
		check "$way: requests of all kinds" grep -q '^dio op=mixed .*' "$way.out"
		check "$way: MSI-X" grep -q '^test: irq .*MSI.*virtio' "$way.out"
		[ $stalled = 0 ] || return
		shift 4
	done
	# What both interfaces cost where only one is used: nothing.
	cp disk.img way.img
	boot virtio-both disk-info --cpus 1 --memory 128M --disk path=way.img --exits=both.json --no-reboot
	ended virtio-both 0
	boot virtio-modern disk-info --cpus 1 --memory 128M --disk path=way.img,virtio=modern \
		--exits=modern.json --no-reboot
	ended virtio-modern 0
	for count in ports.register=config-data mmio.device=virtio-blk0; do
		is "virtio: a transitional device costs what a modern one does: $count" \
			"$(./jsonget both.json "total.$count.count")" \
			"$(./jsonget modern.json "total.$count.count")"
	done
	rm -f way.img ./*.json
}

# SIGKILL in the middle of flushed writes: each one that the guest was told of is on the disk.
test_kill() {
	for round in 1 2 3; do
		dd if=/dev/zero of=kill.img bs=1M count=16 2>/dev/null
		start kill disk-journal --disk path=kill.img
		wait_for kill '^flushed' $((round * 150)) || {
			[ $stalled = 1 ] || not_ok "kill: round $round: the journal begins" kill.raw kill.err
			stop KILL
			return
		}
		stop KILL
		last=$(tr -d '\r' <kill.raw | grep -x 'flushed [0-9]*' | tail -n 1 | cut -d ' ' -f 2)
		# The last line may have been cut short: the one before is sure to be whole.
		last=$((last - 1))
		if ./disktool check-journal kill.img $last >kill.check; then
			ok "kill: round $round: all $last records that were flushed are there"
		else
			not_ok "kill: round $round: up to record $last" kill.check
		fi
	done
	boot kill-after disk-journal:10 --disk path=kill.img --no-reboot
	ended kill-after 0
	check "kill: the image can be used again" ./disktool check-journal kill.img 9
}

# Output through a slow pipe, input pasted at once, a guest that never ends.
test_console() {
	LIMIT=150
	timeout -k 2 $LIMIT ./bantam run --kernel vmlinuz --initrd initramfs --no-reboot \
		--append "console=ttyS0 quiet bantam.run=flood:8000" <stdin 2>console.err 9>&- | {
		sleep 15
		tr -d '\r'
	} >console.out
	grep '^flood' console.out >console.got
	seq 1 8000 | sed 's/^/flood /' >console.want
	if cmp console.got console.want; then
		ok "console: 8000 lines through a slow pipe"
	elif [ -s console.got ] && ! cmp -s console.got console.want && grep -q 'flood 8000' console.out; then
		not_ok "console: 8000 lines through a slow pipe" console.got
	else
		stalled=1
	fi

	seq 1 2000 | head -c 4096 >pasted
	start input input:4096
	if wait_for input 'test: input ready'; then
		cat pasted >stdin
		if wait_for input 'test: input [0-9a-f]'; then
			tr -d '\r' <input.raw >input.out
			is "console: 4096 bytes pasted at once" "$(sed -n 's/^test: input \([0-9a-f]\{64\}\).*/\1/p' input.out)" \
				"$(sha256sum <pasted | cut -d ' ' -f 1)"
		fi
	fi
	stop TERM

	start hang hang
	wait_for hang 'test: hang'
	stop TERM
	is "console: SIGTERM ends a guest that hangs" "$status" 143 hang.err
}

for test in "$@"; do
	tap_n=0
	LIMIT=60 # seconds a guest may take, unless its test says otherwise; most take about 5
	say "$test begins"
	# shellcheck disable=SC2046
	"test_${test%%:*}" $(echo "$test" | sed -n 's/^[^:]*://p') >verdicts 2>&1
	if [ "${DIRECT:-0}" = 0 ] && grep -q '^not ok' verdicts &&
		grep -q 'the guest died on CPU [0-9]*: \(triple fault\|KVM_EXIT_INTERNAL_ERROR\)' ./*.err 2>/dev/null; then
		stalled=1
		grep -h -A 30 'the guest died on CPU' ./*.err | sed 's/^/# lost: /'
	fi
	if [ $stalled = 1 ]; then
		tail -n 5 ./*.raw ./*.out ./*.err 2>/dev/null | tr -d '\r' | sed 's/^/# /' | tail -n 60
		echo "# stalled: $test"
		exit $STALL
	fi
	cat verdicts
	echo "# done: $test"
	rm -f -- *.raw *.out *.err one.img two.img generic.img kill.img exits.img
done
exit 0
