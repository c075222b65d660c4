/* SPDX-License-Identifier: MIT */
/*
 * Raw mode on a terminal that is undone on every way out. A small forked process
 * holds the terminal and the settings it had, and restores them when our end of a
 * pipe closes without the word that we did so ourselves: after a crash or SIGKILL.
 * Private to backends/char.
 */
#ifndef BACKENDS_CHAR_TERM_GUARD_H
#define BACKENDS_CHAR_TERM_GUARD_H

#include <sys/types.h>
#include <termios.h>

#include "base/util.h"

struct term_guard {
	int tty; /* the caller's, open as long as the guard */
	int pipe; /* our end */
	pid_t watcher;
	struct termios saved;
	struct termios raw;
};

/*
 * Saves tty's settings, starts the watcher, sets raw mode (output processing stays as
 * it is, so that our own messages look right). Forks: call it before any thread is
 * created. 0 or -errno.
 */
int term_guard_start(struct term_guard *g, int tty) __must_check;

/* Restores the terminal, discards input nobody read, ends the watcher and reaps it. */
void term_guard_stop(struct term_guard *g);

/* For SIGTSTP and SIGCONT: the terminal as it was; raw again if we are in its foreground. */
void term_guard_suspend(struct term_guard *g);
void term_guard_resume(struct term_guard *g);

#endif
