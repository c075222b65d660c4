#!/bin/bash
# SPDX-License-Identifier: MIT
# Stock Linux under bantam: boots, disks, power-off, reboot, panic, kill -9.
#
# Usage: run.sh BANTAM GUESTS [TEST ...]
#
# BANTAM is the program, GUESTS the folder with jsonget; TEST picks some of: one two kill console
# | exits virtio big generic reboot panic pvh | ide ide4 memtest netboot | debian
# | queues trim resize crash (crash:N: as many kills) | pit
# | coalesce (coalesce:MODE: one of its modes) lists4 listfaults
# | nettap (nettap:MIB: as much each way) netflap
# | nettraffic (nettraffic:SECONDS: of each protocol) netreboot netbridge netuser. Each of these
# parts runs in a lab of its own (tests/lab), two at a time, or one after the other directly where
# this machine's /dev/kvm can run a stock kernel; LINUX_LAB=1 asks for the lab. Prints TAP; at the
# end, how many labs and guests had to be started afresh.
# TEST_OUT keeps what the tests left behind. BANTAM_CACHE is where downloads are kept.
set -u
PATH=$PATH:/usr/sbin:/sbin

top=$(cd "$(dirname "$0")/../.." && pwd)
linux=$top/guests/linux
[ $# -ge 2 ] || {
	echo "usage: run.sh BANTAM GUESTS [TEST ...]" >&2
	exit 2
}
bantam=$(cd "$(dirname "$1")" && pwd)/${1##*/}
guests=$(cd "$2" && pwd) || exit 2
shift 2
STALL=75

# shellcheck source=../tap.sh
. "$top/tests/tap.sh"
export BANTAM_CACHE=${BANTAM_CACHE:-$top/build/cache}
mkdir -p "$BANTAM_CACHE/linux"
work=$(mktemp -d "$BANTAM_CACHE/linux/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
keep=${TEST_OUT:-$work/keep}
mkdir -p "$keep"

give_up() {
	not_ok "$*"
	tap_end
	exit 1
}

# --- what the guests need ---

parts=("one two kill console" "exits virtio big generic reboot panic pvh" "ide ide4 memtest netboot"
	"debian" "queues trim resize crash" "pit"
	"coalesce:plain coalesce:pio coalesce:lookahead coalesce:lists coalesce:absent coalesce:patched coalesce:virtio"
	"lists4 listfaults" "nettap netflap" "nettraffic netreboot netbridge netuser")
limits=([8]=900 [9]=900) # seconds that a part may take, where 600 are not enough
if [ $# -gt 0 ]; then
	wanted=" $* "
	for i in "${!parts[@]}"; do
		part=
		for test in ${parts[i]}; do
			if [[ $wanted =~ \ ($test(:[^ ]*)?)\  ]]; then
				part+=" ${BASH_REMATCH[1]}"
			elif [[ $test = *:* && $wanted = *" ${test%%:*} "* ]]; then
				part+=" $test"
			fi
		done
		parts[i]=${part# }
	done
fi

# wants TEST ...: is one of them to be run?
wants() {
	local test
	for test in "$@"; do
		[[ ! " ${parts[*]} " =~ \ ${test}[\ :] ]] || return 0
	done
	return 1
}

# need NAME COMMAND ...: what cannot be had ends all
need() {
	local what=$1
	shift
	"$@" >"$work/need.log" 2>&1 || {
		sed 's/^/# /' "$work/need.log"
		give_up "no $what"
	}
}

folder=$work/folder
packages=$BANTAM_CACHE/packages
mkdir "$folder"
kernel=$("$linux/fetch-kernel.sh" cloud "$BANTAM_CACHE/kernel") || give_up "no kernel to boot"
cc -O2 -static -o "$folder/disktool" "$linux/disktool.c" || give_up "disktool does not compile"
initramfs=(--init "$linux/init-test" --add "$folder/disktool:/bin/disktool")
"$linux/mkinitramfs.sh" --kernel-dir "$kernel" --modules "virtio_pci virtio_blk ext4" \
	"${initramfs[@]}" "$folder/initramfs" || give_up "no initramfs"
"$linux/mkdisk.sh" "$folder/disk.img" 32M || give_up "no disk image"
cp "$bantam" "$folder/bantam"
cp "$guests/jsonget" "$top/tests/tap.sh" "$top"/tests/linux/{inside,pc,disks,pit,coalesce,net,net_user}.sh \
	"$kernel/vmlinuz" "$kernel/vmlinux" "$folder/"
if wants generic; then
	generic=$("$linux/fetch-kernel.sh" generic "$BANTAM_CACHE/kernel") || give_up "no generic kernel"
	"$linux/mkinitramfs.sh" --kernel-dir "$generic" \
		--modules "virtio_pci virtio_blk crc32c_generic ext4" \
		"${initramfs[@]}" "$folder/initramfs-generic" || give_up "no initramfs"
	cp "$generic/vmlinuz" "$folder/vmlinuz-generic"
fi

# What the parts with unmodified guests of a PC need is large, and lies in folders of their own.
# All of a part's folder goes to its lab.
# pc_initramfs OUT DRIVER ...
pc_initramfs() {
	local out=$1
	shift
	need "initramfs" "$linux/mkinitramfs.sh" --kernel-dir "$kernel" \
		--modules "virtio_pci virtio_blk $* sd_mod sr_mod isofs ext4" "${initramfs[@]}" "$out"
}

if wants ide ide4; then
	mkdir -p "$work/folder.2"
	pc_initramfs "$work/folder.2/initramfs-ide" ata_piix
	need "CD" "$linux/mkdisk.sh" "$work/folder.2/cd.iso"
fi
if wants coalesce lists4 listfaults; then
	mkdir -p "$work/folder.6"
	pc_initramfs "$work/folder.6/initramfs-ide" ata_piix
	need "driver" "$linux/mkmodule.sh" "$kernel" "$work/modules" "$BANTAM_CACHE/headers"
	pc_initramfs "$work/folder.6/initramfs-lists" "$work/modules/bantam_ata.ko"
	source=$(find "$BANTAM_CACHE/source" -maxdepth 1 -name 'linux-source-*' 2>/dev/null | head -n 1)
	if [ -n "$source" ]; then
		need "patched driver" "$linux/mkmodule.sh" "$kernel" "$work/modules" "$BANTAM_CACHE/headers" "$source"
		pc_initramfs "$work/folder.6/initramfs-patched" "$work/modules/libata_batch.ko" \
			"$work/modules/ata_piix.ko"
	fi
	mkdir "$work/folder.7"
	cp -l "$work/folder.6/initramfs-lists" "$work/folder.7/"
	need "CD" "$linux/mkdisk.sh" "$work/folder.7/cd.iso"
fi
if wants queues trim resize crash; then
	mkdir -p "$work/folder.4"
	need "initramfs" "$linux/mkinitramfs.sh" --kernel-dir "$kernel" \
		--modules "virtio_pci virtio_blk ata_piix sd_mod ext4" \
		"${initramfs[@]}" "$work/folder.4/initramfs-disks"
	need "qcow2 image: install the package qemu-utils" \
		qemu-img create -q -f qcow2 "$work/folder.4/empty.qcow2" 64M
fi
if wants ide ide4 queues crash coalesce lists4; then
	mkdir "$work/tools"
	need "fio" "$top/tests/lab/closure.sh" "$work/tools" fio
	cp "$top"/tests/linux/*.fio "$work/tools/"
	need "disk with fio" mke2fs -q -F -t ext4 -d "$work/tools" "$work/tools.img" 128M
	rm -rf "$work/tools"
	for folder_of in "$work"/folder.{2,4,6,7}; do
		[ ! -d "$folder_of" ] || cp -l "$work/tools.img" "$folder_of/"
	done
fi
if wants nettap netflap nettraffic netreboot netbridge netuser; then
	mkdir "$work"/folder.{8,9} "$work/tools"
	need "nettool" cc -O2 -static -o "$work/nettool" "$linux/nettool.c"
	need "initramfs" "$linux/mkinitramfs.sh" --kernel-dir "$kernel" \
		--modules "virtio_pci virtio_blk virtio_net ext4" --init "$linux/init-test" \
		--add "$work/nettool:/bin/nettool" --add "$linux/net-test.sh:/lib/net-test.sh" \
		"$work/initramfs-net"
	need "iperf3" "$top/tests/lab/closure.sh" "$work/tools" iperf3
	need "disk with iperf3" mke2fs -q -F -t ext4 -d "$work/tools" "$work/folder.9/tools-net.img" 64M
	rm -rf "$work/tools"
	for folder_of in "$work"/folder.{8,9}; do
		cp -l "$work/nettool" "$work/initramfs-net" "$folder_of/"
	done
fi
if wants memtest netboot; then
	mkdir -p "$work/folder.2"
	need "program for screens" cc -O2 -static -o "$work/folder.2/screen" "$top/tests/linux/screen.c"
fi
if wants memtest; then
	need "memtest86+" "$linux/fetch-deb.sh" memtest86+ "$packages" boot/memtest86+x64.bin
	cp "$packages/memtest86+/boot/memtest86+x64.bin" "$work/folder.2/memtest.bin"
fi
if wants netboot; then
	for arch in amd64 i386; do
		path=usr/lib/debian-installer/images/12/$arch/text/debian-installer/$arch
		package=debian-installer-12-netboot-$arch
		need "$package" "$linux/fetch-deb.sh" $package "$packages" $path/linux $path/initrd.gz
		cp "$packages/$package/$path/linux" "$work/folder.2/netboot-$arch.linux"
		cp "$packages/$package/$path/initrd.gz" "$work/folder.2/netboot-$arch.gz"
	done
fi
if wants debian; then
	mkdir -p "$work/folder.3"
	need "disk with Debian" "$linux/mkdebian.sh" "$BANTAM_CACHE/debian"
	cp --sparse=always "$(tail -n 1 "$work/need.log")" "$work/folder.3/debian.img"
	need "firmware: install the package seabios" cp /usr/share/seabios/bios-256k.bin \
		"$work/folder.3/bios.bin"
fi

# Can this machine's own KVM run a stock kernel?
direct=0
if [ "${LINUX_LAB:-0}" = 0 ] && [ -r /dev/kvm ] && [ -w /dev/kvm ] && [ ! -e /sys/module/kvm_pvm ] &&
	grep -q -w -E 'vmx|svm' /proc/cpuinfo; then
	direct=1
fi

# --- the parts ---

# once PART LOG OUT TEST ...: one lab, or one run on this machine
once() {
	local part=$1 log=$2 out=$3 with=() limit=${limits[$1]:-600}
	shift 3
	# Hard links: all parts have what is in the common folder.
	[ -d "$work/folder.$part" ] || mkdir "$work/folder.$part"
	cp -l -f "$folder"/* "$work/folder.$part/"
	if [ $direct = 1 ]; then
		local copy
		copy=$(mktemp -d "$work/direct.XXXXXX")
		cp --sparse=always "$work/folder.$part"/* "$copy/"
		(cd "$copy" && LAB_OUT=$out DIRECT=1 timeout -k 5 "$limit" sh inside.sh "$@") >"$log" 2>&1
	else
		[[ " $* " != *" debian "* ]] || with=(--with e2fsck)
		[[ " $* " != *" crash"* ]] || with=(--with qemu-img)
		[ ! -e "$work/folder.$part/nettool" ] ||
			with=(--with iperf3 --with ping --with tcpdump --with setpriv)
		"$top/tests/lab/lab" --timeout "$limit" --memory 7000 "${with[@]}" --out "$out" \
			"$work/folder.$part" -- sh inside.sh "$@" >"$log" 2>&1
	fi
}

# part I: all tests of a part; a guest that stalled or was lost is given one more lab. Its lines go to I.all
part() {
	local i=$1 left=${parts[$1]} status log stalled again=
	local out=$work/out.$i
	mkdir -p "$out"
	while [ -n "$left" ]; do
		log=$work/log.$i.${again:-first}
		# shellcheck disable=SC2086
		once "$i" "$log" "$out" $left
		status=$?
		cat "$log" >>"$work/$i.all"
		while read -r test; do
			left=$(tr ' ' '\n' <<<"$left" | grep -v -x "$test" | tr '\n' ' ')
			left=${left% }
		done < <(sed -n 's/^# done: //p' "$log" | tr -d '\r')
		[ -n "$left" ] || break
		stalled=$(sed -n 's/^# stalled: //p' "$log" | tr -d '\r')
		if [ $status != $STALL ] || [ -z "$stalled" ]; then
			echo "not ok - $left: the lab ended with exit status $status" >>"$work/$i.all"
			break
		fi
		if [ -n "$again" ]; then
			echo "not ok - $stalled: stalled or lost, for the second time" >>"$work/$i.all"
			break
		fi
		echo "# a fresh start for: $left" >>"$work/$i.all"
		again=$stalled
	done
}

side_by_side=2
[ $direct = 0 ] || side_by_side=1
# The part that takes longest comes first.
for i in 9 8 3 6 4 1 2 7 0 5; do
	: >"$work/$i.all"
	[ "$(jobs -p -r | wc -l)" -lt $side_by_side ] || wait -n
	part $i &
done
wait

# --- verdicts ---

labs=0 fresh=0
for i in "${!parts[@]}"; do
	cp "$work/$i.all" "$keep/lab-$i.log"
	while IFS= read -r line; do
		case $line in
		"ok "*) ok "${line#ok * - }" ;;
		"not ok "*) not_ok "${line#not ok *- }" ;;
		"lab: retries: "*) labs=$((labs + ${line#lab: retries: })) && echo "# $line" ;;
		"# a fresh start for: "*) fresh=$((fresh + 1)) && echo "$line" ;;
		"#"* | "lab: "*) echo "# ${line#\# }" ;;
		esac
	done < <(tr -d '\r' <"$work/$i.all")
done

cp "$work"/out.[12]/* "$keep/" 2>/dev/null

# From the host's side: what the guest says it has written is in the image, which is in order.
if [ -e "$work/out.0/one.img" ]; then
	cp "$work/out.0/one.out" "$work/out.0/one.json" "$keep/"
	image=$work/out.0/one.img
	want=$(sed -n 's/^test: write ok //p' "$work/out.0/one.out")
	is "one: the host finds in the image what the guest wrote" \
		"$(debugfs -R 'cat /written' "$image" 2>/dev/null | sha256sum | cut -d ' ' -f 1)" "$want"
	is "one: of its length" "$(debugfs -R 'cat /written' "$image" 2>/dev/null | wc -c)" $((2048 * 1024))
	if e2fsck -f -n "$image" >"$keep/e2fsck" 2>&1; then
		ok "one: e2fsck finds the file system clean"
	else
		not_ok "one: e2fsck finds the file system clean" "$keep/e2fsck"
	fi
elif wants one; then
	not_ok "one: the image has come back from the lab"
fi
echo "# labs started afresh: $labs; for a guest that stalled or was lost: $fresh"
tap_end
