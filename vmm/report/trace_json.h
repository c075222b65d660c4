/* SPDX-License-Identifier: MIT */
/*
 * A trace as Chrome's trace-event JSON ("Trace Event Format"), which ui.perfetto.dev
 * and chrome://tracing open.
 *
 * The machine is one process, each ring a thread of it. What cannot overlap (exits) is a
 * complete event ("X") named after the register, with its reason as the category; what can
 * (a disk's requests) are nestable asynchronous ones ("b", "e"), one id for a request
 * and its stages. Times are microseconds since the trace's first point, with three decimals.
 */
#ifndef VMM_REPORT_TRACE_JSON_H
#define VMM_REPORT_TRACE_JSON_H

#include "base/trace.h"

/* One moment on both clocks. */
struct trace_point {
	uint64_t ticks;
	uint64_t ns;
};

/* Two moments, far apart: how ticks become nanoseconds. */
struct trace_clock {
	struct trace_point start; /* where the trace's time begins */
	struct trace_point end;
};

/*
 * Writes t, whose writers stand still. Events may be later than the clock's end; what was
 * before its start is shown there. 0, -ENOMEM, or -errno of writing.
 */
int trace_write_json(const struct trace *t, const struct trace_clock *clock, int fd) __must_check;

#endif
