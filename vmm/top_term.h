/* SPDX-License-Identifier: MIT */
/*
 * A terminal as a screen, in ECMA-48 sequences that every one of them knows: the
 * alternate screen, keys without echo, no cursor; and all of that undone. Keys that make
 * signals stay what they are, and their signals the caller's to act upon.
 *
 * Drawing never blocks: what a slow terminal does not take waits here, and what is drawn
 * meanwhile is left out.
 */
#ifndef VMM_TOP_TERM_H
#define VMM_TOP_TERM_H

#include <termios.h>

#include "base/err.h"
#include "vmm/top_page.h"

struct top_term {
	int in; /* standard input */
	int out; /* the same terminal as standard output, not blocking */
	struct termios saved;
	struct termios keys;
	bool taken; /* the screen is ours; else nothing is drawn */
	unsigned rows, cols;
	char *frame; /* what is being drawn; NULL: nothing */
	size_t len, sent;
	bool stale; /* it is not what was drawn last */
	enum { KEY_PLAIN, KEY_ESCAPE, KEY_SEQUENCE } key_state;
};

/*
 * Takes the terminal at standard input and output. 0, or -ENOTTY with a line where there
 * is none, or one that has no screen.
 */
int top_term_open(struct top_term *t, struct err *err) __must_check;
/* Gives it back as it was. */
void top_term_close(struct top_term *t);

/* SIGTSTP: gives the terminal back and stops. Returns when we go on. */
void top_term_stop(struct top_term *t);
/* SIGCONT: takes the terminal again, if we are in its foreground. Draw afterwards. */
void top_term_continue(struct top_term *t);

/* Reads the size again: after SIGWINCH. */
void top_term_measure(struct top_term *t);

/* Draws a page. 0, or -errno when the terminal has gone. */
int top_term_draw(struct top_term *t, const struct top_page *page) __must_check;
/* Something waits for the terminal: call top_term_flush() when out can be written. */
bool top_term_pending(const struct top_term *t);
/* As above; *redraw: what was left out should be drawn now. */
int top_term_flush(struct top_term *t, bool *redraw) __must_check;

/*
 * Reads the keys typed into buf, sequences (arrows, function keys) left out. Their
 * number, 0 for none; -EIO when the terminal has gone.
 */
int top_term_keys(struct top_term *t, char *buf, size_t size) __must_check;

#endif
