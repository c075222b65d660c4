/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_pci.h"

#include <errno.h>
#include <string.h>

#include "devices/pci/pci_host.h"

#define ISR_QUEUE 1 /* 4.1.4.5 */
#define ISR_CONFIG 2

/* 4.1.4: what a vendor capability points at, and its layout */
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3
#define CAP_DEVICE 4
#define CAP_PCI 5
#define CAP_LEN 16
#define CAP_NOTIFY_LEN 20 /* with notify_off_multiplier */
#define CAP_PCI_LEN 20 /* with pci_cfg_data */
#define CAP_BAR 4 /* offsets */
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_PCI_DATA 16

#define BAR_IO 0
#define BAR_REGS 1
#define IO_SIZE 256 /* with the legacy interface */
#define NOTIFY_STRIDE 4

#define REGS_SIZE 0x1000
#define REGS_COMMON 0x000
#define REGS_ISR 0x040
#define REGS_DEVICE 0x100
#define REGS_DEVICE_MAX 0x100
#define REGS_MSIX_TABLE 0x800
#define REGS_MSIX_PBA 0xc00

static struct virtio_pci *to_vp(struct device *dev)
{
	return container_of(dev, struct virtio_pci, vdev.dev);
}

static struct virtio_pci *vdev_to_vp(struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_pci, vdev);
}

/* Interrupts: any thread */

/* Called with isr_lock held. */
static void intx_update(struct virtio_pci *vp)
{
	pci_intx_set(&vp->pci, vp->s->isr && !pci_msix_enabled(&vp->pci));
}

static void isr_set(struct virtio_pci *vp, uint8_t bits)
{
	pthread_mutex_lock(&vp->isr_lock);
	vp->s->isr |= bits;
	intx_update(vp);
	pthread_mutex_unlock(&vp->isr_lock);
}

uint8_t virtio_pci_isr_take(struct virtio_pci *vp)
{
	uint8_t isr;

	pthread_mutex_lock(&vp->isr_lock);
	isr = vp->s->isr;
	vp->s->isr = 0;
	intx_update(vp);
	pthread_mutex_unlock(&vp->isr_lock);
	return isr;
}

static uint16_t vector_get(const uint16_t *vector)
{
	return __atomic_load_n(vector, __ATOMIC_RELAXED);
}

static void notify_queue(struct virtio_dev *vdev, unsigned queue)
{
	struct virtio_pci *vp = vdev_to_vp(vdev);

	if (pci_msix_enabled(&vp->pci))
		pci_msix_notify(&vp->pci, vector_get(&vp->s->queue_vector[queue]));
	else
		isr_set(vp, ISR_QUEUE);
}

static void notify_config(struct virtio_dev *vdev)
{
	struct virtio_pci *vp = vdev_to_vp(vdev);

	isr_set(vp, ISR_CONFIG); /* with MSI-X too: 4.1.4.5.1 */
	pci_msix_notify(&vp->pci, vector_get(&vp->s->config_vector));
}

static int queue_fd(struct virtio_dev *vdev, unsigned queue)
{
	struct virtio_pci *vp = vdev_to_vp(vdev);

	return pci_msix_fd(&vp->pci, vector_get(&vp->s->queue_vector[queue]));
}

/* A legacy driver has one doorbell, and tells by what it writes which queue it means. */
static struct pci_eventfd doorbell(const struct virtio_pci *vp, unsigned queue)
{
	struct pci_eventfd e = {
		.offset = vp->notify_at + queue * NOTIFY_STRIDE,
		.width = 2,
		.fd = vp->vdev.queues[queue].kick_fd,
	};

	if (vp->s->virtio.legacy) {
		e.offset = VIRTIO_PCI_LEGACY_NOTIFY;
		e.match = true;
		e.datamatch = queue;
	}
	return e;
}

static void set_kicks(struct virtio_dev *vdev, bool on)
{
	struct virtio_pci *vp = vdev_to_vp(vdev);

	if (vp->no_ioeventfd)
		return;
	for (unsigned i = 0; i < vdev->nr_queues; i++) {
		struct pci_eventfd *e = &vp->doorbells[i];

		if (on) {
			*e = doorbell(vp, i);
			/* Cannot fail, the doorbell lies in the BAR; else the handler rings. */
			(void)!pci_bar_add_eventfd(&vp->pci, BAR_IO, e);
		} else {
			pci_bar_remove_eventfd(&vp->pci, BAR_IO, e);
		}
	}
}

