/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/acpi.h"

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum2, reserved[3];
} __attribute__((packed));

bool acpi_checksum_ok(const void *p, uint32_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return sum == 0;
}

uint32_t acpi_field(const struct acpi_table *t, unsigned offset, unsigned width)
{
	uint32_t v = 0;

	memcpy(&v, (const char *)t + offset, width);
	return v;
}

const struct acpi_table *acpi_find(const char *signature)
{
	const struct rsdp *rsdp = (const void *)(uintptr_t)start_info()->rsdp;
	const struct acpi_table *xsdt;

	if (!rsdp || memcmp(rsdp->signature, "RSD PTR ", 8) || !acpi_checksum_ok(rsdp, 20) ||
	    !acpi_checksum_ok(rsdp, rsdp->length) || rsdp->revision < 2)
		return NULL;
	xsdt = (const void *)(uintptr_t)rsdp->xsdt;
	if (memcmp(xsdt->signature, "XSDT", 4) || !acpi_checksum_ok(xsdt, xsdt->length))
		return NULL;
	if (!strcmp(signature, "XSDT"))
		return xsdt;
	for (uint32_t at = sizeof(*xsdt); at + 8 <= xsdt->length; at += 8) {
		const struct acpi_table *t = (const void *)(uintptr_t)acpi_field(xsdt, at, 4);

		if (!memcmp(t->signature, signature, 4))
			return t;
	}
	return NULL;
}

const struct acpi_table *acpi_dsdt(void)
{
	const struct acpi_table *fadt = acpi_find("FACP");
	uint32_t at = fadt ? acpi_field(fadt, ACPI_FADT_X_DSDT, 4) : 0;

	if (fadt && !at)
		at = acpi_field(fadt, ACPI_FADT_DSDT, 4);
	return (const void *)(uintptr_t)at;
}

int acpi_s5_type(void)
{
	const struct acpi_table *dsdt = acpi_dsdt();
	const uint8_t *p = (const void *)dsdt;

	/* NameOp "_S5_" PackageOp length count BytePrefix? value, under the root or not */
	for (uint32_t i = sizeof(*dsdt); dsdt && i + 12 < dsdt->length; i++) {
		if (memcmp(p + i, "_S5_\x12", 5))
			continue;
		i += 5 + (p[i + 5] >> 6) + 2;
		return p[i] == 0x0a ? p[i + 1] : p[i] < 2 ? p[i] : -1;
	}
	return -1;
}

void acpi_power_off(void)
{
	const struct acpi_table *fadt = acpi_find("FACP");
	int type = acpi_s5_type();

	if (fadt && type >= 0)
		outw((uint16_t)acpi_field(fadt, ACPI_FADT_PM1A_CONTROL, 4),
		     (uint16_t)(0x2000 | type << 10));
}

void acpi_reset(void)
{
	const struct acpi_table *fadt = acpi_find("FACP");

	if (fadt && acpi_field(fadt, ACPI_FADT_FLAGS, 4) & ACPI_FADT_F_RESET &&
	    acpi_field(fadt, ACPI_FADT_RESET_REG, 1) == 1)
		outb((uint16_t)acpi_field(fadt, ACPI_FADT_RESET_REG + 4, 2),
		     (uint8_t)acpi_field(fadt, ACPI_FADT_RESET_VALUE, 1));
}
