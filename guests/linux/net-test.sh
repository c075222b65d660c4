# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# What the guest of the tests does with its network: commands for the shell of init-test, which
# sources it. Each result is a line "test: NAME VALUE".
#
#	dhcp DEVICE		takes what it is given	test: dhcp 10.0.2.15/24 router 10.0.2.2 ...
#	serve			nettool's server	test: serves 7000
#	watch_carrier DEVICE	from now on, each time it changes	test: carrier 0
#	fetch URL		by HTTP			test: fetched SHA256, or test: fetch failed
#	interrupts		of each of the card's queues, so far	test: interrupts virtio0-input.0 42

# What udhcpc calls for each thing that happens.
lease() {
	cat <<'END'
#!/bin/sh
case $1 in
deconfig) ip addr flush dev "$interface" ;;
bound)
	ip addr add "$ip/$mask" dev "$interface"
	[ -z "$router" ] || ip route add default via "$router"
	echo "test: dhcp $ip/$mask router $router dns $dns host $hostname"
	;;
esac
END
}

dhcp() {
	lease >/tmp/lease
	chmod +x /tmp/lease
	udhcpc -i "$1" -n -q -t 10 -T 1 -s /tmp/lease >/tmp/dhcp 2>&1
	set -- $?
	grep '^test: ' /tmp/dhcp || say "dhcp failed $(tail -n 1 /tmp/dhcp)"
	return "$1"
}

serve() {
	nettool serve 7000 &
	until netstat -l -t -n | grep -q ':7000 '; do
		kill -0 $! || return
		usleep 20000
	done
	say "serves 7000"
}

# While the card is down there is none to be read.
watch_carrier() {
	(
		local last='' now
		while usleep 20000; do
			now=$(cat "/sys/class/net/$1/carrier" 2>/dev/null)
			[ -n "$now" ] && [ "$now" != "$last" ] || continue
			say "carrier $now"
			last=$now
		done
	) &
}

fetch() {
	if timeout 10 wget -q -O /tmp/fetched "$1"; then
		say "fetched $(sha256sum </tmp/fetched | cut -d ' ' -f 1)"
	else
		say "fetch failed"
		return 1
	fi
}

interrupts() {
	awk '/virtio[0-9]+-(in|out)put/ {
		for (i = 2; $i ~ /^[0-9]+$/; i++)
			n += $i
		print "test: interrupts", $NF, n
		n = 0
	}' /proc/interrupts
}
