#!/bin/bash
# SPDX-License-Identifier: MIT
# What bantam says to its user: mistakes of every kind, help, installation, manual page, the
# terminal afterwards.
#
# Usage: run.sh BANTAM GUESTS
#
# BANTAM is the program, GUESTS the folder of the bare-metal guests. Prints TAP. Where a guest has
# to run, /dev/kvm is needed; without it those tests are skipped. TEST_OUT keeps files.
#
# A mistake must give exactly one line on stderr, which names the option and the value, nothing
# on stdout, exit status 2 (the command line is wrong) or 1 (the host or a file is), and leave
# neither a process nor a file behind.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
[ $# = 2 ] || {
	echo "usage: run.sh BANTAM GUESTS" >&2
	exit 2
}
bantam=$(cd "$(dirname "$1")" && pwd)/${1##*/}
guests=$(cd "$2" && pwd) || exit 2

# shellcheck source=../tap.sh
. "$top/tests/tap.sh"
work=$(mktemp -d)
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
# Somebody without rights must get there too.
chmod 755 "$work"
cp "$bantam" "$work/bantam"
cp "$guests/crash.elf" "$work/guest.elf"
out=${TEST_OUT:-$work/out}
mkdir -p "$out"
cd "$work" || exit 2

have_kvm=1
[ -r /dev/kvm ] && [ -w /dev/kvm ] || have_kvm=0

# left MARK: processes that carry the mark in their environment
left() {
	grep -l -z -x "BANTAM_TEST_MARK=$1" /proc/[0-9]*/environ 2>/dev/null
}

as=()
# mistake NAME STATUS WORDS [ARG ...]: WORDS, separated by |, must all be in the one line
mistake() {
	local name=$1 want=$2 words=$3 status lines word problem='' before after mark=$RANDOM$RANDOM
	shift 3
	before=$(find . -path ./out -prune -o -print | sort)
	BANTAM_TEST_MARK=$mark timeout -k 2 10 "${as[@]}" ./bantam "$@" </dev/null \
		>"$out/stdout" 2>"$out/stderr"
	status=$?
	after=$(find . -path ./out -prune -o -print | sort)
	lines=$(wc -l <"$out/stderr")
	[ "$status" = "$want" ] || problem+=" exit status $status, not $want;"
	[ "$lines" = 1 ] || problem+=" $lines lines on stderr;"
	[ ! -s "$out/stdout" ] || problem+=" something on stdout;"
	grep -q '^bantam: ' "$out/stderr" || problem+=" the line does not begin with bantam;"
	while [ -n "$words" ]; do
		word=${words%%|*}
		grep -q -F -e "$word" "$out/stderr" || problem+=" '$word' is not in it;"
		[ "$words" != "$word" ] || break
		words=${words#*|}
	done
	[ "$before" = "$after" ] || problem+=" files: $(diff <(echo "$before") <(echo "$after") | grep '^[<>]' | tr '\n' ' ');"
	sleep 0.02
	[ -z "$(left "$mark")" ] || problem+=" processes are left;"
	if [ -z "$problem" ]; then
		ok "$name"
	else
		not_ok "$name:$problem" "$out/stderr"
	fi
}

# run_mistake: the same for `bantam run --kernel guest.elf ...`
run_mistake() {
	local name=$1 want=$2 words=$3
	shift 3
	mistake "$name" "$want" "$words" run --kernel guest.elf --append off "$@"
}

# --- files to stumble over ---

mkdir folder
mkfifo fifo
: >empty
printf 'This is not a kernel.\n' >text
head -c 100000 /dev/zero >zeros
head -c 100 guest.elf >cut.elf
head -c 4096 guest.elf >short.elf
truncate -s 3G big
truncate -s 1M disk.img
truncate -s 1000 odd.img
cp disk.img unreadable
chmod 000 unreadable

# --- commands ---

mistake "no command" 2 "help"
mistake "an unknown command" 2 "frobnicate" frobnicate
mistake "no kernel" 2 "--kernel" run
mistake "an unknown option" 2 "--frobnicate" run --kernel guest.elf --frobnicate
mistake "an unknown option with a value" 2 "--frobnicate" run --kernel guest.elf --frobnicate=1
mistake "a part of an option's name" 2 "--kern" run --kern guest.elf
mistake "a single dash" 2 "-kernel" run -kernel guest.elf
mistake "a stray word" 2 "stray" run --kernel guest.elf stray
mistake "an option without its value" 2 "--kernel|FILE" run --kernel
mistake "an option with an empty value" 2 "--kernel" run --kernel ""
mistake "a value for an option that has none" 2 "--no-reboot" run --kernel guest.elf --no-reboot=1
mistake "a word of 10,000 characters" 2 "unknown" run "--$(printf '%010000d' 0)"
mistake "control characters" 2 "unknown" run $'--x\e[31m\n'

# --- the kernel and its initrd ---

mistake "kernel: missing" 1 "--kernel|missing.elf" run --kernel missing.elf
mistake "kernel: a folder" 1 "--kernel|folder" run --kernel folder
mistake "kernel: a text file" 1 "--kernel|text" run --kernel text
mistake "kernel: an empty file" 1 "--kernel|empty" run --kernel empty
mistake "kernel: zeros" 1 "--kernel|zeros" run --kernel zeros
mistake "kernel: a FIFO" 1 "--kernel|fifo" run --kernel fifo
mistake "kernel: a device" 1 "--kernel|/dev/zero" run --kernel /dev/zero
mistake "kernel: an ELF cut in its headers" 1 "--kernel|cut.elf" run --kernel cut.elf
mistake "kernel: an ELF cut in a segment" 1 "--kernel|short.elf" run --kernel short.elf
mistake "kernel: a program" 1 "--kernel|/bin/true|PVH" run --kernel /bin/true
mistake "kernel: too large for the memory" 1 "--kernel|big" run --kernel big --memory 16M
run_mistake "initrd: missing" 1 "--initrd|missing" --initrd missing
run_mistake "initrd: a folder" 1 "--initrd|folder" --initrd folder
run_mistake "initrd: a FIFO" 1 "--initrd|fifo" --initrd fifo
run_mistake "initrd: too large" 1 "--initrd|big" --initrd big --memory 64M
mistake "append: too long" 1 "--append" run --kernel guest.elf --append "$(printf '%040000d' 0)"

# --- CPUs and memory ---

for value in 0 256 -1 x 1x 1.5 0x2 99999999999999999999 ' 1'; do
	run_mistake "cpus: '$value'" 2 "--cpus|$value|1 to" --cpus "$value"
done
for value in 0 1M 15M 100 2T -1 -64M x 64X 64MB 16.5M 1025K 18446744073709551616 99999999999T; do
	run_mistake "memory: '$value'" 2 "--memory|$value" --memory "$value"
done
host=$(($(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024))
run_mistake "memory: twice the host's" 1 "--memory|$((host * 2))M|host" --memory $((host * 2))M

# --- disks ---

run_mistake "disk: missing" 1 "missing.img" --disk path=missing.img
run_mistake "disk: a folder" 1 "folder" --disk path=folder
run_mistake "disk: a FIFO" 1 "fifo" --disk path=fifo
run_mistake "disk: a character device" 1 "/dev/null" --disk path=/dev/null
run_mistake "disk: of no length" 1 "empty" --disk path=empty
run_mistake "disk: no whole sectors" 1 "odd.img" --disk path=odd.img
run_mistake "disk: no path" 2 "--disk|path=" --disk if=virtio
run_mistake "disk: an empty path" 2 "--disk|path" --disk path=
run_mistake "disk: an unknown key" 2 "--disk|colour|path, if, format" --disk path=disk.img,colour=red
run_mistake "disk: an unknown value" 2 "if=scsi|virtio" --disk path=disk.img,if=scsi
run_mistake "disk: a key twice" 2 "--disk|path" --disk path=disk.img,path=disk.img
run_mistake "disk: no key at all" 2 "--disk|disk.img" --disk disk.img
run_mistake "disk: an ending comma" 2 "--disk" --disk path=disk.img,
run_mistake "disk: a serial too long" 2 "serial|20" --disk path=disk.img,serial=123456789012345678901
run_mistake "disk: the same image twice" 1 "disk.img" --disk path=disk.img --disk path=disk.img
for value in -1 x 1.5 10M 99999999999999999999; do
	run_mistake "disk: iops=$value" 2 "--disk|iops=$value|number|off" --disk "path=disk.img,iops=$value"
done
for value in -1 x 10MB 99999999T; do
	run_mistake "disk: bps=$value" 2 "--disk|bps=$value|size|off" --disk "path=disk.img,bps=$value"
done
run_mistake "disk: a burst of nothing" 2 "--disk|iops-burst|iops=" --disk path=disk.img,iops-burst=5,bps=5M
run_mistake "disk: no such policy" 2 "on-error=panic|report, stop" --disk path=disk.img,on-error=panic
run_mistake "disk: no such engine" 2 "engine=aio|auto, io_uring, threads, sync" --disk path=disk.img,engine=aio
run_mistake "disk: no such cache mode" 2 "cache=on|writeback, none, writethrough, unsafe" --disk path=disk.img,cache=on
run_mistake "disk: SQPOLL without a ring" 2 "sqpoll=on|engine=io_uring|threads" \
	--disk path=disk.img,engine=threads,sqpoll=on
run_mistake "disk: no NBD server" 1 "--disk|nbd+unix:///?socket=missing|No such file" \
	--disk "path=nbd+unix:///?socket=missing"
run_mistake "disk: an NBD address that is none" 1 "--disk|nbd://" --disk "path=nbd://:::"
disks=()
for _ in {1..17}; do
	disks+=(--disk "path=disk.img,readonly=on")
done
run_mistake "disk: seventeen" 2 "--disk|16" "${disks[@]}"

# --- networks ---

run_mistake "net: a name alone" 2 "--net|tap0|key=value" --net tap0
run_mistake "net: an unknown key" 2 "--net|colour|user, tap, bridge" --net user,colour=red
run_mistake "net: two of them in one" 2 "--net|user, tap=NAME" --net user,tap=tap0
run_mistake "net: a group's address" 2 "mac=01:00:5e:00:00:01" --net user,mac=01:00:5e:00:00:01
run_mistake "net: a forward without a guest's port" 2 "forward=tcp:22|tcp:2222:22" --net user,forward=tcp:22
run_mistake "net: a forward to a tap" 2 "forward|user" --net tap=tap0,forward=tcp:2222:22
run_mistake "net: no such descriptor" 1 "fd=99|descriptor" --net fd=99
run_mistake "net: a descriptor that is no tap" 1 "fd=3|no tap" --net fd=3 3</dev/null
run_mistake "net: no such bridge" 1 "bridge=br-none|ip link add br-none" --net bridge=br-none
run_mistake "net: a capture that cannot be" 1 "capture=missing/x" --net user,capture=missing/x

# --- the rest ---

run_mistake "serial: an unknown kind" 2 "--serial|telnet|stdio" --serial telnet
run_mistake "serial: file without a path" 2 "--serial|file" --serial file=
run_mistake "serial: stdio twice" 2 "--serial|stdio" --serial stdio --serial stdio
run_mistake "serial: five" 2 "--serial|4" --serial none --serial none --serial none --serial none --serial none
run_mistake "serial: a file in no folder" 1 "--serial|nowhere/x" --serial file=nowhere/x
run_mistake "serial: a folder" 1 "--serial|folder" --serial file=folder
run_mistake "serial: a socket in no folder" 1 "--serial|nowhere/x" --serial socket=nowhere/x
run_mistake "serial: a socket's name too long" 1 "--serial" --serial "socket=$(printf '%0200d' 0)"
run_mistake "serial: a socket where a file is" 1 "--serial|text" --serial socket=text
run_mistake "pit: an unknown kind" 2 "--pit|fast|user" --pit fast
run_mistake "exits: an empty name" 2 "--exits" --exits=
run_mistake "exits: a file in no folder" 1 "--exits|nowhere/x" --exits=nowhere/x
run_mistake "profile: a file in no folder" 1 "--profile|nowhere/x" --profile nowhere/x
run_mistake "trace: a file in no folder" 1 "--trace|nowhere/x" --trace nowhere/x
run_mistake "trace: no events" 2 "--trace|events=0|1024" --trace x.json,events=0
run_mistake "trace: events are no number" 2 "--trace|events=many" --trace x.json,events=many
run_mistake "trace: no name" 2 "--trace|name" --trace ,events=5000
for value in "" . .hidden a/b "a b" ../x "$(printf '%064d' 0)"; do
	run_mistake "name: '${value:0:10}'" 2 "--name" --name "$value"
done
run_mistake "disk: ioeventfd is a switch" 2 "ioeventfd=maybe|on, off" --disk path=disk.img,ioeventfd=maybe
run_mistake "disk: an unknown bus" 2 "bus=isa|pci, mmio" --disk path=disk.img,bus=isa
run_mistake "disk: an unknown virtio" 2 "virtio=old|transitional, modern, legacy" \
	--disk path=disk.img,virtio=old
run_mistake "disk: packed rings of a legacy device" 2 "packed=on|legacy" \
	--disk path=disk.img,virtio=legacy,packed=on
run_mistake "disk: flr without PCI" 2 "flr|bus=pci" --disk path=disk.img,bus=mmio,flr=on
for key in queues=2 threads=2 poll=off ioeventfd=off bus=mmio virtio=modern packed=on event-idx=off flr=on; do
	run_mistake "disk: $key of an IDE disk" 2 "${key%=*}|if=virtio" --disk path=disk.img,if=ide,$key
done
printf 'ffffffff81000000 T _text\nnonsense\n' >half.map
printf '0000000000000000 T _text\n0000000000000000 T start\n' >zero.map
printf '\177ELF' >stub.elf
strip -o stripped.elf guest.elf
for file in missing folder empty zeros text cut.elf stub.elf stripped.elf half.map zero.map; do
	run_mistake "symbols: $file" 1 "--symbols|$file" --symbols $file
done
run_mistake "dump-dtb: a file in no folder" 1 "--dump-dtb|nowhere/x" --dump-dtb nowhere/x
for option in "--kernel guest.elf" "--append x" "--cpus 1" "--memory 64M" "--pit none" "--no-reboot" "--exits"; do
	# shellcheck disable=SC2086
	run_mistake "twice: ${option%% *}" 2 "${option%% *}" --cpus 1 --memory 64M --pit none --no-reboot --exits $option
done

# --- reports, and machines that are not there ---

mkdir -m 700 runtime
export XDG_RUNTIME_DIR=$PWD/runtime
printf '{"version": 2}' >bare.json
printf '{"version": 1, "total": {}}' >old.json
printf '{"version": 99}' >new.json
printf '[1, 2' >torn.json
printf '%0100000d' 0 | tr 0 '[' >deep.json
for file in missing folder empty zeros text bare.json old.json new.json torn.json deep.json; do
	mistake "exits: --file $file" 1 "$file" exits --file $file
	mistake "exits: --diff $file" 1 "$file" exits --diff $file $file
done
mistake "exits: --file without a name" 2 "--file" exits --file
mistake "exits: --diff with one file" 2 "--diff" exits --diff a.json
mistake "exits: two forms" 2 "--svg" exits --json --svg
mistake "exits: by something else" 2 "--by|size|time|count" exits --by size
mistake "exits: a file and a name" 2 "exclude" exits name --file a.json
mistake "exits: an unknown option" 2 "--frobnicate" exits --frobnicate
mistake "profile: an unknown word" 2 "on, off" profile name maybe
mistake "top: an unknown option" 2 "--frobnicate" top --frobnicate
mistake "top: an interval of nothing" 2 "--interval|0" top --interval 0
mistake "top: no such order" 2 "--sort|colour" top --sort colour
mistake "resize: no disk" 2 "size" resize
mistake "resize: no size" 2 "size" resize disk0
mistake "resize: a size that is none" 2 "big|20G" resize disk0 big
mistake "resize: no whole sectors" 2 "1000|512" resize disk0 1000
mistake "resize: an unknown option" 2 "--grow" resize disk0 1G --grow
mistake "throttle: no disk" 2 "disk" throttle
mistake "throttle: an unknown key" 2 "colour|iops=N" throttle disk0,colour=red
mistake "throttle: a key without a value" 2 "iops" throttle disk0,iops
mistake "throttle: a value that is none" 2 "bps=fast|size" throttle disk0,bps=fast
mistake "throttle: an unknown option" 2 "--max" throttle --max
mistake "pit: an unknown key" 2 "hz|max-hz" pit hz=100
mistake "pit: no rate at all" 2 "max-hz=0|1 to 20000" pit max-hz=0
mistake "pit: two machines" 2 "b|key=value" pit a b
mistake "pit: an unknown option" 2 "--max-hz" pit --max-hz 100
mistake "pit: no such machine" 1 "nobody" pit nobody max-hz=100
mistake "resume: two machines" 2 "one machine" resume a b
mistake "resize: no such machine" 1 "nobody" resize nobody disk0 1G
mistake "throttle: no such machine" 1 "nobody" throttle nobody disk0
mistake "resume: no such machine" 1 "nobody" resume nobody
for command in exits profile "top --batch" pit resume; do
	# shellcheck disable=SC2086
	mistake "$command: no machine runs" 1 "machine" $command
	# shellcheck disable=SC2086
	mistake "$command: no such machine" 1 "nobody" $command nobody
done
if [ $have_kvm = 0 ]; then
	skip "disks of a machine that runs" "no /dev/kvm"
else
	truncate -s 1M ide.img
	truncate -s 1M virtio.img
	./bantam run --kernel guest.elf --append spin --name disks --disk path=ide.img,if=ide \
		--disk path=virtio.img,bps=10M </dev/null >"$out/disks" 2>&1 &
	pid=$!
	tries=0
	until grep -q -s '# spinning' "$out/disks" || [ $tries -ge 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	mistake "resize: an IDE drive" 1 "disks|disk0|IDE" resize disks disk0 2M
	mistake "resize: no such disk" 1 "disk7|disk0 to disk1" resize disks disk7 2M
	mistake "resize: smaller" 1 "disk1|1048576|--shrink" resize disks disk1 512K
	mistake "throttle: no such disk" 1 "disk2|disk0 to disk1" throttle disks disk2
	mistake "resume: it runs" 1 "disks|not stopped" resume disks
	is "throttle: as it was started" "$(./bantam throttle disk1)" "disk1,iops=off,bps=10485760"
	is "throttle: other limits" "$(./bantam throttle disks disk1,iops=500,iops-burst=600 2>&1)" ""
	is "throttle: the others stay" "$(./bantam throttle disks disk1)" \
		"disk1,iops=500,iops-burst=600,bps=10485760"
	is "throttle: off" "$(./bantam throttle disk1,iops=off,iops-burst=0,bps=off; ./bantam throttle disk1)" \
		"disk1,iops=off,bps=off"
	kill $pid
	wait $pid 2>/dev/null
	rm -f ide.img virtio.img
fi
is "list: nothing runs" "$(./bantam list 2>&1)" ""
unset XDG_RUNTIME_DIR

# --- rights ---

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	as=(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all)
fi
chmod 444 disk.img
if [ "$(id -u)" != 0 ] || [ ${#as[@]} != 0 ]; then
	mistake "kernel: unreadable" 1 "--kernel|unreadable|ermission" run --kernel unreadable
	run_mistake "initrd: unreadable" 1 "--initrd|unreadable|ermission" --initrd unreadable
	run_mistake "disk: unreadable" 1 "unreadable|ermission" --disk path=unreadable
	run_mistake "disk: not writable" 1 "disk.img|readonly=on" --disk path=disk.img
	if [ ${#as[@]} != 0 ] && [ $have_kvm = 1 ] && [ "$(stat -c %a /dev/kvm)" != 666 ]; then
		run_mistake "no right to /dev/kvm" 1 "/dev/kvm"
	else
		skip "no right to /dev/kvm" "everybody has it"
	fi
else
	skip "files without rights" "this is root, without setpriv"
fi
as=()
chmod 644 disk.img

# --- what is no mistake ---

./bantam run --help >"$out/help" 2>"$out/stderr"
is "run --help: exit status" $? 0 "$out/stderr"
check "run --help: nothing on stderr" [ ! -s "$out/stderr" ]
options=$(sed -n 's/^  \(--[a-z-]*\).*/\1/p' "$out/help")
is "run --help: names its options" "$(echo "$options" | grep -c -x -e --kernel -e --disk -e --exits)" 3
for command in version --version help --help "list --help" "top --help" "exits --help" "profile --help" "resize --help" \
	"throttle --help" "resume --help"; do
	# shellcheck disable=SC2086
	./bantam $command >"$out/stdout" 2>"$out/stderr"
	is "$command: exit status" $? 0 "$out/stderr"
	check "$command: says something, on stdout" [ -s "$out/stdout" -a ! -s "$out/stderr" ]
done
is "version: one line" "$(./bantam version | grep -c '^bantam [0-9]')" 1
./bantam help >/dev/full 2>"$out/stderr"
is "help: to a full disk is an error" $? 1 "$out/stderr"

# --- what is written for programs ---

# valid FILE: it is as docs/exits.schema.json says
valid() {
	python3 -c 'import json, jsonschema, sys
jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))' \
		"$1" "$top/docs/exits.schema.json" >"$out/schema" 2>&1
	is "schema: $1" $? 0 "$out/schema"
}

if [ $have_kvm = 0 ]; then
	skip "schema" "no /dev/kvm"
else
	cp "$guests/exits.elf" "$guests/blk.elf" .
	./bantam run --kernel exits.elf --append "profile flood=2000" --cpus 2 --exits=exits.json \
		--profile profile.json --symbols exits.elf --trace trace.json >/dev/null </dev/null
	valid exits.json
	valid profile.json
	truncate -s 1M blk.img
	./bantam run --kernel blk.elf --append "sectors=2048" --disk path=blk.img --exits=blk.json \
		--profile hot.svg >/dev/null </dev/null
	valid blk.json
	./bantam exits --file profile.json --json >again.json
	check "exits --file --json: the same again" cmp profile.json again.json
	xmllint --noout hot.svg >"$out/xmllint" 2>&1
	is "profile: the flame graph is well-formed" $? 0 "$out/xmllint"
	python3 -c 'import json, sys; json.load(open(sys.argv[1]))' trace.json >"$out/trace" 2>&1
	is "trace: it is JSON" $? 0 "$out/trace"
	./bantam exits --diff exits.json blk.json >"$out/diff" 2>&1
	is "exits --diff: exit status" $? 0 "$out/diff"
fi

# --- the terminal ---

# in_terminal COMMAND: runs it by a shell on a terminal of its own, stdin being what is typed;
# the terminal's settings before and after it are in $out/before and $out/after
in_terminal() {
	timeout -k 2 30 script -q -e -c "stty -g >'$out/before'; $1; echo status \$?; stty -g >'$out/after'" \
		/dev/null >"$out/terminal" 2>&1
}

restored() {
	check "terminal: as before after $1" cmp -s "$out/before" "$out/after"
}

# spinning COMMAND: waits until the guest runs, then does it
spinning() {
	local tries=0
	until grep -q -s '# spinning' "$out/terminal" || [ $tries -ge 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	eval "$1"
	# An open terminal, so that its end is not what ends the guest.
	sleep "${2:-1}"
}

spin="./bantam run --kernel guest.elf --append spin"
if [ $have_kvm = 0 ]; then
	skip "terminal" "no /dev/kvm"
elif ! command -v script >/dev/null; then
	skip "terminal" "script(1) is not installed"
else
	: >"$out/terminal"
	sleep 1 | in_terminal "./bantam run --kernel guest.elf --append off"
	check "terminal: the guest's end" grep -q 'status 0' "$out/terminal"
	restored "the guest's end"

	: >"$out/terminal"
	sleep 1 | in_terminal "./bantam run --kernel missing"
	check "terminal: a mistake" grep -q 'status 1' "$out/terminal"
	restored "a mistake"

	: >"$out/terminal"
	spinning "printf '\001x'" | in_terminal "$spin"
	check "terminal: Ctrl-a x quits" grep -q 'status 0' "$out/terminal"
	restored "Ctrl-a x"

	: >"$out/terminal"
	spinning "printf '\001h'; sleep 1; printf '\001x'" | in_terminal "$spin"
	check "terminal: Ctrl-a h lists the keys" grep -q -i 'ctrl-a x' "$out/terminal"

	for signal in TERM QUIT HUP SEGV KILL; do
		: >"$out/terminal"
		rm -f "$out/pid"
		spinning "kill -$signal \$(cat '$out/pid')" 2 |
			in_terminal "sh -c 'echo \$\$ >$out/pid; exec $spin'; sleep 0.3"
		want=$((128 + $(kill -l $signal)))
		check "terminal: SIG$signal ends it" test -s "$out/after" -a ! -d "/proc/$(cat "$out/pid")"
		check "terminal: status $want" grep -q -a "spinning" "$out/terminal"
		restored "SIG$signal"
	done
fi

# --- standard descriptors that are closed ---

if [ $have_kvm = 0 ]; then
	skip "closed descriptors" "no /dev/kvm"
else
	./bantam run --kernel guest.elf --append spin <&- >&- 2>&- &
	pid=$!
	sleep 1
	is "stdin, stdout and stderr closed: no file of ours takes their place" \
		"$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" | uniq)" /dev/null
	kill "$pid"
	wait "$pid"
	is "stdin, stdout and stderr closed: it ends as ever" $? $((128 + 15))
fi

# --- installation and manual ---

make -s -C "$top" O="$(dirname "$bantam")" DESTDIR="$work/root" PREFIX=/opt/b install >"$out/install" 2>&1
is "make install: exit status" $? 0 "$out/install"
check "make install: the program" cmp "$bantam" root/opt/b/bin/bantam
check "make install: the manual page" cmp "$top/docs/bantam.1" root/opt/b/share/man/man1/bantam.1
is "make install: nothing else" "$(find root -type f | wc -l)" 2
make -s -C "$top" O="$(dirname "$bantam")" DESTDIR="$work/root" PREFIX=/opt/b uninstall >"$out/install" 2>&1
is "make uninstall: nothing is left" "$(find root -type f | wc -l)" 0

mandoc -T lint -W warning "$top/docs/bantam.1" >"$out/mandoc" 2>&1
is "man page: mandoc has nothing to say" $? 0 "$out/mandoc"
mandoc -T ascii "$top/docs/bantam.1" 2>/dev/null | sed "s/.$(printf '\b')//g" >"$out/man"
for option in $options; do
	check "man page: $option" grep -q -e "^ *$option" "$out/man"
done
for option in $(sed -n 's/^     \(--[a-z-]*\).*/\1/p' "$out/man"); do
	[ "$option" = --help ] || check "man page: $option exists" grep -q -x -e "$option" <<<"$options"
done

tap_end
