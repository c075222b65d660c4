/* SPDX-License-Identifier: MIT */
/*
 * Coalesced I/O, both ways, against the same accesses one by one: lists of accesses in a page of
 * the guest's, and writes that KVM keeps back in its ring, whose kernel half is played here.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/platform.h"
#include "base/state.h"
#include "cpu/coalesced_io.h"
#include "cpu/coalesced_pio.h"
#include "devices/pc/rtc.h"
#include "guests/include/bantam/coalesced_io.h"
#include "tests/unit/ide_driver.h"

#define PAGE 0x20000ull /* the list's */
#define STRINGS 0x200000ull
#define STRINGS_LEN 0x10000ull
#define RING_SIZE \
	((4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))
#define NOBODY 0x1230

/* --- a machine, and a KVM that keeps writes back ---------------------------------------------- */

struct side {
	struct ide_world w;
	struct fake_clock clock;
	struct fake_irq rtc_irq;
	struct device *rtc;
	/* The kernel's. */
	struct kvm_coalesced_mmio_ring *ring; /* a page */
	struct coalesced_pio posted;
	pthread_mutex_t ring_lock; /* as the kernel's */
	struct {
		uint64_t port, len;
	} zones[32];
	unsigned nr_zones, kept;
};

static void side_post(void *ctx, uint64_t port, uint64_t len, bool add)
{
	struct side *s = ctx;

	for (unsigned i = 0; !add && i < s->nr_zones; i++)
		if (s->zones[i].port == port && s->zones[i].len == len)
			s->zones[i] = s->zones[--s->nr_zones];
	if (!add)
		return;
	assert_true(s->nr_zones < ARRAY_SIZE(s->zones));
	s->zones[s->nr_zones].port = port;
	s->zones[s->nr_zones++].len = len;
}

static void side_sync(void *ctx)
{
	struct side *s = ctx;

	coalesced_pio_sync(&s->posted);
}

static int no_eventfd(void *ctx, enum bus_space space, const struct bus_eventfd *e, bool add)
{
	(void)ctx;
	(void)space;
	(void)e;
	(void)add;
	return 0;
}

static void side_init(struct side *s, bool posts)
{
	static const int64_t places[4] = { 4096, IDE_NONE, 2048, 2048 };
	const struct bus_accel accel = { no_eventfd, side_post, side_sync, s };
	struct rtc_config rtc = {
		.name = "rtc",
		.bus = &s->w.bus,
		.irq = fake_irq(&s->rtc_irq),
		.clock = &s->clock.clock,
		.low_ram = IDE_RAM,
		.cpus = 1,
	};

	memset(s, 0, sizeof(*s));
	ide_world_init(&s->w, places, true);
	fake_clock_init(&s->clock);
	assert_int_equal(rtc_create(&rtc, &s->rtc), 0);
	pthread_mutex_init(&s->ring_lock, NULL);
	pthread_mutex_init(&s->posted.lock, NULL);
	s->posted.vm_fd = -1;
	s->posted.bus = &s->w.bus;
	s->ring = calloc(1, 4096);
	assert_non_null(s->ring);
	s->posted.ring = s->ring;
	s->posted.size = RING_SIZE;
	if (posts)
		assert_int_equal(bus_set_accel(&s->w.bus, &accel), 0);
	for (unsigned i = 0; i < 4; i++)
		if (places[i])
			ide_disk_fill(&s->w.disks[i], 0, 64, i);
	ide_pattern(ide_ram(&s->w, STRINGS), STRINGS_LEN, 9);
}

static void side_destroy(struct side *s)
{
	device_destroy(s->rtc);
	ide_world_destroy(&s->w);
	pthread_mutex_destroy(&s->ring_lock);
	coalesced_pio_destroy(&s->posted);
	free(s->ring);
}

static bool in_zone(const struct side *s, uint64_t port, unsigned width)
{
	for (unsigned i = 0; i < s->nr_zones; i++)
		if (port >= s->zones[i].port && port + width <= s->zones[i].port + s->zones[i].len)
			return true;
	return false;
}

