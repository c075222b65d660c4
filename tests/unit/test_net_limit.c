/* SPDX-License-Identifier: MIT */
/* A network's rate limits, on a clock that is moved by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/net/limit.h"
#include "tests/unit/net_host.h"

#define MS (NSEC_PER_SEC / 1000)
#define FRAME 1000 /* bytes, without header */

/* A front-end that sends and receives all it may. */
struct front {
	struct net_queue *q;
	bool sending;
	unsigned sent, received, writable, readable;
};

struct rig {
	struct fake_clock clock;
	struct stub_net stub;
	struct net *net;
	struct front a, b;
};

static void send_all(struct front *f)
{
	static uint8_t frame[NET_HDR_LEN + FRAME];
	const struct iovec iov = { frame, sizeof(frame) };

	while (f->sending) {
		int ret = net_send(f->q, &iov, 1);

		if (ret) {
			assert_int_equal(ret, -EAGAIN);
			return;
		}
		f->sent++;
	}
}

static void receive_all(struct front *f)
{
	static uint8_t frame[NET_HDR_LEN + FRAME];
	const struct iovec iov = { frame, sizeof(frame) };
	ssize_t ret;

	while ((ret = net_receive(f->q, &iov, 1)) > 0)
		f->received++;
	assert_int_equal(ret, -EAGAIN);
}

static void writable(void *opaque)
{
	struct front *f = opaque;

	f->writable++;
	send_all(f);
}

static void readable(void *opaque)
{
	struct front *f = opaque;

	f->readable++;
	receive_all(f);
}

static void open_front(struct rig *r, struct front *f)
{
	const struct net_queue_config cfg = { NULL, readable, writable, f };

	assert_int_equal(net_open_queue(r->net, &cfg, &f->q), 0);
}

static void rig_open(struct rig *r, uint64_t pps, uint64_t bps)
{
	struct net_limit_config cfg = { .rates = { pps, bps } };

	memset(r, 0, sizeof(*r));
	fake_clock_init(&r->clock);
	stub_net_init(&r->stub);
	r->stub.waiting_len = FRAME;
	cfg.below = &r->stub.net;
	cfg.clock = &r->clock.clock;
	assert_int_equal(net_limit_create(&cfg, &r->net), 0);
	open_front(r, &r->a);
}

static void rig_close(struct rig *r)
{
	net_close_queue(r->a.q);
	net_close_queue(r->b.q);
	assert_int_equal(r->stub.nr_open, 0);
	net_destroy(r->net);
	assert_true(r->stub.destroyed);
	assert_null(r->clock.armed);
}

/* Time goes on; the back-end calls whoever wants to be, as a tap with frames does. */
static void advance(struct rig *r, uint64_t ms)
{
	for (uint64_t i = 0; i < ms * 5; i++) {
		fake_clock_advance(&r->clock, MS / 5);
		if (r->stub.waiting && r->stub.wanted)
			r->stub.cfg.readable(r->stub.cfg.opaque);
	}
}

static void test_no_limit(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, 0, 0);
	r.a.sending = true;
	for (unsigned i = 0; i < 1000; i++) {
		const uint8_t frame[NET_HDR_LEN + 14] = { 0 };
		const struct iovec iov = { (void *)frame, sizeof(frame) };

		assert_int_equal(net_send(r.a.q, &iov, 1), 0);
	}
	net_kick(r.a.q);
	assert_int_equal(r.stub.kicks, 1);
	assert_int_equal(net_vhost_fd(r.a.q), 1234);
	assert_int_equal(net_set_offloads(r.net, 5), 0);
	assert_int_equal(r.stub.offloads, 5);
	assert_int_equal(net_set_queues(r.net, 3), 0);
	assert_int_equal(r.stub.queues, 3);
	assert_int_equal(r.net->offloads, NET_OFFLOAD_CSUM);
	assert_int_equal(r.net->max_queues, 4);
	assert_int_equal(r.net->mtu, 1400);
	rig_close(&r);
}

/* After the burst exactly the rate, whichever of both limits is the one that counts. */
static void check_sending(uint64_t pps, uint64_t bps, unsigned burst, unsigned a_second)
{
	struct rig r;

	rig_open(&r, pps, bps);
	assert_int_equal(net_vhost_fd(r.a.q), -1);
	r.a.sending = true;
	send_all(&r.a);
	assert_int_equal(r.a.sent, burst);
	advance(&r, 10000);
	assert_in_range(r.a.sent, burst + 10 * a_second - 1, burst + 10 * a_second + 1);
	assert_int_equal(r.stub.sent, r.a.sent);
	assert_int_equal(r.a.writable > 0, a_second > 0);
	rig_close(&r);
}

static void test_sending(void **state)
{
	(void)state;
	check_sending(100, 0, 10, 100);
	check_sending(0, 100 * FRAME, 10, 100);
	check_sending(100, 1000 * FRAME, 10, 100);
	check_sending(1000, 100 * FRAME, 10, 100);
	check_sending(3, 0, 1, 3);
	check_sending(0, 1, 1, 0); /* a frame is worth a thousand seconds */
}

