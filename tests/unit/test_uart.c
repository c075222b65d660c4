/* SPDX-License-Identifier: MIT */
/* The 16550A at its registers, with a chardev that is as slow as the test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pc/uart.h"
#include "tests/unit/fake.h"

#define BASE PLATFORM_PORT_COM1
#define DATA (BASE + 0)
#define IER (BASE + 1)
#define IIR (BASE + 2)
#define FCR (BASE + 2)
#define LCR (BASE + 3)
#define MCR (BASE + 4)
#define LSR (BASE + 5)
#define MSR (BASE + 6)
#define SCR (BASE + 7)

#define THRE_TEMT 0x60
#define CHAR_NS 86805 /* 10 bits at 115200, rounded down */

/* Takes room bytes and no more; input is pushed in by the test. */
struct fake_chardev {
	struct chardev c;
	uint8_t out[4096];
	size_t len;
	size_t room;
	unsigned accepts;
};

static size_t fake_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct fake_chardev *f = container_of(c, struct fake_chardev, c);
	size_t n = min_u64(len, f->room);

	memcpy(f->out + f->len, buf, n);
	f->len += n;
	f->room -= n;
	return n;
}

static void fake_accept(struct chardev *c)
{
	container_of(c, struct fake_chardev, c)->accepts++;
}

static const struct chardev_ops fake_ops = { fake_write, fake_accept, NULL, NULL };

struct fixture {
	struct bus bus;
	struct fake_clock clock;
	struct fake_irq irq;
	struct fake_chardev chr;
	struct device *dev;
};

static struct device *make(struct fixture *f)
{
	struct uart_config cfg = {
		.name = "uart0",
		.bus = &f->bus,
		.port = BASE,
		.irq = fake_irq(&f->irq),
		.clock = &f->clock.clock,
		.chardev = &f->chr.c,
	};
	struct device *dev;

	assert_int_equal(uart_create(&cfg, &dev), 0);
	return dev;
}

static void init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	bus_init(&f->bus);
	fake_clock_init(&f->clock);
	f->chr.c.ops = &fake_ops;
	f->chr.room = sizeof(f->chr.out);
	f->dev = make(f);
}

static void fini(struct fixture *f)
{
	device_destroy(f->dev);
	assert_null(f->clock.armed);
	assert_int_equal(inb(&f->bus, LSR), 0xff);
	bus_destroy(&f->bus);
}

static int setup(void **state)
{
	static struct fixture f;

	init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fini(*state);
	return 0;
}

/* As a chardev would: never more than the UART takes. Returns what it took. */
static size_t input(struct fixture *f, const char *s, size_t len)
{
	const struct chardev_handlers *h = &f->chr.c.h;
	size_t n = min_u64(h->can_receive(h->opaque), len);

	if (n)
		h->receive(h->opaque, (const uint8_t *)s, n);
	return n;
}

static void setup_line(struct fixture *f)
{
	outb(&f->bus, LCR, 0x83);
	outb(&f->bus, DATA, 1);
	outb(&f->bus, IER, 0);
	outb(&f->bus, LCR, 0x03);
}

static void power_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(inb(&f->bus, IER), 0);
	assert_int_equal(inb(&f->bus, IIR), 0x01);
	assert_int_equal(inb(&f->bus, LCR), 0);
	assert_int_equal(inb(&f->bus, MCR), 0);
	assert_int_equal(inb(&f->bus, LSR), THRE_TEMT);
	assert_int_equal(inb(&f->bus, MSR), 0xb0);
	assert_int_equal(inb(&f->bus, DATA), 0);
	assert_false(f->irq.level);
}

