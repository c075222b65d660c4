/* SPDX-License-Identifier: MIT */
#include "firmware/e820.h"

#include "base/platform.h"

static unsigned add(struct e820_entry *map, unsigned n, uint64_t addr, uint64_t end, uint32_t type)
{
	if (end <= addr)
		return n;
	map[n] = (struct e820_entry){ .addr = addr, .size = end - addr, .type = type };
	return n + 1;
}

unsigned e820_build(const struct mem *mem, struct e820_entry map[E820_MAX_ENTRIES])
{
	unsigned n = 0;

	n = add(map, n, 0, PLATFORM_EBDA_BASE, E820_RAM);
	n = add(map, n, PLATFORM_EBDA_BASE, PLATFORM_BIOS_AREA_END, E820_RESERVED);
	n = add(map, n, PLATFORM_BIOS_AREA_END, mem_low_end(mem), E820_RAM);
	n = add(map, n, PLATFORM_KVM_IDENTITY_MAP, PLATFORM_HIGH_RAM_BASE, E820_RESERVED);
	n = add(map, n, PLATFORM_HIGH_RAM_BASE, mem_high_end(mem), E820_RAM);
	return n;
}
