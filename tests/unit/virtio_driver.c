/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio_driver.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/platform.h"
#include "devices/pci/pci_regs.h"
#include "devices/virtio/virtio.h"

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
	return space_in(d->bus, d->device.space, d->device.addr + reg, width);
}

uint8_t vdrv_status(struct vdrv *d)
{
	return (uint8_t)vdrv_common_in(d, 0x14, 1);
}

void vdrv_set_status(struct vdrv *d, uint8_t status)
{
	vdrv_common_out(d, 0x14, 1, status);
}

uint8_t vdrv_isr(struct vdrv *d)
{
	return (uint8_t)space_in(d->bus, d->isr.space, d->isr.addr, 1);
}

uint64_t vdrv_features(struct vdrv *d)
{
	uint64_t v;

	vdrv_common_out(d, 0x00, 4, 0);
	v = vdrv_common_in(d, 0x04, 4);
	vdrv_common_out(d, 0x00, 4, 1);
	return v | (uint64_t)vdrv_common_in(d, 0x04, 4) << 32;
}

bool vdrv_start(struct vdrv *d, uint64_t features)
{
	uint32_t command = pci_cfg_in(d->bus, d->devfn, PCI_COMMAND, 2);

	pci_cfg_out(d->bus, d->devfn, PCI_COMMAND, 2, command | PCI_COMMAND_MASTER);
	vdrv_set_status(d, 0);
	vdrv_set_status(d, VIRTIO_STATUS_ACKNOWLEDGE);
	vdrv_set_status(d, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	vdrv_common_out(d, 0x08, 4, 0);
	vdrv_common_out(d, 0x0c, 4, (uint32_t)features);
	vdrv_common_out(d, 0x08, 4, 1);
	vdrv_common_out(d, 0x0c, 4, (uint32_t)(features >> 32));
	vdrv_set_status(d, vdrv_status(d) | VIRTIO_STATUS_FEATURES_OK);
	return vdrv_status(d) & VIRTIO_STATUS_FEATURES_OK;
}

static uint64_t avail_at(uint16_t size)
{
	return 16ull * size;
}

static uint64_t used_at(uint16_t size)
{
	return align_up(avail_at(size) + 6 + 2ull * size, 4);
}

uint64_t vdrv_queue_bytes(uint16_t size)
{
	return align_up(used_at(size) + 6 + 8ull * size, PAGE_SIZE_4K);
}

static void out64(struct vdrv *d, unsigned reg, uint64_t v)
{
	vdrv_common_out(d, reg, 4, (uint32_t)v);
	vdrv_common_out(d, reg + 4, 4, (uint32_t)(v >> 32));
}

void vdrv_queue_setup(struct vdrv *d, struct vdrv_queue *q, unsigned index, uint16_t size,
		      uint64_t gpa, bool event_idx)
{
	void *ring = mem_at(d->mem, gpa, vdrv_queue_bytes(size));

	if (ring)
		memset(ring, 0, vdrv_queue_bytes(size));
	*q = (struct vdrv_queue){
		.d = d,
		.index = index,
		.size = size,
		.desc = gpa,
		.avail = gpa + avail_at(size),
		.used = gpa + used_at(size),
		.event_idx = event_idx,
	};
	vdrv_common_out(d, 0x16, 2, index);
	vdrv_common_out(d, 0x18, 2, size);
	vdrv_common_out(d, 0x1a, 2, d->msix_cap ? index + 1 : 0xffff);
	out64(d, 0x20, q->desc);
	out64(d, 0x28, q->avail);
	out64(d, 0x30, q->used);
	q->doorbell = d->notify.addr + vdrv_common_in(d, 0x1e, 2) * d->notify_multiplier;
	vdrv_common_out(d, 0x1c, 2, 1);
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

uint16_t vdrv_add(struct vdrv_queue *q, const struct vdrv_seg *segs, unsigned n, uint64_t indirect)
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

void vdrv_kick(struct vdrv_queue *q)
{
	space_out(q->d->bus, q->d->notify.space, q->doorbell, 2, q->index);
}

bool vdrv_wants_kick(struct vdrv_queue *q, uint16_t old_idx)
{
	uint16_t event;

	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !(__atomic_load_n(ring16(q, q->used), __ATOMIC_RELAXED) &
			 VIRTQ_USED_F_NO_NOTIFY);
	event = __atomic_load_n(ring16(q, q->used + 4 + 8 * q->size), __ATOMIC_RELAXED);
	return (uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - old_idx);
}

bool vdrv_used(struct vdrv_queue *q, uint32_t *id, uint32_t *len, unsigned ms)
{
	uint64_t elem = q->used + 4 + 8 * (q->last_used % q->size);
	struct timespec nap = { 0, 50000 };
	uint32_t v[2];

	for (unsigned i = 0; i <= ms * 20; i++) {
		if (__atomic_load_n(ring16(q, q->used + 2), __ATOMIC_ACQUIRE) != q->last_used) {
			(void)!mem_read(q->d->mem, elem, v, sizeof(v));
			*id = v[0];
			*len = v[1];
			q->last_used++;
			return true;
		}
		if (ms)
			nanosleep(&nap, NULL);
	}
	return false;
}
