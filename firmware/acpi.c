/* SPDX-License-Identifier: MIT */
#include "firmware/acpi.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/platform.h"
#include "firmware/dsdt.h"

_Static_assert(DSDT_PCI_MMIO_MIN == PLATFORM_PCI_MMIO_BASE, "dsdt.h");
_Static_assert(DSDT_PCI_MMIO_MAX == PLATFORM_PCI_MMIO_END - 1, "dsdt.h");
_Static_assert(DSDT_PCI_MMIO_LEN == PLATFORM_PCI_MMIO_END - PLATFORM_PCI_MMIO_BASE, "dsdt.h");
_Static_assert(FIRMWARE_COM1 == 1 << DSDT_FACT_COM1, "dsdt.h");
_Static_assert(FIRMWARE_COM2 == 1 << DSDT_FACT_COM2, "dsdt.h");
_Static_assert(FIRMWARE_COM3 == 1 << DSDT_FACT_COM3, "dsdt.h");
_Static_assert(FIRMWARE_COM4 == 1 << DSDT_FACT_COM4, "dsdt.h");
_Static_assert(FIRMWARE_RTC == 1 << DSDT_FACT_RTC, "dsdt.h");
_Static_assert(FIRMWARE_PVPANIC == 1 << DSDT_FACT_PVPANIC, "dsdt.h");
_Static_assert(FIRMWARE_PCI == 1 << DSDT_FACT_PCI, "dsdt.h");

/* dsdt.S */
extern const uint8_t firmware_dsdt[];
extern const uint32_t firmware_dsdt_len;

#define HEADER_LEN 36 /* ACPI 5.2.6, System Description Table Header */
#define HEADER_LENGTH 4
#define HEADER_CHECKSUM 9

#define RSDP_LEN 36
#define FACS_LEN 64

#define GAS_IO 1
#define GAS_BYTE 1
#define GAS_WORD 2
#define GAS_DWORD 3

#define RESET_VALUE 0x06 /* port 0xcf9: system reset, by CPU reset */

/* MADT: ACPI 5.2.12 */
#define MADT_PCAT_COMPAT 1
#define MADT_LAPIC 0
#define MADT_IOAPIC 1
#define MADT_OVERRIDE 2
#define MADT_LAPIC_NMI 4
#define LEVEL_HIGH 0xd /* MPS INTI flags: active high, level */
#define GSI_PIT 2

/* Where the next bytes go. Once they do not fit, nothing more is written. */
struct table {
	uint8_t *buf;
	size_t size;
	size_t used;
	bool full;
	struct acpi_relocs relocs;
};

static void *take(struct table *t, size_t len, size_t align)
{
	size_t at = align_up(t->used, align);

	if (t->full || at > t->size || len > t->size - at) {
		t->full = true;
		return NULL;
	}
	t->used = at + len;
	memset(t->buf + at, 0, len);
	return t->buf + at;
}

static void checksum(struct table *t, uint8_t *table, size_t len, unsigned at)
{
	uint32_t start = (uint32_t)(table - t->buf);
	uint8_t sum = 0;

	table[at] = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + table[i]);
	table[at] = (uint8_t)-sum;
	assert(t->relocs.nr_sums < ACPI_MAX_SUMS);
	t->relocs.sums[t->relocs.nr_sums++] =
		(struct acpi_sum){ .start = start, .len = (uint32_t)len, .at = start + at };
}

static void put_pointer(struct table *t, uint8_t *p, unsigned width, uint64_t gpa)
{
	store_le(p, width, gpa);
	assert(t->relocs.nr_pointers < ACPI_MAX_POINTERS);
	t->relocs.pointers[t->relocs.nr_pointers++] = (struct acpi_pointer){
		.offset = (uint32_t)(p - t->buf),
		.width = (uint8_t)width,
	};
}

