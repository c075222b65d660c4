/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware: PM1a event and control blocks, the PM timer, GPE block 0.
 * Specification: ACPI 6.4, section 4.8 (register model).
 *
 * There is no SMI: the machine is in ACPI mode from power-on and SCI_EN is stuck at
 * 1. SLP_EN with PLATFORM_SLP_TYP_S5 is POWER_OFF; any other sleep wakes at once.
 * The timer is 24 bits of clock_now() in ticks, so the machine's clock has to go on
 * where it was when a machine is restored. The SCI is a level.
 */
#ifndef DEVICES_PC_PM_H
#define DEVICES_PC_PM_H

#include "base/bus.h"
#include "base/clock.h"
#include "base/irq.h"
#include "base/power.h"

#define PM_NR_GPE 16

struct pm_config {
	const char *name; /* "pm" */
	struct bus *bus; /* PLATFORM_PORT_PM_BASE, PLATFORM_PORT_GPE_BASE */
	struct irq sci; /* PLATFORM_IRQ_SCI, level */
	struct clock *clock;
	struct power power;
};

int pm_create(const struct pm_config *cfg, struct device **out) __must_check;

/* The power button is pressed: any thread, takes the device's lock. */
void pm_press_power_button(struct device *dev);

/* Sets the status of general-purpose event gpe (below PM_NR_GPE). Any thread, locks. */
void pm_raise_gpe(struct device *dev, unsigned gpe);

#endif
