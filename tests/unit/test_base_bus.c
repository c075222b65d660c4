/* SPDX-License-Identifier: MIT */
/* base/bus.h: who answers where, and in which pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/fake.h"

#define MAX_CALLS 64

/* A device that writes down every call. A read gives bytes that are their own offset. */
struct probe {
	struct device dev;
	struct {
		char kind; /* r, w, R (rep in), W (rep out) */
		uint64_t offset;
		unsigned width;
		uint64_t value;
		unsigned count;
	} calls[MAX_CALLS];
	unsigned n;
};

static void probe_note(struct device *dev, char kind, uint64_t offset, unsigned width,
		       uint64_t value, unsigned count)
{
	struct probe *p = container_of(dev, struct probe, dev);

	/* The bus holds the device's lock. */
	assert_int_equal(pthread_mutex_trylock(&dev->lock), EBUSY);
	assert_true(p->n < MAX_CALLS);
	p->calls[p->n].kind = kind;
	p->calls[p->n].offset = offset;
	p->calls[p->n].width = width;
	p->calls[p->n].value = value;
	p->calls[p->n++].count = count;
}

static uint64_t probe_read(struct device *dev, uint64_t offset, unsigned width)
{
	uint64_t v = 0;

	probe_note(dev, 'r', offset, width, 0, 1);
	for (unsigned i = 0; i < width; i++)
		v |= ((offset + i) & 0xff) << i * 8;
	/* Bits above the width are not the guest's to see. */
	return width < 8 ? v | ~0ull << width * 8 : v;
}

static void probe_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	probe_note(dev, 'w', offset, width, value, 1);
}

static void probe_read_rep(struct device *dev, uint64_t offset, unsigned width, void *buf,
			   unsigned count)
{
	probe_note(dev, 'R', offset, width, 0, count);
	memset(buf, 0x5a, (size_t)width * count);
}

static void probe_write_rep(struct device *dev, uint64_t offset, unsigned width, const void *buf,
			    unsigned count)
{
	probe_note(dev, 'W', offset, width, load_le(buf, width), count);
}

static const char *probe_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	return offset ? NULL : write ? "zero-out" : "zero-in";
}

/* 1, 2 and 4 to 7, but no more than that of a range that goes on. */
static bool probe_posted(const struct device *dev, uint64_t offset)
{
	(void)dev;
	return offset == 1 || offset == 2 || (offset >= 4 && offset < 8);
}

static void probe_destroy(struct device *dev)
{
	(void)dev;
}

static const struct device_ops probe_dev_ops = { .type = "probe", .destroy = probe_destroy };

static const struct bus_ops probe_ops[] = {
	{ .max_width = 1, .read = probe_read, .write = probe_write, .reg_name = probe_name },
	{ .max_width = 2, .read = probe_read, .write = probe_write, .posted = probe_posted },
	{ .max_width = 4,
	  .read = probe_read,
	  .write = probe_write,
	  .read_rep = probe_read_rep,
	  .write_rep = probe_write_rep },
	{ .max_width = 8, .read = probe_read, .write = probe_write },
};

#define OPS1 (&probe_ops[0])
#define OPS2 (&probe_ops[1])
#define OPS4 (&probe_ops[2])
#define OPS8 (&probe_ops[3])

struct fixture {
	struct bus bus;
	struct probe a;
	struct probe b;
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	bus_init(&f.bus);
	device_init(&f.a.dev, &probe_dev_ops, "a");
	device_init(&f.b.dev, &probe_dev_ops, "b");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	device_destroy(&f->a.dev);
	device_destroy(&f->b.dev);
	bus_destroy(&f->bus);
	return 0;
}

static void assert_call(const struct probe *p, unsigned i, char kind, uint64_t offset,
			unsigned width, uint64_t value)
{
	assert_true(i < p->n);
	assert_int_equal(p->calls[i].kind, kind);
	assert_true(p->calls[i].offset == offset);
	assert_int_equal(p->calls[i].width, width);
	assert_true(p->calls[i].value == value);
}

