/* SPDX-License-Identifier: MIT */
/*
 * The outside world of a device under test: interrupts that are counted, a clock
 * that is moved by hand, a machine that notes what was asked of it. With a real
 * struct bus and struct mem these drive a device at its registers.
 */
#ifndef TESTS_UNIT_FAKE_H
#define TESTS_UNIT_FAKE_H

#include "base/bus.h"
#include "base/clock.h"
#include "base/irq.h"
#include "base/power.h"

struct fake_irq {
	bool level;
	unsigned raised; /* rising edges */
};

/* The struct irq that leads to f. */
struct irq fake_irq(struct fake_irq *f);

/* Starts at 0 (monotonic) and 2026-01-02 03:04:05 UTC (wall, a Friday). */
struct fake_clock {
	struct clock clock;
	uint64_t now;
	uint64_t wall_at_0; /* ns since 1970 */
	struct timer *armed; /* sorted by deadline */
};

void fake_clock_init(struct fake_clock *fc);
/* Moves time to now + ns, firing every timer on the way at its very deadline. */
void fake_clock_advance(struct fake_clock *fc, uint64_t ns);

#define FAKE_MSI_VECTORS 64

struct fake_msi {
	struct msi_ctl ctl;
	struct {
		bool used;
		bool masked;
		int fd;
		uint64_t addr;
		uint32_t data;
	} vec[FAKE_MSI_VECTORS];
};

void fake_msi_init(struct fake_msi *fm);
/* Messages delivered so far by vector id: takes those pending in its eventfd; 0 while masked. */
unsigned fake_msi_take(struct fake_msi *fm, int id);

struct fake_power {
	unsigned requests;
	enum power_event last;
	uint32_t detail;
};

struct power fake_power(struct fake_power *f);

/* One access each, as the guest would make it. */
uint64_t bus_in(struct bus *bus, enum bus_space space, uint64_t addr, unsigned width);
void bus_out(struct bus *bus, enum bus_space space, uint64_t addr, unsigned width, uint64_t v);

#define inb(bus, port) ((uint8_t)bus_in(bus, BUS_PIO, port, 1))
#define inw(bus, port) ((uint16_t)bus_in(bus, BUS_PIO, port, 2))
#define inl(bus, port) ((uint32_t)bus_in(bus, BUS_PIO, port, 4))
#define outb(bus, port, v) bus_out(bus, BUS_PIO, port, 1, v)
#define outw(bus, port, v) bus_out(bus, BUS_PIO, port, 2, v)
#define outl(bus, port, v) bus_out(bus, BUS_PIO, port, 4, v)

/*
 * Saves from, loads the stream into to, and checks that saving to gives the same
 * bytes; then that every single-bit flip of the stream is refused and leaves to
 * as it was. The two devices must have the same name. Fails the cmocka test.
 */
void check_state_round_trip(struct device *from, struct device *to);

/* A field, and a value of so many bytes (1 to 8) that it cannot have; those of an array are its first elements. */
struct state_damage {
	const char *field;
	unsigned width;
	uint64_t value;
};

/*
 * Saves dev, and checks that each of these values alone, in an otherwise sound stream, is refused
 * and leaves dev as it was, and that the stream without is not refused. Fails the cmocka test.
 */
void check_state_refused(struct device *dev, const struct state_damage *cases, size_t nr);

#endif
