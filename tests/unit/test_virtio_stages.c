/* SPDX-License-Identifier: MIT */
/* A virtio disk's doorbells and the account of its requests, by way of its trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/trace.h"
#include "tests/unit/virtio_rig.h"

#define TOTAL BLOCK_STAGE_TOTAL

struct fixture {
	struct vrig m; /* first: most tests need nothing else */
	struct trace trace;
	atomic_bool offer; /* once, from inside a submit */
	atomic_bool offer_late; /* once, when the batch has ended */
};

static void on_submit(void *opaque)
{
	struct fixture *f = opaque;

	if (atomic_exchange(&f->offer, false))
		vdrv_offer(f->m.q, 1);
}

static void on_kick(void *opaque)
{
	struct fixture *f = opaque;

	if (atomic_exchange(&f->offer_late, false))
		vdrv_offer(f->m.q, 1);
}

static int setup_none(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vrig *m = &f->m;

	vrig_init(m);
	m->disk.on_submit = on_submit;
	m->disk.on_kick = on_kick;
	m->disk.opaque = f;
	trace_init(&f->trace, 1024);
	block_stages_init(m->stages, "virtio-blk0", trace_add_ring(&f->trace, "virtio-blk0"));
	m->cfg.stages[0] = m->stages;
	*state = f;
	return 0;
}

static int setup(void **state)
{
	setup_none(state);
	vrig_create(*state);
	return 0;
}

static int setup_exits(void **state)
{
	struct vrig *m;

	setup_none(state);
	m = *state;
	m->cfg.at.no_ioeventfd = true;
	vrig_create(m);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vrig_fini(&f->m);
	trace_destroy(&f->trace);
	free(f);
	return 0;
}

/* A request is one descriptor of the ring; the first wake is the disk's own. */
static void start(struct vrig *m)
{
	vrig_start(m, VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC);
	vrig_settle(m);
}

static void add(struct vrig *m, unsigned slot, uint32_t type, uint64_t sector)
{
	vrig_add(m->q, slot, type, sector, 512);
}

static void request(struct vrig *m, uint32_t type, uint64_t sector)
{
	(void)vrig_request(m->q, type, sector, 512, NULL);
	vrig_settle(m);
}

static uint64_t count(struct vrig *m, unsigned stage)
{
	struct hist_sum sum = { 0 };

	hist_collect(&sum, &m->stages->stage[stage]);
	return sum.count;
}

/* The span of the n-th request (0: the first), or of one of its stages. */
static const struct trace_event *span(struct vrig *m, uint32_t n, const char *name)
{
	const struct trace_ring *ring = m->stages->ring;

	assert_true(ring->next <= ring->size);
	for (uint64_t i = 0; i < ring->next; i++)
		if (ring->events[i].id == n && !strcmp(ring->events[i].name, name))
			return &ring->events[i];
	return NULL;
}

/* Ticks that a request can tell from the next. */
static uint64_t nap(void)
{
	usleep(2000);
	return ticks_now();
}

static void test_names(void **state)
{
	static const struct {
		unsigned offset;
		const char *name;
	} regs[] = {
		{ 0x00, "common.device-feature-select" },
		{ 0x04, "common.device-feature" },
		{ 0x0c, "common.driver-feature" },
		{ 0x10, "common.config-msix-vector" },
		{ 0x12, "common.num-queues" },
		{ 0x14, "common.status" },
		{ 0x16, "common.queue-select" },
		{ 0x17, "common.queue-select" },
		{ 0x24, "common.queue-desc-high" },
		{ 0x30, "common.queue-device-low" },
		{ 0x38, NULL },
		{ 0x40, "isr" },
		{ 0x50, NULL },
		{ 0x100, "config" },
		{ 0x800, "msix" },
		{ 0xc00, "msix-pba" },
	};
	struct vrig *m = *state;
	const char *dev, *reg;

	m->cfg.queues = 3;
	vrig_create(m);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(regs); i++) {
		assert_true(bus_name(&m->bus, BUS_MMIO, m->d.common.addr + regs[i / 2].offset,
				     i & 1, &dev, &reg));
		assert_string_equal(dev, "virtio-blk0");
		if (regs[i / 2].name)
			assert_string_equal(reg, regs[i / 2].name);
		else
			assert_null(reg);
	}
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = { "notify0", "notify1", "notify2" };

		assert_true(bus_name(&m->bus, BUS_PIO, m->d.notify.addr + 4 * i, true, &dev, &reg));
		assert_string_equal(reg, names[i]);
	}
	/* The BAR is a power of 2. */
	assert_true(bus_name(&m->bus, BUS_PIO, m->d.notify.addr + 12, true, &dev, &reg));
	assert_null(reg);
}

