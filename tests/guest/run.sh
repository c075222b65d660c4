#!/bin/sh
# SPDX-License-Identifier: MIT
# Run the bare-metal guests under bantam on /dev/kvm and look at them from the host's side.
#
# Usage: run.sh BANTAM GUESTS [NAME ...]
#
# BANTAM is the program, GUESTS the folder of the *.elf, NAME picks some of: real prot long uart
# ports pci blk ide cdrom coalesce smp reset crash fdt exits counts multiple lookahead profile live pit stop nbd qcow2 device console signals firmware. Prints TAP. Where /dev/kvm cannot be
# used, everything runs in the lab instead; GUEST_LAB=1 asks for that.
# TEST_OUT keeps the guests' output (a temporary folder). PIT_SLACK is by how many per mille the timer's
# rates may be off (10 where the host is idle).
#
# For any POSIX shell: in the lab it is busybox's.
set -u

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || {
	echo "usage: run.sh BANTAM GUESTS [NAME ...]" >&2
	exit 2
}
bantam=$(cd "$(dirname "$1")" && pwd)/${1##*/}
guests=$(cd "$2" && pwd) || exit 2
shift 2
names=${*:-real prot long uart ports pci blk ide cdrom coalesce smp reset crash fdt exits counts multiple lookahead profile live pit stop nbd qcow2 device console signals firmware}

# Where Debian's package has its images; in the lab they lie beside the guests.
seabios=/usr/share/seabios
[ ! -r "$guests/bios-256k.bin" ] || seabios=$guests

if [ "${GUEST_LAB:-0}" = 1 ] || ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	mkdir "$folder/guests" "$folder/tests" "$folder/tests/guest"
	cp "$bantam" "$folder/bantam"
	cp "$guests"/*.elf "$guests/bootsect.bin" "$guests/jsonget" "$folder/guests/"
	cp "$seabios"/bios.bin "$seabios"/bios-256k.bin "$folder/guests/" 2>/dev/null
	cp "$here/run.sh" "$here/common.sh" "$folder/tests/guest/"
	cp "$here/../tap.sh" "$folder/tests/"
	# RAM is only taken when it is touched: a guest of 5 GiB fits.
	# shellcheck disable=SC2086
	"$here/../lab/lab" --timeout 360 --memory 8192 "$folder" -- \
		env GUEST_LAB=0 sh tests/guest/run.sh bantam guests $names
	exit
fi

# shellcheck source=../tap.sh
. "$here/../tap.sh"
# shellcheck source=common.sh
. "$here/common.sh"

# make_disk FILE SECTORS [WRITTEN [FIRST]]: what guests/baremetal/blk.c says is on it, and
# ide.c; the first sector's number
make_disk() {
	awk -v n="$2" -v written="${3:-0}" -v first="${4:-0}" 'BEGIN {
		for (i = 0; i < n; i++) {
			w = written && (i >= 8 && i < 16 || i == 100 || i >= 1000 && i < 1064)
			printf "%s%0510d\n", w ? "W" : "0", i + first
		}
	}' >"$1"
}

test_real() {
	guest real real ""
	is "real: its string output arrives" "$(grep -c 'from real mode: string output' real.out)" 2
}

test_prot() {
	make_disk prot.img 64
	guest prot prot "prot" --disk path=prot.img
}

test_long() {
	guest long long "cpus=1 memory=256"
	guest long-16M long "cpus=1 memory=16" --memory 16M
	guest long-5G long "cpus=3 memory=5120" --memory 5G --cpus 3
}

# byte_sum: as guests/baremetal/uart.c does it
byte_sum() {
	od -A n -v -t u1 | awk '{ for (i = 1; i <= NF; i++) s = (s * 31 + $i) % 16777216 } END { print s }'
}

test_uart() {
	awk 'BEGIN { for (i = 1; i <= 900; i++) print i }' | head -c 3000 >pasted
	rm -f uart.out
	(
		wait_line uart.out "input ready" && echo "from the host 123"
		wait_line uart.out "more ready" && cat pasted
	) >stdin &
	feeder=$!
	guest uart uart "input=3000"
	kill $feeder 2>/dev/null
	wait $feeder 2>/dev/null
	check "uart: the echo" grep -q '^# echo from the host 123' uart.out
	is "uart: 3000 bytes pasted at once" "$(sed -n 's/^# sum //p' uart.tap)" "$(byte_sum <pasted)"
}

test_ports() {
	before=$(date -u '+%Y-%m-%d %H:%M')
	guest ports ports "pit memory=256"
	after=$(date -u '+%Y-%m-%d %H:%M')
	check "ports: rep outsb arrives" grep -q '^# rep outsb to the serial port' ports.out
	rtc=$(sed -n 's/^# rtc //p' ports.tap)
	[ "$rtc" != "$after" ] || before=$after
	is "ports: the RTC shows UTC" "$rtc" "$before"
	guest ports-nopit ports "memory=64" --memory 64M --pit none
	guest ports-pit ports "pit memory=64" --memory 64M --pit user
}

# The timer's rates, as they are asked for and under the cap, and the loops that calibrate by it.
test_pit() {
	slack=${PIT_SLACK:-$(pit_slack)}
	echo "# pit: rates may be off by $slack per mille"
	guest pit pit "slack=$slack" --pit user
	guest pit-keep pit "slack=$slack quick max=100" --pit user,max-hz=100
	guest pit-dilate pit "slack=$slack max=100 dilate" --pit user,max-hz=100,time=dilate
	guest pit-kernel pit "slack=$slack kernel" --pit kernel

	# The dial, while the guest runs.
	mkdir -p runtime
	chmod 700 runtime
	export XDG_RUNTIME_DIR=$PWD/runtime
	rm -f pit-dial.out
	"$bantam" run --kernel "$guests/pit.elf" --append "forever" --pit user --name dial \
		<stdin >pit-dial.out 2>pit-dial.err 9>&- &
	pid=$!
	wait_line pit-dial.out "1000 Hz" || not_ok "pit-dial: the guest runs" pit-dial.err
	dial 990 1010 max-hz=20000,time=keep,lost-ticks=catchup
	dial 99 101 max-hz=100,time=dilate,lost-ticks=catchup max-hz=100,time=dilate
	dial 49 51 max-hz=50,time=dilate,lost-ticks=catchup max-hz=50
	dial 950 1050 max-hz=50,time=keep,lost-ticks=catchup time=keep
	dial 990 1010 max-hz=20000,time=keep,lost-ticks=catchup max-hz=20000
	# On a busy host these lose some.
	dial 1 1010 max-hz=20000,time=keep,lost-ticks=discard lost-ticks=discard
	dial 1 1010 max-hz=20000,time=keep,lost-ticks=delay lost-ticks=delay
	"$bantam" pit dial max-hz=0 >pit-dial.log 2>&1
	is "pit-dial: no rate at all: status" $? 2 pit-dial.log
	check "pit-dial: and says what it may be" grep -q 'max-hz=0.*1 to 20000' pit-dial.log
	kill -TERM $pid
	wait $pid 2>/dev/null
	"$bantam" run --kernel "$guests/pit.elf" --append "forever" --pit kernel --name dial \
		<stdin >pit-dial.out 2>pit-dial.err 9>&- &
	pid=$!
	wait_line pit-dial.out "1000 Hz"
	"$bantam" pit >pit-dial.log 2>&1
	is "pit-dial: KVM's has no dial: status" $? 1 pit-dial.log
	kill -TERM $pid
	wait $pid 2>/dev/null

	# What the host was late with: the guest gets it after all, PIT_CATCHUP_SECONDS of it, or it does not.
	late catchup 3
	check "pit-late: it has them all, once" [ "${missing#-}" -le 30 ]
	late catchup 13
	check "pit-late: it has those of ten seconds" [ "${dropped:-0}" -ge 290 ]
	check "pit-late: all the others" [ $((missing - dropped)) -le 30 ]
	for policy in discard delay; do
		late $policy 3
		check "pit-late: $policy: they are gone" [ "${missing:-0}" -ge 290 ]
	done
	unset XDG_RUNTIME_DIR
	rm -rf runtime
}

# late POLICY SECONDS: the host stops the VMM for so long while the guest counts 100 ticks a second. Sets missing to
# the ticks that, by the guest's TSC, should have come meanwhile and thereafter and have not, and dropped to those
# that the device owns up to. The least of what some lines tell: a busy host owes some for a while.
late() {
	late_name="pit-late: $1 after $2 s"
	missing=
	dropped=
	rm -f pit-late.out
	"$bantam" run --kernel "$guests/pit.elf" --append "forever count=11932" --pit "user,lost-ticks=$1" \
		--name late <stdin >pit-late.out 2>pit-late.err 9>&- &
	pid=$!
	if late_line && settled; then
		late_dropped=$dropped
		late_line
		late_first=$late_lines
		kill -STOP $pid
		late_before=$(grep -c ' ms' pit-late.out)
		sleep "$2"
		kill -CONT $pid
		for _ in 1 2 3; do
			settled && late_line
		done
		dropped=$((dropped - late_dropped))
		missing=$(tr -d '\r' <pit-late.out | awk -v first="$late_first" -v before="$late_before" '
			!/ ms$/ { next }
			++n == first { ticks = $5; ms = $7 }
			n > before { v = ($7 - ms) * 1193182 / 11932 / 1000 - $5 + ticks }
			n > before && (least == "" || v < least) { least = v }
			END { printf "%d", least }')
	fi
	check "$late_name: it goes on: $missing ticks missing, $dropped dropped" [ -n "$missing" ]
	kill -TERM $pid
	wait $pid 2>/dev/null
}

# late_line: until the guest has printed one more
late_line() {
	late_lines=$(($(grep -c ' ms' pit-late.out 2>/dev/null) + 1))
	wait_tries=0
	until [ "$(grep -c ' ms' pit-late.out 2>/dev/null)" -ge $late_lines ]; do
		wait_tries=$((wait_tries + 1))
		[ $wait_tries -lt 300 ] || return 1
		sleep 0.1
	done
}

# settled: until the guest has all the ticks it is owed, which a busy host may take a while for; sets dropped
settled() {
	wait_tries=0
	until "$bantam" pit late >pit-late.log 2>&1 && grep -q 'owed [01],' pit-late.log; do
		wait_tries=$((wait_tries + 1))
		[ $wait_tries -lt 200 ] || return 1
		sleep 0.1
	done
	dropped=$(sed -n 's/.*dropped //p' pit-late.log)
}

# Rates are only what they should be where nobody takes the guest's CPU away. There they are held to
# 1 %, elsewhere to what tells a wrong count.
pit_slack() {
	case $(cut -d . -f 1 /proc/loadavg) in
	0) echo 10 ;;
	*) echo 800 ;;
	esac
}

# dial LOW HIGH STATE [CHANGE]: after it, this is the state, and such the rate of one of the next seconds
dial() {
	dial_low=$1 dial_high=$2
	[ "$slack" = 10 ] || dial_low=1 dial_high=22000
	is "pit-dial: ${4:-as it begins}: the state" "$("$bantam" pit dial ${4:+"$4"} | head -n 1)" "$3"
	dial_from=$(($(grep -c Hz pit-dial.out) + 1))
	wait_tries=0
	rate=
	while [ $wait_tries -lt 150 ]; do
		rate=$(tr -d '\r' <pit-dial.out | sed -n "$dial_from,\$s/.* Hz: \([0-9]*\) ticks, .*/\1/p" |
			awk -v low="$dial_low" -v high="$dial_high" '{ v = $1 } v >= low && v <= high { exit } END { print v }')
		[ "${rate:-0}" -lt "$dial_low" ] || [ "$rate" -gt "$dial_high" ] || break
		wait_tries=$((wait_tries + 1))
		sleep 0.1
	done
	check "pit-dial: ${4:-as it begins}: ticks a second: $rate" [ $wait_tries -lt 150 ]
}

