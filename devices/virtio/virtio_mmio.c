/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_mmio.h"

#include <errno.h>

#include "devices/virtio/virtio_regs.h"

#define MAGIC 0x74726976 /* "virt" */
#define VERSION 2
#define VENDOR 0x1af4

#define INTERRUPT_QUEUE 1 /* 4.2.2: bits of InterruptStatus */
#define INTERRUPT_CONFIG 2

#define CONFIG_MAX (VIRTIO_MMIO_SIZE - CONFIG)

/* 4.2.2 */
enum mmio_reg {
	MAGIC_VALUE = 0x000,
	VERSION_NUMBER = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	QUEUE_SIZE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC = 0x080,
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	SHM_SEL = 0x0ac,
	SHM_LEN_LOW = 0x0b0,
	SHM_LEN_HIGH = 0x0b4,
	SHM_BASE_LOW = 0x0b8,
	SHM_BASE_HIGH = 0x0bc,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

static const struct virtio_reg mmio_regs[] = {
	{ MAGIC_VALUE, 4, VIRTIO_REG_R, "magic" },
	{ VERSION_NUMBER, 4, VIRTIO_REG_R, "version" },
	{ DEVICE_ID, 4, VIRTIO_REG_R, "device-id" },
	{ VENDOR_ID, 4, VIRTIO_REG_R, "vendor-id" },
	{ DEVICE_FEATURES, 4, VIRTIO_REG_R, "device-features" },
	{ DEVICE_FEATURES_SEL, 4, VIRTIO_REG_W, "device-features-select" },
	{ DRIVER_FEATURES, 4, VIRTIO_REG_W, "driver-features" },
	{ DRIVER_FEATURES_SEL, 4, VIRTIO_REG_W, "driver-features-select" },
	{ QUEUE_SEL, 4, VIRTIO_REG_W, "queue-select" },
	{ QUEUE_SIZE_MAX, 4, VIRTIO_REG_R, "queue-size-max" },
	{ QUEUE_SIZE, 4, VIRTIO_REG_W, "queue-size" },
	{ QUEUE_READY, 4, VIRTIO_REG_RW, "queue-ready" },
	{ QUEUE_NOTIFY, 4, VIRTIO_REG_W, "notify" },
	{ INTERRUPT_STATUS, 4, VIRTIO_REG_R, "interrupt-status" },
	{ INTERRUPT_ACK, 4, VIRTIO_REG_W, "interrupt-ack" },
	{ STATUS, 4, VIRTIO_REG_RW, "status" },
	{ QUEUE_DESC, 4, VIRTIO_REG_W, "queue-desc-low" },
	{ QUEUE_DESC + 4, 4, VIRTIO_REG_W, "queue-desc-high" },
	{ QUEUE_DRIVER, 4, VIRTIO_REG_W, "queue-driver-low" },
	{ QUEUE_DRIVER + 4, 4, VIRTIO_REG_W, "queue-driver-high" },
	{ QUEUE_DEVICE, 4, VIRTIO_REG_W, "queue-device-low" },
	{ QUEUE_DEVICE + 4, 4, VIRTIO_REG_W, "queue-device-high" },
	{ SHM_SEL, 4, VIRTIO_REG_W, "shm-select" },
	{ SHM_LEN_LOW, 4, VIRTIO_REG_R, "shm-len-low" },
	{ SHM_LEN_HIGH, 4, VIRTIO_REG_R, "shm-len-high" },
	{ SHM_BASE_LOW, 4, VIRTIO_REG_R, "shm-base-low" },
	{ SHM_BASE_HIGH, 4, VIRTIO_REG_R, "shm-base-high" },
	{ QUEUE_RESET, 4, VIRTIO_REG_RW, "queue-reset" },
	{ CONFIG_GENERATION, 4, VIRTIO_REG_R, "config-generation" },
};

static struct virtio_mmio *to_vm(struct device *dev)
{
	return container_of(dev, struct virtio_mmio, vdev.dev);
}

static struct virtio_mmio *vdev_to_vm(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_mmio, vdev);
}

/* Any thread. */
static void interrupt_change(struct virtio_mmio *vm, uint8_t set, uint8_t clear)
{
	struct virtio_mmio_state *s = vm->s;

	pthread_mutex_lock(&vm->irq_lock);
	s->interrupt_status = (uint8_t)((s->interrupt_status | set) & ~clear);
	irq_set(&vm->irq, s->interrupt_status);
	pthread_mutex_unlock(&vm->irq_lock);
}

