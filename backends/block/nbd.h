/* SPDX-License-Identifier: MIT */
/*
 * Disks that another process serves, by the NBD protocol and libnbd: whatever format or store
 * nbdkit and qemu-nbd know. block_open() calls it for the paths that nbd_disk_is_path() knows.
 *
 * A queue is a connection of its own, driven by the queue's loop. Where the server does not say
 * that its connections see each other's writes and flushes (multi-conn), or where it takes
 * nothing smaller than blocks of more than a sector, there is one queue: limits.max_queues.
 *
 * A connection that is lost fails what is in flight with -EIO; the next request connects again.
 * If something was written and not flushed, the next flush fails as well, once: the server
 * may have lost it. A server that knows no flush has nothing to flush.
 *
 * Buffers of one piece, or of large ones, are read and written in place; scattered ones go
 * through a buffer as one command: a command for each of a guest's pages costs the server a
 * thread's wake-up each.
 */
#ifndef BACKENDS_BLOCK_NBD_H
#define BACKENDS_BLOCK_NBD_H

#include "backends/block/block.h"

/* nbd://, nbds:// (TLS), nbd+unix:// or nbds+unix:// */
bool nbd_disk_is_path(const char *path);

/* As block_open(); blocks until the server has answered. */
int nbd_disk_open(const struct block_config *cfg, struct block **out, struct err *err) __must_check;

#endif
