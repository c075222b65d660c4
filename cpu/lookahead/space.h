/* SPDX-License-Identifier: MIT */
/*
 * Memory as the guest's kernel code sees it: segments, page tables, RAM (Intel SDM vol. 3A,
 * chapters 4 and 5). Everything for which the CPU would do more than move bytes (a fault, an
 * accessed or dirty bit to be set, a device, a page boundary within a datum) is refused, and
 * nothing has happened then.
 *
 * A page that was walked to is good for the rest of the run, as in a CPU's TLB: every instruction
 * that flushes one ends a run.
 */
#ifndef CPU_LOOKAHEAD_SPACE_H
#define CPU_LOOKAHEAD_SPACE_H

#include "cpu/lookahead/state.h"

/* One datum of 1, 2, 4 or 8 bytes at seg:offset, by one access. False: refused. */
bool ahead_load(struct ahead_cpu *cpu, unsigned seg, uint64_t offset, unsigned width,
		uint64_t *out) __must_check;
bool ahead_store(struct ahead_cpu *cpu, unsigned seg, uint64_t offset, unsigned width,
		 uint64_t v) __must_check;

/*
 * Bytes on one page, for a string: at most *len of them, which becomes how many there are.
 * NULL: refused. mem_mark() is for who has written them.
 */
void *ahead_bytes(struct ahead_cpu *cpu, unsigned seg, uint64_t offset, bool write,
		  unsigned *len) __must_check;

/* The same of code, at CS:offset. */
const void *ahead_code(struct ahead_cpu *cpu, uint64_t offset, unsigned *len) __must_check;

/* Whether a branch may lead to this address; the fetch there may still fault. */
bool ahead_target_ok(const struct ahead_cpu *cpu, uint64_t rip);

#endif
