/* SPDX-License-Identifier: MIT */
/*
 * Counters with one writer and any number of readers, without locks: a reader sees
 * each counter whole, though not all of one instant. Times are in ticks of the
 * time-stamp counter, which whoever reads them turns into nanoseconds.
 */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>
#include <x86intrin.h>

#include "base/util.h"

static inline uint64_t ticks_now(void)
{
	return __rdtsc();
}

/* A plain add: relaxed load and store compile to one instruction, with no bus lock. */
static inline void counter_add(_Atomic uint64_t *p, uint64_t n)
{
	atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static inline void counter_max(_Atomic uint64_t *p, uint64_t v)
{
	if (v > counter_get(p))
		atomic_store_explicit(p, v, memory_order_relaxed);
}

#endif
