/* SPDX-License-Identifier: MIT */
/*
 * What every layer between a front-end and a back-end has: it looks like the network below it,
 * which it owns, and its queues like those below them.
 */
#ifndef BACKENDS_NET_LAYER_H
#define BACKENDS_NET_LAYER_H

#include "backends/net/net.h"

struct net_layer {
	struct net net;
	struct net *below;
};

static inline struct net_layer *to_net_layer(struct net *net)
{
	return container_of(net, struct net_layer, net);
}

static inline void net_layer_init(struct net_layer *l, const struct net_ops *ops, struct net *below)
{
	l->net = *below;
	l->net.ops = ops;
	l->below = below;
}

/* For net_ops. */
static inline int net_layer_set_offloads(struct net *net, unsigned offloads)
{
	return net_set_offloads(to_net_layer(net)->below, offloads);
}

static inline int net_layer_set_queues(struct net *net, unsigned queues)
{
	return net_set_queues(to_net_layer(net)->below, queues);
}

#endif
