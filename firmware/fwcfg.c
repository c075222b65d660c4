/* SPDX-License-Identifier: MIT */
#include "firmware/fwcfg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "firmware/acpi.h"
#include "firmware/e820.h"
#include "firmware/smbios.h"

/* Keys that are older than the files */
#define KEY_NR_CPUS 0x05
#define KEY_BOOT_MENU 0x0e
#define KEY_MAX_CPUS 0x0f
#define KEY_IRQ0_OVERRIDE 0x8002

#define FILE_RSDP "etc/acpi/rsdp"
#define FILE_TABLES "etc/acpi/tables"

#define RSDP_LEN 36
#define BOOT_PATH_MAX 64
#define BOOT_FAIL_WAIT_FOREVER 0xffffffff

/* INT 15h, E820h's own form of an entry. */
struct e820_packed {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
} __attribute__((packed));

/* A command of the table loader, 128 bytes, little-endian. */
enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct loader_command {
	uint32_t command;
	union {
		struct {
			char file[56];
			uint32_t align;
			uint8_t zone;
		} allocate;
		struct {
			char file[56]; /* where the pointer is */
			char to[56]; /* whose address is added to it */
			uint32_t offset;
			uint8_t width;
		} pointer;
		struct {
			char file[56];
			uint32_t at;
			uint32_t start;
			uint32_t len;
		} checksum;
		char pad[124];
	};
};
_Static_assert(sizeof(struct loader_command) == 128, "the loader's commands");

#define LOADER_MAX (2 + ACPI_MAX_POINTERS + ACPI_MAX_SUMS)

/* Everything that an item points to and that is not constant. */
struct fwcfg_data {
	uint16_t nr_cpus;
	uint16_t sercon_port;
	uint16_t boot_menu;
	uint8_t irq0_override;
	uint32_t boot_fail_wait;
	struct e820_packed e820[3];
	char bootorder[FWCFG_MAX_BOOT * BOOT_PATH_MAX];
	uint8_t acpi[PLATFORM_ACPI_END - PLATFORM_ACPI_BASE];
	struct loader_command loader[LOADER_MAX];
	unsigned nr_loader;
	struct smbios smbios;
	uint8_t smbios_anchor[SMBIOS_ANCHOR_LEN];
};

static void add(struct fwcfg *f, const char *name, uint16_t key, const void *data, size_t len)
{
	f->items[f->nr_items++] =
		(struct fw_item){ .name = name, .key = key, .data = data, .len = len };
}

static void add_key(struct fwcfg *f, uint16_t key, const void *data, size_t len)
{
	add(f, NULL, key, data, len);
}

static void add_file(struct fwcfg *f, const char *name, const void *data, size_t len)
{
	add(f, name, 0, data, len);
}

/* The CPUs, the console on COM1 (there is no VGA), no menu, no end to a failed boot. */
static void add_settings(struct fwcfg *f, struct fwcfg_data *d, const struct fwcfg_config *cfg)
{
	d->nr_cpus = (uint16_t)cfg->machine->nr_cpus;
	d->sercon_port = PLATFORM_PORT_COM1;
	d->boot_menu = 0;
	d->irq0_override = 1;
	d->boot_fail_wait = BOOT_FAIL_WAIT_FOREVER;
	add_key(f, KEY_NR_CPUS, &d->nr_cpus, sizeof(d->nr_cpus));
	add_key(f, KEY_MAX_CPUS, &d->nr_cpus, sizeof(d->nr_cpus));
	add_key(f, KEY_BOOT_MENU, &d->boot_menu, sizeof(d->boot_menu));
	add_key(f, KEY_IRQ0_OVERRIDE, &d->irq0_override, sizeof(d->irq0_override));
	if (cfg->machine->facts & FIRMWARE_COM1)
		add_file(f, "etc/sercon-port", &d->sercon_port, sizeof(d->sercon_port));
	add_file(f, "etc/boot-fail-wait", &d->boot_fail_wait, sizeof(d->boot_fail_wait));
}

/* RAM whole: what the firmware takes of it, and the area below 1 MiB, it reserves itself. */
static void add_memory_map(struct fwcfg *f, struct fwcfg_data *d, const struct mem *mem)
{
	uint64_t high = mem_high_end(mem);
	unsigned n = 0;

	d->e820[n++] = (struct e820_packed){ 0, mem_low_end(mem), E820_RAM };
	d->e820[n++] = (struct e820_packed){
		PLATFORM_KVM_IDENTITY_MAP,
		PLATFORM_ROM_END - PLATFORM_KVM_IDENTITY_MAP,
		E820_RESERVED,
	};
	if (high)
		d->e820[n++] = (struct e820_packed){
			PLATFORM_HIGH_RAM_BASE,
			high - PLATFORM_HIGH_RAM_BASE,
			E820_RAM,
		};
	add_file(f, "etc/e820", d->e820, n * sizeof(d->e820[0]));
}

