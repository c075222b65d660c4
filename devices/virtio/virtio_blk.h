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
#include "base/bus.h"
#include "base/device.h"
#include "base/irq.h"
#include "base/loop.h"
#include "base/mem.h"
#include "devices/pci/pci_host.h"
#include "devices/virtio/virtio_pci.h"

struct virtio_blk_config {
	const char *name; /* "virtio-blk0" */
	struct pci_host *pci; /* NULL: memory-mapped I/O */
	int devfn; /* slot << 3 | function; -1: the first free slot */
	enum virtio_pci_mode mode;
	bool flr; /* a function level reset: devices/virtio/virtio_pci.h */
	struct bus *bus; /* without PCI, these three: devices/virtio/virtio_mmio.h */
	uint64_t base;
	struct irq irq;
	bool packed; /* offer packed rings */
	bool no_event_idx; /* do not offer EVENT_IDX */
	struct mem *mem;
	struct block *block; /* the board's, and lives as long as the device */
	/* NULL: a thread of the device's own. Else its thread runs while the device lives. */
	struct loop *loop;
	unsigned queues; /* 1 .. VIRTIO_MAX_QUEUES; 0: 1 */
	unsigned threads; /* of the device's own; the queues are dealt out to them; 0: 1 */
	uint64_t poll_ns; /* how long they look before they sleep, at most; 0: not at all */
	uint16_t queue_size; /* a power of 2, 4 .. VIRTQ_MAX_SIZE; 0: 256 */
	bool no_ioeventfd; /* doorbells exit to user space (devices/virtio/virtio_pci.h) */
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
