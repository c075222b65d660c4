/* SPDX-License-Identifier: MIT */
/*
 * The folder of the control sockets, for both ends of them: where it is, whose it must
 * be, and how a name in it changes hands. Private to vmm/control*.c. unix(7), flock(2).
 *
 * A name is given and taken away under the folder's flock(), so a socket between its
 * bind() and its listen(), where it looks like a dead one, is never removed, and of two
 * that want the same name one gets it.
 */
#ifndef VMM_CONTROL_PATH_H
#define VMM_CONTROL_PATH_H

#include <sys/stat.h>
#include <sys/un.h>

#include "vmm/control.h"

struct control_dir {
	int fd; /* the folder: a later one at the same path is another's */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct control_name {
	char text[CONTROL_NAME_MAX + 1];
};

struct control_socket {
	int fd; /* listens, does not block */
	dev_t dev; /* of its file, */
	ino_t ino; /* which is ours while it is this very one */
};

/*
 * Opens the folder, and makes it first with create. Refuses one that is a symbolic link,
 * another user's, or writable by others. 0; -ENOENT where there is none; -errno. One line
 * in err.
 */
int control_dir_open(struct control_dir *d, bool create, struct err *err) __must_check;
void control_dir_close(struct control_dir *d);

/*
 * A socket connected to whoever serves that name; it does not block. -ENOENT where nobody
 * does (a socket left behind by a dead one is removed), -EAGAIN where he serves but takes
 * nobody in, -errno.
 */
int control_dir_connect(const struct control_dir *d, const char *name) __must_check;

/* Takes the name: a listening socket of mode 0600. -EADDRINUSE where it is taken. 0 or -errno. */
int control_dir_bind(const struct control_dir *d, const char *name, struct control_socket *out,
		     struct err *err) __must_check;

/* Closes the socket, and removes its file if it is still there. */
void control_dir_unbind(const struct control_dir *d, const char *name, struct control_socket *s);

/* The names that are served, sorted; *names is the caller's to free. 0 or -errno. */
int control_dir_names(const struct control_dir *d, struct control_name **names,
		      size_t *nr) __must_check;

#endif
