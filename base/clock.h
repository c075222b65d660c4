/* SPDX-License-Identifier: MIT */
/*
 * Time, passed in. A device's state is a function of clock_now(), so tests move
 * time by hand (tests/unit/fake.h) and a paused machine's time can stand still.
 *
 * A timer calls back once, at or after its deadline, on the thread that drives
 * the clock (the event loop; in tests whoever advances the fake), with no lock
 * held: the callback takes device_lock() itself and looks again at the clock,
 * because it may have been re-armed meanwhile.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/util.h"

#define NSEC_PER_SEC 1000000000ull
#define TIMER_OFF UINT64_MAX

struct clock;

struct timer {
	struct clock *clock;
	void (*fn)(void *opaque);
	void *opaque;
	uint64_t deadline; /* ns on the clock, TIMER_OFF; the clock's driver owns it */
	uint64_t wanted; /* timer_want()'s; guarded by its caller's lock */
	struct timer *next;
};

struct clock_ops {
	uint64_t (*now)(struct clock *clock); /* ns, monotonic, arbitrary start */
	uint64_t (*wall)(struct clock *clock); /* ns since 1970-01-01 00:00 UTC */
	void (*arm)(struct clock *clock, struct timer *t, uint64_t deadline);
};

struct clock {
	const struct clock_ops *ops;
};

static inline uint64_t clock_now(struct clock *clock)
{
	return clock->ops->now(clock);
}

static inline uint64_t clock_wall(struct clock *clock)
{
	return clock->ops->wall(clock);
}

static inline void timer_init(struct timer *t, struct clock *clock, void (*fn)(void *),
			      void *opaque)
{
	*t = (struct timer){ .clock = clock,
			     .fn = fn,
			     .opaque = opaque,
			     .deadline = TIMER_OFF,
			     .wanted = TIMER_OFF };
}

/* (Re-)arms for deadline (ns on clock_now()'s scale), or disarms with TIMER_OFF. Any thread. */
static inline void timer_arm(struct timer *t, uint64_t deadline)
{
	t->clock->ops->arm(t->clock, t, deadline);
}

/*
 * For who says with every access when the timer is due, which is mostly when it was: arms it if
 * that has changed. Under one lock, as is timer_came(), which its callback begins with. Not beside
 * timer_arm(), but for the last TIMER_OFF.
 */
static inline void timer_want(struct timer *t, uint64_t deadline)
{
	if (deadline == t->wanted)
		return;
	t->wanted = deadline;
	timer_arm(t, deadline);
}

static inline void timer_came(struct timer *t)
{
	t->wanted = TIMER_OFF;
}

/* a * b / c without overflow of the product; c must not be 0. */
static inline uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)((unsigned __int128)a * b / c);
}

#endif
