/* SPDX-License-Identifier: MIT */
#include "devices/pit/counter.h"

/* Read/Write, also the bytes of a latched count that are still to be read: a bit each. */
enum rw { RW_LSB = 1, RW_MSB = 2, RW_BOTH = RW_LSB | RW_MSB };

/* Read-Back Command, "Status Byte". */
#define STATUS_OUT 0x80
#define STATUS_NULL_COUNT 0x40

static unsigned mode_of(const struct counter_state *c)
{
	unsigned m = c->control >> COUNTER_MODE_SHIFT & COUNTER_MODE_BITS;

	return m > 5 ? m - 4 : m; /* modes 2 and 3 do not care for M2 */
}

static unsigned rw_of(const struct counter_state *c)
{
	return c->control >> COUNTER_RW_SHIFT & 3;
}

static bool is_periodic(const struct counter_state *c)
{
	unsigned m = mode_of(c);

	return m == 2 || m == 3;
}

/* Modes 1 and 5: a trigger is what starts them, GATE's level does nothing. */
static bool is_triggered(const struct counter_state *c)
{
	unsigned m = mode_of(c);

	return m == 1 || m == 5;
}

static unsigned modulus(const struct counter_state *c)
{
	return c->control & COUNTER_BCD ? 10000 : 0x10000;
}

/*
 * What a count register stands for; 0 is the largest count. A digit past 9 is not in the data
 * sheet: it counts for what it is, within the modulus.
 */
static uint32_t decode(const struct counter_state *c)
{
	uint32_t v = c->cr;

	if (c->control & COUNTER_BCD)
		v = ((v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15)) %
		    10000;
	return v ? v : modulus(c);
}

static uint16_t encode(const struct counter_state *c, uint32_t v)
{
	v %= modulus(c);
	if (c->control & COUNTER_BCD)
		v = v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
	return (uint16_t)v;
}

/* Pulses counted since the load. */
static uint64_t elapsed(const struct counter_state *c, uint64_t when)
{
	return c->stopped ? c->held : when - c->start;
}

/* Mode 3: OUT is high for (N + 1) / 2 pulses and low for (N - 1) / 2, or for half of an even N. */
static uint32_t high_half(const struct counter_state *c)
{
	return (c->n + 1) / 2;
}

/*
 * Mode 2: "a count of 1 is illegal", and Minimum and Maximum Initial Counts have 2 for mode 3
 * as well. Here such a counter stands still with OUT high, so that it interrupts nobody.
 */
static bool is_frozen(const struct counter_state *c)
{
	return is_periodic(c) && c->n == 1;
}

/* Mode 0: "Writing the first byte disables counting. OUT is set low immediately." */
static bool waits_for_msb(const struct counter_state *c)
{
	return mode_of(c) == 0 && c->write_msb;
}

/* --- OUT ------------------------------------------------------------------------- */

bool counter_out(const struct counter_state *c)
{
	uint64_t e = elapsed(c, c->at);

	switch (mode_of(c)) {
	case 0: /* Interrupt on Terminal Count: low from the control word or a new count on */
		return c->n && !c->null && !waits_for_msb(c) && e >= c->n;
	case 1: /* Hardware Retriggerable One-Shot */
		return !c->n || e >= c->n;
	case 2: /* Rate Generator: low for the last pulse; high at once without GATE */
		return !c->n || c->stopped || is_frozen(c) || e % c->n != c->n - 1;
	case 3: /* Square Wave Mode: likewise */
		return !c->n || c->stopped || is_frozen(c) || e % c->n < high_half(c);
	default: /* Software and Hardware Triggered Strobe: low for one pulse */
		return !c->n || e != c->n;
	}
}

