#!/bin/sh
# SPDX-License-Identifier: MIT
# Run the bare-metal guests under bantam on /dev/kvm and look at them from the host's side.
#
# Usage: run.sh BANTAM GUESTS [NAME ...]
#
# BANTAM is the program, GUESTS the folder of the *.elf, NAME picks some of: real prot long uart ports pci
# smp reset crash fdt console signals | pit (pit.sh) | blk qcow2 device nbd ide cdrom stop (disks.sh)
# | coalesce lookahead (coalesce.sh) | exits counts multiple profile live (exits.sh)
# | firmware (firmware.sh). Prints TAP. Where /dev/kvm cannot be used, everything runs in the lab instead;
# GUEST_LAB=1 asks for that. TEST_OUT keeps the guests' output (a temporary folder). PIT_SLACK is by how many
# per mille the timer's rates may be off (10 where the host is idle).
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
all="real prot long uart ports pci blk ide cdrom coalesce smp reset crash fdt exits counts multiple
	lookahead profile live pit stop nbd qcow2 device console signals firmware"
names=${*:-$all}

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
	cp "$here"/*.sh "$folder/tests/guest/"
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
# shellcheck source=pit.sh
. "$here/pit.sh"
# shellcheck source=disks.sh
. "$here/disks.sh"
# shellcheck source=coalesce.sh
. "$here/coalesce.sh"
# shellcheck source=exits.sh
. "$here/exits.sh"
# shellcheck source=firmware.sh
. "$here/firmware.sh"

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

test_pci() {
	make_disk pci.img 64
	guest pci pci "" --disk path=pci.img,if=virtio,format=raw
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
		background signal crash "spin"
		wait_line signal.out spinning || not_ok "signals: the guest spins" signal.err
		(
			sleep 10
			kill -KILL "$pid"
		) 2>/dev/null &
		guard=$!
		put_down $signal
		kill $guard 2>/dev/null
		case $signal in TERM) want=143 ;; HUP) want=129 ;; esac
		is "signals: SIG$signal ends it with that signal" "$status" "$want" signal.err
		check "signals: nothing is printed" [ ! -s signal.err ]
	done
}

for name in $names; do
	"test_$name"
done
exec 9>&-
rm -f stdin
tap_end
