# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2016,SC2034,SC2154
# The legacy PC: IDE disks and CDs, the firmware, and what else boots on a PC unmodified. inside.sh
# sources it. In the working folder lie besides
#
#	initramfs-ide		with the drivers for IDE and CDs
#	cd.iso, tools.img	a CD; an ext4 image with fio and verify.fio, ide4.fio
#	debian.img, bios.bin	what mkdebian.sh has made; SeaBIOS
#	memtest.bin		memtest86+
#	netboot-ARCH.linux, netboot-ARCH.gz	Debian's installers, kernel and initrd
#	screen			shows what is on a terminal, from what was sent to it

# launch NAME [OPTION ...]: a machine in the background; sets pid
launch() {
	name=$1
	shift
	: >"$name.raw"
	./bantam run "$@" --no-reboot <stdin >"$name.raw" 2>"$name.err" 9>&- &
	pid=$!
}

# wait_screen NAME TEXT: until it stands on the guest's screen; 1: it does not
wait_screen() {
	begun=$(cut -d . -f 1 /proc/uptime)
	until ./screen <"$1.raw" >"$1.screen" && grep -q "$2" "$1.screen"; do
		if ! kill -0 $pid 2>/dev/null; then
			return 1
		fi
		if [ $(($(cut -d . -f 1 /proc/uptime) - begun)) -gt $LIMIT ]; then
			stalled=1
			return 1
		fi
		sleep 0.5
	done
}

# wait_end NAME: until the guest has ended by itself; sets status
wait_end() {
	begun=$(cut -d . -f 1 /proc/uptime)
	while kill -0 $pid 2>/dev/null; do
		if [ $(($(cut -d . -f 1 /proc/uptime) - begun)) -gt $LIMIT ]; then
			stalled=1
			stop KILL
			return 1
		fi
		sleep 0.1
	done
	wait $pid
	status=$?
	tr -d '\r' <"$1.raw" >"$1.out"
}

# type_line TEXT: on the guest's console; login throws away what comes before its echo is off
type_line() {
	sleep 2
	printf '%s\r' "$1" >stdin
}

# boot_ide NAME ACTIONS [OPTION ...]: boot() with the drivers for IDE, and the tools
boot_ide() {
	kernel=vmlinuz initrd=initramfs-ide
	extra="bantam.disk=/dev/sda bantam.tools=/dev/vda"
	boot "$@" --disk path=tools.img,if=virtio,readonly=on --memory 256M --no-reboot
	kernel='' initrd='' extra=''
	ended "$1" 0
}

# libata_content NAME SLOT ...: what is there does Ultra DMA at the PIIX4's fastest, and libata had nothing to complain of
libata_content() {
	name=$1
	shift
	for slot in "$@"; do
		is "$name: $slot's transfer mode" "$(sed -n "s/^test: mode $slot //p" "$name.out" | tail -n 1)" XFER_UDMA_2
	done
	set -- "$name"
	grep '^test: ata' "$1.out" >"$1.log"
	if grep -q 'ata1: PATA' "$1.log" &&
		! grep -q -E 'exception|frozen|failed|error|timeout|limiting|lost|qc|reset' "$1.log"; then
		ok "$1: libata reports no error"
	else
		not_ok "$1: libata reports no error" "$1.log" "$1.out"
	fi
}

# same_sum NAME SLOT IMAGE: the guest's drive in a place is the image, now that the guest has ended
same_sum() {
	set -- "$1" "$2" "$3" "$(sed -n "s/^test: slot $2 \([a-z0-9]*\) .*/\1/p" "$1.out")"
	is "$1: $3 is at $2, of its size" "$(sed -n "s/^test: slot $2 $4 //p" "$1.out")" "$(($(wc -c <"$3") / 512))"
	is "$1: $3 holds what the guest sees" "$(sed -n "s/^test: sum $4 //p" "$1.out")" \
		"$(sha256sum <"$3" | cut -d ' ' -f 1)" "$1.out"
}

# One disk: its files, and what fio writes.
test_ide() {
	LIMIT=120
	cp disk.img ide.img
	boot_ide ide ata,slots,disk-verify,fio:verify,sums,ata --disk path=ide.img,if=ide
	said ide "verify ok"
	said ide "fio verify ok"
	check "ide: fio has changed the disk" [ "$(cmp disk.img ide.img | wc -l)" = 1 ]
	same_sum ide ata1.0 ide.img
	libata_content ide ata1.0
	rm ide.img
}

