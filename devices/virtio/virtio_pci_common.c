/* SPDX-License-Identifier: MIT */
/*
 * The common configuration structure of virtio over PCI: VIRTIO 1.2, 4.1.4.3.
 */
#include "devices/virtio/virtio_pci.h"

/* Of a 64-bit field each half is a register (4.1.3.1). */
enum common_reg {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_MSIX_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_MSIX_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_RESET = 0x3a, /* behind queue_notify_data, which is not offered */
};

static const struct virtio_reg common_regs[] = {
	{ DEVICE_FEATURE_SELECT, 4, VIRTIO_REG_RW, "common.device-feature-select" },
	{ DEVICE_FEATURE, 4, VIRTIO_REG_R, "common.device-feature" },
	{ DRIVER_FEATURE_SELECT, 4, VIRTIO_REG_RW, "common.driver-feature-select" },
	{ DRIVER_FEATURE, 4, VIRTIO_REG_RW, "common.driver-feature" },
	{ CONFIG_MSIX_VECTOR, 2, VIRTIO_REG_RW, "common.config-msix-vector" },
	{ NUM_QUEUES, 2, VIRTIO_REG_R, "common.num-queues" },
	{ DEVICE_STATUS, 1, VIRTIO_REG_RW, "common.status" },
	{ CONFIG_GENERATION, 1, VIRTIO_REG_R, "common.config-generation" },
	{ QUEUE_SELECT, 2, VIRTIO_REG_RW, "common.queue-select" },
	{ QUEUE_SIZE, 2, VIRTIO_REG_RW, "common.queue-size" },
	{ QUEUE_MSIX_VECTOR, 2, VIRTIO_REG_RW, "common.queue-msix-vector" },
	{ QUEUE_ENABLE, 2, VIRTIO_REG_RW, "common.queue-enable" },
	{ QUEUE_NOTIFY_OFF, 2, VIRTIO_REG_R, "common.queue-notify-off" },
	{ QUEUE_DESC, 4, VIRTIO_REG_RW, "common.queue-desc-low" },
	{ QUEUE_DESC + 4, 4, VIRTIO_REG_RW, "common.queue-desc-high" },
	{ QUEUE_DRIVER, 4, VIRTIO_REG_RW, "common.queue-driver-low" },
	{ QUEUE_DRIVER + 4, 4, VIRTIO_REG_RW, "common.queue-driver-high" },
	{ QUEUE_DEVICE, 4, VIRTIO_REG_RW, "common.queue-device-low" },
	{ QUEUE_DEVICE + 4, 4, VIRTIO_REG_RW, "common.queue-device-high" },
	{ QUEUE_RESET, 2, VIRTIO_REG_RW, "common.queue-reset" },
};

void virtio_pci_vector_set(struct virtio_pci *vp, uint16_t *vector, uint32_t v)
{
	bool ok = vp->pci.msix && v < vp->msix.nr;

	__atomic_store_n(vector, ok ? (uint16_t)v : VIRTIO_PCI_NO_VECTOR, __ATOMIC_RELAXED);
	virtio_vectors_changed(&vp->vdev);
}

static enum virtio_area reg_area(unsigned reg)
{
	switch (reg & ~7u) {
	case QUEUE_DESC:
		return VIRTIO_AREA_DESC;
	case QUEUE_DRIVER:
		return VIRTIO_AREA_DRIVER;
	default:
		return VIRTIO_AREA_DEVICE;
	}
}

/* 4.1.4.3: of a queue that is not there, all fields read 0; above all its size. */
static uint32_t queue_reg_read(struct virtio_pci *vp, unsigned reg)
{
	const struct virtio_state *s = &vp->s->virtio;
	unsigned q = vp->s->queue_select;

	if (q >= vp->vdev.nr_queues)
		return reg == QUEUE_MSIX_VECTOR ? VIRTIO_PCI_NO_VECTOR : 0;
	switch (reg) {
	case QUEUE_SIZE:
		return s->size[q];
	case QUEUE_MSIX_VECTOR:
		return vp->s->queue_vector[q];
	case QUEUE_ENABLE:
		return s->enabled[q];
	case QUEUE_NOTIFY_OFF:
		return q;
	case QUEUE_RESET:
		return 0; /* it was done when it was written */
	default:
		return virtio_queue_get_area(&vp->vdev, q, reg_area(reg), reg & 4);
	}
}

static void queue_reg_write(struct virtio_pci *vp, unsigned reg, uint32_t v)
{
	unsigned q = vp->s->queue_select;

	switch (reg) {
	case QUEUE_SIZE:
		virtio_queue_set_size(&vp->vdev, q, v);
		break;
	case QUEUE_MSIX_VECTOR:
		if (q < vp->vdev.nr_queues)
			virtio_pci_vector_set(vp, &vp->s->queue_vector[q], v);
		break;
	case QUEUE_ENABLE:
		if (v == 1)
			virtio_queue_enable(&vp->vdev, q);
		break;
	case QUEUE_RESET:
		if (v == 1 && virtio_has(&vp->vdev, VIRTIO_F_RING_RESET))
			virtio_queue_reset(&vp->vdev, q);
		break;
	default:
		virtio_queue_set_area(&vp->vdev, q, reg_area(reg), reg & 4, v);
		break;
	}
}

static struct virtio_pci *to_vp(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_pci, vdev);
}

static uint32_t common_read(struct virtio_dev *vdev, unsigned reg)
{
	struct virtio_pci *vp = to_vp(vdev);
	const struct virtio_pci_state *s = vp->s;

	switch (reg) {
	case DEVICE_FEATURE_SELECT:
		return s->device_feature_select;
	case DEVICE_FEATURE:
		return virtio_features_word(vdev->features, s->device_feature_select);
	case DRIVER_FEATURE_SELECT:
		return s->driver_feature_select;
	case DRIVER_FEATURE:
		return virtio_features_word(s->virtio.driver_features, s->driver_feature_select);
	case CONFIG_MSIX_VECTOR:
		return s->config_vector;
	case NUM_QUEUES:
		return vdev->nr_queues;
	case DEVICE_STATUS:
		return virtio_get_status(vdev);
	case CONFIG_GENERATION:
		return s->virtio.config_generation;
	case QUEUE_SELECT:
		return s->queue_select;
	default:
		return queue_reg_read(vp, reg);
	}
}

static void common_write(struct virtio_dev *vdev, unsigned reg, uint32_t v)
{
	struct virtio_pci *vp = to_vp(vdev);

	switch (reg) {
	case DEVICE_FEATURE_SELECT:
		vp->s->device_feature_select = v;
		break;
	case DRIVER_FEATURE_SELECT:
		vp->s->driver_feature_select = v;
		break;
	case DRIVER_FEATURE:
		virtio_set_features_word(vdev, vp->s->driver_feature_select, v);
		break;
	case CONFIG_MSIX_VECTOR:
		virtio_pci_vector_set(vp, &vp->s->config_vector, v);
		break;
	case DEVICE_STATUS:
		virtio_set_status(vdev, (uint8_t)v);
		if (!v)
			virtio_pci_registers_reset(vp);
		break;
	case QUEUE_SELECT:
		vp->s->queue_select = (uint16_t)v;
		break;
	default:
		queue_reg_write(vp, reg, v);
		break;
	}
}

const struct virtio_regs virtio_pci_common = {
	.regs = common_regs,
	.nr = ARRAY_SIZE(common_regs),
	.read = common_read,
	.write = common_write,
};