static void registers(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	outb(b, SCR, 0x5a);
	assert_int_equal(inb(b, SCR), 0x5a);
	outb(b, IER, 0xff);
	assert_int_equal(inb(b, IER), 0x0f);
	outb(b, IER, 0);
	outb(b, MCR, 0xef);
	assert_int_equal(inb(b, MCR), 0x0f);
	outb(b, LCR, 0xff);
	assert_int_equal(inb(b, LCR), 0xff);
	/* DLAB: the divisor in the place of data and IER, everything else as before. */
	outb(b, DATA, 0x34);
	outb(b, IER, 0x12);
	assert_int_equal(inb(b, DATA), 0x34);
	assert_int_equal(inb(b, IER), 0x12);
	assert_int_equal(inb(b, SCR), 0x5a);
	outb(b, LCR, 0x03);
	assert_int_equal(inb(b, IER), 0);
	assert_int_equal(f->chr.len, 0);
	/* Read-only ones. */
	outb(b, LSR, 0);
	assert_int_equal(inb(b, LSR), THRE_TEMT);
	outb(b, MSR, 0);
	assert_int_equal(inb(b, MSR), 0xb0);
	/* Wider accesses are bytes side by side. */
	assert_int_equal(inw(b, LCR), 0x0f03);
	assert_true(inl(b, MCR) == 0x5ab0600f);
}

static void names(void **state)
{
	struct fixture *f = *state;
	static const char *const names[8][2] = {
		{ "rbr", "thr" }, { "ier", "ier" }, { "iir", "fcr" }, { "lcr", "lcr" },
		{ "mcr", "mcr" }, { "lsr", "lsr" }, { "msr", "msr" }, { "scr", "scr" },
	};
	const char *dev, *reg;

	/* The same with DLAB: a report keeps what it was told first. */
	for (unsigned i = 0; i < 32; i++) {
		outb(&f->bus, LCR, i & 16 ? 0x80 : 0);
		assert_true(bus_name(&f->bus, BUS_PIO, DATA + i % 8, i & 8, &dev, &reg));
		assert_string_equal(dev, "uart0");
		assert_string_equal(reg, names[i % 8][i / 8 % 2]);
	}
}

/* How Linux and others tell a 16550A from its ancestors. */
static void detection(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	outb(b, FCR, 0x01);
	assert_int_equal(inb(b, IIR) >> 6, 3);
	outb(b, FCR, 0x00);
	assert_int_equal(inb(b, IIR) >> 6, 0);
	outb(b, FCR, 0x21); /* no 64-byte FIFO */
	assert_int_equal(inb(b, IIR) & 0xe0, 0xc0);
	outb(b, FCR, 0xc0); /* no bit but with bit 0 */
	assert_int_equal(inb(b, IIR), 0x01);
	/* Loopback. */
	outb(b, MCR, 0x1a);
	assert_int_equal(inb(b, MSR) & 0xf0, 0x90);
}

static void transmit(void **state)
{
	struct fixture *f = *state;

	for (const char *s = "hello"; *s; s++) {
		assert_int_equal(inb(&f->bus, LSR), THRE_TEMT);
		outb(&f->bus, DATA, *s);
	}
	assert_int_equal(f->chr.len, 5);
	assert_memory_equal(f->chr.out, "hello", 5);
	assert_false(f->irq.level);
}

static void transmit_interrupt(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	/* Enabling it while empty asks for the first byte. */
	outb(b, IER, 0x02);
	assert_true(f->irq.level);
	assert_int_equal(inb(b, IIR), 0x02);
	assert_false(f->irq.level);
	assert_int_equal(inb(b, IIR), 0x01);
	/* Each byte gives a new edge, whether or not the last was looked at. */
	outb(b, DATA, 'a');
	assert_true(f->irq.level);
	assert_int_equal(f->irq.raised, 2);
	outb(b, DATA, 'b');
	assert_true(f->irq.level);
	assert_int_equal(f->irq.raised, 3);
	outb(b, IER, 0);
	assert_false(f->irq.level);
	outb(b, IER, 0x02);
	assert_int_equal(inb(b, IIR), 0x02);
	/* Enabled already: no second time. */
	outb(b, IER, 0x02);
	assert_int_equal(inb(b, IIR), 0x01);
}

