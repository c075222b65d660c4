/* SPDX-License-Identifier: MIT */
/* Buffers that a device takes and gives back unused, on both kinds of ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "devices/virtio/virtq.h"
#include "tests/unit/virtio_driver.h"

#define SIZE 8
#define RING 0x10000ull
#define TABLE 0x20000ull
#define DATA 0x40000ull
#define RAM (2 * MIB)

struct fixture {
	struct mem mem;
	struct vdrv d; /* only its mem: there is no device here */
	struct vdrv_queue q;
	struct virtq vq;
	struct iovec iov[SIZE][SIZE];
	struct virtq_buf buf[SIZE];
};

static void queue_init(struct fixture *f, bool packed)
{
	struct virtq_params p = { .size = SIZE, .packed = packed, .indirect = true };

	vdrv_queue_init(&f->d, &f->q, SIZE, RING, packed, false);
	p.desc = f->q.desc;
	p.avail = f->q.avail;
	p.used = f->q.used;
	p.next_avail = p.next_used = virtq_start_position(packed);
	assert_int_equal(virtq_init(&f->vq, &f->mem, &p), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(mem_init(&f->mem, RAM), 0);
	f->d.mem = &f->mem;
	for (unsigned i = 0; i < SIZE; i++)
		f->buf[i] = (struct virtq_buf){ .iov = f->iov[i], .max_iov = SIZE };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mem_destroy(&f->mem);
	free(f);
	return 0;
}

/* A buffer of n descriptors, told from others by its length. */
static void add(struct fixture *f, unsigned n, uint32_t len, bool indirect)
{
	struct vdrv_seg segs[3];

	for (unsigned i = 0; i < n; i++)
		segs[i] = (struct vdrv_seg){ DATA + i * 0x1000, len, true };
	vdrv_add(&f->q, segs, n, indirect ? TABLE + len * 64 : 0);
}

static void pop(struct fixture *f, unsigned i, unsigned n, uint32_t len)
{
	assert_int_equal(virtq_pop(&f->vq, &f->buf[i]), 1);
	assert_int_equal(f->buf[i].nr_in, n);
	assert_int_equal(f->buf[i].in_len, n * len);
}

static void check_none(struct fixture *f)
{
	struct virtq_buf none = { .iov = f->iov[SIZE - 1], .max_iov = SIZE };

	assert_int_equal(virtq_pop(&f->vq, &none), 0);
}

/*
 * Round after round, three buffers are taken, the first is used, the others go back and are taken
 * again: all comes to the driver once, in its order, over every place of the ring.
 */
static void rounds(struct fixture *f, bool packed)
{
	uint32_t id, len;

	queue_init(f, packed);
	for (uint32_t round = 1; round <= 100; round++) {
		uint16_t before;

		add(f, 3, round, false);
		add(f, 2, round + 200, false);
		add(f, 2, round + 400, true);
		pop(f, 0, 3, round);
		before = f->vq.next_avail;
		for (unsigned again = 0; again < 3; again++) {
			pop(f, 1, 2, round + 200);
			pop(f, 2, 2, round + 400);
			check_none(f);
			assert_int_equal(f->vq.in_flight, again ? 2 : 3);
			if (!again) {
				virtq_push(&f->vq, &f->buf[0], round);
				(void)!virtq_publish(&f->vq);
				assert_true(vdrv_used(&f->q, &id, &len, 0));
				assert_int_equal(len, round);
			}
			if (again == 2)
				break;
			virtq_unpop(&f->vq, &f->buf[2]);
			assert_int_equal(virtq_pending(&f->vq), 1);
			virtq_unpop(&f->vq, &f->buf[1]);
			assert_int_equal(virtq_pending(&f->vq), 2);
			assert_int_equal(f->vq.in_flight, 0);
			assert_int_equal(f->vq.next_avail, before);
			assert_int_equal(f->vq.next_avail, f->vq.next_used);
		}
		virtq_push(&f->vq, &f->buf[1], 1);
		virtq_push(&f->vq, &f->buf[2], 2);
		(void)!virtq_publish(&f->vq);
		for (unsigned i = 1; i <= 2; i++) {
			assert_true(vdrv_used(&f->q, &id, &len, 0));
			assert_int_equal(len, i);
		}
		assert_false(vdrv_used(&f->q, &id, &len, 0));
	}
}

static void test_split(void **state)
{
	rounds(*state, false);
}

static void test_packed(void **state)
{
	rounds(*state, true);
}

/* All of a full ring, and of a broken queue. */
static void whole_ring(struct fixture *f, bool packed)
{
	queue_init(f, packed);
	for (unsigned i = 0; i < SIZE; i++)
		add(f, 1, i + 1, false);
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < SIZE; i++)
			pop(f, i, 1, i + 1);
		if (k)
			virtq_break(&f->vq, "a reason");
		for (unsigned i = SIZE; i-- > 0;)
			virtq_unpop(&f->vq, &f->buf[i]);
		assert_int_equal(f->vq.in_flight, 0);
		assert_int_equal(f->vq.next_avail, virtq_start_position(packed));
	}
}

static void test_whole_ring(void **state)
{
	whole_ring(*state, false);
	whole_ring(*state, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_split, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whole_ring, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