/* When OUT rises first after `after`, if only counting happens. */
static uint64_t rise_after(const struct counter_state *c, uint64_t after)
{
	uint64_t e = after - c->start, at;

	if (!c->n || c->stopped || is_frozen(c))
		return COUNTER_NEVER;
	if (is_periodic(c))
		return after - e % c->n + c->n;
	at = mode_of(c) < 2 ? c->n : c->n + 1ull;
	return e < at ? c->start + at : COUNTER_NEVER;
}

/* How often it does in (from, to]. */
static uint64_t rises_between(const struct counter_state *c, uint64_t from, uint64_t to)
{
	uint64_t first = rise_after(c, from);

	if (first == COUNTER_NEVER || first - from > to - from)
		return 0;
	return is_periodic(c) ? 1 + (to - first) / c->n : 1;
}

/* --- time ------------------------------------------------------------------------ */

/*
 * When the count register is taken over by itself, or COUNTER_NEVER: with the pulse behind its
 * writing or a trigger, and otherwise, in modes 2 and 3, at the end of the cycle or half-cycle.
 * *skip: the new count's cycle begins with its low half.
 */
static uint64_t takeover(const struct counter_state *c, bool *skip)
{
	uint64_t pos;

	*skip = false;
	if (c->load_at != COUNTER_NEVER)
		return c->load_at;
	if (!c->null || !c->n || c->stopped || !is_periodic(c))
		return COUNTER_NEVER;
	pos = (c->at - c->start) % c->n;
	*skip = mode_of(c) == 3 && !is_frozen(c) && pos < high_half(c);
	return c->at + (*skip ? high_half(c) : c->n) - pos;
}

/*
 * A rise with the very pulse that loads the counter: in modes 0 and 1 OUT stays low instead.
 */
static bool load_hides_rise(const struct counter_state *c)
{
	return mode_of(c) < 2;
}

static void load(struct counter_state *c, bool skip)
{
	c->n = decode(c);
	c->null = 0;
	c->load_at = COUNTER_NEVER;
	c->start = c->at - (skip ? high_half(c) : 0);
	c->held = 0;
	c->stopped = !c->gate && !is_triggered(c);
}

uint64_t counter_advance(struct counter_state *c, uint64_t now)
{
	uint64_t rises = 0;

	while (c->at != now) {
		bool skip;
		uint64_t end = takeover(c, &skip);
		bool takes = end <= now;
		uint64_t until = takes ? end : now;

		rises += rises_between(c, c->at, until - (takes && load_hides_rise(c)));
		c->at = until;
		if (takes)
			load(c, skip);
	}
	return rises;
}

uint64_t counter_next_rise(const struct counter_state *c)
{
	struct counter_state next = *c;
	bool skip;
	uint64_t end = takeover(c, &skip), at = rise_after(c, c->at);

	if (end == COUNTER_NEVER || at < end || (at == end && !load_hides_rise(c)))
		return at;
	(void)counter_advance(&next, end);
	return rise_after(&next, end);
}

uint32_t counter_period(const struct counter_state *c)
{
	uint32_t n = c->written ? decode(c) : 0;

	return is_periodic(c) && n > 1 ? n : 0;
}

/* --- programming ------------------------------------------------------------------ */

void counter_reset(struct counter_state *c, uint64_t now, bool gate)
{
	*c = (struct counter_state){
		.at = now,
		.start = now,
		.load_at = COUNTER_NEVER,
		.control = RW_BOTH << COUNTER_RW_SHIFT | 3 << COUNTER_MODE_SHIFT,
		.null = 1,
		.gate = gate,
	};
}

bool counter_valid(const struct counter_state *c)
{
	return c->at < COUNTER_MAX_SPAN && c->at - c->start < COUNTER_MAX_SPAN &&
	       c->held < COUNTER_MAX_SPAN && rw_of(c) && c->n <= modulus(c) &&
	       (c->load_at == COUNTER_NEVER || c->load_at == c->at + 1) &&
	       (c->written || (!c->n && c->load_at == COUNTER_NEVER)) && (c->n || c->null) &&
	       !(c->latched & ~rw_of(c));
}

