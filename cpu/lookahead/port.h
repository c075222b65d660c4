/* SPDX-License-Identifier: MIT */
/*
 * Port accesses of a run: those that our own devices take. A port that nobody on the bus claims
 * may be the host kernel's (its PIC and PIT), and is left to it.
 */
#ifndef CPU_LOOKAHEAD_PORT_H
#define CPU_LOOKAHEAD_PORT_H

#include "base/bus.h"
#include "cpu/lookahead/insn.h"
#include "cpu/lookahead/state.h"

/* What was done, for those who count. */
struct ahead_access {
	uint64_t port;
	unsigned width;
	unsigned count; /* elements: of a string, those on one page */
	bool write;
};

/*
 * Does IN, OUT, INS or OUTS. Of a repeated one that is too long for a page, one part: RIP then
 * still stands there. False, and nothing has happened, where the CPU must do it.
 */
bool ahead_do_port(struct ahead_cpu *cpu, const struct ahead_insn *insn, struct bus *bus,
		   struct ahead_access *access) __must_check;

#endif
