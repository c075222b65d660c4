/* SPDX-License-Identifier: MIT */
/* libslirp as a guest finds it: a little guest here speaks ARP, DHCP, UDP and TCP in raw frames. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/net/user.h"
#include "tests/unit/net_host.h"

#define WAIT 3000 /* ms; only ever waited for when something is wrong */
#define QUIET 150 /* ms in which nothing must come */

#define GUEST_IP 0x0a00020fu
#define HOST_IP 0x0a000202u
#define OUTSIDE_IP 0x08080808u

#define ETH_LEN 14
#define IP_LEN 20
#define UDP_LEN 8
#define TCP_LEN 20

enum { PROTO_TCP = 6, PROTO_UDP = 17 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static const uint8_t guest_mac[6] = { 2, 0, 0, 0, 0, 0x15 };

struct rig {
	struct net *net;
	struct net_host h;
	uint8_t frame[2048];
	/* A connection of the guest's, by its own port. */
	uint16_t port, peer_port;
	uint32_t seq, ack;
};

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void rig_open(struct rig *r, const struct user_config *cfg)
{
	struct err err = { "" };

	memset(r, 0, sizeof(*r));
	if (user_open(cfg, &r->net, &err))
		fail_msg("%s", err.text);
	net_host_init(&r->h);
	net_host_open(&r->h, r->net);
}

static void rig_close(struct rig *r)
{
	net_host_close(&r->h);
	net_host_destroy(&r->h);
	net_destroy(r->net);
}

/* --- the guest ---------------------------------------------------------------------------- */

static void put_ethernet(struct rig *r, const uint8_t *to, unsigned type)
{
	memset(r->frame, 0xff, 6);
	if (to)
		memcpy(r->frame, to, 6);
	memcpy(r->frame + 6, guest_mac, 6);
	put16(r->frame + 12, type);
}

static void send_arp(struct rig *r, unsigned op, const uint8_t *to_mac, uint32_t to_ip)
{
	uint8_t *p = r->frame + ETH_LEN;

	put_ethernet(r, to_mac, 0x0806);
	put16(p, 1);
	put16(p + 2, 0x0800);
	p[4] = 6;
	p[5] = 4;
	put16(p + 6, op);
	memcpy(p + 8, guest_mac, 6);
	put32(p + 14, GUEST_IP);
	memset(p + 18, 0, 6);
	if (to_mac)
		memcpy(p + 18, to_mac, 6);
	put32(p + 24, to_ip);
	assert_int_equal(net_host_send(&r->h, r->frame, ETH_LEN + 28), 0);
}

/* len bytes are there behind the headers, which are filled in; the checksum is at that place. */
static void send_ip(struct rig *r, unsigned proto, uint32_t from, uint32_t to, size_t len,
		    unsigned checksum)
{
	uint8_t *ip = r->frame + ETH_LEN, *p = ip + IP_LEN;
	static const uint8_t router[6] = { 0x52, 0x55, 10, 0, 2, 2 };

	put_ethernet(r, to == 0xffffffff ? NULL : router, 0x0800);
	memset(ip, 0, IP_LEN);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned)(IP_LEN + len));
	ip[8] = 64;
	ip[9] = (uint8_t)proto;
	put32(ip + 12, from);
	put32(ip + 16, to);
	put16(ip + 10, fold(sum16(ip, IP_LEN, 0)));
	put16(p + checksum, 0);
	put16(p + checksum, fold(sum16(p, len, sum16(ip + 12, 8, (uint32_t)(proto + len)))));
	assert_int_equal(net_host_send(&r->h, r->frame, ETH_LEN + IP_LEN + len), 0);
}

static void send_udp(struct rig *r, uint32_t from, uint16_t from_port, uint32_t to,
		     uint16_t to_port, const void *data, size_t len)
{
	uint8_t *p = r->frame + ETH_LEN + IP_LEN;

	put16(p, from_port);
	put16(p + 2, to_port);
	put16(p + 4, (unsigned)(UDP_LEN + len));
	memcpy(p + UDP_LEN, data, len);
	send_ip(r, PROTO_UDP, from, to, UDP_LEN + len, 6);
}

