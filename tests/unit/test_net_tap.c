/* SPDX-License-Identifier: MIT */
/*
 * Taps of a network namespace of our own: the other end of each is a packet socket. Without the
 * right to have such a namespace there is nothing to test.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/net/tap_host.h"
#include "tests/unit/net_host.h"

#define NAME "tap-test"
#define BRIDGE "br-test"
#define WAIT 2000 /* ms; only ever waited for when something is wrong */
#define TYPE 0x88b5 /* IEEE's for experiments: nothing but our frames has it */

static bool is_there(const char *name)
{
	return if_nametoindex(name) != 0;
}

static bool is_up(const char *name)
{
	struct ifreq ifr = { .ifr_flags = 0 };

	assert_int_equal(tap_ioctl(name, SIOCGIFFLAGS, &ifr), 0);
	return ifr.ifr_flags & IFF_UP;
}

static int get_mtu(const char *name)
{
	struct ifreq ifr = { .ifr_mtu = 0 };

	assert_int_equal(tap_ioctl(name, SIOCGIFMTU, &ifr), 0);
	return ifr.ifr_mtu;
}

/* A descriptor of a tap, as another program would open it. */
static int open_tap(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static void make_persistent(const char *name, int flags, bool on)
{
	int fd = open_tap(name, IFF_TAP | IFF_NO_PI | flags);

	assert_int_equal(ioctl(fd, TUNSETPERSIST, on), 0);
	close(fd);
}

static void make_bridge(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(ioctl(fd, SIOCBRADDBR, name), 0);
	close(fd);
	assert_int_equal(tap_set_up(name), 0);
}

static void remove_bridge(const char *name)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(tap_ioctl(name, SIOCSIFFLAGS, &ifr), 0);
	assert_int_equal(ioctl(fd, SIOCBRDELBR, name), 0);
	close(fd);
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
	assert_false(is_there(name));
}

static struct net *open_ok(const struct tap_config *cfg)
{
	struct err err = { "" };
	struct net *net = NULL;

	if (tap_open(cfg, &net, &err))
		fail_msg("%s", err.text);
	return net;
}

/* That it is refused with that error, and a line that has all of these. */
static void check_refused(const struct tap_config *cfg, int ret, const char *const *words)
{
	struct err err = { "" };
	struct net *net = NULL;

	assert_int_equal(tap_open(cfg, &net, &err), ret);
	for (; *words; words++)
		if (!strstr(err.text, *words))
			fail_msg("no '%s' in: %s", *words, err.text);
	assert_true(strlen(err.text) < sizeof(err.text) - 8);
}

#define WORDS(...)                \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

/* --- the other end ------------------------------------------------------------------------ */

static int open_packet(const char *name, uint16_t type, bool header)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(type),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	const struct timeval second = { .tv_sec = 2 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(type)), one = 1;

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (header)
		assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)), 0);
	return fd;
}

static size_t make_frame(uint8_t *frame, size_t len, uint8_t seed)
{
	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	frame[12] = TYPE >> 8;
	frame[13] = TYPE & 0xff;
	for (size_t i = 14; i < len; i++)
		frame[i] = (uint8_t)(seed + i);
	return len;
}

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

/* --- a tap by its name -------------------------------------------------------------------- */

static void test_made_and_gone(void **state)
{
	const struct tap_config cfg = { .name = NAME, .queues = 1, .mtu = 1400 };
	struct net *net = open_ok(&cfg);

	(void)state;
	assert_true(is_there(NAME));
	assert_true(is_up(NAME));
	assert_int_equal(get_mtu(NAME), 1400);
	assert_int_equal(net->mtu, 1400);
	assert_int_equal(net->max_queues, 1);
	net_destroy(net);
	assert_false(is_there(NAME));
}

static void test_left_alone(void **state)
{
	const struct tap_config cfg = { .name = NAME, .queues = 1 };
	struct net *net;

	(void)state;
	make_persistent(NAME, 0, true);
	net = open_ok(&cfg);
	assert_false(is_up(NAME));
	assert_int_equal(net->mtu, 1500);
	net_destroy(net);
	assert_true(is_there(NAME));
	assert_false(is_up(NAME));
	make_persistent(NAME, 0, false);
	assert_false(is_there(NAME));
}

/* One that was made for several queues is as good for one. */
static void test_one_of_many(void **state)
{
	const struct tap_config cfg = { .name = NAME, .queues = 1 };

	(void)state;
	make_persistent(NAME, IFF_MULTI_QUEUE, true);
	net_destroy(open_ok(&cfg));
	make_persistent(NAME, IFF_MULTI_QUEUE, false);
}

