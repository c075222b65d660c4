/* SPDX-License-Identifier: MIT */
#include "cpu/cpustate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_IA32_TSC 0x10
#define MSR_IA32_TSC_ADJUST 0x3b
#define MSR_IA32_TSC_DEADLINE 0x6e0

/* MTRRs, which KVM keeps but does not list: default type, eight variable ones, the fixed. */
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MSR_MTRR_VARIABLE 0x200
#define NR_MTRR_VARIABLE 16 /* base and mask each */
static const uint32_t mtrr_fixed[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
				       0x26b, 0x26c, 0x26d, 0x26e, 0x26f };
#define NR_MTRR (1 + NR_MTRR_VARIABLE + ARRAY_SIZE(mtrr_fixed))

#ifndef KVM_CAP_XSAVE2
#define KVM_CAP_XSAVE2 208
#endif

static void add_mtrrs(struct kvm_msrs *msrs)
{
	msrs->entries[msrs->nmsrs++].index = MSR_MTRR_DEF_TYPE;
	for (uint32_t i = 0; i < NR_MTRR_VARIABLE; i++)
		msrs->entries[msrs->nmsrs++].index = MSR_MTRR_VARIABLE + i;
	for (size_t i = 0; i < ARRAY_SIZE(mtrr_fixed); i++)
		msrs->entries[msrs->nmsrs++].index = mtrr_fixed[i];
}

/* The list of MSRs that this host's KVM saves, as indices in a kvm_msrs; NULL: no memory. */
static struct kvm_msrs *msr_list(const struct kvm *kvm, int *err)
{
	struct kvm_msr_list probe = { 0 }, *list;
	struct kvm_msrs *msrs = NULL;

	*err = 0;
	if (ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, &probe) && errno != E2BIG) {
		*err = -errno;
		return NULL;
	}
	list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(list->indices[0]));
	if (!list) {
		*err = -ENOMEM;
		return NULL;
	}
	list->nmsrs = probe.nmsrs;
	if (ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, list))
		*err = -errno;
	else
		msrs = calloc(1,
			      sizeof(*msrs) + (list->nmsrs + NR_MTRR) * sizeof(msrs->entries[0]));
	if (!*err && !msrs)
		*err = -ENOMEM;
	for (uint32_t i = 0; msrs && i < list->nmsrs; i++) {
		uint32_t index = list->indices[i];

		if (index == MSR_IA32_TSC || index == MSR_IA32_TSC_ADJUST ||
		    index == MSR_IA32_TSC_DEADLINE)
			continue;
		msrs->entries[msrs->nmsrs++].index = index;
	}
	if (msrs)
		add_mtrrs(msrs);
	free(list);
	return msrs;
}

/*
 * Reads the MSRs, dropping those that the host lists but cannot give: KVM stops at
 * the first one and returns how many it did.
 */
static int save_msrs(const struct kvm *kvm, int vcpu_fd, struct cpustate *s)
{
	struct kvm_msrs *m;
	int err;

	s->msrs = m = msr_list(kvm, &err);
	if (!m)
		return err;

	uint32_t kept = 0;

	for (uint32_t done = 0; done < m->nmsrs;) {
		struct msr_batch batch;
		uint32_t n = (uint32_t)min_u64(m->nmsrs - done, ARRAY_SIZE(batch.entry));

		memset(&batch, 0, sizeof(batch));
		batch.nmsrs = n;
		memcpy(batch.entry, &m->entries[done], n * sizeof(batch.entry[0]));

		int ret = ioctl(vcpu_fd, KVM_GET_MSRS, &batch);

		if (ret < 0)
			return -errno;
		memcpy(&m->entries[kept], batch.entry, (size_t)ret * sizeof(batch.entry[0]));
		kept += (uint32_t)ret;
		done += (uint32_t)ret + ((uint32_t)ret < n); /* over the one it refused */
	}
	m->nmsrs = kept;
	return 0;
}

