/* SPDX-License-Identifier: MIT */
/* "Cluster mapping": L1 and L2 tables. */
#include <errno.h>
#include <inttypes.h>

#include "backends/block/qcow2_impl.h"

#define L1_RESERVED ~(QCOW2_COPIED | QCOW2_OFFSET_MASK)

static uint64_t l1_index(const struct qcow2 *q, uint64_t guest)
{
	return guest / qcow2_table_entries(q);
}

static uint64_t l2_index(const struct qcow2 *q, uint64_t guest)
{
	return guest & (qcow2_table_entries(q) - 1);
}

/* The L1 entry of a guest's cluster, 0 beyond the table. */
static uint64_t l1_entry(const struct qcow2 *q, uint64_t guest)
{
	uint64_t i = l1_index(q, guest);

	return i < q->h.l1_size ? be64toh(q->l1[i]) : 0;
}

static struct qcow2_mapping parse_deflated(const struct qcow2 *q, uint64_t e)
{
	unsigned x = 62 - (q->h.cluster_bits - 8);
	uint64_t host = e & ((1ull << x) - 1);
	uint64_t sectors = ((e & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> x) + 1;
	uint32_t len = (uint32_t)(sectors * BLOCK_SECTOR - host % BLOCK_SECTOR);

	if (!host || host >= QCOW2_MAX_OFFSET)
		return (struct qcow2_mapping){ .kind = QCOW2_KIND_BAD, .host = host };
	return (struct qcow2_mapping){ .kind = QCOW2_KIND_DEFLATED, .host = host, .deflated = len };
}

static struct qcow2_mapping parse(const struct qcow2 *q, uint64_t e)
{
	uint64_t zero = q->h.version > 2 ? QCOW2_ZERO : 0;
	struct qcow2_mapping m = { .host = e & QCOW2_OFFSET_MASK, .copied = e & QCOW2_COPIED };

