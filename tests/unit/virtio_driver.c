/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio_driver.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/platform.h"
#include "devices/pci/pci_regs.h"
#include "devices/virtio/virtio.h"

#define PACKED_DESC sizeof(struct virtq_packed_desc)

static uint64_t space_in(struct bus *bus, enum bus_space space, uint64_t addr, unsigned width)
{
	uint64_t v = 0;

	bus_read(bus, space, addr, &v, width);
	return v;
}

static void space_out(struct bus *bus, enum bus_space space, uint64_t addr, unsigned width,
		      uint64_t v)
{
	bus_write(bus, space, addr, &v, width);
}

static void cfg_select(struct bus *bus, unsigned devfn, unsigned reg)
{
	space_out(bus, BUS_PIO, PLATFORM_PORT_PCI_ADDR, 4, 0x80000000u | devfn << 8 | (reg & 0xfc));
}

uint32_t pci_cfg_in(struct bus *bus, unsigned devfn, unsigned reg, unsigned width)
{
	cfg_select(bus, devfn, reg);
	return (uint32_t)space_in(bus, BUS_PIO, PLATFORM_PORT_PCI_DATA + (reg & 3), width);
}

void pci_cfg_out(struct bus *bus, unsigned devfn, unsigned reg, unsigned width, uint32_t v)
{
	cfg_select(bus, devfn, reg);
	space_out(bus, BUS_PIO, PLATFORM_PORT_PCI_DATA + (reg & 3), width, v);
}

unsigned pci_cap_find(struct bus *bus, unsigned devfn, uint8_t id, unsigned after)
{
	unsigned at = pci_cfg_in(bus, devfn, after ? after + 1 : PCI_CAPABILITY_LIST, 1);

	for (unsigned i = 0; at && i < 48; i++) {
		if (pci_cfg_in(bus, devfn, at, 1) == id)
			return at;
		at = pci_cfg_in(bus, devfn, at + 1, 1);
	}
	return 0;
}

/* A BAR's place plus offset. */
static struct vdrv_window window(struct vdrv *d, unsigned bar, uint32_t offset, uint32_t length)
{
	uint32_t v = pci_cfg_in(d->bus, d->devfn, PCI_BAR0 + bar * 4, 4);
	bool io = v & PCI_BAR_SPACE_IO;

	return (struct vdrv_window){ .space = io ? BUS_PIO : BUS_MMIO,
				     .addr = (v & (io ? ~3u : ~15u)) + offset,
				     .length = length,
				     .bar = (uint8_t)bar };
}

static void probe_cap(struct vdrv *d, unsigned cap)
{
	unsigned type = pci_cfg_in(d->bus, d->devfn, cap + 3, 1);
	unsigned bar = pci_cfg_in(d->bus, d->devfn, cap + 4, 1);
	uint32_t offset = pci_cfg_in(d->bus, d->devfn, cap + 8, 4);
	uint32_t length = pci_cfg_in(d->bus, d->devfn, cap + 12, 4);
	struct vdrv_window *w[] = { NULL, &d->common, &d->notify, &d->isr, &d->device };

	if (type == 0 || type >= ARRAY_SIZE(w))
		return;
	*w[type] = window(d, bar, offset, length);
	if (type == 2)
		d->notify_multiplier = pci_cfg_in(d->bus, d->devfn, cap + 16, 4);
}

bool vdrv_probe(struct vdrv *d, struct bus *bus, struct mem *mem, unsigned devfn)
{
	unsigned cap = 0;

	*d = (struct vdrv){ .bus = bus, .mem = mem, .devfn = devfn };
	while ((cap = pci_cap_find(bus, devfn, PCI_CAP_VENDOR, cap)))
		probe_cap(d, cap);
	d->msix_cap = pci_cap_find(bus, devfn, PCI_CAP_MSIX, 0);
	if (d->msix_cap) {
		uint32_t t = pci_cfg_in(bus, devfn, d->msix_cap + PCI_MSIX_TABLE, 4);
		uint32_t p = pci_cfg_in(bus, devfn, d->msix_cap + PCI_MSIX_PBA, 4);

		d->msix_table = window(d, t & 7, t & ~7u, 0);
		d->msix_pba = window(d, p & 7, p & ~7u, 0);
	}
	return d->common.length && d->notify.length && d->isr.length;
}

