/* SPDX-License-Identifier: MIT */
/*
 * A counter of the 8254 against the waveforms of its data sheet (231164, "Mode Definitions"): OUT
 * and the counting element, pulse by pulse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/pit/counter.h"

#define LSB 0x10
#define MSB 0x20
#define BOTH 0x30
#define MODE(n) ((n) << 1)
#define BCD 1

/* Rises as they were counted; OUT as it was before. */
struct probe {
	struct counter_state c;
	uint64_t rises, seen;
	bool out;
};

static void look(struct probe *p)
{
	bool out = counter_out(&p->c);

	p->seen += out && !p->out;
	p->out = out;
}

static void power_on(struct probe *p, uint8_t control)
{
	*p = (struct probe){ .rises = 0 };
	counter_reset(&p->c, 1000, true);
	counter_control(&p->c, control);
	p->out = counter_out(&p->c);
}

static void pulse(struct probe *p)
{
	uint64_t next = counter_next_rise(&p->c);
	uint64_t rises = counter_advance(&p->c, p->c.at + 1);

	look(p);
	p->rises += rises;
	assert_int_equal(p->rises, p->seen);
	/* What was announced happens, and nothing else. */
	assert_int_equal(next == p->c.at, rises);
	assert_true(counter_valid(&p->c));
}

static unsigned count(struct probe *p)
{
	struct counter_state c = p->c;
	unsigned v;

	c.latched = 0;
	counter_latch_count(&c);
	v = c.latch;
	return v;
}

/* wave: OUT behind each pulse, '-' high and '_' low; counts: the counting element. */
static void expect(struct probe *p, const char *wave, const unsigned *counts)
{
	for (unsigned i = 0; wave[i]; i++) {
		pulse(p);
		if (counter_out(&p->c) != (wave[i] == '-'))
			fail_msg("pulse %u of %s: OUT is %u", i, wave, counter_out(&p->c));
		if (counts && count(p) != counts[i])
			fail_msg("pulse %u of %s: count 0x%x, not 0x%x", i, wave, count(p),
				 counts[i]);
	}
}

#define EXPECT(p, wave, ...) expect(p, wave, (const unsigned[]){ __VA_ARGS__ })

static void gate(struct probe *p, bool on)
{
	counter_set_gate(&p->c, on);
	p->out = counter_out(&p->c);
}

static void test_mode0(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(0));
	assert_false(p.out);
	EXPECT(&p, "__", 0, 0);
	/* High N + 1 pulses after the count was written. */
	counter_write(&p.c, 4);
	EXPECT(&p, "____---", 4, 3, 2, 1, 0, 0xffff, 0xfffe);
	/* A new count makes it low at once, and is loaded with the next pulse. */
	counter_write(&p.c, 2);
	look(&p);
	assert_false(p.out);
	EXPECT(&p, "__--", 2, 1, 0, 0xffff);
	/* In mid-count. */
	counter_write(&p.c, 3);
	look(&p);
	EXPECT(&p, "__", 3, 2);
	counter_write(&p.c, 2);
	EXPECT(&p, "__-", 2, 1, 0);
}

static void test_mode0_gate(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(0));
	counter_write(&p.c, 3);
	EXPECT(&p, "__", 3, 2);
	gate(&p, false);
	EXPECT(&p, "___", 2, 2, 2);
	gate(&p, true);
	EXPECT(&p, "_--", 1, 0, 0xffff);
	gate(&p, false);
	assert_true(p.out);
	/* Written without GATE it is loaded all the same; then OUT rises N pulses after GATE. */
	counter_write(&p.c, 2);
	look(&p);
	EXPECT(&p, "__", 2, 2);
	gate(&p, true);
	EXPECT(&p, "_-", 1, 0);
}

static void test_mode0_two_bytes(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, BOTH | MODE(0));
	counter_write(&p.c, 2);
	EXPECT(&p, "__", 0, 0);
	counter_write(&p.c, 0);
	EXPECT(&p, "__-", 2, 1, 0);
	/* The first byte stops it and makes it low, the second goes on. */
	counter_write(&p.c, 1);
	look(&p);
	assert_false(p.out);
	EXPECT(&p, "__", 0, 0);
	gate(&p, false);
	gate(&p, true);
	EXPECT(&p, "_", 0);
	counter_write(&p.c, 1);
	EXPECT(&p, "___", 0x101, 0x100, 0xff);
	/* The first byte between a count and the pulse that would load it. */
	counter_write(&p.c, 5);
	counter_write(&p.c, 0);
	counter_write(&p.c, 1);
	EXPECT(&p, "__", 0xff, 0xff);
	counter_write(&p.c, 0);
	EXPECT(&p, "_-", 1, 0);
}

