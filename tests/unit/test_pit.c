/* SPDX-License-Identifier: MIT */
/*
 * The interval timer at its ports, and the ticks that a guest gets of it: rates, the cap, bursts,
 * what becomes of ticks for which host or guest was late.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pit/pit.h"
#include "tests/unit/fake.h"

#define CONTROL 0x43
#define MS 1000000ull

struct fake_line {
	struct fake_clock *clock;
	unsigned pulses;
	uint64_t last, gap; /* ns: of the last one, and the shortest between two */
	int taken; /* what a pulse returns */
	bool answers; /* the guest acknowledges at once */
	unsigned acked; /* how many it has, since that was last asked */
	bool watched;
};

struct rig {
	struct bus bus;
	struct fake_clock clock;
	struct fake_line line;
	struct device *dev;
};

static int line_pulse(void *ctx)
{
	struct fake_line *l = ctx;

	if (l->pulses && l->clock->now - l->last < l->gap)
		l->gap = l->clock->now - l->last;
	l->pulses++;
	l->last = l->clock->now;
	l->acked += l->answers;
	return l->taken;
}

static uint64_t line_acked(void *ctx)
{
	struct fake_line *l = ctx;
	unsigned acked = l->acked;

	l->acked = 0;
	return acked;
}

static void line_watch(void *ctx, bool on)
{
	((struct fake_line *)ctx)->watched = on;
}

/* What KVM would do: who watches is called. */
static void run_acks(struct rig *r)
{
	while (r->line.watched && r->line.acked)
		pit_acked(r->dev);
}

static void ack(struct rig *r)
{
	r->line.acked = 1;
	run_acks(r);
}

static void setup(struct rig *r, const struct pit_policy *policy, bool tells)
{
	struct pit_config cfg = {
		.name = "pit",
		.bus = &r->bus,
		.clock = &r->clock.clock,
		.line = { line_pulse, tells ? line_acked : NULL, line_watch, &r->line },
	};

	memset(r, 0, sizeof(*r));
	bus_init(&r->bus);
	fake_clock_init(&r->clock);
	r->clock.now = 12345678901;
	r->line =
		(struct fake_line){ .clock = &r->clock, .taken = 1, .answers = true, .gap = ~0ull };
	if (policy)
		cfg.policy = *policy;
	assert_int_equal(pit_create(&cfg, &r->dev), 0);
}

static void teardown(struct rig *r)
{
	device_destroy(r->dev);
	assert_null(r->clock.armed);
	bus_destroy(&r->bus);
}

/* In small steps, so that acknowledgements are seen soon. */
static void run(struct rig *r, uint64_t ms)
{
	for (uint64_t i = 0; i < ms * 10; i++) {
		run_acks(r);
		fake_clock_advance(&r->clock, MS / 10);
	}
	run_acks(r);
}

/* The host does nothing for that long: time passes, no timer fires. */
static void sleep_host(struct rig *r, uint64_t ns)
{
	r->clock.now += ns;
}

static void program(struct rig *r, unsigned counter, unsigned mode, unsigned count)
{
	outb(&r->bus, CONTROL, counter << 6 | 0x30 | mode << 1);
	outb(&r->bus, 0x40 + counter, count & 0xff);
	outb(&r->bus, 0x40 + counter, count >> 8);
}

static unsigned read_both(struct rig *r, unsigned counter)
{
	unsigned low = inb(&r->bus, 0x40 + counter);

	return low | (unsigned)inb(&r->bus, 0x40 + counter) << 8;
}

static unsigned read_count(struct rig *r, unsigned counter)
{
	outb(&r->bus, CONTROL, counter << 6);
	return read_both(r, counter);
}

/* Interrupts in that time. */
static unsigned ticks(struct rig *r, uint64_t ms)
{
	unsigned before = r->line.pulses;

	run(r, ms);
	return r->line.pulses - before;
}

static void assert_about(uint64_t got, uint64_t low, uint64_t high)
{
	if (got < low || got > high)
		fail_msg("%llu is not from %llu to %llu", (unsigned long long)got,
			 (unsigned long long)low, (unsigned long long)high);
}

