/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory map in the form of INT 15h, function E820h (ACPI 6.4, section
 * 15.1), which Linux's boot_params and PVH's memory map share. What it leaves out
 * (the PCI window, the APICs) is no RAM. Pure functions; any thread.
 */
#ifndef FIRMWARE_E820_H
#define FIRMWARE_E820_H

#include "base/mem.h"

#define E820_RAM 1
#define E820_RESERVED 2

#define E820_MAX_ENTRIES 5

struct e820_entry {
	uint64_t addr;
	uint64_t size; /* bytes, never 0 */
	uint32_t type;
};

/* Fills map with ascending, disjoint entries; returns how many, at most E820_MAX_ENTRIES. */
unsigned e820_build(const struct mem *mem, struct e820_entry map[E820_MAX_ENTRIES]);

#endif
