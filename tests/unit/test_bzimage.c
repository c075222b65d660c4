/* SPDX-License-Identifier: MIT */
/*
 * bzImage files, true and lying, through firmware_load(), and what they find in RAM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>

#include "base/platform.h"
#include "firmware/e820.h"
#include "tests/unit/kernel_image.h"

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
		.kernel = { .fd = -1, .path = "bzImage" },
		.initrd = { .fd = -1, .path = "initrd" },
		.cmdline = "console=ttyS0",
		.nr_cpus = 2,
		.facts = IMAGE_FACTS,
	};
}

static void teardown(struct loaded *t)
{
	if (t->cfg.initrd.fd >= 0)
		close(t->cfg.initrd.fd);
	mem_destroy(&t->mem);
}

static int load(struct loaded *t, const void *image, size_t size)
{
	t->cfg.kernel = image_file("bzImage", image, size);
	assert_true(t->cfg.kernel.fd >= 0);
	memset(&t->err, 0, sizeof(t->err));
	t->ret = firmware_load(&t->mem, &t->cfg, &t->entry, &t->err);
	close(t->cfg.kernel.fd);
	return t->ret;
}

/* Refused with ret and one line that has all of these words. */
static void check_refused(const struct loaded *t, int ret, const char *a, const char *b)
{
	if (t->ret != ret || !strstr(t->err.text, a) || !strstr(t->err.text, b))
		fail_msg("returned %d, '%s', not %d with '%s' and '%s'", t->ret, t->err.text, ret,
			 a, b);
	assert_null(strchr(t->err.text, '\n'));
}

static uint64_t peek(const struct loaded *t, uint64_t gpa, unsigned width)
{
	const void *p = mem_at_const(&t->mem, gpa, width);

	assert_non_null(p);
	return load_le(p, width);
}

static uint64_t zp(const struct loaded *t, unsigned offset, unsigned width)
{
	return peek(t, PLATFORM_BOOT_PARAMS + offset, width);
}

static void check_code(const struct loaded *t, uint64_t gpa)
{
	const uint8_t *code = mem_at_const(&t->mem, gpa, BZ_CODE_SIZE);

	assert_non_null(code);
	for (unsigned i = 0; i < BZ_CODE_SIZE; i++)
		assert_int_equal(code[i], i % 251);
}

static void test_64_bit_entry(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(t.entry.mode, BOOT_LONG64);
	assert_int_equal(t.entry.rip, BZ_PREF + 0x200);
	assert_int_equal(t.entry.rsi, PLATFORM_BOOT_PARAMS);
	assert_int_equal(t.entry.rsp, PLATFORM_BOOT_STACK_TOP);
	assert_int_equal(t.entry.cr3, PLATFORM_BOOT_PAGE_TABLES);
	check_code(&t, BZ_PREF);
	/* the header as it was, but for what the protocol has the loader write */
	assert_int_equal(zp(&t, 0x1fe, 2), 0xaa55);
	assert_int_equal(zp(&t, 0x202, 4), 0x53726448);
	assert_int_equal(zp(&t, 0x210, 1), 0xff); /* type_of_loader */
	assert_int_equal(zp(&t, 0x211, 1), 0x81); /* loadflags: CAN_USE_HEAP */
	assert_int_equal(zp(&t, 0x214, 4), BZ_PREF); /* code32_start */
	assert_int_equal(zp(&t, 0x218, 8), 0); /* no ramdisk */
	assert_int_equal(zp(&t, 0x228, 4), PLATFORM_CMDLINE_BASE);
	assert_int_equal(zp(&t, 0x250, 8), PLATFORM_FDT_BASE); /* setup_data */
	assert_int_equal(zp(&t, 0x260, 4), BZ_INIT_SIZE);
	assert_int_equal(zp(&t, 0x070, 8), PLATFORM_ACPI_BASE); /* acpi_rsdp_addr */
	assert_memory_equal(mem_at_const(&t.mem, PLATFORM_ACPI_BASE, 8), "RSD PTR ", 8);
	assert_string_equal(mem_at_const(&t.mem, PLATFORM_CMDLINE_BASE, 64), "console=ttyS0");
	teardown(&t);
}

