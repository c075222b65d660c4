/* SPDX-License-Identifier: MIT */
/*
 * A histogram of times in fixed memory: exact below 2^HIST_SUB_BITS, then
 * 2^HIST_SUB_BITS buckets an octave, so that a percentile is at most 1/8 too high;
 * values of 2^HIST_MAX_BITS and more share the last bucket. One writer, any readers
 * (base/counter.h).
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include "base/counter.h"

enum {
	HIST_SUB_BITS = 3,
	HIST_MAX_BITS = 40, /* some minutes, in ticks */
	HIST_BUCKETS = (HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS,
};

struct hist {
	_Atomic uint64_t total; /* the sum of all values */
	_Atomic uint64_t max;
	_Atomic uint64_t bucket[HIST_BUCKETS]; /* the count is their sum */
};

/* The bucket of v. */
static inline unsigned hist_index(uint64_t v)
{
	unsigned octave;

	if (v < 1u << HIST_SUB_BITS)
		return (unsigned)v;
	octave = 63u - (unsigned)__builtin_clzll(v);
	if (octave >= HIST_MAX_BITS)
		return HIST_BUCKETS - 1;
	octave -= HIST_SUB_BITS;
	return (octave + 1) << HIST_SUB_BITS |
	       ((unsigned)(v >> octave) & ((1u << HIST_SUB_BITS) - 1));
}

static inline void hist_add(struct hist *h, uint64_t v)
{
	counter_add(&h->bucket[hist_index(v)], 1);
	counter_add(&h->total, v);
	counter_max(&h->max, v);
}

/* What a reader takes of one or several histograms: his own copy. */
struct hist_sum {
	uint64_t count;
	uint64_t total;
	uint64_t max;
	uint64_t bucket[HIST_BUCKETS];
};

/* Adds h as it is now to sum (zeroed for a first one). */
void hist_collect(struct hist_sum *sum, const struct hist *h);

/*
 * The value below or at which percent (0 to 100) of all values lie: the upper end of its
 * bucket, never more than the maximum. 0 where there are none.
 */
uint64_t hist_percentile(const struct hist_sum *sum, double percent);

#endif
