/* SPDX-License-Identifier: MIT */
/*
 * A disk as the host offers it: any front-end holds only a struct block *, and for each of
 * its I/O threads a struct block_queue *, the way in.
 *
 * Requests are asynchronous. A front-end submits on its I/O thread, calls block_kick() once a
 * batch, and each request's done() is called exactly once on that same thread: from inside
 * submit or kick, or later from its loop. After a batch of them from the loop the queue's
 * batch_end() is called, for what is worth doing only once. Nothing on this path allocates.
 * Requests in flight together may be done in any order; only a flush orders: it makes durable
 * what was done before it was submitted.
 *
 * Layers stack: a format over an engine, a limit over a format. Whoever opened a struct block
 * owns it and those below it. All but the queues' calls are the main thread's, but for size,
 * which any thread may read.
 */
#ifndef BACKENDS_BLOCK_H
#define BACKENDS_BLOCK_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/util.h"

#define BLOCK_SECTOR 512u
#define BLOCK_SERIAL_LEN 20

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH, /* no offset, no length, no data */
	BLOCK_DISCARD, /* no data; the range may read as anything, one value at a time */
	BLOCK_WRITE_ZEROES, /* no data */
};

struct block_queue;

struct block_req {
	enum block_op op;
	bool durable; /* a write, of data or zeroes: done when it is on the medium */
	bool unmap; /* BLOCK_WRITE_ZEROES: the space need not stay allocated */
	uint64_t offset; /* bytes */
	uint64_t len; /* bytes, the sum of iov where there is data */
	const struct iovec *iov; /* the submitter's, alive and unchanged until done() */
	unsigned nr_iov;
	/*
	 * result: 0, or -errno: -EIO for a host error, -ENOSPC, -ERANGE beyond the end, -EROFS,
	 * -EOPNOTSUPP for what block.limits says is not there.
	 */
	void (*done)(struct block_req *req, int result);
	void *opaque;
	struct block_req *next; /* whose hands it is in: a layer's lists */
};

/* What a disk can do; constant while it is open. Bytes. */
struct block_limits {
	uint32_t discard_align; /* space is freed in multiples, a power of 2; 0: no discard */
	uint32_t physical_block; /* below it a write is a read and a write; a power of 2 */
	uint32_t opt_io; /* best a multiple of it, 0: unknown */
	unsigned max_queues; /* that can be open at a time, 0: any number */
};

struct block;

struct block_queue_config {
	struct loop *loop; /* whose thread submits, and on which done() is called */
	unsigned depth; /* requests in flight at most; the submitter keeps to it */
	/*
	 * Optional. After done() calls that came from the loop; not from submit or kick. It may
	 * submit, and kicks what done() has submitted.
	 */
	void (*batch_end)(void *opaque);
	void *opaque;
};

struct block_ops {
	int (*open_queue)(struct block *b, const struct block_queue_config *cfg,
			  struct block_queue **out);
	/* Optional: to another length, the file as well. err is filled in. */
	int (*resize)(struct block *b, uint64_t size, struct err *err);
	void (*destroy)(struct block *b);
};

struct block {
	const struct block_ops *ops;
	_Atomic uint64_t size; /* bytes, a multiple of BLOCK_SECTOR */
	bool readonly;
	char serial[BLOCK_SERIAL_LEN + 1];
	struct block_limits limits;
};

struct block_queue_ops {
	void (*submit)(struct block_queue *q, struct block_req *req);
	void (*kick)(struct block_queue *q); /* optional */
	/*
	 * Optional: done() for what has completed already, found without a system call, and then
	 * batch_end(); true if there was any. For front-ends that poll.
	 */
	bool (*poll)(struct block_queue *q);
	void (*close)(struct block_queue *q);
};

struct block_queue {
	const struct block_queue_ops *ops;
	struct block *block;
};

enum block_format { BLOCK_RAW, BLOCK_QCOW2 };
enum block_engine {
	BLOCK_ENGINE_AUTO,
	BLOCK_ENGINE_IO_URING,
	BLOCK_ENGINE_THREADS,
	BLOCK_ENGINE_SYNC
};

enum block_cache {
	BLOCK_CACHE_WRITEBACK, /* the host's page cache, and flushes that reach the medium */
	BLOCK_CACHE_NONE, /* past the host's page cache (O_DIRECT) */
	BLOCK_CACHE_WRITETHROUGH, /* every write is durable */
	BLOCK_CACHE_UNSAFE, /* flushes do nothing: for what may be lost */
};

struct block_config {
	const char *path; /* a file, a block device, or nbd://..., nbd+unix://... */
	enum block_format format; /* never guessed */
	enum block_engine engine;
	enum block_cache cache;
	bool readonly;
	bool sqpoll; /* io_uring: a kernel thread takes the submissions */
	bool backing; /* an image may name another that it stands on, which is then read */
	const char *serial; /* NULL: none */
};

/*
 * Opens an image. On failure err holds one line for the user that names path and what is
 * wrong, and -errno is returned: a folder, a FIFO or another special file, an empty file, a
 * length that is no whole number of sectors, no right to write (offer readonly=on), or locked
 * by another process.
 */
int block_open(const struct block_config *cfg, struct block **out, struct err *err) __must_check;

/*
 * A way in for one I/O thread. 0 or -errno. From outside of the loop's thread, as is
 * block_close_queue(), which wants nothing in flight. NULL is closed already.
 */
static inline int __must_check block_open_queue(struct block *b,
						const struct block_queue_config *cfg,
						struct block_queue **out)
{
	return b->ops->open_queue(b, cfg, out);
}

static inline void block_close_queue(struct block_queue *q)
{
	if (q)
		q->ops->close(q);
}

/*
 * Checks offset and length against the disk once, here, for every layer: an impossible request
 * is done() with -ERANGE, -EROFS or -EOPNOTSUPP before any of them sees it.
 */
void block_submit(struct block_queue *q, struct block_req *req);

static inline void block_kick(struct block_queue *q)
{
	if (q->ops->kick)
		q->ops->kick(q);
}

static inline bool block_poll(struct block_queue *q)
{
	return q->ops->poll && q->ops->poll(q);
}

/*
 * 0, or -errno with a line in err: -EOPNOTSUPP, -EROFS, -EINVAL for no multiple of a sector. What
 * is beyond a smaller size is lost. Front-ends have to be told.
 */
int block_resize(struct block *b, uint64_t size, struct err *err) __must_check;

/* Every queue is closed. NULL is destroyed already. */
static inline void block_destroy(struct block *b)
{
	if (b)
		b->ops->destroy(b);
}

#endif
