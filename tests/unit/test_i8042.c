/* SPDX-License-Identifier: MIT */
/* The keyboard controller, with nothing attached to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/state.h"
#include "devices/pc/i8042.h"
#include "tests/unit/fake.h"

#define DATA 0x60
#define CMD 0x64

#define OBF 0x01
#define SYS 0x04
#define CMD_LAST 0x08
#define UNLOCKED 0x10
#define AUX 0x20
#define TIMEOUT 0x40

struct fixture {
	struct bus bus;
	struct fake_irq kbd;
	struct fake_irq aux;
	struct fake_power power;
	struct device *dev;
};

static void init(struct fixture *f)
{
	struct i8042_config cfg = { .name = "i8042", .bus = &f->bus };

	memset(f, 0, sizeof(*f));
	bus_init(&f->bus);
	cfg.kbd_irq = fake_irq(&f->kbd);
	cfg.aux_irq = fake_irq(&f->aux);
	cfg.power = fake_power(&f->power);
	assert_int_equal(i8042_create(&cfg, &f->dev), 0);
}

static void fini(struct fixture *f)
{
	device_destroy(f->dev);
	assert_int_equal(inb(&f->bus, CMD), 0xff);
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

/* Sends a command and reads its answer, which must be there at once. */
static uint8_t ask(struct fixture *f, uint8_t cmd)
{
	outb(&f->bus, CMD, cmd);
	assert_int_equal(inb(&f->bus, CMD) & (OBF | AUX | TIMEOUT), OBF);
	return inb(&f->bus, DATA);
}

static void tell(struct fixture *f, uint8_t cmd, uint8_t data)
{
	outb(&f->bus, CMD, cmd);
	outb(&f->bus, DATA, data);
}

static void power_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(inb(&f->bus, CMD), UNLOCKED | CMD_LAST);
	assert_int_equal(ask(f, 0x20), 0x03);
	/* The speaker's port in between is not ours. */
	assert_int_equal(inb(&f->bus, 0x61), 0xff);
	assert_int_equal(f->power.requests, 0);
}

static void controller_commands(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, 0xaa), 0x55);
	assert_int_equal(inb(&f->bus, CMD) & SYS, SYS);
	assert_int_equal(ask(f, 0xab), 0x00);
	assert_int_equal(ask(f, 0xa9), 0x00);
	assert_int_equal(ask(f, 0xc0), 0x80);
	tell(f, 0x60, 0x00);
	assert_int_equal(ask(f, 0x20), 0x00);
	assert_int_equal(inb(&f->bus, CMD) & SYS, 0);
	outb(&f->bus, CMD, 0xad);
	assert_int_equal(ask(f, 0x20), 0x10);
	outb(&f->bus, CMD, 0xa7);
	assert_int_equal(ask(f, 0x20), 0x30);
	outb(&f->bus, CMD, 0xae);
	assert_int_equal(ask(f, 0x20), 0x20);
	outb(&f->bus, CMD, 0xa8);
	assert_int_equal(ask(f, 0x20), 0x00);
	/* Unknown ones are swallowed. */
	outb(&f->bus, CMD, 0x99);
	assert_int_equal(inb(&f->bus, CMD) & OBF, 0);
}

/* The status of the last write, and that a read empties the buffer. */
static void status(void **state)
{
	struct fixture *f = *state;

	outb(&f->bus, CMD, 0x60);
	assert_int_equal(inb(&f->bus, CMD) & CMD_LAST, CMD_LAST);
	outb(&f->bus, DATA, 0x47);
	assert_int_equal(inb(&f->bus, CMD) & CMD_LAST, 0);
	outb(&f->bus, CMD, 0x20);
	assert_int_equal(inb(&f->bus, CMD) & OBF, OBF);
	assert_int_equal(inb(&f->bus, DATA), 0x47);
	assert_int_equal(inb(&f->bus, CMD) & OBF, 0);
	assert_int_equal(inb(&f->bus, DATA), 0x47); /* what was last there */
}