static void claims(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;
	struct device *d = &f->a.dev;

	assert_int_equal(bus_add(b, BUS_PIO, 0x100, 0, d, OPS1), -EINVAL);
	assert_int_equal(bus_add(b, BUS_PIO, 0x10000, 1, d, OPS1), -EINVAL);
	assert_int_equal(bus_add(b, BUS_PIO, 0xffff, 2, d, OPS1), -EINVAL);
	assert_int_equal(bus_add(b, BUS_PIO, UINT64_MAX, 2, d, OPS1), -EINVAL);
	assert_int_equal(bus_add(b, BUS_PIO, 1, UINT64_MAX, d, OPS1), -EINVAL);
	assert_int_equal(bus_add(b, BUS_MMIO, UINT64_MAX, 2, d, OPS1), -EINVAL);
	assert_int_equal(bus_add(b, BUS_MMIO, 2, UINT64_MAX, d, OPS1), -EINVAL);

	assert_int_equal(bus_add(b, BUS_PIO, 0x100, 0x10, d, OPS1), 0);
	/* The same, inside, around, over either end. */
	assert_int_equal(bus_add(b, BUS_PIO, 0x100, 0x10, d, OPS1), -EEXIST);
	assert_int_equal(bus_add(b, BUS_PIO, 0x104, 1, d, OPS1), -EEXIST);
	assert_int_equal(bus_add(b, BUS_PIO, 0x80, 0x100, d, OPS1), -EEXIST);
	assert_int_equal(bus_add(b, BUS_PIO, 0xff, 2, d, OPS1), -EEXIST);
	assert_int_equal(bus_add(b, BUS_PIO, 0x10f, 2, d, OPS1), -EEXIST);
	assert_int_equal(bus_add(b, BUS_PIO, 0, 0x10000, d, OPS1), -EEXIST);
	/* Side by side, and the other space. */
	assert_int_equal(bus_add(b, BUS_PIO, 0xff, 1, d, OPS1), 0);
	assert_int_equal(bus_add(b, BUS_PIO, 0x110, 1, d, OPS1), 0);
	assert_int_equal(bus_add(b, BUS_MMIO, 0x100, 0x10, d, OPS1), 0);
	/* The very ends of both spaces. */
	assert_int_equal(bus_add(b, BUS_PIO, 0, 1, d, OPS1), 0);
	assert_int_equal(bus_add(b, BUS_PIO, 0xffff, 1, d, OPS1), 0);
	assert_int_equal(bus_add(b, BUS_MMIO, UINT64_MAX, 1, d, OPS1), 0);
	assert_int_equal(bus_add(b, BUS_MMIO, UINT64_MAX, 1, d, OPS1), -EEXIST);
	assert_int_equal(bus_add(b, BUS_MMIO, UINT64_MAX - 1, 2, d, OPS1), -EEXIST);
	(void)inb(b, 0xffff);
	assert_int_equal(f->a.n, 1);
	bus_in(b, BUS_MMIO, UINT64_MAX, 1);
	assert_int_equal(f->a.n, 2);

	assert_int_equal(bus_remove(b, BUS_PIO, 0x101), -ENOENT);
	assert_int_equal(bus_remove(b, BUS_PIO, 0x100), 0);
	assert_int_equal(bus_remove(b, BUS_PIO, 0x100), -ENOENT);
	assert_int_equal(inb(b, 0x100), 0xff);
	assert_int_equal(f->a.n, 2);
	assert_int_equal(bus_add(b, BUS_PIO, 0x100, 0x10, d, OPS1), 0);
}

static void whole_mmio(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0, UINT64_MAX, &f->a.dev, OPS8), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 5, 1, &f->b.dev, OPS8), -EEXIST);
	bus_in(&f->bus, BUS_MMIO, UINT64_MAX - 8, 8);
	assert_int_equal(f->a.n, 4); /* 1 + 2 + 4 + 1, aligned */
}

