/* SPDX-License-Identifier: MIT */
#include "backends/block/stages.h"

#include <stdio.h>
#include <string.h>

#include "base/trace.h"

static const char *const stage_names[BLOCK_NR_STAGES] = {
	[BLOCK_KICKED] = "kick-popped",
	[BLOCK_POPPED] = "popped-submitted",
	[BLOCK_SUBMITTED] = "submitted-completed",
	[BLOCK_COMPLETED] = "completed-used",
	[BLOCK_USED] = "used-interrupt",
	[BLOCK_STAGE_TOTAL] = "total",
};

const char *block_stage_name(unsigned i)
{
	return stage_names[i];
}

void block_stages_init(struct block_stages *s, const char *name, struct trace_ring *ring)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->ring = ring;
}

/* The whole after its parts: of those that give way in a full ring the parts go first. */
static void trace_request(struct block_stages *s, const uint64_t *at,
			  const struct trace_event *whole)
{
	struct trace_event part = { .id = whole->id, .addr = whole->addr, .overlaps = true };

	for (unsigned i = 0; i < BLOCK_STAGE_TOTAL; i++) {
		part.begin = at[i];
		part.end = at[i + 1];
		part.name = stage_names[i];
		if (part.begin && part.end > part.begin)
			trace_put(s->ring, &part);
	}
	trace_put(s->ring, whole);
}

void block_stages_add(struct block_stages *s, const struct block_stamps *stamps, const char *what,
		      uint64_t offset)
{
	uint64_t at[BLOCK_NR_POINTS] = { 0 }, first = 0, last = 0;

	for (unsigned i = 0; i < BLOCK_NR_POINTS; i++) {
		if (!stamps->at[i])
			continue;
		/* A kick is stamped on another CPU, whose counter may be some ticks ahead. */
		at[i] = last = max_u64(stamps->at[i], last);
		if (!first)
			first = last;
		if (i && at[i - 1])
			hist_add(&s->stage[i - 1], last - at[i - 1]);
	}
	hist_add(&s->stage[BLOCK_STAGE_TOTAL], last - first);
	if (!at[BLOCK_INTERRUPT])
		counter_add(&s->silent, 1);
	if (s->ring)
		trace_request(s, at,
			      &(struct trace_event){ .begin = first,
						     .end = last,
						     .name = what,
						     .device = s->name,
						     .addr = offset,
						     .id = s->next_id,
						     .overlaps = true });
	s->next_id++;
}
