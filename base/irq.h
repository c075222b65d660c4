/* SPDX-License-Identifier: MIT */
/*
 * Interrupts as values: a device holds a struct irq (a line) or struct msi (a
 * message) that the board gave it, and never knows a number or a chip. Tests pass
 * fakes. All calls are safe from any thread, with the device's lock held.
 */
#ifndef BASE_IRQ_H
#define BASE_IRQ_H

#include "base/util.h"

/* A line. An all-zero struct is a line that leads nowhere. */
struct irq {
	void (*set)(void *ctx, unsigned line, bool level);
	void *ctx;
	unsigned line;
};

static inline void irq_set(const struct irq *irq, bool level)
{
	if (irq->set)
		irq->set(irq->ctx, irq->line, level);
}

/* An edge: up and down again. */
static inline void irq_pulse(const struct irq *irq)
{
	irq_set(irq, true);
	irq_set(irq, false);
}

/*
 * Messages (MSI, MSI-X). A vector is signalled through its eventfd, from any
 * thread; the controller has bound that eventfd to the message (irqfd), so under
 * KVM signalling costs one write(2) and no exit. A signal to a masked vector stays
 * pending in the eventfd until it is unmasked: that is the MSI-X pending bit.
 */
struct msi_ctl;

struct msi_ctl_ops {
	/* A vector of its own, masked, with an eventfd. Returns an id >= 0 or -errno. */
	int (*alloc)(struct msi_ctl *ctl, int *fd);
	void (*free)(struct msi_ctl *ctl, int id);
	/* The message it sends from now on, and whether it may. 0 or -errno. */
	int (*set)(struct msi_ctl *ctl, int id, uint64_t addr, uint32_t data, bool masked);
};

struct msi_ctl {
	const struct msi_ctl_ops *ops;
};

#endif
