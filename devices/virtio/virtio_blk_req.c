/* SPDX-License-Identifier: MIT */
/* The requests of a virtio disk: VIRTIO 1.2, 5.2.6. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/counter.h"
#include "devices/virtio/virtio_blk_int.h"

/* 5.2.6 */
#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define T_GET_ID 8
#define T_DISCARD 11
#define T_WRITE_ZEROES 13
#define S_OK 0
#define S_IOERR 1
#define S_UNSUPP 2
#define ID_BYTES 20
#define RANGE_UNMAP 1

struct req_header {
	uint32_t type;
	uint32_t ioprio;
	uint64_t sector;
};

/* A segment of a discard or write-zeroes request. */
struct req_range {
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

static void req_put(struct blk_req *req)
{
	req->next = req->bq->free;
	req->bq->free = req;
}

static void req_push(struct blk_req *req, uint64_t written)
{
	struct blk_queue *bq = req->bq;

	virtq_push(&bq->q->vq, &req->buf, written);
	req->next = NULL;
	*bq->pushed_end = req;
	bq->pushed_end = &req->next;
}

/* Gives the request back to the guest. data: bytes written in front of the status. */
static void req_complete(struct blk_req *req, uint8_t status, uint64_t data)
{
	*req->status = status;
	mem_mark(req->bq->q->vq.mem, req->status, 1);
	req_push(req, data + 1);
}

static void req_done(struct block_req *b, int result);

/* Of several in turn, only the first counts as the submission. */
static void req_submit(struct blk_req *req)
{
	req->b.done = req_done;
	if (!req->stamps.at[BLOCK_SUBMITTED])
		req->stamps.at[BLOCK_SUBMITTED] = ticks_now();
	block_submit(req->bq->host, &req->b);
}

static bool is_durable(const struct blk_req *req)
{
	return atomic_load_explicit(&req->bq->blk->durable, memory_order_relaxed);
}

static void req_rw(struct blk_req *req, enum block_op op, uint64_t sector)
{
	struct virtq_buf *buf = &req->buf;
	bool in = op == BLOCK_READ;
	uint64_t len = in ? buf->in_len : buf->out_len;

	if (len % BLOCK_SECTOR || sector > UINT64_MAX / BLOCK_SECTOR) {
		req_complete(req, S_IOERR, 0);
		return;
	}
	req->written = in ? len : 0;
	req->offset = sector * BLOCK_SECTOR;
	req->b = (struct block_req){
		.op = op,
		.durable = !in && is_durable(req),
		.offset = req->offset,
		.iov = in ? buf->in : buf->out,
		.nr_iov = in ? buf->nr_in : buf->nr_out,
		.len = len,
	};
	req_submit(req);
}

static void req_flush(struct blk_req *req)
{
	req->b = (struct block_req){ .op = BLOCK_FLUSH };
	req_submit(req);
}

/* 0, or the status to fail with (5.2.6.2). */
static uint8_t check_range(const struct req_range *r, enum block_op op)
{
	if (r->flags & (op == BLOCK_DISCARD ? ~0u : ~(unsigned)RANGE_UNMAP))
		return S_UNSUPP;
	if (r->num_sectors > VIRTIO_BLK_MAX_RANGE_SECTORS || r->sector > UINT64_MAX / BLOCK_SECTOR)
		return S_IOERR;
	return 0;
}

/*
 * Submits the next of a request's segments, which lie in its buffer one behind the other: each
 * is taken off when its turn comes. What precedes one that cannot be is done all the same.
 */
static void req_next_range(struct blk_req *req)
{
	enum block_op op = req->b.op;
	struct req_range r;
	uint8_t status;

	if (!virtq_buf_pull(&req->buf, &r, sizeof(r))) {
		req_complete(req, S_OK, 0);
		return;
	}
	status = check_range(&r, op);
	if (status) {
		req_complete(req, status, 0);
		return;
	}
	req->b = (struct block_req){
		.op = op,
		.durable = op == BLOCK_WRITE_ZEROES && is_durable(req),
		.unmap = r.flags & RANGE_UNMAP,
		.offset = r.sector * BLOCK_SECTOR,
		.len = (uint64_t)r.num_sectors * BLOCK_SECTOR,
	};
	req->offset = req->b.offset;
	req_submit(req);
}

static void req_ranges(struct blk_req *req, enum block_op op, uint64_t feature)
{
	uint64_t len = req->buf.out_len;

	if (!virtio_has(req->bq->q->vdev, feature)) {
		req_complete(req, S_UNSUPP, 0);
		return;
	}
	if (!len || len % sizeof(struct req_range) ||
	    len > VIRTIO_BLK_MAX_RANGES * sizeof(struct req_range)) {
		req_complete(req, S_IOERR, 0);
		return;
	}
	req->b.op = op;
	req_next_range(req);
}

static void req_get_id(struct blk_req *req)
{
	char id[ID_BYTES] = { 0 };

	_Static_assert(ID_BYTES == BLOCK_SERIAL_LEN, "the serial number fits");
	memcpy(id, req->bq->blk->block->serial, ID_BYTES);
	req_complete(req, S_OK, virtq_buf_fill(&req->buf, id, sizeof(id)));
}

static uint8_t status_of(int result)
{
	return !result ? S_OK : result == -EOPNOTSUPP ? S_UNSUPP : S_IOERR;
}

static void req_done(struct block_req *b, int result)
{
	struct blk_req *req = container_of(b, struct blk_req, b);

	req->stamps.at[BLOCK_COMPLETED] = ticks_now();
	/* As deep as there are segments, where the host is done at once. */
	if (!result && (b->op == BLOCK_DISCARD || b->op == BLOCK_WRITE_ZEROES))
		req_next_range(req);
	else
		req_complete(req, status_of(result), result ? 0 : req->written);
}

/* False for a request that has no room for an answer. */
static bool req_start(struct blk_req *req)
{
	struct req_header h;

	/* The status is the last byte, wherever the guest has put the descriptors' borders. */
	req->status = virtq_buf_chop(&req->buf);
	if (!req->status)
		return false;
	if (!virtq_buf_pull(&req->buf, &h, sizeof(h))) {
		req_complete(req, S_IOERR, 0);
		return true;
	}
	switch (h.type) {
	case T_IN:
		req->what = "read";
		req_rw(req, BLOCK_READ, h.sector);
		break;
	case T_OUT:
		req->what = "write";
		req_rw(req, BLOCK_WRITE, h.sector);
		break;
	case T_FLUSH:
		req->what = "flush";
		req_flush(req);
		break;
	case T_GET_ID:
		req->what = "get-id";
		req_get_id(req);
		break;
	case T_DISCARD:
		req->what = "discard";
		req_ranges(req, BLOCK_DISCARD, VIRTIO_BLK_F_DISCARD);
		break;
	case T_WRITE_ZEROES:
		req->what = "write-zeroes";
		req_ranges(req, BLOCK_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES);
		break;
	default:
		req->what = "unsupported";
		req_complete(req, S_UNSUPP, 0);
		break;
	}
	return true;
}

/* Takes and submits what is there, one ring's worth at most. As virtq_pop(). */
static int start_batch(struct blk_queue *bq)
{
	uint64_t kicked = virtio_queue_kicked(bq->q);
	struct virtq *vq = &bq->q->vq;
	/* For what comes from now on nobody has kicked. */
	unsigned told = kicked ? virtq_pending(vq) : 0;

	/* Only a guest that reuses buffers in flight finds none free before the flush. */
	for (unsigned i = 0; i < vq->size && bq->free; i++) {
		struct blk_req *req = bq->free;
		int ret = virtq_pop(vq, &req->buf);

		if (ret <= 0)
			return ret;
		bq->free = req->next;
		req->stamps = (struct block_stamps){ { i < told ? kicked : 0, ticks_now() } };
		req->what = "malformed";
		req->offset = req->written = 0;
		if (!req_start(req)) {
			req_push(req, 0);
			return virtq_break(vq, "a request without a status byte");
		}
	}
	return 0;
}

static struct blk_queue *queue_of(struct virtio_queue *q)
{
	return &virtio_blk_of(q->vdev)->queues[q->index];
}

void virtio_blk_handle(struct virtio_queue *q)
{
	struct blk_queue *bq = queue_of(q);
	int ret = start_batch(bq);

	block_kick(bq->host);
	virtio_queue_flush(q);
	if (ret < 0)
		virtio_queue_broken(q);
}

bool virtio_blk_poll(struct virtio_queue *q)
{
	return block_poll(queue_of(q)->host);
}

/* The loop has brought completions. What they have submitted anew is to go as well. */
static void batch_end(void *opaque)
{
	struct blk_queue *bq = opaque;

	block_kick(bq->host);
	virtio_queue_flush(bq->q);
}

/* The account of what was pushed is complete. */
void virtio_blk_flushed(struct virtio_queue *q, uint64_t used, uint64_t interrupt)
{
	struct blk_queue *bq = queue_of(q);
	struct blk_req *req = bq->pushed;

	bq->pushed = NULL;
	bq->pushed_end = &bq->pushed;
	while (req) {
		struct blk_req *next = req->next;

		req->stamps.at[BLOCK_USED] = used;
		req->stamps.at[BLOCK_INTERRUPT] = interrupt;
		if (bq->stages)
			block_stages_add(bq->stages, &req->stamps, req->what, req->offset);
		req_put(req);
		req = next;
	}
}

int virtio_blk_queue_create(struct blk_queue *bq, struct block *block, unsigned size,
			    struct loop *loop)
{
	unsigned nr = size + 1;
	const struct block_queue_config host = {
		.loop = loop,
		.depth = nr,
		.batch_end = batch_end,
		.opaque = bq,
	};

	bq->pushed_end = &bq->pushed;
	bq->reqs = calloc(nr, sizeof(*bq->reqs));
	bq->iovs = calloc((size_t)nr * size, sizeof(*bq->iovs));
	if (!bq->reqs || !bq->iovs)
		return -ENOMEM;
	for (unsigned k = nr; k-- > 0;) {
		struct blk_req *req = &bq->reqs[k];

		req->bq = bq;
		req->buf.iov = &bq->iovs[(size_t)k * size];
		req->buf.max_iov = size;
		req_put(req);
	}
	return block_open_queue(block, &host, &bq->host);
}

void virtio_blk_queue_destroy(struct blk_queue *bq)
{
	block_close_queue(bq->host);
	free(bq->reqs);
	free(bq->iovs);
}