/* As virt/kvm/coalesced_mmio.c: false where the write has to leave the kernel. */
static bool keep_back(struct side *s, uint64_t port, const void *data, unsigned width)
{
	struct kvm_coalesced_mmio_ring *ring = s->ring;
	uint32_t last;
	bool room;

	if (!in_zone(s, port, width))
		return false;
	pthread_mutex_lock(&s->ring_lock);
	last = ring->last;
	room = (__atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) + RING_SIZE - last - 1) % RING_SIZE;
	if (room) {
		ring->coalesced_mmio[last] =
			(struct kvm_coalesced_mmio){ .phys_addr = port, .len = width };
		memcpy(ring->coalesced_mmio[last].data, data, width);
		__atomic_store_n(&ring->last, (last + 1) % RING_SIZE, __ATOMIC_RELEASE);
		s->kept++;
	}
	pthread_mutex_unlock(&s->ring_lock);
	return room;
}

static void guest_out(struct side *s, uint64_t port, unsigned width, uint32_t value)
{
	if (!keep_back(s, port, &value, width))
		bus_write(&s->w.bus, BUS_PIO, port, &value, width);
}

static struct coalesced_io_page *page_of(struct side *s)
{
	return ide_ram(&s->w, PAGE);
}

static unsigned ring_bell(struct side *s)
{
	unsigned accesses;
	bool found;

	accesses = coalesced_io_run(&s->w.bus, &s->w.mem, PAGE, &found);
	assert_true(found);
	return accesses;
}

/* --- the property ----------------------------------------------------------------------------- */

static void same_device(struct device *a, struct device *b)
{
	struct state_buf x = { 0 }, y = { 0 };

	assert_int_equal(state_save(a, &x), 0);
	assert_int_equal(state_save(b, &y), 0);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	state_buf_free(&x);
	state_buf_free(&y);
}

static void same(struct side *a, struct side *b)
{
	bus_sync(&a->w.bus);
	bus_sync(&b->w.bus);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++) {
		same_device(a->w.ch[i], b->w.ch[i]);
		assert_int_equal(a->w.irq[i].raised, b->w.irq[i].raised);
		assert_int_equal(a->w.irq[i].level, b->w.irq[i].level);
	}
	same_device(a->rtc, b->rtc);
	assert_int_equal(a->rtc_irq.raised, b->rtc_irq.raised);
	assert_memory_equal(ide_ram(&a->w, STRINGS), ide_ram(&b->w, STRINGS), STRINGS_LEN);
	assert_memory_equal(ide_ram(&a->w, IDE_DATA), ide_ram(&b->w, IDE_DATA), 0x10000);
}

static uint32_t next_random(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 8;
}

/*
 * Any access but those that start I/O of the host's: when that ends is not the guest's to say, so
 * that two runs may differ.
 */
static void random_port(struct coalesced_io_entry *e, uint32_t *x)
{
	static const uint8_t commands[] = { 0x00, 0x90, 0x91, 0xa1, 0xc6,
					    0xe5, 0xec, 0xec, 0xef, 0xff };
	static const uint16_t bases[] = { PLATFORM_PORT_IDE0, PLATFORM_PORT_IDE1 };
	uint32_t v = next_random(x);

	e->width = 1;
	switch (next_random(x) % 8) {
	case 0:
		e->port = v & 1 ? PLATFORM_PORT_RTC_INDEX : PLATFORM_PORT_RTC_DATA;
		break;
	case 1:
		e->port = (uint16_t)(IDE_BM_BASE + v % 16);
		v = next_random(x) & (e->port & 7 ? 0xff : 0x08); /* never START */
		break;
	case 2:
		e->port = (uint16_t)(IDE_BM_BASE + 4 + (v & 8));
		e->width = 4;
		break;
	case 3:
		e->port = v & 1 ? PLATFORM_PORT_IDE0_CONTROL : PLATFORM_PORT_IDE1_CONTROL;
		v = next_random(x) & 0x86;
		break;
	case 4:
		e->port = bases[v & 1];
		e->width = (uint8_t)(1u << next_random(x) % 3);
		break;
	case 5:
		e->port = bases[v & 1] + ATA_COMMAND;
		v = commands[next_random(x) % sizeof(commands)];
		break;
	case 6:
		e->port = (uint16_t)(bases[v & 1] + ATA_COUNT);
		e->width = 2;
		break;
	default:
		e->port = (uint16_t)(bases[v & 1] + 1 + next_random(x) % 6);
		break;
	}
	e->value = (uint32_t)(v & width_mask(e->width));
}

