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
append="work=1500 reads=600"
khz=$(awk '/^cpu MHz/ { print int($4 * 1000); exit }' /proc/cpuinfo)

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
	user) timer="-machine kernel-irqchip=split" ;;
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
		usleep 50000
	done
}

# uptime in hundredths of a second, and the exits of the VM of process pid
sample() {
	echo "$(cut -d ' ' -f 1 /proc/uptime | tr -d .) $(cat $debug/$pid-*/exits 2>/dev/null)"
}

# measure VMM TIMER
measure() {
	: >out
	"$1" "$2" <stdin >out 2>errors 9>&- &
	pid=$!
	exits=none
	if wait_for computes; then
		# shellcheck disable=SC2046 # two samples of two words
		set -- "$1" "$2" $(sample) $(sleep $SAMPLE) $(sample)
		exits=$(awk -v t="$(($5 - $3))" -v n="$(($6 - $4))" 'BEGIN { print n * 100 / t }')
		wait_for '^disk' || kill -9 $pid
	fi
	wait $pid
	tr -d '\r' <out | awk -v name="$1-$2" -v exits="$exits" -v khz="$khz" '
		$1 == "cpu" { ms = $2 * 1000 / khz; ticks = $4 * 1000 / ms }
		$1 == "disk" { kib = 600 * 8 * khz / $2; done = 1 }
		END { if (done) printf "%s %.0f %.0f %.0f %.0f\n", name, exits, ticks, ms, kib
		      else print "# " name ": it did not get to its end" }'
	grep -q '^disk' out || head -n 5 out errors | sed 's/^/# /'
}

echo "# timer exits/s ticks/s cpu_ms disk_KiB/s"
i=0
while [ $i -lt "$rounds" ]; do
	measure bantam user
	measure bantam user,max-hz=100
	measure bantam user,max-hz=100,time=dilate
	measure bantam kernel
	measure qemu delay
	measure qemu discard
	measure qemu user
	i=$((i + 1))
done
