/* SPDX-License-Identifier: MIT */
/* fw_cfg, driven at its ports as firmware does, and as a hostile guest might. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/state.h"
#include "devices/pc/fw_cfg.h"
#include "tests/unit/fake.h"

#define SELECTOR 0x510
#define DATA 0x511
#define DMA_HIGH 0x514
#define DMA_LOW 0x518

#define CTL_ERROR 1u
#define CTL_READ 2u
#define CTL_SKIP 4u
#define CTL_SELECT 8u
#define CTL_WRITE 16u

#define BLOCK 0x1000 /* where the control block is */
#define TARGET 0x2000

static const struct fw_item items[] = {
	{ .name = "b/file", .data = "0123456789", .len = 10 },
	{ .key = 5, .data = "\x02\x00", .len = 2 },
	{ .name = "a/file", .data = "abc", .len = 3 },
	{ .name = "empty", .len = 0 },
	{ .key = 0x8002, .data = "\x01", .len = 1 },
};

struct fixture {
	struct bus bus;
	struct mem mem;
	struct device *dev;
};

static int create(struct bus *bus, struct mem *mem, const struct fw_item *list, size_t nr,
		  struct device **dev)
{
	const struct fw_cfg_config cfg = {
		.name = "fw-cfg",
		.bus = bus,
		.mem = mem,
		.items = list,
		.nr_items = nr,
	};

	return fw_cfg_create(&cfg, dev);
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	bus_init(&f.bus);
	if (mem_init(&f.mem, 2 * MIB))
		return -1;
	*state = &f;
	return create(&f.bus, &f.mem, items, ARRAY_SIZE(items), &f.dev);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	device_destroy(f->dev);
	assert_int_equal(inb(&f->bus, DATA), 0xff);
	assert_int_equal(inl(&f->bus, DMA_LOW), 0xffffffff);
	bus_destroy(&f->bus);
	mem_destroy(&f->mem);
	return 0;
}

static void check_bytes(struct fixture *f, const char *want, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(inb(&f->bus, DATA), (uint8_t)want[i]);
}

/* What the control field says afterwards. */
static uint32_t dma(struct fixture *f, uint32_t control, uint32_t len, uint64_t to)
{
	uint8_t *p = mem_at(&f->mem, BLOCK, 16);

	store_le(p, 4, htobe32(control));
	store_le(p + 4, 4, htobe32(len));
	store_le(p + 8, 8, htobe64(to));
	outl(&f->bus, DMA_LOW, htobe32(BLOCK));
	return be32toh((uint32_t)load_le(p, 4));
}

static void keys(void **state)
{
	struct fixture *f = *state;

	check_bytes(f, "QEMU\0\0", 6); /* selected at power-on */
	outw(&f->bus, SELECTOR, 1);
	check_bytes(f, "\x03\0\0\0\0", 5);
	outw(&f->bus, SELECTOR, 5);
	check_bytes(f, "\x02\0\0", 3);
	outw(&f->bus, SELECTOR, 0x8002);
	check_bytes(f, "\x01\0", 2);
	outw(&f->bus, SELECTOR, 0x4005); /* the write bit of old changes nothing */
	check_bytes(f, "\x02\0\0", 3);
	/* what there is not is all zeroes */
	outw(&f->bus, SELECTOR, 0xd);
	check_bytes(f, "\0\0\0", 3);
	outw(&f->bus, SELECTOR, 0xffff);
	check_bytes(f, "\0", 1);
	outw(&f->bus, SELECTOR, 0);
	check_bytes(f, "QE", 2);
	/* neither writing data nor half a selector is anything */
	outb(&f->bus, DATA, 'x');
	outb(&f->bus, SELECTOR, 5);
	check_bytes(f, "MU", 2);
	assert_int_equal(inw(&f->bus, SELECTOR), 0xffff);
}

static void strings(void **state)
{
	struct fixture *f = *state;
	char buf[16];

	outw(&f->bus, SELECTOR, 0x21);
	assert_true(bus_read_rep(&f->bus, BUS_PIO, DATA, buf, 1, 4));
	assert_memory_equal(buf, "0123", 4);
	memset(buf, 0xee, sizeof(buf));
	assert_true(bus_read_rep(&f->bus, BUS_PIO, DATA, buf, 1, 8));
	assert_memory_equal(buf, "456789\0\0\xee", 9);
	assert_true(bus_read_rep(&f->bus, BUS_PIO, DMA_HIGH, buf, 4, 2));
	assert_memory_equal(buf, "QEMUQEMU", 8);
}