static void random_entry(struct coalesced_io_entry *e, uint32_t *x)
{
	unsigned kind = next_random(x) % 12;
	uint32_t value;

	memset(e, 0, sizeof(*e));
	random_port(e, x);
	e->op = kind < 6 ? COALESCED_IO_OUT : COALESCED_IO_IN;
	value = e->value;
	if (e->op == COALESCED_IO_IN)
		e->value = 0;
	if (kind == 10) {
		e->op = COALESCED_IO_POLL;
		e->mask = next_random(x) & 1; /* mostly it holds */
		e->value = value & e->mask & next_random(x);
		e->count = 1 + next_random(x) % 3;
	}
	if (kind == 11)
		*e = (struct coalesced_io_entry){ .op = COALESCED_IO_BARRIER };
	if (kind == 9 && e->port <= PLATFORM_PORT_IDE0 && !(e->port & 7)) {
		e->op = next_random(x) & 1 ? COALESCED_IO_IN_STRING : COALESCED_IO_OUT_STRING;
		e->count = 1 + next_random(x) % (next_random(x) & 7 ? 300 : 3000);
		e->addr = STRINGS + next_random(x) % (STRINGS_LEN - 12000);
	}
}

/* The same as a guest without lists does it. False: a poll that does not hold. */
static bool do_single(struct side *s, const struct coalesced_io_entry *e, uint32_t *read)
{
	void *p = e->addr ? ide_ram(&s->w, e->addr) : NULL;

	switch (e->op) {
	case COALESCED_IO_OUT:
		guest_out(s, e->port, e->width, e->value);
		break;
	case COALESCED_IO_OUT_STRING:
		bus_write_rep(&s->w.bus, BUS_PIO, e->port, p, e->width, e->count);
		break;
	case COALESCED_IO_IN_STRING:
		bus_read_rep(&s->w.bus, BUS_PIO, e->port, p, e->width, e->count);
		break;
	case COALESCED_IO_IN:
		*read = (uint32_t)bus_in(&s->w.bus, BUS_PIO, e->port, e->width);
		break;
	case COALESCED_IO_POLL:
		for (uint32_t i = 0; i < e->count; i++) {
			*read = (uint32_t)bus_in(&s->w.bus, BUS_PIO, e->port, e->width);
			if ((*read & e->mask) == e->value)
				return true;
		}
		return false;
	default:
		break;
	}
	return true;
}

struct lines {
	struct fake_irq irq[IDE_NR_CHANNELS], rtc;
};

static struct lines lines_of(const struct side *s)
{
	return (struct lines){ { s->w.irq[0], s->w.irq[1] }, s->rtc_irq };
}

/* The same, and what may be kept back on one side does not show in an interrupt on the other. */
static bool do_checked(struct side *s, const struct side *posts, const struct coalesced_io_entry *e,
		       uint32_t *read)
{
	bool silent = e->op == COALESCED_IO_OUT && in_zone(posts, e->port, e->width);
	const struct lines before = lines_of(s);
	bool holds = do_single(s, e, read);
	const struct lines after = lines_of(s);

	for (unsigned i = 0; silent && i < IDE_NR_CHANNELS; i++) {
		assert_int_equal(after.irq[i].level, before.irq[i].level);
		assert_int_equal(after.irq[i].raised, before.irq[i].raised);
	}
	assert_true(!silent || after.rtc.raised == before.rtc.raised);
	return holds;
}

