/* SPDX-License-Identifier: MIT */
/*
 * All of a vCPU that KVM keeps, taken out and put back: how a reset returns to
 * power-on. The vCPU must be paused.
 */
#ifndef CPU_CPUSTATE_H
#define CPU_CPUSTATE_H

#include <linux/kvm.h>

#include "cpu/kvm.h"

struct cpustate {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debugregs;
	struct kvm_mp_state mp_state;
	struct kvm_lapic_state lapic;
	struct kvm_xcrs xcrs;
	struct kvm_xsave *xsave; /* as large as this host's KVM needs */
	struct kvm_msrs *msrs; /* those of KVM_GET_MSR_INDEX_LIST that can be read */
	bool has_xsave, has_xcrs, has_debugregs;
};

/* Fills s. 0 or -errno. cpustate_free() in either case. */
int cpustate_save(const struct kvm *kvm, int vcpu_fd, struct cpustate *s) __must_check;

/*
 * Puts s back. The time-stamp counter is left running: it is no part of a reset, and
 * a clock that jumps back breaks guests.
 */
int cpustate_load(const struct kvm *kvm, int vcpu_fd, const struct cpustate *s) __must_check;

void cpustate_free(struct cpustate *s);

#endif
