/* SPDX-License-Identifier: MIT */
/*
 * A bzImage by the 64-bit entry of the Linux x86 boot protocol, or by the 32-bit one where
 * the kernel has no other: Linux's Documentation/arch/x86/boot.rst, sections "Details of
 * Header Fields", "32-bit Boot Protocol" and "64-bit Boot Protocol", and zero-page.rst.
 *
 * The setup header is copied once, each field checked once, and nothing of the file is
 * believed past that. The real-mode code is never run, so it is not loaded.
 */
#include <errno.h>
#include <string.h>

#include "base/platform.h"
#include "firmware/e820.h"
#include "firmware/loader.h"

/* boot_params: Linux's arch/x86/include/uapi/asm/bootparam.h */
#define ZP_ACPI_RSDP_ADDR 0x070
#define ZP_E820_ENTRIES 0x1e8
#define ZP_HEADER 0x1f1
#define ZP_HEADER_END 0x290 /* what comes next in boot_params */
#define ZP_E820_TABLE 0x2d0
#define ZP_SIZE 4096

#define SECTOR 512ull

#define LOADED_HIGH 0x01 /* loadflags */
#define CAN_USE_HEAP 0x80
#define XLF_KERNEL_64 0x01 /* xloadflags */
#define ENTRY_64 0x200 /* behind the load address */

#define LOADER_UNKNOWN 0xff /* type_of_loader: "undefined", as the protocol asks of the rest */
#define VGA_NORMAL 0xffff
#define HEAP_END 0xfe00

#define VERSION_MIN 0x206 /* cmdline_size; Linux 2.6.22 */

/* Fields of the setup header that the loader reads or writes, by version of the protocol. */
enum field {
	SETUP_SECTS,
	SYSSIZE,
	VID_MODE,
	BOOT_FLAG,
	VERSION,
	TYPE_OF_LOADER,
	LOADFLAGS,
	CODE32_START,
	RAMDISK_IMAGE,
	RAMDISK_SIZE,
	HEAP_END_PTR,
	CMD_LINE_PTR,
	INITRD_ADDR_MAX,
	KERNEL_ALIGNMENT,
	RELOCATABLE_KERNEL,
	XLOADFLAGS,
	CMDLINE_SIZE,
	PAYLOAD_OFFSET,
	PAYLOAD_LENGTH,
	SETUP_DATA,
	PREF_ADDRESS,
	INIT_SIZE,
	NR_FIELDS,
};

static const struct {
	uint16_t offset;
	uint8_t width;
	uint16_t since;
} fields[NR_FIELDS] = {
	[SETUP_SECTS] = { 0x1f1, 1, 0 },
	[SYSSIZE] = { 0x1f4, 4, 0x204 },
	[VID_MODE] = { 0x1fa, 2, 0 },
	[BOOT_FLAG] = { 0x1fe, 2, 0 },
	[VERSION] = { 0x206, 2, 0x200 },
	[TYPE_OF_LOADER] = { 0x210, 1, 0x200 },
	[LOADFLAGS] = { 0x211, 1, 0x200 },
	[CODE32_START] = { 0x214, 4, 0x200 },
	[RAMDISK_IMAGE] = { 0x218, 4, 0x200 },
	[RAMDISK_SIZE] = { 0x21c, 4, 0x200 },
	[HEAP_END_PTR] = { 0x224, 2, 0x201 },
	[CMD_LINE_PTR] = { 0x228, 4, 0x202 },
	[INITRD_ADDR_MAX] = { 0x22c, 4, 0x203 },
	[KERNEL_ALIGNMENT] = { 0x230, 4, 0x205 },
	[RELOCATABLE_KERNEL] = { 0x234, 1, 0x205 },
	[XLOADFLAGS] = { 0x236, 2, 0x20c },
	[CMDLINE_SIZE] = { 0x238, 4, 0x206 },
	[PAYLOAD_OFFSET] = { 0x248, 4, 0x208 },
	[PAYLOAD_LENGTH] = { 0x24c, 4, 0x208 },
	[SETUP_DATA] = { 0x250, 8, 0x209 },
	[PREF_ADDRESS] = { 0x258, 8, 0x20a },
	[INIT_SIZE] = { 0x260, 4, 0x20a },
};

