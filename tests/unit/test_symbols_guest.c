/* SPDX-License-Identifier: MIT */
/*
 * Symbols out of a guest's RAM: kallsyms of each family, found wherever KASLR has put it;
 * which of two is the running one; modules, true and lying; the slide of a file's symbols.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include <sys/mman.h>

#include "symbols/symbols.h"
#include "tests/unit/guest_kernel.h"

#define PHYS (4 * MIB)
#define VIRT 0xffffffffb1400000ull
#define FIELD 0x1a0

static int setup(void **state)
{
	struct mem *m = calloc(1, sizeof(*m));

	*state = m;
	return !m || mem_init(m, GUEST_RAM) ? -1 : 0;
}

static int teardown(void **state)
{
	mem_destroy(*state);
	free(*state);
	return 0;
}

static struct guest_kernel build(struct mem *m, enum family family)
{
	struct guest_kernel k = { .family = family, .phys = PHYS, .virt = VIRT };

	guest_build(m, &k);
	return k;
}

static void wipe(struct mem *m, uint64_t gpa, uint64_t len)
{
	void *p = mem_at(m, gpa, len);

	assert_non_null(p);
	memset(p, 0, len);
}

static struct symbols *find(const struct mem *m, const struct guest_kernel *hint)
{
	struct symbols *s = NULL;

	assert_int_equal(symbols_from_guest(m, hint ? &hint->space : NULL, hint ? 1 : 0, &s), 0);
	assert_non_null(s);
	assert_int_equal(symbols_slide(s), 0);
	return s;
}

static void nothing(const struct mem *m, const struct guest_kernel *hint)
{
	struct symbols *s = NULL;

	assert_int_equal(symbols_from_guest(m, hint ? &hint->space : NULL, hint ? 1 : 0, &s),
			 -ENOENT);
	assert_null(s);
}

static void named(const struct symbols *s, uint64_t addr, const char *name, const char *module)
{
	struct symbol sym;

	if (!symbols_lookup(s, addr, &sym))
		fail_msg("%#lx has no name", addr);
	assert_string_equal(sym.name, name);
	assert_int_equal(sym.start + sym.offset, addr);
	if (module)
		assert_string_equal(sym.module, module);
	else
		assert_null(sym.module);
}

static void unnamed(const struct symbols *s, uint64_t addr)
{
	struct symbol sym;

	if (symbols_lookup(s, addr, &sym))
		fail_msg("%#lx is %s+%#lx", addr, sym.name, sym.offset);
}

static void check_kernel(const struct symbols *s, const struct guest_kernel *k)
{
	uint64_t addr;
	size_t modules, all = symbols_count(s, &modules);

	assert_int_equal(all - modules, GUEST_FUNCTIONS + 3);
	named(s, k->virt + 0x10, "startup_64", NULL);
	named(s, k->virt + 0x200, "primary", NULL);
	named(s, k->virt + 0x240, GUEST_LONG_NAME, NULL);
	for (unsigned i = 0; i < GUEST_FUNCTIONS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "func_%04u", i);
		named(s, k->virt + GUEST_TEXT + i * 0x40ull, name, NULL);
		named(s, k->virt + GUEST_TEXT + i * 0x40ull + 0x3f, name, NULL);
		assert_int_equal(symbols_find(s, name, &addr), 0);
		assert_int_equal(addr, k->virt + GUEST_TEXT + i * 0x40ull);
	}
	unnamed(s, k->virt - 1);
	unnamed(s, k->virt + GUEST_ETEXT);
	unnamed(s, 0);
	unnamed(s, 0x1000);
	assert_int_equal(symbols_find(s, "_etext", &addr), 0);
	assert_int_equal(addr, k->virt + GUEST_ETEXT);
	assert_int_equal(symbols_find(s, "cpu_debug_store", &addr), -ENOENT);
	if (!k->no_data) {
		assert_int_equal(symbols_find(s, "linux_banner", &addr), 0);
		assert_int_equal(addr, k->virt + GUEST_BANNER);
	}
}

/* --- the kernel ------------------------------------------------------------------- */

