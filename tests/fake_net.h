/* SPDX-License-Identifier: MIT */
/*
 * A network for the tests of front-ends: it keeps what is sent, and lets in what a test gives
 * it, on the I/O thread of the queue as backends/net/net.h demands.
 *
 * In a header, for fuzzers as well. Here it asserts what a front-end owes to every network.
 */
#ifndef TESTS_FAKE_NET_H
#define TESTS_FAKE_NET_H

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/net/net.h"

#define FAKE_NET_LOG 64
#define FAKE_NET_HEAD 64

struct fake_sent {
	unsigned queue;
	struct virtio_net_hdr_v1 hdr;
	size_t len; /* without the header */
	uint32_t sum; /* CRC-32 of it */
	uint8_t head[FAKE_NET_HEAD]; /* its first bytes */
};

struct fake_frame {
	struct virtio_net_hdr_v1 hdr;
	size_t len;
	struct fake_frame *next;
	uint8_t bytes[];
};

struct fake_net;

struct fake_net_queue {
	struct net_queue q;
	struct net_queue_config cfg;
	struct fake_net *net;
	unsigned index;
	bool wanted;
	bool stalled; /* writable() is owed */
	struct loop_src src; /* readable while there are frames */
	struct loop_post post;
	struct fake_frame *frames;
};

struct fake_net {
	struct net net;
	pthread_mutex_t lock; /* guards the frames, the log */
	struct fake_net_queue *queues[NET_MAX_QUEUES];
	struct fake_sent log[FAKE_NET_LOG]; /* the first ones */
	atomic_uint nr_sent;
	atomic_uint nr_kicks;
	atomic_uint nr_refused; /* as it was full */
	atomic_uint nr_wants, nr_unwanted; /* calls of net_want() */
	atomic_uint nr_left; /* frames not yet received */
	atomic_uint most_iovs; /* of a call of receive */
	atomic_uint offloads, queues_set; /* as last set */
	atomic_int set_result; /* of set_offloads and set_queues */
	atomic_int send_result;
	atomic_int receive_result; /* once, instead of a frame */
	atomic_bool full;
	bool edge; /* readable() is only called when something has come */
	int vhost_fd; /* -1: none */
};

static inline struct fake_net *to_fake_net(struct net *net)
{
	return container_of(net, struct fake_net, net);
}

static inline struct fake_net_queue *to_fake_net_queue(struct net_queue *q)
{
	return container_of(q, struct fake_net_queue, q);
}

/* Copies len bytes at offset of iov. */
static inline void fake_net_gather(void *dst, const struct iovec *iov, unsigned n, size_t offset,
				   size_t len)
{
	char *to = dst;

	for (unsigned i = 0; i < n && len; i++) {
		size_t skip = min_u64(offset, iov[i].iov_len);
		size_t use = min_u64(len, iov[i].iov_len - skip);

		memcpy(to, (char *)iov[i].iov_base + skip, use);
		to += use;
		len -= use;
		offset -= skip;
	}
	assert(!len);
}

static inline int fake_net_send(struct net_queue *nq, const struct iovec *iov, unsigned n)
{
	struct fake_net_queue *q = to_fake_net_queue(nq);
	struct fake_net *f = q->net;
	size_t len = 0;
	uint8_t *bytes;

	assert(n && iov[0].iov_len >= NET_HDR_LEN);
	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	len -= NET_HDR_LEN;
	assert(len >= NET_MIN_FRAME && len <= NET_MAX_FRAME);
	if (f->full) {
		q->stalled = true;
		f->nr_refused++;
		return -EAGAIN;
	}
	if (f->send_result)
		return f->send_result;
	bytes = malloc(len);
	fake_net_gather(bytes, iov, n, NET_HDR_LEN, len);
	pthread_mutex_lock(&f->lock);
	if (f->nr_sent < FAKE_NET_LOG) {
		struct fake_sent *s = &f->log[f->nr_sent];

		s->queue = q->index;
		s->len = len;
		s->sum = util_crc32(0, bytes, len);
		fake_net_gather(&s->hdr, iov, n, 0, NET_HDR_LEN);
		memcpy(s->head, bytes, min_u64(len, FAKE_NET_HEAD));
	}
	f->nr_sent++;
	pthread_mutex_unlock(&f->lock);
	free(bytes);
	return 0;
}

static inline void fake_net_kick(struct net_queue *nq)
{
	to_fake_net_queue(nq)->net->nr_kicks++;
}

static inline size_t fake_net_fill(const struct iovec *iov, unsigned n, size_t offset,
				   const uint8_t *src, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t skip = min_u64(offset, iov[i].iov_len);
		size_t use = min_u64(len - done, iov[i].iov_len - skip);

		memcpy((char *)iov[i].iov_base + skip, src + done, use);
		done += use;
		offset -= skip;
	}
	return done;
}

