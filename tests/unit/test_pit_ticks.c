/* SPDX-License-Identifier: MIT */
/*
 * The ticks that a guest gets of its timer: never more than a host can bear, under a cap, on a
 * line that is masked, and when host or guest was late.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/platform.h"
#include "base/state.h"
#include "tests/unit/pit_rig.h"

/* --- the line ------------------------------------------------------------------ */

/* Whatever a guest writes, it does not keep the host busy. */
static void test_fastest(void **state)
{
	static const struct pit_policy dilate = { 20000, PIT_TIME_DILATE, PIT_LOST_CATCHUP };
	struct pit_rig r;

	(void)state;
	for (unsigned count = 1; count < 60; count++) {
		pit_rig_init(&r, count & 1 ? NULL : &dilate, true);
		pit_rig_program(&r, 0, count & 2 ? 2 : 3, count);
		assert_true(pit_rig_ticks(&r, 100) <= (count == 1 ? 0 : 2001));
		pit_rig_fini(&r);
		pit_rig_init(&r, NULL, false);
		pit_rig_program(&r, 0, count & 2 ? 2 : 3, count);
		assert_true(pit_rig_ticks(&r, 100) <= (count == 1 ? 0 : 2001));
		assert_true(r.line.gap >= 50000);
		pit_rig_fini(&r);
	}
}

/*
 * From deadline to deadline, whatever the guest asks for and however it answers: the timer is
 * armed for no time that is over, and for none sooner after it fired than PIT_MAX_HZ has it.
 */
static void deadlines(struct pit_rig *r, const char *what, unsigned count, bool answers, int taken)
{
	uint64_t end = r->clock.now + 100 * MS, fired = 0;

	r->line.answers = answers;
	r->line.taken = taken;
	while (r->clock.armed && r->clock.now < end) {
		uint64_t at = r->clock.armed->deadline;

		if (at <= r->clock.now || at < fired + NSEC_PER_SEC / PIT_MAX_HZ)
			fail_msg("%s, count %u: fires %llu ns after the last time", what, count,
				 (unsigned long long)(at - fired));
		fired = at;
		fake_clock_advance(&r->clock, at - r->clock.now);
		pit_rig_acks(r);
	}
}

static void test_deadlines(void **state)
{
	static const struct pit_policy policies[] = {
		{ 0, PIT_TIME_KEEP, PIT_LOST_CATCHUP },
		{ 0, PIT_TIME_KEEP, PIT_LOST_DELAY },
		{ PIT_MAX_HZ, PIT_TIME_DILATE, PIT_LOST_DISCARD },
		{ 7000, PIT_TIME_KEEP, PIT_LOST_DISCARD },
		{ 7000, PIT_TIME_DILATE, PIT_LOST_CATCHUP },
	};
	static const unsigned counts[] = { 1, 2, 3, 7, 59, 60, 61, 150, 240, 1193 };
	struct pit_rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(policies) * ARRAY_SIZE(counts) * 2; i++) {
		const struct pit_policy *policy = &policies[i / 2 % ARRAY_SIZE(policies)];
		unsigned count = counts[i / 2 / ARRAY_SIZE(policies)];

		pit_rig_init(&r, policy, i & 1);
		pit_rig_program(&r, 0, 2, count);
		deadlines(&r, "the guest answers", count, true, 1);
		deadlines(&r, "it does not", count, false, 1);
		deadlines(&r, "masked", count, false, -1);
		deadlines(&r, "it answers again", count, true, 1);
		pit_rig_sleep(&r, 100 * MS);
		fake_clock_advance(&r.clock, 1);
		deadlines(&r, "behind a pause", count, true, 1);
		pit_rig_fini(&r);
	}
}

