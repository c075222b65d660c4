/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/platform.h"
#include "base/state.h"
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
#define IMAGE (64 * 512)
#define WAIT 2000 /* ms; only ever waited for when something is wrong */

#define F_VERSION_1 VIRTIO_F_VERSION_1
#define F_INDIRECT VIRTIO_F_INDIRECT_DESC
#define F_EVENT_IDX VIRTIO_F_EVENT_IDX
#define F_FLUSH (1ull << 9)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 };

struct machine {
	struct mem *mem;
	struct bus bus;
	struct fake_irq irqs[PCI_NR_ISA_IRQS];
	struct fake_msi msi;
	struct pci_host *host;
	struct device *dev;
	struct vdrv d;
	struct vdrv_queue q;
};

struct fixture {
	struct machine m;
	struct mem mem;
	struct block *block;
	struct fake_block slow;
	char path[64];
};

static void machine_init(struct machine *m, struct mem *mem, struct block *block, bool msi,
			 unsigned queues)
{
	struct pci_host_config pc = { .name = "pci", .bus = &m->bus };
	struct virtio_blk_config cfg = { .name = "virtio-blk0",
					 .at.devfn = -1,
					 .at.mem = mem,
					 .block = block,
					 .queues = queues,
					 .at.queue_size = QSIZE };

	m->mem = mem;
	bus_init(&m->bus);
	fake_msi_init(&m->msi);
	if (msi)
		pc.msi = &m->msi.ctl;
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		pc.irqs[i] = fake_irq(&m->irqs[i]);
	assert_int_equal(pci_host_create(&pc, &m->host), 0);
	cfg.at.pci = m->host;
	assert_int_equal(virtio_blk_create(&cfg, &m->dev), 0);
	assert_int_equal(pci_assign(m->host), 0);
	assert_true(vdrv_probe(&m->d, &m->bus, mem, DEVFN));
}

static void machine_fini(struct machine *m)
{
	device_destroy(m->dev);
	device_destroy(&m->host->dev);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_ranges, 0);
	assert_int_equal(m->bus.tables[BUS_MMIO].nr_ranges, 0);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 0);
	for (unsigned i = 0; i < FAKE_MSI_VECTORS; i++)
		assert_false(m->msi.vec[i].used);
	bus_destroy(&m->bus);
}

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 31 + i / 512 * 7);
}

static void open_image(struct fixture *f, bool readonly)
{
	struct block_config cfg = { .path = f->path, .readonly = readonly, .serial = "SERIAL-1" };
	struct err err;

	assert_int_equal(block_open(&cfg, &f->block, &err), 0);
}

static struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t buf[IMAGE];
	int fd;

	assert_int_equal(mem_init(&f->mem, RAM), 0);
	strcpy(f->path, "/tmp/bantam-vblk-XXXXXX");
	fd = mkstemp(f->path);
	for (unsigned i = 0; i < IMAGE; i++)
		buf[i] = pattern(i);
	assert_int_equal(write(fd, buf, sizeof(buf)), sizeof(buf));
	close(fd);
	fake_block_init(&f->slow, IMAGE);
	return f;
}

static int setup(void **state)
{
	struct fixture *f = fixture_new();

	open_image(f, false);
	machine_init(&f->m, &f->mem, f->block, true, 1);
	*state = f;
	return 0;
}

static int setup_slow(void **state)
{
	struct fixture *f = fixture_new();

	machine_init(&f->m, &f->mem, &f->slow.b, true, 1);
	*state = f;
	return 0;
}

/* The test makes the machine itself. */
static int setup_none(void **state)
{
	*state = fixture_new();
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->m.dev)
		machine_fini(&f->m);
	block_destroy(f->block);
	mem_destroy(&f->mem);
	unlink(f->path);
	free(f);
	return 0;
}