/* --- registers ------------------------------------------------------------------ */

static void test_ports(void **state)
{
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	/* The control port cannot be read, whatever is asked for before. */
	for (unsigned i = 0; i < 256; i++) {
		outb(&r.bus, CONTROL, i);
		assert_int_equal(inb(&r.bus, CONTROL), 0xff);
	}
	assert_int_equal(inb(&r.bus, 0x44), 0xff);
	teardown(&r);
}

static void test_read_back(void **state)
{
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 0, 2, 11932);
	program(&r, 1, 2, 18);
	outb(&r.bus, PLATFORM_PORT_SPEAKER, 1);
	program(&r, 2, 3, 1000);
	fake_clock_advance(&r.clock, MS / 10); /* 119 pulses */
	/* Count and status of 0 and 2; 1 is left alone. */
	outb(&r.bus, CONTROL, 0xc0 | 0x0a);
	fake_clock_advance(&r.clock, MS / 10);
	assert_int_equal(inb(&r.bus, 0x40), 0x80 | 0x34);
	assert_about(read_both(&r, 0), 11932 - 120, 11932 - 117);
	assert_int_equal(inb(&r.bus, 0x42), 0x80 | 0x36);
	assert_about(read_both(&r, 2), 1000 - 240, 1000 - 234);
	assert_true(inb(&r.bus, 0x41) <= 18);
	/* The count only; the status only. */
	outb(&r.bus, CONTROL, 0xd0 | 0x02);
	assert_about(read_both(&r, 0), 11932 - 240, 11932 - 236);
	outb(&r.bus, CONTROL, 0xe0 | 0x0e);
	assert_int_equal(inb(&r.bus, 0x40), 0x80 | 0x34);
	assert_int_equal(inb(&r.bus, 0x41) & 0x3f, 0x34);
	assert_int_equal(inb(&r.bus, 0x42), 0x80 | 0x36);
	teardown(&r);
}

static void test_speaker(void **state)
{
	unsigned changes = 0, last, now;
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 2, 0, 11932);
	fake_clock_advance(&r.clock, 20 * MS);
	assert_int_equal(inb(&r.bus, 0x61) & ~0x10, 0);
	outb(&r.bus, 0x61, 0xf1);
	assert_int_equal(inb(&r.bus, 0x61) & ~0x10, 1);
	fake_clock_advance(&r.clock, 5 * MS);
	/* Closed for a while: it goes on where it was. */
	outb(&r.bus, 0x61, 2);
	assert_int_equal(inb(&r.bus, 0x61) & ~0x10, 2);
	fake_clock_advance(&r.clock, 20 * MS);
	outb(&r.bus, 0x61, 3);
	fake_clock_advance(&r.clock, 4900000);
	assert_int_equal(inb(&r.bus, 0x61) & ~0x10, 3);
	fake_clock_advance(&r.clock, 200000);
	assert_int_equal(inb(&r.bus, 0x61) & ~0x10, 0x23);
	/* The refresh bit: each 15085 ns. */
	last = inb(&r.bus, 0x61);
	for (unsigned i = 0; i < 10000; i++) {
		fake_clock_advance(&r.clock, 1000);
		now = inb(&r.bus, 0x61);
		changes += (now ^ last) >> 4 & 1;
		last = now;
	}
	assert_about(changes, 662, 664);
	teardown(&r);
}

/* --- rates ---------------------------------------------------------------------- */

static void test_rates(void **state)
{
	static const struct {
		unsigned mode, count, low, high;
	} cases[] = {
		{ 2, 0, 181, 183 },      { 3, 0, 181, 183 },      { 2, 11932, 999, 1000 },
		{ 3, 11932, 999, 1000 }, { 2, 4773, 2499, 2500 }, { 3, 1193, 10001, 10002 },
		{ 0, 11932, 1, 1 },      { 4, 11932, 1, 1 },      { 1, 11932, 0, 0 },
		{ 5, 11932, 0, 0 },
	};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setup(&r, NULL, true);
		program(&r, 0, cases[i].mode, cases[i].count);
		assert_about(ticks(&r, 10000), cases[i].low, cases[i].high);
		teardown(&r);
	}
}

