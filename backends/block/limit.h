/* SPDX-License-Identifier: MIT */
/*
 * A disk that is only so fast: requests and bytes a second, by two token buckets that all its
 * queues share. A request goes once both buckets hold what it costs, or are full: one that is
 * larger than a burst goes as well, and those behind it wait for as long as it is worth.
 *
 * A request costs 1 of iops; its length of bps where data moves, which discards and zeroes do
 * not. Where several queues wait, each gets the same share of what is limited; the requests of
 * one queue stay in order. Without a limit a request costs one load more than without this
 * layer.
 *
 * Those who wait are woken LIMIT_SLICE apart at least, and a wake-up that is late (by up to a
 * tenth of a second) loses nothing: over more than a few of those the rate is exact.
 */
#ifndef BACKENDS_BLOCK_LIMIT_H
#define BACKENDS_BLOCK_LIMIT_H

#include "backends/block/block.h"
#include "base/clock.h"

#define LIMIT_SLICE (NSEC_PER_SEC / 5000)
#define LIMIT_MAX_RATE (1ull << 50)

/* A second; 0: no limit. */
struct limit_rates {
	uint64_t iops;
	uint64_t iops_burst; /* requests at once after idling; 0: what a tenth of a second brings */
	uint64_t bps;
	uint64_t bps_burst; /* bytes, like it */
};

struct limit_config {
	struct block *below; /* the layer's from then on */
	struct limit_rates rates; /* each at most LIMIT_MAX_RATE */
	/* Drives every queue's timer, for tests; NULL: the host's, on each queue's own loop. */
	struct clock *clock;
};

/* 0 or -ENOMEM, with below as it was. */
int limit_create(const struct limit_config *cfg, struct block **out) __must_check;

/*
 * Other rates from now on, with full buckets; requests that wait see them at once. The main
 * thread's; b is limit_create()'s.
 */
void limit_set(struct block *b, const struct limit_rates *rates);
void limit_get(struct block *b, struct limit_rates *rates);

/* Without the limits for a while: somebody waits until nothing is in flight. The main thread's. */
void limit_lift(struct block *b, bool lifted);

#endif