static void test_mode1(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(1));
	counter_write(&p.c, 3);
	expect(&p, "---", NULL);
	gate(&p, false);
	expect(&p, "--", NULL);
	gate(&p, true);
	EXPECT(&p, "___--", 3, 2, 1, 0, 0xffff);
	/* Retriggered in mid-pulse; GATE's fall does nothing. */
	gate(&p, false);
	gate(&p, true);
	EXPECT(&p, "__", 3, 2);
	gate(&p, false);
	EXPECT(&p, "_", 1);
	gate(&p, true);
	EXPECT(&p, "___", 3, 2, 1);
	/* A new count waits for the trigger. */
	counter_write(&p.c, 2);
	EXPECT(&p, "--", 0, 0xffff);
	gate(&p, false);
	gate(&p, true);
	EXPECT(&p, "__-", 2, 1, 0);
	/* A trigger before there is a count is none. */
	power_on(&p, LSB | MODE(1));
	gate(&p, false);
	gate(&p, true);
	expect(&p, "---", NULL);
}

static void test_mode2(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(2));
	assert_true(p.out);
	expect(&p, "--", NULL);
	/* Low for one pulse, N pulses after the count was written and each N pulses from there on. */
	counter_write(&p.c, 3);
	EXPECT(&p, "--_--_--_", 3, 2, 1, 3, 2, 1, 3, 2, 1);
	assert_int_equal(counter_period(&p.c), 3);
	/* A new count waits for the end of the cycle. */
	EXPECT(&p, "-", 3);
	counter_write(&p.c, 4);
	EXPECT(&p, "-_---_---_", 2, 1, 4, 3, 2, 1, 4, 3, 2, 1);
	/* GATE low makes OUT high at once and stops; its rise starts afresh. */
	gate(&p, false);
	assert_true(p.out);
	EXPECT(&p, "---", 1, 1, 1);
	gate(&p, true);
	EXPECT(&p, "---_---_", 4, 3, 2, 1, 4, 3, 2, 1);
	/* With a trigger a new count is taken at once. */
	EXPECT(&p, "-", 4);
	counter_write(&p.c, 2);
	gate(&p, false);
	gate(&p, true);
	EXPECT(&p, "-_-_", 2, 1, 2, 1);
	/* Mode 6 is mode 2. */
	power_on(&p, LSB | MODE(6));
	counter_write(&p.c, 2);
	expect(&p, "-_-_", NULL);
}

static void test_mode3_even(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(3));
	assert_true(p.out);
	counter_write(&p.c, 4);
	EXPECT(&p, "--__--__", 4, 2, 4, 2, 4, 2, 4, 2);
	/* A new count waits for the end of the half-cycle: of the high one here ... */
	EXPECT(&p, "-", 4);
	counter_write(&p.c, 6);
	EXPECT(&p, "-___---___", 2, 6, 4, 2, 6, 4, 2, 6, 4, 2);
	/* ... of the low one here. */
	EXPECT(&p, "---_", 6, 4, 2, 6);
	counter_write(&p.c, 2);
	EXPECT(&p, "__-_-_", 4, 2, 2, 2, 2, 2);
	counter_write(&p.c, 4);
	EXPECT(&p, "--__", 4, 2, 4, 2);
	gate(&p, false);
	assert_true(p.out);
	expect(&p, "---", NULL);
	gate(&p, true);
	EXPECT(&p, "--__--", 4, 2, 4, 2, 4, 2);
	power_on(&p, LSB | MODE(7));
	counter_write(&p.c, 4);
	expect(&p, "--__--__", NULL);
}