static void *at(struct machine *m, uint64_t gpa)
{
	void *p = mem_at(m->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

/* The whole of a driver's start, MSI-X vectors 0 (configuration) and 1 (queue). */
static void start(struct machine *m, uint64_t features)
{
	assert_true(vdrv_start(&m->d, features | F_VERSION_1));
	if (m->d.msix_cap) {
		vdrv_msix_enable(&m->d, true);
		vdrv_msix_entry(&m->d, 0, 0xfee00000, 0x30);
		vdrv_msix_entry(&m->d, 1, 0xfee00000, 0x31);
		vdrv_common_out(&m->d, 0x10, 2, 0);
	}
	vdrv_queue_setup(&m->d, &m->q, 0, QSIZE, RING(0), features & F_EVENT_IDX);
	assert_int_equal(vdrv_common_in(&m->d, 0x1c, 2), 1);
	vdrv_driver_ok(&m->d);
	assert_int_equal(vdrv_status(&m->d), 0x0f);
}

static void put_header(struct machine *m, unsigned slot, uint32_t type, uint64_t sector)
{
	char *h = at(m, HEADER + slot * 16);

	store_le(h, 4, type);
	store_le(h + 4, 4, 0);
	store_le(h + 8, 8, sector);
	*(uint8_t *)at(m, STATUS + slot) = 0xee;
}

/* Waits for one completion and gives its status; *len as the device reports it. */
static int finish(struct machine *m, unsigned slot, uint32_t *len)
{
	uint32_t id;

	if (!vdrv_used(&m->q, &id, len, WAIT))
		return -1;
	return *(uint8_t *)at(m, STATUS + slot);
}

static uint16_t add(struct machine *m, unsigned slot, uint32_t type, uint64_t sector,
		    uint32_t data_len, uint64_t indirect)
{
	struct vdrv_seg segs[3] = { { HEADER + slot * 16, 16, false },
				    { DATA + slot * 0x2000, data_len, type != OUT },
				    { STATUS + slot, 1, true } };

	put_header(m, slot, type, sector);
	if (!data_len)
		segs[1] = segs[2];
	return vdrv_add(&m->q, segs, data_len ? 3 : 2, indirect);
}

static int request(struct machine *m, uint32_t type, uint64_t sector, uint32_t data_len,
		   uint32_t *len)
{
	add(m, 0, type, sector, data_len, 0);
	vdrv_kick(&m->q);
	return finish(m, 0, len);
}

static unsigned taken(struct machine *m, unsigned vec)
{
	struct virtio_pci *vp = container_of(m->dev, struct virtio_pci, vdev.dev);

	return fake_msi_take(&m->msi, vp->msix.vec[vec].id);
}

/* Interrupts come after the used index that a test waits for. */
static unsigned taken_soon(struct machine *m, unsigned vec)
{
	struct timespec nap = { 0, 100000 };
	unsigned n = 0;

	for (unsigned i = 0; i < WAIT * 10 && !n; i++) {
		n = taken(m, vec);
		nanosleep(&nap, NULL);
	}
	return n;
}

static void post_sem(void *opaque)
{
	sem_post(opaque);
}

/*
 * Whatever has woken the I/O thread is over: it sleeps until the next kick. Events are
 * taken in turn, but the first post may still overtake a kick, the second one cannot.
 */
static void settle(struct machine *m)
{
	struct loop *loop = virtio_of(m->dev)->queues[0].loop;
	struct loop_post post = { .fn = post_sem };
	sem_t sem;

	sem_init(&sem, 0, 0);
	post.opaque = &sem;
	for (unsigned i = 0; i < 2; i++) {
		loop_post(loop, &post);
		while (sem_wait(&sem)) /* a signal */
			;
	}
	sem_destroy(&sem);
}

static void check_pattern(struct machine *m, uint64_t gpa, uint64_t from, unsigned len)
{
	const uint8_t *p = at(m, gpa);

	for (unsigned i = 0; i < len; i++)
		if (p[i] != pattern(from + i))
			fail_msg("byte %u is %#x", i, p[i]);
}

static void test_identity(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct vdrv *d = &m->d;

	assert_int_equal(pci_cfg_in(&m->bus, DEVFN, 0, 4), 0x10421af4);
	assert_int_equal(pci_cfg_in(&m->bus, DEVFN, 8, 4), 0x01000001);
	assert_int_equal(pci_cfg_in(&m->bus, DEVFN, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(d->notify.space, BUS_PIO);
	assert_int_equal(d->common.space, BUS_MMIO);
	assert_int_equal(d->common.length, 0x3c);
	assert_true(vdrv_features(d) & F_VERSION_1);
	assert_true(vdrv_features(d) & F_INDIRECT);
	assert_true(vdrv_features(d) & F_EVENT_IDX);
	assert_true(vdrv_features(d) & F_FLUSH);
	assert_false(vdrv_features(d) & 1ull << 5); /* read-only */
	vdrv_common_out(d, 0, 4, 2);
	assert_int_equal(vdrv_common_in(d, 4, 4), 0);
	assert_int_equal(vdrv_device_in(d, 0, 4), 64);
	assert_int_equal(vdrv_device_in(d, 4, 4), 0);
	assert_int_equal(vdrv_device_in(d, 12, 4), QSIZE - 2);
	assert_int_equal(vdrv_device_in(d, 20, 4), 512);
	assert_int_equal(vdrv_device_in(d, 20, 1), 0);
	assert_int_equal(vdrv_device_in(d, 21, 1), 2);
	assert_int_equal(vdrv_device_in(d, 58, 2), 0);
	assert_int_equal(vdrv_device_in(d, 60, 4), 0); /* behind its end */
	assert_int_equal(vdrv_common_in(d, 0x12, 2), 1);
}

static void test_handshake(void **state)
{
	struct fixture *f = *state;
	struct vdrv *d = &f->m.d;

	assert_int_equal(vdrv_status(d), 0);
	assert_false(vdrv_start(d, 0)); /* without VERSION_1 */
	vdrv_driver_ok(d);
	assert_int_equal(vdrv_status(d), 3);
	assert_false(vdrv_start(d, F_VERSION_1 | 1ull << 50)); /* never offered */
	assert_true(vdrv_start(d, F_VERSION_1));
	/* Settled: later words change nothing. */
	vdrv_common_out(d, 0x08, 4, 0);
	vdrv_common_out(d, 0x0c, 4, 0xffffffff);
	assert_int_equal(vdrv_common_in(d, 0x0c, 4), 0);
	/* Bits do not go away one by one, and NEEDS_RESET is not the driver's. */
	vdrv_set_status(d, 0x41);
	assert_int_equal(vdrv_status(d), 0x0b);
	vdrv_set_status(d, 0x8b);
	assert_int_equal(vdrv_status(d), 0x8b);
	vdrv_set_status(d, 0);
	assert_int_equal(vdrv_status(d), 0);
	vdrv_common_out(d, 0x08, 4, 1);
	assert_int_equal(vdrv_common_in(d, 0x0c, 4), 0);
	/* A word of features that does not exist. */
	vdrv_common_out(d, 0x08, 4, 2);
	vdrv_common_out(d, 0x0c, 4, 0xffffffff);
	assert_int_equal(vdrv_common_in(d, 0x0c, 4), 0);
}

static void test_queue_registers(void **state)
{
	struct fixture *f = *state;
	struct vdrv *d = &f->m.d;

	/* A queue that is not there: reads 0, ignores all. */
	vdrv_common_out(d, 0x16, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x16, 2), 1);
	for (unsigned reg = 0x18; reg < 0x38; reg += 2) {
		vdrv_common_out(d, reg, 2, 1);
		assert_int_equal(vdrv_common_in(d, reg, 2), reg == 0x1a ? 0xffff : 0);
	}
	vdrv_common_out(d, 0x16, 2, 0xffff);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), 0);
	vdrv_common_out(d, 0x1c, 2, 1);

	vdrv_common_out(d, 0x16, 2, 0);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), QSIZE);
	vdrv_common_out(d, 0x18, 2, 2 * QSIZE);
	vdrv_common_out(d, 0x18, 2, 0);
	vdrv_common_out(d, 0x18, 2, 5);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), QSIZE);
	vdrv_common_out(d, 0x18, 2, 4);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), 4);
	vdrv_common_out(d, 0x20, 4, 0x11223340);
	vdrv_common_out(d, 0x24, 4, 0x55);
	assert_int_equal(vdrv_common_in(d, 0x20, 4), 0x11223340);
	assert_int_equal(vdrv_common_in(d, 0x24, 4), 0x55);
	/* Parts of a register: readable, not writable. */
	vdrv_common_out(d, 0x20, 1, 0xff);
	assert_int_equal(vdrv_common_in(d, 0x21, 1), 0x33);
	assert_int_equal(vdrv_common_in(d, 0x20, 4), 0x11223340);
	/* Two registers at once. */
	assert_int_equal(vdrv_common_in(d, 0x16, 4), 4 << 16);
	assert_int_equal(vdrv_common_in(d, 0x18, 4), 0xffff0004);
	/* Vectors: those there are. */
	vdrv_common_out(d, 0x1a, 2, 2);
	assert_int_equal(vdrv_common_in(d, 0x1a, 2), 0xffff);
	vdrv_common_out(d, 0x1a, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x1a, 2), 1);
	vdrv_common_out(d, 0x10, 2, 7);
	assert_int_equal(vdrv_common_in(d, 0x10, 2), 0xffff);

	/* Enabling before FEATURES_OK is too early; a ring outside RAM asks for a reset. */
	vdrv_common_out(d, 0x1c, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x1c, 2), 0);
	assert_int_equal(vdrv_status(d), 0);
	assert_true(vdrv_start(d, F_VERSION_1));
	vdrv_common_out(d, 0x24, 4, 0x55);
	vdrv_common_out(d, 0x1c, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x1c, 2), 0);
	assert_int_equal(vdrv_status(d), 0x4b);
	vdrv_set_status(d, 0);
	assert_int_equal(vdrv_status(d), 0);
	assert_int_equal(vdrv_common_in(d, 0x24, 4), 0);

	/* Enabled, a queue is frozen. */
	start(&f->m, 0);
	vdrv_common_out(d, 0x18, 2, 2);
	vdrv_common_out(d, 0x20, 4, 0);
	vdrv_common_out(d, 0x1c, 2, 0);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), QSIZE);
	assert_int_equal(vdrv_common_in(d, 0x20, 4), RING(0));
	assert_int_equal(vdrv_common_in(d, 0x1c, 2), 1);
}