/* One path a line, as SeaBIOS makes them of what it finds (src/boot.c). */
static int add_boot_order(struct fwcfg *f, struct fwcfg_data *d, const struct fwcfg_config *cfg)
{
	size_t used = 0;

	if (cfg->nr_boot > FWCFG_MAX_BOOT)
		return -EINVAL;
	for (unsigned i = 0; i < cfg->nr_boot; i++) {
		const struct fwcfg_boot *b = &cfg->boot[i];
		char *line = d->bootorder + used, function[4] = "";

		if (b->function)
			snprintf(function, sizeof(function), ",%x", b->function & 7);
		if (b->kind == FWCFG_BOOT_IDE)
			snprintf(line, BOOT_PATH_MAX, "/pci@i0cf8/ide@%x%s/drive@%x/disk@%x",
				 b->slot & 0x1f, function, b->channel & 1, b->drive & 1);
		else
			snprintf(line, BOOT_PATH_MAX, "/pci@i0cf8/scsi@%x%s/disk@0,0",
				 b->slot & 0x1f, function);
		used += strlen(line) + 1;
		line[strlen(line)] = i + 1 < cfg->nr_boot ? '\n' : '\0';
	}
	if (used)
		add_file(f, "bootorder", d->bootorder, used);
	return 0;
}

/* The file that a byte of the built tables is in, and its offset there. */
static const char *file_of(uint32_t *offset)
{
	if (*offset < ACPI_TABLES_OFFSET)
		return FILE_RSDP;
	*offset -= ACPI_TABLES_OFFSET;
	return FILE_TABLES;
}

static struct loader_command *loader_add(struct fwcfg_data *d, uint32_t command)
{
	struct loader_command *c = &d->loader[d->nr_loader++];

	c->command = command;
	return c;
}

static void loader_allocate(struct fwcfg_data *d, const char *file, uint32_t align, uint8_t zone)
{
	struct loader_command *c = loader_add(d, LOADER_ALLOCATE);

	strcpy(c->allocate.file, file);
	c->allocate.align = align;
	c->allocate.zone = zone;
}

static int add_acpi(struct fwcfg *f, struct fwcfg_data *d, const struct fwcfg_config *cfg)
{
	struct acpi_relocs relocs;
	int len = acpi_build_relocatable(cfg->machine, d->acpi, sizeof(d->acpi), &relocs);

	if (len < 0)
		return len;
	loader_allocate(d, FILE_RSDP, 16, ZONE_FSEG);
	loader_allocate(d, FILE_TABLES, ACPI_TABLES_OFFSET, ZONE_HIGH);
	for (unsigned i = 0; i < relocs.nr_pointers; i++) {
		struct loader_command *c = loader_add(d, LOADER_ADD_POINTER);
		uint32_t offset = relocs.pointers[i].offset;

		strcpy(c->pointer.file, file_of(&offset));
		strcpy(c->pointer.to, FILE_TABLES);
		c->pointer.offset = offset;
		c->pointer.width = relocs.pointers[i].width;
	}
	for (unsigned i = 0; i < relocs.nr_sums; i++) {
		struct loader_command *c = loader_add(d, LOADER_ADD_CHECKSUM);
		uint32_t start = relocs.sums[i].start;
		uint32_t at = relocs.sums[i].at - start;

		strcpy(c->checksum.file, file_of(&start));
		c->checksum.start = start;
		c->checksum.at = start + at;
		c->checksum.len = relocs.sums[i].len;
	}
	add_file(f, FILE_RSDP, d->acpi, RSDP_LEN);
	add_file(f, FILE_TABLES, d->acpi + ACPI_TABLES_OFFSET, (size_t)len - ACPI_TABLES_OFFSET);
	add_file(f, "etc/table-loader", d->loader, d->nr_loader * sizeof(d->loader[0]));
	return 0;
}

/* The firmware fills in the address, and puts its type 0 in front. */
static void add_smbios(struct fwcfg *f, struct fwcfg_data *d, const struct fwcfg_config *cfg)
{
	smbios_build(&d->smbios, cfg->machine, cfg->mem);
	smbios_anchor(&d->smbios, 0, d->smbios_anchor);
	add_file(f, "etc/smbios/smbios-anchor", d->smbios_anchor, sizeof(d->smbios_anchor));
	add_file(f, "etc/smbios/smbios-tables", d->smbios.tables, d->smbios.len);
}

int fwcfg_build(struct fwcfg *f, const struct fwcfg_config *cfg)
{
	struct fwcfg_data *d;
	int ret;

	memset(f, 0, sizeof(*f));
	if (cfg->machine->nr_cpus < 1 || cfg->machine->nr_cpus > PLATFORM_MAX_CPUS)
		return -EINVAL;
	f->data = d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	add_settings(f, d, cfg);
	add_memory_map(f, d, cfg->mem);
	ret = add_boot_order(f, d, cfg);
	if (!ret)
		ret = add_acpi(f, d, cfg);
	add_smbios(f, d, cfg);
	return ret;
}

void fwcfg_free(struct fwcfg *f)
{
	free(f->data);
	memset(f, 0, sizeof(*f));
}
