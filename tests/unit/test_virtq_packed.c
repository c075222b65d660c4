/* SPDX-License-Identifier: MIT */
/* Packed rings: what differs from test_virtq.c's, descriptor by descriptor. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vq_rig.h"

#define SIZE 6 /* no power of 2 is asked for */

#define NEXT VIRTQ_DESC_F_NEXT
#define WRITE VIRTQ_DESC_F_WRITE
#define INDIRECT VIRTQ_DESC_F_INDIRECT

static int setup(void **state)
{
	return vq_rig_setup(state, SIZE, true);
}

/* Descriptor i of the first round, made available. */
static void desc(struct vq_rig *f, unsigned i, uint64_t addr, uint32_t len, uint16_t flags)
{
	const struct virtq_packed_desc d = { addr, len, (uint16_t)(100 + i),
					     flags | VIRTQ_DESC_F_AVAIL };

	assert_int_equal(mem_write(&f->mem, RING + i * sizeof(d), &d, sizeof(d)), 0);
}

static void table(struct vq_rig *f, unsigned i, uint64_t addr, uint32_t len, uint16_t flags)
{
	vdrv_desc(&f->mem, TABLE, i, addr, len, 0, flags); /* id and flags, in this order */
}

static void test_init_checks(void **state)
{
	struct vq_rig *f = *state;
	const struct virtq_params good = vq_rig_params(f, true);
	struct virtq_params p;
	struct virtq vq;

	const uint16_t sizes[] = { 1, 3, 1023, VIRTQ_MAX_SIZE, 0, VIRTQ_MAX_SIZE + 1, 32768 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		p = good;
		p.size = sizes[i];
		assert_int_equal(virtq_init(&vq, &f->mem, &p), i < 4 ? 0 : -EINVAL);
	}
	/* Alignment, of each area its own. */
	p = good;
	p.desc += 8;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p = good;
	p.avail += 2;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p = good;
	p.used += 2;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	/* In RAM to the byte. */
	p = good;
	p.desc = RAM - 16 * SIZE;
	p.avail = RAM - 4;
	p.used = RAM - 4;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), 0);
	p.desc += 16;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p = good;
	p.avail = RAM;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p = good;
	p.used = ~3ull;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	/* Places that the ring does not have. */
	p = good;
	p.next_avail = p.next_used = SIZE - 1;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), 0);
	p.next_avail = SIZE;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p.next_avail = 0;
	p.next_used = VIRTQ_WRAP | SIZE;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
}

/* All four states of the two flags: one of them is an offer, another one a round later. */
static void test_availability(void **state)
{
	struct vq_rig *f = *state;
	const uint16_t both = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;

	const struct {
		uint16_t flags;
		bool first, second;
	} cases[] = {
		{ 0, false, false },
		{ VIRTQ_DESC_F_AVAIL, true, false },
		{ VIRTQ_DESC_F_USED, false, true },
		{ both, false, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct virtq_params p = vq_rig_params(f, false);
		uint16_t *flags = vq_rig_at(f, RING + 14);

		desc(f, 0, DATA, 16, 0);
		*flags = cases[i].flags;
		assert_int_equal(virtq_init(&f->vq, &f->mem, &p), 0);
		assert_int_equal(virtq_pending(&f->vq), cases[i].first);
		assert_int_equal(virtq_pop(&f->vq, &f->buf), cases[i].first);
		p.next_avail = p.next_used = 0;
		assert_int_equal(virtq_init(&f->vq, &f->mem, &p), 0);
		assert_int_equal(virtq_pop(&f->vq, &f->buf), cases[i].second);
	}
}

static void test_chain(void **state)
{
	struct vq_rig *f = *state;

	/* The last one's id is the buffer's. */
	desc(f, 0, DATA, 16, NEXT);
	desc(f, 1, DATA + 0x100, 8, NEXT);
	desc(f, 2, DATA + 0x1000, 512, NEXT | WRITE);
	desc(f, 3, DATA + 0x2000, 1, WRITE);
	assert_int_equal(virtq_pending(&f->vq), 1);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.head, 103);
	assert_int_equal(f->buf.nr_out, 2);
	assert_int_equal(f->buf.out_len, 24);
	assert_int_equal(f->buf.nr_in, 2);
	assert_int_equal(f->buf.in_len, 513);
	assert_ptr_equal(f->buf.out[1].iov_base, vq_rig_at(f, DATA + 0x100));
	assert_ptr_equal(f->buf.in[0].iov_base, vq_rig_at(f, DATA + 0x1000));
	assert_int_equal(f->vq.next_avail, VIRTQ_WRAP | 4);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 0);
	assert_int_equal(f->vq.in_flight, 1);
}

