# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# Disks and CDs: what guests do to their images, over every front-end, transport and back-end. run.sh sources it.

test_blk() {
	make_disk blk.img 2048
	make_disk want.img 2048 1
	guest blk blk "sectors=2048 serial=a-serial-number" \
		--disk path=blk.img,serial=a-serial-number
	check "blk: the image holds what was written, and nothing else changed" cmp blk.img want.img

	# The same over every other transport, and with packed rings.
	for words in legacy mmio packed "mmio packed"; do
		case $words in
		*mmio*) keys=bus=mmio ;;
		legacy) keys=virtio=legacy ;;
		*) keys=virtio=modern ;;
		esac
		case $words in
		*packed*) keys=$keys,packed=on ;;
		esac
		name=blk-$(echo "$words" | tr ' ' -)
		make_disk blk.img 2048
		guest "$name" blk "sectors=2048 serial=a-serial-number $words" \
			--disk "path=blk.img,serial=a-serial-number,$keys"
		check "$name: the image holds what was written" cmp blk.img want.img
		guest "vring-$(echo "$words" | tr ' ' -)" vring "$words" --disk "path=want.img,$keys"
	done
	guest vring vring "" --disk path=want.img
	guest vring-exits vring "" --disk path=want.img,ioeventfd=off
	guest vring-transitional vring "legacy" --disk path=want.img
	check "vring: the image is as it was" cmp blk.img want.img

	make_disk ro.img 1001
	cp ro.img ro.copy
	chmod 444 ro.img
	guest blk-readonly blk "sectors=1001 readonly" --disk path=ro.img,readonly=on
	check "blk-readonly: the image is as it was" cmp ro.img ro.copy
	rm -f -- *.img ro.copy
}

test_qcow2() {
	if ! command -v qemu-img >/dev/null; then
		skip "qcow2" "qemu-img is not installed"
		return
	fi
	make_disk base.img 2048
	make_disk want.img 2048 1
	qemu-img create -q -f qcow2 -b base.img -F raw qcow2.img
	cp base.img base.copy
	guest qcow2 blk "sectors=2048" --disk path=qcow2.img,format=qcow2,backing=on
	check "qcow2: the image has no faults" qemu-img check -q -f qcow2 qcow2.img
	check "qcow2: the image holds what was written, and nothing else changed" \
		qemu-img compare -q -f qcow2 -F raw qcow2.img want.img
	check "qcow2: the backing file is as it was" cmp base.img base.copy

	qemu-img convert -q -c -f raw -O qcow2 -o cluster_size=4096 base.img qcow2.img
	guest qcow2-ide ide "disk0=2048" --disk path=qcow2.img,format=qcow2,if=ide
	trimmed qcow2-ide 0 want.img
	check "qcow2-ide: the image has no faults" qemu-img check -q -f qcow2 qcow2.img
	check "qcow2-ide: the image holds what was written, and nothing else changed" \
		qemu-img compare -q -f qcow2 -F raw qcow2.img want.img
	rm -f -- *.img base.copy
}

# A block device whose blocks are larger than the guest's sectors, past the page cache and not.
test_device() {
	make_disk image.img 2048
	cp image.img device.img
	if ! device=$(losetup -b 4096 -f --show device.img 2>/dev/null); then
		skip "device" "no loop devices of 4 KiB blocks can be made here"
		rm -f -- *.img
		return
	fi
	for keys in if=virtio,cache=none if=virtio,cache=writeback if=ide,cache=none; do
		make_disk want.img 2048 1
		cat image.img >"$device"
		name=device-$(echo "$keys" | tr ',=' '--')
		case $keys in
		if=ide*) guest "$name" ide "disk0=2048" --disk "path=$device,$keys" ;;
		*) guest "$name" blk "sectors=2048" --disk "path=$device,$keys" ;;
		esac
		trimmed "$name" 0 want.img
		check "$name: the device holds what was written" cmp "$device" want.img
	done
	losetup -d "$device"
	rm -f -- *.img
}

test_nbd() {
	if ! command -v nbdkit >/dev/null; then
		skip "nbd" "nbdkit is not installed"
		return
	fi
	make_disk nbd.img 2048
	make_disk want.img 2048 1
	# The server ends with its one client.
	nbdkit --filter=exitlast -f -U nbd.sock file nbd.img >nbdkit.out 2>&1 9>&- &
	pid=$!
	wait_file nbd.sock
	guest nbd blk "sectors=2048" --disk "path=nbd+unix:///?socket=$PWD/nbd.sock"
	wait $pid
	check "nbd: the image holds what was written, and nothing else changed" cmp nbd.img want.img
	rm -f -- *.img nbd.sock
}

# trimmed NAME PLACE FILE: the zeros in FILE that the guest says it has made on the disk there
trimmed() {
	sed -n "s/^# trimmed $2 //p" "$1.tap" | while read -r trim_first trim_count; do
		dd if=/dev/zero of="$3" bs=512 seek="$trim_first" count="$trim_count" conv=notrunc \
			2>/dev/null
	done
}

# sector FILE N: the number that it holds
sector() {
	dd if="$1" bs=512 skip="$2" count=1 2>/dev/null | sed 's/^[W0]*//'
}

