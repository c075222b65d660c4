/* SPDX-License-Identifier: MIT */
/*
 * Symbols from files, true and lying: System.map and kallsyms text, ELF of both classes; what
 * the table then answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "symbols/symbols.h"

/* What a file of these bytes gives; NULL with *ret and err where it is refused. */
static struct symbols *load(const void *bytes, size_t len, int *ret, struct err *err)
{
	struct symbols *s = NULL;
	int fd = memfd_create("symbols", MFD_CLOEXEC);
	char path[64];

	assert_true(fd >= 0);
	assert_int_equal(util_write_all(fd, bytes, len), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err->text[0] = '\0';
	*ret = symbols_load(path, &s, err);
	if (*ret) {
		assert_null(s);
		assert_ptr_equal(strstr(err->text, path), err->text);
		assert_null(strchr(err->text, '\n'));
	} else {
		assert_non_null(s);
	}
	close(fd);
	return s;
}

static struct symbols *good(const void *bytes, size_t len)
{
	struct err err;
	int ret;
	struct symbols *s = load(bytes, len, &ret, &err);

	if (ret)
		fail_msg("returned %d, '%s'", ret, err.text);
	return s;
}

static void refused(const void *bytes, size_t len, int want, const char *words)
{
	struct err err;
	int ret;
	struct symbols *s = load(bytes, len, &ret, &err);

	if (ret != want || !strstr(err.text, words))
		fail_msg("returned %d, '%s', not %d with '%s'", ret, err.text, want, words);
	assert_null(s);
}

static struct symbols *text(const char *lines)
{
	return good(lines, strlen(lines));
}

/* name NULL: nothing is there */
static void check(const struct symbols *s, uint64_t addr, const char *name, uint64_t offset,
		  const char *module)
{
	struct symbol sym;

	if (!name) {
		if (symbols_lookup(s, addr, &sym))
			fail_msg("%#lx is %s+%#lx", addr, sym.name, sym.offset);
		return;
	}
	if (!symbols_lookup(s, addr, &sym))
		fail_msg("%#lx has no name", addr);
	assert_string_equal(sym.name, name);
	assert_int_equal(sym.offset, offset);
	assert_int_equal(sym.start, addr - offset);
	if (module)
		assert_string_equal(sym.module, module);
	else
		assert_null(sym.module);
}

static void check_count(const struct symbols *s, size_t all, size_t modules)
{
	size_t n = 12345;

	assert_int_equal(symbols_count(s, &n), all);
	assert_int_equal(n, modules);
}

static void check_find(const struct symbols *s, const char *name, uint64_t want)
{
	uint64_t addr = 0;

	if (symbols_find(s, name, &addr))
		fail_msg("%s is not there", name);
	assert_int_equal(addr, want);
}

/* --- text ------------------------------------------------------------------------- */

static void system_map(void **state)
{
	struct symbols *s = text("0000000000000000 D __per_cpu_start\n"
				 "0000000000001000 A some_size\n"
				 "ffffffff81000000 T _stext\n"
				 "ffffffff81000000 T _text\n"
				 "ffffffff81000000 T startup_64\n"
				 "ffffffff81000100 t secondary\n"
				 "ffffffff81000140 W weak\n"
				 "ffffffff81000200 T _etext\n"
				 "ffffffff82000000 D linux_banner\n"
				 "ffffffff82000100 B _end\n");
	uint64_t addr;

	(void)state;
	check_count(s, 3, 0);
	check(s, 0xffffffff80ffffff, NULL, 0, NULL);
	check(s, 0xffffffff81000000, "startup_64", 0, NULL);
	check(s, 0xffffffff810000ff, "startup_64", 0xff, NULL);
	check(s, 0xffffffff81000100, "secondary", 0, NULL);
	check(s, 0xffffffff810001ff, "weak", 0xbf, NULL);
	check(s, 0xffffffff81000200, NULL, 0, NULL);
	check(s, 0xffffffff82000000, NULL, 0, NULL);
	check(s, 0, NULL, 0, NULL);
	check(s, UINT64_MAX, NULL, 0, NULL);
	check_find(s, "linux_banner", 0xffffffff82000000);
	check_find(s, "_text", 0xffffffff81000000);
	check_find(s, "_etext", 0xffffffff81000200);
	check_find(s, "_end", 0xffffffff82000100);
	check_find(s, "weak", 0xffffffff81000140);
	assert_int_equal(symbols_find(s, "some_size", &addr), -ENOENT);
	assert_int_equal(symbols_find(s, "wea", &addr), -ENOENT);
	assert_int_equal(symbols_find(s, "", &addr), -ENOENT);
	assert_int_equal(symbols_slide(s), 0);
	symbols_free(s);
	symbols_free(NULL);
}

static void kallsyms_text(void **state)
{
	struct symbols *s = text("ffffffffc0000100 t b_one\t[beta]\n"
				 "ffffffffc0000000 t a_one\t[alpha]\n"
				 "ffffffffc0000040 t a_two\t[alpha]\n"
				 "ffffffffc0000300 d a_data\t[alpha]\n"
				 "ffffffffc0002000 t b_last [beta]\n"
				 "ffffffff81000000 t only\n"
				 "ffffffffc0009000 T only\t[beta]\n");

	(void)state;
	check_count(s, 6, 5);
	check(s, 0xffffffffc0000010, "a_one", 0x10, "alpha");
	check(s, 0xffffffffc0000050, "a_two", 0x10, "alpha");
	check(s, 0xffffffffc0000110, "b_one", 0x10, "beta");
	/* where nothing says it a function ends with its page's length, or at what comes next */
	check(s, 0xffffffff81000fff, "only", 0xfff, NULL);
	check(s, 0xffffffff81001000, NULL, 0, NULL);
	check(s, 0xffffffffc00000ff, "a_two", 0xbf, "alpha");
	check(s, 0xffffffffc00002ff, "b_one", 0x1ff, "beta");
	check(s, 0xffffffffc0000300, NULL, 0, NULL);
	check(s, 0xffffffffc0002fff, "b_last", 0xfff, "beta");
	/* one of two with a name is the kernel's */
	check_find(s, "only", 0xffffffff81000000);
	symbols_free(s);
}

static void aliases(void **state)
{
	struct symbols *s = text("ffffffff81000000 t .Lpart\n"
				 "ffffffff81000000 t local\n"
				 "ffffffff81000000 T Global\n"
				 "ffffffff81000000 T __pfx_Global\n"
				 "ffffffff81000040 d data\n"
				 "ffffffff81000040 t code\n"
				 "ffffffff81000080 t .Lalone\n"
				 "ffffffff810000c0 t twice\n"
				 "ffffffff81000100 T twice\n"
				 "ffffffffc0000000 T init_module\t[m]\n"
				 "ffffffffc0000000 t m_init\t[m]\n");

	(void)state;
	check_count(s, 6, 1);
	check(s, 0xffffffff81000001, "Global", 1, NULL);
	check(s, 0xffffffff81000041, "code", 1, NULL);
	check(s, 0xffffffff81000081, ".Lalone", 1, NULL);
	check(s, 0xffffffffc0000001, "m_init", 1, "m");
	check_find(s, "local", 0xffffffff81000000);
	check_find(s, ".Lpart", 0xffffffff81000000);
	check_find(s, "data", 0xffffffff81000040);
	check_find(s, "twice", 0xffffffff81000100);
	symbols_free(s);
}

static void odd_lines(void **state)
{
	char line[8192] = "c1000000 T ";
	struct symbols *s;
	struct symbol sym;

	(void)state;
	/* 32 bits, no line end, CR, an undefined one of nm's, a byte that is no letter */
	s = text("c1000000 T one\r\nc1000010 T tw\x7f\xff\n         U gone\n         w weak\n"
		 "c1000020 T three");
	check_count(s, 3, 0);
	check(s, 0xc1000018, "tw??", 8, NULL);
	check(s, 0xc1000020, "three", 0, NULL);
	symbols_free(s);

	/* names are cut, the rest of a line without end is passed over */
	memset(line + 11, 'n', 6000);
	strcpy(line + 6011, "\nc1000100 T next\n");
	s = text(line);
	assert_true(symbols_lookup(s, 0xc1000000, &sym));
	assert_int_equal(strlen(sym.name), SYMBOL_NAME_MAX - 1);
	check(s, 0xc1000100, "next", 0, NULL);
	symbols_free(s);
}

static void bad_text(void **state)
{
	static const char *const no_line[] = {
		"int main(void)\n",
		"ffffffff81000000\n",
		"ffffffff81000000 T\n",
		"ffffffff81000000 TT name\n",
		"ffffffff81000000 1 name\n",
		"fffffffff81000000 T name\n",
		"ffffffff8100000g T name\n",
		"ffffffff81000000 T name module\n",
		"ffffffff81000000 T name [module\n",
		"ffffffff81000000 T name []\n",
		"ffffffff81000000 T name [a] [b]\n",
		"\n",
		"  \n",
		"-1 T name\n",
	};
	char second[128];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(no_line); i++) {
		refused(no_line[i], strlen(no_line[i]), -ENOEXEC, "neither an ELF nor lines");
		snprintf(second, sizeof(second), "ffffffff81000000 T good\n%s", no_line[i]);
		refused(second, strlen(second), -ENOEXEC, "line 2 is not 'address type name'");
	}
	refused("", 0, -ENODATA, "no functions");
	refused("ffffffff81000000 D data\n", 24, -ENODATA, "no functions");
	refused("0000000000000000 T a\n0000000000000000 t b\n", 42, -EACCES,
		"all addresses are zero");
}

