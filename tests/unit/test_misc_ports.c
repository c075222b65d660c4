/* SPDX-License-Identifier: MIT */
/* The devices of one port, and the reset control register of the PCI host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/state.h"
#include "devices/pc/misc_ports.h"
#include "devices/pci/rcr.h"
#include "tests/unit/fake.h"

/* A chardev that is full after a few bytes. */
struct log {
	struct chardev c;
	uint8_t taken[8];
	size_t len;
};

static size_t log_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct log *log = container_of(c, struct log, c);
	size_t n = min_u64(len, sizeof(log->taken) - log->len);

	memcpy(log->taken + log->len, buf, n);
	log->len += n;
	return n;
}

static const struct chardev_ops log_ops = { .write = log_write };

struct fixture {
	struct bus bus;
	struct fake_clock clock;
	struct fake_power power;
	struct misc_port_config cfg;
	struct log log;
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	bus_init(&f.bus);
	fake_clock_init(&f.clock);
	f.cfg = (struct misc_port_config){
		.name = "dev0",
		.bus = &f.bus,
		.power = fake_power(&f.power),
		.clock = &f.clock.clock,
		.chardev = &f.log.c,
	};
	f.log.c.ops = &log_ops;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_destroy(&f->bus);
	return 0;
}

/* The same device on a bus of its own, with the state of the first. */
static struct device *copy(struct fixture *f,
			   int (*create)(const struct misc_port_config *, struct device **),
			   struct device *from, struct bus *bus)
{
	struct misc_port_config cfg = f->cfg;
	struct device *to;

	bus_init(bus);
	cfg.bus = bus;
	assert_int_equal(create(&cfg, &to), 0);
	check_state_round_trip(from, to);
	return to;
}

static void post(void **state)
{
	struct fixture *f = *state;
	struct device *dev, *again, *other;
	struct bus bus2;

	assert_int_equal(post_create(&f->cfg, &dev), 0);
	assert_int_equal(post_create(&f->cfg, &again), -EEXIST);
	assert_int_equal(inb(&f->bus, 0x80), 0);
	outb(&f->bus, 0x80, 0x11);
	outb(&f->bus, 0x80, 0x22);
	assert_int_equal(inb(&f->bus, 0x80), 0x22);
	assert_int_equal(post_code(dev), 0x22);
	outw(&f->bus, 0x80, 0x4433);
	assert_int_equal(post_code(dev), 0x33);
	other = copy(f, post_create, dev, &bus2);
	assert_int_equal(inb(&bus2, 0x80), 0x33);
	device_destroy(other);
	bus_destroy(&bus2);
	device_reset(dev);
	assert_int_equal(post_code(dev), 0);
	device_destroy(dev);
	assert_int_equal(inb(&f->bus, 0x80), 0xff);
}

static void sysctl_a(void **state)
{
	struct fixture *f = *state;
	struct device *dev, *other;
	struct bus bus2;

	assert_int_equal(sysctl_a_create(&f->cfg, &dev), 0);
	assert_int_equal(inb(&f->bus, 0x92), 0x02); /* A20 is open */
	outb(&f->bus, 0x92, 0x00);
	assert_int_equal(inb(&f->bus, 0x92), 0x00);
	other = copy(f, sysctl_a_create, dev, &bus2);
	assert_int_equal(inb(&bus2, 0x92), 0x00);
	device_destroy(other);
	bus_destroy(&bus2);
	outb(&f->bus, 0x92, 0xfe);
	assert_int_equal(inb(&f->bus, 0x92), 0x02);
	assert_int_equal(f->power.requests, 0);
	outb(&f->bus, 0x92, 0x03);
	assert_int_equal(f->power.requests, 1);
	assert_int_equal(f->power.last, POWER_RESET);
	/* The edge resets, not the level. */
	outb(&f->bus, 0x92, 0x01);
	assert_int_equal(f->power.requests, 1);
	outb(&f->bus, 0x92, 0x02);
	outb(&f->bus, 0x92, 0x03);
	assert_int_equal(f->power.requests, 2);
	device_reset(dev);
	assert_int_equal(inb(&f->bus, 0x92), 0x02);
	device_destroy(dev);
}

static void speaker(void **state)
{
	struct fixture *f = *state;
	struct device *dev, *other;
	struct bus bus2;
	unsigned changes = 0;
	uint8_t last;

	assert_int_equal(speaker_create(&f->cfg, &dev), 0);
	outb(&f->bus, 0x61, 0xff);
	assert_int_equal(inb(&f->bus, 0x61) & 0xcf, 0x03);
	outb(&f->bus, 0x61, 0x01);
	assert_int_equal(inb(&f->bus, 0x61) & 0xcf, 0x01);
	/* Counter 2 is always done, so a loop that waits for it ends. */
	assert_int_equal(inb(&f->bus, 0x61) & 0x20, 0x20);
	/* The refresh bit goes to and fro about 66,000 times a second. */
	last = inb(&f->bus, 0x61) & 0x10;
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t now;

		fake_clock_advance(&f->clock, 1000);
		now = inb(&f->bus, 0x61) & 0x10;
		changes += now != last;
		last = now;
	}
	assert_in_range(changes, 65, 67);
	other = copy(f, speaker_create, dev, &bus2);
	assert_int_equal(inb(&bus2, 0x61) & 0xcf, 0x01);
	device_destroy(other);
	bus_destroy(&bus2);
	device_reset(dev);
	assert_int_equal(inb(&f->bus, 0x61) & 0xcf, 0x00);
	device_destroy(dev);
}