/* A table with its header, to be finished by checksum(). */
static uint8_t *start(struct table *t, const char *signature, unsigned revision, size_t len)
{
	uint8_t *p = take(t, len, 16);

	if (!p)
		return NULL;
	memcpy(p, signature, 4);
	store_le(p + HEADER_LENGTH, 4, len);
	p[8] = (uint8_t)revision;
	memcpy(p + 10, "BANTAM", 6); /* OEM id */
	memcpy(p + 16, "BANTAM  ", 8); /* OEM table id */
	store_le(p + 24, 4, 1); /* OEM revision */
	memcpy(p + 28, "BNTM", 4); /* creator id */
	store_le(p + 32, 4, 1); /* creator revision */
	return p;
}

static void finish(struct table *t, uint8_t *table)
{
	checksum(t, table, load_le(table + HEADER_LENGTH, 4), HEADER_CHECKSUM);
}

/*
 * FADT, ACPI 5.2.9: what is not zero. Power-off, power button and reset are those of
 * PM1 and port 0xcf9. SMI_CMD 0 says that the machine is always in ACPI mode.
 */
#define FADT_LEN 276
#define FADT_MINOR 3

#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_SLP_BUTTON (1u << 5) /* set: no fixed sleep button. PWR_BUTTON clear: a fixed one */
#define FADT_FIX_RTC (1u << 6) /* set: no RTC wake status */
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_FLAGS \
	(FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_RESET_REG_SUP)

/* IAPC_BOOT_ARCH: without the 8042 bit Linux does not probe for a keyboard. */
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_8042 (1u << 1)
#define BOOT_NO_VGA (1u << 2)
#define BOOT_NO_ASPM (1u << 4)
#define BOOT_NO_RTC (1u << 5)

#define FADT_PM_TIMER 76
#define FADT_GPE0 80
#define FADT_PM_TIMER_LEN 91
#define FADT_GPE0_LEN 92
#define FADT_BOOT_ARCH 109
#define FADT_FACS 36
#define FADT_DSDT 40
#define FADT_X_DSDT 140
#define FADT_X_PM_TIMER 208
#define FADT_X_GPE0 220

static const struct {
	uint16_t offset;
	uint8_t width;
	uint32_t value;
} fadt_fields[] = {
	{ 45, 1, 1 }, /* Preferred_PM_Profile: desktop */
	{ 46, 2, PLATFORM_IRQ_SCI }, /* SCI_INT */
	{ 56, 4, PLATFORM_PORT_PM_BASE }, /* PM1a_EVT_BLK */
	{ 64, 4, PLATFORM_PORT_PM_BASE + 4 }, /* PM1a_CNT_BLK */
	{ 88, 1, 4 }, /* PM1_EVT_LEN */
	{ 89, 1, 2 }, /* PM1_CNT_LEN */
	{ 96, 2, 0xffff }, /* P_LVL2_LAT: no C2 */
	{ 98, 2, 0xffff }, /* P_LVL3_LAT: no C3 */
	{ 112, 4, FADT_FLAGS }, /* Flags */
	{ 128, 1, RESET_VALUE }, /* RESET_VALUE */
	{ 131, 1, FADT_MINOR }, /* FADT Minor Version */
};

/* Generic Address Structure, ACPI 5.2.3.2. */
static void put_gas(uint8_t *p, unsigned bits, unsigned access, uint64_t port)
{
	p[0] = GAS_IO;
	p[1] = (uint8_t)bits;
	p[2] = 0;
	p[3] = (uint8_t)access;
	store_le(p + 4, 8, port);
}

