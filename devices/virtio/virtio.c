/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/counter.h"

/* What a driver may set; it never clears a bit but by a reset (2.1.1). */
#define STATUS_DRIVER_BITS                                                            \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | \
	 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

static bool needs_reset(const struct virtio_dev *vdev)
{
	return __atomic_load_n(&vdev->s->needs_reset, __ATOMIC_ACQUIRE);
}

/* Any thread. The driver is told once, and only after DRIVER_OK (2.1.2). */
static void ask_for_reset(struct virtio_dev *vdev, bool driver_ok)
{
	if (!__atomic_exchange_n(&vdev->s->needs_reset, 1, __ATOMIC_ACQ_REL) && driver_ok)
		vdev->transport->notify_config(vdev);
}

static struct virtq_params queue_params(const struct virtio_dev *vdev, unsigned i)
{
	const struct virtio_state *s = vdev->s;

	return (struct virtq_params){
		.size = s->size[i],
		.indirect = virtio_has(vdev, VIRTIO_F_INDIRECT_DESC),
		.event_idx = virtio_has(vdev, VIRTIO_F_EVENT_IDX),
		.desc = s->desc[i],
		.avail = s->avail[i],
		.used = s->used[i],
		.next_avail = s->next_avail[i],
		.next_used = s->next_used[i],
	};
}

static void queue_kicked(void *opaque, uint32_t events)
{
	struct virtio_queue *q = opaque;
	uint64_t own = counter_get(&q->own);

	(void)events;
	q->woken = own == q->own_seen ? ticks_now() : 0;
	q->own_seen = own;
	q->vdev->ops->handle(q);
}

/* On the queue's thread; q may be gone as soon as the lock is free. */
static void queue_let_go(struct virtio_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopped = true;
	pthread_cond_signal(&q->cond);
	pthread_mutex_unlock(&q->lock);
}

static void queue_stop_post(void *opaque)
{
	struct virtio_queue *q = opaque;

	loop_del(q->loop, &q->kick);
	q->stopping = true;
	if (!q->vq.in_flight)
		queue_let_go(q);
}

static void queue_start(struct virtio_queue *q)
{
	struct virtq_params p = queue_params(q->vdev, q->index);

	q->stopping = false;
	q->stopped = false;
	atomic_store(&q->rung, 0); /* for buffers that are long gone */
	q->own_seen = 0; /* the first wake is no kick */
	/*
	 * Edge-triggered: every kick wakes the thread once, and it never reads the eventfd,
	 * which thus counts the kicks for virtio_kicks(). It always has a count, so adding it
	 * wakes once too: for the buffers that came while the queue was stopped.
	 */
	if (virtq_init(&q->vq, q->vdev->mem, &p) ||
	    loop_add(q->loop, &q->kick, EPOLLIN | EPOLLET)) {
		ask_for_reset(q->vdev, true);
		return;
	}
	q->running = true;
}

static void queue_stop(struct virtio_queue *q)
{
	loop_post(q->loop, &q->stop_post);
	pthread_mutex_lock(&q->lock);
	while (!q->stopped)
		pthread_cond_wait(&q->cond, &q->lock);
	pthread_mutex_unlock(&q->lock);
	q->running = false;
}

/* Stops what runs; keep: the indices become the state's, for a later start. */
static void queues_stop(struct virtio_dev *vdev, bool keep)
{
	for (unsigned i = 0; i < vdev->nr_queues; i++) {
		struct virtio_queue *q = &vdev->queues[i];

		if (!q->running)
			continue;
		queue_stop(q);
		if (keep) {
			vdev->s->next_avail[i] = q->vq.next_avail;
			vdev->s->next_used[i] = q->vq.next_used;
		}
	}
}

static void set_kicks(struct virtio_dev *vdev, bool on)
{
	if (vdev->kicks == on)
		return;
	vdev->kicks = on;
	vdev->transport->set_kicks(vdev, on);
}

void virtio_update(struct virtio_dev *vdev)
{
	bool live = (vdev->s->status & VIRTIO_STATUS_DRIVER_OK) && !needs_reset(vdev);

	set_kicks(vdev, live);
	if (!live || !vdev->dma || vdev->paused) {
		queues_stop(vdev, true);
		return;
	}
	for (unsigned i = 0; i < vdev->nr_queues; i++)
		if (vdev->s->enabled[i] && !vdev->queues[i].running)
			queue_start(&vdev->queues[i]);
}

