/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "backends/block/nbd_int.h"
#include "base/log.h"

#define MAX_COMMANDS 64u /* in flight, of a queue */

static struct nbd_queue *to_queue(struct block_queue *q)
{
	return container_of(q, struct nbd_queue, q);
}

/* --- the connection ----------------------------------------------------------------------- */

static void unwatch(struct nbd_queue *q)
{
	if (q->src.fd >= 0)
		loop_del(q->cfg.loop, &q->src);
	q->src.fd = -1;
	q->events = 0;
}

/* libnbd may have another socket than before, even one of the same number. */
static void watch(struct nbd_queue *q)
{
	const struct nbd_lib *lib = &q->disk->lib;
	unsigned direction = lib->aio_get_direction(q->h);
	uint32_t events = (direction & LIBNBD_AIO_DIRECTION_READ ? EPOLLIN : 0) |
			  (direction & LIBNBD_AIO_DIRECTION_WRITE ? EPOLLOUT : 0);
	int fd = lib->aio_get_fd(q->h);

	if (q->state == NBD_UP && events == q->events)
		return;
	if (fd != q->src.fd)
		unwatch(q);
	q->src.fd = fd;
	q->events = events;
	if (fd >= 0 && loop_mod(q->cfg.loop, &q->src, events) &&
	    loop_add(q->cfg.loop, &q->src, events))
		q->src.fd = -1; /* without a way to hear of it: it is down */
}

static bool is_same(const struct nbd_queue *q)
{
	const struct nbd_lib *lib = &q->disk->lib;
	int64_t size = lib->get_size(q->h);

	return size >= 0 && (uint64_t)size >= q->disk->b.size &&
	       (q->disk->b.readonly || !lib->is_read_only(q->h));
}

static void set_down(struct nbd_queue *q)
{
	unwatch(q);
	if (q->state == NBD_UP) {
		log_warn("%s: the connection is lost", q->disk->uri);
		if (atomic_exchange(&q->disk->dirty, false))
			q->disk->lost = true;
	}
	q->state = NBD_DOWN;
	for (struct nbd_req *r = q->pending; r; r = r->next)
		r->result = -EIO;
}

/* libnbd has done something: where are we now? Not to be asked while down. */
static void look(struct nbd_queue *q)
{
	const struct nbd_lib *lib = &q->disk->lib;
	bool up = lib->aio_is_ready(q->h) || lib->aio_is_processing(q->h);

	if (q->state == NBD_CONNECTING && up) {
		up = is_same(q);
		if (up)
			q->state = NBD_UP;
		q->events = 0; /* it may be another socket than before */
	} else if (q->state == NBD_CONNECTING) {
		up = !lib->aio_is_dead(q->h) && !lib->aio_is_closed(q->h);
	}
	if (up)
		watch(q);
	if (!up || q->src.fd < 0)
		set_down(q);
}

static void reconnect(struct nbd_queue *q)
{
	const struct nbd_lib *lib = &q->disk->lib;

	lib->close(q->h);
	q->h = nbd_new_handle(lib);
	if (q->h && !lib->aio_connect_uri(q->h, q->disk->uri)) {
		q->state = NBD_CONNECTING;
		look(q);
	} else {
		set_down(q);
	}
}

/* --- a queue ------------------------------------------------------------------------------ */

/*
 * All that can be done now. done() may submit more, which is for the loop that is running
 * then.
 */
static void run(struct nbd_queue *q)
{
	if (q->running)
		return;
	q->running = true;
	do {
		if (q->state == NBD_DOWN && q->pending && !q->pending->result)
			reconnect(q);
		while (nbd_reap(q) || nbd_issue_pending(q))
			;
		if (q->state != NBD_DOWN)
			look(q);
	} while (q->finished || (q->state == NBD_DOWN && q->pending));
	q->running = false;
}

