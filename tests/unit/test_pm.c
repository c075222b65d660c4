/* SPDX-License-Identifier: MIT */
/* ACPI's fixed hardware. */
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
#include "devices/pc/pm.h"
#include "tests/unit/fake.h"

#define STS PLATFORM_PORT_PM_BASE
#define EN (STS + 2)
#define CNT (STS + 4)
#define TMR (STS + 8)
#define GPE_STS PLATFORM_PORT_GPE_BASE
#define GPE_EN (GPE_STS + 2)

#define PWRBTN 0x0100
#define TMR_BIT 0x0001
#define WAK 0x8000
#define HALF_NS 2343484438ull /* 2^23 ticks, rounded up */

struct fixture {
	struct bus bus;
	struct fake_clock clock;
	struct fake_irq sci;
	struct fake_power power;
	struct device *dev;
};

static void init(struct fixture *f)
{
	struct pm_config cfg = { .name = "pm", .bus = &f->bus, .clock = &f->clock.clock };

	memset(f, 0, sizeof(*f));
	bus_init(&f->bus);
	fake_clock_init(&f->clock);
	cfg.sci = fake_irq(&f->sci);
	cfg.power = fake_power(&f->power);
	assert_int_equal(pm_create(&cfg, &f->dev), 0);
}

static void fini(struct fixture *f)
{
	device_destroy(f->dev);
	assert_null(f->clock.armed);
	assert_int_equal(inw(&f->bus, STS), 0xffff);
	assert_int_equal(inw(&f->bus, GPE_STS), 0xffff);
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

static void power_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(inw(&f->bus, STS), 0);
	assert_int_equal(inw(&f->bus, EN), 0);
	assert_int_equal(inw(&f->bus, CNT), 1); /* ACPI mode: SCI_EN */
	assert_int_equal(inl(&f->bus, TMR), 0);
	assert_int_equal(inl(&f->bus, GPE_STS), 0);
	assert_false(f->sci.level);
	assert_null(f->clock.armed);
}

static void widths(void **state)
{
	struct fixture *f = *state;

	outw(&f->bus, EN, 0xffff);
	assert_int_equal(inw(&f->bus, EN), 0x0721);
	assert_int_equal(inb(&f->bus, EN), 0x21);
	assert_int_equal(inb(&f->bus, EN + 1), 0x07);
	outb(&f->bus, EN + 1, 0);
	assert_int_equal(inw(&f->bus, EN), 0x0021);
	outb(&f->bus, EN, 0);
	assert_int_equal(inw(&f->bus, EN), 0);
	outl(&f->bus, STS, 0x01200000); /* both at once */
	assert_true(inl(&f->bus, STS) == 0x01200000);
	outw(&f->bus, CNT, 0xdffc | 2); /* no SLP_EN */
	assert_int_equal(inw(&f->bus, CNT), 0x1c03);
	outw(&f->bus, CNT, 0); /* SCI_EN does not go */
	assert_int_equal(inw(&f->bus, CNT), 0x0001);
	/* Reserved bytes read 0, and the timer cannot be written. */
	assert_int_equal(inw(&f->bus, STS + 6), 0);
	assert_int_equal(inl(&f->bus, STS + 12), 0);
	outl(&f->bus, TMR, 0x1234);
	assert_int_equal(inl(&f->bus, TMR), 0);
	/* Over the middle of two registers. */
	outw(&f->bus, EN, 0x0020);
	assert_int_equal(inw(&f->bus, STS + 1), 0x2000);
}

static void power_button(void **state)
{
	struct fixture *f = *state;

	pm_press_power_button(f->dev);
	assert_int_equal(inw(&f->bus, STS), PWRBTN);
	assert_false(f->sci.level);
	outw(&f->bus, EN, PWRBTN);
	assert_true(f->sci.level);
	/* Writing zeros clears nothing, writing ones does, byte by byte too. */
	outw(&f->bus, STS, 0);
	outw(&f->bus, STS, (uint16_t)~PWRBTN);
	outb(&f->bus, STS, 0xff);
	assert_true(f->sci.level);
	outb(&f->bus, STS + 1, PWRBTN >> 8);
	assert_int_equal(inw(&f->bus, STS), 0);
	assert_false(f->sci.level);
	pm_press_power_button(f->dev);
	assert_true(f->sci.level);
	pm_press_power_button(f->dev);
	assert_int_equal(f->sci.raised, 2);
	outw(&f->bus, EN, 0);
	assert_false(f->sci.level);
}

