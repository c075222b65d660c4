/* SPDX-License-Identifier: MIT */
#include "backends/block/limit.h"

#include <errno.h>
#include <stdlib.h>

#include "backends/block/layer.h"
#include "base/bucket.h"

struct fifo {
	struct block_req *first, **end;
};

struct limit_queue {
	struct block_queue q;
	struct block_queue *below;
	struct limit *limit;
	struct block_queue_config cfg;
	struct host_clock clock; /* where the configuration gave none */
	struct timer timer;
	unsigned delayed; /* requests in waiting and ready; the queue's thread's */
	struct limit_queue *next;
	/* The limit's lock guards these. */
	struct fifo waiting; /* for tokens */
	struct fifo ready; /* paid, for our thread to submit */
	uint64_t served; /* how much of the limits it has had, in ns; see next_turn() */
};

struct limit {
	struct layer layer;
	struct clock *clock;
	atomic_bool active; /* there is a limit; changed with the lock held */
	pthread_mutex_t lock; /* guards all below; taken outside of the clocks' locks */
	struct limit_rates rates;
	bool lifted;
	struct bucket ops, bytes;
	uint64_t filled; /* when the buckets were last filled */
	unsigned nr_waiting; /* requests, of all queues */
	uint64_t served; /* of the queue that had the last turn, before it */
	struct limit_queue *queues;
};

/* --- whose turn it is --------------------------------------------------------------------- */

static void fifo_init(struct fifo *f)
{
	f->first = NULL;
	f->end = &f->first;
}

static void fifo_put(struct fifo *f, struct block_req *req)
{
	req->next = NULL;
	*f->end = req;
	f->end = &req->next;
}

static struct block_req *fifo_take(struct fifo *f)
{
	struct block_req *req = f->first;

	if (req) {
		f->first = req->next;
		if (!f->first)
			f->end = &f->first;
	}
	return req;
}

static uint64_t req_bytes(const struct block_req *req)
{
	return req->op == BLOCK_READ || req->op == BLOCK_WRITE ? req->len : 0;
}

/* The time that it takes from the others: ns of the limit that it weighs most on. */
static uint64_t req_time(const struct limit *l, const struct block_req *req)
{
	uint64_t ops = l->ops.rate ? NSEC_PER_SEC / l->ops.rate : 0;
	uint64_t bytes = l->bytes.rate ? mul_div(req_bytes(req), NSEC_PER_SEC, l->bytes.rate) : 0;

	return max_u64(ops, bytes);
}

static void fill(struct limit *l, uint64_t now)
{
	uint64_t ns = now > l->filled ? now - l->filled : 0;

	bucket_fill(&l->ops, ns, l->nr_waiting);
	bucket_fill(&l->bytes, ns, l->nr_waiting);
	l->filled = max_u64(l->filled, now);
}

/* Of the queues that wait the one that has had least. */
static struct limit_queue *next_turn(struct limit *l)
{
	struct limit_queue *best = NULL;

	for (struct limit_queue *q = l->queues; q; q = q->next)
		if (q->waiting.first && (!best || q->served < best->served))
			best = q;
	return best;
}

static void grant(struct limit *l, struct limit_queue *q)
{
	struct block_req *req = fifo_take(&q->waiting);

	bucket_take(&l->ops, 1);
	bucket_take(&l->bytes, req_bytes(req));
	l->served = q->served;
	q->served += req_time(l, req);
	l->nr_waiting--;
	fifo_put(&q->ready, req);
}

/*
 * Grants what can be, and has somebody look again when the next can. The lock is held; the
 * buckets are filled; self's thread, ours, looks at what is ready itself.
 */
static void dispatch(struct limit *l, struct limit_queue *self, uint64_t now)
{
	struct limit_queue *q;

	while ((q = next_turn(l))) {
		const struct block_req *req = q->waiting.first;
		uint64_t ns =
			max_u64(bucket_wait(&l->ops, 1), bucket_wait(&l->bytes, req_bytes(req)));

		if (ns && !l->lifted) {
			/*
			 * Another one with something ready is called at once, again if it has
			 * been called and not yet taken it: then it comes here.
			 */
			if (q == self || !q->ready.first)
				timer_arm(&q->timer, now + max_u64(ns, LIMIT_SLICE));
			else
				timer_arm(&q->timer, now);
			return;
		}
		grant(l, q);
		if (q != self)
			timer_arm(&q->timer, now);
	}
}

/* --- a queue ------------------------------------------------------------------------------ */

static struct limit_queue *to_queue(struct block_queue *q)
{
	return container_of(q, struct limit_queue, q);
}

/* One at a time: what is submitted may be done at once, and its submitter be here again. */
static bool submit_ready(struct limit_queue *q)
{
	struct limit *l = q->limit;
	struct block_req *req;

	for (bool any = false;; any = true) {
		pthread_mutex_lock(&l->lock);
		req = fifo_take(&q->ready);
		pthread_mutex_unlock(&l->lock);
		if (!req)
			return any;
		q->delayed--;
		block_submit(q->below, req);
	}
}

