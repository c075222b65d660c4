/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/counter.h"

#define LEGACY_PAGE 4096 /* 4.1.5.1.3: a queue's address is counted in these, its parts aligned */

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
		.packed = virtio_has(vdev, VIRTIO_F_RING_PACKED),
		.indirect = virtio_has(vdev, VIRTIO_F_INDIRECT_DESC),
		.event_idx = virtio_has(vdev, VIRTIO_F_EVENT_IDX),
		.desc = s->desc[i],
		.avail = s->avail[i],
		.used = s->used[i],
		.next_avail = s->next_avail[i],
		.next_used = s->next_used[i],
	};
}

static void queue_serve(struct virtio_queue *q)
{
	q->armed = false;
	virtq_disable_kicks(&q->vq);
	q->vdev->ops->handle(q);
}

static void queue_kicked(void *opaque, uint32_t events)
{
	struct virtio_queue *q = opaque;
	uint64_t own = counter_get(&q->own);

	(void)events;
	q->woken = own == q->own_seen ? ticks_now() : 0;
	q->own_seen = own;
	if (!q->polled) {
		q->polled = true;
		loop_add_poller(q->loop, &q->poller);
	}
	queue_serve(q);
}

static bool queue_poll(void *opaque)
{
	struct virtio_queue *q = opaque;
	bool any = q->vdev->ops->poll && q->vdev->ops->poll(q);

	if (q->sated || q->vq.broken || !virtq_pending(&q->vq))
		return any;
	/* Asked to kick the guest does so: its kick is on its way and only the slower. */
	if (q->armed)
		q->woken = ticks_now();
	queue_serve(q);
	return true;
}

/* Kicks are only wanted while the thread sleeps. */
static bool queue_arm(void *opaque)
{
	struct virtio_queue *q = opaque;

	if (q->sated)
		return false;
	if (!q->armed)
		q->armed = !virtq_enable_kicks(&q->vq);
	return !q->armed;
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
	if (q->polled)
		loop_del_poller(q->loop, &q->poller);
	q->polled = false;
	q->stopping = true;
	if (q->vdev->ops->cease)
		q->vdev->ops->cease(q);
	if (!q->vq.in_flight)
		queue_let_go(q);
}

static void queue_start(struct virtio_queue *q)
{
	struct virtq_params p = queue_params(q->vdev, q->index);

	q->stopping = q->stopped = q->armed = q->sated = false;
	atomic_store(&q->rung, 0); /* for buffers that are long gone */
	q->own_seen = 0; /* the first wake is no kick */
	/*
	 * Edge-triggered: every kick wakes the thread once, and it never reads the eventfd,
	 * which thus counts the kicks for virtio_kicks(). It always has a count, so adding it
	 * wakes once too: for the buffers that came while the queue was stopped.
	 */
	if (virtq_init(&q->vq, q->vdev->mem, &p)) {
		ask_for_reset(q->vdev, true);
		return;
	}
	q->remote = q->vdev->ops->take_over && q->vdev->ops->take_over(q, &p);
	if (!q->remote && loop_add(q->loop, &q->kick, EPOLLIN | EPOLLET)) {
		ask_for_reset(q->vdev, true);
		return;
	}
	q->running = true;
}