/* Each tick is there when it is due, to the pulse, over a long time. */
static void test_exact(void **state)
{
	uint64_t start;
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 0, 2, 1193);
	start = r.clock.now;
	for (unsigned i = 1; i <= 100000; i++) {
		uint64_t due = start + (i * 1193ull + 1) * NSEC_PER_SEC / PIT_HZ;

		while (r.line.pulses < i)
			fake_clock_advance(&r.clock, r.clock.armed->deadline - r.clock.now);
		assert_about(r.clock.now, due - 840, due + 840);
	}
	teardown(&r);
}

static void test_one_shot(void **state)
{
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 0, 0, 1193);
	/* Written again before it fires, it starts again. */
	for (unsigned i = 0; i < 5; i++) {
		fake_clock_advance(&r.clock, MS * 9 / 10);
		outb(&r.bus, 0x40, 1193 & 0xff);
		outb(&r.bus, 0x40, 1193 >> 8);
	}
	assert_int_equal(r.line.pulses, 0);
	assert_int_equal(ticks(&r, 10), 1);
	/* OUT rises where a control word takes mode 0's low output away. */
	program(&r, 0, 0, 0);
	outb(&r.bus, CONTROL, 0x34);
	assert_int_equal(r.line.pulses, 2);
	assert_null(r.clock.armed);
	teardown(&r);
}

/* Whatever a guest writes, it does not keep the host busy. */
static void test_fastest(void **state)
{
	static const struct pit_policy dilate = { 20000, PIT_TIME_DILATE, PIT_LOST_CATCHUP };
	struct rig r;

	(void)state;
	for (unsigned count = 1; count < 60; count++) {
		setup(&r, count & 1 ? NULL : &dilate, true);
		program(&r, 0, count & 2 ? 2 : 3, count);
		assert_true(ticks(&r, 100) <= (count == 1 ? 0 : 2001));
		teardown(&r);
		setup(&r, NULL, false);
		program(&r, 0, count & 2 ? 2 : 3, count);
		assert_true(ticks(&r, 100) <= (count == 1 ? 0 : 2001));
		assert_true(r.line.gap >= 50000);
		teardown(&r);
	}
}

static void test_masked(void **state)
{
	struct pit_info info;
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 0, 2, 1193);
	r.line.taken = -1;
	r.line.answers = false;
	assert_about(ticks(&r, 1000), 999, 1001);
	pit_get_info(r.dev, &info);
	assert_int_equal(info.owed, 0);
	/* Who unmasks it is not flooded with what was lost. */
	r.line.taken = 1;
	r.line.answers = true;
	assert_about(ticks(&r, 1000), 999, 1001);
	teardown(&r);
}

/*
 * A handler that acknowledges at its start and unmasks at its end, as Linux's for the PIC: the tick that
 * follows at once finds the line masked, and is kept there.
 */
static void test_masked_by_handler(void **state)
{
	unsigned had = 0;
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 0, 2, 1193);
	run(&r, 10);
	sleep_host(&r, 100 * MS);
	r.line.answers = false;
	for (unsigned i = 0; i < 1000; i++) {
		unsigned before = r.line.pulses;

		fake_clock_advance(&r.clock, MS / 10);
		had += r.line.pulses != before;
		before = r.line.pulses;
		r.line.taken = -1;
		ack(&r);
		r.line.taken = 1;
		had += r.line.pulses != before;
	}
	/* 100 ms late, 100 ms since. */
	assert_about(had, 198, 202);
	teardown(&r);
}

/* Late to acknowledge, it may have had one tick twice, or once: both are made up for. */
static void test_sent_again(void **state)
{
	struct rig r;

	(void)state;
	for (unsigned arrived = 1; arrived <= 2; arrived++) {
		unsigned had;

		setup(&r, NULL, true);
		program(&r, 0, 2, 11932);
		run(&r, 105);
		had = r.line.pulses;
		assert_int_equal(had, 10);
		r.line.answers = false;
		run(&r, 40);
		assert_int_equal(r.line.pulses, 12);
		r.line.answers = true;
		r.line.acked = arrived;
		run_acks(&r);
		had += arrived + r.line.pulses - 12;
		assert_int_equal(had, 14);
		had += ticks(&r, 855);
		assert_about(had, 99, 100);
		teardown(&r);
	}
}

