/* SPDX-License-Identifier: MIT */
/* What the tests of qcow2 share: an image in a folder of its own, its disk, and qemu-img. */
#ifndef TESTS_UNIT_QCOW2_DISK_H
#define TESTS_UNIT_QCOW2_DISK_H

#include "backends/block/block.h"

struct qcow2_disk {
	char dir[64];
	char path[96]; /* dir/image */
	const char *options; /* of qemu-img create, for qcow2_disk_new(); NULL: its own */
	enum block_engine engine; /* likewise */
	enum block_cache cache;
	struct err err;
	struct loop loop; /* run by whoever waits for a request */
	struct block *b;
	struct block_queue *q;
};

void qcow2_disk_init(struct qcow2_disk *d);
/* With everything in the folder. */
void qcow2_disk_destroy(struct qcow2_disk *d);

/* cfg but for path and format. 0 or -errno with a line in d->err. */
int qcow2_disk_open_as(struct qcow2_disk *d, struct block_config cfg);
/* For writing, with backing=on and d->cache; it has to succeed. */
void qcow2_disk_open(struct qcow2_disk *d);
void qcow2_disk_close(struct qcow2_disk *d);
/* A way into d->b, for who has opened that otherwise. */
void qcow2_disk_open_queue(struct qcow2_disk *d);

/*
 * For block_contract.h, opaque is a struct qcow2_disk: a new image of that many bytes, without a
 * queue; and its end, where qemu-img has to find it right. NULL where there is no qemu-img, or no
 * O_DIRECT for cache=none; that is printed.
 */
struct block *qcow2_disk_new(void *opaque, uint64_t size);
void qcow2_disk_drop(void *opaque, struct block *b);

/* One request from submit to done(), its memory in pieces; its result. */
int qcow2_disk_do(struct qcow2_disk *d, struct block_req req, void *buf, uint64_t len);
int qcow2_disk_rw(struct qcow2_disk *d, enum block_op op, uint64_t off, void *buf, uint64_t len);

/* Runs a command line in d->dir, with what it says thrown away; its exit status. */
int qcow2_disk_run(struct qcow2_disk *d, const char *fmt, ...) __printf(2, 3);
bool qcow2_disk_have_qemu(void);
/* Whether the images' file system does: for cache=none. */
bool qcow2_disk_have_direct(void);

/* A random number below n, from a seed that goes on. */
uint64_t qcow2_disk_random(uint64_t *seed, uint64_t n);

#endif