/* Everything sent to a device fails at once, as a controller says that it waited. */
static void nothing_attached(void **state)
{
	static const uint8_t cmds[] = { 0xff, 0xf2, 0xed, 0xf4, 0xf5, 0xee };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		outb(&f->bus, DATA, cmds[i]);
		assert_int_equal(inb(&f->bus, CMD) & (OBF | AUX | TIMEOUT), OBF | TIMEOUT);
		assert_true(f->kbd.level);
		assert_int_equal(inb(&f->bus, DATA), 0xfe);
		assert_false(f->kbd.level);
		assert_int_equal(inb(&f->bus, CMD) & (OBF | TIMEOUT), 0);
		tell(f, 0xd4, cmds[i]);
		assert_int_equal(inb(&f->bus, CMD) & (OBF | AUX | TIMEOUT), OBF | AUX | TIMEOUT);
		assert_true(f->aux.level);
		assert_false(f->kbd.level);
		assert_int_equal(inb(&f->bus, DATA), 0xfe);
		assert_false(f->aux.level);
	}
	assert_int_equal(f->kbd.raised, ARRAY_SIZE(cmds));
	/* A byte for the keyboard opens its port. */
	outb(&f->bus, CMD, 0xad);
	outb(&f->bus, DATA, 0xff);
	assert_int_equal(inb(&f->bus, DATA), 0xfe);
	assert_int_equal(ask(f, 0x20) & 0x10, 0);
}

/* How Linux finds out that the auxiliary port is there and its interrupt arrives. */
static void echoes(void **state)
{
	struct fixture *f = *state;

	tell(f, 0xd3, 0x5a);
	assert_int_equal(inb(&f->bus, CMD) & (OBF | AUX | TIMEOUT), OBF | AUX);
	assert_true(f->aux.level);
	assert_int_equal(inb(&f->bus, DATA), 0x5a);
	tell(f, 0xd2, 0xa5);
	assert_int_equal(inb(&f->bus, CMD) & (OBF | AUX | TIMEOUT), OBF);
	assert_true(f->kbd.level);
	assert_int_equal(inb(&f->bus, DATA), 0xa5);
	/* The interrupts are the command byte's to allow. */
	tell(f, 0x60, 0x00);
	tell(f, 0xd2, 1);
	tell(f, 0xd3, 2);
	assert_false(f->kbd.level);
	assert_false(f->aux.level);
	tell(f, 0x60, 0x02);
	assert_true(f->aux.level);
	tell(f, 0x60, 0x01);
	assert_false(f->aux.level);
	assert_false(f->kbd.level);
	assert_int_equal(inb(&f->bus, DATA), 2);
}

static void new_byte_is_new_edge(void **state)
{
	struct fixture *f = *state;

	tell(f, 0xd2, 1);
	tell(f, 0xd2, 2);
	assert_int_equal(f->kbd.raised, 2);
	tell(f, 0xd3, 3);
	assert_false(f->kbd.level);
	assert_true(f->aux.level);
}

static void a_command_cancels_the_last(void **state)
{
	struct fixture *f = *state;

	outb(&f->bus, CMD, 0xd1);
	outb(&f->bus, CMD, 0x60);
	outb(&f->bus, DATA, 0x40); /* as an output port it would reset */
	assert_int_equal(f->power.requests, 0);
	assert_int_equal(ask(f, 0x20), 0x40);
	outb(&f->bus, CMD, 0xd1);
	outb(&f->bus, CMD, 0xae);
	outb(&f->bus, DATA, 0x00); /* for the keyboard */
	assert_int_equal(f->power.requests, 0);
}

static void resets(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	for (unsigned cmd = 0xf0; cmd <= 0xff; cmd++) {
		outb(&f->bus, CMD, cmd);
		n += !(cmd & 1);
		assert_int_equal(f->power.requests, n);
	}
	assert_int_equal(f->power.last, POWER_RESET);
	tell(f, 0xd1, 0x03);
	assert_int_equal(f->power.requests, n);
	tell(f, 0xd1, 0x02);
	assert_int_equal(f->power.requests, n + 1);
}