static void directory(void **state)
{
	static const struct {
		const char *name;
		uint32_t len;
	} want[] = { { "a/file", 3 }, { "b/file", 10 }, { "empty", 0 } };
	struct fixture *f = *state;
	struct {
		uint32_t size;
		uint16_t key, reserved;
		char name[56];
	} e;
	uint32_t count;

	outw(&f->bus, SELECTOR, 0x19);
	assert_true(bus_read_rep(&f->bus, BUS_PIO, DATA, &count, 1, 4));
	assert_int_equal(be32toh(count), ARRAY_SIZE(want));
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(bus_read_rep(&f->bus, BUS_PIO, DATA, &e, 1, sizeof(e)));
		assert_int_equal(be32toh(e.size), want[i].len);
		assert_int_equal(be16toh(e.key), 0x20 + i);
		assert_int_equal(e.reserved, 0);
		assert_string_equal(e.name, want[i].name);
	}
	check_bytes(f, "\0", 1);
	outw(&f->bus, SELECTOR, 0x20);
	check_bytes(f, "abc\0", 4);
	outw(&f->bus, SELECTOR, 0x22);
	check_bytes(f, "\0", 1);
}

static void dma_reads(void **state)
{
	struct fixture *f = *state;
	char *to = mem_at(&f->mem, TARGET, 16);

	assert_int_equal(inl(&f->bus, DMA_HIGH), load_le("QEMU", 4));
	assert_int_equal(inl(&f->bus, DMA_LOW), load_le(" CFG", 4));
	assert_int_equal(inb(&f->bus, DMA_LOW + 1), 'C');

	memset(to, 0xee, 16);
	assert_int_equal(dma(f, 0x21u << 16 | CTL_SELECT | CTL_READ, 4, TARGET), 0);
	assert_memory_equal(to, "0123\xee", 5);
	/* the port and DMA are one reader */
	check_bytes(f, "4", 1);
	assert_int_equal(dma(f, CTL_SKIP, 2, 0), 0);
	assert_int_equal(dma(f, CTL_READ, 6, TARGET), 0);
	assert_memory_equal(to, "789\0\0\0\xee", 7);
	/* further than the end nothing moves */
	assert_int_equal(dma(f, CTL_SELECT | CTL_SKIP | 0x20 << 16, 0xffffffff, 0), 0);
	check_bytes(f, "\0", 1);
	assert_int_equal(dma(f, CTL_SELECT | 0x20 << 16, 100, 0), 0);
	check_bytes(f, "abc", 3);
	/* read wins over skip; no length is fine whatever the address */
	assert_int_equal(dma(f, CTL_SELECT | CTL_READ | CTL_SKIP | 0x20 << 16, 2, TARGET), 0);
	assert_memory_equal(to, "ab", 2);
	assert_int_equal(dma(f, CTL_READ, 0, ~0ull), 0);
	check_bytes(f, "c", 1);
	/* what there is not is all zeroes */
	memset(to, 0xee, 16);
	assert_int_equal(dma(f, CTL_SELECT | CTL_READ | 0x77 << 16, 2, TARGET), 0);
	assert_memory_equal(to, "\0\0\xee", 3);
}

static void dma_refuses(void **state)
{
	static const uint64_t nowhere[] = { 2 * MIB - 3, 2 * MIB, 0xfffffffffffffffe, 1ull << 40 };
	struct fixture *f = *state;
	uint8_t *end = mem_at(&f->mem, 2 * MIB - 8, 8);

	memset(end, 0xee, 8);
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		assert_int_equal(dma(f, CTL_SELECT | CTL_READ | 0x21 << 16, 4, nowhere[i]),
				 CTL_ERROR);
		check_bytes(f, "0", 1); /* nothing was read */
	}
	assert_int_equal(end[7], 0xee);
	/* more than there is RAM */
	assert_int_equal(dma(f, CTL_READ, 0xffffffff, 0), CTL_ERROR);
	/* every item is read-only */
	assert_int_equal(dma(f, CTL_SELECT | CTL_WRITE | 0x21 << 16, 4, TARGET), CTL_ERROR);
	assert_int_equal(dma(f, CTL_SELECT | CTL_WRITE | 0x77 << 16, 4, TARGET), CTL_ERROR);
	outw(&f->bus, SELECTOR, 0x21);
	check_bytes(f, "0123", 4);

	/* a control block that is not there, half there, and above 4 GiB */
	outl(&f->bus, DMA_LOW, htobe32(2 * MIB));
	outl(&f->bus, DMA_LOW, htobe32(2 * MIB - 8));
	assert_int_equal(load_le(end, 4), htobe32(CTL_ERROR));
	outl(&f->bus, DMA_HIGH, htobe32(1));
	assert_int_equal(dma(f, CTL_READ, 1, TARGET), CTL_READ);
	/* the high half is used once */
	assert_int_equal(dma(f, CTL_READ, 1, TARGET), 0);
	/* only whole registers start anything */
	outw(&f->bus, DMA_LOW, 0);
	outb(&f->bus, DMA_LOW + 3, 0);
	check_bytes(f, "5", 1);
}

/* In a control block that a transfer overwrites, the status is what stays. */
static void dma_over_itself(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dma(f, CTL_SELECT | CTL_READ | 0x21 << 16, 10, BLOCK), 0);
	assert_memory_equal(mem_at(&f->mem, BLOCK, 10),
			    "\0\0\0\0"
			    "456789",
			    10);
}

