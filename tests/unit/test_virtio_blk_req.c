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
#include <time.h>
#include <unistd.h>

#include "base/state.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/fake_block.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN 0x10
#define RAM (8 * MIB)
#define QSIZE 16
#define QUEUES 4
#define RING(n) (0x10000ull + (n)*0x10000)
#define TABLE 0x100000ull
#define HEADER 0x200000ull
#define STATUS 0x201000ull
#define DATA 0x300000ull
#define SECTORS 64
#define SIZE_MAX_BYTES 33525760 /* as SeaBIOS needs it: test_seabios_makes_progress() */
#define WAIT 2000 /* ms; only ever waited for when something is wrong */

#define F_FLUSH (1ull << 9)
#define F_WCE (1ull << 11)
#define F_MQ (1ull << 12)
#define F_DISCARD (1ull << 13)
#define F_ZEROES (1ull << 14)

enum { IN = 0, OUT = 1, FLUSH = 4, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP, NO_ANSWER };

struct fixture {
	struct mem mem;
	struct bus bus;
	struct fake_irq irq;
	struct fake_msi msi;
	struct pci_host *host;
	struct device *dev;
	struct vdrv d;
	struct vdrv_queue q[QUEUES];
	struct block_stages stages[QUEUES];
	struct fake_block disk;
	uint8_t bytes[SECTORS * 512];
	struct virtio_blk_config cfg;
};

static void create(struct fixture *f)
{
	struct pci_host_config pc = { .name = "pci", .bus = &f->bus, .msi = &f->msi.ctl };

	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		pc.irqs[i] = fake_irq(&f->irq);
	bus_init(&f->bus);
	fake_msi_init(&f->msi);
	assert_int_equal(pci_host_create(&pc, &f->host), 0);
	f->cfg.at.pci = f->host;
	assert_int_equal(virtio_blk_create(&f->cfg, &f->dev), 0);
	assert_int_equal(pci_assign(f->host), 0);
	assert_true(vdrv_probe(&f->d, &f->bus, &f->mem, DEVFN));
}

static void destroy(struct fixture *f)
{
	device_destroy(f->dev);
	device_destroy(&f->host->dev);
	bus_destroy(&f->bus);
	assert_null(f->disk.queues);
}

static int setup_none(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(mem_init(&f->mem, RAM), 0);
	fake_block_init(&f->disk, sizeof(f->bytes));
	f->disk.bytes = f->bytes;
	f->disk.b.limits.discard_align = 4096;
	memset(f->bytes, 0x5a, sizeof(f->bytes));
	f->cfg = (struct virtio_blk_config){ .name = "virtio-blk0",
					     .at.devfn = -1,
					     .at.mem = &f->mem,
					     .block = &f->disk.b,
					     .at.queue_size = QSIZE };
	*state = f;
	return 0;
}

static int setup(void **state)
{
	setup_none(state);
	create(*state);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	destroy(f);
	mem_destroy(&f->mem);
	free(f);
	return 0;
}

static void start(struct fixture *f, uint64_t features, unsigned queues)
{
	assert_true(vdrv_start(&f->d, features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC));
	vdrv_msix_enable(&f->d, true);
	for (unsigned i = 0; i <= queues; i++)
		vdrv_msix_entry(&f->d, i, 0xfee00000, 0x30 + i);
	vdrv_common_out(&f->d, 0x10, 2, 0);
	for (unsigned i = 0; i < queues; i++)
		vdrv_queue_setup(&f->d, &f->q[i], i, QSIZE, RING(i), features & VIRTIO_F_EVENT_IDX);
	vdrv_driver_ok(&f->d);
	assert_int_equal(vdrv_status(&f->d), 0x0f);
}