static void bad_files(void **state)
{
	struct symbols *s = NULL;
	struct err err;

	(void)state;
	assert_int_equal(symbols_load("/no/such\nfile", &s, &err), -ENOENT);
	assert_string_equal(err.text, "/no/such?file: No such file or directory");
	assert_int_equal(symbols_load("/proc/self", &s, &err), -EISDIR);
	assert_string_equal(err.text, "/proc/self: Is a directory");
	assert_null(s);
}

/* --- ELF -------------------------------------------------------------------------- */

#define NR_SECTIONS 5 /* none, text, data, symtab, strtab */
#define OFF_SECTIONS 64
#define OFF_SYMBOLS 512
#define OFF_STRINGS 1024
#define IMAGE_SIZE 1152
#define NR_SYMBOLS 12

static const char strings[] =
	"\0global\0local\0object\0assembly\0absolute\0undefined\0section\0weak"
	"\0inner\0label";

static uint32_t string(const char *name)
{
	for (uint32_t i = 0; i < sizeof(strings); i++)
		if (!strcmp(strings + i, name) && (!i || !strings[i - 1]))
			return i;
	fail();
	return 0;
}

struct elf_symbol {
	const char *name;
	uint64_t value, size;
	unsigned char bind, type;
	uint16_t section;
};