static void full(void **state)
{
	struct fixture *f = *state;

	/* From the top down: every one goes in front. */
	for (unsigned i = BUS_MAX_RANGES; i > 0; i--)
		assert_int_equal(bus_add(&f->bus, BUS_PIO, i * 4, 2, &f->a.dev, OPS1), 0);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0, 1, &f->a.dev, OPS1), -ENOSPC);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 4, 1, &f->a.dev, OPS1), -EEXIST);
	for (unsigned i = 1; i <= BUS_MAX_RANGES; i++) {
		f->a.n = 0;
		assert_int_equal(inw(&f->bus, i * 4), 0x0100);
		assert_int_equal(f->a.n, 2);
		assert_int_equal(inb(&f->bus, i * 4 + 2), 0xff);
		assert_int_equal(f->a.n, 2);
	}
	for (unsigned i = 1; i <= BUS_MAX_RANGES; i += 2)
		assert_int_equal(bus_remove(&f->bus, BUS_PIO, i * 4), 0);
	f->a.n = 0;
	for (unsigned i = 1; i <= BUS_MAX_RANGES; i++)
		assert_int_equal(inb(&f->bus, i * 4), i % 2 ? 0xff : 0);
}

static void nobody(void **state)
{
	struct fixture *f = *state;
	uint64_t v = 0;
	const char *dev, *reg;

	assert_int_equal(inb(&f->bus, 0x80), 0xff);
	assert_int_equal(inw(&f->bus, 0x80), 0xffff);
	assert_true(inl(&f->bus, 0x80) == 0xffffffff);
	assert_false(bus_read(&f->bus, BUS_MMIO, 0, &v, 8));
	assert_true(v == UINT64_MAX);
	assert_false(bus_write(&f->bus, BUS_MMIO, 0, &v, 8));
	assert_false(bus_name(&f->bus, BUS_PIO, 0x80, false, &dev, &reg));
}

static void widths(void **state)
{
	struct fixture *f = *state;
	struct probe *a = &f->a;

	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x1000, 0x100, &a->dev, OPS1), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x2000, 0x100, &a->dev, OPS2), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x3000, 0x100, &a->dev, OPS4), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x4000, 0x100, &a->dev, OPS8), 0);

	/* As wide as the handler goes. */
	assert_true(bus_in(&f->bus, BUS_MMIO, 0x4008, 8) == 0x0f0e0d0c0b0a0908ull);
	assert_int_equal(a->n, 1);
	assert_call(a, 0, 'r', 8, 8, 0);
	assert_true(bus_in(&f->bus, BUS_MMIO, 0x3008, 8) == 0x0f0e0d0c0b0a0908ull);
	assert_int_equal(a->n, 3);
	assert_call(a, 1, 'r', 8, 4, 0);
	assert_call(a, 2, 'r', 12, 4, 0);
	assert_true(bus_in(&f->bus, BUS_MMIO, 0x2008, 8) == 0x0f0e0d0c0b0a0908ull);
	assert_int_equal(a->n, 7);
	assert_true(bus_in(&f->bus, BUS_MMIO, 0x1008, 8) == 0x0f0e0d0c0b0a0908ull);
	assert_int_equal(a->n, 15);

	/* Narrower stays narrower, with nothing of the handler's upper bits. */
	a->n = 0;
	assert_int_equal(bus_in(&f->bus, BUS_MMIO, 0x4003, 1), 0x03);
	assert_int_equal(bus_in(&f->bus, BUS_MMIO, 0x4002, 2), 0x0302);
	assert_int_equal(bus_in(&f->bus, BUS_MMIO, 0x4004, 4), 0x07060504);
	assert_int_equal(a->n, 3);

	/* Odd widths, as an instruction that straddles a page leaves them. */
	a->n = 0;
	assert_int_equal(bus_in(&f->bus, BUS_MMIO, 0x4004, 3), 0x060504);
	assert_int_equal(a->n, 2);
	assert_call(a, 0, 'r', 4, 2, 0);
	assert_call(a, 1, 'r', 6, 1, 0);
	a->n = 0;
	bus_out(&f->bus, BUS_MMIO, 0x4001, 7, 0x77665544332211ull);
	assert_int_equal(a->n, 3);
	assert_call(a, 0, 'w', 1, 1, 0x11);
	assert_call(a, 1, 'w', 2, 2, 0x3322);
	assert_call(a, 2, 'w', 4, 4, 0x77665544);
}

