/* SPDX-License-Identifier: MIT */
/*
 * A network that is only so fast: frames and bytes a second, each way by itself, by token buckets
 * that all queues share. A frame goes while both buckets hold something, and takes what it costs
 * even if they then owe: those behind it wait for as long as that is worth, so that over more than
 * a few tenths of a second the rate is exact. After idling as much goes at once as a tenth of a
 * second brings.
 *
 * A frame with segments to make costs one; of bytes it costs those that it has. Who has to wait is
 * called again NET_LIMIT_SLICE later at least. Without a limit a frame costs one load more.
 */
#ifndef BACKENDS_NET_LIMIT_H
#define BACKENDS_NET_LIMIT_H

#include "backends/net/net.h"

#define NET_LIMIT_SLICE (NSEC_PER_SEC / 5000)
#define NET_LIMIT_MAX_RATE (1ull << 50)

/* A second, each way; 0: no limit. */
struct net_rates {
	uint64_t pps;
	uint64_t bps; /* bytes, without struct virtio_net_hdr_v1 */
};

struct net_limit_config {
	struct net *below; /* the layer's from then on */
	struct net_rates rates; /* each at most NET_LIMIT_MAX_RATE */
	/* Drives every queue's timers, for tests; NULL: the host's, on each queue's own loop. */
	struct clock *clock;
};

/* 0 or -ENOMEM, with below as it was. */
int net_limit_create(const struct net_limit_config *cfg, struct net **out) __must_check;

/* Other rates from now on, with full buckets. The main thread's; net is net_limit_create()'s. */
void net_limit_set(struct net *net, const struct net_rates *rates);
void net_limit_get(struct net *net, struct net_rates *rates);

#endif
