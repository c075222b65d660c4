/* SPDX-License-Identifier: MIT */
#include "backends/block/block.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backends/block/nbd.h"
#include "backends/block/qcow2.h"
#include "backends/block/raw.h"

int block_open(const struct block_config *cfg, struct block **out, struct err *err)
{
	int ret;

	if (cfg->serial && strlen(cfg->serial) > BLOCK_SERIAL_LEN)
		return err_set(err, -EINVAL, "%s: its serial number is longer than %d bytes",
			       cfg->path, BLOCK_SERIAL_LEN);
	if (nbd_disk_is_path(cfg->path))
		ret = nbd_disk_open(cfg, out, err);
	else if (cfg->format == BLOCK_QCOW2)
		ret = qcow2_open(cfg, out, err);
	else
		ret = raw_open(cfg, out, err);
	if (!ret && cfg->serial)
		snprintf((*out)->serial, sizeof((*out)->serial), "%s", cfg->serial);
	return ret;
}

static int check(const struct block *b, const struct block_req *req)
{
	uint64_t size = b->size;

	if (req->op == BLOCK_FLUSH)
		return 0;
	if (req->offset > size || req->len > size - req->offset)
		return -ERANGE;
	if (req->op != BLOCK_READ && b->readonly)
		return -EROFS;
	if (req->op == BLOCK_DISCARD && !b->limits.discard_align)
		return -EOPNOTSUPP;
	return 0;
}

void block_submit(struct block_queue *q, struct block_req *req)
{
	int ret = check(q->block, req);

	if (ret)
		req->done(req, ret);
	else
		q->ops->submit(q, req);
}

int block_resize(struct block *b, uint64_t size, struct err *err)
{
	if (!size || size % BLOCK_SECTOR)
		return err_set(err, -EINVAL, "%" PRIu64 " bytes are no multiple of %u", size,
			       BLOCK_SECTOR);
	if (b->readonly)
		return err_set(err, -EROFS, "the disk is read-only");
	if (!b->ops->resize)
		return err_set(err, -EOPNOTSUPP, "this kind of disk has one size for ever");
	return b->ops->resize(b, size, err);
}
