/* SPDX-License-Identifier: MIT */
/*
 * The interval timer between a hostile guest, time in any steps, a line that answers what it
 * likes, and state streams. Whatever is done, it arms no timer in the past, is not called by it
 * twice, and sends no two ticks (that nobody has acknowledged), sooner after each other than
 * PIT_MAX_HZ allows. Or two of them get the same input, the second is saved and restored all the
 * way, and a guest finds the same in both: without what gives counter 0 a time of its own, whose
 * parts of a pulse are not kept.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/state.h"
#include "devices/pit/pit.h"

#define GAP (NSEC_PER_SEC / PIT_MAX_HZ - 1000) /* a pulse of rounding on either side */

struct fuzz_clock {
	struct clock clock;
	uint64_t now;
	struct timer *timer; /* the one there is, if it is armed */
};

struct side {
	struct bus bus;
	struct fuzz_clock clock;
	struct device *dev;
	int taken;
	bool acks, tells; /* the line's answer; it can tell at all */
	bool acked; /* since the last tick */
	bool watched;
	uint64_t last; /* tick, ns */
	uint64_t ticks;
};

static uint64_t fuzz_now(struct clock *clock)
{
	return container_of(clock, struct fuzz_clock, clock)->now;
}

static void fuzz_arm(struct clock *clock, struct timer *t, uint64_t deadline)
{
	struct fuzz_clock *c = container_of(clock, struct fuzz_clock, clock);

	if (deadline != TIMER_OFF && deadline < c->now)
		abort();
	t->deadline = deadline;
	c->timer = deadline == TIMER_OFF ? NULL : t;
}

static void fuzz_advance(struct fuzz_clock *c, uint64_t ns)
{
	uint64_t end = c->now + ns, last = 0;

	while (c->timer && c->timer->deadline <= end) {
		struct timer *t = c->timer;

		c->timer = NULL;
		if (t->deadline > c->now)
			c->now = t->deadline;
		if (last && c->now - last < GAP)
			abort();
		last = c->now;
		t->fn(t->opaque);
	}
	c->now = end;
}

static int fuzz_pulse(void *ctx)
{
	struct side *s = ctx;

	if (s->ticks++ && !s->acked && s->clock.now - s->last < GAP)
		abort();
	s->last = s->clock.now;
	s->acked = false;
	return s->taken;
}

static uint64_t fuzz_acked(void *ctx)
{
	struct side *s = ctx;

	s->acked |= s->acks;
	return s->acks;
}

static void fuzz_watch(void *ctx, bool on)
{
	((struct side *)ctx)->watched = on;
}

static void side_init(struct side *s, const struct pit_policy *policy, bool tells)
{
	static const struct clock_ops ops = { fuzz_now, fuzz_now, fuzz_arm };
	struct pit_config cfg = {
		.name = "pit",
		.bus = &s->bus,
		.clock = &s->clock.clock,
		.line = { fuzz_pulse, tells ? fuzz_acked : NULL, fuzz_watch, s },
		.policy = *policy,
	};

	memset(s, 0, sizeof(*s));
	bus_init(&s->bus);
	s->clock.clock.ops = &ops;
	s->taken = 1;
	if (pit_create(&cfg, &s->dev))
		abort();
}

static void side_fini(struct side *s)
{
	device_destroy(s->dev);
	if (s->clock.timer)
		abort();
	bus_destroy(&s->bus);
}

static void take_policy(struct pit_policy *p, uint8_t a, uint8_t b)
{
	*p = (struct pit_policy){ .max_hz = (unsigned)b * (a & 0x80 ? 80 : 1),
				  .time = a & 1,
				  .lost = (a >> 1) % 3 };
	if (p->max_hz > PIT_MAX_HZ)
		p->max_hz = PIT_MAX_HZ;
}

static void plain(struct pit_policy *p)
{
	p->time = PIT_TIME_KEEP;
	if (p->lost == PIT_LOST_DELAY)
		p->lost = PIT_LOST_DISCARD;
}

/* One step; returns what the guest has seen. twin: keep counter 0's time that of the others. */
static uint64_t step(struct side *s, const uint8_t in[3], bool twin)
{
	static const uint16_t ports[] = { 0x40, 0x41, 0x42, 0x43, 0x61, 0x43, 0x40, 0x60 };
	uint16_t port = ports[in[0] & 7];
	struct pit_policy policy;
	uint64_t v = load_le(in + 1, 2);

	switch (in[0] >> 3 & 7) {
	case 0:
	case 1:
		bus_write(&s->bus, BUS_PIO, port, &v, 1 + (in[0] >> 6 & 1));
		return 0;
	case 2:
		bus_read(&s->bus, BUS_PIO, port, &v, 1 << (in[0] >> 6 & 1));
		return v;
	case 3:
		fuzz_advance(&s->clock, v << (in[0] & 7));
		return 0;
	case 4:
		fuzz_advance(&s->clock, v * 1000);
		return 0;
	case 5:
		/* The host sleeps. */
		s->clock.now += v << (in[0] & 7) * 5;
		return 0;
	case 6:
		s->taken = (int)(in[1] % 3) - 1;
		s->acks = in[2] & 1;
		if (s->acks && s->watched)
			pit_acked(s->dev);
		return 0;
	default:
		take_policy(&policy, in[1], in[2]);
		if (twin)
			plain(&policy);
		if (pit_set_policy(s->dev, &policy))
			abort();
		return 0;
	}
}

static void restore(struct side *s)
{
	struct state_buf buf = { 0 };

	if (state_save(s->dev, &buf) || state_load(s->dev, buf.data, buf.len) != (ssize_t)buf.len)
		abort();
	state_buf_free(&buf);
}

/* A stream that is sound and holds anything: refused, or a device that works. */
static void hostile_state(struct side *s, const uint8_t *data, size_t size)
{
	struct state_buf buf = { 0 };

	if (state_save(s->dev, &buf))
		abort();
	for (size_t i = 0; i + 2 < size; i += 3)
		buf.data[(size_t)load_le(data + i, 2) % (buf.len - 4)] = data[i + 2];
	store_le(buf.data + buf.len - 4, 4, util_crc32(0, buf.data, buf.len - 4));
	(void)!state_load(s->dev, buf.data, buf.len);
	state_buf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pit_policy policy;
	struct side a, b;
	size_t i = 4;
	bool twin;

	if (size < 4)
		return 0;
	take_policy(&policy, data[0], data[1]);
	twin = data[3] & 1;
	if (twin)
		plain(&policy);
	side_init(&a, &policy, data[2] & 1);
	if (!twin && data[3] & 2) {
		i += (size - 4) / 8;
		hostile_state(&a, data + 4, i - 4);
		a.ticks = 0; /* what came before tells nothing of the next */
	}
	if (twin)
		side_init(&b, &policy, data[2] & 1);
	for (; i + 2 < size; i += 3) {
		uint64_t v = step(&a, data + i, twin);

		if (!twin)
			continue;
		if (step(&b, data + i, twin) != v)
			abort();
		restore(&b);
	}
	side_fini(&a);
	if (twin)
		side_fini(&b);
	return 0;
}
