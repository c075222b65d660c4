# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# Where the KVM is: a guest's requests to a disk, and what they cost. Sourced by what runs in the lab,
# with $seconds set to what a kind of request is measured for, what vmm.sh asks for, and empty or not
#
#	words		for the guest's command line
#	prefix		before the names of the cases
# shellcheck source=vmm.sh
. ./vmm.sh
SIZE=32 # MiB, of the disk, which is in memory by then
LIMIT=90

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
# COMMAND's first argument; $words are more words for that
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
	# The dio lines and the pairs of counts are in the same order. The first says what it costs to tell of
	# waiting and be told to go on, and one request, which the others are then less.
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
			if (NR == 1 || v["n"] < 2)
				next
			printf "%s%s-%s-%s-%s %s %s", prefix, v["bytes"], v["op"], v["order"], v["depth"], name, v["iops"]
			for (i = 1; i <= 4; i++)
				printf " %.3f", (b[i] - base[i]) / (v["n"] - 1)
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
		/^lookahead:/ { exit } # its table has the registers once more
		$1 ~ /^(ide|coalesced-io|virtio-blk)[0-9]*[.]/ { print "count", name, requests, $0 }'
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