static void test_setup_data_is_the_tree(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;
	const void *fdt;
	size_t len;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	assert_null(firmware_fdt_find(&t.mem, &len));
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	fdt = firmware_fdt_find(&t.mem, &len);
	assert_ptr_equal(fdt, mem_at_const(&t.mem, PLATFORM_FDT_BASE + 16, len));
	assert_int_equal(peek(&t, PLATFORM_FDT_BASE, 8), 0); /* next */
	assert_int_equal(peek(&t, PLATFORM_FDT_BASE + 8, 4), 2); /* SETUP_DTB */
	assert_int_equal(peek(&t, PLATFORM_FDT_BASE + 12, 4), len);
	assert_int_equal(fdt_check_full(fdt, len), 0);
	teardown(&t);
}

/* What the CPU makes of the tables: Intel SDM 3A, 4.5. */
static uint64_t translate(const struct loaded *t, uint64_t va)
{
	uint64_t e = peek(t, t->entry.cr3 + 8 * (va >> 39 & 511), 8);

	assert_int_equal(e & 3, 3);
	e = peek(t, (e & ~0xfffull) + 8 * (va >> 30 & 511), 8);
	assert_int_equal(e & 0x83, 3);
	e = peek(t, (e & ~0xfffull) + 8 * (va >> 21 & 511), 8);
	assert_int_equal(e & 0x83, 0x83);
	return (e & ~0x1fffffull) + (va & 0x1fffff);
}

static void test_page_tables_and_gdt(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	for (uint64_t va = 0x1234; va < 4 * GIB; va += 2 * MIB)
		assert_int_equal(translate(&t, va), va);
	assert_int_equal(peek(&t, t.entry.cr3 + 8, 8), 0);
	assert_true(t.entry.gdt_limit >= t.entry.tr + 15);
	assert_int_equal(peek(&t, t.entry.gdt_base + t.entry.cs, 8), 0x00af9b000000ffff);
	assert_int_equal(peek(&t, t.entry.gdt_base + t.entry.ds, 8), 0x00cf93000000ffff);
	assert_int_equal(peek(&t, t.entry.gdt_base + t.entry.tr + 5, 1), 0x8b);
	/* flat 32-bit code for the other entry */
	store_le(image + 0x236, 2, 0);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(peek(&t, t.entry.gdt_base + t.entry.cs, 8), 0x00cf9b000000ffff);
	teardown(&t);
}

static void test_32_bit_entry(void **state)
{
	static const unsigned versions[] = { 0x206, 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20f };
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++) {
		unsigned v = versions[i];
		uint64_t at = v >= 0x20a ? BZ_PREF : 2 * MIB; /* aligned, above 1 MiB */

		bz_image(image);
		store_le(image + 0x206, 2, v);
		store_le(image + 0x236, 2, v == 0x20f ? 0x7e : 0x7f); /* before 2.12: not a field */
		assert_int_equal(load(&t, image, sizeof(image)), 0);
		assert_int_equal(t.entry.mode, BOOT_PROT32);
		assert_int_equal(t.entry.rip, at);
		assert_int_equal(t.entry.rsi, PLATFORM_BOOT_PARAMS);
		assert_int_equal(zp(&t, 0x214, 4), at);
		/* setup_data came with 2.09: before, those bytes are the kernel's */
		assert_int_equal(zp(&t, 0x250, 8), v >= 0x209 ? PLATFORM_FDT_BASE : 0);
		check_code(&t, at);
	}
	teardown(&t);
}

static void test_not_relocatable(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	image[0x234] = 0;
	store_le(image + 0x230, 4, 0); /* alignment: of no meaning then */
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(t.entry.rip, 0x100200);
	check_code(&t, 0x100000);
	/* it moves itself to pref_address, which must fit */
	store_le(image + 0x260, 4, 48 * MIB);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	store_le(image + 0x260, 4, 48 * MIB + 1);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "the kernel needs", "--memory");
	/* with all of its code, whatever init_size says */
	store_le(image + 0x260, 4, 0);
	store_le(image + 0x258, 8, 64 * MIB - BZ_CODE_SIZE);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	store_le(image + 0x258, 8, 64 * MIB - BZ_CODE_SIZE + 1);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "the kernel needs", "--memory");
	store_le(image + 0x214, 4, 0x200000);
	load(&t, image, sizeof(image));
	check_refused(&t, -ENOEXEC, "code32_start 0x200000", "0x100000");
	teardown(&t);
}