static void slow_host(void **state)
{
	struct fixture *f = *state;
	const struct chardev_handlers *h = &f->chr.c.h;
	struct bus *b = &f->bus;

	outb(b, FCR, 0x01);
	outb(b, IER, 0x02);
	(void)inb(b, IIR);
	f->chr.room = 2;
	for (const char *s = "0123456789abcdef"; *s; s++)
		outb(b, DATA, *s);
	/* Two left, fourteen wait; the guest is told to wait, and no interrupt tells otherwise. */
	assert_int_equal(f->chr.len, 2);
	assert_int_equal(inb(b, LSR), 0);
	assert_int_equal(inb(b, IIR), 0xc1);
	assert_false(f->irq.level);
	f->chr.room = 5;
	h->tx_ready(h->opaque);
	assert_int_equal(f->chr.len, 7);
	assert_int_equal(inb(b, LSR), 0);
	assert_false(f->irq.level);
	/* Clearing the FIFO is no way to lose what was sent. */
	outb(b, FCR, 0x07);
	assert_int_equal(inb(b, LSR), 0);
	f->chr.room = 100;
	h->tx_ready(h->opaque);
	assert_int_equal(f->chr.len, 16);
	assert_memory_equal(f->chr.out, "0123456789abcdef", 16);
	assert_int_equal(inb(b, LSR), THRE_TEMT);
	assert_true(f->irq.level);
	assert_int_equal(inb(b, IIR), 0xc2);
	h->tx_ready(h->opaque); /* once more: nothing */
	assert_int_equal(inb(b, IIR), 0xc1);
	assert_int_equal(f->chr.len, 16);
}

static void guest_overruns(void **state)
{
	struct fixture *f = *state;
	const struct chardev_handlers *h = &f->chr.c.h;

	/* A guest that never looks at THRE: bounded, and the last byte wins. */
	f->chr.room = 0;
	for (unsigned i = 0; i < 1000; i++)
		outb(&f->bus, DATA, i);
	outb(&f->bus, DATA, 'x');
	f->chr.room = 100;
	h->tx_ready(h->opaque);
	assert_int_equal(f->chr.len, 1);
	assert_int_equal(f->chr.out[0], 'x');
	outb(&f->bus, FCR, 1);
	f->chr.room = 0;
	for (unsigned i = 0; i < 1000; i++)
		outb(&f->bus, DATA, i);
	f->chr.room = 100;
	h->tx_ready(h->opaque);
	assert_int_equal(f->chr.len, 17);
	assert_int_equal(f->chr.out[15], 14);
	assert_int_equal(f->chr.out[16], 999 & 0xff);
}

static void receive_no_fifo(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	outb(b, IER, 0x01);
	assert_int_equal(input(f, "xyz", 3), 1);
	assert_true(f->irq.level);
	assert_int_equal(inb(b, IIR), 0x04);
	assert_int_equal(inb(b, LSR), THRE_TEMT | 0x01);
	assert_int_equal(input(f, "yz", 2), 0); /* full: waits outside */
	assert_int_equal(f->chr.accepts, 0);
	assert_int_equal(inb(b, DATA), 'x');
	assert_int_equal(f->chr.accepts, 1);
	assert_false(f->irq.level);
	assert_int_equal(inb(b, LSR), THRE_TEMT);
	assert_int_equal(input(f, "yz", 2), 1);
	assert_int_equal(inb(b, DATA), 'y');
	assert_int_equal(f->chr.accepts, 1); /* nobody was refused since */
}

static void trigger_levels(void **state)
{
	static const unsigned level[4] = { 1, 4, 8, 14 };
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	setup_line(f);
	outb(b, IER, 0x01);
	for (unsigned t = 0; t < 4; t++) {
		outb(b, FCR, t << 6 | 0x03);
		for (unsigned i = 1; i <= 16; i++) {
			assert_int_equal(input(f, "c", 1), 1);
			assert_int_equal(f->irq.level, i >= level[t]);
			assert_int_equal(inb(b, IIR), i >= level[t] ? 0xc4 : 0xc1);
		}
		assert_int_equal(input(f, "c", 1), 0);
		for (unsigned i = 16; i > 0; i--) {
			assert_int_equal(f->irq.level, i >= level[t]);
			assert_int_equal(inb(b, DATA), 'c');
		}
		assert_int_equal(inb(b, LSR), THRE_TEMT);
		assert_int_equal(inb(b, IIR), 0xc1);
	}
}

