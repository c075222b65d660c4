/* SPDX-License-Identifier: MIT */
/*
 * ELF files, true and lying, through firmware_load(), and what PVH guests find in RAM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <libfdt.h>

#include "base/platform.h"
#include "firmware/e820.h"
#include "tests/unit/kernel_image.h"

#define EH(field) offsetof(Elf64_Ehdr, field), sizeof(((Elf64_Ehdr *)0)->field)
#define PH(n, field)                                                                 \
	sizeof(Elf64_Ehdr) + (n) * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, field), \
		sizeof(((Elf64_Phdr *)0)->field)
#define NOTE(at) (ELF_OFF_NOTES + (at)), 4

struct loaded {
	struct mem mem;
	struct firmware_config cfg;
	struct boot_entry entry;
	struct err err;
	int ret;
};

static void setup(struct loaded *t, uint64_t ram)
{
	memset(t, 0, sizeof(*t));
	assert_int_equal(mem_init(&t->mem, ram), 0);
	t->cfg = (struct firmware_config){
		.kernel = { .fd = -1, .path = "vmlinux" },
		.initrd = { .fd = -1, .path = "initrd" },
		.cmdline = "console=ttyS0",
		.nr_cpus = 1,
		.facts = IMAGE_FACTS,
	};
}

static int load(struct loaded *t, const void *image, size_t size)
{
	t->cfg.kernel = image_file("vmlinux", image, size);
	assert_true(t->cfg.kernel.fd >= 0);
	memset(&t->err, 0, sizeof(t->err));
	t->ret = firmware_load(&t->mem, &t->cfg, &t->entry, &t->err);
	close(t->cfg.kernel.fd);
	return t->ret;
}

static void check_refused(const struct loaded *t, int ret, const char *words)
{
	if (t->ret != ret || !strstr(t->err.text, words))
		fail_msg("returned %d, '%s', not %d with '%s'", t->ret, t->err.text, ret, words);
	assert_null(strchr(t->err.text, '\n'));
}

static uint64_t peek(const struct loaded *t, uint64_t gpa, unsigned width)
{
	const void *p = mem_at_const(&t->mem, gpa, width);

	assert_non_null(p);
	return load_le(p, width);
}

static void check_bytes(const struct loaded *t, uint64_t gpa, size_t len, uint8_t value)
{
	const uint8_t *p = mem_at_const(&t->mem, gpa, len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(p[i], value);
}

static void check_segments(const struct loaded *t)
{
	check_bytes(t, ELF_LOAD_A, ELF_FILESZ, 0xaa);
	check_bytes(t, ELF_LOAD_B, ELF_FILESZ, 0xbb);
	check_bytes(t, ELF_LOAD_B + ELF_FILESZ, ELF_MEMSZ_B - ELF_FILESZ, 0);
}

/* xen/include/public/arch-x86/hvm/start_info.h, read as a guest reads it. */
static void check_start_info(const struct loaded *t, uint64_t initrd, uint64_t initrd_size)
{
	struct e820_entry map[E820_MAX_ENTRIES];
	unsigned n = e820_build(&t->mem, map);
	uint64_t si = t->entry.rbx, table;

	assert_int_equal(peek(t, si, 4), 0x336ec578);
	assert_int_equal(peek(t, si + 4, 4), 1); /* version */
	assert_int_equal(peek(t, si + 8, 4), 0); /* flags */
	assert_int_equal(peek(t, si + 12, 4), initrd ? 1 : 0);
	if (initrd) {
		table = peek(t, si + 16, 8);
		assert_int_equal(peek(t, table, 8), initrd);
		assert_int_equal(peek(t, table + 8, 8), initrd_size);
		assert_int_equal(peek(t, table + 16, 8), 0);
		assert_int_equal(peek(t, table + 24, 8), 0);
	} else {
		assert_int_equal(peek(t, si + 16, 8), 0);
	}
	assert_string_equal(mem_at_const(&t->mem, peek(t, si + 24, 8), 64), "console=ttyS0");
	assert_memory_equal(mem_at_const(&t->mem, peek(t, si + 32, 8), 8), "RSD PTR ", 8);
	table = peek(t, si + 40, 8);
	assert_int_equal(peek(t, si + 48, 4), n);
	for (unsigned i = 0; i < n; i++, table += 24) {
		assert_int_equal(peek(t, table, 8), map[i].addr);
		assert_int_equal(peek(t, table + 8, 8), map[i].size);
		assert_int_equal(peek(t, table + 16, 8), map[i].type);
	}
}

