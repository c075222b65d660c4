/* SPDX-License-Identifier: MIT */
/*
 * What bantam top shows: a function of a machine's report, of what happened lately, of
 * what the user has chosen and of the room there is. It knows no terminal.
 */
#ifndef VMM_TOP_VIEW_H
#define VMM_TOP_VIEW_H

#include "vmm/report/report.h"
#include "vmm/top_page.h"

enum top_sort { TOP_BY_COUNT, TOP_BY_TIME, TOP_BY_NAME, TOP_NR_SORTS };

/* "count", "time", "name". */
const char *top_sort_name(enum top_sort sort);

/* Smaller screens are only told that they are too small. */
enum { TOP_MIN_COLS = 40, TOP_MIN_ROWS = 10 };

struct top_view {
	enum top_sort sort;
	bool reverse;
	bool cumulative; /* since the guest first ran, not what happens in a second */
	bool paused;
	bool help; /* the keys, and nothing else */
	unsigned interval_ms;
	const char *note; /* stands in the last row instead of the keys; NULL: none */
};

/*
 * all is the newest report, recent what happened since the one before. rows 0: as many as
 * it takes, and no row of keys. The page (zeroed, or an older one) is the caller's to free.
 * 0 or -ENOMEM.
 */
int top_view_render(const struct top_view *v, const struct report *all, const struct report *recent,
		    unsigned rows, unsigned cols, struct top_page *page) __must_check;

#endif