static void unaligned(void **state)
{
	struct fixture *f = *state;
	struct probe *a = &f->a;

	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 0x10, &a->dev, OPS4), 0);
	assert_true(inl(&f->bus, 0x101) == 0x04030201);
	assert_int_equal(a->n, 3);
	assert_call(a, 0, 'r', 1, 1, 0);
	assert_call(a, 1, 'r', 2, 2, 0);
	assert_call(a, 2, 'r', 4, 1, 0);
	a->n = 0;
	outl(&f->bus, 0x102, 0xddccbbaa);
	assert_int_equal(a->n, 2);
	assert_call(a, 0, 'w', 2, 2, 0xbbaa);
	assert_call(a, 1, 'w', 4, 2, 0xddcc);
	/* Alignment is the handler's offset, not the bus address. */
	a->n = 0;
	assert_int_equal(bus_add_at(&f->bus, BUS_PIO, 0x201, 8, &a->dev, OPS4, 0x40), 0);
	assert_true(inl(&f->bus, 0x201) == 0x43424140);
	assert_int_equal(a->n, 1);
	assert_call(a, 0, 'r', 0x40, 4, 0);
}

static void crossing(void **state)
{
	struct fixture *f = *state;
	uint32_t v = 0;

	/* a: 100-102, hole: 103, b: 104- */
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 3, &f->a.dev, OPS4), 0);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x104, 4, &f->b.dev, OPS4), 0);
	assert_false(bus_read(&f->bus, BUS_PIO, 0x100, &v, 4));
	assert_true(v == 0xff020100);
	assert_int_equal(f->a.n, 2);
	assert_call(&f->a, 0, 'r', 0, 2, 0);
	assert_call(&f->a, 1, 'r', 2, 1, 0);
	assert_int_equal(f->b.n, 0);
	assert_false(bus_read(&f->bus, BUS_PIO, 0x102, &v, 4));
	assert_true(v == 0x0100ff02);
	assert_int_equal(f->b.n, 1);
	f->a.n = f->b.n = 0;
	v = 0x44332211;
	assert_false(bus_write(&f->bus, BUS_PIO, 0x102, &v, 4));
	assert_int_equal(f->a.n, 1);
	assert_call(&f->a, 0, 'w', 2, 1, 0x11);
	assert_int_equal(f->b.n, 1);
	assert_call(&f->b, 0, 'w', 0, 2, 0x4433);

	/* Ranges that touch: all of it is claimed. */
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x103, 1, &f->a.dev, OPS4), 0);
	assert_true(bus_read(&f->bus, BUS_PIO, 0x102, &v, 4));
	/* Past the last port. */
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0xfffe, 2, &f->a.dev, OPS4), 0);
	assert_true(inl(&f->bus, 0xfffe) == 0xffff0100);
}

static void rep(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 8, &f->a.dev, OPS4), 0);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x108, 8, &f->b.dev, OPS2), 0);

	/* One call for all elements. */
	assert_true(bus_write_rep(&f->bus, BUS_PIO, 0x100, buf, 2, 4));
	assert_int_equal(f->a.n, 1);
	assert_call(&f->a, 0, 'W', 0, 2, 0x0201);
	assert_int_equal(f->a.calls[0].count, 4);
	assert_true(bus_read_rep(&f->bus, BUS_PIO, 0x104, buf, 4, 2));
	assert_int_equal(f->a.n, 2);
	assert_call(&f->a, 1, 'R', 4, 4, 0);
	assert_int_equal(buf[7], 0x5a);

	/* Not aligned, or too wide for the handler: single calls, in pieces. */
	f->a.n = 0;
	assert_true(bus_read_rep(&f->bus, BUS_PIO, 0x101, buf, 2, 2));
	assert_int_equal(f->a.n, 4);
	assert_call(&f->a, 0, 'r', 1, 1, 0);
	assert_call(&f->a, 3, 'r', 2, 1, 0);
	assert_memory_equal(buf, "\1\2\1\2", 4);
	/* Over the end of the range: the rest is its neighbour's. */
	f->a.n = 0;
	assert_true(bus_write_rep(&f->bus, BUS_PIO, 0x106, "abcdABCD", 4, 2));
	assert_int_equal(f->a.n, 2);
	assert_call(&f->a, 0, 'w', 6, 2, 'a' | 'b' << 8);
	assert_int_equal(f->b.n, 2);
	assert_call(&f->b, 1, 'w', 0, 2, 'C' | 'D' << 8);

	/* A handler without the form gets it piece by piece. */
	f->b.n = 0;
	assert_true(bus_write_rep(&f->bus, BUS_PIO, 0x10a, "\1\2\3\4\5\6", 2, 3));
	assert_int_equal(f->b.n, 3);
	assert_call(&f->b, 2, 'w', 2, 2, 0x0605);

	/* Nobody: ones, and none of it claimed. */
	assert_false(bus_read_rep(&f->bus, BUS_PIO, 0x300, buf, 4, 2));
	assert_memory_equal(buf, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	assert_false(bus_write_rep(&f->bus, BUS_PIO, 0x300, buf, 4, 2));
	assert_true(bus_read_rep(&f->bus, BUS_PIO, 0x300, buf, 4, 0));
}

