/* SPDX-License-Identifier: MIT */
#include "backends/block/policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/block/layer.h"

enum policy_state { POLICY_RUNNING, POLICY_STOPPED, POLICY_GIVEN_UP };

struct policy_req {
	struct block_req b; /* ours, below */
	struct block_req *top; /* the submitter's */
	struct policy_queue *queue;
	struct policy_req *next;
};

/* Its thread's own, but for create and destroy. */
struct policy_queue {
	struct block_queue q;
	struct block_queue *below;
	struct policy *policy;
	struct block_queue_config cfg;
	struct loop_src wake; /* an eventfd: look at held again */
	struct policy_req *reqs;
	struct policy_req *free;
	struct policy_req *held, **held_end; /* in order */
	struct policy_queue *next; /* guarded by the policy's lock */
};

struct policy {
	struct layer layer;
	void (*stopped)(void *ctx);
	void *ctx;
	_Atomic enum policy_state state; /* changed with the lock held */
	pthread_mutex_t lock; /* guards all below */
	struct policy_failure failure;
	struct policy_queue *queues;
};

/* --- a request ---------------------------------------------------------------------------- */

static bool host_failed(int result)
{
	return result && result != -ERANGE && result != -EROFS && result != -EOPNOTSUPP;
}

/* A request has failed: true if it is to be held. */
static bool stop(struct policy *p, const struct block_req *req, int result)
{
	bool first, hold;

	pthread_mutex_lock(&p->lock);
	first = p->state == POLICY_RUNNING;
	if (first) {
		p->failure = (struct policy_failure){ req->op, req->offset, req->len, result };
		p->state = POLICY_STOPPED;
	}
	hold = p->state == POLICY_STOPPED;
	pthread_mutex_unlock(&p->lock);
	if (first)
		p->stopped(p->ctx);
	return hold;
}

static void hold(struct policy_req *r)
{
	struct policy_queue *q = r->queue;

	r->next = NULL;
	*q->held_end = r;
	q->held_end = &r->next;
}

static void below_done(struct block_req *b, int result)
{
	struct policy_req *r = container_of(b, struct policy_req, b);
	struct policy_queue *q = r->queue;
	struct block_req *top = r->top;

	if (host_failed(result) && stop(q->policy, b, result)) {
		hold(r);
		return;
	}
	r->next = q->free;
	q->free = r;
	top->done(top, result);
}

static void start(struct policy_req *r)
{
	if (r->queue->policy->state == POLICY_STOPPED)
		hold(r);
	else
		block_submit(r->queue->below, &r->b);
}

/* --- a queue ------------------------------------------------------------------------------ */

static struct policy_queue *to_queue(struct block_queue *q)
{
	return container_of(q, struct policy_queue, q);
}

static void policy_submit(struct block_queue *bq, struct block_req *req)
{
	struct policy_queue *q = to_queue(bq);
	struct policy_req *r = q->free;

	q->free = r->next;
	r->b = *req;
	r->b.done = below_done;
	r->top = req;
	start(r);
}

/* What fails again, and what comes behind it, is held again in the same order. */
static void start_held(void *opaque, uint32_t events)
{
	struct policy_queue *q = opaque;
	struct policy_req *r = q->held;
	eventfd_t n;

	(void)events;
	(void)eventfd_read(q->wake.fd, &n);
	if (!r)
		return; /* the submitter may not be there to be called */
	q->held = NULL;
	q->held_end = &q->held;
	while (r) {
		struct policy_req *next = r->next;

		start(r);
		r = next;
	}
	block_kick(q->below);
	if (q->cfg.batch_end)
		q->cfg.batch_end(q->cfg.opaque);
}

static void policy_kick(struct block_queue *bq)
{
	block_kick(to_queue(bq)->below);
}

static bool policy_poll(struct block_queue *bq)
{
	return block_poll(to_queue(bq)->below);
}