bool vdrv_probe_legacy(struct vdrv *d, struct bus *bus, struct mem *mem, unsigned devfn)
{
	*d = (struct vdrv){ .kind = VDRV_LEGACY, .bus = bus, .mem = mem, .devfn = devfn };
	d->regs = window(d, 0, 0, 0x80);
	return d->regs.space == BUS_PIO && d->regs.addr;
}

bool vdrv_probe_mmio(struct vdrv *d, struct bus *bus, struct mem *mem, uint64_t base)
{
	*d = (struct vdrv){ .kind = VDRV_MMIO, .bus = bus, .mem = mem };
	d->regs = (struct vdrv_window){ .space = BUS_MMIO, .addr = base, .length = 0x200 };
	return vdrv_reg_in(d, 0, 4) == 0x74726976 && vdrv_reg_in(d, 4, 4) == 2;
}

uint32_t vdrv_reg_in(struct vdrv *d, unsigned reg, unsigned width)
{
	return (uint32_t)space_in(d->bus, d->regs.space, d->regs.addr + reg, width);
}

void vdrv_reg_out(struct vdrv *d, unsigned reg, unsigned width, uint32_t v)
{
	space_out(d->bus, d->regs.space, d->regs.addr + reg, width, v);
}

uint32_t vdrv_common_in(struct vdrv *d, unsigned reg, unsigned width)
{
	return (uint32_t)space_in(d->bus, d->common.space, d->common.addr + reg, width);
}

void vdrv_common_out(struct vdrv *d, unsigned reg, unsigned width, uint32_t v)
{
	space_out(d->bus, d->common.space, d->common.addr + reg, width, v);
}

uint64_t vdrv_device_in(struct vdrv *d, unsigned reg, unsigned width)
{
	if (d->kind == VDRV_MMIO)
		return vdrv_reg_in(d, 0x100 + reg, width);
	/* A legacy driver of these tests leaves MSI-X off. */
	if (d->kind == VDRV_LEGACY)
		return vdrv_reg_in(d, 0x14 + reg, width);
	return space_in(d->bus, d->device.space, d->device.addr + reg, width);
}

uint8_t vdrv_status(struct vdrv *d)
{
	if (d->kind == VDRV_MMIO)
		return (uint8_t)vdrv_reg_in(d, 0x70, 4);
	if (d->kind == VDRV_LEGACY)
		return (uint8_t)vdrv_reg_in(d, 0x12, 1);
	return (uint8_t)vdrv_common_in(d, 0x14, 1);
}

void vdrv_set_status(struct vdrv *d, uint8_t status)
{
	if (d->kind == VDRV_MMIO)
		vdrv_reg_out(d, 0x70, 4, status);
	else if (d->kind == VDRV_LEGACY)
		vdrv_reg_out(d, 0x12, 1, status);
	else
		vdrv_common_out(d, 0x14, 1, status);
}

uint8_t vdrv_isr(struct vdrv *d)
{
	uint8_t isr;

	if (d->kind == VDRV_LEGACY)
		return (uint8_t)vdrv_reg_in(d, 0x13, 1);
	if (d->kind == VDRV_MODERN)
		return (uint8_t)space_in(d->bus, d->isr.space, d->isr.addr, 1);
	isr = (uint8_t)vdrv_reg_in(d, 0x60, 4);
	vdrv_reg_out(d, 0x64, 4, isr);
	return isr;
}