struct bzimage {
	uint8_t zp[ZP_SIZE]; /* boot_params in the making: the header lies where the file has it */
	unsigned version;
	uint64_t v[NR_FIELDS]; /* as the file has them; 0 where the version has none */
	uint64_t setup_size; /* bytes of the file before the protected-mode kernel */
	uint64_t code_size; /* bytes of the protected-mode kernel */
	uint64_t load; /* where they go */
	uint64_t run; /* where the kernel runs after it has moved itself */
	uint64_t run_size; /* what it needs there */
	bool entry64;
};

static int bad(struct loader *l, const char *field, uint64_t value, const char *why)
{
	return err_set(l->err, -ENOEXEC, "--kernel %s: bzImage with %s 0x%llx: %s",
		       l->cfg->kernel.path, field, (unsigned long long)value, why);
}

static bool has(const struct bzimage *bz, enum field f)
{
	return bz->version >= fields[f].since;
}

static void put(struct bzimage *bz, enum field f, uint64_t value)
{
	if (has(bz, f))
		store_le(bz->zp + fields[f].offset, fields[f].width, value);
}

/* Copies the setup header: from 0x1f1 to where the jump at 0x200 goes. */
static int read_header(struct loader *l, struct bzimage *bz)
{
	const struct firmware_file *file = &l->cfg->kernel;
	uint8_t head[ZP_HEADER_END];
	unsigned end;
	int ret;

	if (file->size < sizeof(head))
		return err_set(l->err, -ENOEXEC, "--kernel %s: a bzImage cut off in its header",
			       file->path);
	ret = loader_read(l, "--kernel", file, head, sizeof(head), 0);
	if (ret)
		return ret;
	bz->version = (unsigned)load_le(head + fields[VERSION].offset, 2);
	if (bz->version < VERSION_MIN)
		return bad(l, "protocol version", bz->version,
			   "0x206 (Linux 2.6.22) is the oldest that boots here");
	if (head[0x200] != 0xeb)
		return bad(l, "jump", head[0x200], "0xeb is what starts the header's length");
	end = 0x202u + head[0x201];
	if (end > ZP_HEADER_END)
		return bad(l, "header end", end, "0x290 is the most that boot_params hold");
	for (unsigned i = 0; i < NR_FIELDS; i++) {
		if (!has(bz, i))
			continue;
		if (fields[i].offset + fields[i].width > end)
			return bad(l, "header end", end, "too short for its protocol version");
		bz->v[i] = load_le(head + fields[i].offset, fields[i].width);
	}
	memcpy(bz->zp + ZP_HEADER, head + ZP_HEADER, end - ZP_HEADER);
	return 0;
}

static int check_sizes(struct loader *l, struct bzimage *bz)
{
	const uint64_t *v = bz->v;
	uint64_t file_size = l->cfg->kernel.size;
	uint64_t rest;

	if (v[BOOT_FLAG] != 0xaa55)
		return bad(l, "boot_flag", v[BOOT_FLAG], "it is always 0xaa55");
	/* 0 means 4, for kernels older than the field */
	bz->setup_size = ((v[SETUP_SECTS] ? v[SETUP_SECTS] : 4) + 1) * SECTOR;
	if (bz->setup_size >= file_size)
		return bad(l, "setup_sects", v[SETUP_SECTS], "the file ends before its kernel");
	rest = file_size - bz->setup_size;
	bz->code_size = v[SYSSIZE] * 16;
	if (!bz->code_size)
		return bad(l, "syssize", v[SYSSIZE], "no kernel in it");
	/* syssize counts paragraphs, the last of which the file need not fill */
	if (bz->code_size >= rest + 16)
		return bad(l, "syssize", v[SYSSIZE], "the file is shorter, cut off perhaps");
	bz->code_size = min_u64(bz->code_size, rest);
	if (v[PAYLOAD_OFFSET] > bz->code_size ||
	    v[PAYLOAD_LENGTH] > bz->code_size - v[PAYLOAD_OFFSET])
		return bad(l, "payload_length", v[PAYLOAD_LENGTH], "more than the kernel has");
	return 0;
}

/*
 * "Details of Header Fields", init_size: a relocatable kernel runs where it was loaded, but
 * not below pref_address; one that is not moves itself to pref_address from 1 MiB. So
 * the lowest legal address is pref_address, and nowhere above is more room in low RAM.
 */
