/* SPDX-License-Identifier: MIT */
/*
 * What a vCPU's exits cost. Each vCPU writes its own struct, nobody else does, so
 * there is no lock; readers on other threads see each counter whole, though not
 * all of one instant. Always on: two reads of the time-stamp counter an exit.
 */
#ifndef CPU_ACCT_H
#define CPU_ACCT_H

#include <linux/kvm.h>
#include <stdatomic.h>
#include <x86intrin.h>

#include "base/util.h"

/*
 * A row an exit reason, by KVM's number; reasons that this header does not know
 * share the last of those. Port and memory accesses have one row a direction, and
 * a KVM_RUN that a signal ended (a kick) has one as well.
 */
enum {
	ACCT_REASONS = 48,
	ACCT_OTHER = ACCT_REASONS - 1,
	ACCT_IO_IN = KVM_EXIT_IO,
	ACCT_MMIO_READ = KVM_EXIT_MMIO,
	ACCT_IO_OUT = ACCT_REASONS,
	ACCT_MMIO_WRITE,
	ACCT_SIGNAL,
	ACCT_NR_ROWS,
};

struct acct_row {
	_Atomic uint64_t count;
	_Atomic uint64_t ticks; /* of user space, from KVM_RUN's return to its next call */
	_Atomic uint64_t max; /* the longest single one */
};

struct acct {
	struct acct_row rows[ACCT_NR_ROWS];
	_Atomic uint64_t run_ticks; /* inside KVM_RUN: the guest, and KVM on its behalf */
	_Atomic uint64_t accesses; /* port accesses, each element of a string counted */
};

static inline uint64_t acct_now(void)
{
	return __rdtsc();
}

/* A plain add: relaxed load and store compile to one instruction, with no bus lock. */
static inline void acct_add(_Atomic uint64_t *p, uint64_t n)
{
	atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t acct_get(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static inline void acct_exit(struct acct *a, unsigned row, uint64_t ticks)
{
	struct acct_row *r = &a->rows[row];

	acct_add(&r->count, 1);
	acct_add(&r->ticks, ticks);
	if (ticks > acct_get(&r->max))
		atomic_store_explicit(&r->max, ticks, memory_order_relaxed);
}

#endif