/* --- the cap -------------------------------------------------------------------- */

static void test_dilate(void **state)
{
	static const struct pit_policy policy = { 100, PIT_TIME_DILATE, PIT_LOST_CATCHUP };
	struct rig r;
	unsigned a, b;

	(void)state;
	setup(&r, &policy, true);
	program(&r, 0, 2, 1193);
	assert_about(ticks(&r, 10000), 999, 1001);
	assert_true(r.line.gap >= 10 * MS - 100000);
	/* Counter 0 counts a tenth as fast, and its count and its ticks agree. */
	run(&r, 10 - (r.clock.now - r.line.last) / MS);
	a = read_count(&r, 0);
	fake_clock_advance(&r.clock, 4 * MS);
	b = read_count(&r, 0);
	assert_about((a + 1193 - b) % 1193, 476, 479);
	/* The others know nothing of it. */
	outb(&r.bus, 0x61, 1);
	program(&r, 2, 2, 0);
	fake_clock_advance(&r.clock, MS);
	a = read_count(&r, 2);
	fake_clock_advance(&r.clock, 10 * MS);
	assert_about(a - read_count(&r, 2), 11930, 11933);
	/* Slower rates and one-shots are as they were asked for. */
	program(&r, 0, 3, 0);
	assert_about(ticks(&r, 10000), 181, 183);
	program(&r, 0, 0, 5000);
	assert_int_equal(ticks(&r, 20), 1);
	teardown(&r);
}

static void test_keep(void **state)
{
	static const struct pit_policy policy = { 100, PIT_TIME_KEEP, PIT_LOST_CATCHUP };
	unsigned bursts = 0, before;
	struct rig r;

	(void)state;
	setup(&r, &policy, true);
	program(&r, 0, 2, 1193);
	/* All of them, in a hundred bursts a second. */
	assert_about(ticks(&r, 10000), 9990, 10002);
	before = r.line.pulses;
	for (unsigned i = 0; i < 10000; i++) {
		fake_clock_advance(&r.clock, MS / 10);
		bursts += r.line.pulses != before;
		run_acks(&r);
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
	ack(&r);
	assert_int_equal(r.line.pulses, before + 1);
	ack(&r);
	assert_int_equal(r.line.pulses, before + 2);
	teardown(&r);

	/* Without acknowledgements: the same number, at most four times as fast as was asked. */
	setup(&r, &policy, false);
	program(&r, 0, 2, 1193);
	assert_about(ticks(&r, 10000), 9980, 10002);
	assert_true(r.line.gap >= MS / 4 - 1000);
	teardown(&r);
}

/* One-shots: no closer to each other than that. */
static void test_keep_one_shot(void **state)
{
	static const struct pit_policy policy = { 100, PIT_TIME_KEEP, PIT_LOST_CATCHUP };
	struct rig r;

	(void)state;
	setup(&r, &policy, true);
	for (unsigned i = 0; i < 1000; i++) {
		program(&r, 0, 0, 500);
		run(&r, 1);
	}
	assert_about(r.line.pulses, 98, 101);
	assert_true(r.line.gap >= 9 * MS);
	teardown(&r);
}

static void test_dial(void **state)
{
	struct pit_policy policy = { 50, PIT_TIME_DILATE, PIT_LOST_CATCHUP };
	struct pit_info info;
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 0, 2, 4773);
	assert_about(ticks(&r, 1000), 249, 251);
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	assert_about(ticks(&r, 1000), 49, 51);
	policy.time = PIT_TIME_KEEP;
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	assert_about(ticks(&r, 1000), 244, 256);
	policy.max_hz = 1;
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	assert_about(ticks(&r, 3000), 500, 752);
	policy.max_hz = 0;
	assert_int_equal(pit_set_policy(r.dev, &policy), 0);
	(void)ticks(&r, 10);
	assert_about(ticks(&r, 1000), 249, 251);
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
	teardown(&r);
}

