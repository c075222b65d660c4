/* SPDX-License-Identifier: MIT */
/* Taps: the frames that go through one, its offloads, its queues. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/net/tap_host.h"
#include "tests/unit/tap_rig.h"

/* --- frames ------------------------------------------------------------------------------- */

struct rig {
	struct net *net;
	struct net_host h;
	int packet;
	uint8_t frame[NET_MAX_FRAME], got[NET_MAX_FRAME];
};

static int set_up(void **state)
{
	const struct tap_config cfg = { .name = TAP_RIG_NAME, .queues = 1 };
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->net = tap_rig_open(&cfg);
	net_host_init(&r->h);
	net_host_open(&r->h, r->net);
	r->packet = tap_rig_packet(TAP_RIG_NAME, TAP_RIG_TYPE, false);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	close(r->packet);
	net_host_close(&r->h);
	net_host_destroy(&r->h);
	net_destroy(r->net);
	free(r);
	return 0;
}

static void test_frames(void **state)
{
	static const size_t lens[] = { 14, 60, 61, 1514 };
	struct rig *r = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		const struct virtio_net_hdr_v1 none = { 0 };
		const struct net_host_frame *f;
		size_t len = tap_rig_frame(r->frame, lens[i], (uint8_t)i);

		assert_int_equal(net_host_send(&r->h, r->frame, len), 0);
		assert_int_equal(read(r->packet, r->got, sizeof(r->got)), len);
		assert_memory_equal(r->got, r->frame, len);

		assert_int_equal(write(r->packet, r->frame, len), len);
		f = tap_rig_take(&r->h);
		assert_non_null(f);
		assert_int_equal(f->len, len);
		assert_memory_equal(f->data, r->frame, len);
		assert_memory_equal(&f->hdr, &none, 10);
	}
	assert_int_equal(r->h.q->sent.frames, ARRAY_SIZE(lens));
	assert_int_equal(r->h.q->sent.bytes, 14 + 60 + 61 + 1514);
	assert_int_equal(r->h.q->sent.dropped, 0);
	assert_true(r->h.q->received.frames >= ARRAY_SIZE(lens));
}

/*
 * Tests that count frames want none of the kernel's own, which come when it likes, for seconds after an
 * interface has come up: IPv6's. It gives up IPv6 on what cannot carry its smallest packet (RFC 8200, 5).
 */
static void keep_kernel_quiet(struct rig *r)
{
	struct ifreq ifr = { .ifr_mtu = 1279 };

	assert_int_equal(tap_ioctl(TAP_RIG_NAME, SIOCSIFMTU, &ifr), 0);
	while (net_host_take(&r->h, 50))
		;
}

static void test_does_not_fit(void **state)
{
	struct rig *r = *state;
	struct virtio_net_hdr_v1 hdr;
	uint8_t small[100];
	const struct iovec iov[] = { { &hdr, sizeof(hdr) }, { small, sizeof(small) } };
	ssize_t n;

	keep_kernel_quiet(r);
	r->h.keep = true;
	assert_int_equal(write(r->packet, r->frame, tap_rig_frame(r->frame, 101, 1)), 101);
	assert_int_equal(write(r->packet, r->frame, tap_rig_frame(r->frame, 100, 2)), 100);
	assert_int_equal(net_receive(r->h.q, iov, 2), -EMSGSIZE);
	n = net_receive(r->h.q, iov, 2);
	assert_int_equal(n, NET_HDR_LEN + 100);
	assert_memory_equal(small, r->frame, 100);
	assert_int_equal(net_receive(r->h.q, iov, 2), -EAGAIN);
	assert_int_equal(r->h.q->received.dropped, 1);
}

static void test_want(void **state)
{
	struct rig *r = *state;
	unsigned before;

	keep_kernel_quiet(r);
	before = r->h.readable;
	net_want(r->h.q, false);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(write(r->packet, r->frame, tap_rig_frame(r->frame, 60, 1)), 60);
		net_host_run(&r->h, 20);
	}
	assert_int_equal(r->h.readable, before);
	net_want(r->h.q, true);
	assert_non_null(tap_rig_take(&r->h));
	assert_non_null(tap_rig_take(&r->h));
	assert_non_null(tap_rig_take(&r->h));
	assert_int_equal(r->h.readable, before + 1);
}

/* What cannot be sent is lost, and nothing is stuck. */
static void test_down(void **state)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	struct rig *r = *state;
	size_t len = tap_rig_frame(r->frame, 60, 1);

	assert_int_equal(tap_ioctl(TAP_RIG_NAME, SIOCSIFFLAGS, &ifr), 0);
	assert_int_equal(net_host_send(&r->h, r->frame, len), -EIO);
	assert_int_equal(r->h.q->sent.dropped, 1);
	assert_int_equal(tap_set_up(TAP_RIG_NAME), 0);
	assert_int_equal(net_host_send(&r->h, r->frame, len), 0);
}