static uint8_t interrupt_status(struct virtio_mmio *vm)
{
	uint8_t status;

	pthread_mutex_lock(&vm->irq_lock);
	status = vm->s->interrupt_status;
	pthread_mutex_unlock(&vm->irq_lock);
	return status;
}

static void notify_queue(struct virtio_dev *vdev, unsigned queue)
{
	(void)queue;
	interrupt_change(vdev_to_vm(vdev), INTERRUPT_QUEUE, 0);
}

static void notify_config(struct virtio_dev *vdev)
{
	interrupt_change(vdev_to_vm(vdev), INTERRUPT_CONFIG, 0);
}

static void set_kicks(struct virtio_dev *vdev, bool on)
{
	struct virtio_mmio *vm = vdev_to_vm(vdev);

	if (vm->no_ioeventfd)
		return;
	for (unsigned i = 0; i < vdev->nr_queues; i++) {
		const struct bus_eventfd e = {
			.addr = vm->base + QUEUE_NOTIFY,
			.width = 4,
			.match = true,
			.datamatch = i,
			.fd = vdev->queues[i].kick_fd,
		};

		/* Where there is no room, or it is not there, the register rings. */
		if (on)
			(void)!bus_eventfd_add(vm->bus, BUS_MMIO, &e);
		else
			(void)bus_eventfd_remove(vm->bus, BUS_MMIO, &e);
	}
}

static const struct virtio_transport_ops transport = {
	.notify_queue = notify_queue,
	.notify_config = notify_config,
	.set_kicks = set_kicks,
};

/* The transport's part of a device reset. */
static void registers_reset(struct virtio_mmio *vm)
{
	vm->s->device_feature_select = 0;
	vm->s->driver_feature_select = 0;
	vm->s->queue_select = 0;
	interrupt_change(vm, 0, UINT8_MAX);
}

static uint32_t mmio_read(struct virtio_dev *vdev, unsigned reg)
{
	struct virtio_mmio *vm = vdev_to_vm(vdev);
	const struct virtio_mmio_state *s = vm->s;
	bool there = s->queue_select < vdev->nr_queues;

	switch (reg) {
	case MAGIC_VALUE:
		return MAGIC;
	case VERSION_NUMBER:
		return VERSION;
	case DEVICE_ID:
		return vm->type;
	case VENDOR_ID:
		return VENDOR;
	case DEVICE_FEATURES:
		return virtio_features_word(vdev->features, s->device_feature_select);
	case QUEUE_SIZE_MAX:
		return there ? vdev->queue_size : 0;
	case QUEUE_READY:
		return there ? s->virtio.enabled[s->queue_select] : 0;
	case INTERRUPT_STATUS:
		return interrupt_status(vm);
	case STATUS:
		return virtio_get_status(vdev);
	case CONFIG_GENERATION:
		return s->virtio.config_generation;
	case SHM_LEN_LOW: /* there are none: 4.2.2 */
	case SHM_LEN_HIGH:
	case SHM_BASE_LOW:
	case SHM_BASE_HIGH:
		return UINT32_MAX;
	case QUEUE_RESET: /* it was done when it was written */
	default:
		return 0;
	}
}

static void queue_write(struct virtio_dev *vdev, unsigned queue, unsigned reg, uint32_t v)
{
	switch (reg) {
	case QUEUE_SIZE:
		virtio_queue_set_size(vdev, queue, v);
		break;
	case QUEUE_READY:
		if (v == 1)
			virtio_queue_enable(vdev, queue);
		else if (!v)
			virtio_queue_reset(vdev, queue);
		break;
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
		virtio_queue_set_area(vdev, queue, VIRTIO_AREA_DESC, reg & 4, v);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
		virtio_queue_set_area(vdev, queue, VIRTIO_AREA_DRIVER, reg & 4, v);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		virtio_queue_set_area(vdev, queue, VIRTIO_AREA_DEVICE, reg & 4, v);
		break;
	case QUEUE_RESET:
		if (v == 1 && virtio_has(vdev, VIRTIO_F_RING_RESET))
			virtio_queue_reset(vdev, queue);
		break;
	default:
		break;
	}
}

