/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_blk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/virtio/virtio_blk_int.h"

#define DEFAULT_QUEUE_SIZE 256
#define LEGACY_PCI_ID 0x1001
#define PCI_CLASS 0x010000 /* SCSI storage: what drivers and firmware expect */

static struct virtio_blk *to_blk(struct device *dev)
{
	return container_of(dev, struct virtio_blk, vdev.dev);
}

static const struct virtio_ops blk_virtio_ops = {
	.handle = virtio_blk_handle,
	.poll = virtio_blk_poll,
	.flushed = virtio_blk_flushed,
	.config_read = virtio_blk_config_read,
	.config_write = virtio_blk_config_write,
	.features_changed = virtio_blk_features_changed,
};

static void blk_free(struct virtio_blk *blk)
{
	if (blk->mmio)
		virtio_mmio_destroy(&blk->vm);
	else
		virtio_pci_destroy(&blk->vp);
	for (unsigned i = 0; i < blk->nr_threads; i++)
		iothread_join(&blk->threads[i]);
	for (unsigned i = 0; i < blk->nr_queues; i++)
		virtio_blk_queue_destroy(&blk->queues[i]);
	for (unsigned i = 0; i < blk->nr_threads; i++)
		iothread_stop(&blk->threads[i]);
	free(blk->queues);
	free(blk->threads);
	free(blk);
}

static void blk_destroy(struct device *dev)
{
	blk_free(to_blk(dev));
}

static int pci_post_load(struct device *dev)
{
	return virtio_blk_state_valid(to_blk(dev)) ? virtio_pci_post_load(dev) : -EBADMSG;
}

static const struct state_field pci_fields[] = {
	VIRTIO_PCI_STATE_FIELDS(struct virtio_blk_state, vp),
	STATE_U_MAX(struct virtio_blk_state, writeback, 1),
};

static const struct state_desc pci_state = {
	.version = 1,
	.fields = pci_fields,
	.nr_fields = ARRAY_SIZE(pci_fields),
};

static const struct device_ops pci_ops = {
	.type = "virtio-blk",
	.reset = virtio_pci_reset,
	.destroy = blk_destroy,
	.state = &pci_state,
	.state_offset = offsetof(struct virtio_blk, s),
	.pre_save = virtio_pci_pre_save,
	.post_load = pci_post_load,
};

static int mmio_post_load(struct device *dev)
{
	return virtio_blk_state_valid(to_blk(dev)) ? virtio_mmio_post_load(dev) : -EBADMSG;
}

static const struct state_field mmio_fields[] = {
	VIRTIO_MMIO_STATE_FIELDS(struct virtio_blk_state, vm),
	STATE_U_MAX(struct virtio_blk_state, writeback, 1),
};

static const struct state_desc mmio_state = {
	.version = 1,
	.fields = mmio_fields,
	.nr_fields = ARRAY_SIZE(mmio_fields),
};

static const struct device_ops mmio_ops = {
	.type = "virtio-blk-mmio",
	.reset = virtio_mmio_reset,
	.destroy = blk_destroy,
	.state = &mmio_state,
	.state_offset = offsetof(struct virtio_blk, s),
	.pre_save = virtio_mmio_pre_save,
	.post_load = mmio_post_load,
};

/* Hangs the device on its transport: from here on a guest can find it. */
static int transport_init(struct virtio_blk *blk, const struct virtio_blk_config *cfg,
			  const struct virtio_config *virtio)
{
	const struct virtio_pci_config pci = {
		.host = cfg->pci,
		.devfn = cfg->devfn,
		.type = VIRTIO_ID_BLOCK,
		.legacy_id = LEGACY_PCI_ID,
		.class = PCI_CLASS,
		.s = &blk->s.vp,
		.mode = cfg->mode,
		.flr = cfg->flr,
		.no_ioeventfd = cfg->no_ioeventfd,
		.virtio = *virtio,
	};
	const struct virtio_mmio_config mmio = {
		.bus = cfg->bus,
		.base = cfg->base,
		.irq = cfg->irq,
		.type = VIRTIO_ID_BLOCK,
		.s = &blk->s.vm,
		.no_ioeventfd = cfg->no_ioeventfd,
		.virtio = *virtio,
	};

	return blk->mmio ? virtio_mmio_init(&blk->vm, &mmio) : virtio_pci_init(&blk->vp, &pci);
}

static int start_threads(struct virtio_blk *blk, const struct virtio_blk_config *cfg, unsigned nr)
{
	blk->threads = calloc(nr, sizeof(*blk->threads));
	if (!blk->threads)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		char name[32];
		int ret;

		snprintf(name, sizeof(name), i ? "%s/%u" : "%s", cfg->name, i);
		ret = iothread_start(&blk->threads[i], name);
		if (ret)
			return ret;
		blk->nr_threads++;
		loop_set_polling(&blk->threads[i].loop, cfg->poll_ns);
	}
	return 0;
}

/* The queues take turns at the threads; loops is filled in. */
static int create_queues(struct virtio_blk *blk, const struct virtio_blk_config *cfg, unsigned nr,
			 unsigned size, struct loop **loops)
{
	blk->queues = calloc(nr, sizeof(*blk->queues));
	if (!blk->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		unsigned thread = cfg->loop ? 0 : i % blk->nr_threads;
		struct blk_queue *bq = &blk->queues[i];
		int ret;

		loops[i] = cfg->loop ? cfg->loop : &blk->threads[thread].loop;
		bq->blk = blk;
		bq->stages = cfg->stages[thread];
		blk->nr_queues++;
		ret = virtio_blk_queue_create(bq, cfg->block, size, loops[i]);
		if (ret)
			return ret;
	}
	return 0;
}

int virtio_blk_create(const struct virtio_blk_config *cfg, struct device **out)
{
	unsigned nr = cfg->queues ? cfg->queues : 1;
	unsigned threads = cfg->threads ? cfg->threads : 1;
	uint16_t size = cfg->queue_size ? cfg->queue_size : DEFAULT_QUEUE_SIZE;
	struct loop *loops[VIRTIO_MAX_QUEUES];
	struct virtio_config virtio = {
		.ops = &blk_virtio_ops,
		.mem = cfg->mem,
		.loops = loops,
		.features = virtio_blk_features(cfg->block, nr),
		.config_len = VIRTIO_BLK_CONFIG_LEN,
		.queue_size = size,
		.nr_queues = nr,
		.packed = cfg->packed,
		.no_event_idx = cfg->no_event_idx,
	};
	struct virtio_blk *blk;
	int ret = 0;

	if (nr > VIRTIO_MAX_QUEUES || !is_pow2(size) || size < 4 || size > VIRTQ_MAX_SIZE)
		return -EINVAL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->mmio = !cfg->pci;
	device_init(&blk->vdev.dev, blk->mmio ? &mmio_ops : &pci_ops, cfg->name);
	blk->block = cfg->block;
	blk->capacity = cfg->block->size / BLOCK_SECTOR;
	if (!cfg->loop)
		ret = start_threads(blk, cfg, (unsigned)min_u64(threads, nr));
	if (!ret)
		ret = create_queues(blk, cfg, nr, size, loops);
	if (!ret)
		ret = transport_init(blk, cfg, &virtio);
	if (ret) {
		blk_free(blk);
		return ret;
	}
	for (unsigned i = 0; i < nr; i++)
		blk->queues[i].q = &blk->vdev.queues[i];
	*out = &blk->vdev.dev;
	return 0;
}