static void send_tcp(struct rig *r, uint32_t to, unsigned flags, const void *data, size_t len)
{
	uint8_t *p = r->frame + ETH_LEN + IP_LEN;

	put16(p, r->port);
	put16(p + 2, r->peer_port);
	put32(p + 4, r->seq);
	put32(p + 8, flags & ACK ? r->ack : 0);
	p[12] = TCP_LEN / 4 << 4;
	p[13] = (uint8_t)flags;
	put16(p + 14, 0xffff);
	put16(p + 18, 0);
	if (len)
		memcpy(p + TCP_LEN, data, len);
	send_ip(r, PROTO_TCP, GUEST_IP, to, TCP_LEN + len, 16);
	r->seq += (uint32_t)len + !!(flags & SYN) + !!(flags & FIN);
}

/*
 * The next IPv4 packet of that protocol: what is behind its header, and how long that is. Who asks
 * for our address is told. NULL: none in ms.
 */
static const uint8_t *take_ip(struct rig *r, unsigned proto, size_t *len, unsigned ms)
{
	const struct net_host_frame *f;

	while ((f = net_host_take(&r->h, ms))) {
		const uint8_t *ip = f->data + ETH_LEN;
		const struct virtio_net_hdr_v1 none = { 0 };

		assert_memory_equal(&f->hdr, &none, 10);
		if (get16(f->data + 12) == 0x0806 && get16(ip + 6) == 1 &&
		    get32(ip + 24) == GUEST_IP)
			send_arp(r, 2, ip + 8, get32(ip + 14));
		if (get16(f->data + 12) != 0x0800 || ip[9] != proto)
			continue;
		*len = get16(ip + 2) - IP_LEN;
		return ip + IP_LEN;
	}
	return NULL;
}

/* The next segment with those flags; what it has is acknowledged. */
static const uint8_t *take_tcp(struct rig *r, unsigned flags, size_t *len)
{
	const uint8_t *p;
	size_t head;

	while ((p = take_ip(r, PROTO_TCP, len, WAIT))) {
		head = (size_t)(p[12] >> 4) * 4;
		*len -= head;
		if ((p[13] & flags) != flags || (!*len && !(flags & ~(unsigned)ACK)))
			continue;
		r->ack = get32(p + 4) + (uint32_t)*len + !!(p[13] & SYN) + !!(p[13] & FIN);
		return p;
	}
	fail_msg("no segment");
	return NULL;
}

static int listen_on_loopback(int type, uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	*port = ntohs(addr.sin_port);
	return fd;
}

static uint16_t free_port(int type)
{
	uint16_t port;

	close(listen_on_loopback(type, &port));
	return port;
}

/* Waits for the descriptor while the guest and its network go on. */
static void wait_for(struct rig *r, int fd, short events)
{
	struct pollfd p = { fd, events, 0 };

	for (unsigned i = 0; i < WAIT / 2; i++) {
		if (poll(&p, 1, 0) > 0)
			return;
		net_host_run(&r->h, 2);
	}
	fail_msg("it does not come");
}

/* --- what it is told ---------------------------------------------------------------------- */

static void test_arp(void **state)
{
	const struct user_config cfg = { .restricted = false };
	const struct net_host_frame *f;
	struct rig r;

	(void)state;
	rig_open(&r, &cfg);
	assert_int_equal(r.net->offloads, 0);
	assert_int_equal(r.net->max_queues, 1);
	assert_int_equal(r.net->mtu, 1500);
	assert_int_equal(net_vhost_fd(r.h.q), -1);
	send_arp(&r, 1, NULL, HOST_IP);
	assert_int_equal(r.h.nr, 0); /* not from inside of the sender */
	do
		f = net_host_take(&r.h, WAIT);
	while (f && get16(f->data + 12) != 0x0806);
	assert_non_null(f);
	assert_int_equal(get16(f->data + ETH_LEN + 6), 2);
	assert_int_equal(get32(f->data + ETH_LEN + 14), HOST_IP);
	assert_int_equal(r.h.q->sent.frames, 1);
	assert_true(r.h.q->received.frames >= 1);
	rig_close(&r);
}

static const uint8_t *dhcp_option(const uint8_t *dhcp, size_t len, uint8_t code)
{
	for (size_t i = 240; i + 1 < len && dhcp[i] != 255; i += dhcp[i] ? 2u + dhcp[i + 1] : 1u)
		if (dhcp[i] == code)
			return dhcp + i + 2;
	return NULL;
}