static void *at(struct fixture *f, uint64_t gpa)
{
	void *p = mem_at(&f->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

/* Of a queue as large as the disk allows one request at a time: slot 0. */
static void add(struct fixture *f, struct vdrv_queue *q, uint32_t type, uint64_t sector,
		uint32_t len)
{
	uint64_t header = HEADER + q->index * 16, status = STATUS + q->index;
	struct vdrv_seg segs[3] = { { header, 16, false },
				    { DATA + q->index * 0x10000, len, type == IN },
				    { status, 1, true } };
	char *h = at(f, header);

	if (!len)
		segs[1] = segs[2];
	store_le(h, 8, type);
	store_le(h + 8, 8, sector);
	*(uint8_t *)at(f, status) = NO_ANSWER;
	vdrv_add(q, segs, len ? 3 : 2, TABLE + q->index * 64);
}

static int finish(struct fixture *f, struct vdrv_queue *q)
{
	uint32_t id, len;

	if (!vdrv_used(q, &id, &len, WAIT))
		return NO_ANSWER;
	return *(uint8_t *)at(f, STATUS + q->index);
}

static int request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len)
{
	add(f, &f->q[0], type, sector, len);
	vdrv_kick(&f->q[0]);
	return finish(f, &f->q[0]);
}

static void put_range(struct fixture *f, unsigned i, uint64_t sector, uint32_t n, uint32_t flags)
{
	char *r = at(f, DATA + i * 16);

	store_le(r, 8, sector);
	store_le(r + 8, 4, n);
	store_le(r + 12, 4, flags);
}

/* A request with one segment. */
static int range(struct fixture *f, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	put_range(f, 0, sector, n, flags);
	return request(f, type, 0, 16);
}

static const struct block_req *asked(struct fixture *f, unsigned n)
{
	assert_true(n < f->disk.nr_log);
	return &f->disk.log[n];
}

/* What it makes of size_max and seg_max: the sectors of a request, in 16 bits, at most. */
static void test_seabios_makes_progress(void **state)
{
	struct fixture *f = *state;
	uint32_t bytes;

	create(f);
	bytes = vdrv_device_in(&f->d, 8, 4) * vdrv_device_in(&f->d, 12, 4);
	assert_true((uint16_t)bytes / 512 >= 8);
}

static void test_config(void **state)
{
	struct fixture *f = *state;
	struct vdrv *d = &f->d;
	static const struct {
		unsigned offset, width;
		uint64_t value;
	} want[] = {
		{ 0, 4, SECTORS },    { 4, 4, 0 },    { 8, 4, SIZE_MAX_BYTES },
		{ 12, 4, QSIZE - 2 }, { 20, 4, 512 }, { 24, 1, 3 },
		{ 25, 1, 0 },         { 26, 2, 8 },   { 28, 4, 128 },
		{ 32, 1, 1 },         { 33, 1, 0 },   { 34, 2, 1 },
		{ 36, 4, 1 << 22 },   { 40, 4, 32 },  { 44, 4, 8 },
		{ 48, 4, 1 << 22 },   { 52, 4, 32 },  { 56, 1, 1 },
		{ 57, 1, 0 },         { 58, 2, 0 },   { 60, 4, 0 },
	};

	f->disk.b.limits.physical_block = 4096;
	f->disk.b.limits.opt_io = 65536;
	create(f);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(vdrv_device_in(d, want[i].offset, want[i].width), want[i].value);
	assert_int_equal(vdrv_features(d) & 0xffffff, 0x6e46);
	destroy(f);

	/* A host that cannot discard, and knows nothing of blocks. */
	f->disk.b.limits = (struct block_limits){ .physical_block = 512 };
	create(f);
	assert_int_equal(vdrv_features(d) & 0xffffff, 0x4e46);
	assert_int_equal(vdrv_device_in(d, 24, 4), 1 << 16);
	assert_int_equal(vdrv_device_in(d, 36, 4), 0);
	assert_int_equal(vdrv_device_in(d, 48, 4), 1 << 22);
	assert_int_equal(vdrv_device_in(d, 56, 1), 0);
	destroy(f);

	/* What cannot be written needs none of it. */
	f->disk.b.limits.discard_align = 512;
	f->disk.b.readonly = true;
	create(f);
	assert_int_equal(vdrv_features(d) & 0xffffff, 0x0666);
	for (unsigned i = 36; i < 60; i += 4)
		assert_int_equal(vdrv_device_in(d, i, 4), 0);
}

static void test_discard(void **state)
{
	struct fixture *f = *state;
	const struct block_req *r;

	start(f, F_FLUSH | F_DISCARD, 1);
	assert_int_equal(range(f, DISCARD, 8, 16, 0), OK);
	r = asked(f, 0);
	assert_int_equal(r->op, BLOCK_DISCARD);
	assert_int_equal(r->offset, 8 * 512);
	assert_int_equal(r->len, 16 * 512);
	assert_int_equal(r->nr_iov, 0);
	assert_false(r->durable);
	assert_int_equal(range(f, DISCARD, 63, 1, 0), OK);
	assert_int_equal(range(f, DISCARD, 64, 0, 0), OK);
	assert_int_equal(f->disk.nr_log, 3);

	/* 5.2.6.2: no flags, within the disk and the limits. */
	assert_int_equal(range(f, DISCARD, 8, 16, 1), UNSUPP);
	assert_int_equal(range(f, DISCARD, 8, 16, 0x80000000), UNSUPP);
	assert_int_equal(range(f, DISCARD, 63, 2, 0), IOERR);
	assert_int_equal(range(f, DISCARD, 65, 0, 0), IOERR);
	assert_int_equal(range(f, DISCARD, 1ull << 55, 1, 0), IOERR);
	assert_int_equal(range(f, DISCARD, UINT64_MAX, 1, 0), IOERR);
	assert_int_equal(range(f, DISCARD, 0, (1 << 22) + 1, 0), IOERR);
	assert_int_equal(request(f, DISCARD, 0, 0), IOERR);
	assert_int_equal(request(f, DISCARD, 0, 15), IOERR);
	assert_int_equal(request(f, DISCARD, 0, 17), IOERR);
	assert_int_equal(request(f, DISCARD, 0, 33 * 16), IOERR);
	assert_int_equal(f->disk.nr_log, 3);
	/* Not offered to this driver. */
	assert_int_equal(range(f, ZEROES, 0, 8, 0), UNSUPP);
	start(f, F_FLUSH, 1);
	assert_int_equal(range(f, DISCARD, 0, 8, 0), UNSUPP);
	assert_int_equal(f->disk.nr_log, 3);
}

static void test_write_zeroes(void **state)
{
	struct fixture *f = *state;

	start(f, F_FLUSH | F_ZEROES, 1);
	assert_int_equal(range(f, ZEROES, 2, 3, 0), OK);
	assert_false(asked(f, 0)->unmap);
	assert_false(asked(f, 0)->durable);
	for (unsigned i = 0; i < sizeof(f->bytes); i++)
		assert_int_equal(f->bytes[i], i / 512 >= 2 && i / 512 < 5 ? 0 : 0x5a);
	assert_int_equal(range(f, ZEROES, 0, SECTORS, 1), OK);
	assert_true(asked(f, 1)->unmap);
	assert_int_equal(range(f, ZEROES, 0, 1, 2), UNSUPP);
	assert_int_equal(range(f, ZEROES, 0, 1, 3), UNSUPP);
	assert_int_equal(range(f, ZEROES, 1, SECTORS, 1), IOERR);
	/* The host's errors reach the guest. */
	f->disk.result = -EIO;
	assert_int_equal(range(f, ZEROES, 0, 1, 0), IOERR);
	f->disk.result = -EOPNOTSUPP;
	assert_int_equal(range(f, ZEROES, 0, 1, 0), UNSUPP);
	f->disk.result = 0;
	start(f, F_ZEROES, 1);
	assert_int_equal(range(f, ZEROES, 0, 1, 0), OK);
	assert_true(asked(f, f->disk.nr_log - 1)->durable);
}

static void wait_for(const atomic_uint *v, unsigned n)
{
	for (unsigned i = 0; i < WAIT && *v < n; i++)
		usleep(1000);
	assert_int_equal(*v, n);
}

/* One after the other, each as the guest wrote it when its turn came; the first error ends it. */
static void test_many_ranges(void **state)
{
	struct fixture *f = *state;

	start(f, F_FLUSH | F_DISCARD | F_ZEROES, 1);
	for (unsigned i = 0; i < 32; i++)
		put_range(f, i, 2 * i, 1, i & 1);
	assert_int_equal(request(f, ZEROES, 0, 32 * 16), OK);
	assert_int_equal(f->disk.nr_log, 32);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(asked(f, i)->offset, 1024 * i);
		assert_int_equal(asked(f, i)->unmap, i & 1);
	}
	put_range(f, 1, SECTORS, 1, 0);
	assert_int_equal(request(f, ZEROES, 0, 3 * 16), IOERR);
	assert_int_equal(f->disk.nr_log, 33);

	f->disk.hold = true;
	for (unsigned i = 0; i < 3; i++)
		put_range(f, i, i, 1, 0);
	add(f, &f->q[0], DISCARD, 0, 48);
	vdrv_kick(&f->q[0]);
	for (unsigned i = 0; i < 3; i++) {
		wait_for(&f->disk.nr_log, 34 + i);
		wait_for(&f->disk.nr_held, 1);
		assert_int_equal(f->q[0].last_used, 2);
		fake_block_release(&f->disk);
	}
	assert_int_equal(finish(f, &f->q[0]), OK);
	assert_int_equal(asked(f, 35)->offset, 1024);
}