static void check_entry(const struct loaded *t)
{
	const void *fdt = mem_at_const(&t->mem, t->entry.rdx, 4096);

	assert_int_equal(t->entry.mode, BOOT_PROT32);
	assert_int_equal(t->entry.rip, ELF_ENTRY);
	assert_int_equal(t->entry.rsp, PLATFORM_BOOT_STACK_TOP);
	assert_int_equal(t->entry.cr3, 0);
	assert_int_equal(peek(t, t->entry.gdt_base + t->entry.cs, 8), 0x00cf9b000000ffff);
	assert_non_null(fdt);
	assert_int_equal(fdt_check_header(fdt), 0);
}

static void test_elf64(void **state)
{
	uint8_t image[ELF_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 4 * MIB);
	memset(mem_at(&t.mem, 0, 4 * MIB), 0xff, 4 * MIB); /* after a reset */
	elf64_image(image);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	check_entry(&t);
	check_segments(&t);
	check_start_info(&t, 0, 0);
	mem_destroy(&t.mem);
}

static void test_elf32(void **state)
{
	uint8_t image[ELF_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 4 * MIB);
	memset(mem_at(&t.mem, 0, 4 * MIB), 0xff, 4 * MIB);
	elf32_image(image);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	check_entry(&t);
	check_segments(&t);
	check_start_info(&t, 0, 0);
	for (size_t size = 1; size < sizeof(image); size++) {
		load(&t, image, size);
		check_refused(&t, -ENOEXEC, "--kernel vmlinux");
	}
	mem_destroy(&t.mem);
}

static void test_initrd(void **state)
{
	uint8_t image[ELF_SIZE], initrd[5000];
	struct loaded t;
	const void *fdt;
	int chosen;

	(void)state;
	memset(initrd, 0x5a, sizeof(initrd));
	elf64_image(image);
	setup(&t, 4 * MIB);
	t.cfg.initrd = image_file("initrd", initrd, sizeof(initrd));
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	check_start_info(&t, 4 * MIB - 2 * PAGE_SIZE_4K, sizeof(initrd));
	check_bytes(&t, 4 * MIB - 2 * PAGE_SIZE_4K, sizeof(initrd), 0x5a);
	fdt = mem_at_const(&t.mem, t.entry.rdx, 4096);
	chosen = fdt_path_offset(fdt, "/chosen");
	assert_int_equal(fdt64_ld(fdt_getprop(fdt, chosen, "linux,initrd-start", NULL)),
			 4 * MIB - 2 * PAGE_SIZE_4K);
	assert_int_equal(fdt64_ld(fdt_getprop(fdt, chosen, "linux,initrd-end", NULL)),
			 4 * MIB - 2 * PAGE_SIZE_4K + sizeof(initrd));
	mem_destroy(&t.mem);
	/* between and below the segments where there is no room above */
	setup(&t, 0x213000);
	t.cfg.initrd = image_file("initrd", initrd, sizeof(initrd));
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	check_start_info(&t, ELF_LOAD_B - 2 * PAGE_SIZE_4K, sizeof(initrd));
	check_segments(&t);
	close(t.cfg.initrd.fd);
	t.cfg.initrd = sparse_file("initrd", MIB);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	check_start_info(&t, MIB, MIB);
	check_segments(&t);
	close(t.cfg.initrd.fd);
	t.cfg.initrd = sparse_file("initrd", MIB + 1);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--initrd initrd: 2 MiB do not fit");
	close(t.cfg.initrd.fd);
	mem_destroy(&t.mem);
}

