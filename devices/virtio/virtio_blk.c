/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/counter.h"
#include "devices/virtio/virtio_pci.h"

#define DEFAULT_QUEUE_SIZE 256

/* 5.2.3 */
#define F_SEG_MAX (1ull << 2)
#define F_RO (1ull << 5)
#define F_BLK_SIZE (1ull << 6)
#define F_FLUSH (1ull << 9)
#define F_MQ (1ull << 12)

/* 5.2.4: offsets in the device's configuration */
#define CONFIG_CAPACITY 0
#define CONFIG_SEG_MAX 12
#define CONFIG_BLK_SIZE 20
#define CONFIG_NUM_QUEUES 34
#define CONFIG_LEN 60

/* 5.2.6 */
#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define T_GET_ID 8
#define S_OK 0
#define S_IOERR 1
#define S_UNSUPP 2
#define ID_BYTES 20

struct req_header {
	uint32_t type;
	uint32_t ioprio;
	uint64_t sector;
};

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
	struct blk_req *reqs; /* one more than can be in flight: one is free after a flush */
	struct iovec *iovs;
	struct blk_req *free; /* last in, first out: few pages are ever touched */
	struct blk_req *pushed; /* until the flush, which has their last stamps */
	struct blk_req **pushed_end;
};

struct virtio_blk_state {
	struct virtio_pci_state vp;
};

struct virtio_blk {
	struct virtio_pci vp; /* its struct device first */
	struct block *block;
	struct iothread io; /* where the board gave us no loop */
	struct blk_queue *queues;
	unsigned nr_queues;
	bool writethrough; /* constant while queues run */
	struct block_stages *stages;
	struct virtio_blk_state s;
};

static struct virtio_blk *to_blk(struct device *dev)
{
	return container_of(dev, struct virtio_blk, vp.dev);
}

static struct virtio_blk *vdev_to_blk(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_blk, vp.vdev);
}

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

static void req_submit(struct blk_req *req)
{
	/* A write's flush is part of it. */
	if (!req->stamps.at[BLOCK_SUBMITTED])
		req->stamps.at[BLOCK_SUBMITTED] = ticks_now();
	block_submit(req->bq->host, &req->b);
}

static void req_done(struct block_req *b, int result);

static void req_flush(struct blk_req *req)
{
	req->written = 0;
	req->b = (struct block_req){ .op = BLOCK_FLUSH, .done = req_done };
	req_submit(req);
}

static void req_done(struct block_req *b, int result)
{
	struct blk_req *req = container_of(b, struct blk_req, b);
	struct virtio_blk *blk = req->bq->blk;

	req->stamps.at[BLOCK_COMPLETED] = ticks_now();
	/* 5.2.6.2: for a driver that cannot flush a write is stable once it completes. */
	if (!result && b->op == BLOCK_WRITE && blk->writethrough) {
		req_flush(req);
		return;
	}
	req_complete(req, result ? S_IOERR : S_OK, result ? 0 : req->written);
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
		.offset = req->offset,
		.iov = in ? buf->in : buf->out,
		.nr_iov = in ? buf->nr_in : buf->nr_out,
		.len = len,
		.done = req_done,
	};
	req_submit(req);
}

static void req_get_id(struct blk_req *req)
{
	char id[ID_BYTES] = { 0 };

	_Static_assert(ID_BYTES == BLOCK_SERIAL_LEN, "the serial number fits");
	memcpy(id, req->bq->blk->block->serial, ID_BYTES);
	req_complete(req, S_OK, virtq_buf_fill(&req->buf, id, sizeof(id)));
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
		req->offset = 0;
		if (!req_start(req)) {
			req_push(req, 0);
			return virtq_break(vq, "a request without a status byte");
		}
	}
	return 1;
}

/* How many batches before others on this thread get their turn. */
#define MAX_BATCHES 8

static void blk_handle(struct virtio_queue *q)
{
	struct virtio_blk *blk = vdev_to_blk(q->vdev);
	struct blk_queue *bq = &blk->queues[q->index];

	for (unsigned i = 0; i < MAX_BATCHES; i++) {
		int ret;

		virtq_disable_kicks(&q->vq);
		ret = start_batch(bq);
		block_kick(bq->host);
		virtio_queue_flush(q);
		if (ret < 0) {
			virtio_queue_broken(q);
			return;
		}
		if (!ret && !virtq_enable_kicks(&q->vq))
			return;
	}
	virtio_queue_kick(q);
}

/* The loop has brought completions. What they have submitted anew is to go as well. */
static void batch_end(void *opaque)
{
	struct blk_queue *bq = opaque;

	block_kick(bq->host);
	virtio_queue_flush(bq->q);
}

/* The account of what was pushed is complete. */
static void blk_flushed(struct virtio_queue *q, uint64_t used, uint64_t interrupt)
{
	struct virtio_blk *blk = vdev_to_blk(q->vdev);
	struct blk_queue *bq = &blk->queues[q->index];
	struct blk_req *req = bq->pushed;

	bq->pushed = NULL;
	bq->pushed_end = &bq->pushed;
	while (req) {
		struct blk_req *next = req->next;

		req->stamps.at[BLOCK_USED] = used;
		req->stamps.at[BLOCK_INTERRUPT] = interrupt;
		if (blk->stages)
			block_stages_add(blk->stages, &req->stamps, req->what, req->offset);
		req_put(req);
		req = next;
	}
}