static const struct virtio_transport_ops transport = {
	.notify_queue = notify_queue,
	.notify_config = notify_config,
	.queue_fd = queue_fd,
	.set_kicks = set_kicks,
};

void virtio_pci_registers_reset(struct virtio_pci *vp)
{
	struct virtio_pci_state *s = vp->s;

	s->device_feature_select = 0;
	s->driver_feature_select = 0;
	s->queue_select = 0;
	s->config_vector = VIRTIO_PCI_NO_VECTOR;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		s->queue_vector[i] = VIRTIO_PCI_NO_VECTOR;
	(void)virtio_pci_isr_take(vp);
	pci_msix_clear_pending(&vp->pci);
}

static bool has_modern(const struct virtio_pci *vp)
{
	return vp->mode != VIRTIO_PCI_LEGACY;
}

static uint64_t regs_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct virtio_pci *vp = to_vp(dev);

	if (offset >= REGS_MSIX_PBA)
		return pci_msix_pba_read(&vp->pci, offset - REGS_MSIX_PBA, width);
	if (offset >= REGS_MSIX_TABLE)
		return pci_msix_read(&vp->pci, offset - REGS_MSIX_TABLE, width);
	if (!has_modern(vp))
		return 0;
	if (offset < VIRTIO_PCI_COMMON_LEN)
		return virtio_regs_read(&virtio_pci_common, &vp->vdev, offset, width);
	if (offset == REGS_ISR)
		return virtio_pci_isr_take(vp);
	if (offset >= REGS_DEVICE)
		return virtio_config_read(&vp->vdev, offset - REGS_DEVICE, width);
	return 0;
}

static void regs_write(struct device *dev, uint64_t offset, unsigned width, uint64_t v)
{
	struct virtio_pci *vp = to_vp(dev);

	if (offset >= REGS_MSIX_PBA)
		return; /* read-only */
	if (offset >= REGS_MSIX_TABLE)
		pci_msix_write(&vp->pci, offset - REGS_MSIX_TABLE, width, v);
	else if (!has_modern(vp))
		return;
	else if (offset < VIRTIO_PCI_COMMON_LEN)
		virtio_regs_write(&virtio_pci_common, &vp->vdev, offset, width, (uint32_t)v);
	else if (offset >= REGS_DEVICE)
		virtio_config_write(&vp->vdev, offset - REGS_DEVICE, width, (uint32_t)v);
}

static const char *regs_name(const struct device *dev, uint64_t offset, bool write)
{
	const struct virtio_pci *vp = container_of(dev, const struct virtio_pci, vdev.dev);

	(void)write;
	if (offset >= REGS_MSIX_PBA)
		return "msix-pba";
	if (offset >= REGS_MSIX_TABLE)
		return "msix";
	if (!has_modern(vp))
		return NULL;
	if (offset < VIRTIO_PCI_COMMON_LEN)
		return virtio_regs_name(&virtio_pci_common, offset);
	if (offset == REGS_ISR)
		return "isr";
	return offset >= REGS_DEVICE ? "config" : NULL;
}

static const struct bus_ops regs_ops = {
	.max_width = 4,
	.read = regs_read,
	.write = regs_write,
	.reg_name = regs_name,
};

static uint64_t io_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct virtio_pci *vp = to_vp(dev);

	return offset < vp->notify_at ? virtio_pci_legacy_read(vp, offset, width) : 0;
}

static void io_write(struct device *dev, uint64_t offset, unsigned width, uint64_t v)
{
	struct virtio_pci *vp = to_vp(dev);
	uint64_t bell = offset - vp->notify_at;

	if (offset < vp->notify_at)
		virtio_pci_legacy_write(vp, offset, width, (uint32_t)v);
	/*
	 * What no ioeventfd has caught: without them all, else an odd width, a queue that is
	 * not live.
	 */
	else if (bell % NOTIFY_STRIDE == 0 && bell / NOTIFY_STRIDE < vp->vdev.nr_queues)
		virtio_queue_ring(&vp->vdev.queues[bell / NOTIFY_STRIDE]);
}