static void test_cut_off_anywhere(void **state)
{
	uint8_t image[ELF_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 4 * MIB);
	elf64_image(image);
	for (size_t size = 0; size < sizeof(image); size++) {
		const char *words = "--kernel vmlinux";

		if (size >= 4 && size < sizeof(Elf64_Ehdr))
			words = "cut off in its header";
		else if (size >= 4 && size < sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr))
			words = "cut off in its program headers";
		load(&t, image, size);
		check_refused(&t, -ENOEXEC, words);
	}
	mem_destroy(&t.mem);
}

/* One field wrong each. */
static void test_lying_headers(void **state)
{
	static const struct {
		unsigned offset, width;
		uint64_t value;
		int ret;
		const char *words;
	} cases[] = {
		{ EI_MAG0, 1, 0, -ENOEXEC, "neither a bzImage" },
		{ EI_CLASS, 1, ELFCLASSNONE, -ENOEXEC, "neither 32 nor 64" },
		{ EI_CLASS, 1, 3, -ENOEXEC, "neither 32 nor 64" },
		{ EI_DATA, 1, ELFDATA2MSB, -ENOEXEC, "little-endian" },
		{ EI_VERSION, 1, 0, -ENOEXEC, "version 1" },
		{ EH(e_machine), EM_AARCH64, -ENOEXEC, "another processor" },
		{ EH(e_phnum), 0, -ENOEXEC, "without program headers" },
		{ EH(e_phnum), 129, -ENOEXEC, "size or number" },
		{ EH(e_phnum), 0xffff, -ENOEXEC, "size or number" },
		{ EH(e_phnum), 128, -ENOEXEC, "cut off in its program headers" },
		{ EH(e_phentsize), sizeof(Elf32_Phdr), -ENOEXEC, "size or number" },
		{ EH(e_phentsize), 0, -ENOEXEC, "size or number" },
		{ EH(e_phoff), ELF_SIZE - 3 * sizeof(Elf64_Phdr) + 1, -ENOEXEC, "program headers" },
		{ EH(e_phoff), ELF_SIZE + 1, -ENOEXEC, "program headers" },
		{ EH(e_phoff), UINT64_MAX, -ENOEXEC, "program headers" },
		{ EH(e_phoff), UINT64_MAX - 3 * sizeof(Elf64_Phdr) + 1, -ENOEXEC,
		  "program headers" },
		/* a segment of more than the file has */
		{ PH(1, p_filesz), ELF_MEMSZ_B, -ENOEXEC, "cut off in a segment" },
		{ PH(1, p_filesz), ELF_MEMSZ_B + 1, -ENOEXEC, "more bytes in the file" },
		{ PH(1, p_filesz), UINT64_MAX, -ENOEXEC, "more bytes in the file" },
		{ PH(1, p_memsz), ELF_FILESZ - 1, -ENOEXEC, "more bytes in the file" },
		{ PH(1, p_memsz), 0, -ENOEXEC, "more bytes in the file" },
		{ PH(1, p_offset), ELF_SIZE - ELF_FILESZ + 1, -ENOEXEC, "cut off in a segment" },
		{ PH(1, p_offset), UINT64_MAX, -ENOEXEC, "cut off in a segment" },
		{ PH(1, p_offset), UINT64_MAX - ELF_FILESZ + 1, -ENOEXEC, "cut off in a segment" },
		/* a segment that is not RAM, wraps around, is huge */
		{ PH(1, p_paddr), MIB - 1, -ENOEXEC, "below 1 MiB" },
		{ PH(1, p_paddr), 0, -ENOEXEC, "below 1 MiB" },
		{ PH(1, p_paddr), MIB, 0, "" },
		{ PH(1, p_paddr), 4 * MIB - ELF_MEMSZ_B, 0, "" },
		{ PH(1, p_paddr), 4 * MIB - ELF_MEMSZ_B + 1, -E2BIG, "--memory" },
		{ PH(1, p_paddr), 4 * MIB, -E2BIG, "--memory" },
		{ PH(1, p_paddr), 4 * GIB, -E2BIG, "--memory" },
		{ PH(1, p_paddr), UINT64_MAX - ELF_MEMSZ_B + 1, -E2BIG, "--memory" },
		{ PH(1, p_paddr), UINT64_MAX, -E2BIG, "--memory" },
		{ PH(1, p_memsz), 4 * MIB, -E2BIG, "needs 4 MiB at 0x210000" },
		{ PH(1, p_memsz), UINT64_MAX, -E2BIG, "--memory" },
		{ PH(1, p_memsz), UINT64_MAX - ELF_LOAD_B + 1, -E2BIG, "--memory" },
		/* a segment over another one */
		{ PH(1, p_paddr), ELF_LOAD_A, -ENOEXEC, "overlaps" },
		{ PH(1, p_paddr), ELF_LOAD_A + ELF_FILESZ - 1, -ENOEXEC, "overlaps" },
		{ PH(1, p_paddr), ELF_LOAD_A + ELF_FILESZ, 0, "" },
		{ PH(1, p_paddr), ELF_LOAD_A - ELF_MEMSZ_B + 1, -ENOEXEC, "overlaps" },
		{ PH(0, p_memsz), 2 * MIB - 0x10000, -ENOEXEC, "overlaps" },
		/* notes: none, cut off, of another name or type, of a wrong size */
		{ PH(2, p_type), PT_NULL, -ENOEXEC, "without the Xen PVH note" },
		{ PH(2, p_filesz), ELF_NOTES_SIZE + 1, -ENOEXEC, "notes that lie" },
		{ PH(2, p_filesz), UINT64_MAX, -ENOEXEC, "notes that lie" },
		{ PH(2, p_filesz), ELF_NOTES_SIZE - 1, -ENOEXEC, "note that lies" },
		{ PH(2, p_filesz), 20, -ENOEXEC, "without the Xen PVH note" },
		{ PH(2, p_filesz), 0, -ENOEXEC, "without the Xen PVH note" },
		{ PH(2, p_offset), ELF_SIZE + 1, -ENOEXEC, "notes that lie" },
		{ PH(2, p_offset), UINT64_MAX, -ENOEXEC, "notes that lie" },
		{ NOTE(0), 5, -ENOEXEC, "lie" },
		{ NOTE(0), 0xffffffff, -ENOEXEC, "note that lies" },
		{ NOTE(4), 0xffffffff, -ENOEXEC, "note that lies" },
		{ NOTE(4), 29, -ENOEXEC, "note that lies" },
		{ NOTE(4), 28, -ENOEXEC, "without the Xen PVH note" },
		{ NOTE(20), 3, -ENOEXEC, "without the Xen PVH note" },
		{ NOTE(20), 0xffffffff, -ENOEXEC, "note that lies" },
		{ NOTE(24), 4, 0, "" },
		{ NOTE(24), 9, -ENOEXEC, "note that lies" },
		{ NOTE(24), 7, -ENOEXEC, "not an address" },
		{ NOTE(24), 0, -ENOEXEC, "not an address" },
		{ NOTE(28), 17, -ENOEXEC, "without the Xen PVH note" },
		{ NOTE(32), 0x006e6558 + 1, -ENOEXEC, "without the Xen PVH note" },
		/* an entry that is nowhere */
		{ NOTE(36), ELF_LOAD_A - 1, -ENOEXEC, "entry outside" },
		{ NOTE(36), ELF_LOAD_A + ELF_FILESZ, -ENOEXEC, "entry outside" },
		{ NOTE(40), 1, -ENOEXEC, "entry outside" },
	};
	uint8_t image[ELF_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 4 * MIB);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		elf64_image(image);
		store_le(image + cases[i].offset, cases[i].width, cases[i].value);
		load(&t, image, sizeof(image));
		check_refused(&t, cases[i].ret, cases[i].words);
	}
	mem_destroy(&t.mem);
}