test_pci() {
	make_disk pci.img 64
	guest pci pci "" --disk path=pci.img,if=virtio,format=raw
}

test_blk() {
	make_disk blk.img 2048
	make_disk want.img 2048 1
	guest blk blk "sectors=2048 serial=a-serial-number" \
		--disk path=blk.img,serial=a-serial-number
	check "blk: the image holds what was written, and nothing else changed" cmp blk.img want.img

	# The same over every other transport, and with packed rings.
	for words in legacy mmio packed "mmio packed"; do
		case $words in
		*mmio*) keys=bus=mmio ;;
		legacy) keys=virtio=legacy ;;
		*) keys=virtio=modern ;;
		esac
		case $words in
		*packed*) keys=$keys,packed=on ;;
		esac
		name=blk-$(echo "$words" | tr ' ' -)
		make_disk blk.img 2048
		guest "$name" blk "sectors=2048 serial=a-serial-number $words" \
			--disk "path=blk.img,serial=a-serial-number,$keys"
		check "$name: the image holds what was written" cmp blk.img want.img
		guest "vring-$(echo "$words" | tr ' ' -)" vring "$words" --disk "path=want.img,$keys"
	done
	guest vring vring "" --disk path=want.img
	guest vring-exits vring "" --disk path=want.img,ioeventfd=off
	guest vring-transitional vring "legacy" --disk path=want.img
	check "vring: the image is as it was" cmp blk.img want.img

	make_disk ro.img 1001
	cp ro.img ro.copy
	chmod 444 ro.img
	guest blk-readonly blk "sectors=1001 readonly" --disk path=ro.img,readonly=on
	check "blk-readonly: the image is as it was" cmp ro.img ro.copy
	rm -f -- *.img ro.copy
}

