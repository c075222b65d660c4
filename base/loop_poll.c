/* SPDX-License-Identifier: MIT */
#include "base/loop_poll.h"

#include <time.h>

/* In units of max. */
#define OVERDRAFT 4
#define RICHES 16
#define SELDOM 8 /* work that comes less often is never looked for */

#define BACKOFF_MIN 8
#define BACKOFF_MAX 4096

/* How long pollers may keep everything else waiting. */
#define TURN_NS 250000
/* Looks between two at the clock: together less than a microsecond. */
#define LOOKS 8

void loop_polling_init(struct loop_polling *p, uint64_t max_ns)
{
	*p = (struct loop_polling){ .max = max_ns, .backoff = BACKOFF_MIN };
}

uint64_t loop_polling_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void loop_polling_found(struct loop_polling *p, uint64_t spun)
{
	int64_t riches = (int64_t)(p->max * RICHES);

	p->account += (int64_t)(p->max / 2) - (int64_t)spun;
	if (p->account >= riches) {
		p->account = riches;
		p->backoff = BACKOFF_MIN;
	}
}

void loop_polling_missed(struct loop_polling *p, uint64_t spun)
{
	p->account -= (int64_t)spun;
	if (p->account >= -(int64_t)(p->max * OVERDRAFT))
		return;
	p->account = 0;
	p->skip = p->backoff;
	p->backoff = p->backoff < BACKOFF_MAX ? 2 * p->backoff : BACKOFF_MAX;
}

void loop_polling_slept(struct loop_polling *p, uint64_t now)
{
	uint64_t gap = now - p->idle_since;

	p->window = 0;
	if (p->skip)
		p->skip--;
	else if (gap < p->max * SELDOM)
		p->window = min_u64(2 * gap, p->max);
}

static bool run(struct loop_poller *pollers)
{
	bool any = false;

	for (struct loop_poller *p = pollers; p; p = p->next)
		any |= p->poll(p->opaque);
	return any;
}

static bool arm(struct loop_poller *pollers)
{
	bool any = false;

	for (struct loop_poller *p = pollers; p; p = p->next)
		any |= p->arm(p->opaque);
	return any;
}

/* Looks until there was something, or the window is over, or somebody wakes us. */
static bool look(struct loop_polling *p, struct loop_poller *pollers, atomic_bool *woken)
{
	uint64_t now = p->idle_since, end = now + p->window;

	while (now < end && !*woken) {
		for (unsigned i = 0; i < LOOKS; i++) {
			if (run(pollers)) {
				loop_polling_found(p, loop_polling_now() - p->idle_since);
				return true;
			}
			__builtin_ia32_pause();
		}
		now = loop_polling_now();
	}
	loop_polling_missed(p, now - p->idle_since);
	return false;
}

bool loop_poll(struct loop_polling *p, struct loop_poller *pollers, atomic_bool *woken)
{
	uint64_t start = loop_polling_now();

	for (;;) {
		bool more = run(pollers);

		p->idle_since = loop_polling_now();
		if (*woken || p->idle_since - start > TURN_NS)
			return false;
		if (more || look(p, pollers, woken))
			continue;
		if (!arm(pollers))
			return true;
	}
}
