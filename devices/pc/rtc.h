/* SPDX-License-Identifier: MIT */
/*
 * The MC146818A real-time clock and 128 bytes of CMOS RAM at ports 0x70 and 0x71.
 * Specification: Motorola MC146818A data sheet, "Registers" and "Update cycle".
 *
 * The time is clock_wall() plus an offset which the guest moves by setting the
 * clock; every flag is a function of it, and a timer is armed only while an enabled
 * interrupt is still to come. The update-in-progress bit is set for the 244 us
 * before an update, which then takes no time. A wall clock that the host steps
 * shows as a step.
 *
 * As the battery has it, reset leaves the time and the RAM alone, but for the bytes
 * that describe the machine (memory, CPUs, drives), which are written anew.
 */
#ifndef DEVICES_PC_RTC_H
#define DEVICES_PC_RTC_H

#include "base/bus.h"
#include "base/clock.h"
#include "base/irq.h"

struct rtc_config {
	const char *name; /* "rtc" */
	struct bus *bus; /* ports PLATFORM_PORT_RTC_INDEX, _DATA */
	struct irq irq; /* PLATFORM_IRQ_RTC */
	struct clock *clock;
	uint64_t low_ram; /* bytes of RAM from 0 to the hole below 4 GiB */
	uint64_t high_ram; /* bytes of RAM above 4 GiB */
	unsigned cpus; /* 1 to 256 */
};

int rtc_create(const struct rtc_config *cfg, struct device **out) __must_check;

#endif
