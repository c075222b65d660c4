/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vq_rig.h"

#define SIZE 8

static int setup(void **state)
{
	return vq_rig_setup(state, SIZE, false);
}

static void desc(struct vq_rig *f, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	vdrv_desc(&f->mem, RING, i, addr, len, flags, next);
}

static void test_init_checks(void **state)
{
	struct vq_rig *f = *state;
	const struct virtq_params good = vq_rig_params(f, true);
	struct virtq_params p;
	struct virtq vq;

	const uint16_t bad_sizes[] = { 0, 3, 6, 2048, 65535 };

	for (unsigned i = 0; i < ARRAY_SIZE(bad_sizes); i++) {
		p = good;
		p.size = bad_sizes[i];
		assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	}
	p = good;
	p.desc += 8;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p = good;
	p.avail += 1;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p = good;
	p.used += 2;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	/* Each part must end within RAM, to the byte; and addresses may not wrap. */
	p = good;
	p.desc = RAM - 16 * SIZE;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), 0);
	p.desc += 16;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p.desc = ~15ull;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p = good;
	p.avail = RAM - (6 + 2 * SIZE);
	assert_int_equal(virtq_init(&vq, &f->mem, &p), 0);
	p.avail += 2;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
	p.event_idx = false; /* its last two bytes are not looked at */
	assert_int_equal(virtq_init(&vq, &f->mem, &p), 0);
	p = good;
	p.used = RAM - (8 + 8 * SIZE);
	assert_int_equal(virtq_init(&vq, &f->mem, &p), 0);
	p.used += 4;
	assert_int_equal(virtq_init(&vq, &f->mem, &p), -EINVAL);
}

static void test_chain(void **state)
{
	struct vq_rig *f = *state;

	const struct vdrv_seg segs[] = {
		{ DATA, 16, false },
		{ DATA + 100, 1, false },
		{ DATA + 0x1000, 4096, true },
		{ DATA + 0x5000, 1, true },
	};

	assert_int_equal(virtq_pop(&f->vq, &f->buf), 0);
	for (unsigned indirect = 0; indirect < 2; indirect++) {
		uint16_t head = vdrv_add(&f->q, segs, 4, indirect ? TABLE : 0);

		assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
		assert_int_equal(f->buf.head, head);
		assert_int_equal(f->buf.nr_out, 2);
		assert_int_equal(f->buf.nr_in, 2);
		assert_int_equal(f->buf.out_len, 17);
		assert_int_equal(f->buf.in_len, 4097);
		assert_ptr_equal(f->buf.out[1].iov_base, vq_rig_at(f, DATA + 100));
		assert_ptr_equal(f->buf.in[0].iov_base, vq_rig_at(f, DATA + 0x1000));
		assert_int_equal(f->buf.in[0].iov_len, 4096);
		assert_int_equal(f->vq.in_flight, 1);
		virtq_push(&f->vq, &f->buf, 4097);
		assert_int_equal(f->vq.in_flight, 0);
		assert_int_equal(virtq_pop(&f->vq, &f->buf), 0);
	}
}

static void test_bad_indices(void **state)
{
	struct vq_rig *f = *state;

	desc(f, 0, DATA, 16, 0, 0);
	vdrv_offer(&f->q, SIZE); /* the first that does not exist */
	vq_rig_check_broken(f, "head");
	vdrv_offer(&f->q, 0xffff);
	vq_rig_check_broken(f, "head");
	desc(f, 0, DATA, 16, VIRTQ_DESC_F_NEXT, SIZE);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "beyond the table");
	vdrv_desc(&f->mem, TABLE, 0, DATA, 16, VIRTQ_DESC_F_NEXT, 2);
	desc(f, 0, TABLE, 32, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "beyond the table");
}

static void test_avail_idx_jumps(void **state)
{
	struct vq_rig *f = *state;

	desc(f, 0, DATA, 16, 0, 0);
	f->q.avail_idx = SIZE; /* then vdrv_offer: one more than fits */
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "run away");
	f->q.avail_idx = 0xfffe; /* backwards */
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "run away");
	/* Exactly size is fine. */
	desc(f, 0, DATA, 16, 0, 0);
	f->q.avail_idx = SIZE - 1;
	vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
}

