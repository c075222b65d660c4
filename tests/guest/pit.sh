# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# The interval timer: its rates, the dial, and what becomes of ticks that the host was late with. run.sh sources it.

# Rates are only what they should be where nobody takes the guest's CPU away. There they are held to
# 1 %, elsewhere to what tells a wrong count.
pit_slack() {
	case $(cut -d . -f 1 /proc/loadavg) in
	0) echo 10 ;;
	*) echo 800 ;;
	esac
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
	open_runtime
	background pit-dial pit "forever" --pit user --name dial
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
	put_down TERM
	background pit-dial pit "forever" --pit kernel --name dial
	wait_line pit-dial.out "1000 Hz"
	"$bantam" pit >pit-dial.log 2>&1
	is "pit-dial: KVM's has no dial: status" $? 1 pit-dial.log
	put_down TERM

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
	close_runtime
}

# late POLICY SECONDS: the host stops the VMM for so long while the guest counts 100 ticks a second. Sets missing to
# the ticks that, by the guest's TSC, should have come meanwhile and thereafter and have not, and dropped to those
# that the device owns up to. The least of what some lines tell: a busy host owes some for a while.
late() {
	late_name="pit-late: $1 after $2 s"
	missing=
	dropped=
	background pit-late pit "forever count=11932" --pit "user,lost-ticks=$1" --name late
	if late_line && settled; then
		late_dropped=$dropped
		late_line
		late_first=$late_lines
		kill -STOP "$pid"
		late_before=$(late_count)
		sleep "$2"
		kill -CONT "$pid"
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
	put_down TERM
}

# late_count: how many lines the guest has printed
late_count() {
	grep -c -s ' ms' pit-late.out
}

late_has() {
	[ "$(late_count)" -ge "$1" ]
}

# late_line: until the guest has printed one more
late_line() {
	late_lines=$(($(late_count) + 1))
	wait_until 300 late_has $late_lines
}

has_settled() {
	"$bantam" pit late >pit-late.log 2>&1 && grep -q 'owed [01],' pit-late.log
}

# settled: until the guest has all the ticks it is owed, which a busy host may take a while for; sets dropped
settled() {
	wait_until 200 has_settled || return 1
	dropped=$(sed -n 's/.*dropped //p' pit-late.log)
}

# dial_rate: sets rate to one of the next seconds' that is as it should be, or to the last one; false: none is
dial_rate() {
	rate=$(tr -d '\r' <pit-dial.out | sed -n "$dial_from,\$s/.* Hz: \([0-9]*\) ticks, .*/\1/p" |
		awk -v low="$dial_low" -v high="$dial_high" '{ v = $1 } v >= low && v <= high { exit } END { print v }')
	[ "${rate:-0}" -ge "$dial_low" ] && [ "$rate" -le "$dial_high" ]
}

# dial LOW HIGH STATE [CHANGE]: after it, this is the state, and such the rate of one of the next seconds
dial() {
	dial_low=$1 dial_high=$2
	[ "$slack" = 10 ] || dial_low=1 dial_high=22000
	is "pit-dial: ${4:-as it begins}: the state" "$("$bantam" pit dial ${4:+"$4"} | head -n 1)" "$3"
	dial_from=$(($(grep -c Hz pit-dial.out) + 1))
	wait_until 150 dial_rate
	dial_status=$?
	check "pit-dial: ${4:-as it begins}: ticks a second: $rate" [ $dial_status = 0 ]
}