static void families(void **state)
{
	struct mem *m = *state;

	for (unsigned i = 0; i < NR_FAMILIES * 4; i++) {
		struct guest_kernel k = {
			.family = i / 4,
			.phys = 2 * MIB * (1 + i % 3),
			.virt = 0xffffffff80000000 + 2 * MIB * (i * 20),
			.five_levels = i & 1,
		};
		struct symbols *s;

		wipe(m, 0, GUEST_RAM);
		guest_build(m, &k);
		assert_true(k.kallsyms_end < k.phys + GUEST_KALLSYMS + GUEST_KALLSYMS_MAX);
		s = find(m, i & 2 ? &k : NULL);
		check_kernel(s, &k);
		symbols_free(s);
	}
}

/* Text symbols only: with no hint that is all there is to go by, with one it can be checked. */
static void without_data(void **state)
{
	struct mem *m = *state;
	struct guest_kernel k = { .phys = PHYS, .virt = VIRT, .no_data = true };
	struct symbols *s;

	k.family = LINUX_6_1;
	guest_build(m, &k);
	s = find(m, NULL);
	check_kernel(s, &k);
	symbols_free(s);
	s = find(m, &k);
	check_kernel(s, &k);
	symbols_free(s);
	/* a space in which it does not run */
	k.space.cr3 = 0x1000;
	nothing(m, &k);
}

/* Nothing maps it: the kernel has not got that far, or it is only a copy. */
static void not_running(void **state)
{
	struct mem *m = *state;
	struct guest_kernel k = build(m, LINUX_6_1);

	wipe(m, k.phys + GUEST_TABLES, PAGE_SIZE_4K);
	nothing(m, NULL);
	nothing(m, &k);
	wipe(m, 0, GUEST_RAM);
	nothing(m, NULL);
	nothing(m, &k);
}

/* Copies before and behind: as it was linked, and as it is but for its place. */
static void stale_copies(void **state)
{
	struct mem *m = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct guest_kernel old = {
			.family = LINUX_6_1,
			.phys = i & 1 ? 2 * MIB : 8 * MIB,
			.virt = i & 2 ? VIRT : VIRT - 16 * MIB,
		};
		struct guest_kernel k;
		struct symbols *s;

		wipe(m, 0, GUEST_RAM);
		guest_build(m, &old);
		wipe(m, old.phys + GUEST_TABLES, 0x10000);
		k = build(m, LINUX_6_1);
		s = find(m, NULL);
		check_kernel(s, &k);
		symbols_free(s);
		s = find(m, &k);
		check_kernel(s, &k);
		symbols_free(s);
	}
}

/* A copy as far behind the image as there is something else in the other memory. */
static void copy_behind(void **state)
{
	struct mem *m = *state;
	struct guest_kernel old = { .family = LINUX_6_1, .phys = PHYS + 4 * MIB, .virt = VIRT };
	struct guest_kernel k;

	guest_build(m, &old);
	wipe(m, old.phys + GUEST_TABLES, 0x10000);
	k = build(m, LINUX_6_1);
	for (unsigned i = 2; i < 4; i++)
		guest_poke(m, PHYS + GUEST_TABLES + 0x2000 + ((VIRT >> 21 & 511) + i) * 8, 0x83);
	wipe(m, PHYS + GUEST_KALLSYMS, GUEST_KALLSYMS_MAX);
	nothing(m, NULL);
	nothing(m, &k);
}

