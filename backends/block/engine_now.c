/* SPDX-License-Identifier: MIT */
/*
 * What the host's page cache serves is a copy of memory: done by the submitter in one system call
 * it takes a fraction of what handing it to another thread does, and that is what io_uring does
 * as well wherever the file system cannot promise not to block (buffered writes to ext4, all of
 * tmpfs). Such a call does block at times: for the disk's journal, for dirty pages to be written.
 * So these calls are timed, and after a slow one the next ones go the engine's way, the more of
 * them the more often it happens.
 */
#include <errno.h>
#include <time.h>

#include "backends/block/engine.h"

#define SLOW_NS 50000 /* and what copying takes: */
#define SLOW_NS_PER_BYTE 2
#define MIN_PENALTY 32
#define MAX_PENALTY 32768
#define FORGIVEN_AFTER 1024

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void judge(struct engine_pace *pace, uint64_t ns, uint64_t len)
{
	if (ns > SLOW_NS + SLOW_NS_PER_BYTE * len) {
		pace->penalty =
			(unsigned)min_u64(max_u64(pace->penalty * 2, MIN_PENALTY), MAX_PENALTY);
		pace->hold = pace->penalty;
		pace->fast = 0;
	} else if (++pace->fast == FORGIVEN_AFTER) {
		pace->penalty /= 2;
		pace->fast = 0;
	}
}

static long timed_call(struct engine_req *er)
{
	struct engine_pace *pace = &er->eq->pace;
	uint64_t begin, left = er->left;
	long ret;

	if (pace->hold) {
		pace->hold--;
		return -EAGAIN;
	}
	begin = now_ns();
	ret = engine_call(er->eq->img, &er->call);
	judge(pace, now_ns() - begin, left);
	return ret;
}

/* -EAGAIN: not now. */
static long call_now(struct engine_req *er, bool reads, uint64_t max)
{
	const struct image *img = er->eq->img;

	if (img->io_align > 1 || er->left > max || er->phase != ENGINE_STRAIGHT || er->call.flags)
		return -EAGAIN;
	if (er->call.kind == ENGINE_WRITE || !img->nowait)
		return timed_call(er);
	if (!reads)
		return -EAGAIN;
	er->call.flags = RWF_NOWAIT;

	long ret = engine_call(img, &er->call);

	er->call.flags = 0;
	return ret;
}

bool engine_now(struct engine_req *er, bool reads, uint64_t max)
{
	long ret;

	do {
		ret = call_now(er, reads, max);
		if (ret == -EAGAIN)
			return false;
	} while (engine_step(er, ret));
	return true;
}