static void test_mode3_odd(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(3));
	counter_write(&p.c, 5);
	/* High for (N + 1) / 2, low for (N - 1) / 2. */
	EXPECT(&p, "---__---__", 4, 2, 0, 4, 2, 4, 2, 0, 4, 2);
	EXPECT(&p, "-", 4);
	counter_write(&p.c, 3);
	EXPECT(&p, "--_--_--_", 2, 0, 2, 2, 0, 2, 2, 0, 2);
}

static void test_mode4(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(4));
	assert_true(p.out);
	/* Low N + 1 pulses after the count was written, for one pulse. */
	counter_write(&p.c, 3);
	EXPECT(&p, "---_---", 3, 2, 1, 0, 0xffff, 0xfffe, 0xfffd);
	counter_write(&p.c, 3);
	EXPECT(&p, "--", 3, 2);
	gate(&p, false);
	EXPECT(&p, "--", 2, 2);
	gate(&p, true);
	EXPECT(&p, "-_-", 1, 0, 0xffff);
	/* A new count in mid-count is loaded with the next pulse. */
	counter_write(&p.c, 3);
	EXPECT(&p, "--", 3, 2);
	counter_write(&p.c, 2);
	EXPECT(&p, "--_-", 2, 1, 0, 0xffff);
	/* Of two bytes the first changes nothing. */
	power_on(&p, BOTH | MODE(4));
	counter_write(&p.c, 3);
	counter_write(&p.c, 0);
	EXPECT(&p, "-", 3);
	counter_write(&p.c, 1);
	EXPECT(&p, "--_-", 2, 1, 0, 0xffff);
	counter_write(&p.c, 1);
	EXPECT(&p, "--", 0x101, 0x100);
}

static void test_mode5(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, LSB | MODE(5));
	counter_write(&p.c, 3);
	expect(&p, "----", NULL);
	gate(&p, false);
	gate(&p, true);
	EXPECT(&p, "---_-", 3, 2, 1, 0, 0xffff);
	/* Retriggered; GATE's level does nothing. */
	gate(&p, false);
	gate(&p, true);
	EXPECT(&p, "--", 3, 2);
	gate(&p, false);
	EXPECT(&p, "-", 1);
	gate(&p, true);
	EXPECT(&p, "---", 3, 2, 1);
	counter_write(&p.c, 1);
	EXPECT(&p, "_-", 0, 0xffff);
	gate(&p, false);
	gate(&p, true);
	EXPECT(&p, "-_-", 1, 0, 0xffff);
}

/* After n pulses, and when OUT rises next from there. */
static void jump(struct probe *p, uint64_t n, unsigned want_count, bool want_out)
{
	p->rises += counter_advance(&p->c, p->c.at + n);
	assert_int_equal(count(p), want_count);
	assert_int_equal(counter_out(&p->c), want_out);
	p->out = want_out;
	p->seen = p->rises;
}

static void test_count_0(void **state)
{
	struct probe p;

	(void)state;
	/* The largest there is: 2^16, or 10^4. */
	power_on(&p, BOTH | MODE(2));
	counter_write(&p.c, 0);
	counter_write(&p.c, 0);
	jump(&p, 1, 0, true);
	jump(&p, 1, 0xffff, true);
	jump(&p, 65533, 2, true);
	assert_int_equal(counter_next_rise(&p.c) - p.c.at, 2);
	EXPECT(&p, "_-", 1, 0);
	jump(&p, 65536ull * 1000, 0, true);
	assert_int_equal(p.rises, 1001);

	power_on(&p, LSB | MODE(0) | BCD);
	counter_write(&p.c, 0);
	jump(&p, 1, 0, false);
	jump(&p, 1, 0x9999, false);
	jump(&p, 9998, 1, false);
	EXPECT(&p, "--", 0, 0x9999);

	power_on(&p, LSB | MODE(3) | BCD);
	counter_write(&p.c, 0);
	jump(&p, 1, 0, true);
	jump(&p, 1, 0x9998, true);
	jump(&p, 4998, 2, true);
	EXPECT(&p, "__", 0, 0x9998);
	assert_int_equal(counter_period(&p.c), 10000);

	power_on(&p, LSB | MODE(1));
	counter_write(&p.c, 0);
	gate(&p, false);
	gate(&p, true);
	jump(&p, 65536, 1, false);
	EXPECT(&p, "-", 0);
}

