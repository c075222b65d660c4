# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2034,SC2154
# Guests with taps, on a bridge in a network namespace of the tests' own: what is common to the tests
# of networks, and those of taps. inside.sh sources it. In the working folder lie besides
#
#	initramfs-net		with the driver for the card, nettool and net-test.sh
#	nettool			its other end
#	tools-net.img		an ext4 image with iperf3, for nettraffic
#
# /proc/net/dev is the namespace's own, which /sys/class/net is not. busybox's programs are called by
# its name where a host may have others, and ping by its path, where the shell would take busybox's.

PING=/usr/bin/ping
HOST=10.9.0.1 # on the bridge; guests have the next addresses
MIB=1048576

# --- a network, and guests that do as they are told --------------------------------

# lan: a network namespace with the bridge br0; within is what a command in it begins with
lan() {
	runtime
	unshare -n sleep 100000 &
	lan_pid=$!
	until [ "$(readlink /proc/$lan_pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do
		sleep 0.02
	done
	within="nsenter -t $lan_pid -n"
	$within ip link set lo up
	$within ip link add br0 type bridge
	$within ip addr add $HOST/24 dev br0
	$within ip link set br0 up
}

no_lan() {
	kill $lan_pid
	wait $lan_pid 2>/dev/null
	within=''
	no_runtime
	rm -f -- *.in *.pid *.info *.said *.got
}

# net_start NAME ACTIONS [OPTION ...]: a guest whose last action is the shell
net_start() {
	rm -f "$1.in"
	mkfifo "$1.in"
	net_name=$1 net_actions=$2
	shift 2
	input=$net_name.in initrd=initramfs-net
	start "$net_name" "$net_actions,shell" --name "$net_name" --memory 192M "$@"
	input='' initrd=''
	echo "$pid" >"$net_name.pid"
}

# shell_of NAME [TIMES]: until it waits for commands, for that time
shell_of() {
	pid=$(cat "$1.pid")
	wait_for "$1" 'test: shell' "${2:-1}" && return
	[ $stalled = 1 ] || not_ok "$1: it gets as far as its shell" "$1.raw" "$1.err"
	return 1
}

# tell NAME COMMAND: has the guest begin it; for reading as well, as else a guest that is gone
# would be waited for
tell() {
	asked=$((${asked:-0} + 1))
	echo "$asked $2" 1<>"$1.in"
}

# guest NAME COMMAND: has the guest run it; what it prints goes to NAME.said; its exit status
guest() {
	pid=$(cat "$1.pid")
	tell "$1" "$2"
	if ! wait_for "$1" "test: did $asked "; then
		[ $stalled = 1 ] || not_ok "$1: it does '$2'" "$1.raw" "$1.err"
		return 99
	fi
	tr -d '\r' <"$1.raw" | sed -n "/^test: does $asked\$/,/^test: did $asked /p" |
		sed '1d; $d' >"$1.said"
	return "$(tr -d '\r' <"$1.raw" | sed -n "s/^test: did $asked //p")"
}

# What a driver and the network's layers say of frames that they cannot make sense of, and of cards
# that do not go on.
COMPLAINTS='bad gso|NETDEV WATCHDOG|Call Trace|is not a head|hw csum failure|page allocation'
COMPLAINTS="$COMPLAINTS|virtio.*(fail|error|Unexpected|broken)"

# net_end NAME: its kernel has nothing to complain of, and it powers off; with its card down, as
# Debian's driver may wait for ever for one that is at work then (mended in Linux by "virtio_ring: fix
# infinite loop in virtnet_poll_cleantx when device is broken")
net_end() {
	guest "$1" "ip link set eth0 down; dmesg | grep -E '$COMPLAINTS'"
	[ $? != 99 ] || return
	is "$1: its kernel does not complain" "$(cat "$1.said")" "" "$1.said"
	info "$1"
	for why in tx-length tx-header rx-length rx-header; do
		is "$1: frames dropped for $why" "$(of_queues "$1" dropped.$why)" 0 "$1.info"
	done
	echo end 1<>"$1.in"
	wait_end "$1" || return
	ended "$1" 0
}

# info NAME: bantam's, to NAME.info
info() {
	$within ./bantam info "$1" --json >"$1.info" 2>&1
}

# of_queues NAME KEY: the sum of it over the queues
of_queues() {
	sum=0 queue=0
	while value=$(./jsonget "$1.info" "nets.0.queues.$queue.$2"); do
		sum=$((sum + value)) queue=$((queue + 1))
	done
	[ $queue = 0 ] || echo $sum
}

# pinged NAME ADDRESS COUNT: without a loss
pinged() {
	$within $PING -q -c "$3" -i 0.01 "$2" >ping.got 2>&1
	is "$1: pings and answers" \
		"$(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received,.*/\1 \2/p' ping.got)" \
		"$3 $3" ping.got
	say "$1: $(tail -n 1 ping.got)"
}

# transfer NAME ADDRESS ARG ...: nettool's, with its server there
transfer() {
	label=$1
	shift
	if $within ./nettool "$@" >transfer.got 2>&1; then
		ok "$label: $(cat transfer.got)"
		say "$label: $(cat transfer.got)"
	else
		not_ok "$label: nettool $*" transfer.got
	fi
}

# transfers NAME ADDRESS MIB: both ways, as a stream, and as datagrams with and without fragments
transfers() {
	transfer "$1" "$2" 7000 up $(($3 * MIB))
	transfer "$1" "$2" 7000 down $(($3 * MIB))
	for way in udp-up udp-down; do
		transfer "$1" "$2" 7000 $way $((4 * MIB))
		transfer "$1" "$2" 7000 $way $((4 * MIB)) 9000
	done
}

# --- a guest beside the host -------------------------------------------------------

# negotiated NAME OFFLOADS: checksums and TSO, both ways (bits 0, 1, 7, 8, 11, 12), or none of them
negotiated() {
	tr -d '\r' <"$1.raw" >"$1.out"
	if [ "$2" = on ]; then
		features "$1" "0 1 7 8 11 12 15" ""
	else
		features "$1" 15 "0 1 7 8 11 12"
	fi
}

# sized NAME OFFLOADS: the guest leaves segments to others, or no frame is longer than the MTU has it
sized() {
	average=$(($(of_queues "$1" sent.bytes) / ($(of_queues "$1" sent.frames) + 1)))
	if [ "$2" = on ]; then
		between "$1: bytes in a frame of the guest's" $average 1515 65553
	else
		between "$1: bytes in a frame of the guest's" $average 60 1514
	fi
}

# spread NAME VHOST: it uses both queues, both ways
spread() {
	check "$1: the guest uses two queues" grep -q '^test: net eth0 .* queues 2' "$1.raw"
	guest "$1" interrupts
	for queue in 0 1; do
		for way in input output; do
			count=$(sed -n "s/^test: interrupts virtio[0-9]*-$way\.$queue //p" "$1.said")
			check "$1: queue $queue: interrupts of its $way: $count" [ "${count:-0}" -gt 5 ]
		done
		[ "$2" = on ] && continue
		for way in sent received; do
			count=$(./jsonget "$1.info" nets.0.queues.$queue.$way.frames)
			check "$1: queue $queue: frames $way: $count" [ "${count:-0}" -gt 5 ]
		done
	done
}

# way QUEUES OFFLOADS VHOST: data both ways, on as many queues, with or without offloads, by us or by the
# host's kernel
way() {
	case $3 in
	on) set -- "$@" "tap-$1-$2-vhost" ;;
	off) set -- "$@" "tap-$1-$2" ;;
	esac
	net_start "$4" virtio,net:eth0:10.9.0.2/24 --cpus "$1" \
		--net "bridge=br0,queues=$1,offloads=$2,vhost=$3"
	shell_of "$4" || return
	negotiated "$4" "$2"
	guest "$4" serve
	transfers "$4" 10.9.0.2 128
	# Several at a time, so that each queue has some.
	transfer_pids=
	for kind in up down up down; do
		$within ./nettool 10.9.0.2 7000 $kind $((16 * MIB)) >"$kind.got" 2>&1 &
		transfer_pids="$transfer_pids $!"
	done
	failed=0
	for transfer_pid in $transfer_pids; do
		wait "$transfer_pid" || failed=$((failed + 1))
	done
	is "$4: of four streams at a time have failed" $failed 0 up.got down.got
	info "$4"
	is "$4: the host's kernel moves the frames" "$(./jsonget "$4.info" nets.0.vhost)" \
		"$([ "$3" = on ] && echo true || echo false)"
	if [ "$3" = on ]; then
		is "$4: and bantam none" "$(of_queues "$4" sent.frames)" 0
	else
		sized "$4" "$2"
	fi
	[ "$1" = 1 ] || spread "$4" "$3"
	net_end "$4"
}

