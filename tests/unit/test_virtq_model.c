/* SPDX-License-Identifier: MIT */
/*
 * Both kinds of ring against a model: random buffers, given back in any order and in
 * batches, round and round. The model counts by numbers that never wrap, so it knows which
 * buffer must come back with which length, and whether either side had to notify.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/virtio/virtq.h"
#include "tests/unit/virtio_driver.h"

#define RING 0x10000ull
#define TABLES 0x40000ull
#define DATA 0x80000ull
#define RAM MIB
#define STEPS 60000 /* fewer than an event index needs to come round */

struct slot {
	struct virtq_buf buf;
	struct iovec iov[VDRV_MAX_SIZE];
};

struct model {
	struct mem mem;
	struct vdrv d;
	struct vdrv_queue q;
	struct virtq vq;
	uint32_t seed;
	/* What was offered, and taken since, in order. */
	struct offer {
		uint16_t id;
		uint16_t places;
		uint32_t out_len, in_len;
	} offers[2 * VDRV_MAX_SIZE];
	uint64_t offered, taken;
	struct slot slots[VDRV_MAX_SIZE];
	bool busy[VDRV_MAX_SIZE];
	/* What was given back, in order. */
	struct {
		uint32_t id, len;
	} back[2 * VDRV_MAX_SIZE];
	uint64_t pushed, published, seen;
	/* In places of a packed ring, in indices of a split one. */
	uint64_t avail_at, used_at, published_at, kick_at, event_at;
	unsigned in_use; /* descriptors */
	uint16_t places[VDRV_MAX_SIZE]; /* of each name (id, or head) that is in use */
	bool desc_used[VDRV_MAX_SIZE]; /* a split ring's */
	unsigned event; /* VIRTQ_EVENT_* as the driver wants it */
	bool kicks; /* the device wants to be told */
	bool first;
	unsigned notified, silent; /* how often each was right */
};

static uint32_t rnd(struct model *m, uint32_t n)
{
	m->seed = m->seed * 1664525 + 1013904223;
	return (m->seed >> 8) % n;
}

static void model_init(struct model *m, uint16_t size, bool packed, bool event_idx)
{
	struct virtq_params p = {
		.size = size,
		.packed = packed,
		.indirect = true,
		.event_idx = event_idx,
		.next_avail = virtq_start_position(packed),
		.next_used = virtq_start_position(packed),
	};

	m->d.mem = &m->mem;
	vdrv_queue_init(&m->d, &m->q, size, RING, packed, event_idx);
	p.desc = m->q.desc;
	p.avail = m->q.avail;
	p.used = m->q.used;
	assert_int_equal(virtq_init(&m->vq, &m->mem, &p), 0);
	for (unsigned i = 0; i < VDRV_MAX_SIZE; i++)
		m->slots[i].buf =
			(struct virtq_buf){ .iov = m->slots[i].iov, .max_iov = VDRV_MAX_SIZE };
	m->first = true;
	/* As the areas say while they are 0. */
	m->kicks = true;
}

/* One side's event lies on the other's way; a place of a packed ring comes back in time. */
static bool passes(const struct model *m, uint64_t event, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at++)
		if (at == event ||
		    (m->q.packed && at > event && (at - event) % (2 * m->q.size) == 0))
			return true;
	return false;
}

/* A split ring's driver takes a descriptor that is free, or the next ones where all are. */
static void place_split(struct model *m)
{
	while (m->desc_used[m->q.next_desc])
		m->q.next_desc = (uint16_t)((m->q.next_desc + 1) % m->q.size);
}

static void offer(struct model *m)
{
	struct offer *o = &m->offers[m->offered % ARRAY_SIZE(m->offers)];
	unsigned room = m->q.size - m->in_use, n, nr_out;
	struct vdrv_seg segs[VDRV_MAX_SIZE];
	uint64_t table = 0, from = m->avail_at;
	uint16_t old = m->q.avail_idx;
	bool want;

	if (!room)
		return;
	n = 1 + rnd(m, m->q.size);
	/* A table takes one descriptor; a split ring's tables are its descriptors' own. */
	if (n > room || !rnd(m, 3) || (!m->q.packed && m->in_use))
		table = TABLES + (m->offered % (2 * VDRV_MAX_SIZE)) * 16 * VDRV_MAX_SIZE;
	nr_out = rnd(m, n + 1);
	*o = (struct offer){ .places = (uint16_t)(table ? 1 : n) };
	for (unsigned i = 0; i < n; i++) {
		segs[i] = (struct vdrv_seg){ DATA + rnd(m, 1000), rnd(m, 4) * 100, i >= nr_out };
		*(i < nr_out ? &o->out_len : &o->in_len) += segs[i].len;
	}
	if (!m->q.packed)
		place_split(m);
	o->id = vdrv_add(&m->q, segs, n, table);
	m->in_use += o->places;
	m->places[o->id] = o->places;
	for (unsigned i = 0; i < o->places && !m->q.packed; i++)
		m->desc_used[(o->id + i) % m->q.size] = true;
	m->offered++;
	m->avail_at += m->q.packed ? o->places : 1;
	want = m->kicks;
	if (m->q.event_idx && (want || !m->q.packed))
		want = passes(m, m->kick_at, from, m->avail_at);
	assert_int_equal(vdrv_wants_kick(&m->q, old), want);
}

