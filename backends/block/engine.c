/* SPDX-License-Identifier: MIT */
#include "backends/block/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static const _Alignas(4096) char zero_page[PAGE_SIZE_4K];

/* On the loop's thread. */
static void run_admitted(void *opaque)
{
	struct engine_queue *eq = opaque;
	struct engine_gate *gate = &eq->img->gate;
	struct engine_req *er;

	pthread_mutex_lock(&gate->lock);
	er = eq->admitted;
	eq->admitted = NULL;
	eq->admitted_end = &eq->admitted;
	pthread_mutex_unlock(&gate->lock);
	while (er) {
		struct engine_req *next = er->next;

		eq->start(er);
		er = next;
	}
	block_kick(&eq->q);
	engine_queue_batch_end(eq);
}

void engine_queue_admit(struct engine_req *er)
{
	struct engine_queue *eq = er->eq;

	er->next = NULL;
	*eq->admitted_end = er;
	eq->admitted_end = &er->next;
	loop_post(eq->cfg.loop, &eq->admitted_post);
}

void engine_queue_batch_end(struct engine_queue *eq)
{
	if (eq->cfg.batch_end)
		eq->cfg.batch_end(eq->cfg.opaque);
}

int engine_queue_init(struct engine_queue *eq, const struct engine_config *cfg)
{
	unsigned depth = cfg->queue->depth;

	if (!depth || depth > ENGINE_MAX_DEPTH)
		return -EINVAL;
	eq->q.ops = cfg->ops;
	eq->q.block = cfg->block;
	eq->img = cfg->img;
	eq->cfg = *cfg->queue;
	eq->start = cfg->start;
	eq->admitted_end = &eq->admitted;
	eq->admitted_post = (struct loop_post){ .fn = run_admitted, .opaque = eq };
	for (unsigned i = 0; i < ENGINE_ZERO_IOVS; i++)
		eq->zeroes[i] = (struct iovec){ (void *)zero_page, sizeof(zero_page) };
	eq->reqs = calloc(depth, sizeof(*eq->reqs));
	if (!eq->reqs)
		return -ENOMEM;
	if (cfg->img->io_align > 1) {
		/* Address space: memory only for as many as are ever bounced at a time. */
		void *p = mmap(NULL, depth * ENGINE_BOUNCE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED) {
			free(eq->reqs);
			return -ENOMEM;
		}
		eq->bounces = p;
	}
	for (unsigned i = depth; i-- > 0;) {
		struct engine_req *er = &eq->reqs[i];

		er->eq = eq;
		if (eq->bounces)
			er->bounce = eq->bounces + i * ENGINE_BOUNCE;
		er->next = eq->free;
		eq->free = er;
	}
	return 0;
}

void engine_queue_fini(struct engine_queue *eq)
{
	if (eq->bounces)
		munmap(eq->bounces, eq->cfg.depth * ENGINE_BOUNCE);
	free(eq->reqs);
}

/* Whether it could meet another write in a block that only goes whole. */
static bool wants_gate(const struct engine_req *er)
{
	switch (er->req->op) {
	case BLOCK_WRITE:
	case BLOCK_WRITE_ZEROES:
	case BLOCK_DISCARD:
		return er->eq->img->gated;
	default:
		return false;
	}
}

void engine_choose_gate(struct engine_req *er)
{
	er->gated = wants_gate(er);
	er->alone = (er->req->offset | er->req->len) % er->eq->img->io_align;
}

void engine_submit(struct block_queue *q, struct block_req *req)
{
	struct engine_queue *eq = container_of(q, struct engine_queue, q);
	struct engine_req *er = eq->free;

	assert(er); /* the submitter keeps to the depth it has asked for */
	eq->free = er->next;
	er->req = req;
	if (!engine_first_step(er)) {
		er->alone = false;
		er->gated = false;
		engine_end(er);
		return;
	}
	engine_choose_gate(er);
	if (!er->gated || engine_gate_enter(&eq->img->gate, er))
		eq->start(er);
}

void engine_end(struct engine_req *er)
{
	struct engine_queue *eq = er->eq;
	struct block_req *req = er->req;

	if (er->gated)
		engine_gate_leave(&eq->img->gate);
	er->next = eq->free;
	eq->free = er;
	req->done(req, er->result);
}

static long transfer(const struct image *img, const struct engine_call *call)
{
	int n = (int)call->nr_iov;

	if (call->kind == ENGINE_READ)
		return preadv2(img->fd, call->iov, n, (off_t)call->offset, call->flags);
	return pwritev2(img->fd, call->iov, n, (off_t)call->offset, call->flags);
}

long engine_call(const struct image *img, const struct engine_call *call)
{
	long ret = -1;

	switch (call->kind) {
	case ENGINE_READ:
	case ENGINE_WRITE:
		ret = transfer(img, call);
		break;
	case ENGINE_SYNC:
		ret = fdatasync(img->fd);
		break;
	case ENGINE_FALLOCATE:
		ret = fallocate(img->fd, call->flags, (off_t)call->offset, (off_t)call->len);
		break;
	case ENGINE_DISCARD: {
		uint64_t range[2] = { call->offset, call->len };

		ret = ioctl(img->fd, BLKDISCARD, range);
		break;
	}
	}
	return ret < 0 ? -errno : ret;
}