static void wait_turn(struct limit_queue *q, struct block_req *req)
{
	struct limit *l = q->limit;
	uint64_t now = clock_now(l->clock ?: &q->clock.clock);

	q->delayed++;
	pthread_mutex_lock(&l->lock);
	fill(l, now);
	/* Who was away has not saved up turns. */
	if (!q->waiting.first)
		q->served = max_u64(q->served, l->served);
	fifo_put(&q->waiting, req);
	l->nr_waiting++;
	dispatch(l, q, now);
	pthread_mutex_unlock(&l->lock);
	(void)submit_ready(q);
}

static void limit_submit(struct block_queue *bq, struct block_req *req)
{
	struct limit_queue *q = to_queue(bq);

	if (!atomic_load_explicit(&q->limit->active, memory_order_relaxed) && !q->delayed)
		block_submit(q->below, req);
	else
		wait_turn(q, req);
}

static void turn_has_come(void *opaque)
{
	struct limit_queue *q = opaque;
	struct limit *l = q->limit;
	uint64_t now = clock_now(q->timer.clock);

	pthread_mutex_lock(&l->lock);
	fill(l, now);
	dispatch(l, q, now);
	pthread_mutex_unlock(&l->lock);
	if (!submit_ready(q))
		return; /* the submitter may not be there to be called */
	block_kick(q->below);
	if (q->cfg.batch_end)
		q->cfg.batch_end(q->cfg.opaque);
}

static void limit_kick(struct block_queue *bq)
{
	block_kick(to_queue(bq)->below);
}

static bool limit_poll(struct block_queue *bq)
{
	return block_poll(to_queue(bq)->below);
}

static void limit_close_queue(struct block_queue *bq)
{
	struct limit_queue *q = to_queue(bq);
	struct limit *l = q->limit;

	pthread_mutex_lock(&l->lock);
	for (struct limit_queue **p = &l->queues; *p; p = &(*p)->next) {
		if (*p == q) {
			*p = q->next;
			break;
		}
	}
	pthread_mutex_unlock(&l->lock);
	timer_arm(&q->timer, TIMER_OFF);
	if (!l->clock) {
		loop_sync(q->cfg.loop);
		host_clock_destroy(&q->clock);
	}
	block_close_queue(q->below);
	free(q);
}

static const struct block_queue_ops limit_queue_ops = {
	.submit = limit_submit,
	.kick = limit_kick,
	.poll = limit_poll,
	.close = limit_close_queue,
};

/* --- the disk ----------------------------------------------------------------------------- */

static struct limit *to_limit(struct block *b)
{
	return container_of(b, struct limit, layer.b);
}

static int limit_open_queue(struct block *b, const struct block_queue_config *cfg,
			    struct block_queue **out)
{
	struct limit *l = to_limit(b);
	struct limit_queue *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return -ENOMEM;
	q->q = (struct block_queue){ &limit_queue_ops, b };
	q->limit = l;
	q->cfg = *cfg;
	fifo_init(&q->waiting);
	fifo_init(&q->ready);
	ret = l->clock ? 0 : host_clock_init(&q->clock, cfg->loop);
	if (ret)
		goto free_queue;
	timer_init(&q->timer, l->clock ?: &q->clock.clock, turn_has_come, q);
	ret = block_open_queue(l->layer.below, cfg, &q->below);
	if (ret)
		goto destroy_clock;
	pthread_mutex_lock(&l->lock);
	q->next = l->queues;
	l->queues = q;
	pthread_mutex_unlock(&l->lock);
	*out = &q->q;
	return 0;
destroy_clock:
	if (!l->clock)
		host_clock_destroy(&q->clock);
free_queue:
	free(q);
	return ret;
}

static void limit_destroy(struct block *b)
{
	struct limit *l = to_limit(b);

	block_destroy(l->layer.below);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static const struct block_ops limit_ops = {
	.open_queue = limit_open_queue,
	.resize = layer_resize,
	.destroy = limit_destroy,
};

/* Something about the limit is different now: those who wait shall look. The lock is held. */
static void changed(struct limit *l)
{
	bool active = !l->lifted && (l->rates.iops || l->rates.bps);

	atomic_store_explicit(&l->active, active, memory_order_relaxed);
	for (struct limit_queue *q = l->queues; q; q = q->next)
		if (q->waiting.first)
			timer_arm(&q->timer, 0);
}

void limit_set(struct block *b, const struct limit_rates *rates)
{
	struct limit *l = to_limit(b);

	pthread_mutex_lock(&l->lock);
	l->rates = *rates;
	bucket_set(&l->ops, rates->iops, rates->iops_burst);
	bucket_set(&l->bytes, rates->bps, rates->bps_burst);
	changed(l);
	pthread_mutex_unlock(&l->lock);
}

void limit_lift(struct block *b, bool lifted)
{
	struct limit *l = to_limit(b);

	pthread_mutex_lock(&l->lock);
	l->lifted = lifted;
	changed(l);
	pthread_mutex_unlock(&l->lock);
}

void limit_get(struct block *b, struct limit_rates *rates)
{
	struct limit *l = to_limit(b);

	pthread_mutex_lock(&l->lock);
	*rates = l->rates;
	pthread_mutex_unlock(&l->lock);
}

int limit_create(const struct limit_config *cfg, struct block **out)
{
	struct limit *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	layer_init(&l->layer, &limit_ops, cfg->below);
	l->clock = cfg->clock;
	pthread_mutex_init(&l->lock, NULL);
	limit_set(&l->layer.b, &cfg->rates);
	*out = &l->layer.b;
	return 0;
}