static unsigned taken(int fd)
{
	eventfd_t n;

	return eventfd_read(fd, &n) ? 0 : (unsigned)n;
}

static void eventfds(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;
	int fd1 = eventfd(0, EFD_NONBLOCK), fd2 = eventfd(0, EFD_NONBLOCK);
	struct bus_eventfd any = { .addr = 0x100, .fd = fd1 };
	struct bus_eventfd word5 = { 0x104, 2, true, 5, fd1 };
	struct bus_eventfd word6 = { 0x104, 2, true, 6, fd2 };
	struct bus_eventfd wrong = { 0x104, 2, true, 7, fd2 };

	assert_int_equal(bus_add(b, BUS_PIO, 0x100, 8, &f->a.dev, OPS4), 0);
	assert_int_equal(bus_eventfd_add(b, BUS_PIO, &any), 0);
	assert_int_equal(bus_eventfd_add(b, BUS_PIO, &any), -EEXIST);
	assert_int_equal(bus_eventfd_add(b, BUS_PIO, &word5), 0);
	assert_int_equal(bus_eventfd_add(b, BUS_PIO, &word6), 0);

	outb(b, 0x100, 1);
	outl(b, 0x100, 1);
	assert_int_equal(taken(fd1), 2);
	assert_int_equal(f->a.n, 0);
	outw(b, 0x104, 5);
	assert_int_equal(taken(fd1), 1);
	assert_int_equal(taken(fd2), 0);
	outw(b, 0x104, 6);
	assert_int_equal(taken(fd2), 1);
	assert_int_equal(f->a.n, 0);
	/* Another value, width, address, space, or a read: the handler's. */
	outw(b, 0x104, 7);
	outl(b, 0x104, 5);
	outb(b, 0x104, 5);
	outw(b, 0x105, 5);
	(void)inw(b, 0x104);
	bus_out(b, BUS_MMIO, 0x100, 1, 1);
	assert_int_equal(taken(fd1), 0);
	assert_int_equal(taken(fd2), 0);
	assert_true(f->a.n > 0);
	assert_int_equal(b->eventfds_fired, 4);

	assert_int_equal(bus_eventfd_remove(b, BUS_PIO, &wrong), -ENOENT);
	assert_int_equal(bus_eventfd_remove(b, BUS_MMIO, &word5), -ENOENT);
	assert_int_equal(bus_eventfd_remove(b, BUS_PIO, &word5), 0);
	assert_int_equal(bus_eventfd_remove(b, BUS_PIO, &word5), -ENOENT);
	f->a.n = 0;
	outw(b, 0x104, 5);
	assert_int_equal(f->a.n, 1);
	outw(b, 0x104, 6);
	assert_int_equal(taken(fd2), 1);

	/* String output meets an eventfd as single writes do. */
	f->a.n = 0;
	bus_write_rep(b, BUS_PIO, 0x104, "\6\0\1\0\6\0", 2, 3);
	assert_int_equal(taken(fd2), 2);
	assert_int_equal(b->eventfds_fired, 7);
	assert_int_equal(f->a.n, 1);
	assert_call(&f->a, 0, 'w', 4, 2, 1);
	close(fd1);
	close(fd2);
}

