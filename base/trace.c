/* SPDX-License-Identifier: MIT */
#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void trace_init(struct trace *t, uint64_t ring_size)
{
	memset(t, 0, sizeof(*t));
	t->ring_size = 1;
	while (t->ring_size < ring_size)
		t->ring_size *= 2;
}

void trace_destroy(struct trace *t)
{
	while (t->rings) {
		struct trace_ring *r = t->rings;

		t->rings = r->link;
		free(r->events);
		free(r);
	}
}

struct trace_ring *trace_add_ring(struct trace *t, const char *thread)
{
	struct trace_ring *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	/* Not touched before it is written: a short run costs little memory. */
	r->events = calloc(t->ring_size, sizeof(*r->events));
	if (!r->events) {
		free(r);
		return NULL;
	}
	snprintf(r->thread, sizeof(r->thread), "%s", thread);
	r->size = t->ring_size;
	r->link = t->rings;
	t->rings = r;
	return r;
}