static void test_masked(void **state)
{
	struct pit_info info;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 1193);
	pit_rig_run(&r, 10);
	r.line.taken = -1;
	r.line.answers = false;
	assert_about(pit_rig_ticks(&r, 1000), 890, 1001);
	pit_get_info(r.dev, &info);
	assert_int_equal(info.owed, 0);
	/* Until it was clear that the guest wants none. */
	assert_about(info.dropped, 100, 250);
	/* Who unmasks it is not flooded with what was lost. */
	r.line.taken = 1;
	r.line.answers = true;
	assert_about(pit_rig_ticks(&r, 1000), 999, 1001);
	pit_rig_fini(&r);
}

/*
 * A handler that acknowledges at its start and unmasks at its end, as Linux's for the PIC: the
 * tick that follows at once finds the line masked, and is kept there.
 */
static void test_masked_by_handler(void **state)
{
	unsigned had = 0;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 1193);
	pit_rig_run(&r, 10);
	pit_rig_sleep(&r, 100 * MS);
	r.line.answers = false;
	for (unsigned i = 0; i < 1000; i++) {
		unsigned before = r.line.pulses;

		fake_clock_advance(&r.clock, MS / 10);
		had += r.line.pulses != before;
		before = r.line.pulses;
		r.line.taken = -1;
		pit_rig_ack(&r);
		r.line.taken = 1;
		had += r.line.pulses != before;
	}
	/* 100 ms late, 100 ms since. */
	assert_about(had, 198, 202);
	pit_rig_fini(&r);
}

/* The same, and a busy host keeps it from its end for long: it loses none. */
static void test_masked_for_long(void **state)
{
	struct pit_rig r;
	unsigned had;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 1193);
	pit_rig_run(&r, 10);
	r.line.taken = -1;
	r.line.answers = false;
	pit_rig_run(&r, 90);
	r.line.taken = 1;
	r.line.answers = true;
	had = r.line.pulses;
	pit_rig_ack(&r); /* the one that was kept */
	had = 1 + r.line.pulses - had + pit_rig_ticks(&r, 10);
	assert_about(had, 99, 101);
	pit_rig_fini(&r);
}

/* Late to acknowledge, it may have had one tick twice, or once: both are made up for. */
static void test_sent_again(void **state)
{
	struct pit_rig r;

	(void)state;
	for (unsigned arrived = 1; arrived <= 2; arrived++) {
		unsigned had;

		pit_rig_init(&r, NULL, true);
		pit_rig_program(&r, 0, 2, 11932);
		pit_rig_run(&r, 105);
		had = r.line.pulses;
		assert_int_equal(had, 10);
		r.line.answers = false;
		pit_rig_run(&r, 40);
		assert_int_equal(r.line.pulses, 12);
		r.line.answers = true;
		r.line.acked = arrived;
		pit_rig_acks(&r);
		had += arrived + r.line.pulses - 12;
		assert_int_equal(had, 14);
		had += pit_rig_ticks(&r, 855);
		assert_about(had, 99, 100);
		pit_rig_fini(&r);
	}
}

static unsigned read_count(struct pit_rig *r, unsigned counter)
{
	unsigned low;

	outb(&r->bus, PIT_RIG_CONTROL, counter << 6);
	low = inb(&r->bus, 0x40 + counter);
	return low | (unsigned)inb(&r->bus, 0x40 + counter) << 8;
}

/* --- the cap -------------------------------------------------------------------- */