/* --- who is late ------------------------------------------------------------------ */

static void late(struct rig *r, unsigned lost, bool tells)
{
	struct pit_policy policy = { 0, PIT_TIME_KEEP, lost };

	setup(r, &policy, tells);
	program(r, 0, 2, 11932);
	assert_about(ticks(r, 1005), 100, 100);
	sleep_host(r, 1000 * MS);
}

static void test_late_catchup(void **state)
{
	struct pit_info info;
	struct rig r;

	(void)state;
	for (unsigned tells = 0; tells < 2; tells++) {
		late(&r, PIT_LOST_CATCHUP, tells);
		/* Without acknowledgements nobody knows that the guest listens. */
		assert_about(ticks(&r, 2000), tells ? 299 : 199, tells ? 301 : 201);
		teardown(&r);
	}
	/* Bounded. */
	late(&r, PIT_LOST_CATCHUP, true);
	sleep_host(&r, 3600000 * MS);
	assert_about(ticks(&r, 2000), 200 + PIT_CATCHUP_SECONDS * 100 - 1,
		     200 + PIT_CATCHUP_SECONDS * 100 + 2);
	pit_get_info(r.dev, &info);
	assert_about(info.dropped + PIT_CATCHUP_SECONDS * 100, 360090, 360110);
	teardown(&r);
}

static void test_late_delay(void **state)
{
	struct rig r;
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
	assert_about(ticks(&r, 1000), 99, 101);
	teardown(&r);
}

static void test_late_discard(void **state)
{
	struct pit_info info;
	struct rig r;

	(void)state;
	late(&r, PIT_LOST_DISCARD, true);
	assert_int_equal(ticks(&r, 1), 1);
	/* The others come when they would have come: it is 2006 ms now. */
	assert_int_equal(ticks(&r, 3), 0);
	assert_int_equal(ticks(&r, 3), 1);
	assert_about(ticks(&r, 1000), 99, 101);
	pit_get_info(r.dev, &info);
	assert_about(info.dropped, 98, 100);
	teardown(&r);
}

/* The guest is late: it acknowledges nothing for a while. */
static void test_slow_guest(void **state)
{
	static const struct pit_policy discard = { 0, PIT_TIME_KEEP, PIT_LOST_DISCARD };
	unsigned before;
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	program(&r, 0, 2, 1193);
	run(&r, 100);
	r.line.answers = false;
	before = r.line.pulses;
	run(&r, 9);
	/* One waits; another edge would be the same interrupt. */
	assert_int_equal(r.line.pulses, before + 1);
	r.line.answers = true;
	ack(&r);
	assert_about(r.line.pulses, before + 9, before + 10);
	/* One that never comes back is tried again, and costs it nothing. */
	r.line.answers = false;
	before = r.line.pulses;
	run(&r, 100);
	assert_about(r.line.pulses - before, 9, 11);
	r.line.answers = true;
	ack(&r);
	assert_about(r.line.pulses - before, 105, 112);
	teardown(&r);

	setup(&r, &discard, true);
	program(&r, 0, 2, 1193);
	run(&r, 100);
	r.line.answers = false;
	before = r.line.pulses;
	run(&r, 9);
	assert_about(r.line.pulses, before + 8, before + 10);
	teardown(&r);

	/* A guest that has never acknowledged is owed nothing. */
	setup(&r, NULL, true);
	r.line.answers = false;
	program(&r, 0, 2, 1193);
	run(&r, 1000);
	r.line.answers = true;
	before = r.line.pulses;
	ack(&r);
	assert_about(r.line.pulses, before, before + 2);
	/* Nor is one that programs another rate. */
	r.line.answers = false;
	run(&r, 1000);
	program(&r, 0, 2, 11932);
	before = r.line.pulses;
	r.line.answers = true;
	ack(&r);
	assert_int_equal(r.line.pulses, before);
	teardown(&r);
}

/* --- state ------------------------------------------------------------------------ */

static void restore(struct rig *from, struct rig *to)
{
	struct state_buf buf = { 0 };

	assert_int_equal(state_save(from->dev, &buf), 0);
	assert_int_equal(state_load(to->dev, buf.data, buf.len), buf.len);
	state_buf_free(&buf);
}