static void put_writeback(struct fixture *f, unsigned v)
{
	bus_out(&f->bus, f->d.device.space, f->d.device.addr + 32, 1, v);
}

static bool durable_write(struct fixture *f)
{
	assert_int_equal(request(f, OUT, 0, 512), OK);
	return asked(f, f->disk.nr_log - 1)->durable;
}

static void test_writeback(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vdrv_device_in(&f->d, 32, 1), 1);
	start(f, F_FLUSH | F_WCE, 1);
	assert_int_equal(vdrv_device_in(&f->d, 32, 1), 1);
	assert_false(durable_write(f));
	put_writeback(f, 0);
	assert_int_equal(vdrv_device_in(&f->d, 32, 1), 0);
	assert_true(durable_write(f));
	assert_int_equal(request(f, IN, 0, 512), OK);
	assert_false(asked(f, 2)->durable);
	put_writeback(f, 1);
	assert_false(durable_write(f));
	/* As a part of a longer write, too; nothing else can be written. */
	bus_out(&f->bus, f->d.device.space, f->d.device.addr + 32, 4, 0xffffff00);
	assert_true(durable_write(f));
	bus_out(&f->bus, f->d.device.space, f->d.device.addr + 28, 4, 1);
	bus_out(&f->bus, f->d.device.space, f->d.device.addr + 33, 1, 1);
	assert_int_equal(vdrv_device_in(&f->d, 32, 4), 1 << 16);
	assert_int_equal(vdrv_device_in(&f->d, 28, 4), 0);

	/* A reset forgets the choice; without the feature there is none. */
	start(f, F_FLUSH, 1);
	assert_int_equal(vdrv_device_in(&f->d, 32, 1), 1);
	put_writeback(f, 0);
	assert_int_equal(vdrv_device_in(&f->d, 32, 1), 1);
	assert_false(durable_write(f));
	/* 5.2.5.2, 5.2.6.2: who cannot flush has writethrough. */
	start(f, F_WCE, 1);
	assert_int_equal(vdrv_device_in(&f->d, 32, 1), 0);
	assert_true(durable_write(f));
	put_writeback(f, 1);
	assert_int_equal(vdrv_device_in(&f->d, 32, 1), 0);
	assert_true(durable_write(f));
}