/* A word of what the device offers, or of what the driver takes. */
static uint32_t feature_in(struct vdrv *d, unsigned word)
{
	if (d->kind == VDRV_LEGACY)
		return word ? 0 : vdrv_reg_in(d, 0, 4);
	if (d->kind == VDRV_MMIO) {
		vdrv_reg_out(d, 0x14, 4, word);
		return vdrv_reg_in(d, 0x10, 4);
	}
	vdrv_common_out(d, 0x00, 4, word);
	return vdrv_common_in(d, 0x04, 4);
}

static void feature_out(struct vdrv *d, unsigned word, uint32_t v)
{
	if (d->kind == VDRV_LEGACY) {
		if (!word)
			vdrv_reg_out(d, 4, 4, v);
	} else if (d->kind == VDRV_MMIO) {
		vdrv_reg_out(d, 0x24, 4, word);
		vdrv_reg_out(d, 0x20, 4, v);
	} else {
		vdrv_common_out(d, 0x08, 4, word);
		vdrv_common_out(d, 0x0c, 4, v);
	}
}

uint64_t vdrv_features(struct vdrv *d)
{
	return feature_in(d, 0) | (uint64_t)feature_in(d, 1) << 32;
}

bool vdrv_start(struct vdrv *d, uint64_t features)
{
	if (d->kind != VDRV_MMIO) {
		uint32_t command = pci_cfg_in(d->bus, d->devfn, PCI_COMMAND, 2);

		pci_cfg_out(d->bus, d->devfn, PCI_COMMAND, 2, command | PCI_COMMAND_MASTER);
	}
	vdrv_set_status(d, 0);
	vdrv_set_status(d, VIRTIO_STATUS_ACKNOWLEDGE);
	vdrv_set_status(d, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	feature_out(d, 0, (uint32_t)features);
	feature_out(d, 1, (uint32_t)(features >> 32));
	d->features = features;
	if (d->kind == VDRV_LEGACY)
		return true;
	vdrv_set_status(d, vdrv_status(d) | VIRTIO_STATUS_FEATURES_OK);
	return vdrv_status(d) & VIRTIO_STATUS_FEATURES_OK;
}

static uint64_t avail_at(uint16_t size)
{
	return 16ull * size;
}

/* On the next page, as a legacy driver has to place it (2.7.2). */
static uint64_t used_at(uint16_t size)
{
	return align_up(avail_at(size) + 6 + 2ull * size, PAGE_SIZE_4K);
}

uint64_t vdrv_queue_bytes(uint16_t size)
{
	return align_up(used_at(size) + 6 + 8ull * size, PAGE_SIZE_4K);
}

void vdrv_queue_init(struct vdrv *d, struct vdrv_queue *q, uint16_t size, uint64_t gpa, bool packed,
		     bool event_idx)
{
	void *ring = mem_at(d->mem, gpa, vdrv_queue_bytes(size));

	if (ring)
		memset(ring, 0, vdrv_queue_bytes(size));
	*q = (struct vdrv_queue){
		.d = d,
		.size = size,
		.desc = gpa,
		.avail = align_up(gpa + avail_at(size), 4),
		.used = gpa + used_at(size),
		.avail_idx = virtq_start_position(packed),
		.last_used = virtq_start_position(packed),
		.packed = packed,
		.event_idx = event_idx,
	};
}

static void common_out64(struct vdrv *d, unsigned reg, uint64_t v)
{
	vdrv_common_out(d, reg, 4, (uint32_t)v);
	vdrv_common_out(d, reg + 4, 4, (uint32_t)(v >> 32));
}

static void modern_queue(struct vdrv *d, struct vdrv_queue *q)
{
	vdrv_common_out(d, 0x16, 2, q->index);
	vdrv_common_out(d, 0x18, 2, q->size);
	vdrv_common_out(d, 0x1a, 2, d->msix_cap ? q->index + 1 : 0xffff);
	common_out64(d, 0x20, q->desc);
	common_out64(d, 0x28, q->avail);
	common_out64(d, 0x30, q->used);
	q->doorbell = d->notify.addr + vdrv_common_in(d, 0x1e, 2) * d->notify_multiplier;
	vdrv_common_out(d, 0x1c, 2, 1);
}

static void mmio_out64(struct vdrv *d, unsigned reg, uint64_t v)
{
	vdrv_reg_out(d, reg, 4, (uint32_t)v);
	vdrv_reg_out(d, reg + 4, 4, (uint32_t)(v >> 32));
}

static void mmio_queue(struct vdrv *d, struct vdrv_queue *q)
{
	vdrv_reg_out(d, 0x30, 4, q->index);
	vdrv_reg_out(d, 0x38, 4, q->size);
	mmio_out64(d, 0x80, q->desc);
	mmio_out64(d, 0x90, q->avail);
	mmio_out64(d, 0xa0, q->used);
	q->doorbell = d->regs.addr + 0x50;
	vdrv_reg_out(d, 0x44, 4, 1);
}

void vdrv_queue_setup(struct vdrv *d, struct vdrv_queue *q, unsigned index, uint16_t size,
		      uint64_t gpa, bool event_idx)
{
	vdrv_queue_init(d, q, size, gpa, d->features & VIRTIO_F_RING_PACKED, event_idx);
	q->index = index;
	if (d->kind == VDRV_MODERN) {
		modern_queue(d, q);
	} else if (d->kind == VDRV_MMIO) {
		mmio_queue(d, q);
	} else {
		/* Its size is the device's to say. */
		vdrv_reg_out(d, 0x0e, 2, index);
		q->doorbell = d->regs.addr + 0x10;
		vdrv_reg_out(d, 0x08, 4, (uint32_t)(gpa / PAGE_SIZE_4K));
	}
}

void vdrv_driver_ok(struct vdrv *d)
{
	vdrv_set_status(d, vdrv_status(d) | VIRTIO_STATUS_DRIVER_OK);
}

void vdrv_msix_entry(struct vdrv *d, unsigned vec, uint64_t addr, uint32_t data)
{
	uint64_t at = d->msix_table.addr + vec * 16;

	space_out(d->bus, d->msix_table.space, at, 4, (uint32_t)addr);
	space_out(d->bus, d->msix_table.space, at + 4, 4, addr >> 32);
	space_out(d->bus, d->msix_table.space, at + 8, 4, data);
	space_out(d->bus, d->msix_table.space, at + 12, 4, 0);
}

void vdrv_msix_enable(struct vdrv *d, bool on)
{
	pci_cfg_out(d->bus, d->devfn, d->msix_cap + PCI_MSIX_CONTROL, 2,
		    on ? PCI_MSIX_CONTROL_ENABLE : 0);
}

void vdrv_desc(struct mem *mem, uint64_t table, unsigned i, uint64_t addr, uint32_t len,
	       uint16_t flags, uint16_t next)
{
	struct virtq_desc d = { addr, len, flags, next };

	(void)!mem_write(mem, table + i * sizeof(d), &d, sizeof(d));
}

static uint16_t *ring16(struct vdrv_queue *q, uint64_t gpa)
{
	return mem_at(q->d->mem, gpa, 2);
}

void vdrv_offer(struct vdrv_queue *q, uint16_t head)
{
	*ring16(q, q->avail + 4 + 2 * (q->avail_idx % q->size)) = head;
	q->avail_idx++;
	__atomic_store_n(ring16(q, q->avail + 2), q->avail_idx, __ATOMIC_RELEASE);
}

uint16_t vdrv_avail_flags(const struct vdrv_queue *q)
{
	return q->avail_idx & VIRTQ_WRAP ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
}

uint16_t vdrv_place_add(const struct vdrv_queue *q, uint16_t place, unsigned n)
{
	unsigned index = (place & (VIRTQ_WRAP - 1u)) + n;
	bool round = index >= q->size;

	return (uint16_t)((index - (round ? q->size : 0)) |
			  ((place & VIRTQ_WRAP) ^ (round ? VIRTQ_WRAP : 0)));
}

/* All of it but its flags. */
static void packed_desc(struct vdrv_queue *q, uint64_t gpa, const struct vdrv_seg *seg, uint16_t id)
{
	const struct virtq_packed_desc d = { seg->gpa, seg->len, id, 0 };

	(void)!mem_write(q->d->mem, gpa, &d, offsetof(struct virtq_packed_desc, flags));
}

static void packed_flags(struct vdrv_queue *q, uint64_t gpa, uint16_t flags)
{
	gpa += offsetof(struct virtq_packed_desc, flags);
	__atomic_store_n(ring16(q, gpa), flags, __ATOMIC_RELEASE);
}

/* The first descriptor's flags are written last, when all behind it is there. */
static uint16_t packed_add(struct vdrv_queue *q, const struct vdrv_seg *segs, unsigned n,
			   uint64_t indirect)
{
	const struct vdrv_seg table = { indirect, n * 16, false };
	unsigned first = q->avail_idx & (VIRTQ_WRAP - 1), places = indirect ? 1 : n;
	uint16_t id = 0, first_flags = 0;

	while (id + 1 < VDRV_MAX_SIZE && q->chain[id])
		id++;
	q->chain[id] = (uint16_t)places;
	for (unsigned i = 0; i < n && indirect; i++) {
		packed_desc(q, indirect + i * PACKED_DESC, &segs[i], 0);
		packed_flags(q, indirect + i * PACKED_DESC, segs[i].write ? VIRTQ_DESC_F_WRITE : 0);
	}
	for (unsigned i = 0; i < places; i++) {
		const struct vdrv_seg *seg = indirect ? &table : &segs[i];
		uint64_t gpa = q->desc + (q->avail_idx & (VIRTQ_WRAP - 1)) * PACKED_DESC;
		uint16_t flags = vdrv_avail_flags(q);

		flags |= indirect ? VIRTQ_DESC_F_INDIRECT : 0;
		flags |= seg->write ? VIRTQ_DESC_F_WRITE : 0;
		flags |= i + 1 < places ? VIRTQ_DESC_F_NEXT : 0;
		packed_desc(q, gpa, seg, id);
		if (i)
			packed_flags(q, gpa, flags);
		else
			first_flags = flags;
		q->avail_idx = vdrv_place_add(q, q->avail_idx, 1);
	}
	packed_flags(q, q->desc + first * PACKED_DESC, first_flags);
	return id;
}

static uint16_t split_add(struct vdrv_queue *q, const struct vdrv_seg *segs, unsigned n,
			  uint64_t indirect)
{
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = (segs[i].write ? VIRTQ_DESC_F_WRITE : 0) |
				 (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0);
		uint16_t at = indirect ? (uint16_t)i : q->next_desc;
		uint16_t next = indirect ? (uint16_t)(i + 1) : (uint16_t)((at + 1) % q->size);

		vdrv_desc(q->d->mem, indirect ? indirect : q->desc, at, segs[i].gpa, segs[i].len,
			  flags, next);
		if (!indirect)
			q->next_desc = next;
	}
	if (indirect) {
		vdrv_desc(q->d->mem, q->desc, head, indirect, n * 16, VIRTQ_DESC_F_INDIRECT, 0);
		q->next_desc = (uint16_t)((head + 1) % q->size);
	}
	vdrv_offer(q, head);
	return head;
}