static void eventfds_full(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < BUS_MAX_EVENTFDS; i++)
		assert_int_equal(bus_eventfd_add(&f->bus, BUS_MMIO,
						 &(struct bus_eventfd){ .addr = i * 4, .fd = -1 }),
				 0);
	assert_int_equal(bus_eventfd_add(&f->bus, BUS_MMIO,
					 &(struct bus_eventfd){ .addr = 0x10000, .fd = -1 }),
			 -ENOSPC);
	assert_int_equal(bus_eventfd_remove(&f->bus, BUS_MMIO, &(struct bus_eventfd){ .addr = 8 }),
			 0);
	assert_int_equal(bus_eventfd_add(&f->bus, BUS_MMIO,
					 &(struct bus_eventfd){ .addr = 0x10000, .fd = -1 }),
			 0);
}

struct fake_accel {
	unsigned added;
	unsigned removed;
	int fail_at; /* the call, from 0, that fails */
};

static int fake_eventfd(void *ctx, enum bus_space space, const struct bus_eventfd *e, bool add)
{
	struct fake_accel *a = ctx;

	(void)space;
	(void)e;
	if (add && (int)a->added == a->fail_at)
		return -EMFILE;
	if (add)
		a->added++;
	else
		a->removed++;
	return 0;
}

static void accel(void **state)
{
	struct fixture *f = *state;
	struct fake_accel a = { .fail_at = 3 };
	struct bus_accel accel = { .eventfd = fake_eventfd, .ctx = &a };
	struct bus_eventfd e[3] = { { .addr = 0x10 }, { .addr = 0x20 }, { .addr = 0x30 } };

	assert_int_equal(bus_eventfd_add(&f->bus, BUS_PIO, &e[0]), 0);
	assert_int_equal(bus_eventfd_add(&f->bus, BUS_MMIO, &e[0]), 0);
	assert_int_equal(bus_set_accel(&f->bus, &accel), 0);
	assert_int_equal(a.added, 2);
	assert_int_equal(bus_eventfd_add(&f->bus, BUS_PIO, &e[1]), 0);
	assert_int_equal(a.added, 3);
	/* What the host refuses is not there. */
	assert_int_equal(bus_eventfd_add(&f->bus, BUS_PIO, &e[2]), -EMFILE);
	assert_int_equal(bus_eventfd_remove(&f->bus, BUS_PIO, &e[2]), -ENOENT);
	assert_int_equal(bus_eventfd_remove(&f->bus, BUS_PIO, &e[1]), 0);
	assert_int_equal(a.removed, 1);
	/* Refused at hand-over. */
	a = (struct fake_accel){ .fail_at = 1 };
	assert_int_equal(bus_set_accel(&f->bus, &accel), -EMFILE);
}

/* A kernel that keeps back what it may. */
struct fake_kernel {
	struct bus *bus;
	uint8_t ports[0x200]; /* how often each is registered */
	struct {
		uint64_t port;
		uint32_t value;
		unsigned width;
	} kept[16];
	unsigned nr, syncs;
};

static void fake_post(void *ctx, uint64_t port, uint64_t len, bool add)
{
	struct fake_kernel *k = ctx;

	assert_true(len > 0);
	for (uint64_t i = port; i < port + len; i++)
		k->ports[i] = (uint8_t)(k->ports[i] + (add ? 1 : -1));
}

static void fake_sync(void *ctx)
{
	struct fake_kernel *k = ctx;

	k->syncs++;
	for (unsigned i = 0; i < k->nr; i++)
		bus_write_posted(k->bus, k->kept[i].port, &k->kept[i].value, k->kept[i].width);
	k->nr = 0;
}

static void guest_out(struct fake_kernel *k, uint64_t port, unsigned width, uint32_t value)
{
	k->kept[k->nr].port = port;
	k->kept[k->nr].width = width;
	k->kept[k->nr++].value = value;
}

/* The ports that are registered, out of 16, as bits. */
static unsigned registered(const struct fake_kernel *k, uint64_t port)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < 16; i++) {
		assert_true(k->ports[port + i] <= 1);
		bits |= (unsigned)k->ports[port + i] << i;
	}
	return bits;
}

