/* SPDX-License-Identifier: MIT */
#include "backends/net/limit.h"

#include <errno.h>
#include <stdlib.h>

#include "backends/net/layer.h"
#include "base/bucket.h"

struct direction {
	struct bucket frames, bytes;
	uint64_t filled; /* when they were last filled */
	unsigned waiting; /* queues */
};

/* A queue's, of one direction; the queue's thread's. */
struct way {
	struct timer timer;
	bool waits; /* for the timer */
	bool took; /* something since it has last waited */
};

struct limit_queue {
	struct net_queue q;
	struct net_queue *below;
	struct limit *limit;
	struct net_queue_config cfg;
	struct host_clock clock; /* where the configuration gave none */
	struct way sending, receiving;
	bool wanted; /* the queue's thread's */
	struct limit_queue *next; /* guarded by the limit's lock */
};

struct limit {
	struct net_layer layer;
	struct clock *clock;
	atomic_bool active; /* there is a limit; changed with the lock held */
	pthread_mutex_t lock; /* guards all below; taken outside of the clocks' locks */
	struct net_rates rates;
	struct direction sending, receiving;
	struct limit_queue *queues;
};

static struct limit *to_limit(struct net *net)
{
	return container_of(net, struct limit, layer.net);
}

static struct limit_queue *to_queue(struct net_queue *q)
{
	return container_of(q, struct limit_queue, q);
}

/* --- tokens ------------------------------------------------------------------------------- */

/*
 * True: a frame may go. Else w's timer is armed for when it is worth to ask again: for those who
 * have just had something a moment after the others who wait.
 */
static bool may_go(struct limit *l, struct direction *d, struct way *w)
{
	uint64_t now, ns;

	if (w->waits)
		return false;
	if (!atomic_load_explicit(&l->active, memory_order_relaxed))
		return true;
	now = clock_now(w->timer.clock);
	pthread_mutex_lock(&l->lock);
	ns = now > d->filled ? now - d->filled : 0;
	bucket_fill(&d->frames, ns, d->waiting);
	bucket_fill(&d->bytes, ns, d->waiting);
	d->filled = max_u64(d->filled, now);
	ns = max_u64(bucket_wait(&d->frames, 1), bucket_wait(&d->bytes, 1));
	if (ns) {
		ns = max_u64(ns, NET_LIMIT_SLICE) + (w->took && d->waiting ? NET_LIMIT_SLICE : 0);
		w->took = false;
		w->waits = true;
		d->waiting++;
		timer_arm(&w->timer, now + ns);
	}
	pthread_mutex_unlock(&l->lock);
	return !ns;
}

static void pay(struct limit *l, struct direction *d, struct way *w, size_t bytes)
{
	if (!atomic_load_explicit(&l->active, memory_order_relaxed))
		return;
	pthread_mutex_lock(&l->lock);
	bucket_take(&d->frames, 1);
	bucket_take(&d->bytes, bytes);
	pthread_mutex_unlock(&l->lock);
	w->took = true;
}

static void stop_waiting(struct limit *l, struct direction *d, struct way *w)
{
	if (!w->waits)
		return;
	w->waits = false;
	pthread_mutex_lock(&l->lock);
	d->waiting--;
	pthread_mutex_unlock(&l->lock);
}

/* --- a queue ------------------------------------------------------------------------------ */

static int limit_send(struct net_queue *nq, const struct iovec *iov, unsigned nr_iov)
{
	struct limit_queue *q = to_queue(nq);
	struct limit *l = q->limit;
	size_t len = 0;
	int ret;

	if (!may_go(l, &l->sending, &q->sending))
		return -EAGAIN;
	ret = net_send(q->below, iov, nr_iov);
	for (unsigned i = 0; i < nr_iov; i++)
		len += iov[i].iov_len;
	if (!ret)
		pay(l, &l->sending, &q->sending, len - NET_HDR_LEN);
	return ret;
}

static void may_send(void *opaque)
{
	struct limit_queue *q = opaque;

	if (!q->sending.waits)
		return;
	stop_waiting(q->limit, &q->limit->sending, &q->sending);
	q->cfg.writable(q->cfg.opaque);
}

static void limit_kick(struct net_queue *q)
{
	net_kick(to_queue(q)->below);
}

static ssize_t limit_receive(struct net_queue *nq, const struct iovec *iov, unsigned nr_iov)
{
	struct limit_queue *q = to_queue(nq);
	struct limit *l = q->limit;
	ssize_t ret;

	if (!may_go(l, &l->receiving, &q->receiving)) {
		net_want(q->below, false);
		return -EAGAIN;
	}
	ret = net_receive(q->below, iov, nr_iov);
	if (ret > 0)
		pay(l, &l->receiving, &q->receiving, (size_t)ret - NET_HDR_LEN);
	return ret;
}