static bool features_acceptable(const struct virtio_dev *vdev)
{
	return !(vdev->s->driver_features & ~vdev->features) &&
	       virtio_has(vdev, VIRTIO_F_VERSION_1);
}

static void features_changed(struct virtio_dev *vdev)
{
	bool ok = vdev->s->status & VIRTIO_STATUS_FEATURES_OK;

	if (vdev->ops->features_changed)
		vdev->ops->features_changed(vdev, ok ? vdev->s->driver_features : 0);
}

void virtio_reset(struct virtio_dev *vdev)
{
	queues_stop(vdev, false);
	set_kicks(vdev, false);
	memset(vdev->s, 0, sizeof(*vdev->s));
	for (unsigned i = 0; i < vdev->nr_queues; i++)
		vdev->s->size[i] = vdev->queue_size;
	features_changed(vdev);
}

uint8_t virtio_get_status(const struct virtio_dev *vdev)
{
	return vdev->s->status | (needs_reset(vdev) ? VIRTIO_STATUS_NEEDS_RESET : 0);
}

void virtio_set_status(struct virtio_dev *vdev, uint8_t status)
{
	uint8_t old = vdev->s->status;
	uint8_t new = old | (status & STATUS_DRIVER_BITS);

	if (!status) {
		virtio_reset(vdev);
		return;
	}
	/* 2.2.2: features that cannot be are answered by not setting FEATURES_OK. */
	if (!(old & VIRTIO_STATUS_FEATURES_OK) && !features_acceptable(vdev))
		new &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if (!(new &VIRTIO_STATUS_FEATURES_OK))
		new &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	vdev->s->status = new;
	if ((new ^ old) & VIRTIO_STATUS_FEATURES_OK)
		features_changed(vdev);
	virtio_update(vdev);
}

void virtio_queue_enable(struct virtio_dev *vdev, unsigned queue)
{
	struct virtio_state *s = vdev->s;

	if (queue >= vdev->nr_queues || s->enabled[queue] ||
	    !(s->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	s->next_avail[queue] = s->next_used[queue] = 0;

	struct virtq_params p = queue_params(vdev, queue);

	if (virtq_init(&vdev->queues[queue].vq, vdev->mem, &p)) {
		ask_for_reset(vdev, s->status & VIRTIO_STATUS_DRIVER_OK);
		return;
	}
	s->enabled[queue] = 1;
	virtio_update(vdev);
}

void virtio_queue_ring(struct virtio_queue *q)
{
	uint64_t none = 0;

	atomic_compare_exchange_strong(&q->rung, &none, ticks_now());
	virtio_queue_kick(q);
}

void virtio_queue_kick(struct virtio_queue *q)
{
	atomic_fetch_add(&q->own, 1);
	eventfd_write(q->kick_fd, 1);
}

uint64_t virtio_queue_kicked(struct virtio_queue *q)
{
	/* The exchange is dear, and most kicks come from the kernel. */
	uint64_t rung = counter_get(&q->rung) ? atomic_exchange(&q->rung, 0) : 0;
	uint64_t at = rung ? rung : q->woken;

	q->woken = 0;
	return at;
}

/* The count of the eventfd is taken out of it, and with it perhaps a wake: it is given back. */
static uint64_t queue_kicks(struct virtio_queue *q)
{
	uint64_t own, n;

	pthread_mutex_lock(&q->lock);
	if (!eventfd_read(q->kick_fd, &n))
		q->taken += n;
	own = atomic_load(&q->own); /* perhaps counted there, but not in taken yet */
	q->kicks = max_u64(q->kicks, q->taken - min_u64(q->taken, own));
	virtio_queue_kick(q);
	n = q->kicks;
	pthread_mutex_unlock(&q->lock);
	return n;
}

uint64_t virtio_kicks(const struct virtio_dev *vdev)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < vdev->nr_queues; i++)
		n += queue_kicks(&vdev->queues[i]);
	return n;
}

void virtio_queue_flush(struct virtio_queue *q)
{
	bool notify = virtq_publish(&q->vq);
	uint64_t used = ticks_now(), interrupt = 0;

	if (notify) {
		q->vdev->transport->notify_queue(q->vdev, q->index);
		interrupt = ticks_now();
	}
	if (q->vdev->ops->flushed)
		q->vdev->ops->flushed(q, used, interrupt);
	if (q->stopping && !q->vq.in_flight)
		queue_let_go(q);
}

