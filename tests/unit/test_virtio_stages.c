/* SPDX-License-Identifier: MIT */
/* A virtio disk's doorbells and the account of its requests, by way of its trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/trace.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/fake_block.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN 0x10
#define RAM (8 * MIB)
#define QSIZE 16
#define RING(n) (0x10000ull + (n)*0x10000)
#define TABLE 0x100000ull
#define HEADER 0x200000ull
#define STATUS 0x201000ull
#define DATA 0x300000ull
#define SECTORS 64
#define WAIT 2000 /* ms; only ever waited for when something is wrong */

#define F_VERSION_1 VIRTIO_F_VERSION_1
#define F_FLUSH (1ull << 9)
#define TOTAL BLOCK_STAGE_TOTAL

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 };

struct fixture {
	struct mem mem;
	struct bus bus;
	struct fake_irq irq;
	struct fake_msi msi;
	struct pci_host *host;
	struct device *dev;
	struct vdrv d;
	struct vdrv_queue q;
	struct trace trace;
	struct block_stages stages;

	struct fake_block disk;
	atomic_bool offer; /* once, from inside a submit */
	atomic_bool offer_late; /* once, when the batch has ended */
};

static void on_submit(void *opaque)
{
	struct fixture *f = opaque;

	if (atomic_exchange(&f->offer, false))
		vdrv_offer(&f->q, 1);
}

static void on_kick(void *opaque)
{
	struct fixture *f = opaque;

	if (atomic_exchange(&f->offer_late, false))
		vdrv_offer(&f->q, 1);
}

static struct loop *loop_of(struct fixture *f)
{
	return virtio_of(f->dev)->queues[0].loop;
}

static void create(struct fixture *f, unsigned queues, bool no_ioeventfd)
{
	struct pci_host_config pc = { .name = "pci", .bus = &f->bus, .msi = &f->msi.ctl };
	struct virtio_blk_config cfg = { .name = "virtio-blk0",
					 .at.devfn = -1,
					 .at.mem = &f->mem,
					 .block = &f->disk.b,
					 .queues = queues,
					 .at.queue_size = QSIZE,
					 .at.no_ioeventfd = no_ioeventfd,
					 .stages = { &f->stages } };

	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		pc.irqs[i] = fake_irq(&f->irq);
	assert_int_equal(pci_host_create(&pc, &f->host), 0);
	cfg.at.pci = f->host;
	assert_int_equal(virtio_blk_create(&cfg, &f->dev), 0);
	assert_int_equal(pci_assign(f->host), 0);
	assert_true(vdrv_probe(&f->d, &f->bus, &f->mem, DEVFN));
}

static int setup_none(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(mem_init(&f->mem, RAM), 0);
	bus_init(&f->bus);
	fake_msi_init(&f->msi);
	fake_block_init(&f->disk, SECTORS * 512);
	f->disk.on_submit = on_submit;
	f->disk.on_kick = on_kick;
	f->disk.opaque = f;
	trace_init(&f->trace, 1024);
	block_stages_init(&f->stages, "virtio-blk0", trace_add_ring(&f->trace, "virtio-blk0"));
	*state = f;
	return 0;
}

static int setup(void **state)
{
	setup_none(state);
	create(*state, 1, false);
	return 0;
}

static int setup_off(void **state)
{
	setup_none(state);
	create(*state, 1, true);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	device_destroy(f->dev);
	device_destroy(&f->host->dev);
	assert_int_equal(f->bus.tables[BUS_PIO].nr_eventfds, 0);
	bus_destroy(&f->bus);
	mem_destroy(&f->mem);
	trace_destroy(&f->trace);
	free(f);
	return 0;
}

struct settle {
	const struct virtio_queue *q;
	bool armed;
	sem_t sem;
};

static void look_whether_armed(void *opaque)
{
	struct settle *s = opaque;

	s->armed = s->q->armed;
	sem_post(&s->sem);
}

