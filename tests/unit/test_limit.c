/* SPDX-License-Identifier: MIT */
/* Rate limits: on a clock that is moved by hand, and once on the host's with real threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "backends/block/limit.h"
#include "tests/unit/block_rig.h"
#include "tests/unit/fake.h"

#define DISK_SIZE (16 * MIB)
#define MS (NSEC_PER_SEC / 1000)
#define MAX_DEPTH 64

/* A front-end that keeps depth requests going, each a successor of the one that is done. */
struct stream {
	struct block_queue *q;
	enum block_op op;
	uint64_t len;
	struct item {
		struct block_req req;
		struct stream *stream;
		unsigned number;
	} items[MAX_DEPTH];
	unsigned submitted, done;
	unsigned batch_ends;
	bool stopped; /* no successors */
	bool disorder; /* done in another order than submitted */
};

struct fixture {
	struct fake_clock clock;
	struct fake_disk disk;
	struct block *b;
	struct stream s[4];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_clock_init(&f->clock);
	f->clock.now = 12345678901234ull;
	fake_disk_init(&f->disk, DISK_SIZE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(f->s); i++)
		block_close_queue(f->s[i].q);
	block_destroy(f->b);
	assert_true(f->disk.destroyed);
	assert_null(f->clock.armed);
	free(f);
	return 0;
}

static void create(struct fixture *f, struct limit_rates rates)
{
	const struct limit_config cfg = { &f->disk.b, rates, &f->clock.clock };

	assert_int_equal(limit_create(&cfg, &f->b), 0);
}

static void batch_end(void *opaque)
{
	((struct stream *)opaque)->batch_ends++;
}

static void open_stream(struct fixture *f, struct stream *s, enum block_op op, uint64_t len)
{
	const struct block_queue_config cfg = { .depth = MAX_DEPTH,
						.batch_end = batch_end,
						.opaque = s };

	s->op = op;
	s->len = len;
	assert_int_equal(block_open_queue(f->b, &cfg, &s->q), 0);
}

static void submit_item(struct item *item);

static void item_done(struct block_req *req, int result)
{
	struct item *item = container_of(req, struct item, req);
	struct stream *s = item->stream;

	assert_int_equal(result, 0);
	s->disorder |= item->number != s->done;
	s->done++;
	if (!s->stopped)
		submit_item(item);
}

static void submit_item(struct item *item)
{
	struct stream *s = item->stream;

	item->number = s->submitted++;
	item->req = (struct block_req){ .op = s->op, .len = s->len, .done = item_done };
	block_submit(s->q, &item->req);
}

static void start(struct stream *s, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++) {
		s->items[i].stream = s;
		submit_item(&s->items[i]);
	}
	block_kick(s->q);
}

static void stop(struct fixture *f, struct stream *s)
{
	s->stopped = true;
	fake_clock_advance(&f->clock, 1000 * NSEC_PER_SEC);
	assert_int_equal(s->done, s->submitted);
	assert_false(s->disorder);
}

static void near(uint64_t got, double want, double part)
{
	if (got < want * (1 - part) || got > want * (1 + part))
		fail_msg("%llu is not within %g %% of %g", (unsigned long long)got, part * 100,
			 want);
}

static void test_none(void **state)
{
	struct fixture *f = *state;

	create(f, (struct limit_rates){ 0 });
	open_stream(f, &f->s[0], BLOCK_WRITE, 4096);
	f->s[0].stopped = true;
	start(&f->s[0], MAX_DEPTH);
	assert_int_equal(f->s[0].done, MAX_DEPTH);
	assert_int_equal(f->disk.kicks, 1);
	assert_int_equal(f->s[0].batch_ends, 0);
	assert_null(f->clock.armed);
}

