/* SPDX-License-Identifier: MIT */
/*
 * Where the time of a disk's requests goes: a front-end stamps each request at the
 * points of its way and hands the stamps in when it is over. Whatever the front-end:
 * nothing in here knows of virtio or IDE.
 *
 * One writer, the disk's I/O thread, which takes no lock and allocates nothing; any
 * readers (base/counter.h). Times are ticks of the time-stamp counter.
 */
#ifndef BACKENDS_BLOCK_STAGES_H
#define BACKENDS_BLOCK_STAGES_H

#include "base/hist.h"

struct trace_ring;

enum block_point {
	/*
	 * The guest told us that there is work. Where the host's kernel takes its doorbell
	 * (ioeventfd) nobody sees the write itself: it is when the I/O thread learns of it.
	 * 0 for a request that was found without being told of it.
	 */
	BLOCK_KICKED,
	BLOCK_POPPED, /* the front-end has taken it from the guest */
	/*
	 * block_submit(). An engine that collects requests hands them to the host at
	 * block_kick(): what they wait for that counts as the host's.
	 */
	BLOCK_SUBMITTED,
	BLOCK_COMPLETED, /* its last done(): with writethrough, that of the flush behind it */
	BLOCK_USED, /* the guest can see that it is over */
	BLOCK_INTERRUPT, /* the guest's interrupt was raised; 0: it wanted none */
	BLOCK_NR_POINTS,
};

/* 0 where something did not happen: BLOCK_SUBMITTED of a request refused before. */
struct block_stamps {
	uint64_t at[BLOCK_NR_POINTS];
};

/* From each point to the next, and from the first to the last of a request's own. */
enum { BLOCK_STAGE_TOTAL = BLOCK_NR_POINTS - 1, BLOCK_NR_STAGES };

struct block_stages {
	char name[24]; /* the disk's: "virtio-blk0" */
	/* A stage counts the requests that have been at both its ends; total counts all. */
	struct hist stage[BLOCK_NR_STAGES];
	_Atomic uint64_t silent; /* requests without an interrupt */
	struct trace_ring *ring; /* NULL: no trace */
	uint32_t next_id; /* the writer's own */
};

/* ring, if any, is the disk's alone and outlives the last request. */
void block_stages_init(struct block_stages *s, const char *name, struct trace_ring *ring);

/*
 * A request is over. what: "read", "write", ..., a constant; offset: bytes into the disk.
 * In a trace it becomes a span of that name around a span for each stage.
 */
void block_stages_add(struct block_stages *s, const struct block_stamps *stamps, const char *what,
		      uint64_t offset);

/* "kick-popped", "popped-submitted", ..., "total": a constant. i below BLOCK_NR_STAGES. */
const char *block_stage_name(unsigned i);

#endif