uint16_t vdrv_add(struct vdrv_queue *q, const struct vdrv_seg *segs, unsigned n, uint64_t indirect)
{
	return q->packed ? packed_add(q, segs, n, indirect) : split_add(q, segs, n, indirect);
}

void vdrv_kick(struct vdrv_queue *q)
{
	struct vdrv *d = q->d;

	if (d->kind == VDRV_MODERN)
		space_out(d->bus, d->notify.space, q->doorbell, 2, q->index);
	else
		space_out(d->bus, d->regs.space, q->doorbell, d->kind == VDRV_MMIO ? 4 : 2,
			  q->index);
}

/* A place's distance from the start of a round in which the wrap counter is 1. */
static unsigned place_linear(const struct vdrv_queue *q, uint16_t place)
{
	return (place & (VIRTQ_WRAP - 1u)) + (place & VIRTQ_WRAP ? 0 : q->size);
}

static bool packed_wants_kick(struct vdrv_queue *q, uint16_t old)
{
	uint16_t event = __atomic_load_n(ring16(q, q->used), __ATOMIC_RELAXED);
	uint16_t flags = __atomic_load_n(ring16(q, q->used + 2), __ATOMIC_RELAXED);
	unsigned round = 2u * q->size, from = place_linear(q, old);

	if (flags != VIRTQ_EVENT_DESC)
		return flags == VIRTQ_EVENT_ENABLE;
	return (place_linear(q, event) + round - from) % round <
	       (place_linear(q, q->avail_idx) + round - from) % round;
}

