/* SPDX-License-Identifier: MIT */
/*
 * libslirp's sockets as it would have them polled, in an epoll of their own: one descriptor to
 * look at for a loop, and one call to ask which of them are ready. A thread at a time.
 */
#ifndef BACKENDS_NET_USER_SOCKETS_H
#define BACKENDS_NET_USER_SOCKETS_H

#include "base/util.h"

struct user_socket {
	uint8_t asked; /* SLIRP_POLL_*, as the kernel was told; 0: it was not */
	uint8_t ready; /* SLIRP_POLL_* */
	bool seen; /* in the list that is being made */
};

struct user_sockets {
	int epfd;
	struct user_socket *fds; /* by descriptor */
	int nr_fds;
};

int user_sockets_init(struct user_sockets *s) __must_check;
void user_sockets_destroy(struct user_sockets *s);

/* A new list of them, by libslirp's add_poll; what is not added is not looked at any more. */
void user_sockets_begin(struct user_sockets *s);
int user_sockets_add(int fd, int events, void *opaque); /* SlirpAddPollCb of a user_sockets */
void user_sockets_end(struct user_sockets *s);

/* Asks the kernel which are ready, without waiting; or forgets which were. */
void user_sockets_collect(struct user_sockets *s);
void user_sockets_clear(struct user_sockets *s);
int user_sockets_ready(int idx, void *opaque); /* SlirpGetREventsCb of a user_sockets */

/* The descriptor is about to be closed, or is a new one. */
void user_sockets_forget(struct user_sockets *s, int fd);

#endif
