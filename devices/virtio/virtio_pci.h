/* SPDX-License-Identifier: MIT */
/*
 * Virtio over PCI: VIRTIO 1.2, section 4.1; modern interface.
 *
 *   BAR 0  I/O      notifications: queue n's doorbell at 4 n. A port, because the host
 *                   can match a port write to an ioeventfd without decoding the
 *                   guest's instruction.
 *   BAR 1  memory   000 common configuration, 040 ISR, 100 device configuration,
 *          4 KiB    800 MSI-X table, c00 MSI-X pending bits
 *
 * Capabilities come in the order in which Linux looks for them: each one that
 * it must step over costs two exits a step.
 *
 * MSI-X has a vector for configuration changes and one a queue at most; with MSI-X off
 * it is INTA and the ISR register, under isr_lock, a leaf but for the PCI host's.
 *
 * A device embeds struct virtio_pci first and struct virtio_pci_state in its state,
 * and passes virtio_pci_reset, _post_load, _pre_save on to it from its device_ops.
 */
#ifndef DEVICES_VIRTIO_PCI_H
#define DEVICES_VIRTIO_PCI_H

#include <pthread.h>

#include "devices/pci/msi.h"
#include "devices/pci/pci.h"
#include "devices/virtio/virtio.h"

struct virtio_pci_state {
	struct pci_state pci;
	struct pci_msix_state msix;
	struct virtio_state virtio;
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;
	uint16_t queue_vector[VIRTIO_MAX_QUEUES];
	uint8_t isr;
};

#define VIRTIO_PCI_STATE_FIELDS(s, m)                                                  \
	PCI_STATE_FIELDS(s, m.pci), PCI_MSIX_STATE_FIELDS(s, m.msix),                  \
		VIRTIO_STATE_FIELDS(s, m.virtio), STATE_U(s, m.device_feature_select), \
		STATE_U(s, m.driver_feature_select), STATE_U(s, m.queue_select),       \
		STATE_U(s, m.config_vector), STATE_ARRAY(s, m.queue_vector),           \
		STATE_U_MAX(s, m.isr, 3)

struct virtio_pci {
	struct device dev;
	struct pci_dev pci;
	struct pci_msix msix;
	struct virtio_dev vdev;
	struct virtio_pci_state *s;
	uint8_t pci_cfg_cap; /* VIRTIO_PCI_CAP_PCI_CFG */
	struct pci_eventfd doorbells[VIRTIO_MAX_QUEUES];
	bool no_ioeventfd;
	pthread_mutex_t isr_lock; /* guards s->isr and the order of INTx changes */
};

struct virtio_pci_config {
	struct pci_host *host;
	int devfn; /* -1: the first free slot */
	uint16_t type; /* VIRTIO_ID_* */
	uint32_t class; /* PCI class code */
	struct virtio_pci_state *s;
	/* Doorbells exit to user space: to see what ioeventfds save, and when the guest rings. */
	bool no_ioeventfd;
	struct virtio_config virtio; /* dev, s and transport are filled in here */
};

/*
 * vp->dev is initialised by the caller already. 0 or -errno. After a failure too,
 * virtio_pci_destroy() undoes what was done (it does not free, nor destroy vp->dev).
 */
int virtio_pci_init(struct virtio_pci *vp, const struct virtio_pci_config *cfg) __must_check;
void virtio_pci_destroy(struct virtio_pci *vp);

/* For device_ops; the device's lock held. dev is the virtio_pci's. */
void virtio_pci_reset(struct device *dev);
int virtio_pci_post_load(struct device *dev) __must_check;
void virtio_pci_pre_save(struct device *dev);

/*
 * Stops serving queues, with nothing in flight and the state complete when it
 * returns; and goes on. For the board, every vCPU paused; they take the lock, and may
 * not be called on the queues' own thread. A reset in between is fine. A load needs the
 * pause: a queue that runs would look at its rings before RAM is what it was.
 */
void virtio_pci_pause(struct device *dev);
void virtio_pci_resume(struct device *dev);

/* The virtio device of a dev that embeds a struct virtio_pci. */
const struct virtio_dev *virtio_pci_virtio(const struct device *dev);

/*
 * The common configuration structure (virtio_pci_common.c), for virtio_pci.c: accesses
 * of 1, 2 or 4 bytes within its length, the device's lock held; a register's name.
 */
#define VIRTIO_PCI_COMMON_LEN 0x38
#define VIRTIO_PCI_NO_VECTOR 0xffff /* 4.1.5.1.2 */

uint32_t virtio_pci_common_read(struct virtio_pci *vp, uint64_t offset, unsigned width);
void virtio_pci_common_write(struct virtio_pci *vp, uint64_t offset, unsigned width, uint32_t v);
const char *virtio_pci_common_name(uint64_t offset);

/* The transport's part of a device reset (4.1.4.3.1, 4.1.5.1.2.1). */
void virtio_pci_registers_reset(struct virtio_pci *vp);

#endif
