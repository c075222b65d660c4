/* SPDX-License-Identifier: MIT */
/* A virtio disk's configuration, its requests but the plain ones, its threads and their polling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include "base/state.h"
#include "tests/unit/virtio_rig.h"

#define SIZE_MAX_BYTES 33525760 /* as SeaBIOS needs it: test_seabios_makes_progress() */

static int setup_none(void **state)
{
	struct vrig *m;

	vrig_setup_none(state);
	m = *state;
	m->disk.b.limits.discard_align = 4096;
	memset(m->bytes, 0x5a, sizeof(m->bytes));
	return 0;
}

static int setup(void **state)
{
	setup_none(state);
	vrig_create(*state);
	return 0;
}

static void start(struct vrig *m, uint64_t features)
{
	vrig_start(m, features | VIRTIO_F_INDIRECT_DESC);
}

static uint8_t request(struct vrig *m, uint32_t type, uint64_t sector, uint32_t len)
{
	return vrig_request(m->q, type, sector, len, NULL);
}

static void put_range(struct vrig *m, unsigned i, uint64_t sector, uint32_t n, uint32_t flags)
{
	char *range = vrig_at(m, VRIG_DATA(0) + i * 16);

	store_le(range, 8, sector);
	store_le(range + 8, 4, n);
	store_le(range + 12, 4, flags);
}

/* A request with one segment. */
static int range(struct vrig *m, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	put_range(m, 0, sector, n, flags);
	return request(m, type, 0, 16);
}

static const struct block_req *asked(struct vrig *m, unsigned n)
{
	assert_true(n < m->disk.nr_log);
	return &m->disk.log[n];
}

/* What it makes of size_max and seg_max: the sectors of a request, in 16 bits, at most. */
static void test_seabios_makes_progress(void **state)
{
	struct vrig *m = *state;
	uint32_t bytes;

	vrig_create(m);
	bytes = vdrv_device_in(&m->d, 8, 4) * vdrv_device_in(&m->d, 12, 4);
	assert_true((uint16_t)bytes / 512 >= 8);
}

static void test_config(void **state)
{
	struct vrig *m = *state;
	struct vdrv *d = &m->d;
	static const struct {
		unsigned offset, width;
		uint64_t value;
	} want[] = {
		{ 0, 4, VRIG_SECTORS },
		{ 4, 4, 0 },
		{ 8, 4, SIZE_MAX_BYTES },
		{ 12, 4, VRIG_QSIZE - 2 },
		{ 20, 4, 512 },
		{ 24, 1, 3 },
		{ 25, 1, 0 },
		{ 26, 2, 8 },
		{ 28, 4, 128 },
		{ 32, 1, 1 },
		{ 33, 1, 0 },
		{ 34, 2, 1 },
		{ 36, 4, 1 << 22 },
		{ 40, 4, 32 },
		{ 44, 4, 8 },
		{ 48, 4, 1 << 22 },
		{ 52, 4, 32 },
		{ 56, 1, 1 },
		{ 57, 1, 0 },
		{ 58, 2, 0 },
		{ 60, 4, 0 },
	};

	m->disk.b.limits.physical_block = 4096;
	m->disk.b.limits.opt_io = 65536;
	vrig_create(m);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(vdrv_device_in(d, want[i].offset, want[i].width), want[i].value);
	assert_int_equal(vdrv_features(d) & 0xffffff, 0x6e46);
	vrig_destroy(m);

	/* A host that cannot discard, and knows nothing of blocks. */
	m->disk.b.limits = (struct block_limits){ .physical_block = 512 };
	vrig_create(m);
	assert_int_equal(vdrv_features(d) & 0xffffff, 0x4e46);
	assert_int_equal(vdrv_device_in(d, 24, 4), 1 << 16);
	assert_int_equal(vdrv_device_in(d, 36, 4), 0);
	assert_int_equal(vdrv_device_in(d, 48, 4), 1 << 22);
	assert_int_equal(vdrv_device_in(d, 56, 1), 0);
	vrig_destroy(m);

	/* What cannot be written needs none of it. */
	m->disk.b.limits.discard_align = 512;
	m->disk.b.readonly = true;
	vrig_create(m);
	assert_int_equal(vdrv_features(d) & 0xffffff, 0x0666);
	for (unsigned i = 36; i < 60; i += 4)
		assert_int_equal(vdrv_device_in(d, i, 4), 0);
}

