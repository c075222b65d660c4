/* SPDX-License-Identifier: MIT */
/*
 * A network without any right: libslirp is the router 10.0.2.2, with a DHCP server and a name server
 * (10.0.2.3), and makes the guest's connections its own, sockets of this process. fec0::/64 is the
 * same by IPv6. From outside only those ports are reached that are forwarded.
 *
 * One queue and no offloads: a frame with a header that is not zero is refused. All of libslirp runs
 * on the queue's thread, woken by its sockets and its timers. Frames for the guest wait in a ring;
 * while that is half full no more is read from the sockets, so that it is the senders who wait.
 */
#ifndef BACKENDS_NET_USER_H
#define BACKENDS_NET_USER_H

#include <netinet/in.h>

#include "backends/net/net.h"

#define USER_RING 256 /* frames */
#define USER_MIN_MTU 576
#define USER_MAX_MTU 65521
#define USER_MTU 1500

struct user_forward {
	bool udp;
	struct in_addr host; /* the address of the host that it listens on */
	uint16_t host_port, guest_port;
};

struct user_config {
	bool restricted; /* to the host's forwards and our own services: nothing gets out */
	const struct user_forward *forwards;
	unsigned nr_forwards;
	const char *hostname; /* what DHCP calls the guest; NULL: nothing */
	uint16_t mtu; /* USER_MIN_MTU .. USER_MAX_MTU; 0: USER_MTU */
	struct clock *clock; /* for tests; NULL: the host's */
};

/* 0, or -errno with a line in err. */
int user_open(const struct user_config *cfg, struct net **out, struct err *err) __must_check;

#endif
