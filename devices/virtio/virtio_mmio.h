/* SPDX-License-Identifier: MIT */
/*
 * Virtio over memory-mapped I/O: VIRTIO 1.2, section 4.2, register layout version 2. A guest
 * finds it in the device tree ("virtio,mmio").
 *
 *   000  registers, of which QueueNotify at 050 takes the number of a queue: writes there
 *        match ioeventfds by value, but the host has to decode the guest's instruction
 *   100  device configuration
 *
 * One interrupt line, level-triggered: up while InterruptStatus is not 0, under irq_lock, a
 * leaf. The device may always reach memory: there is no bus mastering to turn on.
 *
 * A device embeds struct virtio_mmio first and struct virtio_mmio_state in its state,
 * and passes virtio_mmio_reset and _post_load, virtio_mmio_pre_save on to it from its device_ops.
 */
#ifndef DEVICES_VIRTIO_MMIO_H
#define DEVICES_VIRTIO_MMIO_H

#include <pthread.h>

#include "base/bus.h"
#include "base/irq.h"
#include "devices/virtio/virtio.h"

#define VIRTIO_MMIO_SIZE 0x200

struct virtio_mmio_state {
	struct virtio_state virtio;
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint32_t queue_select;
	uint8_t interrupt_status;
};

#define VIRTIO_MMIO_STATE_FIELDS(s, m)                                           \
	VIRTIO_STATE_FIELDS(s, m.virtio), STATE_U(s, m.device_feature_select),   \
		STATE_U(s, m.driver_feature_select), STATE_U(s, m.queue_select), \
		STATE_U_MAX(s, m.interrupt_status, 3)

struct virtio_mmio {
	struct virtio_dev vdev; /* its struct device first */
	struct bus *bus;
	uint64_t base;
	bool on_bus;
	uint16_t type;
	bool no_ioeventfd;
	struct virtio_mmio_state *s;
	pthread_mutex_t irq_lock; /* guards s->interrupt_status and the order of line changes */
	struct irq irq;
};

struct virtio_mmio_config {
	struct bus *bus;
	uint64_t base;
	struct irq irq; /* level-triggered */
	uint16_t type; /* VIRTIO_ID_* */
	bool no_ioeventfd; /* as in struct virtio_pci_config */
	struct virtio_mmio_state *s;
	struct virtio_config virtio; /* s and transport are filled in here */
};

/*
 * vm->vdev.dev is initialised by the caller already. 0 or -errno. After a failure too,
 * virtio_mmio_destroy() undoes what was done (it does not free, nor destroy vm->vdev.dev).
 */
int virtio_mmio_init(struct virtio_mmio *vm, const struct virtio_mmio_config *cfg) __must_check;
void virtio_mmio_destroy(struct virtio_mmio *vm);

/* For device_ops; the device's lock held. dev is the virtio_mmio's. */
void virtio_mmio_reset(struct device *dev);
int virtio_mmio_post_load(struct device *dev) __must_check;
void virtio_mmio_pre_save(struct device *dev);

#endif
