# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2034,SC2154
# Paravirtual disks under load: several queues, space given back, a new size, SIGKILL. inside.sh
# sources it. In the working folder lie besides
#
#	initramfs-disks		with the drivers for virtio and IDE disks
#	tools.img		an ext4 image with fio and its jobs

# On as many queues as CPUs: data that several jobs write at a time is read back and compared.
test_queues() {
	initrd=initramfs-disks
	LIMIT=120
	for n in 1 2 4; do
		truncate -s 64M queues.img
		extra="bantam.disk=/dev/vda bantam.tools=/dev/vdb"
		boot queues-$n queues,irqs,fio:queues --cpus $n --memory 192M --no-reboot \
			--disk path=queues.img,queues=$n --disk path=tools.img,readonly=on
		ended queues-$n 0
		said queues-$n "queues $n"
		is "queues-$n: as many interrupts" \
			"$(grep -c '^test: irq .*virtio0-req' queues-$n.out)" $n queues-$n.out
		said queues-$n "fio queues ok"
		rm -f queues.img
		[ $stalled = 0 ] || break
	done
	initrd='' extra=''
}

allocated_kib() {
	du -k "$1" | cut -f 1
}

# What the guest's file system no longer needs, the host's gets back: from virtio and from IDE.
test_trim() {
	initrd=initramfs-disks
	for interface in virtio ide; do
		disk=/dev/vda
		[ $interface = virtio ] || disk=/dev/sda
		extra="bantam.disk=$disk"
		cp disk.img trim.img
		boot trim-$interface disk-write:8192 --memory 128M --no-reboot \
			--disk path=trim.img,if=$interface
		ended trim-$interface 0
		before=$(allocated_kib trim.img)
		boot trim-$interface disk-trim,disk-verify --memory 128M --no-reboot \
			--disk path=trim.img,if=$interface
		ended trim-$interface 0
		check "trim-$interface: the guest has trimmed" grep -q '^test: trim ok' trim-$interface.out
		said trim-$interface "verify ok"
		after=$(allocated_kib trim.img)
		check "trim-$interface: the image takes less room: $before KiB, then $after KiB" \
			[ "$after" -le $((before - 8000)) ]
		rm -f trim.img
		[ $stalled = 0 ] || break
	done
	initrd='' extra=''
}

# A disk grows under a guest that uses it.
test_resize() {
	truncate -s 16M resize.img
	runtime
	start resize disk-size:65536,disk-last,disk-info --name grows \
		--disk path=resize.img,serial=grows --no-reboot
	if wait_for resize 'test: size 32768'; then
		./bantam resize grows disk0 32M >resize.said 2>&1
		is "resize: bantam resize: status" $? 0 resize.said
		wait_for resize 'test: size 65536' || not_ok "resize: the guest sees the new size" resize.raw
	fi
	wait_end resize
	tr -d '\r' <resize.raw >resize.out
	ended resize 0
	said resize "last sector ok"
	said resize "disk 65536 sectors ro 0 serial grows"
	is "resize: the image" "$(wc -c <resize.img)" $((32 * 1048576))
	is "resize: holds what was written to its new end" "$(tail -c 512 resize.img | tr -d '\0')" "the last sector"
	no_runtime
	rm -rf resize.img resize.said
}

# crash_round NAME OPTIONS DONE: fio checks the last regions up to DONE and writes on; SIGKILL at
# some time after it has finished one more; sets finished
crash_round() {
	extra="bantam.disk=/dev/vda bantam.tools=/dev/vdb"
	start crash fio-regions:"$3" --cpus 2 --memory 192M \
		--disk "path=$1.img,$2" --disk path=tools.img,readonly=on
	extra=
	if ! wait_for crash 'test: region'; then
		[ $stalled = 1 ] || not_ok "crash: $1: after region $3" crash.raw crash.err
		stop KILL
		return 1
	fi
	sleep "$(awk 'BEGIN { srand(); printf "%.2f", rand() * 3 }')"
	stop KILL
	finished=$(tr -d '\r' <crash.raw | sed -n 's/^test: region \([0-9]*\) ok$/\1/p' | tail -n 1)
	! grep -q 'test: fio' crash.raw || {
		not_ok "crash: $1: what fio has written and flushed is there" crash.raw
		return 1
	}
}

# sound IMAGE: qemu-img finds no corruption in it; leaks are what a crash may leave
sound() {
	tries=0
	while :; do
		qemu-img check -q -f qcow2 "$1" >check.out 2>&1
		found=$?
		# The kernel may still be ending what the dead process had begun, under its lock.
		grep -q 'Failed to lock' check.out && [ $tries -lt 200 ] || break
		tries=$((tries + 1))
		sleep 0.05
	done
	[ $found = 0 ] || [ $found = 3 ]
}

# N times: the guest dies at a random point of fio's writing. What was flushed must be there when
# the next one looks, and a qcow2 image must be sound.
test_crash() {
	initrd=initramfs-disks
	LIMIT=120
	rounds=${1:-4}
	truncate -s 64M raw.img
	cp empty.qcow2 qcow2.img
	for image in raw,cache=none qcow2,format=qcow2; do
		kind=${image%%,*} options=${image#*,} finished=0 round=0
		while [ $round -lt $((rounds / 2)) ]; do
			crash_round "$kind" "$options" "${finished:-0}" || break 2
			round=$((round + 1))
			[ "$kind" = raw ] && continue
			sound qcow2.img || {
				not_ok "crash: qcow2: sound after kill $round" check.out
				break 2
			}
		done
		ok "crash: $kind: $round kills, $finished regions written, flushed, and found again"
	done
	initrd=''
	rm -f raw.img qcow2.img check.out
}