# tap_by_dhcp: on a tap that is there before it, with an address from a server on the bridge
tap_by_dhcp() {
	cat >dhcp.conf <<-END
		start 10.9.0.100
		end 10.9.0.150
		interface br0
		lease_file dhcp.leases
		pidfile dhcp.pid
		opt subnet 255.255.255.0
		opt router $HOST
		opt dns $HOST
	END
	: >dhcp.leases
	# It asks around first whether anybody has the address.
	$within busybox udhcpd -f -a 100 dhcp.conf >dhcp.got 2>&1 &
	dhcp_pid=$!
	$within busybox tunctl -t tap0 >/dev/null
	$within ip link set tap0 master br0 up
	net_start tap virtio,net:eth0 --net tap=tap0,vhost=off
	shell_of tap || return
	negotiated tap on
	guest tap "dhcp eth0"
	address=$(sed -n 's|^test: dhcp \([0-9.]*\)/24 .*|\1|p' tap.said)
	is "tap: what DHCP has given it: $address" \
		"$(sed -n 's|^test: dhcp 10.9.0.1[0-9][0-9]/24 \(.*\) host.*|\1|p' tap.said)" \
		"router $HOST dns $HOST" tap.said dhcp.got
	pinged tap "$address" 1000
	guest tap serve
	transfers tap "$address" "$1"
	info tap
	sized tap on
	net_end tap
	check "tap: the tap is there after it" [ -n "$(passed tap0)" ]
	kill $dhcp_pid
	rm -f dhcp.conf dhcp.leases
}