static const char *io_name(const struct device *dev, uint64_t offset, bool write)
{
	static const char *const names[VIRTIO_MAX_QUEUES] = {
		"notify0",  "notify1",  "notify2",  "notify3",  "notify4",  "notify5",
		"notify6",  "notify7",  "notify8",  "notify9",  "notify10", "notify11",
		"notify12", "notify13", "notify14", "notify15", "notify16",
	};
	const struct virtio_pci *vp = container_of(dev, const struct virtio_pci, vdev.dev);
	unsigned nr = vp->vdev.nr_queues;
	uint64_t queue = (offset - vp->notify_at) / NOTIFY_STRIDE;

	(void)write;
	if (offset < vp->notify_at)
		return virtio_pci_legacy_name(offset);
	if (queue >= nr)
		return NULL;
	return nr == 1 ? "notify" : names[queue];
}

static const struct bus_ops io_ops = {
	.max_width = 4,
	.read = io_read,
	.write = io_write,
	.reg_name = io_name,
};

/*
 * The window to the BARs in configuration space (4.1.4.9): its bar, offset and length
 * are a guest's, so they are checked here for every access.
 */
static const struct pci_bar *window(struct virtio_pci *vp, uint32_t *offset, unsigned *width)
{
	const uint8_t *cap = vp->s->pci.config + vp->pci_cfg_cap;
	uint32_t length = (uint32_t)load_le(cap + CAP_LENGTH, 4);
	const struct pci_bar *bar;

	if (cap[CAP_BAR] >= PCI_NR_BARS || (length != 1 && length != 2 && length != 4))
		return NULL;
	bar = &vp->pci.bars[cap[CAP_BAR]];
	*offset = (uint32_t)load_le(cap + CAP_OFFSET, 4);
	*width = length;
	/* Aligned, and BARs being powers of 2 from 4 up, it cannot stick out. */
	if (bar->type == PCI_BAR_NONE || *offset % length || *offset >= bar->size)
		return NULL;
	return bar;
}

static bool is_window_data(struct virtio_pci *vp, unsigned offset, unsigned width)
{
	return vp->pci_cfg_cap && ranges_overlap(offset, width, vp->pci_cfg_cap + CAP_PCI_DATA, 4);
}

static void config_read(struct pci_dev *pd, unsigned offset, unsigned width)
{
	struct virtio_pci *vp = container_of(pd, struct virtio_pci, pci);
	const struct pci_bar *bar;
	uint32_t at;
	unsigned w;

	if (!is_window_data(vp, offset, width))
		return;
	bar = window(vp, &at, &w);
	if (bar)
		store_le(pd->s->config + vp->pci_cfg_cap + CAP_PCI_DATA, w,
			 bar->ops->read(&vp->vdev.dev, at, w));
}

/* The guest asks for a function level reset. */
static bool wants_flr(const struct virtio_pci *vp)
{
	return vp->af_cap &&
	       (vp->s->pci.config[vp->af_cap + PCI_AF_CONTROL] & PCI_AF_CONTROL_INITIATE);
}

static void config_written(struct pci_dev *pd, unsigned offset, unsigned width)
{
	struct virtio_pci *vp = container_of(pd, struct virtio_pci, pci);

	if (wants_flr(vp)) {
		virtio_pci_reset(&vp->vdev.dev);
		return;
	}
	if (vp->vdev.dma != pci_bus_master(pd)) {
		vp->vdev.dma = pci_bus_master(pd);
		virtio_update(&vp->vdev);
	}
	if (is_window_data(vp, offset, width)) {
		const uint8_t *data = pd->s->config + vp->pci_cfg_cap + CAP_PCI_DATA;
		const struct pci_bar *bar;
		uint32_t at;
		unsigned w;

		bar = window(vp, &at, &w);
		if (bar)
			bar->ops->write(&vp->vdev.dev, at, w, load_le(data, w));
	}
	pthread_mutex_lock(&vp->isr_lock);
	intx_update(vp); /* MSI-X may have been turned on or off */
	pthread_mutex_unlock(&vp->isr_lock);
	virtio_vectors_changed(&vp->vdev);
}