/* --- frames ------------------------------------------------------------------------------- */

struct rig {
	struct net *net;
	struct net_host h;
	int packet;
	uint8_t frame[NET_MAX_FRAME], got[NET_MAX_FRAME];
};

static int set_up(void **state)
{
	const struct tap_config cfg = { .name = NAME, .queues = 1 };
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->net = open_ok(&cfg);
	net_host_init(&r->h);
	net_host_open(&r->h, r->net);
	r->packet = open_packet(NAME, TYPE, false);
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

/* The next frame of our type: the kernel itself says one thing and another on a new interface. */
static const struct net_host_frame *take(struct net_host *h)
{
	const struct net_host_frame *f;

	do
		f = net_host_take(h, WAIT);
	while (f && (f->len < 14 || f->data[12] != TYPE >> 8 || f->data[13] != (TYPE & 0xff)));
	return f;
}

static void test_frames(void **state)
{
	static const size_t lens[] = { 14, 60, 61, 1514 };
	struct rig *r = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		const struct virtio_net_hdr_v1 none = { 0 };
		const struct net_host_frame *f;
		size_t len = make_frame(r->frame, lens[i], (uint8_t)i);

		assert_int_equal(net_host_send(&r->h, r->frame, len), 0);
		assert_int_equal(read(r->packet, r->got, sizeof(r->got)), len);
		assert_memory_equal(r->got, r->frame, len);

		assert_int_equal(write(r->packet, r->frame, len), len);
		f = take(&r->h);
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

	assert_int_equal(tap_ioctl(NAME, SIOCSIFMTU, &ifr), 0);
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
	assert_int_equal(write(r->packet, r->frame, make_frame(r->frame, 101, 1)), 101);
	assert_int_equal(write(r->packet, r->frame, make_frame(r->frame, 100, 2)), 100);
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
		assert_int_equal(write(r->packet, r->frame, make_frame(r->frame, 60, 1)), 60);
		net_host_run(&r->h, 20);
	}
	assert_int_equal(r->h.readable, before);
	net_want(r->h.q, true);
	assert_non_null(take(&r->h));
	assert_non_null(take(&r->h));
	assert_non_null(take(&r->h));
	assert_int_equal(r->h.readable, before + 1);
}

/* What cannot be sent is lost, and nothing is stuck. */
static void test_down(void **state)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	struct rig *r = *state;
	size_t len = make_frame(r->frame, 60, 1);

	assert_int_equal(tap_ioctl(NAME, SIOCSIFFLAGS, &ifr), 0);
	assert_int_equal(net_host_send(&r->h, r->frame, len), -EIO);
	assert_int_equal(r->h.q->sent.dropped, 1);
	assert_int_equal(tap_set_up(NAME), 0);
	assert_int_equal(net_host_send(&r->h, r->frame, len), 0);
}

/* Somebody takes the interface away: nothing is to be had from it, at no cost. */
static void test_gone(void **state)
{
	struct rig *r = *state;
	struct epoll_event evs[4];
	int n;
	size_t len = make_frame(r->frame, 60, 1);

	remove_interface(NAME);
	net_host_run(&r->h, 50);
	n = epoll_wait(r->h.loop.epfd, evs, ARRAY_SIZE(evs), 0);
	for (int i = 0; i < n; i++)
		assert_int_not_equal(((struct loop_src *)evs[i].data.ptr)->fd,
				     net_vhost_fd(r->h.q));
	assert_true(net_host_send(&r->h, r->frame, len) < 0);
}

/* --- offloads ----------------------------------------------------------------------------- */

