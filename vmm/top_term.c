/* SPDX-License-Identifier: MIT */
#include "vmm/top_term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ECMA-48, and xterm's alternate screen (1049) and cursor (25). */
#define ENTER "\033[?1049h\033[?25l\033[2J"
#define RETAKE "\033[?25l\033[2J"
/* CAN first: a sequence of which the terminal has only a part is none. */
#define LEAVE "\030\033[0m\033[?25h\033[?1049l"

/* How long a terminal that takes nothing is waited for in the end. */
#define LEAVE_MS 500

enum { ROWS_DEFAULT = 24, COLS_DEFAULT = 80, ROWS_MAX = 1000 };

/* --- taking and giving back -------------------------------------------------------- */

/* The user's shell shares our descriptor, so what shall not block has to be our own. */
static int open_own(int fd)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	/* Another user's terminal (su) may be written, but not opened. */
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void write_short(struct top_term *t, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		struct pollfd pfd = { .fd = t->out, .events = POLLOUT };
		ssize_t n = write(t->out, text, len);

		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (poll(&pfd, 1, LEAVE_MS) <= 0)
				return;
		} else if (errno != EINTR) {
			return;
		}
	}
}

static void drop_frame(struct top_term *t)
{
	free(t->frame);
	t->frame = NULL;
	t->stale = false;
}

/* In the background the terminal is another's, and touching it would stop us. */
static bool in_foreground(const struct top_term *t)
{
	pid_t foreground = tcgetpgrp(t->in);

	return foreground < 0 || foreground == getpgrp();
}

static void enter(struct top_term *t, const char *how)
{
	drop_frame(t);
	tcsetattr(t->in, TCSANOW, &t->keys);
	write_short(t, how);
	top_term_measure(t);
	t->taken = true;
}

static void leave(struct top_term *t)
{
	drop_frame(t);
	write_short(t, LEAVE);
	t->taken = false;
	if (!in_foreground(t))
		return;
	/* Keys that were meant for us are no command to the shell. */
	tcflush(t->in, TCIFLUSH);
	tcsetattr(t->in, TCSANOW, &t->saved);
}

void top_term_stop(struct top_term *t)
{
	if (t->taken)
		leave(t);
	raise(SIGSTOP);
}

void top_term_continue(struct top_term *t)
{
	/* Whoever was there meanwhile need not have been called by top_term_stop(). */
	if (in_foreground(t))
		enter(t, t->taken ? RETAKE : ENTER);
	else
		t->taken = false;
}

int top_term_open(struct top_term *t, struct err *err)
{
	const char *type = getenv("TERM");

	memset(t, 0, sizeof(*t));
	t->in = STDIN_FILENO;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return err_set(err, -ENOTTY, "top: no terminal; --batch prints text instead");
	if (!type || !*type || !strcmp(type, "dumb"))
		return err_set(err, -ENOTTY,
			       "top: this terminal has no screen (TERM=%s); "
			       "--batch prints text instead",
			       type ? type : "");
	if (tcgetattr(t->in, &t->saved))
		return err_set(err, -errno, "top: the terminal: %s", strerror(errno));
	t->keys = t->saved;
	t->keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHONL);
	t->keys.c_iflag &= ~(tcflag_t)IXON;
	t->keys.c_cc[VMIN] = 1;
	t->keys.c_cc[VTIME] = 0;
	t->out = open_own(STDOUT_FILENO);
	if (t->out < 0)
		return err_set(err, -errno, "top: the terminal: %s", strerror(errno));
	enter(t, ENTER);
	return 0;
}

void top_term_close(struct top_term *t)
{
	if (t->taken)
		leave(t);
	close(t->out);
}

void top_term_measure(struct top_term *t)
{
	struct winsize ws = { 0 };

	/* A serial line does not know: 0 by 0. */
	if (ioctl(t->out, TIOCGWINSZ, &ws) || !ws.ws_row || !ws.ws_col) {
		ws.ws_row = ROWS_DEFAULT;
		ws.ws_col = COLS_DEFAULT;
	}
	t->rows = (unsigned)min_u64(ws.ws_row, ROWS_MAX);
	t->cols = (unsigned)min_u64(ws.ws_col, TOP_MAX_COLS);
}

/* --- drawing --------------------------------------------------------------------------- */

/*
 * Every line is put in its place and, where it is shorter than the screen, erased behind
 * its end: behind a full one there is nothing, and erasing would take its last column.
 */
static void print_line(FILE *out, const struct top_term *t, size_t row, const struct top_line *line)
{
	static const char *const styles[] = {
		[TOP_PLAIN] = "",
		[TOP_TITLE] = "\033[1m",
		[TOP_HEADING] = "\033[7m",
	};
	size_t len = strnlen(line->text, t->cols);

	fprintf(out, "\033[%zu;1H%s%.*s", row + 1, styles[line->style], (int)len, line->text);
	/* A heading is a bar across the screen. */
	if (line->style == TOP_HEADING)
		fprintf(out, "%*s", (int)(t->cols - len), "");
	if (line->style != TOP_PLAIN)
		fputs("\033[0m", out);
	if (line->style != TOP_HEADING && len < t->cols)
		fputs("\033[K", out);
}

int top_term_draw(struct top_term *t, const struct top_page *page)
{
	bool redraw;
	FILE *out;

	if (!t->taken)
		return 0;
	if (t->frame) {
		t->stale = true;
		return 0;
	}
	out = open_memstream(&t->frame, &t->len);
	if (!out)
		return -errno;
	for (size_t i = 0; i < page->nr && i < t->rows; i++)
		print_line(out, t, i, &page->lines[i]);
	if (page->nr < t->rows)
		fprintf(out, "\033[%zu;1H\033[J", page->nr + 1);
	if (fclose(out)) {
		drop_frame(t);
		return -ENOMEM;
	}
	t->sent = 0;
	return top_term_flush(t, &redraw);
}

bool top_term_pending(const struct top_term *t)
{
	return t->frame;
}

int top_term_flush(struct top_term *t, bool *redraw)
{
	*redraw = false;
	while (t->frame && t->sent < t->len) {
		ssize_t n = write(t->out, t->frame + t->sent, t->len - t->sent);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			t->sent += (size_t)n;
	}
	*redraw = t->stale;
	drop_frame(t);
	return 0;
}

/* --- keys -------------------------------------------------------------------------------- */

/* True for a key of its own. A sequence is ESC [ ..., or ESC O and a letter. */
static bool take_byte(struct top_term *t, char byte)
{
	switch (t->key_state) {
	case KEY_ESCAPE:
		t->key_state = byte == '[' || byte == 'O' ? KEY_SEQUENCE : KEY_PLAIN;
		return false;
	case KEY_SEQUENCE:
		if (byte >= '@' && byte <= '~')
			t->key_state = KEY_PLAIN;
		return false;
	case KEY_PLAIN:
	default:
		if (byte == '\033')
			t->key_state = KEY_ESCAPE;
		return byte != '\033';
	}
}

int top_term_keys(struct top_term *t, char *buf, size_t size)
{
	ssize_t n = read(t->in, buf, size);
	int keys = 0;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -EIO;
	if (!n)
		return -EIO;
	for (ssize_t i = 0; i < n; i++)
		if (take_byte(t, buf[i]))
			buf[keys++] = buf[i];
	/* The escape key alone: what is typed next belongs not to it. */
	if (t->key_state == KEY_ESCAPE)
		t->key_state = KEY_PLAIN;
	return keys;
}
