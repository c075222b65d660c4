#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
# Where the KVM is: one round of the same requests to the same disk under each VMM in turn, a line of
# figures for each kind of request; or, as "counts", what bantam itself counts of IDE's. A list of kinds
# in ./kinds.given is measured instead of the matrix, and a bantam in ./bantam-before as well.
# Usage: disk-inside.sh ide|tmpfs|disk|counts some|full SECONDS QEMU-DATA-FOLDER
part=$1 matrix=$2 seconds=$3
data=$4
prefix='' words='' options='' bin='' initrd=initrd
# shellcheck source=requests.sh
. ./requests.sh

qemu_ide() {
	qemu "$1" -drive "file=disk.img,format=raw,if=ide"
}

qemu_virtio() {
	qemu "$1" -drive "file=disk.img,format=raw,if=virtio"
}

# qemu_aio APPEND IMAGE threads|native|io_uring CACHE: the fastest way that QEMU has
qemu_aio() {
	qemu "$1" -object iothread,id=t -drive "file=$2,format=raw,if=none,id=d,aio=$3,cache=$4" \
		-device virtio-blk-pci,drive=d,iothread=t
}

bantam_ide() {
	bantam "$1" --disk path=disk.img,if=ide
}

# bantam_virtio APPEND [IMAGE [CACHE]]
bantam_virtio() {
	bantam "$1" --disk "path=${2:-disk.img},if=virtio${3:+,cache=$3}"
}

# count_multiple NAME REQUESTS: a driver that takes 8 KiB from READ MULTIPLE by one instruction
count_multiple() {
	./bantam run --kernel exits.elf --append "multiple=$2" --disk path=disk.img,if=ide \
		--exits=exits.json </dev/null >out 2>errors
	tally "$1" "$2"
}

part_ide() {
	kinds=''
	for bytes in 512 4096 65536; do
		kinds="$kinds read $bytes 1 random write $bytes 1 random mixed $bytes 1 random"
	done
	# shellcheck disable=SC2086 # a list of words
	dma=$(requests $kinds)
	pio=$(requests read 4096 1 random write 4096 1 random)
	count_user_exits 1
	measure qemu-ide "$dma" qemu_ide
	measure bantam-ide "$dma" bantam_ide
	measure qemu-virtio "$dma" qemu_virtio
	measure bantam-virtio "$dma" bantam_virtio
	words=libata.dma=0
	measure pio-qemu-ide "$pio" qemu_ide
	measure pio-bantam-ide "$pio" bantam_ide
	count_user_exits 0
}

# A request of more than 256 sectors needs an EXT command.
part_counts() {
	for requests in 100 300; do
		count dma-read $requests 4096 read ide
		count dma-write $requests 4096 write ide
		count ext-read $requests 262144 read ide
		count pio-read $requests 4096 read ide libata.dma=0
		count pio-write $requests 4096 write ide libata.dma=0
		count_multiple multiple $requests
	done
}

# some_kinds, full_kinds: lines of kinds of requests; each is a guest of its own, a kernel's command
# line takes no more
some_kinds() {
	for depth in 1 8 32; do
		for bytes in 512 4096 65536; do
			printf 'read %s %s random ' $bytes $depth
		done
		echo "read 4096 $depth seq read 1048576 $depth seq write 4096 $depth random"
	done | tr '\n' ' '
	echo
}

full_kinds() {
	for mode in read write; do
		for order in random seq; do
			for depth in 1 8 32; do
				for bytes in 512 4096 65536 1048576; do
					printf '%s %s %s %s ' $mode $bytes $depth $order
				done
			done
			echo
		done
	done
}

given_kinds() {
	cat kinds.given
}

# each_kind VMM COMMAND [ARG ...]: all of the matrix's
each_kind() {
	vmm=$1
	shift
	# Not in a pipe: whoever is started reads the standard input.
	while read -r kinds <&8; do
		# shellcheck disable=SC2086 # a list of words
		measure "$vmm" "$(requests $kinds)" "$@"
	done 8<kinds
}

# each_bantam [IMAGE [CACHE]]
each_bantam() {
	each_kind bantam bantam_virtio "$@"
	[ -e bantam-before ] || return 0
	bin=bantam-before
	each_kind before bantam_virtio "$@"
	bin=''
}

part_tmpfs() {
	prefix=tmpfs-
	cp disk.img /tmp/disk.img
	count_user_exits 1
	each_bantam /tmp/disk.img
	each_kind qemu-threads qemu_aio /tmp/disk.img threads writeback
	each_kind qemu-io_uring qemu_aio /tmp/disk.img io_uring writeback
	count_user_exits 0
}

# aio=native is for O_DIRECT only, so all go past the page cache. What that still has of the image
# every write would have to throw out, whoever comes first.
part_disk() {
	prefix=disk-
	echo 1 >/proc/sys/vm/drop_caches
	count_user_exits 1
	each_bantam disk.img none
	each_kind qemu-threads qemu_aio disk.img threads none
	each_kind qemu-native qemu_aio disk.img native none
	each_kind qemu-io_uring qemu_aio disk.img io_uring none
	count_user_exits 0
}

echo "# case vmm iops exits io_exits halt_exits user_exits cpu_us guest_us p50_us"
cat disk.img >/dev/null
[ ! -e kinds.given ] || matrix=given
"${matrix}_kinds" >kinds
"part_$part"