/*
 * The I/O thread is done with every kick so far (see test_virtio_blk.c), and the next one
 * is asked for.
 */
static void settle(struct fixture *f)
{
	struct settle s = { .q = &virtio_of(f->dev)->queues[0] };
	struct loop_post post = { .fn = look_whether_armed, .opaque = &s };

	sem_init(&s.sem, 0, 0);
	for (unsigned i = 0; i < 2 || (!s.armed && i < WAIT); i++) {
		loop_post(loop_of(f), &post);
		while (sem_wait(&s.sem)) /* a signal */
			;
	}
	sem_destroy(&s.sem);
}

static void start(struct fixture *f, uint64_t features)
{
	assert_true(vdrv_start(&f->d, features | F_VERSION_1 | VIRTIO_F_INDIRECT_DESC));
	vdrv_msix_enable(&f->d, true);
	for (unsigned i = 0; i < 2; i++)
		vdrv_msix_entry(&f->d, i, 0xfee00000, 0x30 + i);
	vdrv_queue_setup(&f->d, &f->q, 0, QSIZE, RING(0), features & VIRTIO_F_EVENT_IDX);
	vdrv_driver_ok(&f->d);
	assert_int_equal(vdrv_status(&f->d), 0x0f);
	settle(f); /* the first wake is its own */
}

static void add(struct fixture *f, unsigned slot, uint32_t type, uint64_t sector)
{
	const struct vdrv_seg segs[] = { { HEADER + slot * 16, 16, false },
					 { DATA + slot * 512, 512, type != OUT },
					 { STATUS + slot, 1, true } };
	char *h = mem_at(&f->mem, HEADER + slot * 16, 16);

	assert_non_null(h);
	store_le(h, 8, type);
	store_le(h + 8, 8, sector);
	vdrv_add(&f->q, segs, 3, TABLE + slot * 64);
}

static void finish(struct fixture *f)
{
	uint32_t id, len;

	assert_true(vdrv_used(&f->q, &id, &len, WAIT));
}

static void request(struct fixture *f, uint32_t type, uint64_t sector)
{
	add(f, 0, type, sector);
	vdrv_kick(&f->q);
	finish(f);
	settle(f);
}

static uint64_t count(struct fixture *f, unsigned stage)
{
	struct hist_sum sum = { 0 };

	hist_collect(&sum, &f->stages.stage[stage]);
	return sum.count;
}

/* The span of the n-th request (0: the first), or of one of its stages. */
static const struct trace_event *span(struct fixture *f, uint32_t n, const char *name)
{
	const struct trace_ring *r = f->stages.ring;

	assert_true(r->next <= r->size);
	for (uint64_t i = 0; i < r->next; i++)
		if (r->events[i].id == n && !strcmp(r->events[i].name, name))
			return &r->events[i];
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
	struct fixture *f = *state;
	const char *dev, *reg;

	create(f, 3, false);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(regs); i++) {
		assert_true(bus_name(&f->bus, BUS_MMIO, f->d.common.addr + regs[i / 2].offset,
				     i & 1, &dev, &reg));
		assert_string_equal(dev, "virtio-blk0");
		if (regs[i / 2].name)
			assert_string_equal(reg, regs[i / 2].name);
		else
			assert_null(reg);
	}
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = { "notify0", "notify1", "notify2" };

		assert_true(bus_name(&f->bus, BUS_PIO, f->d.notify.addr + 4 * i, true, &dev, &reg));
		assert_string_equal(reg, names[i]);
	}
	/* The BAR is a power of 2. */
	assert_true(bus_name(&f->bus, BUS_PIO, f->d.notify.addr + 12, true, &dev, &reg));
	assert_null(reg);
}

static void test_doorbell_name(void **state)
{
	struct fixture *f = *state;
	const char *dev, *reg;

	assert_true(bus_name(&f->bus, BUS_PIO, f->d.notify.addr, true, &dev, &reg));
	assert_string_equal(reg, "notify");
}

