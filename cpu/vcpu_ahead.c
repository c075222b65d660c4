/* SPDX-License-Identifier: MIT */
/*
 * What a look ahead needs of KVM. An exit for a port access is not over when it has been handled:
 * KVM completes the instruction when it is entered again (api.rst, 5, KVM_EXIT_IO). So it is,
 * but with immediate_exit, which completes it and does not go on to the guest: then the
 * registers are those behind the access, and may be changed.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "cpu/vcpu.h"

#define NEEDED (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS)
#define DR7_ENABLED 0xff /* any breakpoint */

bool vcpu_can_look_ahead(const struct kvm *kvm)
{
	return (kvm_cap(kvm, KVM_CAP_SYNC_REGS) & NEEDED) == NEEDED &&
	       kvm_cap(kvm, KVM_CAP_DEBUGREGS);
}

/* Completes the access under way. 0: in vain, there is an exit; -EINTR: it is complete. */
static int complete(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int ret;

	run->kvm_valid_regs = NEEDED;
	__atomic_store_n(&run->immediate_exit, 1, __ATOMIC_RELEASE);
	ret = ioctl(vcpu->fd, KVM_RUN, 0) ? -errno : 0;
	/* Whoever wants the vCPU to stop has set it as well, before or after this. */
	pthread_mutex_lock(&vcpu->lock);
	__atomic_store_n(&run->immediate_exit, vcpu->goal != VCPU_RUN, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&vcpu->lock);
	return ret;
}

/* Something is to happen before the next instruction, or at each. */
static bool is_pending(const struct vcpu *vcpu)
{
	const struct kvm_vcpu_events *e = &vcpu->run->s.regs.events;
	struct kvm_debugregs debug;

	if (vcpu->run->flags || e->exception.injected || e->exception.pending ||
	    e->interrupt.injected || e->interrupt.shadow || e->nmi.injected || e->nmi.pending ||
	    e->smi.smm || e->smi.pending)
		return true;
	return ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug) || debug.dr7 & DR7_ENABLED;
}

bool vcpu_look_ahead(struct vcpu *vcpu, uint64_t ticks, uint64_t interrupts)
{
	struct kvm_sync_regs *s = &vcpu->run->s.regs;
	uint64_t rip = vcpu->run->kvm_valid_regs & KVM_SYNC_X86_REGS ? s->regs.rip : 0;
	const struct ahead_port port = { vcpu->run->io.port,
					 vcpu->run->io.direction == KVM_EXIT_IO_OUT };
	struct lookahead *la = vcpu->ahead;
	uint64_t began;
	int ret;

	if (!lookahead_exit(la, rip, port, ticks))
		return false;
	began = ticks_now();
	ret = complete(vcpu);
	if (ret != -EINTR || is_pending(vcpu))
		lookahead_give_up(la, began);
	else if (lookahead_run(la, &s->regs, &s->sregs, interrupts, began))
		vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	return !ret;
}