test_qcow2() {
	if ! command -v qemu-img >/dev/null; then
		skip "qcow2" "qemu-img is not installed"
		return
	fi
	make_disk base.img 2048
	make_disk want.img 2048 1
	qemu-img create -q -f qcow2 -b base.img -F raw qcow2.img
	cp base.img base.copy
	guest qcow2 blk "sectors=2048" --disk path=qcow2.img,format=qcow2,backing=on
	check "qcow2: the image has no faults" qemu-img check -q -f qcow2 qcow2.img
	check "qcow2: the image holds what was written, and nothing else changed" \
		qemu-img compare -q -f qcow2 -F raw qcow2.img want.img
	check "qcow2: the backing file is as it was" cmp base.img base.copy

	qemu-img convert -q -c -f raw -O qcow2 -o cluster_size=4096 base.img qcow2.img
	guest qcow2-ide ide "disk0=2048" --disk path=qcow2.img,format=qcow2,if=ide
	trimmed qcow2-ide 0 want.img
	check "qcow2-ide: the image has no faults" qemu-img check -q -f qcow2 qcow2.img
	check "qcow2-ide: the image holds what was written, and nothing else changed" \
		qemu-img compare -q -f qcow2 -F raw qcow2.img want.img
	rm -f -- *.img base.copy
}

# A block device whose blocks are larger than the guest's sectors, past the page cache and not.
test_device() {
	make_disk image.img 2048
	cp image.img device.img
	if ! device=$(losetup -b 4096 -f --show device.img 2>/dev/null); then
		skip "device" "no loop devices of 4 KiB blocks can be made here"
		rm -f -- *.img
		return
	fi
	for keys in if=virtio,cache=none if=virtio,cache=writeback if=ide,cache=none; do
		make_disk want.img 2048 1
		cat image.img >"$device"
		name=device-$(echo "$keys" | tr ',=' '--')
		case $keys in
		if=ide*) guest "$name" ide "disk0=2048" --disk "path=$device,$keys" ;;
		*) guest "$name" blk "sectors=2048" --disk "path=$device,$keys" ;;
		esac
		trimmed "$name" 0 want.img
		check "$name: the device holds what was written" cmp "$device" want.img
	done
	losetup -d "$device"
	rm -f -- *.img
}

# trimmed NAME PLACE FILE: the zeros in FILE that the guest says it has made on the disk there
trimmed() {
	sed -n "s/^# trimmed $2 //p" "$1.tap" | while read -r trim_first trim_count; do
		dd if=/dev/zero of="$3" bs=512 seek="$trim_first" count="$trim_count" conv=notrunc \
			2>/dev/null
	done
}

# sector FILE N: the number that it holds
sector() {
	dd if="$1" bs=512 skip="$2" count=1 2>/dev/null | sed 's/^[W0]*//'
}

test_ide() {
	# One disk, all commands; the bus master and what goes wrong.
	make_disk ide.img 2100
	make_disk want.img 2100 1
	guest ide ide "disk0=2100 serial=a-serial-number" \
		--disk path=ide.img,if=ide,serial=a-serial-number
	trimmed ide 0 want.img
	check "ide: the image holds what was written, and nothing else changed" cmp ide.img want.img
	make_disk ide.img 2100
	make_disk want.img 2100 1
	guest idedma idedma "disk0=2100" --disk path=ide.img,if=ide
	check "idedma: the image holds what was written, and nothing else changed" \
		cmp ide.img want.img

	# Two channels with two disks each, one of them read-only; three disks and a CD.
	for i in 0 1 2 3; do
		make_disk ide$i.img $((2048 + 10 * i)) 0 ${i}00000
		make_disk want$i.img $((2048 + 10 * i)) 1 ${i}00000
	done
	cp ide1.img want1.img
	set -- --disk path=ide0.img,if=ide --disk path=ide1.img,if=ide,readonly=on \
		--disk path=ide2.img,if=ide --disk path=ide3.img,if=ide
	guest ide-4 ide "disk0=2048 disk1=2058 disk2=2068 disk3=2078 readonly=1" "$@"
	for i in 0 1 2 3; do
		trimmed ide-4 $i want$i.img
		check "ide-4: disk $i's image holds what was written" cmp ide$i.img want$i.img
	done
	make_disk ide0.img 2048
	make_disk want0.img 2048 1
	guest idedma-4 idedma "disk0=2048 disk1=2058 disk2=2068 disk3=2078" "$@"
	check "idedma-4: disk 0's image holds what was written" cmp ide0.img want0.img
	check "idedma-4: disk 1's is as it was" cmp ide1.img want1.img

	# More than 28 bits can say, and more than the host has room for.
	truncate -s 153600000000 big.img
	guest ide-big ide "disk0=300000000 big" --disk path=big.img,if=ide
	for i in 268435424 268435455 268435456 268435461 268435487 299999999; do
		is "ide-big: sector $i" "$(sector big.img $i)" $i
	done
	check "ide-big: the image is as long as it was" [ "$(stat -c %s big.img)" = 153600000000 ]
	check "ide-big: and still sparse" [ "$(du -k big.img | cut -f 1)" -lt 1000 ]
	rm -f -- *.img
}

