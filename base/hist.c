/* SPDX-License-Identifier: MIT */
#include "base/hist.h"

void hist_collect(struct hist_sum *sum, const struct hist *h)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = counter_get(&h->bucket[i]);

		sum->bucket[i] += n;
		sum->count += n;
	}
	sum->total += counter_get(&h->total);
	sum->max = max_u64(sum->max, counter_get(&h->max));
}

/* The largest value that falls into bucket i. */
static uint64_t upper_end(unsigned i)
{
	unsigned shift;

	if (i < 1u << HIST_SUB_BITS)
		return i;
	shift = (i >> HIST_SUB_BITS) - 1;
	i &= (1u << HIST_SUB_BITS) - 1;
	return ((uint64_t)(i + 1 + (1u << HIST_SUB_BITS)) << shift) - 1;
}

uint64_t hist_percentile(const struct hist_sum *sum, double percent)
{
	/* Multiplied first: 7 / 100 is a little more than that, and could ask for a rank too many. */
	double want = percent * (double)sum->count / 100;
	uint64_t seen = 0;

	if (!sum->count)
		return 0;
	for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
		seen += sum->bucket[i];
		if (seen && (double)seen >= want)
			return min_u64(upper_end(i), sum->max);
	}
	return sum->max;
}
