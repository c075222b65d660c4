/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues, split and packed: Virtual I/O Device (VIRTIO) 1.2, sections 2.7 and 2.8.
 * This is the only code that reads ring indices or descriptors; a device sees checked
 * buffers, and the same ones whichever kind its queue is (virtq_split.c, virtq_packed.c).
 *
 * A guest may change ring and descriptors at any moment, so each word is copied
 * once, and only the copy is checked and used. Whatever is wrong breaks the queue:
 * virtq_pop() then gives -EPROTO for ever, and the device asks for a reset.
 *
 * Invariants: a chain has at most `size` descriptors, indirect ones counted; at most
 * `size` buffers are in flight; every iovec lies in guest RAM from end to end.
 *
 * Threads: a virtq belongs to one thread at a time, its I/O thread; virtq_init() and
 * reading the indices back happen while that thread does not run it.
 */
#ifndef DEVICES_VIRTIO_VIRTQ_H
#define DEVICES_VIRTIO_VIRTQ_H

#include <sys/uio.h>

#include "base/mem.h"
#include "base/util.h"

#define VIRTQ_MAX_SIZE 1024

/* 2.7.5, 2.8.1 */
#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2
#define VIRTQ_DESC_F_INDIRECT 4
#define VIRTQ_DESC_F_AVAIL 0x80 /* packed only, these two */
#define VIRTQ_DESC_F_USED 0x8000
/* 2.7.7, 2.7.10 */
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1
#define VIRTQ_USED_F_NO_NOTIFY 1
/* 2.8.10: event suppression, a 16-bit position below 16 bits of flags */
#define VIRTQ_EVENT_ENABLE 0
#define VIRTQ_EVENT_DISABLE 1
#define VIRTQ_EVENT_DESC 2 /* with EVENT_IDX: when the ring passes that position */
/* A place in a packed ring: the descriptor's number, and the wrap counter above it. */
#define VIRTQ_WRAP 0x8000

struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct virtq_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

struct virtq_params {
	uint16_t size;
	bool packed; /* VIRTIO_F_RING_PACKED was negotiated */
	bool indirect; /* VIRTIO_F_INDIRECT_DESC was */
	bool event_idx; /* VIRTIO_F_EVENT_IDX was */
	/* Guest addresses of the descriptor, driver and device area (2.6). */
	uint64_t desc, avail, used;
	/*
	 * Where to go on; a fresh queue: virtq_start_position(). In a split ring they run
	 * free, as its own idx fields do, in a packed ring they are places.
	 */
	uint16_t next_avail, next_used;
};

struct virtq {
	struct mem *mem;
	uint16_t size;
	bool packed;
	bool indirect;
	bool event_idx;
	const char *broken; /* what the guest did wrong, a constant; NULL: in order */
	/* hvas, checked for the whole length by virtq_init() */
	const struct virtq_desc *desc; /* a split ring's */
	struct virtq_packed_desc *ring; /* a packed one's */
	const char *avail; /* the driver area */
	char *used; /* the device area */
	uint16_t next_avail;
	uint16_t next_used; /* pushed, perhaps not published yet */
	uint16_t published; /* what the guest sees of next_used */
	uint16_t in_flight; /* buffers */
	bool first; /* nothing was published since virtq_init() */
	/* A packed ring's: the flags that publish all, and what the device area says. */
	uint16_t held_flags;
	uint32_t event;
};

/*
 * A request of the guest: the bytes it gives, then those it wants written. The owner
 * provides iov with room for max_iov entries, at least the queue's size.
 */
struct virtq_buf {
	struct iovec *iov;
	unsigned max_iov;
	struct iovec *out; /* device-readable: iov .. */
	unsigned nr_out;
	uint64_t out_len; /* bytes */
	struct iovec *in; /* device-writable, behind them */
	unsigned nr_in;
	uint64_t in_len;
	uint16_t head; /* of a packed ring: the buffer id */
	uint16_t descs; /* how many places of a packed ring it takes */
};

/* next_avail and next_used of a queue that nobody has used. */
static inline uint16_t virtq_start_position(bool packed)
{
	return packed ? VIRTQ_WRAP : 0;
}

/*
 * Checks size (up to VIRTQ_MAX_SIZE; of a split ring a power of 2), the alignment (2.7,
 * 2.8.10.1) and that all three areas are RAM. 0 or -EINVAL; on error the virtq must not
 * be used.
 */
int virtq_init(struct virtq *vq, struct mem *mem, const struct virtq_params *p) __must_check;

/*
 * How many buffers are available now; at most the queue's size, whatever the guest says. 0 only
 * where virtq_pop() would find none.
 */
unsigned virtq_pending(const struct virtq *vq);

/* 1 with the next available buffer in buf, 0 where there is none, -EPROTO when broken. */
int virtq_pop(struct virtq *vq, struct virtq_buf *buf) __must_check;

/*
 * Takes back the last virtq_pop() of those that were not taken back yet: the buffer is available
 * as before. None that was popped since may have been pushed, and of a packed ring, none out of turn.
 */
void virtq_unpop(struct virtq *vq, const struct virtq_buf *buf);

/*
 * Gives a buffer back with the first written bytes of its writable part changed.
 * The guest sees it at the next virtq_publish().
 */
void virtq_push(struct virtq *vq, const struct virtq_buf *buf, uint64_t written);

/* Shows the guest what was pushed; true if it wants a notification of it (2.7.7, 2.8.10). */
bool virtq_publish(struct virtq *vq) __must_check;

/*
 * Asks the guest not to kick while the queue is being emptied, and to kick again.
 * After enabling, true means that more came meanwhile and nobody will kick for it.
 */
void virtq_disable_kicks(struct virtq *vq);
bool virtq_enable_kicks(struct virtq *vq) __must_check;

/* The device's own mistake-finding: breaks the queue for a reason (a constant string). */
int virtq_break(struct virtq *vq, const char *why);

/*
 * Copies the first len readable bytes to dst and takes them off buf, however the guest
 * split them. False, with nothing changed, where there are fewer.
 */
bool virtq_buf_pull(struct virtq_buf *buf, void *dst, size_t len) __must_check;

/* Takes the last writable byte off and returns it: a status. NULL where there is none. */
uint8_t *virtq_buf_chop(struct virtq_buf *buf) __must_check;

/* Writes to the start of the writable part, as much as fits; returns the bytes. */
size_t virtq_buf_fill(struct virtq_buf *buf, const void *src, size_t len);

#endif