static int place_kernel(struct loader *l, struct bzimage *bz)
{
	const uint64_t *v = bz->v;
	uint64_t base = PLATFORM_BIOS_AREA_END;

	if (!(v[LOADFLAGS] & LOADED_HIGH))
		return bad(l, "loadflags", v[LOADFLAGS], "a zImage; build a bzImage");
	if (v[PREF_ADDRESS] >= PLATFORM_LOW_RAM_END)
		return bad(l, "pref_address", v[PREF_ADDRESS], "not in RAM below 3 GiB");
	if (v[RELOCATABLE_KERNEL]) {
		if (!is_pow2(v[KERNEL_ALIGNMENT]) || v[KERNEL_ALIGNMENT] > GIB)
			return bad(l, "kernel_alignment", v[KERNEL_ALIGNMENT],
				   "no power of two up to 1 GiB");
		base = align_up(max_u64(v[PREF_ADDRESS], base), v[KERNEL_ALIGNMENT]);
		bz->load = base;
		bz->run = base;
	} else {
		if (v[CODE32_START] != base)
			return bad(l, "code32_start", v[CODE32_START],
				   "it is 0x100000 in a bzImage");
		bz->load = base;
		bz->run = v[PREF_ADDRESS] ? v[PREF_ADDRESS] : base;
		if (bz->run < base)
			return bad(l, "pref_address", bz->run, "below 1 MiB");
	}
	bz->run_size = max_u64(v[INIT_SIZE], bz->code_size);
	bz->entry64 = v[XLOADFLAGS] & XLF_KERNEL_64;
	if (bz->entry64 && bz->code_size <= ENTRY_64)
		return bad(l, "xloadflags", v[XLOADFLAGS], "no code at its 64-bit entry");
	return 0;
}

/* Both places in one range: a kernel that moves itself may need what lies between. */
static int load_kernel(struct loader *l, const struct bzimage *bz)
{
	uint64_t end = max_u64(bz->load + bz->code_size, bz->run + bz->run_size);
	uint64_t start = min_u64(bz->load, bz->run);
	int ret = loader_claim(l, "the kernel", start, end - start);

	if (ret)
		return ret;
	return loader_read_to(l, "--kernel", &l->cfg->kernel, bz->load, bz->code_size,
			      bz->setup_size);
}

static void fill_e820(const struct loader *l, struct bzimage *bz)
{
	struct e820_entry map[E820_MAX_ENTRIES];
	unsigned n = e820_build(l->mem, map);

	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = bz->zp + ZP_E820_TABLE + 20 * i;

		store_le(p, 8, map[i].addr);
		store_le(p + 8, 8, map[i].size);
		store_le(p + 16, 4, map[i].type);
	}
	bz->zp[ZP_E820_ENTRIES] = (uint8_t)n;
}

static void fill_header(const struct loader *l, struct bzimage *bz)
{
	put(bz, VID_MODE, VGA_NORMAL);
	put(bz, TYPE_OF_LOADER, LOADER_UNKNOWN);
	put(bz, LOADFLAGS, bz->v[LOADFLAGS] | CAN_USE_HEAP);
	put(bz, HEAP_END_PTR, HEAP_END);
	put(bz, CODE32_START, bz->load);
	put(bz, RAMDISK_IMAGE, l->initrd_gpa);
	put(bz, RAMDISK_SIZE, l->initrd_gpa ? l->cfg->initrd.size : 0);
	put(bz, CMD_LINE_PTR, PLATFORM_CMDLINE_BASE);
	put(bz, SETUP_DATA, PLATFORM_FDT_BASE);
	/* Kernels before 2.14 do not know the field and find the RSDP by its signature. */
	store_le(bz->zp + ZP_ACPI_RSDP_ADDR, 8, l->rsdp_gpa);
}

int bzimage_load(struct loader *l, struct boot_entry *entry)
{
	struct bzimage bz = { 0 };
	enum boot_mode mode;
	int ret = read_header(l, &bz);

	if (!ret)
		ret = check_sizes(l, &bz);
	if (!ret)
		ret = place_kernel(l, &bz);
	if (!ret)
		ret = load_kernel(l, &bz);
	if (ret)
		return ret;
	mode = bz.entry64 ? BOOT_LONG64 : BOOT_PROT32;
	ret = loader_finish(l, mode, bz.v[CMDLINE_SIZE], bz.v[INITRD_ADDR_MAX] + 1);
	if (ret)
		return ret;
	fill_e820(l, &bz);
	fill_header(l, &bz);
	if (mem_write(l->mem, PLATFORM_BOOT_PARAMS, bz.zp, sizeof(bz.zp)))
		return err_set(l->err, -E2BIG, "--memory: too small for boot_params");
	loader_entry_init(entry, mode, bz.load + (bz.entry64 ? ENTRY_64 : 0));
	entry->rsi = PLATFORM_BOOT_PARAMS;
	return 0;
}