static void test_where_it_is_loaded(void **state)
{
	static const struct {
		uint64_t pref, align, want;
	} cases[] = {
		{ 0, 0x1000, 0x100000 },
		{ 0x100000, 0x200000, 0x200000 },
		{ 0x1000000, 0x1000000, 0x1000000 },
		{ 0x1000001, 0x200000, 0x1200000 },
		{ 0x1000, 1, 0x100000 },
	};
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bz_image(image);
		store_le(image + 0x258, 8, cases[i].pref);
		store_le(image + 0x230, 4, cases[i].align);
		assert_int_equal(load(&t, image, sizeof(image)), 0);
		assert_int_equal(t.entry.rip, cases[i].want + 0x200);
		check_code(&t, cases[i].want);
	}
	teardown(&t);
}

/* One field wrong each. */
static void test_lying_headers(void **state)
{
	static const struct {
		unsigned offset, width;
		uint64_t value;
		int ret;
		const char *word, *why;
	} cases[] = {
		{ 0x202, 1, 'h', -ENOEXEC, "neither a bzImage", "HdrS at 0x202" },
		{ 0x1f1, 1, 17, -ENOEXEC, "setup_sects 0x11", "the file ends" },
		{ 0x1f1, 1, 255, -ENOEXEC, "setup_sects 0xff", "the file ends" },
		{ 0x1f4, 4, 0, -ENOEXEC, "syssize 0x0", "no kernel" },
		{ 0x1f4, 4, BZ_CODE_SIZE / 16 + 1, -ENOEXEC, "syssize 0x201", "shorter" },
		{ 0x1f4, 4, 0xffffffff, -ENOEXEC, "syssize 0xffffffff", "shorter" },
		{ 0x1fe, 2, 0x55aa, -ENOEXEC, "boot_flag 0x55aa", "0xaa55" },
		{ 0x200, 1, 0xe9, -ENOEXEC, "jump 0xe9", "0xeb" },
		{ 0x201, 1, 0x61, -ENOEXEC, "header end 0x263", "too short" },
		{ 0x201, 1, 0x00, -ENOEXEC, "header end 0x202", "too short" },
		{ 0x201, 1, 0x8f, -ENOEXEC, "header end 0x291", "0x290" },
		{ 0x201, 1, 0xff, -ENOEXEC, "header end 0x301", "0x290" },
		{ 0x206, 2, 0x205, -ENOEXEC, "protocol version 0x205", "0x206" },
		{ 0x206, 2, 0, -ENOEXEC, "protocol version 0x0", "0x206" },
		{ 0x211, 1, 0, -ENOEXEC, "loadflags 0x0", "zImage" },
		{ 0x22c, 4, 0, 0, "", "" }, /* without an initrd nobody asks */
		{ 0x230, 4, 0, -ENOEXEC, "kernel_alignment 0x0", "power of two" },
		{ 0x230, 4, 3, -ENOEXEC, "kernel_alignment 0x3", "power of two" },
		{ 0x230, 4, 0x80000000, -ENOEXEC, "kernel_alignment 0x80000000", "power of two" },
		{ 0x230, 4, 0x40000000, -E2BIG, "at 0x40000000", "--memory" },
		{ 0x238, 4, 12, -E2BIG, "--append", "13 characters, this kernel takes 12" },
		{ 0x248, 4, BZ_CODE_SIZE + 1, -ENOEXEC, "payload_length", "more than" },
		{ 0x24c, 4, BZ_CODE_SIZE - 0xff, -ENOEXEC, "payload_length", "more than" },
		{ 0x24c, 4, 0xffffffff, -ENOEXEC, "payload_length", "more than" },
		{ 0x258, 8, PLATFORM_LOW_RAM_END, -ENOEXEC, "pref_address", "3 GiB" },
		{ 0x258, 8, UINT64_MAX, -ENOEXEC, "pref_address", "3 GiB" },
		{ 0x258, 8, 64 * MIB, -E2BIG, "the kernel needs 2 MiB at 0x4000000", "--memory" },
		{ 0x260, 4, 48 * MIB, 0, "", "" },
		{ 0x260, 4, 48 * MIB + 1, -E2BIG, "the kernel needs 49 MiB", "RAM of 64 MiB" },
		{ 0x260, 4, 0xffffffff, -E2BIG, "the kernel needs 4096 MiB", "RAM of 64 MiB" },
		{ 0x260, 4, 0, 0, "", "" }, /* its own size is what it needs */
	};
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bz_image(image);
		store_le(image + cases[i].offset, cases[i].width, cases[i].value);
		load(&t, image, sizeof(image));
		check_refused(&t, cases[i].ret, cases[i].word, cases[i].why);
		if (cases[i].ret)
			assert_non_null(strstr(t.err.text, "--"));
	}
	/* no code where a 64-bit kernel would be entered */
	bz_image(image);
	store_le(image + 0x1f4, 4, 0x20);
	store_le(image + 0x248, 4, 0);
	store_le(image + 0x24c, 4, 0);
	load(&t, image, sizeof(image));
	check_refused(&t, -ENOEXEC, "xloadflags", "64-bit entry");
	/* below 1 MiB, where only a kernel that stays put could mean to run */
	bz_image(image);
	image[0x234] = 0;
	store_le(image + 0x258, 8, 0x90000);
	load(&t, image, sizeof(image));
	check_refused(&t, -ENOEXEC, "pref_address 0x90000", "1 MiB");
	teardown(&t);
}

