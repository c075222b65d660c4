# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# What the scripts that run bare-metal guests share, for any POSIX shell. Source it, behind
# tests/tap.sh, with bantam and guests set: it goes to the folder of what the tests leave behind.

if [ -n "${TEST_OUT:-}" ]; then
	out=$TEST_OUT
	mkdir -p "$out"
else
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
cd "$out" || exit 2

# A VMM that reads its console must find neither the end of a file nor a byte.
rm -f stdin
mkfifo stdin
exec 9<>stdin

# run NAME GUEST APPEND [OPTION ...]: sets status; NAME.out and NAME.err are what it printed
run() {
	run_name=$1 run_guest=$2 run_append=$3
	shift 3
	timeout -k 2 60 "$bantam" run --kernel "$guests/$run_guest.elf" --append "$run_append" \
		"$@" <stdin >"$run_name.out" 2>"$run_name.err" 9>&-
	status=$?
}

# verdicts NAME: the guest's TAP lines as our own, and whether its plan was kept
verdicts() {
	tr -d '\r' <"$1.out" >"$1.tap"
	planned=$(sed -n 's/^1\.\.//p' "$1.tap")
	guest_n=0
	while read -r line; do
		case $line in
		"ok "* | "not ok "*)
			guest_n=$((guest_n + 1))
			case $line in
			"ok $guest_n - "*) ok "$1: ${line#"ok $guest_n - "}" ;;
			"not ok $guest_n - "*) not_ok "$1: ${line#"not ok $guest_n - "}" ;;
			*) not_ok "$1: out of order: $line" ;;
			esac
			;;
		esac
	done <"$1.tap"
	is "$1: all its tests have run" "$guest_n" "${planned:-no plan}" "$1.out" "$1.err"
}

# guest NAME GUEST APPEND [OPTION ...]: a guest that ends well
guest() {
	run "$@"
	verdicts "$1"
	is "$1: exit status" "$status" 0 "$1.err"
}

# json FILE PATH: a value out of a report
json() {
	"$guests/jsonget" "$1" "$2"
}

# wait_until TRIES COMMAND [ARG ...]: tries that often, ten times a second, until it succeeds
wait_until() {
	wait_tries=$1
	shift
	until "$@"; do
		wait_tries=$((wait_tries - 1))
		[ $wait_tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# wait_line FILE TEXT: until the guest has printed it
wait_line() {
	wait_until 300 grep -q -s "$2" "$1"
}

# wait_file FILE: until it is there
wait_file() {
	wait_until 300 [ -e "$1" ]
}

# open_runtime, close_runtime: between them the machines' sockets are in a folder of ours
open_runtime() {
	mkdir -p runtime
	chmod 700 runtime
	export XDG_RUNTIME_DIR="$PWD/runtime"
}

close_runtime() {
	unset XDG_RUNTIME_DIR
	rm -rf runtime
}

# background NAME GUEST APPEND [OPTION ...]: as run, but behind our back; sets pid
background() {
	run_name=$1 run_guest=$2 run_append=$3
	shift 3
	: >"$run_name.err"
	rm -f "$run_name.out"
	"$bantam" run --kernel "$guests/$run_guest.elf" --append "$run_append" \
		"$@" <stdin >"$run_name.out" 2>"$run_name.err" 9>&- &
	pid=$!
}

# put_down SIGNAL: ends what runs in the background; sets status
put_down() {
	kill "-$1" "$pid"
	wait "$pid" 2>/dev/null
	status=$?
}

# launch NAME GUEST APPEND [OPTION ...]: the same for a minute at most, by its name; sets guard, too
launch() {
	background "$@" --name "$1"
	(
		sleep 60
		kill -KILL $pid
	) 2>/dev/null &
	guard=$!
}

# start_stopping NAME GUEST APPEND DISK: a guest whose disk stops it
start_stopping() {
	launch "$1" "$2" "$3" --disk "$4,on-error=stop"
}

# ended: waits for it; sets status
ended() {
	wait "$pid" 2>/dev/null
	status=$?
	kill "$guard" 2>/dev/null
}

# has_stopped NAME N
has_stopped() {
	[ "$(grep -c "bantam resume $1\$" "$1.err")" -ge "$2" ]
}

# stopped NAME WORDS [N]: it has stopped for the Nth time, and says so in a line with the words
stopped() {
	wait_until 300 has_stopped "$1" "${3:-1}"
	is "$1: it has stopped, and says so in one line" "$(wc -l <"$1.err")" "${3:-1}" "$1.err"
	check "$1: which names disk and error" grep -q "$2" "$1.err"
}

# resumed NAME: it goes on to a good end
resumed() {
	"$bantam" resume "$1" 2>"$1-resume.err"
	is "$1: resume: status" $? 0 "$1-resume.err"
	ended
	verdicts "$1"
	is "$1: exit status" "$status" 0 "$1.err"
}