static const struct elf_symbol elf_symbols[NR_SYMBOLS] = {
	{ .name = "" },
	{ "section", 0x1000, 0, STB_LOCAL, STT_SECTION, 1 },
	{ "global", 0x1000, 0x20, STB_GLOBAL, STT_FUNC, 1 },
	{ "local", 0x1000, 0x20, STB_LOCAL, STT_FUNC, 1 },
	{ "weak", 0x1020, 0x10, STB_WEAK, STT_FUNC, 1 },
	{ "assembly", 0x1040, 0, STB_GLOBAL, STT_NOTYPE, 1 },
	{ "label", 0x2000, 0, STB_GLOBAL, STT_NOTYPE, 2 },
	{ "object", 0x2010, 8, STB_GLOBAL, STT_OBJECT, 2 },
	{ "absolute", 0x3000, 0, STB_GLOBAL, STT_NOTYPE, SHN_ABS },
	{ "undefined", 0x3000, 0, STB_GLOBAL, STT_FUNC, SHN_UNDEF },
	{ "local", 0x1080, 0x18, STB_LOCAL, STT_FUNC, 1 },
	{ "inner", 0x1088, 0, STB_LOCAL, STT_NOTYPE, 1 },
};

#define ELF_IMAGE(bits)                                                                     \
	static void elf##bits##_image(uint8_t *image)                                       \
	{                                                                                   \
		Elf##bits##_Ehdr eh = {                                                     \
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS##bits, ELFDATA2LSB, 1 }, \
			.e_type = ET_EXEC,                                                  \
			.e_shoff = OFF_SECTIONS,                                            \
			.e_shentsize = sizeof(Elf##bits##_Shdr),                            \
			.e_shnum = NR_SECTIONS,                                             \
		};                                                                          \
		Elf##bits##_Shdr sh[NR_SECTIONS] = {                                        \
			{ .sh_type = SHT_NULL },                                            \
			{ .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR }, \
			{ .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_WRITE },     \
			{ .sh_type = SHT_SYMTAB,                                            \
			  .sh_offset = OFF_SYMBOLS,                                         \
			  .sh_size = NR_SYMBOLS * sizeof(Elf##bits##_Sym),                  \
			  .sh_entsize = sizeof(Elf##bits##_Sym),                            \
			  .sh_link = 4 },                                                   \
			{ .sh_type = SHT_STRTAB,                                            \
			  .sh_offset = OFF_STRINGS,                                         \
			  .sh_size = sizeof(strings) },                                     \
		};                                                                          \
                                                                                            \
		memset(image, 0, IMAGE_SIZE);                                               \
		memcpy(image, &eh, sizeof(eh));                                             \
		memcpy(image + OFF_SECTIONS, sh, sizeof(sh));                               \
		for (unsigned i = 0; i < NR_SYMBOLS; i++) {                                 \
			const struct elf_symbol *e = &elf_symbols[i];                       \
			Elf##bits##_Sym sym = {                                             \
				.st_name = string(e->name),                                 \
				.st_value = (Elf##bits##_Addr)e->value,                     \
				.st_size = (Elf##bits##_Word)e->size,                       \
				.st_info = ELF##bits##_ST_INFO(e->bind, e->type),           \
				.st_shndx = e->section,                                     \
			};                                                                  \
                                                                                            \
			memcpy(image + OFF_SYMBOLS + i * sizeof(sym), &sym, sizeof(sym));   \
		}                                                                           \
		memcpy(image + OFF_STRINGS, strings, sizeof(strings));                      \
	}

ELF_IMAGE(64)
ELF_IMAGE(32)

static void check_elf(const uint8_t *image)
{
	struct symbols *s = good(image, IMAGE_SIZE);
	uint64_t addr;

	check_count(s, 4, 0);
	check(s, 0x1000, "global", 0, NULL);
	check(s, 0x101f, "global", 0x1f, NULL);
	check(s, 0x1030, "weak", 0x10, NULL);
	check(s, 0x1050, "assembly", 0x10, NULL);
	check(s, 0x1097, "local", 0x17, NULL);
	check(s, 0x1098, NULL, 0, NULL);
	check(s, 0x2000, NULL, 0, NULL);
	check_find(s, "object", 0x2010);
	check_find(s, "label", 0x2000);
	check_find(s, "inner", 0x1088);
	assert_int_equal(symbols_find(s, "absolute", &addr), -ENOENT);
	assert_int_equal(symbols_find(s, "undefined", &addr), -ENOENT);
	assert_int_equal(symbols_find(s, "section", &addr), -ENOENT);
	symbols_free(s);
}

static void elf_files(void **state)
{
	uint8_t image[IMAGE_SIZE];

	(void)state;
	elf64_image(image);
	check_elf(image);
	elf32_image(image);
	check_elf(image);
}

struct spoil {
	size_t offset;
	size_t width;
	uint64_t value;
	int ret;
	const char *words;
};

#define EH(bits, field) offsetof(Elf##bits##_Ehdr, field), sizeof(((Elf##bits##_Ehdr *)0)->field)
#define SH(bits, n, field)                                                                 \
	OFF_SECTIONS + (n) * sizeof(Elf##bits##_Shdr) + offsetof(Elf##bits##_Shdr, field), \
		sizeof(((Elf##bits##_Shdr *)0)->field)
#define SYM(bits, n, field)                                                             \
	OFF_SYMBOLS + (n) * sizeof(Elf##bits##_Sym) + offsetof(Elf##bits##_Sym, field), \
		sizeof(((Elf##bits##_Sym *)0)->field)
#define SPOILS(bits)                                                                            \
	{                                                                                       \
		{ 1, 1, 'e', -ENOEXEC, "neither an ELF nor lines" },                            \
			{ EI_CLASS, 1, 0, -ENOEXEC, "neither 64 nor 32" },                      \
			{ EI_CLASS, 1, 3, -ENOEXEC, "neither 64 nor 32" },                      \
			{ EI_DATA, 1, ELFDATA2MSB, -ENOEXEC, "little-endian" },                 \
			{ EH(bits, e_type), ET_REL, -ENOEXEC, "linked" },                       \
			{ EH(bits, e_type), ET_CORE, -ENOEXEC, "linked" },                      \
			{ EH(bits, e_shentsize), 0, -ENOEXEC, "another size" },                 \
			{ EH(bits, e_shentsize), 65, -ENOEXEC, "another size" },                \
			{ EH(bits, e_shnum), 0, -ENODATA, "no symbol table" },                  \
			{ EH(bits, e_shnum), 3, -ENODATA, "no symbol table" },                  \
			{ EH(bits, e_shnum), 4, -ENOEXEC, "without names" },                    \
			{ EH(bits, e_shnum), 0xffff, -ENOEXEC, "outside" },                     \
			{ EH(bits, e_shoff), IMAGE_SIZE, -ENOEXEC, "outside" },                 \
			{ EH(bits, e_shoff), (Elf##bits##_Off) - 8, -ENOEXEC, "outside" },      \
			{ SH(bits, 3, sh_type), SHT_DYNSYM, -ENODATA, "no symbol table" },      \
			{ SH(bits, 3, sh_entsize), 0, -ENOEXEC, "another size" },               \
			{ SH(bits, 3, sh_entsize), 15, -ENOEXEC, "another size" },              \
			{ SH(bits, 3, sh_link), 5, -ENOEXEC, "without names" },                 \
			{ SH(bits, 3, sh_link), UINT32_MAX, -ENOEXEC, "without names" },        \
			{ SH(bits, 3, sh_link), 1, -ENOEXEC, "without names" },                 \
			{ SH(bits, 3, sh_offset), IMAGE_SIZE - 8, -ENOEXEC, "outside" },        \
			{ SH(bits, 3, sh_offset), (Elf##bits##_Off) - 1, -ENOEXEC, "outside" }, \
			{ SH(bits, 3, sh_size), IMAGE_SIZE, -ENOEXEC, "outside" },              \
			{ SH(bits, 3, sh_size), (Elf##bits##_Off) - 1, -ENOEXEC, "outside" },   \
			{ SH(bits, 3, sh_size), 0, -ENODATA, "no functions" },                  \
			{ SH(bits, 4, sh_size), 3, -ENOEXEC, "a name lies outside" },           \
			{ SH(bits, 4, sh_size), (Elf##bits##_Off) - 1, -ENOEXEC, "outside" },   \
			{ SH(bits, 4, sh_offset), IMAGE_SIZE - 3, -ENOEXEC, "outside" },        \
			{ SYM(bits, 2, st_name), sizeof(strings), -ENOEXEC,                     \
			  "a name lies outside" },                                              \
			{ SYM(bits, 2, st_name), UINT32_MAX, -ENOEXEC, "a name lies outside" }, \
	}

static void spoil_all(const uint8_t *image, const struct spoil *list, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		uint8_t copy[IMAGE_SIZE];

		memcpy(copy, image, IMAGE_SIZE);
		store_le(copy + list[i].offset, (unsigned)list[i].width, list[i].value);
		refused(copy, IMAGE_SIZE, list[i].ret, list[i].words);
	}
	for (size_t len = 1; len < OFF_STRINGS + sizeof(strings); len++)
		refused(image, len, -ENOEXEC, "ELF");
}

static void bad_elf(void **state)
{
	static const struct spoil spoil64[] = SPOILS(64), spoil32[] = SPOILS(32);
	uint8_t image[IMAGE_SIZE];

	(void)state;
	elf64_image(image);
	spoil_all(image, spoil64, ARRAY_SIZE(spoil64));
	elf32_image(image);
	spoil_all(image, spoil32, ARRAY_SIZE(spoil32));
}

/* A last name without an end, a section number past the table. */
static void elf_edges(void **state)
{
	uint8_t image[IMAGE_SIZE];
	struct symbols *s;

	(void)state;
	elf64_image(image);
	memset(image + OFF_STRINGS + string("label"), 'x', 6);
	store_le(image + OFF_SYMBOLS + 2 * sizeof(Elf64_Sym) + offsetof(Elf64_Sym, st_shndx), 2,
		 NR_SECTIONS);
	s = good(image, IMAGE_SIZE);
	check_find(s, "xxxxxx", 0x2000);
	check(s, 0x1000, "local", 0, NULL);
	symbols_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(system_map), cmocka_unit_test(kallsyms_text),
		cmocka_unit_test(aliases),    cmocka_unit_test(odd_lines),
		cmocka_unit_test(bad_text),   cmocka_unit_test(bad_files),
		cmocka_unit_test(elf_files),  cmocka_unit_test(bad_elf),
		cmocka_unit_test(elf_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