static void test_state(void **state)
{
	static const struct pit_policy policies[] = {
		{ 0, PIT_TIME_KEEP, PIT_LOST_CATCHUP },
		{ 100, PIT_TIME_KEEP, PIT_LOST_CATCHUP },
		{ 100, PIT_TIME_DILATE, PIT_LOST_CATCHUP },
	};
	struct rig a, b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		setup(&a, &policies[i], true);
		setup(&b, &policies[i], true);
		/* Another host, at another time; of the same pulse the same part is over. */
		fake_clock_advance(&b.clock, 98000 * MS + 48 * MS);
		program(&a, 0, 3, 1193);
		program(&a, 2, 0, 60000);
		outb(&a.bus, 0x61, 3);
		outb(&a.bus, 0x41, 0x55); /* half a count */
		run(&a, 33);
		outb(&a.bus, CONTROL, 0xc8); /* latched, unread */
		outb(&a.bus, 0x42, 0x10);
		(void)inb(&a.bus, 0x42);
		a.line.answers = false;
		fake_clock_advance(&a.clock, 15 * MS);
		check_state_round_trip(a.dev, b.dev);
		restore(&a, &b);
		/* Acknowledged is what each of them has sent. */
		a.line.answers = b.line.answers = true;
		a.line.pulses = b.line.pulses = 0;
		a.line.acked = b.line.acked = 1;
		for (unsigned k = 0; k < 200; k++) {
			run(&a, 1);
			run(&b, 1);
			assert_int_equal(a.line.pulses, b.line.pulses);
			assert_int_equal(inb(&a.bus, 0x61), inb(&b.bus, 0x61));
			assert_int_equal(inb(&a.bus, 0x42), inb(&b.bus, 0x42));
			assert_int_equal(inb(&a.bus, 0x41), inb(&b.bus, 0x41));
			if (policies[i].time == PIT_TIME_KEEP)
				assert_int_equal(inb(&a.bus, 0x40), inb(&b.bus, 0x40));
		}
		assert_true(a.line.pulses > 15);
		teardown(&a);
		teardown(&b);
	}
}

static void test_reset(void **state)
{
	struct state_buf fresh = { 0 }, reset = { 0 };
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	assert_int_equal(state_save(r.dev, &fresh), 0);
	program(&r, 0, 2, 1193);
	outb(&r.bus, 0x61, 3);
	run(&r, 100);
	r.line.answers = false;
	run(&r, 10);
	device_reset(r.dev);
	assert_null(r.clock.armed);
	assert_false(r.line.watched);
	assert_int_equal(state_save(r.dev, &reset), 0);
	assert_int_equal(fresh.len, reset.len);
	assert_memory_equal(fresh.data, reset.data, fresh.len);
	assert_int_equal(ticks(&r, 100), 0);
	state_buf_free(&fresh);
	state_buf_free(&reset);
	teardown(&r);
}

static void test_names(void **state)
{
	static const char *const names[] = { "counter0", "counter1", "counter2", "control" };
	const char *dev, *reg;
	struct rig r;

	(void)state;
	setup(&r, NULL, true);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(bus_name(&r.bus, BUS_PIO, 0x40 + i, false, &dev, &reg));
		assert_string_equal(dev, "pit");
		assert_string_equal(reg, names[i]);
	}
	assert_true(bus_name(&r.bus, BUS_PIO, 0x61, true, &dev, &reg));
	assert_string_equal(reg, "speaker");
	teardown(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_speaker),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_one_shot),
		cmocka_unit_test(test_fastest),
		cmocka_unit_test(test_masked),
		cmocka_unit_test(test_masked_by_handler),
		cmocka_unit_test(test_sent_again),
		cmocka_unit_test(test_dilate),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_keep_one_shot),
		cmocka_unit_test(test_dial),
		cmocka_unit_test(test_late_catchup),
		cmocka_unit_test(test_late_delay),
		cmocka_unit_test(test_late_discard),
		cmocka_unit_test(test_slow_guest),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
