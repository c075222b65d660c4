/* SPDX-License-Identifier: MIT */
/*
 * From the edges of counter 0 to the interrupts that the guest gets: how many it is owed, and when
 * the next may be sent. Times are CLK pulses of the PIT since power-on, as in counter.h.
 *
 * Ticks come in bursts, of mostly one: a burst begins no sooner than `interval` after the one
 * before, and its ticks follow each other as the guest acknowledges them (or, where the line
 * cannot tell, after a quarter of the guest's period). A tick that is not acknowledged in time
 * holds the others up for a while only, then it is sent again: it may have been masked where we
 * cannot see it.
 *
 * Where all are to arrive, the guest is owed a tick until it is acknowledged, and what counts is
 * how many it has acknowledged: of a tick that was sent twice because it was late both may arrive,
 * or become one. One that finds the line masked waits like any other, because an 8259A keeps the
 * edge and there are handlers that acknowledge first and unmask at their end; where it is still
 * masked when that time is over, the guest wants none.
 */
#ifndef DEVICES_PIT_TICKS_H
#define DEVICES_PIT_TICKS_H

#include "devices/pit/pit.h"

#define TICKS_MIN_INTERVAL ((PIT_HZ + PIT_MAX_HZ - 1) / PIT_MAX_HZ)
#define TICKS_NEVER UINT64_MAX

enum tick {
	TICK_DONE, /* acknowledged, or nobody will tell */
	TICK_SENT,
	/* Sent, and owed until it is acknowledged. */
	TICK_OPEN,
	TICK_MASKED, /* the same; the line was masked, perhaps by the handler of the one before */
};

struct ticks_state {
	uint64_t burst_at; /* the next burst may begin */
	uint64_t sent_at; /* the last edge */
	uint64_t raised;
	uint64_t dropped;
	uint32_t owed; /* edges of counter 0 that the guest has had no interrupt for yet */
	uint8_t in_burst;
	uint8_t unacked; /* enum tick: the last one, as far as the line can tell */
	uint8_t listens; /* the guest has acknowledged one since counter 0 was programmed */
};

struct ticks {
	struct ticks_state *s;
	const struct pit_line *line;
	/* What follows from the policy and the guest's rate: ticks_tune(). */
	uint64_t interval; /* from burst to burst */
	uint32_t period; /* of the guest's rate, 0: it has none, or it has one no more */
	uint32_t burst; /* ticks that one interval brings, at most */
	unsigned lost;
};

void ticks_reset(struct ticks *t, uint64_t now);
bool ticks_valid(const struct ticks_state *s, uint64_t now);

/* The policy, and the pulses from one edge to the next, as they come (0: no rate). */
void ticks_tune(struct ticks *t, const struct pit_policy *policy, uint32_t period);

/* Counter 0 was programmed anew: what the guest was owed belongs to the old rate. */
void ticks_forget(struct ticks *t);

/* OUT has risen n times. Returns how many of these the guest will not get. */
uint64_t ticks_add(struct ticks *t, uint64_t n);

/*
 * Sends a tick if one may be sent now. Returns when to call again although nothing happens:
 * TICKS_NEVER where only a rise of OUT matters, and then not before ticks_burst_at(). Always later
 * than now.
 */
uint64_t ticks_send(struct ticks *t, uint64_t now);
uint64_t ticks_burst_at(const struct ticks *t);

#endif