test_ide() {
	# One disk, all commands; the bus master and what goes wrong.
	make_disk ide.img 2100
	make_disk want.img 2100 1
	guest ide ide "disk0=2100 serial=a-serial-number" \
		--disk path=ide.img,if=ide,serial=a-serial-number
	trimmed ide 0 want.img
	check "ide: the image holds what was written, and nothing else changed" cmp ide.img want.img
	make_disk ide.img 2100
	make_disk want.img 2100 1
	guest idedma idedma "disk0=2100" --disk path=ide.img,if=ide
	check "idedma: the image holds what was written, and nothing else changed" \
		cmp ide.img want.img

	# Two channels with two disks each, one of them read-only; three disks and a CD.
	for i in 0 1 2 3; do
		make_disk ide$i.img $((2048 + 10 * i)) 0 ${i}00000
		make_disk want$i.img $((2048 + 10 * i)) 1 ${i}00000
	done
	cp ide1.img want1.img
	set -- --disk path=ide0.img,if=ide --disk path=ide1.img,if=ide,readonly=on \
		--disk path=ide2.img,if=ide --disk path=ide3.img,if=ide
	guest ide-4 ide "disk0=2048 disk1=2058 disk2=2068 disk3=2078 readonly=1" "$@"
	for i in 0 1 2 3; do
		trimmed ide-4 $i want$i.img
		check "ide-4: disk $i's image holds what was written" cmp ide$i.img want$i.img
	done
	make_disk ide0.img 2048
	make_disk want0.img 2048 1
	guest idedma-4 idedma "disk0=2048 disk1=2058 disk2=2068 disk3=2078" "$@"
	check "idedma-4: disk 0's image holds what was written" cmp ide0.img want0.img
	check "idedma-4: disk 1's is as it was" cmp ide1.img want1.img

	# More than 28 bits can say, and more than the host has room for.
	truncate -s 153600000000 big.img
	guest ide-big ide "disk0=300000000 big" --disk path=big.img,if=ide
	for i in 268435424 268435455 268435456 268435461 268435487 299999999; do
		is "ide-big: sector $i" "$(sector big.img $i)" $i
	done
	check "ide-big: the image is as long as it was" [ "$(stat -c %s big.img)" = 153600000000 ]
	check "ide-big: and still sparse" [ "$(du -k big.img | cut -f 1)" -lt 1000 ]
	rm -f -- *.img
}

test_cdrom() {
	make_disk cd.iso 4000 0 200000
	guest cdrom cdrom "cd=2 blocks=1000" --cdrom cd.iso
	make_disk cd.iso 4000 0 300000
	for i in 0 1 2; do
		make_disk cd$i.img 2048 0 ${i}00000
	done
	set -- --disk path=cd0.img,if=ide --disk path=cd1.img,if=ide --disk path=cd2.img,if=ide \
		--cdrom cd.iso
	guest cdrom-4 cdrom "cd=3 blocks=1000" "$@"
	guest cdrom-ide ide "disk0=2048 disk1=2048 disk2=2048" "$@"
	make_disk cd.copy 4000 0 300000
	check "cdrom: the disc is as it was" cmp cd.iso cd.copy
	rm -f -- *.img cd.iso cd.copy
}

test_stop() {
	open_runtime

	# The image loses its end under the guest, which is slow enough not to have written yet.
	for interface in virtio ide; do
		case $interface in
		virtio) guest=blk append="sectors=2100" ;;
		ide) guest=ide append="disk0=2100" ;;
		esac
		make_disk whole.img 2100
		make_disk want.img 2100 1
		cp whole.img stop.img
		start_stopping stop-$interface $guest "$append" \
			path=stop.img,if=$interface,iops=2,iops-burst=1
		wait_line stop-$interface.out "^ok 1 "
		: >stop.img
		stopped stop-$interface 'disk0 (stop.img): reading [0-9]* bytes at [0-9]*: Input/output error'
		"$bantam" resume stop-$interface
		stopped stop-$interface 'disk0' 2
		cat whole.img >stop.img
		is "stop-$interface: its limits" "$("$bantam" throttle disk0)" \
			"disk0,iops=2,iops-burst=1,bps=off"
		"$bantam" throttle stop-$interface disk0,iops=off,iops-burst=off
		is "stop-$interface: throttle: status" $? 0
		is "stop-$interface: no limits" "$("$bantam" throttle disk0)" "disk0,iops=off,bps=off"
		resumed stop-$interface
		trimmed stop-$interface 0 want.img
		check "stop-$interface: the image holds what was written" cmp stop.img want.img
	done

	# Stopped for good: it ends all the same.
	cp whole.img stop.img
	start_stopping stop-end blk "sectors=2100" path=stop.img,iops=2,iops-burst=1
	wait_line stop-end.out "^ok 1 "
	: >stop.img
	stopped stop-end disk0
	kill -TERM "$pid"
	ended
	is "stop-end: a signal ends it" "$status" 143 stop-end.err

	# A full disk, on which somebody makes room.
	mkdir -p small
	if ! mount -t tmpfs -o size=560k none small 2>/dev/null; then
		skip "stop-full" "nothing can be mounted here"
	else
		make_disk whole.img 2048
		make_disk want.img 2048 1
		head -c 512000 whole.img >small/stop.img
		dd if=whole.img of=small/stop.img bs=512 skip=2047 seek=2047 count=1 conv=notrunc 2>/dev/null
		head -c 40960 /dev/zero >small/filler
		start_stopping stop-full blk "sectors=2048" path=small/stop.img
		stopped stop-full 'disk0 (small/stop.img): writing 32768 bytes at 512000: '
		rm small/filler
		resumed stop-full
		check "stop-full: what was written is there" sh -c \
			'tail -c +512001 small/stop.img | head -c 32768 >got && tail -c +512001 want.img | head -c 32768 | cmp - got'
		umount small
	fi
	close_runtime
	rm -rf small
	rm -f -- *.img got
}