/* Notes padded to 8 bytes, as p_align 8 has them. */
static void test_notes_of_8_byte_alignment(void **state)
{
	const uint32_t words[] = { 4, 4, 1,  0, 0,
				   0, /* the descriptor at 16, its padding */
				   4, 4, 18, 0, (uint32_t)ELF_ENTRY };
	uint8_t image[ELF_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 4 * MIB);
	elf64_image(image);
	memcpy(image + ELF_OFF_NOTES, words, sizeof(words));
	memcpy(image + ELF_OFF_NOTES + 36, "Xen", 4);
	store_le(
		image + sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_align),
		8, 8);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(t.entry.rip, ELF_ENTRY);
	mem_destroy(&t.mem);
}

/* As many segments as there is room for, and one more. */
static void test_many_segments(void **state)
{
	uint8_t image[8192] = { 0 };
	uint8_t plain[ELF_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 4 * MIB);
	elf64_image(plain);
	memcpy(image, plain, sizeof(Elf64_Ehdr));
	memcpy(image + 7900, plain + ELF_OFF_NOTES, ELF_NOTES_SIZE);
	for (unsigned n = 64; n <= 65; n++) {
		Elf64_Phdr *ph = (Elf64_Phdr *)(void *)(image + sizeof(Elf64_Ehdr));

		for (unsigned i = 0; i < n; i++)
			ph[i] = (Elf64_Phdr){ .p_type = PT_LOAD,
					      .p_paddr = ELF_LOAD_A + i * 0x100,
					      .p_filesz = 0x80,
					      .p_memsz = 0x100 };
		ph[n] = (Elf64_Phdr){ .p_type = PT_NOTE,
				      .p_offset = 7900,
				      .p_filesz = ELF_NOTES_SIZE };
		store_le(image + offsetof(Elf64_Ehdr, e_phnum), 2, n + 1);
		load(&t, image, sizeof(image));
		if (n == 64)
			assert_int_equal(t.ret, 0);
		else
			check_refused(&t, -ENOEXEC, "more than 64 segments");
	}
	mem_destroy(&t.mem);
}

