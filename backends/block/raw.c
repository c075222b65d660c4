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

/* In O_DIRECT a block is written whole, which must not make the file longer. */
static int check_blocks(const struct image *img, uint64_t size, struct err *err)
{
	if (size % img->io_align)
		return err_set(err, -EINVAL,
			       "%s: cache=none needs a length in multiples of %u here, not %" PRIu64
			       "; cache=writeback works",
			       img->path, img->io_align, size);
	return 0;
}

static int raw_resize(struct block *b, uint64_t size, struct err *err)
{
	struct raw *r = to_raw(b);
	uint64_t old = b->size;
	int ret = check_blocks(&r->img, size, err);

	if (ret)
		return ret;
	/* Nothing is asked for that is not there, before or after. */
	if (size < old)
		b->size = size;
	ret = image_resize(&r->img, size, err);
	b->size = ret ? old : size;
	return ret;
}

static void raw_destroy(struct block *b)
{
	struct raw *r = to_raw(b);

	image_close(&r->img);
	free(r);
}

static const struct block_ops raw_ops = {
	.open_queue = raw_open_queue,
	.resize = raw_resize,
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
	return check_blocks(img, img->size, err);
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
