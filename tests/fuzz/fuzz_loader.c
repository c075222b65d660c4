/* SPDX-License-Identifier: MIT */
/*
 * The kernel loaders: a hostile file must be loaded inside of RAM or refused in one line.
 *
 * Input: two bytes choose the kernel (the rest as it is, or a good bzImage, ELF64 or ELF32
 * with patches), RAM, the initrd and the CPUs. A patch is an offset (2 bytes, little-endian) and
 * a byte. Every kernel that loads is loaded once more into RAM full of ones, as after a
 * reset, and must find the same.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/platform.h"
#include "tests/unit/kernel_image.h"

enum kernel {
	RAW,
	BZIMAGE,
	ELF_64,
	ELF_32,
};

#define TEMPLATE_MAX (BZ_SIZE > ELF_SIZE ? BZ_SIZE : ELF_SIZE)

#define REQUIRE(cond)                                           \
	do {                                                    \
		if (!(cond)) {                                  \
			fprintf(stderr, "not so: %s\n", #cond); \
			abort();                                \
		}                                               \
	} while (0)

/* The file that the input stands for. */
static struct firmware_file make_kernel(enum kernel kind, const uint8_t *data, size_t size)
{
	uint8_t image[TEMPLATE_MAX];
	size_t len;

	switch (kind) {
	case BZIMAGE:
		bz_image(image);
		len = BZ_SIZE;
		break;
	case ELF_64:
		elf64_image(image);
		len = ELF_SIZE;
		break;
	case ELF_32:
		elf32_image(image);
		len = ELF_SIZE;
		break;
	default:
		return image_file("kernel", data, size);
	}
	for (; size >= 3; data += 3, size -= 3)
		image[load_le(data, 2) % len] = data[2];
	return image_file("kernel", image, len);
}

static void check_message(const struct err *err)
{
	size_t len = strnlen(err->text, sizeof(err->text));

	REQUIRE(len > 0 && len < sizeof(err->text));
	REQUIRE(!strchr(err->text, '\n'));
}

/* What a vCPU needs before it makes its first step. */
static void check_entry(const struct mem *mem, const struct boot_entry *e)
{
	REQUIRE(e->rip >= PLATFORM_BIOS_AREA_END);
	REQUIRE(mem_at_const(mem, e->rip, 1));
	REQUIRE(mem_at_const(mem, e->gdt_base, e->gdt_limit + 1u));
	if (e->mode == BOOT_LONG64)
		REQUIRE(mem_at_const(mem, e->cr3, 6 * PAGE_SIZE_4K));
	else
		REQUIRE(e->mode == BOOT_PROT32 && e->rip <= UINT32_MAX);
	REQUIRE(mem_at_const(mem, e->rbx ? e->rbx : e->rsi, PAGE_SIZE_4K));
}

/* Where the guest is told that its initrd lies. */
static uint64_t find_initrd(const struct mem *mem, const struct boot_entry *e, uint64_t size)
{
	const char *info = mem_at_const(mem, e->rbx ? e->rbx : e->rsi, PAGE_SIZE_4K);

	if (!e->rbx) {
		REQUIRE(load_le(info + 0x21c, 4) == size);
		return load_le(info + 0x218, 4);
	}
	info = mem_at_const(mem, load_le(info + 16, 8), 32);
	REQUIRE(info && load_le(info + 8, 8) == size);
	return load_le(info, 8);
}

/*
 * The initrd lies in RAM, and a load without one leaves that place alone: nothing of the
 * kernel is there, .bss and what it needs to unpack itself included.
 */
