/* SPDX-License-Identifier: MIT */
/*
 * A virtio driver for tests: does at ports, BARs and rings what a guest's driver
 * does (VIRTIO 1.2, 2.7, 2.8, 3.1, 4.1 and 4.2), one step a call, so that a test can leave
 * steps out or do them wrongly. Nothing here checks: tests do.
 */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "base/bus.h"
#include "base/mem.h"
#include "devices/virtio/virtq.h"

/* PCI configuration by mechanism 1; width 1, 2 or 4. */
uint32_t pci_cfg_in(struct bus *bus, unsigned devfn, unsigned reg, unsigned width);
void pci_cfg_out(struct bus *bus, unsigned devfn, unsigned reg, unsigned width, uint32_t v);
/* The first capability with this id after offset (0: from the start), or 0. */
unsigned pci_cap_find(struct bus *bus, unsigned devfn, uint8_t id, unsigned after);

/* Where a guest finds a structure of the device: which space and address. */
struct vdrv_window {
	enum bus_space space;
	uint64_t addr;
	uint32_t length;
	uint8_t bar;
};

enum vdrv_kind { VDRV_MODERN, VDRV_LEGACY, VDRV_MMIO };

#define VDRV_MAX_SIZE 64 /* of a packed ring */

struct vdrv {
	enum vdrv_kind kind;
	struct bus *bus;
	struct mem *mem;
	unsigned devfn;
	uint64_t features; /* as vdrv_start() has negotiated them */
	struct vdrv_window regs; /* the legacy interface's, virtio-mmio's */
	struct vdrv_window common, notify, isr, device;
	uint32_t notify_multiplier;
	unsigned msix_cap;
	struct vdrv_window msix_table, msix_pba;
};

/* One buffer of a request; the test puts the bytes at gpa. */
struct vdrv_seg {
	uint64_t gpa;
	uint32_t len;
	bool write; /* device-writable */
};

struct vdrv_queue {
	struct vdrv *d;
	unsigned index;
	uint16_t size;
	uint64_t desc, avail, used; /* gpas */
	uint16_t avail_idx; /* the next two: places, in a packed ring */
	uint16_t last_used;
	bool packed;
	uint16_t chain[VDRV_MAX_SIZE]; /* packed: how many descriptors an id has; 0: it is free */
	uint16_t next_desc; /* descriptors are taken in turn, never checked for being free */
	uint64_t doorbell;
	bool event_idx;
};

/* Finds the capabilities; the BARs must be assigned. False where one is missing. */
bool vdrv_probe(struct vdrv *d, struct bus *bus, struct mem *mem, unsigned devfn);
/* The same of the legacy interface in BAR 0, and of a device at an address. */
bool vdrv_probe_legacy(struct vdrv *d, struct bus *bus, struct mem *mem, unsigned devfn);
bool vdrv_probe_mmio(struct vdrv *d, struct bus *bus, struct mem *mem, uint64_t base);

/* A register of regs. */
uint32_t vdrv_reg_in(struct vdrv *d, unsigned reg, unsigned width);
void vdrv_reg_out(struct vdrv *d, unsigned reg, unsigned width, uint32_t v);

/* The modern interface's registers; what follows them works with every kind. */
uint32_t vdrv_common_in(struct vdrv *d, unsigned reg, unsigned width);
void vdrv_common_out(struct vdrv *d, unsigned reg, unsigned width, uint32_t v);
uint64_t vdrv_device_in(struct vdrv *d, unsigned reg, unsigned width);
uint8_t vdrv_status(struct vdrv *d);
void vdrv_set_status(struct vdrv *d, uint8_t status);
/* Reads why there was an interrupt, and acknowledges it. */
uint8_t vdrv_isr(struct vdrv *d);
uint64_t vdrv_features(struct vdrv *d);

/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK, bus mastering. True if they stuck. */
bool vdrv_start(struct vdrv *d, uint64_t features);

/* Bytes that a queue of this size takes at gpa in vdrv_queue_setup(). */
uint64_t vdrv_queue_bytes(uint16_t size);
/* Lays the ring out at gpa (zeroed, page-aligned), tells the device, enables it. */
void vdrv_queue_setup(struct vdrv *d, struct vdrv_queue *q, unsigned index, uint16_t size,
		      uint64_t gpa, bool event_idx);
/* Only the driver's side of it: an empty ring. */
void vdrv_queue_init(struct vdrv *d, struct vdrv_queue *q, uint16_t size, uint64_t gpa, bool packed,
		     bool event_idx);
void vdrv_driver_ok(struct vdrv *d);

/* MSI-X: fills in entry vec (addr, data), unmasked; enable turns the function's on. */
void vdrv_msix_entry(struct vdrv *d, unsigned vec, uint64_t addr, uint32_t data);
void vdrv_msix_enable(struct vdrv *d, bool on);

/* Writes one descriptor of a table. In a packed ring, next is the buffer id. */
void vdrv_desc(struct mem *mem, uint64_t table, unsigned i, uint64_t addr, uint32_t len,
	       uint16_t flags, uint16_t next);
/* Offers the chain that starts at descriptor head of a split ring; does not kick. */
void vdrv_offer(struct vdrv_queue *q, uint16_t head);
/* The flags by which a driver makes the next place of a packed ring available. */
uint16_t vdrv_avail_flags(const struct vdrv_queue *q);
/* Moves a place of a packed ring on by n descriptors. */
uint16_t vdrv_place_add(const struct vdrv_queue *q, uint16_t place, unsigned n);
/*
 * Chains segs (indirect: in a table that it writes at indirect, if not 0), offers it.
 * Returns its head, or in a packed ring its id.
 */
uint16_t vdrv_add(struct vdrv_queue *q, const struct vdrv_seg *segs, unsigned n, uint64_t indirect);
void vdrv_kick(struct vdrv_queue *q);
/* The device asks for a kick for what was offered since avail_idx was old_idx. */
bool vdrv_wants_kick(struct vdrv_queue *q, uint16_t old_idx);
/* Asks for an interrupt: never, always, or when the used ring passes a place or index. */
void vdrv_set_event(struct vdrv_queue *q, unsigned flags, uint16_t event);

/* The next used element, waiting at most ms milliseconds for it. */
bool vdrv_used(struct vdrv_queue *q, uint32_t *id, uint32_t *len, unsigned ms);

#endif
