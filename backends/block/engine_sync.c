/* SPDX-License-Identifier: MIT */
/* The synchronous engine: on the thread that submits, before submit returns. */
#include <errno.h>
#include <stdlib.h>

#include "backends/block/engine.h"

static void sync_start(struct engine_req *er)
{
	while (engine_step(er, engine_call(er->eq->img, &er->call)))
		;
	engine_end(er);
}

static void sync_close(struct block_queue *q)
{
	struct engine_queue *eq = container_of(q, struct engine_queue, q);

	loop_sync(eq->cfg.loop);
	engine_queue_fini(eq);
	free(eq);
}

static const struct block_queue_ops sync_ops = { .submit = engine_submit, .close = sync_close };

int engine_sync_open(struct image *img, struct block *block, const struct block_queue_config *cfg,
		     struct block_queue **out)
{
	const struct engine_config ec = { img, block, cfg, &sync_ops, sync_start };
	struct engine_queue *eq = calloc(1, sizeof(*eq));
	int ret;

	if (!eq)
		return -ENOMEM;
	ret = engine_queue_init(eq, &ec);
	if (ret)
		free(eq);
	else
		*out = &eq->q;
	return ret;
}
