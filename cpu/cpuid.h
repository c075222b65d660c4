/* SPDX-License-Identifier: MIT */
/*
 * What CPUID tells the guest: KVM_GET_SUPPORTED_CPUID, less what bantam does not
 * offer (nested virtualisation), with the topology of one package of single-thread
 * cores and each vCPU's own APIC id. Intel SDM volume 2A, CPUID; AMD APM volume 3,
 * appendix E.
 */
#ifndef CPU_CPUID_H
#define CPU_CPUID_H

#include <linux/kvm.h>

#include "cpu/kvm.h"

/*
 * Sets the CPUID of vCPU index of nr. coalesced_io: its features, 0 where it is not offered. 0
 * or -errno.
 */
int cpuid_setup(const struct kvm *kvm, int vcpu_fd, unsigned index, unsigned nr,
		uint32_t coalesced_io) __must_check;

/*
 * The pure part, for tests: turns the entries that the host supports (KVM's list)
 * into those of vCPU index of nr, in place.
 */
void cpuid_filter(struct kvm_cpuid_entry2 *entries, unsigned nr_entries, unsigned index,
		  unsigned nr, bool tsc_deadline);

/* The leaves by which a guest finds coalesced I/O, CPUID_COALESCED_IO of them. */
#define CPUID_COALESCED_IO 2
void cpuid_coalesced_io(struct kvm_cpuid_entry2 *entries, uint32_t features);

#endif
