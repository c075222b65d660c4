/* SPDX-License-Identifier: MIT */
/* on-error=stop: what the host fails is held until somebody resumes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include <errno.h>

#include "backends/block/policy.h"
#include "tests/unit/block_rig.h"

#define DISK_SIZE MIB
#define NR 8

struct fixture {
	struct fake_disk disk;
	struct block *b;
	struct rig rig;
	atomic_uint stops;
	struct rig_call calls[NR];
};

static void stopped(void *ctx)
{
	((struct fixture *)ctx)->stops++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct policy_config cfg = { &f->disk.b, stopped, f };

	fake_disk_init(&f->disk, DISK_SIZE);
	assert_int_equal(policy_create(&cfg, &f->b), 0);
	rig_open(&f->rig, f->b, NR);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rig_close(&f->rig);
	block_destroy(f->b);
	assert_true(f->disk.destroyed);
	free(f);
	return 0;
}

static void fail_with(struct fixture *f, int result, uint64_t from)
{
	f->disk.fail_from = from;
	f->disk.result = result;
}

static void submit(struct fixture *f)
{
	for (unsigned i = 0; i < NR; i++)
		f->calls[i] = rig_call(i == NR - 1 ? BLOCK_FLUSH : BLOCK_WRITE, i * 4096, NULL,
				       i == NR - 1 ? 0 : 4096);
	rig_submit(&f->rig, f->calls, NR);
}

static void test_success(void **state)
{
	struct fixture *f = *state;
	struct policy_failure failure;

	submit(f);
	for (unsigned i = 0; i < NR; i++)
		assert_int_equal(rig_wait(&f->calls[i]), 0);
	assert_false(policy_stopped(f->b, &failure));
	assert_int_equal(f->stops, 0);
	assert_int_equal(f->disk.kicks, 1);
	/* With nothing held there is nobody to call: the submitter may not be ready for it. */
	policy_resume(f->b);
	submit(f);
	assert_int_equal(rig_wait(&f->calls[0]), 0);
	assert_int_equal(f->rig.batch_ends, 0);
}

static void test_hold(void **state)
{
	struct fixture *f = *state;
	struct policy_failure failure;
	struct rig_call late = rig_call(BLOCK_READ, 0, NULL, 512);

	fail_with(f, -ENOSPC, 2 * 4096);
	submit(f);
	assert_int_equal(rig_wait(&f->calls[0]), 0);
	assert_int_equal(rig_wait(&f->calls[1]), 0);
	assert_int_equal(f->stops, 1);
	/* The first that failed is told of; those behind it did not get as far. */
	assert_true(policy_stopped(f->b, &failure));
	assert_int_equal(failure.op, BLOCK_WRITE);
	assert_int_equal(failure.offset, 2 * 4096);
	assert_int_equal(failure.len, 4096);
	assert_int_equal(failure.error, -ENOSPC);
	assert_int_equal(f->disk.requests, 3);
	rig_submit(&f->rig, &late, 1);
	assert_int_equal(f->disk.requests, 3);
	for (unsigned i = 2; i < NR; i++)
		assert_false(rig_is_done(&f->calls[i]));
	assert_false(rig_is_done(&late));

	fail_with(f, 0, 0);
	policy_resume(f->b);
	for (unsigned i = 2; i < NR; i++)
		assert_int_equal(rig_wait(&f->calls[i]), 0);
	assert_int_equal(rig_wait(&late), 0);
	for (unsigned i = 0; i < NR; i++)
		assert_int_equal(f->calls[i].order, i + 1);
	assert_false(policy_stopped(f->b, &failure));
	assert_int_equal(f->stops, 1);
}

/* Resumed too soon, and from inside of the requests' own submission. */
static void test_again(void **state)
{
	struct fixture *f = *state;
	struct policy_failure failure;

	fail_with(f, -EIO, 0);
	submit(f);
	for (unsigned stops = 1; stops < 5; stops++) {
		assert_int_equal(f->stops, stops);
		fail_with(f, -ENOSPC, stops * 4096);
		policy_resume(f->b);
		assert_int_equal(rig_wait(&f->calls[stops - 1]), 0);
		loop_sync(&f->rig.io.loop);
		while (!policy_stopped(f->b, &failure) || f->stops == stops)
			;
		assert_int_equal(failure.offset, stops * 4096);
		assert_int_equal(failure.error, -ENOSPC);
		assert_false(rig_is_done(&f->calls[stops]));
	}
	fail_with(f, 0, 0);
	policy_resume(f->b);
	for (unsigned i = 0; i < NR; i++) {
		assert_int_equal(rig_wait(&f->calls[i]), 0);
		assert_int_equal(f->calls[i].order, i + 1);
	}
}

static void test_give_up(void **state)
{
	struct fixture *f = *state;
	struct policy_failure failure;

	fail_with(f, -EIO, 0);
	submit(f);
	policy_give_up(f->b);
	for (unsigned i = 0; i < NR; i++)
		assert_int_equal(rig_wait(&f->calls[i]), -EIO);
	assert_false(policy_stopped(f->b, &failure));
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 0, NULL, 512), -EIO);
	assert_int_equal(f->stops, 1);
	/* And it stops again once it was resumed. */
	policy_resume(f->b);
	submit(f);
	assert_int_equal(f->stops, 2);
	fail_with(f, 0, 0);
	policy_resume(f->b);
	assert_int_equal(rig_wait(&f->calls[NR - 1]), 0);
}

/* The guest's own mistakes are its own. */
static void test_guests_own(void **state)
{
	static const int own[] = { -ERANGE, -EROFS, -EOPNOTSUPP };
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(own); i++) {
		fail_with(f, own[i], 0);
		assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 0, NULL, 512), own[i]);
	}
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, DISK_SIZE, NULL, 512), -ERANGE);
	assert_int_equal(f->stops, 0);
}

/* A disk that became smaller while it was stopped. */
static void test_resized(void **state)
{
	struct fixture *f = *state;
	struct err err;

	fail_with(f, -EIO, 0);
	submit(f);
	fail_with(f, 0, 0);
	assert_int_equal(block_resize(f->b, 4096 * 2, &err), 0);
	assert_int_equal(f->b->size, 4096 * 2);
	policy_resume(f->b);
	assert_int_equal(rig_wait(&f->calls[1]), 0);
	assert_int_equal(rig_wait(&f->calls[2]), -ERANGE);
	assert_int_equal(rig_wait(&f->calls[NR - 1]), 0);
}

/* Two queues: what one has stopped the other waits for as well. */
static void test_two_queues(void **state)
{
	struct fixture *f = *state;
	struct rig_call call = rig_call(BLOCK_READ, 0, NULL, 512);
	struct rig other;

	rig_open(&other, f->b, NR);
	fail_with(f, -EIO, 4096);
	submit(f);
	rig_submit(&other, &call, 1);
	assert_false(rig_is_done(&call));
	fail_with(f, 0, 0);
	policy_resume(f->b);
	assert_int_equal(rig_wait(&call), 0);
	assert_int_equal(rig_wait(&f->calls[NR - 1]), 0);
	rig_close(&other);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_success),    TEST(test_hold),       TEST(test_again),
		TEST(test_give_up),    TEST(test_guests_own), TEST(test_resized),
		TEST(test_two_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