static void test_any_list(void **state)
{
	static struct side sides[3]; /* plain, with lists, with writes kept back */
	struct coalesced_io_page *page;
	uint32_t x = 1, polls = 0, kept;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		side_init(&sides[i], i == 2);
	page = page_of(&sides[1]);
	for (unsigned round = 0; round < 400; round++) {
		uint32_t reads[2][COALESCED_IO_MAX_ENTRIES] = { 0 }, n;
		bool holds = true;

		page->count = 1 + next_random(&x) % COALESCED_IO_MAX_ENTRIES;
		page->flags = 0;
		for (uint32_t i = 0; i < page->count; i++)
			random_entry(&page->entry[i], &x);
		for (n = 0; n < page->count && holds; n++) {
			holds = do_checked(&sides[0], &sides[2], &page->entry[n], &reads[0][n]);
			assert_true(do_single(&sides[2], &page->entry[n], &reads[1][n]) == holds);
		}
		ring_bell(&sides[1]);
		polls += !holds;
		assert_int_equal(page->result, holds ? COALESCED_IO_OK : COALESCED_IO_E_POLL);
		assert_int_equal(page->failed, holds ? page->count : n - 1);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(page->entry[i].read, reads[0][i]);
			assert_int_equal(reads[1][i], reads[0][i]);
		}
		same(&sides[0], &sides[1]);
		same(&sides[0], &sides[2]);
	}
	kept = sides[2].kept;
	assert_true(polls > 50 && polls < 350);
	assert_true(kept > 2000);
	assert_int_equal(sides[2].w.bus.posted, kept);
	for (unsigned i = 0; i < 3; i++)
		side_destroy(&sides[i]);
}

/* --- requests by DMA ---------------------------------------------------------------------------- */

static void issue(struct coalesced_io_page *page, uint32_t lba, bool to_memory)
{
	uint8_t direction = to_memory ? BM_COMMAND_TO_MEMORY : 0;
	const struct {
		uint16_t port;
		uint8_t width;
		uint32_t value;
	} outs[] = {
		{ PLATFORM_PORT_IDE0 + ATA_DEVICE, 1, 0xe0 },
		{ PLATFORM_PORT_IDE0 + ATA_COUNT, 1, 8 },
		{ PLATFORM_PORT_IDE0 + ATA_LBA_LOW, 1, lba },
		{ PLATFORM_PORT_IDE0 + ATA_LBA_MID, 1, 0 },
		{ PLATFORM_PORT_IDE0 + ATA_LBA_HIGH, 1, 0 },
		{ IDE_BM_BASE + BM_TABLE, 4, IDE_PRD },
		{ IDE_BM_BASE + BM_STATUS, 1, BM_STATUS_INTERRUPT | BM_STATUS_ERROR },
		{ IDE_BM_BASE + BM_COMMAND, 1, direction },
		{ PLATFORM_PORT_IDE0 + ATA_COMMAND, 1, to_memory ? 0xc8 : 0xca },
		{ IDE_BM_BASE + BM_COMMAND, 1, direction | BM_COMMAND_START },
	};

	page->flags = 0;
	page->count = ARRAY_SIZE(outs);
	for (unsigned i = 0; i < ARRAY_SIZE(outs); i++)
		coalesced_io_out(&page->entry[i], outs[i].width, outs[i].port, outs[i].value);
}

static void complete(struct coalesced_io_page *page)
{
	page->count = 4;
	coalesced_io_poll(&page->entry[0], 1, IDE_BM_BASE + BM_STATUS, BM_STATUS_INTERRUPT,
			  BM_STATUS_INTERRUPT, 1);
	coalesced_io_out(&page->entry[1], 1, IDE_BM_BASE + BM_COMMAND, 0);
	coalesced_io_in(&page->entry[2], 1, PLATFORM_PORT_IDE0 + ATA_STATUS);
	coalesced_io_out(&page->entry[3], 1, IDE_BM_BASE + BM_STATUS, BM_STATUS_INTERRUPT);
}

static void do_page(struct side *s, bool list)
{
	struct coalesced_io_page *page = page_of(s);
	uint32_t read;

	if (list) {
		ring_bell(s);
		assert_int_equal(page->result, COALESCED_IO_OK);
		return;
	}
	for (uint32_t i = 0; i < page->count; i++)
		assert_true(do_single(s, &page->entry[i], &read));
}

