/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/qcow2_impl.h"

static void use_l1(struct qcow2 *q, uint64_t *l1, uint64_t off, uint32_t entries)
{
	pthread_mutex_lock(&q->lock);
	q->l1 = l1;
	q->h.l1_offset = off;
	q->h.l1_size = entries;
	pthread_mutex_unlock(&q->lock);
}

/* The same table with room for more, elsewhere; everything is committed. */
static int move_l1(struct qcow2 *q, uint32_t entries)
{
	uint64_t bytes = (uint64_t)entries * QCOW2_ENTRY, n = qcow2_clusters(q, bytes), off;
	uint64_t old_off = q->h.l1_offset, *old_l1 = q->l1;
	uint32_t old_entries = q->h.l1_size;
	uint64_t *l1 = calloc(n, qcow2_cluster_size(q));
	int ret = l1 ? qcow2_alloc(q, &n, true, &off) : -ENOMEM;

	if (ret) {
		free(l1);
		return ret;
	}
	memcpy(l1, old_l1, (uint64_t)old_entries * QCOW2_ENTRY);
	ret = qcow2_guard_add(q, off >> q->h.cluster_bits, n) ?:
	      qcow2_pwrite(q, l1, n << q->h.cluster_bits, off) ?:
	      qcow2_commit(q, true);
	if (!ret) {
		use_l1(q, l1, off, entries);
		ret = qcow2_header_write_l1(q);
		if (ret)
			use_l1(q, old_l1, old_off, old_entries);
	}
	if (ret) {
		for (uint64_t i = 0; i < n; i++)
			qcow2_guard_remove(q, (off >> q->h.cluster_bits) + i);
		qcow2_alloc_undo(q, off, n);
		free(l1);
		return ret;
	}
	free(old_l1);
	if (old_entries)
		qcow2_free(q, old_off, (uint64_t)old_entries * QCOW2_ENTRY);
	return 0;
}

/* What becomes visible: the end of the last cluster, and a backing file that is longer. */
static int hide(struct qcow2 *q, uint64_t from, uint64_t to)
{
	uint64_t end = min_u64(to, align_up(from, qcow2_cluster_size(q)));

	if (q->backing)
		end = max_u64(end, min_u64(to, qcow2_backing_size(q->backing)));
	return end > from ? qcow2_zero(q, from, end - from, false) : 0;
}

static int grow(struct qcow2 *q, uint64_t size)
{
	uint64_t per_table = qcow2_table_entries(q) << q->h.cluster_bits;
	uint64_t entries = (size + per_table - 1) / per_table, old = q->h.size;
	int ret = qcow2_commit(q, true);

	if (!ret && entries > q->h.l1_size)
		ret = move_l1(q, (uint32_t)entries);
	ret = ret ?: hide(q, old, size) ?: qcow2_commit(q, true);
	if (ret)
		return ret;
	pthread_mutex_lock(&q->lock);
	q->h.size = size;
	pthread_mutex_unlock(&q->lock);
	ret = qcow2_header_write_l1(q) ?: qcow2_sync(q);
	if (ret)
		q->h.size = old;
	else
		q->b.size = size;
	return ret;
}

int qcow2_resize(struct block *b, uint64_t size, struct err *err)
{
	struct qcow2 *q = container_of(b, struct qcow2, b);
	uint64_t most = (QCOW2_MAX_L1_BYTES / QCOW2_ENTRY) * qcow2_table_entries(q)
			<< q->h.cluster_bits;
	int ret;

	if (size == q->h.size)
		return 0;
	if (size < q->h.size)
		return err_set(err, -EOPNOTSUPP,
			       "a qcow2 image cannot become smaller than its %" PRIu64 " bytes",
			       q->h.size);
	if (size > min_u64(most, INT64_MAX))
		return err_set(err, -EFBIG,
			       "with its clusters this image may have %" PRIu64 " bytes at most",
			       min_u64(most, INT64_MAX));
	if (q->h.nr_snapshots && q->h.version < 3)
		return err_set(err, -EOPNOTSUPP,
			       "an image of qcow2 version 2 with snapshots has one size for ever");
	pthread_mutex_lock(&q->writer);
	ret = grow(q, size);
	pthread_mutex_unlock(&q->writer);
	return ret ? err_set(err, ret, "%s: %s", q->img.path, strerror(-ret)) : 0;
}