# The argument is how many MiB go each way.
test_nettap() {
	LIMIT=120
	lan
	tap_by_dhcp "${1:-1024}"
	for ways in "1 off off" "2 on off" "2 off off" "1 on on" "1 off on" "2 on on" "2 off on"; do
		# shellcheck disable=SC2086
		[ $stalled = 1 ] || way $ways
	done
	no_lan
}

# iperf NAME SECONDS ARG ...: both ways at a time; not by --bidir, with which iperf3 itself may stand still
# on a busy machine
iperf() {
	label=$1 seconds=$2
	shift 2
	$within iperf3 -c 10.9.0.2 -p 5201 -t "$seconds" -J "$@" >in.got 2>&1 &
	in_pid=$!
	$within iperf3 -c 10.9.0.2 -p 5202 -t "$seconds" -J -R "$@" >out.got 2>&1
	is "$label: iperf3, from the guest" $? 0 out.got
	wait $in_pid
	is "$label: iperf3, to the guest" $? 0 in.got
	for way in in out; do
		rate=$(./jsonget $way.got end.sum_received.bits_per_second)
		lost=$(./jsonget $way.got end.sum_received.lost_packets)
		check "$label: $way: $((${rate:-0} / 1000000)) Mbit/s${lost:+, $lost datagrams lost}" \
			[ "${rate:-0}" -gt 1000000 ]
		say "$label: $way: $((${rate:-0} / 1000000)) Mbit/s${lost:+, $lost datagrams lost}"
	done
}

# For so many seconds TCP, and UDP, both ways.
test_nettraffic() {
	LIMIT=120
	lan
	extra=bantam.tools=/dev/vda
	net_start traffic net:eth0:10.9.0.2/24,iperf-server:5201:5202 \
		--disk path=tools-net.img,readonly=on --net bridge=br0,vhost=off
	extra=
	if shell_of traffic; then
		iperf "traffic: tcp" "${1:-60}"
		iperf "traffic: udp" "${1:-60}" -u -b 50M
		pinged traffic 10.9.0.2 100
		./bantam info traffic | sed 's/^/# /'
		net_end traffic
	fi
	no_lan
}

# passed DEVICE: frames that have come from the guest by that tap
passed() {
	$within sed -n "s/^ *$1: *[0-9]* *\([0-9]*\) .*/\1/p" /proc/net/dev
}

