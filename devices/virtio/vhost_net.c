/* SPDX-License-Identifier: MIT */
#include "devices/virtio/vhost_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/virtio/vhost.h"
#include "devices/virtio/virtio_net_int.h"

#define NODE "/dev/vhost-net"

/* What the kernel must know of, where it was negotiated: all else is between the driver and us. */
#define KERNEL_FEATURES \
	(NET_F_MRG_RXBUF | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1)

struct vhost_queue {
	struct virtio_queue *q;
	unsigned pair;
	unsigned index; /* of the two that the pair's node has */
	bool running; /* it is the kernel's now, */
	bool attached; /* and frames go through */
	int call_fd; /* where the kernel was last told to write */
	struct loop_src call; /* our own eventfd for it */
};

struct vhost_net {
	struct virtio_net *net;
	struct vhost nodes[NET_MAX_QUEUES]; /* a pair's each; the first nr are open */
	unsigned nr;
	atomic_bool serves; /* the last start was taken over, or there was none yet */
	pthread_mutex_t lock; /* guards all queues' running and attached; a leaf */
	struct vhost_queue queues[2 * NET_MAX_QUEUES];
};

/* The kernel has written to our own eventfd, as there was no vector's. */
static void relay_call(void *opaque, uint32_t events)
{
	struct vhost_queue *vhq = opaque;
	eventfd_t n;

	(void)events;
	if (!eventfd_read(vhq->call.fd, &n))
		vhq->q->vdev->transport->notify_queue(vhq->q->vdev, vhq->q->index);
}

static int wire_call(struct vhost_net *v, struct virtio_queue *q)
{
	const struct virtio_transport_ops *transport = q->vdev->transport;
	struct vhost_queue *vhq = &v->queues[q->index];
	int fd = transport->queue_fd ? transport->queue_fd(q->vdev, q->index) : -1;
	int ret;

	if (fd < 0)
		fd = vhq->call.fd;
	if (fd == vhq->call_fd)
		return 0;
	ret = vhost_set_call(&v->nodes[vhq->pair], vhq->index, fd);
	if (!ret)
		vhq->call_fd = fd;
	return ret;
}

/* Lets frames through, or no more, as it should be. v->lock held. */
static int attach(struct vhost_net *v, struct vhost_queue *vhq)
{
	const struct virtio_net *net = v->net;
	unsigned pair = vhq->pair;
	bool on = !vnet_get(net->s.link_down) && pair < vnet_get(net->s.pairs);
	int ret;

	if (!vhq->running || on == vhq->attached)
		return 0;
	ret = vhost_attach(&v->nodes[pair], vhq->index,
			   on ? net_vhost_fd(net->pairs[pair].host) : -1);
	if (!ret)
		vhq->attached = on;
	return ret;
}

/* The back-end's headers are of that length, and only split rings are served. */
static bool fits(const struct vhost_net *v, const struct vhost *node)
{
	uint64_t negotiated = v->net->vdev.s->driver_features;

	return v->net->hdr_len == NET_HDR_LEN && !(negotiated & VIRTIO_F_RING_PACKED) &&
	       !(negotiated & KERNEL_FEATURES & ~node->features);
}

/* All but the way for the frames. */
static int set_up(struct vhost_net *v, struct virtio_queue *q, const struct virtq_params *p)
{
	const struct vhost_queue *vhq = &v->queues[q->index];
	const struct vhost *node = &v->nodes[vhq->pair];
	const struct vhost_ring ring = {
		.index = vhq->index,
		.size = p->size,
		.base = p->next_avail,
		.desc = q->vq.desc,
		.avail = q->vq.avail,
		.used = q->vq.used,
		.kick_fd = q->kick_fd,
	};
	int ret;

	if (!fits(v, node))
		return -EOPNOTSUPP;
	ret = vhost_set_features(node, v->net->vdev.s->driver_features & KERNEL_FEATURES);
	if (!ret)
		ret = vhost_set_memory(node, v->net->vdev.mem);
	if (!ret)
		ret = vhost_set_ring(node, &ring);
	return ret ? ret : wire_call(v, q);
}