static uint64_t add_fadt(struct table *t, uint32_t facts, uint64_t base, uint64_t facs,
			 uint64_t dsdt)
{
	uint8_t *p = start(t, "FACP", 6, FADT_LEN);
	unsigned arch = BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_ASPM;

	if (!p)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(fadt_fields); i++)
		store_le(p + fadt_fields[i].offset, fadt_fields[i].width, fadt_fields[i].value);
	put_pointer(t, p + FADT_FACS, 4, facs);
	put_pointer(t, p + FADT_DSDT, 4, dsdt);
	put_pointer(t, p + FADT_X_DSDT, 8, dsdt);
	put_gas(p + 116, 8, GAS_BYTE, PLATFORM_PORT_RESET);
	put_gas(p + 148, 32, GAS_WORD, PLATFORM_PORT_PM_BASE);
	put_gas(p + 172, 16, GAS_WORD, PLATFORM_PORT_PM_BASE + 4);
	if (facts & FIRMWARE_PM_TIMER) {
		store_le(p + FADT_PM_TIMER, 4, PLATFORM_PORT_PM_BASE + 8);
		p[FADT_PM_TIMER_LEN] = 4;
		put_gas(p + FADT_X_PM_TIMER, 32, GAS_DWORD, PLATFORM_PORT_PM_BASE + 8);
	}
	if (facts & FIRMWARE_GPE) {
		store_le(p + FADT_GPE0, 4, PLATFORM_PORT_GPE_BASE);
		p[FADT_GPE0_LEN] = PLATFORM_PORT_GPE_LEN;
		put_gas(p + FADT_X_GPE0, PLATFORM_PORT_GPE_LEN * 8, GAS_BYTE,
			PLATFORM_PORT_GPE_BASE);
	}
	if (facts & FIRMWARE_I8042)
		arch |= BOOT_8042;
	if (!(facts & FIRMWARE_RTC))
		arch |= BOOT_NO_RTC;
	store_le(p + FADT_BOOT_ARCH, 2, arch);
	finish(t, p);
	return base + (uint64_t)(p - t->buf);
}

static uint8_t *put_override(uint8_t *p, unsigned irq, unsigned gsi, unsigned flags)
{
	p[0] = MADT_OVERRIDE;
	p[1] = 10;
	p[2] = 0; /* bus: ISA */
	p[3] = (uint8_t)irq;
	store_le(p + 4, 4, gsi);
	store_le(p + 8, 2, flags);
	return p + 10;
}

static uint64_t add_madt(struct table *t, unsigned nr_cpus, uint64_t base)
{
	size_t len = HEADER_LEN + 8 + (size_t)nr_cpus * 8 + 12 + 4 * 10 + 6;
	uint8_t *madt = start(t, "APIC", 5, len);
	uint8_t *p;

	if (!madt)
		return 0;
	store_le(madt + HEADER_LEN, 4, PLATFORM_LAPIC_BASE);
	store_le(madt + HEADER_LEN + 4, 4, MADT_PCAT_COMPAT);
	p = madt + HEADER_LEN + 8;
	for (unsigned i = 0; i < nr_cpus; i++, p += 8) {
		p[0] = MADT_LAPIC;
		p[1] = 8;
		p[2] = (uint8_t)i; /* ACPI processor UID */
		p[3] = (uint8_t)i; /* APIC id */
		store_le(p + 4, 4, 1); /* enabled */
	}
	p[0] = MADT_IOAPIC;
	p[1] = 12;
	p[2] = 0; /* KVM's I/O APIC id at reset */
	store_le(p + 4, 4, PLATFORM_IOAPIC_BASE);
	store_le(p + 8, 4, 0); /* first GSI */
	p += 12;
	p = put_override(p, PLATFORM_IRQ_PIT, GSI_PIT, 0);
	p = put_override(p, PLATFORM_IRQ_SCI, PLATFORM_IRQ_SCI, LEVEL_HIGH);
	p = put_override(p, PLATFORM_IRQ_PCI_A, PLATFORM_IRQ_PCI_A, LEVEL_HIGH);
	p = put_override(p, PLATFORM_IRQ_PCI_C, PLATFORM_IRQ_PCI_C, LEVEL_HIGH);
	p[0] = MADT_LAPIC_NMI;
	p[1] = 6;
	p[2] = 0xff; /* every processor */
	p[5] = 1; /* LINT1 */
	finish(t, madt);
	return base + (uint64_t)(madt - t->buf);
}

