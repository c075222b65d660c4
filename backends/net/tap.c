/* SPDX-License-Identifier: MIT */
#include "backends/net/tap.h"

#include <errno.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "backends/net/tap_host.h"

/* Younger than many a linux/if_tun.h (Linux 6.2). */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct tap_queue {
	struct net_queue q;
	struct tap *tap;
	unsigned index;
	int fd;
	struct net_queue_config cfg;
	struct loop_src src;
	bool gone; /* the interface is: there is nothing but an error to be seen */
	bool wanted;
	bool blocked; /* by a full kernel: waits to be writable */
	uint32_t armed; /* what src is looked at for; 0: it is not in the loop */
	struct iovec iov[IOV_MAX]; /* a frame's, with the spill behind it */
	uint8_t spill; /* what comes here has not fitted */
};

struct tap {
	struct net net;
	struct tap_host host;
	_Atomic unsigned offloads; /* that frames may come with */
	pthread_mutex_t lock; /* guards these two */
	unsigned attached; /* queues, the first ones */
	struct tap_queue *queues[NET_MAX_QUEUES]; /* open ones */
};

static struct tap *to_tap(struct net *net)
{
	return container_of(net, struct tap, net);
}

static struct tap_queue *to_queue(struct net_queue *q)
{
	return container_of(q, struct tap_queue, q);
}

/* --- when something happens --------------------------------------------------------------- */

/* With nothing to look for it is out of the loop: an error would keep that awake. */
static void rearm(struct tap_queue *q)
{
	uint32_t events = (q->wanted ? EPOLLIN : 0) | (q->blocked ? EPOLLOUT : 0);

	if (q->gone)
		events = 0;
	if (events == q->armed)
		return;
	if (!events)
		loop_del(q->cfg.loop, &q->src);
	else if (q->armed)
		(void)loop_mod(q->cfg.loop, &q->src, events);
	else if (loop_add(q->cfg.loop, &q->src, events))
		events = 0;
	q->armed = events;
}

static void happened(void *opaque, uint32_t events)
{
	struct tap_queue *q = opaque;

	if (events & (EPOLLERR | EPOLLHUP)) {
		q->gone = true;
		rearm(q);
		return;
	}
	if (events & EPOLLOUT) {
		q->blocked = false;
		rearm(q);
		q->cfg.writable(q->cfg.opaque);
	}
	if (!(events & EPOLLIN))
		return;
	if (q->wanted)
		q->cfg.readable(q->cfg.opaque);
	else
		rearm(q);
}

/* What is wanted no more is only found when a frame comes: mostly it is wanted again by then. */
static void tap_want(struct net_queue *nq, bool readable)
{
	struct tap_queue *q = to_queue(nq);

	q->wanted = readable;
	if (readable)
		rearm(q);
}

/* --- frames ------------------------------------------------------------------------------- */

static int tap_send(struct net_queue *nq, const struct iovec *iov, unsigned nr_iov)
{
	struct tap_queue *q = to_queue(nq);
	ssize_t n;

	if (nr_iov > IOV_MAX)
		return -EMSGSIZE;
	do
		n = writev(q->fd, iov, (int)nr_iov);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	q->blocked = true;
	rearm(q);
	return -EAGAIN;
}

/*
 * The kernel cuts off what does not fit and does not tell. Where a frame could be longer than iov
 * there is one byte more to read into: if that comes, something has been cut off.
 */
static ssize_t read_frame(struct tap_queue *q, const struct iovec *iov, unsigned nr_iov)
{
	size_t room = 0;
	ssize_t n;

	nr_iov = (unsigned)min_u64(nr_iov, IOV_MAX - 1);
	for (unsigned i = 0; i < nr_iov; i++)
		room += iov[i].iov_len;
	if (room < NET_HDR_LEN + NET_MAX_FRAME) {
		memcpy(q->iov, iov, nr_iov * sizeof(*iov));
		q->iov[nr_iov++] = (struct iovec){ &q->spill, 1 };
		iov = q->iov;
	}
	do
		n = readv(q->fd, iov, (int)nr_iov);
	while (n < 0 && errno == EINTR);
	if (n < 0) /* anything else than EINVAL has taken no frame */
		return errno == EINVAL ? -EINVAL : -EAGAIN;
	return (size_t)n > room ? -EMSGSIZE : n;
}

