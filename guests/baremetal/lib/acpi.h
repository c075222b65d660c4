/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables, found through the start info's RSDP (ACPI 6.4, 5.2), and the two things
 * that a guest does with them here: power off and reset.
 */
#ifndef GUESTS_ACPI_H
#define GUESTS_ACPI_H

#include "guests/baremetal/lib/rt.h"

struct acpi_table {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision, creator_id, creator_revision;
} __attribute__((packed));

#define ACPI_FADT_DSDT 40
#define ACPI_FADT_SCI 46
#define ACPI_FADT_PM1A_EVENT 56
#define ACPI_FADT_PM1A_CONTROL 64
#define ACPI_FADT_PM_TIMER 76
#define ACPI_FADT_FLAGS 112
#define ACPI_FADT_RESET_REG 116 /* a generic address: space, width, offset, access, address */
#define ACPI_FADT_RESET_VALUE 128
#define ACPI_FADT_X_DSDT 140
#define ACPI_FADT_F_RESET (1u << 10)

uint32_t acpi_field(const struct acpi_table *t, unsigned offset, unsigned width);

/* By signature, NULL where there is none. "RSDP" and "XSDT" tell whether those are sound. */
const struct acpi_table *acpi_find(const char *signature);
bool acpi_checksum_ok(const void *p, uint32_t len);
const struct acpi_table *acpi_dsdt(void);

/* What \_S5's package holds for SLP_TYPa, or -1: looked for in the DSDT's bytes. */
int acpi_s5_type(void);

void acpi_power_off(void);
void acpi_reset(void);

#endif
