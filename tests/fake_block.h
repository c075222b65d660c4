/* SPDX-License-Identifier: MIT */
/*
 * A disk for the tests of front-ends: in memory, or none at all where only the requests matter.
 * It does each request at once, or holds them until they are let go, on the I/O thread of
 * their queue as backends/block/block.h demands; and it says what it was asked for.
 *
 * In a header, for fuzzers as well. Here it asserts what a front-end owes to every disk.
 */
#ifndef TESTS_FAKE_BLOCK_H
#define TESTS_FAKE_BLOCK_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/block.h"

#define FAKE_BLOCK_LOG 64

struct fake_block;

struct fake_queue {
	struct block_queue q;
	struct block_queue_config cfg;
	struct block_req *held; /* the latest first */
	struct loop_post post;
	struct fake_queue *link;
};

struct fake_block {
	struct block b;
	uint8_t *bytes; /* b.size of them, or NULL: reads and writes move nothing */
	atomic_bool hold;
	atomic_bool ready; /* those held are done when they are polled for */
	atomic_int result; /* of every request */
	atomic_uint nr_held;
	struct block_req log[FAKE_BLOCK_LOG]; /* the first requests, in order */
	atomic_uint nr_log; /* how many there were */
	atomic_uint nr_kicks, nr_polls;
	/* Optional, on the I/O thread. */
	void (*on_submit)(void *opaque);
	void (*on_kick)(void *opaque);
	void *opaque;
	struct fake_queue *queues; /* those open, the latest first */
};

static inline struct fake_block *to_fake_block(struct block_queue *q)
{
	return container_of(q->block, struct fake_block, b);
}

static inline void fake_block_move(struct fake_block *f, const struct block_req *req)
{
	uint64_t at = req->offset, sum = 0;

	for (unsigned i = 0; i < req->nr_iov; i++) {
		const struct iovec *v = &req->iov[i];

		assert(req->op == BLOCK_READ || req->op == BLOCK_WRITE);
		assert(v->iov_len <= f->b.size - at);
		if (f->bytes && req->op == BLOCK_READ)
			memcpy(v->iov_base, f->bytes + at, v->iov_len);
		else if (f->bytes)
			memcpy(f->bytes + at, v->iov_base, v->iov_len);
		at += v->iov_len;
		sum += v->iov_len;
	}
	if (req->op == BLOCK_READ || req->op == BLOCK_WRITE)
		assert(sum == req->len);
	else if (f->bytes && req->op == BLOCK_WRITE_ZEROES)
		memset(f->bytes + at, 0, req->len);
}

static inline void fake_block_done(struct fake_block *f, struct block_req *req)
{
	int result = f->result;

	if (!result)
		fake_block_move(f, req);
	req->done(req, result);
}

/* Does what is held, and what that submits while nothing is held any more. */
static inline bool fake_block_finish(struct fake_queue *fq)
{
	struct fake_block *f = to_fake_block(&fq->q);
	struct block_req *req = fq->held;

	if (!req)
		return false;
	fq->held = NULL;
	while (req) {
		struct block_req *next = req->next;

		f->nr_held--;
		fake_block_done(f, req);
		req = next;
	}
	if (fq->cfg.batch_end)
		fq->cfg.batch_end(fq->cfg.opaque);
	return true;
}

static inline void fake_block_submit(struct block_queue *q, struct block_req *req)
{
	struct fake_queue *fq = container_of(q, struct fake_queue, q);
	struct fake_block *f = to_fake_block(q);

	assert(req->len % BLOCK_SECTOR == 0 && req->offset % BLOCK_SECTOR == 0);
	if (f->on_submit)
		f->on_submit(f->opaque);
	if (f->nr_log < FAKE_BLOCK_LOG)
		f->log[f->nr_log] = *req;
	f->nr_log++;
	if (!f->hold) {
		fake_block_done(f, req);
		return;
	}
	req->next = fq->held;
	fq->held = req;
	f->nr_held++;
}

static inline void fake_block_kick(struct block_queue *q)
{
	struct fake_block *f = to_fake_block(q);

	f->nr_kicks++;
	if (f->on_kick)
		f->on_kick(f->opaque);
}

static inline bool fake_block_poll(struct block_queue *q)
{
	struct fake_block *f = to_fake_block(q);

	f->nr_polls++;
	return f->ready && fake_block_finish(container_of(q, struct fake_queue, q));
}

static inline void fake_block_release_post(void *opaque)
{
	(void)fake_block_finish(opaque);
}

/* Any thread: what is held is done, on its own one, before whatever is posted there after. */
static inline void fake_block_release(struct fake_block *f)
{
	for (struct fake_queue *fq = f->queues; fq; fq = fq->link)
		loop_post(fq->cfg.loop, &fq->post);
}

static inline void fake_block_close(struct block_queue *q)
{
	struct fake_queue *fq = container_of(q, struct fake_queue, q);
	struct fake_queue **at = &to_fake_block(q)->queues;

	assert(!fq->held);
	while (*at != fq)
		at = &(*at)->link;
	*at = fq->link;
	free(fq);
}

static const struct block_queue_ops fake_queue_ops = { .submit = fake_block_submit,
						       .kick = fake_block_kick,
						       .poll = fake_block_poll,
						       .close = fake_block_close };

static inline int fake_block_open_queue(struct block *b, const struct block_queue_config *cfg,
					struct block_queue **out)
{
	struct fake_block *f = container_of(b, struct fake_block, b);
	struct fake_queue *fq = calloc(1, sizeof(*fq));

	assert(fq);
	fq->q = (struct block_queue){ &fake_queue_ops, b };
	fq->cfg = *cfg;
	fq->post = (struct loop_post){ .fn = fake_block_release_post, .opaque = fq };
	fq->link = f->queues;
	f->queues = fq;
	*out = &fq->q;
	return 0;
}

static inline void fake_block_destroy(struct block *b)
{
	(void)b;
}

static const struct block_ops fake_block_ops = {
	.open_queue = fake_block_open_queue,
	.destroy = fake_block_destroy,
};

/* All else is 0, and the test's to set before a front-end has it. */
static inline void fake_block_init(struct fake_block *f, uint64_t size)
{
	memset(f, 0, sizeof(*f));
	f->b.ops = &fake_block_ops;
	f->b.size = size;
	f->b.limits.physical_block = BLOCK_SECTOR;
}

#endif