static inline ssize_t fake_net_receive(struct net_queue *nq, const struct iovec *iov, unsigned n)
{
	struct fake_net_queue *q = to_fake_net_queue(nq);
	struct fake_net *f = q->net;
	struct fake_frame *frame;
	int result = atomic_exchange(&f->receive_result, 0);
	eventfd_t count;
	ssize_t ret;

	assert(n && iov[0].iov_len >= NET_HDR_LEN);
	if (n > f->most_iovs)
		f->most_iovs = n;
	if (result)
		return result;
	pthread_mutex_lock(&f->lock);
	frame = q->frames;
	if (frame) {
		q->frames = frame->next;
		f->nr_left--;
	}
	if (!q->frames)
		(void)eventfd_read(q->src.fd, &count);
	pthread_mutex_unlock(&f->lock);
	if (!frame)
		return -EAGAIN;
	ret = (ssize_t)(NET_HDR_LEN + frame->len);
	if (fake_net_fill(iov, n, 0, (const uint8_t *)&frame->hdr, NET_HDR_LEN) != NET_HDR_LEN ||
	    fake_net_fill(iov, n, NET_HDR_LEN, frame->bytes, frame->len) != frame->len)
		ret = -EMSGSIZE;
	free(frame);
	return ret;
}

static inline void fake_net_readable(void *opaque, uint32_t events)
{
	struct fake_net_queue *q = opaque;

	(void)events;
	assert(q->wanted);
	q->cfg.readable(q->cfg.opaque);
}

static inline void fake_net_want(struct net_queue *nq, bool readable)
{
	struct fake_net_queue *q = to_fake_net_queue(nq);
	uint32_t events = EPOLLIN | (q->net->edge ? EPOLLET : 0);

	atomic_fetch_add(readable ? &q->net->nr_wants : &q->net->nr_unwanted, 1);
	if (readable && !q->wanted && loop_add(q->cfg.loop, &q->src, events))
		abort();
	if (!readable && q->wanted)
		loop_del(q->cfg.loop, &q->src);
	q->wanted = readable;
}

static inline int fake_net_vhost_fd(struct net_queue *nq)
{
	return to_fake_net_queue(nq)->net->vhost_fd;
}

/* A frame comes in by a queue. Any thread. */
static inline void fake_net_inject(struct fake_net *f, unsigned queue,
				   const struct virtio_net_hdr_v1 *hdr, const void *bytes,
				   size_t len)
{
	struct fake_net_queue *q = f->queues[queue];
	struct fake_frame *frame = malloc(sizeof(*frame) + len), **end = &q->frames;

	frame->hdr = hdr ? *hdr : (struct virtio_net_hdr_v1){ 0 };
	frame->len = len;
	frame->next = NULL;
	memcpy(frame->bytes, bytes, len);
	pthread_mutex_lock(&f->lock);
	while (*end)
		end = &(*end)->next;
	*end = frame;
	f->nr_left++;
	eventfd_write(q->src.fd, 1);
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_net_writable(void *opaque)
{
	struct fake_net_queue *q = opaque;

	if (!q->stalled)
		return;
	q->stalled = false;
	q->cfg.writable(q->cfg.opaque);
}

/* There is room again, or none any more. */
static inline void fake_net_set_full(struct fake_net *f, bool full)
{
	f->full = full;
	for (unsigned i = 0; i < NET_MAX_QUEUES && !full; i++)
		if (f->queues[i])
			loop_post(f->queues[i]->cfg.loop, &f->queues[i]->post);
}

static inline void fake_net_close(struct net_queue *nq)
{
	struct fake_net_queue *q = to_fake_net_queue(nq);

	assert(!q->wanted);
	while (q->frames) {
		struct fake_frame *next = q->frames->next;

		free(q->frames);
		q->frames = next;
	}
	q->net->queues[q->index] = NULL;
	close(q->src.fd);
	free(q);
}

static const struct net_queue_ops fake_net_queue_ops = {
	.send = fake_net_send,
	.kick = fake_net_kick,
	.receive = fake_net_receive,
	.want = fake_net_want,
	.vhost_fd = fake_net_vhost_fd,
	.close = fake_net_close,
};

static inline int fake_net_open_queue(struct net *net, const struct net_queue_config *cfg,
				      struct net_queue **out)
{
	struct fake_net *f = to_fake_net(net);
	struct fake_net_queue *q = calloc(1, sizeof(*q));

	while (f->queues[q->index])
		q->index++;
	assert(q->index < net->max_queues);
	q->q = (struct net_queue){ .ops = &fake_net_queue_ops, .net = net };
	q->cfg = *cfg;
	q->net = f;
	q->src = (struct loop_src){ eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), fake_net_readable, q };
	q->post = (struct loop_post){ .fn = fake_net_writable, .opaque = q };
	f->queues[q->index] = q;
	*out = &q->q;
	return 0;
}

static inline int fake_net_set_offloads(struct net *net, unsigned offloads)
{
	struct fake_net *f = to_fake_net(net);

	assert(!(offloads & ~net->offloads));
	if (!f->set_result)
		f->offloads = offloads;
	return f->set_result;
}

static inline int fake_net_set_queues(struct net *net, unsigned queues)
{
	struct fake_net *f = to_fake_net(net);

	assert(queues && queues <= net->max_queues);
	if (!f->set_result)
		f->queues_set = queues;
	return f->set_result;
}

static const struct net_ops fake_net_ops = {
	.open_queue = fake_net_open_queue,
	.set_offloads = fake_net_set_offloads,
	.set_queues = fake_net_set_queues,
};

/* f is zeroed. It can do all there is. */
static inline void fake_net_init(struct fake_net *f, unsigned max_queues)
{
	pthread_mutex_init(&f->lock, NULL);
	f->net.ops = &fake_net_ops;
	f->net.offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN |
			  NET_OFFLOAD_UFO | NET_OFFLOAD_USO;
	f->net.max_queues = max_queues;
	f->net.mtu = 1500;
	f->vhost_fd = -1;
}

#endif
