#!/bin/bash
# SPDX-License-Identifier: MIT
# All tests, or some groups of them: make check, make check-unit ...
#
# Usage: check.sh [GROUP ...]
#
#	lint	includes go down only, no mutable data at file scope, format, cppcheck,
#		clang-tidy, shellcheck
#	build	with gcc, with clang, with ASan and UBSan, and with TSan, warnings as errors
#	unit	cmocka, as gcc and as the sanitizers have built it
#	fuzz	each fuzz target for a short while, with a fixed seed
#	guest	bare-metal guests on /dev/kvm, under each of the four builds; killed at random; and
#		under storage that fails
#	cli	the user's mistakes, the terminal, make install, the manual page; as gcc and as TSan
#		have built it
#	linux	stock Linux in the lab, and a test of the bare-metal guests there
#
# A program's output goes to build/check/NAME.log; what is shown is a line for each program, what
# failed, and once more at the end with its log. V=1 shows every verdict. The last line is
# "N passed, N failed", and ", N skipped" where there are any. Exit status 1 if anything failed.
#
# The linux group waits for emulated machines most of its time and takes the longest, so the others
# run beside it.
set -u
cd "$(dirname "$0")/.." || exit 1

logs=build/check
jobs=$(nproc)
sanitize=address,undefined
# For what clang builds with TSan: some tests fork with threads there; and it does not run where the
# host places memory more at random than this.
export TSAN_OPTIONS="die_after_fork=0 suppressions=$PWD/tests/tsan.supp"
declare -A start=()
[ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -le 28 ] || start[tsan]="setarch -R"

die() {
	echo "check: $*" >&2
	exit 2
}

groups=("$@")
[ $# -gt 0 ] || groups=(build lint unit fuzz guest cli linux)
for group in "${groups[@]}"; do
	case $group in
	lint | build | unit | fuzz | guest | cli | linux) ;;
	*) die "unknown group '$group': lint, build, unit, fuzz, guest, cli or linux" ;;
	esac
