/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk: VIRTIO 1.2, section 5.2, over PCI or memory-mapped I/O.
 *
 * Requests run on an I/O thread from the doorbell to the interrupt; nothing on that
 * path allocates, and nothing takes a lock unless the guest has turned MSI-X off.
 * What a request says is copied from the guest once, when it is popped; the segments
 * of a discard, when each has its turn.
 *
 * While its thread is awake the guest need not kick, and after work the thread looks for
 * more for a while before it sleeps, as long as that pays (base/loop_poll.h).
 */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include "backends/block/block.h"
#include "backends/block/stages.h"
#include "devices/virtio/virtio_any.h"

struct virtio_blk_config {
	const char *name; /* "virtio-blk0" */
	struct virtio_place at; /* threads: 0 is 1 */
	struct block *block; /* the board's, and lives as long as the device */
	unsigned queues; /* 1 .. VIRTIO_MAX_QUEUES; 0: 1 */
	/*
	 * Where its requests' time is accounted, for each thread; NULL: nowhere. The board's, they
	 * outlive the device.
	 */
	struct block_stages *stages[VIRTIO_MAX_QUEUES];
};

/* 0 or -errno. virtio_pause() and virtio_resume() work on the device. */
int virtio_blk_create(const struct virtio_blk_config *cfg, struct device **out) __must_check;

/*
 * The disk has got another size (block_resize()): the guest sees it, and is told. The main
 * thread's, or any that may take the device's lock.
 */
void virtio_blk_resized(struct device *dev);

#endif
