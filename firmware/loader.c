/* SPDX-License-Identifier: MIT */
#include "firmware/loader.h"

#include <errno.h>
#include <string.h>

#include "base/platform.h"
#include "firmware/acpi.h"

#define SETUP_DTB 2
#define SETUP_DATA_HEADER 16

#define PAGE_PRESENT_RW 0x3ull
#define PAGE_HUGE 0x80ull
#define PAGE_ENTRIES 512

#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define BOOT_TR 0x20

int loader_read(struct loader *l, const char *option, const struct firmware_file *file, void *buf,
		uint64_t len, uint64_t off)
{
	int ret = util_pread_all(file->fd, buf, len, off);

	if (ret == -ENODATA)
		return err_set(l->err, -ENOEXEC, "%s %s: the file has become shorter", option,
			       file->path);
	if (ret)
		return err_set(l->err, ret, "%s %s: cannot read it: %s", option, file->path,
			       strerror(-ret));
	return 0;
}

int loader_read_to(struct loader *l, const char *option, const struct firmware_file *file,
		   uint64_t gpa, uint64_t len, uint64_t off)
{
	void *p = mem_at(l->mem, gpa, len);

	if (!p)
		return err_set(l->err, -E2BIG, "%s %s: 0x%llx bytes at 0x%llx are not RAM", option,
			       file->path, (unsigned long long)len, (unsigned long long)gpa);
	return loader_read(l, option, file, p, len, off);
}

static uint64_t mib_up(uint64_t bytes)
{
	return bytes / MIB + !!(bytes % MIB);
}

int loader_claim(struct loader *l, const char *what, uint64_t gpa, uint64_t len)
{
	const char *path = l->cfg->kernel.path;

	if (!mem_at_const(l->mem, gpa, len))
		return err_set(l->err, -E2BIG,
			       "--kernel %s: %s needs %llu MiB at 0x%llx, which the guest's RAM of "
			       "%llu MiB does not have; give it more --memory",
			       path, what, (unsigned long long)mib_up(len), (unsigned long long)gpa,
			       (unsigned long long)(l->mem->ram_size / MIB));
	for (unsigned i = 0; i < l->nr_used; i++) {
		if (ranges_overlap(gpa, len, l->used[i].gpa, l->used[i].len))
			return err_set(l->err, -ENOEXEC,
				       "--kernel %s: %s at 0x%llx overlaps another", path, what,
				       (unsigned long long)gpa);
	}
	if (l->nr_used == ARRAY_SIZE(l->used))
		return err_set(l->err, -ENOEXEC, "--kernel %s: more than %zu segments", path,
			       ARRAY_SIZE(l->used));
	l->used[l->nr_used++] = (struct loader_range){ .gpa = gpa, .len = len };
	return 0;
}

static int place_cmdline(struct loader *l, uint64_t max)
{
	const char *cmdline = l->cfg->cmdline ? l->cfg->cmdline : "";
	size_t len = strlen(cmdline);

	if (len > min_u64(max, FIRMWARE_CMDLINE_MAX))
		return err_set(l->err, -E2BIG, "--append: %zu characters, this kernel takes %llu",
			       len, (unsigned long long)min_u64(max, FIRMWARE_CMDLINE_MAX));
	if (mem_write(l->mem, PLATFORM_CMDLINE_BASE, cmdline, len + 1))
		return err_set(l->err, -E2BIG, "--append: no RAM at 0x%x", PLATFORM_CMDLINE_BASE);
	return 0;
}

/* The highest page-aligned hole of len bytes that ends at or below end; 0 for none. */
static uint64_t find_hole(const struct loader *l, uint64_t len, uint64_t end)
{
	unsigned i;

	do {
		if (end < len || align_down(end - len, PAGE_SIZE_4K) < PLATFORM_BIOS_AREA_END)
			return 0;
		uint64_t gpa = align_down(end - len, PAGE_SIZE_4K);

		for (i = 0; i < l->nr_used; i++) {
			if (ranges_overlap(gpa, len, l->used[i].gpa, l->used[i].len)) {
				end = l->used[i].gpa;
				break;
			}
		}
		if (i == l->nr_used)
			return gpa;
	} while (true);
}

static int place_initrd(struct loader *l, uint64_t end)
{
	const struct firmware_file *initrd = &l->cfg->initrd;

	if (initrd->fd < 0)
		return 0;
	if (!initrd->size)
		return err_set(l->err, -ENOEXEC, "--initrd %s: the file is empty", initrd->path);
	end = min_u64(end, mem_low_end(l->mem));
	l->initrd_gpa = find_hole(l, initrd->size, end);
	if (!l->initrd_gpa)
		return err_set(l->err, -E2BIG,
			       "--initrd %s: %llu MiB do not fit between the kernel and %llu MiB; "
			       "give the guest more --memory or a smaller initrd",
			       initrd->path, (unsigned long long)mib_up(initrd->size),
			       (unsigned long long)(end / MIB));
	return loader_read_to(l, "--initrd", initrd, l->initrd_gpa, initrd->size, 0);
}

/*
 * The whole area is cleared: what the last guest left there must not look like a
 * table. So is page 0, where Linux looks for the address of the EBDA.
 */
