/* SPDX-License-Identifier: MIT */
#include "tests/unit/pit_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

static int line_pulse(void *ctx)
{
	struct pit_line_notes *l = ctx;

	if (l->pulses && l->clock->now - l->last < l->gap)
		l->gap = l->clock->now - l->last;
	l->pulses++;
	l->last = l->clock->now;
	l->acked += l->answers;
	return l->taken;
}

static uint64_t line_acked(void *ctx)
{
	struct pit_line_notes *l = ctx;
	unsigned acked = l->acked;

	l->acked = 0;
	return acked;
}

static void line_watch(void *ctx, bool on)
{
	((struct pit_line_notes *)ctx)->watched = on;
}

void pit_rig_acks(struct pit_rig *r)
{
	while (r->line.watched && r->line.acked)
		pit_acked(r->dev);
}

void pit_rig_ack(struct pit_rig *r)
{
	r->line.acked = 1;
	pit_rig_acks(r);
}

void pit_rig_init(struct pit_rig *r, const struct pit_policy *policy, bool tells)
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
	r->line = (struct pit_line_notes){
		.clock = &r->clock, .taken = 1, .answers = true, .gap = ~0ull
	};
	if (policy)
		cfg.policy = *policy;
	assert_int_equal(pit_create(&cfg, &r->dev), 0);
}

void pit_rig_fini(struct pit_rig *r)
{
	device_destroy(r->dev);
	assert_null(r->clock.armed);
	bus_destroy(&r->bus);
}

void pit_rig_run(struct pit_rig *r, uint64_t ms)
{
	for (uint64_t i = 0; i < ms * 10; i++) {
		pit_rig_acks(r);
		fake_clock_advance(&r->clock, MS / 10);
	}
	pit_rig_acks(r);
}

void pit_rig_sleep(struct pit_rig *r, uint64_t ns)
{
	r->clock.now += ns;
}

void pit_rig_program(struct pit_rig *r, unsigned counter, unsigned mode, unsigned count)
{
	outb(&r->bus, PIT_RIG_CONTROL, counter << 6 | 0x30 | mode << 1);
	outb(&r->bus, 0x40 + counter, count & 0xff);
	outb(&r->bus, 0x40 + counter, count >> 8);
}

unsigned pit_rig_ticks(struct pit_rig *r, uint64_t ms)
{
	unsigned before = r->line.pulses;

	pit_rig_run(r, ms);
	return r->line.pulses - before;
}

void assert_about(uint64_t got, uint64_t low, uint64_t high)
{
	if (got < low || got > high)
		fail_msg("%llu is not from %llu to %llu", (unsigned long long)got,
			 (unsigned long long)low, (unsigned long long)high);
}
