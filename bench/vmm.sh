# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# Where the KVM is: a Linux guest under bantam and under QEMU, and what it costs. Sourced by what runs in the
# lab, in a folder with bantam, vmlinuz and an initramfs, with empty or not
#
#	initrd		the initramfs
#	options		for bantam's command line
#	bin		bantam's, if it is not that
#	data		the folder of QEMU's, if that does not find it
debug=/sys/kernel/debug/kvm
tracing=/sys/kernel/tracing

bantam() {
	append=$1
	shift
	# shellcheck disable=SC2086 # a list of words
	exec "./${bin:-bantam}" run --kernel vmlinuz --initrd "$initrd" --append "$append" --memory 256M --no-reboot $options "$@"
}

qemu() {
	append=$1
	shift
	exec "$(command -v qemu-system-x86_64)" ${data:+-L "$data/qemu" -L "$data/seabios"} -accel kvm -cpu host -M pc -m 256 -smp 1 -nodefaults \
		-display none -serial stdio -no-reboot -kernel vmlinuz -initrd "$initrd" -append "$append" "$@"
}

# append ACTIONS [WORD ...]: the command line of a guest
append() {
	actions=$1
	shift
	echo "console=ttyS0 quiet panic=-1 bantam.run=$actions $*"
}

# counters: KVM's own of the VM of process pid (all exits, those for a port, halts), those that
# reached user space, and the ticks of 10 ms that the process has used, and its guest of them
counters() {
	for counter in exits io_exits halt_exits; do
		cat $debug/$pid-*/$counter
	done
	cat $tracing/per_cpu/cpu*/stats 2>/dev/null |
		awk '$1 == "entries:" || $1 == "overrun:" { n += $2 } END { print n + 0 }'
	sed 's/.*) //' /proc/$pid/stat | awk '{ print $12 + $13, $41 }'
}

# Those that reach user space are what a tracepoint has counted, but for those returns of KVM_RUN that
# were no exits: by a signal, or because it was only to complete the access before.
count_user_exits() {
	mount -t tracefs tracefs $tracing 2>/dev/null
	echo 'errno >= 0' >$tracing/events/kvm/kvm_userspace_exit/filter
	echo "$1" >$tracing/events/kvm/kvm_userspace_exit/enable
}
