/* SPDX-License-Identifier: MIT */
#include "backends/block/raw.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "backends/block/image.h"

struct raw {
	struct block b;
	struct image img;
};

static struct raw *to_raw(struct block *b)
{
	return container_of(b, struct raw, b);
}

static int raw_open_queue(struct block *b, const struct block_queue_config *cfg,
			  struct block_queue **out)
{
	return image_open_queue(&to_raw(b)->img, b, cfg, out);
}

static void raw_destroy(struct block *b)
{
	struct raw *r = to_raw(b);

	image_close(&r->img);
	free(r);
}

static const struct block_ops raw_ops = {
	.open_queue = raw_open_queue,
	.destroy = raw_destroy,
};

static int check_size(const struct image *img, struct err *err)
{
	if (!img->size)
		return err_set(err, -EINVAL, "%s: is empty", img->path);
	if (img->size % BLOCK_SECTOR)
		return err_set(err, -EINVAL,
			       "%s: its length, %" PRIu64 " bytes, is not a multiple of %u",
			       img->path, img->size, BLOCK_SECTOR);
	return 0;
}

int raw_open(const struct block_config *cfg, struct block **out, struct err *err)
{
	struct raw *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return err_set(err, -ENOMEM, "%s: out of memory", cfg->path);
	ret = image_open(&r->img, cfg, err) ?: check_size(&r->img, err);
	if (ret) {
		raw_destroy(&r->b);
		return ret;
	}
	r->b.ops = &raw_ops;
	r->b.readonly = cfg->readonly;
	r->b.size = r->img.size;
	r->b.limits = r->img.limits;
	*out = &r->b;
	return 0;
}