/*
 * Writes while the disk has the command are ignored, or change what the bus master has read
 * already; and are so before it ends, however long they were kept back.
 */
static void write_meanwhile(struct side *s)
{
	guest_out(s, PLATFORM_PORT_IDE0 + ATA_LBA_LOW, 1, 0x99);
	guest_out(s, PLATFORM_PORT_IDE0 + ATA_COUNT, 1, 0x98);
	guest_out(s, IDE_BM_BASE + BM_STATUS, 1, 0x24);
	guest_out(s, IDE_BM_BASE + BM_TABLE, 4, 0x30000);
}

static void test_dma(void **state)
{
	static struct side sides[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		side_init(&sides[i], i == 2);
	for (uint32_t round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 3; i++) {
			struct side *s = &sides[i];
			bool hold = round % 2;

			ide_prd(&s->w, 0, IDE_DATA, 4096, true);
			issue(page_of(s), round * 3 % 50, round % 4 != 2);
			s->w.disks[0].hold = hold;
			do_page(s, i == 1);
			if (hold) {
				ide_disk_wait_submitted(&s->w.disks[0], round + 1);
				write_meanwhile(s);
				ide_disk_release(&s->w.disks[0]);
			}
			ide_settle(&s->w);
			ide_settle(&s->w);
			complete(page_of(s));
			do_page(s, i == 1);
		}
		same(&sides[0], &sides[1]);
		same(&sides[0], &sides[2]);
	}
	assert_int_equal(sides[0].w.irq[0].raised, 20);
	assert_true(sides[2].kept > 20 * 8);
	for (unsigned i = 0; i < 3; i++)
		side_destroy(&sides[i]);
}

/* --- the ring ------------------------------------------------------------------------------------ */

static void test_zones(void **state)
{
	static struct side s;
	const struct {
		uint64_t port;
		unsigned width;
		bool kept;
	} writes[] = {
		{ 0x1f0, 2, false }, { 0x1f1, 1, true },   { 0x1f2, 2, true },
		{ 0x1f5, 1, true },  { 0x1f6, 1, true }, /* the channel has one drive */
		{ 0x1f6, 2, false }, { 0x1f7, 1, false },  { 0x3f6, 1, false },
		{ 0x175, 1, true },  { 0x176, 1, false }, /* and this one two */
		{ 0x177, 1, false }, { 0xc000, 1, false }, { 0xc001, 1, false },
		{ 0xc002, 1, true }, { 0xc002, 2, false }, { 0xc004, 4, true },
		{ 0xc00a, 1, true }, { 0x70, 1, true },    { 0x70, 2, false },
		{ 0x71, 1, false },  { 0xcf8, 4, false },
	};

	(void)state;
	side_init(&s, true);
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		uint32_t v = 0;

		if (keep_back(&s, writes[i].port, &v, writes[i].width) != writes[i].kept)
			fail_msg("port %x, width %u", (unsigned)writes[i].port, writes[i].width);
	}
	bus_sync(&s.w.bus);
	assert_int_equal(s.ring->first, s.ring->last);
	side_destroy(&s);
}

static void test_full(void **state)
{
	static struct side s;
	uint32_t v = 0;

	(void)state;
	side_init(&s, true);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < RING_SIZE - 1; i++) {
			v = i;
			assert_true(keep_back(&s, 0x1f3, &v, 1));
		}
		v = 0xaa;
		assert_false(keep_back(&s, 0x1f3, &v, 1));
		/* So it exits, and finds all that was before it done. */
		bus_write(&s.w.bus, BUS_PIO, 0x1f4, &v, 1);
		assert_int_equal(s.ring->first, s.ring->last);
		assert_int_equal(inb(&s.w.bus, 0x1f3), (uint8_t)(RING_SIZE - 2));
		assert_int_equal(inb(&s.w.bus, 0x1f4), 0xaa);
	}
	side_destroy(&s);
}

struct writer {
	struct side *s;
	unsigned reg;
	unsigned wrong;
};