/* Every point of a request's way, in order, between when it was asked for and seen done. */
static void test_stages(void **state)
{
	struct fixture *f = *state;
	uint64_t before, after, at;
	const struct trace_event *e;

	start(f, F_FLUSH);
	before = nap();
	f->disk.hold = true;
	add(f, 0, IN, 5);
	vdrv_kick(&f->q);
	while (!f->disk.nr_held)
		usleep(100);
	at = nap();
	fake_block_release(&f->disk);
	finish(f);
	settle(f);
	after = ticks_now();
	for (unsigned i = 0; i < BLOCK_NR_STAGES; i++)
		assert_int_equal(count(f, i), 1);
	assert_int_equal(counter_get(&f->stages.silent), 0);
	e = span(f, 0, "read");
	assert_non_null(e);
	assert_int_equal(e->addr, 5 * 512);
	assert_true(before < e->begin && e->end < after);
	for (unsigned i = 0; i < TOTAL; i++) {
		const struct trace_event *s = span(f, 0, block_stage_name(i));

		assert_non_null(s);
		assert_int_equal(s->begin, before = i ? before : e->begin);
		before = s->end;
	}
	assert_int_equal(before, e->end);
	/* The host's part is where it was held. */
	e = span(f, 0, "submitted-completed");
	assert_true(e->begin < at && at < e->end);
}

static void test_kinds(void **state)
{
	struct fixture *f = *state;

	start(f, F_FLUSH);
	request(f, OUT, 1);
	request(f, FLUSH, 0);
	assert_int_equal(count(f, BLOCK_SUBMITTED), 2);
	assert_non_null(span(f, 0, "write"));
	assert_non_null(span(f, 1, "flush"));
	/* Answered without the host. */
	request(f, GET_ID, 0);
	request(f, 77, 0);
	request(f, IN, ~0ull);
	assert_int_equal(count(f, BLOCK_SUBMITTED), 2);
	assert_int_equal(count(f, BLOCK_COMPLETED), 2);
	assert_non_null(span(f, 2, "get-id"));
	assert_non_null(span(f, 3, "unsupported"));
	assert_non_null(span(f, 4, "read"));
	/* Refused by the back-end's interface. */
	request(f, IN, SECTORS);
	assert_int_equal(count(f, BLOCK_SUBMITTED), 3);
	assert_int_equal(count(f, BLOCK_KICKED), 6);
	assert_int_equal(count(f, TOTAL), 6);
}

static void test_no_interrupt(void **state)
{
	struct fixture *f = *state;
	uint16_t *flags = mem_at(&f->mem, RING(0) + 16 * QSIZE, 2);

	start(f, F_FLUSH);
	*flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
	request(f, IN, 0);
	assert_int_equal(counter_get(&f->stages.silent), 1);
	assert_int_equal(count(f, BLOCK_USED), 0);
	assert_int_equal(count(f, TOTAL), 1);
	*flags = 0;
	request(f, IN, 0);
	assert_int_equal(counter_get(&f->stages.silent), 1);
	assert_int_equal(count(f, BLOCK_USED), 1);
}

/* One interrupt tells of all, and all of it are told at one time. */
static void test_batch(void **state)
{
	struct fixture *f = *state;

	start(f, F_FLUSH);
	for (unsigned i = 0; i < 5; i++)
		add(f, i, IN, i);
	vdrv_kick(&f->q);
	for (unsigned i = 0; i < 5; i++)
		finish(f);
	settle(f);
	assert_int_equal(count(f, TOTAL), 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(span(f, i, "read")->addr, i * 512);
		assert_int_equal(span(f, i, "read")->begin, span(f, 0, "read")->begin);
		assert_int_equal(span(f, i, "read")->end, span(f, 0, "read")->end);
		if (i)
			assert_true(span(f, i, "kick-popped")->end >
				    span(f, i - 1, "kick-popped")->end);
	}
}