# Both channels, each with master and slave, all at work at once; one of them a CD.
test_ide4() {
	LIMIT=150
	for i in 0 1 2; do
		cp disk.img ide$i.img
		truncate -s $((32 + i))M ide$i.img
	done
	boot_ide ide4 ata,slots,cd-verify,fio:ide4,sums,ata --cdrom cd.iso \
		--disk path=ide0.img,if=ide --disk path=ide1.img,if=ide --disk path=ide2.img,if=ide
	said ide4 "cd verify ok"
	said ide4 "fio ide4 ok"
	same_sum ide4 ata1.0 ide0.img
	same_sum ide4 ata1.1 ide1.img
	same_sum ide4 ata2.0 ide2.img
	same_sum ide4 ata2.1 cd.iso
	libata_content ide4 ata1.0 ata1.1 ata2.0 ata2.1
	rm ide?.img
}

# A whole Debian on its disk: firmware, GRUB, kernel, systemd, login, shutdown.
# debian INTERFACE ROOT COMMAND [STEP ...]: where it finds its root, what to type then, and more
# steps: what to wait for|what to type then
debian() {
	name=debian-$1 interface=$1 found="its root is $2|$3"
	shift 3
	launch "$name" --firmware bios.bin --memory 512M --disk "path=debian.img,if=$interface" --net user
	for step in "GNU GRUB|" "debian login|root" "Password|bantam" \
		"root@debian|echo its root is \$(findmnt -n -o SOURCE /)" "$found" "$@"; do
		if ! wait_for "$name" "${step%%|*}"; then
			[ $stalled = 1 ] || not_ok "$name: ${step%%|*}" "$name.raw" "$name.err"
			stop KILL
			return
		fi
		ok "$name: ${step%%|*}"
		[ -z "${step#*|}" ] || type_line "${step#*|}"
	done
	wait_end "$name" || return
	ended "$name" 0
	check "$name: it has powered off" grep -q 'reboot: Power down' "$name.out"
	e2fsck -f -n "debian.img?offset=1048576" >"$name.fsck" 2>&1
	is "$name: e2fsck" "$?" 0 "$name.fsck"
	check "$name: the journal was empty" [ "$(grep -c 'journal' "$name.fsck")" = 0 ]
	say "$name is done"
}

# Once its networkd takes an address by itself, and apt fetches a package.
test_debian() {
	LIMIT=240
	debian ide /dev/sda1 poweroff
	[ $stalled = 0 ] || return
	web_server
	address='until hostname -I | grep -q 10; do sleep 1; done; echo its address is $(hostname -I)'
	fetch="/usr/lib/apt/apt-helper download-file http://10.0.2.2:$WEB/package /tmp/package \
SHA256:$package_sum && echo it has fetched \$(stat -c %s /tmp/package)"
	debian virtio /dev/vda1 "$address" "its address is 10.0.2.15|$fetch" \
		"it has fetched $((16 * MIB))|poweroff"
	no_web_server
}

test_memtest() {
	launch memtest --kernel memtest.bin --append "console=ttyS0,115200" --memory 64M
	for text in "Memtest86+ v" "Time:  0:00:0[2-9]"; do
		if wait_screen memtest "$text"; then
			ok "memtest: on its screen: $text"
		else
			[ $stalled = 1 ] || not_ok "memtest: on its screen: $text" memtest.screen memtest.err
		fi
	done
	cp memtest.screen "$out/"
	stop TERM
	is "memtest: SIGTERM ends it" "$status" 143 memtest.err
}

test_netboot() {
	LIMIT=240
	for arch in amd64 i386; do
		launch netboot --kernel netboot-$arch.linux --initrd netboot-$arch.gz \
			--append "console=ttyS0 quiet" --memory 1280M
		if wait_screen netboot "Select a language" && wait_screen netboot "English"; then
			ok "netboot: $arch: the installer asks for a language, and offers English"
		else
			[ $stalled = 1 ] || not_ok "netboot: $arch: the installer's first screen" netboot.screen netboot.err
		fi
		cp netboot.screen "$out/netboot-$arch.screen"
		stop TERM
		[ $stalled = 0 ] || return
		say "netboot $arch is done"
	done
}
