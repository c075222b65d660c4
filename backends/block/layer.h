/* SPDX-License-Identifier: MIT */
/*
 * What every layer between a front-end and a format has: it looks like the disk below it, which
 * it owns.
 */
#ifndef BACKENDS_BLOCK_LAYER_H
#define BACKENDS_BLOCK_LAYER_H

#include "backends/block/block.h"

struct layer {
	struct block b;
	struct block *below;
};

static inline struct layer *to_layer(struct block *b)
{
	return container_of(b, struct layer, b);
}

static inline void layer_init(struct layer *l, const struct block_ops *ops, struct block *below)
{
	l->b = *below;
	l->b.ops = ops;
	l->below = below;
}

/* For block_ops.resize. */
static inline int layer_resize(struct block *b, uint64_t size, struct err *err)
{
	struct layer *l = to_layer(b);
	int ret = block_resize(l->below, size, err);

	b->size = l->below->size;
	return ret;
}

#endif
