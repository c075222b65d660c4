/* SPDX-License-Identifier: MIT */
/* "Host cluster management": the refcounts, and growing what holds them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/qcow2_impl.h"

static uint64_t entries_per_block(const struct qcow2 *q)
{
	return (qcow2_cluster_size(q) * 8) >> q->h.refcount_order;
}

static uint64_t entry_get(const struct qcow2 *q, const uint8_t *block, uint64_t i)
{
	unsigned bits = 1u << q->h.refcount_order;

	switch (bits) {
	case 16:
		return be16toh((uint16_t)load_le(block + 2 * i, 2));
	case 32:
		return be32toh((uint32_t)load_le(block + 4 * i, 4));
	case 64:
		return be64toh(load_le(block + 8 * i, 8));
	default:
		return (block[i * bits / 8] >> (i * bits % 8)) & ((1u << bits) - 1);
	}
}

static void entry_set(const struct qcow2 *q, struct qcow2_table *t, uint64_t i, uint64_t value)
{
	unsigned bits = 1u << q->h.refcount_order, shift = i * bits % 8;
	uint8_t *p = t->data + i * bits / 8;

	switch (bits) {
	case 16:
		store_le(p, 2, htobe16((uint16_t)value));
		break;
	case 32:
		store_le(p, 4, htobe32((uint32_t)value));
		break;
	case 64:
		store_le(p, 8, htobe64(value));
		break;
	default:
		*p = (uint8_t)((*p & ~(((1u << bits) - 1) << shift)) | value << shift);
	}
	qcow2_table_dirty(t, (uint32_t)(p - t->data), max_u64(bits / 8, 1));
}

/* *out is NULL where there is no block: all its refcounts are 0. */
static int load_block(struct qcow2 *q, uint64_t cluster, struct qcow2_table **out)
{
	uint64_t i = cluster / entries_per_block(q), off;
	int ret;

	*out = NULL;
	off = i < q->reftable_len ? be64toh(q->reftable[i]) : 0;
	if (!off)
		return 0;
	ret = qcow2_cache_load(&q->refblocks, off, out);
	return ret == -EUCLEAN ? qcow2_mark_corrupt(q, "no refcount block", off) : ret;
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *out)
{
	struct qcow2_table *t;
	int ret = load_block(q, cluster, &t);

	if (!ret)
		*out = t ? entry_get(q, t->data, cluster % entries_per_block(q)) : 0;
	return ret;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
	struct qcow2_table *t;
	int ret = load_block(q, cluster, &t);

	if (ret)
		return ret;
	if (!t)
		return qcow2_mark_corrupt(q, "no refcount block", cluster << q->h.cluster_bits);
	entry_set(q, t, cluster % entries_per_block(q), value);
	return 0;
}

static int taken(struct qcow2 *q, uint64_t cluster)
{
	return qcow2_mark_corrupt(q, "a table in a free cluster", cluster << q->h.cluster_bits);
}

/*
 * Clusters in a row that no refcount block covers yet: first the blocks that do, which so count
 * themselves and depend on nothing, then what they are for.
 */
struct region {
	uint64_t start; /* cluster: the first that its first block covers */
	uint64_t blocks;
	uint64_t n; /* behind the blocks */
};

/* Its blocks, on the medium; nothing points to them. */
static int write_blocks(struct qcow2 *q, const struct region *r)
{
	uint64_t per = entries_per_block(q), total = r->blocks + r->n;
	int ret = qcow2_guard_add(q, r->start, r->blocks);

	if (ret)
		return ret == -EEXIST ? taken(q, r->start) : ret;
	for (uint64_t i = 0; i < r->blocks && !ret; i++) {
		struct qcow2_table t = { .data = q->scratch };

		memset(q->scratch, 0, qcow2_cluster_size(q));
		for (uint64_t k = i * per; k < min_u64(total, (i + 1) * per); k++)
			entry_set(q, &t, k % per, 1);
		ret = qcow2_pwrite(q, q->scratch, qcow2_cluster_size(q),
				   (r->start + i) << q->h.cluster_bits);
	}
	return ret ?: qcow2_sync(q);
}

