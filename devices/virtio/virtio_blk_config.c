/* SPDX-License-Identifier: MIT */
/* What a virtio disk tells its driver, and what the driver may choose: VIRTIO 1.2, 5.2.3 to 5.2.5. */
#include <string.h>

#include "devices/virtio/virtio_blk_int.h"

/*
 * Nearly 32 MiB, more than a driver that is told of no limit puts into a segment. SeaBIOS takes the low 16 bits of size_max times seg_max for the most bytes of a
 * request, and of 0 bytes it makes requests for ever; with these they are 56 KiB.
 */
#define MAX_SEGMENT ((8 * 1023 + 1) * 4 * KIB)

/* 5.2.4: offsets; topology is counted in logical blocks, the rest in sectors. Both are 512 bytes. */
#define CONFIG_CAPACITY 0
#define CONFIG_SIZE_MAX 8
#define CONFIG_SEG_MAX 12
#define CONFIG_BLK_SIZE 20
#define CONFIG_PHYSICAL_BLOCK_EXP 24
#define CONFIG_MIN_IO_SIZE 26
#define CONFIG_OPT_IO_SIZE 28
#define CONFIG_WRITEBACK 32
#define CONFIG_NUM_QUEUES 34
#define CONFIG_MAX_DISCARD_SECTORS 36
#define CONFIG_MAX_DISCARD_SEG 40
#define CONFIG_DISCARD_ALIGNMENT 44
#define CONFIG_MAX_ZEROES_SECTORS 48
#define CONFIG_MAX_ZEROES_SEG 52
#define CONFIG_ZEROES_MAY_UNMAP 56

uint64_t virtio_blk_features(const struct block *block, unsigned nr_queues)
{
	uint64_t f = VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE |
		     VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY;

	if (nr_queues > 1)
		f |= VIRTIO_BLK_F_MQ;
	if (block->readonly)
		return f | VIRTIO_BLK_F_RO;
	if (block->limits.discard_align)
		f |= VIRTIO_BLK_F_DISCARD;
	return f | VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_WRITE_ZEROES;
}

/* A driver that cannot flush gets writethrough, whatever it chooses (5.2.5.2, 5.2.6.2). */
static bool writeback(const struct virtio_blk *blk)
{
	const struct virtio_dev *vdev = &blk->vdev;

	if (virtio_features_settled(vdev) && !virtio_has(vdev, VIRTIO_BLK_F_FLUSH))
		return false;
	return blk->s.writeback;
}

static void put_discard(const struct virtio_blk *blk, uint8_t *config)
{
	uint32_t align = blk->block->limits.discard_align;

	if (blk->block->readonly)
		return;
	store_le(config + CONFIG_MAX_ZEROES_SECTORS, 4, VIRTIO_BLK_MAX_RANGE_SECTORS);
	store_le(config + CONFIG_MAX_ZEROES_SEG, 4, VIRTIO_BLK_MAX_RANGES);
	if (!align)
		return;
	config[CONFIG_ZEROES_MAY_UNMAP] = 1;
	store_le(config + CONFIG_MAX_DISCARD_SECTORS, 4, VIRTIO_BLK_MAX_RANGE_SECTORS);
	store_le(config + CONFIG_MAX_DISCARD_SEG, 4, VIRTIO_BLK_MAX_RANGES);
	store_le(config + CONFIG_DISCARD_ALIGNMENT, 4, max_u64(align / BLOCK_SECTOR, 1));
}

void virtio_blk_config_read(struct virtio_dev *vdev, unsigned offset, void *buf, unsigned len)
{
	const struct virtio_blk *blk = virtio_blk_of(vdev);
	const struct block_limits *limits = &blk->block->limits;
	uint32_t physical = (uint32_t)max_u64(limits->physical_block / BLOCK_SECTOR, 1);
	uint8_t config[VIRTIO_BLK_CONFIG_LEN] = { 0 };

	store_le(config + CONFIG_CAPACITY, 8, blk->capacity);
	store_le(config + CONFIG_SIZE_MAX, 4, MAX_SEGMENT);
	store_le(config + CONFIG_SEG_MAX, 4, vdev->queue_size - 2u); /* header and status */
	store_le(config + CONFIG_BLK_SIZE, 4, BLOCK_SECTOR);
	config[CONFIG_PHYSICAL_BLOCK_EXP] = (uint8_t)__builtin_ctz(physical);
	store_le(config + CONFIG_MIN_IO_SIZE, 2, min_u64(physical, UINT16_MAX));
	store_le(config + CONFIG_OPT_IO_SIZE, 4, limits->opt_io / BLOCK_SECTOR);
	config[CONFIG_WRITEBACK] = writeback(blk);
	store_le(config + CONFIG_NUM_QUEUES, 2, vdev->nr_queues);
	put_discard(blk, config);
	memcpy(buf, config + offset, len);
}

static void cache_changed(struct virtio_blk *blk)
{
	atomic_store(&blk->durable, !writeback(blk));
}

void virtio_blk_config_write(struct virtio_dev *vdev, unsigned offset, const void *buf,
			     unsigned len)
{
	struct virtio_blk *blk = virtio_blk_of(vdev);
	uint8_t v;

	/* The one field that a driver may write (5.2.5). */
	if (offset > CONFIG_WRITEBACK || offset + len <= CONFIG_WRITEBACK)
		return;
	if (!virtio_features_settled(vdev) || !virtio_has(vdev, VIRTIO_BLK_F_CONFIG_WCE))
		return;
	memcpy(&v, (const char *)buf + CONFIG_WRITEBACK - offset, 1);
	blk->s.writeback = v & 1;
	cache_changed(blk);
}

void virtio_blk_features_changed(struct virtio_dev *vdev, uint64_t features)
{
	struct virtio_blk *blk = virtio_blk_of(vdev);

	if (!(features & VIRTIO_BLK_F_CONFIG_WCE))
		blk->s.writeback = 1;
	cache_changed(blk);
}

bool virtio_blk_state_valid(const struct virtio_blk *blk)
{
	const struct virtio_dev *vdev = &blk->vdev;

	return blk->s.writeback ||
	       (virtio_features_settled(vdev) && virtio_has(vdev, VIRTIO_BLK_F_CONFIG_WCE));
}

void virtio_blk_resized(struct device *dev)
{
	struct virtio_blk *blk = container_of(dev, struct virtio_blk, vdev.dev);

	device_lock(dev);
	blk->capacity = blk->block->size / BLOCK_SECTOR;
	virtio_config_changed(&blk->vdev);
	device_unlock(dev);
}