static void mmio_write(struct virtio_dev *vdev, unsigned reg, uint32_t v)
{
	struct virtio_mmio *vm = vdev_to_vm(vdev);

	switch (reg) {
	case DEVICE_FEATURES_SEL:
		vm->s->device_feature_select = v;
		break;
	case DRIVER_FEATURES:
		virtio_set_features_word(vdev, vm->s->driver_feature_select, v);
		break;
	case DRIVER_FEATURES_SEL:
		vm->s->driver_feature_select = v;
		break;
	case QUEUE_SEL:
		vm->s->queue_select = v;
		break;
	case QUEUE_NOTIFY: /* what no ioeventfd has caught */
		if (v < vdev->nr_queues)
			virtio_queue_ring(&vdev->queues[v]);
		break;
	case INTERRUPT_ACK:
		interrupt_change(vm, 0, (uint8_t)v);
		break;
	case STATUS:
		virtio_set_status(vdev, (uint8_t)v);
		if (!(uint8_t)v)
			registers_reset(vm);
		break;
	default:
		queue_write(vdev, vm->s->queue_select, reg, v);
		break;
	}
}

static const struct virtio_regs regs = {
	.regs = mmio_regs,
	.nr = ARRAY_SIZE(mmio_regs),
	.read = mmio_read,
	.write = mmio_write,
};

static uint64_t range_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct virtio_dev *vdev = virtio_of(dev);

	if (offset >= CONFIG)
		return virtio_config_read(vdev, offset - CONFIG, width);
	return virtio_regs_read(&regs, vdev, offset, width);
}

static void range_write(struct device *dev, uint64_t offset, unsigned width, uint64_t v)
{
	struct virtio_dev *vdev = virtio_of(dev);

	if (offset >= CONFIG)
		virtio_config_write(vdev, offset - CONFIG, width, (uint32_t)v);
	else
		virtio_regs_write(&regs, vdev, offset, width, (uint32_t)v);
}

static const char *range_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	(void)write;
	return offset >= CONFIG ? "config" : virtio_regs_name(&regs, offset);
}

static const struct bus_ops range_ops = {
	.max_width = 4,
	.read = range_read,
	.write = range_write,
	.reg_name = range_name,
};

int virtio_mmio_init(struct virtio_mmio *vm, const struct virtio_mmio_config *cfg)
{
	struct virtio_config vcfg = cfg->virtio;
	int ret;

	pthread_mutex_init(&vm->irq_lock, NULL);
	vm->bus = cfg->bus;
	vm->base = cfg->base;
	vm->irq = cfg->irq;
	vm->type = cfg->type;
	vm->no_ioeventfd = cfg->no_ioeventfd;
	vm->s = cfg->s;
	vcfg.s = &vm->s->virtio;
	vcfg.transport = &transport;
	if (vcfg.config_len > CONFIG_MAX)
		return -EINVAL;
	ret = virtio_init(&vm->vdev, &vcfg);
	if (ret)
		return ret;
	virtio_mmio_reset(&vm->vdev.dev);
	ret = bus_add(vm->bus, BUS_MMIO, vm->base, VIRTIO_MMIO_SIZE, &vm->vdev.dev, &range_ops);
	vm->on_bus = !ret;
	return ret;
}

void virtio_mmio_destroy(struct virtio_mmio *vm)
{
	if (vm->vdev.nr_queues)
		virtio_mmio_reset(&vm->vdev.dev);
	if (vm->on_bus)
		(void)bus_remove(vm->bus, BUS_MMIO, vm->base);
	virtio_destroy(&vm->vdev);
	pthread_mutex_destroy(&vm->irq_lock);
}

void virtio_mmio_reset(struct device *dev)
{
	virtio_reset(virtio_of(dev));
	virtio_of(dev)->dma = true;
	registers_reset(to_vm(dev));
}

int virtio_mmio_post_load(struct device *dev)
{
	struct virtio_mmio *vm = to_vm(dev);
	int ret;

	if (vm->s->virtio.legacy)
		return -EBADMSG;
	ret = virtio_post_load(&vm->vdev);
	if (!ret)
		interrupt_change(vm, 0, 0);
	return ret;
}

void virtio_mmio_pre_save(struct device *dev)
{
	virtio_pre_save(virtio_of(dev));
}