static void receive_timeout(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	setup_line(f);
	outb(b, FCR, 0x81); /* 8 */
	outb(b, IER, 0x01);
	assert_int_equal(input(f, "ab", 2), 2);
	fake_clock_advance(&f->clock, 4 * CHAR_NS - 10);
	assert_false(f->irq.level);
	assert_int_equal(inb(b, IIR), 0xc1);
	/* A character in between starts the wait anew. */
	assert_int_equal(input(f, "c", 1), 1);
	fake_clock_advance(&f->clock, 4 * CHAR_NS - 10);
	assert_false(f->irq.level);
	fake_clock_advance(&f->clock, 20);
	assert_true(f->irq.level);
	assert_int_equal(inb(b, IIR), 0xcc);
	assert_int_equal(inb(b, IIR), 0xcc); /* until data is read */
	assert_int_equal(inb(b, DATA), 'a');
	assert_false(f->irq.level);
	assert_int_equal(inb(b, IIR), 0xc1);
	/* What is left times out again. */
	fake_clock_advance(&f->clock, 4 * CHAR_NS + 10);
	assert_true(f->irq.level);
	assert_int_equal(inb(b, DATA), 'b');
	assert_int_equal(inb(b, DATA), 'c');
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	assert_false(f->irq.level);
	assert_null(f->clock.armed);
	/* At the level it is ordinary data. */
	assert_int_equal(input(f, "12345678", 8), 8);
	assert_int_equal(inb(b, IIR), 0xc4);
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	assert_int_equal(inb(b, IIR), 0xc4);
	/* Without the interrupt no timer runs. */
	outb(b, IER, 0);
	outb(b, FCR, 0x83);
	assert_int_equal(input(f, "x", 1), 1);
	assert_null(f->clock.armed);
	fake_clock_advance(&f->clock, NSEC_PER_SEC);
	outb(b, IER, 0x01);
	assert_int_equal(inb(b, IIR), 0xcc);
	assert_true(f->irq.level);
}

static void timeout_follows_baud(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	outb(b, LCR, 0x80 | 0x1f); /* 8 bits, parity, 2 stop bits: 12 a character */
	outb(b, DATA, 0x80);
	outb(b, IER, 0x01); /* divisor 0x180: 300 baud */
	outb(b, LCR, 0x1f);
	outb(b, FCR, 0xc1);
	outb(b, IER, 0x01);
	assert_int_equal(input(f, "a", 1), 1);
	fake_clock_advance(&f->clock, 159900000);
	assert_false(f->irq.level);
	fake_clock_advance(&f->clock, 200000);
	assert_true(f->irq.level);
	(void)inb(b, DATA);
	/* A divisor of 0 divides nothing by nothing. */
	outb(b, LCR, 0x83);
	outb(b, DATA, 0);
	outb(b, IER, 0);
	outb(b, LCR, 0x03);
	assert_int_equal(input(f, "a", 1), 1);
	fake_clock_advance(&f->clock, 1000000);
	assert_true(f->irq.level);
}

static void fifo_clear(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	outb(b, FCR, 0x01);
	assert_int_equal(input(f, "abc", 3), 3);
	outb(b, FCR, 0x05); /* the transmitter's only */
	assert_int_equal(inb(b, LSR), THRE_TEMT | 1);
	outb(b, FCR, 0x03);
	assert_int_equal(inb(b, LSR), THRE_TEMT);
	/* Turning it on or off clears as well (8.5), and makes room. */
	assert_int_equal(input(f, "0123456789abcdefgh", 18), 16);
	assert_int_equal(input(f, "gh", 2), 0);
	outb(b, FCR, 0x00);
	assert_int_equal(inb(b, LSR), THRE_TEMT);
	assert_int_equal(f->chr.accepts, 1);
	assert_int_equal(input(f, "a", 1), 1);
	outb(b, FCR, 0x02); /* without bit 0 nothing is programmed */
	assert_int_equal(inb(b, DATA), 'a');
}

static void accept_at_half(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	outb(b, FCR, 0x01);
	assert_int_equal(input(f, "0123456789abcdef", 16), 16);
	assert_int_equal(input(f, "x", 1), 0);
	for (unsigned i = 0; i < 7; i++)
		(void)inb(b, DATA);
	assert_int_equal(f->chr.accepts, 0);
	(void)inb(b, DATA);
	assert_int_equal(f->chr.accepts, 1);
	(void)inb(b, DATA);
	assert_int_equal(f->chr.accepts, 1);
}

