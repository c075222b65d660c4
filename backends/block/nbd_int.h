/* SPDX-License-Identifier: MIT */
/*
 * An NBD disk's insides, private to nbd*.c: nbd.c opens it, nbd_queue.c is a queue and its
 * connection, nbd_cmd.c cuts requests into commands of the protocol.
 */
#ifndef BACKENDS_BLOCK_NBD_INT_H
#define BACKENDS_BLOCK_NBD_INT_H

#include "backends/block/block.h"
#include "backends/block/nbd_lib.h"

#define NBD_BOUNCE (256 * KIB) /* a command's buffer; touched only by those that need it */
#define NBD_MAX_BLOCK (64 * KIB) /* what a server may ask for as its smallest block */

struct nbd_disk {
	struct block b;
	struct nbd_lib lib;
	struct nbd_handle *first; /* connected, until the first queue takes it */
	unsigned nr_queues; /* open */
	char *uri;
	uint64_t min_block; /* the server's, at least a sector; a power of 2 */
	uint64_t max_data;
	bool flushes, fua, zeroes;
	enum block_cache cache;
	atomic_bool dirty; /* something was written since the last flush */
	atomic_bool lost; /* and a connection was lost before the next */
};

/* A place in scattered buffers. */
struct place {
	unsigned iov;
	size_t offset;
};

/* A request, cut into commands. */
struct nbd_req {
	struct block_req *req;
	uint64_t pos, end; /* bytes of the disk: not yet in a command */
	struct place place; /* of pos */
	unsigned in_flight; /* commands */
	bool flush; /* a flush, or the one behind a durable write */
	bool issued; /* not in pending */
	int result;
	struct nbd_req *next;
};

enum nbd_op { NBD_READ, NBD_WRITE, NBD_ZERO, NBD_TRIM, NBD_FLUSH };

struct nbd_cmd {
	struct nbd_queue *queue;
	struct nbd_req *r;
	enum nbd_op op; /* as the server sees it, these five */
	uint64_t offset, len;
	char *buf;
	uint32_t flags;
	char *bounce;
	bool bounced; /* buf is bounce: part of it is the request's, from skip on */
	bool merge; /* the read before a write of less than a block */
	size_t skip, part;
	struct place place; /* where the part is */
	int error;
	struct nbd_cmd *next;
};

enum nbd_state { NBD_DOWN, NBD_CONNECTING, NBD_UP };

/* Its thread's own, but for create and destroy. */
struct nbd_queue {
	struct block_queue q;
	struct nbd_disk *disk;
	struct block_queue_config cfg;
	struct nbd_handle *h;
	enum nbd_state state;
	struct loop_src src; /* the connection's; fd -1: not in the loop */
	uint32_t events;
	struct nbd_req *reqs, *free_reqs;
	struct nbd_req *pending, **pending_end; /* not all in commands yet */
	struct nbd_cmd *cmds, *free_cmds;
	struct nbd_cmd *finished, **finished_end; /* libnbd has told us so */
	char *bounces;
	size_t bounces_len;
	unsigned in_flight; /* commands */
	bool alone; /* the one in flight wants no other */
	bool running; /* run() */
	bool done_any; /* done() was called */
};

/* A handle that is not connected yet, or NULL; and the end of one, which may be NULL. */
struct nbd_handle *nbd_new_handle(const struct nbd_lib *lib);
void nbd_hang_up(const struct nbd_lib *lib, struct nbd_handle *h);

/* nbd_queue.c: block_ops.open_queue of a struct nbd_disk. */
int nbd_queue_open(struct block *b, const struct block_queue_config *cfg,
		   struct block_queue **out) __must_check;

/* nbd_cmd.c, on the queue's thread: */

/* Behind the others that are not all in commands yet. */
void nbd_pend(struct nbd_queue *q, struct nbd_req *r);

/* Goes on with the first of those; false: there is none, or it cannot be now. */
bool nbd_issue_pending(struct nbd_queue *q);

/* Takes back one command that libnbd is done with; false: there is none. */
bool nbd_reap(struct nbd_queue *q);

#endif
