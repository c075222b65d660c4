/* SPDX-License-Identifier: MIT */
/*
 * The i8042 keyboard controller at ports 0x60 and 0x64, with neither a keyboard nor
 * a mouse attached: what is sent to either comes back at once as 0xfe with the
 * time-out bit, so probing fails quickly. It is here for its reset line and A20.
 * Specification: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller".
 *
 * A20 is a bit that reads back; the address line itself is always open.
 */
#ifndef DEVICES_PC_I8042_H
#define DEVICES_PC_I8042_H

#include "base/bus.h"
#include "base/irq.h"
#include "base/power.h"

struct i8042_config {
	const char *name; /* "i8042" */
	struct bus *bus; /* ports PLATFORM_PORT_I8042_DATA, _CMD */
	struct irq kbd_irq; /* PLATFORM_IRQ_KEYBOARD */
	struct irq aux_irq; /* PLATFORM_IRQ_MOUSE */
	struct power power;
};

int i8042_create(const struct i8042_config *cfg, struct device **out) __must_check;

#endif
