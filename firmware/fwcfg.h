/* SPDX-License-Identifier: MIT */
/*
 * What SeaBIOS asks through fw_cfg: the memory map, the CPUs, what to boot from, ACPI
 * tables with the script that places them, SMBIOS. The names and their forms are those of
 * SeaBIOS (docs/Runtime_config.md, src/fw/paravirt.c) and of QEMU's table loader
 * (hw/acpi/bios-linker-loader.c). Main thread, before the machine runs.
 */
#ifndef FIRMWARE_FWCFG_H
#define FIRMWARE_FWCFG_H

#include "base/fw_item.h"
#include "firmware/firmware.h"

#define FWCFG_MAX_ITEMS 16
#define FWCFG_MAX_BOOT 32

enum fwcfg_boot_kind { FWCFG_BOOT_VIRTIO_BLK, FWCFG_BOOT_IDE };

/* A device to boot from, as the firmware finds it: a disk, or a CD-ROM drive. */
struct fwcfg_boot {
	enum fwcfg_boot_kind kind;
	unsigned slot, function; /* on PCI bus 0 */
	unsigned channel, drive; /* IDE */
};

struct fwcfg_config {
	const struct firmware_config *machine; /* the CPUs, the facts */
	const struct mem *mem;
	const struct fwcfg_boot *boot; /* the first to try first */
	unsigned nr_boot;
};

struct fwcfg {
	struct fw_item items[FWCFG_MAX_ITEMS];
	unsigned nr_items;
	void *data; /* what the items point to */
};

/* 0, -ENOMEM, -EINVAL for a config that is none, -ENOSPC. fwcfg_free() in any case. */
int fwcfg_build(struct fwcfg *f, const struct fwcfg_config *cfg) __must_check;
void fwcfg_free(struct fwcfg *f);

#endif