/* A paste of any length arrives whole, whatever the guest's rhythm. */
static void paste(void **state)
{
	struct fixture *f = *state;
	unsigned sent = 0, got = 0;
	uint8_t next[64];

	outb(&f->bus, FCR, 0x81);
	while (got < 100000) {
		for (unsigned i = 0; i < sizeof(next); i++)
			next[i] = (uint8_t)((sent + i) * 7);
		sent += input(f, (char *)next, 1 + sent % sizeof(next));
		for (unsigned i = 0; i <= got % 5 && (inb(&f->bus, LSR) & 1); i++) {
			assert_int_equal(inb(&f->bus, LSR) & 2, 0);
			assert_int_equal(inb(&f->bus, DATA), (uint8_t)(got * 7));
			got++;
		}
	}
}

static void overrun(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;

	outb(b, IER, 0x04);
	outb(b, MCR, 0x10);
	/* Holding register: the new one replaces the old one. */
	outb(b, DATA, 'a');
	assert_false(f->irq.level);
	outb(b, DATA, 'b');
	assert_true(f->irq.level);
	assert_int_equal(inb(b, IIR), 0x06);
	assert_int_equal(inb(b, LSR), THRE_TEMT | 0x03);
	assert_false(f->irq.level);
	assert_int_equal(inb(b, LSR), THRE_TEMT | 0x01);
	assert_int_equal(inb(b, DATA), 'b');
	/* FIFO: the new one is lost. */
	outb(b, FCR, 0x01);
	for (unsigned i = 0; i < 18; i++)
		outb(b, DATA, 'a' + i);
	assert_int_equal(inb(b, LSR), THRE_TEMT | 0x03);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(inb(b, DATA), 'a' + i);
	assert_int_equal(inb(b, LSR), THRE_TEMT);
	assert_int_equal(f->chr.len, 0);
}

static void breaks(void **state)
{
	struct fixture *f = *state;
	const struct chardev_handlers *h = &f->chr.c.h;
	struct bus *b = &f->bus;

	outb(b, FCR, 0x01);
	outb(b, IER, 0x05);
	assert_int_equal(input(f, "a", 1), 1);
	h->receive_break(h->opaque);
	assert_int_equal(input(f, "b", 1), 1);
	/* Somewhere in the FIFO, but not yet at the top. */
	assert_int_equal(inb(b, IIR), 0xc4);
	assert_int_equal(inb(b, LSR), THRE_TEMT | 0x81);
	assert_int_equal(inb(b, DATA), 'a');
	assert_int_equal(inb(b, IIR), 0xc6);
	assert_int_equal(inb(b, LSR), THRE_TEMT | 0x91);
	assert_int_equal(inb(b, LSR), THRE_TEMT | 0x01);
	assert_int_equal(inb(b, DATA), 0);
	assert_int_equal(inb(b, DATA), 'b');
	assert_int_equal(inb(b, LSR), THRE_TEMT);
}

static void priorities(void **state)
{
	struct fixture *f = *state;
	const struct chardev_handlers *h = &f->chr.c.h;
	struct bus *b = &f->bus;

	outb(b, MCR, 0x10); /* looped back: all lines fall */
	outb(b, MCR, 0x00);
	outb(b, IER, 0x0f);
	h->receive_break(h->opaque);
	assert_int_equal(inb(b, IIR), 0x06);
	(void)inb(b, LSR);
	assert_int_equal(inb(b, IIR), 0x04);
	(void)inb(b, DATA);
	assert_int_equal(inb(b, IIR), 0x02);
	assert_int_equal(inb(b, IIR), 0x00);
	assert_true(f->irq.level);
	assert_int_equal(inb(b, MSR), 0xbb);
	assert_int_equal(inb(b, IIR), 0x01);
	assert_false(f->irq.level);
	/* Reading IIR clears THRE only when that is what it says. */
	outb(b, IER, 0x03);
	outb(b, DATA, 'x');
	assert_int_equal(input(f, "y", 1), 1);
	assert_int_equal(inb(b, IIR), 0x04);
	(void)inb(b, DATA);
	assert_int_equal(inb(b, IIR), 0x02);
}