static void sleeping(void **state)
{
	struct fixture *f = *state;

	/* The type alone is no sleep. */
	outw(&f->bus, CNT, PLATFORM_SLP_TYP_S5 << 10 | 1);
	assert_int_equal(f->power.requests, 0);
	assert_int_equal(inw(&f->bus, CNT), PLATFORM_SLP_TYP_S5 << 10 | 1);
	outw(&f->bus, CNT, PLATFORM_SLP_TYP_S5 << 10 | 0x2001);
	assert_int_equal(f->power.requests, 1);
	assert_int_equal(f->power.last, POWER_OFF);
	assert_int_equal(inw(&f->bus, CNT) & 0x2000, 0); /* write-only */
	/* As bytes: type and enable are in the upper one. */
	outb(&f->bus, CNT + 1, (PLATFORM_SLP_TYP_S5 << 10 | 0x2000) >> 8);
	assert_int_equal(f->power.requests, 2);
	/* Any other type is over at once. */
	for (unsigned typ = 0; typ < 8; typ++) {
		if (typ == PLATFORM_SLP_TYP_S5)
			continue;
		outw(&f->bus, STS, WAK);
		outw(&f->bus, CNT, typ << 10 | 0x2001);
		assert_int_equal(inw(&f->bus, STS), WAK);
	}
	assert_int_equal(f->power.requests, 2);
}

static void timer(void **state)
{
	struct fixture *f = *state;
	uint32_t before;

	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	assert_int_equal(inl(&f->bus, TMR), PLATFORM_PM_TIMER_HZ);
	fake_clock_advance(&f->clock, 1000);
	before = inl(&f->bus, TMR);
	assert_in_range(before, PLATFORM_PM_TIMER_HZ + 3, PLATFORM_PM_TIMER_HZ + 4);
	/* The bytes of one moment make the whole. */
	assert_int_equal(inb(&f->bus, TMR) | inw(&f->bus, TMR + 1) << 8 |
				 inb(&f->bus, TMR + 3) << 24,
			 before);
	/* 24 bits, then from 0 again: after 4.69 s. */
	fake_clock_advance(&f->clock, 3686967000);
	assert_true(inl(&f->bus, TMR) > 0xfff000);
	fake_clock_advance(&f->clock, 1000000);
	assert_true(inl(&f->bus, TMR) < 0x1000);
}

static void timer_status(void **state)
{
	struct fixture *f = *state;

	fake_clock_advance(&f->clock, HALF_NS - 1);
	assert_int_equal(inw(&f->bus, STS), 0);
	fake_clock_advance(&f->clock, 1);
	assert_int_equal(inl(&f->bus, TMR), 0x800000);
	assert_int_equal(inw(&f->bus, STS), TMR_BIT);
	assert_false(f->sci.level);
	outw(&f->bus, STS, TMR_BIT);
	assert_int_equal(inw(&f->bus, STS), 0);
	/* The other way round it counts as well. */
	fake_clock_advance(&f->clock, HALF_NS);
	assert_int_equal(inw(&f->bus, STS), TMR_BIT);
	assert_null(f->clock.armed);
	/* Enabled late, it interrupts at once; then once each half. */
	outw(&f->bus, EN, TMR_BIT);
	assert_true(f->sci.level);
	assert_null(f->clock.armed);
	for (unsigned i = 0; i < 5; i++) {
		outw(&f->bus, STS, TMR_BIT);
		assert_false(f->sci.level);
		assert_non_null(f->clock.armed);
		fake_clock_advance(&f->clock, HALF_NS);
		assert_true(f->sci.level);
	}
	assert_int_equal(f->sci.raised, 6);
	/* Not looked at for a day: one status, no backlog. */
	fake_clock_advance(&f->clock, 86400 * NSEC_PER_SEC);
	outw(&f->bus, STS, TMR_BIT);
	assert_false(f->sci.level);
	outw(&f->bus, EN, 0);
	assert_null(f->clock.armed);
}

static void gpe(void **state)
{
	struct fixture *f = *state;

	pm_raise_gpe(f->dev, 0);
	pm_raise_gpe(f->dev, 15);
	assert_int_equal(inw(&f->bus, GPE_STS), 0x8001);
	assert_false(f->sci.level);
	outw(&f->bus, GPE_EN, 0x8000);
	assert_true(f->sci.level);
	assert_int_equal(inw(&f->bus, GPE_EN), 0x8000);
	outb(&f->bus, GPE_STS, 0xff);
	assert_int_equal(inw(&f->bus, GPE_STS), 0x8000);
	assert_true(f->sci.level);
	outb(&f->bus, GPE_STS + 1, 0x80);
	assert_int_equal(inw(&f->bus, GPE_STS), 0);
	assert_false(f->sci.level);
	/* Either source holds the line. */
	outw(&f->bus, EN, PWRBTN);
	pm_press_power_button(f->dev);
	pm_raise_gpe(f->dev, 15);
	outw(&f->bus, STS, PWRBTN);
	assert_true(f->sci.level);
	outw(&f->bus, GPE_STS, 0x8000);
	assert_false(f->sci.level);
}

