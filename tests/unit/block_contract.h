/* SPDX-License-Identifier: MIT */
/*
 * What backends/block/block.h promises, as tests that any disk can be put through: an engine, a
 * format, a layer over them.
 *
 *	struct CMUnitTest tests[BLOCK_CONTRACT_TESTS];
 *	block_contract_add(tests, &contract);
 *	cmocka_run_group_tests(tests, NULL, NULL);
 */
#ifndef TESTS_UNIT_BLOCK_CONTRACT_H
#define TESTS_UNIT_BLOCK_CONTRACT_H

#include "backends/block/block.h"

#define BLOCK_CONTRACT_TESTS 17

struct CMUnitTest;

struct block_contract {
	const char *name; /* in front of the tests' names */
	/*
	 * A new disk of that many bytes (a multiple of 64 KiB) that reads as zeroes. NULL: not
	 * here, and why was printed; the test is skipped.
	 */
	struct block *(*open)(void *opaque, uint64_t size);
	/* Destroys it, and what it was in. */
	void (*close)(void *opaque, struct block *b);
	void *opaque;
	bool discard_zeroes; /* what was discarded reads as zeroes, where discard is there */
};

/* Fills in BLOCK_CONTRACT_TESTS tests; c lives until they have run. */
void block_contract_add(struct CMUnitTest *tests, const struct block_contract *c);

/*
 * One queue into a disk, on the calling thread's own loop, for other tests as well. Every call
 * that submits waits for what it has submitted, unless it says otherwise.
 */
#define DISK_DEPTH 64

struct disk;

struct disk_req {
	struct block_req b;
	struct disk *disk;
	struct iovec iov;
	int result;
	unsigned times; /* done() was called */
};

struct disk {
	struct block *b;
	struct block_queue *q;
	struct loop loop;
	unsigned in_flight;
	unsigned batches; /* batch_end() was called */
	struct disk_req reqs[DISK_DEPTH];
};

/* The queue into b, which stays the caller's; disk_fini() before b goes. */
void disk_init(struct disk *d, struct block *b);
void disk_fini(struct disk *d);

/* Starts the request in b, which has everything but done and opaque; neither kicks nor waits. */
void disk_start(struct disk *d, struct disk_req *r, const struct block_req *b);
/* Kicks, and runs the loop until nothing is in flight. */
void disk_wait(struct disk *d);

int disk_do(struct disk *d, const struct block_req *b);
int disk_read(struct disk *d, uint64_t offset, void *buf, size_t len);
int disk_write(struct disk *d, uint64_t offset, const void *buf, size_t len);
int disk_flush(struct disk *d);

#endif