static void drop_blocks(struct qcow2 *q, const struct region *r)
{
	for (uint64_t i = 0; i < r->blocks; i++)
		qcow2_guard_remove(q, r->start + i);
}

static void point_to_blocks(const struct qcow2 *q, const struct region *r, uint64_t *reftable)
{
	for (uint64_t i = 0; i < r->blocks; i++)
		reftable[r->start / entries_per_block(q) + i] =
			htobe64((r->start + i) << q->h.cluster_bits);
}

static int add_region(struct qcow2 *q, const struct region *r)
{
	uint64_t i = r->start / entries_per_block(q);
	int ret = write_blocks(q, r);

	if (!ret) {
		point_to_blocks(q, r, q->reftable);
		ret = qcow2_pwrite(q, &q->reftable[i], r->blocks * QCOW2_ENTRY,
				   q->h.reftable_offset + i * QCOW2_ENTRY);
		if (ret)
			memset(&q->reftable[i], 0, r->blocks * QCOW2_ENTRY);
	}
	if (ret)
		drop_blocks(q, r);
	return ret;
}

/* Blocks for r, and for a refcount table behind them that is half again as long as needed. */
static uint64_t plan_reftable(const struct qcow2 *q, struct region *r)
{
	uint64_t per = entries_per_block(q), fit = qcow2_table_entries(q);

	for (r->blocks = 1;; r->blocks++) {
		uint64_t len = r->start / per + r->blocks;

		r->n = (len + len / 2 + fit - 1) / fit;
		if (r->blocks + r->n <= r->blocks * per)
			return r->n * fit;
	}
}

static int grow_reftable(struct qcow2 *q, uint64_t cluster)
{
	uint64_t per = entries_per_block(q);
	struct region r = { .start = max_u64(q->reftable_len * per, align_down(cluster, per)) };
	uint64_t len = plan_reftable(q, &r), *table;
	struct qcow2_header old = q->h;
	int ret;

	if (len * QCOW2_ENTRY > QCOW2_MAX_REFTABLE_BYTES)
		return -EFBIG;
	table = calloc(len, QCOW2_ENTRY);
	if (!table)
		return -ENOMEM;
	memcpy(table, q->reftable, q->reftable_len * QCOW2_ENTRY);
	point_to_blocks(q, &r, table);
	q->h.reftable_offset = (r.start + r.blocks) << q->h.cluster_bits;
	q->h.reftable_clusters = (uint32_t)r.n;
	/* The blocks' own barrier does for the table as well. */
	ret = qcow2_pwrite(q, table, len * QCOW2_ENTRY, q->h.reftable_offset) ?:
	      write_blocks(q, &r) ?:
	      qcow2_header_write_reftable(q);
	if (!ret && qcow2_guard_add(q, r.start + r.blocks, r.n))
		ret = taken(q, r.start + r.blocks);
	if (ret) {
		drop_blocks(q, &r);
		q->h = old;
		free(table);
		return ret;
	}
	free(q->reftable);
	q->reftable = table;
	q->reftable_len = len;
	qcow2_free(q, old.reftable_offset, (uint64_t)old.reftable_clusters << q->h.cluster_bits);
	return qcow2_sync(q);
}

int qcow2_refcount_cover(struct qcow2 *q, uint64_t cluster)
{
	uint64_t i = cluster / entries_per_block(q);
	struct region r = { .start = i * entries_per_block(q), .blocks = 1 };

	if (i >= q->reftable_len)
		return grow_reftable(q, cluster);
	return q->reftable[i] ? 0 : add_region(q, &r);
}

bool qcow2_refcount_fits(const struct qcow2 *q, uint64_t n)
{
	return n < entries_per_block(q);
}

int qcow2_refcount_region(struct qcow2 *q, uint64_t n, uint64_t *first)
{
	uint64_t per = entries_per_block(q), i = q->reftable_len;
	struct region r = { .n = n, .blocks = (n + per - 2) / (per - 1) };
	int ret;

	while (i && !q->reftable[i - 1])
		i--;
	if (i + r.blocks > q->reftable_len) {
		ret = grow_reftable(q, (i + r.blocks) * per);
		return ret ?: qcow2_refcount_region(q, n, first);
	}
	r.start = i * per;
	*first = r.start + r.blocks;
	return add_region(q, &r);
}
