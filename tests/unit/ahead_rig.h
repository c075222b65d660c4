/* SPDX-License-Identifier: MIT */
/*
 * A guest's kernel code for tests of cpu/lookahead/: RAM, its page tables, and random
 * instructions of all the kinds that are known there, with registers that let them run.
 */
#ifndef TESTS_UNIT_AHEAD_RIG_H
#define TESTS_UNIT_AHEAD_RIG_H

#include "base/mem.h"
#include "cpu/lookahead/insn.h"
#include "cpu/lookahead/state.h"

#define RIG_RAM (16 * MIB)
#define RIG_TABLES (2 * MIB) /* the first one is CR3's */
#define RIG_CODE (4 * MIB)
#define RIG_SCRATCH (8 * MIB)
#define RIG_SCRATCH_PAGES 4
#define RIG_SCRATCH_SIZE (RIG_SCRATCH_PAGES * PAGE_SIZE_4K)

/* Present, writable, accessed, dirty: nothing is left to the CPU. */
#define RIG_PAGE 0x63ull

struct ahead_rig {
	struct mem mem;
	uint64_t next_table;
};

void rig_create(struct ahead_rig *rig);
void rig_destroy(struct ahead_rig *rig);

/* One page of 4 KiB, in 4-level tables; the levels above allow everything. */
void rig_map(struct ahead_rig *rig, uint64_t gva, uint64_t gpa, uint64_t flags);
/* The entry for gva, to be changed. */
uint64_t *rig_entry(struct ahead_rig *rig, uint64_t gva);
/* And that of the 2 MiB around it. */
uint64_t *rig_directory_entry(struct ahead_rig *rig, uint64_t gva);

/* Flat segments, at privilege level 0; 64-bit with paging on, or 32-bit with paging off. */
void rig_sregs(bool wide, struct kvm_sregs *out);

/* An instruction to try. Addresses are the guest's. */
struct rig_case {
	uint8_t code[AHEAD_INSN_MAX];
	struct ahead_insn insn;
	struct kvm_regs regs;
	uint64_t taken; /* where it goes if it branches */
	uint8_t scratch[RIG_SCRATCH_SIZE]; /* what is there before */
};

struct rig_random {
	uint64_t state; /* not 0 */
	bool wide;
	uint64_t scratch; /* address of RIG_SCRATCH_SIZE bytes */
	uint64_t code; /* where the instruction will be */
	uint64_t base[NR_SEGS];
};

uint64_t rig_random(struct rig_random *r);
/* The next one that is known and no port access. */
void rig_random_case(struct rig_random *r, struct rig_case *c);

/* Flags that the instruction leaves undefined with these operands. */
uint64_t rig_undefined_flags(const struct rig_case *c);

/* What has to have been tried; a name of what was not, NULL: all was. */
struct rig_coverage {
	unsigned ops[AHEAD_IN][9]; /* by the destination's width */
	unsigned alu[ALU_NR][9];
	unsigned conditions[16][2]; /* JCC not met, met */
};

void rig_cover(struct rig_coverage *cover, const struct rig_case *c);
const char *rig_uncovered(const struct rig_coverage *cover, bool wide);

/* The instruction in bytes, for a message. */
const char *rig_bytes(const struct rig_case *c, char *buf, size_t size);

#endif
