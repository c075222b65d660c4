/* SPDX-License-Identifier: MIT */
/*
 * The inside of a virtio disk, for virtio_blk*.c only: creation (virtio_blk.c), what the driver
 * is told and may choose (virtio_blk_config.c), requests (virtio_blk_req.c).
 */
#ifndef DEVICES_VIRTIO_BLK_INT_H
#define DEVICES_VIRTIO_BLK_INT_H

#include "devices/virtio/virtio_blk.h"

/* 5.2.3 */
#define VIRTIO_BLK_F_SIZE_MAX (1ull << 1)
#define VIRTIO_BLK_F_SEG_MAX (1ull << 2)
#define VIRTIO_BLK_F_RO (1ull << 5)
#define VIRTIO_BLK_F_BLK_SIZE (1ull << 6)
#define VIRTIO_BLK_F_FLUSH (1ull << 9)
#define VIRTIO_BLK_F_TOPOLOGY (1ull << 10)
#define VIRTIO_BLK_F_CONFIG_WCE (1ull << 11)
#define VIRTIO_BLK_F_MQ (1ull << 12)
#define VIRTIO_BLK_F_DISCARD (1ull << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES (1ull << 14)

#define VIRTIO_BLK_CONFIG_LEN 60 /* 5.2.4, without what secure erase would add */

/* Of a discard or write-zeroes request: segments, and sectors of a segment. */
#define VIRTIO_BLK_MAX_RANGES 32
#define VIRTIO_BLK_MAX_RANGE_SECTORS (1u << 22) /* 2 GiB: the host may take seconds for it */

struct blk_queue;

struct blk_req {
	struct block_req b;
	struct virtq_buf buf;
	struct blk_queue *bq;
	uint8_t *status; /* in guest memory */
	uint64_t written; /* bytes of the buffer that success changes, status not counted */
	const char *what; /* for the account, these three: "read", "write", ... */
	uint64_t offset;
	struct block_stamps stamps;
	struct blk_req *next; /* on one of the lists */
};

/* One thread's own, but for create and destroy. */
struct blk_queue {
	struct virtio_blk *blk;
	struct virtio_queue *q;
	struct block_queue *host;
	struct block_stages *stages; /* the thread's; NULL: none */
	struct blk_req *reqs; /* one more than can be in flight: one is free after a flush */
	struct iovec *iovs;
	struct blk_req *free; /* last in, first out: few pages are ever touched */
	struct blk_req *pushed; /* until the flush, which has their last stamps */
	struct blk_req **pushed_end;
};

struct virtio_blk_state {
	union virtio_any_state any;
	uint8_t writeback; /* the driver's choice (5.2.5); 1 where it has none */
};

struct virtio_blk {
	union {
		struct virtio_dev vdev;
		struct virtio_any any;
	};
	struct block *block;
	uint64_t capacity; /* sectors, as the driver is told; guarded by the device's lock */
	struct blk_queue *queues;
	unsigned nr_queues;
	atomic_bool durable; /* a write is done when it is on the medium */
	struct virtio_blk_state s;
};

static inline struct virtio_blk *virtio_blk_of(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_blk, vdev);
}

/* What the device offers. */
uint64_t virtio_blk_features(const struct block *block, unsigned nr_queues);

/* For struct virtio_ops. */
void virtio_blk_config_read(struct virtio_dev *vdev, unsigned offset, void *buf, unsigned len);
void virtio_blk_config_write(struct virtio_dev *vdev, unsigned offset, const void *buf,
			     unsigned len);
void virtio_blk_features_changed(struct virtio_dev *vdev, uint64_t features);
void virtio_blk_handle(struct virtio_queue *q);
bool virtio_blk_poll(struct virtio_queue *q);
void virtio_blk_flushed(struct virtio_queue *q, uint64_t used, uint64_t interrupt);

/* That what was loaded into the state can be. */
bool virtio_blk_state_valid(const struct virtio_blk *blk);

/* 0 or -errno: the requests, and the way to the disk, for batches from loop. */
int virtio_blk_queue_create(struct blk_queue *bq, struct block *block, unsigned size,
			    struct loop *loop) __must_check;
/* Nothing is in flight. Undoes a failed creation, too. */
void virtio_blk_queue_destroy(struct blk_queue *bq);

#endif
