/* SPDX-License-Identifier: MIT */
/*
 * Looking for work before going to sleep. To wake a thread costs the one that wakes it a system
 * call, of a guest an exit, and takes the thread a while: where work comes soon again it is cheaper
 * for all to look for it for some time. Where it does not, that is a CPU burnt for nothing.
 *
 * So it is tried, and an account is kept: work that is found without a sleep is worth half
 * the longest time to look, and all the time spent looking is paid from that. When the account
 * is overdrawn there is no looking for 8 sleeps, the next time for 16, and so on to 4096: on a
 * machine whose CPUs are all busy, where whoever brings the work waits for the one who
 * looks for it, hardly any time is lost. Nothing is looked for where work comes seldom.
 *
 * The loop's thread's own. Times are nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef BASE_LOOP_POLL_H
#define BASE_LOOP_POLL_H

#include <stdatomic.h>

#include "base/util.h"

/* Something that can be looked at without a system call. */
struct loop_poller {
	/* Does what there is to do, some of it at least; true if there was anything. */
	bool (*poll)(void *opaque);
	/*
	 * The thread is about to sleep: from now on what comes has to wake it. True if something
	 * has come already, that perhaps will not.
	 */
	bool (*arm)(void *opaque);
	void *opaque;
	struct loop_poller *next;
};

struct loop_polling {
	uint64_t max; /* the longest look, 0: none */
	uint64_t window; /* how long the next look is */
	int64_t account; /* what was saved so far */
	unsigned skip; /* sleeps until it is tried again */
	unsigned backoff; /* how many those are, the next time */
	uint64_t idle_since; /* when there was nothing left to do */
};

void loop_polling_init(struct loop_polling *p, uint64_t max_ns);
uint64_t loop_polling_now(void);

/* The account: work was found after a look of spun, or none was. Then a sleep has ended at now. */
void loop_polling_found(struct loop_polling *p, uint64_t spun);
void loop_polling_missed(struct loop_polling *p, uint64_t spun);
void loop_polling_slept(struct loop_polling *p, uint64_t now);

/*
 * Has the pollers do what there is, and looks for more. True when the thread may sleep: there
 * is nothing, and the pollers are armed. False when others are to have their turn: woken
 * is set, or it has gone on for long.
 */
bool loop_poll(struct loop_polling *p, struct loop_poller *pollers, atomic_bool *woken);

#endif