/* What ran before a reset, tables and all: a hint tells which one runs. */
static void earlier_run(void **state)
{
	struct mem *m = *state;
	struct guest_kernel old = { .family = LINUX_6_1, .phys = 2 * MIB, .virt = VIRT - 8 * MIB };
	struct guest_kernel k;
	struct symbols *s;

	guest_build(m, &old);
	k = (struct guest_kernel){ .family = LINUX_6_4, .phys = 6 * MIB, .virt = VIRT };
	guest_build(m, &k);
	s = find(m, &k);
	check_kernel(s, &k);
	symbols_free(s);
	s = find(m, &old);
	check_kernel(s, &old);
	symbols_free(s);
}

/* Every part of the table that is wrong makes it none; nothing is read outside of RAM. */
static void damaged_kallsyms(void **state)
{
	struct mem *m = *state;

	for (unsigned f = 0; f < NR_FAMILIES; f++) {
		struct guest_kernel k;
		uint64_t start = PHYS + GUEST_KALLSYMS, step = 641;
		unsigned tries = 0, refused = 0;
		uint8_t *copy;

		wipe(m, 0, GUEST_RAM);
		k = build(m, f);
		copy = malloc(k.kallsyms_end - start);
		assert_non_null(copy);
		assert_int_equal(mem_read(m, start, copy, k.kallsyms_end - start), 0);
		for (uint64_t at = start; at + 16 < k.kallsyms_end; at += step) {
			struct symbols *s = NULL;
			int ret;

			memset(mem_at(m, at, 16), 0xff, 16);
			ret = symbols_from_guest(m, &k.space, 1, &s);
			assert_true(ret == -ENOENT || (!ret && s));
			tries++;
			refused += ret != 0;
			symbols_free(s);
			assert_int_equal(mem_write(m, start, copy, k.kallsyms_end - start), 0);
		}
		/* the kernel's index of names is of no interest */
		assert_true(tries > 20 && refused > tries * 3 / 4);
		free(copy);
	}
}

/* One bit of what says where each 256th name begins. */
static void wrong_marker(void **state)
{
	struct mem *m = *state;

	for (unsigned f = 0; f < NR_FAMILIES; f++) {
		struct guest_kernel k;
		uint8_t *p;

		wipe(m, 0, GUEST_RAM);
		k = build(m, f);
		p = mem_at(m, k.markers + (f <= LINUX_4_6 ? 16 : 8), 1);
		assert_non_null(p);
		*p ^= 4;
		nothing(m, &k);
		*p ^= 4;
		symbols_free(find(m, &k));
	}
}

/* RAM ends or begins in the middle of it: it is found or not, and nothing outside is read. */
static void cut_off(void **state)
{
	struct mem *m = *state;

	for (unsigned f = 0; f < NR_FAMILIES; f++) {
		struct guest_kernel k;
		uint64_t at;

		wipe(m, 0, GUEST_RAM);
		k = build(m, f);
		for (at = PHYS + GUEST_KALLSYMS; at < k.kallsyms_end; at += 512) {
			struct mem upper = *m, lower = *m;
			struct symbols *s = NULL;

			lower.regions[0].size = at;
			if (symbols_from_guest(&lower, NULL, 0, &s) == 0)
				symbols_free(s);
			upper.regions[0].gpa += at;
			upper.regions[0].size -= at;
			upper.regions[0].hva = (char *)m->regions[0].hva + at;
			assert_int_equal(symbols_from_guest(&upper, NULL, 0, &s), -ENOENT);
		}
	}
}

/* Only so many are looked at in a search, but the image is searched first. */
static void digits_everywhere(void **state)
{
	static const char digits[20] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
	struct mem *m = *state;
	struct guest_kernel k;
	struct symbols *s;

	for (uint64_t at = 0; at + 20 < PHYS; at += 21) {
		assert_int_equal(mem_write(m, at, digits, 20), 0);
		if (at != 21 * 5000)
			continue;
		k = build(m, LINUX_6_1);
		s = find(m, NULL);
		check_kernel(s, &k);
		symbols_free(s);
	}
	nothing(m, NULL);
	s = find(m, &k);
	check_kernel(s, &k);
	symbols_free(s);
}