static void queue_stop(struct virtio_queue *q)
{
	q->running = false;
	if (q->remote) {
		q->vdev->ops->hand_back(q);
		q->remote = false;
		return;
	}
	loop_post(q->loop, &q->stop_post);
	pthread_mutex_lock(&q->lock);
	while (!q->stopped)
		pthread_cond_wait(&q->cond, &q->lock);
	pthread_mutex_unlock(&q->lock);
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

void virtio_vectors_changed(struct virtio_dev *vdev)
{
	for (unsigned i = 0; i < vdev->nr_queues; i++)
		if (vdev->queues[i].remote)
			vdev->ops->rewire(&vdev->queues[i]);
}

void virtio_update(struct virtio_dev *vdev)
{
	bool legacy = vdev->s->legacy;
	bool driver = legacy || (vdev->s->status & VIRTIO_STATUS_DRIVER_OK);
	bool live = driver && !needs_reset(vdev);

	set_kicks(vdev, live);
	if (!live || !(vdev->dma || legacy) || vdev->paused) {
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

bool virtio_features_settled(const struct virtio_dev *vdev)
{
	return vdev->s->legacy || (vdev->s->status & VIRTIO_STATUS_FEATURES_OK);
}

static void features_changed(struct virtio_dev *vdev)
{
	bool ok = virtio_features_settled(vdev);

	if (vdev->ops->features_changed)
		vdev->ops->features_changed(vdev, ok ? vdev->s->driver_features : 0);
}

static void queue_clear(struct virtio_dev *vdev, unsigned queue)
{
	struct virtio_state *s = vdev->s;

	s->enabled[queue] = 0;
	s->size[queue] = vdev->queue_size;
	s->desc[queue] = s->avail[queue] = s->used[queue] = 0;
	s->next_avail[queue] = s->next_used[queue] = 0;
}

void virtio_reset(struct virtio_dev *vdev)
{
	queues_stop(vdev, false);
	set_kicks(vdev, false);
	memset(vdev->s, 0, sizeof(*vdev->s));
	for (unsigned i = 0; i < vdev->nr_queues; i++)
		queue_clear(vdev, i);
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
	if (vdev->s->legacy)
		return;
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

void virtio_set_features_word(struct virtio_dev *vdev, uint32_t select, uint32_t v)
{
	struct virtio_state *s = vdev->s;
	unsigned shift = select * 32;

	/* Settled by FEATURES_OK (3.1.1); bits beyond 63 are none of ours. */
	if (select > 1 || virtio_features_settled(vdev))
		return;
	s->driver_features &= ~(0xffffffffull << shift);
	s->driver_features |= (uint64_t)v << shift;
}

uint32_t virtio_config_read(struct virtio_dev *vdev, uint64_t offset, unsigned width)
{
	uint32_t v = 0;

	if (offset < vdev->config_len)
		vdev->ops->config_read(vdev, (unsigned)offset, &v,
				       (unsigned)min_u64(width, vdev->config_len - offset));
	return v;
}

void virtio_config_write(struct virtio_dev *vdev, uint64_t offset, unsigned width, uint32_t v)
{
	if (vdev->ops->config_write && offset < vdev->config_len)
		vdev->ops->config_write(vdev, (unsigned)offset, &v,
					(unsigned)min_u64(width, vdev->config_len - offset));
}

void virtio_config_changed(struct virtio_dev *vdev)
{
	vdev->s->config_generation++;
	if (vdev->s->status & VIRTIO_STATUS_DRIVER_OK)
		vdev->transport->notify_config(vdev);
}

/* The queue is there, and its fields are not frozen (4.1.4.3.2). */
static bool queue_configurable(const struct virtio_dev *vdev, unsigned queue)
{
	return queue < vdev->nr_queues && !vdev->s->enabled[queue];
}

void virtio_queue_set_size(struct virtio_dev *vdev, unsigned queue, uint32_t size)
{
	if (!queue_configurable(vdev, queue) || !size || size > vdev->queue_size)
		return;
	if (is_pow2(size) || virtio_has(vdev, VIRTIO_F_RING_PACKED))
		vdev->s->size[queue] = (uint16_t)size;
}

static uint64_t *queue_area(struct virtio_state *s, unsigned queue, enum virtio_area area)
{
	switch (area) {
	case VIRTIO_AREA_DESC:
		return &s->desc[queue];
	case VIRTIO_AREA_DRIVER:
		return &s->avail[queue];
	case VIRTIO_AREA_DEVICE:
	default:
		return &s->used[queue];
	}
}

void virtio_queue_set_area(struct virtio_dev *vdev, unsigned queue, enum virtio_area area,
			   bool high, uint32_t v)
{
	uint64_t *addr;

	if (!queue_configurable(vdev, queue))
		return;
	addr = queue_area(vdev->s, queue, area);
	if (high)
		*addr = (uint32_t)*addr | (uint64_t)v << 32;
	else
		*addr = (*addr & ~0xffffffffull) | v;
}

uint32_t virtio_queue_get_area(const struct virtio_dev *vdev, unsigned queue, enum virtio_area area,
			       bool high)
{
	return (uint32_t)(*queue_area(vdev->s, queue, area) >> (high ? 32 : 0));
}

void virtio_queue_enable(struct virtio_dev *vdev, unsigned queue)
{
	struct virtio_state *s = vdev->s;
	uint16_t at = virtq_start_position(virtio_has(vdev, VIRTIO_F_RING_PACKED));

	if (!queue_configurable(vdev, queue) || !virtio_features_settled(vdev))
		return;
	s->next_avail[queue] = s->next_used[queue] = at;

	struct virtq_params p = queue_params(vdev, queue);

	if (virtq_init(&vdev->queues[queue].vq, vdev->mem, &p)) {
		ask_for_reset(vdev, s->status & VIRTIO_STATUS_DRIVER_OK);
		return;
	}
	s->enabled[queue] = 1;
	virtio_update(vdev);
}

void virtio_queue_reset(struct virtio_dev *vdev, unsigned queue)
{
	if (queue >= vdev->nr_queues)
		return;
	if (vdev->queues[queue].running)
		queue_stop(&vdev->queues[queue]);
	queue_clear(vdev, queue);
}

void virtio_legacy_set_status(struct virtio_dev *vdev, uint8_t status)
{
	struct virtio_state *s = vdev->s;
	bool was = s->legacy;

	if (!status) {
		virtio_reset(vdev);
		return;
	}
	if (s->status & VIRTIO_STATUS_FEATURES_OK)
		return;
	if (!was)
		s->driver_features = 0;
	s->legacy = 1;
	/* FEATURES_OK is unknown to it. */
	s->status |= status & STATUS_DRIVER_BITS & ~VIRTIO_STATUS_FEATURES_OK;
	if (!was)
		features_changed(vdev);
	virtio_update(vdev);
}

void virtio_legacy_set_features(struct virtio_dev *vdev, uint32_t features)
{
	/* There is no moment that settles them; queues that run have taken them. */
	for (unsigned i = 0; i < vdev->nr_queues; i++)
		if (vdev->s->enabled[i])
			return;
	if (!vdev->s->legacy)
		return;
	vdev->s->driver_features = features & vdev->features;
	features_changed(vdev);
}

void virtio_legacy_set_queue(struct virtio_dev *vdev, unsigned queue, uint32_t pfn)
{
	struct virtio_state *s = vdev->s;

	if (!s->legacy || queue >= vdev->nr_queues)
		return;
	if (!pfn) {
		virtio_queue_reset(vdev, queue);
	} else if (!s->enabled[queue]) {
		uint64_t desc = (uint64_t)pfn * LEGACY_PAGE;
		uint64_t avail = desc + sizeof(struct virtq_desc) * s->size[queue];

		/* 2.7.2: the used ring is on the next page behind the end of the available ring. */
		s->desc[queue] = desc;
		s->avail[queue] = avail;
		s->used[queue] = align_up(avail + 2 * (3 + s->size[queue]), LEGACY_PAGE);
		virtio_queue_enable(vdev, queue);
	}
}

uint32_t virtio_legacy_get_queue(const struct virtio_dev *vdev, unsigned queue)
{
	if (queue >= vdev->nr_queues || !vdev->s->enabled[queue])
		return 0;
	return (uint32_t)(vdev->s->desc[queue] / LEGACY_PAGE);
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
	if (!s->size[i] || s->size[i] > vdev->queue_size)
		return false;
	/* A stopped queue has nothing in flight: as many were pushed as popped. */
	if (s->next_avail[i] != s->next_used[i])
		return false;
	if (!s->enabled[i])
		return true;

	struct virtq_params p = queue_params(vdev, i);

	return virtio_features_settled(vdev) && !virtq_init(&vdev->queues[i].vq, vdev->mem, &p);
}

/* A driver's status and features, as they can come about. */
static bool handshake_valid(const struct virtio_dev *vdev)
{
	const struct virtio_state *s = vdev->s;

	if (s->status & ~STATUS_DRIVER_BITS)
		return false;
	if (s->legacy)
		return !(s->status & VIRTIO_STATUS_FEATURES_OK) &&
		       !(s->driver_features & ~(vdev->features & VIRTIO_F_LEGACY));
	if (s->status & VIRTIO_STATUS_FEATURES_OK)
		return features_acceptable(vdev);
	return !(s->status & VIRTIO_STATUS_DRIVER_OK);
}

int virtio_post_load(struct virtio_dev *vdev)
{
	queues_stop(vdev, false);
	set_kicks(vdev, false);
	if (!handshake_valid(vdev))
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

static void set_paused(struct device *dev, bool paused)
{
	device_lock(dev);
	virtio_of(dev)->paused = paused;
	virtio_update(virtio_of(dev));
	device_unlock(dev);
}

void virtio_pause(struct device *dev)
{
	set_paused(dev, true);
}

void virtio_resume(struct device *dev)
{
	set_paused(dev, false);
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
	q->poller = (struct loop_poller){ .poll = queue_poll, .arm = queue_arm, .opaque = q };
	q->stop_post = (struct loop_post){ .fn = queue_stop_post, .opaque = q };
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->cond, NULL);
	return 0;
}

int virtio_init(struct virtio_dev *vdev, const struct virtio_config *cfg)
{
	assert(cfg->nr_queues && cfg->nr_queues <= VIRTIO_MAX_QUEUES && is_pow2(cfg->queue_size) &&
	       cfg->queue_size <= VIRTQ_MAX_SIZE);
	vdev->ops = cfg->ops;
	vdev->transport = cfg->transport;
	vdev->s = cfg->s;
	vdev->mem = cfg->mem;
	vdev->features = cfg->features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC |
			 VIRTIO_F_RING_RESET | (cfg->packed ? VIRTIO_F_RING_PACKED : 0) |
			 (cfg->no_event_idx ? 0 : VIRTIO_F_EVENT_IDX);
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