test_cdrom() {
	make_disk cd.iso 4000 0 200000
	guest cdrom cdrom "cd=2 blocks=1000" --cdrom cd.iso
	make_disk cd.iso 4000 0 300000
	for i in 0 1 2; do
		make_disk cd$i.img 2048 0 ${i}00000
	done
	set -- --disk path=cd0.img,if=ide --disk path=cd1.img,if=ide --disk path=cd2.img,if=ide \
		--cdrom cd.iso
	guest cdrom-4 cdrom "cd=3 blocks=1000" "$@"
	guest cdrom-ide ide "disk0=2048 disk1=2048 disk2=2048" "$@"
	make_disk cd.copy 4000 0 300000
	check "cdrom: the disc is as it was" cmp cd.iso cd.copy
	rm -f -- *.img cd.iso cd.copy
}

# dma_exits NAME APPEND OPTION ...: sets cost to the exits to user space of 200 DMA requests
dma_exits() {
	dma_name=$1 dma_append=$2
	shift 2
	for n in 10 210; do
		run "$dma_name-$n" coalesce "$dma_append n=$n" --disk path=coalesce.img,if=ide \
			--exits="$dma_name-$n.json" "$@"
		verdicts "$dma_name-$n"
		is "$dma_name-$n: exit status" "$status" 0 "$dma_name-$n.err"
	done
	# The console's say how long a test's name is.
	cost=$(($(guest_exits "$dma_name-210") - $(guest_exits "$dma_name-10")))
}

# guest_exits NAME: all but those of the console, and those that bantam caused itself
guest_exits() {
	exits=$(json "$1.json" total.exits)
	for row in ports.register=thr ports.register=lsr reasons.signal; do
		exits=$((exits - $(json "$1.json" "total.$row.count" | grep . || echo 0)))
	done
	echo $exits
}

# What a DMA request costs: as ata_piix does it, with its writes kept back, by lists.
test_coalesce() {
	make_disk coalesce.img 2048
	cp coalesce.img coalesce.copy
	dma_exits coalesce-off "plain"
	is "coalesce: off: exits of 200 requests" "$cost" $((200 * 26))
	dma_exits coalesce-pio "plain" --coalesce pio
	is "coalesce: pio: exits of 200 requests" "$cost" $((200 * 17))
	is "coalesce: pio: writes of the task file that exit" \
		"$(json coalesce-pio-210.json total.ports.register=lba-low.count)" "" coalesce-pio-210.json
	is "coalesce: pio: writes that were kept back instead" \
		$(($(json coalesce-pio-210.json posted) - $(json coalesce-pio-10.json posted))) $((200 * 9))
	dma_exits coalesce-doorbell "doorbell" --coalesce hypercall
	is "coalesce: lists by the doorbell: exits of 200 requests" "$cost" $((200 * 2))
	bell=total.ports.device=coalesced-io,register=doorbell
	is "coalesce: their accesses" "$(json coalesce-doorbell-210.json $bell.accesses)" $((210 * 15))
	dma_exits coalesce-hypercall "doorbell hypercall" --coalesce hypercall
	if grep -q '# SKIP' coalesce-hypercall-210.out; then
		skip "coalesce: lists by the hypercall" "this host's KVM does not let it out"
	else
		is "coalesce: lists by the hypercall: exits of 200 requests" "$cost" $((200 * 2))
		is "coalesce: their reason" \
			"$(json coalesce-hypercall-210.json total.reasons.hypercall.count)" $((210 * 2))
		is "coalesce: their accesses" "$(json coalesce-hypercall-210.json $bell.accesses)" \
			$((210 * 15))
	fi
	guest coalesce-lists coalesce "lists" --disk path=coalesce.img,if=ide --coalesce hypercall
	guest coalesce-changed coalesce "changed" --disk path=coalesce.img,if=ide --cpus 2 \
		--coalesce hypercall
	for mode in off pio; do
		guest coalesce-posted-$mode coalesce "posted" --disk path=coalesce.img,if=ide --cpus 2 \
			--coalesce $mode
	done
	guest coalesce-reset coalesce "reset" --cpus 2 --coalesce pio
	guest coalesce-idedma idedma "disk0=2048" --disk path=coalesce.copy,if=ide --coalesce pio
	dtb coalesce-fdt "cpus=1 coalesced-io" --coalesce hypercall
	make_disk coalesce.copy 2048
	check "coalesce: the disk is as it was" cmp coalesce.img coalesce.copy
	rm -f -- coalesce.img coalesce.copy
}

test_smp() {
	guest smp-4 smp "cpus=4" --cpus 4
	guest smp-2 smp "cpus=2" --cpus 2
}

test_reset() {
	make_disk reset.img 64
	cp reset.img reset.copy
	guest reset reset "" --cpus 2 --disk path=reset.img
	check "reset: the disk is as it was" cmp reset.img reset.copy
	run reset-once reset "once" --cpus 2 --disk path=reset.img --no-reboot
	is "reset: --no-reboot ends with" "$status" 0 reset-once.err
	is "reset: and does not start again" "$(grep -c '^ok' reset-once.out)" 2
	run off crash "off"
	is "reset: power-off by S5 ends with" "$status" 0 off.err
	check "reset: and at once" [ ! -s off.out ]
	rm -f -- reset.img reset.copy
}