/* Ten seconds of each rate, from a bucket that is empty by then, at several depths. */
static void test_accurate(void **state)
{
	static const struct {
		uint64_t iops, bps, len;
		double want; /* requests a second */
	} cases[] = {
		{ 1000, 0, 4096, 1000 },
		{ 7, 0, 4096, 7 },
		{ 33333, 0, 512, 33333 },
		{ 0, 10 * MIB, 4096, 2560 },
		{ 0, 333333, 512, 333333 / 512.0 },
		{ 0, 3 * MIB, MIB, 3 },
		{ 500, 10 * MIB, 4096, 500 },
		{ 5000, 10 * MIB, 8192, 1280 },
	};
	static const unsigned depths[] = { 1, 4, 32 };

	for (unsigned i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(depths); i++) {
		struct fixture *f;
		unsigned before;

		if (i) {
			teardown(state);
			setup(state);
		}
		f = *state;
		create(f,
		       (struct limit_rates){ .iops = cases[i / 3].iops, .bps = cases[i / 3].bps });
		open_stream(f, &f->s[0], i % 2 ? BLOCK_READ : BLOCK_WRITE, cases[i / 3].len);
		start(&f->s[0], depths[i % 3]);
		fake_clock_advance(&f->clock, 3 * NSEC_PER_SEC);
		before = f->s[0].done;
		fake_clock_advance(&f->clock, 10 * NSEC_PER_SEC);
		near(f->s[0].done - before, 10 * cases[i / 3].want, 0.01);
		assert_true(f->s[0].batch_ends > 0);
		stop(f, &f->s[0]);
	}
}

/* Threads that wake up late, as on a loaded host. */
static void test_late(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	create(f, (struct limit_rates){ .iops = 1000, .iops_burst = 1 });
	open_stream(f, &f->s[0], BLOCK_READ, 4096);
	start(&f->s[0], 32);
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	before = f->s[0].done;
	for (unsigned i = 0; i < 1000; i++) {
		f->clock.now += 10 * MS;
		fake_clock_advance(&f->clock, 0);
	}
	near(f->s[0].done - before, 10000, 0.01);
	stop(f, &f->s[0]);
}

static void test_burst(void **state)
{
	struct fixture *f = *state;
	struct stream *s = &f->s[0];

	create(f, (struct limit_rates){ .iops = 10, .iops_burst = 20 });
	open_stream(f, s, BLOCK_READ, 4096);
	start(s, 32);
	assert_int_equal(s->done, 20);
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	near(s->done, 30, 0.04);
	stop(f, s);
	/* Idle for long, it has saved up no more than that. */
	s->stopped = false;
	s->submitted = s->done = 0;
	start(s, 32);
	assert_int_equal(s->done, 20);
	stop(f, s);
}

/* One request that is larger than the burst goes; what follows waits for as long. */
static void test_debt(void **state)
{
	struct fixture *f = *state;
	struct stream *s = &f->s[0];

	create(f, (struct limit_rates){ .bps = MIB, .bps_burst = 64 * KIB });
	open_stream(f, s, BLOCK_WRITE, 4 * MIB);
	s->stopped = true;
	start(s, 1);
	assert_int_equal(s->done, 1);
	s->len = 64 * KIB;
	s->items[1].stream = s;
	submit_item(&s->items[1]);
	fake_clock_advance(&f->clock, 3990 * MS);
	assert_int_equal(s->done, 1);
	fake_clock_advance(&f->clock, 20 * MS);
	assert_int_equal(s->done, 2);
	stop(f, s);
}

/* What moves no data costs a request, and no bytes. */
static void test_cost(void **state)
{
	static const enum block_op ops[] = { BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };
	struct fixture *f = *state;

	create(f, (struct limit_rates){ .iops = 100, .iops_burst = 1, .bps = 512 });
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		struct stream *s = &f->s[i];

		open_stream(f, s, ops[i], ops[i] == BLOCK_FLUSH ? 0 : MIB);
		start(s, 4);
		fake_clock_advance(&f->clock, 10 * NSEC_PER_SEC);
		near(s->done, 1000, 0.01);
		stop(f, s);
	}
}