/* --- modules ---------------------------------------------------------------------- */

static uint64_t list_of(unsigned i)
{
	return guest_module(i) + MODULE_STRUCT + 8;
}

static void check_module(const struct symbols *s, unsigned i, const char *name)
{
	for (unsigned f = 0; f < MODULE_FUNCTIONS; f++) {
		char function[64];
		uint64_t addr = 0;

		snprintf(function, sizeof(function), "%s_%u", name, f);
		named(s, guest_module(i) + f * 0x20, function, name);
		assert_int_equal(symbols_find(s, function, &addr), 0);
		assert_int_equal(addr, guest_module(i) + f * 0x20);
	}
	/* of the last one the size is known */
	unnamed(s, guest_module(i) + MODULE_FUNCTIONS * 0x20 - 8);
}

static void count(const struct symbols *s, size_t want)
{
	size_t modules, all = symbols_count(s, &modules);

	assert_int_equal(modules, want * MODULE_FUNCTIONS);
	assert_int_equal(all - modules, GUEST_FUNCTIONS + 3);
}

static void modules(void **state)
{
	struct mem *m = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct guest_kernel k = {
			.family = LINUX_6_1,
			.phys = PHYS,
			.virt = VIRT,
			.five_levels = i & 1,
		};
		bool types = i & 2;
		struct symbols *s;
		uint64_t addr;

		wipe(m, 0, GUEST_RAM);
		guest_build(m, &k);
		guest_add_module(m, &k, 0, "virtio_ring", FIELD, types, 0);
		guest_add_module(m, &k, 1, "virtio_pci", FIELD, types, list_of(0));
		guest_add_module(m, &k, 2, "virtio_blk", 0x3f8, types, list_of(1));
		s = find(m, i & 1 ? &k : NULL);
		check_kernel(s, &k);
		count(s, 3);
		check_module(s, 0, "virtio_ring");
		check_module(s, 1, "virtio_pci");
		check_module(s, 2, "virtio_blk");
		unnamed(s, guest_module(0) - 1);
		unnamed(s, guest_module(0) + 0x3f00);
		/* data, and what is in a per-CPU area */
		assert_int_equal(symbols_find(s, "virtio_blk_6", &addr), 0);
		assert_int_equal(symbols_find(s, "virtio_blk_7", &addr), -ENOENT);
		symbols_free(s);
	}
}

static struct guest_kernel with_three(struct mem *m)
{
	struct guest_kernel k;

	wipe(m, 0, GUEST_RAM);
	k = build(m, LINUX_6_1);
	guest_add_module(m, &k, 0, "one", FIELD, true, 0);
	guest_add_module(m, &k, 1, "two", FIELD, true, list_of(0));
	guest_add_module(m, &k, 2, "three", FIELD, true, list_of(1));
	return k;
}

/* A list that is wrong from somewhere on still gives what stands before; none is endless. */
static void bad_lists(void **state)
{
	static const struct {
		uint64_t at, value;
		size_t modules;
	} bad[] = {
		{ 2 * MODULE_SIZE, 0, 1 },
		{ 2 * MODULE_SIZE, 0xdead000000000100, 1 },
		{ 2 * MODULE_SIZE, MODULE_VIRT + 2 * MODULE_SIZE + MODULE_STRUCT + 8, 1 },
		{ 1 * MODULE_SIZE, MODULE_VIRT + 2 * MODULE_SIZE + MODULE_STRUCT + 8, 2 },
		{ 0, MODULE_VIRT + 1 * MODULE_SIZE + MODULE_STRUCT + 8, 3 },
		{ 1 * MODULE_SIZE, 0xffffffffff000000, 2 },
		{ 1 * MODULE_SIZE, UINT64_MAX, 2 },
	};
	struct mem *m = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct guest_kernel k = with_three(m);
		struct symbols *s;

		guest_write64(m, MODULE_VIRT + bad[i].at + MODULE_STRUCT + 8, bad[i].value);
		s = find(m, &k);
		check_kernel(s, &k);
		count(s, bad[i].modules);
		symbols_free(s);
	}
	/* no list at all */
	struct guest_kernel k = with_three(m);
	struct symbols *s;

	guest_poke(m, k.phys + GUEST_MODULES, 0);
	s = find(m, &k);
	count(s, 0);
	symbols_free(s);
}

