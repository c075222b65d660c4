/* SPDX-License-Identifier: MIT */
/*
 * Which guest instructions exit, and who called the function they are in.
 *
 * Each vCPU has a profile of its own and writes it alone, at each exit while it is
 * switched on; readers on other threads see each entry whole (base/counter.h). Fixed
 * memory: what finds no place is counted as lost.
 *
 * The guest's registers come with the exit (KVM_CAP_SYNC_REGS). The caller is found on
 * the guest's stack, read through its page tables: a word behind which a call
 * instruction ends. Where the function's start is known (profile_function()), the word whose call
 * leads there is taken; otherwise the first that any call could have left, a guess. A
 * function's code always pushes as much before one instruction, so the word's place is
 * looked for once an instruction and then only read.
 */
#ifndef CPU_PROFILE_H
#define CPU_PROFILE_H

#include <linux/kvm.h>

#include "base/counter.h"
#include "base/gva.h"
#include "base/mem.h"

#define PROFILE_ENTRIES 4096
#define PROFILE_INSNS 1024

/* Exits of one reason, at one instruction, from one caller, on one access. */
struct profile_entry {
	_Atomic uint64_t rip; /* linear address; written last; 0: free */
	uint64_t caller; /* the return address; 0: none found */
	uint64_t target; /* where the call before it leads, 0 if only a running CPU could say */
	uint64_t access; /* acct_key(), 0: the exit was no access */
	unsigned row; /* of acct */
	_Atomic uint64_t count;
	_Atomic uint64_t ticks;
};

/* An instruction that exits, and where its function's return address lies. */
struct profile_insn {
	_Atomic uint64_t rip; /* written last; 0: free */
	_Atomic uint64_t function; /* its start, told by profile_function(); 0: not known yet */
	uint64_t searched; /* what function was when the stack was searched; 1: never */
	int place; /* words above the stack pointer; -1: not found */
};

struct profile {
	const struct mem *mem;
	struct profile_entry entries[PROFILE_ENTRIES]; /* a hash */
	struct profile_insn insns[PROFILE_INSNS]; /* a hash */
	unsigned nr_entries, nr_insns; /* the writer's own */
	_Atomic uint64_t lost;
	_Atomic uint64_t lost_ticks;
	atomic_bool clear; /* the writer is to forget everything */
	/* Where kernel code was last seen running; written by the vCPU, each word whole. */
	_Atomic uint64_t cr0, cr3, cr4, efer;
};

/* NULL without memory. */
struct profile *profile_create(const struct mem *mem) __must_check;
void profile_destroy(struct profile *p);

/* Has the vCPU forget everything at its next exit. Any thread. */
void profile_clear(struct profile *p);

/*
 * One exit, on the vCPU's thread. regs are the registers as it left the guest; access
 * is acct_key() or 0.
 */
void profile_exit(struct profile *p, const struct kvm_sync_regs *regs, unsigned row,
		  uint64_t access, uint64_t ticks);

/*
 * For whoever has symbols: tells the start of the function that rip lies in, so that its
 * caller need not be guessed from then on. Any thread.
 */
void profile_function(struct profile_insn *insn, uint64_t start);

/* The address space that kernel code was last seen in; false while none was. Any thread. */
bool profile_space(const struct profile *p, struct gva_space *out);

#endif
