#!/bin/sh
# SPDX-License-Identifier: MIT
# A host's storage that fails under a guest, by virtio and by IDE: errors, a full disk, an image that
# is cut off, answers that are late. The guest is told of every request that failed and of no other,
# gets an answer to each, and finds what it was told is written (guests/baremetal/faults.c).
#
# Usage: faults.sh BANTAM GUESTS [NAME ...]
#
# NAME picks some of: errors slow cut full resume. Prints TAP. TEST_OUT keeps what the guests printed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || {
	echo "usage: faults.sh BANTAM GUESTS [NAME ...]" >&2
	exit 2
}
# What is mounted here goes when we do.
if [ "${FAULTS_MOUNTS:-}" != own ] && unshare -m true 2>/dev/null; then
	FAULTS_MOUNTS=own exec unshare -m "$0" "$@"
fi
bantam=$(realpath "$1")
guests=$(realpath "$2")
shift 2
names=${*:-errors slow cut full resume}
# shellcheck source=../tap.sh
. "$here/../tap.sh"
if ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
	skip "faults" "there is no /dev/kvm"
	tap_end
	exit
fi
# shellcheck source=common.sh
. "$here/common.sh"

# over: what a disk's interface adds to the guest's command line; the others are for virtio
over() {
	[ "$1" = virtio ] || echo " $1"
}

# told NAME: the guest has been told what it had to be, and come to a good end
told() {
	ended
	verdicts "$1"
	is "$1: exit status" "$status" 0 "$1.err"
}

# serve NAME FILTER [SETTING ...]: 512 KiB of memory behind a filter; the server ends with its client
serve() {
	serve_name=$1 serve_filter=$2
	shift 2
	rm -f "$serve_name.sock"
	nbdkit --filter=exitlast --filter="$serve_filter" -f -U "$serve_name.sock" memory 512K "$@" \
		>"$serve_name.nbdkit" 2>&1 9>&- &
	server=$!
	wait_file "$serve_name.sock"
	uri="nbd+unix:///?socket=$PWD/$serve_name.sock"
}

have_nbdkit() {
	command -v nbdkit >/dev/null || {
		skip "$1" "nbdkit is not installed"
		return 1
	}
}

# Half of the requests fail for a while, with each of the errors that a server can give.
test_errors() {
	have_nbdkit errors || return
	for error in EIO ENOSPC EINVAL; do
		for interface in virtio ide; do
			name=errors-$error-$interface
			rm -f "$name.on"
			serve $name error error=$error error-rate=50% error-file="$PWD/$name.on"
			launch $name faults "sectors=1024$(over $interface)" --disk "path=$uri,if=$interface"
			wait_line $name.out '^healthy'
			: >$name.on
			wait_line $name.out '^failing'
			rm $name.on
			told $name
			wait $server
		done
	done
}

# Late is not lost.
test_slow() {
	have_nbdkit slow || return
	for interface in virtio ide; do
		serve slow-$interface delay delay-read=300ms delay-write=300ms
		guest slow-$interface faults "sectors=256 clean$(over $interface)" \
			--disk "path=$uri,if=$interface"
		wait $server
	done
}

# Somebody cuts the image off, and puts back what was there.
test_cut() {
	for options in cache=writeback cache=writeback,engine=threads cache=none; do
		for interface in virtio ide; do
			name=cut-$(echo "$options" | tr ',=' '--')-$interface
			truncate -s 512K cut.img
			launch "$name" faults "sectors=1024 reads$(over $interface)" \
				--disk "path=cut.img,if=$interface,$options"
			wait_line "$name.out" '^healthy'
			cp cut.img whole.img
			truncate -s 250368 cut.img
			wait_line "$name.out" '^failing'
			cat whole.img >cut.img
			told "$name"
		done
	done
	rm -f cut.img whole.img
}

# make_full FORMAT: an image of 512 KiB for which there is no room, and something to take away
make_full() {
	case $1 in
	raw) truncate -s 512K small/disk.img ;;
	qcow2) qemu-img create -q -f qcow2 -o cluster_size=4096 small/disk.img 512K ;;
	esac
	head -c 400000 /dev/zero >small/filler
}

# on_small NAME FORMAT INTERFACE: a small file system with such an image; false: not here
on_small() {
	if [ "$2" = qcow2 ] && ! command -v qemu-img >/dev/null; then
		skip "$1" "qemu-img is not installed"
		return 1
	fi
	mkdir -p small
	if [ "${FAULTS_MOUNTS:-}" != own ] || ! mount -t tmpfs -o size=700k none small 2>/dev/null; then
		skip "$1" "nothing can be mounted here"
		return 1
	fi
	make_full "$2"
}

# off_small NAME FORMAT: the image is sound
off_small() {
	[ "$2" = raw ] || check "$1: the image has no faults" qemu-img check -q -f qcow2 small/disk.img
	umount -l small # the kernel may still be taking down its rings
}

# The file system is full; then there is room.
test_full() {
	for format in raw qcow2; do
		for interface in virtio ide; do
			name=full-$format-$interface
			on_small $name $format || continue
			launch $name faults "sectors=1024$(over $interface)" \
				--disk "path=small/disk.img,format=$format,if=$interface"
			wait_line $name.out '^failing'
			rm small/filler
			told $name
			off_small $name $format
		done
	done
}

# The same with on-error=stop: the guest does not notice.
test_resume() {
	open_runtime
	for format in raw qcow2; do
		for interface in virtio ide; do
			name=resume-$format-$interface
			on_small $name $format || continue
			start_stopping $name faults "sectors=1024 clean$(over $interface)" \
				"path=small/disk.img,format=$format,if=$interface"
			stopped $name 'disk0 (small/disk.img): writing [0-9]* bytes at [0-9]*: No space left'
			rm small/filler
			resumed $name
			off_small $name $format
		done
	done
	close_runtime
	rm -rf small
}

for name in $names; do
	"test_$name"
done
rm -f -- *.sock
tap_end