# some_pass: until a few hundred more have come
some_pass() {
	before=$(passed tap0) tries=0
	until [ $(($(passed tap0) - before)) -gt 300 ] || [ $tries -gt 600 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	[ $tries -le 600 ]
}

# flap NAME ROUND: pulls the cable out while streams run, and plugs it in again; they end only then
flap() {
	for kind in up down; do
		$within ./nettool 10.9.0.2 7000 $kind $((MIB * MIB)) >"$kind.got" 2>&1 &
		eval "${kind}_pid=$!"
	done
	check "$1: $2: streams run" some_pass
	./bantam link "$1" net0 down >link.got 2>&1
	is "$1: $2: bantam link down" $? 0 link.got
	wait_for "$1" 'test: carrier 0' "$2" && ok "$1: $2: the guest sees the cable go"
	before=$(passed tap0)
	$within $PING -q -c 20 -i 0.05 10.9.0.2 >ping.got 2>&1
	check "$1: $2: no ping is answered" grep -q ' 0 received' ping.got
	is "$1: $2: nothing comes from the guest" "$(passed tap0)" "$before"
	./bantam link "$1" net0 up >link.got 2>&1
	is "$1: $2: bantam link up" $? 0 link.got
	wait_for "$1" 'test: carrier 1' $(($2 + 1)) && ok "$1: $2: the guest sees it come"
	check "$1: $2: the streams go on" some_pass
	kill -TERM "$up_pid" "$down_pid"
	wait "$up_pid"
	is "$1: $2: the stream to the guest: $(cat up.got)" $? 0
	wait "$down_pid"
	is "$1: $2: the stream from the guest: $(cat down.got)" $? 0
	pinged "$1: $2" 10.9.0.2 20
}

# The cable is pulled out under traffic.
test_netflap() {
	LIMIT=120
	lan
	for vhost in off on; do
		flaps=flap-vhost-$vhost
		net_start "$flaps" net:eth0:10.9.0.2/24 --net tap=tap0,vhost=$vhost
		if shell_of "$flaps"; then
			$within ip link set tap0 master br0
			guest "$flaps" "serve; watch_carrier eth0"
			for round in 1 2 3; do
				! kill -0 "$pid" 2>/dev/null || flap "$flaps" $round
			done
			net_end "$flaps"
		fi
		[ $stalled = 0 ] || break
	done
	no_lan
}

# restart ROUND: a command by which the guest restarts itself: at first in the middle of all, then
# orderly, for which its card must be down: see net_end()
restart() {
	if [ "$1" -le 2 ]; then
		echo "nettool $HOST 9 blast & sleep 0.3; echo b >/proc/sysrq-trigger"
	else
		echo "ip link set eth0 down; reboot -f"
	fi
}

# The guest restarts itself under traffic in both directions, which does not stop for it.
test_netreboot() {
	LIMIT=120
	lan
	for vhost in off on; do
		reboots=reboot-vhost-$vhost
		net_start "$reboots" net:eth0:10.9.0.2/24 --net tap=tap0,vhost=$vhost --cpus 2
		shell_of "$reboots" || break
		$within ip link set tap0 master br0
		$within $PING -q -f -s 1400 10.9.0.2 >flood.got 2>&1 &
		flood_pid=$!
		$within ./nettool 10.9.0.2 9 blast &
		blast_pid=$!
		for round in 1 2 3; do
			guest "$reboots" serve
			transfer "$reboots: $round" 10.9.0.2 7000 up $((8 * MIB))
			transfer "$reboots: $round" 10.9.0.2 7000 down $((8 * MIB))
			tell "$reboots" "$(restart $round)"
			shell_of "$reboots" $((round + 1)) || break 2
			check "$reboots: $round: the traffic goes on" kill -0 $flood_pid $blast_pid
		done
		pinged "$reboots" 10.9.0.2 50
		kill -INT $flood_pid
		kill $blast_pid
		wait $flood_pid $blast_pid 2>/dev/null
		say "$reboots: $(grep received flood.got)"
		net_end "$reboots"
	done
	no_lan
}

# Two guests on the bridge, of which one has no offloads; a capture of each.
test_netbridge() {
	LIMIT=120
	lan
	net_start left net:eth0:10.9.0.2/24 --net bridge=br0,capture=left.pcapng
	net_start right net:eth0:10.9.0.3/24 --net bridge=br0,offloads=off,capture=right.pcapng
	if shell_of left && shell_of right; then
		check "bridge: the guests' addresses differ" [ "$(sed -n 's/^test: net eth0 \([^ ]*\) .*/\1/p' left.raw)" != \
			"$(sed -n 's/^test: net eth0 \([^ ]*\) .*/\1/p' right.raw)" ]
		guest left "ping -q -c 50 -i 0.02 10.9.0.3"
		check "bridge: pings from one to the other" grep -q '^50 packets transmitted, 50 packets received' left.said
		guest right serve
		for kind in up down udp-up udp-down; do
			guest left "nettool 10.9.0.3 7000 $kind $((16 * MIB))"
			is "bridge: between the guests: $(cat left.said)" $? 0 left.said
		done
		net_end left
		net_end right
		for side in left right; do
			is "bridge: pings in the capture of $side" \
				"$(tcpdump -Z root -n -r $side.pcapng 'icmp[icmptype] == icmp-echo' 2>tcpdump.got | wc -l)" 50 tcpdump.got
			is "bridge: answers in the capture of $side" \
				"$(tcpdump -Z root -n -r $side.pcapng 'icmp[icmptype] == icmp-echoreply' 2>tcpdump.got | wc -l)" 50 tcpdump.got
		done
		check "bridge: large frames in the capture of left" \
			[ "$(tcpdump -Z root -n -r left.pcapng 'greater 1515' 2>/dev/null | wc -l)" -gt 50 ]
		is "bridge: large frames in the capture of right" \
			"$(tcpdump -Z root -n -r right.pcapng 'greater 1515' 2>/dev/null | wc -l)" 0
	fi
	no_lan
	rm -f left.pcapng right.pcapng
}