/* What came first comes back in the first place, whoever it is; the rest of it is skipped. */
static void test_used(void **state)
{
	struct vq_rig *f = *state;
	const struct virtq_packed_desc *ring = vq_rig_at(f, RING);
	const uint16_t used = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
	struct virtq_buf other = f->buf;
	struct iovec iov[SIZE];

	other.iov = iov;
	desc(f, 0, DATA, 16, NEXT);
	desc(f, 1, DATA, 16, 0);
	desc(f, 2, DATA, 16, WRITE);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(virtq_pop(&f->vq, &other), 1);
	virtq_push(&f->vq, &other, 7);
	assert_int_equal(f->vq.next_used, VIRTQ_WRAP | 1);
	virtq_push(&f->vq, &f->buf, 0);
	assert_int_equal(f->vq.next_used, VIRTQ_WRAP | 3);
	/* Held back by the first one's flags, until published. */
	assert_int_equal(ring[0].flags & used, VIRTQ_DESC_F_AVAIL);
	assert_int_equal(ring[1].flags & used, used);
	assert_true(virtq_publish(&f->vq));
	assert_false(virtq_publish(&f->vq));
	assert_int_equal(ring[0].flags, used | WRITE);
	assert_int_equal(ring[0].id, 102);
	assert_int_equal(ring[0].len, 7);
	assert_int_equal(ring[1].flags, used); /* nothing was written */
	assert_int_equal(ring[1].id, 101);
	assert_int_equal(ring[1].len, 0);
	assert_int_equal(ring[2].flags & used, VIRTQ_DESC_F_AVAIL);
	assert_int_equal(f->vq.in_flight, 0);
	assert_int_equal(f->vq.next_avail, f->vq.next_used);
}

static void test_chains_end(void **state)
{
	struct vq_rig *f = *state;

	for (unsigned i = 0; i < SIZE; i++)
		desc(f, i, DATA, 16, NEXT);
	assert_int_equal(virtq_pending(&f->vq), 1); /* who asks first must come to see it */
	vq_rig_check_broken(f, "without an end");
	/* As long as the ring it may be. */
	for (unsigned i = 0; i < SIZE; i++)
		desc(f, i, DATA, 16, i + 1 < SIZE ? NEXT : 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.nr_out, SIZE);
	assert_int_equal(f->vq.next_avail, 0);
	vq_rig_queue(f, false);
	/* Into what is in flight it may not run. */
	desc(f, 0, DATA, 16, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	for (unsigned i = 1; i < SIZE; i++)
		desc(f, i, DATA, 16, NEXT);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), -EPROTO);
	assert_non_null(strstr(f->vq.broken, "without an end"));
	assert_int_equal(f->vq.in_flight, 1);
}

static void test_in_flight_bound(void **state)
{
	struct vq_rig *f = *state;
	uint16_t *flags = vq_rig_at(f, RING + 14);

	for (unsigned i = 0; i < SIZE; i++)
		desc(f, i, DATA, 16, 0);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(virtq_pending(&f->vq), 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 0);
	/* The first one again, although nothing came back. */
	*flags = VIRTQ_DESC_F_USED;
	assert_int_equal(virtq_pending(&f->vq), 1);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), -EPROTO);
	assert_non_null(strstr(f->vq.broken, "more buffers"));
	assert_int_equal(f->vq.in_flight, SIZE);
	virtq_push(&f->vq, &f->buf, 0);
	assert_int_equal(f->vq.in_flight, SIZE - 1);
}

