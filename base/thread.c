/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <signal.h>
#include <stdio.h>

int thread_start(pthread_t *thread, const char *name, int allow, void *(*fn)(void *), void *opaque)
{
	pthread_attr_t attr;
	sigset_t blocked, old;
	char short_name[16];
	int ret;

	ret = pthread_attr_init(&attr);
	if (ret)
		return -ret;
	ret = pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE);
	if (!ret) {
		/* Blocked before it exists: it never runs with the mask of its creator. */
		sigfillset(&blocked);
		if (allow)
			sigdelset(&blocked, allow);
		pthread_sigmask(SIG_SETMASK, &blocked, &old);
		ret = pthread_create(thread, &attr, fn, opaque);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attr);
	if (ret)
		return -ret;
	snprintf(short_name, sizeof(short_name), "%s", name);
	pthread_setname_np(*thread, short_name);
	return 0;
}
