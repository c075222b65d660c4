/* SPDX-License-Identifier: MIT */
/*
 * The kernel's tap: an Ethernet interface of the host whose other end is ours. Offloads, of which
 * the kernel tells what it can, pass as they are; a queue is a descriptor, which may be handed to
 * vhost-net.
 *
 * A frame is one system call, straight from and to the iovec. A batch of them by io_uring has been
 * measured and costs more (docs/net.md).
 */
#ifndef BACKENDS_NET_TAP_H
#define BACKENDS_NET_TAP_H

#include "backends/net/net.h"

struct tap_config {
	/* One of these three. */
	const char *name; /* made, and gone with us, where it is not there; else left as it is */
	const char *bridge; /* a tap of our own, joined to this */
	const int *fds; /* nr_fds inherited ones, ours from then on, of one tap: a queue each */
	unsigned nr_fds;
	unsigned queues; /* without fds: how many; 1 .. NET_MAX_QUEUES */
	const char
		*helper; /* NULL: QEMU's bridge helper, where it is (backends/net/tap_bridge.c) */
	uint16_t mtu; /* of a tap that we make; 0: the bridge's, or what the kernel gives it */
};

/* 0, or -errno with a line in err: what is wrong, and the command that mends it. */
int tap_open(const struct tap_config *cfg, struct net **out, struct err *err) __must_check;

#endif
