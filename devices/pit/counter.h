/* SPDX-License-Identifier: MIT */
/*
 * One counter of an 8254 as a function of time: no clock, no lock, no wire. Whoever owns it
 * says how many CLK pulses there have been since power-on, and is told how often OUT rose.
 *
 * Intel 8254 Programmable Interval Timer, data sheet, order number 231164; the sections named
 * below are its headings. Programming happens between two pulses; what the data sheet has happen
 * "on the next CLK pulse" happens at the caller's now + 1.
 *
 * Invariants: now never goes back. counter_advance() goes to now before anything else is asked
 * or done. All times are compared by their differences, which stay below 2^62.
 */
#ifndef DEVICES_PIT_COUNTER_H
#define DEVICES_PIT_COUNTER_H

#include "base/util.h"

#define COUNTER_NEVER UINT64_MAX
#define COUNTER_MAX_SPAN (1ull << 62)

/* Control Word Format: what a counter keeps of it. */
#define COUNTER_BCD 0x01
#define COUNTER_MODE_SHIFT 1
#define COUNTER_MODE_BITS 0x07
#define COUNTER_RW_SHIFT 4
#define COUNTER_CONTROL 0x3f

struct counter_state {
	uint64_t at; /* the pulse that the state is of */
	uint64_t start; /* when the counting element was loaded, or where mode 3's cycle begins */
	uint64_t load_at; /* when the count register is taken over, COUNTER_NEVER: not by itself */
	uint64_t held; /* pulses counted, while it is stopped */
	uint32_t n; /* what was loaded, 1 to 65536; 0: nothing yet */
	uint16_t cr; /* the count register, as written */
	uint16_t latch; /* Counter Latch Command: the count that is read next */
	uint8_t control; /* COUNTER_CONTROL */
	uint8_t written; /* a count has been written since the control word */
	uint8_t null; /* NULL COUNT: the count register has not been taken over */
	uint8_t stopped; /* by the gate, or between two bytes in mode 0 */
	uint8_t gate;
	uint8_t write_msb; /* of two bytes the second comes next, also below */
	uint8_t read_msb;
	uint8_t lsb; /* the first of two bytes written */
	uint8_t latched; /* the bytes of latch that are still to be read: 1 LSB, 2 MSB */
	uint8_t status; /* Read-Back Command: what is read before everything else */
	uint8_t status_latched;
};

/* Power-on: no mode, no count, OUT high, nothing ever happens. */
void counter_reset(struct counter_state *c, uint64_t now, bool gate);

/* False for what no counter can hold: a hostile state. */
bool counter_valid(const struct counter_state *c);

/* Lets the pulses up to now happen. Returns how often OUT rose with them. */
uint64_t counter_advance(struct counter_state *c, uint64_t now);

/* The output. */
bool counter_out(const struct counter_state *c);

/* The pulse, after the present one, with which OUT rises next; COUNTER_NEVER: it will not. */
uint64_t counter_next_rise(const struct counter_state *c);

/* Pulses from one rise to the next while it counts in mode 2 or 3 (or is about to); else 0. */
uint32_t counter_period(const struct counter_state *c);

/* Control Word; the bits that select a counter are ignored. May make OUT rise. */
void counter_control(struct counter_state *c, uint8_t control);
/* Counter Latch Command, and the two halves of the Read-Back Command. */
void counter_latch_count(struct counter_state *c);
void counter_latch_status(struct counter_state *c);
/* The counter's own port. */
void counter_write(struct counter_state *c, uint8_t v);
uint8_t counter_read(struct counter_state *c);

/* GATE. May make OUT rise. */
void counter_set_gate(struct counter_state *c, bool gate);

#endif