static void test_loops_end(void **state)
{
	struct vq_rig *f = *state;

	/* To itself; around the table; and through empty descriptors, which fill no iovec. */
	desc(f, 0, DATA, 16, VIRTQ_DESC_F_NEXT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "without an end");
	for (unsigned i = 0; i < SIZE; i++)
		desc(f, i, DATA, 16, VIRTQ_DESC_F_NEXT, (uint16_t)((i + 1) % SIZE));
	vdrv_offer(&f->q, 3);
	vq_rig_check_broken(f, "without an end");
	desc(f, 0, DATA, 0, VIRTQ_DESC_F_NEXT, 1);
	desc(f, 1, DATA, 0, VIRTQ_DESC_F_NEXT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "without an end");
	/* An indirect table may have more entries than the queue, a chain may not. */
	for (unsigned i = 0; i < 2 * SIZE; i++)
		vdrv_desc(&f->mem, TABLE, i, DATA + i, 1, VIRTQ_DESC_F_NEXT, (uint16_t)(i + 1));
	desc(f, 0, TABLE, 16 * 2 * SIZE, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "without an end");
	vdrv_desc(&f->mem, TABLE, SIZE - 1, DATA, 1, 0, 0);
	desc(f, 0, TABLE, 16 * 2 * SIZE, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.nr_out, SIZE);
}

static void test_indirect_rules(void **state)
{
	struct vq_rig *f = *state;
	struct virtq_params p = vq_rig_params(f, false);

	/* In a table. */
	vdrv_desc(&f->mem, TABLE, 0, TABLE, 16, VIRTQ_DESC_F_INDIRECT, 0);
	desc(f, 0, TABLE, 16, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "in an indirect table");
	/* The queue's own table as its indirect table, which leads to itself again. */
	desc(f, 0, RING, 16 * SIZE, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "in an indirect table");
	/* With NEXT. */
	vdrv_desc(&f->mem, TABLE, 0, DATA, 16, 0, 0);
	desc(f, 0, TABLE, 16, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT, 1);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "amid");
	/* Odd sizes. */
	desc(f, 0, TABLE, 0, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "whole number");
	desc(f, 0, TABLE, 17, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "whole number");
	/* Not RAM, from start to end. */
	desc(f, 0, RAM - 16, 32, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "outside RAM");
	/* After direct descriptors, and its WRITE flag is to be ignored (2.7.5.3.2). */
	vdrv_desc(&f->mem, TABLE, 0, DATA, 16, 0, 0);
	desc(f, 0, DATA, 4, VIRTQ_DESC_F_NEXT, 1);
	desc(f, 1, TABLE, 16, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE, 0);
	vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.nr_out, 2);
	assert_int_equal(f->buf.out_len, 20);
	/* At any alignment. */
	vdrv_desc(&f->mem, TABLE + 3, 0, DATA, 7, 0, 0);
	desc(f, 0, TABLE + 3, 16, VIRTQ_DESC_F_INDIRECT, 0);
	vdrv_offer(&f->q, 0);
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

	for (unsigned write = 0; write < 2; write++) {
		for (unsigned i = 0; i < VQ_RIG_OUTSIDE; i++) {
			desc(f, 0, vq_rig_outside[i].gpa, vq_rig_outside[i].len,
			     write ? VIRTQ_DESC_F_WRITE : 0, 0);
			vdrv_offer(&f->q, 0);
			vq_rig_check_broken(f, "outside RAM");
		}
	}
	/* Readable after writable: 2.7.4.2. */
	desc(f, 0, DATA, 16, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 1);
	desc(f, 1, DATA, 16, 0, 0);
	vdrv_offer(&f->q, 0);
	vq_rig_check_broken(f, "after a writable");
}