/* What the host sends whole comes in segments of gso_size, with nothing left to do. */
static void check_segments(struct rig *r, int packet, size_t len)
{
	unsigned pieces = 0;

	send_tso(packet, r->frame, len);
	while (pieces < 4) {
		const struct net_host_frame *f = net_host_take(&r->h, WAIT);

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
	int packet = open_packet(NAME, ETH_P_IP, true);
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
		f = net_host_take(&r->h, WAIT);
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
	int packet = open_packet(NAME, ETH_P_IP, true);

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

static void test_queues(void **state)
{
	const struct tap_config cfg = { .name = NAME, .queues = 3 };
	struct net *net = open_ok(&cfg);
	const struct net_queue_config qc = { .loop = NULL };
	struct net_queue *extra;
	struct net_host h[3];
	uint8_t frame[64];
	size_t len = make_frame(frame, sizeof(frame), 9);
	int packet = open_packet(NAME, TYPE, false);
	uint8_t got[128];

	(void)state;
	assert_int_equal(net->max_queues, 3);
	for (unsigned i = 0; i < 3; i++) {
		net_host_init(&h[i]);
		net_host_open(&h[i], net);
		assert_true(net_vhost_fd(h[i].q) >= 0);
	}
	assert_int_equal(net_open_queue(net, &qc, &extra), -EBUSY);
	assert_int_equal(net_set_queues(net, 0), -EINVAL);
	assert_int_equal(net_set_queues(net, 4), -EINVAL);

	/* At first one is there. */
	for (unsigned i = 0; i < 100; i++) {
		frame[6] = (uint8_t)(2 + 4 * i);
		assert_int_equal(write(packet, frame, len), len);
	}
	for (unsigned i = 0; i < 3; i++)
		net_host_run(&h[i], 20);
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
	for (unsigned i = 0; i < 3; i++) {
		net_host_close(&h[i]);
		net_host_destroy(&h[i]);
	}
	close(packet);
	net_destroy(net);
}

/* A queue that was away is called again once it is back. */
static void test_queue_comes_back(void **state)
{
	const struct tap_config cfg = { .name = NAME, .queues = 2 };
	struct net *net = open_ok(&cfg);
	struct net_host h[2];
	uint8_t frame[64];
	size_t len = make_frame(frame, sizeof(frame), 7);
	int packet = open_packet(NAME, TYPE, false);
	bool came = false;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		net_host_init(&h[i]);
		net_host_open(&h[i], net);
		net_host_run(&h[i], 20);
	}
	assert_int_equal(net_set_queues(net, 2), 0);
	for (unsigned i = 0; i < 500 && !came; i++) {
		/* Of many flows some are the second queue's. */
		frame[6] = (uint8_t)(2 + 4 * i);
		frame[20] = (uint8_t)i;
		assert_int_equal(write(packet, frame, len), len);
		net_host_run(&h[0], 1);
		net_host_run(&h[1], 1);
		came = h[1].nr > 0;
	}
	assert_true(came);
	for (unsigned i = 0; i < 2; i++) {
		net_host_close(&h[i]);
		net_host_destroy(&h[i]);
	}
	close(packet);
	net_destroy(net);
}

/* --- inherited descriptors ---------------------------------------------------------------- */

static void test_inherited(void **state)
{
	const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	int fds[2];
	struct tap_config cfg = { .fds = fds, .nr_fds = 2, .queues = 2 };
	struct net *net;

	(void)state;
	fds[0] = open_tap(NAME, flags);
	fds[1] = open_tap(NAME, flags);
	net = open_ok(&cfg);
	assert_int_equal(net->max_queues, 2);
	assert_int_equal(net->mtu, 1500);
	assert_true(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fds[1], F_GETFD) & FD_CLOEXEC);
	net_destroy(net);
	assert_false(is_there(NAME));
}

static void check_fds_refused(int first, int second, const char *word)
{
	const int fds[] = { first, second };
	const struct tap_config cfg = { .fds = fds, .nr_fds = second < 0 ? 1 : 2, .queues = 2 };
	struct err err = { "" };
	struct net *net;

	if (!tap_open(&cfg, &net, &err))
		fail_msg("not refused: %s", word);
	if (!strstr(err.text, word))
		fail_msg("no '%s' in: %s", word, err.text);
	/* Those that were taken are closed. */
	if (fcntl(first, F_GETFD) >= 0)
		close(first);
	if (second >= 0 && fcntl(second, F_GETFD) >= 0)
		close(second);
}

static void test_inherited_refused(void **state)
{
	const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

	(void)state;
	check_fds_refused(999, -1, "was started without");
	check_fds_refused(open("/dev/null", O_RDWR), -1, "is no tap");
	check_fds_refused(open("/dev/net/tun", O_RDWR), -1, "is no tap");
	check_fds_refused(open_tap("tun-test", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), -1,
			  "is no tap");
	check_fds_refused(open_tap(NAME, IFF_TAP | IFF_NO_PI), -1, "IFF_VNET_HDR");
	check_fds_refused(open_tap(NAME, flags), open_tap("tap-test2", flags), "multi_queue");
	check_fds_refused(open_tap(NAME, flags | IFF_MULTI_QUEUE),
			  open_tap("tap-test2", flags | IFF_MULTI_QUEUE), "is a queue of");
	assert_false(is_there(NAME));
}

