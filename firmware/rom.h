/* SPDX-License-Identifier: MIT */
/*
 * The image of a PC's firmware: a ROM whose last byte is the last one below 4 GiB, where
 * the CPU starts. That its end is below 1 MiB too, where its 16-bit code runs, is the
 * chipset's doing (devices/pci/shadow.h).
 * Main thread, no vCPU runs.
 */
#ifndef FIRMWARE_ROM_H
#define FIRMWARE_ROM_H

#include "firmware/firmware.h"

/*
 * Reads the image into a ROM of mem. 0, or -errno with a line in err that names
 * --firmware: -ENOEXEC for a size that no image has (64, 128 or 256 KiB).
 */
int rom_load(struct mem *mem, const struct firmware_file *file, struct err *err) __must_check;

/* Where the CPU starts. */
void rom_entry(struct boot_entry *entry);

#endif
