# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# What bantam tells of the exits: reports, profiles, a running machine that is asked. run.sh sources it.

test_exits() {
	for count in 0 1000; do
		run exits-$count crash "exits count=$count" --exits=exits-$count.json
		is "exits: with $count writes: exit status" "$status" 0 exits-$count.err
	done
	fewer=$(json exits-0.json total.reasons.io-out.count)
	more=$(json exits-1000.json total.reasons.io-out.count)
	is "exits: 1000 port writes are 1000 exits more" "$((${more:-0} - ${fewer:-0}))" 1000 \
		exits-1000.json
	is "exits: the only CPU has them all" \
		"$(json exits-1000.json cpus.0.reasons.io-out.count)" "$more" exits-1000.json
	is "exits: the JSON's version" "$(json exits-1000.json version)" 2
	check "exits: time was spent" [ "$(json exits-1000.json total.user_ns)" -gt 1000 ]
	check "exits: KVM's counters" [ "$(json exits-1000.json kvm.vcpu.exits)" -ge 1000 ]
	run exits-table crash "exits count=500" --exits
	is "exits: as a table: exit status" "$status" 0 exits-table.err
	table=$(awk '$1 == "io-out" { print $2 }' exits-table.err)
	is "exits: the table counts the same" "$table" "$((${fewer:-0} + 500))" exits-table.err
	check "exits: KVM's own counters are there" grep -q '^exits ' exits-table.err
}

# counted NAME ARRAY ADDRESS DIRECTION WIDTH EXITS [ACCESSES]: one row of NAME.json
counted() {
	row="total.$2.address=$3,direction=$4,width=$5"
	is "$1: $4 $5 at $3: exits" "$(json "$1.json" "$row.count")" "$6"
	is "$1: $4 $5 at $3: accesses" "$(json "$1.json" "$row.accesses")" "${7:-$6}"
}

# sums NAME: the rows by register, with those that found no place, are the rows by reason
sums() {
	is "$1: ports by register are ports by reason" "$(json "$1.json" 'total.ports.*.count')" \
		"$(($(json "$1.json" total.reasons.io-in.count) + $(json "$1.json" total.reasons.io-out.count)))"
	is "$1: memory by register is memory by reason" "$(json "$1.json" 'total.mmio.*.count')" \
		"$(($(json "$1.json" total.reasons.mmio-read.count) + $(json "$1.json" total.reasons.mmio-write.count)))"
}

# What guests/baremetal/exits.c does, access for access.
test_counts() {
	run counts exits "" --exits=counts.json
	verdicts counts
	is "counts: exit status" "$status" 0 counts.err
	counted counts ports 0x1230 out 1 100
	counted counts ports 0x1230 out 2 50
	counted counts ports 0x1230 out 4 25
	counted counts ports 0x1230 in 1 70
	counted counts ports 0x1230 in 2 60
	counted counts ports 0x1230 in 4 55
	is "counts: a string's elements" \
		"$(json counts.json total.ports.address=0x1238,direction=out,width=1.accesses)" 400
	counted counts mmio 0xd0000000 write 4 40
	counted counts mmio 0xd0000000 read 1 41
	counted counts mmio 0xd0000100 read 2 42
	counted counts mmio 0xd0000100 write 1 43
	is "counts: the debug exit by its name" \
		"$(json counts.json total.ports.device=debug-exit.count)" 1 counts.json
	is "counts: the console's register by its name" \
		"$(json counts.json total.ports.register=thr.device)" uart0 counts.json
	is "counts: nobody's port has no name" \
		"$(json counts.json total.ports.address=0x1230.device)" "" counts.json
	sums counts
	# A KVM that interprets the guest counts no intercepts.
	if [ "$(json counts.json kvm.vcpu.io_exits)" = 0 ]; then
		skip "counts: ports: KVM counts the same" "this KVM counts none"
	else
		is "counts: ports: KVM counts the same" "$(json counts.json kvm.vcpu.io_exits)" \
			"$(json counts.json 'total.ports.*.count')" counts.json
	fi

	run counts-flood exits "flood=5000" --exits=counts-flood.json
	is "counts-flood: exit status" "$status" 0 counts-flood.err
	sums counts-flood
	check "counts-flood: what finds no place is one row" \
		[ "$(json counts-flood.json total.mmio.width=0,direction=read.count)" -gt 3000 ]
}

# A block of string I/O is one access after the other to the guest, and to bantam what KVM hands over
# at once: 1024 bytes.
test_multiple() {
	make_disk multiple.img 16
	run multiple exits "multiple=5" --exits=multiple.json --disk path=multiple.img,if=ide
	verdicts multiple
	is "multiple: exit status" "$status" 0 multiple.err
	data=device=ide0,register=data,direction=in
	is "multiple: words" "$(json multiple.json "total.ports.$data.accesses")" $((5 * 8192 / 2)) multiple.json
	is "multiple: exits for them" "$(json multiple.json "total.ports.$data.count")" $((5 * 8192 / 1024)) \
		multiple.json
}

