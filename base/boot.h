/* SPDX-License-Identifier: MIT */
/*
 * How the first vCPU starts: firmware/ decides it, cpu/ turns it into registers.
 */
#ifndef BASE_BOOT_H
#define BASE_BOOT_H

#include "base/util.h"

enum boot_mode {
	/* Power-on: F000:FFF0 with CS base 0xffff0000, real mode. */
	BOOT_RESET_VECTOR,
	/*
	 * Flat 32-bit protected mode, paging off, interrupts off: Linux's 32-bit entry
	 * (Documentation/x86/boot.rst, "32-bit Boot Protocol") and PVH (Xen's
	 * docs/misc/pvh.pandoc): CS and DS..SS base 0 limit 4 GiB, TR loaded, CR0.PE.
	 */
	BOOT_PROT32,
	/*
	 * 64-bit mode, the first 4 GiB identity-mapped by tables that the loader wrote
	 * at cr3, interrupts off ("64-bit Boot Protocol").
	 */
	BOOT_LONG64,
};

struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rsp;
	uint64_t rbx; /* PVH: start info */
	uint64_t rsi; /* Linux: boot_params */
	uint64_t rdx; /* PVH: the flattened device tree, which the protocol leaves free */
	uint64_t cr3;
	uint64_t gdt_base; /* in guest RAM, the selectors below index it */
	uint16_t gdt_limit;
	uint16_t cs; /* 0x10: __BOOT_CS */
	uint16_t ds; /* 0x18: __BOOT_DS */
	uint16_t tr; /* 0x20 */
};

#endif