/* What comes while the disk looks anyhow was not kicked for. */
static void test_found_without_kick(void **state)
{
	struct fixture *f = *state;

	start(f, F_FLUSH);
	add(f, 0, IN, 0);
	add(f, 1, IN, 1); /* descriptor 1, which is offered once more then */
	f->offer = true;
	f->offer_late = true;
	vdrv_kick(&f->q);
	for (unsigned i = 0; i < 4; i++)
		finish(f);
	settle(f);
	assert_int_equal(count(f, TOTAL), 4);
	assert_int_equal(count(f, BLOCK_KICKED), 2);
	for (unsigned i = 2; i < 4; i++) {
		assert_null(span(f, i, "kick-popped"));
		assert_non_null(span(f, i, "popped-submitted"));
	}
	/* Nor what is there when the disk wakes itself. */
	add(f, 0, IN, 0);
	virtio_queue_kick(&virtio_of(f->dev)->queues[0]);
	finish(f);
	settle(f);
	assert_int_equal(count(f, TOTAL), 5);
	assert_int_equal(count(f, BLOCK_KICKED), 2);
}

/* A guest that offers more than its ring holds uses up no more than there is. */
static void test_more_than_a_ring(void **state)
{
	struct fixture *f = *state;

	start(f, F_FLUSH);
	f->disk.hold = true;
	for (unsigned i = 0; i < QSIZE - 1; i++)
		add(f, i % 4, IN, 0);
	vdrv_kick(&f->q);
	while (f->disk.nr_held < QSIZE - 1)
		usleep(100);
	for (unsigned i = 0; i < QSIZE; i++) /* in descriptors that are in use */
		add(f, 4, 99, 0);
	vdrv_kick(&f->q);
	for (unsigned i = 0; i < QSIZE; i++)
		finish(f);
	settle(f);
	assert_int_equal(count(f, TOTAL), QSIZE);
	fake_block_release(&f->disk);
	for (unsigned i = 0; i < QSIZE - 1; i++)
		finish(f);
	settle(f);
	assert_int_equal(count(f, TOTAL), 2 * QSIZE - 1);
	assert_int_equal(count(f, BLOCK_SUBMITTED), QSIZE - 1);
	assert_int_equal(vdrv_status(&f->d), 0x0f);
}

