/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/vblk.h"

#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3
#define CAP_DEVICE 4

#define STATUS_READY 0x0f /* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK */

static struct vblk_rings vblk_rings;

bool vblk_find(struct vblk *b)
{
	unsigned devfn = pci_find(VBLK_VENDOR, VBLK_DEVICE);

	*b = (struct vblk){ .devfn = devfn };
	if (devfn == PCI_NONE)
		return false;
	for (unsigned cap = 0; (cap = pci_cap(devfn, PCI_CAP_VENDOR, cap));) {
		unsigned bar = pci_read(devfn, cap + 4, 1);
		uint64_t at;

		if (bar > 5)
			continue; /* the window through configuration space has none */
		at = pci_bar(devfn, bar) + pci_read(devfn, cap + 8, 4);
		switch (pci_read(devfn, cap + 3, 1)) {
		case CAP_COMMON:
			b->common = (uintptr_t)at;
			break;
		case CAP_NOTIFY:
			b->notify = at; /* queue 0's offset is times the multiplier: 0 */
			b->notify_io = pci_bar_is_io(devfn, bar);
			break;
		case CAP_ISR:
			b->isr = (uintptr_t)at;
			break;
		case CAP_DEVICE:
			b->config = (uintptr_t)at;
			break;
		default:
			break;
		}
	}
	return b->common && b->notify && b->isr && b->config;
}

uint8_t vblk_status(const struct vblk *b)
{
	return read8(b->common + VCOMMON_STATUS);
}

void vblk_reset(struct vblk *b)
{
	write8(b->common + VCOMMON_STATUS, 0);
	for (unsigned i = 0; i < 1000 && vblk_status(b); i++)
		delay_us(100);
}

static uint64_t features(const struct vblk *b)
{
	uint64_t f;

	write32(b->common + VCOMMON_DEVICE_FEATURE_SELECT, 1);
	f = (uint64_t)read32(b->common + VCOMMON_DEVICE_FEATURE) << 32;
	write32(b->common + VCOMMON_DEVICE_FEATURE_SELECT, 0);
	return f | read32(b->common + VCOMMON_DEVICE_FEATURE);
}

static void set_address(const struct vblk *b, unsigned reg, const void *p)
{
	write32(b->common + reg, (uint32_t)(uintptr_t)p);
	write32(b->common + reg + 4, 0);
}

bool vblk_start(struct vblk *b, unsigned vector)
{
	uint32_t command = pci_read(b->devfn, PCI_COMMAND, 2);

	pci_write(b->devfn, PCI_COMMAND, 2, command | PCI_COMMAND_MASTER);
	vblk_reset(b);
	memset(&vblk_rings, 0, sizeof(vblk_rings));
	b->rings = &vblk_rings;
	b->seen = 0;
	write8(b->common + VCOMMON_STATUS, 1);
	write8(b->common + VCOMMON_STATUS, 3);
	b->features = features(b) & (VIRTIO_F_VERSION_1 | VBLK_F_RO | VBLK_F_FLUSH);
	write32(b->common + VCOMMON_DRIVER_FEATURE_SELECT, 0);
	write32(b->common + VCOMMON_DRIVER_FEATURE, (uint32_t)b->features);
	write32(b->common + VCOMMON_DRIVER_FEATURE_SELECT, 1);
	write32(b->common + VCOMMON_DRIVER_FEATURE, (uint32_t)(b->features >> 32));
	write8(b->common + VCOMMON_STATUS, 0xb);
	if (!(vblk_status(b) & 8))
		return false;
	write16(b->common + VCOMMON_QUEUE_SELECT, 0);
	write16(b->common + VCOMMON_QUEUE_SIZE, VBLK_QUEUE);
	write16(b->common + VCOMMON_QUEUE_VECTOR, (uint16_t)vector);
	if (read16(b->common + VCOMMON_QUEUE_VECTOR) != vector)
		return false;
	set_address(b, VCOMMON_QUEUE_DESC, vblk_rings.desc);
	set_address(b, VCOMMON_QUEUE_DRIVER, &vblk_rings.avail);
	set_address(b, VCOMMON_QUEUE_DEVICE, &vblk_rings.used);
	write16(b->common + VCOMMON_QUEUE_ENABLE, 1);
	write8(b->common + VCOMMON_STATUS, STATUS_READY);
	b->capacity = read32(b->config) | (uint64_t)read32(b->config + 4) << 32;
	return vblk_status(b) == STATUS_READY;
}

void vblk_offer(struct vblk *b, unsigned head, const struct vseg *segs, unsigned n)
{
	struct vblk_rings *r = b->rings;

	for (unsigned i = 0; i < n; i++)
		r->desc[head + i] = (struct vdesc){
			.addr = (uintptr_t)segs[i].addr,
			.len = segs[i].len,
			.flags = (uint16_t)((segs[i].write ? VDESC_WRITE : 0) |
					    (i + 1 < n ? VDESC_NEXT : 0)),
			.next = (uint16_t)(head + i + 1),
		};
	r->avail.ring[r->avail.idx % VBLK_QUEUE] = (uint16_t)head;
	__atomic_store_n(&r->avail.idx, (uint16_t)(r->avail.idx + 1), __ATOMIC_RELEASE);
}

void vblk_kick(struct vblk *b)
{
	if (b->notify_io)
		outw((uint16_t)b->notify, 0);
	else
		write16((uintptr_t)b->notify, 0);
}

bool vblk_wait(struct vblk *b, uint32_t *len)
{
	struct vblk_rings *r = b->rings;

	for (unsigned i = 0; i < 10000; i++) {
		if (__atomic_load_n(&r->used.idx, __ATOMIC_ACQUIRE) != b->seen) {
			*len = r->used.ring[b->seen % VBLK_QUEUE].len;
			b->seen++;
			return true;
		}
		delay_us(100);
	}
	return false;
}

int vblk_request(struct vblk *b, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} head = { type, 0, sector };
	volatile uint8_t status = 0xee;
	struct vseg segs[3] = { { &head, sizeof(head), false } };
	unsigned n = 1;
	uint32_t written;

	if (len)
		segs[n++] = (struct vseg){ data, len, type != VBLK_OUT };
	segs[n++] = (struct vseg){ (void *)(uintptr_t)&status, 1, true };
	vblk_offer(b, 0, segs, n);
	vblk_kick(b);
	return vblk_wait(b, &written) ? status : -1;
}