static void test_discard(void **state)
{
	struct vrig *m = *state;
	const struct block_req *first;

	start(m, VRIG_F_FLUSH | VRIG_F_DISCARD);
	assert_int_equal(range(m, VRIG_DISCARD, 8, 16, 0), VRIG_OK);
	first = asked(m, 0);
	assert_int_equal(first->op, BLOCK_DISCARD);
	assert_int_equal(first->offset, 8 * 512);
	assert_int_equal(first->len, 16 * 512);
	assert_int_equal(first->nr_iov, 0);
	assert_false(first->durable);
	assert_int_equal(range(m, VRIG_DISCARD, 63, 1, 0), VRIG_OK);
	assert_int_equal(range(m, VRIG_DISCARD, 64, 0, 0), VRIG_OK);
	assert_int_equal(m->disk.nr_log, 3);

	/* 5.2.6.2: no flags, within the disk and the limits. */
	assert_int_equal(range(m, VRIG_DISCARD, 8, 16, 1), VRIG_UNSUPP);
	assert_int_equal(range(m, VRIG_DISCARD, 8, 16, 0x80000000), VRIG_UNSUPP);
	assert_int_equal(range(m, VRIG_DISCARD, 63, 2, 0), VRIG_IOERR);
	assert_int_equal(range(m, VRIG_DISCARD, 65, 0, 0), VRIG_IOERR);
	assert_int_equal(range(m, VRIG_DISCARD, 1ull << 55, 1, 0), VRIG_IOERR);
	assert_int_equal(range(m, VRIG_DISCARD, UINT64_MAX, 1, 0), VRIG_IOERR);
	assert_int_equal(range(m, VRIG_DISCARD, 0, (1 << 22) + 1, 0), VRIG_IOERR);
	assert_int_equal(request(m, VRIG_DISCARD, 0, 0), VRIG_IOERR);
	assert_int_equal(request(m, VRIG_DISCARD, 0, 15), VRIG_IOERR);
	assert_int_equal(request(m, VRIG_DISCARD, 0, 17), VRIG_IOERR);
	assert_int_equal(request(m, VRIG_DISCARD, 0, 33 * 16), VRIG_IOERR);
	assert_int_equal(m->disk.nr_log, 3);
	/* Not offered to this driver. */
	assert_int_equal(range(m, VRIG_ZEROES, 0, 8, 0), VRIG_UNSUPP);
	start(m, VRIG_F_FLUSH);
	assert_int_equal(range(m, VRIG_DISCARD, 0, 8, 0), VRIG_UNSUPP);
	assert_int_equal(m->disk.nr_log, 3);
}

static void test_write_zeroes(void **state)
{
	struct vrig *m = *state;

	start(m, VRIG_F_FLUSH | VRIG_F_ZEROES);
	assert_int_equal(range(m, VRIG_ZEROES, 2, 3, 0), VRIG_OK);
	assert_false(asked(m, 0)->unmap);
	assert_false(asked(m, 0)->durable);
	for (unsigned i = 0; i < sizeof(m->bytes); i++)
		assert_int_equal(m->bytes[i], i / 512 >= 2 && i / 512 < 5 ? 0 : 0x5a);
	assert_int_equal(range(m, VRIG_ZEROES, 0, VRIG_SECTORS, 1), VRIG_OK);
	assert_true(asked(m, 1)->unmap);
	assert_int_equal(range(m, VRIG_ZEROES, 0, 1, 2), VRIG_UNSUPP);
	assert_int_equal(range(m, VRIG_ZEROES, 0, 1, 3), VRIG_UNSUPP);
	assert_int_equal(range(m, VRIG_ZEROES, 1, VRIG_SECTORS, 1), VRIG_IOERR);
	/* The host's errors reach the guest. */
	m->disk.result = -EIO;
	assert_int_equal(range(m, VRIG_ZEROES, 0, 1, 0), VRIG_IOERR);
	m->disk.result = -EOPNOTSUPP;
	assert_int_equal(range(m, VRIG_ZEROES, 0, 1, 0), VRIG_UNSUPP);
	m->disk.result = 0;
	start(m, VRIG_F_ZEROES);
	assert_int_equal(range(m, VRIG_ZEROES, 0, 1, 0), VRIG_OK);
	assert_true(asked(m, m->disk.nr_log - 1)->durable);
}