/* A cycle whose links agree in both directions, but which never comes back to the head. */
static void cycle(void **state)
{
	struct mem *m = *state;
	struct guest_kernel k = with_three(m);
	struct symbols *s;

	guest_write64(m, list_of(0), list_of(2));
	guest_write64(m, list_of(2) + 8, list_of(0));
	guest_poke(m, k.phys + GUEST_MODULES + 8, 0);
	s = find(m, &k);
	count(s, 0);
	symbols_free(s);
}

/* A module that lies about itself is left out; the others are not. */
static void bad_modules(void **state)
{
	static const struct {
		uint64_t at; /* in module 1's memory */
		unsigned width;
		uint64_t value;
	} bad[] = {
		{ MODULE_STRUCT + 24, 1, 0 },
		{ MODULE_STRUCT + 24, 1, '\n' },
		{ MODULE_STRUCT + FIELD, 8, 0 },
		{ MODULE_STRUCT + FIELD, 8, MODULE_VIRT + MODULE_SIZE + MODULE_KALLSYMS + 4 },
		{ MODULE_STRUCT + FIELD, 8, 0xfffffffffffffff8 },
		{ MODULE_KALLSYMS, 8, 0 },
		{ MODULE_KALLSYMS, 8, 0xffffffffff000000 },
		{ MODULE_KALLSYMS, 8, MODULE_VIRT + MODULE_SIZE + MODULE_SYMTAB + 24 },
		{ MODULE_KALLSYMS + 8, 4, 0 },
		{ MODULE_KALLSYMS + 8, 4, 1 },
		{ MODULE_KALLSYMS + 8, 4, 65537 },
		{ MODULE_KALLSYMS + 8, 4, UINT32_MAX },
		{ MODULE_KALLSYMS + 16, 8, 0 },
		{ MODULE_KALLSYMS + 16, 8, 0xffffffffff000000 },
		{ MODULE_KALLSYMS + 16, 8, MODULE_VIRT + MODULE_SIZE + MODULE_STRTAB + 1 },
		{ MODULE_SYMTAB + 8, 1, 1 },
		{ MODULE_SYMTAB + 24, 4, UINT32_MAX },
		{ MODULE_SYMTAB + 24, 4, 4 * MIB + 1 },
		{ MODULE_SYMTAB + 24, 4, 3 * MIB },
		{ MODULE_STRTAB + 3, 1, 1 },
	};
	struct mem *m = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct guest_kernel k = with_three(m);
		struct symbols *s;

		guest_write(m, MODULE_VIRT + MODULE_SIZE + bad[i].at, &bad[i].value, bad[i].width);
		s = find(m, &k);
		check_module(s, 0, "one");
		check_module(s, 2, "three");
		count(s, 2);
		symbols_free(s);
	}
}

/* Symbols most of which are nowhere near the kernel. */
static void user_addresses(void **state)
{
	struct mem *m = *state;
	struct guest_kernel k = with_three(m);
	struct symbols *s;

	for (unsigned i = 1; i < 6; i++)
		guest_write64(m, guest_module(1) + MODULE_SYMTAB + i * 24 + 8, 0x1000 * i);
	s = find(m, &k);
	count(s, 2);
	symbols_free(s);
}

/* --- the slide -------------------------------------------------------------------- */

