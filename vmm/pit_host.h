/* SPDX-License-Identifier: MIT */
/*
 * What the PIT in user space hangs on: a thread of its own with a clock, so that a tick waits for
 * no console and no report, and GSI 0 of KVM's interrupt controllers.
 *
 * Edges go there by KVM_IRQ_LINE_STATUS and not by an irqfd: a write to an irqfd does not tell
 * whether a controller has taken the edge, and without that a masked line, or an edge that becomes
 * one with the one before, is indistinguishable from a tick that the guest gets. It costs two
 * system calls for each tick instead of one. What the guest acknowledges comes back by an irqfd,
 * the resample eventfd's.
 */
#ifndef VMM_PIT_HOST_H
#define VMM_PIT_HOST_H

#include "base/loop.h"
#include "cpu/kvm.h"
#include "devices/pit/pit.h"

struct pit_host {
	struct kvm *kvm;
	struct iothread io;
	struct host_clock clock;
	bool has_clock;
	struct loop_src ack; /* fd -1: this KVM does not tell of EOIs */
	uint32_t ack_events; /* waited for; guarded by the device's lock */
	struct device *dev;
};

/* Starts the thread and creates the device. pit_host_destroy() in any case. 0 or -errno. */
int pit_host_create(struct pit_host *h, struct kvm *kvm, struct bus *bus,
		    const struct pit_policy *policy, struct device **out) __must_check;

/* Stops the thread: before the device goes. Harmless on a zeroed struct, or again. */
void pit_host_stop(struct pit_host *h);
/* After it. */
void pit_host_destroy(struct pit_host *h);

#endif
