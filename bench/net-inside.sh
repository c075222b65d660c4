#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2034
# Where the KVM is: a guest with a tap under each VMM, all of them up at the same time, and traffic to one at
# a time, each kind of it to one guest after the other; a line of figures each. A bantam in
# ./bantam-before is measured as well, and only the kinds in ./kinds.given if there is that.
# Usage: net-inside.sh PASSES SECONDS QEMU-DATA-FOLDER
passes=$1 ms=$(awk "BEGIN { print int($2 * 1000) }")
data=$3
options='' initrd=initrd
# shellcheck source=vmm.sh
. ./vmm.sh
BOOT_LIMIT=90
VMMS="bantam qemu bantam-vhost qemu-vhost"
[ ! -e bantam-before ] || VMMS="bantam before qemu bantam-vhost before-vhost qemu-vhost"

# The guests, by number: VMM napi|no-napi, which is what their drivers do when a frame has been sent.
for napi in napi no-napi; do
	for vmm in $VMMS; do
		echo "$vmm $napi"
	done
done >guests

# find_guest NUMBER: sets vmm, napi, pid and the words that depend on them
find_guest() {
	number=$1 pid='' worker='' bin=''
	# shellcheck disable=SC2046 # two words
	set -- $(sed -n "$((number + 1))p" guests)
	vmm=$1 napi=$2 tap=tap$number out=out.$number vhost=off words='ipv6.disable=1'
	[ "$napi" = napi ] || words="$words virtio_net.napi_tx=0"
	[ "${vmm%-vhost}" = "$vmm" ] || vhost=on
	[ "${vmm#before}" = "$vmm" ] || bin=bantam-before
	[ ! -e "pid.$number" ] || read -r pid worker <"pid.$number"
}

# bantam_net, qemu_net APPEND: each makes its tap itself. QEMU's has virtio's header, the guest all offloads and
# mergeable buffers if that is not said.
bantam_net() {
	bantam "$1" --net "tap=$tap,vhost=$vhost"
}

qemu_net() {
	qemu "$1" -netdev "tap,id=n,ifname=$tap,script=no,downscript=no,vhost=$vhost" \
		-device virtio-net-pci,netdev=n,romfile=
}

start() {
	command=bantam_net
	[ "${vmm#qemu}" = "$vmm" ] || command=qemu_net
	: >"$out"
	"$command" "$(append "virtio,net:eth0:10.9.$number.2/24,netload" "$words")" </dev/null >"$out" 2>"errors.$number" &
	pid=$!
	echo $pid >"pid.$number"
}

# await: until the guest serves; then the thread of the kernel's that moves its frames is found as well
await() {
	begun=$(cut -d . -f 1 /proc/uptime)
	until grep -q '^netload: ready' "$out"; do
		kill -0 "$pid" 2>/dev/null &&
			[ $(($(cut -d . -f 1 /proc/uptime) - begun)) -lt $BOOT_LIMIT ] || return 1
		usleep 20000
	done
	ip addr add "10.9.$number.1/24" dev "$tap"
	ip link set "$tap" up
	[ $vhost = off ] || worker=$(grep -slx "vhost-$pid" /proc/[0-9]*/comm | tr -dc 0-9)
	[ $vhost = off ] || [ -n "$worker" ] || return 1
	echo "$pid $worker" >"pid.$number"
	set -- "$(tr -d '\r' <"$out" | sed -n 's/^test: virtio .* device 0x0001 features \(.*\) end/\1/p')"
	echo "# $vmm $napi: $tap flags $(cat "/sys/class/net/$tap/tun_flags") features $1"
}

complain() {
	echo "# $vmm $napi: $1:"
	tr -d '\r' <"$out" | tail -n 5 | cat - "errors.$number" | head -n 25 | sed 's/^/# /'
}

# sample: the counters, the frames that its tap has moved, and the ticks of the kernel's thread, on one line
sample() {
	{
		counters
		cat "/sys/class/net/$tap/statistics/rx_packets" "/sys/class/net/$tap/statistics/tx_packets"
		if [ -n "$worker" ]; then
			sed 's/.*) //' "/proc/$worker/stat" | awk '{ print $12 + $13 }'
		else
			echo 0
		fi
	} | tr '\n' ' '
}

# attempt KIND in|out [INTERVAL]
attempt() {
	case=$1-$2${3:+-paced}
	[ "$napi" = napi ] || case=$case-no-napi
	before=$(sample)
	result=$(timeout $((ms / 1000 + 10)) ./netload run "10.9.$number.2" "$1" "$2" "$ms" ${3:+"$3"} 2>&1) || return 1
	after=$(sample)
	# Exits of a frame; times of a MB, a packet or a round trip.
	echo "$case $vmm $result $before $after" | awk -v s="$ms" '{
		for (i = 1; i <= 9; i++)
			d[i] = $(i + 14) - $(i + 5)
		frames = d[7] + d[8]
		things = $3 * s / 1000
		if ($1 ~ /^stream/)
			things /= 8
		if (!frames || !things)
			exit 1
		printf "%s %s %s %s %s %.0f %.2f %.4f %.1f %.1f\n", $1, $2, $3, $4, $5, frames * 1000 / s,
			d[1] ? frames / d[1] : 0, d[4] / frames, (d[5] + d[9]) * 10000 / things, d[6] * 10000 / things
	}'
}

# measure NUMBER ...: as attempt(); a guest that is lost is started anew for one more try
measure() {
	find_guest "$1"
	shift
	[ -n "$pid" ] || return 0
	attempt "$@" && return
	complain "$* did not get to its end: $result"
	kill -9 "$pid"
	wait "$pid"
	start
	if await && attempt "$@"; then
		return
	fi
	complain "$* did not get to its end again"
	rm "pid.$number"
}

# each napi|no-napi KIND in|out [INTERVAL]: the guests in their order (cat) or in the reverse one (tac)
each() {
	drivers=$1
	shift
	[ ! -e kinds.given ] || grep -qx "$drivers $*" kinds.given || return 0
	number=0
	while read -r _ napi; do
		[ "$napi" != "$drivers" ] || echo $number
		number=$((number + 1))
	done <guests | $order >numbers
	# Not in a pipe: whoever is started reads the standard input.
	while read -r number <&8; do
		measure "$number" "$@"
	done 8<numbers
}

# Without NAPI the driver has its frames back when it sends the next ones; nothing else is different.
pass() {
	each napi stream in
	each napi stream out
	each no-napi stream out
	each napi packets in
	each napi packets out
	each no-napi packets out
	each napi ping in
	each napi ping in 2000
	each napi udp in
	each napi udp out
	each no-napi udp out
	each napi tcp in
}

echo "# case vmm rate p50_us p99_us frames/s frames/exit user_exits cpu_us guest_us"
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
count=$(wc -l <guests)
for number in $(seq 0 $((count - 1))); do
	find_guest "$number"
	start
	await || {
		complain "it did not start"
		kill -9 "$pid" 2>/dev/null
		rm -f "pid.$number"
	}
done
count_user_exits 1
i=0
while [ $i -lt "$passes" ]; do
	# Who comes first finds another machine than who comes last.
	[ $((i % 2)) = 0 ] && order='cat' || order='tac'
	pass
	i=$((i + 1))
done
count_user_exits 0
for number in $(seq 0 $((count - 1))); do
	find_guest "$number"
	[ -z "$pid" ] || kill -9 "$pid"
done