static void test_fair(void **state)
{
	struct fixture *f = *state;
	unsigned before[4];

	/* Deep and shallow queues have the same share of the requests. */
	create(f, (struct limit_rates){ .iops = 1000 });
	for (unsigned i = 0; i < 4; i++) {
		open_stream(f, &f->s[i], BLOCK_READ, 4096);
		start(&f->s[i], 1u << (2 * i));
	}
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	for (unsigned i = 0; i < 4; i++)
		before[i] = f->s[i].done;
	fake_clock_advance(&f->clock, 10 * NSEC_PER_SEC);
	for (unsigned i = 0; i < 4; i++)
		near(f->s[i].done - before[i], 2500, 0.01);

	/* Large and small requests of the bytes. */
	limit_set(f->b, &(struct limit_rates){ .bps = 10 * MIB });
	for (unsigned i = 0; i < 4; i++)
		f->s[i].len = 4096u << (2 * i);
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	for (unsigned i = 0; i < 4; i++)
		before[i] = f->s[i].done;
	fake_clock_advance(&f->clock, 20 * NSEC_PER_SEC);
	for (unsigned i = 0; i < 4; i++)
		near((f->s[i].done - before[i]) * f->s[i].len, 50.0 * MIB, 0.02);

	/* One that was away has no more than its share when it is back. */
	f->s[3].stopped = true;
	limit_set(f->b, &(struct limit_rates){ .iops = 1000 });
	fake_clock_advance(&f->clock, 20 * NSEC_PER_SEC);
	assert_int_equal(f->s[3].done, f->s[3].submitted);
	f->s[3].stopped = false;
	before[0] = f->s[0].done;
	before[3] = f->s[3].done;
	start(&f->s[3], 16);
	fake_clock_advance(&f->clock, 10 * NSEC_PER_SEC);
	near(f->s[0].done - before[0], 2500, 0.02);
	near(f->s[3].done - before[3], 2500, 0.02);
	limit_set(f->b, &(struct limit_rates){ .iops = 1000000 });
	for (unsigned i = 0; i < 4; i++)
		f->s[i].stopped = true;
	for (unsigned i = 0; i < 4; i++)
		stop(f, &f->s[i]);
}

/* Two tokens at a late wake-up: the other queue's request goes now, not when its next may. */
static void test_hand_over(void **state)
{
	struct fixture *f = *state;
	struct stream *a = &f->s[0], *b = &f->s[1];

	create(f, (struct limit_rates){ .iops = 10, .iops_burst = 1 });
	open_stream(f, a, BLOCK_READ, 4096);
	open_stream(f, b, BLOCK_READ, 4096);
	a->stopped = b->stopped = true;
	start(b, 1);
	start(a, 1);
	start(b, 2);
	assert_int_equal(a->done, 0);
	assert_int_equal(b->done, 1);
	f->clock.now += 250 * MS;
	fake_clock_advance(&f->clock, 0);
	assert_int_equal(a->done, 1);
	assert_int_equal(b->done, 2);
	stop(f, b);
}

static void test_change(void **state)
{
	struct fixture *f = *state;
	struct stream *s = &f->s[0];
	struct limit_rates rates;
	unsigned before;

	create(f, (struct limit_rates){ 0 });
	open_stream(f, s, BLOCK_READ, 4096);
	limit_set(f->b, &(struct limit_rates){ .iops = 1, .iops_burst = 2, .bps = 5 * MIB });
	limit_get(f->b, &rates);
	assert_int_equal(rates.iops, 1);
	assert_int_equal(rates.bps, 5 * MIB);
	start(s, 8);
	assert_int_equal(s->done, 2);
	/* A higher limit is seen by those who wait already. */
	limit_set(f->b, &(struct limit_rates){ .iops = 1000, .iops_burst = 1 });
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	near(s->done, 1003, 0.01);
	/* As is none, which the successors do not overtake. */
	limit_set(f->b, &(struct limit_rates){ .iops = 1, .iops_burst = 1 });
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	before = s->done;
	s->stopped = true;
	limit_set(f->b, &(struct limit_rates){ 0 });
	assert_int_equal(s->done, before);
	s->items[9].stream = s;
	submit_item(&s->items[9]);
	fake_clock_advance(&f->clock, 0);
	assert_int_equal(s->done, s->submitted);
	assert_int_equal(s->done, before + 9);
	assert_false(s->disorder);
	stop(f, s);
}

