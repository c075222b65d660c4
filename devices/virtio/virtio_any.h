/* SPDX-License-Identifier: MIT */
/*
 * What all virtio devices are made of: a transport, PCI or memory-mapped I/O as the board likes, and
 * threads for their queues, their own unless the board gives them a loop.
 *
 * A device embeds a struct virtio_any first, and a union virtio_any_state first in its state. It is made in
 * this order; virtio_any_unplug(), the device's own undoing, and virtio_any_destroy() end it, and undo what
 * failed on the way:
 *
 *	virtio_any_prepare()	its threads run
 *	the device's own	what its queues need, each on its virtio_any_loop()
 *	virtio_any_plug()	a guest can find it
 */
#ifndef DEVICES_VIRTIO_ANY_H
#define DEVICES_VIRTIO_ANY_H

#include "base/bus.h"
#include "base/irq.h"
#include "base/loop.h"
#include "base/mem.h"
#include "devices/pci/pci_host.h"
#include "devices/virtio/virtio_mmio.h"
#include "devices/virtio/virtio_pci.h"

/* In every device's configuration: where it is, and who works for it. */
struct virtio_place {
	struct mem *mem;
	struct pci_host *pci; /* NULL: memory-mapped I/O */
	int devfn; /* slot << 3 | function; -1: the first free slot */
	enum virtio_pci_mode mode;
	bool flr; /* a function level reset: devices/virtio/virtio_pci.h */
	struct bus *bus; /* without PCI, these three: devices/virtio/virtio_mmio.h */
	uint64_t base;
	struct irq irq;
	bool no_ioeventfd; /* doorbells exit to user space (devices/virtio/virtio_pci.h) */
	bool packed; /* offer packed rings */
	bool no_event_idx; /* do not offer EVENT_IDX */
	uint16_t queue_size; /* a power of 2, 4 .. VIRTQ_MAX_SIZE; 0: 256 */
	/* NULL: threads of the device's own. Else its thread runs while the device lives. */
	struct loop *loop;
	unsigned threads; /* of the device's own, to which queues are dealt out; 0: as it likes */
	uint64_t poll_ns; /* how long they look before they sleep, at most; 0: not at all */
};

/* The size of its queues; 0: not one that they can have. */
uint16_t virtio_place_queue_size(const struct virtio_place *at);

/* What every device of a kind has in common. */
struct virtio_kind {
	const struct device_ops *pci_ops, *mmio_ops;
	const struct virtio_ops *ops;
	uint16_t type; /* VIRTIO_ID_* */
	uint16_t legacy_id; /* 4.1.2.1 */
	uint32_t class; /* PCI class code */
	unsigned config_len;
};

union virtio_any_state {
	struct virtio_pci_state vp;
	struct virtio_mmio_state vm;
};

struct virtio_any {
	union {
		struct virtio_dev vdev; /* its struct device first; both transports', too */
		struct virtio_pci vp;
		struct virtio_mmio vm;
	};
	const struct virtio_kind *kind;
	struct virtio_place at;
	struct iothread *threads; /* nr_threads, where the board gave us no loop */
	unsigned nr_threads;
};

/*
 * any is zeroed. It gets its name, and its threads theirs from that: as many as the place says, but not more
 * than nr, or nr where that does not say. 0 or -errno.
 */
int virtio_any_prepare(struct virtio_any *any, const struct virtio_kind *kind,
		       const struct virtio_place *at, const char *name, unsigned nr) __must_check;

/* The loop whose turn it is for what is the i-th to be dealt out. */
struct loop *virtio_any_loop(struct virtio_any *any, unsigned i);

/* loops: of each of the nr_queues. s lives as long as the device. 0 or -errno. */
int virtio_any_plug(struct virtio_any *any, union virtio_any_state *s, uint64_t features,
		    struct loop *const *loops, unsigned nr_queues) __must_check;

/* No guest reaches it, and nothing runs on its own threads any more; their loops are still there. */
void virtio_any_unplug(struct virtio_any *any);
void virtio_any_destroy(struct virtio_any *any);

/* For device_ops; the device's lock held. dev is a virtio_any's. */
void virtio_any_reset(struct device *dev);
void virtio_any_pre_save(struct device *dev);
int virtio_any_post_load(struct device *dev) __must_check;

#endif
