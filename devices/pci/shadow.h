/* SPDX-License-Identifier: MIT */
/*
 * Shadow RAM: what the CPUs find from 0xc0000 to 1 MiB, segment by segment, as the host
 * bridge's PAM registers say (devices/pci/pam.h). RAM where they send an access to it; else
 * the bus, which has the last 128 KiB of the firmware's image from 0xe0000 on (of a smaller
 * image: what there is, up to 1 MiB), read-only, and nothing below: ones, and writes are lost.
 *
 * The CPUs are told by memory slots: a segment is RAM, read-only bytes, or has none. What
 * a slot does not take comes to the bus as an access to memory, and this device answers
 * it: a write to a read-only segment, every access where there is no slot, and what another
 * CPU does in the moment in which a slot is exchanged. So data accesses are always answered
 * as the registers say. An instruction cannot be fetched from a device: a guest that runs in
 * a segment on one CPU and changes it on another may crash.
 *
 * Only the CPUs see this. mem_at() and mem_read(), so DMA too, find the RAM there whatever
 * the registers say: the regions of struct mem never change while a guest runs.
 *
 * There is no state of its own: the registers are the host bridge's, which tells all when
 * they are loaded or reset. Locks: the PCI host's, then this device's.
 */
#ifndef DEVICES_PCI_SHADOW_H
#define DEVICES_PCI_SHADOW_H

#include "base/bus.h"
#include "base/device.h"
#include "base/mem.h"

/* The memory slots of the segments; under KVM cpu/kvm.h has them. */
struct shadow_slots {
	/*
	 * From now on the CPUs find size bytes at hva at gpa (a segment's), or nothing: NULL.
	 * Whatever they found there before, they do no longer, also for a moment before this
	 * returns. 0 or -errno: then they find what they did before, or nothing. Never two
	 * calls at once.
	 */
	int (*set)(void *ctx, uint64_t gpa, uint64_t size, const void *hva, bool readonly);
	void *ctx;
};

struct shadow_config {
	const char *name; /* "shadow" */
	struct bus *bus;
	struct mem *mem; /* with the image as a ROM that ends at PLATFORM_ROM_END */
	struct shadow_slots slots;
};

/* With all segments off, as at power-on. Before the PCI host, which tells it. 0 or -errno. */
int shadow_create(const struct shadow_config *cfg, struct device **out) __must_check;

/* For struct pam; dev is the device. Any thread. */
void shadow_set(void *dev, unsigned segment, bool read, bool write);

#endif
