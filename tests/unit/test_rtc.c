/* SPDX-License-Identifier: MIT */
/* The MC146818A at its two ports, on a clock that is moved by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pc/rtc.h"
#include "tests/unit/fake.h"

#define SEC 0
#define SEC_ALARM 1
#define MIN 2
#define MIN_ALARM 3
#define HOUR 4
#define HOUR_ALARM 5
#define WDAY 6
#define MDAY 7
#define MONTH 8
#define YEAR 9
#define A 10
#define B 11
#define C 12
#define D 13
#define CENTURY 0x32

#define MS 1000000ull
#define S NSEC_PER_SEC

struct fixture {
	struct bus bus;
	struct fake_clock clock;
	struct fake_irq irq;
	struct device *dev;
};

static void init(struct fixture *f)
{
	struct rtc_config cfg = { .name = "rtc", .bus = &f->bus, .clock = &f->clock.clock };

	memset(f, 0, sizeof(*f));
	bus_init(&f->bus);
	fake_clock_init(&f->clock);
	cfg.irq = fake_irq(&f->irq);
	cfg.low_ram = 3 * GIB;
	cfg.high_ram = 2 * GIB;
	cfg.cpus = 4;
	assert_int_equal(rtc_create(&cfg, &f->dev), 0);
}

static void fini(struct fixture *f)
{
	device_destroy(f->dev);
	assert_null(f->clock.armed);
	bus_destroy(&f->bus);
}

static int setup(void **state)
{
	static struct fixture f;

	init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fini(*state);
	return 0;
}

static uint8_t rd(struct fixture *f, uint8_t reg)
{
	outb(&f->bus, 0x70, reg);
	return inb(&f->bus, 0x71);
}

static void wr(struct fixture *f, uint8_t reg, uint8_t v)
{
	outb(&f->bus, 0x70, reg);
	outb(&f->bus, 0x71, v);
}

/* As it reads, "century year month day hour minute second" in the registers' own format. */
static void expect_time(struct fixture *f, const char *want)
{
	char got[32];

	snprintf(got, sizeof(got), "%02x%02x-%02x-%02x %02x:%02x:%02x", rd(f, CENTURY), rd(f, YEAR),
		 rd(f, MONTH), rd(f, MDAY), rd(f, HOUR), rd(f, MIN), rd(f, SEC));
	assert_string_equal(got, want);
}

static void set_time(struct fixture *f, unsigned century, unsigned year, unsigned month,
		     unsigned mday, unsigned hour, unsigned min, unsigned sec)
{
	uint8_t b = rd(f, B);

	wr(f, B, b | 0x80);
	wr(f, CENTURY, century);
	wr(f, YEAR, year);
	wr(f, MONTH, month);
	wr(f, MDAY, mday);
	wr(f, HOUR, hour);
	wr(f, MIN, min);
	wr(f, SEC, sec);
	wr(f, B, b);
}

static void power_on(void **state)
{
	struct fixture *f = *state;

	expect_time(f, "2026-01-02 03:04:05");
	assert_int_equal(rd(f, WDAY), 6); /* a Friday; Sunday is 1 */
	assert_int_equal(rd(f, A), 0x26);
	assert_int_equal(rd(f, B), 0x02);
	assert_int_equal(rd(f, D), 0x80);
	assert_int_equal(inb(&f->bus, 0x70), 0xff);
	assert_false(f->irq.level);
	/* Nobody asked for an interrupt: no timer. */
	assert_null(f->clock.armed);
}

static void config_bytes(void **state)
{
	struct fixture *f = *state;
	unsigned sum = 0;

	assert_int_equal(rd(f, 0x15) | rd(f, 0x16) << 8, 640);
	assert_int_equal(rd(f, 0x17) | rd(f, 0x18) << 8, 0xffff);
	assert_int_equal(rd(f, 0x30) | rd(f, 0x31) << 8, 0xffff);
	assert_int_equal(rd(f, 0x34) | rd(f, 0x35) << 8, (3 * GIB - 16 * MIB) / (64 * KIB));
	assert_int_equal(rd(f, 0x5b) | rd(f, 0x5c) << 8 | rd(f, 0x5d) << 16, 2 * GIB / (64 * KIB));
	assert_int_equal(rd(f, 0x5f), 3);
	assert_int_equal(rd(f, 0x10), 0);
	assert_int_equal(rd(f, 0x14), 0x02);
	assert_int_equal(rd(f, 0x38), 0);
	assert_int_equal(rd(f, 0x39), 0x55); /* LBA translation for each of four disks */
	assert_int_equal(rd(f, 0x3d), 2); /* boot from the first disk */
	for (unsigned i = 0x10; i < 0x2e; i++)
		sum += rd(f, (uint8_t)i);
	assert_int_equal(rd(f, 0x2e) << 8 | rd(f, 0x2f), sum);
}