bool vdrv_wants_kick(struct vdrv_queue *q, uint16_t old_idx)
{
	uint16_t event;

	atomic_thread_fence(memory_order_seq_cst);
	if (q->packed)
		return packed_wants_kick(q, old_idx);
	if (!q->event_idx)
		return !(__atomic_load_n(ring16(q, q->used), __ATOMIC_RELAXED) &
			 VIRTQ_USED_F_NO_NOTIFY);
	event = __atomic_load_n(ring16(q, q->used + 4 + 8 * q->size), __ATOMIC_RELAXED);
	return (uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - old_idx);
}

void vdrv_set_event(struct vdrv_queue *q, unsigned flags, uint16_t event)
{
	if (q->packed) {
		*ring16(q, q->avail) = event;
		*ring16(q, q->avail + 2) = (uint16_t)flags;
	} else if (q->event_idx) {
		*ring16(q, q->avail + 4 + 2 * q->size) = event;
	} else {
		*ring16(q, q->avail) =
			flags == VIRTQ_EVENT_DISABLE ? VIRTQ_AVAIL_F_NO_INTERRUPT : 0;
	}
}

static bool split_used(struct vdrv_queue *q, uint32_t *id, uint32_t *len)
{
	uint64_t elem = q->used + 4 + 8 * (q->last_used % q->size);
	uint32_t v[2];

	if (__atomic_load_n(ring16(q, q->used + 2), __ATOMIC_ACQUIRE) == q->last_used)
		return false;
	(void)!mem_read(q->d->mem, elem, v, sizeof(v));
	*id = v[0];
	*len = v[1];
	q->last_used++;
	return true;
}

