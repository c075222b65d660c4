/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_blk.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/virtio/virtio_blk_int.h"

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
	virtio_any_unplug(&blk->any);
	for (unsigned i = 0; i < blk->nr_queues; i++)
		virtio_blk_queue_destroy(&blk->queues[i]);
	virtio_any_destroy(&blk->any);
	free(blk->queues);
	free(blk);
}

static void blk_destroy(struct device *dev)
{
	blk_free(to_blk(dev));
}

static int post_load(struct device *dev)
{
	return virtio_blk_state_valid(to_blk(dev)) ? virtio_any_post_load(dev) : -EBADMSG;
}

static const struct state_field pci_fields[] = {
	VIRTIO_PCI_STATE_FIELDS(struct virtio_blk_state, any.vp),
	STATE_U_MAX(struct virtio_blk_state, writeback, 1),
};

static const struct state_field mmio_fields[] = {
	VIRTIO_MMIO_STATE_FIELDS(struct virtio_blk_state, any.vm),
	STATE_U_MAX(struct virtio_blk_state, writeback, 1),
};

static const struct state_desc pci_state = {
	.version = 1,
	.fields = pci_fields,
	.nr_fields = ARRAY_SIZE(pci_fields),
};

static const struct state_desc mmio_state = {
	.version = 1,
	.fields = mmio_fields,
	.nr_fields = ARRAY_SIZE(mmio_fields),
};

static const struct device_ops pci_ops = {
	.type = "virtio-blk",
	.reset = virtio_any_reset,
	.destroy = blk_destroy,
	.state = &pci_state,
	.state_offset = offsetof(struct virtio_blk, s),
	.pre_save = virtio_any_pre_save,
	.post_load = post_load,
};

static const struct device_ops mmio_ops = {
	.type = "virtio-blk-mmio",
	.reset = virtio_any_reset,
	.destroy = blk_destroy,
	.state = &mmio_state,
	.state_offset = offsetof(struct virtio_blk, s),
	.pre_save = virtio_any_pre_save,
	.post_load = post_load,
};

static const struct virtio_kind kind = {
	.pci_ops = &pci_ops,
	.mmio_ops = &mmio_ops,
	.ops = &blk_virtio_ops,
	.type = VIRTIO_ID_BLOCK,
	.legacy_id = 0x1001,
	.class = 0x010000, /* SCSI storage: what drivers and firmware expect */
	.config_len = VIRTIO_BLK_CONFIG_LEN,
};

/* The queues take turns at the threads; loops is filled in. */
static int create_queues(struct virtio_blk *blk, const struct virtio_blk_config *cfg, unsigned nr,
			 struct loop **loops)
{
	uint16_t size = virtio_place_queue_size(&cfg->at);

	blk->queues = calloc(nr, sizeof(*blk->queues));
	if (!blk->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		struct blk_queue *bq = &blk->queues[i];
		int ret;

		loops[i] = virtio_any_loop(&blk->any, i);
		bq->blk = blk;
		bq->stages = cfg->stages[cfg->at.loop ? 0 : i % blk->any.nr_threads];
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
	struct virtio_place at = cfg->at;
	struct loop *loops[VIRTIO_MAX_QUEUES];
	struct virtio_blk *blk;
	int ret;

	if (nr > VIRTIO_MAX_QUEUES || !virtio_place_queue_size(&at))
		return -EINVAL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->block = cfg->block;
	blk->capacity = cfg->block->size / BLOCK_SECTOR;
	at.threads = at.threads ? at.threads : 1;
	ret = virtio_any_prepare(&blk->any, &kind, &at, cfg->name, nr);
	if (!ret)
		ret = create_queues(blk, cfg, nr, loops);
	if (!ret)
		ret = virtio_any_plug(&blk->any, &blk->s.any, virtio_blk_features(cfg->block, nr),
				      loops, nr);
	if (ret) {
		blk_free(blk);
		return ret;
	}
	for (unsigned i = 0; i < nr; i++)
		blk->queues[i].q = &blk->vdev.queues[i];
	*out = &blk->vdev.dev;
	return 0;
}