static void test_setup_sects_0_is_4(void **state)
{
	uint8_t image[5 * 512 + BZ_CODE_SIZE] = { 0 };
	uint8_t plain[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(plain);
	memcpy(image, plain, BZ_SETUP_SIZE);
	memcpy(image + 5 * 512, plain + BZ_SETUP_SIZE, BZ_CODE_SIZE);
	image[0x1f1] = 0;
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	check_code(&t, BZ_PREF);
	teardown(&t);
}

static void test_cut_off_anywhere(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	for (size_t size = 0; size <= sizeof(image) - 16; size += size < BZ_SETUP_SIZE ? 1 : 8) {
		load(&t, image, size);
		check_refused(&t, -ENOEXEC, "--kernel bzImage", ":");
	}
	/* the last paragraph need not be full */
	assert_int_equal(load(&t, image, sizeof(image) - 15), 0);
	/* what follows the kernel, a signature for one, is not loaded */
	store_le(image + 0x1f4, 4, BZ_CODE_SIZE / 32);
	store_le(image + 0x24c, 4, 0x100);
	memset(mem_at(&t.mem, BZ_PREF, BZ_CODE_SIZE), 0xee, BZ_CODE_SIZE);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(peek(&t, BZ_PREF + BZ_CODE_SIZE / 2 - 1, 1), (BZ_CODE_SIZE / 2 - 1) % 251);
	assert_int_equal(peek(&t, BZ_PREF + BZ_CODE_SIZE / 2, 1), 0xee);
	teardown(&t);
}

static void test_files_that_fail(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	/* a file that was cut after it was opened */
	t.cfg.kernel = image_file("bzImage", image, sizeof(image) / 2);
	t.cfg.kernel.size = sizeof(image);
	t.ret = firmware_load(&t.mem, &t.cfg, &t.entry, &t.err);
	check_refused(&t, -ENOEXEC, "--kernel bzImage", "shorter");
	close(t.cfg.kernel.fd);
	/* a folder */
	t.cfg.kernel.fd = open("/", O_RDONLY | O_DIRECTORY);
	t.ret = firmware_load(&t.mem, &t.cfg, &t.entry, &t.err);
	check_refused(&t, -EISDIR, "--kernel bzImage", "cannot read");
	close(t.cfg.kernel.fd);
	t.cfg.kernel.fd = -1;
	t.ret = firmware_load(&t.mem, &t.cfg, &t.entry, &t.err);
	check_refused(&t, -EINVAL, "--kernel", "no file");
	load(&t, image, 0);
	check_refused(&t, -ENOEXEC, "--kernel bzImage", "empty");
	teardown(&t);
}

static void test_cmdline(void **state)
{
	char *line = malloc(FIRMWARE_CMDLINE_MAX + 2);
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	assert_non_null(line);
	setup(&t, 64 * MIB);
	bz_image(image);
	memset(line, 'a', FIRMWARE_CMDLINE_MAX + 2);
	t.cfg.cmdline = line;
	line[BZ_CMDLINE_SIZE] = '\0';
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(peek(&t, PLATFORM_CMDLINE_BASE + BZ_CMDLINE_SIZE - 1, 2), 'a');
	line[BZ_CMDLINE_SIZE] = 'a';
	line[BZ_CMDLINE_SIZE + 1] = '\0';
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--append: 2048 characters", "takes 2047");
	/* a kernel that would take any */
	store_le(image + 0x238, 4, 0xffffffff);
	line[BZ_CMDLINE_SIZE + 1] = 'a';
	line[FIRMWARE_CMDLINE_MAX] = '\0';
	t.cfg.nr_cpus = PLATFORM_MAX_CPUS; /* the device tree holds both */
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	line[FIRMWARE_CMDLINE_MAX] = 'a';
	line[FIRMWARE_CMDLINE_MAX + 1] = '\0';
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--append: 32768 characters", "takes 32767");
	t.cfg.cmdline = NULL;
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(peek(&t, PLATFORM_CMDLINE_BASE, 1), 0);
	free(line);
	teardown(&t);
}

static void test_initrd(void **state)
{
	uint8_t image[BZ_SIZE], initrd[5000];
	struct loaded t;
	uint64_t at;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	for (unsigned i = 0; i < sizeof(initrd); i++)
		initrd[i] = (uint8_t)(i % 241 + 1);
	t.cfg.initrd = image_file("initrd", initrd, sizeof(initrd));
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	at = zp(&t, 0x218, 4);
	assert_int_equal(at, 64 * MIB - 2 * PAGE_SIZE_4K);
	assert_int_equal(zp(&t, 0x21c, 4), sizeof(initrd));
	assert_memory_equal(mem_at_const(&t.mem, at, sizeof(initrd)), initrd, sizeof(initrd));
	/* the highest address it may occupy, inclusive */
	store_le(image + 0x22c, 4, 0x37fffff);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(zp(&t, 0x218, 4), 0x3800000 - 2 * PAGE_SIZE_4K);
	/* clear of the kernel, on either side of it */
	store_le(image + 0x22c, 4, BZ_PREF + BZ_INIT_SIZE - 1);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(zp(&t, 0x218, 4), BZ_PREF - 2 * PAGE_SIZE_4K);
	store_le(image + 0x22c, 4, 0x100fff);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--initrd initrd", "do not fit");
	store_le(image + 0x22c, 4, 0);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--initrd initrd", "do not fit");
	teardown(&t);
}

static void test_initrd_sizes(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 64 * MIB);
	bz_image(image);
	t.cfg.initrd = image_file("initrd", NULL, 0);
	load(&t, image, sizeof(image));
	check_refused(&t, -ENOEXEC, "--initrd initrd", "empty");
	close(t.cfg.initrd.fd);
	/* from the kernel's end to the end of RAM, and one byte more */
	t.cfg.initrd = sparse_file("initrd", 46 * MIB);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(zp(&t, 0x218, 4), 18 * MIB);
	close(t.cfg.initrd.fd);
	t.cfg.initrd = sparse_file("initrd", 46 * MIB + 1);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--initrd initrd: 47 MiB do not fit", "--memory");
	close(t.cfg.initrd.fd);
	for (unsigned shift = 32; shift < 63; shift++) {
		t.cfg.initrd = (struct firmware_file){ .fd = 0, .path = "initrd" };
		t.cfg.initrd.size = (1ull << shift) + 4096;
		load(&t, image, sizeof(image));
		check_refused(&t, -E2BIG, "--initrd initrd", "do not fit");
	}
	t.cfg.initrd.size = UINT64_MAX;
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "--initrd initrd", "do not fit");
	/* one that was cut after it was opened */
	t.cfg.initrd = sparse_file("initrd", 100);
	t.cfg.initrd.size = 200;
	load(&t, image, sizeof(image));
	check_refused(&t, -ENOEXEC, "--initrd initrd", "shorter");
	teardown(&t);
}