static bool packed_used(struct vdrv_queue *q, uint32_t *id, uint32_t *len)
{
	uint64_t at = q->desc + (q->last_used & (VIRTQ_WRAP - 1)) * 16ull;
	uint16_t flags = __atomic_load_n(ring16(q, at + 14), __ATOMIC_ACQUIRE);
	bool wrap = q->last_used & VIRTQ_WRAP;
	struct virtq_packed_desc d;

	if (!!(flags & VIRTQ_DESC_F_AVAIL) != wrap || !!(flags & VIRTQ_DESC_F_USED) != wrap)
		return false;
	(void)!mem_read(q->d->mem, at, &d, sizeof(d));
	*id = d.id;
	*len = d.len;
	if (d.id < VDRV_MAX_SIZE) {
		q->last_used = vdrv_place_add(q, q->last_used, q->chain[d.id]);
		q->chain[d.id] = 0;
	}
	return true;
}

bool vdrv_used(struct vdrv_queue *q, uint32_t *id, uint32_t *len, unsigned ms)
{
	struct timespec nap = { 0, 50000 };

	for (unsigned i = 0; i <= ms * 20; i++) {
		if (q->packed ? packed_used(q, id, len) : split_used(q, id, len))
			return true;
		if (ms)
			nanosleep(&nap, NULL);
	}
	return false;
}
