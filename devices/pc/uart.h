/* SPDX-License-Identifier: MIT */
/*
 * A 16550A UART: eight ports, one line, a struct chardev behind it.
 * Specification: National Semiconductor PC16550D, section 8 (registers).
 *
 * Transmission takes no time: THRE and TEMT are set again when the write returns,
 * unless the chardev's buffer is full. Then up to 16 bytes wait in the transmit
 * FIFO with THRE clear until the host takes them, as on a slow line; nobody polls.
 * Input is taken from the chardev only as the receive FIFO has room, so a fast
 * paste waits on the host. The receive time-out runs on the clock, by the baud rate.
 * As on most emulated PCs OUT2 does not gate the interrupt.
 *
 * Threads: the chardev's hooks run on the event loop's thread and lock the device.
 * Lock order: device, then chardev; chardev_write() and chardev_accept_input() are
 * called with the device locked and never call back before they return.
 */
#ifndef DEVICES_PC_UART_H
#define DEVICES_PC_UART_H

#include "backends/char/chardev.h"
#include "base/bus.h"
#include "base/clock.h"
#include "base/irq.h"

struct uart_config {
	const char *name; /* "uart0" */
	struct bus *bus;
	uint16_t port; /* PLATFORM_PORT_COM1: eight ports from here */
	struct irq irq;
	struct clock *clock;
	/* NULL: nothing is connected, output vanishes. Destroyed after the UART, not by it. */
	struct chardev *chardev;
};

/*
 * Connects itself to the chardev, so the loop must not run yet, and must have
 * stopped by the time the device is destroyed, which hands the chardev what it takes of
 * the last bytes. 0 or -errno.
 */
int uart_create(const struct uart_config *cfg, struct device **out) __must_check;

#endif
