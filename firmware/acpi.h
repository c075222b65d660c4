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

#endif
