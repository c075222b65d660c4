/* SPDX-License-Identifier: MIT */
/*
 * A driver for a virtio disk (VIRTIO 1.2, section 5.2): one queue, polled or with an
 * interrupt, requests of any shape so that wrong ones can be sent too. By these words on the
 * command line it comes in another way than the modern interface over PCI (4.1) with split
 * rings: legacy (4.1.4.8), mmio (4.2, found in the device tree), packed (2.8).
 */
#ifndef GUESTS_VBLK_H
#define GUESTS_VBLK_H

#include "guests/baremetal/lib/pci.h"

#define VBLK_VENDOR 0x1af4
#define VBLK_DEVICE 0x1042
#define VBLK_TRANSITIONAL 0x1001
#define VBLK_QUEUE 64
#define VBLK_NO_VECTOR 0xffff

#define VBLK_F_RO (1ull << 5)
#define VBLK_F_FLUSH (1ull << 9)
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_RING_PACKED (1ull << 34)

#define VBLK_IN 0
#define VBLK_OUT 1
#define VBLK_FLUSH 4
#define VBLK_GET_ID 8

#define VBLK_OK 0
#define VBLK_IOERR 1
#define VBLK_UNSUPP 2

/* Common configuration (4.1.4.3). */
#define VCOMMON_DEVICE_FEATURE_SELECT 0
#define VCOMMON_DEVICE_FEATURE 4
#define VCOMMON_DRIVER_FEATURE_SELECT 8
#define VCOMMON_DRIVER_FEATURE 12
#define VCOMMON_CONFIG_VECTOR 16
#define VCOMMON_NUM_QUEUES 18
#define VCOMMON_STATUS 20
#define VCOMMON_GENERATION 21
#define VCOMMON_QUEUE_SELECT 22
#define VCOMMON_QUEUE_SIZE 24
#define VCOMMON_QUEUE_VECTOR 26
#define VCOMMON_QUEUE_ENABLE 28
#define VCOMMON_QUEUE_NOTIFY_OFF 30
#define VCOMMON_QUEUE_DESC 32
#define VCOMMON_QUEUE_DRIVER 40
#define VCOMMON_QUEUE_DEVICE 48

/* Virtio over memory-mapped I/O (4.2.2). */
#define VMMIO_MAGIC 0x000
#define VMMIO_VERSION 0x004
#define VMMIO_DEVICE_ID 0x008
#define VMMIO_DEVICE_FEATURES 0x010
#define VMMIO_DEVICE_FEATURES_SELECT 0x014
#define VMMIO_DRIVER_FEATURES 0x020
#define VMMIO_DRIVER_FEATURES_SELECT 0x024
#define VMMIO_QUEUE_SELECT 0x030
#define VMMIO_QUEUE_SIZE 0x038
#define VMMIO_QUEUE_READY 0x044
#define VMMIO_QUEUE_NOTIFY 0x050
#define VMMIO_INTERRUPT_STATUS 0x060
#define VMMIO_INTERRUPT_ACK 0x064
#define VMMIO_STATUS 0x070
#define VMMIO_QUEUE_DESC 0x080
#define VMMIO_QUEUE_DRIVER 0x090
#define VMMIO_QUEUE_DEVICE 0x0a0
#define VMMIO_CONFIG 0x100

/* The legacy interface (4.1.4.8), with MSI-X off. */
#define VLEGACY_DEVICE_FEATURES 0x00
#define VLEGACY_DRIVER_FEATURES 0x04
#define VLEGACY_QUEUE_ADDRESS 0x08
#define VLEGACY_QUEUE_SIZE 0x0c
#define VLEGACY_QUEUE_SELECT 0x0e
#define VLEGACY_QUEUE_NOTIFY 0x10
#define VLEGACY_STATUS 0x12
#define VLEGACY_CONFIG 0x14

struct vdesc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define VDESC_NEXT 1
#define VDESC_WRITE 2
#define VDESC_INDIRECT 4
#define VDESC_AVAIL 0x80 /* packed */
#define VDESC_USED 0x8000

struct vblk_rings {
	struct vdesc desc[VBLK_QUEUE];
	struct {
		uint16_t flags, idx, ring[VBLK_QUEUE], used_event;
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[VBLK_QUEUE];
		uint16_t avail_event;
	} used __attribute__((aligned(4)));
} __attribute__((aligned(4096)));

enum vblk_kind { VBLK_MODERN, VBLK_LEGACY, VBLK_MMIO };

struct vblk {
	enum vblk_kind kind;
	bool packed;
	unsigned devfn;
	uintptr_t base; /* virtio-mmio's registers; the port of the legacy ones */
	unsigned irq; /* virtio-mmio's pin of the I/O APIC */
	uintptr_t common, isr, config;
	bool notify_io;
	uint64_t notify; /* queue 0's doorbell, once the queue is enabled */
	uint64_t wanted; /* features to negotiate besides VERSION_1, RO and FLUSH */
	uint64_t features; /* negotiated */
	uint64_t capacity; /* sectors */
	struct vblk_rings *rings; /* NULL with a legacy device, which has a size of its own */
	/* The three areas, wherever they are, and how many descriptors there are. */
	struct vdesc *desc;
	uint16_t *avail, *used;
	unsigned size;
	uint16_t seen; /* used entries taken; of a packed ring, places, as the next one */
	uint16_t next;
	uint8_t places[VBLK_QUEUE]; /* packed: how many a buffer has */
};

/* One buffer of a request. */
struct vseg {
	void *addr;
	uint32_t len;
	bool write; /* by the device */
};

/* Finds the disk and its structures, as the BARs are now; the device is left alone. */
bool vblk_find(struct vblk *b);
/* Resets the device and brings queue 0 up; vector: an MSI-X entry or VBLK_NO_VECTOR. */
bool vblk_start(struct vblk *b, unsigned vector);
void vblk_reset(struct vblk *b);
/* Only offers segs to the device, or rings the bell as well. */
void vblk_offer(struct vblk *b, unsigned head, const struct vseg *segs, unsigned n);
/*
 * Offers descriptors as they are, at 0 .. n - 1 of the table, the first one as the head. Of
 * a packed ring: at the next n places, and next is the id.
 */
void vblk_offer_raw(struct vblk *b, const struct vdesc *descs, unsigned n);
void vblk_kick(struct vblk *b);
/* Waits for the next used entry; false after a second. len: what the device wrote. */
bool vblk_wait(struct vblk *b, uint32_t *len);
/* One request, polled: its status, or -1 where no answer came. */
int vblk_request(struct vblk *b, uint32_t type, uint64_t sector, void *data, uint32_t len);
uint8_t vblk_status(const struct vblk *b);

#endif
