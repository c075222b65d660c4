/* SPDX-License-Identifier: MIT */
/*
 * The reset control register, byte port 0xcf9, which lies in the middle of the PCI
 * configuration address register and is therefore its owner's to forward.
 * Specification: Intel PIIX3 (82371SB) data sheet, "RC - Reset Control Register".
 */
#ifndef DEVICES_PCI_RCR_H
#define DEVICES_PCI_RCR_H

#include "base/power.h"

#define RCR_SYS_RST 0x02 /* type of reset: hard; soft and hard are the same here */
#define RCR_RST_CPU 0x04 /* going from 0 to 1 resets */
#define RCR_MASK (RCR_SYS_RST | RCR_RST_CPU)

/* A byte is written; *reg is the register, which reads back and is 0 at power-on. */
static inline void rcr_write(const struct power *power, uint8_t *reg, uint8_t value)
{
	bool reset = value & ~*reg & RCR_RST_CPU;

	*reg = value & RCR_MASK;
	if (reset)
		power_request(power, POWER_RESET, 0);
}

#endif
