/* SPDX-License-Identifier: MIT */
#include "tests/unit/net_host.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS (NSEC_PER_SEC / 1000)

/* --- a queue ------------------------------------------------------------------------------ */

static void stop(void *opaque)
{
	loop_stop(opaque);
}

void net_host_init(struct net_host *h)
{
	memset(h, 0, sizeof(*h));
	assert_int_equal(loop_init(&h->loop), 0);
	assert_int_equal(host_clock_init(&h->clock, &h->loop), 0);
	timer_init(&h->timer, &h->clock.clock, stop, &h->loop);
	/* It has run and ended: nobody waits for such a loop. */
	loop_stop(&h->loop);
	assert_int_equal(loop_run(&h->loop), 0);
}

void net_host_destroy(struct net_host *h)
{
	for (unsigned i = 0; i < h->nr; i++)
		free(h->frames[i].data);
	host_clock_destroy(&h->clock);
	loop_destroy(&h->loop);
}

static void drain(struct net_host *h)
{
	static uint8_t buf[NET_MAX_FRAME];

	for (;;) {
		struct net_host_frame *f = &h->frames[h->nr];
		const struct iovec iov[] = { { &f->hdr, sizeof(f->hdr) },
					     { buf, 3 },
					     { buf + 3, sizeof(buf) - 3 } };
		ssize_t n = net_receive(h->q, iov, ARRAY_SIZE(iov));

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			h->lost++;
			h->error = (int)n;
			continue;
		}
		assert_true((size_t)n >= NET_HDR_LEN && h->nr < NET_HOST_FRAMES - 1);
		f->len = (size_t)n - NET_HDR_LEN;
		f->data = malloc(f->len + 1);
		assert_non_null(f->data);
		memcpy(f->data, buf, f->len);
		h->nr++;
	}
}

static void readable(void *opaque)
{
	struct net_host *h = opaque;

	h->readable++;
	if (!h->keep)
		drain(h);
}

static void writable(void *opaque)
{
	((struct net_host *)opaque)->writable++;
}

void net_host_open(struct net_host *h, struct net *net)
{
	const struct net_queue_config cfg = { &h->loop, readable, writable, h };

	assert_int_equal(net_open_queue(net, &cfg, &h->q), 0);
	net_want(h->q, true);
}

void net_host_close(struct net_host *h)
{
	net_close_queue(h->q);
	h->q = NULL;
}

void net_host_run(struct net_host *h, unsigned ms)
{
	timer_arm(&h->timer, clock_now(&h->clock.clock) + ms * MS);
	h->loop.stop = false;
	assert_int_equal(loop_run(&h->loop), 0);
}

const struct net_host_frame *net_host_take(struct net_host *h, unsigned ms)
{
	uint64_t end = clock_now(&h->clock.clock) + ms * MS;

	while (h->taken == h->nr && clock_now(&h->clock.clock) < end)
		net_host_run(h, 2);
	return h->taken < h->nr ? &h->frames[h->taken++] : NULL;
}

int net_host_send_hdr(struct net_host *h, const struct virtio_net_hdr_v1 *hdr, const void *frame,
		      size_t len)
{
	size_t half = len / 2;
	const struct iovec iov[] = {
		{ (void *)hdr, sizeof(*hdr) },
		{ (void *)frame, half },
		{ (uint8_t *)frame + half, len - half },
	};
	int ret = net_send(h->q, iov, ARRAY_SIZE(iov));

	net_kick(h->q);
	return ret;
}

int net_host_send(struct net_host *h, const void *frame, size_t len)
{
	const struct virtio_net_hdr_v1 hdr = { 0 };

	return net_host_send_hdr(h, &hdr, frame, len);
}

/* --- a back-end --------------------------------------------------------------------------- */

static struct stub_net *to_stub(struct net_queue *q)
{
	return container_of(q, struct stub_net, q);
}

static int stub_send(struct net_queue *q, const struct iovec *iov, unsigned nr_iov)
{
	struct stub_net *f = to_stub(q);

	if (f->send_error)
		return f->send_error;
	f->sent++;
	for (unsigned i = 0; i < nr_iov; i++)
		f->sent_bytes += iov[i].iov_len;
	return 0;
}

static void stub_kick(struct net_queue *q)
{
	to_stub(q)->kicks++;
}

static ssize_t stub_receive(struct net_queue *q, const struct iovec *iov, unsigned nr_iov)
{
	struct stub_net *f = to_stub(q);
	size_t left = NET_HDR_LEN + f->waiting_len;
	uint8_t byte = 0;

	if (!f->waiting)
		return -EAGAIN;
	f->waiting--;
	for (unsigned i = 0; i < nr_iov; i++)
		for (size_t k = 0; k < iov[i].iov_len && left; k++, left--)
			((uint8_t *)iov[i].iov_base)[k] = left > f->waiting_len ? 0 : byte++;
	return left ? -EMSGSIZE : (ssize_t)(NET_HDR_LEN + f->waiting_len);
}

static void stub_want(struct net_queue *q, bool wanted)
{
	to_stub(q)->wanted = wanted;
}

static int stub_vhost_fd(struct net_queue *q)
{
	(void)q;
	return 1234;
}

static void stub_close(struct net_queue *q)
{
	to_stub(q)->nr_open--;
}

static int stub_open_queue(struct net *net, const struct net_queue_config *cfg,
			   struct net_queue **out)
{
	static const struct net_queue_ops ops = {
		.send = stub_send,
		.kick = stub_kick,
		.receive = stub_receive,
		.want = stub_want,
		.vhost_fd = stub_vhost_fd,
		.close = stub_close,
	};
	struct stub_net *f = container_of(net, struct stub_net, net);

	f->cfg = *cfg;
	f->q = (struct net_queue){ .ops = &ops, .net = net };
	f->nr_open++;
	*out = &f->q;
	return 0;
}

static int stub_set_offloads(struct net *net, unsigned offloads)
{
	container_of(net, struct stub_net, net)->offloads = offloads;
	return 0;
}

static int stub_set_queues(struct net *net, unsigned queues)
{
	container_of(net, struct stub_net, net)->queues = queues;
	return 0;
}

static void stub_destroy(struct net *net)
{
	container_of(net, struct stub_net, net)->destroyed = true;
}

void stub_net_init(struct stub_net *f)
{
	static const struct net_ops ops = {
		.open_queue = stub_open_queue,
		.set_offloads = stub_set_offloads,
		.set_queues = stub_set_queues,
		.destroy = stub_destroy,
	};

	*f = (struct stub_net){
		.net = { .ops = &ops, .offloads = NET_OFFLOAD_CSUM, .max_queues = 4, .mtu = 1400 },
	};
}