static void loopback(void **state)
{
	struct fixture *f = *state;
	struct bus *b = &f->bus;
	static const struct {
		uint8_t mcr;
		uint8_t lines;
	} cases[] = { { 0x11, 0x20 }, { 0x12, 0x10 }, { 0x14, 0x40 }, { 0x18, 0x80 } };

	outb(b, MCR, 0x10);
	assert_int_equal(inb(b, MSR), 0x0b);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		outb(b, MCR, cases[i].mcr);
		assert_int_equal(inb(b, MSR) & 0xf0, cases[i].lines);
		assert_int_equal(inb(b, MSR) & 0x0f, 0);
		outb(b, MCR, 0x10);
		/* RI tells of its end only, the others of both. */
		assert_int_equal(inb(b, MSR), cases[i].lines >> 4);
	}
	outb(b, MCR, 0x14);
	assert_int_equal(inb(b, MSR), 0x40);
	/* The host's input waits while we talk to ourselves. */
	assert_int_equal(input(f, "abc", 3), 0);
	outb(b, DATA, 'L');
	assert_int_equal(inb(b, LSR), THRE_TEMT | 1);
	assert_int_equal(inb(b, DATA), 'L');
	assert_int_equal(f->chr.len, 0);
	assert_int_equal(f->chr.accepts, 0);
	outb(b, MCR, 0x0b);
	assert_int_equal(f->chr.accepts, 1);
	assert_int_equal(input(f, "abc", 3), 1);
	assert_int_equal(inb(b, DATA), 'a');
}

static void unconnected(void **state)
{
	struct fake_irq irq = { 0 };
	struct fixture *f = *state;
	struct uart_config cfg = { "uart1",        &f->bus,         PLATFORM_PORT_COM2,
				   fake_irq(&irq), &f->clock.clock, NULL };
	struct device *dev;

	assert_int_equal(uart_create(&cfg, &dev), 0);
	for (unsigned i = 0; i < 100; i++)
		outb(&f->bus, PLATFORM_PORT_COM2, 'x');
	assert_int_equal(inb(&f->bus, PLATFORM_PORT_COM2 + 5), THRE_TEMT);
	outb(&f->bus, PLATFORM_PORT_COM2 + 2, 0x07);
	outb(&f->bus, PLATFORM_PORT_COM2 + 4, 0x10);
	outb(&f->bus, PLATFORM_PORT_COM2, 'x');
	outb(&f->bus, PLATFORM_PORT_COM2 + 4, 0x00);
	assert_int_equal(inb(&f->bus, PLATFORM_PORT_COM2), 'x');
	device_reset(dev);
	device_destroy(dev);
	/* A taken range is refused, and nothing stays behind. */
	cfg.port = BASE + 4;
	assert_int_equal(uart_create(&cfg, &dev), -EEXIST);
}

static void reset(void **state)
{
	struct fixture *f = *state, fresh;
	struct state_buf a = { 0 }, b = { 0 };

	setup_line(f);
	outb(&f->bus, FCR, 0xc1);
	outb(&f->bus, IER, 0x0f);
	outb(&f->bus, MCR, 0x1f);
	outb(&f->bus, SCR, 0x77);
	outb(&f->bus, MCR, 0x0b);
	f->chr.room = 0;
	outb(&f->bus, DATA, 'x');
	assert_int_equal(input(f, "0123456789abcdef", 16), 16);
	assert_int_equal(input(f, "g", 1), 0);
	assert_true(f->irq.level);
	device_reset(f->dev);
	assert_false(f->irq.level);
	assert_null(f->clock.armed);
	assert_int_equal(f->chr.accepts, 1);
	init(&fresh);
	assert_int_equal(state_save(f->dev, &a), 0);
	assert_int_equal(state_save(fresh.dev, &b), 0);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
	state_buf_free(&a);
	state_buf_free(&b);
	fini(&fresh);
}