static void test_dilate(void **state)
{
	static const struct pit_policy policy = { 100, PIT_TIME_DILATE, PIT_LOST_CATCHUP };
	struct pit_rig r;
	unsigned a, b;

	(void)state;
	pit_rig_init(&r, &policy, true);
	pit_rig_program(&r, 0, 2, 1193);
	assert_about(pit_rig_ticks(&r, 10000), 999, 1001);
	assert_true(r.line.gap >= 10 * MS - 100000);
	/* Counter 0 counts a tenth as fast, and its count and its ticks agree. */
	pit_rig_run(&r, 10 - (r.clock.now - r.line.last) / MS);
	a = read_count(&r, 0);
	fake_clock_advance(&r.clock, 4 * MS);
	b = read_count(&r, 0);
	assert_about((a + 1193 - b) % 1193, 476, 479);
	/* The others know nothing of it. */
	outb(&r.bus, 0x61, 1);
	pit_rig_program(&r, 2, 2, 0);
	fake_clock_advance(&r.clock, MS);
	a = read_count(&r, 2);
	fake_clock_advance(&r.clock, 10 * MS);
	assert_about(a - read_count(&r, 2), 11930, 11933);
	/* Slower rates and one-shots are as they were asked for. */
	pit_rig_program(&r, 0, 3, 0);
	assert_about(pit_rig_ticks(&r, 10000), 181, 183);
	pit_rig_program(&r, 0, 0, 5000);
	assert_int_equal(pit_rig_ticks(&r, 20), 1);
	pit_rig_fini(&r);
}

static void test_keep(void **state)
{
	static const struct pit_policy policy = { 100, PIT_TIME_KEEP, PIT_LOST_CATCHUP };
	unsigned bursts = 0, before;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, &policy, true);
	pit_rig_program(&r, 0, 2, 1193);
	/* All of them, in a hundred bursts a second. */
	assert_about(pit_rig_ticks(&r, 10000), 9990, 10002);
	before = r.line.pulses;
	for (unsigned i = 0; i < 10000; i++) {
		fake_clock_advance(&r.clock, MS / 10);
		bursts += r.line.pulses != before;
		pit_rig_acks(&r);
		before = r.line.pulses;
	}
	assert_about(bursts, 99, 101);
	/* Nothing follows until the guest has acknowledged. */
	r.line.answers = false;
	fake_clock_advance(&r.clock, 10 * MS);
	before = r.line.pulses;
	fake_clock_advance(&r.clock, 5 * MS);
	assert_int_equal(r.line.pulses, before);
	assert_true(r.line.watched);
	pit_rig_ack(&r);
	assert_int_equal(r.line.pulses, before + 1);
	pit_rig_ack(&r);
	assert_int_equal(r.line.pulses, before + 2);
	pit_rig_fini(&r);

	/* Without acknowledgements: the same number, at most four times as fast as was asked. */
	pit_rig_init(&r, &policy, false);
	pit_rig_program(&r, 0, 2, 1193);
	assert_about(pit_rig_ticks(&r, 10000), 9980, 10002);
	assert_true(r.line.gap >= MS / 4 - 1000);
	pit_rig_fini(&r);
}

/* One-shots: no closer to each other than that, even if there was none for long. */
static void test_keep_one_shot(void **state)
{
	static const struct pit_policy policy = { 100, PIT_TIME_KEEP, PIT_LOST_CATCHUP };
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, &policy, true);
	pit_rig_run(&r, 1000);
	for (unsigned i = 0; i < 1000; i++) {
		pit_rig_program(&r, 0, 0, 500);
		pit_rig_run(&r, 1);
	}
	assert_about(r.line.pulses, 98, 101);
	assert_true(r.line.gap >= 9 * MS);
	pit_rig_fini(&r);
}

