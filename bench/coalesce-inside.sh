#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2034
# Where the KVM is: one round of the same requests to the same disk in each mode in turn, a line of figures
# for each kind of request; or, as "counts", what bantam itself counts, and where in the guest.
# Usage: coalesce-inside.sh round|counts SECONDS "MODE ..." QEMU-DATA-FOLDER (which is not used)
part=$1 seconds=$2 modes=$3
prefix='' words='' options='' initrd='' data=''
# shellcheck source=requests.sh
. ./requests.sh

# mode NAME
mode() {
	disk=ide initrd=initrd-piix options='--coalesce off'
	case $1 in
	pio | lookahead) options="--coalesce $1" ;;
	lists) initrd=initrd-lists options='--coalesce hypercall' ;;
	virtio) disk=virtio ;;
	esac
}

run() {
	bantam "$1" --disk "path=disk.img,if=$disk"
}

part_round() {
	kinds=$(requests read 512 1 random write 512 1 random read 4096 1 random write 4096 1 random)
	count_user_exits 1
	for mode in $modes; do
		mode "$mode"
		measure "$mode" "$kinds" run
	done
	count_user_exits 0
}

# sites NAME REQUESTS: the profile's exits by the function that makes them, or has a function of the
# kernel's for ports make them
sites() {
	awk -v name="$1" -v requests="$2" '
		!/ (ide|coalesced-io|virtio-blk)[0-9]*[.]/ { next }
		{
			site = $5 ~ /^io(read|write)[0-9]*$/ ? $NF : $5
			sub(/[?]$/, "", site)
			n[site] += $1
		}
		END { for (site in n) print "count", name, requests, site, "-", "-", "-", n[site] }' profile.txt
}

# A request of more than 256 sectors needs an EXT command.
part_counts() {
	for mode in $modes; do
		mode "$mode"
		options="$options --profile profile.txt"
		for requests in 100 300; do
			count "$mode-28" $requests 4096 read $disk
			sites "$mode-sites" $requests
			count "$mode-48" $requests 262144 read $disk
		done
	done
}

echo "# case vmm iops exits io_exits halt_exits user_exits cpu_us guest_us p50_us"
cat disk.img >/dev/null
"part_$part"
