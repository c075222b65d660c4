/* SPDX-License-Identifier: MIT */
/*
 * Keeps writes apart where one of them writes more than it was asked to: a part of a block that
 * O_DIRECT only takes whole is written by reading the block, changing it and writing it back,
 * and nothing else may change the block meanwhile. It is rare (disks of 4 KiB sectors, guests
 * that write 512 bytes), so such a write is simply alone in its image; others share. First come,
 * first served, over all queues of the image. Any thread.
 */
#ifndef BACKENDS_BLOCK_ENGINE_GATE_H
#define BACKENDS_BLOCK_ENGINE_GATE_H

#include <pthread.h>

#include "base/util.h"

struct engine_req;

struct engine_gate {
	pthread_cond_t admitted; /* a request that a thread waits for */
	pthread_mutex_t lock; /* guards all of it, and the queues' lists of what was admitted */
	unsigned inside;
	bool alone; /* the one inside */
	struct engine_req *waiting;
	struct engine_req **waiting_end;
};

void engine_gate_init(struct engine_gate *gate);
void engine_gate_destroy(struct engine_gate *gate);

/* False: it has to wait, and engine_queue_admit() gets it when its turn comes. */
bool engine_gate_enter(struct engine_gate *gate, struct engine_req *er);
/* Waits for its turn, on a thread that no request inside depends on. */
void engine_gate_wait(struct engine_gate *gate, struct engine_req *er);
void engine_gate_leave(struct engine_gate *gate);

#endif
