/* SPDX-License-Identifier: MIT */
/*
 * The image of a PC's firmware: a ROM whose last byte is the last one below 4 GiB, where
 * the CPU starts, and a copy in RAM below 1 MiB, where its 16-bit code runs. The copy is
 * plain RAM: the chipset's shadow RAM without its write protection.
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

/*
 * As at power-on: copies the image's last 128 KiB to the end of the first MiB anew, and
 * says where the CPU starts. At each reset, as the firmware keeps its variables there.
 */
int rom_reset(struct mem *mem, const struct firmware_file *file, struct boot_entry *entry,
	      struct err *err) __must_check;

#endif