static void pvpanic(void **state)
{
	struct fixture *f = *state;
	struct device *dev;

	assert_int_equal(pvpanic_create(&f->cfg, &dev), 0);
	assert_int_equal(inb(&f->bus, 0x505), 0x03);
	outb(&f->bus, 0x505, 0x02); /* a crash kernel takes over: not the end */
	outb(&f->bus, 0x505, 0x00);
	outb(&f->bus, 0x505, 0xfc);
	assert_int_equal(f->power.requests, 0);
	outb(&f->bus, 0x505, 0x01);
	assert_int_equal(f->power.requests, 1);
	assert_int_equal(f->power.last, POWER_CRASHED);
	assert_int_equal(f->power.detail, 1);
	outb(&f->bus, 0x505, 0x03);
	assert_int_equal(f->power.detail, 3);
	device_reset(dev);
	device_destroy(dev);
}

static void debug_exit(void **state)
{
	static const unsigned widths[] = { 1, 2, 4 };
	struct fixture *f = *state;
	struct device *dev;

	assert_int_equal(debug_exit_create(&f->cfg, &dev), 0);
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		unsigned w = widths[i], n = f->power.requests;

		bus_out(&f->bus, BUS_PIO, 0xf4, w, 0);
		assert_int_equal(f->power.requests, n + 1);
		assert_int_equal(f->power.last, POWER_OFF);
		bus_out(&f->bus, BUS_PIO, 0xf4, w, 0x89abcdef & width_mask(w));
		assert_int_equal(f->power.requests, n + 2);
		assert_int_equal(f->power.last, POWER_CRASHED);
		assert_true(f->power.detail == (0x89abcdef & width_mask(w)));
	}
	/* The other ports of the four are for the width only. */
	f->power.requests = 0;
	outb(&f->bus, 0xf5, 1);
	outw(&f->bus, 0xf6, 0);
	assert_int_equal(f->power.requests, 0);
	assert_int_equal(inb(&f->bus, 0xf4), 0);
	assert_int_equal(inl(&f->bus, 0xf4), 0);
	device_destroy(dev);
}

static void names(void **state)
{
	static const struct {
		int (*create)(const struct misc_port_config *cfg, struct device **out);
		uint16_t port;
		const char *reg;
	} ports[] = {
		{ post_create, 0x80, "code" },       { sysctl_a_create, 0x92, "control" },
		{ speaker_create, 0x61, "control" }, { pvpanic_create, 0x505, "event" },
		{ debug_exit_create, 0xf4, "code" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		const char *name, *reg;
		struct device *dev;

		assert_int_equal(ports[i].create(&f->cfg, &dev), 0);
		for (unsigned write = 0; write < 2; write++) {
			assert_true(bus_name(&f->bus, BUS_PIO, ports[i].port, write, &name, &reg));
			assert_string_equal(name, "dev0");
			assert_string_equal(reg, ports[i].reg);
		}
		device_destroy(dev);
	}
}

static void debug_log(void **state)
{
	struct fixture *f = *state;
	const char *name, *reg;
	struct device *dev;

	assert_int_equal(inb(&f->bus, 0x402), 0xff);
	assert_int_equal(debug_log_create(&f->cfg, &dev), 0);
	assert_int_equal(inb(&f->bus, 0x402), 0xe9);
	outb(&f->bus, 0x402, 'a');
	assert_true(bus_write_rep(&f->bus, BUS_PIO, 0x402, "bcde", 1, 4));
	assert_int_equal(f->log.len, 5);
	/* What finds no room is lost, and the guest does not wait. */
	assert_true(bus_write_rep(&f->bus, BUS_PIO, 0x402, "fghij", 1, 5));
	outb(&f->bus, 0x402, 'k');
	assert_memory_equal(f->log.taken, "abcdefgh", 8);
	assert_true(bus_name(&f->bus, BUS_PIO, 0x402, true, &name, &reg));
	assert_string_equal(reg, "data");
	device_reset(dev);
	device_destroy(dev);
	assert_int_equal(inb(&f->bus, 0x402), 0xff);
}

static void reset_control(void **state)
{
	struct fixture *f = *state;
	struct power power = fake_power(&f->power);
	uint8_t reg = 0;

	/* As firmware does it: the kind first, then the edge. */
	rcr_write(&power, &reg, 0x02);
	assert_int_equal(reg, 0x02);
	assert_int_equal(f->power.requests, 0);
	rcr_write(&power, &reg, 0x06);
	assert_int_equal(f->power.requests, 1);
	assert_int_equal(f->power.last, POWER_RESET);
	assert_int_equal(reg, 0x06);
	/* No edge, no reset. */
	rcr_write(&power, &reg, 0x04);
	assert_int_equal(f->power.requests, 1);
	rcr_write(&power, &reg, 0x00);
	assert_int_equal(f->power.requests, 1);
	/* As the ACPI reset register does it: in one write. */
	rcr_write(&power, &reg, 0x06);
	assert_int_equal(f->power.requests, 2);
	/* Other bits do nothing and are not kept. */
	reg = 0;
	rcr_write(&power, &reg, 0xf9);
	assert_int_equal(reg, 0);
	assert_int_equal(f->power.requests, 2);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(post),       T(sysctl_a), T(speaker),   T(pvpanic),
		T(debug_exit), T(names),    T(debug_log), T(reset_control),
	};

	return cmocka_run_group_tests_name("misc_ports", tests, NULL, NULL);
}
