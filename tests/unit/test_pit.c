/* SPDX-License-Identifier: MIT */
/* The interval timer at its ports: registers, rates, what it saves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/platform.h"
#include "base/state.h"
#include "tests/unit/pit_rig.h"

static unsigned read_both(struct pit_rig *r, unsigned counter)
{
	unsigned low = inb(&r->bus, 0x40 + counter);

	return low | (unsigned)inb(&r->bus, 0x40 + counter) << 8;
}

/* --- registers ------------------------------------------------------------------ */

static void test_ports(void **state)
{
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	/* The control port cannot be read, whatever is asked for before. */
	for (unsigned i = 0; i < 256; i++) {
		outb(&r.bus, PIT_RIG_CONTROL, i);
		assert_int_equal(inb(&r.bus, PIT_RIG_CONTROL), 0xff);
	}
	assert_int_equal(inb(&r.bus, 0x44), 0xff);
	pit_rig_fini(&r);
}

static void test_read_back(void **state)
{
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 11932);
	pit_rig_program(&r, 1, 2, 18);
	outb(&r.bus, PLATFORM_PORT_SPEAKER, 1);
	pit_rig_program(&r, 2, 3, 1000);
	fake_clock_advance(&r.clock, MS / 10); /* 119 pulses */
	/* Count and status of 0 and 2; 1 is left alone. */
	outb(&r.bus, PIT_RIG_CONTROL, 0xc0 | 0x0a);
	fake_clock_advance(&r.clock, MS / 10);
	assert_int_equal(inb(&r.bus, 0x40), 0x80 | 0x34);
	assert_about(read_both(&r, 0), 11932 - 120, 11932 - 117);
	assert_int_equal(inb(&r.bus, 0x42), 0x80 | 0x36);
	assert_about(read_both(&r, 2), 1000 - 240, 1000 - 234);
	assert_true(inb(&r.bus, 0x41) <= 18);
	/* The count only; the status only. */
	outb(&r.bus, PIT_RIG_CONTROL, 0xd0 | 0x02);
	assert_about(read_both(&r, 0), 11932 - 240, 11932 - 236);
	outb(&r.bus, PIT_RIG_CONTROL, 0xe0 | 0x0e);
	assert_int_equal(inb(&r.bus, 0x40), 0x80 | 0x34);
	assert_int_equal(inb(&r.bus, 0x41) & 0x3f, 0x34);
	assert_int_equal(inb(&r.bus, 0x42), 0x80 | 0x36);
	pit_rig_fini(&r);
}

static void test_speaker(void **state)
{
	unsigned changes = 0, last, now;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 2, 0, 11932);
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
	pit_rig_fini(&r);
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
	struct pit_rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pit_rig_init(&r, NULL, true);
		pit_rig_program(&r, 0, cases[i].mode, cases[i].count);
		assert_about(pit_rig_ticks(&r, 10000), cases[i].low, cases[i].high);
		pit_rig_fini(&r);
	}
}

/* Each tick is there when it is due, to the pulse, over a long time. */
static void test_exact(void **state)
{
	uint64_t start;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 1193);
	start = r.clock.now;
	for (unsigned i = 1; i <= 100000; i++) {
		uint64_t due = start + (i * 1193ull + 1) * NSEC_PER_SEC / PIT_HZ;

		while (r.line.pulses < i)
			fake_clock_advance(&r.clock, r.clock.armed->deadline - r.clock.now);
		assert_about(r.clock.now, due - 840, due + 840);
	}
	pit_rig_fini(&r);
}

static void test_one_shot(void **state)
{
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 0, 1193);
	/* Written again before it fires, it starts again. */
	for (unsigned i = 0; i < 5; i++) {
		fake_clock_advance(&r.clock, MS * 9 / 10);
		outb(&r.bus, 0x40, 1193 & 0xff);
		outb(&r.bus, 0x40, 1193 >> 8);
	}
	assert_int_equal(r.line.pulses, 0);
	assert_int_equal(pit_rig_ticks(&r, 10), 1);
	/* OUT rises where a control word takes mode 0's low output away. */
	pit_rig_program(&r, 0, 0, 0);
	outb(&r.bus, PIT_RIG_CONTROL, 0x34);
	assert_int_equal(r.line.pulses, 2);
	assert_null(r.clock.armed);
	pit_rig_fini(&r);
}

/* --- state ------------------------------------------------------------------------ */

