#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# Where the KVM is: the same guest under a timer of 1000 Hz, by each timer in turn, ROUNDS times, a line of figures
# each. Usage: pit-inside.sh ROUNDS QEMU-DATA-FOLDER
rounds=$1
data=${2:+-L $2/qemu -L $2/seabios}
debug=/sys/kernel/debug/kvm
SAMPLE=2 # seconds during which exits are counted
LIMIT=60
READS=600 # of 8 KiB
append="work=1500 reads=$READS"
# Of the TSC, by which the guest measures. What the CPU runs at just now is the next best.
khz=$(dmesg 2>/dev/null | sed -n 's/.*tsc: \(Detected\|Refined\).* \([0-9]*\)\.\([0-9]*\) MHz.*/\2\3/p' | tail -n 1)
khz=${khz:-$(awk '/^cpu MHz/ { print int($4 * 1000); exit }' /proc/cpuinfo)}

rm -f stdin
mkfifo stdin
exec 9<>stdin

bantam() {
	exec ./bantam run --kernel load.elf --append "$append" --memory 64M --no-reboot \
		--disk path=disk.img,if=ide --pit "$1"
}

# Of KVM's timer in QEMU a policy; or QEMU's own
qemu() {
	case $1 in
	own) timer="-machine kernel-irqchip=split" ;;
	*) timer="-global kvm-pit.lost_tick_policy=$1" ;;
	esac
	# shellcheck disable=SC2086 # lists of words
	exec "$(command -v qemu-system-x86_64)" $data -accel kvm -cpu host -M pc -m 64 -smp 1 -nodefaults \
		-display none -serial stdio -no-reboot -kernel load.elf -append "$append" \
		-drive file=disk.img,format=raw,if=ide -device isa-debug-exit,iobase=0xf4,iosize=4 $timer
}

# wait_for TEXT: until the guest has printed it
wait_for() {
	tries=0
	until grep -q "$1" out; do
		tries=$((tries + 1))
		kill -0 $pid 2>/dev/null && [ $tries -lt $((LIMIT * 20)) ] || return 1
		sleep 0.05
	done
}

# The guest ends by itself behind its last line; one that has not printed it never will.
finish() {
	grep -q '^disk' out || kill -9 $pid 2>/dev/null
	tries=0
	while kill -0 $pid 2>/dev/null && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
}

# uptime in hundredths of a second, and the exits of the VM of process pid
sample() {
	echo "$(cut -d ' ' -f 1 /proc/uptime | tr -d .) $(cat $debug/$pid-*/exits 2>/dev/null)"
}

# measure NAME VMM TIMER
measure() {
	name=$1
	: >out
	"$2" "$3" <stdin >out 2>errors 9>&- &
	pid=$!
	exits=
	if wait_for computes; then
		# shellcheck disable=SC2046 # two samples of two words
		set -- $(sample) $(sleep $SAMPLE) $(sample)
		# Not those of the disk, which a fast host has come to by now.
		[ $# -lt 4 ] || grep -q '^cpu' out || exits=$((($4 - $2) * 100 / ($3 - $1)))
		wait_for '^disk'
	fi
	finish
	tr -d '\r' <out | awk -v name="$name" -v exits="$exits" -v khz="$khz" -v reads="$READS" '
		$1 == "cpu" { ms = $2 * 1000 / khz; ticks = $4 * 1000 / ms }
		$1 == "disk" { kib = reads * 8 * khz / $2 }
		END { if (exits != "" && kib) printf "%s %s %.0f %.0f %.0f\n", name, exits, ticks, ms, kib
		      else print "# " name ": " (kib ? "its exits could not be counted" : "it did not get to its end") }'
	grep -q '^disk' out || head -n 5 out errors | sed 's/^/# /'
}

echo "# timer exits/s ticks/s cpu_ms disk_KiB/s"
i=0
while [ $i -lt "$rounds" ]; do
	measure user bantam user
	measure keep-100 bantam user,max-hz=100
	measure dilate-100 bantam user,max-hz=100,time=dilate
	measure kernel bantam kernel
	measure qemu-delay qemu delay
	measure qemu-discard qemu discard
	measure qemu-own qemu own
	i=$((i + 1))
done
