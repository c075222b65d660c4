/* SPDX-License-Identifier: MIT */
/*
 * What happened when, in bounded memory: a ring of events for each thread that
 * writes, of which the oldest give way. A ring has one writer, which takes no lock
 * and never waits; it is read when its writer stands still. The rings of a trace
 * are made before the machine runs and freed together.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include "base/counter.h"

struct trace_event {
	uint64_t begin, end; /* ticks */
	const char *name; /* what took that long: constant, or as long-lived as the trace */
	const char *device; /* the device it was for, NULL: none; likewise */
	const char *reg; /* its register, NULL: none; likewise */
	uint64_t addr; /* port, guest-physical address or disk offset */
	uint64_t rip; /* the guest's, 0: not known */
	uint32_t
		id; /* of an event that overlaps others on its ring: one number for all its spans */
	uint16_t width; /* of the access, bytes; 0: there is none */
	bool overlaps;
};

struct trace_ring {
	char thread[24]; /* as a person knows it: "vcpu0", "virtio-blk0" */
	struct trace_event *events; /* size of them */
	uint64_t size; /* a power of 2 */
	uint64_t next; /* counts all events ever written */
	struct trace_ring *link;
};

struct trace {
	struct trace_ring *rings; /* newest first */
	uint64_t ring_size; /* events a ring holds, a power of 2 */
};

/* ring_size: events a thread keeps; rounded up to a power of 2. */
void trace_init(struct trace *t, uint64_t ring_size);
/* Frees every ring. Harmless on a zeroed struct. */
void trace_destroy(struct trace *t);

/* A ring for one more writer; NULL without memory. Main thread, before the machine runs. */
struct trace_ring *trace_add_ring(struct trace *t, const char *thread) __must_check;

static inline void trace_put(struct trace_ring *r, const struct trace_event *e)
{
	r->events[r->next++ & (r->size - 1)] = *e;
}

#endif