static void test_indirect_rules(void **state)
{
	struct vq_rig *f = *state;
	struct virtq_params p = vq_rig_params(f, false);

	/* All of the table is the buffer: NEXT, INDIRECT and ids in it mean nothing (2.8.7). */
	table(f, 0, DATA, 16, INDIRECT);
	table(f, 1, DATA + 16, 4, 0);
	table(f, 2, DATA + 0x1000, 8, WRITE | NEXT);
	desc(f, 0, TABLE, 3 * 16, INDIRECT | WRITE);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.head, 100);
	assert_int_equal(f->buf.descs, 1);
	assert_int_equal(f->buf.out_len, 20);
	assert_int_equal(f->buf.in_len, 8);
	vq_rig_queue(f, false);
	/* In a chain, at its start or its end. */
	desc(f, 0, TABLE, 16, INDIRECT | NEXT);
	vq_rig_check_broken(f, "amid");
	desc(f, 0, DATA, 16, NEXT);
	desc(f, 1, TABLE, 16, INDIRECT);
	vq_rig_check_broken(f, "amid");
	desc(f, 0, TABLE, 0, INDIRECT);
	vq_rig_check_broken(f, "whole number");
	desc(f, 0, TABLE, 17, INDIRECT);
	vq_rig_check_broken(f, "whole number");
	desc(f, 0, RAM - 16, 32, INDIRECT);
	vq_rig_check_broken(f, "outside RAM");
	/* Longer than the ring, though all but one are empty. */
	for (unsigned i = 0; i <= SIZE; i++)
		table(f, i, DATA, !i, 0);
	desc(f, 0, TABLE, 16 * (SIZE + 1), INDIRECT);
	vq_rig_check_broken(f, "longer than the queue");
	desc(f, 0, TABLE, 0xfffffff0, INDIRECT);
	vq_rig_check_broken(f, "outside RAM");
	desc(f, 0, TABLE, 16 * SIZE, INDIRECT);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.out_len, 1);
	/* At any alignment. */
	vq_rig_queue(f, false);
	vdrv_desc(&f->mem, TABLE + 3, 0, DATA, 7, 0, 0);
	desc(f, 0, TABLE + 3, 16, INDIRECT);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.out_len, 7);
	/* Not negotiated. */
	p.indirect = false;
	assert_int_equal(virtq_init(&f->vq, &f->mem, &p), 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), -EPROTO);
	assert_non_null(strstr(f->vq.broken, "negotiated"));
}

static void test_bad_buffers(void **state)
{
	struct vq_rig *f = *state;

	for (unsigned i = 0; i < 4 * VQ_RIG_OUTSIDE; i++) {
		uint64_t addr = vq_rig_outside[i / 4].gpa;
		uint32_t len = vq_rig_outside[i / 4].len;
		uint16_t flags = i & 1 ? WRITE : 0;

		table(f, 0, addr, len, flags);
		if (i & 2)
			desc(f, 0, TABLE, 16, INDIRECT);
		else
			desc(f, 0, addr, len, flags);
		vq_rig_check_broken(f, "outside RAM");
	}
	desc(f, 0, DATA, 16, WRITE | NEXT);
	desc(f, 1, DATA, 16, 0);
	vq_rig_check_broken(f, "after a writable");
	/* Empty ones take their place, and no more. */
	desc(f, 0, 0xdead0000, 0, NEXT);
	desc(f, 1, DATA, 0, WRITE);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.nr_out + f->buf.nr_in, 0);
	assert_int_equal(f->buf.descs, 2);
}