static void test_dial(void **state)
{
	struct pit_policy policy = { 50, PIT_TIME_DILATE, PIT_LOST_CATCHUP };
	struct pit_info info;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 4773);
	assert_about(pit_rig_ticks(&r, 1000), 249, 251);
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	assert_about(pit_rig_ticks(&r, 1000), 49, 51);
	policy.time = PIT_TIME_KEEP;
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	assert_about(pit_rig_ticks(&r, 1000), 244, 256);
	policy.max_hz = 1;
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	assert_about(pit_rig_ticks(&r, 3000), 500, 752);
	policy.max_hz = 0;
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	(void)pit_rig_ticks(&r, 10);
	assert_about(pit_rig_ticks(&r, 1000), 249, 251);
	pit_get_info(r.dev, &info);
	assert_about(info.asked_mhz, 249985, 249987);
	assert_int_equal(info.policy.max_hz, 0);
	assert_int_equal(info.raised, r.line.pulses);
	assert_int_equal(info.dropped, 0);

	policy.max_hz = PIT_MAX_HZ + 1;
	assert_int_equal(pit_set_policy(r.dev, &policy), -EINVAL);
	policy = (struct pit_policy){ 0, 2, 0 };
	assert_int_equal(pit_set_policy(r.dev, &policy), -EINVAL);
	policy = (struct pit_policy){ 0, 0, 3 };
	assert_int_equal(pit_set_policy(r.dev, &policy), -EINVAL);
	pit_rig_fini(&r);
}

/* --- who is late ------------------------------------------------------------------ */

static void late(struct pit_rig *r, unsigned lost, bool tells)
{
	struct pit_policy policy = { 0, PIT_TIME_KEEP, lost };

	pit_rig_init(r, &policy, tells);
	pit_rig_program(r, 0, 2, 11932);
	assert_about(pit_rig_ticks(r, 1005), 100, 100);
	pit_rig_sleep(r, 1000 * MS);
}

static void test_late_catchup(void **state)
{
	struct pit_info info;
	struct pit_rig r;

	(void)state;
	for (unsigned tells = 0; tells < 2; tells++) {
		late(&r, PIT_LOST_CATCHUP, tells);
		/* Without acknowledgements nobody knows that the guest listens. */
		assert_about(pit_rig_ticks(&r, 2000), tells ? 299 : 199, tells ? 301 : 201);
		pit_rig_fini(&r);
	}
	/* Bounded. */
	late(&r, PIT_LOST_CATCHUP, true);
	pit_rig_sleep(&r, 3600000 * MS);
	assert_about(pit_rig_ticks(&r, 2000), 200 + PIT_CATCHUP_SECONDS * 100 - 1,
		     200 + PIT_CATCHUP_SECONDS * 100 + 2);
	pit_get_info(r.dev, &info);
	assert_about(info.dropped + PIT_CATCHUP_SECONDS * 100, 360090, 360110);
	pit_rig_fini(&r);
}

/* Of the ticks as they come: of ten seconds, although the guest has asked for ten times as many. */
static void test_late_dilated(void **state)
{
	static const struct pit_policy policy = { 100, PIT_TIME_DILATE, PIT_LOST_CATCHUP };
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, &policy, true);
	pit_rig_program(&r, 0, 2, 1193);
	pit_rig_run(&r, 1000);
	pit_rig_sleep(&r, 3600000 * MS);
	assert_about(pit_rig_ticks(&r, 2000), 200 + PIT_CATCHUP_SECONDS * 100 - 1,
		     200 + PIT_CATCHUP_SECONDS * 100 + 2);
	pit_rig_fini(&r);
}

/* Restored an hour later, it has what it was owed when it was saved, and nothing of that hour. */
static void test_late_restored(void **state)
{
	static const struct pit_policy policy = { 0, PIT_TIME_KEEP, PIT_LOST_CATCHUP };
	struct state_buf buf = { 0 };
	struct pit_rig a, b;

	(void)state;
	late(&a, PIT_LOST_CATCHUP, true);
	assert_int_equal(state_save(a.dev, &buf), 0);
	pit_rig_init(&b, &policy, true);
	pit_rig_sleep(&b, 3600000 * MS);
	assert_int_equal(state_load(b.dev, buf.data, buf.len), buf.len);
	b.line.acked = 1; /* the tick that was under way */
	assert_about(pit_rig_ticks(&b, 2000), 298, 301);
	state_buf_free(&buf);
	pit_rig_fini(&a);
	pit_rig_fini(&b);
}