static void test_dhcp(void **state)
{
	static const uint8_t options[] = { 99, 130, 83, 99, 53, 1, 1, 12, 1, 'g', 255 };
	const struct user_config cfg = { .hostname = "little" };
	uint8_t request[300] = { 1, 1, 6, 0, 1, 2, 3, 4 };
	const uint8_t *p, *option;
	struct rig r;
	size_t len;

	(void)state;
	rig_open(&r, &cfg);
	memcpy(request + 28, guest_mac, 6);
	memcpy(request + 236, options, sizeof(options));
	send_udp(&r, 0, 68, 0xffffffff, 67, request, sizeof(request));
	p = take_ip(&r, PROTO_UDP, &len, WAIT);
	assert_non_null(p);
	p += UDP_LEN;
	len -= UDP_LEN;
	assert_int_equal(p[0], 2);
	assert_memory_equal(p + 4, request + 4, 4);
	assert_int_equal(get32(p + 16), GUEST_IP);
	option = dhcp_option(p, len, 53);
	assert_non_null(option);
	assert_int_equal(option[0], 2); /* an offer */
	option = dhcp_option(p, len, 3);
	assert_non_null(option);
	assert_int_equal(get32(option), HOST_IP);
	option = dhcp_option(p, len, 6);
	assert_non_null(option);
	assert_int_equal(get32(option), 0x0a000203);
	option = dhcp_option(p, len, 12);
	assert_non_null(option);
	assert_memory_equal(option, "little", 6);
	rig_close(&r);
}

static void test_udp(void **state)
{
	const struct user_config cfg = { .restricted = false };
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t buf[64];
	const uint8_t *p;
	struct rig r;
	size_t len;
	uint16_t port;
	int fd = listen_on_loopback(SOCK_DGRAM, &port);

	(void)state;
	rig_open(&r, &cfg);
	send_udp(&r, GUEST_IP, 5000, HOST_IP, port, "ask", 3);
	wait_for(&r, fd, POLLIN);
	assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len), 3);
	assert_memory_equal(buf, "ask", 3);
	assert_int_equal(sendto(fd, "answer", 6, 0, (struct sockaddr *)&from, from_len), 6);
	p = take_ip(&r, PROTO_UDP, &len, WAIT);
	assert_non_null(p);
	assert_int_equal(get16(p), port);
	assert_int_equal(get16(p + 2), 5000);
	assert_int_equal(len, UDP_LEN + 6);
	assert_memory_equal(p + UDP_LEN, "answer", 6);
	close(fd);
	rig_close(&r);
}

/* --- connections -------------------------------------------------------------------------- */

static void exchange(struct rig *r, int fd)
{
	char buf[64];
	const uint8_t *p;
	size_t len;

	send_tcp(r, HOST_IP, ACK, "from the guest", 14);
	wait_for(r, fd, POLLIN);
	assert_int_equal(read(fd, buf, sizeof(buf)), 14);
	assert_memory_equal(buf, "from the guest", 14);
	assert_int_equal(write(fd, "from the host", 13), 13);
	p = take_tcp(r, ACK, &len);
	assert_int_equal(len, 13);
	assert_memory_equal(p + (p[12] >> 4) * 4, "from the host", 13);
	send_tcp(r, HOST_IP, ACK, NULL, 0);
	close(fd);
	take_tcp(r, FIN, &len);
	send_tcp(r, HOST_IP, ACK | FIN, NULL, 0);
	net_host_run(&r->h, 20);
}

static void test_tcp_out(void **state)
{
	const struct user_config cfg = { .restricted = false };
	struct rig r;
	size_t len;
	uint16_t port;
	int listening = listen_on_loopback(SOCK_STREAM, &port), fd;

	(void)state;
	rig_open(&r, &cfg);
	r.port = 4000;
	r.peer_port = port;
	r.seq = 1000;
	send_tcp(&r, HOST_IP, SYN, NULL, 0);
	wait_for(&r, listening, POLLIN);
	fd = accept(listening, NULL, NULL);
	assert_true(fd >= 0);
	take_tcp(&r, SYN | ACK, &len);
	exchange(&r, fd);
	close(listening);
	rig_close(&r);
}

