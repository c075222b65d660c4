/* SPDX-License-Identifier: MIT */
/*
 * A front-end for tests of what is below struct block: a queue on an I/O thread of its own, to
 * which requests are handed, and waited for, from the test.
 */
#ifndef TESTS_UNIT_BLOCK_RIG_H
#define TESTS_UNIT_BLOCK_RIG_H

#include "backends/block/block.h"

struct rig {
	struct iothread io;
	struct block_queue *q;
	pthread_mutex_t lock; /* guards all below, and every call's done and result */
	pthread_cond_t cond;
	struct rig_call *calls;
	unsigned nr_calls;
	bool submitted;
	unsigned batch_ends;
	unsigned order; /* calls done so far */
};

struct rig_call {
	struct block_req req; /* op, offset, len, iov, flags: the test's */
	struct iovec one;
	struct rig *rig;
	bool done;
	int result;
	unsigned order; /* as the how-manieth it was done, from 1 */
	bool wrong_thread;
};

void rig_open(struct rig *r, struct block *b, unsigned depth);
void rig_close(struct rig *r);

/* A call of one buffer. */
struct rig_call rig_call(enum block_op op, uint64_t offset, void *buf, size_t len);

/* Submits them in one batch on the I/O thread; returns once they are submitted. */
void rig_submit(struct rig *r, struct rig_call *calls, unsigned n);
/* Waits for one; its result. Fails the test after 20 s. */
int rig_wait(struct rig_call *c);
bool rig_is_done(struct rig_call *c);

/* One request, waited for. */
int rig_do(struct rig *r, enum block_op op, uint64_t offset, void *buf, size_t len);

/*
 * A disk that does a request at once, as result says; for what is above it. Each of its calls is
 * whoever's thread calls.
 */
struct fake_disk {
	struct block b;
	atomic_int result;
	_Atomic uint64_t fail_from; /* requests up to here succeed all the same */
	atomic_uint requests, flushes, kicks, queues;
	bool destroyed;
};

void fake_disk_init(struct fake_disk *d, uint64_t size);

#endif
