/* SPDX-License-Identifier: MIT */
/* The account of a disk's requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/block/stages.h"
#include "base/trace.h"

#define TOTAL BLOCK_STAGE_TOTAL

/* The one value of a stage; fails where there is another number of them. */
static uint64_t only(const struct block_stages *s, unsigned stage)
{
	struct hist_sum sum = { 0 };

	hist_collect(&sum, &s->stage[stage]);
	assert_int_equal(sum.count, 1);
	assert_int_equal(sum.max, sum.total);
	return sum.total;
}

static uint64_t count(const struct block_stages *s, unsigned stage)
{
	struct hist_sum sum = { 0 };

	hist_collect(&sum, &s->stage[stage]);
	return sum.count;
}

static void init(struct block_stages *s, struct trace_ring *ring)
{
	memset(s, 0xa5, sizeof(*s));
	block_stages_init(s, "disk0", ring);
}

static void whole(void **state)
{
	const struct block_stamps stamps = { { 100, 110, 130, 1130, 1170, 1250 } };
	static const uint64_t times[BLOCK_NR_STAGES] = { 10, 20, 1000, 40, 80, 1150 };
	static const char *const names[BLOCK_NR_STAGES] = {
		"kick-popped",    "popped-submitted", "submitted-completed",
		"completed-used", "used-interrupt",   "total",
	};
	struct block_stages s;

	(void)state;
	init(&s, NULL);
	assert_string_equal(s.name, "disk0");
	block_stages_add(&s, &stamps, "read", 512);
	for (unsigned i = 0; i < BLOCK_NR_STAGES; i++) {
		assert_int_equal(only(&s, i), times[i]);
		assert_string_equal(block_stage_name(i), names[i]);
	}
	assert_int_equal(counter_get(&s.silent), 0);
	block_stages_add(&s, &stamps, "read", 512);
	assert_int_equal(count(&s, BLOCK_SUBMITTED), 2);
	assert_int_equal(count(&s, TOTAL), 2);
}

/* A stage without one of its ends is not counted, the request as a whole is. */
static void gaps(void **state)
{
	struct block_stages s;

	(void)state;
	init(&s, NULL);
	/* Found by looking again. */
	block_stages_add(&s, &(struct block_stamps){ { 0, 110, 130, 230, 240, 250 } }, "read", 0);
	assert_int_equal(count(&s, BLOCK_KICKED), 0);
	assert_int_equal(only(&s, BLOCK_POPPED), 20);
	assert_int_equal(only(&s, TOTAL), 140);
	assert_int_equal(counter_get(&s.silent), 0);

	/* Never sent to the host. */
	init(&s, NULL);
	block_stages_add(&s, &(struct block_stamps){ { 100, 110, 0, 0, 240, 250 } }, "read", 0);
	assert_int_equal(only(&s, BLOCK_KICKED), 10);
	assert_int_equal(count(&s, BLOCK_POPPED), 0);
	assert_int_equal(count(&s, BLOCK_SUBMITTED), 0);
	assert_int_equal(count(&s, BLOCK_COMPLETED), 0);
	assert_int_equal(only(&s, BLOCK_USED), 10);
	assert_int_equal(only(&s, TOTAL), 150);

	/* The guest wanted no interrupt. */
	init(&s, NULL);
	block_stages_add(&s, &(struct block_stamps){ { 100, 110, 130, 230, 240, 0 } }, "read", 0);
	assert_int_equal(count(&s, BLOCK_USED), 0);
	assert_int_equal(only(&s, BLOCK_COMPLETED), 10);
	assert_int_equal(only(&s, TOTAL), 140);
	assert_int_equal(counter_get(&s.silent), 1);

	init(&s, NULL);
	block_stages_add(&s, &(struct block_stamps){ { 0 } }, "read", 0);
	assert_int_equal(only(&s, TOTAL), 0);
}

/* The kick's CPU was ahead: no stage is shorter than nothing, none counts time twice. */
static void skewed(void **state)
{
	struct block_stages s;
	struct trace t;

	(void)state;
	trace_init(&t, 8);
	init(&s, trace_add_ring(&t, "disk0"));
	block_stages_add(&s, &(struct block_stamps){ { 115, 110, 130, 230, 240, 250 } }, "read", 0);
	assert_int_equal(only(&s, BLOCK_KICKED), 0);
	assert_int_equal(only(&s, BLOCK_POPPED), 15);
	assert_int_equal(only(&s, TOTAL), 135);
	for (unsigned i = 0; i < s.ring->next; i++)
		assert_in_range(s.ring->events[i].begin, 115, 250);
	trace_destroy(&t);
}

static void check_span(const struct trace_event *e, uint64_t begin, uint64_t end, const char *name,
		       uint32_t id)
{
	assert_int_equal(e->begin, begin);
	assert_int_equal(e->end, end);
	assert_string_equal(e->name, name);
	assert_int_equal(e->id, id);
	assert_true(e->overlaps);
	assert_int_equal(e->width, 0);
}

static void traced(void **state)
{
	struct block_stages s;
	struct trace_event *e;
	struct trace t;

	(void)state;
	trace_init(&t, 8);
	init(&s, trace_add_ring(&t, "disk0"));
	e = s.ring->events;
	block_stages_add(&s, &(struct block_stamps){ { 100, 110, 130, 230, 240, 250 } }, "write",
			 0x1200);
	assert_int_equal(s.ring->next, 6);
	check_span(&e[0], 100, 110, "kick-popped", 0);
	check_span(&e[2], 130, 230, "submitted-completed", 0);
	check_span(&e[4], 240, 250, "used-interrupt", 0);
	check_span(&e[5], 100, 250, "write", 0);
	assert_string_equal(e[5].device, "disk0");
	assert_int_equal(e[5].addr, 0x1200);
	assert_null(e[4].device);

	/* A stage that took no time is no span; another request is another id. */
	s.ring->next = 0;
	block_stages_add(&s, &(struct block_stamps){ { 0, 310, 310, 330, 0, 0 } }, "flush", 0);
	assert_int_equal(s.ring->next, 2);
	check_span(&e[0], 310, 330, "submitted-completed", 1);
	check_span(&e[1], 310, 330, "flush", 1);

	trace_destroy(&t);

	/* Of one that is half gone from a full ring the whole is left. */
	trace_init(&t, 2);
	init(&s, trace_add_ring(&t, "disk0"));
	block_stages_add(&s, &(struct block_stamps){ { 100, 110, 130, 230, 240, 250 } }, "read", 0);
	check_span(&s.ring->events[0], 240, 250, "used-interrupt", 0);
	check_span(&s.ring->events[1], 100, 250, "read", 0);
	trace_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(gaps),
		cmocka_unit_test(skewed),
		cmocka_unit_test(traced),
	};

	return cmocka_run_group_tests_name("stages", tests, NULL, NULL);
}
