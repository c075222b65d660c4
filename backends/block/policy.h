/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a request that the host has failed, for on-error=stop: it is held, and so are
 * those that come behind it, until somebody has put the cause right; then all are submitted
 * again and the guest has not noticed. What the disk itself refuses (-ERANGE, -EROFS,
 * -EOPNOTSUPP) is the guest's own mistake and goes to the guest.
 *
 * A request that is held is in flight: whoever waits until nothing is has to call
 * policy_give_up() first.
 */
#ifndef BACKENDS_BLOCK_POLICY_H
#define BACKENDS_BLOCK_POLICY_H

#include "backends/block/block.h"

struct policy_config {
	struct block *below; /* the layer's from then on */
	/* Requests are held now: once until policy_resume(). On a queue's thread, without a lock. */
	void (*stopped)(void *ctx);
	void *ctx;
};

/* The request that stopped the disk. */
struct policy_failure {
	enum block_op op;
	uint64_t offset, len;
	int error; /* -errno */
};

/* 0 or -ENOMEM, with below as it was. */
int policy_create(const struct policy_config *cfg, struct block **out) __must_check;

/* All of these are the main thread's; b is policy_create()'s. */

/* True while requests are held, with the first that failed. */
bool policy_stopped(struct block *b, struct policy_failure *failure);

/* Submits again what is held; the next failure stops the disk again. */
void policy_resume(struct block *b);

/* Submits what is held for the last time: errors are the guest's, until policy_resume(). */
void policy_give_up(struct block *b);

#endif