static void posted_ports(void **state)
{
	struct fixture *f = *state;
	struct fake_kernel k = { .bus = &f->bus };
	struct bus_accel accel = { fake_eventfd, fake_post, fake_sync, &k };

	/* There before, and later; at an offset; and not in memory. */
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 8, &f->a.dev, OPS2), 0);
	assert_int_equal(bus_set_accel(&f->bus, &accel), 0);
	assert_int_equal(registered(&k, 0x100), 0xf6);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x110, 2, &f->a.dev, OPS2), 0);
	assert_int_equal(registered(&k, 0x110), 0x2);
	assert_int_equal(bus_add_at(&f->bus, BUS_PIO, 0x120, 4, &f->b.dev, OPS2, 5), 0);
	assert_int_equal(registered(&k, 0x120), 0x7);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x130, 8, &f->b.dev, OPS4), 0);
	assert_int_equal(registered(&k, 0x130), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x140, 8, &f->b.dev, OPS2), 0);
	assert_int_equal(registered(&k, 0x140), 0);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x104, 8, &f->b.dev, OPS2), -EEXIST);
	assert_int_equal(bus_remove(&f->bus, BUS_PIO, 0x100), 0);
	assert_int_equal(registered(&k, 0x100), 0);
	assert_int_equal(registered(&k, 0x110), 0x2);
	assert_int_equal(bus_remove(&f->bus, BUS_MMIO, 0x140), 0);
}

/* Each way in lets what was written before take effect first, and in order. */
static void posted_first(void **state)
{
	static const uint8_t bytes[2] = { 7, 8 };
	struct fixture *f = *state;
	struct fake_kernel k = { .bus = &f->bus };
	struct bus_accel accel = { fake_eventfd, fake_post, fake_sync, &k };
	uint8_t in[2];

	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 8, &f->a.dev, OPS2), 0);
	assert_int_equal(bus_set_accel(&f->bus, &accel), 0);
	for (unsigned way = 0; way < 6; way++) {
		f->a.n = 0;
		guest_out(&k, 0x101, 1, 0x10);
		guest_out(&k, 0x104, 4, 0x04030201); /* in pieces, as any other */
		guest_out(&k, 0x101, 1, 0x11);
		switch (way) {
		case 0:
			outb(&f->bus, 0x103, 1);
			break;
		case 1:
			(void)inb(&f->bus, 0x103);
			break;
		case 2:
			bus_read_rep(&f->bus, BUS_PIO, 0x103, in, 1, 1);
			break;
		case 3:
			bus_write_rep(&f->bus, BUS_PIO, 0x103, bytes, 1, 1);
			break;
		case 4:
			bus_in(&f->bus, BUS_MMIO, 0x1000, 4);
			break;
		default:
			bus_sync(&f->bus);
			break;
		}
		assert_int_equal(f->a.n, way < 4 ? 5 : 4);
		assert_call(&f->a, 0, 'w', 1, 1, 0x10);
		assert_call(&f->a, 1, 'w', 4, 2, 0x0201);
		assert_call(&f->a, 2, 'w', 6, 2, 0x0403);
		assert_call(&f->a, 3, 'w', 1, 1, 0x11);
		assert_int_equal(k.nr, 0);
	}
	assert_int_equal(f->bus.posted, 6 * 3);
}

static void claimed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 3, &f->a.dev, OPS1), 0);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x103, 2, &f->b.dev, OPS1), 0);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0xfffe, 2, &f->b.dev, OPS1), 0);
	assert_true(bus_claimed(&f->bus, BUS_PIO, 0x100, 1));
	assert_true(bus_claimed(&f->bus, BUS_PIO, 0x101, 4));
	assert_false(bus_claimed(&f->bus, BUS_PIO, 0x102, 4));
	assert_false(bus_claimed(&f->bus, BUS_PIO, 0xff, 2));
	assert_false(bus_claimed(&f->bus, BUS_PIO, 0x105, 1));
	assert_true(bus_claimed(&f->bus, BUS_PIO, 0xfffe, 2));
	assert_false(bus_claimed(&f->bus, BUS_PIO, 0xffff, 2));
	assert_int_equal(f->a.n, 0);
}