# dumped NAME OPCODE: the dump names the place where the guest has died
dumped() {
	rip=$(sed -n 's/^# rip \([0-9a-f]*\) .*/\1/p' "$1.out" | tr -d '\r')
	is "$1: exit status" "$status" 3 "$1.err"
	# SVM forgets the registers at a triple fault: the guest is as after INIT then.
	if [ "$1" = triple ] && grep -q -w svm /proc/cpuinfo; then
		skip "$1: registers" "SVM has lost them"
		return
	fi
	for want in "rip $rip" "rax 0123456789abcdef" "rbx 1111222233334444" \
		"r15 fedcba9876543210" "$2" "stack deadbeefcafef00d 5555aaaa12348765" "cr0 8" "cr3 0"; do
		check "$1: the dump has '$want'" grep -q -e "$want" "$1.err"
	done
}

test_crash() {
	run triple crash "triple"
	check "triple: it is called a triple fault" grep -q 'triple fault' triple.err
	dumped triple '<0f> 0b'
	run emulate crash "emulate"
	check "emulate: it is called by KVM's name" grep -q 'KVM_EXIT_INTERNAL_ERROR' emulate.err
	dumped emulate '<66> 0f fe'
	if [ -e /sys/module/kvm_pvm ]; then
		check "emulate: the last line names the lab" \
			sh -c 'tail -n 1 emulate.err | grep -q "kvm_pvm.*lab"'
	fi
	run pvpanic crash "pvpanic"
	is "pvpanic: exit status" "$status" 3 pvpanic.err
	check "pvpanic: one line says so" grep -q pvpanic pvpanic.err
	run fail crash "fail"
	is "debug exit: exit status" "$status" 3 fail.err
}

# dtb NAME OPTION ...: the tree that the guest has is the one that --dump-dtb writes
dtb() {
	dtb_name=$1 dtb_append=$2
	shift 2
	guest "$dtb_name" fdt "$dtb_append" "$@"
	rm -f "$dtb_name.dtb"
	timeout -k 2 20 "$bantam" run --kernel "$guests/fdt.elf" --append "$dtb_append" "$@" \
		--dump-dtb "$dtb_name.dtb" <stdin >"$dtb_name.dump" 2>&1 9>&-
	is "$dtb_name: --dump-dtb's exit status" $? 0 "$dtb_name.dump"
	check "$dtb_name: and it prints nothing" [ ! -s "$dtb_name.dump" ]
	# gzip's last eight bytes are its input's CRC and length.
	want=$(gzip -c <"$dtb_name.dtb" | tail -c 8 | od -A n -t x4 | tr -s ' ')
	is "$dtb_name: --dump-dtb writes the guest's own tree" \
		"$(sed -n 's/^# crc/ /p' "$dtb_name.tap" | tr -s ' ')" "$want"
	if command -v dtc >/dev/null; then
		check "$dtb_name: dtc reads it" \
			sh -c 'dtc -q -I dtb -O dts -o /dev/null "$1"' sh "$dtb_name.dtb"
	fi
}

test_fdt() {
	dtb fdt "cpus=1"
	dtb fdt-3 "cpus=3 and some more words" --cpus 3 --memory 4G --serial stdio --serial none
}

# json FILE PATH: a number out of the report
json() {
	"$guests/jsonget" "$1" "$2"
}

test_exits() {
	for count in 0 1000; do
		run exits-$count crash "exits count=$count" --exits=exits-$count.json
		is "exits: with $count writes: exit status" "$status" 0 exits-$count.err
	done
	fewer=$(json exits-0.json total.reasons.io-out.count)
	more=$(json exits-1000.json total.reasons.io-out.count)
	is "exits: 1000 port writes are 1000 exits more" "$((${more:-0} - ${fewer:-0}))" 1000 \
		exits-1000.json
	is "exits: the only CPU has them all" \
		"$(json exits-1000.json cpus.0.reasons.io-out.count)" "$more" exits-1000.json
	is "exits: the JSON's version" "$(json exits-1000.json version)" 2
	check "exits: time was spent" [ "$(json exits-1000.json total.user_ns)" -gt 1000 ]
	check "exits: KVM's counters" [ "$(json exits-1000.json kvm.vcpu.exits)" -ge 1000 ]
	run exits-table crash "exits count=500" --exits
	is "exits: as a table: exit status" "$status" 0 exits-table.err
	table=$(awk '$1 == "io-out" { print $2 }' exits-table.err)
	is "exits: the table counts the same" "$table" "$((${fewer:-0} + 500))" exits-table.err
	check "exits: KVM's own counters are there" grep -q '^exits ' exits-table.err
}

# counted NAME ARRAY ADDRESS DIRECTION WIDTH EXITS [ACCESSES]: one row of NAME.json
counted() {
	row="total.$2.address=$3,direction=$4,width=$5"
	is "$1: $4 $5 at $3: exits" "$(json "$1.json" "$row.count")" "$6"
	is "$1: $4 $5 at $3: accesses" "$(json "$1.json" "$row.accesses")" "${7:-$6}"
}

# sums NAME: the rows by register, with those that found no place, are the rows by reason
sums() {
	is "$1: ports by register are ports by reason" "$(json "$1.json" 'total.ports.*.count')" \
		"$(($(json "$1.json" total.reasons.io-in.count) + $(json "$1.json" total.reasons.io-out.count)))"
	is "$1: memory by register is memory by reason" "$(json "$1.json" 'total.mmio.*.count')" \
		"$(($(json "$1.json" total.reasons.mmio-read.count) + $(json "$1.json" total.reasons.mmio-write.count)))"
}