/* Empty descriptors are skipped, wherever they point, and count as steps only. */
static void test_zero_length(void **state)
{
	struct vq_rig *f = *state;

	desc(f, 0, 0xdead0000, 0, VIRTQ_DESC_F_NEXT, 1);
	desc(f, 1, DATA, 8, VIRTQ_DESC_F_NEXT, 2);
	desc(f, 2, DATA, 0, VIRTQ_DESC_F_WRITE, 0);
	vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.nr_out, 1);
	assert_int_equal(f->buf.nr_in, 0);
	assert_null(virtq_buf_chop(&f->buf));
	desc(f, 0, DATA, 0, 0, 0);
	vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(f->buf.nr_out + f->buf.nr_in, 0);
}

static void test_in_flight_bound(void **state)
{
	struct vq_rig *f = *state;

	desc(f, 0, DATA, 16, 0, 0);
	for (unsigned i = 0; i < SIZE; i++) {
		vdrv_offer(&f->q, 0);
		assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	}
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 0);
	vdrv_offer(&f->q, 0); /* although nothing came back */
	assert_int_equal(virtq_pop(&f->vq, &f->buf), -EPROTO);
	assert_non_null(strstr(f->vq.broken, "more buffers"));
	/* What is in flight may still come back. */
	assert_int_equal(f->vq.in_flight, SIZE);
	virtq_push(&f->vq, &f->buf, 0);
	assert_int_equal(f->vq.in_flight, SIZE - 1);
}

/* Three times around a 16-bit index: every element is right, none comes early. */
static void test_used_ring_wraps(void **state)
{
	struct vq_rig *f = *state;
	uint32_t id, len;

	for (unsigned i = 0; i < SIZE; i++)
		desc(f, i, DATA, 16, VIRTQ_DESC_F_WRITE, 0);
	for (unsigned i = 0; i < 3 * 65536 / 2; i++) {
		uint16_t a = (uint16_t)(i % SIZE), b = (uint16_t)((i * 5 + 3) % SIZE);
		struct virtq_buf other = f->buf;
		struct iovec iov[SIZE];

		other.iov = iov;
		vdrv_offer(&f->q, a);
		vdrv_offer(&f->q, b);
		assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
		assert_int_equal(virtq_pop(&f->vq, &other), 1);
		virtq_push(&f->vq, &other, 5); /* out of order */
		virtq_push(&f->vq, &f->buf, i % 17);
		assert_false(vdrv_used(&f->q, &id, &len, 0)); /* not published */
		assert_true(virtq_publish(&f->vq));
		assert_false(virtq_publish(&f->vq)); /* nothing new */
		assert_true(vdrv_used(&f->q, &id, &len, 0));
		assert_int_equal(id, b);
		assert_int_equal(len, 5);
		assert_true(vdrv_used(&f->q, &id, &len, 0));
		assert_int_equal(id, a);
		assert_int_equal(len, i % 17);
		assert_false(vdrv_used(&f->q, &id, &len, 0));
	}
	assert_int_equal(f->vq.in_flight, 0);
}

static void complete_one(struct vq_rig *f)
{
	vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	virtq_push(&f->vq, &f->buf, 0);
}

static void test_pending(void **state)
{
	struct vq_rig *f = *state;

	assert_int_equal(virtq_pending(&f->vq), 0);
	for (unsigned i = 0; i < 3; i++)
		vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pending(&f->vq), 3);
	vdrv_desc(&f->mem, RING, 0, DATA, 16, 0, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(virtq_pending(&f->vq), 2);
	/* A guest may say anything. */
	f->q.avail_idx += 0x7000;
	vdrv_offer(&f->q, 0);
	assert_int_equal(virtq_pending(&f->vq), SIZE);
}

static void test_suppression_by_flags(void **state)
{
	struct vq_rig *f = *state;
	uint16_t *avail_flags = vq_rig_at(f, f->q.avail);

	desc(f, 0, DATA, 16, 0, 0);
	complete_one(f);
	assert_true(virtq_publish(&f->vq));
	*avail_flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
	complete_one(f);
	assert_false(virtq_publish(&f->vq));
	*avail_flags = 0;
	complete_one(f);
	assert_true(virtq_publish(&f->vq));

	assert_true(vdrv_wants_kick(&f->q, 0));
	virtq_disable_kicks(&f->vq);
	assert_false(vdrv_wants_kick(&f->q, 0));
	assert_false(virtq_enable_kicks(&f->vq));
	assert_true(vdrv_wants_kick(&f->q, 0));
	/* Offered while kicks were off: enabling says so. */
	virtq_disable_kicks(&f->vq);
	vdrv_offer(&f->q, 0);
	assert_true(virtq_enable_kicks(&f->vq));
}

