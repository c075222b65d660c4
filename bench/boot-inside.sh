#!/bin/sh
# SPDX-License-Identifier: MIT
# Where the KVM is: boots each VMM in turn, ROUNDS times, one line of figures a boot.
# Usage: boot-inside.sh ROUNDS QEMU-DATA-FOLDER
rounds=$1
data=${2:+-L $2/qemu -L $2/seabios}
append="console=ttyS0 quiet panic=-1 bantam.run=poweroff"
qemu="$(command -v qemu-system-x86_64) $data -accel kvm -cpu host -m 128 -smp 1 -nodefaults -display none -serial stdio
	-no-reboot -kernel vmlinuz -initrd initrd -append"

measure() {
	name=$1
	shift
	if figures=$(./bootmeter 128 "init: first line" "$@" 2>>errors); then
		echo "$name $figures"
	else
		echo "# $name: no first line; $(tail -n 1 errors)"
	fi
}

echo "# vmm ms exits io_exits pf_taken own_kib"
i=0
while [ $i -lt "$rounds" ]; do
	measure bantam ./bantam run --kernel vmlinuz --initrd initrd --append "$append" --memory 128M
	# shellcheck disable=SC2086 # a list of words
	measure qemu-pc $qemu "$append" -M pc
	# shellcheck disable=SC2086
	measure qemu-microvm $qemu "$append" -M microvm,rtc=on
	i=$((i + 1))
done