static void test_state(void **state)
{
	struct fixture *f = *state, to = { .cfg = f->cfg };
	struct state_buf buf = { 0 };
	uint8_t *p;

	to.mem = f->mem;
	create(&to);
	start(f, F_FLUSH | F_WCE, 1);
	put_writeback(f, 0);
	virtio_pause(f->dev);
	virtio_pause(to.dev);
	check_state_round_trip(f->dev, to.dev);
	check_state_round_trip(&f->host->dev, &to.host->dev);
	to.q[0] = f->q[0];
	to.q[0].d = &to.d;
	virtio_resume(to.dev);
	assert_int_equal(vdrv_device_in(&to.d, 32, 1), 0);
	/* The one disk that both have. */
	assert_int_equal(request(&to, OUT, 0, 512), OK);
	assert_true(asked(f, 0)->durable);
	device_reset(to.dev);
	assert_int_equal(pci_assign(to.host), 0);
	assert_int_equal(vdrv_device_in(&to.d, 32, 1), 1);
	device_destroy(to.dev);
	device_destroy(&to.host->dev);
	bus_destroy(&to.bus);

	/* A choice that no driver could have made. */
	virtio_resume(f->dev);
	start(f, F_FLUSH, 1);
	assert_int_equal(state_save(f->dev, &buf), 0);
	p = memmem(buf.data, buf.len, "writeback", 9);
	assert_non_null(p);
	assert_int_equal(p[9 + 8], 1);
	p[9 + 8] = 0;
	store_le(buf.data + buf.len - 4, 4, util_crc32(0, buf.data, buf.len - 4));
	assert_int_equal(state_load(f->dev, buf.data, buf.len), -EBADMSG);
	state_buf_free(&buf);
	assert_false(durable_write(f));
}