static void names(void **state)
{
	static const struct {
		uint64_t port;
		const char *name;
	} cases[] = {
		{ STS, "pm1-status" },     { STS + 1, "pm1-status" }, { EN, "pm1-enable" },
		{ CNT, "pm1-control" },    { TMR, "timer" },          { TMR + 3, "timer" },
		{ STS + 6, NULL },         { STS + 12, NULL },        { GPE_STS, "gpe0-status" },
		{ GPE_EN, "gpe0-enable" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const char *name = cases[i / 2].name, *dev, *reg;

		assert_true(bus_name(&f->bus, BUS_PIO, cases[i / 2].port, i & 1, &dev, &reg));
		assert_string_equal(dev, "pm");
		if (name)
			assert_string_equal(reg, name);
		else
			assert_null(reg);
	}
}

static void reset(void **state)
{
	struct fixture *f = *state, fresh;
	struct state_buf a = { 0 }, b = { 0 };

	outw(&f->bus, EN, 0x0721);
	outw(&f->bus, GPE_EN, 0xffff);
	outw(&f->bus, CNT, 0x0402);
	pm_press_power_button(f->dev);
	pm_raise_gpe(f->dev, 3);
	assert_true(f->sci.level);
	device_reset(f->dev);
	assert_false(f->sci.level);
	assert_null(f->clock.armed);
	init(&fresh);
	assert_int_equal(state_save(f->dev, &a), 0);
	assert_int_equal(state_save(fresh.dev, &b), 0);
	assert_memory_equal(a.data, b.data, a.len);
	state_buf_free(&a);
	state_buf_free(&b);
	fini(&fresh);
	/* The timer's past is forgotten with the rest. */
	fake_clock_advance(&f->clock, HALF_NS);
	device_reset(f->dev);
	assert_int_equal(inw(&f->bus, STS), 0);
}

static void save_restore(void **state)
{
	struct fixture *f = *state, g;

	outw(&f->bus, EN, PWRBTN | TMR_BIT);
	outw(&f->bus, GPE_EN, 0x0008);
	pm_raise_gpe(f->dev, 3);
	outw(&f->bus, CNT, 0x1402);
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	init(&g);
	fake_clock_advance(&g.clock, NSEC_PER_SEC);
	check_state_round_trip(f->dev, g.dev);
	assert_true(g.sci.level);
	assert_int_equal(inw(&g.bus, CNT), 0x1403);
	assert_int_equal(inl(&g.bus, TMR), PLATFORM_PM_TIMER_HZ);
	outw(&g.bus, GPE_STS, 8);
	assert_false(g.sci.level);
	fake_clock_advance(&g.clock, HALF_NS - NSEC_PER_SEC);
	assert_true(g.sci.level);
	assert_int_equal(inw(&g.bus, STS), TMR_BIT);
	fini(&g);
}

static void hostile_state(void **state)
{
	static const struct state_damage cases[] = {
		{ "pm1_sts", 2, 0x0002 }, { "pm1_en", 2, 0x8000 },         { "pm1_cnt", 2, 0x2000 },
		{ "pm1_cnt", 2, 0x0001 }, { "timer_half", 8, UINT64_MAX },
	};
	struct fixture *f = *state;

	check_state_refused(f->dev, cases, ARRAY_SIZE(cases));
}

static void ports_taken(void **state)
{
	struct fixture *f = *state;
	struct pm_config cfg = { .name = "other", .bus = &f->bus, .clock = &f->clock.clock };
	struct device *dev;

	assert_int_equal(pm_create(&cfg, &dev), -EEXIST);
	assert_int_equal(bus_remove(&f->bus, BUS_PIO, STS), 0);
	assert_int_equal(pm_create(&cfg, &dev), -EEXIST);
	assert_int_equal(inw(&f->bus, STS), 0xffff);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(power_on), T(widths),       T(power_button),  T(sleeping),
		T(timer),    T(timer_status), T(gpe),           T(names),
		T(reset),    T(save_restore), T(hostile_state), T(ports_taken),
	};

	return cmocka_run_group_tests_name("pm", tests, NULL, NULL);
}
