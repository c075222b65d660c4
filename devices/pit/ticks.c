/* SPDX-License-Identifier: MIT */
#include "devices/pit/ticks.h"

#define MAX_INTERVAL PIT_HZ /* of max_hz 1 */
#define MAX_OWED (PIT_CATCHUP_SECONDS * (uint64_t)PIT_HZ)

/*
 * An edge that nobody acknowledges is given up after two periods, but not before this: and where
 * the line was masked, not before a handler is through that a busy host keeps from its end.
 */
#define PATIENCE_MIN (PIT_HZ / 100)
#define PATIENCE_MASKED (PIT_HZ / 10)

void ticks_reset(struct ticks *t, uint64_t now)
{
	*t->s = (struct ticks_state){ .burst_at = now, .sent_at = now };
	t->line->watch(t->line->ctx, false);
	if (t->line->acked)
		(void)t->line->acked(t->line->ctx);
}

bool ticks_valid(const struct ticks_state *s, uint64_t now)
{
	return s->burst_at <= now + MAX_INTERVAL && s->sent_at <= now && s->owed <= 2 * MAX_OWED;
}

/* Who asks for more than there can be is owed nothing: it gets what there is. */
static bool is_rate(const struct ticks *t)
{
	return t->period >= TICKS_MIN_INTERVAL;
}

void ticks_tune(struct ticks *t, const struct pit_policy *policy, uint32_t period)
{
	uint64_t interval = TICKS_MIN_INTERVAL;

	/* A slower counter needs no bursts; without a rate nothing can slow down. */
	if (policy->max_hz && (policy->time == PIT_TIME_KEEP || !period))
		interval = max_u64(interval, PIT_HZ / policy->max_hz);
	t->lost = policy->lost;
	t->period = period;
	t->interval = interval;
	t->burst = is_rate(t) ? (uint32_t)(interval / period) + 1 : 1;
}

void ticks_forget(struct ticks *t)
{
	t->s->owed = 0;
	t->s->in_burst = 0;
	if (t->s->unacked)
		t->s->unacked = TICK_SENT;
	t->s->listens = 0;
}

/* The last one still counts as owed: 1 or 0. */
static unsigned in_flight(const struct ticks_state *s)
{
	return s->unacked >= TICK_OPEN;
}

/* A guest that is there will have what it is owed, however late. */
static bool insists(const struct ticks *t)
{
	return t->lost == PIT_LOST_CATCHUP && t->s->listens && t->line->acked;
}

/* What the guest may be owed at most: a burst is not late. */
static uint64_t max_owed(const struct ticks *t)
{
	uint64_t late = insists(t) && is_rate(t) ? MAX_OWED / t->period : 0;

	return in_flight(t->s) + t->burst + late;
}

uint64_t ticks_add(struct ticks *t, uint64_t n)
{
	uint64_t max = max_owed(t), owed = t->s->owed + n, over = owed > max ? owed - max : 0;

	t->s->owed = (uint32_t)(owed - over);
	t->s->dropped += over;
	return over;
}

static uint64_t patience(const struct ticks *t)
{
	bool masked = t->s->unacked == TICK_MASKED;

	return max_u64(masked ? PATIENCE_MASKED : PATIENCE_MIN, 2ull * t->period);
}

uint64_t ticks_burst_at(const struct ticks *t)
{
	return max_u64(t->s->burst_at, t->s->sent_at + TICKS_MIN_INTERVAL);
}

/* When the next tick that is owed may go. */
static uint64_t next_at(const struct ticks *t)
{
	const struct ticks_state *s = t->s;
	uint64_t at = s->sent_at + TICKS_MIN_INTERVAL;

	if (!s->in_burst)
		at = ticks_burst_at(t);
	else if (!t->line->acked)
		at = max_u64(at, s->sent_at + t->period / 4);
	else if (!s->unacked)
		at = s->sent_at;
	if (s->unacked && (s->in_burst || t->lost != PIT_LOST_DISCARD))
		at = max_u64(at, s->sent_at + patience(t));
	return at;
}

static void begin_burst(struct ticks *t, uint64_t now)
{
	struct ticks_state *s = t->s;

	s->in_burst = 1;
	/* In step with the one before where that is possible. */
	s->burst_at += t->interval;
	if (s->burst_at < now + TICKS_MIN_INTERVAL)
		s->burst_at = now + t->interval;
}

static void send(struct ticks *t, uint64_t now)
{
	struct ticks_state *s = t->s;
	bool was_masked = s->unacked == TICK_MASKED;
	int taken;

	if (t->line->acked && !s->unacked)
		(void)t->line->acked(t->line->ctx);
	taken = t->line->pulse(t->line->ctx);
	s->raised++;
	s->sent_at = now;
	if (taken < 0 && (was_masked || !insists(t))) {
		s->dropped += s->listens ? s->owed : 0;
		s->owed = 0;
		s->unacked = TICK_DONE;
		s->listens = 0;
	} else if (insists(t)) {
		s->unacked = taken < 0 ? TICK_MASKED : TICK_OPEN;
	} else {
		s->owed--;
		s->unacked = t->line->acked ? TICK_SENT : TICK_DONE;
	}
}

static void take_acks(struct ticks *t)
{
	struct ticks_state *s = t->s;
	uint64_t n = s->unacked ? t->line->acked(t->line->ctx) : 0;

	if (!n)
		return;
	if (in_flight(s))
		s->owed -= (uint32_t)min_u64(n, s->owed);
	s->unacked = TICK_DONE;
	s->listens = 1;
}

/* There is one to be sent. */
static bool has_more(const struct ticks_state *s)
{
	return s->owed > in_flight(s);
}

uint64_t ticks_send(struct ticks *t, uint64_t now)
{
	struct ticks_state *s = t->s;

	take_acks(t);
	if (has_more(s) && next_at(t) <= now) {
		if (!s->in_burst)
			begin_burst(t, now);
		send(t, now);
	}
	if (!has_more(s))
		s->in_burst = 0;
	if (t->line->acked)
		t->line->watch(t->line->ctx, has_more(s) && s->unacked);
	return has_more(s) ? next_at(t) : TICKS_NEVER;
}
