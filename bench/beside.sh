# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Sourced by what measures bantam beside QEMU, with $top and $work set.

# Whether this machine's own KVM can run stock kernels under both, and counts where we can see it.
# BENCH_LAB=0|1 decides otherwise.
can_run_here() {
	if [ -n "${BENCH_LAB:-}" ]; then
		[ "$BENCH_LAB" = 0 ]
	else
		[ -w /dev/kvm ] && [ ! -d /sys/module/kvm_pvm ] && grep -qEw 'vmx|svm' /proc/cpuinfo &&
			[ -r /sys/kernel/debug/kvm ]
	fi
}

# run_inside SECONDS SCRIPT [ARG ...]: the script, in the folder $work, here or in the lab for at most
# so long; its last argument is the folder with QEMU's data, "" where QEMU finds that itself. The lab has
# $lab_cpus CPUs, 2 if that is not set.
run_inside() {
	local seconds=$1
	shift
	if can_run_here; then
		(cd "${work:?}" && sh "$@" "")
	else
		mkdir -p "$work/share"
		cp -rL /usr/share/qemu "$work/share/" 2>/dev/null || true
		cp -rL /usr/share/seabios "$work/share/"
		"${top:?}/tests/lab/lab" --timeout "$seconds" --memory 3072 --cpus "${lab_cpus:-2}" --with qemu-system-x86_64 "$work" -- \
			sh "$@" share
	fi
}