/* One after the other, each as the guest wrote it when its turn came; the first error ends it. */
static void test_many_ranges(void **state)
{
	struct vrig *m = *state;

	start(m, VRIG_F_FLUSH | VRIG_F_DISCARD | VRIG_F_ZEROES);
	for (unsigned i = 0; i < 32; i++)
		put_range(m, i, 2 * i, 1, i & 1);
	assert_int_equal(request(m, VRIG_ZEROES, 0, 32 * 16), VRIG_OK);
	assert_int_equal(m->disk.nr_log, 32);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(asked(m, i)->offset, 1024 * i);
		assert_int_equal(asked(m, i)->unmap, i & 1);
	}
	put_range(m, 1, VRIG_SECTORS, 1, 0);
	assert_int_equal(request(m, VRIG_ZEROES, 0, 3 * 16), VRIG_IOERR);
	assert_int_equal(m->disk.nr_log, 33);

	m->disk.hold = true;
	for (unsigned i = 0; i < 3; i++)
		put_range(m, i, i, 1, 0);
	vrig_add(m->q, 0, VRIG_DISCARD, 0, 48);
	vdrv_kick(m->q);
	for (unsigned i = 0; i < 3; i++) {
		vrig_wait(&m->disk.nr_log, 34 + i);
		vrig_wait(&m->disk.nr_held, 1);
		assert_int_equal(m->q->last_used, 2);
		fake_block_release(&m->disk);
	}
	assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_OK);
	assert_int_equal(asked(m, 35)->offset, 1024);
}

static void put_writeback(struct vrig *m, unsigned v)
{
	bus_out(&m->bus, m->d.device.space, m->d.device.addr + 32, 1, v);
}

static bool durable_write(struct vrig *m)
{
	assert_int_equal(request(m, VRIG_OUT, 0, 512), VRIG_OK);
	return asked(m, m->disk.nr_log - 1)->durable;
}

static void test_writeback(void **state)
{
	struct vrig *m = *state;

	assert_int_equal(vdrv_device_in(&m->d, 32, 1), 1);
	start(m, VRIG_F_FLUSH | VRIG_F_WCE);
	assert_int_equal(vdrv_device_in(&m->d, 32, 1), 1);
	assert_false(durable_write(m));
	put_writeback(m, 0);
	assert_int_equal(vdrv_device_in(&m->d, 32, 1), 0);
	assert_true(durable_write(m));
	assert_int_equal(request(m, VRIG_IN, 0, 512), VRIG_OK);
	assert_false(asked(m, 2)->durable);
	put_writeback(m, 1);
	assert_false(durable_write(m));
	/* As a part of a longer write, too; nothing else can be written. */
	bus_out(&m->bus, m->d.device.space, m->d.device.addr + 32, 4, 0xffffff00);
	assert_true(durable_write(m));
	bus_out(&m->bus, m->d.device.space, m->d.device.addr + 28, 4, 1);
	bus_out(&m->bus, m->d.device.space, m->d.device.addr + 33, 1, 1);
	assert_int_equal(vdrv_device_in(&m->d, 32, 4), 1 << 16);
	assert_int_equal(vdrv_device_in(&m->d, 28, 4), 0);

	/* A reset forgets the choice; without the feature there is none. */
	start(m, VRIG_F_FLUSH);
	assert_int_equal(vdrv_device_in(&m->d, 32, 1), 1);
	put_writeback(m, 0);
	assert_int_equal(vdrv_device_in(&m->d, 32, 1), 1);
	assert_false(durable_write(m));
	/* 5.2.5.2, 5.2.6.2: who cannot flush has writethrough. */
	start(m, VRIG_F_WCE);
	assert_int_equal(vdrv_device_in(&m->d, 32, 1), 0);
	assert_true(durable_write(m));
	put_writeback(m, 1);
	assert_int_equal(vdrv_device_in(&m->d, 32, 1), 0);
	assert_true(durable_write(m));
}

static void test_state(void **state)
{
	static const struct state_damage lie = { "writeback", 1, 0 };
	struct vrig *m = *state, to;

	vrig_create_twin(&to, m);
	start(m, VRIG_F_FLUSH | VRIG_F_WCE);
	put_writeback(m, 0);
	virtio_pause(m->dev);
	virtio_pause(to.dev);
	check_state_round_trip(m->dev, to.dev);
	check_state_round_trip(&m->host->dev, &to.host->dev);
	vrig_move_to_twin(&to, m);
	virtio_resume(to.dev);
	assert_int_equal(vdrv_device_in(&to.d, 32, 1), 0);
	/* The one disk that both have. */
	assert_int_equal(request(&to, VRIG_OUT, 0, 512), VRIG_OK);
	assert_true(asked(m, 0)->durable);
	device_reset(to.dev);
	assert_int_equal(pci_assign(to.host), 0);
	assert_int_equal(vdrv_device_in(&to.d, 32, 1), 1);
	vrig_destroy(&to);

	/* A choice that no driver could have made. */
	virtio_resume(m->dev);
	start(m, VRIG_F_FLUSH);
	check_state_refused(m->dev, &lie, 1);
	assert_false(durable_write(m));
}