/* Each reads back what it has written, whoever empties the ring. */
static void *write_and_read(void *opaque)
{
	struct writer *w = opaque;

	for (unsigned i = 0; i < 5000; i++) {
		for (unsigned k = 0; k < i % 5; k++)
			guest_out(w->s, 0x1f0 + w->reg, 1, i + 7 * k);
		guest_out(w->s, 0x1f0 + w->reg, 1, i);
		w->wrong += inb(&w->s->w.bus, 0x1f0 + w->reg) != (uint8_t)i;
	}
	return NULL;
}

static void test_threads(void **state)
{
	static struct side s;
	struct writer w[3] = { { &s, ATA_COUNT, 0 },
			       { &s, ATA_LBA_LOW, 0 },
			       { &s, ATA_LBA_MID, 0 } };
	pthread_t threads[3];

	(void)state;
	side_init(&s, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &w[i]), 0);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(w[i].wrong, 0);
	}
	side_destroy(&s);
}

/* --- lists that are wrong ------------------------------------------------------------------------ */

/* A device that looks at the page, and changes it, while a list is under way. */
struct spy {
	struct device dev;
	struct coalesced_io_page *page;
	uint32_t told, writes;
};

static uint64_t spy_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)dev;
	(void)width;
	return 0x40 + offset;
}

static void spy_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct spy *spy = container_of(dev, struct spy, dev);

	(void)offset;
	(void)width;
	(void)value;
	spy->writes++;
	spy->told = spy->page->entry[0].read;
	memset(spy->page->entry, 0xff, 64 * sizeof(spy->page->entry[0]));
	spy->page->count = ~0u;
}

static void spy_destroy(struct device *dev)
{
	(void)dev;
}

static void spy_init(struct spy *spy, struct side *s)
{
	static const struct device_ops dev_ops = { .type = "spy", .destroy = spy_destroy };
	static const struct bus_ops ops = { .max_width = 1, .read = spy_read, .write = spy_write };

	memset(spy, 0, sizeof(*spy));
	device_init(&spy->dev, &dev_ops, "spy");
	spy->page = page_of(s);
	assert_int_equal(bus_add(&s->w.bus, BUS_PIO, 0x900, 4, &spy->dev, &ops), 0);
}

static void test_changed_meanwhile(void **state)
{
	static struct side s;
	struct coalesced_io_page *page;
	struct spy spy;

	(void)state;
	side_init(&s, false);
	spy_init(&spy, &s);
	page = page_of(&s);
	for (unsigned barrier = 0; barrier < 2; barrier++) {
		memset(page, 0, sizeof(*page));
		spy.writes = 0;
		page->count = 4;
		coalesced_io_in(&page->entry[0], 1, 0x903);
		if (barrier)
			coalesced_io_barrier(&page->entry[1]);
		else
			coalesced_io_in(&page->entry[1], 1, 0x901);
		coalesced_io_out(&page->entry[2], 1, 0x900, 1);
		coalesced_io_out(&page->entry[3], 1, 0x900, 1);
		assert_int_equal(ring_bell(&s), 4 - barrier);
		assert_int_equal(spy.writes, 2); /* as the list was */
		assert_int_equal(page->result, COALESCED_IO_OK);
		assert_int_equal(page->failed, 4);
		page->entry[0].read = 0;
	}
	/* What a barrier has behind it is there in time, and was told once. */
	memset(page, 0, sizeof(*page));
	page->count = 3;
	coalesced_io_in(&page->entry[0], 1, 0x903);
	coalesced_io_barrier(&page->entry[1]);
	coalesced_io_out(&page->entry[2], 1, 0x900, 1);
	ring_bell(&s);
	assert_int_equal(spy.told, 0x43);
	assert_int_equal(page->entry[0].read, 0xffffffff);
	assert_int_equal(page->entry[2].done, 1);
	device_destroy(&spy.dev);
	assert_int_equal(bus_remove(&s.w.bus, BUS_PIO, 0x900), 0);
	side_destroy(&s);
}

