/* SPDX-License-Identifier: MIT */
/*
 * Registers of a transport as a table: which there are, how wide, who may access them.
 *
 * An access to more than one register is an access to each. Part of a register can be
 * read but not written: no driver does that. What there is no register for reads 0.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_REGS_H
#define DEVICES_VIRTIO_VIRTIO_REGS_H

#include "devices/virtio/virtio.h"

enum virtio_reg_access { VIRTIO_REG_R = 1, VIRTIO_REG_W = 2, VIRTIO_REG_RW = 3 };

struct virtio_reg {
	uint16_t offset;
	uint8_t width; /* 1, 2 or 4 */
	uint8_t access;
	const char *name;
};

struct virtio_regs {
	const struct virtio_reg *regs;
	unsigned nr;
	/* A whole register, by its offset. */
	uint32_t (*read)(struct virtio_dev *vdev, unsigned reg);
	void (*write)(struct virtio_dev *vdev, unsigned reg, uint32_t v);
};

/* width 1, 2 or 4; the device's lock held. */
uint32_t virtio_regs_read(const struct virtio_regs *regs, struct virtio_dev *vdev, uint64_t offset,
			  unsigned width);
void virtio_regs_write(const struct virtio_regs *regs, struct virtio_dev *vdev, uint64_t offset,
		       unsigned width, uint32_t v);
/* For bus_ops.reg_name; NULL where there is none. */
const char *virtio_regs_name(const struct virtio_regs *regs, uint64_t offset);

#endif