void virtio_queue_broken(struct virtio_queue *q)
{
	ask_for_reset(q->vdev, true);
}

static bool queue_state_valid(struct virtio_dev *vdev, unsigned i)
{
	const struct virtio_state *s = vdev->s;

	if (i >= vdev->nr_queues)
		return !s->enabled[i] && !s->size[i] && !s->desc[i] && !s->avail[i] &&
		       !s->used[i] && !s->next_avail[i] && !s->next_used[i];
	if (!is_pow2(s->size[i]) || s->size[i] > vdev->queue_size)
		return false;
	/* A stopped queue has nothing in flight: as many were pushed as popped. */
	if (s->next_avail[i] != s->next_used[i])
		return false;
	if (!s->enabled[i])
		return true;

	struct virtq_params p = queue_params(vdev, i);

	return (s->status & VIRTIO_STATUS_FEATURES_OK) &&
	       !virtq_init(&vdev->queues[i].vq, vdev->mem, &p);
}

int virtio_post_load(struct virtio_dev *vdev)
{
	const struct virtio_state *s = vdev->s;

	queues_stop(vdev, false);
	set_kicks(vdev, false);
	if (s->status & ~STATUS_DRIVER_BITS)
		return -EBADMSG;
	if ((s->status & VIRTIO_STATUS_FEATURES_OK) && !features_acceptable(vdev))
		return -EBADMSG;
	if ((s->status & VIRTIO_STATUS_DRIVER_OK) && !(s->status & VIRTIO_STATUS_FEATURES_OK))
		return -EBADMSG;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		if (!queue_state_valid(vdev, i))
			return -EBADMSG;
	features_changed(vdev);
	virtio_update(vdev);
	return 0;
}

void virtio_pre_save(struct virtio_dev *vdev)
{
	queues_stop(vdev, true);
	virtio_update(vdev);
}

static int queue_init(struct virtio_dev *vdev, unsigned i, struct loop *loop)
{
	struct virtio_queue *q = &vdev->queues[i];

	/* The first count is our own: see queue_start(). */
	q->kick_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick_fd < 0)
		return -errno;
	atomic_init(&q->own, 1);
	q->vdev = vdev;
	q->index = i;
	q->loop = loop;
	q->kick = (struct loop_src){ q->kick_fd, queue_kicked, q };
	q->stop_post = (struct loop_post){ .fn = queue_stop_post, .opaque = q };
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->cond, NULL);
	return 0;
}

int virtio_init(struct virtio_dev *vdev, const struct virtio_config *cfg)
{
	assert(cfg->nr_queues && cfg->nr_queues <= VIRTIO_MAX_QUEUES && is_pow2(cfg->queue_size) &&
	       cfg->queue_size <= VIRTQ_MAX_SIZE);
	vdev->dev = cfg->dev;
	vdev->ops = cfg->ops;
	vdev->transport = cfg->transport;
	vdev->s = cfg->s;
	vdev->mem = cfg->mem;
	vdev->features =
		cfg->features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
	vdev->config_len = cfg->config_len;
	vdev->queue_size = cfg->queue_size;
	vdev->queues = calloc(cfg->nr_queues, sizeof(*vdev->queues));
	if (!vdev->queues)
		return -ENOMEM;
	/* nr_queues counts what there is to undo, should one fail. */
	for (vdev->nr_queues = 0; vdev->nr_queues < cfg->nr_queues; vdev->nr_queues++) {
		int ret = queue_init(vdev, vdev->nr_queues, cfg->loops[vdev->nr_queues]);

		if (ret)
			return ret;
	}
	virtio_reset(vdev);
	return 0;
}

void virtio_destroy(struct virtio_dev *vdev)
{
	queues_stop(vdev, false);
	for (unsigned i = 0; i < vdev->nr_queues; i++) {
		struct virtio_queue *q = &vdev->queues[i];

		close(q->kick_fd);
		pthread_mutex_destroy(&q->lock);
		pthread_cond_destroy(&q->cond);
	}
	vdev->nr_queues = 0;
	free(vdev->queues);
	vdev->queues = NULL;
}
