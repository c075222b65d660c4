# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2034,SC2154
# Linux on the interval timer alone: its ticks, and what it makes of the time. inside.sh sources it.

# milliseconds since the host has started
now_ms() {
	sed 's/^\([0-9]*\)\.\([0-9]*\).*/\1\20/' /proc/uptime
}

# settled NAME: until the guest has all the ticks that it is owed; sets dropped to those it will not get. A
# host that is as busy as a lab often is owes it some, which come late and belong to the time before.
settled() {
	tries=0
	until ./bantam pit "$1" 2>/dev/null >pit.state && grep -q 'owed [0-4],' pit.state || [ $tries -gt 150 ]; do
		tries=$((tries + 1))
		sleep 0.2
	done
	dropped=$(sed -n 's/.*dropped //p' pit.state)
}

# on_pit NAME WORDS PIT SECONDS: Linux with these words on its command line and that timer; sets host, guest,
# ticks and dropped to what passes in so many seconds: ms by the host's clock, ms by the guest's, interrupts, and
# those that it has been denied.
# A host that was away for longer than the guest may catch up with is given two more chances.
on_pit() {
	for attempt in 1 2 3; do
		extra="highres=off nohz=off no-kvmclock clocksource=jiffies $2"
		host=0 guest=0 ticks=0 dropped=0 before=0
		start "$1" ticks --pit "$3" --name "$1"
		extra=
		if wait_for "$1" 'test: ticks wait'; then
			settled "$1"
			before=$dropped
			begun=$(now_ms)
			echo >stdin
			sleep "$4"
			settled "$1"
			host=$(($(now_ms) - begun))
			echo >stdin
			wait_for "$1" 'test: clocksource'
			tr -d '\r' <"$1.raw" >"$1.out"
			guest=$(sed -n 's/^test: ticks [0-9]* //p' "$1.out" | tr -d . |
				awk '{ if (n++) print ($1 - first) * 10; first = $1 }')
			ticks=$(sed -n 's/^test: ticks \([0-9]*\) .*/\1/p' "$1.out" |
				awk '{ if (n++) print $1 - first; first = $1 }')
		fi
		stop TERM
		dropped=$((dropped - before))
		say "$1: $host ms by the host's clock, $guest ms by the guest's, $ticks ticks, $dropped dropped; $(
			tr '\n' ' ' <pit.state)"
		[ $dropped != 0 ] || break
	done
}

# per_mille GOT WANT
per_mille() {
	[ "${2:-0}" -gt 0 ] && echo $((${1:-0} * 1000 / $2))
}

# rates NAME HZ GUEST [SLACK]: it has had so many ticks a second, and its clock has gone GUEST per mille as fast
# as the host's; both within slack, the clock within SLACK
rates() {
	between "$1: of $2 ticks a second it has had, per mille" \
		"$(per_mille "$ticks" $((host * $2 / 1000)))" $((1000 - slack)) $((1000 + slack))
	between "$1: its clock has gone as fast as the host's, per mille" "$(per_mille "$guest" "$host")" \
		$(($3 - ${4:-slack})) $(($3 + ${4:-slack}))
}

# Debian's kernel wants 250 ticks a second. The argument is what rates and clocks may be off by, per mille: labs
# beside each other are too busy for the 10 that an idle machine keeps to (pit:10). time=keep keeps the clock to
# 0.5 % on a busy one too, which may deny it some ticks, but knows how many.
test_pit() {
	slack=${1:-100}
	LIMIT=150
	on_pit pit-user nolapic_timer user 30
	rates pit-user 250 1000
	on_pit pit-keep nolapic_timer user,max-hz=100,time=keep 60
	guest=$((guest + dropped * 4))
	rates pit-keep 250 1000 5
	on_pit pit-dilate "nolapic noapic" user,max-hz=100,time=dilate 30
	rates pit-dilate 100 400
}
