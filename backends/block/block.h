/* SPDX-License-Identifier: MIT */
/*
 * A disk as the host offers it: any front-end holds only a struct block *.
 *
 * Requests are asynchronous. A front-end submits on its I/O thread, calls
 * block_kick() once a batch, and each request's done() is called exactly once on
 * that same thread, from inside submit or kick (the synchronous engine) or later
 * from its loop. Nothing on this path allocates or locks. A request's offset and
 * length are fixed when it is submitted.
 */
#ifndef BACKENDS_BLOCK_H
#define BACKENDS_BLOCK_H

#include <sys/uio.h>

#include "base/loop.h"
#include "base/util.h"

#define BLOCK_SECTOR 512u
#define BLOCK_SERIAL_LEN 20

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH };

struct block_req {
	enum block_op op;
	uint64_t offset; /* bytes */
	const struct iovec *iov; /* the submitter's, alive until done() */
	unsigned nr_iov;
	uint64_t len; /* sum of iov, bytes */
	/* result: 0, or -errno: -EIO for a host error, -ERANGE beyond the end, -EROFS. */
	void (*done)(struct block_req *req, int result);
	void *opaque;
};

struct block;

struct block_ops {
	/* The loop whose thread submits from now on (NULL: none; all requests are done). */
	int (*attach)(struct block *b, struct loop *loop);
	void (*submit)(struct block *b, struct block_req *req);
	void (*kick)(struct block *b);
	void (*destroy)(struct block *b);
};

/* What a front-end may tell its guest. Constant while it runs. */
struct block {
	const struct block_ops *ops;
	uint64_t size; /* bytes, a multiple of BLOCK_SECTOR */
	bool readonly;
	char serial[BLOCK_SERIAL_LEN + 1];
};

struct block_config {
	const char *path;
	bool readonly;
	const char *serial; /* NULL: none */
};

/*
 * Opens a raw image or block device. On failure err (size bytes) holds one line for
 * the user that names path and what is wrong, and -errno is returned: a folder, a
 * FIFO or another special file, an empty file, a length that is no whole number of
 * sectors, no right to write (offer readonly=on), or locked by another bantam.
 */
int block_raw_open(const struct block_config *cfg, struct block **out, char *err,
		   size_t size) __must_check;

static inline int block_attach(struct block *b, struct loop *loop)
{
	return b->ops->attach(b, loop);
}

/*
 * Checks offset and length against the disk once, here, for every engine: an
 * impossible request is done() with -ERANGE or -EROFS before any engine sees it.
 */
void block_submit(struct block *b, struct block_req *req);

static inline void block_kick(struct block *b)
{
	if (b->ops->kick)
		b->ops->kick(b);
}

static inline void block_destroy(struct block *b)
{
	if (b)
		b->ops->destroy(b);
}

#endif