static int place_acpi(struct loader *l)
{
	uint64_t size = PLATFORM_ACPI_END - PLATFORM_ACPI_BASE;
	void *area = mem_at(l->mem, PLATFORM_ACPI_BASE, size);
	void *bda = mem_at(l->mem, 0, PAGE_SIZE_4K);
	int ret;

	if (!area || !bda)
		return err_set(l->err, -E2BIG, "--memory: too small for the ACPI tables");
	memset(bda, 0, PAGE_SIZE_4K);
	memset(area, 0, size);
	ret = acpi_build(l->cfg, PLATFORM_ACPI_BASE, area, size);
	if (ret < 0)
		return err_set(l->err, ret, "--cpus %u: the ACPI tables do not fit",
			       l->cfg->nr_cpus);
	l->rsdp_gpa = PLATFORM_ACPI_BASE;
	return 0;
}

/* The device tree, behind a header that makes it an entry of Linux's setup_data list. */
static int place_fdt(struct loader *l)
{
	uint64_t size = PLATFORM_FDT_END - PLATFORM_FDT_BASE;
	char *area = mem_at(l->mem, PLATFORM_FDT_BASE, size);
	int len;

	if (!area)
		return err_set(l->err, -E2BIG, "--memory: too small for the device tree");
	len = firmware_fdt_build(l->cfg, l->mem, l->initrd_gpa, area + SETUP_DATA_HEADER,
				 size - SETUP_DATA_HEADER);
	if (len < 0)
		return err_set(l->err, len, "the device tree does not fit into %llu KiB",
			       (unsigned long long)(size / KIB));
	store_le(area, 8, 0); /* next: none */
	store_le(area + 8, 4, SETUP_DTB);
	store_le(area + 12, 4, (uint32_t)len);
	l->fdt_gpa = PLATFORM_FDT_BASE + SETUP_DATA_HEADER;
	l->fdt_len = (uint32_t)len;
	return 0;
}

/* Selectors 0x10, 0x18 and 0x20 as the boot protocols want them: Intel SDM 3A, 3.4.5. */
static int place_gdt(struct loader *l, enum boot_mode mode)
{
	const uint64_t gdt[] = {
		0,
		0,
		/* CS: 4 GiB, execute and read, accessed; L or D by mode */
		mode == BOOT_LONG64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
		0x00cf93000000ffff, /* DS: 4 GiB, read and write, accessed */
		0x00008b0000000067, /* TR: a busy TSS at 0; 16 bytes in 64-bit mode */
		0,
	};

	if (mem_write(l->mem, PLATFORM_BOOT_GDT, gdt, sizeof(gdt)))
		return err_set(l->err, -E2BIG, "--memory: too small for the boot tables");
	return 0;
}

/* The first 4 GiB mapped to themselves in pages of 2 MiB: one PML4, one PDPT, four PDs. */
static int place_page_tables(struct loader *l)
{
	uint64_t base = PLATFORM_BOOT_PAGE_TABLES;
	uint64_t *table = mem_at(l->mem, base, PLATFORM_BOOT_PAGE_TABLES_END - base);

	if (!table)
		return err_set(l->err, -E2BIG, "--memory: too small for the boot tables");
	memset(table, 0, 2 * PAGE_SIZE_4K);
	table[0] = (base + PAGE_SIZE_4K) | PAGE_PRESENT_RW;
	for (uint64_t i = 0; i < 4; i++)
		table[PAGE_ENTRIES + i] = (base + (2 + i) * PAGE_SIZE_4K) | PAGE_PRESENT_RW;
	for (uint64_t i = 0; i < 4 * PAGE_ENTRIES; i++)
		table[2 * PAGE_ENTRIES + i] = i * 2 * MIB | PAGE_PRESENT_RW | PAGE_HUGE;
	return 0;
}

/*
 * A guest that restarts the machine by the BIOS's entry, as Linux's reboot=bios does,
 * finds the reset control register there: mov dx, 0xcf9; mov al, 6; out dx, al; hlt; jmp $-1.
 */
static int place_reset_vector(struct loader *l)
{
	static const uint8_t code[16] = {
		0xba,
		PLATFORM_PORT_RESET & 0xff,
		PLATFORM_PORT_RESET >> 8,
		0xb0,
		0x06,
		0xee,
		0xf4,
		0xeb,
		0xfd,
	};

	if (mem_write(l->mem, PLATFORM_RESET_VECTOR, code, sizeof(code)))
		return err_set(l->err, -E2BIG, "--memory: too small for the boot tables");
	return 0;
}

int loader_finish(struct loader *l, enum boot_mode mode, uint64_t cmdline_max, uint64_t initrd_end)
{
	int ret = place_cmdline(l, cmdline_max);

	if (!ret)
		ret = place_initrd(l, initrd_end);
	if (!ret)
		ret = place_acpi(l);
	if (!ret)
		ret = place_reset_vector(l);
	if (!ret)
		ret = place_fdt(l);
	if (!ret)
		ret = place_gdt(l, mode);
	if (!ret)
		ret = place_page_tables(l);
	return ret;
}

void loader_entry_init(struct boot_entry *entry, enum boot_mode mode, uint64_t rip)
{
	*entry = (struct boot_entry){
		.mode = mode,
		.rip = rip,
		.rsp = PLATFORM_BOOT_STACK_TOP,
		.cr3 = mode == BOOT_LONG64 ? PLATFORM_BOOT_PAGE_TABLES : 0,
		.gdt_base = PLATFORM_BOOT_GDT,
		.gdt_limit = BOOT_TR + 15,
		.cs = BOOT_CS,
		.ds = BOOT_DS,
		.tr = BOOT_TR,
	};
}
