/* SPDX-License-Identifier: MIT */
/*
 * How bantam starts a thread: named, signals blocked, with a stack that is large
 * enough for any of ours and too small for a huge page (glibc's 8 MiB would cost each
 * thread 2 MiB of resident memory where transparent huge pages are always on).
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

#include "base/util.h"

#define THREAD_STACK_SIZE (512 * KIB)

/*
 * Starts fn(opaque) with every signal blocked but for allow (0: none). name is cut to
 * 15 characters, which ps and gdb show. 0 or -errno.
 */
int thread_start(pthread_t *thread, const char *name, int allow, void *(*fn)(void *),
		 void *opaque) __must_check;

#endif