static void config_small(void **state)
{
	struct fixture *f = *state, g;
	struct rtc_config cfg = { .name = "rtc",
				  .bus = &g.bus,
				  .clock = &f->clock.clock,
				  .low_ram = 8 * MIB,
				  .cpus = 0 };

	memset(&g, 0, sizeof(g));
	bus_init(&g.bus);
	assert_int_equal(rtc_create(&cfg, &g.dev), -EINVAL);
	cfg.cpus = 257;
	assert_int_equal(rtc_create(&cfg, &g.dev), -EINVAL);
	cfg.cpus = 256;
	assert_int_equal(rtc_create(&cfg, &g.dev), 0);
	assert_int_equal(rd(&g, 0x30) | rd(&g, 0x31) << 8, 7 * 1024);
	assert_int_equal(rd(&g, 0x34) | rd(&g, 0x35) << 8, 0);
	assert_int_equal(rd(&g, 0x5b), 0);
	assert_int_equal(rd(&g, 0x5f), 255);
	/* The ports are taken. */
	struct device *again;

	assert_int_equal(rtc_create(&cfg, &again), -EEXIST);
	device_destroy(g.dev);
	bus_destroy(&g.bus);
}

static void ram(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0x40; i < 0x5b; i++)
		wr(f, (uint8_t)i, (uint8_t)(i * 3));
	for (unsigned i = 0x40; i < 0x5b; i++)
		assert_int_equal(rd(f, (uint8_t)i), (uint8_t)(i * 3));
	wr(f, 0x7f, 0x99);
	assert_int_equal(rd(f, 0x7f), 0x99);
	/* Bit 7 of the index masks NMIs and is no part of the address. */
	assert_int_equal(rd(f, 0xff), 0x99);
	wr(f, 0x8f, 0x0a);
	assert_int_equal(rd(f, 0x0f), 0x0a);
	/* Read-only registers. */
	wr(f, C, 0xff);
	assert_int_equal(rd(f, C) & 0x0f, 0);
	wr(f, D, 0);
	assert_int_equal(rd(f, D), 0x80);
	wr(f, A, 0xa6);
	assert_int_equal(rd(f, A), 0x26);
}

static void runs(void **state)
{
	struct fixture *f = *state;

	fake_clock_advance(&f->clock, S - 1);
	expect_time(f, "2026-01-02 03:04:05");
	fake_clock_advance(&f->clock, 1);
	expect_time(f, "2026-01-02 03:04:06");
	fake_clock_advance(&f->clock, 54 * S);
	expect_time(f, "2026-01-02 03:05:00");
	fake_clock_advance(&f->clock, 21 * 3600 * S);
	expect_time(f, "2026-01-03 00:05:00");
	assert_int_equal(rd(f, WDAY), 7);
	fake_clock_advance(&f->clock, 24 * 3600 * S);
	assert_int_equal(rd(f, WDAY), 1);
}