static void on_socket(void *opaque, uint32_t events)
{
	struct nbd_queue *q = opaque;
	const struct nbd_lib *lib = &q->disk->lib;
	unsigned direction = lib->aio_get_direction(q->h);

	if (direction & LIBNBD_AIO_DIRECTION_READ && events & ~(uint32_t)EPOLLOUT)
		lib->aio_notify_read(q->h);
	else if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		lib->aio_notify_write(q->h);
	q->done_any = false;
	look(q);
	run(q);
	if (q->done_any && q->cfg.batch_end)
		q->cfg.batch_end(q->cfg.opaque);
}

static void nbd_submit(struct block_queue *bq, struct block_req *req)
{
	struct nbd_queue *q = to_queue(bq);
	struct nbd_req *r = q->free_reqs;

	q->free_reqs = r->next;
	*r = (struct nbd_req){
		.req = req,
		.pos = req->offset,
		.end = req->offset + req->len,
		.flush = req->op == BLOCK_FLUSH,
	};
	nbd_pend(q, r);
	run(q);
}

static void queue_free(struct nbd_queue *q)
{
	if (q->bounces != MAP_FAILED)
		munmap(q->bounces, q->bounces_len);
	free(q->reqs);
	free(q->cmds);
	free(q);
}

static void stop_watching(void *opaque)
{
	unwatch(opaque);
}

static void nbd_close_queue(struct block_queue *bq)
{
	struct nbd_queue *q = to_queue(bq);

	/* The callback that ended the last request may be about to watch once more. */
	loop_call(q->cfg.loop, stop_watching, q);
	nbd_hang_up(&q->disk->lib, q->h);
	q->disk->nr_queues--;
	queue_free(q);
}

static const struct block_queue_ops nbd_queue_ops = {
	.submit = nbd_submit,
	.close = nbd_close_queue,
};

static struct nbd_queue *queue_create(struct nbd_disk *d, const struct block_queue_config *cfg)
{
	struct nbd_queue *q = calloc(1, sizeof(*q));
	unsigned nr = (unsigned)min_u64(cfg->depth, MAX_COMMANDS);

	if (!q)
		return NULL;
	q->q = (struct block_queue){ &nbd_queue_ops, &d->b };
	q->disk = d;
	q->cfg = *cfg;
	q->src = (struct loop_src){ -1, on_socket, q };
	q->pending_end = &q->pending;
	q->finished_end = &q->finished;
	q->bounces_len = nr * NBD_BOUNCE;
	q->bounces = mmap(NULL, q->bounces_len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	q->reqs = calloc(cfg->depth, sizeof(*q->reqs));
	q->cmds = calloc(nr, sizeof(*q->cmds));
	if (q->bounces == MAP_FAILED || !q->reqs || !q->cmds) {
		queue_free(q);
		return NULL;
	}
	for (unsigned i = cfg->depth; i-- > 0;) {
		q->reqs[i].next = q->free_reqs;
		q->free_reqs = &q->reqs[i];
	}
	for (unsigned i = nr; i-- > 0;) {
		q->cmds[i].queue = q;
		q->cmds[i].bounce = q->bounces + i * NBD_BOUNCE;
		q->cmds[i].next = q->free_cmds;
		q->free_cmds = &q->cmds[i];
	}
	return q;
}

int nbd_queue_open(struct block *b, const struct block_queue_config *cfg, struct block_queue **out)
{
	struct nbd_disk *d = container_of(b, struct nbd_disk, b);
	struct nbd_queue *q;
	int ret = 0;

	if (b->limits.max_queues && d->nr_queues >= b->limits.max_queues)
		return -EBUSY;
	q = queue_create(d, cfg);
	if (!q)
		return -ENOMEM;
	q->h = d->first;
	d->first = NULL;
	if (!q->h) {
		q->h = nbd_new_handle(&d->lib);
		if (!q->h)
			ret = -ENOMEM;
		else if (d->lib.connect_uri(q->h, d->uri))
			ret = -EIO;
	}
	q->state = NBD_CONNECTING;
	if (!ret)
		look(q);
	if (!ret && q->state != NBD_UP)
		ret = -EIO;
	if (ret) {
		unwatch(q);
		d->lib.close(q->h);
		queue_free(q);
		return ret;
	}
	d->nr_queues++;
	*out = &q->q;
	return 0;
}