done
mkdir -p $logs
logs=$(cd $logs && pwd)
exec 6>"$logs/.lock"
flock -n 6 || die "another check runs in this folder"
rm -rf "${logs:?}"/* "$logs/.times"

# Each line is written at once, so that parallel parts do not mix within one.
started=$SECONDS
say() {
	printf '%3d s  %s\n' $((SECONDS - started)) "$*"
}

# counts NAME PASSED FAILED SKIPPED: for the end
counts() {
	echo "$2 $3 $4" >"$logs/$1.counts"
}

# verdict NAME STATUS [PLAN]: judges a program by what it printed to NAME.log; with PLAN, it must
# have kept the plan that TAP ends or begins with
verdict() {
	local name=$1 status=$2 log=$logs/$1.log passed failed skipped planned why=''
	# cmocka calls what it skips not ok.
	skipped=$(grep -a -c -i -E '^(not )?ok .*# skip' "$log")
	passed=$(grep -a '^ok' "$log" | grep -a -c -v -i '# skip')
	failed=$(grep -a '^not ok' "$log" | grep -a -c -v -i '# skip')
	planned=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$log" | tail -n 1)
	if [ $((passed + failed + skipped)) = 0 ]; then
		why="it gave no verdict (exit status $status)"
	elif [ "$status" = 124 ] || [ "$status" = 137 ]; then
		why="it ran out of time"
	elif [ "$status" != 0 ] && [ "$failed" = 0 ]; then
		why="it died with exit status $status"
	elif [ $# -gt 2 ] && [ "${planned:-none}" != $((passed + failed + skipped)) ]; then
		why="it has run $((passed + failed + skipped)) tests, its plan is ${planned:-missing}"
	fi
	if [ -n "$why" ]; then
		echo "not ok - $name: $why" >>"$log"
		failed=$((failed + 1))
	fi
	counts "$name" "$passed" "$failed" "$skipped"
	[ "${V:-0}" = 0 ] || sed 's/^/       /' "$log"
	say "$name: $passed passed$([ "$failed" = 0 ] || echo ", $failed FAILED")$([ "$skipped" = 0 ] || echo ", $skipped skipped")"
	if [ "$failed" != 0 ]; then
		{
			echo "$name: $log"
			if [ -n "$why" ]; then
				tail -n 15 "$log" | sed 's/^/    /'
			else
				grep -a -A 12 '^not ok' "$log" | grep -a -e '^not ok' -e '^#' | head -n 40 | sed 's/^/    /'
			fi | cut -c 1-200
		} >"$logs/$name.failed"
		cat "$logs/$name.failed"
	fi
}

# tap NAME SECONDS COMMAND ...: a program that prints TAP
tap() {
	local name=$1 limit=$2
	shift 2
	mkdir -p "$(dirname "$logs/$name")"
	# The shell's own word on a death by signal goes nowhere: the verdict says it.
	(
		timeout -k 5 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null
		exit $?
	) 2>/dev/null
	verdict "$name" $? plan
}

# run NAME SECONDS COMMAND ...: one that says by its exit status whether all is well
run() {
	local name=$1 limit=$2 status
	shift 2
	mkdir -p "$(dirname "$logs/$name")"
	(
		timeout -k 5 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null
		exit $?
	) 2>/dev/null
	status=$?
	if [ $status = 0 ]; then
		echo "ok - $name" >>"$logs/$name.log"
		status=0
	elif [ $status != 124 ] && [ $status != 137 ]; then
		# A compiler's complaints tell more than its last words.
		{
			grep -a -E 'error:|warning:|SUMMARY:' "$logs/$name.log" || tail -n 20 "$logs/$name.log"
		} | head -n 20 | sed 's/^/# /' >"$logs/$name.tail"
		{
			echo "not ok - $name: exit status $status"
			cat "$logs/$name.tail"
		} >>"$logs/$name.log"
		rm "$logs/$name.tail"
		status=1
	fi
	verdict "$name" $status
}

make() {
	env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -j "$jobs" "$@"
}
export -f make
export jobs

# build NAME: builds all of one flavour, once; false if that does not work
build() {
	local -A options=(
		[gcc]="CC=gcc"
		[clang]="CC=clang"
		[asan]="CC=clang SANITIZE=$sanitize"
		[tsan]="CC=clang SANITIZE=thread"
		[fuzz]="CC=clang SANITIZE=$sanitize,fuzzer-no-link" # which paths of ours are new
	)
	local targets="all guests unit-tests benches"
	[ "$1" != fuzz ] || targets=fuzzers
	if [ ! -e "$logs/build/$1.counts" ]; then
		# shellcheck disable=SC2086
		run "build/$1" 600 bash -c 'make "$@"' make O="build/$1" ${options[$1]} $targets
	fi
	[ "$(cut -d ' ' -f 2 "$logs/build/$1.counts")" = 0 ]
}

# need GROUP BUILD: what cannot be tested without a build is one failure
need() {
	build "$2" && return
	mkdir -p "$logs/$1"
	echo "not ok - $1: there is nothing to test: build/$2 failed" >"$logs/$1/$2.log"
	verdict "$1/$2" 1
	return 1
}

# --- the groups ---------------------------------------------------------------

group_build() {
	local flavour
	for flavour in gcc clang asan tsan; do
		build $flavour
	done
}

group_lint() {
	local sources=(base backends symbols cpu devices firmware vmm)
	run lint/format 60 bash -c 'make format-check'
	tap lint/floors 60 tests/lint.sh floors
	tap lint/files 60 tests/lint.sh files
	tap lint/patches 60 tests/lint.sh patches
	if need lint gcc; then
		tap lint/data 60 tests/lint.sh data build/gcc
	fi
	run lint/cppcheck 120 cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -I. \
		--enable=warning,performance,portability --suppress=ctuuninitvar \
		--suppress=comparePointers "${sources[@]}" guests
	run lint/clang-tidy 400 bash -c 'find "$@" -name "*.c" -print0 |
		xargs -0 -n 4 -P '"$jobs"' sh -c '"'"'clang-tidy --quiet "$@" -- -std=gnu11 \
			-D_GNU_SOURCE -I. -Ibuild/gcc 2>&1'"'"' clang-tidy' find "${sources[@]}"
	run lint/shellcheck 120 bash -c 'grep -l -r -E "^#!/bin/(ba)?sh" \
		tests guests bench .ci 2>/dev/null | xargs shellcheck -x -P SCRIPTDIR -S warning'
}

group_unit() {
	local flavour test
	for flavour in gcc asan tsan; do
		need unit $flavour || continue
		for test in tests/unit/test_*.c; do
			test=${test%.c}
			# TSan's own thread keeps the process in its user namespace.
			[ $flavour/${test##*/} != tsan/test_net_tap_owners ] || continue
			# shellcheck disable=SC2086
			CMOCKA_MESSAGE_OUTPUT=TAP tap "unit/${test##*/test_}-$flavour" 120 \
				${start[$flavour]:-} "build/$flavour/$test"
		done
	done
}