static void restore(struct pit_rig *from, struct pit_rig *to)
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
	struct pit_rig a, b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		pit_rig_init(&a, &policies[i], true);
		pit_rig_init(&b, &policies[i], true);
		/* Another host, at another time; of the same pulse the same part is over. */
		fake_clock_advance(&b.clock, 98000 * MS + 48 * MS);
		pit_rig_program(&a, 0, 3, 1193);
		pit_rig_program(&a, 2, 0, 60000);
		outb(&a.bus, 0x61, 3);
		outb(&a.bus, 0x41, 0x55); /* half a count */
		pit_rig_run(&a, 33);
		outb(&a.bus, PIT_RIG_CONTROL, 0xc8); /* latched, unread */
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
			pit_rig_run(&a, 1);
			pit_rig_run(&b, 1);
			assert_int_equal(a.line.pulses, b.line.pulses);
			assert_int_equal(inb(&a.bus, 0x61), inb(&b.bus, 0x61));
			assert_int_equal(inb(&a.bus, 0x42), inb(&b.bus, 0x42));
			assert_int_equal(inb(&a.bus, 0x41), inb(&b.bus, 0x41));
			if (policies[i].time == PIT_TIME_KEEP)
				assert_int_equal(inb(&a.bus, 0x40), inb(&b.bus, 0x40));
		}
		assert_true(a.line.pulses > 15);
		pit_rig_fini(&a);
		pit_rig_fini(&b);
	}
}

static void test_reset(void **state)
{
	struct state_buf fresh = { 0 }, reset = { 0 };
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	assert_int_equal(state_save(r.dev, &fresh), 0);
	pit_rig_program(&r, 0, 2, 1193);
	outb(&r.bus, 0x61, 3);
	pit_rig_run(&r, 100);
	r.line.answers = false;
	pit_rig_run(&r, 10);
	device_reset(r.dev);
	assert_null(r.clock.armed);
	assert_false(r.line.watched);
	assert_int_equal(state_save(r.dev, &reset), 0);
	assert_int_equal(fresh.len, reset.len);
	assert_memory_equal(fresh.data, reset.data, fresh.len);
	assert_int_equal(pit_rig_ticks(&r, 100), 0);
	state_buf_free(&fresh);
	state_buf_free(&reset);
	pit_rig_fini(&r);
}

static void test_hostile_state(void **state)
{
	static const struct state_damage cases[] = {
		{ "now", 8, 1ull << 62 },
		{ "now", 8, 12345 }, /* the counters are of another time */
		{ "counters[0].at", 8, UINT64_MAX },
		{ "counters[0].start", 8, 1ull << 63 },
		{ "counters[0].load_at", 8, 0 },
		{ "counters[0].held", 8, 1ull << 62 },
		{ "counters[0].n", 4, 65537 },
		{ "counters[0].control", 1, 0x40 },
		{ "counters[0].control", 1, 0x04 }, /* no bytes to access */
		{ "counters[0].gate", 1, 0 },
		{ "counters[1].gate", 1, 0 },
		{ "counters[2].at", 8, 0 },
		{ "counters[2].gate", 1, 0 }, /* port 0x61 has it open */
		{ "counters[2].null", 1, 2 },
		{ "counters[2].latched", 1, 4 },
		{ "ticks.burst_at", 8, UINT64_MAX },
		{ "ticks.sent_at", 8, UINT64_MAX },
		{ "ticks.owed", 4, UINT32_MAX },
		{ "ticks.unacked", 1, 4 },
		{ "ticks.listens", 1, 2 },
		{ "speaker", 1, 4 },
		{ "speaker", 1, 2 },
	};
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	pit_rig_program(&r, 0, 2, 11932);
	outb(&r.bus, PLATFORM_PORT_SPEAKER, 1);
	pit_rig_program(&r, 2, 3, 1000);
	pit_rig_run(&r, 15);
	check_state_refused(r.dev, cases, ARRAY_SIZE(cases));
	/* It goes on as if nothing had been tried. */
	assert_int_equal(pit_rig_ticks(&r, 10), 1);
	pit_rig_fini(&r);
}

static void test_names(void **state)
{
	static const char *const names[] = { "counter0", "counter1", "counter2", "control" };
	const char *dev, *reg;
	struct pit_rig r;

	(void)state;
	pit_rig_init(&r, NULL, true);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(bus_name(&r.bus, BUS_PIO, 0x40 + i, false, &dev, &reg));
		assert_string_equal(dev, "pit");
		assert_string_equal(reg, names[i]);
	}
	assert_true(bus_name(&r.bus, BUS_PIO, 0x61, true, &dev, &reg));
	assert_string_equal(reg, "speaker");
	pit_rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),         cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_speaker),       cmocka_unit_test(test_rates),
		cmocka_unit_test(test_exact),         cmocka_unit_test(test_one_shot),
		cmocka_unit_test(test_state),         cmocka_unit_test(test_reset),
		cmocka_unit_test(test_hostile_state), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
