/* SPDX-License-Identifier: MIT */
#include "backends/char/term_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCHER_TTY 0
#define WATCHER_PIPE 1

/* Reads until the word (a byte) or the end comes; true for the word. */
static bool wait_for_word(int fd)
{
	for (;;) {
		char word;
		ssize_t n = read(fd, &word, 1);

		if (n >= 0 || errno != EINTR)
			return n == 1;
	}
}

static bool same_settings(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_lflag == b->c_lflag &&
	       a->c_cflag == b->c_cflag;
}

static void close_from(unsigned first)
{
	if (!close_range(first, ~0u, 0))
		return;
	for (unsigned fd = first; fd < 1024; fd++)
		close((int)fd);
}

/*
 * The watcher, with every signal blocked and in a session of its own, where no key of
 * the terminal and no job control reaches it. It keeps nothing of ours open, so whoever
 * waits for the end of our output gets it.
 */
static void watcher_main(const struct term_guard *g, int tty, int pipe)
{
	struct termios now;

	setsid();
	prctl(PR_SET_NAME, "bantam-term");
	/* Neither number is 0 or 1: start() saw to it. */
	dup2(tty, WATCHER_TTY);
	dup2(pipe, WATCHER_PIPE);
	close_from(WATCHER_PIPE + 1);
	/*
	 * A shell may have set the terminal as it likes before we get to it: then it is
	 * its own again, and no longer ours to restore.
	 */
	if (!wait_for_word(WATCHER_PIPE) && !tcgetattr(WATCHER_TTY, &now) &&
	    same_settings(&now, &g->raw)) {
		tcflush(WATCHER_TTY, TCIFLUSH);
		tcsetattr(WATCHER_TTY, TCSANOW, &g->saved);
	}
	_exit(0);
}

static int fork_watcher(struct term_guard *g, int tty, const int fds[2])
{
	sigset_t all, old;
	pid_t pid;

	/* Blocked before the fork, so that there is no moment without. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (!pid)
		watcher_main(g, tty, fds[0]);

	int err = errno;

	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return -err;
	g->watcher = pid;
	return 0;
}

int term_guard_start(struct term_guard *g, int tty)
{
	int fds[2], high, ret;

	g->tty = tty;
	if (tcgetattr(tty, &g->saved))
		return -errno;
	g->raw = g->saved;
	g->raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL |
				      IXON | IXOFF);
	g->raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	g->raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	g->raw.c_cflag |= CS8;
	g->raw.c_cc[VMIN] = 1;
	g->raw.c_cc[VTIME] = 0;

	high = fcntl(tty, F_DUPFD_CLOEXEC, 3);
	if (high < 0)
		return -errno;
	ret = pipe2(fds, O_CLOEXEC) ? -errno : 0;
	if (!ret && fds[0] < 3) {
		/* Standard descriptors were closed when we started. */
		int low = fds[0];

		fds[0] = fcntl(low, F_DUPFD_CLOEXEC, 3);
		close(low);
		if (fds[0] < 0) {
			ret = -errno;
			close(fds[1]);
		}
	}
	if (ret) {
		close(high);
		return ret;
	}
	ret = fork_watcher(g, high, fds);
	close(high);
	close(fds[0]);
	g->pipe = fds[1];
	if (ret) {
		close(g->pipe);
		return ret;
	}
	if (tcsetattr(tty, TCSANOW, &g->raw)) {
		ret = -errno;
		term_guard_stop(g);
	}
	return ret;
}

void term_guard_stop(struct term_guard *g)
{
	ssize_t n;

	/* Input that nobody read must not become a command to the user's shell. */
	tcflush(g->tty, TCIFLUSH);
	tcsetattr(g->tty, TCSANOW, &g->saved);
	do {
		n = write(g->pipe, "", 1);
	} while (n < 0 && errno == EINTR);
	close(g->pipe);
	while (waitpid(g->watcher, NULL, 0) < 0 && errno == EINTR)
		;
}

void term_guard_suspend(struct term_guard *g)
{
	tcsetattr(g->tty, TCSANOW, &g->saved);
}

void term_guard_resume(struct term_guard *g)
{
	pid_t foreground = tcgetpgrp(g->tty);

	/* In the background touching the terminal would only stop us again. */
	if (foreground < 0 || foreground == getpgrp())
		tcsetattr(g->tty, TCSANOW, &g->raw);
}
