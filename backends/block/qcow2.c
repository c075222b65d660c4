/* SPDX-License-Identifier: MIT */
#include "backends/block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/block/qcow2_impl.h"
#include "base/log.h"

static void destroy(struct block *b)
{
	qcow2_destroy(container_of(b, struct qcow2, b));
}

static const struct block_ops qcow2_ops = {
	.open_queue = qcow2_open_queue,
	.resize = qcow2_resize,
	.destroy = destroy,
};

static int open_file(struct qcow2 *q, const struct block_config *cfg, struct stat *st,
		     struct err *err)
{
	int ret = image_open(&q->img, cfg, err);

	if (ret)
		return ret;
	ret = image_io_create(&q->img, &q->io);
	if (!ret && fstat(q->img.fd, st))
		ret = -errno;
	if (ret)
		return err_set(err, ret, "%s: %s", cfg->path, strerror(-ret));
	q->file_end = q->img.size;
	return 0;
}

static int load_table(struct qcow2 *q, uint64_t off, uint64_t bytes, uint64_t **out,
		      struct err *err)
{
	int ret;

	*out = malloc(max_u64(bytes, 1));
	if (!*out)
		return err_set(err, -ENOMEM, "%s: out of memory", q->img.path);
	ret = qcow2_pread(q, *out, bytes, off);
	return ret ? err_set(err, ret, "%s: %s", q->img.path, strerror(-ret)) : 0;
}

static int make_room_l2(struct qcow2 *q)
{
	return qcow2_commit(q, false);
}

static int make_room_refblocks(struct qcow2 *q)
{
	return qcow2_cache_write(&q->refblocks, false);
}

static int init_memory(struct qcow2 *q, struct err *err)
{
	q->scratch = qcow2_buffer(q, qcow2_cluster_size(q));
	q->zeroes = qcow2_buffer(q, qcow2_cluster_size(q));
	if (!q->scratch || !q->zeroes || qcow2_cache_init(&q->l2, q, make_room_l2) ||
	    qcow2_cache_init(&q->refblocks, q, make_room_refblocks))
		return err_set(err, -ENOMEM, "%s: out of memory", q->img.path);
	memset(q->zeroes, 0, qcow2_cluster_size(q));
	return load_table(q, q->h.l1_offset, (uint64_t)q->h.l1_size * QCOW2_ENTRY, &q->l1, err)
		       ?: qcow2_map_init(q, err);
}

/* What an image that is only read does without. */
static int init_writing(struct qcow2 *q, struct err *err)
{
	int ret;

	q->reftable_len = ((uint64_t)q->h.reftable_clusters << q->h.cluster_bits) / QCOW2_ENTRY;
	ret = load_table(q, q->h.reftable_offset, q->reftable_len * QCOW2_ENTRY, &q->reftable, err)
		      ?: qcow2_guard_init(q, err);
	if (ret || !q->h.autoclear)
		return ret;
	/* "Header": whatever they say would not stay true. */
	q->h.autoclear = 0;
	ret = qcow2_header_write_features(q) ?: qcow2_sync(q);
	return ret ? err_set(err, ret, "%s: %s", q->img.path, strerror(-ret)) : 0;
}

static int init_backing(struct qcow2 *q, const struct block_config *cfg,
			const struct qcow2_chain *above, const struct stat *st, struct err *err)
{
	struct qcow2_chain here = { above, st->st_dev, st->st_ino, above ? above->depth + 1 : 1 };
	struct err why;
	int ret;

	if (!*q->h.backing_name)
		return 0;
	if (!cfg->backing)
		return err_set(err, -EPERM,
			       "%s: stands on a backing file, %s, which is read with backing=on",
			       cfg->path, q->h.backing_name);
	ret = qcow2_backing_open(q, &here, err);
	if (!ret || above || !strncmp(err->text, cfg->path, strlen(cfg->path)))
		return ret;
	why = *err;
	return err_set(err, ret, "%s: stands on %.400s", cfg->path, why.text);
}

int qcow2_create(const struct block_config *cfg, const struct qcow2_chain *above,
		 struct qcow2 **out, struct err *err)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	struct stat st;
	int ret;

	if (!q) {
		err_set(err, -ENOMEM, "%s: out of memory", cfg->path);
		return -ENOMEM;
	}
	q->img.fd = -1;
	q->jobs_end = &q->jobs;
	pthread_mutex_init(&q->writer, NULL);
	pthread_mutex_init(&q->lock, NULL);
	pthread_mutex_init(&q->jobs_lock, NULL);
	pthread_cond_init(&q->jobs_cond, NULL);
	ret = open_file(q, cfg, &st, err) ?: qcow2_header_read(q, err) ?: init_memory(q, err);
	ret = ret ?: init_backing(q, cfg, above, &st, err);
	if (!ret && !cfg->readonly)
		ret = init_writing(q, err);
	if (ret) {
		qcow2_destroy(q);
		return ret;
	}
	*out = q;
	return 0;
}

static void close_image(struct qcow2 *q)
{
	int ret;

	if (q->img.fd < 0 || q->img.readonly || !q->reftable)
		return;
	/* What the first has freed is counted by the second. */
	ret = qcow2_commit(q, true) ?: qcow2_commit(q, true);
	if (ret)
		log_error("%s: not everything could be written: %s", q->img.path, strerror(-ret));
}

void qcow2_destroy(struct qcow2 *q)
{
	if (!q)
		return;
	qcow2_worker_stop(q);
	close_image(q);
	qcow2_backing_close(q->backing);
	qcow2_inflate_destroy(q);
	qcow2_cache_destroy(&q->l2);
	qcow2_cache_destroy(&q->refblocks);
	free(q->guard.slots);
	free(q->frees.list);
	free(q->settling.list);
	free(q->l1);
	free(q->reftable);
	free(q->scratch);
	free(q->zeroes);
	image_io_destroy(q->io);
	image_close(&q->img);
	pthread_mutex_destroy(&q->writer);
	pthread_mutex_destroy(&q->lock);
	pthread_mutex_destroy(&q->jobs_lock);
	pthread_cond_destroy(&q->jobs_cond);
	free(q);
}

static struct block_limits limits_of(const struct qcow2 *q)
{
	struct block_limits limits = q->img.limits;

	limits.discard_align = q->img.readonly ? 0 : (uint32_t)qcow2_cluster_size(q);
	limits.opt_io = (uint32_t)qcow2_cluster_size(q);
	return limits;
}

int qcow2_open(const struct block_config *cfg, struct block **out, struct err *err)
{
	struct qcow2 *q = NULL;
	int ret = qcow2_create(cfg, NULL, &q, err);

	if (ret)
		return ret;
	q->b.ops = &qcow2_ops;
	q->b.readonly = cfg->readonly;
	q->b.size = q->h.size;
	q->b.limits = limits_of(q);
	ret = qcow2_worker_start(q);
	if (ret) {
		qcow2_destroy(q);
		return err_set(err, ret, "%s: %s", cfg->path, strerror(-ret));
	}
	*out = &q->b;
	return 0;
}