static void test_resize(void **state)
{
	struct vrig *m = *state;
	unsigned generation;

	/* Before there is a driver nobody is told. */
	m->disk.bytes = NULL;
	m->disk.b.size = 5ull << 41;
	assert_int_equal(vdrv_device_in(&m->d, 0, 4), VRIG_SECTORS);
	virtio_blk_resized(m->dev);
	assert_int_equal(vdrv_device_in(&m->d, 4, 4), 5);
	start(m, VRIG_F_FLUSH);
	assert_int_equal(vdrv_isr(&m->d), 0);
	generation = vdrv_common_in(&m->d, 0x15, 1);

	/* What a driver reads in two halves changes when the generation does, not before. */
	m->disk.b.size = 128 * 512;
	assert_int_equal(vdrv_device_in(&m->d, 4, 4), 5);
	assert_int_equal(vdrv_common_in(&m->d, 0x15, 1), generation);
	virtio_blk_resized(m->dev);
	assert_int_equal(vdrv_common_in(&m->d, 0x15, 1), generation + 1);
	assert_int_equal(vdrv_device_in(&m->d, 0, 4), 128);
	assert_int_equal(vdrv_device_in(&m->d, 4, 4), 0);
	assert_int_equal(vrig_take_soon(m, 0), 1);
	assert_int_equal(vdrv_isr(&m->d), 2);
	assert_int_equal(request(m, VRIG_IN, 127, 512), VRIG_OK);
	assert_int_equal(request(m, VRIG_IN, 128, 512), VRIG_IOERR);
}

static uint64_t count(const struct block_stages *s)
{
	struct hist_sum sum = { 0 };

	hist_collect(&sum, &s->stage[BLOCK_STAGE_TOTAL]);
	return sum.count;
}

/* The queues are dealt out to the threads, and each thread keeps an account of its own. */
static void test_threads(void **state)
{
	struct vrig *m = *state;
	const struct virtio_dev *vdev;

	m->cfg.queues = VRIG_QUEUES;
	m->cfg.at.threads = 2;
	for (unsigned i = 0; i < 2; i++) {
		block_stages_init(&m->stages[i], "virtio-blk0", NULL);
		m->cfg.stages[i] = &m->stages[i];
	}
	vrig_create(m);
	vdev = m->vdev;
	assert_ptr_equal(vdev->queues[0].loop, vdev->queues[2].loop);
	assert_ptr_equal(vdev->queues[1].loop, vdev->queues[3].loop);
	assert_ptr_not_equal(vdev->queues[0].loop, vdev->queues[1].loop);
	vrig_start_queues(m, VRIG_F_FLUSH | VRIG_F_MQ | VIRTIO_F_INDIRECT_DESC, VRIG_QUEUES);
	m->disk.hold = true;
	for (unsigned i = 0; i < VRIG_QUEUES; i++) {
		vrig_add(&m->q[i], i, i == 3 ? VRIG_OUT : VRIG_IN, 8 * i, 512 * (1 + i));
		vdrv_kick(&m->q[i]);
	}
	vrig_wait(&m->disk.nr_held, VRIG_QUEUES);
	fake_block_release(&m->disk);
	for (unsigned i = 0; i < VRIG_QUEUES; i++) {
		assert_int_equal(vrig_finish(&m->q[i], i, NULL), VRIG_OK);
		assert_int_equal(vrig_take_soon(m, i + 1), 1);
	}
	m->disk.hold = false;
	assert_int_equal(vrig_request(&m->q[1], VRIG_FLUSH, 0, 0, NULL), VRIG_OK);
	vdrv_set_status(&m->d, 0); /* the account is complete */
	assert_int_equal(count(&m->stages[0]), 2);
	assert_int_equal(count(&m->stages[1]), 3);
}

/* More threads than queues are of no use. */
static void test_idle_threads(void **state)
{
	struct vrig *m = *state;

	m->cfg.queues = 2;
	m->cfg.at.threads = 16;
	vrig_create(m);
	vrig_start_queues(m, VRIG_F_FLUSH | VRIG_F_MQ | VIRTIO_F_INDIRECT_DESC, 2);
	assert_int_equal(request(m, VRIG_IN, 0, 512), VRIG_OK);
}