static void test_lift(void **state)
{
	struct fixture *f = *state;
	struct stream *s = &f->s[0];

	create(f, (struct limit_rates){ .iops = 1, .iops_burst = 1 });
	open_stream(f, s, BLOCK_READ, 4096);
	s->stopped = true;
	start(s, 8);
	assert_int_equal(s->done, 1);
	limit_lift(f->b, true);
	fake_clock_advance(&f->clock, 0);
	assert_int_equal(s->done, 8);
	start(s, 8);
	assert_int_equal(s->done, 16);
	limit_lift(f->b, false);
	start(s, 8);
	fake_clock_advance(&f->clock, 100 * MS);
	assert_true(s->done < 18);
	stop(f, s);
}

static void test_looks_like_below(void **state)
{
	struct fixture *f = *state;
	struct err err;

	create(f, (struct limit_rates){ 0 });
	assert_string_equal(f->b->serial, "fake");
	assert_int_equal(f->b->size, DISK_SIZE);
	assert_int_equal(f->b->limits.discard_align, BLOCK_SECTOR);
	assert_int_equal(block_resize(f->b, 2 * DISK_SIZE, &err), 0);
	assert_int_equal(f->b->size, 2 * DISK_SIZE);
	assert_int_equal(f->disk.b.size, 2 * DISK_SIZE);
}

/* Three threads, the host's clock: never more than the limit, and nothing is left over. */
static void test_threads(void **state)
{
	enum { THREADS = 3, CALLS = 200 };
	static struct rig_call calls[THREADS][CALLS];
	struct fixture *f = *state;
	struct limit_config cfg = { .below = &f->disk.b,
				    .rates = { .iops = 1000, .iops_burst = 10 } };
	struct rig rigs[THREADS];
	struct timespec a, b;
	double seconds;

	assert_int_equal(limit_create(&cfg, &f->b), 0);
	for (unsigned t = 0; t < THREADS; t++)
		rig_open(&rigs[t], f->b, CALLS);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned t = 0; t < THREADS; t++) {
		for (unsigned i = 0; i < CALLS; i++)
			calls[t][i] = rig_call(BLOCK_READ, 0, NULL, 512);
		rig_submit(&rigs[t], calls[t], CALLS);
	}
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < CALLS; i++) {
			assert_int_equal(rig_wait(&calls[t][i]), 0);
			assert_int_equal(calls[t][i].order, i + 1);
		}
	clock_gettime(CLOCK_MONOTONIC, &b);
	seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	assert_true(seconds > (THREADS * CALLS - 10) / 1000.0 - 0.001);

	/* And taken off while they wait. */
	limit_set(f->b, &(struct limit_rates){ .iops = 1, .iops_burst = 1 });
	for (unsigned t = 0; t < THREADS; t++)
		rig_submit(&rigs[t], calls[t], CALLS);
	limit_set(f->b, &(struct limit_rates){ 0 });
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < CALLS; i++)
			assert_int_equal(rig_wait(&calls[t][i]), 0);
	for (unsigned t = 0; t < THREADS; t++) {
		assert_true(rigs[t].batch_ends > 0);
		rig_close(&rigs[t]);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_none),
		TEST(test_accurate),
		TEST(test_late),
		TEST(test_burst),
		TEST(test_debt),
		TEST(test_cost),
		TEST(test_fair),
		TEST(test_hand_over),
		TEST(test_change),
		TEST(test_lift),
		TEST(test_looks_like_below),
		TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