/* Name (\FACT, facts) in AML: ACPI 20.2.5.1. */
static uint64_t add_ssdt(struct table *t, uint32_t facts, uint64_t base)
{
	const uint8_t name[] = { 0x08, '\\', 'F', 'A', 'C', 'T', 0x0c }; /* NameOp, DWordPrefix */
	uint8_t *p = start(t, "SSDT", 2, HEADER_LEN + sizeof(name) + 4);

	if (!p)
		return 0;
	memcpy(p + HEADER_LEN, name, sizeof(name));
	store_le(p + HEADER_LEN + sizeof(name), 4, facts);
	finish(t, p);
	return base + (uint64_t)(p - t->buf);
}

static uint64_t add_dsdt(struct table *t, uint64_t base)
{
	uint8_t *p = take(t, firmware_dsdt_len, 16);

	if (!p)
		return 0;
	memcpy(p, firmware_dsdt, firmware_dsdt_len);
	return base + (uint64_t)(p - t->buf);
}

static uint64_t add_facs(struct table *t, uint64_t base)
{
	uint8_t *p = take(t, FACS_LEN, 64);

	if (!p)
		return 0;
	memcpy(p, "FACS", 4);
	store_le(p + 4, 4, FACS_LEN);
	p[32] = 2; /* version */
	return base + (uint64_t)(p - t->buf);
}

/* The list of all tables: XSDT with pointers of 8 bytes, RSDT with pointers of 4. */
static uint64_t add_list(struct table *t, const char *signature, unsigned width,
			 const uint64_t *tables, unsigned n, uint64_t base)
{
	uint8_t *p = start(t, signature, 1, HEADER_LEN + (size_t)n * width);

	if (!p)
		return 0;
	for (unsigned i = 0; i < n; i++)
		put_pointer(t, p + HEADER_LEN + (size_t)i * width, width, tables[i]);
	finish(t, p);
	return base + (uint64_t)(p - t->buf);
}

static int build(struct table *t, const struct firmware_config *cfg, uint64_t base, bool old)
{
	uint8_t *rsdp = take(t, RSDP_LEN, 16);
	uint64_t facs = add_facs(t, base);
	uint64_t dsdt = add_dsdt(t, base);
	uint64_t tables[] = {
		add_fadt(t, cfg->facts, base, facs, dsdt),
		add_madt(t, cfg->nr_cpus, base),
		add_ssdt(t, cfg->facts, base),
	};
	uint64_t xsdt = add_list(t, "XSDT", 8, tables, ARRAY_SIZE(tables), base);
	uint64_t rsdt = old ? add_list(t, "RSDT", 4, tables, ARRAY_SIZE(tables), base) : 0;

	if (t->full || !rsdp)
		return -ENOSPC;
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "BANTAM", 6);
	rsdp[15] = 2; /* revision */
	store_le(rsdp + 20, 4, RSDP_LEN);
	if (old)
		put_pointer(t, rsdp + 16, 4, rsdt);
	put_pointer(t, rsdp + 24, 8, xsdt);
	checksum(t, rsdp, 20, 8);
	checksum(t, rsdp, RSDP_LEN, 32);
	return (int)t->used;
}

int acpi_build(const struct firmware_config *cfg, uint64_t base, void *buf, size_t size)
{
	struct table t = { .buf = buf, .size = size };

	return build(&t, cfg, base, false);
}

int acpi_build_relocatable(const struct firmware_config *cfg, void *buf, size_t size,
			   struct acpi_relocs *relocs)
{
	struct table t = { .buf = buf, .size = size };
	/* So that what is at ACPI_TABLES_OFFSET gets address 0. */
	int ret = build(&t, cfg, (uint64_t)-ACPI_TABLES_OFFSET, true);

	*relocs = t.relocs;
	return ret;
}