/* What the back-end has completed is found without a wake. */
static void test_poll_completions(void **state)
{
	struct vrig *m = *state;

	m->cfg.at.poll_ns = 1000000;
	vrig_create(m);
	start(m, VRIG_F_FLUSH | VIRTIO_F_EVENT_IDX);
	m->disk.hold = m->disk.ready = true;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(request(m, VRIG_IN, i, 512), VRIG_OK);
	assert_int_equal(m->disk.nr_held, 0);
}

struct second {
	struct vrig *m;
	unsigned before;
	bool wanted, offered;
};

/* While the thread is awake the guest need not kick, and what it offers is found. */
static void offer_second(void *opaque)
{
	struct second *s = opaque;
	struct vdrv_queue *q = s->m->q;
	uint16_t old;

	if (s->offered || s->m->disk.nr_log == s->before)
		return;
	s->offered = true;
	old = q->avail_idx;
	vdrv_offer(q, 0);
	s->wanted = vdrv_wants_kick(q, old);
}

static void test_no_kicks_while_awake(void **state)
{
	struct vrig *m = *state;
	const uint64_t features[] = { VRIG_F_FLUSH, VRIG_F_FLUSH | VIRTIO_F_EVENT_IDX };

	for (unsigned i = 0; i < 2; i++) {
		struct second s = { .m = m, .before = m->disk.nr_log };

		m->disk.opaque = &s;
		m->disk.on_kick = offer_second;
		start(m, features[i]);
		assert_int_equal(request(m, VRIG_IN, 0, 512), VRIG_OK);
		assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_OK);
		assert_true(s.offered);
		assert_false(s.wanted);
		vdrv_set_status(&m->d, 0);
	}
}

/*
 * What the I/O thread calls on a request's way. Under a sanitizer these are not ours to replace,
 * and the test is left out.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTING false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTING false
#endif
#endif
#ifndef COUNTING
#define COUNTING true
#endif

struct calls {
	atomic_uint allocations, locks;
};

static struct calls calls;
static _Thread_local bool counted;

#if COUNTING
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);

void *malloc(size_t size)
{
	calls.allocations += counted;
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	calls.allocations += counted;
	return __libc_calloc(n, size);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	static int (*next)(pthread_mutex_t *);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_mutex_lock");
	calls.locks += counted;
	return next(mutex);
}
#endif

static void count_me(void *opaque)
{
	(void)opaque;
	counted = true;
}

static void test_nothing_on_the_path(void **state)
{
	struct vrig *m = *state;
	struct calls before;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	void *volatile p;

	m->cfg.stages[0] = &m->stages[0];
	m->cfg.at.poll_ns = 20000;
	block_stages_init(&m->stages[0], "virtio-blk0", NULL);
	vrig_create(m);
	if (!COUNTING)
		skip();
	start(m, VRIG_F_FLUSH | VRIG_F_DISCARD | VRIG_F_ZEROES | VIRTIO_F_EVENT_IDX);
	m->disk.on_submit = count_me; /* marks the thread */
	assert_int_equal(request(m, VRIG_IN, 0, 512), VRIG_OK);
	before = calls;
	put_range(m, 0, 0, 8, 0);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(request(m, i % 2 ? VRIG_IN : VRIG_OUT, i % VRIG_SECTORS, 512),
				 VRIG_OK);
		assert_int_equal(request(m, VRIG_FLUSH, 0, 0), VRIG_OK);
		put_range(m, 0, 0, 8, 0);
		assert_int_equal(request(m, i % 2 ? VRIG_DISCARD : VRIG_ZEROES, 0, 16), VRIG_OK);
	}
	assert_int_equal(calls.allocations, before.allocations);
	assert_int_equal(calls.locks, before.locks);
	/* They would be seen. */
	count_me(NULL);
	p = malloc(1);
	free(p);
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	counted = false;
	assert_int_equal(calls.allocations, before.allocations + 1);
	assert_int_equal(calls.locks, before.locks + 1);
}

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, vrig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_seabios_makes_progress, setup_none),
		T(test_config, setup_none),
		T(test_discard, setup),
		T(test_write_zeroes, setup),
		T(test_many_ranges, setup),
		T(test_writeback, setup),
		T(test_state, setup),
		T(test_resize, setup),
		T(test_threads, setup_none),
		T(test_idle_threads, setup_none),
		T(test_poll_completions, setup_none),
		T(test_no_kicks_while_awake, setup),
		T(test_nothing_on_the_path, setup_none),
	};

	return cmocka_run_group_tests_name("virtio_blk_req", tests, NULL, NULL);
}
