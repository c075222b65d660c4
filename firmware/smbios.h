/* SPDX-License-Identifier: MIT */
/*
 * What the machine is called and made of, for dmidecode and the like: SMBIOS 2.8 (DMTF
 * DSP0134), the structures and the entry point that leads to them. There is no type 0:
 * that describes the firmware, which adds its own. Pure functions; any thread.
 */
#ifndef FIRMWARE_SMBIOS_H
#define FIRMWARE_SMBIOS_H

#include "firmware/firmware.h"

#define SMBIOS_ANCHOR_LEN 31
#define SMBIOS_TABLES_MAX 1024

struct smbios {
	uint8_t tables[SMBIOS_TABLES_MAX];
	uint16_t len;
	uint16_t nr; /* structures */
	uint16_t longest; /* bytes, with its strings */
};

/* Every structure of the machine, in the order of their types. */
void smbios_build(struct smbios *s, const struct firmware_config *cfg, const struct mem *mem);

/* The entry point for tables that lie at gpa. */
void smbios_anchor(const struct smbios *s, uint32_t gpa, uint8_t anchor[SMBIOS_ANCHOR_LEN]);

#endif
