/* SPDX-License-Identifier: MIT */
/* The parts of image_open(), each a question to the host. Main thread. */
#ifndef BACKENDS_BLOCK_IMAGE_HOST_H
#define BACKENDS_BLOCK_IMAGE_HOST_H

#include "backends/block/image.h"

/*
 * Locks the whole of the open file: shared for a reader, alone for a writer. The lock is the
 * open file's (OFD), so it goes with the last descriptor, however we end. -EBUSY with a line in
 * err that names who has it, as far as /proc shows. Where there are no locks: a warning, and 0.
 */
int image_lock(const struct image *img, struct err *err) __must_check;

/*
 * Unlocks and closes the file, with nothing in flight, and waits for it to be closed indeed: the
 * kernel takes down an io_uring, which has the file open as well, some time after its owner has
 * closed it, and until then the file system cannot be unmounted. Not longer than two seconds, and
 * not for a reader.
 */
void image_let_go(struct image *img);

/*
 * Fills in io_align and mem_align, for a file that is open with O_DIRECT. Buffers are aligned to
 * a page whatever it says. -EINVAL with a line in err where it does not work after all.
 */
int image_direct(struct image *img, struct err *err) __must_check;
/* The line for a file system that has no O_DIRECT. */
int image_no_direct(const struct image *img, struct err *err);

/* Fills in limits, discard, nowait and range_align. Harmless: nothing is written or freed. */
void image_limits(struct image *img);

#endif
