/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk over PCI: VIRTIO 1.2, section 5.2.
 *
 * Requests run on an I/O thread from the doorbell to the interrupt; nothing on that
 * path allocates, and nothing takes a lock unless the guest has turned MSI-X off.
 * What a request says is copied from the guest once, when it is popped.
 */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include "backends/block/block.h"
#include "backends/block/stages.h"
#include "base/device.h"
#include "base/loop.h"
#include "base/mem.h"
#include "devices/pci/pci_host.h"

struct virtio_blk_config {
	const char *name; /* "virtio-blk0" */
	struct pci_host *pci;
	int devfn; /* slot << 3 | function; -1: the first free slot */
	struct mem *mem;
	struct block *block; /* the board's, and lives as long as the device */
	/* NULL: a thread of the device's own. Else its thread runs while the device lives. */
	struct loop *loop;
	unsigned queues; /* 1 .. VIRTIO_MAX_QUEUES; 0: 1 */
	uint16_t queue_size; /* a power of 2, 4 .. VIRTQ_MAX_SIZE; 0: 256 */
	bool no_ioeventfd; /* doorbells exit to user space (devices/virtio/virtio_pci.h) */
	/* Where its requests' time is accounted, NULL: nowhere. The board's, outlives the device. */
	struct block_stages *stages;
};

/* 0 or -errno. virtio_pci_pause() and virtio_pci_resume() work on the device. */
int virtio_blk_create(const struct virtio_blk_config *cfg, struct device **out) __must_check;

/* block->size is another: tells the guest. Takes the device's lock; not on its I/O thread. */
void virtio_blk_resized(struct device *dev);

#endif