/* A guest of more than 3 GiB: the initrd stays below initrd_addr_max. */
static void test_initrd_in_a_large_guest(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	setup(&t, 5 * GIB);
	bz_image(image);
	t.cfg.initrd = image_file("initrd", "x", 1);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(zp(&t, 0x218, 4), 0x80000000 - PAGE_SIZE_4K);
	store_le(image + 0x22c, 4, 0xffffffff);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	assert_int_equal(zp(&t, 0x218, 4), PLATFORM_LOW_RAM_END - PAGE_SIZE_4K);
	teardown(&t);
}

/* A reset: whatever the last guest left, the next one finds what the first one found. */
static void test_load_again(void **state)
{
	uint8_t image[BZ_SIZE];
	uint8_t *first = malloc(MIB);
	const uint8_t *low;
	struct loaded t;

	(void)state;
	assert_non_null(first);
	setup(&t, 64 * MIB);
	bz_image(image);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	memcpy(first, mem_at_const(&t.mem, 0, MIB), MIB);
	memset(mem_at(&t.mem, 0, 64 * MIB), 0xff, 64 * MIB);
	assert_int_equal(load(&t, image, sizeof(image)), 0);
	low = mem_at_const(&t.mem, 0, MIB);
	assert_memory_equal(low, first, PAGE_SIZE_4K);
	assert_memory_equal(low + PLATFORM_BOOT_GDT, first + PLATFORM_BOOT_GDT, 48);
	assert_memory_equal(low + 0x2000, first + 0x2000, 0x6000);
	assert_memory_equal(low + PLATFORM_BOOT_PARAMS, first + PLATFORM_BOOT_PARAMS, 4096);
	assert_memory_equal(low + PLATFORM_FDT_BASE, first + PLATFORM_FDT_BASE,
			    16 + fdt_totalsize(first + PLATFORM_FDT_BASE + 16));
	assert_string_equal((const char *)low + PLATFORM_CMDLINE_BASE, "console=ttyS0");
	assert_memory_equal(low + PLATFORM_ACPI_BASE, first + PLATFORM_ACPI_BASE, 0x20000);
	check_code(&t, BZ_PREF);
	free(first);
	teardown(&t);
}

