/* SPDX-License-Identifier: MIT */
/*
 * One request of the control socket: from the line to its answer. Private to
 * vmm/control*.c.
 */
#ifndef VMM_CONTROL_LINE_H
#define VMM_CONTROL_LINE_H

#include "vmm/control.h"

/* What an answer may be long at most: the server sends none that is longer, the client reads none. */
#define CONTROL_MAX_ANSWER (64 * MIB)

struct control_verbs {
	const struct control_verb *list;
	size_t nr;
	void *ctx; /* for their functions */
};

/* One line with its line break, on the heap; not a string. text is NULL without memory. */
struct control_answer {
	char *text;
	size_t len;
	bool close; /* the request was no request: this is the last answer */
};

/*
 * Answers the request in line[0..len), which no line break ends; line[len] is the caller's
 * to give as well. Anything may stand in it.
 */
struct control_answer control_answer_line(const struct control_verbs *verbs, char *line,
					  size_t len) __must_check;

/* The answer to a request that is too long to be read. */
struct control_answer control_answer_too_long(void) __must_check;

/* A last word to one who is not served: why. */
struct control_answer control_answer_refuse(const char *why) __must_check;

#endif