static const struct pci_dev_ops pci_ops = {
	.config_read = config_read,
	.config_written = config_written,
};

/* A vendor capability; its offset or -ENOSPC. extra fills the word behind it. */
static int add_cap(struct virtio_pci *vp, uint8_t type, uint8_t bar, uint32_t offset,
		   uint32_t length, unsigned cap_len, uint32_t extra)
{
	uint8_t cap[CAP_NOTIFY_LEN] = { [2] = (uint8_t)cap_len, [3] = type, [CAP_BAR] = bar };

	store_le(cap + CAP_OFFSET, 4, offset);
	store_le(cap + CAP_LENGTH, 4, length);
	store_le(cap + CAP_LEN, 4, extra);
	return pci_add_cap(&vp->pci, PCI_CAP_VENDOR, cap + 2, cap_len);
}

/* Linux looks for common, ISR, notify and device in this order. */
static int add_modern_caps(struct virtio_pci *vp)
{
	unsigned n = vp->vdev.nr_queues;
	int ret;

	ret = add_cap(vp, CAP_COMMON, BAR_REGS, REGS_COMMON, VIRTIO_PCI_COMMON_LEN, CAP_LEN, 0);
	if (ret >= 0)
		ret = add_cap(vp, CAP_ISR, BAR_REGS, REGS_ISR, 1, CAP_LEN, 0);
	if (ret >= 0)
		ret = add_cap(vp, CAP_NOTIFY, BAR_IO, vp->notify_at, n * NOTIFY_STRIDE,
			      CAP_NOTIFY_LEN, NOTIFY_STRIDE);
	if (ret >= 0 && vp->vdev.config_len)
		ret = add_cap(vp, CAP_DEVICE, BAR_REGS, REGS_DEVICE, vp->vdev.config_len, CAP_LEN,
			      0);
	if (ret >= 0)
		ret = add_cap(vp, CAP_PCI, 0, 0, 0, CAP_PCI_LEN, 0);
	if (ret < 0)
		return ret;
	vp->pci_cfg_cap = (uint8_t)ret;
	pci_set_reg(&vp->pci, vp->pci_cfg_cap + CAP_BAR, 1, 0, 0xff);
	pci_set_reg(&vp->pci, vp->pci_cfg_cap + CAP_OFFSET, 4, 0, 0xffffffff);
	pci_set_reg(&vp->pci, vp->pci_cfg_cap + CAP_LENGTH, 4, 0, 0xffffffff);
	pci_set_reg(&vp->pci, vp->pci_cfg_cap + CAP_PCI_DATA, 4, 0, 0xffffffff);
	return 0;
}

/* PCI Advanced Features: function level reset for conventional PCI. */
static int add_flr(struct virtio_pci *vp)
{
	const uint8_t body[PCI_AF_LEN - 2] = { PCI_AF_LEN, PCI_AF_CAP_TP | PCI_AF_CAP_FLR };
	int ret = pci_add_cap(&vp->pci, PCI_CAP_AF, body, PCI_AF_LEN);

	if (ret < 0)
		return ret;
	vp->af_cap = (uint8_t)ret;
	pci_set_reg(&vp->pci, vp->af_cap + PCI_AF_CONTROL, 1, 0, PCI_AF_CONTROL_INITIATE);
	return 0;
}

/* MSI-X is looked for once, and what a reset needs only where one is wanted. */
static int add_caps(struct virtio_pci *vp, bool flr)
{
	int ret = vp->mode == VIRTIO_PCI_LEGACY ? 0 : add_modern_caps(vp);

	if (!ret)
		ret = pci_msix_add(&vp->pci, &vp->msix, &vp->s->msix, vp->vdev.nr_queues + 1,
				   BAR_REGS, REGS_MSIX_TABLE, REGS_MSIX_PBA);
	if (ret == -EOPNOTSUPP)
		ret = 0;
	return !ret && flr ? add_flr(vp) : ret;
}

/* 4.1.2.1, and for what a legacy driver can use 4.1.2.3: it looks at the subsystem. */
static struct pci_ids ids_of(const struct virtio_pci_config *cfg)
{
	struct pci_ids ids = {
		.vendor = 0x1af4,
		.device = 0x1040 + cfg->type,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.revision = 1,
		.class = cfg->class,
		.pin = 1,
	};