# hot NAME FUNCTION CALLER EXITS KIND
hot() {
	row="profile.hot.function=$2,caller=$3"
	is "$1: $2 from $3" "$(json "$1.json" "$row.count")" "$4"
	is "$1: $2 from $3 is told as" "$(json "$1.json" "$row.caller_kind")" "$5"
}

# flame_graph: with a function in it whose exits are few. What is narrower than 0.1 % is left out, as nearly all are
# beside one exit during which the host was away.
flame_graph() {
	for _ in 1 2 3; do
		run profile-svg exits "profile" --profile hot.svg --symbols "$guests/exits.elf"
		[ "$status" = 0 ] || return 1
		! grep -q 'pointer_caller' hot.svg || return 0
	done
	return 1
}

test_profile() {
	run profile exits "profile" --profile profile.json --symbols "$guests/exits.elf" \
		--trace profile-trace.json,events=2048
	is "profile: exit status" "$status" 0 profile.err
	hot profile poke first_caller 30 exact
	hot profile poke second_caller 12 exact
	hot profile poke_elsewhere pointer_caller 9 guess
	is "profile: the register" \
		"$(json profile.json profile.hot.function=poke,caller=first_caller.device)" post
	is "profile: no exit is lost" "$(json profile.json profile.lost)" 0
	is "profile: all exits but the first are in it" "$(json profile.json 'profile.hot.*.count')" \
		"$(($(json profile.json total.exits) - 1))" profile.json
	check "profile: the trace has events" [ "$(json profile-trace.json traceEvents)" -gt 100 ]

	check "profile: a flame graph" flame_graph
	is "profile: svg: exit status" "$status" 0 profile-svg.err
	for form in folded txt; do
		run profile-$form exits "profile" --profile "hot.$form" --symbols "$guests/exits.elf"
		is "profile: $form: exit status" "$status" 0 profile-$form.err
	done
	check "profile: folded stacks" grep -q '^post;[^;]*;poke;first_caller [0-9]' hot.folded
	check "profile: a table" grep -q 'poke .*first_caller' hot.txt
	rm -f hot.svg hot.folded hot.txt
}

# A running machine, asked through its socket.
test_live() {
	open_runtime
	background live crash "spin" --name live --symbols "$guests/crash.elf"
	wait_line live.out spinning || not_ok "live: the guest spins" live.err
	is "live: it is listed" "$("$bantam" list)" live
	is "live: its socket is its owner's alone" "$(stat -c %a runtime/bantam/live.sock)" 600
	"$bantam" exits live --json >live-1.json 2>live-1.err
	is "live: exits: status" $? 0 live-1.err
	is "live: its name" "$(json live-1.json name)" live live-1.json
	is "live: it runs" "$(json live-1.json running)" true live-1.json
	check "live: it has exited" [ "$(json live-1.json total.exits)" -gt 0 ]
	check "live: no name is needed for the only one" sh -c '"$1" exits | grep -q io-in' sh "$bantam"
	check "live: no profile yet" sh -c '! "$1" profile live 2>/dev/null' sh "$bantam"
	"$bantam" profile live on
	is "live: profile on: status" $? 0
	"$bantam" top live --batch --count 2 --interval 1 >live-top.txt 2>live-top.err
	is "live: top: status" $? 0 live-top.err
	check "live: top shows the register that is polled" grep -q 'pm.timer' live-top.txt
	check "live: and the function that does it" grep -q 'delay_us <- main' live-top.txt
	"$bantam" profile live off && "$bantam" profile live >live-hot.txt 2>live-hot.err
	is "live: profile: status" $? 0 live-hot.err
	check "live: hot functions" grep -q 'delay_us .*main' live-hot.txt
	"$bantam" exits live --json >live-2.json
	sleep 0.2 # for exits to happen that must not show
	"$bantam" exits live --json >live-3.json
	is "live: switched off, the profile stands still" "$(json live-2.json 'profile.hot.*.count')" \
		"$(json live-3.json 'profile.hot.*.count')"
	check "live: the counts do not" \
		[ "$(json live-3.json total.exits)" -gt "$(json live-2.json total.exits)" ]
	"$bantam" run --kernel "$guests/crash.elf" --name live <stdin >live-two.out 2>live-two.err 9>&-
	is "live: a name is one machine's" $? 1 live-two.err
	put_down KILL
	is "live: killed, it is not listed" "$("$bantam" list)" ""
	check "live: and its socket is gone" [ ! -e runtime/bantam/live.sock ]
	"$bantam" exits live >live-gone.out 2>live-gone.err
	is "live: nobody to ask: status" $? 1 live-gone.err
	is "live: one line says so" "$(wc -l <live-gone.err)" 1
	close_runtime
}
