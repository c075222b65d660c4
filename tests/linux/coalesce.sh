# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2034,SC2154
# The same disk with every way to spare it exits (docs/coalesced-io.md). inside.sh sources it. In the
# working folder lie besides
#
#	initramfs-ide		with Debian's ata_piix
#	initramfs-lists		with bantam_ata instead
#	initramfs-patched	with ata_piix as our patch changes it; only if Debian's source is in the cache
#	cd.iso, tools.img	as in pc.sh; the CD only for lists4

COUNTED=100 # requests that exits are counted for

# mode NAME: sets initrd, interface, coalesce, and the most exits that a request of 4 KiB, one of
# 256 KiB, which takes a 48-bit command, and a flush may cost; all of them are the disk's accesses
mode() {
	initrd=initramfs-ide interface=ide coalesce=off exits28=26 exits48=31 exits_flush=12
	case $1 in
	plain) ;;
	pio) coalesce=pio exits28=17 exits48=17 ;;
	lookahead) coalesce=lookahead exits28=16 exits48=16 exits_flush=8 ;;
	lists) initrd=initramfs-lists coalesce=hypercall exits28=3 exits48=3 exits_flush=3 ;;
	absent) initrd=initramfs-lists ;;
	patched) initrd=initramfs-patched coalesce=hypercall exits28=3 exits48=3 exits_flush=3 ;;
	virtio) interface=virtio exits28=1 exits48=1 exits_flush=1 ;;
	esac
}

# tally NAME: the exits by access to a disk that the running machine has had; unlike the table, the folded
# stacks are all of them
tally() {
	./bantam exits "$1" --folded --by count |
		awk '/^(ide|coalesced-io|virtio-blk)[0-9]*;/ { n += $NF } END { print n + 0 }'
}

# counted_exits NAME: sets exits to those of a hundred requests, which are what is between the guest's
# next two waits; waits is how often it has waited before
counted_exits() {
	wait_for "$1" 'test: waits' $((waits + 1)) || return 1
	exits=$(tally "$1")
	echo >stdin
	wait_for "$1" 'test: waits' $((waits + 2)) || return 1
	exits=$((($(tally "$1") - exits) * 100 / COUNTED))
	echo >stdin
	waits=$((waits + 2))
}

# few_exits NAME WHAT MOST: exactly so many in the modes in which each access is one; the doorbell of virtio
# is the kernel's
few_exits() {
	case $interface:$coalesce in
	ide:off) least=$(($3 * 100)) ;;
	ide:*) least=100 ;;
	*) least=0 ;;
	esac
	between "$1: exits for a hundred $2" "$exits" $least $(($3 * 100))
}

# One disk: its files, what fio writes, and what a request costs.
test_coalesce() {
	LIMIT=150
	mode "$1"
	if [ ! -e $initrd ]; then
		skip "coalesce $1: the disk" "no source of the kernel: guests/linux/fetch-source.sh"
		return
	fi
	set -- "coalesce-$1" sda vda
	[ $interface = ide ] || set -- "$1" vda vdb
	extra="bantam.disk=/dev/$2 bantam.tools=/dev/$3"
	cp disk.img way.img
	runtime
	limits=600:0:$COUNTED:1
	measured=measure:read:4096:$limits,measure:read:262144:$limits,measure:flush:4096:$limits
	start "$1" "ata,slots,disk-verify,$measured,fio:coalesce,sums,ata" \
		--disk path=way.img,if=$interface --disk path=tools.img,if=virtio,readonly=on \
		--coalesce $coalesce --name "$1" --memory 256M --no-reboot
	extra='' waits=0
	if counted_exits "$1"; then
		few_exits "$1" "requests of 4 KiB" $exits28
		! counted_exits "$1" || few_exits "$1" "requests of 256 KiB" $exits48
		! counted_exits "$1" || few_exits "$1" "flushes" $exits_flush
	fi
	wait_end "$1" || return
	tr -d '\r' <"$1.raw" >"$1.out"
	ended "$1" 0
	said "$1" "verify ok"
	said "$1" "fio coalesce ok"
	check "$1: fio has changed the disk" [ "$(cmp disk.img way.img | wc -l)" = 1 ]
	if [ $interface = ide ]; then
		is "$1: the driver says whether there are lists" \
			"$(sed -n 's/^test: ata1: PATA .* \(lists\) 0x520.*/\1/p' "$1.out" | head -n 1)" \
			"$([ $coalesce != hypercall ] || echo lists)"
		same_sum "$1" ata1.0 way.img
		libata_content "$1" ata1.0
	fi
	initrd=''
	no_runtime
	rm way.img
}

# Both channels, each with master and slave, one of them a CD, under our driver.
test_lists4() {
	LIMIT=150
	for i in 0 1 2; do
		cp disk.img ide$i.img
		truncate -s $((32 + i))M ide$i.img
	done
	initrd=initramfs-lists extra="bantam.disk=/dev/sda bantam.tools=/dev/vda"
	boot lists4 ata,slots,cd-verify,fio:ide4,sums,ata --cdrom cd.iso --coalesce hypercall --cpus 2 \
		--disk path=ide0.img,if=ide --disk path=ide1.img,if=ide --disk path=ide2.img,if=ide \
		--disk path=tools.img,if=virtio,readonly=on --memory 256M --no-reboot
	initrd='' extra=''
	ended lists4 0
	said lists4 "cd verify ok"
	said lists4 "fio ide4 ok"
	same_sum lists4 ata1.0 ide0.img
	same_sum lists4 ata1.1 ide1.img
	same_sum lists4 ata2.0 ide2.img
	same_sum lists4 ata2.1 cd.iso
	libata_content lists4 ata1.0 ata1.1 ata2.0 ata2.1
	rm ide?.img
}

# A disk that refuses writes, and one that takes so long that the driver resets it: both work on.
test_listfaults() {
	LIMIT=150
	cp disk.img way.img
	initrd=initramfs-lists extra="bantam.disk=/dev/sda"
	boot refused disk-last,slots,sums,ata --coalesce hypercall --memory 128M --no-reboot \
		--disk path=way.img,if=ide,readonly=on
	ended refused 0
	check "refused: the guest hears of it" grep -q '^test: last sector failed' refused.out
	check "refused: with what the registers say" \
		grep -q 'ata1.00: failed command: WRITE DMA' refused.out
	same_sum refused ata1.0 way.img
	check "refused: the image is as it was" cmp disk.img way.img

	runtime
	start lost disk-timeout:2,measure:read:262144:600:0:8,disk-last,slots,sums,ata --name lost \
		--coalesce hypercall --memory 128M --no-reboot --disk path=way.img,if=ide
	if wait_for lost 'test: waits'; then
		./bantam throttle lost disk0,bps=16K >throttle.said 2>&1
		is "lost: bantam throttle: status" $? 0 throttle.said
		echo >stdin
		if wait_for lost 'frozen'; then
			ok "lost: the guest gives up waiting"
		else
			[ $stalled = 1 ] || not_ok "lost: the guest gives up waiting" lost.raw
		fi
		./bantam throttle lost disk0,bps=off >throttle.said 2>&1
		is "lost: and the disk goes on" $? 0 throttle.said
		! wait_for lost 'test: waits' 2 || echo >stdin
	fi
	wait_end lost || return
	ended lost 0
	check "lost: after a reset" grep -q 'ata1: soft resetting link' lost.out
	check "lost: all requests are answered" grep -q '^dio op=read bytes=262144 .* n=8 ' lost.out
	said lost "last sector ok"
	same_sum lost ata1.0 way.img
	initrd='' extra=''
	no_runtime
	rm way.img throttle.said
}