static void test_doorbell_name(void **state)
{
	struct vrig *m = *state;
	const char *dev, *reg;

	assert_true(bus_name(&m->bus, BUS_PIO, m->d.notify.addr, true, &dev, &reg));
	assert_string_equal(reg, "notify");
}

/* Every point of a request's way, in order, between when it was asked for and seen done. */
static void test_stages(void **state)
{
	struct vrig *m = *state;
	uint64_t before, after, at;
	const struct trace_event *e;

	start(m);
	before = nap();
	m->disk.hold = true;
	add(m, 0, VRIG_IN, 5);
	vdrv_kick(m->q);
	vrig_wait(&m->disk.nr_held, 1);
	at = nap();
	fake_block_release(&m->disk);
	(void)vrig_used(m->q);
	vrig_settle(m);
	after = ticks_now();
	for (unsigned i = 0; i < BLOCK_NR_STAGES; i++)
		assert_int_equal(count(m, i), 1);
	assert_int_equal(counter_get(&m->stages->silent), 0);
	e = span(m, 0, "read");
	assert_non_null(e);
	assert_int_equal(e->addr, 5 * 512);
	assert_true(before < e->begin && e->end < after);
	for (unsigned i = 0; i < TOTAL; i++) {
		const struct trace_event *s = span(m, 0, block_stage_name(i));

		assert_non_null(s);
		assert_int_equal(s->begin, before = i ? before : e->begin);
		before = s->end;
	}
	assert_int_equal(before, e->end);
	/* The host's part is where it was held. */
	e = span(m, 0, "submitted-completed");
	assert_true(e->begin < at && at < e->end);
}

static void test_kinds(void **state)
{
	struct vrig *m = *state;

	start(m);
	request(m, VRIG_OUT, 1);
	request(m, VRIG_FLUSH, 0);
	assert_int_equal(count(m, BLOCK_SUBMITTED), 2);
	assert_non_null(span(m, 0, "write"));
	assert_non_null(span(m, 1, "flush"));
	/* Answered without the host. */
	request(m, VRIG_GET_ID, 0);
	request(m, 77, 0);
	request(m, VRIG_IN, ~0ull);
	assert_int_equal(count(m, BLOCK_SUBMITTED), 2);
	assert_int_equal(count(m, BLOCK_COMPLETED), 2);
	assert_non_null(span(m, 2, "get-id"));
	assert_non_null(span(m, 3, "unsupported"));
	assert_non_null(span(m, 4, "read"));
	/* Refused by the back-end's interface. */
	request(m, VRIG_IN, VRIG_SECTORS);
	assert_int_equal(count(m, BLOCK_SUBMITTED), 3);
	assert_int_equal(count(m, BLOCK_KICKED), 6);
	assert_int_equal(count(m, TOTAL), 6);
}

static void test_no_interrupt(void **state)
{
	struct vrig *m = *state;
	uint16_t *flags = vrig_at(m, VRIG_RING(0) + 16 * VRIG_QSIZE);

	start(m);
	*flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
	request(m, VRIG_IN, 0);
	assert_int_equal(counter_get(&m->stages->silent), 1);
	assert_int_equal(count(m, BLOCK_USED), 0);
	assert_int_equal(count(m, TOTAL), 1);
	*flags = 0;
	request(m, VRIG_IN, 0);
	assert_int_equal(counter_get(&m->stages->silent), 1);
	assert_int_equal(count(m, BLOCK_USED), 1);
}

/* One interrupt tells of all, and all of it are told at one time. */
static void test_batch(void **state)
{
	struct vrig *m = *state;

	start(m);
	for (unsigned i = 0; i < 5; i++)
		add(m, i, VRIG_IN, i);
	vdrv_kick(m->q);
	for (unsigned i = 0; i < 5; i++)
		(void)vrig_used(m->q);
	vrig_settle(m);
	assert_int_equal(count(m, TOTAL), 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(span(m, i, "read")->addr, i * 512);
		assert_int_equal(span(m, i, "read")->begin, span(m, 0, "read")->begin);
		assert_int_equal(span(m, i, "read")->end, span(m, 0, "read")->end);
		if (i)
			assert_true(span(m, i, "kick-popped")->end >
				    span(m, i - 1, "kick-popped")->end);
	}
}

/* The I/O thread has looked for the last time before it sleeps: what comes has to wake it. */
static void settle_asleep(struct vrig *m)
{
	vrig_settle(m);
	usleep(20000);
}

