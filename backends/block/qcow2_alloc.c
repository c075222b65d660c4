/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/qcow2_impl.h"

#define MAX_FREED (64 * MIB) /* before a commit, or a guest that never flushes fills the host */

/* Where clusters may be: the format's end, or the host's block device's. */
static uint64_t end_cluster(const struct qcow2 *q)
{
	uint64_t end = q->img.device ? q->img.size : QCOW2_MAX_OFFSET;

	return end >> q->h.cluster_bits;
}

/* The first run of n free clusters, or the start of the first run of any length. */
static int find_free(struct qcow2 *q, uint64_t *n, bool all, uint64_t *out)
{
	uint64_t end = end_cluster(q), want = *n, run = 0, c = q->first_free;
	bool passed = false; /* a free one that was not taken */

	for (; run < want && c < end; c++) {
		uint64_t count;
		int ret = qcow2_refcount_get(q, c, &count);

		if (ret)
			return ret;
		if (!count) {
			if (!run && !passed)
				q->first_free = c;
			run++;
		} else if (run && !all) {
			break;
		} else {
			passed |= run != 0;
			run = 0;
		}
	}
	if (!run || (all && run < want))
		return -ENOSPC;
	*out = c - run;
	*n = run;
	return 0;
}

/* A run may start with a cluster that a new refcount block has just taken. */
static int cover(struct qcow2 *q, uint64_t first, uint64_t n)
{
	for (uint64_t c = first; c < first + n; c++) {
		int ret = qcow2_refcount_cover(q, c);

		if (ret)
			return ret;
	}
	return 0;
}

static bool still_free(struct qcow2 *q, uint64_t first, uint64_t n)
{
	uint64_t count = 1;

	for (uint64_t c = first; c < first + n; c++)
		if (qcow2_refcount_get(q, c, &count) || count)
			return false;
	return true;
}

int qcow2_alloc(struct qcow2 *q, uint64_t *n, bool all, uint64_t *out)
{
	uint64_t want = *n, first;
	int ret;

	if (q->corrupt)
		return -EIO;
	if (all && !qcow2_refcount_fits(q, want)) {
		ret = qcow2_refcount_region(q, want, &first);
		*out = first << q->h.cluster_bits;
		return ret;
	}
	do {
		*n = want;
		ret = find_free(q, n, all, &first) ?: cover(q, first, *n);
		if (ret)
			return ret;
	} while (!still_free(q, first, *n));
	for (uint64_t c = first; c < first + *n; c++) {
		if (qcow2_guard_has(&q->guard, c))
			return qcow2_mark_corrupt(q, "a table in a free cluster",
						  c << q->h.cluster_bits);
		ret = qcow2_refcount_set(q, c, 1);
		if (ret)
			return ret;
	}
	if (first == q->first_free)
		q->first_free = first + *n;
	*out = first << q->h.cluster_bits;
	return 0;
}

void qcow2_alloc_undo(struct qcow2 *q, uint64_t offset, uint64_t n)
{
	uint64_t first = offset >> q->h.cluster_bits;

	/* Should it fail, they are lost until a check finds them. */
	for (uint64_t c = first; c < first + n; c++)
		if (qcow2_refcount_set(q, c, 0))
			return;
	q->first_free = min_u64(q->first_free, first);
}

void qcow2_free(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	struct qcow2_frees *f = &q->frees;
	uint64_t first = offset >> q->h.cluster_bits;
	uint64_t n = ((offset + bytes - 1) >> q->h.cluster_bits) - first + 1;

	if (f->nr && f->list[f->nr - 1].cluster + f->list[f->nr - 1].n == first) {
		f->list[f->nr - 1].n += n;
		f->clusters += n;
		return;
	}
	if (f->nr == f->room) {
		size_t room = f->room ? 2 * f->room : 64;
		struct qcow2_extent *list = realloc(f->list, room * sizeof(*list));

		if (!list)
			return; /* lost until a check finds them */
		f->list = list;
		f->room = room;
	}
	f->list[f->nr++] = (struct qcow2_extent){ first, n };
	f->clusters += n;
}

bool qcow2_free_many(const struct qcow2 *q)
{
	return q->frees.clusters << q->h.cluster_bits >= MAX_FREED;
}

static int lower(struct qcow2 *q, uint64_t cluster, bool *gone)
{
	uint64_t off = cluster << q->h.cluster_bits, count;
	int ret = qcow2_refcount_get(q, cluster, &count);

	if (ret)
		return ret;
	if (!count)
		return qcow2_mark_corrupt(q, "a cluster in use that counts as free", off);
	*gone = count == 1;
	if (*gone) {
		qcow2_cache_drop(&q->l2, off);
		qcow2_cache_drop(&q->refblocks, off);
		qcow2_guard_remove(q, cluster);
		q->first_free = min_u64(q->first_free, cluster);
	}
	return qcow2_refcount_set(q, cluster, count - 1);
}

/* Gives whole blocks back to the host; of others it would write zeroes, to its page cache. */
static void punch(struct qcow2 *q, uint64_t first, uint64_t n)
{
	uint64_t align = q->img.limits.discard_align, from, to;

	if (!align)
		return;
	from = align_up(first << q->h.cluster_bits, align);
	to = align_down((first + n) << q->h.cluster_bits, align);
	/* Should it fail, they stay taken. */
	if (from < to)
		(void)fallocate(q->img.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
				(off_t)(to - from));
}

static int settle_extent(struct qcow2 *q, const struct qcow2_extent *e)
{
	uint64_t hole = e->cluster, c;
	int ret = 0;

	for (c = hole; c < e->cluster + e->n && !ret; c++) {
		bool gone = false;

		ret = lower(q, c, &gone);
		if (!gone) {
			punch(q, hole, c - hole);
			hole = c + 1;
		}
	}
	if (!ret)
		punch(q, hole, c - hole);
	return ret;
}

int qcow2_free_settle(struct qcow2 *q)
{
	struct qcow2_frees *f = &q->settling;
	int ret = 0;

	if (!f->nr || q->in_flight[!q->epoch])
		return 0;
	qcow2_inflate_forget(q);
	for (size_t i = 0; i < f->nr && !ret; i++)
		ret = settle_extent(q, &f->list[i]);
	f->nr = 0;
	f->clusters = 0;
	return ret;
}
