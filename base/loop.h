/* SPDX-License-Identifier: MIT */
/*
 * An event loop over epoll, and the host's clock whose timers it drives.
 *
 * One thread runs a loop; callbacks run on it, one at a time, with no lock held.
 * loop_add, loop_mod, loop_del, loop_post and loop_stop may be called from any
 * thread. A source that another thread deletes may be called one last time while
 * loop_del runs: call loop_sync() after it, from outside the loop's thread, before
 * freeing what the callback uses. One whose callback adds it again, or another, is
 * deleted on the loop's thread, by loop_call(), between two callbacks.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/loop_poll.h"

struct loop_src {
	int fd;
	void (*fn)(void *opaque, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, ... */
	void *opaque;
};

struct loop {
	int epfd;
	int wakefd;
	atomic_bool stop;
	atomic_bool woken; /* since posts were last run */
	pthread_mutex_t lock; /* guards posts, and changes of gen_wanted and gen_done */
	pthread_cond_t cond; /* gen_done moved on */
	struct loop_post *posts;
	_Atomic uint64_t gen_wanted;
	uint64_t gen_done; /* the thread's own to read without the lock */
	struct loop_src wake_src;
	struct loop_poller *pollers; /* the thread's own, these two */
	struct loop_polling polling;
};

/* A call to make on the loop's thread. Embed one; it is free again once fn runs. */
struct loop_post {
	void (*fn)(void *opaque);
	void *opaque;
	bool queued; /* guarded by the loop's lock */
	struct loop_post *next;
};

int loop_init(struct loop *loop) __must_check;
void loop_destroy(struct loop *loop);

/* src stays the caller's and must live until loop_del(). 0 or -errno. */
int loop_add(struct loop *loop, struct loop_src *src, uint32_t events) __must_check;
int loop_mod(struct loop *loop, struct loop_src *src, uint32_t events);
void loop_del(struct loop *loop, struct loop_src *src);

/* Queues post unless it is queued already. */
void loop_post(struct loop *loop, struct loop_post *post);

/* Waits until a callback that was running has returned. Not on the loop's thread. */
void loop_sync(struct loop *loop);

/*
 * Calls fn on the loop's thread, between two callbacks, and returns once it has returned; where
 * that thread has ended, calls it here. Not on the loop's thread.
 */
void loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque);

/* How long to look before it sleeps, at most; 0: it sleeps at once. Before there are pollers. */
void loop_set_polling(struct loop *loop, uint64_t max_ns);
/* On the loop's thread, and not from inside a poller. */
void loop_add_poller(struct loop *loop, struct loop_poller *p);
void loop_del_poller(struct loop *loop, struct loop_poller *p);

/* Runs until loop_stop(). Returns 0, or -errno when epoll itself fails. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* A loop with a thread of its own, all signals blocked in it. */
struct iothread {
	struct loop loop;
	pthread_t thread;
	bool running;
	bool joined; /* the thread has ended, the loop is still there */
};

int iothread_start(struct iothread *t, const char *name) __must_check;
/*
 * Stops the thread and keeps the loop, for what hangs on it to be taken down while nothing runs
 * there any more; iothread_stop() after it. Harmless as that is.
 */
void iothread_join(struct iothread *t);
/* Stops, joins and destroys. Harmless on one that was never started (zeroed). */
void iothread_stop(struct iothread *t);

/* The host's clock: CLOCK_MONOTONIC and CLOCK_REALTIME, timers on a loop by one timerfd. */
struct host_clock {
	struct clock clock;
	struct loop *loop;
	struct loop_src src;
	pthread_mutex_t lock; /* guards the list and every timer on it */
	struct timer *armed; /* sorted by deadline */
};

int host_clock_init(struct host_clock *hc, struct loop *loop) __must_check;
void host_clock_destroy(struct host_clock *hc);

#endif