static struct symbols *from_file(uint64_t text, uint64_t banner)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	struct symbols *s = NULL;
	struct err err;
	char buf[256];

	assert_true(fd >= 0);
	snprintf(buf, sizeof(buf), "%lx T _text\n%lx T one\n%lx T two\n%lx %c linux_banner\n", text,
		 text, text + 0x100, banner, banner ? 'D' : 'U');
	assert_int_equal(util_write_all(fd, buf, strlen(buf)), 0);
	snprintf(buf, sizeof(buf), "/proc/self/fd/%d", fd);
	assert_int_equal(symbols_load(buf, &s, &err), 0);
	close(fd);
	return s;
}

static void slide(void **state)
{
	static const uint64_t up[] = { 0, 2 * MIB, 500 * MIB, 1022 * MIB };
	struct mem *m = *state;
	uint64_t link = 0xffffffff80000000;

	for (unsigned i = 0; i < ARRAY_SIZE(up); i++) {
		struct guest_kernel k = { .family = LINUX_6_1, .phys = PHYS };
		struct gva_space hints[2] = { { .cr0 = 0x80000001 } };
		struct symbols *s = from_file(link, link + GUEST_BANNER);
		uint64_t addr;

		k.virt = link + up[i];
		wipe(m, 0, GUEST_RAM);
		guest_build(m, &k);
		hints[1] = k.space;
		assert_int_equal(symbols_find_slide(s, m, hints, 1), -ENOENT);
		assert_int_equal(symbols_slide(s), 0);
		named(s, link + 0x110, "two", NULL);
		assert_int_equal(symbols_find_slide(s, m, hints, 2), 0);
		assert_int_equal(symbols_slide(s), up[i]);
		named(s, k.virt + 0x110, "two", NULL);
		if (up[i])
			unnamed(s, link + 0x110);
		assert_int_equal(symbols_find(s, "two", &addr), 0);
		assert_int_equal(addr, k.virt + 0x100);
		/* again: from where the file says, not from where it is */
		assert_int_equal(symbols_find_slide(s, m, hints, 2), 0);
		assert_int_equal(symbols_slide(s), up[i]);
		/* another kernel */
		wipe(m, k.phys + GUEST_BANNER, 8);
		assert_int_equal(symbols_find_slide(s, m, hints, 2), -ENOENT);
		symbols_free(s);
	}
}

static void no_slide(void **state)
{
	struct mem *m = *state;
	struct guest_kernel k = build(m, LINUX_6_1);
	struct symbols *s = from_file(VIRT, VIRT + GUEST_BANNER + 8);

	assert_int_equal(symbols_find_slide(s, m, NULL, 0), -ENOENT);
	assert_int_equal(symbols_find_slide(s, m, &k.space, 1), -ENOENT);
	symbols_free(s);
	s = from_file(VIRT, 0);
	assert_int_equal(symbols_find_slide(s, m, &k.space, 1), -ENOENT);
	symbols_free(s);
}

/* 32-bit guests: at most 512 MiB up. */
static void slide_32(void **state)
{
	static const char banner[] = "Linux version 6.1.0-686";
	const struct gva_space flat = { .cr0 = 1 };
	struct mem *m = *state;
	struct symbols *s = from_file(0x100000, 0x100400);

	assert_int_equal(mem_write(m, 8 * MIB + 0x100400, banner, sizeof(banner)), 0);
	assert_int_equal(symbols_find_slide(s, m, &flat, 1), 0);
	assert_int_equal(symbols_slide(s), 8 * MIB);
	named(s, 8 * MIB + 0x100101, "two", NULL);
	symbols_free(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(families),          TEST(without_data),
		TEST(not_running),       TEST(stale_copies),
		TEST(copy_behind),       TEST(wrong_marker),
		TEST(user_addresses),    TEST(earlier_run),
		TEST(damaged_kallsyms),  TEST(cut_off),
		TEST(digits_everywhere), TEST(modules),
		TEST(bad_lists),         TEST(cycle),
		TEST(bad_modules),       TEST(slide),
		TEST(no_slide),          TEST(slide_32),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