static void test_late_delay(void **state)
{
	struct pit_rig r;
	uint64_t at;

	(void)state;
	late(&r, PIT_LOST_DELAY, true);
	fake_clock_advance(&r.clock, 1);
	at = r.clock.now;
	assert_int_equal(r.line.pulses, 101);
	/* The next a full period after this one. */
	while (r.line.pulses == 101)
		fake_clock_advance(&r.clock, 1000);
	assert_about(r.clock.now - at, 9990000, 10010000);
	assert_about(pit_rig_ticks(&r, 1000), 99, 101);
	pit_rig_fini(&r);
}

static void test_late_discard(void **state)
{
	struct pit_info info;
	struct pit_rig r;

	(void)state;
	late(&r, PIT_LOST_DISCARD, true);
	assert_int_equal(pit_rig_ticks(&r, 1), 1);
	/* The others come when they would have come: it is 2006 ms now. */
	assert_int_equal(pit_rig_ticks(&r, 3), 0);
	assert_int_equal(pit_rig_ticks(&r, 3), 1);
	assert_about(pit_rig_ticks(&r, 1000), 99, 101);
	pit_get_info(r.dev, &info);
	assert_about(info.dropped, 98, 100);
	pit_rig_fini(&r);
}

/* The guest is late: it acknowledges nothing for a while. */
static void test_slow_guest(void **state)
{
	static const struct pit_policy discard = { 0, PIT_TIME_KEEP, PIT_LOST_DISCARD };
	unsigned before;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 1193);
	pit_rig_run(&r, 100);
	r.line.answers = false;
	before = r.line.pulses;
	pit_rig_run(&r, 9);
	/* One waits; another edge would be the same interrupt. */
	assert_int_equal(r.line.pulses, before + 1);
	r.line.answers = true;
	pit_rig_ack(&r);
	assert_about(r.line.pulses, before + 9, before + 10);
	/* One that never comes back is tried again, and costs it nothing. */
	r.line.answers = false;
	before = r.line.pulses;
	pit_rig_run(&r, 100);
	assert_about(r.line.pulses - before, 9, 11);
	r.line.answers = true;
	pit_rig_ack(&r);
	assert_about(r.line.pulses - before, 105, 112);
	pit_rig_fini(&r);

	pit_rig_init(&r, &discard, true);
	pit_rig_program(&r, 0, 2, 1193);
	pit_rig_run(&r, 100);
	r.line.answers = false;
	before = r.line.pulses;
	pit_rig_run(&r, 9);
	assert_about(r.line.pulses, before + 8, before + 10);
	pit_rig_fini(&r);

	/* A guest that has never acknowledged is owed nothing. */
	pit_rig_init(&r, NULL, true);
	r.line.answers = false;
	pit_rig_program(&r, 0, 2, 1193);
	pit_rig_run(&r, 1000);
	r.line.answers = true;
	before = r.line.pulses;
	pit_rig_ack(&r);
	assert_about(r.line.pulses, before, before + 2);
	/* Nor is one that programs another rate. */
	r.line.answers = false;
	pit_rig_run(&r, 1000);
	pit_rig_program(&r, 0, 2, 11932);
	before = r.line.pulses;
	r.line.answers = true;
	pit_rig_ack(&r);
	assert_int_equal(r.line.pulses, before);
	pit_rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fastest),         cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_masked),          cmocka_unit_test(test_masked_by_handler),
		cmocka_unit_test(test_masked_for_long), cmocka_unit_test(test_sent_again),
		cmocka_unit_test(test_dilate),          cmocka_unit_test(test_keep),
		cmocka_unit_test(test_keep_one_shot),   cmocka_unit_test(test_dial),
		cmocka_unit_test(test_late_catchup),    cmocka_unit_test(test_late_dilated),
		cmocka_unit_test(test_late_restored),   cmocka_unit_test(test_late_delay),
		cmocka_unit_test(test_late_discard),    cmocka_unit_test(test_slow_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
