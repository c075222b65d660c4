/* SPDX-License-Identifier: MIT */
/*
 * The file or block device that an image is in: opened, checked, locked; and read and written
 * by one of the engines. What the bytes mean is a format's business (block.c, qcow2.c): to it an
 * engine is a struct block_queue whose offsets are the file's.
 *
 * The main thread's, but for what the queues do.
 */
#ifndef BACKENDS_BLOCK_IMAGE_H
#define BACKENDS_BLOCK_IMAGE_H

#include "backends/block/block.h"

struct image {
	int fd; /* for I/O: O_DIRECT with cache=none */
	bool device; /* a block device */
	bool readonly;
	uint64_t size; /* bytes, as of image_open() */
	enum block_cache cache;
	enum block_engine engine; /* never BLOCK_ENGINE_AUTO: what was found to work */
	struct block_limits limits; /* the host's */
	/*
	 * After a failed fdatasync the kernel forgets which pages it could not write, and the next
	 * one succeeds: what was lost stays lost, so this image never flushes again.
	 */
	atomic_bool flush_failed;
	const char *path; /* the configuration's, for messages */
};

/* 0, or -errno with a line in err, as block_open() says; a size of 0 is no error here. */
int image_open(struct image *img, const struct block_config *cfg, struct err *err) __must_check;
/* Every queue is closed. Harmless on one that failed to open. */
void image_close(struct image *img);

/*
 * An engine's queue: requests at offsets of the file, which may lie beyond its end (a write
 * makes it longer, a read of what is not there gives -EIO). Requests are done as block.h says;
 * block is what block_queue.block will be. 0 or -errno.
 */
int image_open_queue(struct image *img, struct block *block, const struct block_queue_config *cfg,
		     struct block_queue **out) __must_check;

#endif
