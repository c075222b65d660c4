/* SPDX-License-Identifier: MIT */
/*
 * What every virtio device is, whatever it hangs on: feature bits, the status
 * handshake, and queues served on an I/O thread (VIRTIO 1.2, chapters 2 and 3).
 * Drivers of before VIRTIO 1.0 are served where the transport has the legacy interface
 * for them; all others must negotiate VIRTIO_F_VERSION_1. Who sets a status first decides.
 *
 * A queue is served by its loop's thread, and only between start and stop; it then
 * owns the struct virtq. While it is stopped, the indices are in the state struct.
 * Queues run while all of these hold: DRIVER_OK, no DEVICE_NEEDS_RESET, the
 * transport allows DMA (bus mastering), the device is not paused. For a legacy driver
 * neither DRIVER_OK nor bus mastering counts: Linux before 2.6.34 did without (3.1.2).
 *
 * Start and stop are done with the device's lock held, by a vCPU or the board. Stop
 * waits until the I/O thread has let go of the queue and every buffer in flight
 * has come back (virtio_queue_flush, virtio_ops.cease). So the I/O thread must never take the
 * device's lock; it touches only its queue, and calls virtio_queue_* below.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_H
#define DEVICES_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/device.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/state.h"
#include "devices/virtio/virtq.h"

#define VIRTIO_MAX_QUEUES 17 /* a network card's: 8 pairs, and one for control */

/* 2.1 */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01
#define VIRTIO_STATUS_DRIVER 0x02
#define VIRTIO_STATUS_DRIVER_OK 0x04
#define VIRTIO_STATUS_FEATURES_OK 0x08
#define VIRTIO_STATUS_NEEDS_RESET 0x40
#define VIRTIO_STATUS_FAILED 0x80

/* 6: feature bits of every device */
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_RING_PACKED (1ull << 34)
#define VIRTIO_F_RING_RESET (1ull << 40)
#define VIRTIO_F_LEGACY 0xffffffffull /* those that the legacy interface can show */

/* 5: device types */
#define VIRTIO_ID_NET 1
#define VIRTIO_ID_BLOCK 2

struct virtio_state {
	uint64_t driver_features;
	uint8_t status; /* without NEEDS_RESET */
	uint8_t needs_reset; /* I/O threads set it: atomically */
	uint8_t legacy; /* the driver is one, until a reset */
	uint8_t config_generation;
	/* A queue each */
	uint8_t enabled[VIRTIO_MAX_QUEUES];
	uint16_t size[VIRTIO_MAX_QUEUES];
	uint64_t desc[VIRTIO_MAX_QUEUES];
	uint64_t avail[VIRTIO_MAX_QUEUES];
	uint64_t used[VIRTIO_MAX_QUEUES];
	uint16_t next_avail[VIRTIO_MAX_QUEUES]; /* as of the last stop, these two: 4.1.4.3 */
	uint16_t next_used[VIRTIO_MAX_QUEUES];
};

#define VIRTIO_STATE_FIELDS(s, m)                                                              \
	STATE_U(s, m.driver_features), STATE_U_MAX(s, m.status, 0xbf),                         \
		STATE_U_MAX(s, m.needs_reset, 1), STATE_U_MAX(s, m.legacy, 1),                 \
		STATE_U(s, m.config_generation), STATE_ARRAY_MAX(s, m.enabled, 1),             \
		STATE_ARRAY_MAX(s, m.size, VIRTQ_MAX_SIZE), STATE_ARRAY(s, m.desc),            \
		STATE_ARRAY(s, m.avail), STATE_ARRAY(s, m.used), STATE_ARRAY(s, m.next_avail), \
		STATE_ARRAY(s, m.next_used)

struct virtio_dev;

struct virtio_queue {
	struct virtio_dev *vdev;
	unsigned index;
	struct virtq vq; /* the I/O thread's while running */
	struct loop *loop;
	int kick_fd;
	struct loop_src kick;
	struct loop_post stop_post;
	bool running; /* guarded by the device's lock, these two */
	bool remote; /* the host's kernel serves it: virtio_ops.take_over */
	struct loop_poller poller; /* the I/O thread's own, these seven */
	bool polled; /* poller is the loop's */
	bool armed; /* the guest is asked to kick */
	bool sated; /* virtio_queue_sate() */
	bool stopping;
	uint64_t woken; /* ticks: the wake that is being served; 0: our own, or served */
	uint64_t own_seen; /* own as of the last wake */
	_Atomic uint64_t rung; /* ticks: the first doorbell not yet served; 0: none */
	_Atomic uint64_t own; /* how often we ourselves signalled kick_fd */
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t cond;
	bool stopped; /* the I/O thread has let go */
	uint64_t taken; /* of kick_fd's count, ours too: see virtio_kicks() */
	uint64_t kicks;
};