# What guests/baremetal/exits.c does, access for access.
test_counts() {
	run counts exits "" --exits=counts.json
	verdicts counts
	is "counts: exit status" "$status" 0 counts.err
	counted counts ports 0x1230 out 1 100
	counted counts ports 0x1230 out 2 50
	counted counts ports 0x1230 out 4 25
	counted counts ports 0x1230 in 1 70
	counted counts ports 0x1230 in 2 60
	counted counts ports 0x1230 in 4 55
	is "counts: a string's elements" \
		"$(json counts.json total.ports.address=0x1238,direction=out,width=1.accesses)" 400
	counted counts mmio 0xd0000000 write 4 40
	counted counts mmio 0xd0000000 read 1 41
	counted counts mmio 0xd0000100 read 2 42
	counted counts mmio 0xd0000100 write 1 43
	is "counts: the debug exit by its name" \
		"$(json counts.json total.ports.device=debug-exit.count)" 1 counts.json
	is "counts: the console's register by its name" \
		"$(json counts.json total.ports.register=thr.device)" uart0 counts.json
	is "counts: nobody's port has no name" \
		"$(json counts.json total.ports.address=0x1230.device)" "" counts.json
	sums counts
	# A KVM that interprets the guest counts no intercepts.
	if [ "$(json counts.json kvm.vcpu.io_exits)" = 0 ]; then
		skip "counts: ports: KVM counts the same" "this KVM counts none"
	else
		is "counts: ports: KVM counts the same" "$(json counts.json kvm.vcpu.io_exits)" \
			"$(json counts.json 'total.ports.*.count')" counts.json
	fi

	run counts-flood exits "flood=5000" --exits=counts-flood.json
	is "counts-flood: exit status" "$status" 0 counts-flood.err
	sums counts-flood
	check "counts-flood: what finds no place is one row" \
		[ "$(json counts-flood.json total.mmio.width=0,direction=read.count)" -gt 3000 ]
}

# A block of string I/O is one access after the other to the guest, and to bantam what KVM hands over
# at once: 1024 bytes.
test_multiple() {
	make_disk multiple.img 16
	run multiple exits "multiple=5" --exits=multiple.json --disk path=multiple.img,if=ide
	verdicts multiple
	is "multiple: exit status" "$status" 0 multiple.err
	data=device=ide0,register=data,direction=in
	is "multiple: words" "$(json multiple.json "total.ports.$data.accesses")" $((5 * 8192 / 2)) multiple.json
	is "multiple: exits for them" "$(json multiple.json "total.ports.$data.count")" $((5 * 8192 / 1024)) \
		multiple.json
}

# avoided NAME WHAT AT-LEAST: exits that NAME.json says a look ahead has avoided
avoided() {
	check "$1: exits avoided $2: $(json "$1.json" lookahead.avoided)" \
		[ "$(json "$1.json" lookahead.avoided)" -ge "$3" ]
}

# The same guests, which must not notice; and that it is worth it.
test_lookahead() {
	for mode in lookahead auto; do
		make_disk ahead.img 2100
		make_disk want.img 2100 1
		guest ahead-ide-$mode ide "disk0=2100" --disk path=ahead.img,if=ide \
			--coalesce $mode --exits=ahead-ide-$mode.json
		trimmed ahead-ide-$mode 0 want.img
		check "ahead-ide-$mode: the image holds what was written" cmp ahead.img want.img
	done
	avoided ahead-ide-lookahead "in 64-bit code" 1000
	make_disk ahead.img 2100
	make_disk want.img 2100 1
	guest ahead-idedma idedma "disk0=2100" --disk path=ahead.img,if=ide --coalesce lookahead \
		--profile ahead.svg
	check "ahead-idedma: the image holds what was written" cmp ahead.img want.img
	guest ahead-prot prot "prot" --disk path=ahead.img --coalesce lookahead \
		--exits=ahead-prot.json
	avoided ahead-prot "in 32-bit code" 50
	guest ahead-smp smp "cpus=4" --cpus 4 --coalesce lookahead
	for mode in off lookahead; do
		run ahead-dma-$mode exits "dma=500" --disk path=ahead.img,if=ide --coalesce $mode \
			--exits=ahead-dma-$mode.json
		verdicts ahead-dma-$mode
	done
	# How often the guest looks whether a request is done is a matter of time.
	written=total.ports.device=ide0,register=lba-low
	few=$(json ahead-dma-lookahead.json $written.count)
	is "lookahead: exits of 500 requests at a register without it" \
		"$(json ahead-dma-off.json $written.count)" 500
	check "lookahead: and with it: $few" [ "$few" -lt 125 ]
	is "lookahead: accesses are still counted" \
		"$(json ahead-dma-lookahead.json $written.accesses)" 500
}

# hot NAME FUNCTION CALLER EXITS KIND
hot() {
	row="profile.hot.function=$2,caller=$3"
	is "$1: $2 from $3" "$(json "$1.json" "$row.count")" "$4"
	is "$1: $2 from $3 is told as" "$(json "$1.json" "$row.caller_kind")" "$5"
}

test_profile() {
	run profile exits "profile" --profile profile.json --symbols "$guests/exits.elf" \
		--trace profile-trace.json,events=2048
	is "profile: exit status" "$status" 0 profile.err
	hot profile poke first_caller 30 exact
	hot profile poke second_caller 12 exact
	hot profile poke_elsewhere pointer_caller 9 guess
	is "profile: the register" \
		"$(json profile.json profile.hot.function=poke,caller=first_caller.device)" post
	is "profile: no exit is lost" "$(json profile.json profile.lost)" 0
	is "profile: all exits but the first are in it" "$(json profile.json 'profile.hot.*.count')" \
		"$(($(json profile.json total.exits) - 1))" profile.json
	check "profile: the trace has events" [ "$(json profile-trace.json traceEvents)" -gt 100 ]

	for form in svg folded txt; do
		run profile-$form exits "profile" --profile "hot.$form" --symbols "$guests/exits.elf"
		is "profile: $form: exit status" "$status" 0 profile-$form.err
	done
	check "profile: folded stacks" grep -q '^post;[^;]*;poke;first_caller [0-9]' hot.folded
	check "profile: a flame graph" grep -q 'pointer_caller' hot.svg
	check "profile: a table" grep -q 'poke .*first_caller' hot.txt
	rm -f hot.svg hot.folded hot.txt
}