/* Over rtnetlink, as ip link del does. */
static void remove_interface(const char *name)
{
	struct {
		struct nlmsghdr nlh;
		struct ifinfomsg info;
	} req = {
		.nlh = { .nlmsg_len = sizeof(req),
			 .nlmsg_type = RTM_DELLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.info.ifi_index = (int)if_nametoindex(name),
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	uint8_t ack[256];

	assert_int_equal(send(fd, &req, sizeof(req), 0), sizeof(req));
	assert_true(recv(fd, ack, sizeof(ack), 0) > 0);
	close(fd);
	assert_false(tap_rig_is_there(name));
}

/* Somebody takes the interface away: nothing is to be had from it, at no cost. */
static void test_gone(void **state)
{
	struct rig *r = *state;
	struct epoll_event evs[4];
	int n;
	size_t len = tap_rig_frame(r->frame, 60, 1);

	remove_interface(TAP_RIG_NAME);
	net_host_run(&r->h, 50);
	n = epoll_wait(r->h.loop.epfd, evs, ARRAY_SIZE(evs), 0);
	for (int i = 0; i < n; i++)
		assert_int_not_equal(((struct loop_src *)evs[i].data.ptr)->fd,
				     net_vhost_fd(r->h.q));
	assert_true(net_host_send(&r->h, r->frame, len) < 0);
}
/* --- offloads ----------------------------------------------------------------------------- */

/* Ethernet, IPv4 and TCP with payload bytes of data, whose checksum is to be filled in. */
static size_t make_tcp(uint8_t *frame, size_t payload)
{
	static const uint8_t headers[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,    2,    2,    2,    2,    2, /* Ethernet */
		0x08, 0x00, 0x45, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 64,   6, /* IPv4 */
		0x00, 0x00, 10,   0,    0,    1,    10,   0,    0,    2,    0x12, 0x34, /* TCP */
		0x00, 0x50, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x50, 0x10,
		0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
	};
	size_t len = sizeof(headers) - 14 + payload;
	uint32_t sum = 0;

	memcpy(frame, headers, sizeof(headers));
	frame[16] = (uint8_t)(len >> 8);
	frame[17] = (uint8_t)len;
	for (unsigned i = 14; i < 34; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
	memset(frame + sizeof(headers), 0x5a, payload);
	return sizeof(headers) + payload;
}

static const struct virtio_net_hdr_v1 tso = {
	.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	.hdr_len = 54,
	.gso_size = 1000,
	.csum_start = 34,
	.csum_offset = 16,
};

/* As a packet socket takes it: without num_buffers. */
static void send_tso(int packet, const uint8_t *frame, size_t len)
{
	const struct iovec iov[] = { { (void *)&tso, 10 }, { (void *)frame, len } };

	assert_int_equal(writev(packet, iov, 2), 10 + len);
}

/* What the host sends whole comes in segments of gso_size, with nothing left to do. */
static void check_segments(struct rig *r, int packet, size_t len)
{
	unsigned pieces = 0;

	send_tso(packet, r->frame, len);
	while (pieces < 4) {
		const struct net_host_frame *f = net_host_take(&r->h, TAP_RIG_WAIT);

		assert_non_null(f);
		if (f->len < 1000)
			continue;
		assert_int_equal(f->len, 1054);
		assert_int_equal(f->hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		assert_int_equal(f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
		pieces++;
	}
}

static void test_offloads(void **state)
{
	const unsigned some = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6;
	struct rig *r = *state;
	int packet = tap_rig_packet(TAP_RIG_NAME, ETH_P_IP, true);
	size_t len = make_tcp(r->frame, 4000);
	const struct net_host_frame *f;

	assert_int_equal(r->net->offloads & some, some);
	assert_int_equal(net_set_offloads(r->net, 1u << 20), -EINVAL);

	/* The guest's go out whole. */
	assert_int_equal(net_host_send_hdr(&r->h, &tso, r->frame, len), 0);
	assert_int_equal(read(packet, r->got, sizeof(r->got)), 10 + len);
	assert_int_equal(r->got[1], VIRTIO_NET_HDR_GSO_TCPV4);

	/* The host's come in whole where the guest can, which at first it cannot. */
	check_segments(r, packet, len);
	assert_int_equal(net_set_offloads(r->net, some), 0);
	send_tso(packet, r->frame, len);
	do
		f = net_host_take(&r->h, TAP_RIG_WAIT);
	while (f && f->len < 1000);
	assert_non_null(f);
	assert_int_equal(f->len, len);
	assert_int_equal(f->hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(f->hdr.gso_size, 1000);
	assert_int_equal(f->hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);

	assert_int_equal(net_set_offloads(r->net, 0), 0);
	check_segments(r, packet, len);
	close(packet);
}

/* One that came when the guest still could, and is fetched when it cannot. */
static void test_late_offload(void **state)
{
	struct rig *r = *state;
	int packet = tap_rig_packet(TAP_RIG_NAME, ETH_P_IP, true);

	net_host_run(&r->h, 50);
	assert_int_equal(net_set_offloads(r->net, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4), 0);
	send_tso(packet, r->frame, make_tcp(r->frame, 4000));
	assert_int_equal(net_set_offloads(r->net, 0), 0);
	for (unsigned i = 0; i < 100 && !r->h.lost; i++)
		net_host_run(&r->h, 10);
	assert_int_equal(r->h.lost, 1);
	assert_int_equal(r->h.error, -EINVAL);
	assert_int_equal(r->h.q->received.dropped, 1);
	close(packet);
}

/* --- several queues ----------------------------------------------------------------------- */

/* A host for each queue, the loops of all run by hand. */
static void open_hosts(struct net_host *h, unsigned n, struct net *net)
{
	for (unsigned i = 0; i < n; i++) {
		net_host_init(&h[i]);
		net_host_open(&h[i], net);
	}
}

static void close_hosts(struct net_host *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		net_host_close(&h[i]);
		net_host_destroy(&h[i]);
	}
}

static void run_hosts(struct net_host *h, unsigned n, unsigned ms)
{
	for (unsigned i = 0; i < n; i++)
		net_host_run(&h[i], ms);
}

static void test_queues(void **state)
{
	const struct tap_config cfg = { .name = TAP_RIG_NAME, .queues = 3 };
	struct net *net = tap_rig_open(&cfg);
	const struct net_queue_config qc = { .loop = NULL };
	struct net_queue *extra;
	struct net_host h[3];
	uint8_t frame[64];
	size_t len = tap_rig_frame(frame, sizeof(frame), 9);
	int packet = tap_rig_packet(TAP_RIG_NAME, TAP_RIG_TYPE, false);
	uint8_t got[128];

	(void)state;
	assert_int_equal(net->max_queues, 3);
	open_hosts(h, 3, net);
	for (unsigned i = 0; i < 3; i++)
		assert_true(net_vhost_fd(h[i].q) >= 0);
	assert_int_equal(net_open_queue(net, &qc, &extra), -EBUSY);
	assert_int_equal(net_set_queues(net, 0), -EINVAL);
	assert_int_equal(net_set_queues(net, 4), -EINVAL);

	/* At first one is there. */
	for (unsigned i = 0; i < 100; i++) {
		frame[6] = (uint8_t)(2 + 4 * i);
		assert_int_equal(write(packet, frame, len), len);
	}
	run_hosts(h, 3, 20);
	assert_true(h[0].nr >= 100);
	assert_int_equal(h[1].nr + h[2].nr, 0);
	h[0].taken = h[0].nr;

	for (unsigned n = 3; n > 0; n--) {
		unsigned there = 0;

		assert_int_equal(net_set_queues(net, n), 0);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(net_host_send(&h[i], frame, len), 0);
			assert_int_equal(read(packet, got, sizeof(got)), len);
		}
		/* The kernel chooses which, but one that is there. */
		assert_int_equal(write(packet, frame, len), len);
		for (unsigned k = 0; k < 200 && !there; k++) {
			for (unsigned i = 0; i < n; i++) {
				const struct net_host_frame *f;

				net_host_run(&h[i], 2);
				while (h[i].taken < h[i].nr) {
					f = &h[i].frames[h[i].taken++];
					there += f->len == len && !memcmp(f->data, frame, len);
				}
			}
		}
		assert_int_equal(there, 1);
	}
	close_hosts(h, 3);
	close(packet);
	net_destroy(net);
}

/* A queue that was away is called again once it is back. */
static void test_queue_comes_back(void **state)
{
	const struct tap_config cfg = { .name = TAP_RIG_NAME, .queues = 2 };
	struct net *net = tap_rig_open(&cfg);
	struct net_host h[2];
	uint8_t frame[64];
	size_t len = tap_rig_frame(frame, sizeof(frame), 7);
	int packet = tap_rig_packet(TAP_RIG_NAME, TAP_RIG_TYPE, false);
	bool came = false;

	(void)state;
	open_hosts(h, 2, net);
	run_hosts(h, 2, 20);
	assert_int_equal(net_set_queues(net, 2), 0);
	for (unsigned i = 0; i < 500 && !came; i++) {
		/* Of many flows some are the second queue's. */
		frame[6] = (uint8_t)(2 + 4 * i);
		frame[20] = (uint8_t)i;
		assert_int_equal(write(packet, frame, len), len);
		run_hosts(h, 2, 1);
		came = h[1].nr > 0;
	}
	assert_true(came);
	close_hosts(h, 2);
	close(packet);
	net_destroy(net);
}
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_frames),
		TEST(test_does_not_fit),
		TEST(test_want),
		TEST(test_down),
		TEST(test_gone),
		TEST(test_offloads),
		TEST(test_late_offload),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_queue_comes_back),
	};

	return tap_rig_enter() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