static void test_wrong(void **state)
{
	enum { IN = COALESCED_IO_IN, OUT = COALESCED_IO_OUT, POLL = COALESCED_IO_POLL };
	enum { INS = COALESCED_IO_IN_STRING, OUTS = COALESCED_IO_OUT_STRING };
	static const struct {
		struct coalesced_io_entry e;
		uint32_t result;
	} wrong[] = {
		{ { .op = 0, .width = 1, .port = 0x1f3 }, COALESCED_IO_E_OP },
		{ { .op = 7, .width = 1, .port = 0x1f3 }, COALESCED_IO_E_OP },
		{ { .op = 255, .width = 1, .port = 0x1f3 }, COALESCED_IO_E_OP },
		{ { .op = IN, .width = 0, .port = 0x1f3 }, COALESCED_IO_E_WIDTH },
		{ { .op = IN, .width = 3, .port = 0x1f3 }, COALESCED_IO_E_WIDTH },
		{ { .op = IN, .width = 8, .port = 0x1f3 }, COALESCED_IO_E_WIDTH },
		{ { .op = IN, .width = 1, .value = 1 }, COALESCED_IO_E_RESERVED },
		{ { .op = OUT, .width = 1, .mask = 1 }, COALESCED_IO_E_RESERVED },
		{ { .op = OUT, .width = 1, .count = 1 }, COALESCED_IO_E_RESERVED },
		{ { .op = POLL, .width = 1, .count = 1, .addr = 1 }, COALESCED_IO_E_RESERVED },
		{ { .op = COALESCED_IO_BARRIER, .width = 1 }, COALESCED_IO_E_RESERVED },
		{ { .op = COALESCED_IO_BARRIER, .count = 1 }, COALESCED_IO_E_RESERVED },
		{ { .op = IN, .width = 2, .port = 0xffff }, COALESCED_IO_E_RANGE },
		{ { .op = IN, .width = 4, .port = 0xfffd }, COALESCED_IO_E_RANGE },
		{ { .op = OUT, .width = 4, .port = 0x520 }, COALESCED_IO_E_RANGE },
		{ { .op = OUT, .width = 4, .port = 0x51d }, COALESCED_IO_E_RANGE },
		{ { .op = IN, .width = 1, .port = 0x523 }, COALESCED_IO_E_RANGE },
		{ { .op = POLL, .width = 1, .port = 0x1f3 }, COALESCED_IO_E_LIMIT },
		{ { .op = POLL, .width = 1, .port = 0x1f3, .count = 32768 }, COALESCED_IO_E_LIMIT },
		{ { .op = INS, .width = 1, .addr = STRINGS }, COALESCED_IO_E_LIMIT },
		{ { .op = INS, .width = 4, .count = ~0u, .addr = 8 }, COALESCED_IO_E_LIMIT },
		{ { .op = INS, .width = 4, .count = 1, .addr = IDE_RAM - 3 }, COALESCED_IO_E_ADDR },
		{ { .op = OUTS, .width = 4, .count = 1, .addr = IDE_RAM - 3 },
		  COALESCED_IO_E_ADDR },
		{ { .op = OUTS, .width = 4, .count = 2, .addr = ~3ull }, COALESCED_IO_E_ADDR },
		{ { .op = INS, .width = 2, .count = 1, .addr = ~1ull }, COALESCED_IO_E_ADDR },
	};
	static struct side s;
	struct coalesced_io_page *page;

	(void)state;
	side_init(&s, false);
	page = page_of(&s);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		memset(page, 0, sizeof(*page));
		page->count = 3;
		coalesced_io_out(&page->entry[0], 1, 0x1f3, 0x77);
		page->entry[1] = wrong[i].e;
		coalesced_io_out(&page->entry[2], 1, 0x1f3, 0x78);
		page->entry[0].done = page->entry[1].done = 0x99;
		assert_int_equal(ring_bell(&s), 0);
		if (page->result != wrong[i].result)
			fail_msg("%u: result %u", i, page->result);
		assert_int_equal(page->failed, 1);
		assert_int_equal(page->entry[0].done, 0x99);
		assert_int_equal(page->entry[1].done, 0x99);
		assert_int_equal(inb(&s.w.bus, 0x1f3), 1); /* the signature */
	}
	for (unsigned i = 0; i < 4; i++) {
		static const uint32_t counts[] = { 0, 128, 0x80000000, ~0u };

		page->count = counts[i];
		assert_int_equal(ring_bell(&s), 0);
		assert_int_equal(page->result, COALESCED_IO_E_COUNT);
		assert_int_equal(page->failed, 0);
	}
	page->count = 1;
	page->flags = 0x80000000;
	assert_int_equal(ring_bell(&s), 0);
	assert_int_equal(page->result, COALESCED_IO_E_RESERVED);
	side_destroy(&s);
}