static void test_read_write(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	const uint64_t features[] = { F_FLUSH, F_FLUSH | F_INDIRECT | F_EVENT_IDX };

	for (unsigned round = 0; round < 2; round++) {
		uint64_t indirect = round ? TABLE : 0;
		uint8_t disk[1024];
		uint32_t len;
		int fd;

		(void)taken(m, 1);
		start(m, features[round]);
		assert_int_equal(request(m, IN, 3, 1536, &len), 0);
		assert_int_equal(len, 1537);
		check_pattern(m, DATA, 3 * 512, 1536);
		assert_int_equal(taken_soon(m, 1), 1);

		memset(at(m, DATA), 0x5a + (int)round, 1024);
		add(m, 0, OUT, 10, 1024, indirect);
		vdrv_kick(&m->q);
		assert_int_equal(finish(m, 0, &len), 0);
		assert_int_equal(len, 1);
		assert_int_equal(request(m, FLUSH, 0, 0, &len), 0);
		assert_int_equal(len, 1);
		fd = open(f->path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(pread(fd, disk, 1024, 5120), 1024);
		close(fd);
		assert_memory_equal(disk, at(m, DATA), 1024);

		memset(at(m, DATA), 0xff, 32);
		assert_int_equal(request(m, GET_ID, 0, 20, &len), 0);
		assert_int_equal(len, 21);
		assert_memory_equal(at(m, DATA), "SERIAL-1\0\0\0\0\0\0\0\0\0\0\0\0\xff", 21);
		assert_int_equal(request(m, GET_ID, 0, 4, &len), 0);
		assert_int_equal(len, 5);
		assert_memory_equal(at(m, DATA), "SERI", 4);
		assert_int_equal(request(m, IN, 0, 0, &len), 0);
	}
}

/* Many in one batch: each is right, and with EVENT_IDX one interrupt tells of all. */
static void test_batch(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t id, len;

	start(m, F_FLUSH | F_INDIRECT | F_EVENT_IDX);
	for (unsigned round = 0; round < 100; round++) {
		bool seen[QSIZE] = { false };

		/* The driver asks to be told at the last. */
		*(uint16_t *)at(m, m->q.avail + 4 + 2 * QSIZE) =
			(uint16_t)(m->q.last_used + QSIZE - 1);
		for (unsigned i = 0; i < QSIZE; i++)
			add(m, i, IN, (i + round) % 64, 512, TABLE + i * 64);
		vdrv_kick(&m->q);
		for (unsigned i = 0; i < QSIZE; i++) {
			assert_true(vdrv_used(&m->q, &id, &len, WAIT));
			assert_true(id < QSIZE && !seen[id]);
			seen[id] = true;
		}
		for (unsigned i = 0; i < QSIZE; i++) {
			assert_int_equal(*(uint8_t *)at(m, STATUS + i), 0);
			check_pattern(m, DATA + i * 0x2000, (i + round) % 64 * 512, 512);
		}
		/* The first round after a start tells of its first batch, too. */
		assert_in_range(taken_soon(m, 1), 1, round ? 1 : 2);
		assert_int_equal(taken(m, 1), 0);
	}
}

/* The specification leaves the layout of a message to the driver (2.7.4). */
static void test_framing(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct vdrv_seg segs[QSIZE];
	uint8_t *status = at(m, DATA + 0x400 + 512);
	uint32_t id, len;

	start(m, F_FLUSH | F_INDIRECT);
	/* A header in pieces, data and status in one descriptor. */
	put_header(m, 0, IN, 5);
	segs[0] = (struct vdrv_seg){ HEADER, 1, false };
	segs[1] = (struct vdrv_seg){ HEADER + 1, 7, false };
	segs[2] = (struct vdrv_seg){ HEADER + 8, 8, false };
	segs[3] = (struct vdrv_seg){ DATA + 0x400, 513, true };
	*status = 0xee;
	vdrv_add(&m->q, segs, 4, 0);
	vdrv_kick(&m->q);
	assert_true(vdrv_used(&m->q, &id, &len, WAIT));
	assert_int_equal(*status, 0);
	assert_int_equal(len, 513);
	check_pattern(m, DATA + 0x400, 5 * 512, 512);

	/* Header and data in one, the data ending in a crumb. */
	memcpy(at(m, DATA), at(m, HEADER), 16);
	store_le(at(m, DATA), 4, OUT);
	memset(at(m, DATA + 16), 0xa7, 512);
	segs[0] = (struct vdrv_seg){ DATA, 16 + 511, false };
	segs[1] = (struct vdrv_seg){ DATA + 16 + 511, 1, false };
	segs[2] = (struct vdrv_seg){ STATUS, 1, true };
	*(uint8_t *)at(m, STATUS) = 0xee;
	vdrv_add(&m->q, segs, 3, TABLE);
	vdrv_kick(&m->q);
	assert_int_equal(finish(m, 0, &len), 0);
	assert_int_equal(request(m, IN, 5, 512, &len), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(((uint8_t *)at(m, DATA))[i], 0xa7);

	/* As many descriptors as the queue has. */
	put_header(m, 0, IN, 1);
	for (unsigned i = 0; i < QSIZE; i++)
		segs[i] = (struct vdrv_seg){ DATA + i * 40, 40, true };
	segs[0] = (struct vdrv_seg){ HEADER, 16, false };
	segs[QSIZE - 1].len = 512 - (QSIZE - 2) * 40 % 512 + 1;
	vdrv_add(&m->q, segs, QSIZE, 0);
	vdrv_kick(&m->q);
	assert_true(vdrv_used(&m->q, &id, &len, WAIT));
	assert_int_equal(len % 512, 1);
	check_pattern(m, DATA + 40, 512, 40 * (QSIZE - 2));
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct vdrv_seg segs[2];
	uint32_t len;

	start(m, F_FLUSH);
	assert_int_equal(request(m, IN, 0, 100, &len), 1); /* no whole sector */
	assert_int_equal(len, 1);
	assert_int_equal(request(m, OUT, 0, 513, &len), 1);
	assert_int_equal(request(m, IN, 64, 512, &len), 1); /* behind the end */
	assert_int_equal(request(m, IN, 63, 1024, &len), 1);
	assert_int_equal(request(m, IN, 63, 512, &len), 0);
	/* sector * 512 wraps around to sector 0. */
	assert_int_equal(request(m, IN, 1ull << 55, 512, &len), 1);
	assert_int_equal(request(m, OUT, 1ull << 55, 512, &len), 1);
	assert_int_equal(request(m, IN, UINT64_MAX, 512, &len), 1);
	assert_int_equal(request(m, IN, UINT64_MAX / 512, 512, &len), 1);
	assert_int_equal(request(m, 2, 0, 512, &len), 2); /* unsupported */
	assert_int_equal(request(m, 0xffffffff, 0, 512, &len), 2);
	assert_int_equal(request(m, 11, 0, 512, &len), 2); /* discard was not offered */
	/* A header that is too short. */
	segs[0] = (struct vdrv_seg){ HEADER, 15, false };
	segs[1] = (struct vdrv_seg){ STATUS, 1, true };
	put_header(m, 0, FLUSH, 0);
	vdrv_add(&m->q, segs, 2, 0);
	vdrv_kick(&m->q);
	assert_int_equal(finish(m, 0, &len), 1);
	assert_int_equal(vdrv_status(&m->d), 0x0f);
}

static void wait_status(struct machine *m, uint8_t status)
{
	struct timespec nap = { 0, 100000 };

	for (unsigned i = 0; i < WAIT * 10 && vdrv_status(&m->d) != status; i++)
		nanosleep(&nap, NULL);
	assert_int_equal(vdrv_status(&m->d), status);
}

/* A queue that breaks asks for a reset, tells of it, and works after one. */
static void test_broken_queue(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct vdrv_seg seg = { HEADER, 16, false };
	uint32_t id, len;

	for (unsigned round = 0; round < 2; round++) {
		start(m, F_FLUSH);
		assert_int_equal(request(m, IN, 0, 512, &len), 0);
		if (round)
			vdrv_offer(&m->q, QSIZE + 7); /* no such descriptor */
		else
			vdrv_add(&m->q, &seg, 1, 0); /* no room for a status */
		vdrv_kick(&m->q);
		wait_status(m, 0x4f);
		assert_int_equal(taken_soon(m, 0), 1);
		assert_int_equal(vdrv_isr(&m->d), 2);
		assert_int_equal(vdrv_isr(&m->d), 0);
		if (!round)
			assert_true(vdrv_used(&m->q, &id, &len, WAIT));
		/* Nothing is served any more. */
		add(m, 0, IN, 0, 512, 0);
		vdrv_kick(&m->q);
		assert_false(vdrv_used(&m->q, &id, &len, 20));
	}
	start(m, F_FLUSH);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t len;

	open_image(f, true);
	machine_init(m, &f->mem, f->block, true, 1);
	assert_true(vdrv_features(&m->d) & 1ull << 5);
	start(m, F_FLUSH | 1ull << 5);
	assert_int_equal(request(m, OUT, 0, 512, &len), 1);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	check_pattern(m, DATA, 0, 512);
	assert_int_equal(request(m, FLUSH, 0, 0, &len), 0);
}

static void check_line(struct machine *m, bool level)
{
	struct timespec nap = { 0, 100000 };

	for (unsigned i = 0; i < WAIT * 10; i++) {
		pthread_mutex_lock(&m->host->intx_lock);

		bool now = m->irqs[10].level; /* slot 2, INTA: PIRQB */

		pthread_mutex_unlock(&m->host->intx_lock);
		if (now == level)
			return;
		nanosleep(&nap, NULL);
	}
	fail();
}

static void test_intx(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t len;

	open_image(f, false);
	machine_init(m, &f->mem, f->block, false, 1);
	assert_int_equal(m->d.msix_cap, 0);
	start(m, F_FLUSH);
	assert_false(m->irqs[10].level);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	check_line(m, true);
	assert_true(pci_cfg_in(&m->bus, DEVFN, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	assert_int_equal(vdrv_isr(&m->d), 1);
	check_line(m, false);
	assert_int_equal(vdrv_isr(&m->d), 0);
	/* The driver may ask for silence. */
	*(uint16_t *)at(m, m->q.avail) = VIRTQ_AVAIL_F_NO_INTERRUPT;
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	assert_int_equal(vdrv_isr(&m->d), 0);
	*(uint16_t *)at(m, m->q.avail) = 0;
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	check_line(m, true);
	vdrv_set_status(&m->d, 0);
	check_line(m, false);
}

/* MSI-X there but off: the line; turned on: the line falls. */
static void test_intx_and_msix(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t len;

	start(m, F_FLUSH);
	vdrv_msix_enable(&m->d, false);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	check_line(m, true);
	vdrv_msix_enable(&m->d, true);
	check_line(m, false);
	assert_int_equal(taken(m, 1), 0);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	assert_int_equal(taken_soon(m, 1), 1);
	/* A vector that is masked pends. */
	bus_out(&m->bus, BUS_MMIO, m->d.msix_table.addr + 16 + 12, 4, 1);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	for (unsigned i = 0; i < WAIT && !bus_in(&m->bus, BUS_MMIO, m->d.msix_pba.addr, 4); i++)
		usleep(1000);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, m->d.msix_pba.addr, 4), 2);
	assert_int_equal(taken(m, 1), 0);
	bus_out(&m->bus, BUS_MMIO, m->d.msix_table.addr + 16 + 12, 4, 0);
	assert_int_equal(taken_soon(m, 1), 1);
}

/* Where a driver cannot flush, a write is on the disk when it completes (5.2.6.2). */
static void test_writethrough(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t len;

	start(m, 0);
	assert_int_equal(request(m, OUT, 0, 512, &len), 0);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	assert_int_equal(f->slow.nr_log, 2);
	assert_int_equal(f->slow.log[0].op, BLOCK_WRITE);
	assert_true(f->slow.log[0].durable);
	assert_int_equal(f->slow.log[1].op, BLOCK_READ);
	assert_false(f->slow.log[1].durable);
	start(m, F_FLUSH);
	assert_int_equal(request(m, OUT, 0, 512, &len), 0);
	assert_int_equal(f->slow.nr_log, 3);
	assert_false(f->slow.log[2].durable);
	/* Errors of the host reach the guest. */
	f->slow.result = -EIO;
	assert_int_equal(request(m, OUT, 0, 512, &len), 1);
	assert_int_equal(request(m, FLUSH, 0, 0, &len), 1);
}

static void wait_held(struct fixture *f, unsigned n)
{
	struct timespec nap = { 0, 100000 };

	for (unsigned i = 0; i < WAIT * 10 && f->slow.nr_held < n; i++)
		nanosleep(&nap, NULL);
	assert_int_equal(f->slow.nr_held, n);
}

struct resetter {
	struct machine *m;
	void (*fn)(struct machine *m);
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

static void by_status(struct machine *m)
{
	vdrv_set_status(&m->d, 0);
}

static void by_machine(struct machine *m)
{
	device_reset(m->dev);
}

static void by_pause(struct machine *m)
{
	virtio_pause(m->dev);
}

/* It waits for what is in flight, and nothing is touched afterwards. */
static void check_drains(struct fixture *f, void (*fn)(struct machine *m))
{
	struct machine *m = &f->m;
	struct resetter r = { .m = m, .fn = fn };
	uint32_t id, len;

	f->slow.hold = true;
	for (unsigned i = 0; i < 3; i++)
		add(m, i, IN, i, 512, 0);
	vdrv_kick(&m->q);
	wait_held(f, 3);
	assert_int_equal(pthread_create(&r.thread, NULL, resetter_main, &r), 0);
	usleep(30000);
	assert_false(r.done);
	/* What comes during the drain is left alone. */
	add(m, 3, IN, 3, 512, 0);
	virtio_queue_kick(&virtio_of(m->dev)->queues[0]);
	usleep(10000);
	assert_int_equal(f->slow.nr_held, 3);
	fake_block_release(&f->slow);
	pthread_join(r.thread, NULL);
	assert_true(r.done);
	f->slow.hold = false;
	for (unsigned i = 0; i < 3; i++)
		assert_true(vdrv_used(&m->q, &id, &len, 0));
	assert_false(vdrv_used(&m->q, &id, &len, 0));
}

static void test_reset_in_flight(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t id, len;

	start(m, F_FLUSH);
	check_drains(f, by_status);
	assert_int_equal(vdrv_status(&m->d), 0);
	vdrv_kick(&m->q);
	assert_false(vdrv_used(&m->q, &id, &len, 20));

	start(m, F_FLUSH);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	check_drains(f, by_machine);
	assert_int_equal(pci_cfg_in(&m->bus, DEVFN, PCI_COMMAND, 2), 0);
	assert_int_equal(pci_assign(m->host), 0);
	assert_true(vdrv_probe(&m->d, &m->bus, m->mem, DEVFN));
	start(m, F_FLUSH);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);

	check_drains(f, by_pause);
	assert_false(vdrv_used(&m->q, &id, &len, 20));
	virtio_resume(m->dev); /* the request that came meanwhile */
	assert_true(vdrv_used(&m->q, &id, &len, WAIT));
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
}

static void test_destroy_in_flight(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;

	start(m, F_FLUSH);
	f->slow.hold = true;
	add(m, 0, IN, 0, 512, 0);
	vdrv_kick(&m->q);
	wait_held(f, 1);
	fake_block_release(&f->slow);
	machine_fini(m);
	m->dev = NULL;
	assert_int_equal(f->slow.nr_held, 0);
}

struct flooder {
	struct machine *m;
	atomic_bool stop;
};

/* A guest that refills the ring for ever, without waiting for anything. */
static void *flood(void *opaque)
{
	struct flooder *fl = opaque;
	struct vdrv_queue *q = &fl->m->q;

	while (!fl->stop) {
		uint16_t used;

		if (mem_read(fl->m->mem, q->used + 2, &used, 2) ||
		    (uint16_t)(q->avail_idx - used) >= QSIZE)
			continue;
		vdrv_offer(q, 0);
		vdrv_kick(q);
	}
	return NULL;
}

static void test_reset_under_flood(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct flooder fl = { .m = m };
	pthread_t thread;
	uint32_t len;

	for (unsigned i = 0; i < 5; i++) {
		start(m, F_FLUSH | (i & 1 ? F_EVENT_IDX : 0));
		assert_int_equal(request(m, IN, 0, 512, &len), 0); /* fills in descriptor 0 .. 2 */
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
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t len;

	start(m, F_FLUSH);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	settle(m);
	f->slow.opaque = &m->q;
	f->slow.on_submit = refill;
	vdrv_offer(&m->q, 0);
	vdrv_kick(&m->q);
	for (unsigned i = 0; i < WAIT && f->slow.nr_log < 1000; i++)
		usleep(1000);
	assert_true(f->slow.nr_log >= 1000);
	alarm(20);
	vdrv_set_status(&m->d, 0);
	alarm(0);
	assert_int_equal(vdrv_status(&m->d), 0);
}

static void test_bus_master(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t id, len;

	start(m, F_FLUSH);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	pci_cfg_out(&m->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	add(m, 0, IN, 0, 512, 0);
	vdrv_kick(&m->q);
	assert_false(vdrv_used(&m->q, &id, &len, 20));
	pci_cfg_out(&m->bus, DEVFN, PCI_COMMAND, 2,
		    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(finish(m, 0, &len), 0);
}

/* The BARs move while the queue runs: doorbell and registers are where they are now. */
static void test_bars_move(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	uint32_t id, len;

	start(m, F_FLUSH);
	settle(m);
	usleep(20000); /* it looks once more before it sleeps */
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 1);
	pci_cfg_out(&m->bus, DEVFN, PCI_BAR0, 4, 0xe000);
	pci_cfg_out(&m->bus, DEVFN, PCI_BAR0 + 4, 4, 0xd0000000);
	add(m, 0, IN, 0, 512, 0);
	vdrv_kick(&m->q); /* to where it was */
	assert_false(vdrv_used(&m->q, &id, &len, 20));
	m->q.doorbell = 0xe000;
	vdrv_kick(&m->q);
	assert_int_equal(finish(m, 0, &len), 0);
	m->d.common.addr = 0xd0000000;
	assert_int_equal(vdrv_status(&m->d), 0x0f);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 1);
	/* A doorbell write of another width goes by the handler. */
	add(m, 0, IN, 0, 512, 0);
	outl(&m->bus, 0xe000, 0);
	assert_int_equal(finish(m, 0, &len), 0);
	vdrv_set_status(&m->d, 0);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 0);
}

/* The window in configuration space does what the BARs do, and no more (4.1.4.9). */
static void test_pci_cfg_window(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct bus *bus = &m->bus;
	unsigned cap = 0;
	uint32_t len;

	do
		cap = pci_cap_find(bus, DEVFN, PCI_CAP_VENDOR, cap);
	while (cap && pci_cfg_in(bus, DEVFN, cap + 3, 1) != 5);
	assert_int_not_equal(cap, 0);
	start(m, F_FLUSH);

	pci_cfg_out(bus, DEVFN, cap + 4, 1, m->d.common.bar);
	pci_cfg_out(bus, DEVFN, cap + 8, 4, 0x14);
	pci_cfg_out(bus, DEVFN, cap + 12, 4, 1);
	assert_int_equal(pci_cfg_in(bus, DEVFN, cap + 16, 1), 0x0f);
	pci_cfg_out(bus, DEVFN, cap + 8, 4, 0x16);
	pci_cfg_out(bus, DEVFN, cap + 12, 4, 2);
	pci_cfg_out(bus, DEVFN, cap + 16, 2, 0x1234);
	assert_int_equal(vdrv_common_in(&m->d, 0x16, 2), 0x1234);
	/* The doorbell. */
	add(m, 0, IN, 0, 512, 0);
	pci_cfg_out(bus, DEVFN, cap + 4, 1, m->d.notify.bar);
	pci_cfg_out(bus, DEVFN, cap + 8, 4, 0);
	pci_cfg_out(bus, DEVFN, cap + 16, 2, 0);
	assert_int_equal(finish(m, 0, &len), 0);
	/* Nonsense reads what was written last, and does nothing. */
	static const uint32_t bad[][3] = {
		{ 1, 0x14, 0 },
		{ 1, 0x14, 3 },
		{ 1, 0x14, 8 },
		{ 1, 0x1000, 4 },
		{ 1, 0xfffffffc, 4 },
		{ 1, 0x15, 2 },
		{ 5, 0, 4 },
		{ 6, 0, 4 },
		{ 255, 0, 4 },
		{ 0, 0xfffffffe, 2 },
		{ 1, 0x14, 0xffffffff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		pci_cfg_out(bus, DEVFN, cap + 4, 1, bad[i][0]);
		pci_cfg_out(bus, DEVFN, cap + 8, 4, bad[i][1]);
		pci_cfg_out(bus, DEVFN, cap + 12, 4, bad[i][2]);
		pci_cfg_out(bus, DEVFN, cap + 16, 4, 0);
		assert_int_equal(pci_cfg_in(bus, DEVFN, cap + 16, 4), 0);
	}
	assert_int_equal(vdrv_status(&m->d), 0x0f);
}

static void test_two_queues(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct vdrv_queue first, second;
	uint32_t len;

	open_image(f, false);
	machine_init(m, &f->mem, f->block, true, 2);
	assert_int_equal(vdrv_common_in(&m->d, 0x12, 2), 2);
	assert_true(vdrv_features(&m->d) & 1ull << 12);
	assert_int_equal(vdrv_device_in(&m->d, 34, 2), 2);
	assert_true(vdrv_start(&m->d, F_VERSION_1 | F_FLUSH | 1ull << 12));
	vdrv_msix_enable(&m->d, true);
	for (unsigned i = 0; i < 3; i++)
		vdrv_msix_entry(&m->d, i, 0xfee00000, 0x30 + i);
	vdrv_queue_setup(&m->d, &first, 0, QSIZE, RING(0), false);
	vdrv_queue_setup(&m->d, &second, 1, QSIZE / 2, RING(1), false);
	assert_int_not_equal(first.doorbell, second.doorbell);
	vdrv_driver_ok(&m->d);
	m->q = second;
	assert_int_equal(request(m, IN, 7, 512, &len), 0);
	check_pattern(m, DATA, 7 * 512, 512);
	assert_int_equal(taken_soon(m, 2), 1);
	assert_int_equal(taken(m, 1), 0);
	m->q = first;
	assert_int_equal(request(m, IN, 8, 512, &len), 0);
	assert_int_equal(taken_soon(m, 1), 1);
}

/* With requests waiting and indices past 0, into a fresh device over the same memory. */
static void test_state_round_trip(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m, to = { 0 };
	struct vdrv_queue q;
	uint32_t id, len;

	open_image(f, false);
	machine_init(m, &f->mem, f->block, true, 1);
	machine_init(&to, &f->mem, f->block, true, 1);
	start(m, F_FLUSH | F_INDIRECT | F_EVENT_IDX);
	for (unsigned i = 0; i < 21; i++)
		assert_int_equal(request(m, IN, i, 512, &len), 0);
	pci_cfg_out(&m->bus, DEVFN, PCI_BAR0 + 4, 4, 0xd0000000);
	(void)taken_soon(m, 1);
	bus_out(&m->bus, BUS_MMIO, 0xd0000000 + (m->d.msix_table.addr & 0xfff) + 28, 4, 1);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	virtio_pause(m->dev);
	virtio_pause(to.dev);
	add(m, 0, IN, 33, 512, TABLE);
	vdrv_kick(&m->q);
	check_state_round_trip(m->dev, to.dev);
	check_state_round_trip(&m->host->dev, &to.host->dev);

	/* The old one falls silent; the new one has the request, the BAR, the pending bit. */
	q = m->q;
	q.d = &to.d;
	assert_false(vdrv_used(&q, &id, &len, 20));
	virtio_resume(to.dev);
	to.q = q;
	assert_int_equal(finish(&to, 0, &len), 0);
	check_pattern(&to, DATA, 33 * 512, 512);
	to.d.common.addr = 0xd0000000;
	assert_int_equal(vdrv_status(&to.d), 0x0f);
	assert_int_equal(bus_in(&to.bus, BUS_MMIO, 0xd0000c00, 4), 2);
	bus_out(&to.bus, BUS_MMIO, 0xd0000000 + 0x800 + 28, 4, 0);
	assert_int_not_equal(taken(&to, 1), 0);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(request(&to, IN, i, 512, &len), 0);
	machine_fini(&to);
}

/* Also without a pause: whoever saves gets the indices. And a reset is as good as new. */
static void test_state_running(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct state_buf fresh = { 0 }, used = { 0 };
	struct virtio_pci *vp = container_of(m->dev, struct virtio_pci, vdev.dev);
	uint32_t len;

	device_reset(m->dev);
	assert_int_equal(state_save(m->dev, &fresh), 0);
	assert_int_equal(pci_assign(m->host), 0);
	start(m, F_FLUSH);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(request(m, IN, i, 512, &len), 0);
	assert_int_equal(state_save(m->dev, &used), 0);
	assert_int_equal(vp->s->virtio.next_avail[0], 5);
	state_buf_free(&used);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	device_reset(m->dev);
	assert_int_equal(state_save(m->dev, &used), 0);
	assert_int_equal(used.len, fresh.len);
	assert_memory_equal(used.data, fresh.data, used.len);
	state_buf_free(&used);
	state_buf_free(&fresh);
}

/* Streams that pass the checksum and lie. */
static void test_hostile_state(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct virtio_pci *vp = container_of(m->dev, struct virtio_pci, vdev.dev);
	struct virtio_pci_state *s = vp->s, good;
	uint32_t len;

	start(m, F_FLUSH);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
	virtio_pause(m->dev);
	good = *s;
	for (unsigned i = 0; i < 16; i++) {
		struct state_buf buf = { 0 };

		switch (i) {
		case 0:
			s->virtio.desc[0] = RAM - 16;
			break;
		case 1:
			s->virtio.used[0] |= 1;
			break;
		case 2:
			s->virtio.size[0] = 2 * QSIZE;
			break;
		case 3:
			s->virtio.size[0] = 0;
			break;
		case 4:
			s->virtio.next_used[0]++;
			break;
		case 5:
			s->virtio.enabled[1] = 1;
			break;
		case 6:
			s->virtio.size[15] = 4;
			break;
		case 7:
			s->virtio.driver_features |= 1ull << 50;
			break;
		case 8:
			s->virtio.driver_features &= ~F_VERSION_1;
			break;
		case 9:
			s->virtio.status = VIRTIO_STATUS_DRIVER_OK;
			break;
		case 10:
			s->virtio.status = 0x1f;
			break;
		case 11:
			s->queue_vector[0] = 2;
			break;
		case 12:
			s->queue_vector[1] = 0;
			break;
		case 13:
			s->config_vector = 0xfffe;
			break;
		case 14:
			s->isr = 4;
			break;
		default:
			s->msix.pending = 4;
			break;
		}
		/* pending is fetched on saving: lie in the stream, with a new checksum. */
		assert_int_equal(state_save(m->dev, &buf), 0);
		if (i == 15) {
			const char *name = "any.vp.msix.pending";
			uint8_t *p = memmem(buf.data, buf.len, name, strlen(name));

			p[strlen(name) + 8] = 4;
			store_le(buf.data + buf.len - 4, 4, util_crc32(0, buf.data, buf.len - 4));
		}
		*s = good;
		assert_int_equal(state_load(m->dev, buf.data, buf.len), -EBADMSG);
		assert_memory_equal(s, &good, sizeof(good));
		state_buf_free(&buf);
	}
	virtio_resume(m->dev);
	assert_int_equal(request(m, IN, 0, 512, &len), 0);
}

static void test_create_errors(void **state)
{
	struct fixture *f = *state;
	struct machine *m = &f->m;
	struct virtio_blk_config cfg = { .name = "virtio-blk1",
					 .at.pci = m->host,
					 .at.devfn = DEVFN,
					 .at.mem = m->mem,
					 .block = &f->slow.b };
	struct device *dev, *many[8];
	unsigned n = 0;

	assert_int_equal(virtio_blk_create(&cfg, &dev), -EEXIST);
	cfg.at.devfn = -1;
	cfg.queues = VIRTIO_MAX_QUEUES + 1;
	assert_int_equal(virtio_blk_create(&cfg, &dev), -EINVAL);
	cfg.queues = 1;
	cfg.at.queue_size = 100;
	assert_int_equal(virtio_blk_create(&cfg, &dev), -EINVAL);
	cfg.at.queue_size = 2 * VIRTQ_MAX_SIZE;
	assert_int_equal(virtio_blk_create(&cfg, &dev), -EINVAL);
	/* Too few vectors for the last: all that it took is given back. */
	cfg.at.queue_size = 0;
	cfg.queues = VIRTIO_MAX_QUEUES;
	while (n < ARRAY_SIZE(many) && !virtio_blk_create(&cfg, &many[n]))
		n++;
	assert_int_equal(n, FAKE_MSI_VECTORS / (VIRTIO_MAX_QUEUES + 1));
	while (n)
		device_destroy(many[--n]);
	assert_int_equal(virtio_blk_create(&cfg, &dev), 0);
	assert_int_equal(pci_cfg_in(&m->bus, 0x18, 0, 4), 0x10421af4);
	device_destroy(dev);
	assert_int_equal(pci_cfg_in(&m->bus, 0x18, 0, 4), 0xffffffff);
}

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identity, setup),
		T(test_handshake, setup),
		T(test_queue_registers, setup),
		T(test_read_write, setup),
		T(test_batch, setup),
		T(test_framing, setup),
		T(test_errors, setup),
		T(test_broken_queue, setup),
		T(test_readonly, setup_none),
		T(test_intx, setup_none),
		T(test_intx_and_msix, setup),
		T(test_writethrough, setup_slow),
		T(test_reset_in_flight, setup_slow),
		T(test_destroy_in_flight, setup_slow),
		T(test_reset_under_flood, setup),
		T(test_reset_of_endless_ring, setup_slow),
		T(test_bus_master, setup),
		T(test_bars_move, setup),
		T(test_pci_cfg_window, setup),
		T(test_two_queues, setup_none),
		T(test_state_round_trip, setup_none),
		T(test_state_running, setup),
		T(test_hostile_state, setup),
		T(test_create_errors, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
