/* SPDX-License-Identifier: MIT */
/*
 * A driver for a virtio disk over PCI, modern interface (VIRTIO 1.2, sections 4.1 and 5.2):
 * one queue, polled or with an interrupt, requests of any shape so that wrong ones can be
 * sent too.
 */
#ifndef GUESTS_VBLK_H
#define GUESTS_VBLK_H

#include "guests/baremetal/lib/pci.h"

#define VBLK_VENDOR 0x1af4
#define VBLK_DEVICE 0x1042
#define VBLK_QUEUE 64
#define VBLK_NO_VECTOR 0xffff

#define VBLK_F_RO (1ull << 5)
#define VBLK_F_FLUSH (1ull << 9)
#define VIRTIO_F_VERSION_1 (1ull << 32)

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

struct vdesc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define VDESC_NEXT 1
#define VDESC_WRITE 2

struct vblk_rings {
	struct vdesc desc[VBLK_QUEUE];
	struct {
		uint16_t flags, idx, ring[VBLK_QUEUE];
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[VBLK_QUEUE];
	} used __attribute__((aligned(4)));
} __attribute__((aligned(4096)));

struct vblk {
	unsigned devfn;
	uintptr_t common, isr, config;
	bool notify_io;
	uint64_t notify; /* queue 0's doorbell, once the queue is enabled */
	uint64_t features; /* negotiated */
	uint64_t capacity; /* sectors */
	struct vblk_rings *rings;
	uint16_t seen; /* used entries taken */
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
void vblk_kick(struct vblk *b);
/* Waits for the next used entry; false after a second. len: what the device wrote. */
bool vblk_wait(struct vblk *b, uint32_t *len);
/* One request, polled: its status, or -1 where no answer came. */
int vblk_request(struct vblk *b, uint32_t type, uint64_t sector, void *data, uint32_t len);
uint8_t vblk_status(const struct vblk *b);

#endif