bool vhost_net_start(struct vhost_net *v, struct virtio_queue *q, const struct virtq_params *p)
{
	struct vhost_queue *vhq;
	int ret;

	if (!v)
		return false;
	vhq = &v->queues[q->index];
	vhq->call_fd = -1;
	v->serves = !set_up(v, q, p);
	if (!v->serves)
		return false;
	pthread_mutex_lock(&v->lock);
	vhq->running = true;
	vhq->attached = false;
	ret = loop_add(q->loop, &vhq->call, EPOLLIN);
	if (!ret)
		ret = attach(v, vhq);
	vhq->running = !ret;
	pthread_mutex_unlock(&v->lock);
	if (ret)
		loop_del(q->loop, &vhq->call);
	v->serves = !ret;
	return !ret;
}

void vhost_net_stop(struct vhost_net *v, struct virtio_queue *q)
{
	struct vhost_queue *vhq = &v->queues[q->index];
	const struct vhost *node = &v->nodes[vhq->pair];

	/* What was begun with is done when this returns. */
	pthread_mutex_lock(&v->lock);
	(void)vhost_attach(node, vhq->index, -1);
	vhq->running = vhq->attached = false;
	pthread_mutex_unlock(&v->lock);
	(void)vhost_get_base(node, vhq->index, &q->vq.next_avail);
	q->vq.next_used = q->vq.next_avail;
	loop_del(q->loop, &vhq->call);
	loop_sync(q->loop);
	relay_call(vhq, 0); /* what the thread has not seen any more */
}

void vhost_net_rewire(struct vhost_net *v, struct virtio_queue *q)
{
	(void)wire_call(v, q);
}

void vhost_net_update(struct vhost_net *v)
{
	if (!v)
		return;
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < 2 * v->nr; i++)
		(void)attach(v, &v->queues[i]);
	pthread_mutex_unlock(&v->lock);
}

bool vhost_net_serves(const struct vhost_net *v)
{
	return v && v->serves;
}

static int open_pair(struct vhost_net *v, unsigned pair, const struct vhost_sys *sys)
{
	int ret = vhost_open(&v->nodes[pair], NODE, sys);

	if (ret)
		return ret;
	v->nr++;
	for (unsigned i = 0; i < 2; i++) {
		struct vhost_queue *vhq = &v->queues[2 * pair + i];

		vhq->q = &v->net->vdev.queues[2 * pair + i];
		vhq->pair = pair;
		vhq->index = i;
		vhq->call.fn = relay_call;
		vhq->call.opaque = vhq;
		vhq->call.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vhq->call.fd < 0)
			return -errno;
	}
	return 0;
}

static int open_pairs(struct vhost_net *v, const struct vhost_sys *sys, struct err *err)
{
	for (unsigned i = 0; i < v->net->nr_pairs; i++) {
		int ret;

		if (net_vhost_fd(v->net->pairs[i].host) < 0)
			return err_set(err, -EOPNOTSUPP,
				       "vhost=on: only a tap's frames can go through the kernel");
		ret = open_pair(v, i, sys);
		if (ret)
			return err_set(err, ret,
				       "vhost=on: " NODE ": %s (is the module vhost_net loaded, "
				       "and may this user open it?)",
				       strerror(-ret));
	}
	return 0;
}

int vhost_net_create(struct virtio_net *net, const struct virtio_net_config *cfg, struct err *err)
{
	struct vhost_net *v = calloc(1, sizeof(*v));
	struct err why;
	int ret;

	if (!v)
		return err_set(err, -ENOMEM, "%s: out of memory", cfg->name);
	v->net = net;
	v->serves = true;
	for (unsigned i = 0; i < ARRAY_SIZE(v->queues); i++)
		v->queues[i].call.fd = -1;
	pthread_mutex_init(&v->lock, NULL);
	ret = open_pairs(v, cfg->vhost_sys, &why);
	if (!ret) {
		net->vhost = v;
		return 0;
	}
	vhost_net_destroy(v);
	if (cfg->vhost == VIRTIO_NET_VHOST_AUTO)
		return 0;
	return err_set(err, ret, "%s", why.text);
}

void vhost_net_destroy(struct vhost_net *v)
{
	if (!v)
		return;
	for (unsigned i = 0; i < 2 * v->nr; i++)
		if (v->queues[i].call.fd >= 0)
			close(v->queues[i].call.fd);
	for (unsigned i = 0; i < v->nr; i++)
		vhost_close(&v->nodes[i]);
	pthread_mutex_destroy(&v->lock);
	free(v);
}