struct virtio_ops {
	/*
	 * On the queue's thread: buffers may be available, and kicks are off. Takes what is
	 * there, a ring's worth at most; it is called again before the thread sleeps.
	 * Buffers of a broken queue that are still in flight are pushed all the same.
	 */
	void (*handle)(struct virtio_queue *q);
	/*
	 * Optional, on the queue's thread: the queue stops. Nothing new is begun, and buffers that
	 * were popped but not begun with go back by virtq_unpop().
	 */
	void (*cease)(struct virtio_queue *q);
	/*
	 * Optional, on the queue's thread: pushes what a back-end has completed meanwhile, found
	 * without a system call; true if there was any.
	 */
	bool (*poll)(struct virtio_queue *q);
	/*
	 * Optional, on the queue's thread: what was pushed is published now. Ticks of when the
	 * guest could see it, and of when it was notified; 0: it wanted no notification.
	 */
	void (*flushed)(struct virtio_queue *q, uint64_t used, uint64_t interrupt);
	/*
	 * Optional, these three, with the device's lock held: the host's kernel serves the queue
	 * in our place, as p says. False: it does not, and the I/O thread is to.
	 */
	bool (*take_over)(struct virtio_queue *q, const struct virtq_params *p);
	/* Ends that: nothing is in flight, and q->vq has the indices. */
	void (*hand_back)(struct virtio_queue *q);
	/* Meanwhile: transport->queue_fd() may give another one now. */
	void (*rewire)(struct virtio_queue *q);
	/* Device configuration space (2.5), within config_len; the device's lock held. */
	void (*config_read)(struct virtio_dev *vdev, unsigned offset, void *buf, unsigned len);
	/* Optional. */
	void (*config_write)(struct virtio_dev *vdev, unsigned offset, const void *buf,
			     unsigned len);
	/* Optional: FEATURES_OK was accepted, or the device was reset (features 0). */
	void (*features_changed)(struct virtio_dev *vdev, uint64_t features);
};

/* The transport's side. notify_*: any thread, with or without the device's lock. */
struct virtio_transport_ops {
	void (*notify_queue)(struct virtio_dev *vdev, unsigned queue);
	void (*notify_config)(struct virtio_dev *vdev);
	/*
	 * Optional: an eventfd that, written to, does what notify_queue does, for now; -1: there is
	 * none. virtio_vectors_changed() says when it is another. The device's lock held.
	 */
	int (*queue_fd)(struct virtio_dev *vdev, unsigned queue);
	/* Queues go live or not: bind or unbind their kick_fds. The device's lock held. */
	void (*set_kicks)(struct virtio_dev *vdev, bool on);
};

struct virtio_dev {
	struct device dev;
	const struct virtio_ops *ops;
	const struct virtio_transport_ops *transport;
	struct virtio_state *s;
	struct mem *mem;
	uint64_t features; /* what the device offers */
	unsigned config_len;
	uint16_t queue_size; /* at most, a power of 2 */
	unsigned nr_queues;
	struct virtio_queue *queues;
	bool dma; /* the transport lets us reach memory */
	bool paused;
	bool kicks; /* as last told to the transport */
};

struct virtio_config {
	const struct virtio_ops *ops;
	const struct virtio_transport_ops *transport;
	struct virtio_state *s;
	struct mem *mem;
	struct loop *const *loops; /* a queue's each; some or all may be the same */
	uint64_t features;
	unsigned config_len;
	uint16_t queue_size;
	unsigned nr_queues; /* 1 .. VIRTIO_MAX_QUEUES */
	bool packed; /* offer packed rings */
	bool no_event_idx; /* do not offer EVENT_IDX: to see what it saves */
};

/* vdev->dev is initialised by the caller already. 0 or -errno; destroy also undoes a failed init. */
int virtio_init(struct virtio_dev *vdev, const struct virtio_config *cfg) __must_check;
void virtio_destroy(struct virtio_dev *vdev);

/* All of these with the device's lock held. */

/* device_status: 0 resets, and returns only when no buffer is in flight any more. */
void virtio_set_status(struct virtio_dev *vdev, uint8_t status);
uint8_t virtio_get_status(const struct virtio_dev *vdev);

/* A word of features, by what the driver has selected; those that there are none of are 0. */
static inline uint32_t virtio_features_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> select * 32) : 0;
}

/* A driver has said which features it takes, or is a legacy one, which may say so at any time. */
bool virtio_features_settled(const struct virtio_dev *vdev);

/* Sets a word of the driver's features, until FEATURES_OK has settled them. */
void virtio_set_features_word(struct virtio_dev *vdev, uint32_t select, uint32_t v);