static void test_count_1(void **state)
{
	static const struct {
		uint8_t mode;
		bool trigger;
		const char *wave;
	} cases[] = {
		{ 0, false, "_--" },  { 1, true, "_--" },  { 2, false, "----" },
		{ 3, false, "----" }, { 4, false, "-_-" }, { 5, true, "-_-" },
	};
	struct probe p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		power_on(&p, LSB | MODE(cases[i].mode));
		counter_write(&p.c, 1);
		if (cases[i].trigger) {
			gate(&p, false);
			gate(&p, true);
		}
		expect(&p, cases[i].wave, NULL);
	}
	/* Not a rate, and nothing that keeps a host busy; it can be left. */
	power_on(&p, LSB | MODE(2));
	counter_write(&p.c, 1);
	jump(&p, 1u << 30, 1, true);
	assert_int_equal(counter_next_rise(&p.c), COUNTER_NEVER);
	assert_int_equal(counter_period(&p.c), 0);
	counter_write(&p.c, 2);
	expect(&p, "-_-_", NULL);
}

static void test_bcd(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, BOTH | MODE(2) | BCD);
	counter_write(&p.c, 0x02);
	counter_write(&p.c, 0x10);
	EXPECT(&p, "----", 0x1002, 0x1001, 0x1000, 0x999);
	assert_int_equal(counter_period(&p.c), 1002);
	/* Digits that are none stay within the modulus. */
	power_on(&p, BOTH | MODE(2) | BCD);
	counter_write(&p.c, 0xff);
	counter_write(&p.c, 0xff);
	pulse(&p);
	assert_int_equal(count(&p), 0x6665);
}

static void test_access(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, MSB | MODE(4));
	counter_write(&p.c, 0x12);
	EXPECT(&p, "-", 0x1200);
	assert_int_equal(counter_read(&p.c), 0x12);
	pulse(&p);
	assert_int_equal(counter_read(&p.c), 0x11);
	power_on(&p, LSB | MODE(4));
	counter_write(&p.c, 0x12);
	EXPECT(&p, "-", 0x12);
	assert_int_equal(counter_read(&p.c), 0x12);
	assert_int_equal(counter_read(&p.c), 0x12);
	/* Of two bytes each is of the moment when it is read. */
	power_on(&p, BOTH | MODE(4));
	counter_write(&p.c, 0x00);
	counter_write(&p.c, 0x12);
	pulse(&p);
	assert_int_equal(counter_read(&p.c), 0x00);
	pulse(&p);
	assert_int_equal(counter_read(&p.c), 0x11);
	/* The two flip-flops do not know each other, and a control word resets both. */
	assert_int_equal(counter_read(&p.c), 0xff);
	counter_write(&p.c, 0x34);
	assert_int_equal(counter_read(&p.c), 0x11);
	counter_write(&p.c, 0x56);
	EXPECT(&p, "-", 0x5634);
	assert_int_equal(counter_read(&p.c), 0x34);
	counter_write(&p.c, 0x99);
	counter_control(&p.c, BOTH | MODE(4));
	counter_write(&p.c, 0x07);
	counter_write(&p.c, 0x08);
	EXPECT(&p, "-", 0x0807);
	assert_int_equal(counter_read(&p.c), 0x07);
}

static void test_latch(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, BOTH | MODE(2));
	counter_write(&p.c, 0x00);
	counter_write(&p.c, 0x10);
	jump(&p, 11, 0xff6, true);
	counter_latch_count(&p.c);
	pulse(&p);
	/* The second is ignored, until the first has been read. */
	counter_latch_count(&p.c);
	pulse(&p);
	assert_int_equal(counter_read(&p.c), 0xf6);
	counter_latch_count(&p.c);
	assert_int_equal(counter_read(&p.c), 0x0f);
	assert_int_equal(counter_read(&p.c), 0xf4);
	assert_int_equal(counter_read(&p.c), 0x0f);
	counter_latch_count(&p.c);
	pulse(&p);
	assert_int_equal(counter_read(&p.c), 0xf4);
	assert_int_equal(counter_read(&p.c), 0x0f);
	/* A control word unlatches. */
	counter_latch_count(&p.c);
	counter_latch_status(&p.c);
	counter_control(&p.c, LSB | MODE(2));
	counter_write(&p.c, 0x20);
	pulse(&p);
	assert_int_equal(counter_read(&p.c), 0x20);
}

