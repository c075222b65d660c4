/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_regs.h"

static const struct virtio_reg *find(const struct virtio_regs *regs, uint64_t offset,
				     unsigned width)
{
	for (unsigned i = 0; i < regs->nr; i++) {
		const struct virtio_reg *r = &regs->regs[i];

		if (r->offset <= offset && offset + width <= r->offset + r->width)
			return r;
	}
	return NULL;
}

uint32_t virtio_regs_read(const struct virtio_regs *regs, struct virtio_dev *vdev, uint64_t offset,
			  unsigned width)
{
	const struct virtio_reg *r = find(regs, offset, width);
	unsigned half = width / 2;

	if (r)
		return r->access & VIRTIO_REG_R
			       ? regs->read(vdev, r->offset) >> (offset - r->offset) * 8
			       : 0;
	if (!half)
		return 0;
	return (virtio_regs_read(regs, vdev, offset, half) & (uint32_t)width_mask(half)) |
	       virtio_regs_read(regs, vdev, offset + half, half) << half * 8;
}

void virtio_regs_write(const struct virtio_regs *regs, struct virtio_dev *vdev, uint64_t offset,
		       unsigned width, uint32_t v)
{
	const struct virtio_reg *r = find(regs, offset, width);
	unsigned half = width / 2;

	if (r) {
		if ((r->access & VIRTIO_REG_W) && r->width == width)
			regs->write(vdev, r->offset, v);
	} else if (half) {
		virtio_regs_write(regs, vdev, offset, half, v & (uint32_t)width_mask(half));
		virtio_regs_write(regs, vdev, offset + half, half, v >> half * 8);
	}
}

const char *virtio_regs_name(const struct virtio_regs *regs, uint64_t offset)
{
	const struct virtio_reg *r = find(regs, offset, 1);

	return r ? r->name : NULL;
}