/* --- a bridge ----------------------------------------------------------------------------- */

/* How many ports the bridge has. */
static int count_ports(const char *bridge)
{
	int ports[64] = { 0 }, n = 0;
	unsigned long args[] = { BRCTL_GET_PORT_LIST, (unsigned long)ports, 64, 0 };
	struct ifreq ifr = { .ifr_flags = 0 };

	ifr.ifr_data = (void *)args;
	assert_int_equal(tap_ioctl(bridge, SIOCDEVPRIVATE, &ifr), 0);
	for (unsigned i = 0; i < 64; i++)
		n += ports[i] != 0;
	return n;
}

static void test_bridge(void **state)
{
	const struct tap_config cfg = { .bridge = BRIDGE, .queues = 1 };
	struct net *a, *b;
	struct net_host ha, hb;
	uint8_t frame[80];
	const struct net_host_frame *f;

	(void)state;
	make_bridge(BRIDGE);
	assert_int_equal(tap_set_mtu(BRIDGE, 1300), 0);
	a = open_ok(&cfg);
	b = open_ok(&cfg);
	assert_int_equal(count_ports(BRIDGE), 2);
	assert_int_equal(a->mtu, 1300);
	assert_int_equal(get_mtu(BRIDGE), 1300);
	net_host_init(&ha);
	net_host_init(&hb);
	net_host_open(&ha, a);
	net_host_open(&hb, b);
	/* From one guest to the other. */
	assert_int_equal(net_host_send(&ha, frame, make_frame(frame, sizeof(frame), 3)), 0);
	f = take(&hb);
	assert_non_null(f);
	assert_memory_equal(f->data, frame, sizeof(frame));
	net_host_close(&ha);
	net_host_close(&hb);
	net_host_destroy(&ha);
	net_host_destroy(&hb);
	net_destroy(a);
	assert_int_equal(count_ports(BRIDGE), 1);
	net_destroy(b);
	remove_bridge(BRIDGE);
}

/* --- what is refused ---------------------------------------------------------------------- */

static void test_refused(void **state)
{
	const struct tap_config tap = { .name = NAME, .queues = 1 },
				two = { .name = NAME, .queues = 2 };
	const struct tap_config large = { .name = NAME, .queues = 1, .mtu = 9000 };
	char pid[32];
	int fd;

	(void)state;
	snprintf(pid, sizeof(pid), "(process %ld)", (long)getpid());
	make_persistent(NAME, 0, true);
	fd = open_tap(NAME, IFF_TAP | IFF_NO_PI);
	check_refused(&tap, -EBUSY, WORDS(NAME, "in use by", pid, "ip tuntap add"));
	close(fd);
	check_refused(&two, -EINVAL,
		      WORDS("without multi_queue", "has 1 queue, not 2",
			    "ip tuntap add " NAME " mode tap user $USER multi_queue"));
	check_refused(&large, -EINVAL, WORDS("mtu=9000", "has 1500", "ip link set"));
	make_persistent(NAME, 0, false);

	check_refused(&(struct tap_config){ .name = "lo", .queues = 1 }, -EINVAL,
		      WORDS("tap=lo", "no tap"));
	check_refused(&(struct tap_config){ .name = "lo", .queues = 2 }, -EINVAL,
		      WORDS("tap=lo", "no tap"));
	check_refused(&(struct tap_config){ .name = "tap%d", .queues = 1 }, -EINVAL,
		      WORDS("no name"));
	check_refused(&(struct tap_config){ .name = "a/b", .queues = 1 }, -EINVAL,
		      WORDS("no name"));
	check_refused(&(struct tap_config){ .name = "abcdefghijklmnop", .queues = 1 }, -EINVAL,
		      WORDS("no name"));
	check_refused(&(struct tap_config){ .bridge = "br-none", .queues = 1 }, -ENODEV,
		      WORDS("bridge=br-none", "no such bridge", "ip link add br-none type bridge"));
	check_refused(&(struct tap_config){ .bridge = "lo", .queues = 1 }, -EOPNOTSUPP,
		      WORDS("bridge=lo", "no bridge"));
}

