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
};

static const struct common_reg_info {
	uint8_t offset;
	uint8_t width;
	bool writable;
	const char *name;
} common_regs[] = {
	{ DEVICE_FEATURE_SELECT, 4, true, "common.device-feature-select" },
	{ DEVICE_FEATURE, 4, false, "common.device-feature" },
	{ DRIVER_FEATURE_SELECT, 4, true, "common.driver-feature-select" },
	{ DRIVER_FEATURE, 4, true, "common.driver-feature" },
	{ CONFIG_MSIX_VECTOR, 2, true, "common.config-msix-vector" },
	{ NUM_QUEUES, 2, false, "common.num-queues" },
	{ DEVICE_STATUS, 1, true, "common.status" },
	{ CONFIG_GENERATION, 1, false, "common.config-generation" },
	{ QUEUE_SELECT, 2, true, "common.queue-select" },
	{ QUEUE_SIZE, 2, true, "common.queue-size" },
	{ QUEUE_MSIX_VECTOR, 2, true, "common.queue-msix-vector" },
	{ QUEUE_ENABLE, 2, true, "common.queue-enable" },
	{ QUEUE_NOTIFY_OFF, 2, false, "common.queue-notify-off" },
	{ QUEUE_DESC, 4, true, "common.queue-desc-low" },
	{ QUEUE_DESC + 4, 4, true, "common.queue-desc-high" },
	{ QUEUE_DRIVER, 4, true, "common.queue-driver-low" },
	{ QUEUE_DRIVER + 4, 4, true, "common.queue-driver-high" },
	{ QUEUE_DEVICE, 4, true, "common.queue-device-low" },
	{ QUEUE_DEVICE + 4, 4, true, "common.queue-device-high" },
};

static void vector_set(struct virtio_pci *vp, uint16_t *vector, uint32_t v)
{
	bool ok = vp->pci.msix && v < vp->msix.nr;

	__atomic_store_n(vector, ok ? (uint16_t)v : VIRTIO_PCI_NO_VECTOR, __ATOMIC_RELAXED);
}

/* The address that a register of the selected queue holds half of. */
static uint64_t *queue_addr(struct virtio_state *s, unsigned queue, unsigned reg)
{
	switch (reg & ~7u) {
	case QUEUE_DESC:
		return &s->desc[queue];
	case QUEUE_DRIVER:
		return &s->avail[queue];
	default:
		return &s->used[queue];
	}
}

/* 4.1.4.3: of a queue that is not there, all fields read 0; above all its size. */
static uint32_t queue_reg_read(struct virtio_pci *vp, unsigned reg)
{
	struct virtio_state *s = &vp->s->virtio;
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
	default:
		return (uint32_t)(*queue_addr(s, q, reg) >> (reg & 4) * 8);
	}
}

static void queue_reg_write(struct virtio_pci *vp, unsigned reg, uint32_t v)
{
	struct virtio_state *s = &vp->s->virtio;
	unsigned q = vp->s->queue_select;
	uint64_t *addr;

	if (q >= vp->vdev.nr_queues)
		return;
	if (reg == QUEUE_MSIX_VECTOR) {
		vector_set(vp, &vp->s->queue_vector[q], v);
		return;
	}
	if (s->enabled[q]) /* frozen: 4.1.4.3.2 */
		return;
	switch (reg) {
	case QUEUE_SIZE:
		if (is_pow2(v) && v <= vp->vdev.queue_size)
			s->size[q] = (uint16_t)v;
		break;
	case QUEUE_ENABLE:
		if (v == 1)
			virtio_queue_enable(&vp->vdev, q);
		break;
	default:
		addr = queue_addr(s, q, reg);
		if (reg & 4)
			*addr = (uint32_t)*addr | (uint64_t)v << 32;
		else
			*addr = (*addr & ~0xffffffffull) | v;
		break;
	}
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> select * 32) : 0;
}

static uint32_t common_reg_read(struct virtio_pci *vp, unsigned reg)
{
	const struct virtio_pci_state *s = vp->s;

	switch (reg) {
	case DEVICE_FEATURE_SELECT:
		return s->device_feature_select;
	case DEVICE_FEATURE:
		return feature_word(vp->vdev.features, s->device_feature_select);
	case DRIVER_FEATURE_SELECT:
		return s->driver_feature_select;
	case DRIVER_FEATURE:
		return feature_word(s->virtio.driver_features, s->driver_feature_select);
	case CONFIG_MSIX_VECTOR:
		return s->config_vector;
	case NUM_QUEUES:
		return vp->vdev.nr_queues;
	case DEVICE_STATUS:
		return virtio_get_status(&vp->vdev);
	case CONFIG_GENERATION:
		return s->virtio.config_generation;
	case QUEUE_SELECT:
		return s->queue_select;
	default:
		return queue_reg_read(vp, reg);
	}
}

static void driver_feature_write(struct virtio_pci *vp, uint32_t v)
{
	struct virtio_pci_state *s = vp->s;
	unsigned shift = s->driver_feature_select * 32;

	/* Settled by FEATURES_OK (3.1.1); bits beyond 63 are none of ours. */
	if (s->driver_feature_select > 1 || (s->virtio.status & VIRTIO_STATUS_FEATURES_OK))
		return;
	s->virtio.driver_features &= ~(0xffffffffull << shift);
	s->virtio.driver_features |= (uint64_t)v << shift;
}

static void common_reg_write(struct virtio_pci *vp, unsigned reg, uint32_t v)
{
	switch (reg) {
	case DEVICE_FEATURE_SELECT:
		vp->s->device_feature_select = v;
		break;
	case DRIVER_FEATURE_SELECT:
		vp->s->driver_feature_select = v;
		break;
	case DRIVER_FEATURE:
		driver_feature_write(vp, v);
		break;
	case CONFIG_MSIX_VECTOR:
		vector_set(vp, &vp->s->config_vector, v);
		break;
	case DEVICE_STATUS:
		virtio_set_status(&vp->vdev, (uint8_t)v);
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

static const struct common_reg_info *common_reg_find(uint64_t offset, unsigned width)
{
	for (unsigned i = 0; i < ARRAY_SIZE(common_regs); i++)
		if (common_regs[i].offset <= offset &&
		    offset + width <= common_regs[i].offset + common_regs[i].width)
			return &common_regs[i];
	return NULL;
}

/* An access to more than one register is an access to each. */
uint32_t virtio_pci_common_read(struct virtio_pci *vp, uint64_t offset, unsigned width)
{
	const struct common_reg_info *r = common_reg_find(offset, width);
	unsigned half = width / 2;

	if (r)
		return common_reg_read(vp, r->offset) >> (offset - r->offset) * 8;
	if (!half)
		return 0;
	return (virtio_pci_common_read(vp, offset, half) & (uint32_t)width_mask(half)) |
	       virtio_pci_common_read(vp, offset + half, half) << half * 8;
}

void virtio_pci_common_write(struct virtio_pci *vp, uint64_t offset, unsigned width, uint32_t v)
{
	const struct common_reg_info *r = common_reg_find(offset, width);
	unsigned half = width / 2;

	if (r) {
		/* Part of a register is no access that the specification knows. */
		if (r->writable && r->width == width)
			common_reg_write(vp, r->offset, v);
	} else if (half) {
		virtio_pci_common_write(vp, offset, half, v & (uint32_t)width_mask(half));
		virtio_pci_common_write(vp, offset + half, half, v >> half * 8);
	}
}

const char *virtio_pci_common_name(uint64_t offset)
{
	const struct common_reg_info *r = common_reg_find(offset, 1);

	return r ? r->name : NULL;
}
