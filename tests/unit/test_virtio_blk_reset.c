/* SPDX-License-Identifier: MIT */
/* A virtio disk is reset, paused or destroyed while its requests are in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/virtio_rig.h"

struct resetter {
	struct vrig *m;
	void (*fn)(struct vrig *m);
	atomic_bool done;
	pthread_t thread;
};

static void *resetter_main(void *opaque)
{
	struct resetter *r = opaque;

	r->fn(r->m);
	r->done = true;
	return NULL;
}

static void by_status(struct vrig *m)
{
	vdrv_set_status(&m->d, 0);
}

static void by_machine(struct vrig *m)
{
	device_reset(m->dev);
}

static void by_pause(struct vrig *m)
{
	virtio_pause(m->dev);
}

/* It waits for what is in flight, and nothing is touched afterwards. */
static void check_drains(struct vrig *m, void (*fn)(struct vrig *m))
{
	struct resetter r = { .m = m, .fn = fn };
	uint32_t id, len;

	m->disk.hold = true;
	for (unsigned i = 0; i < 3; i++)
		vrig_add(m->q, i, VRIG_IN, i, 512);
	vdrv_kick(m->q);
	vrig_wait(&m->disk.nr_held, 3);
	assert_int_equal(pthread_create(&r.thread, NULL, resetter_main, &r), 0);
	usleep(30000);
	assert_false(r.done);
	/* What comes during the drain is left alone. */
	vrig_add(m->q, 3, VRIG_IN, 3, 512);
	virtio_queue_kick(&m->vdev->queues[0]);
	usleep(10000);
	assert_int_equal(m->disk.nr_held, 3);
	fake_block_release(&m->disk);
	pthread_join(r.thread, NULL);
	assert_true(r.done);
	m->disk.hold = false;
	for (unsigned i = 0; i < 3; i++)
		assert_true(vdrv_used(m->q, &id, &len, 0));
	assert_false(vdrv_used(m->q, &id, &len, 0));
}

static void test_reset_in_flight(void **state)
{
	struct vrig *m = *state;

	vrig_start(m, VRIG_F_FLUSH);
	check_drains(m, by_status);
	assert_int_equal(vdrv_status(&m->d), 0);
	vdrv_kick(m->q);
	vrig_check_none_used(m->q, 20);

	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	check_drains(m, by_machine);
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2), 0);
	assert_int_equal(pci_assign(m->host), 0);
	vrig_probe(m);
	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);

	check_drains(m, by_pause);
	vrig_check_none_used(m->q, 20);
	virtio_resume(m->dev); /* the request that came meanwhile */
	(void)vrig_used(m->q);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
}

static void test_destroy_in_flight(void **state)
{
	struct vrig *m = *state;

	vrig_start(m, VRIG_F_FLUSH);
	m->disk.hold = true;
	vrig_add(m->q, 0, VRIG_IN, 0, 512);
	vdrv_kick(m->q);
	vrig_wait(&m->disk.nr_held, 1);
	fake_block_release(&m->disk);
	vrig_destroy(m);
	assert_int_equal(m->disk.nr_held, 0);
}

struct flooder {
	struct vrig *m;
	atomic_bool stop;
};

/* A guest that refills the ring for ever, without waiting for anything. */
static void *flood(void *opaque)
{
	struct flooder *fl = opaque;
	struct vdrv_queue *q = fl->m->q;
	const uint16_t *used = mem_at_const(&fl->m->mem, q->used + 2, sizeof(*used));

	while (!fl->stop) {
		if ((uint16_t)(q->avail_idx - __atomic_load_n(used, __ATOMIC_ACQUIRE)) >=
		    VRIG_QSIZE)
			continue;
		vdrv_offer(q, 0);
		vdrv_kick(q);
	}
	return NULL;
}

static void test_reset_under_flood(void **state)
{
	struct vrig *m = *state;
	struct flooder fl = { .m = m };
	pthread_t thread;

	for (unsigned i = 0; i < 5; i++) {
		vrig_start(m, VRIG_F_FLUSH | (i & 1 ? VIRTIO_F_EVENT_IDX : 0));
		/* Fills in descriptors 0 to 2. */
		assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
		fl.stop = false;
		assert_int_equal(pthread_create(&thread, NULL, flood, &fl), 0);
		usleep(20000);
		vdrv_set_status(&m->d, 0);
		assert_int_equal(vdrv_status(&m->d), 0);
		fl.stop = true;
		pthread_join(thread, NULL);
	}
}

static void refill(void *opaque)
{
	vdrv_offer(opaque, 0);
}

/* However fast it is: here the ring is never empty when the device looks. */
static void test_reset_of_endless_ring(void **state)
{
	struct vrig *m = *state;

	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	vrig_settle(m);
	m->disk.opaque = m->q;
	m->disk.on_submit = refill;
	vdrv_offer(m->q, 0);
	vdrv_kick(m->q);
	for (unsigned i = 0; i < VRIG_WAIT && m->disk.nr_log < 1000; i++)
		usleep(1000);
	assert_true(m->disk.nr_log >= 1000);
	alarm(20);
	vdrv_set_status(&m->d, 0);
	alarm(0);
	assert_int_equal(vdrv_status(&m->d), 0);
}

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, vrig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_reset_in_flight, vrig_setup),
		T(test_destroy_in_flight, vrig_setup),
		T(test_reset_under_flood, vrig_setup_image),
		T(test_reset_of_endless_ring, vrig_setup),
	};

	return cmocka_run_group_tests_name("virtio_blk_reset", tests, NULL, NULL);
}
