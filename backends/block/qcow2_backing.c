/* SPDX-License-Identifier: MIT */
/* Backing files: raw or qcow2, as the image says; only read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/block/qcow2_impl.h"

#define MAX_DEPTH 16u

struct qcow2_backing {
	char *path;
	struct qcow2 *q; /* NULL: raw */
	struct image raw;
	struct image_io *io; /* raw's */
};

/* Relative to the image's folder. NULL: out of memory. */
static char *resolve(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');
	char *path = NULL;

	if (name[0] == '/' || !slash)
		return strdup(name);
	return asprintf(&path, "%.*s/%s", (int)(slash - image), image, name) < 0 ? NULL : path;
}

static int check_chain(const struct qcow2_chain *above, const char *image, const char *path,
		       struct err *err)
{
	struct stat st;

	if (above->depth >= MAX_DEPTH)
		return err_set(err, -ELOOP, "%s: stands on more than %u backing files", image,
			       MAX_DEPTH);
	if (stat(path, &st))
		return err_set(err, -errno, "%s: its backing file %s: %s", image, path,
			       strerror(errno));
	for (const struct qcow2_chain *c = above; c; c = c->above)
		if (c->dev == st.st_dev && c->ino == st.st_ino)
			return err_set(err, -ELOOP, "%s: its backing file %s stands on itself",
				       image, path);
	return 0;
}

static int open_raw(struct qcow2_backing *bk, const struct block_config *cfg, struct err *err)
{
	int ret = image_open(&bk->raw, cfg, err);

	if (ret)
		return ret;
	ret = image_io_create(&bk->raw, &bk->io);
	return ret ? err_set(err, ret, "%s: out of memory", cfg->path) : 0;
}

int qcow2_backing_open(struct qcow2 *q, const struct qcow2_chain *above, struct err *err)
{
	struct block_config cfg = { .readonly = true,
				    .backing = true,
				    .engine = BLOCK_ENGINE_SYNC,
				    .cache = q->img.cache };
	const char *format = q->h.backing_format;
	bool raw = !strcmp(format, "raw");
	struct qcow2_backing *bk;
	int ret;

	if (!*format)
		return err_set(err, -EINVAL,
			       "%s: does not say which format its backing file %s has; 'qemu-img "
			       "rebase -u -F FORMAT' writes it down",
			       q->img.path, q->h.backing_name);
	if (!raw && strcmp(format, "qcow2"))
		return err_set(err, -ENOTSUP,
			       "%s: its backing file %s is of format %s, not raw or qcow2",
			       q->img.path, q->h.backing_name, format);
	bk = calloc(1, sizeof(*bk));
	if (bk)
		bk->path = resolve(q->img.path, q->h.backing_name);
	if (!bk || !bk->path) {
		free(bk);
		return err_set(err, -ENOMEM, "%s: out of memory", q->img.path);
	}
	cfg.path = bk->path;
	cfg.format = raw ? BLOCK_RAW : BLOCK_QCOW2;
	bk->raw.fd = -1;
	ret = check_chain(above, q->img.path, bk->path, err);
	if (!ret)
		ret = raw ? open_raw(bk, &cfg, err) : qcow2_create(&cfg, above, &bk->q, err);
	if (ret)
		qcow2_backing_close(bk);
	else
		q->backing = bk;
	return ret;
}

uint64_t qcow2_backing_size(const struct qcow2_backing *bk)
{
	return bk->q ? bk->q->h.size : bk->raw.size;
}

int qcow2_backing_read(struct qcow2_backing *bk, uint64_t off, void *buf, uint64_t len)
{
	uint64_t size = qcow2_backing_size(bk);
	uint64_t have = off < size ? min_u64(len, size - off) : 0;
	int ret = 0;

	memset((char *)buf + have, 0, len - have);
	if (have)
		ret = bk->q ? qcow2_read(bk->q, off, buf, have)
			    : image_io_read(bk->io, buf, have, off);
	return ret ? -EIO : 0;
}

void qcow2_backing_close(struct qcow2_backing *bk)
{
	if (!bk)
		return;
	qcow2_destroy(bk->q);
	image_io_destroy(bk->io);
	image_close(&bk->raw);
	free(bk->path);
	free(bk);
}