/* Device configuration space (2.5); what is behind its end reads 0. width 1, 2 or 4. */
uint32_t virtio_config_read(struct virtio_dev *vdev, uint64_t offset, unsigned width);
void virtio_config_write(struct virtio_dev *vdev, uint64_t offset, unsigned width, uint32_t v);

/*
 * A queue's fields. Writes to a queue that is not there or is enabled are ignored, and a
 * size that the ring cannot have is, too.
 */
enum virtio_area { VIRTIO_AREA_DESC, VIRTIO_AREA_DRIVER, VIRTIO_AREA_DEVICE };

void virtio_queue_set_size(struct virtio_dev *vdev, unsigned queue, uint32_t size);
/* One half of an area's address. The queue exists where it is read. */
void virtio_queue_set_area(struct virtio_dev *vdev, unsigned queue, enum virtio_area area,
			   bool high, uint32_t v);
uint32_t virtio_queue_get_area(const struct virtio_dev *vdev, unsigned queue, enum virtio_area area,
			       bool high);

/* Turns a queue on as its fields say; fields that cannot be ask for a reset. */
void virtio_queue_enable(struct virtio_dev *vdev, unsigned queue);
/*
 * Turns it off, its fields as after a device reset (2.6.1); returns only when no buffer is
 * in flight any more.
 */
void virtio_queue_reset(struct virtio_dev *vdev, unsigned queue);

/*
 * The legacy interface's own: device_status, which makes the driver a legacy one; its
 * features; a queue whose ring is laid out from a 4 KiB page on (2.7.2), 0: turned off.
 * Ignored where a modern driver was first.
 */
void virtio_legacy_set_status(struct virtio_dev *vdev, uint8_t status);
void virtio_legacy_set_features(struct virtio_dev *vdev, uint32_t features);
void virtio_legacy_set_queue(struct virtio_dev *vdev, unsigned queue, uint32_t pfn);
uint32_t virtio_legacy_get_queue(const struct virtio_dev *vdev, unsigned queue);

/* The device's configuration is another now: the driver is told, once there is one (2.5). */
void virtio_config_changed(struct virtio_dev *vdev);

/* The transport notifies of queues in another way now. */
void virtio_vectors_changed(struct virtio_dev *vdev);

/* Starts or stops queues after dma or paused have changed. */
void virtio_update(struct virtio_dev *vdev);

void virtio_reset(struct virtio_dev *vdev);
int virtio_post_load(struct virtio_dev *vdev) __must_check;
/* Has the indices written into the state: device_ops.pre_save. */
void virtio_pre_save(struct virtio_dev *vdev);

/*
 * Stops serving queues, with nothing in flight and the state complete when it
 * returns; and goes on. For the board, every vCPU paused; they take the lock, and may
 * not be called on the queues' own thread. A reset in between is fine. A load needs the
 * pause: a queue that runs would look at its rings before RAM is what it was.
 */
void virtio_pause(struct device *dev);
void virtio_resume(struct device *dev);

/* The virtio device that a device is. */
static inline struct virtio_dev *virtio_of(const struct device *dev)
{
	return container_of(dev, struct virtio_dev, dev);
}

/* The guest's doorbell has reached user space: notes the time and wakes the queue. Any thread. */
void virtio_queue_ring(struct virtio_queue *q);

/* Wakes a queue as a kick does, though the guest gave none. Any thread. */
void virtio_queue_kick(struct virtio_queue *q);

/*
 * Kicks of the guest that came by the queues' eventfds, from the host's kernel or the bus:
 * exact, and it never falls. Any thread; each call wakes the queues once for nothing.
 */
uint64_t virtio_kicks(const struct virtio_dev *vdev);

/* On the queue's thread: */

/*
 * The ticks at which the guest kicked, for the buffers that are available now: its doorbell's
 * own time where that reached user space, else when this thread was woken by it. 0 without
 * a kick since the last call: what there is was found by looking again.
 */
uint64_t virtio_queue_kicked(struct virtio_queue *q);

/*
 * Has no use for more buffers for now: those that are available are left alone, nobody looks for
 * them, and the guest need not kick. False ends that, before the thread sleeps. It starts as false,
 * and a kick calls handle all the same.
 */
static inline void virtio_queue_sate(struct virtio_queue *q, bool sated)
{
	q->sated = sated;
}

/*
 * Publishes what was pushed, with one notification where the guest wants it, and
 * completes a stop that waits for buffers. Call it at the end of every batch.
 */
void virtio_queue_flush(struct virtio_queue *q);

/* The queue has broken (virtq_pop() failed): DEVICE_NEEDS_RESET (2.1.2). */
void virtio_queue_broken(struct virtio_queue *q);

/* The features that were negotiated include bit. */
static inline bool virtio_has(const struct virtio_dev *vdev, uint64_t bit)
{
	return vdev->s->driver_features & bit;
}

#endif