static void a20(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, 0xd0) & 0x33, 0x03);
	outb(&f->bus, CMD, 0xdd);
	assert_int_equal(ask(f, 0xd0) & 0x03, 0x01);
	outb(&f->bus, CMD, 0xdf);
	assert_int_equal(ask(f, 0xd0) & 0x03, 0x03);
	tell(f, 0xd1, 0xdd);
	assert_int_equal(ask(f, 0xd0) & 0x03, 0x01);
	tell(f, 0xd1, 0xdf);
	assert_int_equal(ask(f, 0xd0) & 0x03, 0x03);
	/* The buffers' state shows in it. */
	tell(f, 0xd3, 1);
	assert_int_equal(ask(f, 0xd0) & 0x30, 0x20);
	assert_int_equal(f->power.requests, 0);
}

static void names(void **state)
{
	struct fixture *f = *state;
	const char *dev, *reg;

	for (unsigned write = 0; write < 2; write++) {
		assert_true(bus_name(&f->bus, BUS_PIO, DATA, write, &dev, &reg));
		assert_string_equal(reg, "data");
		assert_true(bus_name(&f->bus, BUS_PIO, CMD, write, &dev, &reg));
		assert_string_equal(reg, write ? "command" : "status");
	}
}

static void reset(void **state)
{
	struct fixture *f = *state, fresh;
	struct state_buf a = { 0 }, b = { 0 };

	(void)ask(f, 0xaa);
	tell(f, 0x60, 0x77);
	tell(f, 0xd2, 0x99);
	outb(&f->bus, CMD, 0xdd);
	outb(&f->bus, CMD, 0xd4);
	assert_true(f->kbd.level);
	device_reset(f->dev);
	assert_false(f->kbd.level);
	init(&fresh);
	assert_int_equal(state_save(f->dev, &a), 0);
	assert_int_equal(state_save(fresh.dev, &b), 0);
	assert_memory_equal(a.data, b.data, a.len);
	state_buf_free(&a);
	state_buf_free(&b);
	fini(&fresh);
}

static void save_restore(void **state)
{
	struct fixture *f = *state, g;

	/* A byte waits, and a command waits for one. */
	tell(f, 0x60, 0x03);
	tell(f, 0xd3, 0x42);
	outb(&f->bus, CMD, 0xd4);
	init(&g);
	check_state_round_trip(f->dev, g.dev);
	assert_true(g.aux.level);
	assert_int_equal(inb(&g.bus, CMD), OBF | AUX | CMD_LAST | UNLOCKED);
	assert_int_equal(inb(&g.bus, DATA), 0x42);
	outb(&g.bus, DATA, 0xff);
	assert_int_equal(inb(&g.bus, CMD) & (OBF | AUX | TIMEOUT), OBF | AUX | TIMEOUT);
	assert_int_equal(inb(&g.bus, DATA), 0xfe);
	fini(&g);
}

static void hostile_state(void **state)
{
	static const struct state_damage cases[] = { { "status", 1, 0x02 },
						     { "status", 1, 0x80 },
						     { "out_port", 1, 0x01 } };
	struct fixture *f = *state;

	check_state_refused(f->dev, cases, ARRAY_SIZE(cases));
}

static void ports_taken(void **state)
{
	struct fixture *f = *state;
	struct i8042_config cfg = { .name = "other", .bus = &f->bus };
	struct device *dev;

	assert_int_equal(i8042_create(&cfg, &dev), -EEXIST);
	assert_int_equal(bus_remove(&f->bus, BUS_PIO, DATA), 0);
	assert_int_equal(i8042_create(&cfg, &dev), -EEXIST);
	assert_int_equal(inb(&f->bus, DATA), 0xff); /* undone */
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(power_on),
		T(controller_commands),
		T(status),
		T(nothing_attached),
		T(echoes),
		T(new_byte_is_new_edge),
		T(a_command_cancels_the_last),
		T(resets),
		T(a20),
		T(names),
		T(reset),
		T(save_restore),
		T(hostile_state),
		T(ports_taken),
	};

	return cmocka_run_group_tests_name("i8042", tests, NULL, NULL);
}
