/* SPDX-License-Identifier: MIT */
/*
 * A UART between a hostile guest, a host that takes and gives what it likes, time, and
 * state streams. Two UARTs get the same input; the second is saved and restored all the
 * way, and must stay in the same state.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pc/uart.h"

struct fuzz_clock {
	struct clock clock;
	uint64_t now;
	struct timer *timer; /* the one there is, if it is armed */
};

struct fuzz_chardev {
	struct chardev c;
	size_t room;
	uint64_t taken;
	uint32_t crc;
};

struct side {
	struct bus bus;
	struct fuzz_clock clock;
	struct fuzz_chardev chr;
	struct device *dev;
	bool level;
};

static uint64_t fuzz_now(struct clock *clock)
{
	return container_of(clock, struct fuzz_clock, clock)->now;
}

static void fuzz_arm(struct clock *clock, struct timer *t, uint64_t deadline)
{
	struct fuzz_clock *c = container_of(clock, struct fuzz_clock, clock);

	t->deadline = deadline;
	c->timer = deadline == TIMER_OFF ? NULL : t;
}

static void fuzz_advance(struct fuzz_clock *c, uint64_t ns)
{
	uint64_t end = c->now + ns;

	while (c->timer && c->timer->deadline <= end) {
		struct timer *t = c->timer;

		c->timer = NULL;
		if (t->deadline > c->now)
			c->now = t->deadline;
		t->fn(t->opaque);
	}
	c->now = end;
}

static size_t fuzz_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct fuzz_chardev *f = container_of(c, struct fuzz_chardev, c);
	size_t n = min_u64(len, f->room);

	f->room -= n;
	f->taken += n;
	f->crc = util_crc32(f->crc, buf, n);
	return n;
}

static void fuzz_accept(struct chardev *c)
{
	(void)c;
}

static void fuzz_irq(void *ctx, unsigned line, bool level)
{
	struct side *s = ctx;

	(void)line;
	s->level = level;
}

static const struct clock_ops clock_ops = { fuzz_now, fuzz_now, fuzz_arm };
static const struct chardev_ops chardev_ops = { fuzz_write, fuzz_accept, NULL, NULL };

static void make_device(struct side *s)
{
	struct uart_config cfg = {
		.name = "uart0",
		.bus = &s->bus,
		.port = PLATFORM_PORT_COM1,
		.irq = { fuzz_irq, s, 0 },
		.clock = &s->clock.clock,
		.chardev = &s->chr.c,
	};

	if (uart_create(&cfg, &s->dev))
		abort();
}

static void side_init(struct side *s)
{
	memset(s, 0, sizeof(*s));
	bus_init(&s->bus);
	s->clock.clock.ops = &clock_ops;
	s->chr.c.ops = &chardev_ops;
	make_device(s);
}

static void side_fini(struct side *s)
{
	device_destroy(s->dev);
	if (s->clock.timer)
		abort();
	bus_destroy(&s->bus);
}

/* One step; what it shows the guest comes back. */
static uint64_t step(struct side *s, uint8_t op, uint16_t arg)
{
	const struct chardev_handlers *h = &s->chr.c.h;
	uint64_t v = arg * 0x10001ull;
	unsigned width = 1u << (op >> 3 & 3);
	uint8_t buf[32];
	size_t n;

	switch (op & 7) {
	case 0:
	case 1:
		bus_write(&s->bus, BUS_PIO, PLATFORM_PORT_COM1 + (op >> 5), &v, width);
		return 0;
	case 2:
	case 3:
		v = 0;
		bus_read(&s->bus, BUS_PIO, PLATFORM_PORT_COM1 + (op >> 5), &v, width);
		return v;
	case 4:
		n = h->can_receive(h->opaque);
		if (n > 16)
			abort();
		n = arg & 0x100 ? arg & 0x1f : min_u64(n, arg & 0x1f); /* a liar, at times */
		memset(buf, arg >> 9, sizeof(buf));
		h->receive(h->opaque, buf, n);
		return n;
	case 5:
		fuzz_advance(&s->clock, (uint64_t)arg << (op >> 3 & 15));
		return 0;
	case 6:
		s->chr.room = arg & 0xff;
		h->tx_ready(h->opaque);
		return 0;
	default:
		if (op & 0x80)
			h->receive_break(h->opaque);
		else if (op & 0x40)
			device_reset(s->dev);
		return 0;
	}
}

static void save(struct side *s, struct state_buf *buf)
{
	if (state_save(s->dev, buf))
		abort();
}

/* Into a fresh device on the same bus, clock and host. */
static void save_and_restore(struct side *s)
{
	struct state_buf buf = { 0 };
	size_t room = s->chr.room;

	save(s, &buf);
	s->chr.room = 0; /* destroying and restoring shall not send */
	device_destroy(s->dev);
	make_device(s);
	if (state_load(s->dev, buf.data, buf.len) != (ssize_t)buf.len)
		abort();
	s->chr.room = room;
	state_buf_free(&buf);
}

static void compare(struct side *a, struct side *b)
{
	struct state_buf sa = { 0 }, sb = { 0 };

	save(a, &sa);
	save(b, &sb);
	if (sa.len != sb.len || memcmp(sa.data, sb.data, sa.len) || a->level != b->level ||
	    a->chr.taken != b->chr.taken || a->chr.crc != b->chr.crc)
		abort();
	state_buf_free(&sa);
	state_buf_free(&sb);
}

/* What is left of the input as a state: refused, or a UART that still works. */
static void load_garbage(struct side *s, const uint8_t *data, size_t len)
{
	struct state_buf buf = { 0 };
	size_t skip = 12 + 1 + strlen(s->dev->name);

	save(s, &buf);
	for (size_t i = skip; i < buf.len - 4 && i - skip < len; i++)
		buf.data[i] ^= data[i - skip];
	store_le(buf.data + buf.len - 4, 4, util_crc32(0, buf.data, buf.len - 4));
	(void)!state_load(s->dev, buf.data, buf.len);
	state_buf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct side a, b;
	size_t i;

	side_init(&a);
	side_init(&b);
	for (i = 0; i + 3 <= size && i < 3 * 512; i += 3) {
		uint16_t arg = (uint16_t)load_le(data + i + 1, 2);

		if (step(&a, data[i], arg) != step(&b, data[i], arg))
			abort();
		if (arg & 1)
			save_and_restore(&b);
	}
	compare(&a, &b);
	load_garbage(&a, data + i, size - i);
	for (i = 0; i + 3 <= size && i < 3 * 64; i += 3)
		(void)step(&a, data[i], (uint16_t)load_le(data + i + 1, 2));
	side_fini(&a);
	side_fini(&b);
	return 0;
}
