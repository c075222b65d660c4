/* SPDX-License-Identifier: MIT */
/*
 * The interval timer on a bus of its own, with a clock that is moved by hand and a line that notes
 * what came and when, and whose guest acknowledges as the test says. What cannot be made fails the
 * test.
 */
#ifndef TESTS_UNIT_PIT_RIG_H
#define TESTS_UNIT_PIT_RIG_H

#include "devices/pit/pit.h"
#include "tests/unit/fake.h"

#define PIT_RIG_CONTROL 0x43
#define MS 1000000ull

struct pit_line_notes {
	struct fake_clock *clock;
	unsigned pulses;
	uint64_t last, gap; /* ns: of the last one, and the shortest between two */
	int taken; /* what a pulse returns */
	bool answers; /* the guest acknowledges at once */
	unsigned acked; /* how many it has, since that was last asked */
	bool watched;
};

struct pit_rig {
	struct bus bus;
	struct fake_clock clock;
	struct pit_line_notes line;
	struct device *dev;
};

/* policy NULL: as it is by default. tells: the line can say what has been acknowledged. */
void pit_rig_init(struct pit_rig *r, const struct pit_policy *policy, bool tells);
void pit_rig_fini(struct pit_rig *r);

void pit_rig_program(struct pit_rig *r, unsigned counter, unsigned mode, unsigned count);

/* Time passes in small steps, so that acknowledgements are seen soon. */
void pit_rig_run(struct pit_rig *r, uint64_t ms);
/* The same; returns how many interrupts there were. */
unsigned pit_rig_ticks(struct pit_rig *r, uint64_t ms);
/* The host does nothing for that long: time passes, no timer fires. */
void pit_rig_sleep(struct pit_rig *r, uint64_t ns);

/* What KVM does when the guest has acknowledged: who watches is called. */
void pit_rig_acks(struct pit_rig *r);
/* The guest acknowledges one. */
void pit_rig_ack(struct pit_rig *r);

void assert_about(uint64_t got, uint64_t low, uint64_t high);

#endif