# A running machine, asked through its socket.
test_live() {
	mkdir -p runtime
	chmod 700 runtime
	export XDG_RUNTIME_DIR=$PWD/runtime
	rm -f live.out
	"$bantam" run --kernel "$guests/crash.elf" --append "spin" --name live --symbols "$guests/crash.elf" \
		<stdin >live.out 2>live.err 9>&- &
	pid=$!
	wait_line live.out spinning || not_ok "live: the guest spins" live.err
	is "live: it is listed" "$("$bantam" list)" live
	is "live: its socket is its owner's alone" "$(stat -c %a runtime/bantam/live.sock)" 600
	"$bantam" exits live --json >live-1.json 2>live-1.err
	is "live: exits: status" $? 0 live-1.err
	is "live: its name" "$(json live-1.json name)" live live-1.json
	is "live: it runs" "$(json live-1.json running)" true live-1.json
	check "live: it has exited" [ "$(json live-1.json total.exits)" -gt 0 ]
	check "live: no name is needed for the only one" sh -c '"$1" exits | grep -q io-in' sh "$bantam"
	check "live: no profile yet" sh -c '! "$1" profile live 2>/dev/null' sh "$bantam"
	"$bantam" profile live on
	is "live: profile on: status" $? 0
	"$bantam" top live --batch --count 2 --interval 1 >live-top.txt 2>live-top.err
	is "live: top: status" $? 0 live-top.err
	check "live: top shows the register that is polled" grep -q 'pm.timer' live-top.txt
	check "live: and the function that does it" grep -q 'delay_us <- main' live-top.txt
	"$bantam" profile live off && "$bantam" profile live >live-hot.txt 2>live-hot.err
	is "live: profile: status" $? 0 live-hot.err
	check "live: hot functions" grep -q 'delay_us .*main' live-hot.txt
	"$bantam" exits live --json >live-2.json
	sleep 0.2 # for exits to happen that must not show
	"$bantam" exits live --json >live-3.json
	is "live: switched off, the profile stands still" "$(json live-2.json 'profile.hot.*.count')" \
		"$(json live-3.json 'profile.hot.*.count')"
	check "live: the counts do not" \
		[ "$(json live-3.json total.exits)" -gt "$(json live-2.json total.exits)" ]
	"$bantam" run --kernel "$guests/crash.elf" --name live <stdin >live-two.out 2>live-two.err 9>&-
	is "live: a name is one machine's" $? 1 live-two.err
	kill -KILL $pid
	wait $pid 2>/dev/null
	is "live: killed, it is not listed" "$("$bantam" list)" ""
	check "live: and its socket is gone" [ ! -e runtime/bantam/live.sock ]
	"$bantam" exits live >live-gone.out 2>live-gone.err
	is "live: nobody to ask: status" $? 1 live-gone.err
	is "live: one line says so" "$(wc -l <live-gone.err)" 1
	unset XDG_RUNTIME_DIR
	rm -rf runtime
}

test_stop() {
	mkdir -p runtime
	chmod 700 runtime
	export XDG_RUNTIME_DIR=$PWD/runtime

	# The image loses its end under the guest, which is slow enough not to have written yet.
	for interface in virtio ide; do
		case $interface in
		virtio) guest=blk append="sectors=2100" ;;
		ide) guest=ide append="disk0=2100" ;;
		esac
		make_disk whole.img 2100
		make_disk want.img 2100 1
		cp whole.img stop.img
		start_stopping stop-$interface $guest "$append" \
			path=stop.img,if=$interface,iops=2,iops-burst=1
		wait_line stop-$interface.out "^ok 1 "
		: >stop.img
		stopped stop-$interface 'disk0 (stop.img): reading [0-9]* bytes at [0-9]*: Input/output error'
		"$bantam" resume stop-$interface
		stopped stop-$interface 'disk0' 2
		cat whole.img >stop.img
		is "stop-$interface: its limits" "$("$bantam" throttle disk0)" \
			"disk0,iops=2,iops-burst=1,bps=off"
		"$bantam" throttle stop-$interface disk0,iops=off,iops-burst=off
		is "stop-$interface: throttle: status" $? 0
		is "stop-$interface: no limits" "$("$bantam" throttle disk0)" "disk0,iops=off,bps=off"
		resumed stop-$interface
		trimmed stop-$interface 0 want.img
		check "stop-$interface: the image holds what was written" cmp stop.img want.img
	done

	# Stopped for good: it ends all the same.
	cp whole.img stop.img
	start_stopping stop-end blk "sectors=2100" path=stop.img,iops=2,iops-burst=1
	wait_line stop-end.out "^ok 1 "
	: >stop.img
	stopped stop-end disk0
	kill -TERM $pid
	ended
	is "stop-end: a signal ends it" "$status" 143 stop-end.err

	# A full disk, on which somebody makes room.
	mkdir -p small
	if ! mount -t tmpfs -o size=560k none small 2>/dev/null; then
		skip "stop-full" "nothing can be mounted here"
	else
		make_disk whole.img 2048
		make_disk want.img 2048 1
		head -c 512000 whole.img >small/stop.img
		dd if=whole.img of=small/stop.img bs=512 skip=2047 seek=2047 count=1 conv=notrunc 2>/dev/null
		head -c 40960 /dev/zero >small/filler
		start_stopping stop-full blk "sectors=2048" path=small/stop.img
		stopped stop-full 'disk0 (small/stop.img): writing 32768 bytes at 512000: '
		rm small/filler
		resumed stop-full
		check "stop-full: what was written is there" sh -c \
			'tail -c +512001 small/stop.img | head -c 32768 >got && tail -c +512001 want.img | head -c 32768 | cmp - got'
		umount small
	fi
	unset XDG_RUNTIME_DIR
	rm -rf runtime small
	rm -f -- *.img got
}

test_nbd() {
	if ! command -v nbdkit >/dev/null; then
		skip "nbd" "nbdkit is not installed"
		return
	fi
	make_disk nbd.img 2048
	make_disk want.img 2048 1
	# The server ends with its one client.
	nbdkit --filter=exitlast -f -U nbd.sock file nbd.img >nbdkit.out 2>&1 9>&- &
	pid=$!
	wait_file nbd.sock
	guest nbd blk "sectors=2048" --disk "path=nbd+unix:///?socket=$PWD/nbd.sock"
	wait $pid
	check "nbd: the image holds what was written, and nothing else changed" cmp nbd.img want.img
	rm -f -- *.img nbd.sock
}