static void pop(struct model *m)
{
	const struct offer *o = &m->offers[m->taken % ARRAY_SIZE(m->offers)];
	struct slot *s;
	unsigned i = 0;

	while (m->busy[i])
		i++;
	s = &m->slots[i];
	assert_int_equal(virtq_pending(&m->vq), m->offered - m->taken);
	assert_int_equal(virtq_pop(&m->vq, &s->buf), m->taken < m->offered);
	if (m->taken == m->offered)
		return;
	m->taken++;
	m->busy[i] = true;
	assert_int_equal(s->buf.head, o->id);
	assert_int_equal(s->buf.out_len, o->out_len);
	assert_int_equal(s->buf.in_len, o->in_len);
	if (m->q.packed)
		assert_int_equal(s->buf.descs, o->places);
}

static void push(struct model *m)
{
	unsigned i = rnd(m, VDRV_MAX_SIZE), n = 0;
	struct slot *s;

	while (!m->busy[i] && n++ < VDRV_MAX_SIZE)
		i = (i + 1) % VDRV_MAX_SIZE;
	if (!m->busy[i])
		return;
	s = &m->slots[i];
	m->busy[i] = false;
	m->back[m->pushed % ARRAY_SIZE(m->back)].id = s->buf.head;
	m->back[m->pushed % ARRAY_SIZE(m->back)].len = rnd(m, (uint32_t)s->buf.in_len + 1);
	virtq_push(&m->vq, &s->buf, m->back[m->pushed % ARRAY_SIZE(m->back)].len);
	m->pushed++;
	m->used_at += m->q.packed ? s->buf.descs : 1;
}

static void publish(struct model *m)
{
	bool want = m->event == VIRTQ_EVENT_ENABLE;
	bool got = virtq_publish(&m->vq);

	if (m->event == VIRTQ_EVENT_DESC)
		want = m->first || passes(m, m->event_at, m->published_at, m->used_at);
	if (m->pushed == m->published)
		want = false;
	else
		m->first = false;
	assert_int_equal(got, want);
	m->notified += got;
	m->silent += !got;
	m->published = m->pushed;
	m->published_at = m->used_at;
}

/* All that was published can be seen, and nothing else. */
static void take_used(struct model *m)
{
	uint32_t id, len;

	while (vdrv_used(&m->q, &id, &len, 0)) {
		assert_true(m->seen < m->published);
		assert_int_equal(id, m->back[m->seen % ARRAY_SIZE(m->back)].id);
		assert_int_equal(len, m->back[m->seen % ARRAY_SIZE(m->back)].len);
		for (unsigned i = 0; i < m->places[id] && !m->q.packed; i++)
			m->desc_used[(id + i) % m->q.size] = false;
		m->in_use -= m->places[id];
		m->seen++;
	}
	assert_int_equal(m->seen, m->published);
}

static uint16_t position(const struct model *m, uint64_t at)
{
	unsigned round = (unsigned)(at % (2u * m->q.size));

	if (!m->q.packed)
		return (uint16_t)at;
	return (uint16_t)(round % m->q.size | (round < m->q.size ? VIRTQ_WRAP : 0));
}

static void set_event(struct model *m)
{
	m->event = m->q.event_idx ? VIRTQ_EVENT_DESC : rnd(m, 2);
	/* A packed ring's driver may say any of the three. */
	if (m->q.event_idx && m->q.packed)
		m->event = rnd(m, 3);
	m->event_at = m->published_at + rnd(m, m->q.size);
	vdrv_set_event(&m->q, m->event, position(m, m->event_at));
}

static void set_kicks(struct model *m)
{
	if (rnd(m, 2)) {
		virtq_disable_kicks(&m->vq);
		m->kicks = false;
		return;
	}
	assert_int_equal(virtq_enable_kicks(&m->vq), m->taken < m->offered);
	m->kicks = true;
	/* From where the device has looked up to. */
	m->kick_at = m->avail_at;
	for (uint64_t i = m->taken; i < m->offered; i++)
		m->kick_at -= m->q.packed ? m->offers[i % ARRAY_SIZE(m->offers)].places : 1;
}

static void run(uint16_t size, bool packed, bool event_idx)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->seed = size * 4u + packed * 2u + event_idx;
	assert_int_equal(mem_init(&m->mem, RAM), 0);
	model_init(m, size, packed, event_idx);
	/* A device begins by telling what it wants. */
	virtq_disable_kicks(&m->vq);
	assert_false(virtq_enable_kicks(&m->vq));
	m->event = event_idx && !packed ? VIRTQ_EVENT_DESC : VIRTQ_EVENT_ENABLE;
	for (unsigned i = 0; i < STEPS; i++) {
		switch (rnd(m, 9)) {
		case 0:
		case 1:
			offer(m);
			break;
		case 2:
		case 3:
			pop(m);
			break;
		case 4:
		case 5:
			push(m);
			break;
		case 6:
			publish(m);
			break;
		case 7:
			take_used(m);
			break;
		default:
			if (rnd(m, 2))
				set_event(m);
			else
				set_kicks(m);
			break;
		}
		assert_int_equal(m->vq.in_flight, m->taken - m->pushed);
		assert_null(m->vq.broken);
	}
	assert_true(m->seen > 1000);
	assert_true(m->notified > 100 && m->silent > 100);
	mem_destroy(&m->mem);
	free(m);
}

static void test_split(void **state)
{
	(void)state;
	for (uint16_t size = 1; size <= VDRV_MAX_SIZE; size *= 2)
		for (unsigned event_idx = 0; event_idx < 2; event_idx++)
			run(size, false, event_idx);
}

static void test_packed(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 3, 5, 8, 13, 32, 63, 64 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned event_idx = 0; event_idx < 2; event_idx++)
			run(sizes[i], true, event_idx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_packed),
	};

	return cmocka_run_group_tests_name("virtq_model", tests, NULL, NULL);
}
