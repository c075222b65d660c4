/* SPDX-License-Identifier: MIT */
/*
 * The legacy interface of virtio over PCI, as virtio 0.9 had it: VIRTIO 1.2, 4.1.4.8. Its
 * device configuration follows the registers, further back while MSI-X is on. All is in the
 * guest's byte order, little-endian.
 */
#include "devices/virtio/virtio_pci.h"

enum legacy_reg {
	DEVICE_FEATURES = 0x00,
	DRIVER_FEATURES = 0x04,
	QUEUE_ADDRESS = 0x08,
	QUEUE_SIZE = 0x0c,
	QUEUE_SELECT = 0x0e,
	QUEUE_NOTIFY = VIRTIO_PCI_LEGACY_NOTIFY,
	DEVICE_STATUS = 0x12,
	ISR_STATUS = 0x13,
	CONFIG_MSIX_VECTOR = 0x14,
	QUEUE_MSIX_VECTOR = 0x16,
};

#define CONFIG_WITHOUT_MSIX 0x14

static const struct virtio_reg legacy_regs[] = {
	{ DEVICE_FEATURES, 4, VIRTIO_REG_R, "legacy.device-features" },
	{ DRIVER_FEATURES, 4, VIRTIO_REG_RW, "legacy.driver-features" },
	{ QUEUE_ADDRESS, 4, VIRTIO_REG_RW, "legacy.queue-address" },
	{ QUEUE_SIZE, 2, VIRTIO_REG_R, "legacy.queue-size" },
	{ QUEUE_SELECT, 2, VIRTIO_REG_RW, "legacy.queue-select" },
	{ QUEUE_NOTIFY, 2, VIRTIO_REG_RW, "legacy.notify" },
	{ DEVICE_STATUS, 1, VIRTIO_REG_RW, "legacy.status" },
	{ ISR_STATUS, 1, VIRTIO_REG_R, "legacy.isr" },
	/* Names do not depend on state: see virtio_pci_legacy_name(). */
	{ CONFIG_MSIX_VECTOR, 2, VIRTIO_REG_RW, "legacy.vector-or-config" },
	{ QUEUE_MSIX_VECTOR, 2, VIRTIO_REG_RW, "legacy.vector-or-config" },
};

static struct virtio_pci *to_vp(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_pci, vdev);
}

static uint32_t legacy_read(struct virtio_dev *vdev, unsigned reg)
{
	struct virtio_pci *vp = to_vp(vdev);
	const struct virtio_pci_state *s = vp->s;
	unsigned q = s->queue_select;
	bool there = q < vdev->nr_queues;

	switch (reg) {
	case DEVICE_FEATURES:
		return virtio_features_word(vdev->features, 0);
	case DRIVER_FEATURES:
		return virtio_features_word(s->virtio.driver_features, 0);
	case QUEUE_ADDRESS:
		return virtio_legacy_get_queue(vdev, q);
	case QUEUE_SIZE:
		return there ? s->virtio.size[q] : 0;
	case QUEUE_SELECT:
		return q;
	case DEVICE_STATUS:
		return virtio_get_status(vdev);
	case ISR_STATUS:
		return virtio_pci_isr_take(vp);
	case CONFIG_MSIX_VECTOR:
		return s->config_vector;
	case QUEUE_MSIX_VECTOR:
		return there ? s->queue_vector[q] : VIRTIO_PCI_NO_VECTOR;
	case QUEUE_NOTIFY:
	default:
		return 0;
	}
}

static void legacy_write(struct virtio_dev *vdev, unsigned reg, uint32_t v)
{
	struct virtio_pci *vp = to_vp(vdev);
	unsigned q = vp->s->queue_select;

	switch (reg) {
	case DRIVER_FEATURES:
		virtio_legacy_set_features(vdev, v);
		break;
	case QUEUE_ADDRESS:
		virtio_legacy_set_queue(vdev, q, v);
		break;
	case QUEUE_SELECT:
		vp->s->queue_select = (uint16_t)v;
		break;
	case QUEUE_NOTIFY: /* what no ioeventfd has caught */
		if (v < vdev->nr_queues)
			virtio_queue_ring(&vdev->queues[v]);
		break;
	case DEVICE_STATUS:
		virtio_legacy_set_status(vdev, (uint8_t)v);
		if (!v)
			virtio_pci_registers_reset(vp);
		break;
	case CONFIG_MSIX_VECTOR:
		virtio_pci_vector_set(vp, &vp->s->config_vector, v);
		break;
	case QUEUE_MSIX_VECTOR:
		if (q < vdev->nr_queues)
			virtio_pci_vector_set(vp, &vp->s->queue_vector[q], v);
		break;
	default:
		break;
	}
}

static const struct virtio_regs legacy = {
	.regs = legacy_regs,
	.nr = ARRAY_SIZE(legacy_regs),
	.read = legacy_read,
	.write = legacy_write,
};

static uint64_t config_at(const struct virtio_pci *vp)
{
	return pci_msix_enabled(&vp->pci) ? VIRTIO_PCI_LEGACY_CONFIG : CONFIG_WITHOUT_MSIX;
}

uint32_t virtio_pci_legacy_read(struct virtio_pci *vp, uint64_t offset, unsigned width)
{
	uint64_t config = config_at(vp);

	if (offset >= config)
		return virtio_config_read(&vp->vdev, offset - config, width);
	return virtio_regs_read(&legacy, &vp->vdev, offset, width);
}

void virtio_pci_legacy_write(struct virtio_pci *vp, uint64_t offset, unsigned width, uint32_t v)
{
	uint64_t config = config_at(vp);

	if (offset >= config)
		virtio_config_write(&vp->vdev, offset - config, width, v);
	else
		virtio_regs_write(&legacy, &vp->vdev, offset, width, v);
}

const char *virtio_pci_legacy_name(uint64_t offset)
{
	return offset >= VIRTIO_PCI_LEGACY_CONFIG ? "legacy.config"
						  : virtio_regs_name(&legacy, offset);
}
