/* SPDX-License-Identifier: MIT */
/*
 * Virtio over PCI: VIRTIO 1.2, section 4.1. A device has the modern interface, the legacy
 * one of before VIRTIO 1.0, or is transitional and has both; its driver uses one.
 *
 *   BAR 0  I/O      00 legacy registers and device configuration (4.1.4.8)
 *                   80 notifications: queue n's doorbell at 4 n. A port, because the
 *                   host can match a port write to an ioeventfd without decoding the
 *                   guest's instruction. A modern device has them at 0, and no more.
 *   BAR 1  memory   000 common configuration, 040 ISR, 100 device configuration,
 *          4 KiB    800 MSI-X table, c00 MSI-X pending bits
 *                   A legacy device has only MSI-X there.
 *
 * Capabilities come in the order in which Linux looks for them: each one that
 * it must step over costs two exits a step. So a transitional device costs a guest as
 * many as a modern one, and a function level reset is only there where it is wanted.
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
#include "devices/virtio/virtio_regs.h"

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

enum virtio_pci_mode { VIRTIO_PCI_MODERN, VIRTIO_PCI_TRANSITIONAL, VIRTIO_PCI_LEGACY };

struct virtio_pci {
	struct virtio_dev vdev; /* its struct device first */
	struct pci_dev pci;
	struct pci_msix msix;
	struct virtio_pci_state *s;
	enum virtio_pci_mode mode;
	uint8_t notify_at; /* offset of the doorbells in BAR 0 */
	uint8_t pci_cfg_cap; /* VIRTIO_PCI_CAP_PCI_CFG; 0: none, as a legacy device */
	uint8_t af_cap; /* Advanced Features; 0: none */
	struct pci_eventfd doorbells[VIRTIO_MAX_QUEUES];
	bool no_ioeventfd;
	pthread_mutex_t isr_lock; /* guards s->isr and the order of INTx changes */
};

struct virtio_pci_config {
	struct pci_host *host;
	int devfn; /* -1: the first free slot */
	uint16_t type; /* VIRTIO_ID_* */
	uint16_t legacy_id; /* the PCI device id of a device that is not modern (4.1.2.1) */
	uint32_t class; /* PCI class code */
	struct virtio_pci_state *s;
	enum virtio_pci_mode mode;
	bool flr; /* function level reset, by the Advanced Features capability */
	/* Doorbells exit to user space: to see what ioeventfds save, and when the guest rings. */
	bool no_ioeventfd;
	struct virtio_config virtio; /* s and transport are filled in here */
};

/*
 * vp->vdev.dev is initialised by the caller already. 0 or -errno: -EINVAL where the
 * device's configuration has no room. After a failure too, virtio_pci_destroy() undoes
 * what was done (it does not free, nor destroy vp->vdev.dev).
 */
int virtio_pci_init(struct virtio_pci *vp, const struct virtio_pci_config *cfg) __must_check;
void virtio_pci_destroy(struct virtio_pci *vp);

/* For device_ops; the device's lock held. dev is the virtio_pci's. */
void virtio_pci_reset(struct device *dev);
int virtio_pci_post_load(struct device *dev) __must_check;
void virtio_pci_pre_save(struct device *dev);

#define VIRTIO_PCI_NO_VECTOR 0xffff /* 4.1.5.1.2 */

/* For virtio_pci*.c only; the device's lock held. */

/* 4.1.4.3 (virtio_pci_common.c) */
#define VIRTIO_PCI_COMMON_LEN 0x3c
extern const struct virtio_regs virtio_pci_common;

/* 4.1.4.8 (virtio_pci_legacy.c), device configuration included; accesses of 1, 2 or 4 bytes */
#define VIRTIO_PCI_LEGACY_LEN 0x80
#define VIRTIO_PCI_LEGACY_CONFIG 0x18 /* with MSI-X; without it is earlier */
#define VIRTIO_PCI_LEGACY_NOTIFY 0x10
uint32_t virtio_pci_legacy_read(struct virtio_pci *vp, uint64_t offset, unsigned width);
void virtio_pci_legacy_write(struct virtio_pci *vp, uint64_t offset, unsigned width, uint32_t v);
const char *virtio_pci_legacy_name(uint64_t offset);

/* Reads the ISR register, which clears it and lowers the line (4.1.4.5). */
uint8_t virtio_pci_isr_take(struct virtio_pci *vp);

/* Writes one of the vector registers: a vector that there is none of is NO_VECTOR. */
void virtio_pci_vector_set(struct virtio_pci *vp, uint16_t *vector, uint32_t v);

/* The transport's part of a device reset (4.1.4.3.1, 4.1.5.1.2.1). */
void virtio_pci_registers_reset(struct virtio_pci *vp);

#endif