/* A list is as long as it may be: 127 entries, 32768 accesses. */
static void test_limits(void **state)
{
	static struct side s;
	struct coalesced_io_page *page;

	(void)state;
	side_init(&s, false);
	page = page_of(&s);
	memset(page, 0, sizeof(*page));
	page->count = COALESCED_IO_MAX_ENTRIES;
	for (unsigned i = 0; i < page->count; i++)
		coalesced_io_out(&page->entry[i], 1, 0x1f3, i);
	coalesced_io_poll(&page->entry[9], 1, 0x1f4, 1, 2, COALESCED_IO_MAX_ACCESSES - 126);
	assert_int_equal(ring_bell(&s), COALESCED_IO_MAX_ACCESSES - 126 + 9);
	assert_int_equal(page->result, COALESCED_IO_E_POLL);
	assert_int_equal(page->failed, 9);
	assert_int_equal(page->entry[9].done, COALESCED_IO_MAX_ACCESSES - 126);
	assert_int_equal(page->entry[10].done, 0);
	page->entry[9].count++;
	assert_int_equal(ring_bell(&s), 0);
	assert_int_equal(page->result, COALESCED_IO_E_LIMIT);
	assert_int_equal(page->failed, 126); /* the one for which there was no room */
	side_destroy(&s);
}

static void test_nobody(void **state)
{
	static const uint64_t nowhere[] = { IDE_RAM, IDE_RAM - 2048, ~0xfffull, 0xfee00000,
					    0xffffffff000 };
	static struct side s;
	struct coalesced_io_page *page;
	bool found;

	(void)state;
	side_init(&s, false);
	page = page_of(&s);
	memset(page, 0, sizeof(*page));
	page->count = 3;
	coalesced_io_out(&page->entry[0], 1, 0x1f3, 0x33);
	coalesced_io_string(&page->entry[1], COALESCED_IO_IN_STRING, 1, NOBODY, STRINGS, 5);
	coalesced_io_out(&page->entry[2], 1, 0x1f3, 0x44);
	assert_int_equal(ring_bell(&s), 1);
	assert_int_equal(page->result, COALESCED_IO_E_PORT);
	assert_int_equal(page->failed, 1);
	assert_int_equal(page->entry[0].done, 1);
	assert_int_equal(page->entry[1].done, 0);
	assert_int_equal(inb(&s.w.bus, 0x1f3), 0x33);
	/* Half of an access is none: 1f7 is the disk's, 1f8 nobody's. */
	coalesced_io_out(&page->entry[1], 2, 0x1f7, 0xecec);
	assert_int_equal(ring_bell(&s), 1);
	assert_int_equal(page->result, COALESCED_IO_E_PORT);
	assert_int_equal(inb(&s.w.bus, 0x1f7), ATA_STATUS_DRDY | ATA_STATUS_DSC);
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		assert_int_equal(coalesced_io_run(&s.w.bus, &s.w.mem, nowhere[i], &found), 0);
		assert_false(found);
	}
	side_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_list), cmocka_unit_test(test_dma),
		cmocka_unit_test(test_zones),    cmocka_unit_test(test_full),
		cmocka_unit_test(test_threads),  cmocka_unit_test(test_changed_meanwhile),
		cmocka_unit_test(test_wrong),    cmocka_unit_test(test_limits),
		cmocka_unit_test(test_nobody),
	};

	return cmocka_run_group_tests_name("coalesced", tests, NULL, NULL);
}
