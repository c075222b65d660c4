# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2034,SC2154
# A network without any right, in user mode. inside.sh sources it, after net.sh. pc.sh's Debian fetches from
# the same server.

WEB=18080 # where the host's web server listens, on its own address only

# web_server: has what an archive's server would, the file "package"
web_server() {
	mkdir -p web
	seq 1 4000000 | head -c $((16 * MIB)) >web/package
	package_sum=$(sha256sum <web/package | cut -d ' ' -f 1)
	busybox httpd -f -p 127.0.0.1:$WEB -h web &
	web_pid=$!
	until busybox netstat -l -t -n | grep -q ":$WEB "; do
		kill -0 $web_pid || return
		sleep 0.05
	done
}

no_web_server() {
	kill $web_pid
	rm -rf web
}

# forwarded NAME KIND ...: what comes in by the forwards
forwarded() {
	user=$1
	shift
	for kind in "$@"; do
		transfer "$user: forward" 127.0.0.1 17000 "$kind" $((8 * MIB))
	done
}

# user_guest NAME WORDS GIVEN: with these words behind user, and that by DHCP
user_guest() {
	net_start "$1" net:eth0 --net "user,forward=tcp:17000:7000,forward=udp:17000:7000$2"
	shell_of "$1" || return
	[ -z "$nobody" ] || is "$1: bantam is of the user" \
		"$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$pid/status")" 65534
	is "$1: with the rights" "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")" 0000000000000000
	guest "$1" "dhcp eth0"
	is "$1: DHCP" "$(cat "$1.said")" "test: dhcp 10.0.2.15/24 $3 host $1" "$1.said"
	guest "$1" serve
}

# All of it by a user who has no right but to /dev/kvm. With restrict=on no answers to datagrams get out.
test_netuser() {
	LIMIT=120
	runtime
	nobody=''
	if [ "$(id -u)" = 0 ]; then
		nobody="/usr/bin/setpriv --reuid 65534 --regid $(stat -c %g /dev/kvm) --clear-groups"
		chown 65534 runtime
	fi
	within=$nobody
	web_server
	if user_guest user '' "router 10.0.2.2 dns 10.0.2.3"; then
		guest user "fetch http://10.0.2.2:$WEB/package"
		is "user: a package from the host's server" "$(cat user.said)" "test: fetched $package_sum"
		forwarded user up down udp-up udp-down
		guest user "ping -q -c 3 10.0.2.2"
		check "user: the router answers pings" grep -q ' 3 packets received' user.said
		net_end user
	fi
	if [ $stalled = 0 ] && user_guest user-restrict ,restrict=on "router  dns "; then
		guest user-restrict "fetch http://10.0.2.2:$WEB/package"
		is "user-restrict: the host is not to be reached" "$(grep '^test' user-restrict.said)" "test: fetch failed"
		forwarded user-restrict up down udp-up
		net_end user-restrict
	fi
	no_web_server
	within=''
	no_runtime
}
