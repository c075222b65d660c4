/* SPDX-License-Identifier: MIT */
/*
 * The file or block device that an image is in: opened, checked, locked; and read and written
 * by one of the engines. What the bytes mean is a format's business (raw.c, qcow2.c): to it an
 * engine is a struct block_queue whose offsets are the file's.
 *
 * The main thread's, but for what the queues do.
 */
#ifndef BACKENDS_BLOCK_IMAGE_H
#define BACKENDS_BLOCK_IMAGE_H

#include "backends/block/block.h"
#include "backends/block/engine_gate.h"

/* How space is given back to the host. */
enum image_discard {
	IMAGE_NO_DISCARD,
	IMAGE_PUNCH_HOLE, /* fallocate(2), in files */
	IMAGE_BLKDISCARD, /* the ioctl, in block devices */
};

struct image {
	int fd; /* for I/O: O_DIRECT with cache=none */
	bool device; /* a block device */
	bool readonly;
	uint64_t size; /* bytes, as of image_open(), image_resize() */
	enum block_cache cache;
	enum block_engine engine; /* never BLOCK_ENGINE_AUTO: what was found to work */
	bool fall_back; /* to threads, should a queue of that engine not open after all */
	bool sqpoll;
	struct block_limits limits; /* the host's */
	enum image_discard discard;
	bool nowait; /* reads can be asked not to block (RWF_NOWAIT) */
	uint32_t range_align; /* of what is zeroed or discarded: a device's logical block, or 1 */
	/*
	 * O_DIRECT wants offsets and lengths in multiples of io_align and buffers at multiples of
	 * mem_align, which is no larger; 1 and 1 without it.
	 */
	uint32_t io_align;
	uint32_t mem_align;
	struct engine_gate gate; /* for writes of parts of io_align */
	bool gated; /* such writes are possible */
	/*
	 * After a failed fdatasync the kernel forgets which pages it could not write, and the next
	 * one succeeds: what was lost stays lost, so this image never flushes again.
	 */
	atomic_bool flush_failed;
	/* What the host has refused once, and is not asked for again. */
	atomic_bool no_dsync; /* RWF_DSYNC */
	atomic_bool no_punch; /* FALLOC_FL_PUNCH_HOLE */
	atomic_bool no_zero_range; /* FALLOC_FL_ZERO_RANGE */
	const char *path; /* the configuration's, for messages */
};

/* 0, or -errno with a line in err, as block_open() says; a size of 0 is no error here. */
int image_open(struct image *img, const struct block_config *cfg, struct err *err) __must_check;
/* Every queue is closed. Harmless on one that failed to open. */
void image_close(struct image *img);

/*
 * Makes a file as long as that; a device has the length it has, and may only be asked for that.
 * 0 or -errno with a line in err.
 */
int image_resize(struct image *img, uint64_t size, struct err *err) __must_check;

/*
 * An engine's queue: requests at offsets of the file, which may lie beyond its end (a write
 * makes it longer, a read of what is not there gives -EIO). Requests are done as block.h says;
 * done() of one that kick() has found done may submit: the same kick() takes it along.
 * block is what block_queue.block will be. 0 or -errno.
 */
int image_open_queue(struct image *img, struct block *block, const struct block_queue_config *cfg,
		     struct block_queue **out) __must_check;

/*
 * What a format reads and writes by itself: on the calling thread, one transfer at a time, of any
 * offset, length and memory, past the page cache where the image is. It may wait for a queue's
 * requests, so not on a loop that those need. 0 or -errno: -EIO for a host error, or where the
 * file ends before the transfer; -ENOSPC.
 */
struct image_io;

int image_io_create(struct image *img, struct image_io **out) __must_check;
void image_io_destroy(struct image_io *io); /* NULL: is destroyed already */
int image_io_read(struct image_io *io, void *buf, uint64_t len, uint64_t off) __must_check;
int image_io_write(struct image_io *io, const struct iovec *iov, unsigned nr_iov, uint64_t len,
		   uint64_t off) __must_check;

#endif