/* A request without room for an answer breaks the queue, and is counted. */
static void test_malformed(void **state)
{
	const struct vdrv_seg seg = { HEADER, 16, false };
	struct fixture *f = *state;

	start(f, F_FLUSH);
	vdrv_add(&f->q, &seg, 1, 0);
	vdrv_kick(&f->q);
	finish(f);
	settle(f);
	assert_int_equal(vdrv_status(&f->d), 0x4f);
	assert_int_equal(count(f, TOTAL), 1);
	assert_non_null(span(f, 0, "malformed"));
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
static void kick_a_busy_thread(struct fixture *f, uint64_t *rung_from, uint64_t *rung_to)
{
	struct stall stall;
	struct loop_post post = { .fn = stall_fn, .opaque = &stall };

	settle(f);
	sem_init(&stall.stalled, 0, 0);
	sem_init(&stall.go, 0, 0);
	loop_post(loop_of(f), &post);
	while (sem_wait(&stall.stalled)) /* a signal */
		;
	add(f, 0, IN, 0);
	*rung_from = nap();
	vdrv_kick(&f->q);
	*rung_to = nap();
	vdrv_kick(&f->q); /* the first counts */
	(void)nap();
	sem_post(&stall.go);
	finish(f);
	settle(f);
	sem_destroy(&stall.stalled);
	sem_destroy(&stall.go);
}

static void test_kick_by_eventfd(void **state)
{
	struct fixture *f = *state;
	uint64_t from, to;

	start(f, F_FLUSH);
	assert_int_equal(f->bus.tables[BUS_PIO].nr_eventfds, 1);
	kick_a_busy_thread(f, &from, &to);
	/* It is known from when the thread has learned of it. */
	assert_true(span(f, 0, "read")->begin > to);
	assert_int_equal(count(f, BLOCK_KICKED), 1);
	assert_int_equal(f->bus.eventfds_fired, 2);
	assert_int_equal(virtio_kicks(virtio_of(f->dev)), 2);
}

static void test_kick_by_handler(void **state)
{
	struct fixture *f = *state;
	uint64_t from, to;

	start(f, F_FLUSH);
	assert_int_equal(f->bus.tables[BUS_PIO].nr_eventfds, 0);
	kick_a_busy_thread(f, &from, &to);
	assert_in_range(span(f, 0, "read")->begin, from, to);
	assert_int_equal(count(f, BLOCK_KICKED), 1);
	/* Once served, a kick is served. */
	from = ticks_now();
	request(f, IN, 1);
	assert_true(span(f, 1, "read")->begin > from);
	assert_int_equal(f->bus.eventfds_fired, 0);
	assert_int_equal(virtio_kicks(virtio_of(f->dev)), 0);
	settle(f);
	/* Nor does one outlive a reset. */
	virtio_pause(f->dev);
	vdrv_kick(&f->q);
	vdrv_set_status(&f->d, 0);
	virtio_resume(f->dev);
	assert_true(vdrv_start(&f->d, F_VERSION_1 | VIRTIO_F_INDIRECT_DESC));
	vdrv_queue_setup(&f->d, &f->q, 0, QSIZE, RING(0), false);
	add(f, 0, IN, 2);
	vdrv_driver_ok(&f->d);
	finish(f);
	settle(f);
	assert_non_null(span(f, 2, "read"));
	assert_null(span(f, 2, "kick-popped"));
}

static void test_kicks_are_counted(void **state)
{
	struct fixture *f = *state;
	const struct virtio_dev *vdev = virtio_of(f->dev);

	assert_int_equal(virtio_kicks(vdev), 0);
	start(f, F_FLUSH);
	assert_int_equal(virtio_kicks(vdev), 0);
	for (unsigned i = 1; i <= 20; i++) {
		request(f, IN, i);
		assert_int_equal(virtio_kicks(vdev), i);
		assert_int_equal(virtio_kicks(vdev), i);
	}
	/* By the handler, of another width; and our own. */
	outl(&f->bus, f->q.doorbell, 0);
	virtio_queue_kick(&vdev->queues[0]);
	settle(f);
	assert_int_equal(virtio_kicks(vdev), 20);
	/* Also those that nobody has served yet. */
	virtio_pause(f->dev);
	vdrv_kick(&f->q);
	assert_int_equal(virtio_kicks(vdev), 21);
	virtio_resume(f->dev);
	vdrv_set_status(&f->d, 0);
	assert_int_equal(virtio_kicks(vdev), 21);
	start(f, F_FLUSH);
	request(f, IN, 0);
	assert_int_equal(virtio_kicks(vdev), 22);
	assert_int_equal(f->bus.eventfds_fired, 22);
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
	struct fixture *f = *state;
	struct reader r[2];
	pthread_t threads[2];
	uint32_t id, len;

	start(f, F_FLUSH);
	for (unsigned i = 0; i < 2; i++) {
		r[i] = (struct reader){ .vdev = virtio_of(f->dev) };
		assert_int_equal(pthread_create(&threads[i], NULL, read_kicks, &r[i]), 0);
	}
	for (unsigned i = 0; i < 2000; i++) {
		add(f, 0, 99, 0);
		vdrv_kick(&f->q);
		while (!vdrv_used(&f->q, &id, &len, 0))
			;
	}
	for (unsigned i = 0; i < 2; i++) {
		r[i].stop = true;
		pthread_join(threads[i], NULL);
		assert_false(r[i].fell);
	}
	assert_int_equal(virtio_kicks(r[0].vdev), 2000);
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
		T(test_kick_by_handler, setup_off),
		T(test_kicks_are_counted, setup),
		T(test_counting_loses_no_kick, setup),
	};

	return cmocka_run_group_tests_name("virtio_stages", tests, NULL, NULL);
}