static void formats(void **state)
{
	static const struct {
		uint8_t b;
		const char *want[4]; /* 00:xx, 11:xx, 12:xx, 23:xx */
	} cases[] = {
		{ 0x02, { "00", "11", "12", "23" } },
		{ 0x06, { "00", "0b", "0c", "17" } },
		{ 0x00, { "12", "11", "92", "91" } },
		{ 0x04, { "0c", "0b", "8c", "8b" } },
	};
	static const unsigned hours[4] = { 0, 11, 12, 23 };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		wr(f, B, 0x06);
		set_time(f, 19, 99, 12, 31, 0, 59, 58);
		for (unsigned h = 0; h < 4; h++) {
			char got[3];

			wr(f, B, 0x06);
			set_time(f, 19, 99, 12, 31, hours[h], 59, 58);
			/* A change of format shows the same time in the other format. */
			wr(f, B, cases[i].b);
			snprintf(got, sizeof(got), "%02x", rd(f, HOUR));
			assert_string_equal(got, cases[i].want[h]);
			assert_int_equal(rd(f, MIN), cases[i].b & 4 ? 59 : 0x59);
			assert_int_equal(rd(f, YEAR), cases[i].b & 4 ? 99 : 0x99);
			assert_int_equal(rd(f, CENTURY), cases[i].b & 4 ? 19 : 0x19);
			/* And what is read can be written back. */
			set_time(f, rd(f, CENTURY), rd(f, YEAR), rd(f, MONTH), rd(f, MDAY),
				 rd(f, HOUR), rd(f, MIN), rd(f, SEC));
			snprintf(got, sizeof(got), "%02x", rd(f, HOUR));
			assert_string_equal(got, cases[i].want[h]);
		}
	}
}

static void calendar(void **state)
{
	static const struct {
		unsigned c, y, m, d;
		const char *next;
		unsigned wday; /* of the next day */
	} cases[] = {
		{ 0x20, 0x24, 0x02, 0x28, "2024-02-29 00:00:00", 5 },
		{ 0x20, 0x24, 0x02, 0x29, "2024-03-01 00:00:00", 6 },
		{ 0x20, 0x23, 0x02, 0x28, "2023-03-01 00:00:00", 4 },
		{ 0x20, 0x00, 0x02, 0x28, "2000-02-29 00:00:00", 3 },
		{ 0x21, 0x00, 0x02, 0x28, "2100-03-01 00:00:00", 2 },
		{ 0x19, 0x99, 0x12, 0x31, "2000-01-01 00:00:00", 7 },
		{ 0x19, 0x69, 0x12, 0x31, "1970-01-01 00:00:00", 5 },
		{ 0x20, 0x26, 0x04, 0x30, "2026-05-01 00:00:00", 6 },
		{ 0x00, 0x00, 0x02, 0x28, "0000-02-29 00:00:00", 3 },
		{ 0x99, 0x99, 0x12, 0x31, "0000-01-01 00:00:00", 0 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t b = rd(f, B);

		wr(f, B, b | 0x80);
		wr(f, WDAY, cases[i].wday > 1 ? cases[i].wday - 1 : 7);
		wr(f, B, b);
		set_time(f, cases[i].c, cases[i].y, cases[i].m, cases[i].d, 0x23, 0x59, 0x59);
		wr(f, WDAY, cases[i].wday > 1 ? cases[i].wday - 1 : 7);
		fake_clock_advance(&f->clock, S);
		expect_time(f, cases[i].next);
		if (cases[i].wday)
			assert_int_equal(rd(f, WDAY), cases[i].wday);
	}
}

/* The weekday of a clock that was never set is the calendar's, whatever day that is. */
static void weekday(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 15; i++) {
		assert_int_equal(rd(f, WDAY), (5 + i) % 7 + 1);
		fake_clock_advance(&f->clock, 86400 * S);
	}
	/* Set wrong it stays as wrong. */
	wr(f, WDAY, 3);
	fake_clock_advance(&f->clock, 86400 * S);
	assert_int_equal(rd(f, WDAY), 4);
	wr(f, WDAY, 0); /* no day at all */
	assert_in_range(rd(f, WDAY), 1, 7);
}

static void setting(void **state)
{
	struct fixture *f = *state;

	fake_clock_advance(&f->clock, 300 * MS);
	set_time(f, 0x19, 0x85, 0x10, 0x26, 0x01, 0x21, 0x00);
	expect_time(f, "1985-10-26 01:21:00");
	/* The seconds begin where they did: SET leaves the divider alone. */
	fake_clock_advance(&f->clock, 699 * MS);
	expect_time(f, "1985-10-26 01:21:00");
	fake_clock_advance(&f->clock, MS);
	expect_time(f, "1985-10-26 01:21:01");
	/* While SET is set nothing moves. */
	wr(f, B, 0x82);
	fake_clock_advance(&f->clock, 100 * S);
	expect_time(f, "1985-10-26 01:21:01");
	assert_int_equal(rd(f, A) & 0x80, 0);
	wr(f, B, 0x02);
	expect_time(f, "1985-10-26 01:21:01");
	/* A register at a time, without SET. */
	wr(f, MIN, 0x30);
	wr(f, HOUR, 0x22);
	expect_time(f, "1985-10-26 22:30:01");
}