static uint8_t status(struct probe *p)
{
	counter_latch_status(&p->c);
	return counter_read(&p->c);
}

static void test_status(void **state)
{
	struct probe p;

	(void)state;
	power_on(&p, BOTH | MODE(6));
	/* OUT, NULL COUNT, and the control word as it was written. */
	assert_int_equal(status(&p), 0xc0 | BOTH | MODE(6));
	counter_write(&p.c, 3);
	counter_write(&p.c, 0);
	assert_int_equal(status(&p), 0xc0 | BOTH | MODE(6));
	pulse(&p);
	assert_int_equal(status(&p), 0x80 | BOTH | MODE(6));
	/* NULL COUNT with the second byte, until the cycle ends. */
	counter_write(&p.c, 5);
	assert_int_equal(status(&p), 0x80 | BOTH | MODE(6));
	counter_write(&p.c, 0);
	assert_int_equal(status(&p), 0xc0 | BOTH | MODE(6));
	pulse(&p);
	pulse(&p);
	assert_int_equal(status(&p), 0x40 | BOTH | MODE(6));
	pulse(&p);
	assert_int_equal(status(&p), 0x80 | BOTH | MODE(6));
	/* Status comes first, whichever was latched first; it is that of the first latch. */
	counter_latch_count(&p.c);
	counter_latch_status(&p.c);
	jump(&p, 4, 1, false);
	counter_latch_status(&p.c);
	assert_int_equal(counter_read(&p.c), 0x80 | BOTH | MODE(6));
	assert_int_equal(counter_read(&p.c), 5);
	assert_int_equal(counter_read(&p.c), 0);
	assert_int_equal(counter_read(&p.c), 1);

	power_on(&p, LSB | MODE(0) | BCD);
	assert_int_equal(status(&p), 0x40 | LSB | BCD);
	counter_write(&p.c, 1);
	expect(&p, "_-", NULL);
	assert_int_equal(status(&p), 0x80 | LSB | BCD);
	/* Mode 1: until the trigger. */
	power_on(&p, LSB | MODE(1));
	counter_write(&p.c, 9);
	pulse(&p);
	assert_int_equal(status(&p), 0xc0 | LSB | MODE(1));
	gate(&p, false);
	gate(&p, true);
	pulse(&p);
	assert_int_equal(status(&p), LSB | MODE(1));
}

/* A leap is as good as as many steps. */
static void test_leaps(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		struct counter_state a, b;
		uint64_t rises = 0;

		counter_reset(&a, 77, true);
		counter_control(&a, (uint8_t)(LSB | MODE(round % 6) | (round / 6 & 1)));
		for (unsigned i = 0; i < 20; i++) {
			unsigned what = (seed = seed * 1103515245 + 12345) >> 16;

			switch (what % 5) {
			case 0:
				counter_write(&a, (uint8_t)(what >> 8 & 15));
				break;
			case 1:
				counter_set_gate(&a, what & 0x100);
				break;
			default:
				b = a;
				for (unsigned k = 0; k < (what >> 8 & 31); k++)
					rises += counter_advance(&b, b.at + 1);
				assert_int_equal(counter_advance(&a, b.at), rises);
				rises = 0;
				assert_int_equal(counter_out(&a), counter_out(&b));
				assert_int_equal(counter_next_rise(&a), counter_next_rise(&b));
				counter_latch_count(&b);
				counter_latch_count(&a);
				assert_int_equal(a.latch, b.latch);
				a.latched = 0;
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode0),           cmocka_unit_test(test_mode0_gate),
		cmocka_unit_test(test_mode0_two_bytes), cmocka_unit_test(test_mode1),
		cmocka_unit_test(test_mode2),           cmocka_unit_test(test_mode3_even),
		cmocka_unit_test(test_mode3_odd),       cmocka_unit_test(test_mode4),
		cmocka_unit_test(test_mode5),           cmocka_unit_test(test_count_0),
		cmocka_unit_test(test_count_1),         cmocka_unit_test(test_bcd),
		cmocka_unit_test(test_access),          cmocka_unit_test(test_latch),
		cmocka_unit_test(test_status),          cmocka_unit_test(test_leaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