static ssize_t tap_receive(struct net_queue *nq, const struct iovec *iov, unsigned nr_iov)
{
	struct tap_queue *q = to_queue(nq);
	unsigned offloads = atomic_load_explicit(&q->tap->offloads, memory_order_relaxed);
	ssize_t n = read_frame(q, iov, nr_iov);
	struct virtio_net_hdr_v1 hdr;

	if (n < 0)
		return n;
	if ((size_t)n < NET_HDR_LEN)
		return -EINVAL;
	memcpy(&hdr, iov[0].iov_base, sizeof(hdr));
	return net_hdr_valid(&hdr, (size_t)n - NET_HDR_LEN, offloads) ? n : -EINVAL;
}

static int tap_vhost_fd(struct net_queue *q)
{
	return to_queue(q)->fd;
}

static void stop_watching(void *opaque)
{
	struct tap_queue *q = opaque;

	if (q->armed)
		loop_del(q->cfg.loop, &q->src);
}

static void tap_close_queue(struct net_queue *nq)
{
	struct tap_queue *q = to_queue(nq);
	struct tap *t = q->tap;

	pthread_mutex_lock(&t->lock);
	t->queues[q->index] = NULL;
	pthread_mutex_unlock(&t->lock);
	/* What runs now may put it into the loop once more. */
	loop_call(q->cfg.loop, stop_watching, q);
	free(q);
}

static const struct net_queue_ops tap_queue_ops = {
	.send = tap_send,
	.receive = tap_receive,
	.want = tap_want,
	.vhost_fd = tap_vhost_fd,
	.close = tap_close_queue,
};

/* --- the interface ------------------------------------------------------------------------ */

static int tap_open_queue(struct net *net, const struct net_queue_config *cfg,
			  struct net_queue **out)
{
	struct tap *t = to_tap(net);
	struct tap_queue *q = calloc(1, sizeof(*q));
	unsigned i = 0;

	if (!q)
		return -ENOMEM;
	q->q = (struct net_queue){ .ops = &tap_queue_ops, .net = net };
	q->tap = t;
	q->cfg = *cfg;
	pthread_mutex_lock(&t->lock);
	while (i < t->host.nr_fds && t->queues[i])
		i++;
	if (i < t->host.nr_fds) {
		q->index = i;
		q->fd = t->host.fds[i];
		q->src = (struct loop_src){ q->fd, happened, q };
		t->queues[i] = q;
	}
	pthread_mutex_unlock(&t->lock);
	if (i == t->host.nr_fds) {
		free(q);
		return -EBUSY;
	}
	*out = &q->q;
	return 0;
}

static const struct {
	unsigned offload, tun;
} offload_bits[] = {
	{ NET_OFFLOAD_CSUM, TUN_F_CSUM }, { NET_OFFLOAD_TSO4, TUN_F_TSO4 },
	{ NET_OFFLOAD_TSO6, TUN_F_TSO6 }, { NET_OFFLOAD_ECN, TUN_F_TSO_ECN },
	{ NET_OFFLOAD_UFO, TUN_F_UFO },   { NET_OFFLOAD_USO, TUN_F_USO4 | TUN_F_USO6 },
};

static int tell_offloads(struct tap *t, unsigned offloads)
{
	unsigned long tun = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_bits); i++)
		if (offloads & offload_bits[i].offload)
			tun |= offload_bits[i].tun;
	return ioctl(t->host.fds[0], TUNSETOFFLOAD, tun) ? -errno : 0;
}

static int tap_set_offloads(struct net *net, unsigned offloads)
{
	struct tap *t = to_tap(net);
	int ret = offloads & ~net->offloads ? -EINVAL : tell_offloads(t, offloads);

	if (!ret)
		atomic_store_explicit(&t->offloads, offloads, memory_order_relaxed);
	return ret;
}