static void names(void **state)
{
	struct fixture *f = *state;
	const char *dev, *reg;

	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 8, &f->a.dev, OPS1), 0);
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x108, 8, &f->b.dev, OPS2), 0);
	assert_true(bus_name(&f->bus, BUS_PIO, 0x100, false, &dev, &reg));
	assert_string_equal(dev, "a");
	assert_string_equal(reg, "zero-in");
	assert_true(bus_name(&f->bus, BUS_PIO, 0x100, true, &dev, &reg));
	assert_string_equal(dev, "a");
	assert_string_equal(reg, "zero-out");
	assert_true(bus_name(&f->bus, BUS_PIO, 0x101, true, &dev, &reg));
	assert_null(reg);
	assert_true(bus_name(&f->bus, BUS_PIO, 0x10f, false, &dev, &reg));
	assert_string_equal(dev, "b");
	assert_null(reg);
	assert_false(bus_name(&f->bus, BUS_PIO, 0x110, false, &dev, &reg));
	assert_int_equal(f->a.n, 0);
}

/* A handler that moves its own range, as a write to a BAR does. */
static void moving_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct fixture *f = container_of(container_of(dev, struct probe, dev), struct fixture, a);

	(void)offset;
	(void)width;
	assert_int_equal(bus_remove(&f->bus, BUS_MMIO, 0x1000), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, value, 0x10, &f->b.dev, OPS4), 0);
}

static void handler_moves_range(void **state)
{
	static const struct bus_ops ops = {
		.max_width = 4,
		.read = probe_read,
		.write = moving_write,
	};
	struct fixture *f = *state;

	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x1000, 0x10, &f->a.dev, &ops), 0);
	bus_out(&f->bus, BUS_MMIO, 0x1000, 4, 0x2000);
	assert_true(bus_in(&f->bus, BUS_MMIO, 0x1000, 4) == 0xffffffff);
	assert_int_equal(f->b.n, 0);
	assert_true(bus_in(&f->bus, BUS_MMIO, 0x2000, 4) == 0x03020100);
}

struct mover {
	struct bus *bus;
	struct device *dev;
	atomic_bool stop;
};

static uint64_t const_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)dev;
	(void)offset;
	(void)width;
	return 0x11223344;
}

static void no_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	(void)dev;
	(void)offset;
	(void)width;
	(void)value;
}

static const struct bus_ops const_ops = { .max_width = 4, .read = const_read, .write = no_write };

static void *keep_moving(void *opaque)
{
	struct mover *m = opaque;

	while (!m->stop) {
		int ret = bus_remove(m->bus, BUS_MMIO, 0x1000);

		if (!ret)
			ret = bus_add(m->bus, BUS_MMIO, 0x1000, 4, m->dev, &const_ops);
		if (ret)
			return "failed";
	}
	return NULL;
}

/* An access sees the range or none, and its neighbours always. */
static void moved_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct mover m = { .bus = &f->bus, .dev = &f->a.dev };
	pthread_t t;
	void *result;

	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x0ffc, 4, &f->b.dev, &const_ops), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x1000, 4, &f->a.dev, &const_ops), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x1004, 4, &f->b.dev, &const_ops), 0);
	assert_int_equal(pthread_create(&t, NULL, keep_moving, &m), 0);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t v = bus_in(&f->bus, BUS_MMIO, 0x1000, 4);

		assert_true(v == 0x11223344 || v == 0xffffffff);
		assert_true(bus_in(&f->bus, BUS_MMIO, 0x0ffc, 4) == 0x11223344);
		assert_true(bus_in(&f->bus, BUS_MMIO, 0x1004, 4) == 0x11223344);
	}
	m.stop = true;
	pthread_join(t, &result);
	assert_null(result);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(claims),          T(whole_mmio),    T(full),     T(nobody),
		T(widths),          T(unaligned),     T(crossing), T(rep),
		T(eventfds),        T(eventfds_full), T(accel),    T(posted_ports),
		T(posted_first),    T(claimed),       T(names),    T(handler_moves_range),
		T(moved_meanwhile),
	};

	return cmocka_run_group_tests_name("base_bus", tests, NULL, NULL);
}
