/* SPDX-License-Identifier: MIT */
/*
 * What the two loaders share: one load of one machine, its message for the user, and
 * the parts of low RAM that every kernel gets. Floor-internal; see firmware.h for the
 * contract. Every function returns 0 or -errno with the message written.
 */
#ifndef FIRMWARE_LOADER_H
#define FIRMWARE_LOADER_H

#include "firmware/firmware.h"

/* PT_LOAD segments of one ELF, and what a bzImage needs: more than any kernel has. */
#define LOADER_MAX_RANGES 64

struct loader_range {
	uint64_t gpa;
	uint64_t len;
};

struct loader {
	struct mem *mem;
	const struct firmware_config *cfg;
	struct err *err;
	struct loader_range used[LOADER_MAX_RANGES]; /* RAM that the kernel needs for itself */
	unsigned nr_used;
	uint64_t initrd_gpa; /* 0: none */
	uint64_t rsdp_gpa;
	uint64_t fdt_gpa;
	uint32_t fdt_len;
};

/* Reads from a file into host memory, and straight into guest RAM. */
int loader_read(struct loader *l, const char *option, const struct firmware_file *file, void *buf,
		uint64_t len, uint64_t off) __must_check;
int loader_read_to(struct loader *l, const char *option, const struct firmware_file *file,
		   uint64_t gpa, uint64_t len, uint64_t off) __must_check;

/*
 * Sets RAM aside for the kernel. -E2BIG where it is not RAM from end to end (what says
 * what does not fit), -ENOEXEC where it overlaps an earlier one.
 */
int loader_claim(struct loader *l, const char *what, uint64_t gpa, uint64_t len) __must_check;

/*
 * Everything but the kernel itself: the command line of at most cmdline_max characters, the
 * initrd below initrd_end (exclusive) and clear of what was claimed, ACPI, the device
 * tree, the GDT and the page tables.
 */
int loader_finish(struct loader *l, enum boot_mode mode, uint64_t cmdline_max,
		  uint64_t initrd_end) __must_check;

/* The entry's part that both protocols agree on: stack, tables, selectors. */
void loader_entry_init(struct boot_entry *entry, enum boot_mode mode, uint64_t rip);

/* The two kinds of kernel. */
int bzimage_load(struct loader *l, struct boot_entry *entry) __must_check;
int pvh_load(struct loader *l, struct boot_entry *entry) __must_check;

#endif