static void test_suppression_by_event_idx(void **state)
{
	struct vq_rig *f = *state;
	uint16_t *used_event;
	uint16_t old;

	vq_rig_queue(f, true);
	used_event = vq_rig_at(f, f->q.avail + 4 + 2 * SIZE);
	desc(f, 0, DATA, 16, 0, 0);
	/* Flags mean nothing now. */
	*(uint16_t *)vq_rig_at(f, f->q.avail) = VIRTQ_AVAIL_F_NO_INTERRUPT;
	*used_event = 100;
	complete_one(f);
	assert_true(virtq_publish(&f->vq)); /* the first after a start always tells */
	complete_one(f);
	assert_false(virtq_publish(&f->vq));
	*used_event = 3;
	complete_one(f); /* used idx 3 */
	assert_false(virtq_publish(&f->vq));
	complete_one(f); /* passes 3 */
	assert_true(virtq_publish(&f->vq));
	complete_one(f);
	assert_false(virtq_publish(&f->vq));
	/* A batch that passes it in the middle. */
	*used_event = 6;
	for (unsigned i = 0; i < 4; i++)
		complete_one(f);
	assert_true(virtq_publish(&f->vq));

	/* Kicks: wanted for what comes after avail_event, at the idx it was enabled for. */
	assert_false(virtq_enable_kicks(&f->vq));
	old = f->q.avail_idx;
	vdrv_offer(&f->q, 0);
	assert_true(vdrv_wants_kick(&f->q, old));
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	virtq_disable_kicks(&f->vq);
	old = f->q.avail_idx;
	vdrv_offer(&f->q, 0);
	assert_false(vdrv_wants_kick(&f->q, old));
	assert_true(virtq_enable_kicks(&f->vq));
}

/* Goes on where another virtq stopped; the first publish notifies whatever the event. */
static void test_continues(void **state)
{
	struct vq_rig *f = *state;
	struct virtq_params p = vq_rig_params(f, true);
	uint32_t id, len;

	vq_rig_queue(f, true);
	desc(f, 0, DATA, 16, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		complete_one(f);
		(void)!virtq_publish(&f->vq);
		assert_true(vdrv_used(&f->q, &id, &len, 0));
	}
	*(uint16_t *)vq_rig_at(f, f->q.avail + 4 + 2 * SIZE) = 1; /* long passed */
	vdrv_offer(&f->q, 0);
	p.next_avail = f->vq.next_avail;
	p.next_used = f->vq.next_used;
	assert_int_equal(virtq_init(&f->vq, &f->mem, &p), 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 0);
	virtq_push(&f->vq, &f->buf, 0);
	assert_true(virtq_publish(&f->vq));
	assert_true(vdrv_used(&f->q, &id, &len, 0));
	assert_false(vdrv_used(&f->q, &id, &len, 0));
}