static void nonsense(void **state)
{
	struct fixture *f = *state;

	set_time(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
	expect_time(f, "9999-12-31 23:59:59");
	set_time(f, 0, 0, 0, 0, 0, 0, 0);
	expect_time(f, "0000-01-01 00:00:00");
	set_time(f, 0x20, 0x23, 0x02, 0x31, 0, 0, 0);
	expect_time(f, "2023-02-28 00:00:00");
	wr(f, B, 0x00); /* 12 hours */
	wr(f, HOUR, 0x00);
	assert_int_equal(rd(f, HOUR), 0x12);
	wr(f, HOUR, 0xff);
	(void)rd(f, HOUR);
	wr(f, B, 0x04);
	set_time(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
	assert_int_equal(rd(f, YEAR), 99);
}

static void divider(void **state)
{
	struct fixture *f = *state;

	fake_clock_advance(&f->clock, 800 * MS);
	wr(f, A, 0x76);
	fake_clock_advance(&f->clock, 10 * S);
	expect_time(f, "2026-01-02 03:04:05");
	assert_int_equal(rd(f, A), 0x76);
	/* Let go, the first update comes half a second later. */
	wr(f, A, 0x26);
	fake_clock_advance(&f->clock, 499 * MS);
	expect_time(f, "2026-01-02 03:04:05");
	fake_clock_advance(&f->clock, MS);
	expect_time(f, "2026-01-02 03:04:06");
	fake_clock_advance(&f->clock, S);
	expect_time(f, "2026-01-02 03:04:07");
	/* As Linux sets it: SET, divider reset, the time, then both back. */
	wr(f, B, 0x82);
	wr(f, A, 0x76);
	wr(f, SEC, 0x30);
	fake_clock_advance(&f->clock, 50 * MS);
	wr(f, B, 0x02);
	fake_clock_advance(&f->clock, 50 * MS);
	wr(f, A, 0x26);
	expect_time(f, "2026-01-02 03:04:30");
	fake_clock_advance(&f->clock, 500 * MS);
	expect_time(f, "2026-01-02 03:04:31");
}

static void update_in_progress(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rd(f, A), 0x26);
	fake_clock_advance(&f->clock, S - 244140 - 1);
	assert_int_equal(rd(f, A), 0x26);
	fake_clock_advance(&f->clock, 1);
	assert_int_equal(rd(f, A), 0xa6);
	fake_clock_advance(&f->clock, 244139);
	assert_int_equal(rd(f, A), 0xa6);
	expect_time(f, "2026-01-02 03:04:05");
	fake_clock_advance(&f->clock, 1);
	assert_int_equal(rd(f, A), 0x26);
	expect_time(f, "2026-01-02 03:04:06");
}

static void update_ended(void **state)
{
	struct fixture *f = *state;

	(void)rd(f, C);
	wr(f, B, 0x12);
	fake_clock_advance(&f->clock, S - 1);
	assert_false(f->irq.level);
	fake_clock_advance(&f->clock, 1);
	assert_true(f->irq.level);
	/* Held, and the clock undisturbed, until register C is read. */
	fake_clock_advance(&f->clock, 5 * S);
	assert_int_equal(f->irq.raised, 1);
	assert_null(f->clock.armed);
	assert_int_equal(rd(f, C) & 0xb0, 0x90);
	assert_false(f->irq.level);
	assert_int_equal(rd(f, C), 0);
	fake_clock_advance(&f->clock, S);
	assert_int_equal(f->irq.raised, 2);
	(void)rd(f, C);
	/* SET takes the interrupt's enable away. */
	wr(f, B, 0x92);
	assert_int_equal(rd(f, B), 0x82);
	fake_clock_advance(&f->clock, 3 * S);
	assert_int_equal(rd(f, C) & 0x10, 0);
	wr(f, B, 0x02);
	assert_null(f->clock.armed);
	/* Without an interrupt the flag is there all the same. */
	fake_clock_advance(&f->clock, S);
	assert_int_equal(rd(f, C) & 0x90, 0x10);
}

static void periodic(void **state)
{
	static const struct {
		uint8_t rate;
		unsigned hz;
	} cases[] = { { 1, 256 }, { 2, 128 }, { 3, 8192 }, { 6, 1024 }, { 15, 2 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned n = 0;

		wr(f, A, 0x20 | cases[i].rate);
		(void)rd(f, C);
		wr(f, B, 0x42);
		f->irq.raised = 0;
		/* A second in small steps, read whenever it comes. */
		for (unsigned k = 0; k < 100000; k++) {
			fake_clock_advance(&f->clock, 10000);
			if (f->irq.level) {
				assert_int_equal(rd(f, C) & 0xc0, 0xc0);
				n++;
			}
		}
		assert_in_range(n, cases[i].hz - 1, cases[i].hz + 1);
		assert_int_equal(f->irq.raised, n);
		wr(f, B, 0x02);
	}
	/* Rate 0 is none. */
	wr(f, A, 0x20);
	(void)rd(f, C);
	wr(f, B, 0x42);
	fake_clock_advance(&f->clock, 10 * S);
	assert_int_equal(rd(f, C) & 0x40, 0);
	assert_int_equal(f->clock.armed == NULL, 1);
	/* The flag needs no interrupt; an old flag interrupts as soon as it may. */
	wr(f, A, 0x26);
	wr(f, B, 0x02);
	(void)rd(f, C);
	fake_clock_advance(&f->clock, 2 * MS);
	wr(f, B, 0x42);
	assert_true(f->irq.level);
	assert_int_equal(rd(f, C), 0xc0);
	/* A guest that was away for long gets one, not a burst. */
	f->irq.raised = 0;
	fake_clock_advance(&f->clock, 3600 * S);
	assert_int_equal(f->irq.raised, 1);
	/* No periods while the divider is held. */
	wr(f, A, 0x76);
	(void)rd(f, C);
	fake_clock_advance(&f->clock, S);
	assert_int_equal(rd(f, C), 0);
}

static void alarm_at(struct fixture *f, uint8_t h, uint8_t m, uint8_t s)
{
	wr(f, HOUR_ALARM, h);
	wr(f, MIN_ALARM, m);
	wr(f, SEC_ALARM, s);
	(void)rd(f, C);
}

/* Seconds until the alarm's interrupt; 0 if there is none in two days. */
static uint64_t seconds_to_alarm(struct fixture *f)
{
	uint64_t start = f->clock.now, at;

	(void)rd(f, C);
	wr(f, B, rd(f, B) | 0x20);
	/* Ask for the timer rather than step: the deadline is the answer. */
	at = f->clock.armed ? f->clock.armed->deadline : start;
	if (at > start) {
		fake_clock_advance(&f->clock, at - start - 1);
		assert_false(f->irq.level);
		fake_clock_advance(&f->clock, 1);
		assert_true(f->irq.level);
		assert_int_equal(rd(f, C) & 0xa0, 0xa0);
	}
	wr(f, B, rd(f, B) & 0xdf);
	return (at - start) / S;
}

static void alarms(void **state)
{
	struct fixture *f = *state; /* 03:04:05 */

	alarm_at(f, 0x03, 0x04, 0x06);
	assert_int_equal(seconds_to_alarm(f), 1); /* 03:04:06 */
	assert_int_equal(seconds_to_alarm(f), 86400);
	alarm_at(f, 0xff, 0xff, 0xff);
	assert_int_equal(seconds_to_alarm(f), 1); /* 03:04:07 */
	assert_int_equal(seconds_to_alarm(f), 1); /* 03:04:08 */
	alarm_at(f, 0xc0, 0xc0, 0x00);
	assert_int_equal(seconds_to_alarm(f), 52); /* 03:05:00 */
	assert_int_equal(seconds_to_alarm(f), 60);
	alarm_at(f, 0xff, 0x00, 0x30);
	assert_int_equal(seconds_to_alarm(f), 54 * 60 + 30); /* 04:00:30 */
	assert_int_equal(seconds_to_alarm(f), 3600);
	alarm_at(f, 0x04, 0xff, 0x00); /* any minute of an hour that is over: 05:00:30 */
	assert_int_equal(seconds_to_alarm(f), 23 * 3600 - 30);
	/* Times that never come, in this format. */
	alarm_at(f, 0x24, 0x00, 0x00);
	assert_int_equal(seconds_to_alarm(f), 0);
	alarm_at(f, 0x0a, 0x00, 0x00);
	assert_int_equal(seconds_to_alarm(f), 0);
	alarm_at(f, 0xff, 0xff, 0x60);
	assert_int_equal(seconds_to_alarm(f), 0);
	/* 12 hours, binary. */
	wr(f, B, 0x04);
	set_time(f, 20, 26, 1, 2, 11, 59, 0);
	alarm_at(f, 0x8c, 0, 0);
	assert_int_equal(seconds_to_alarm(f), 60);
}

static void alarm_flag(void **state)
{
	struct fixture *f = *state;

	/* Without an interrupt, looked at late. */
	alarm_at(f, 0x03, 0x05, 0x00);
	fake_clock_advance(&f->clock, 54 * S);
	assert_int_equal(rd(f, C) & 0x20, 0);
	fake_clock_advance(&f->clock, 3 * S);
	assert_int_equal(rd(f, C) & 0xa0, 0x20);
	fake_clock_advance(&f->clock, 3 * S);
	assert_int_equal(rd(f, C) & 0x20, 0);
	/* Setting the clock past it is no alarm. */
	set_time(f, 0x20, 0x26, 0x01, 0x02, 0x03, 0x04, 0x00);
	set_time(f, 0x20, 0x26, 0x01, 0x02, 0x03, 0x06, 0x00);
	assert_int_equal(rd(f, C) & 0x20, 0);
}

static void host_steps(void **state)
{
	struct fixture *f = *state;

	alarm_at(f, 0x03, 0xff, 0x00);
	wr(f, B, 0x22);
	/* Forward by a day: shows, and the alarm on the way counts. */
	f->clock.wall_at_0 += 86400 * S;
	expect_time(f, "2026-01-03 03:04:05");
	assert_true(f->irq.level);
	(void)rd(f, C);
	/* Back by ten years: no alarm that was not, and the next one comes. */
	f->clock.wall_at_0 -= 3652ull * 86400 * S;
	(void)rd(f, SEC);
	assert_int_equal(rd(f, C) & 0x20, 0);
	fake_clock_advance(&f->clock, 55 * S);
	assert_int_equal(rd(f, C) & 0x20, 0x20);
	/* Back onto the alarm's very second: that counts. */
	fake_clock_advance(&f->clock, 7 * S);
	assert_int_equal(rd(f, C) & 0x20, 0);
	f->clock.wall_at_0 -= 7 * S;
	assert_int_equal(rd(f, C) & 0x20, 0x20);
}

static void reset(void **state)
{
	struct fixture *f = *state, fresh;
	struct state_buf a = { 0 }, b = { 0 };

	wr(f, A, 0x7f);
	wr(f, B, 0xf6);
	outb(&f->bus, 0x70, 0xb3);
	fake_clock_advance(&f->clock, 0);
	device_reset(f->dev);
	assert_false(f->irq.level);
	assert_null(f->clock.armed);
	/* The divider was let go: its phase is another one. Else it is as new. */
	expect_time(f, "2026-01-02 03:04:05");
	assert_int_equal(rd(f, A), 0x26);
	assert_int_equal(rd(f, B), 0x02);

	device_reset(f->dev);
	init(&fresh);
	wr(&fresh, A, 0x76);
	wr(&fresh, A, 0x26);
	outb(&fresh.bus, 0x70, 0);
	assert_int_equal(state_save(f->dev, &a), 0);
	assert_int_equal(state_save(fresh.dev, &b), 0);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
	state_buf_free(&a);
	state_buf_free(&b);
	fini(&fresh);

	/* The battery: time and RAM stay, the machine's own bytes are put right. */
	wr(f, 0x40, 0x12);
	wr(f, 0x5f, 0x7f);
	wr(f, 0x34, 0);
	set_time(f, 0x19, 0x85, 0x10, 0x26, 0x01, 0x21, 0x00);
	device_reset(f->dev);
	assert_int_equal(rd(f, 0x40), 0x12);
	assert_int_equal(rd(f, 0x5f), 3);
	assert_int_equal(rd(f, 0x34) | rd(f, 0x35) << 8, (3 * GIB - 16 * MIB) / (64 * KIB));
	expect_time(f, "1985-10-26 01:21:00");
}

static void names(void **state)
{
	struct fixture *f = *state;
	const char *dev, *reg;

	for (unsigned write = 0; write < 2; write++) {
		assert_true(bus_name(&f->bus, BUS_PIO, 0x70, write, &dev, &reg));
		assert_string_equal(dev, "rtc");
		assert_string_equal(reg, "index");
		assert_true(bus_name(&f->bus, BUS_PIO, 0x71, write, &dev, &reg));
		assert_string_equal(reg, "data");
	}
}

static void save_restore(void **state)
{
	struct fixture *f = *state, g;

	set_time(f, 0x19, 0x85, 0x10, 0x26, 0x01, 0x21, 0x00);
	wr(f, 0x40, 0x55);
	alarm_at(f, 0xff, 0xff, 0x10);
	wr(f, B, 0x22);
	fake_clock_advance(&f->clock, 5 * S + 1234);
	(void)rd(f, SEC); /* brings its flags up to date */
	outb(&f->bus, 0x70, 0x40);

	init(&g);
	fake_clock_advance(&g.clock, 5 * S + 1234);
	check_state_round_trip(f->dev, g.dev);
	assert_int_equal(inb(&g.bus, 0x71), 0x55); /* the index as well */
	expect_time(&g, "1985-10-26 01:21:05");
	(void)rd(&g, C);
	assert_false(g.irq.level);
	fake_clock_advance(&g.clock, 5 * S);
	assert_true(g.irq.level);
	assert_int_equal(rd(&g, C) & 0xa0, 0xa0);
	expect_time(&g, "1985-10-26 01:21:10");
	fini(&g);

	/* Saved while it is being set. */
	wr(f, B, 0x82);
	wr(f, HOUR, 0x20);
	init(&g);
	fake_clock_advance(&g.clock, 5 * S + 1234);
	check_state_round_trip(f->dev, g.dev);
	fake_clock_advance(&g.clock, 20 * S);
	expect_time(&g, "1985-10-26 20:21:05");
	wr(&g, B, 0x02);
	fake_clock_advance(&g.clock, S);
	expect_time(&g, "1985-10-26 20:21:06");
	fini(&g);
}

/* Restored an hour later: what happened meanwhile has happened. */
static void restored_late(void **state)
{
	struct fixture *f = *state, g;
	struct state_buf buf = { 0 };

	alarm_at(f, 0xff, 0x30, 0x00);
	wr(f, B, 0x22);
	assert_int_equal(state_save(f->dev, &buf), 0);
	init(&g);
	fake_clock_advance(&g.clock, 3600 * S);
	assert_true(state_load(g.dev, buf.data, buf.len) > 0);
	assert_true(g.irq.level);
	assert_int_equal(rd(&g, C) & 0xa0, 0xa0);
	expect_time(&g, "2026-01-02 04:04:05");
	state_buf_free(&buf);
	fini(&g);
}

static void hostile_state(void **state)
{
	static const struct state_damage cases[] = {
		{ "index", 1, 0x80 },
		{ "nmi_off", 1, 2 },
		{ "reg_a", 1, 0xa6 },
		{ "flags", 1, 0x80 },
		{ "flags", 1, 0x01 },
		{ "wday_offset", 1, 7 },
		{ "offset_seconds", 8, 1ull << 62 },
		{ "offset_seconds", 8, 1ull << 63 },
		{ "phase_ns", 4, 1000000000 },
		{ "seen", 8, 1ull << 63 },
	};
	struct fixture *f = *state;

	check_state_refused(f->dev, cases, ARRAY_SIZE(cases));
	expect_time(f, "2026-01-02 03:04:05");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(power_on),      T(config_bytes), T(config_small), T(ram),
		T(runs),          T(formats),      T(calendar),     T(weekday),
		T(setting),       T(nonsense),     T(divider),      T(update_in_progress),
		T(update_ended),  T(periodic),     T(alarms),       T(alarm_flag),
		T(host_steps),    T(reset),        T(save_restore), T(restored_late),
		T(hostile_state), T(names),
	};

	return cmocka_run_group_tests_name("rtc", tests, NULL, NULL);
}