static void queue_free(struct policy_queue *q)
{
	if (q->wake.fd >= 0)
		close(q->wake.fd);
	free(q->reqs);
	free(q);
}

static void policy_close_queue(struct block_queue *bq)
{
	struct policy_queue *q = to_queue(bq);
	struct policy *p = q->policy;

	pthread_mutex_lock(&p->lock);
	for (struct policy_queue **link = &p->queues; *link; link = &(*link)->next) {
		if (*link == q) {
			*link = q->next;
			break;
		}
	}
	pthread_mutex_unlock(&p->lock);
	loop_del(q->cfg.loop, &q->wake);
	loop_sync(q->cfg.loop);
	block_close_queue(q->below);
	queue_free(q);
}

static const struct block_queue_ops policy_queue_ops = {
	.submit = policy_submit,
	.kick = policy_kick,
	.poll = policy_poll,
	.close = policy_close_queue,
};

static struct policy_queue *queue_create(struct policy *p, const struct block_queue_config *cfg)
{
	struct policy_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->q = (struct block_queue){ &policy_queue_ops, &p->layer.b };
	q->policy = p;
	q->cfg = *cfg;
	q->held_end = &q->held;
	q->wake = (struct loop_src){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), start_held, q };
	q->reqs = calloc(cfg->depth, sizeof(*q->reqs));
	if (q->wake.fd < 0 || !q->reqs) {
		queue_free(q);
		return NULL;
	}
	for (unsigned i = cfg->depth; i-- > 0;) {
		q->reqs[i].queue = q;
		q->reqs[i].next = q->free;
		q->free = &q->reqs[i];
	}
	return q;
}

/* --- the disk ----------------------------------------------------------------------------- */

static struct policy *to_policy(struct block *b)
{
	return container_of(b, struct policy, layer.b);
}

static int policy_open_queue(struct block *b, const struct block_queue_config *cfg,
			     struct block_queue **out)
{
	struct policy *p = to_policy(b);
	struct policy_queue *q = queue_create(p, cfg);
	int ret;

	if (!q)
		return -ENOMEM;
	ret = block_open_queue(p->layer.below, cfg, &q->below);
	if (!ret) {
		ret = loop_add(cfg->loop, &q->wake, EPOLLIN);
		if (ret)
			block_close_queue(q->below);
	}
	if (ret) {
		queue_free(q);
		return ret;
	}
	pthread_mutex_lock(&p->lock);
	q->next = p->queues;
	p->queues = q;
	pthread_mutex_unlock(&p->lock);
	*out = &q->q;
	return 0;
}

static void policy_destroy(struct block *b)
{
	struct policy *p = to_policy(b);

	block_destroy(p->layer.below);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct block_ops policy_ops = {
	.open_queue = policy_open_queue,
	.resize = layer_resize,
	.destroy = policy_destroy,
};

bool policy_stopped(struct block *b, struct policy_failure *failure)
{
	struct policy *p = to_policy(b);
	bool stopped;

	pthread_mutex_lock(&p->lock);
	stopped = p->state == POLICY_STOPPED;
	*failure = p->failure;
	pthread_mutex_unlock(&p->lock);
	return stopped;
}

static void go_on(struct policy *p, enum policy_state state)
{
	pthread_mutex_lock(&p->lock);
	p->state = state;
	for (struct policy_queue *q = p->queues; q; q = q->next)
		eventfd_write(q->wake.fd, 1);
	pthread_mutex_unlock(&p->lock);
}

void policy_resume(struct block *b)
{
	go_on(to_policy(b), POLICY_RUNNING);
}

void policy_give_up(struct block *b)
{
	go_on(to_policy(b), POLICY_GIVEN_UP);
}

int policy_create(const struct policy_config *cfg, struct block **out)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	layer_init(&p->layer, &policy_ops, cfg->below);
	p->stopped = cfg->stopped;
	p->ctx = cfg->ctx;
	pthread_mutex_init(&p->lock, NULL);
	*out = &p->layer.b;
	return 0;
}