# Where a fuzz target starts from: what the unit tests of the same devices do, in its own form.
corpora() {
	local folder=$logs/fuzz/corpus/ide
	need fuzz gcc || return
	mkdir -p "$folder"
	run fuzz/corpus 120 env IDE_CORPUS="$folder" bash -c '
		for test in ide ide_drives ide_dma ide_flight ide_cd; do
			build/gcc/tests/unit/test_$test || exit
		done
		echo "# $(ls "$IDE_CORPUS" | wc -l) files"
		ls "$IDE_CORPUS" | grep -q .'
}

group_fuzz() {
	local target name corpus
	need fuzz fuzz || return
	corpora
	for target in tests/fuzz/fuzz_*.c; do
		target=build/fuzz/${target%.c} name=${target#*/fuzz_} name=${name%.c}
		corpus=$logs/fuzz/corpus/$name
		mkdir -p "$corpus"
		# The time limit is for a machine under load; the number of runs is what counts.
		run "fuzz/$name" 120 env -C "$logs" "$PWD/$target" -seed=1 -runs=20000 \
			-max_total_time=20 -print_final_stats=1 -artifact_prefix="$logs/fuzz/$name-" \
			"$corpus"
	done
}

group_guest() {
	local flavour
	for flavour in gcc clang asan tsan; do
		need guest $flavour || continue
		# shellcheck disable=SC2086
		TEST_OUT=$logs/guest/$flavour.out tap guest/$flavour 600 ${start[$flavour]:-} \
			tests/guest/run.sh build/$flavour/bantam build/$flavour/guests
	done
	need guest gcc || return
	TEST_OUT=$logs/guest/kills.out tap guest/kills 400 \
		tests/guest/kills.sh build/gcc/bantam build/gcc/guests 20
	TEST_OUT=$logs/guest/faults.out tap guest/faults 400 \
		tests/guest/faults.sh build/gcc/bantam build/gcc/guests
}

group_cli() {
	local flavour
	for flavour in gcc tsan; do
		need cli $flavour || continue
		# shellcheck disable=SC2086
		TEST_OUT=$logs/cli/$flavour.out tap cli/$flavour 300 ${start[$flavour]:-} \
			tests/cli/run.sh build/$flavour/bantam build/$flavour/guests
	done
}

group_linux() {
	need linux gcc || return
	tap linux/lab 60 tests/lab/test.sh
	# What only a KVM like the lab's has, such as hypercalls that can leave it.
	GUEST_LAB=1 tap linux/guests 400 \
		tests/guest/run.sh build/gcc/bantam build/gcc/guests coalesce
	TEST_OUT=$logs/linux/out tap linux/linux 2400 \
		tests/linux/run.sh build/gcc/bantam build/gcc/guests
	grep -a '^# labs started afresh' "$logs/linux/linux.log"
}

# run_group GROUP: with its time
run_group() {
	local since=$SECONDS
	"group_$1"
	echo "$1 $((SECONDS - since))" >>"$logs/.times"
}

# --- all of it ------------------------------------------------------------------

linux=0 others=()
for group in "${groups[@]}"; do
	if [ "$group" = linux ]; then
		linux=1
	else
		others+=("$group")
	fi
done
linux_pid=
if [ $linux = 1 ]; then
	build gcc
	run_group linux 6>&- &
	linux_pid=$!
	trap 'kill $linux_pid 2>/dev/null' EXIT
fi
for group in "${others[@]}"; do
	run_group "$group" 6>&-
done
if [ -n "$linux_pid" ]; then
	wait $linux_pid
	trap - EXIT
fi

passed=0 failed=0 skipped=0
while read -r p f s; do
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done < <(find "$logs" -name '*.counts' -exec cat {} +)
if [ $failed != 0 ]; then
	echo
	echo "failed:"
	find "$logs" -name '*.failed' | sort | xargs cat
fi
echo
echo "seconds: $(sed 's/\(.*\) \(.*\)/\1 \2/' "$logs/.times" | paste -s -d , | sed 's/,/, /g'), in all $((SECONDS - started))"
[ $skipped = 0 ] || skips=", $skipped skipped"
echo "$passed passed, $failed failed${skips:-}"
[ $failed = 0 ]