static void blk_config_read(struct virtio_dev *vdev, unsigned offset, void *buf, unsigned len)
{
	const struct virtio_blk *blk = vdev_to_blk(vdev);
	uint8_t config[CONFIG_LEN] = { 0 };

	store_le(config + CONFIG_CAPACITY, 8, blk->block->size / BLOCK_SECTOR);
	store_le(config + CONFIG_SEG_MAX, 4, vdev->queue_size - 2u); /* header and status */
	store_le(config + CONFIG_BLK_SIZE, 4, BLOCK_SECTOR);
	store_le(config + CONFIG_NUM_QUEUES, 2, vdev->nr_queues);
	memcpy(buf, config + offset, len);
}

static void blk_features_changed(struct virtio_dev *vdev, uint64_t features)
{
	vdev_to_blk(vdev)->writethrough = !(features & F_FLUSH);
}

static const struct virtio_ops blk_virtio_ops = {
	.handle = blk_handle,
	.flushed = blk_flushed,
	.config_read = blk_config_read,
	.features_changed = blk_features_changed,
};

static void blk_free(struct virtio_blk *blk)
{
	virtio_pci_destroy(&blk->vp);
	iothread_join(&blk->io);
	for (unsigned i = 0; i < blk->nr_queues; i++) {
		block_close_queue(blk->queues[i].host);
		free(blk->queues[i].reqs);
		free(blk->queues[i].iovs);
	}
	iothread_stop(&blk->io);
	free(blk->queues);
	free(blk);
}

static void blk_destroy(struct device *dev)
{
	blk_free(to_blk(dev));
}

static const struct state_field blk_fields[] = {
	VIRTIO_PCI_STATE_FIELDS(struct virtio_blk_state, vp),
};

static const struct state_desc blk_state = {
	.version = 1,
	.fields = blk_fields,
	.nr_fields = ARRAY_SIZE(blk_fields),
};

static const struct device_ops blk_ops = {
	.type = "virtio-blk",
	.reset = virtio_pci_reset,
	.destroy = blk_destroy,
	.state = &blk_state,
	.state_offset = offsetof(struct virtio_blk, s),
	.pre_save = virtio_pci_pre_save,
	.post_load = virtio_pci_post_load,
};

static int queue_create(struct virtio_blk *blk, unsigned i, unsigned queue_size, struct loop *loop)
{
	struct blk_queue *bq = &blk->queues[i];
	unsigned nr = queue_size + 1;
	const struct block_queue_config host = {
		.loop = loop,
		.depth = nr,
		.batch_end = batch_end,
		.opaque = bq,
	};

	bq->blk = blk;
	bq->pushed_end = &bq->pushed;
	bq->reqs = calloc(nr, sizeof(*bq->reqs));
	bq->iovs = calloc((size_t)nr * queue_size, sizeof(*bq->iovs));
	blk->nr_queues++;
	if (!bq->reqs || !bq->iovs)
		return -ENOMEM;
	for (unsigned k = nr; k-- > 0;) {
		struct blk_req *req = &bq->reqs[k];

		req->bq = bq;
		req->buf.iov = &bq->iovs[(size_t)k * queue_size];
		req->buf.max_iov = queue_size;
		req_put(req);
	}
	return block_open_queue(blk->block, &host, &bq->host);
}

int virtio_blk_create(const struct virtio_blk_config *cfg, struct device **out)
{
	unsigned nr = cfg->queues ? cfg->queues : 1;
	uint16_t size = cfg->queue_size ? cfg->queue_size : DEFAULT_QUEUE_SIZE;
	struct loop *loops[VIRTIO_MAX_QUEUES], *loop = cfg->loop;
	struct virtio_pci_config vpc = {
		.host = cfg->pci,
		.devfn = cfg->devfn,
		.type = VIRTIO_ID_BLOCK,
		.class = 0x010000, /* SCSI storage: what drivers and firmware expect */
		.no_ioeventfd = cfg->no_ioeventfd,
		.virtio = {
			.ops = &blk_virtio_ops,
			.mem = cfg->mem,
			.loops = loops,
			.features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH,
			.config_len = CONFIG_LEN,
			.queue_size = size,
			.nr_queues = nr,
		},
	};
	struct virtio_blk *blk;
	int ret = 0;

	if (nr > VIRTIO_MAX_QUEUES || !is_pow2(size) || size < 4 || size > VIRTQ_MAX_SIZE)
		return -EINVAL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	device_init(&blk->vp.dev, &blk_ops, cfg->name);
	blk->block = cfg->block;
	blk->stages = cfg->stages;
	blk->queues = calloc(nr, sizeof(*blk->queues));
	if (!blk->queues)
		ret = -ENOMEM;
	if (!ret && !cfg->loop) {
		ret = iothread_start(&blk->io, cfg->name);
		loop = &blk->io.loop;
	}
	for (unsigned i = 0; i < nr && !ret; i++) {
		loops[i] = loop;
		ret = queue_create(blk, i, size, loop);
	}
	vpc.s = &blk->s.vp;
	if (cfg->block->readonly)
		vpc.virtio.features |= F_RO;
	if (nr > 1)
		vpc.virtio.features |= F_MQ;
	if (!ret)
		ret = virtio_pci_init(&blk->vp, &vpc);
	if (ret) {
		blk_free(blk);
		return ret;
	}
	for (unsigned i = 0; i < nr; i++)
		blk->queues[i].q = &blk->vp.vdev.queues[i];
	*out = &blk->vp.dev;
	return 0;
}

void virtio_blk_resized(struct device *dev)
{
	struct virtio_dev *vdev = &to_blk(dev)->vp.vdev;

	device_lock(dev);
	vdev->s->config_generation++;
	if (vdev->s->status & VIRTIO_STATUS_DRIVER_OK)
		vdev->transport->notify_config(vdev);
	device_unlock(dev);
}
