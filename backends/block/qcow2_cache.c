/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/qcow2_impl.h"

#define CACHE_BYTES (8 * MIB)
#define CACHE_MIN 8u /* tables, of the largest clusters */

int qcow2_cache_init(struct qcow2_cache *c, struct qcow2 *q, int (*make_room)(struct qcow2 *q))
{
	uint64_t nr = max_u64(CACHE_BYTES >> q->h.cluster_bits, CACHE_MIN);

	c->q = q;
	c->make_room = make_room;
	c->nr = (uint32_t)nr;
	c->tables = calloc(nr, sizeof(*c->tables));
	c->buckets = calloc(nr, sizeof(struct qcow2_table *));
	return c->tables && c->buckets ? 0 : -ENOMEM;
}

void qcow2_cache_destroy(struct qcow2_cache *c)
{
	for (uint32_t i = 0; c->tables && i < c->nr; i++)
		free(c->tables[i].data);
	free(c->tables);
	free(c->buckets);
	*c = (struct qcow2_cache){ 0 };
}

static struct qcow2_table **bucket(struct qcow2_cache *c, uint64_t offset)
{
	uint64_t hash = (offset >> 9) * 0x9e3779b97f4a7c15ull;

	return &c->buckets[(hash >> 32) & (c->nr - 1)];
}

struct qcow2_table *qcow2_cache_find(struct qcow2_cache *c, uint64_t offset)
{
	struct qcow2_table *t = *bucket(c, offset);

	while (t && t->offset != offset)
		t = t->next;
	if (t)
		t->used = true;
	return t;
}

static bool is_dirty(const struct qcow2_table *t)
{
	return t->dirty_from != t->dirty_to;
}

/* Callers of these three hold the lock. */
static void forget(struct qcow2_cache *c, struct qcow2_table *t)
{
	struct qcow2_table **p = bucket(c, t->offset);

	if (!t->offset)
		return;
	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	t->offset = 0;
	t->dirty_from = t->dirty_to = 0;
	t->fresh = false;
}

static void insert(struct qcow2_cache *c, struct qcow2_table *t, uint64_t offset)
{
	struct qcow2_table **p = bucket(c, offset);

	t->offset = offset;
	t->used = true;
	t->next = *p;
	*p = t;
}

static struct qcow2_table *find_victim(struct qcow2_cache *c)
{
	for (uint32_t i = 0; i < 2 * c->nr; i++) {
		struct qcow2_table *t = &c->tables[c->hand++ & (c->nr - 1)];

		if (t->offset && (is_dirty(t) || t->fresh))
			continue;
		if (!t->offset || !t->used)
			return t;
		t->used = false;
	}
	return NULL;
}

/* A table out of everybody's sight. */
static int take(struct qcow2_cache *c, struct qcow2_table **out)
{
	struct qcow2_table *t;

	pthread_mutex_lock(&c->q->lock);
	t = find_victim(c);
	if (t)
		forget(c, t);
	pthread_mutex_unlock(&c->q->lock);
	if (!t) {
		int ret = c->make_room(c->q);

		if (ret)
			return ret;
		pthread_mutex_lock(&c->q->lock);
		t = find_victim(c);
		if (t)
			forget(c, t);
		pthread_mutex_unlock(&c->q->lock);
		if (!t)
			return -EIO;
	}
	if (!t->data)
		t->data = qcow2_buffer(c->q, qcow2_cluster_size(c->q));
	if (!t->data)
		return -ENOMEM;
	*out = t;
	return 0;
}

static void show(struct qcow2_cache *c, struct qcow2_table *t, uint64_t offset)
{
	pthread_mutex_lock(&c->q->lock);
	insert(c, t, offset);
	pthread_mutex_unlock(&c->q->lock);
}

int qcow2_cache_load(struct qcow2_cache *c, uint64_t offset, struct qcow2_table **out)
{
	uint64_t size = qcow2_cluster_size(c->q);
	int ret;

	pthread_mutex_lock(&c->q->lock);
	*out = qcow2_cache_find(c, offset);
	pthread_mutex_unlock(&c->q->lock);
	if (*out)
		return 0;
	/* What lies beyond the end reads as zeroes: good for data, not for tables. */
	if (offset >= c->q->file_end || size > c->q->file_end - offset)
		return -EUCLEAN;
	ret = take(c, out) ?: qcow2_pread(c->q, (*out)->data, size, offset);
	if (!ret)
		show(c, *out, offset);
	return ret;
}

int qcow2_cache_create(struct qcow2_cache *c, uint64_t offset, struct qcow2_table **out)
{
	uint64_t size = qcow2_cluster_size(c->q);
	int ret = take(c, out);

	if (ret)
		return ret;
	memset((*out)->data, 0, size);
	(*out)->fresh = true;
	qcow2_table_dirty(*out, 0, (uint32_t)size);
	show(c, *out, offset);
	return 0;
}

void qcow2_cache_move(struct qcow2_cache *c, struct qcow2_table *t, uint64_t offset)
{
	pthread_mutex_lock(&c->q->lock);
	forget(c, t);
	insert(c, t, offset);
	t->fresh = true;
	qcow2_table_dirty(t, 0, (uint32_t)qcow2_cluster_size(c->q));
	pthread_mutex_unlock(&c->q->lock);
}

void qcow2_cache_drop(struct qcow2_cache *c, uint64_t offset)
{
	struct qcow2_table *t;

	pthread_mutex_lock(&c->q->lock);
	t = qcow2_cache_find(c, offset);
	if (t)
		forget(c, t);
	pthread_mutex_unlock(&c->q->lock);
}

void qcow2_table_dirty(struct qcow2_table *t, uint32_t from, uint32_t len)
{
	uint32_t to = (uint32_t)align_up(from + len, BLOCK_SECTOR);

	from = (uint32_t)align_down(from, BLOCK_SECTOR);
	if (is_dirty(t)) {
		from = (uint32_t)min_u64(from, t->dirty_from);
		to = (uint32_t)max_u64(to, t->dirty_to);
	}
	t->dirty_from = from;
	t->dirty_to = to;
}

int qcow2_cache_write(struct qcow2_cache *c, bool fresh_only)
{
	/* Whole blocks of a file that takes only such: the rest of them need not be read. */
	uint64_t unit = min_u64(c->q->img.io_align, qcow2_cluster_size(c->q));

	for (uint32_t i = 0; i < c->nr; i++) {
		struct qcow2_table *t = &c->tables[i];
		uint64_t from = align_down(t->dirty_from, unit), to = align_up(t->dirty_to, unit);
		int ret;

		if (!is_dirty(t) || (fresh_only && !t->fresh))
			continue;
		ret = qcow2_pwrite(c->q, t->data + from, to - from, t->offset + from);
		if (ret)
			return ret;
		t->dirty_from = t->dirty_to = 0;
	}
	return 0;
}

void qcow2_cache_link(struct qcow2_cache *c)
{
	for (uint32_t i = 0; i < c->nr; i++)
		c->tables[i].fresh = false;
}
