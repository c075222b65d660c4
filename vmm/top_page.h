/* SPDX-License-Identifier: MIT */
/*
 * Lines of text in a bounded room, and how numbers look in them: what the views of
 * bantam top are made of. Lines hold printable ASCII alone, whatever is put in.
 */
#ifndef VMM_TOP_PAGE_H
#define VMM_TOP_PAGE_H

#include "base/util.h"

/* Wider screens are used up to here. */
enum { TOP_MAX_COLS = 400 };

enum top_style { TOP_PLAIN, TOP_TITLE, TOP_HEADING };

struct top_line {
	enum top_style style;
	char text[TOP_MAX_COLS + 1];
};

struct top_page {
	unsigned rows, cols; /* the room; rows 0: as many as it takes */
	struct top_line *lines;
	size_t nr; /* at most rows, where there are any */
	size_t room; /* of the array */
	bool failed; /* no memory */
};

/* Empties one (zeroed, or used before) and gives it its room; columns past TOP_MAX_COLS are not used. */
void top_page_begin(struct top_page *p, unsigned rows, unsigned cols);
/* Harmless on a zeroed struct. */
void top_page_free(struct top_page *p);

/* Adds a line if there is room for it, cut to the width. */
void top_page_add(struct top_page *p, enum top_style style, const char *text);
void top_page_print(struct top_page *p, enum top_style style, const char *fmt, ...) __printf(3, 4);

/* How many lines there is room for still. */
size_t top_page_left(const struct top_page *p);

/* Words side by side, on at most max lines, which say "..." where there are more. */
struct top_flow {
	struct top_page *page;
	char text[TOP_MAX_COLS + 1];
	size_t len, indent;
	size_t lines, max;
};

void top_flow_begin(struct top_flow *f, struct top_page *p, const char *label, size_t max);
void top_flow_word(struct top_flow *f, const char *word);
void top_flow_end(struct top_flow *f);

/* --- numbers, in at most nine characters each ------------------------------------ */

struct top_text {
	char s[24];
};

/* "0.5", "1234", "1234.5M"; decimals for numbers below 100. */
struct top_text top_number(double v, int decimals);
/* "850ns", "1.90us", ... */
struct top_text top_time(double ns);
/* The mean of count; "-" of none. */
struct top_text top_mean(uint64_t total_ns, uint64_t count);
/* part of whole: "3.25%", "96.8%"; no whole: none. */
struct top_text top_share(double part, double whole);
/* "1:02:03", "12d 03:04". */
struct top_text top_uptime(uint64_t ns);

#endif