static void complete_one(struct vq_rig *f)
{
	const struct vdrv_seg seg = { DATA, 16, false };
	uint32_t id, len;

	while (vdrv_used(&f->q, &id, &len, 0))
		;
	vdrv_add(&f->q, &seg, 1, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	virtq_push(&f->vq, &f->buf, 0);
	assert_false(vdrv_used(&f->q, &id, &len, 0));
}

static void test_suppression_by_flags(void **state)
{
	struct vq_rig *f = *state;
	const struct vdrv_seg seg = { DATA, 16, false };
	uint16_t old = f->q.avail_idx;

	complete_one(f);
	assert_true(virtq_publish(&f->vq));
	vdrv_set_event(&f->q, VIRTQ_EVENT_DISABLE, 0);
	complete_one(f);
	assert_false(virtq_publish(&f->vq));
	/* Flags that mean nothing here: told rather too often. */
	vdrv_set_event(&f->q, VIRTQ_EVENT_DESC, 0);
	complete_one(f);
	assert_true(virtq_publish(&f->vq));
	vdrv_set_event(&f->q, 3, 0);
	complete_one(f);
	assert_true(virtq_publish(&f->vq));

	vdrv_add(&f->q, &seg, 1, 0);
	assert_true(vdrv_wants_kick(&f->q, old));
	virtq_disable_kicks(&f->vq);
	assert_false(vdrv_wants_kick(&f->q, old));
	assert_true(virtq_enable_kicks(&f->vq)); /* it came while they were off */
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_false(virtq_enable_kicks(&f->vq));
	assert_true(vdrv_wants_kick(&f->q, old));
}

static void test_suppression_by_place(void **state)
{
	struct vq_rig *f = *state;
	uint16_t event, old;

	vq_rig_queue(f, true);
	vdrv_set_event(&f->q, VIRTQ_EVENT_DESC, VIRTQ_WRAP | 5);
	complete_one(f);
	assert_true(virtq_publish(&f->vq)); /* the first after a start always tells */
	/* Twice round: each place once, in its own round only. */
	for (unsigned i = 1; i < 4 * SIZE; i++) {
		complete_one(f);
		assert_int_equal(virtq_publish(&f->vq), i % (2 * SIZE) == 5);
	}
	/* A batch that passes it in the middle, and over the end of the ring. */
	event = vdrv_place_add(&f->q, f->vq.next_used, 2);
	vdrv_set_event(&f->q, VIRTQ_EVENT_DESC, event);
	for (unsigned i = 0; i < 4; i++)
		complete_one(f);
	assert_true(virtq_publish(&f->vq));
	/* A place that is none: told rather too often. */
	vdrv_set_event(&f->q, VIRTQ_EVENT_DESC, SIZE);
	complete_one(f);
	assert_true(virtq_publish(&f->vq));
	vdrv_set_event(&f->q, VIRTQ_EVENT_DISABLE, f->vq.next_used);
	complete_one(f);
	assert_false(virtq_publish(&f->vq));

	/* Kicks: for the first buffer behind where the device has stopped looking. */
	assert_false(virtq_enable_kicks(&f->vq));
	old = f->q.avail_idx;
	complete_one(f);
	assert_true(vdrv_wants_kick(&f->q, old));
	old = f->q.avail_idx;
	complete_one(f);
	assert_false(vdrv_wants_kick(&f->q, old));
	virtq_disable_kicks(&f->vq);
	for (unsigned i = 0; i < 3 * SIZE; i++) {
		old = f->q.avail_idx;
		complete_one(f);
		assert_false(vdrv_wants_kick(&f->q, old));
		(void)!virtq_publish(&f->vq);
	}
}

/* Goes on where another virtq stopped, in its round; the first publish notifies. */
static void test_continues(void **state)
{
	struct vq_rig *f = *state;
	const struct vdrv_seg segs[] = { { DATA, 16, false }, { DATA + 64, 4, true } };
	uint32_t id, len;

	vq_rig_queue(f, true);
	for (unsigned i = 0; i < 20; i++) {
		struct virtq_params p = vq_rig_params(f, true);

		p.next_avail = f->vq.next_avail;
		p.next_used = f->vq.next_used;
		assert_int_equal(virtq_init(&f->vq, &f->mem, &p), 0);
		vdrv_set_event(&f->q, VIRTQ_EVENT_DESC, vdrv_place_add(&f->q, p.next_used, 4));
		vdrv_add(&f->q, segs, 2, 0);
		assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
		assert_int_equal(virtq_pop(&f->vq, &f->buf), 0);
		virtq_push(&f->vq, &f->buf, 4);
		assert_true(virtq_publish(&f->vq));
		assert_true(vdrv_used(&f->q, &id, &len, 0));
		assert_int_equal(len, 4);
		assert_false(vdrv_used(&f->q, &id, &len, 0));
	}
}

static void test_dirty_tracking(void **state)
{
	struct vq_rig *f = *state;
	uint64_t page = DATA / PAGE_SIZE_4K, ring = RING / PAGE_SIZE_4K;
	const struct vdrv_seg segs[] = { { DATA, 16, false }, { DATA + 0x1800, 0x1000, true } };

	vdrv_add(&f->q, segs, 2, 0);
	assert_int_equal(mem_dirty_start(&f->mem), 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(mem_dirty_fetch(&f->mem, page / 64) >> page % 64 & 7, 6);
	assert_int_equal(mem_dirty_fetch(&f->mem, 0), 0);
	virtq_push(&f->vq, &f->buf, 0x1000);
	assert_int_equal(mem_dirty_fetch(&f->mem, page / 64) >> page % 64 & 7, 6);
	assert_int_equal(mem_dirty_fetch(&f->mem, 0), 1ull << ring);
	(void)!virtq_publish(&f->vq);
	assert_int_equal(mem_dirty_fetch(&f->mem, 0), 1ull << ring);
	virtq_disable_kicks(&f->vq);
	assert_int_equal(mem_dirty_fetch(&f->mem, 0), 1ull << f->q.used / PAGE_SIZE_4K);
	virtq_disable_kicks(&f->vq); /* it says so already */
	assert_int_equal(mem_dirty_fetch(&f->mem, 0), 0);
	(void)!virtq_enable_kicks(&f->vq);
	assert_int_equal(mem_dirty_fetch(&f->mem, 0), 1ull << f->q.used / PAGE_SIZE_4K);
}

/* After the pop the guest turns everything to rubbish, and the buffer is what it was. */
static void test_copy_is_used(void **state)
{
	struct vq_rig *f = *state;
	const struct vdrv_seg segs[] = { { DATA, 4, false }, { DATA + 0x1000, 512, true } };
	const struct virtq_packed_desc *ring = vq_rig_at(f, RING);

	vdrv_add(&f->q, segs, 2, TABLE);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	memset(vq_rig_at(f, RING), 0xff, 16 * SIZE);
	memset(vq_rig_at(f, TABLE), 0xff, 64);
	assert_ptr_equal(f->buf.in[0].iov_base, vq_rig_at(f, DATA + 0x1000));
	assert_int_equal(f->buf.in_len, 512);
	virtq_push(&f->vq, &f->buf, 512);
	assert_true(virtq_publish(&f->vq));
	assert_int_equal(ring[0].id, 0);
	assert_int_equal(f->vq.next_used, VIRTQ_WRAP | 1);
}

/* The first descriptors, now sound and now beyond RAM. */
static void flip(struct vq_rig *f)
{
	volatile struct virtq_packed_desc *d = vq_rig_at(f, RING);

	d[0].addr = DATA;
	d[0].len = 16;
	d[0].flags = VIRTQ_DESC_F_AVAIL;
	d[0].addr = ~0ull;
	d[0].len = 0xffffffff;
	d[0].flags = VIRTQ_DESC_F_AVAIL | NEXT;
	d[1].flags ^= NEXT | WRITE | INDIRECT;
}

static void test_racing_guest(void **state)
{
	struct vq_rig *f = *state;

	desc(f, 1, DATA + 0x1000, 64, 0);
	vq_rig_race(f, flip, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_init_checks, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_availability, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_chain, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_used, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_chains_end, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_in_flight_bound, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_indirect_rules, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_bad_buffers, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_suppression_by_flags, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_suppression_by_place, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_continues, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_dirty_tracking, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_copy_is_used, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_racing_guest, setup, vq_rig_teardown),
	};

	return cmocka_run_group_tests_name("virtq_packed", tests, NULL, NULL);
}
