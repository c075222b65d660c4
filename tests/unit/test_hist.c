/* SPDX-License-Identifier: MIT */
/* base/hist.h and base/trace.h: times and events in bounded memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hist.h"
#include "base/trace.h"

/* Every bucket's values are one range, and the ranges have no gap between them. */
static void buckets(void **state)
{
	unsigned last = 0;

	(void)state;
	for (uint64_t v = 0; v < 1u << 20; v++) {
		unsigned i = hist_index(v);

		assert_in_range(i, last, last + 1);
		last = i;
	}
	for (unsigned octave = HIST_SUB_BITS; octave < HIST_MAX_BITS; octave++) {
		uint64_t v = 1ull << octave;

		assert_int_equal(hist_index(v), hist_index(v - 1) + 1);
		assert_int_equal(hist_index(v + v / 8), hist_index(v) + 1);
		assert_int_equal(hist_index(v + v / 8 - 1), hist_index(v));
	}
	assert_int_equal(hist_index((1ull << HIST_MAX_BITS) - 1), HIST_BUCKETS - 1);
	assert_int_equal(hist_index(1ull << HIST_MAX_BITS), HIST_BUCKETS - 1);
	assert_int_equal(hist_index(UINT64_MAX), HIST_BUCKETS - 1);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Never below the value that it stands for, and at most an eighth above. */
static void percentiles(void **state)
{
	static const double percents[] = { 0, 1, 7, 25, 50, 90, 99, 99.9, 100 };
	struct hist h = { 0 };
	struct hist_sum sum = { 0 };
	uint64_t v[1000], total = 0, seed = 1;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(v); i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		v[i] = seed >> 33 >> i % 30;
		total += v[i];
		hist_add(&h, v[i]);
	}
	qsort(v, ARRAY_SIZE(v), sizeof(v[0]), compare);
	hist_collect(&sum, &h);
	assert_int_equal(sum.count, ARRAY_SIZE(v));
	assert_int_equal(sum.total, total);
	assert_int_equal(sum.max, v[999]);
	for (unsigned i = 0; i < ARRAY_SIZE(percents); i++) {
		unsigned rank = (unsigned)(percents[i] * 10 + 0.5); /* of 1000 */
		uint64_t exact = v[rank ? rank - 1 : 0], p = hist_percentile(&sum, percents[i]);

		assert_in_range(p, exact, exact + exact / 8);
	}
	assert_int_equal(hist_percentile(&sum, 100), v[999]);
}

/* Exact where every value has its own bucket: a rank too many shows. */
static void ranks(void **state)
{
	struct hist h = { 0 };
	struct hist_sum sum = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		hist_add(&h, i < 999 ? 1 : 7);
	hist_collect(&sum, &h);
	assert_int_equal(hist_percentile(&sum, 99.9), 1);
	assert_int_equal(hist_percentile(&sum, 99.95), 7);
	memset(&h, 0, sizeof(h));
	memset(&sum, 0, sizeof(sum));
	for (unsigned i = 0; i < 100; i++)
		hist_add(&h, i < 7 ? 1 : 7);
	hist_collect(&sum, &h);
	assert_int_equal(hist_percentile(&sum, 7), 1);
	assert_int_equal(hist_percentile(&sum, 8), 7);
}

static void edges(void **state)
{
	struct hist h = { 0 };
	struct hist_sum sum = { 0 };

	(void)state;
	hist_collect(&sum, &h);
	assert_int_equal(hist_percentile(&sum, 50), 0);
	hist_add(&h, 0);
	hist_collect(&sum, &h);
	assert_int_equal(sum.count, 1);
	assert_int_equal(hist_percentile(&sum, 100), 0);
	/* No more than the maximum, however wide its bucket is. */
	memset(&sum, 0, sizeof(sum));
	hist_add(&h, 1025);
	hist_collect(&sum, &h);
	assert_int_equal(hist_percentile(&sum, 99), 1025);
	/* What is off the scale is in the last bucket, whose end is the maximum. */
	memset(&sum, 0, sizeof(sum));
	hist_add(&h, 1ull << 50);
	hist_collect(&sum, &h);
	assert_true(hist_percentile(&sum, 99) == 1ull << 50);
}

static void sums(void **state)
{
	struct hist a = { 0 }, b = { 0 };
	struct hist_sum sum = { 0 };

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		hist_add(&a, 5);
		hist_add(&b, 100 + i);
	}
	hist_collect(&sum, &a);
	hist_collect(&sum, &b);
	assert_int_equal(sum.count, 20);
	assert_int_equal(sum.total, 50 + 1045);
	assert_int_equal(sum.max, 109);
	assert_int_equal(hist_percentile(&sum, 50), 5);
	assert_int_equal(hist_percentile(&sum, 100), 109);
}

static void rings(void **state)
{
	struct trace t = { 0 };
	struct trace_ring *r, *s;

	(void)state;
	trace_destroy(&t);
	trace_init(&t, 5);
	assert_int_equal(t.ring_size, 8);
	r = trace_add_ring(&t, "vcpu0");
	s = trace_add_ring(&t, "a name that is far too long for it");
	assert_non_null(r);
	assert_non_null(s);
	assert_ptr_equal(t.rings, s);
	assert_ptr_equal(s->link, r);
	assert_string_equal(r->thread, "vcpu0");
	assert_string_equal(s->thread, "a name that is far too ");
	for (uint64_t i = 0; i < 11; i++)
		trace_put(r, &(struct trace_event){ .begin = i });
	assert_int_equal(r->next, 11);
	for (uint64_t i = 3; i < 11; i++)
		assert_int_equal(r->events[i % 8].begin, i);
	assert_int_equal(s->next, 0);
	trace_destroy(&t);
	assert_null(t.rings);
	trace_destroy(&t);
	trace_init(&t, 8);
	assert_int_equal(t.ring_size, 8);
	trace_init(&t, 0);
	assert_int_equal(t.ring_size, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets), cmocka_unit_test(percentiles), cmocka_unit_test(ranks),
		cmocka_unit_test(edges),   cmocka_unit_test(sums),        cmocka_unit_test(rings),
	};

	return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