static unsigned taken_soon(struct fixture *f, unsigned vec)
{
	struct virtio_pci *vp = container_of(f->dev, struct virtio_pci, vdev.dev);
	unsigned n = 0;

	for (unsigned i = 0; i < WAIT && !n; i++) {
		n = fake_msi_take(&f->msi, vp->msix.vec[vec].id);
		usleep(1000);
	}
	return n;
}

static void test_resize(void **state)
{
	struct fixture *f = *state;
	unsigned generation;

	/* Before there is a driver nobody is told. */
	f->disk.bytes = NULL;
	f->disk.b.size = 5ull << 41;
	assert_int_equal(vdrv_device_in(&f->d, 0, 4), SECTORS);
	virtio_blk_resized(f->dev);
	assert_int_equal(vdrv_device_in(&f->d, 4, 4), 5);
	start(f, F_FLUSH, 1);
	assert_int_equal(vdrv_isr(&f->d), 0);
	generation = vdrv_common_in(&f->d, 0x15, 1);

	/* What a driver reads in two halves changes when the generation does, not before. */
	f->disk.b.size = 128 * 512;
	assert_int_equal(vdrv_device_in(&f->d, 4, 4), 5);
	assert_int_equal(vdrv_common_in(&f->d, 0x15, 1), generation);
	virtio_blk_resized(f->dev);
	assert_int_equal(vdrv_common_in(&f->d, 0x15, 1), generation + 1);
	assert_int_equal(vdrv_device_in(&f->d, 0, 4), 128);
	assert_int_equal(vdrv_device_in(&f->d, 4, 4), 0);
	assert_int_equal(taken_soon(f, 0), 1);
	assert_int_equal(vdrv_isr(&f->d), 2);
	assert_int_equal(request(f, IN, 127, 512), OK);
	assert_int_equal(request(f, IN, 128, 512), IOERR);
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
	struct fixture *f = *state;
	const struct virtio_dev *vdev;

	f->cfg.queues = QUEUES;
	f->cfg.at.threads = 2;
	for (unsigned i = 0; i < 2; i++) {
		block_stages_init(&f->stages[i], "virtio-blk0", NULL);
		f->cfg.stages[i] = &f->stages[i];
	}
	create(f);
	vdev = virtio_of(f->dev);
	assert_ptr_equal(vdev->queues[0].loop, vdev->queues[2].loop);
	assert_ptr_equal(vdev->queues[1].loop, vdev->queues[3].loop);
	assert_ptr_not_equal(vdev->queues[0].loop, vdev->queues[1].loop);
	start(f, F_FLUSH | F_MQ, QUEUES);
	f->disk.hold = true;
	for (unsigned i = 0; i < QUEUES; i++) {
		add(f, &f->q[i], i == 3 ? OUT : IN, i, 512 * (1 + i));
		vdrv_kick(&f->q[i]);
	}
	wait_for(&f->disk.nr_held, QUEUES);
	fake_block_release(&f->disk);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_int_equal(finish(f, &f->q[i]), OK);
		assert_int_equal(taken_soon(f, i + 1), 1);
	}
	f->disk.hold = false;
	add(f, &f->q[1], FLUSH, 0, 0);
	vdrv_kick(&f->q[1]);
	assert_int_equal(finish(f, &f->q[1]), OK);
	vdrv_set_status(&f->d, 0); /* the account is complete */
	assert_int_equal(count(&f->stages[0]), 2);
	assert_int_equal(count(&f->stages[1]), 3);
}

