/* SPDX-License-Identifier: MIT */
/*
 * A token bucket: a rate that may be exceeded for as long as what was saved lasts. Tokens are
 * whatever is limited; times are nanoseconds. Whoever shares a bucket locks it.
 */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include "base/util.h"

/* Tokens come at a rate and are kept up to a burst; a level below 0 is debt. */
struct bucket {
	uint64_t rate; /* a second, below 2^51; 0: no limit */
	uint64_t burst;
	int64_t level;
	uint64_t part; /* of the next token, in tokens / NSEC_PER_SEC */
};

/* Full, at another rate; burst 0: what a tenth of a second brings. */
void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst);

/*
 * What ns have brought. Somebody waited: of what came more than the burst, up to a tenth of a
 * second's, is not lost because nobody took it at once.
 */
void bucket_fill(struct bucket *b, uint64_t ns, bool waited);

/* ns until it gives cost, or is full; 0: now. */
uint64_t bucket_wait(const struct bucket *b, uint64_t cost);
void bucket_take(struct bucket *b, uint64_t cost);

#endif