static void test_buf_helpers(void **state)
{
	struct vq_rig *f = *state;
	char *data = vq_rig_at(f, DATA);
	char hdr[16], *status;

	const struct vdrv_seg segs[] = {
		{ DATA, 3, false },         { DATA + 3, 10, false },    { DATA + 13, 5, false },
		{ DATA + 0x1000, 4, true }, { DATA + 0x2000, 1, true },
	};

	for (unsigned i = 0; i < 18; i++)
		data[i] = (char)('a' + i);
	vdrv_add(&f->q, segs, 5, 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_false(virtq_buf_pull(&f->buf, hdr, 19));
	assert_int_equal(f->buf.out_len, 18);
	assert_true(virtq_buf_pull(&f->buf, hdr, 16));
	assert_memory_equal(hdr, "abcdefghijklmnop", 16);
	assert_int_equal(f->buf.out_len, 2);
	assert_int_equal(f->buf.nr_out, 1);
	assert_ptr_equal(f->buf.out[0].iov_base, data + 16);
	status = (char *)virtq_buf_chop(&f->buf);
	assert_ptr_equal(status, vq_rig_at(f, DATA + 0x2000));
	assert_int_equal(f->buf.nr_in, 1);
	assert_int_equal(f->buf.in_len, 4);
	assert_int_equal(virtq_buf_fill(&f->buf, "12345", 5), 4);
	assert_memory_equal(vq_rig_at(f, DATA + 0x1000), "1234", 4);
	status = (char *)virtq_buf_chop(&f->buf);
	assert_ptr_equal(status, vq_rig_at(f, DATA + 0x1003));
	assert_int_equal(f->buf.nr_in, 1);
	assert_int_equal(f->buf.in_len, 3);
}

/* Everything that a chain changes is marked dirty when it changes, not only before. */
static void test_dirty_tracking(void **state)
{
	struct vq_rig *f = *state;
	uint64_t page = DATA / PAGE_SIZE_4K;

	const struct vdrv_seg segs[] = {
		{ DATA, 16, false },
		{ DATA + 0x1800, 0x1000, true }, /* two pages */
		{ DATA + 0x4000, 0x1000, true },
	};

	vdrv_add(&f->q, segs, 3, 0);
	assert_int_equal(mem_dirty_start(&f->mem), 0);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_int_equal(mem_dirty_fetch(&f->mem, page / 64) >> page % 64 & 0x3f, 0x16);
	(void)mem_dirty_fetch(&f->mem, 0);
	virtq_push(&f->vq, &f->buf, 0x1000); /* all of the first, nothing of the second */
	(void)!virtq_publish(&f->vq);
	assert_int_equal(mem_dirty_fetch(&f->mem, page / 64) >> page % 64 & 0x3f, 0x06);
	assert_int_equal(mem_dirty_fetch(&f->mem, 0), 1ull << f->q.used / PAGE_SIZE_4K);
}

/*
 * Time of check, time of use. First in slow motion: after the pop the guest turns
 * everything to rubbish, and the buffer is what it was.
 */
static void test_copy_is_used(void **state)
{
	struct vq_rig *f = *state;
	char hdr[4];

	const struct vdrv_seg segs[] = { { DATA, 4, false }, { DATA + 0x1000, 512, true } };

	memcpy(vq_rig_at(f, DATA), "good", 4);
	vdrv_add(&f->q, segs, 2, TABLE);
	assert_int_equal(virtq_pop(&f->vq, &f->buf), 1);
	assert_true(virtq_buf_pull(&f->buf, hdr, 4));
	memset(vq_rig_at(f, RING), 0xff, 16 * SIZE);
	memset(vq_rig_at(f, TABLE), 0xff, 64);
	memcpy(vq_rig_at(f, DATA), "evil", 4);
	assert_memory_equal(hdr, "good", 4);
	assert_int_equal(f->buf.in_len, 512);
	assert_ptr_equal(f->buf.in[0].iov_base, vq_rig_at(f, DATA + 0x1000));
	virtq_push(&f->vq, &f->buf, 512);
	assert_true(virtq_publish(&f->vq));
}

/* One descriptor, now sound and now beyond RAM. */
static void flip(struct vq_rig *f)
{
	volatile uint64_t *addr = vq_rig_at(f, RING);
	volatile uint64_t *rest = addr + 1;

	*addr = DATA;
	*rest = 16;
	*addr = ~0ull;
	*rest = 0xffffffff;
}

static void offer_it(struct vq_rig *f)
{
	f->q.avail_idx = 0;
	vdrv_offer(&f->q, 0);
}

/* And at full speed. */
static void test_racing_guest(void **state)
{
	vq_rig_race(*state, flip, offer_it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_init_checks, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_chain, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_bad_indices, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_avail_idx_jumps, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_loops_end, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_indirect_rules, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_bad_buffers, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_zero_length, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_in_flight_bound, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_used_ring_wraps, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_pending, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_suppression_by_flags, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_suppression_by_event_idx, setup,
						vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_continues, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_buf_helpers, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_dirty_tracking, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_copy_is_used, setup, vq_rig_teardown),
		cmocka_unit_test_setup_teardown(test_racing_guest, setup, vq_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