test_console() {
	awk 'BEGIN { for (i = 1; i <= 10000; i++) print "flood " i }' >flood.want
	# A reader that sleeps first: what is written is more than a pipe holds.
	timeout -k 2 60 "$bantam" run --kernel "$guests/crash.elf" --append "lines=10000" \
		<stdin 2>flood.err 9>&- | {
		sleep 5
		tr -d '\r'
	} >flood.out
	head -n 10000 flood.out >flood.got
	check "console: 10000 lines through a slow pipe" cmp flood.got flood.want
	run file crash "lines=200" --serial file=serial.txt
	is "console: --serial file=: exit status" "$status" 0 file.err
	tr -d '\r' <serial.txt | head -n 200 >flood.got
	head -n 200 flood.want >flood.short
	check "console: --serial file= has it all" cmp flood.got flood.short
	check "console: and nothing is on stdout" [ ! -s file.out ]
	run none crash "lines=10" --serial none
	is "console: --serial none: exit status" "$status" 0 none.err
	check "console: and nothing is on stdout" [ ! -s none.out ]
}

# SIGINT and SIGQUIT are left out: a shell has its background jobs ignore them.
test_signals() {
	for signal in TERM HUP; do
		rm -f signal.out
		"$bantam" run --kernel "$guests/crash.elf" --append "spin" <stdin >signal.out \
			2>signal.err 9>&- &
		pid=$!
		wait_line signal.out spinning || not_ok "signals: the guest spins" signal.err
		(
			sleep 10
			kill -KILL $pid
		) 2>/dev/null &
		guard=$!
		kill -$signal $pid
		wait $pid 2>/dev/null
		status=$?
		kill $guard 2>/dev/null
		case $signal in TERM) want=143 ;; HUP) want=129 ;; esac
		is "signals: SIG$signal ends it with that signal" "$status" "$want" signal.err
		check "signals: nothing is printed" [ ! -s signal.err ]
	done
}

# make_boot_disk FILE [LETTER]: what guests/baremetal/bootsect.S is on, with its letter
make_boot_disk() {
	cp "$guests/bootsect.bin" "$1"
	truncate -s 1M "$1"
	printf '%s' "${2:-a}" | dd of="$1" bs=512 seek=7 conv=notrunc 2>/dev/null
}

# firmware NAME IMAGE [OPTION ...]: a disk that the BIOS boots, whose own console is COM1
firmware() {
	firmware_name=$1 firmware_image=$2
	shift 2
	timeout -k 2 120 "$bantam" run --firmware "$firmware_image" \
		--serial "file=$firmware_name.bios" --serial stdio "$@" <stdin \
		>"$firmware_name.out" 2>"$firmware_name.err" 9>&-
	status=$?
	verdicts "$firmware_name"
	is "$firmware_name: exit status" "$status" 0 "$firmware_name.err"
	is "$firmware_name: the BIOS prints on the serial port, before and after a restart" \
		"$(grep -c 'INT 10h says' "$firmware_name.bios")" 2 "$firmware_name.bios"
}

# The parts of a KiB that the BIOS keeps of RAM for itself: not more than 2 MiB.
has_ram() {
	check "$1: RAM of $2 MiB in the memory map" sh -c \
		'[ "$1" -le $(($2 * 1024)) ] && [ "$1" -gt $((($2 - 2) * 1024)) ]' sh \
		"$(sed -n 's/^# ram //p' "$1.tap")" "$2"
}

test_firmware() {
	if ! [ -r "$seabios/bios-256k.bin" ]; then
		skip "firmware" "the package seabios is not installed"
		return
	fi
	make_boot_disk boot.img
	firmware firmware "$seabios/bios-256k.bin" --disk path=boot.img --exits=firmware.json \
		--firmware-log firmware.log
	has_ram firmware 256
	is "firmware: the size of the disk" "$(sed -n 's/^# sectors //p' firmware.tap)" 2048
	is "firmware: the sector that was written" \
		"$(dd if=boot.img bs=512 skip=8 count=1 2>/dev/null | tr -d W | wc -c)" 0
	check "firmware: its log" grep -q 'Running on QEMU (i440fx)' firmware.log
	check "firmware: it finds the ACPI tables" grep -q 'ACPI: parse DSDT' firmware.log
	check "firmware: and the SMBIOS tables" grep -q 'Copying SMBIOS' firmware.log
	check "firmware: and does not complain" sh -c '! grep -i -e internal -e "unable to" firmware.log'
	check "firmware: fw_cfg in the exit report" \
		[ "$(json firmware.json total.ports.register=dma-address-low.device)" = fw-cfg ]
	check "firmware: and the write to the protected BIOS" \
		[ "$(json firmware.json total.mmio.device=shadow,register=f0000,direction=write.count)" = 1 ]

	make_boot_disk b.img b
	head -c 1048576 /dev/zero >empty.img
	firmware firmware-boot "$seabios/bios.bin" --disk path=empty.img --disk path=boot.img,boot=2 \
		--disk path=b.img,boot=1 --cpus 2 --memory 5G
	is "firmware-boot: the disk with boot=1" "$(sed -n 's/^# disk //p' firmware-boot.tap)" b
	has_ram firmware-boot 5120

	# The same disk behind the other front-end, and larger than CHS without translation is.
	make_boot_disk b.img b
	truncate -s 3G b.img
	firmware firmware-ide "$seabios/bios-256k.bin" --disk path=b.img,if=ide
	is "firmware-ide: the size of the disk" "$(sed -n 's/^# sectors //p' firmware-ide.tap)" 6291456
	is "firmware-ide: the sector that was written" \
		"$(dd if=b.img bs=512 skip=8 count=1 2>/dev/null | tr -d W | wc -c)" 0
	rm -f -- boot.img b.img empty.img
}

for name in $names; do
	"test_$name"
done
exec 9>&-
rm -f stdin
tap_end
