/* SPDX-License-Identifier: MIT */
/*
 * What every device is to the machine: a name, a lock, and three things that can
 * be done to it from outside. A device embeds struct device first, and one state
 * struct which its state table (base/state.h) describes.
 *
 * The lock guards the device's state. The bus takes it around every handler, and
 * the board around reset, save and load, so these run one at a time and never
 * lock themselves. Code that reaches a device by another way (a timer, an event
 * loop, an I/O thread) takes device_lock(). It is the innermost lock but for
 * those of the irq and the bus; a handler may raise an interrupt or ask the
 * machine for a reset, but must not call another device's handler.
 */
#ifndef BASE_DEVICE_H
#define BASE_DEVICE_H

#include <pthread.h>

#include "base/util.h"

struct device;
struct state_desc;

struct device_ops {
	const char *type; /* "uart", "virtio-blk": the name in state streams */

	/*
	 * Back to the state at power-on. In-flight I/O is drained or cancelled
	 * before it returns. Called with every vCPU paused.
	 */
	void (*reset)(struct device *dev);

	/* Frees the device, itself included. Its thread and timers are stopped first. */
	void (*destroy)(struct device *dev);

	/*
	 * The fields that make the device what it is (base/state.h), and where the
	 * described struct lies: bytes from the struct device. NULL: stateless.
	 */
	const struct state_desc *state;
	size_t state_offset;

	/* Optional, before state is saved: fetches into it what lives elsewhere meanwhile. */
	void (*pre_save)(struct device *dev);

	/* After state was loaded: revalidates it all, then re-arms timers and lines. */
	int (*post_load)(struct device *dev);
};

struct device {
	const struct device_ops *ops;
	char name[24]; /* unique in the machine: "uart0", "virtio-blk0" */
	pthread_mutex_t lock;
};

/* Prepares the base part. name is copied and must fit (assertion). */
void device_init(struct device *dev, const struct device_ops *ops, const char *name);

/* Calls the device's own destroy, which frees everything; its lock works until then. */
void device_destroy(struct device *dev);

/* Locked calls of the ops; a device without the op is left as it is. */
void device_reset(struct device *dev);

void device_lock(struct device *dev);
void device_unlock(struct device *dev);

#endif
