/* SPDX-License-Identifier: MIT */
/*
 * fw_cfg between a hostile guest, which moves control blocks and targets about in a small
 * RAM, and state streams. Two devices get the same input on a RAM each; the second is saved
 * and restored all the way. What they read and write must stay the same.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pc/fw_cfg.h"

#define RAM_SIZE MIB
#define WINDOW (64 * KIB) /* where most addresses lie */

static const struct fw_item items[] = {
	{ .name = "etc/one", .data = "1", .len = 1 },
	{ .name = "etc/empty" },
	{ .name = "bootorder", .data = "a somewhat longer item", .len = 22 },
	{ .key = 5, .data = "\1\0", .len = 2 },
	{ .key = 0x8000, .data = "local", .len = 5 },
};

struct side {
	struct bus bus;
	struct device *dev;
	struct mem mem;
};

static void make_device(struct side *s)
{
	const struct fw_cfg_config cfg = {
		.name = "fw-cfg",
		.bus = &s->bus,
		.mem = &s->mem,
		.items = items,
		.nr_items = ARRAY_SIZE(items),
	};

	if (fw_cfg_create(&cfg, &s->dev))
		abort();
}

static void side_init(struct side *s)
{
	memset(s, 0, sizeof(*s));
	bus_init(&s->bus);
	if (mem_init(&s->mem, RAM_SIZE))
		abort();
	make_device(s);
}

static void side_fini(struct side *s)
{
	device_destroy(s->dev);
	mem_destroy(&s->mem);
	bus_destroy(&s->bus);
}

/* Into a fresh device, as a migration does it. */
static void move_device(struct side *s)
{
	struct state_buf buf = { 0 };

	if (state_save(s->dev, &buf))
		abort();
	device_destroy(s->dev);
	make_device(s);
	if (state_load(s->dev, buf.data, buf.len) != (ssize_t)buf.len)
		abort();
	state_buf_free(&buf);
}

struct input {
	const uint8_t *p;
	size_t left;
};

static uint64_t take(struct input *in, unsigned width)
{
	uint64_t v;

	if (in->left < width)
		return 0;
	v = load_le(in->p, width);
	in->p += width;
	in->left -= width;
	return v;
}

/* A RAM address near the start, near the end, or any. */
static uint64_t take_gpa(struct input *in)
{
	uint64_t v = take(in, 4);

	switch (v & 3) {
	case 0:
		return v >> 2 & (WINDOW - 1);
	case 1:
		return RAM_SIZE - 32 + (v >> 2 & 63);
	case 2:
		return v;
	default:
		return v << 32 | v;
	}
}

static void port_access(struct side *s, uint8_t op, uint64_t v)
{
	uint64_t port = PLATFORM_PORT_FW_CFG + (op & 15);
	unsigned width = 1u << (op >> 4 & 3);

	if (op & 0x80)
		bus_write(&s->bus, BUS_PIO, port, &v, width);
	else
		bus_read(&s->bus, BUS_PIO, port, &v, width);
}

static void run_dma(struct side *s, uint32_t control, uint32_t len, uint64_t to, uint64_t at)
{
	uint8_t block[16];
	uint32_t high = htobe32((uint32_t)(at >> 32)), low = htobe32((uint32_t)at);

	store_le(block, 4, htobe32(control));
	store_le(block + 4, 4, htobe32(len));
	store_le(block + 8, 8, htobe64(to));
	(void)!mem_write(&s->mem, at, block, sizeof(block));
	bus_write(&s->bus, BUS_PIO, PLATFORM_PORT_FW_CFG_DMA, &high, 4);
	bus_write(&s->bus, BUS_PIO, PLATFORM_PORT_FW_CFG_DMA + 4, &low, 4);
}

static void step(struct side sides[2], struct input *in)
{
	uint8_t op = (uint8_t)take(in, 1);
	uint8_t buf[2][300];

	if (op % 8 < 5) {
		uint8_t access = (uint8_t)take(in, 1);
		uint64_t v = take(in, 4);

		for (unsigned i = 0; i < 2; i++)
			port_access(&sides[i], access, v);
	} else if (op % 8 == 5) {
		unsigned count = (unsigned)take(in, 2) % sizeof(buf[0]);

		for (unsigned i = 0; i < 2; i++)
			bus_read_rep(&sides[i].bus, BUS_PIO, PLATFORM_PORT_FW_CFG + 1, buf[i], 1,
				     count);
		if (memcmp(buf[0], buf[1], count))
			abort();
	} else if (op % 8 == 6) {
		uint32_t control = (uint32_t)take(in, 4), len = (uint32_t)take(in, 4);
		uint64_t to = take_gpa(in), at = take_gpa(in);

		if (op & 0x80)
			len %= 256;
		for (unsigned i = 0; i < 2; i++)
			run_dma(&sides[i], control, len, to, at);
	} else if (op == 7) {
		for (unsigned i = 0; i < 2; i++)
			device_reset(sides[i].dev);
	}
	move_device(&sides[1]);
}

/* A hostile stream: refused or loaded, and the device still works. */
static void load_stream(struct side *s, const uint8_t *data, size_t len)
{
	uint8_t byte;

	(void)!state_load(s->dev, data, len);
	bus_read(&s->bus, BUS_PIO, PLATFORM_PORT_FW_CFG + 1, &byte, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct side sides[2];
	unsigned steps = 0;

	side_init(&sides[0]);
	side_init(&sides[1]);
	while (in.left && steps++ < 64)
		step(sides, &in);
	if (memcmp(mem_at_const(&sides[0].mem, 0, RAM_SIZE),
		   mem_at_const(&sides[1].mem, 0, RAM_SIZE), RAM_SIZE))
		abort();
	load_stream(&sides[0], data, size);
	side_fini(&sides[0]);
	side_fini(&sides[1]);
	return 0;
}
