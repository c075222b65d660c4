/* SPDX-License-Identifier: MIT */
#include "tests/unit/vq_rig.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LIMIT 60 /* s; only ever reached when something is wrong */

const struct vdrv_seg vq_rig_outside[VQ_RIG_OUTSIDE] = {
	{ RAM, 1, false },        { RAM - 1, 2, false },          { 0xfee00000, 4, false },
	{ UINT64_MAX, 1, false }, { UINT64_MAX - 15, 32, false }, { 0, 0xffffffff, false },
};

struct virtq_params vq_rig_params(const struct vq_rig *r, bool event_idx)
{
	return (struct virtq_params){
		.size = r->q.size,
		.packed = r->q.packed,
		.indirect = true,
		.event_idx = event_idx,
		.desc = r->q.desc,
		.avail = r->q.avail,
		.used = r->q.used,
		.next_avail = virtq_start_position(r->q.packed),
		.next_used = virtq_start_position(r->q.packed),
	};
}

static void queue(struct vq_rig *r, uint16_t size, bool packed, bool event_idx)
{
	struct virtq_params p;

	vdrv_queue_init(&r->d, &r->q, size, RING, packed, event_idx);
	p = vq_rig_params(r, event_idx);
	assert_int_equal(virtq_init(&r->vq, &r->mem, &p), 0);
}

void vq_rig_queue(struct vq_rig *r, bool event_idx)
{
	queue(r, r->q.size, r->q.packed, event_idx);
}

int vq_rig_setup(void **state, uint16_t size, bool packed)
{
	struct vq_rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	assert_int_equal(mem_init(&r->mem, RAM), 0);
	r->d.mem = &r->mem;
	r->buf = (struct virtq_buf){ .iov = r->iov, .max_iov = size };
	queue(r, size, packed, false);
	*state = r;
	return 0;
}

int vq_rig_teardown(void **state)
{
	struct vq_rig *r = *state;

	mem_destroy(&r->mem);
	free(r);
	return 0;
}

void *vq_rig_at(struct vq_rig *r, uint64_t gpa)
{
	void *p = mem_at(&r->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

void vq_rig_check_broken(struct vq_rig *r, const char *word)
{
	assert_int_equal(virtq_pop(&r->vq, &r->buf), -EPROTO);
	assert_non_null(r->vq.broken);
	assert_non_null(strstr(r->vq.broken, word));
	assert_int_equal(r->vq.in_flight, 0);
	if (r->q.packed)
		assert_int_equal(r->vq.next_avail, r->vq.next_used);
	assert_int_equal(virtq_pop(&r->vq, &r->buf), -EPROTO);
	assert_false(virtq_enable_kicks(&r->vq));
	vq_rig_queue(r, r->vq.event_idx);
	assert_int_equal(virtq_pop(&r->vq, &r->buf), 0);
}

struct racer {
	struct vq_rig *r;
	void (*write)(struct vq_rig *r);
	atomic_bool stop;
};

static void *race(void *opaque)
{
	struct racer *racer = opaque;

	while (!racer->stop)
		racer->write(racer->r);
	return NULL;
}

static void check_in_ram(const struct vq_rig *r)
{
	assert_true(r->buf.nr_out + r->buf.nr_in <= r->q.size);
	for (unsigned i = 0; i < r->buf.nr_out + r->buf.nr_in; i++) {
		uint64_t off = (uint64_t)((char *)r->iov[i].iov_base - (char *)r->mem.map);

		assert_true(off < RAM && r->iov[i].iov_len <= RAM - off);
	}
}

void vq_rig_race(struct vq_rig *r, void (*write)(struct vq_rig *r), void (*offer)(struct vq_rig *r))
{
	struct racer racer = { .r = r, .write = write };
	struct virtq_params p = vq_rig_params(r, false);
	/* Until it has been seen both ways: how soon is the host's scheduler's to say. */
	time_t limit = time(NULL) + LIMIT;
	unsigned good = 0, bad = 0;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, race, &racer), 0);
	for (unsigned i = 0; i < 3000 || ((!good || !bad) && time(NULL) < limit); i++) {
		int ret;

		if (offer)
			offer(r);
		assert_int_equal(virtq_init(&r->vq, &r->mem, &p), 0);
		ret = virtq_pop(&r->vq, &r->buf);
		bad += ret < 0;
		good += ret > 0;
		if (ret > 0)
			check_in_ram(r);
	}
	racer.stop = true;
	pthread_join(thread, NULL);
	assert_true(good && bad);
}