	if (cfg->mode != VIRTIO_PCI_MODERN) {
		ids.device = cfg->legacy_id;
		ids.subsystem = cfg->type;
		ids.revision = 0;
	}
	return ids;
}

static void add_bars(struct virtio_pci *vp)
{
	unsigned size = NOTIFY_STRIDE;

	while (size < vp->vdev.nr_queues * NOTIFY_STRIDE)
		size *= 2;
	if (vp->mode != VIRTIO_PCI_MODERN)
		size = IO_SIZE;
	pci_add_bar(&vp->pci, BAR_IO, PCI_BAR_IO, size, &io_ops);
	pci_add_bar(&vp->pci, BAR_REGS, PCI_BAR_MEM32, REGS_SIZE, &regs_ops);
}

int virtio_pci_init(struct virtio_pci *vp, const struct virtio_pci_config *cfg)
{
	bool legacy = cfg->mode != VIRTIO_PCI_MODERN;
	struct virtio_config vcfg = cfg->virtio;
	const struct pci_ids ids = ids_of(cfg);
	int ret;

	pthread_mutex_init(&vp->isr_lock, NULL);
	vp->s = cfg->s;
	vp->mode = cfg->mode;
	vp->notify_at = legacy ? VIRTIO_PCI_LEGACY_LEN : 0;
	vp->no_ioeventfd = cfg->no_ioeventfd;
	pci_dev_init(&vp->pci, cfg->host, &vp->vdev.dev, &vp->s->pci, &pci_ops, &ids);
	vcfg.s = &vp->s->virtio;
	vcfg.transport = &transport;
	if (vcfg.config_len > REGS_DEVICE_MAX ||
	    (legacy && vcfg.config_len > VIRTIO_PCI_LEGACY_LEN - VIRTIO_PCI_LEGACY_CONFIG))
		return -EINVAL;
	ret = virtio_init(&vp->vdev, &vcfg);
	if (ret)
		return ret;
	add_bars(vp);
	ret = add_caps(vp, cfg->flr);
	if (!ret)
		ret = pci_dev_attach(&vp->pci, cfg->devfn);
	if (!ret)
		virtio_pci_reset(&vp->vdev.dev);
	return ret;
}

void virtio_pci_destroy(struct virtio_pci *vp)
{
	virtio_destroy(&vp->vdev);
	pci_dev_destroy(&vp->pci);
	pthread_mutex_destroy(&vp->isr_lock);
}

void virtio_pci_reset(struct device *dev)
{
	struct virtio_pci *vp = to_vp(dev);

	virtio_reset(&vp->vdev);
	pci_dev_reset(&vp->pci);
	vp->vdev.dma = false;
	virtio_pci_registers_reset(vp);
}

static bool vector_valid(const struct virtio_pci *vp, uint16_t v)
{
	return v == VIRTIO_PCI_NO_VECTOR || (vp->pci.msix && v < vp->msix.nr);
}

int virtio_pci_post_load(struct device *dev)
{
	struct virtio_pci *vp = to_vp(dev);
	int ret;

	if (!vector_valid(vp, vp->s->config_vector))
		return -EBADMSG;
	/* The driver must have come by an interface that there is. */
	if (vp->s->virtio.legacy ? vp->mode == VIRTIO_PCI_MODERN
				 : !has_modern(vp) && vp->s->virtio.status)
		return -EBADMSG;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		if (!vector_valid(vp, vp->s->queue_vector[i]) ||
		    (i >= vp->vdev.nr_queues && vp->s->queue_vector[i] != VIRTIO_PCI_NO_VECTOR))
			return -EBADMSG;
	ret = pci_dev_post_load(&vp->pci);
	if (ret)
		return ret;
	vp->vdev.dma = pci_bus_master(&vp->pci);
	ret = virtio_post_load(&vp->vdev);
	if (ret)
		return ret;
	pthread_mutex_lock(&vp->isr_lock);
	intx_update(vp);
	pthread_mutex_unlock(&vp->isr_lock);
	return 0;
}

void virtio_pci_pre_save(struct device *dev)
{
	struct virtio_pci *vp = to_vp(dev);

	virtio_pre_save(&vp->vdev);
	pci_dev_pre_save(&vp->pci);
}
