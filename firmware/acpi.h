/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables: RSDP, XSDT, FADT, FACS, MADT, the DSDT that iasl compiled from
 * dsdt.asl, and an SSDT that holds nothing but \FACT, the facts of this very machine
 * (FIRMWARE_*), which the DSDT's _STA methods look at. Nothing that a guest evaluates
 * while it boots touches a port or a device register: AML costs it no exit.
 * Specification: ACPI 6.3. Pure functions; any thread.
 */
#ifndef FIRMWARE_ACPI_H
#define FIRMWARE_ACPI_H

#include "firmware/firmware.h"

/*
 * Writes the tables into buf, which the guest finds at base (16-byte aligned); the RSDP
 * comes first. Returns the bytes used, -ENOSPC where they are more than size.
 */
int acpi_build(const struct firmware_config *cfg, uint64_t base, void *buf,
	       size_t size) __must_check;

/* Where the tables begin behind the RSDP: FACS, the first of them, is 64-byte aligned. */
#define ACPI_TABLES_OFFSET 64

#define ACPI_MAX_POINTERS 12
#define ACPI_MAX_SUMS 8

/* What has to be done once it is known where tables come to lie; offsets count from buf. */
struct acpi_relocs {
	struct acpi_pointer {
		uint32_t offset;
		uint8_t width; /* 4 or 8 */
	} pointers[ACPI_MAX_POINTERS];
	unsigned nr_pointers;
	/* The byte at that makes [start, start + len) sum up to 0; in the order to do them. */
	struct acpi_sum {
		uint32_t start;
		uint32_t len;
		uint32_t at;
	} sums[ACPI_MAX_SUMS];
	unsigned nr_sums;
};

/*
 * The same tables for somebody else to place, the RSDP apart from the rest: every pointer
 * holds an offset from ACPI_TABLES_OFFSET, to which the address of that byte is to be
 * added. There is an RSDT beside the XSDT, for what runs before an operating system: GRUB
 * knows no other. Returns like acpi_build().
 */
int acpi_build_relocatable(const struct firmware_config *cfg, void *buf, size_t size,
			   struct acpi_relocs *relocs) __must_check;

#endif
