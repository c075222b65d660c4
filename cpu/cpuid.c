/* SPDX-License-Identifier: MIT */
#include "cpu/cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "guests/include/bantam/coalesced_io.h"

#define MAX_ENTRIES 256

/* Leaf 1 */
#define ECX1_VMX (1u << 5)
#define ECX1_X2APIC (1u << 21)
#define ECX1_TSC_DEADLINE (1u << 24)
#define ECX1_OSXSAVE (1u << 27)
#define ECX1_HYPERVISOR (1u << 31)
#define EDX1_HTT (1u << 28)
/* Leaf 0x80000001 */
#define ECX81_CMP_LEGACY (1u << 1)
#define ECX81_SVM (1u << 2)

/* The bits of an APIC id that number nr cores. */
static unsigned id_bits(unsigned nr)
{
	unsigned bits = 0;

	while ((1u << bits) < nr)
		bits++;
	return bits;
}

static void filter_features(struct kvm_cpuid_entry2 *e, unsigned index, unsigned nr,
			    bool tsc_deadline)
{
	unsigned logical = 1u << id_bits(nr); /* ids addressable in the package */

	e->ebx = (e->ebx & 0xffff) | (logical > 255 ? 255 : logical) << 16 | index << 24;
	e->ecx &= ~(ECX1_VMX | ECX1_OSXSAVE);
	e->ecx |= ECX1_HYPERVISOR | ECX1_X2APIC;
	if (tsc_deadline)
		e->ecx |= ECX1_TSC_DEADLINE;
	e->edx = nr > 1 ? e->edx | EDX1_HTT : e->edx & ~EDX1_HTT;
}

/* Deterministic cache parameters: levels 1 and 2 are a core's own, level 3 the package's. */
static void filter_cache(struct kvm_cpuid_entry2 *e, unsigned nr, bool intel)
{
	unsigned level = e->eax >> 5 & 7;
	unsigned sharing = level >= 3 ? (1u << id_bits(nr)) - 1 : 0;

	if (!(e->eax & 0x1f))
		return; /* no more caches */
	e->eax = (e->eax & 0x3fff) | sharing << 14;
	if (intel)
		e->eax |= ((1u << id_bits(nr)) - 1) << 26; /* core ids in the package */
}

/* Extended topology: level 0 threads, level 1 cores, nothing above. */
static void filter_topology(struct kvm_cpuid_entry2 *e, unsigned index, unsigned nr)
{
	enum { LEVEL_SMT = 1, LEVEL_CORE = 2 };

	e->eax = e->ebx = 0;
	e->ecx = e->index & 0xff;
	e->edx = index;
	if (e->index == 0) {
		e->ebx = 1;
		e->ecx |= LEVEL_SMT << 8;
	} else if (e->index == 1) {
		e->eax = id_bits(nr);
		e->ebx = nr;
		e->ecx |= LEVEL_CORE << 8;
	}
}

void cpuid_filter(struct kvm_cpuid_entry2 *entries, unsigned nr_entries, unsigned index,
		  unsigned nr, bool tsc_deadline)
{
	for (unsigned i = 0; i < nr_entries; i++) {
		struct kvm_cpuid_entry2 *e = &entries[i];

		switch (e->function) {
		case 0x1:
			filter_features(e, index, nr, tsc_deadline);
			break;
		case 0x4:
			filter_cache(e, nr, true);
			break;
		case 0xb:
		case 0x1f:
			filter_topology(e, index, nr);
			break;
		case 0x80000001:
			e->ecx &= ~ECX81_SVM;
			e->ecx = nr > 1 ? e->ecx | ECX81_CMP_LEGACY : e->ecx & ~ECX81_CMP_LEGACY;
			break;
		case 0x80000008: /* ECX: ApicIdSize 15:12, NC 7:0 */
			e->ecx = (e->ecx & ~0xf0ffu) | id_bits(nr) << 12 | (nr - 1);
			break;
		case 0x8000000a: /* SVM's own leaf */
			e->eax = e->ebx = e->ecx = e->edx = 0;
			break;
		case 0x8000001d:
			filter_cache(e, nr, false);
			break;
		case 0x8000001e: /* extended APIC id; core id, one thread a core; one node */
			e->eax = index;
			e->ebx = index & 0xff;
			e->ecx = 0;
			break;
		default:
			break;
		}
	}
}

/*
 * KVM lists only sub-leaf 0 of the topology leaves where the host's have no more;
 * ours always has two levels and the end.
 */
static unsigned complete_topology(struct kvm_cpuid2 *c, uint32_t leaf)
{
	bool have[3] = { false };

	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf && c->entries[i].index < 3)
			have[c->entries[i].index] = true;
	if (!have[0])
		return c->nent; /* a leaf that this host does not have */
	for (uint32_t k = 1; k < 3 && c->nent < MAX_ENTRIES; k++)
		if (!have[k])
			c->entries[c->nent++] = (struct kvm_cpuid_entry2){
				.function = leaf,
				.index = k,
				.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			};
	return c->nent;
}

void cpuid_coalesced_io(struct kvm_cpuid_entry2 *entries, uint32_t features)
{
	entries[0] = (struct kvm_cpuid_entry2){
		.function = COALESCED_IO_CPUID_BASE,
		.eax = COALESCED_IO_CPUID_INFO,
		.ebx = COALESCED_IO_SIGNATURE_EBX,
		.ecx = COALESCED_IO_SIGNATURE_ECX,
		.edx = COALESCED_IO_SIGNATURE_EDX,
	};
	entries[1] = (struct kvm_cpuid_entry2){
		.function = COALESCED_IO_CPUID_INFO,
		.eax = COALESCED_IO_VERSION,
		.ebx = features,
		.ecx = PLATFORM_PORT_COALESCED_IO,
		.edx = COALESCED_IO_MAX_ENTRIES,
	};
}

int cpuid_setup(const struct kvm *kvm, int vcpu_fd, unsigned index, unsigned nr,
		uint32_t coalesced_io)
{
	struct kvm_cpuid2 *c;
	int ret = 0;

	c = calloc(1, sizeof(*c) + MAX_ENTRIES * sizeof(c->entries[0]));
	if (!c)
		return -ENOMEM;
	c->nent = MAX_ENTRIES;
	if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, c)) {
		ret = -errno;
	} else {
		complete_topology(c, 0xb);
		complete_topology(c, 0x1f);
		cpuid_filter(c->entries, c->nent, index, nr,
			     kvm_cap(kvm, KVM_CAP_TSC_DEADLINE_TIMER));
		if (coalesced_io && c->nent + CPUID_COALESCED_IO <= MAX_ENTRIES) {
			cpuid_coalesced_io(&c->entries[c->nent], coalesced_io);
			c->nent += CPUID_COALESCED_IO;
		}
		if (ioctl(vcpu_fd, KVM_SET_CPUID2, c))
			ret = -errno;
	}
	free(c);
	return ret;
}