static void refused_items(void **state)
{
	static const char long_name[] = "12345678901234567890123456789012345678901234567890123456";
	static const struct fw_item same_key[] = { { .key = 7 }, { .key = 7 } };
	static const struct fw_item same_name[] = { { .name = "x" }, { .name = "x" } };
	static const struct fw_item our_key[] = { { .key = 0x19 } };
	static const struct fw_item file_key[] = { { .name = "x" }, { .key = 0x20 } };
	static const struct fw_item write_key[] = { { .key = 0x4005 } };
	static const struct fw_item too_long[] = { { .name = long_name } };
	static const struct fw_item fits[] = { { .name = long_name + 1 } };
	static const struct fw_item no_name[] = { { .name = "" } };
	struct fixture *f = *state;
	struct device *dev;
	struct bus bus;

	bus_init(&bus);
	assert_int_equal(create(&bus, &f->mem, same_key, 2, &dev), -EEXIST);
	assert_int_equal(create(&bus, &f->mem, same_name, 2, &dev), -EEXIST);
	assert_int_equal(create(&bus, &f->mem, our_key, 1, &dev), -EEXIST);
	assert_int_equal(create(&bus, &f->mem, file_key, 2, &dev), -EEXIST);
	assert_int_equal(create(&bus, &f->mem, write_key, 1, &dev), -EINVAL);
	assert_int_equal(create(&bus, &f->mem, too_long, 1, &dev), -EINVAL);
	assert_int_equal(create(&bus, &f->mem, no_name, 1, &dev), -EINVAL);
	assert_int_equal(create(&bus, &f->mem, fits, 1, &dev), 0);
	device_destroy(dev);
	assert_int_equal(create(&bus, &f->mem, NULL, 0, &dev), 0);
	device_destroy(dev);
	/* ports that are taken */
	assert_int_equal(create(&f->bus, &f->mem, items, 1, &dev), -EEXIST);
	bus_destroy(&bus);
}

static void round_trip(void **state)
{
	struct fixture *f = *state;
	struct state_buf buf = { 0 };
	struct device *to;
	struct bus bus;

	outw(&f->bus, SELECTOR, 0x21);
	check_bytes(f, "012", 3);
	outl(&f->bus, DMA_HIGH, htobe32(1));
	bus_init(&bus);
	assert_int_equal(create(&bus, &f->mem, items, ARRAY_SIZE(items), &to), 0);
	check_state_round_trip(f->dev, to);
	assert_int_equal(inb(&bus, DATA), '3');
	/* the high half came along: this block is above 4 GiB */
	outl(&bus, DMA_LOW, htobe32(BLOCK));
	assert_int_equal(inb(&bus, DATA), '4');
	/* read to the end and beyond */
	for (unsigned i = 0; i < 20; i++)
		(void)inb(&f->bus, DATA);
	check_state_round_trip(f->dev, to);
	assert_int_equal(inb(&bus, DATA), 0);
	device_destroy(to);

	/* An offset behind the item's end, or without an item */
	assert_int_equal(state_save(f->dev, &buf), 0);
	assert_int_equal(create(&bus, &f->mem, items + 1, 2, &to), 0); /* its item is not there */
	assert_int_equal(state_load(to, buf.data, buf.len), -EBADMSG);
	assert_int_equal(inb(&bus, DATA), 'Q');
	device_destroy(to);
	state_buf_free(&buf);
	bus_destroy(&bus);
}

static void reset(void **state)
{
	struct fixture *f = *state;

	outw(&f->bus, SELECTOR, 0x21);
	check_bytes(f, "0", 1);
	outl(&f->bus, DMA_HIGH, htobe32(1));
	device_reset(f->dev);
	check_bytes(f, "Q", 1);
	assert_int_equal(dma(f, CTL_READ, 1, TARGET), 0);
	assert_memory_equal(mem_at(&f->mem, TARGET, 1), "E", 1);
}

static void names(void **state)
{
	static const struct {
		uint16_t port;
		const char *name;
	} want[] = {
		{ SELECTOR, "selector" },           { DATA, "data" },
		{ DMA_HIGH, "dma-address-high" },   { DMA_LOW, "dma-address-low" },
		{ DMA_LOW + 3, "dma-address-low" },
	};
	struct fixture *f = *state;
	const char *dev, *reg;

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(bus_name(&f->bus, BUS_PIO, want[i].port, false, &dev, &reg));
		assert_string_equal(dev, "fw-cfg");
		assert_string_equal(reg, want[i].name);
	}
	assert_false(bus_name(&f->bus, BUS_PIO, 0x512, false, &dev, &reg));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys),        TEST(strings),         TEST(directory),     TEST(dma_reads),
		TEST(dma_refuses), TEST(dma_over_itself), TEST(refused_items), TEST(round_trip),
		TEST(reset),       TEST(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