static void test_e820(void **state)
{
	static const uint64_t sizes[] = {
		MIB, 2 * MIB, 64 * MIB, 3 * GIB, 3 * GIB + 4096, 5 * GIB
	};
	struct e820_entry map[E820_MAX_ENTRIES];
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	bz_image(image);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t last = 0, ram = 0;
		unsigned n;

		setup(&t, sizes[i]);
		n = e820_build(&t.mem, map);
		for (unsigned j = 0; j < n; j++) {
			assert_true(map[j].size > 0);
			assert_true(map[j].addr >= last);
			last = map[j].addr + map[j].size;
			if (map[j].type != E820_RAM)
				continue;
			ram += map[j].size;
			assert_non_null(mem_at_const(&t.mem, map[j].addr, map[j].size));
			/* none of it in the window or in the tables */
			assert_true(last <= PLATFORM_PCI_MMIO_BASE ||
				    map[j].addr >= PLATFORM_HIGH_RAM_BASE);
			assert_true(last <= PLATFORM_EBDA_BASE ||
				    map[j].addr >= PLATFORM_BIOS_AREA_END);
		}
		assert_int_equal(ram, sizes[i] - (PLATFORM_BIOS_AREA_END - PLATFORM_EBDA_BASE));
		if (sizes[i] >= 64 * MIB) {
			assert_int_equal(load(&t, image, sizeof(image)), 0);
			assert_int_equal(zp(&t, 0x1e8, 1), n);
			for (unsigned j = 0; j < n; j++) {
				assert_int_equal(zp(&t, 0x2d0 + 20 * j, 8), map[j].addr);
				assert_int_equal(zp(&t, 0x2d8 + 20 * j, 8), map[j].size);
				assert_int_equal(zp(&t, 0x2e0 + 20 * j, 4), map[j].type);
			}
		}
		teardown(&t);
	}
}

static void test_small_ram_and_bad_cpus(void **state)
{
	uint8_t image[BZ_SIZE];
	struct loaded t;

	(void)state;
	bz_image(image);
	setup(&t, MIB);
	load(&t, image, sizeof(image));
	check_refused(&t, -E2BIG, "the kernel needs", "RAM of 1 MiB");
	teardown(&t);
	setup(&t, 64 * MIB);
	t.cfg.nr_cpus = 0;
	load(&t, image, sizeof(image));
	check_refused(&t, -EINVAL, "--cpus 0", "1 to 255");
	t.cfg.nr_cpus = 256;
	load(&t, image, sizeof(image));
	check_refused(&t, -EINVAL, "--cpus 256", "1 to 255");
	teardown(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_64_bit_entry),
		cmocka_unit_test(test_setup_data_is_the_tree),
		cmocka_unit_test(test_page_tables_and_gdt),
		cmocka_unit_test(test_32_bit_entry),
		cmocka_unit_test(test_not_relocatable),
		cmocka_unit_test(test_where_it_is_loaded),
		cmocka_unit_test(test_lying_headers),
		cmocka_unit_test(test_setup_sects_0_is_4),
		cmocka_unit_test(test_cut_off_anywhere),
		cmocka_unit_test(test_files_that_fail),
		cmocka_unit_test(test_cmdline),
		cmocka_unit_test(test_initrd),
		cmocka_unit_test(test_initrd_sizes),
		cmocka_unit_test(test_initrd_in_a_large_guest),
		cmocka_unit_test(test_load_again),
		cmocka_unit_test(test_e820),
		cmocka_unit_test(test_small_ram_and_bad_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