	if (e & QCOW2_COMPRESSED)
		return parse_deflated(q, e);
	if ((e & ~(QCOW2_COPIED | QCOW2_OFFSET_MASK | zero)) || qcow2_in_cluster(q, m.host) ||
	    (m.copied && !m.host))
		m.kind = QCOW2_KIND_BAD;
	else if (e & zero)
		m.kind = QCOW2_KIND_ZERO;
	else
		m.kind = m.host ? QCOW2_KIND_DATA : QCOW2_KIND_NONE;
	return m;
}

static uint64_t *entry_at(const struct qcow2 *q, const struct qcow2_table *t, uint64_t guest)
{
	return (uint64_t *)(void *)t->data + l2_index(q, guest);
}

int qcow2_map(struct qcow2 *q, uint64_t guest, struct qcow2_mapping *out)
{
	uint64_t off = l1_entry(q, guest) & QCOW2_OFFSET_MASK;
	struct qcow2_table *t;
	int ret;

	*out = (struct qcow2_mapping){ .kind = QCOW2_KIND_NONE };
	if (!off)
		return 0;
	ret = qcow2_cache_load(&q->l2, off, &t);
	if (ret)
		return ret;
	*out = parse(q, be64toh(*entry_at(q, t, guest)));
	return 0;
}

int qcow2_map_cached(struct qcow2 *q, uint64_t guest, struct qcow2_mapping *out)
{
	uint64_t off = l1_entry(q, guest) & QCOW2_OFFSET_MASK;
	struct qcow2_table *t;

	*out = (struct qcow2_mapping){ .kind = QCOW2_KIND_NONE };
	if (!off)
		return 0;
	t = qcow2_cache_find(&q->l2, off);
	if (!t)
		return -EAGAIN;
	*out = parse(q, be64toh(*entry_at(q, t, guest)));
	return 0;
}

static void set_l1(struct qcow2 *q, uint32_t i, uint64_t entry)
{
	pthread_mutex_lock(&q->lock);
	q->l1[i] = htobe64(entry);
	q->unflushed = true;
	pthread_mutex_unlock(&q->lock);
	if (q->l1_dirty_from == q->l1_dirty_to) {
		q->l1_dirty_from = i;
		q->l1_dirty_to = i + 1;
	}
	q->l1_dirty_from = (uint32_t)min_u64(q->l1_dirty_from, i);
	q->l1_dirty_to = (uint32_t)max_u64(q->l1_dirty_to, i + 1);
}

/* A table in a cluster of its own: empty, or a copy of what a snapshot shares with us. */
static int new_table(struct qcow2 *q, uint64_t guest, struct qcow2_table **out)
{
	uint64_t old = l1_entry(q, guest) & QCOW2_OFFSET_MASK, n = 1, off;
	int ret = qcow2_alloc(q, &n, true, &off);

	if (ret)
		return ret;
	ret = old ? qcow2_cache_load(&q->l2, old, out) : qcow2_cache_create(&q->l2, off, out);
	ret = ret ?: qcow2_guard_add(q, off >> q->h.cluster_bits, 1);
	if (ret) {
		qcow2_cache_drop(&q->l2, off);
		qcow2_alloc_undo(q, off, 1);
		return ret;
	}
	if (old) {
		qcow2_cache_move(&q->l2, *out, off);
		qcow2_free(q, old, qcow2_cluster_size(q));
	}
	set_l1(q, (uint32_t)l1_index(q, guest), off | QCOW2_COPIED);
	return 0;
}

/* The L2 table of a guest's cluster, to be changed. */
static int writable_table(struct qcow2 *q, uint64_t guest, struct qcow2_table **out)
{
	uint64_t e = l1_entry(q, guest);

	if (l1_index(q, guest) >= q->h.l1_size)
		return -EIO;
	if (e & QCOW2_COPIED)
		return qcow2_cache_load(&q->l2, e & QCOW2_OFFSET_MASK, out);
	return new_table(q, guest, out);
}

/* Freed, a table's cluster would be handed out as a guest's. */
static bool is_table(const struct qcow2 *q, const struct qcow2_mapping *m)
{
	uint64_t len = m->kind == QCOW2_KIND_DEFLATED ? m->deflated : qcow2_cluster_size(q);
	uint64_t c = m->host >> q->h.cluster_bits, last = (m->host + len - 1) >> q->h.cluster_bits;

	while (c <= last && !qcow2_guard_has(&q->guard, c))
		c++;
	return m->host && c <= last;
}

static void free_mapped(struct qcow2 *q, const struct qcow2_mapping *m)
{
	if (m->kind == QCOW2_KIND_DEFLATED)
		qcow2_free(q, m->host, m->deflated);
	else if (m->host)
		qcow2_free(q, m->host, qcow2_cluster_size(q));
}

int qcow2_map_set(struct qcow2 *q, uint64_t guest, uint64_t n, uint64_t host, uint64_t flags,
		  bool keep)
{
	struct qcow2_table *t;
	int ret = writable_table(q, guest, &t);

	if (ret)
		return ret;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t *entry = entry_at(q, t, guest + i);
		uint64_t at = host ? host + (i << q->h.cluster_bits) : 0;
		struct qcow2_mapping old = parse(q, be64toh(*entry));

		if (old.kind == QCOW2_KIND_BAD)
			return qcow2_mark_corrupt(q, "an impossible L2 entry", old.host);
		if (keep && old.copied)
			at = old.host;
		if (at != old.host && is_table(q, &old))
			return qcow2_mark_corrupt(q, "data where a table is", old.host);
		if (at != old.host)
			free_mapped(q, &old);
		pthread_mutex_lock(&q->lock);
		*entry = htobe64(at | (at ? QCOW2_COPIED : 0) | flags);
		qcow2_table_dirty(
			t, (uint32_t)((guest + i - (guest - l2_index(q, guest))) * QCOW2_ENTRY),
			QCOW2_ENTRY);
		q->unflushed = true;
		pthread_mutex_unlock(&q->lock);
	}
	return 0;
}

int qcow2_map_init(struct qcow2 *q, struct err *err)
{
	for (uint32_t i = 0; i < q->h.l1_size; i++) {
		uint64_t e = be64toh(q->l1[i]);

		if ((e & L1_RESERVED) || qcow2_in_cluster(q, e & QCOW2_OFFSET_MASK))
			return err_set(
				err, -EUCLEAN,
				"%s: is corrupt: entry %" PRIu32
				" of its L1 table is impossible; 'qemu-img check' tells more",
				q->img.path, i);
	}
	return 0;
}