/* What comes while the disk looks anyhow was not kicked for. */
static void test_found_without_kick(void **state)
{
	struct fixture *f = *state;
	struct vrig *m = &f->m;

	start(m);
	settle_asleep(m);
	add(m, 0, VRIG_IN, 0);
	add(m, 1, VRIG_IN, 1); /* descriptor 1, which is offered once more then */
	f->offer = true;
	f->offer_late = true;
	vdrv_kick(m->q);
	for (unsigned i = 0; i < 4; i++)
		(void)vrig_used(m->q);
	settle_asleep(m);
	assert_int_equal(count(m, TOTAL), 4);
	assert_int_equal(count(m, BLOCK_KICKED), 2);
	for (unsigned i = 2; i < 4; i++) {
		assert_null(span(m, i, "kick-popped"));
		assert_non_null(span(m, i, "popped-submitted"));
	}
	/* Nor what is there when the disk wakes itself. */
	add(m, 0, VRIG_IN, 0);
	virtio_queue_kick(&m->vdev->queues[0]);
	(void)vrig_used(m->q);
	vrig_settle(m);
	assert_int_equal(count(m, TOTAL), 5);
	assert_int_equal(count(m, BLOCK_KICKED), 2);
}

/* A guest that offers more than its ring holds uses up no more than there is. */
static void test_more_than_a_ring(void **state)
{
	struct vrig *m = *state;

	start(m);
	m->disk.hold = true;
	for (unsigned i = 0; i < VRIG_QSIZE - 1; i++)
		add(m, i % 4, VRIG_IN, 0);
	vdrv_kick(m->q);
	vrig_wait(&m->disk.nr_held, VRIG_QSIZE - 1);
	for (unsigned i = 0; i < VRIG_QSIZE; i++) /* in descriptors that are in use */
		add(m, 4, 99, 0);
	vdrv_kick(m->q);
	for (unsigned i = 0; i < VRIG_QSIZE; i++)
		(void)vrig_used(m->q);
	vrig_settle(m);
	assert_int_equal(count(m, TOTAL), VRIG_QSIZE);
	fake_block_release(&m->disk);
	for (unsigned i = 0; i < VRIG_QSIZE - 1; i++)
		(void)vrig_used(m->q);
	vrig_settle(m);
	assert_int_equal(count(m, TOTAL), 2 * VRIG_QSIZE - 1);
	assert_int_equal(count(m, BLOCK_SUBMITTED), VRIG_QSIZE - 1);
	assert_int_equal(vdrv_status(&m->d), 0x0f);
}

/* A request without room for an answer breaks the queue, and is counted. */
static void test_malformed(void **state)
{
	const struct vdrv_seg seg = { VRIG_HEADER(0), 16, false };
	struct vrig *m = *state;

	start(m);
	vdrv_add(m->q, &seg, 1, 0);
	vdrv_kick(m->q);
	(void)vrig_used(m->q);
	vrig_settle(m);
	assert_int_equal(vdrv_status(&m->d), 0x4f);
	assert_int_equal(count(m, TOTAL), 1);
	assert_non_null(span(m, 0, "malformed"));
}

struct stall {
	sem_t stalled;
	sem_t go;
};

static void stall_fn(void *opaque)
{
	struct stall *s = opaque;

	sem_post(&s->stalled);
	while (sem_wait(&s->go)) /* a signal */
		;
}

/*
 * Kicks while the I/O thread is busy with something else; between *rung_from and
 * *rung_to the guest rings, then some time goes by.
 */
static void kick_a_busy_thread(struct vrig *m, uint64_t *rung_from, uint64_t *rung_to)
{
	struct stall stall;
	struct loop_post post = { .fn = stall_fn, .opaque = &stall };

	vrig_settle(m);
	sem_init(&stall.stalled, 0, 0);
	sem_init(&stall.go, 0, 0);
	loop_post(m->vdev->queues[0].loop, &post);
	while (sem_wait(&stall.stalled)) /* a signal */
		;
	add(m, 0, VRIG_IN, 0);
	*rung_from = nap();
	vdrv_kick(m->q);
	*rung_to = nap();
	vdrv_kick(m->q); /* the first counts */
	(void)nap();
	sem_post(&stall.go);
	(void)vrig_used(m->q);
	vrig_settle(m);
	sem_destroy(&stall.stalled);
	sem_destroy(&stall.go);
}

static void test_kick_by_eventfd(void **state)
{
	struct vrig *m = *state;
	uint64_t from, to;

	start(m);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 1);
	kick_a_busy_thread(m, &from, &to);
	/* It is known from when the thread has learned of it. */
	assert_true(span(m, 0, "read")->begin > to);
	assert_int_equal(count(m, BLOCK_KICKED), 1);
	assert_int_equal(m->bus.eventfds_fired, 2);
	assert_int_equal(virtio_kicks(m->vdev), 2);
}