/* Saved in the middle of everything; the copy behaves as the original would. */
static void save_restore(void **state)
{
	struct fixture *f = *state, g;
	const struct chardev_handlers *h;

	setup_line(f);
	outb(&f->bus, FCR, 0x81);
	outb(&f->bus, IER, 0x03);
	outb(&f->bus, MCR, 0x0b);
	outb(&f->bus, SCR, 0x42);
	(void)inb(&f->bus, IIR);
	f->chr.room = 1;
	for (const char *s = "out"; *s; s++)
		outb(&f->bus, DATA, *s);
	assert_int_equal(input(f, "in", 2), 2);
	fake_clock_advance(&f->clock, 2 * CHAR_NS);

	init(&g);
	fake_clock_advance(&g.clock, 2 * CHAR_NS);
	g.chr.room = 0;
	check_state_round_trip(f->dev, g.dev);

	h = &g.chr.c.h;
	assert_int_equal(inb(&g.bus, SCR), 0x42);
	assert_int_equal(inb(&g.bus, LSR), 0x01);
	assert_false(g.irq.level);
	g.chr.room = 10;
	h->tx_ready(h->opaque);
	assert_int_equal(g.chr.len, 2);
	assert_memory_equal(g.chr.out, "ut", 2);
	assert_true(g.irq.level);
	assert_int_equal(inb(&g.bus, IIR), 0xc2);
	assert_false(g.irq.level);
	/* The time-out was half over. */
	fake_clock_advance(&g.clock, 2 * CHAR_NS + 10);
	assert_true(g.irq.level);
	assert_int_equal(inb(&g.bus, IIR), 0xcc);
	assert_int_equal(inb(&g.bus, DATA), 'i');
	assert_int_equal(inb(&g.bus, DATA), 'n');
	assert_int_equal(inb(&g.bus, LSR), THRE_TEMT);
	fini(&g);
}

/* With room on the host at once, what waited goes out without a hook's call. */
static void restore_sends(void **state)
{
	struct fixture *f = *state, g;
	struct state_buf buf = { 0 };

	f->chr.room = 0;
	outb(&f->bus, IER, 0x02);
	outb(&f->bus, DATA, 'x');
	init(&g);
	assert_int_equal(state_save(f->dev, &buf), 0);
	assert_true(state_load(g.dev, buf.data, buf.len) > 0);
	assert_int_equal(g.chr.len, 1);
	assert_int_equal(inb(&g.bus, LSR), THRE_TEMT);
	assert_true(g.irq.level);
	state_buf_free(&buf);
	fini(&g);
}

/* The line of the machine that is restored into may be at any level. */
static void restore_sets_line(void **state)
{
	struct fixture *f = *state, g;
	struct state_buf low = { 0 }, high = { 0 };

	assert_int_equal(state_save(f->dev, &low), 0);
	outb(&f->bus, IER, 0x02);
	assert_int_equal(state_save(f->dev, &high), 0);
	init(&g);
	assert_true(state_load(g.dev, high.data, high.len) > 0);
	assert_true(g.irq.level);
	g.irq.level = false; /* the controller's own state was loaded after ours */
	assert_true(state_load(g.dev, high.data, high.len) > 0);
	assert_true(g.irq.level);
	assert_true(state_load(g.dev, low.data, low.len) > 0);
	assert_false(g.irq.level);
	state_buf_free(&low);
	state_buf_free(&high);
	fini(&g);
}

/* Streams with a right CRC and a state that no UART can be in. */
static void hostile_state(void **state)
{
	static const struct state_damage cases[] = {
		{ "ier", 1, 0x10 },       { "fcr", 1, 0xc2 },       { "fcr", 1, 0x40 },
		{ "mcr", 1, 0x20 },       { "msr", 1, 0x30 },       { "lsr_errors", 1, 0x20 },
		{ "thre_pending", 1, 2 }, { "rx_count", 1, 17 },    { "rx_count", 1, 2 },
		{ "tx_count", 1, 17 },    { "rx_errors", 1, 0x20 },
	};
	struct fixture *f = *state;

	check_state_refused(f->dev, cases, ARRAY_SIZE(cases));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(power_on),       T(registers),       T(names),
		T(detection),      T(transmit),        T(transmit_interrupt),
		T(slow_host),      T(guest_overruns),  T(receive_no_fifo),
		T(trigger_levels), T(receive_timeout), T(timeout_follows_baud),
		T(fifo_clear),     T(accept_at_half),  T(paste),
		T(overrun),        T(breaks),          T(priorities),
		T(loopback),       T(unconnected),     T(reset),
		T(save_restore),   T(restore_sends),   T(restore_sets_line),
		T(hostile_state),
	};

	return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
