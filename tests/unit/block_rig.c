/* SPDX-License-Identifier: MIT */
#include "tests/unit/block_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define WAIT_SECONDS 20

static void batch_end(void *opaque)
{
	struct rig *r = opaque;

	pthread_mutex_lock(&r->lock);
	r->batch_ends++;
	pthread_mutex_unlock(&r->lock);
}

void rig_open(struct rig *r, struct block *b, unsigned depth)
{
	struct block_queue_config cfg = { .depth = depth, .batch_end = batch_end, .opaque = r };

	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	assert_int_equal(iothread_start(&r->io, "rig"), 0);
	cfg.loop = &r->io.loop;
	assert_int_equal(block_open_queue(b, &cfg, &r->q), 0);
}

void rig_close(struct rig *r)
{
	block_close_queue(r->q);
	iothread_stop(&r->io);
	pthread_cond_destroy(&r->cond);
	pthread_mutex_destroy(&r->lock);
}

struct rig_call rig_call(enum block_op op, uint64_t offset, void *buf, size_t len)
{
	return (struct rig_call){
		.req = { .op = op, .offset = offset, .len = len },
		.one = { buf, len },
	};
}

static void call_done(struct block_req *req, int result)
{
	struct rig_call *c = container_of(req, struct rig_call, req);
	struct rig *r = c->rig;

	pthread_mutex_lock(&r->lock);
	c->wrong_thread = !pthread_equal(pthread_self(), r->io.thread) || c->done;
	c->done = true;
	c->result = result;
	c->order = ++r->order;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

static void submit_calls(void *opaque)
{
	struct rig *r = opaque;

	for (unsigned i = 0; i < r->nr_calls; i++)
		block_submit(r->q, &r->calls[i].req);
	block_kick(r->q);
	pthread_mutex_lock(&r->lock);
	r->submitted = true;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

/* Until *flag; the lock is held. */
static void wait_for(struct rig *r, const bool *flag)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SECONDS;
	while (!*flag) {
		int ret = pthread_cond_timedwait(&r->cond, &r->lock, &until);

		if (ret && !*flag) {
			pthread_mutex_unlock(&r->lock);
			fail_msg("nothing happened for %d s", WAIT_SECONDS);
		}
	}
}

void rig_submit(struct rig *r, struct rig_call *calls, unsigned n)
{
	struct loop_post post = { .fn = submit_calls, .opaque = r };

	for (unsigned i = 0; i < n; i++) {
		struct rig_call *c = &calls[i];

		c->rig = r;
		c->done = false;
		c->req.done = call_done;
		if (c->one.iov_base) {
			c->req.iov = &c->one;
			c->req.nr_iov = 1;
		}
	}
	r->calls = calls;
	r->nr_calls = n;
	r->submitted = false;
	loop_post(&r->io.loop, &post);
	pthread_mutex_lock(&r->lock);
	wait_for(r, &r->submitted);
	pthread_mutex_unlock(&r->lock);
}

int rig_wait(struct rig_call *c)
{
	pthread_mutex_lock(&c->rig->lock);
	wait_for(c->rig, &c->done);
	pthread_mutex_unlock(&c->rig->lock);
	assert_false(c->wrong_thread);
	return c->result;
}

bool rig_is_done(struct rig_call *c)
{
	bool done;

	pthread_mutex_lock(&c->rig->lock);
	done = c->done;
	pthread_mutex_unlock(&c->rig->lock);
	return done;
}

int rig_do(struct rig *r, enum block_op op, uint64_t offset, void *buf, size_t len)
{
	struct rig_call c = rig_call(op, offset, buf, len);

	rig_submit(r, &c, 1);
	return rig_wait(&c);
}

/* --- a disk --------------------------------------------------------------------------------- */

static struct fake_disk *to_fake(struct block *b)
{
	return container_of(b, struct fake_disk, b);
}

static void fake_submit(struct block_queue *q, struct block_req *req)
{
	struct fake_disk *d = to_fake(q->block);
	bool good = req->op != BLOCK_FLUSH && req->offset + req->len <= d->fail_from;

	d->requests++;
	d->flushes += req->op == BLOCK_FLUSH;
	req->done(req, good ? 0 : d->result);
}

static void fake_kick(struct block_queue *q)
{
	to_fake(q->block)->kicks++;
}

static void fake_close(struct block_queue *q)
{
	to_fake(q->block)->queues--;
	free(q);
}

static int fake_open_queue(struct block *b, const struct block_queue_config *cfg,
			   struct block_queue **out)
{
	static const struct block_queue_ops ops = { .submit = fake_submit,
						    .kick = fake_kick,
						    .close = fake_close };
	struct block_queue *q = malloc(sizeof(*q));

	(void)cfg;
	assert_non_null(q);
	*q = (struct block_queue){ &ops, b };
	to_fake(b)->queues++;
	*out = q;
	return 0;
}

static int fake_resize(struct block *b, uint64_t size, struct err *err)
{
	(void)err;
	b->size = size;
	return 0;
}

static void fake_destroy(struct block *b)
{
	assert_int_equal(to_fake(b)->queues, 0);
	to_fake(b)->destroyed = true;
}

void fake_disk_init(struct fake_disk *d, uint64_t size)
{
	static const struct block_ops ops = { fake_open_queue, fake_resize, fake_destroy };

	memset(d, 0, sizeof(*d));
	d->b.ops = &ops;
	d->b.size = size;
	strcpy(d->b.serial, "fake");
	d->b.limits.discard_align = BLOCK_SECTOR;
}
