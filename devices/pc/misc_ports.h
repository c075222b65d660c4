/* SPDX-License-Identifier: MIT */
/*
 * Devices of one port each. All take the same configuration and use of it what
 * they need. 0 or -errno.
 */
#ifndef DEVICES_PC_MISC_PORTS_H
#define DEVICES_PC_MISC_PORTS_H

#include "backends/char/chardev.h"
#include "base/bus.h"
#include "base/clock.h"
#include "base/power.h"

struct misc_port_config {
	const char *name;
	struct bus *bus;
	struct power power; /* sysctl_a, pvpanic, debug_exit */
	struct clock *clock; /* speaker */
	struct chardev *chardev; /* debug_log */
};

/* Port 0x80: keeps the last byte written, which reads back. Stateful for the crash dump. */
int post_create(const struct misc_port_config *cfg, struct device **out) __must_check;
/* That byte. Any thread, locks. */
uint8_t post_code(struct device *dev);

/* Port 0x92, system control port A: bit 0 going to 1 resets, bit 1 is A20 and reads back. */
int sysctl_a_create(const struct misc_port_config *cfg, struct device **out) __must_check;

/*
 * Port 0x61 for a machine without a PIT (else the port is the PIT's): the refresh
 * toggle by the clock, speaker bits that read back, counter 2's output stuck at 1
 * so that nobody waits for it.
 */
int speaker_create(const struct misc_port_config *cfg, struct device **out) __must_check;

/*
 * Port 0x505, pvpanic: reads the events it knows (3: panicked, crash kernel loaded);
 * writing bit 0 is POWER_CRASHED with the bits written as detail.
 */
int pvpanic_create(const struct misc_port_config *cfg, struct device **out) __must_check;

/*
 * Ports 0xf4 to 0xf7, debug exit: a write of any width to 0xf4 ends the guest, 0 as
 * POWER_OFF, anything else as POWER_CRASHED with the value as detail.
 */
int debug_exit_create(const struct misc_port_config *cfg, struct device **out) __must_check;

/*
 * Port 0x402, the log of firmware: bytes written go to the chardev, as far as it takes
 * them; it reads 0xe9, by which firmware knows that somebody listens.
 */
int debug_log_create(const struct misc_port_config *cfg, struct device **out) __must_check;

#endif
