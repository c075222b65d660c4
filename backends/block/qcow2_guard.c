/* SPDX-License-Identifier: MIT */
/*
 * The clusters that hold tables. An image may say that a guest's data is there as well, or that
 * such a cluster is free; believed, that would let a guest write our tables.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/qcow2_impl.h"

#define MIN_SLOTS 1024u
#define MAX_USED (16 * MIB) /* of hostile images */

/* "Snapshots", an entry of the snapshot table */
#define SNAPSHOT_FIXED 40
#define SNAPSHOT_MAX_EXTRA 1024u

static uint64_t home(const struct qcow2_guard *g, uint64_t slot)
{
	return ((slot * 0x9e3779b97f4a7c15ull) >> 20) & (g->nr - 1);
}

bool qcow2_guard_has(const struct qcow2_guard *g, uint64_t cluster)
{
	if (!g->nr)
		return false;
	for (uint64_t i = home(g, cluster + 1); g->slots[i]; i = (i + 1) & (g->nr - 1))
		if (g->slots[i] == cluster + 1)
			return true;
	return false;
}

static void put(struct qcow2_guard *g, uint64_t slot)
{
	uint64_t i = home(g, slot);

	while (g->slots[i])
		i = (i + 1) & (g->nr - 1);
	g->slots[i] = slot;
}

/* Makes room for one more; at least half of the slots stay free. */
static int grow(struct qcow2 *q)
{
	struct qcow2_guard *g = &q->guard, bigger = { .used = g->used };

	if (g->nr && g->used < g->nr / 2)
		return 0;
	if (g->used >= MAX_USED)
		return -ENOMEM;
	bigger.nr = max_u64(2 * g->nr, MIN_SLOTS);
	bigger.slots = calloc(bigger.nr, sizeof(uint64_t));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint64_t i = 0; i < g->nr; i++)
		if (g->slots[i])
			put(&bigger, g->slots[i]);
	pthread_mutex_lock(&q->lock);
	free(g->slots);
	*g = bigger;
	pthread_mutex_unlock(&q->lock);
	return 0;
}

int qcow2_guard_add(struct qcow2 *q, uint64_t cluster, uint64_t n)
{
	for (; n; cluster++, n--) {
		int ret = grow(q);

		if (ret)
			return ret;
		if (qcow2_guard_has(&q->guard, cluster))
			return -EEXIST;
		pthread_mutex_lock(&q->lock);
		put(&q->guard, cluster + 1);
		q->guard.used++;
		pthread_mutex_unlock(&q->lock);
	}
	return 0;
}

void qcow2_guard_remove(struct qcow2 *q, uint64_t cluster)
{
	struct qcow2_guard *g = &q->guard;
	uint64_t i, slot;

	if (!qcow2_guard_has(g, cluster))
		return;
	pthread_mutex_lock(&q->lock);
	i = home(g, cluster + 1);
	while (g->slots[i] != cluster + 1)
		i = (i + 1) & (g->nr - 1);
	g->slots[i] = 0;
	g->used--;
	/* Those behind it may have been pushed on by it. */
	for (i = (i + 1) & (g->nr - 1); g->slots[i]; i = (i + 1) & (g->nr - 1)) {
		slot = g->slots[i];
		g->slots[i] = 0;
		put(g, slot);
	}
	pthread_mutex_unlock(&q->lock);
}

static int add_table(struct qcow2 *q, uint64_t off, uint64_t bytes, struct err *err)
{
	uint64_t end = align_up(q->file_end, qcow2_cluster_size(q));
	int ret;

	if (qcow2_in_cluster(q, off) || off >= end || bytes > end - off)
		return err_set(err, -EUCLEAN,
			       "%s: is corrupt: there can be no table at offset %" PRIu64
			       "; 'qemu-img check' tells more",
			       q->img.path, off);
	ret = qcow2_guard_add(q, off >> q->h.cluster_bits, qcow2_clusters(q, bytes));
	if (ret == -EEXIST)
		return err_set(err, -EUCLEAN,
			       "%s: is corrupt: two of its tables share offset %" PRIu64
			       "; 'qemu-img check' tells more",
			       q->img.path, off);
	return ret ? err_set(err, ret, "%s: has too many tables", q->img.path) : 0;
}

static int add_snapshots(struct qcow2 *q, struct err *err)
{
	uint64_t at = q->h.snapshots_offset;

	for (uint32_t i = 0; i < q->h.nr_snapshots; i++) {
		uint8_t e[SNAPSHOT_FIXED];
		uint32_t extra, l1_size;
		int ret;

		if (at > q->file_end || q->file_end - at < sizeof(e))
			return err_set(err, -EUCLEAN, "%s: its snapshot table is cut off",
				       q->img.path);
		ret = qcow2_pread(q, e, sizeof(e), at);
		if (ret)
			return err_set(err, ret, "%s: %s", q->img.path, strerror(-ret));
		l1_size = be32toh((uint32_t)load_le(e + 8, 4));
		extra = be32toh((uint32_t)load_le(e + 36, 4));
		if (extra > SNAPSHOT_MAX_EXTRA || l1_size > QCOW2_MAX_L1_BYTES / QCOW2_ENTRY)
			return err_set(err, -EUCLEAN, "%s: its snapshot table is damaged",
				       q->img.path);
		ret = add_table(q, be64toh(load_le(e, 8)), (uint64_t)l1_size * QCOW2_ENTRY, err);
		if (ret)
			return ret;
		at += align_up(SNAPSHOT_FIXED + extra + be16toh((uint16_t)load_le(e + 12, 2)) +
				       be16toh((uint16_t)load_le(e + 14, 2)),
			       8);
	}
	return q->h.nr_snapshots
		       ? add_table(q, q->h.snapshots_offset, at - q->h.snapshots_offset, err)
		       : 0;
}

static int add_pointed(struct qcow2 *q, const uint64_t *entries, uint64_t n, struct err *err)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t off = be64toh(entries[i]) & ~QCOW2_COPIED;
		int ret = off ? add_table(q, off, qcow2_cluster_size(q), err) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

int qcow2_guard_init(struct qcow2 *q, struct err *err)
{
	const struct qcow2_header *h = &q->h;

	return add_table(q, 0, 1, err) ?:
	       add_table(q, h->l1_offset, (uint64_t)h->l1_size * QCOW2_ENTRY, err) ?:
	       add_table(q, h->reftable_offset, q->reftable_len * QCOW2_ENTRY, err) ?:
	       add_pointed(q, q->reftable, q->reftable_len, err) ?:
	       add_pointed(q, q->l1, h->l1_size, err) ?:
	       add_snapshots(q, err);
}
