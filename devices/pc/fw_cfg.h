/* SPDX-License-Identifier: MIT */
/*
 * fw_cfg, by which firmware learns what machine it is in: a set of read-only items, each
 * selected by a 16-bit key, some of them files that a directory lists by name.
 * Specification: QEMU's docs/specs/fw_cfg.rst.
 *
 *   0x510  selector, 16 bits, written: the item that is read next, from its start
 *   0x511  data, 8 bits: the item's next byte, 0 behind its end; writes are ignored
 *   0x514  DMA address, high half, big-endian; both halves read as "QEMU CFG"
 *   0x518  DMA address, low half: a write starts the transfer, which is over at once
 *
 * A transfer reads or skips in the selected item and may select it first; a write is
 * an error, as every item is read-only. A transfer to what is not RAM from end to end
 * is an error and moves nothing. Keys 0 (signature), 1 (interfaces) and 0x19 (directory)
 * are the device's own; files get the keys from 0x20 on, in the order of their names.
 *
 * Threads: a vCPU's, with the device's lock held. A transfer takes as long as copying
 * (or clearing) at most the guest's RAM.
 */
#ifndef DEVICES_PC_FW_CFG_H
#define DEVICES_PC_FW_CFG_H

#include "base/bus.h"
#include "base/fw_item.h"
#include "base/mem.h"

struct fw_cfg_config {
	const char *name; /* "fw-cfg" */
	struct bus *bus; /* PLATFORM_PORT_FW_CFG, PLATFORM_PORT_FW_CFG_DMA */
	struct mem *mem; /* where DMA goes */
	const struct fw_item *items; /* copied, with their data */
	size_t nr_items;
};

/*
 * 0 or -errno: -EEXIST for two items of one key or name, or a key that is the device's,
 * -EINVAL for a name that is too long or empty, or an item that is too large.
 */
int fw_cfg_create(const struct fw_cfg_config *cfg, struct device **out) __must_check;

#endif