static void test_kick_by_handler(void **state)
{
	struct vrig *m = *state;
	uint64_t from, to;

	start(m);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 0);
	kick_a_busy_thread(m, &from, &to);
	assert_in_range(span(m, 0, "read")->begin, from, to);
	assert_int_equal(count(m, BLOCK_KICKED), 1);
	/* Once served, a kick is served. */
	from = ticks_now();
	request(m, VRIG_IN, 1);
	assert_true(span(m, 1, "read")->begin > from);
	assert_int_equal(m->bus.eventfds_fired, 0);
	assert_int_equal(virtio_kicks(m->vdev), 0);
	vrig_settle(m);
	/* Nor does one outlive a reset. */
	virtio_pause(m->dev);
	vdrv_kick(m->q);
	vdrv_set_status(&m->d, 0);
	virtio_resume(m->dev);
	assert_true(vdrv_start(&m->d, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC));
	vdrv_queue_setup(&m->d, m->q, 0, VRIG_QSIZE, VRIG_RING(0), false);
	add(m, 0, VRIG_IN, 2);
	vdrv_driver_ok(&m->d);
	(void)vrig_used(m->q);
	vrig_settle(m);
	assert_non_null(span(m, 2, "read"));
	assert_null(span(m, 2, "kick-popped"));
}

static void test_kicks_are_counted(void **state)
{
	struct vrig *m = *state;
	const struct virtio_dev *vdev = m->vdev;

	assert_int_equal(virtio_kicks(vdev), 0);
	start(m);
	assert_int_equal(virtio_kicks(vdev), 0);
	for (unsigned i = 1; i <= 20; i++) {
		request(m, VRIG_IN, i);
		assert_int_equal(virtio_kicks(vdev), i);
		assert_int_equal(virtio_kicks(vdev), i);
	}
	/* By the handler, of another width; and our own. */
	outl(&m->bus, m->q->doorbell, 0);
	virtio_queue_kick(&vdev->queues[0]);
	vrig_settle(m);
	assert_int_equal(virtio_kicks(vdev), 20);
	/* Also those that nobody has served yet. */
	virtio_pause(m->dev);
	vdrv_kick(m->q);
	assert_int_equal(virtio_kicks(vdev), 21);
	virtio_resume(m->dev);
	vdrv_set_status(&m->d, 0);
	assert_int_equal(virtio_kicks(vdev), 21);
	start(m);
	request(m, VRIG_IN, 0);
	assert_int_equal(virtio_kicks(vdev), 22);
	assert_int_equal(m->bus.eventfds_fired, 22);
}

struct reader {
	const struct virtio_dev *vdev;
	atomic_bool stop;
	uint64_t last;
	bool fell;
};

static void *read_kicks(void *opaque)
{
	struct reader *r = opaque;

	while (!r->stop) {
		uint64_t n = virtio_kicks(r->vdev);

		r->fell |= n < r->last;
		r->last = n;
	}
	return NULL;
}

/* Those who count take no wake from the I/O thread, and never see less than before. */
static void test_counting_loses_no_kick(void **state)
{
	struct vrig *m = *state;
	struct reader readers[2];
	pthread_t threads[2];
	uint32_t id, len;

	start(m);
	for (unsigned i = 0; i < 2; i++) {
		readers[i] = (struct reader){ .vdev = m->vdev };
		assert_int_equal(pthread_create(&threads[i], NULL, read_kicks, &readers[i]), 0);
	}
	for (unsigned i = 0; i < 2000; i++) {
		add(m, 0, 99, 0);
		vdrv_kick(m->q);
		while (!vdrv_used(m->q, &id, &len, 0))
			;
	}
	for (unsigned i = 0; i < 2; i++) {
		readers[i].stop = true;
		pthread_join(threads[i], NULL);
		assert_false(readers[i].fell);
	}
	assert_int_equal(virtio_kicks(readers[0].vdev), 2000);
}

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_names, setup_none),
		T(test_doorbell_name, setup),
		T(test_stages, setup),
		T(test_kinds, setup),
		T(test_no_interrupt, setup),
		T(test_batch, setup),
		T(test_found_without_kick, setup),
		T(test_more_than_a_ring, setup),
		T(test_malformed, setup),
		T(test_kick_by_eventfd, setup),
		T(test_kick_by_handler, setup_exits),
		T(test_kicks_are_counted, setup),
		T(test_counting_loses_no_kick, setup),
	};

	return cmocka_run_group_tests_name("virtio_stages", tests, NULL, NULL);
}
