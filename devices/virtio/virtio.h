/* SPDX-License-Identifier: MIT */
/*
 * What every virtio device is, whatever it hangs on: feature bits, the status
 * handshake, and queues served on an I/O thread (VIRTIO 1.2, chapters 2 and 3).
 * Modern devices only: VIRTIO_F_VERSION_1 must be negotiated.
 *
 * A queue is served by its loop's thread, and only between start and stop; it then
 * owns the struct virtq. While it is stopped, the indices are in the state struct.
 * Queues run while all of these hold: DRIVER_OK, no DEVICE_NEEDS_RESET, the
 * transport allows DMA (bus mastering), the device is not paused.
 *
 * Start and stop are done with the device's lock held, by a vCPU or the board. Stop
 * waits until the I/O thread has let go of the queue and every buffer in flight
 * has come back (virtio_queue_flush). So the I/O thread must never take the
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

#define VIRTIO_MAX_QUEUES 16

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

/* 5: device types */
#define VIRTIO_ID_BLOCK 2

struct virtio_state {
	uint64_t driver_features;
	uint8_t status; /* without NEEDS_RESET */
	uint8_t needs_reset; /* I/O threads set it: atomically */
	uint8_t config_generation;
	/* A queue each */
	uint8_t enabled[VIRTIO_MAX_QUEUES];
	uint16_t size[VIRTIO_MAX_QUEUES];
	uint64_t desc[VIRTIO_MAX_QUEUES];
	uint64_t avail[VIRTIO_MAX_QUEUES];
	uint64_t used[VIRTIO_MAX_QUEUES];
	uint16_t next_avail[VIRTIO_MAX_QUEUES]; /* these two as of the last stop */
	uint16_t next_used[VIRTIO_MAX_QUEUES];
};

#define VIRTIO_STATE_FIELDS(s, m)                                                             \
	STATE_U(s, m.driver_features), STATE_U_MAX(s, m.status, 0xbf),                        \
		STATE_U_MAX(s, m.needs_reset, 1), STATE_U(s, m.config_generation),            \
		STATE_ARRAY_MAX(s, m.enabled, 1), STATE_ARRAY_MAX(s, m.size, VIRTQ_MAX_SIZE), \
		STATE_ARRAY(s, m.desc), STATE_ARRAY(s, m.avail), STATE_ARRAY(s, m.used),      \
		STATE_ARRAY(s, m.next_avail), STATE_ARRAY(s, m.next_used)

struct virtio_dev;

struct virtio_queue {
	struct virtio_dev *vdev;
	unsigned index;
	struct virtq vq; /* the I/O thread's while running */
	struct loop *loop;
	int kick_fd;
	struct loop_src kick;
	struct loop_post stop_post;
	bool running; /* guarded by the device's lock */
	bool stopping; /* the I/O thread's own, these three */
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
	 * On the queue's thread: buffers may be available. Pops until the queue is empty.
	 * Buffers of a broken queue that are still in flight are pushed all the same.
	 */
	void (*handle)(struct virtio_queue *q);
	/*
	 * Optional, on the queue's thread: what was pushed is published now. Ticks of when the
	 * guest could see it, and of when it was notified; 0: it wanted no notification.
	 */
	void (*flushed)(struct virtio_queue *q, uint64_t used, uint64_t interrupt);
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
	/* Queues go live or not: bind or unbind their kick_fds. The device's lock held. */
	void (*set_kicks)(struct virtio_dev *vdev, bool on);
};

struct virtio_dev {
	struct device *dev;
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
	struct device *dev;
	const struct virtio_ops *ops;
	const struct virtio_transport_ops *transport;
	struct virtio_state *s;
	struct mem *mem;
	struct loop *const *loops; /* a queue's each; some or all may be the same */
	uint64_t features;
	unsigned config_len;
	uint16_t queue_size;
	unsigned nr_queues; /* 1 .. VIRTIO_MAX_QUEUES */
};

/* 0 or -errno; destroy also undoes a failed init. */
int virtio_init(struct virtio_dev *vdev, const struct virtio_config *cfg) __must_check;
void virtio_destroy(struct virtio_dev *vdev);

/* All of these with the device's lock held. */

/* device_status: 0 resets, and returns only when no buffer is in flight any more. */
void virtio_set_status(struct virtio_dev *vdev, uint8_t status);
uint8_t virtio_get_status(const struct virtio_dev *vdev);

/* Turns a queue on as its fields say; fields that cannot be ask for a reset. */
void virtio_queue_enable(struct virtio_dev *vdev, unsigned queue);

/* Starts or stops queues after dma or paused have changed. */
void virtio_update(struct virtio_dev *vdev);

void virtio_reset(struct virtio_dev *vdev);
int virtio_post_load(struct virtio_dev *vdev) __must_check;
/* Has the indices written into the state: device_ops.pre_save. */
void virtio_pre_save(struct virtio_dev *vdev);

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
