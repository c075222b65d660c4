# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# Fewer exits for the same: coalesced accesses, and the look ahead. run.sh sources it.

# dma_exits NAME APPEND OPTION ...: sets cost to the exits to user space of 200 DMA requests
dma_exits() {
	dma_name=$1 dma_append=$2
	shift 2
	for n in 10 210; do
		run "$dma_name-$n" coalesce "$dma_append n=$n" --disk path=coalesce.img,if=ide \
			--exits="$dma_name-$n.json" "$@"
		verdicts "$dma_name-$n"
		is "$dma_name-$n: exit status" "$status" 0 "$dma_name-$n.err"
	done
	# The console's say how long a test's name is.
	cost=$(($(guest_exits "$dma_name-210") - $(guest_exits "$dma_name-10")))
}

# guest_exits NAME: all but those of the console, and those that bantam caused itself
guest_exits() {
	exits=$(json "$1.json" total.exits)
	for row in ports.register=thr ports.register=lsr reasons.signal; do
		exits=$((exits - $(json "$1.json" "total.$row.count" | grep . || echo 0)))
	done
	echo $exits
}

# What a DMA request costs: as ata_piix does it, with its writes kept back, by lists.
test_coalesce() {
	make_disk coalesce.img 2048
	cp coalesce.img coalesce.copy
	dma_exits coalesce-off "plain"
	is "coalesce: off: exits of 200 requests" "$cost" $((200 * 26))
	dma_exits coalesce-pio "plain" --coalesce pio
	is "coalesce: pio: exits of 200 requests" "$cost" $((200 * 17))
	is "coalesce: pio: writes of the task file that exit" \
		"$(json coalesce-pio-210.json total.ports.register=lba-low.count)" "" coalesce-pio-210.json
	is "coalesce: pio: writes that were kept back instead" \
		$(($(json coalesce-pio-210.json posted) - $(json coalesce-pio-10.json posted))) $((200 * 9))
	dma_exits coalesce-doorbell "doorbell" --coalesce hypercall
	is "coalesce: lists by the doorbell: exits of 200 requests" "$cost" $((200 * 2))
	bell=total.ports.device=coalesced-io,register=doorbell
	is "coalesce: their accesses" "$(json coalesce-doorbell-210.json $bell.accesses)" $((210 * 15))
	dma_exits coalesce-hypercall "doorbell hypercall" --coalesce hypercall
	if grep -q '# SKIP' coalesce-hypercall-210.out; then
		skip "coalesce: lists by the hypercall" "this host's KVM does not let it out"
	else
		is "coalesce: lists by the hypercall: exits of 200 requests" "$cost" $((200 * 2))
		is "coalesce: their reason" \
			"$(json coalesce-hypercall-210.json total.reasons.hypercall.count)" $((210 * 2))
		is "coalesce: their accesses" "$(json coalesce-hypercall-210.json $bell.accesses)" \
			$((210 * 15))
	fi
	guest coalesce-lists coalesce "lists" --disk path=coalesce.img,if=ide --coalesce hypercall
	guest coalesce-changed coalesce "changed" --disk path=coalesce.img,if=ide --cpus 2 \
		--coalesce hypercall
	for mode in off pio; do
		guest coalesce-posted-$mode coalesce "posted" --disk path=coalesce.img,if=ide --cpus 2 \
			--coalesce $mode
	done
	guest coalesce-reset coalesce "reset" --cpus 2 --coalesce pio
	guest coalesce-idedma idedma "disk0=2048" --disk path=coalesce.copy,if=ide --coalesce pio
	dtb coalesce-fdt "cpus=1 coalesced-io" --coalesce hypercall
	make_disk coalesce.copy 2048
	check "coalesce: the disk is as it was" cmp coalesce.img coalesce.copy
	rm -f -- coalesce.img coalesce.copy
}

# avoided NAME WHAT AT-LEAST: exits that NAME.json says a look ahead has avoided
avoided() {
	check "$1: exits avoided $2: $(json "$1.json" lookahead.avoided)" \
		[ "$(json "$1.json" lookahead.avoided)" -ge "$3" ]
}

# The same guests, which must not notice; and that it is worth it.
test_lookahead() {
	for mode in lookahead auto; do
		make_disk ahead.img 2100
		make_disk want.img 2100 1
		guest ahead-ide-$mode ide "disk0=2100" --disk path=ahead.img,if=ide \
			--coalesce $mode --exits=ahead-ide-$mode.json
		trimmed ahead-ide-$mode 0 want.img
		check "ahead-ide-$mode: the image holds what was written" cmp ahead.img want.img
	done
	avoided ahead-ide-lookahead "in 64-bit code" 1000
	make_disk ahead.img 2100
	make_disk want.img 2100 1
	guest ahead-idedma idedma "disk0=2100" --disk path=ahead.img,if=ide --coalesce lookahead \
		--profile ahead.svg
	check "ahead-idedma: the image holds what was written" cmp ahead.img want.img
	guest ahead-prot prot "prot" --disk path=ahead.img --coalesce lookahead \
		--exits=ahead-prot.json
	avoided ahead-prot "in 32-bit code" 50
	guest ahead-smp smp "cpus=4" --cpus 4 --coalesce lookahead
	for mode in off lookahead; do
		run ahead-dma-$mode exits "dma=500" --disk path=ahead.img,if=ide --coalesce $mode \
			--exits=ahead-dma-$mode.json
		verdicts ahead-dma-$mode
	done
	# How often the guest looks whether a request is done is a matter of time.
	written=total.ports.device=ide0,register=lba-low
	few=$(json ahead-dma-lookahead.json $written.count)
	is "lookahead: exits of 500 requests at a register without it" \
		"$(json ahead-dma-off.json $written.count)" 500
	check "lookahead: and with it: $few" [ "$few" -lt 125 ]
	is "lookahead: accesses are still counted" \
		"$(json ahead-dma-lookahead.json $written.accesses)" 500
}