/* Asks for one after the other: what the kernel does not know it refuses. */
static void probe_offloads(struct tap *t)
{
	unsigned can = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_bits); i++)
		if (!tell_offloads(t, can | offload_bits[i].offload))
			can |= offload_bits[i].offload;
	t->net.offloads = can;
}

/* A queue that is detached can still send. The tap's lock is held. */
static int attach(struct tap *t, unsigned i, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	if (ioctl(t->host.fds[i], TUNSETQUEUE, &ifr))
		return -errno;
	t->attached = on ? i + 1 : i;
	return 0;
}

static int tap_set_queues(struct net *net, unsigned queues)
{
	struct tap *t = to_tap(net);
	int ret = 0;

	if (!queues || queues > t->host.nr_fds)
		return -EINVAL;
	pthread_mutex_lock(&t->lock);
	while (!ret && t->attached < queues)
		ret = attach(t, t->attached, true);
	while (!ret && t->attached > queues)
		ret = attach(t, t->attached - 1, false);
	pthread_mutex_unlock(&t->lock);
	return ret;
}

static void tap_destroy(struct net *net)
{
	struct tap *t = to_tap(net);

	tap_close(&t->host);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static const struct net_ops tap_ops = {
	.open_queue = tap_open_queue,
	.set_offloads = tap_set_offloads,
	.set_queues = tap_set_queues,
	.destroy = tap_destroy,
};

/* 0 where it is not known: an inherited tap may be one of another network namespace. */
static uint16_t find_mtu(const struct tap_host *h)
{
	struct ifreq ours = { .ifr_flags = 0 }, named = { .ifr_flags = 0 };

	if (ioctl(h->fds[0], SIOCGIFHWADDR, &ours) || tap_ioctl(h->name, SIOCGIFHWADDR, &named) ||
	    memcmp(&ours.ifr_hwaddr, &named.ifr_hwaddr, sizeof(ours.ifr_hwaddr)) ||
	    tap_ioctl(h->name, SIOCGIFMTU, &named) || named.ifr_mtu > UINT16_MAX)
		return 0;
	return (uint16_t)named.ifr_mtu;
}

static int set_up(struct tap *t, const struct tap_config *cfg, struct err *err)
{
	const int header = NET_HDR_LEN, little_endian = 1;
	int fd = t->host.fds[0], ret;

	if (ioctl(fd, TUNSETVNETHDRSZ, &header) || ioctl(fd, TUNSETVNETLE, &little_endian))
		return err_set(err, -errno, "%s: this kernel's taps lack virtio's header: %s",
			       t->host.name, strerror(errno));
	t->net.mtu = find_mtu(&t->host);
	if (t->net.mtu && cfg->mtu > t->net.mtu)
		return err_set(err, -EINVAL, "mtu=%u: %s has %u; sudo ip link set %s mtu %u",
			       cfg->mtu, t->host.name, t->net.mtu, t->host.name, cfg->mtu);
	if (cfg->mtu)
		t->net.mtu = cfg->mtu;
	t->net.max_queues = t->attached = t->host.nr_fds;
	probe_offloads(t);
	(void)tap_set_offloads(&t->net, 0);
	ret = tap_set_queues(&t->net, 1);
	return ret ? err_set(err, ret, "%s: cannot detach queues: %s", t->host.name, strerror(-ret))
		   : 0;
}

int tap_open(const struct tap_config *cfg, struct net **out, struct err *err)
{
	struct tap *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return err_set(err, -ENOMEM, "out of memory");
	t->net.ops = &tap_ops;
	pthread_mutex_init(&t->lock, NULL);
	if (cfg->name)
		ret = tap_attach(&t->host, cfg, err);
	else if (cfg->bridge)
		ret = tap_join_bridge(&t->host, cfg, err);
	else
		ret = tap_inherit(&t->host, cfg, err);
	if (!ret)
		ret = set_up(t, cfg, err);
	if (ret)
		tap_destroy(&t->net);
	else
		*out = &t->net;
	return ret;
}