void counter_control(struct counter_state *c, uint8_t control)
{
	uint64_t now = c->at;
	bool gate = c->gate;

	/* "All control logic is immediately reset and OUT goes to a known initial state." */
	counter_reset(c, now, gate);
	c->control = control & COUNTER_CONTROL;
}

/* The count register is complete (Write Operations; Mode Definitions for when it counts). */
static void new_count(struct counter_state *c, uint16_t v)
{
	bool first = !c->written;

	c->cr = v;
	c->written = 1;
	c->null = 1;
	if (!is_triggered(c) && (first || !is_periodic(c)))
		c->load_at = c->at + 1;
}

static void stop(struct counter_state *c)
{
	if (c->n && !c->stopped) {
		c->held = elapsed(c, c->at);
		c->stopped = 1;
	}
}

void counter_write(struct counter_state *c, uint8_t v)
{
	switch (rw_of(c)) {
	case RW_LSB:
		new_count(c, v);
		break;
	case RW_MSB:
		new_count(c, (uint16_t)(v << 8));
		break;
	default:
		c->write_msb = !c->write_msb;
		if (!c->write_msb) {
			new_count(c, (uint16_t)(v << 8 | c->lsb));
			break;
		}
		c->lsb = v;
		if (waits_for_msb(c)) {
			stop(c);
			c->load_at = COUNTER_NEVER;
		}
		break;
	}
}

void counter_set_gate(struct counter_state *c, bool gate)
{
	bool rises = gate && !c->gate;

	if (gate == c->gate)
		return;
	c->gate = gate;
	if (is_triggered(c) || is_periodic(c)) {
		if (!rises && is_periodic(c))
			stop(c);
		else if (rises && c->written)
			c->load_at = c->at + 1; /* a trigger */
		return;
	}
	if (!rises) {
		stop(c);
	} else if (c->stopped && !waits_for_msb(c)) {
		c->start = c->at - c->held;
		c->stopped = 0;
	}
}

/* --- reading ------------------------------------------------------------------------ */

/* The counting element. */
static uint16_t count_now(const struct counter_state *c)
{
	uint64_t e = elapsed(c, c->at);
	uint32_t v;

	if (!c->n)
		return 0;
	if (!is_periodic(c))
		v = (uint32_t)((c->n + modulus(c) - e % modulus(c)) % modulus(c));
	else if (is_frozen(c))
		v = c->n;
	else if (mode_of(c) == 2)
		v = c->n - (uint32_t)(e % c->n);
	else {
		/* By twos from N, of an odd N from N - 1, twice in a cycle. */
		uint32_t pos = (uint32_t)(e % c->n);

		v = (c->n & ~1u) - 2 * (pos < high_half(c) ? pos : pos - high_half(c));
	}
	return encode(c, v);
}

void counter_latch_count(struct counter_state *c)
{
	/* "If a Counter is latched and then, some time later, latched again before the count is
	 * read, the second Counter Latch Command is ignored." */
	if (c->latched)
		return;
	c->latch = count_now(c);
	c->latched = (uint8_t)rw_of(c);
}

void counter_latch_status(struct counter_state *c)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)(c->control | (counter_out(c) ? STATUS_OUT : 0) |
			      (c->null ? STATUS_NULL_COUNT : 0));
	c->status_latched = 1;
}

uint8_t counter_read(struct counter_state *c)
{
	uint16_t count = c->latched ? c->latch : count_now(c);
	bool msb;

	/* "The first read operation will return the latched status, regardless of which was
	 * latched first." */
	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	if (rw_of(c) == RW_BOTH) {
		msb = c->read_msb;
		c->read_msb = !c->read_msb;
	} else {
		msb = rw_of(c) == RW_MSB;
	}
	c->latched &= (uint8_t) ~(msb ? RW_MSB : RW_LSB);
	return (uint8_t)(msb ? count >> 8 : count);
}