/* In a process of its own, that fn can change for good; it fails by ending the process. */
static void in_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (!pid) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void say(const struct tap_config *cfg, int wanted, const char *word)
{
	struct err err = { "" };
	struct net *net;
	int ret = tap_open(cfg, &net, &err);

	if (ret == wanted && strstr(err.text, word))
		return;
	fprintf(stderr, "%d, wanted %d with '%s': %s\n", ret, wanted, word, err.text);
	_exit(1);
}

/* Another user namespace has no right over a network that is not its own. */
static void drop_rights(void)
{
	if (unshare(CLONE_NEWUSER))
		_exit(1);
}

static void without_rights(void)
{
	const struct tap_config tap = { .name = "tap-new", .queues = 2 };
	const struct tap_config old = { .name = NAME, .queues = 1 };
	struct tap_config bridge = { .bridge = BRIDGE, .queues = 1, .helper = "/bin/false" };

	drop_rights();
	say(&tap, -EPERM, "ip tuntap add tap-new mode tap user $USER multi_queue");
	say(&old, -EPERM, "belongs to another user");
	say(&bridge, -EPERM, "/bin/false refuses");
	bridge.helper = "/nowhere/helper";
	say(&bridge, -EPERM, "/nowhere/helper refuses");
	bridge.queues = 2;
	say(&bridge, -EPERM, "makes one of 1 queue, not 2");
}

static void test_without_rights(void **state)
{
	int fd;

	(void)state;
	make_bridge(BRIDGE);
	fd = open_tap(NAME, IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
	assert_int_equal(ioctl(fd, TUNSETOWNER, 4711), 0);
	in_child(without_rights);
	close(fd);
	remove_bridge(BRIDGE);
}

/* The helper is this program: main() sends the descriptor that the variable names. */
#define HELPER_VARIABLE "TEST_NET_TAP_FD"

static int be_helper(int argc, char **argv, const char *fd_text)
{
	const char *args[] = { "--use-vnet", "--fd=3", ("--br=" BRIDGE) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd = atoi(fd_text);

	if (argc != 4)
		return 1;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], args[i - 1]))
			return 1;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(3, &msg, 0) != 1;
}

static void use_helper(void)
{
	const struct tap_config cfg = { .bridge = BRIDGE, .queues = 1, .helper = "/proc/self/exe" };
	int fd = open_tap(NAME, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	struct err err = { "" };
	struct net *net;
	char text[16];

	fd = fcntl(fd, F_DUPFD, 10); /* the helper's socket is its 3 */
	snprintf(text, sizeof(text), "%d", fd);
	setenv(HELPER_VARIABLE, text, 1);
	drop_rights();
	if (tap_open(&cfg, &net, &err)) {
		fprintf(stderr, "%s\n", err.text);
		_exit(1);
	}
	if (net->max_queues != 1)
		_exit(2);
	net_destroy(net);
}

static void test_helper(void **state)
{
	(void)state;
	make_bridge(BRIDGE);
	in_child(use_helper);
	remove_bridge(BRIDGE);
}

static void without_device(void)
{
	const struct tap_config tap = { .name = NAME, .queues = 1 };

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev/net", "tmpfs", 0, NULL))
		_exit(1);
	say(&tap, -ENOENT, "modprobe tun");
}

static void test_without_device(void **state)
{
	(void)state;
	in_child(without_device);
}

/* --- where we are ------------------------------------------------------------------------- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Why there cannot be a network of our own with taps; NULL: there is one. */
static const char *enter_namespace(void)
{
	uid_t uid = getuid();
	char map[32];
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return "this host lets us have no network namespace";
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	if (uid &&
	    (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", map)))
		return "this host lets us have no user namespace";
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "/dev/net/tun cannot be opened";
	close(fd);
	return tap_set_up("lo") ? "its network cannot be set up" : NULL;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made_and_gone),
		cmocka_unit_test(test_left_alone),
		cmocka_unit_test(test_one_of_many),
		cmocka_unit_test_setup_teardown(test_frames, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_does_not_fit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_want, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_down, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_offloads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_offload, set_up, tear_down),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_queue_comes_back),
		cmocka_unit_test(test_inherited),
		cmocka_unit_test(test_inherited_refused),
		cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_without_rights),
		cmocka_unit_test(test_helper),
		cmocka_unit_test(test_without_device),
	};
	const char *helper = getenv(HELPER_VARIABLE);
	const char *why;

	if (helper)
		return be_helper(argc, argv, helper);
	why = enter_namespace();
	if (why) {
		printf("1..1\nok 1 - taps # SKIP %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
