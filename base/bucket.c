/* SPDX-License-Identifier: MIT */
#include "base/bucket.h"

#include "base/clock.h"

void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst)
{
	if (!burst)
		burst = max_u64(rate / 10, 1);
	*b = (struct bucket){ .rate = rate, .burst = burst, .level = (int64_t)burst };
}

void bucket_fill(struct bucket *b, uint64_t ns, bool waited)
{
	unsigned __int128 parts = (unsigned __int128)ns * b->rate + b->part;
	unsigned __int128 tokens = parts / NSEC_PER_SEC;
	int64_t most = (int64_t)(b->burst + (waited ? b->rate / 10 : 0));

	b->part = (uint64_t)(parts % NSEC_PER_SEC);
	if (b->level >= most || tokens >= (uint64_t)(most - b->level)) {
		b->level = most;
		b->part = 0;
	} else {
		b->level += (int64_t)tokens;
	}
}

uint64_t bucket_wait(const struct bucket *b, uint64_t cost)
{
	int64_t need = (int64_t)min_u64(cost, b->burst) - b->level;
	unsigned __int128 parts;

	if (!b->rate || need <= 0)
		return 0;
	parts = (unsigned __int128)need * NSEC_PER_SEC - b->part;
	return (uint64_t)((parts + b->rate - 1) / b->rate);
}

void bucket_take(struct bucket *b, uint64_t cost)
{
	if (b->rate)
		b->level -= (int64_t)cost;
}