static void may_receive(void *opaque)
{
	struct limit_queue *q = opaque;

	if (!q->receiving.waits)
		return;
	stop_waiting(q->limit, &q->limit->receiving, &q->receiving);
	net_want(q->below, q->wanted);
}

static void limit_want(struct net_queue *nq, bool readable)
{
	struct limit_queue *q = to_queue(nq);

	q->wanted = readable;
	if (!q->receiving.waits)
		net_want(q->below, readable);
}

/* What vhost-net moves is not seen here: only while there is nothing to limit. */
static int limit_vhost_fd(struct net_queue *nq)
{
	struct limit_queue *q = to_queue(nq);

	return atomic_load_explicit(&q->limit->active, memory_order_relaxed)
		       ? -1
		       : net_vhost_fd(q->below);
}

static void stop_timers(void *opaque)
{
	struct limit_queue *q = opaque;

	timer_arm(&q->sending.timer, TIMER_OFF);
	timer_arm(&q->receiving.timer, TIMER_OFF);
}

static void limit_close_queue(struct net_queue *nq)
{
	struct limit_queue *q = to_queue(nq);
	struct limit *l = q->limit;

	pthread_mutex_lock(&l->lock);
	for (struct limit_queue **p = &l->queues; *p; p = &(*p)->next) {
		if (*p == q) {
			*p = q->next;
			break;
		}
	}
	pthread_mutex_unlock(&l->lock);
	/* What runs now may arm a timer once more. */
	if (l->clock) {
		stop_timers(q);
	} else {
		loop_call(q->cfg.loop, stop_timers, q);
		host_clock_destroy(&q->clock);
	}
	stop_waiting(l, &l->sending, &q->sending);
	stop_waiting(l, &l->receiving, &q->receiving);
	net_close_queue(q->below);
	free(q);
}

static const struct net_queue_ops limit_queue_ops = {
	.send = limit_send,
	.kick = limit_kick,
	.receive = limit_receive,
	.want = limit_want,
	.vhost_fd = limit_vhost_fd,
	.close = limit_close_queue,
};

/* --- the network -------------------------------------------------------------------------- */

static int limit_open_queue(struct net *net, const struct net_queue_config *cfg,
			    struct net_queue **out)
{
	struct limit *l = to_limit(net);
	struct limit_queue *q = calloc(1, sizeof(*q));
	struct clock *clock;
	int ret;

	if (!q)
		return -ENOMEM;
	q->q = (struct net_queue){ .ops = &limit_queue_ops, .net = net };
	q->limit = l;
	q->cfg = *cfg;
	ret = l->clock ? 0 : host_clock_init(&q->clock, cfg->loop);
	if (ret)
		goto free_queue;
	clock = l->clock ?: &q->clock.clock;
	timer_init(&q->sending.timer, clock, may_send, q);
	timer_init(&q->receiving.timer, clock, may_receive, q);
	ret = net_open_queue(l->layer.below, cfg, &q->below);
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

static void limit_destroy(struct net *net)
{
	struct limit *l = to_limit(net);

	net_destroy(l->layer.below);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static const struct net_ops limit_ops = {
	.open_queue = limit_open_queue,
	.set_offloads = net_layer_set_offloads,
	.set_queues = net_layer_set_queues,
	.destroy = limit_destroy,
};

static void direction_set(struct direction *d, const struct net_rates *rates)
{
	bucket_set(&d->frames, rates->pps, 0);
	bucket_set(&d->bytes, rates->bps, 0);
}

void net_limit_set(struct net *net, const struct net_rates *rates)
{
	struct limit *l = to_limit(net);

	pthread_mutex_lock(&l->lock);
	l->rates = *rates;
	direction_set(&l->sending, rates);
	direction_set(&l->receiving, rates);
	atomic_store_explicit(&l->active, rates->pps || rates->bps, memory_order_relaxed);
	for (struct limit_queue *q = l->queues; q; q = q->next) {
		/* Whoever waits shall look. */
		timer_arm(&q->sending.timer, 0);
		timer_arm(&q->receiving.timer, 0);
	}
	pthread_mutex_unlock(&l->lock);
}

void net_limit_get(struct net *net, struct net_rates *rates)
{
	struct limit *l = to_limit(net);

	pthread_mutex_lock(&l->lock);
	*rates = l->rates;
	pthread_mutex_unlock(&l->lock);
}

int net_limit_create(const struct net_limit_config *cfg, struct net **out)
{
	struct limit *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	net_layer_init(&l->layer, &limit_ops, cfg->below);
	l->clock = cfg->clock;
	pthread_mutex_init(&l->lock, NULL);
	net_limit_set(&l->layer.net, &cfg->rates);
	*out = &l->layer.net;
	return 0;
}