static void test_receiving(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, 100, 0);
	r.stub.waiting = 1000000;
	net_want(r.a.q, true);
	assert_true(r.stub.wanted);
	r.stub.cfg.readable(r.stub.cfg.opaque);
	assert_int_equal(r.a.received, 10);
	assert_false(r.stub.wanted);
	net_want(r.a.q, true);
	assert_false(r.stub.wanted);
	advance(&r, 10000);
	assert_in_range(r.a.received, 1009, 1011);
	/* While it waits the front-end may change its mind. */
	net_want(r.a.q, false);
	advance(&r, 1000);
	assert_false(r.stub.wanted);
	assert_in_range(r.a.received, 1009, 1012);
	net_want(r.a.q, true);
	assert_true(r.stub.wanted);
	rig_close(&r);
}

/* The two ways know nothing of each other; the queues of one way share. */
static void test_ways_and_queues(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, 100, 0);
	open_front(&r, &r.b);
	r.a.sending = r.b.sending = true;
	r.stub.waiting = 1000000;
	net_want(r.a.q, true);
	send_all(&r.a);
	send_all(&r.b);
	r.stub.cfg = (struct net_queue_config){ NULL, readable, writable, &r.a };
	advance(&r, 10000);
	assert_in_range(r.a.sent + r.b.sent, 1009, 1011);
	assert_in_range(r.a.sent, 300, 700);
	assert_in_range(r.a.received, 1009, 1011);
	rig_close(&r);
}

static void test_changed(void **state)
{
	struct net_rates rates = { 0, 0 };
	struct rig r;

	(void)state;
	rig_open(&r, 1, 0);
	r.a.sending = true;
	send_all(&r.a);
	advance(&r, 100);
	assert_int_equal(r.a.sent, 1);
	rates.pps = 100;
	net_limit_set(r.net, &rates);
	advance(&r, 1000);
	assert_in_range(r.a.sent, 110, 112);
	net_limit_get(r.net, &rates);
	assert_int_equal(rates.pps, 100);
	assert_int_equal(rates.bps, 0);

	/* Without a limit who waited is called, and waits no more. */
	advance(&r, 1);
	r.a.sending = false;
	rates.pps = 0;
	net_limit_set(r.net, &rates);
	advance(&r, 1);
	assert_null(r.clock.armed);
	assert_int_equal(net_vhost_fd(r.a.q), 1234);
	rig_close(&r);
}

/* What the back-end says comes through, and is not paid for. */
static void test_errors(void **state)
{
	static uint8_t frame[NET_HDR_LEN + FRAME];
	const struct iovec iov = { frame, sizeof(frame) };
	struct rig r;

	(void)state;
	rig_open(&r, 10, 0);
	r.stub.send_error = -EIO;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(net_send(r.a.q, &iov, 1), -EIO);
	assert_int_equal(net_receive(r.a.q, &iov, 1), -EAGAIN);
	r.stub.send_error = 0;
	assert_int_equal(net_send(r.a.q, &iov, 1), 0);
	assert_int_equal(net_send(r.a.q, &iov, 1), -EAGAIN);
	assert_int_equal(r.a.q->sent.frames, 1);
	assert_int_equal(r.a.q->sent.bytes, FRAME);
	assert_int_equal(r.a.q->sent.dropped, 5);
	r.stub.waiting = 1;
	r.stub.waiting_len = FRAME + 1;
	assert_int_equal(net_receive(r.a.q, &iov, 1), -EMSGSIZE);
	r.stub.waiting = 1;
	r.stub.waiting_len = FRAME;
	assert_int_equal(net_receive(r.a.q, &iov, 1), NET_HDR_LEN + FRAME);
	rig_close(&r);
}

/* On the host's clock, each queue's own loop. */
static void test_for_real(void **state)
{
	struct stub_net stub;
	struct net_limit_config cfg = { .below = &stub.net, .rates = { 1000, 0 } };
	struct net_host h;
	struct net *net;

	(void)state;
	stub_net_init(&stub);
	stub.waiting = 1000000;
	stub.waiting_len = 60;
	assert_int_equal(net_limit_create(&cfg, &net), 0);
	net_host_init(&h);
	net_host_open(&h, net);
	for (unsigned i = 0; i < 20; i++) {
		net_host_run(&h, 10);
		if (stub.wanted)
			stub.cfg.readable(stub.cfg.opaque);
	}
	/* A burst of 100, and 200 in this time; a slow machine had more of it. */
	assert_in_range(h.nr, 250, 900);
	net_host_close(&h);
	net_host_destroy(&h);
	net_destroy(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_limit),  cmocka_unit_test(test_sending),
		cmocka_unit_test(test_receiving), cmocka_unit_test(test_ways_and_queues),
		cmocka_unit_test(test_changed),   cmocka_unit_test(test_errors),
		cmocka_unit_test(test_for_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