static void check_initrd(struct mem *mem, const struct firmware_config *cfg,
			 const struct boot_entry *e)
{
	struct firmware_config without = *cfg;
	uint64_t size = cfg->initrd.size;
	uint64_t gpa = find_initrd(mem, e, size);
	uint8_t *p = mem_at(mem, gpa, size);
	struct boot_entry ignored;
	struct err err;

	REQUIRE(gpa >= PLATFORM_BIOS_AREA_END && gpa % PAGE_SIZE_4K == 0);
	REQUIRE(p);
	for (uint64_t i = 0; i < size; i++)
		REQUIRE(!p[i]);
	if (e->rsi) {
		const char *header = mem_at_const(mem, e->rsi, PAGE_SIZE_4K);
		uint64_t load = load_le(header + 0x214, 4);
		uint64_t need =
			load_le(header + 0x206, 2) >= 0x20a ? load_le(header + 0x260, 4) : 0;

		REQUIRE(!need || !ranges_overlap(gpa, size, load, need));
	}
	memset(p, 0xa5, size);
	without.initrd.fd = -1;
	REQUIRE(firmware_load(mem, &without, &ignored, &err) == 0);
	for (uint64_t i = 0; i < size; i++)
		REQUIRE(p[i] == 0xa5);
}

static void load_twice(struct mem *mem, const struct firmware_config *cfg)
{
	struct boot_entry first = { 0 }, second = { 0 };
	struct err err = { "" };
	size_t len;
	int ret = firmware_load(mem, cfg, &first, &err);

	if (ret) {
		REQUIRE(ret == -ENOEXEC || ret == -E2BIG || ret == -EINVAL);
		check_message(&err);
		return;
	}
	check_entry(mem, &first);
	REQUIRE(firmware_fdt_find(mem, &len));

	uint8_t *low = malloc(MIB);

	REQUIRE(low);
	REQUIRE(mem_read(mem, 0, low, MIB) == 0);
	memset(mem_at(mem, 0, MIB), 0xff, MIB);
	REQUIRE(firmware_load(mem, cfg, &second, &err) == 0);
	REQUIRE(first.mode == second.mode && first.rip == second.rip);
	REQUIRE(first.rbx == second.rbx && first.rdx == second.rdx && first.rsi == second.rsi);

	const uint8_t *again = mem_at_const(mem, 0, MIB);
	uint64_t info = first.rbx ? first.rbx : first.rsi;

	REQUIRE(!memcmp(again + info, low + info, first.rbx ? 56 : 4096));
	REQUIRE(!memcmp(again + PLATFORM_FDT_BASE, low + PLATFORM_FDT_BASE, 16 + len));
	REQUIRE(!memcmp(again + PLATFORM_ACPI_BASE, low + PLATFORM_ACPI_BASE,
			PLATFORM_ACPI_END - PLATFORM_ACPI_BASE));
	REQUIRE(!memcmp(again + PLATFORM_BOOT_GDT, low + PLATFORM_BOOT_GDT, 48));
	free(low);
	if (cfg->initrd.fd >= 0)
		check_initrd(mem, cfg, &first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* as much as the good kernels need to a byte, and more */
	static const uint64_t ram[] = {
		ELF_LOAD_B + ELF_MEMSZ_B,
		4 * MIB,
		BZ_PREF + BZ_INIT_SIZE,
		64 * MIB,
	};
	struct firmware_config cfg = {
		.initrd = { .fd = -1, .path = "initrd" },
		.cmdline = "console=ttyS0",
		.facts = IMAGE_FACTS,
	};
	struct mem mem;

	if (size < 2)
		return 0;
	cfg.kernel = make_kernel(data[0] & 3, data + 2, size - 2);
	cfg.nr_cpus = (data[1] & 0x80) ? data[1] : 1 + (data[1] & 1);
	if (data[0] & 0x10)
		cfg.initrd = sparse_file("initrd", (data[0] >> 5) * 1000u);
	REQUIRE(cfg.kernel.fd >= 0);
	REQUIRE(mem_init(&mem, ram[data[0] >> 2 & 3]) == 0);
	load_twice(&mem, &cfg);
	mem_destroy(&mem);
	close(cfg.kernel.fd);
	if (cfg.initrd.fd >= 0)
		close(cfg.initrd.fd);
	return 0;
}