static int load_msrs(int vcpu_fd, const struct kvm_msrs *m)
{
	for (uint32_t done = 0; done < m->nmsrs;) {
		struct msr_batch batch;
		uint32_t n = (uint32_t)min_u64(m->nmsrs - done, ARRAY_SIZE(batch.entry));

		memset(&batch, 0, sizeof(batch));
		batch.nmsrs = n;
		memcpy(batch.entry, &m->entries[done], n * sizeof(batch.entry[0]));

		int ret = ioctl(vcpu_fd, KVM_SET_MSRS, &batch);

		if (ret < 0)
			return -errno;
		/* Some can be read but not written back (read-only capabilities): step over. */
		done += (uint32_t)ret + ((uint32_t)ret < n);
	}
	return 0;
}

static int save_xsave(const struct kvm *kvm, int vcpu_fd, struct cpustate *s)
{
	int size = kvm_cap(kvm, KVM_CAP_XSAVE2);

	if (!kvm_cap(kvm, KVM_CAP_XSAVE))
		return 0;
	s->xsave = calloc(1, max_u64(size, sizeof(*s->xsave)));
	if (!s->xsave)
		return -ENOMEM;
	if (ioctl(vcpu_fd, size > (int)sizeof(*s->xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE,
		  s->xsave))
		return -errno;
	s->has_xsave = true;
	return 0;
}

int cpustate_save(const struct kvm *kvm, int vcpu_fd, struct cpustate *s)
{
	int ret;

	memset(s, 0, sizeof(*s));
	if (ioctl(vcpu_fd, KVM_GET_REGS, &s->regs) || ioctl(vcpu_fd, KVM_GET_SREGS, &s->sregs) ||
	    ioctl(vcpu_fd, KVM_GET_MP_STATE, &s->mp_state) ||
	    ioctl(vcpu_fd, KVM_GET_LAPIC, &s->lapic) ||
	    ioctl(vcpu_fd, KVM_GET_VCPU_EVENTS, &s->events))
		return -errno;
	if (kvm_cap(kvm, KVM_CAP_DEBUGREGS)) {
		if (ioctl(vcpu_fd, KVM_GET_DEBUGREGS, &s->debugregs))
			return -errno;
		s->has_debugregs = true;
	}
	if (kvm_cap(kvm, KVM_CAP_XCRS)) {
		if (ioctl(vcpu_fd, KVM_GET_XCRS, &s->xcrs))
			return -errno;
		s->has_xcrs = true;
	}
	ret = save_xsave(kvm, vcpu_fd, s);
	return ret ? ret : save_msrs(kvm, vcpu_fd, s);
}

/*
 * The order matters: the special registers carry the APIC base that the LAPIC's
 * state is read under, and the MSRs (kvm-clock among them) need the LAPIC.
 */
int cpustate_load(const struct kvm *kvm, int vcpu_fd, const struct cpustate *s)
{
	int ret;

	(void)kvm;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &s->sregs) || ioctl(vcpu_fd, KVM_SET_REGS, &s->regs))
		return -errno;
	if (s->has_xcrs && ioctl(vcpu_fd, KVM_SET_XCRS, &s->xcrs))
		return -errno;
	if (s->has_xsave && ioctl(vcpu_fd, KVM_SET_XSAVE, s->xsave))
		return -errno;
	if (s->has_debugregs && ioctl(vcpu_fd, KVM_SET_DEBUGREGS, &s->debugregs))
		return -errno;
	if (ioctl(vcpu_fd, KVM_SET_LAPIC, &s->lapic))
		return -errno;
	ret = load_msrs(vcpu_fd, s->msrs);
	if (ret)
		return ret;
	if (ioctl(vcpu_fd, KVM_SET_VCPU_EVENTS, &s->events) ||
	    ioctl(vcpu_fd, KVM_SET_MP_STATE, &s->mp_state))
		return -errno;
	return 0;
}

void cpustate_free(struct cpustate *s)
{
	free(s->xsave);
	free(s->msrs);
	s->xsave = NULL;
	s->msrs = NULL;
}
