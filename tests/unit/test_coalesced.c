/* SPDX-License-Identifier: MIT */
/*
 * Coalesced I/O: the ring in which KVM keeps writes back, and lists of accesses that are wrong. That all
 * does what the same accesses do one by one: test_coalesced_same.c.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/coalesced_io.h"
#include "tests/unit/coalesced_side.h"

#define NOBODY 0x1230

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
		cmocka_unit_test(test_zones),   cmocka_unit_test(test_full),
		cmocka_unit_test(test_threads), cmocka_unit_test(test_changed_meanwhile),
		cmocka_unit_test(test_wrong),   cmocka_unit_test(test_limits),
		cmocka_unit_test(test_nobody),
	};

	return cmocka_run_group_tests_name("coalesced", tests, NULL, NULL);
}