/* More threads than queues are of no use. */
static void test_idle_threads(void **state)
{
	struct fixture *f = *state;

	f->cfg.queues = 2;
	f->cfg.at.threads = 16;
	create(f);
	start(f, F_FLUSH | F_MQ, 2);
	assert_int_equal(request(f, IN, 0, 512), OK);
}

/* What the back-end has completed is found without a wake. */
static void test_poll_completions(void **state)
{
	struct fixture *f = *state;

	f->cfg.at.poll_ns = 1000000;
	create(f);
	start(f, F_FLUSH | VIRTIO_F_EVENT_IDX, 1);
	f->disk.hold = f->disk.ready = true;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(request(f, IN, i, 512), OK);
	assert_int_equal(f->disk.nr_held, 0);
}

struct second {
	struct fixture *f;
	unsigned before;
	bool wanted, offered;
};

/* While the thread is awake the guest need not kick, and what it offers is found. */
static void offer_second(void *opaque)
{
	struct second *s = opaque;
	struct vdrv_queue *q = &s->f->q[0];
	uint16_t old = q->avail_idx;

	if (s->offered || s->f->disk.nr_log == s->before)
		return;
	s->offered = true;
	vdrv_offer(q, 0);
	s->wanted = vdrv_wants_kick(q, old);
}

static void test_no_kicks_while_awake(void **state)
{
	struct fixture *f = *state;
	const uint64_t features[] = { F_FLUSH, F_FLUSH | VIRTIO_F_EVENT_IDX };

	for (unsigned i = 0; i < 2; i++) {
		struct second s = { .f = f, .before = f->disk.nr_log };

		start(f, features[i], 1);
		f->disk.opaque = &s;
		f->disk.on_kick = offer_second;
		assert_int_equal(request(f, IN, 0, 512), OK);
		assert_int_equal(finish(f, &f->q[0]), OK);
		assert_true(s.offered);
		assert_false(s.wanted);
		vdrv_set_status(&f->d, 0);
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
	struct fixture *f = *state;
	struct calls before;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	void *volatile p;

	f->cfg.stages[0] = &f->stages[0];
	f->cfg.at.poll_ns = 20000;
	block_stages_init(&f->stages[0], "virtio-blk0", NULL);
	create(f);
	if (!COUNTING)
		skip();
	start(f, F_FLUSH | F_DISCARD | F_ZEROES | VIRTIO_F_EVENT_IDX, 1);
	f->disk.on_submit = count_me; /* marks the thread */
	assert_int_equal(request(f, IN, 0, 512), OK);
	before = calls;
	put_range(f, 0, 0, 8, 0);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(request(f, i % 2 ? IN : OUT, i % SECTORS, 512), OK);
		assert_int_equal(request(f, FLUSH, 0, 0), OK);
		put_range(f, 0, 0, 8, 0);
		assert_int_equal(request(f, i % 2 ? DISCARD : ZEROES, 0, 16), OK);
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

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, teardown)

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
