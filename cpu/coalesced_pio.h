/* SPDX-License-Identifier: MIT */
/*
 * Posted writes by KVM's means (KVM_CAP_COALESCED_PIO; api.rst 4.116): the kernel puts writes to
 * registered ports into a ring that all vCPUs share, and lets the guest run on. The bus says
 * which ports those are, and asks for the ring to be emptied before anything that could tell
 * (base/bus.h).
 *
 * The kernel writes at last, we take at first, in the order in which the guest wrote. first moves
 * on only when a write has taken effect: a ring that looks empty has none in anybody's hands.
 */
#ifndef CPU_COALESCED_PIO_H
#define CPU_COALESCED_PIO_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/bus.h"

struct coalesced_pio {
	int vm_fd;
	struct bus *bus;
	struct kvm_coalesced_mmio_ring *ring; /* in a vCPU's shared area; NULL: off */
	unsigned size; /* of the ring */
	pthread_mutex_t lock; /* guards the taking; outside of every device's lock */
};

struct kvm;
struct vcpu;

/*
 * Finds the ring, for accel's post() and sync(); the vCPU, any of the machine's, outlives it.
 * 0, or -EOPNOTSUPP where this KVM has none.
 */
int coalesced_pio_init(struct coalesced_pio *c, const struct kvm *kvm, const struct vcpu *vcpu,
		       struct bus *bus) __must_check;
/* Harmless on a zeroed struct. */
void coalesced_pio_destroy(struct coalesced_pio *c);

/* bus_accel's post and sync. */
void coalesced_pio_post(struct coalesced_pio *c, uint64_t port, uint64_t len, bool add);
void coalesced_pio_sync(struct coalesced_pio *c);

#endif