static int connect_loopback(uint16_t port)
{
	const struct sockaddr_in addr = { .sin_family = AF_INET,
					  .sin_port = htons(port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void forward_in(bool restricted)
{
	const struct user_forward forward = { .host.s_addr = htonl(INADDR_LOOPBACK),
					      .host_port = free_port(SOCK_STREAM),
					      .guest_port = 80 };
	const struct user_config cfg = { .forwards = &forward,
					 .nr_forwards = 1,
					 .restricted = restricted };
	const uint8_t *p;
	struct rig r;
	size_t len;
	int fd;

	rig_open(&r, &cfg);
	send_arp(&r, 1, NULL, HOST_IP);
	fd = connect_loopback(forward.host_port);
	p = take_tcp(&r, SYN, &len);
	assert_int_equal(get16(p + 2), 80);
	r.port = 80;
	r.peer_port = (uint16_t)get16(p);
	r.seq = 5000;
	send_tcp(&r, HOST_IP, SYN | ACK, NULL, 0);
	exchange(&r, fd);
	rig_close(&r);
}

static void test_forward_tcp(void **state)
{
	(void)state;
	forward_in(false);
}

static void test_forward_udp(void **state)
{
	const struct user_forward forward = { .udp = true,
					      .host.s_addr = htonl(INADDR_LOOPBACK),
					      .host_port = free_port(SOCK_DGRAM),
					      .guest_port = 53 };
	const struct user_config cfg = { .forwards = &forward, .nr_forwards = 1 };
	const struct sockaddr_in to = { .sin_family = AF_INET,
					.sin_port = htons(forward.host_port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char buf[16];
	const uint8_t *p;
	struct rig r;
	size_t len;

	(void)state;
	rig_open(&r, &cfg);
	send_arp(&r, 1, NULL, HOST_IP);
	assert_int_equal(sendto(fd, "ask", 3, 0, (const struct sockaddr *)&to, sizeof(to)), 3);
	p = take_ip(&r, PROTO_UDP, &len, WAIT);
	assert_non_null(p);
	assert_int_equal(get16(p + 2), 53);
	assert_memory_equal(p + UDP_LEN, "ask", 3);
	send_udp(&r, GUEST_IP, 53, HOST_IP, (uint16_t)get16(p), "told", 4);
	wait_for(&r, fd, POLLIN);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), 4);
	close(fd);
	rig_close(&r);
}

static void test_restricted(void **state)
{
	const struct user_config cfg = { .restricted = true };
	struct rig r;
	uint16_t port, tcp_port;
	int fd = listen_on_loopback(SOCK_DGRAM, &port);
	int listening = listen_on_loopback(SOCK_STREAM, &tcp_port);
	struct pollfd p[] = { { fd, POLLIN, 0 }, { listening, POLLIN, 0 } };

	(void)state;
	rig_open(&r, &cfg);
	r.port = 4000;
	r.peer_port = tcp_port;
	send_udp(&r, GUEST_IP, 5000, HOST_IP, port, "ask", 3);
	send_tcp(&r, HOST_IP, SYN, NULL, 0);
	send_tcp(&r, OUTSIDE_IP, SYN, NULL, 0);
	net_host_run(&r.h, QUIET);
	assert_int_equal(poll(p, 2, 0), 0);
	rig_close(&r);
	close(fd);
	close(listening);
	forward_in(true);
}

/* --- a lot, and what is wrong ------------------------------------------------------------- */

/*
 * A sender that is faster than the guest: it waits, and nothing that it sent is lost. The guest
 * takes a window of 64K at a time.
 */
static void test_pressure(void **state)
{
	enum { TOTAL = 1 << 20 };
	const struct user_config cfg = { .restricted = false };
	static uint8_t data[TOTAL];
	size_t sent = 0, got = 0, len;
	struct rig r;
	uint16_t port;
	int listening = listen_on_loopback(SOCK_STREAM, &port), fd;

	(void)state;
	for (size_t i = 0; i < TOTAL; i++)
		data[i] = (uint8_t)(i * 7 + i / 1000);
	rig_open(&r, &cfg);
	r.port = 4000;
	r.peer_port = port;
	send_tcp(&r, HOST_IP, SYN, NULL, 0);
	wait_for(&r, listening, POLLIN);
	fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	take_tcp(&r, SYN | ACK, &len);
	send_tcp(&r, HOST_IP, ACK, NULL, 0);
	while (got < TOTAL) {
		ssize_t n = sent < TOTAL ? write(fd, data + sent, TOTAL - sent) : 0;
		const uint8_t *p = take_tcp(&r, ACK, &len);
		size_t skip = (size_t)(p[12] >> 4) * 4;

		sent += n > 0 ? (size_t)n : 0;
		assert_memory_equal(p + skip, data + got, len);
		got += len;
		send_tcp(&r, HOST_IP, ACK, NULL, 0);
		/* The rig keeps frames for the test's sake only. */
		if (r.h.taken == r.h.nr) {
			for (unsigned i = 0; i < r.h.nr; i++)
				free(r.h.frames[i].data);
			r.h.taken = r.h.nr = 0;
		}
	}
	assert_int_equal(r.h.q->received.dropped, 0);
	close(fd);
	close(listening);
	rig_close(&r);
}

/* While the guest takes nothing what comes waits in the kernel's sockets, and comes after all. */
static void test_waits_outside(void **state)
{
	enum { BATCH = 50, BATCHES = 6 }; /* more than the ring has places */
	const struct user_forward forward = { .udp = true,
					      .host.s_addr = htonl(INADDR_LOOPBACK),
					      .host_port = free_port(SOCK_DGRAM),
					      .guest_port = 53 };
	const struct user_config cfg = { .forwards = &forward, .nr_forwards = 1 };
	const struct sockaddr_in to = { .sin_family = AF_INET,
					.sin_port = htons(forward.host_port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct rig r;
	size_t len;

	(void)state;
	rig_open(&r, &cfg);
	send_arp(&r, 1, NULL, HOST_IP);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(send(fd, "first", 5, 0), 5);
	assert_non_null(take_ip(&r, PROTO_UDP, &len, WAIT));
	net_want(r.h.q, false);
	for (unsigned i = 0; i < BATCHES; i++) {
		for (unsigned k = 0; k < BATCH; k++)
			assert_int_equal(send(fd, "more", 4, 0), 4);
		net_host_run(&r.h, 20);
	}
	net_want(r.h.q, true);
	for (unsigned i = 0; i < BATCH * BATCHES; i++)
		assert_non_null(take_ip(&r, PROTO_UDP, &len, QUIET));
	assert_int_equal(r.h.q->received.dropped, 0);
	close(fd);
	rig_close(&r);
}

/* A guest that takes nothing costs no more than the ring. */
static void test_ring_full(void **state)
{
	const struct user_config cfg = { .restricted = false };
	struct rig r;

	(void)state;
	rig_open(&r, &cfg);
	net_host_run(&r.h, 20);
	r.h.keep = true;
	for (unsigned i = 0; i < 2 * USER_RING; i++)
		send_arp(&r, 1, NULL, HOST_IP);
	assert_true(r.h.q->received.dropped >= USER_RING);
	r.h.keep = false;
	net_want(r.h.q, true);
	net_host_run(&r.h, 20);
	assert_true(r.h.nr >= USER_RING);
	send_arp(&r, 1, NULL, HOST_IP);
	net_host_run(&r.h, 20);
	assert_true(r.h.nr >= USER_RING + 1);
	rig_close(&r);
}

static void test_refused_frames(void **state)
{
	const struct user_config cfg = { .restricted = false };
	static uint8_t large[NET_MAX_FRAME + 1];
	struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };
	struct iovec iov[] = { { &hdr, sizeof(hdr) }, { large, 20 } };
	struct rig r;

	(void)state;
	rig_open(&r, &cfg);
	assert_int_equal(net_host_send_hdr(&r.h, &hdr, large, 60), -EINVAL);
	hdr = (struct virtio_net_hdr_v1){ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000 };
	assert_int_equal(net_host_send_hdr(&r.h, &hdr, large, 60), -EINVAL);
	assert_int_equal(net_host_send(&r.h, large, 13), -EINVAL);
	assert_int_equal(net_host_send(&r.h, large, sizeof(large)), -EMSGSIZE);
	assert_int_equal(net_host_send(&r.h, large, sizeof(large) - 1), 0);
	assert_int_equal(r.h.q->sent.dropped, 4);

	/* A buffer that is too small: lost, and the next one is not. */
	net_host_run(&r.h, 20);
	r.h.keep = true;
	send_arp(&r, 1, NULL, HOST_IP);
	send_arp(&r, 1, NULL, HOST_IP);
	assert_int_equal(net_receive(r.h.q, iov, 2), -EMSGSIZE);
	iov[1].iov_len = sizeof(large);
	assert_true(net_receive(r.h.q, iov, 2) > 0);
	assert_int_equal(net_receive(r.h.q, iov, 2), -EAGAIN);
	rig_close(&r);
}

/* libslirp has words on standard error for some frames, as often as a guest sends them. */
static void test_says_nothing(void **state)
{
	static const uint8_t ping6[] = {
		0x52, 0x55, 10,   0,    2,    2,    2,    0,    0,    0,    0,    0x15,
		0x86, 0xdd, /* IPv6 */
		0x60, 0x00, 0x00, 0x00, 0x00, 0x08, 58,   64,   0xfe, 0xc0, 0,    0,
		0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x15,
		0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,    0,    0,    0,    0,
		0,    0,    0,    1,    128,  0,    0x00, 0x00, 0x00, 0x01, 0x00, 0x01,
	};
	const struct user_config cfg = { .restricted = false };
	int saved = dup(STDERR_FILENO), pipes[2];
	uint8_t *icmp;
	char said[256];
	uint32_t sum;
	struct rig r;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(pipes, O_NONBLOCK | O_CLOEXEC), 0);
	rig_open(&r, &cfg);
	memcpy(r.frame, ping6, sizeof(ping6));
	icmp = r.frame + ETH_LEN + 40;
	sum = sum16(r.frame + ETH_LEN + 8, 32, 8 + 58);
	put16(icmp + 2, fold(sum16(icmp, 8, sum)));
	dup2(pipes[1], STDERR_FILENO);
	assert_int_equal(net_host_send(&r.h, r.frame, sizeof(ping6)), 0);
	net_host_run(&r.h, 20);
	dup2(saved, STDERR_FILENO);
	n = read(pipes[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	assert_string_equal(said, "");
	close(saved);
	close(pipes[0]);
	close(pipes[1]);
	rig_close(&r);
}

static void test_refused_forward(void **state)
{
	struct user_forward forward = { .host.s_addr = htonl(INADDR_LOOPBACK), .guest_port = 22 };
	const struct user_config cfg = { .forwards = &forward, .nr_forwards = 1 };
	int fd = listen_on_loopback(SOCK_STREAM, &forward.host_port);
	struct err err = { "" };
	char text[64];
	struct net *net;

	(void)state;
	snprintf(text, sizeof(text), "forward=tcp:127.0.0.1:%u:22: %s", forward.host_port,
		 strerror(EADDRINUSE));
	assert_int_equal(user_open(&cfg, &net, &err), -EADDRINUSE);
	assert_string_equal(err.text, text);
	close(fd);
}

/* A second queue is refused; one after the other, as at a reset, is not. */
static void test_again(void **state)
{
	const struct user_config cfg = { .mtu = 1280 };
	struct net_queue *second;
	struct rig r;

	(void)state;
	rig_open(&r, &cfg);
	assert_int_equal(r.net->mtu, 1280);
	assert_int_equal(
		net_open_queue(r.net, &(struct net_queue_config){ .loop = &r.h.loop }, &second),
		-EBUSY);
	for (unsigned i = 0; i < 3; i++) {
		unsigned before = r.h.nr;

		send_arp(&r, 1, NULL, HOST_IP);
		net_host_run(&r.h, 20);
		assert_true(r.h.nr > before);
		net_host_close(&r.h);
		net_host_open(&r.h, r.net);
	}
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arp),
		cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_tcp_out),
		cmocka_unit_test(test_forward_tcp),
		cmocka_unit_test(test_forward_udp),
		cmocka_unit_test(test_restricted),
		cmocka_unit_test(test_pressure),
		cmocka_unit_test(test_waits_outside),
		cmocka_unit_test(test_ring_full),
		cmocka_unit_test(test_refused_frames),
		cmocka_unit_test(test_says_nothing),
		cmocka_unit_test(test_refused_forward),
		cmocka_unit_test(test_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