/* Empty segments are none, wherever they claim to be. RAM above 4 GiB is RAM. */
static void test_odd_segments(void **state)
{
	uint8_t image[ELF_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 5 * GIB);
	elf64_image(image);
	store_le(image + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_paddr), 8,
		 4 * GIB);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	check_bytes(&t, 4 * GIB, ELF_FILESZ, 0xbb);
	/* but no place to be entered: 32-bit code cannot reach it */
	store_le(image + ELF_OFF_NOTES + 36, 8, 4 * GIB + 16);
	load(&t, image, sizeof(image));
	check_refused(&t, -ENOEXEC, "entry outside");
	/* across the hole it is not */
	store_le(image + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_paddr), 8,
		 PLATFORM_LOW_RAM_END - 0x1000);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--memory");
	elf64_image(image);
	store_le(image + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_filesz),
		 8, 0);
	store_le(image + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_memsz), 8,
		 0);
	store_le(image + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_paddr), 8,
		 0);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	mem_destroy(&t.mem);
}

static void test_cmdline_limit(void **state)
{
	char *line = malloc(FIRMWARE_CMDLINE_MAX + 2);
	uint8_t image[ELF_SIZE];
	struct loaded t;

	(void)state;
	assert_non_null(line);
	setup(&t, 4 * MIB);
	elf64_image(image);
	memset(line, 'a', FIRMWARE_CMDLINE_MAX + 1);
	line[FIRMWARE_CMDLINE_MAX + 1] = '\0';
	t.cfg.cmdline = line;
	t.cfg.nr_cpus = PLATFORM_MAX_CPUS;
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--append: 32768 characters, this kernel takes 32767");
	line[FIRMWARE_CMDLINE_MAX] = '\0';
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	free(line);
	mem_destroy(&t.mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf64),
		cmocka_unit_test(test_elf32),
		cmocka_unit_test(test_initrd),
		cmocka_unit_test(test_cut_off_anywhere),
		cmocka_unit_test(test_lying_headers),
		cmocka_unit_test(test_notes_of_8_byte_alignment),
		cmocka_unit_test(test_many_segments),
		cmocka_unit_test(test_odd_segments),
		cmocka_unit_test(test_cmdline_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
