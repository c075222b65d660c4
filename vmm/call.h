/* SPDX-License-Identifier: MIT */
/*
 * A call that one thread has another make on its loop, and waits for: the control thread's verbs
 * for what is the main thread's.
 */
#ifndef VMM_CALL_H
#define VMM_CALL_H

#include <pthread.h>

#include "base/err.h"
#include "base/loop.h"

struct call {
	struct loop *loop;
	struct loop_post post;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t cond;
	int (*fn)(void *opaque, struct err *err); /* NULL: none is under way */
	void *opaque;
	struct err *err;
	int ret;
	bool closed;
};

void call_init(struct call *c, struct loop *loop);

/*
 * fn's result, made on the loop's thread; -ESHUTDOWN with a line where the loop is at its end. From
 * one thread at a time, and not the loop's.
 */
int call_make(struct call *c, int (*fn)(void *opaque, struct err *err), void *opaque,
	      struct err *err) __must_check;

/* The loop runs no more: whoever waits, or comes later, waits for nothing. */
void call_close(struct call *c);
void call_destroy(struct call *c);

#endif
