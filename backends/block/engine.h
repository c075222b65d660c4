/* SPDX-License-Identifier: MIT */
/*
 * What the engines share. A request becomes calls to the host, one at a time, and what the next
 * one is depends on how the last one ended: a transfer that fell short goes on, one that
 * O_DIRECT would refuse goes through a bounce buffer, what the host cannot do is done another
 * way (engine_steps.c). An engine only carries the calls out, each in its own manner:
 *
 *	start(er) has the first one in er->call;
 *	while (engine_step(er, what er->call gave))
 *		there is another one in er->call;
 *	engine_end(er).
 *
 * Threads: start() and engine_end() on the loop's; the steps of one request on any, but one
 * after the other.
 */
#ifndef BACKENDS_BLOCK_ENGINE_H
#define BACKENDS_BLOCK_ENGINE_H

#include "backends/block/image.h"

#define ENGINE_MAX_DEPTH 16384
#define ENGINE_BOUNCE (64 * KIB)
#define ENGINE_ZERO_IOVS 64
#define ENGINE_SMALL (64 * KIB) /* copies of more are better made by several threads */

enum engine_call_kind {
	ENGINE_READ,
	ENGINE_WRITE,
	ENGINE_SYNC, /* fdatasync */
	ENGINE_FALLOCATE,
	ENGINE_DISCARD, /* BLKDISCARD */
};

struct engine_call {
	enum engine_call_kind kind;
	int flags; /* ENGINE_READ, ENGINE_WRITE: RWF_*; ENGINE_FALLOCATE: its mode */
	uint64_t offset;
	uint64_t len; /* ENGINE_FALLOCATE, ENGINE_DISCARD */
	const struct iovec *iov; /* ENGINE_READ, ENGINE_WRITE; at most IOV_MAX */
	unsigned nr_iov;
};

/* What the call in hand is for. */
enum engine_phase {
	ENGINE_STRAIGHT, /* to or from the submitter's buffers, or from zeroes */
	ENGINE_FILL, /* reads the blocks that the bounce buffer will change a part of */
	ENGINE_BOUNCED,
	ENGINE_PUNCH,
	ENGINE_ZERO_RANGE,
	ENGINE_FREE,
	ENGINE_MAKE_DURABLE,
};

struct engine_queue;

struct engine_req {
	struct engine_call call;
	struct engine_queue *eq;
	struct block_req *req;
	struct engine_req *next; /* free, at the gate, or the engine's */
	enum engine_phase phase;
	bool durable;
	bool unsynced; /* durable, and a call has changed something without being so */
	bool gated; /* has to pass the gate, */
	bool alone; /* and nothing else with it, */
	bool waits; /* for which a thread waits there; guarded by the gate's lock */
	int result;
	/* What is still to be done, */
	uint64_t offset;
	uint64_t left;
	const struct iovec *iov; /* from skip bytes into the first of them on */
	unsigned nr_iov;
	size_t skip;
	/* and the call's part of it where it goes through the bounce buffer: */
	char *bounce; /* ENGINE_BOUNCE bytes, NULL where there is no O_DIRECT */
	size_t span; /* aligned, from call.offset or before it */
	size_t head; /* bytes of it in front of offset */
	size_t want; /* bytes of it that are the request's */
	size_t filled;
	struct iovec own; /* for a call that no part of the submitter's describes */
};

/* How often calls that should not have blocked did. */
struct engine_pace {
	unsigned hold; /* so many are not tried */
	unsigned penalty; /* the next hold, roughly */
	unsigned fast; /* in a row */
};

struct engine_queue {
	struct block_queue q;
	struct image *img;
	struct block_queue_config cfg;
	/* Carries the request out; from submit, or later from the loop, with a kick after it. */
	void (*start)(struct engine_req *er);
	struct engine_req *reqs; /* cfg.depth */
	struct engine_req *free; /* last in, first out: few pages are ever touched */
	char *bounces;
	struct iovec zeroes[ENGINE_ZERO_IOVS]; /* all of them one page of zeroes */
	struct engine_req *admitted; /* guarded by the gate's lock */
	struct engine_req **admitted_end;
	struct loop_post admitted_post;
	struct engine_pace pace;
};

struct engine_config {
	struct image *img;
	struct block *block;
	const struct block_queue_config *queue;
	const struct block_queue_ops *ops; /* its submit is engine_submit() */
	void (*start)(struct engine_req *er);
};

/* 0 or -errno. eq is zeroed before. */
int engine_queue_init(struct engine_queue *eq, const struct engine_config *cfg) __must_check;
void engine_queue_fini(struct engine_queue *eq);
/* er's turn has come at the gate. Any thread, with its lock held. */
void engine_queue_admit(struct engine_req *er);
/* After done() calls that came from the loop. */
void engine_queue_batch_end(struct engine_queue *eq);

void engine_submit(struct block_queue *q, struct block_req *req);
/* Fills in gated and alone. */
void engine_choose_gate(struct engine_req *er);
/* Gives er back and calls done(), after which only the queue is still there. */
void engine_end(struct engine_req *er);

/* Looks at the request: true with its first call, false where er->result is there already. */
bool engine_first_step(struct engine_req *er);
/* result: bytes or 0, or -errno. True: there is another call; false: er->result is there. */
bool engine_step(struct engine_req *er, long result);
/* The same of a read or a write, which is not made durable whatever the image's cache says. */
bool engine_first_transfer(struct engine_req *er);
/* The call in the plain way, on this thread. What engine_step() takes. */
long engine_call(const struct image *img, const struct engine_call *call);

/*
 * Carries er out on this thread where that should not block and is of at most max bytes
 * (engine_now.c): true where it is done, false where er->call is the engine's. reads: also those
 * that the host's page cache may or may not have.
 */
bool engine_now(struct engine_req *er, bool reads, uint64_t max);

/* The engines. 0 or -errno. */
int engine_sync_open(struct image *img, struct block *block, const struct block_queue_config *cfg,
		     struct block_queue **out) __must_check;
int engine_threads_open(struct image *img, struct block *block,
			const struct block_queue_config *cfg,
			struct block_queue **out) __must_check;
int engine_uring_open(struct image *img, struct block *block, const struct block_queue_config *cfg,
		      struct block_queue **out) __must_check;
/* 0, or -errno where the host does not let us, or lacks something that the engine needs. */
int engine_uring_probe(bool sqpoll) __must_check;

#endif
