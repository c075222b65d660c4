/* SPDX-License-Identifier: MIT */
/*
 * Symbols from hostile files and hostile guests: whatever they hold, a table comes out that
 * answers soundly, or none.
 *
 * Input: the first byte chooses. 0: the rest is a file. 1: the rest are patches, an offset (2 bytes,
 * little-endian) and a byte, of a good ELF. Otherwise a guest: a kernel of one family
 * with modules, then patches, each a place (1 byte), an offset there (2 bytes) and a byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "symbols/symbols.h"
#include "tests/unit/guest_kernel.h"

#define REQUIRE(cond)                                           \
	do {                                                    \
		if (!(cond)) {                                  \
			fprintf(stderr, "not so: %s\n", #cond); \
			abort();                                \
		}                                               \
	} while (0)

static void check_name(const char *name)
{
	size_t len = strnlen(name, SYMBOL_NAME_MAX);

	REQUIRE(len && len < SYMBOL_NAME_MAX);
	for (size_t i = 0; i < len; i++)
		REQUIRE(name[i] > ' ' && name[i] < 0x7f);
}

static void check_address(const struct symbols *s, uint64_t addr)
{
	struct symbol sym, start;
	uint64_t found;

	if (!symbols_lookup(s, addr, &sym))
		return;
	REQUIRE(sym.start + sym.offset == addr);
	check_name(sym.name);
	if (sym.module)
		check_name(sym.module);
	REQUIRE(symbols_lookup(s, sym.start, &start));
	REQUIRE(start.start == sym.start && start.name == sym.name && !start.offset);
	REQUIRE(!symbols_find(s, sym.name, &found));
}

static void check_table(const struct symbols *s)
{
	static const uint64_t places[] = {
		0, 0x1000, 0x1010, 0xffffffff81000000, 0xffffffffb1400000, MODULE_VIRT, UINT64_MAX,
	};
	size_t modules;

	REQUIRE(symbols_count(s, &modules) >= modules);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		for (unsigned n = 0; n < 16; n++)
			check_address(s, places[i] + n * 0x47);
}

/* --- files ------------------------------------------------------------------------ */

#define ELF_SYMBOLS 8
#define ELF_SIZE 1024

static void good_elf(uint8_t *image)
{
	Elf64_Ehdr eh = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		.e_type = ET_EXEC,
		.e_shoff = 64,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 4,
	};
	Elf64_Shdr sh[4] = {
		{ .sh_type = SHT_NULL },
		{ .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR },
		{ .sh_type = SHT_SYMTAB,
		  .sh_offset = 512,
		  .sh_size = ELF_SYMBOLS * sizeof(Elf64_Sym),
		  .sh_entsize = sizeof(Elf64_Sym),
		  .sh_link = 3 },
		{ .sh_type = SHT_STRTAB, .sh_offset = 896, .sh_size = 64 },
	};

	memset(image, 0, ELF_SIZE);
	memcpy(image, &eh, sizeof(eh));
	memcpy(image + 64, sh, sizeof(sh));
	for (unsigned i = 1; i < ELF_SYMBOLS; i++) {
		Elf64_Sym sym = {
			.st_name = i * 8,
			.st_value = 0x1000 + i * 0x10,
			.st_size = 8,
			.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
			.st_shndx = 1,
		};

		memcpy(image + 512 + i * sizeof(sym), &sym, sizeof(sym));
		memcpy(image + 896 + i * 8, "symbol", 6);
	}
}

static void load(const uint8_t *data, size_t size)
{
	int fd = memfd_create("symbols", MFD_CLOEXEC);
	struct symbols *s = NULL;
	struct err err = { "" };
	char path[64];
	int ret;

	REQUIRE(fd >= 0 && util_write_all(fd, data, size) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = symbols_load(path, &s, &err);
	close(fd);
	if (ret) {
		REQUIRE(!s && !strncmp(err.text, path, strlen(path)));
		REQUIRE(!strchr(err.text, '\n'));
		return;
	}
	check_table(s);
	symbols_free(s);
}

static void load_elf(const uint8_t *data, size_t size)
{
	uint8_t image[ELF_SIZE];

	good_elf(image);
	for (; size >= 3; data += 3, size -= 3)
		image[load_le(data, 2) % ELF_SIZE] = data[2];
	load(image, ELF_SIZE);
}

/* --- guests ----------------------------------------------------------------------- */

#define PHYS (2 * MIB)
#define RAM (6 * MIB)

/* Where patches are worth their while. */
static const struct {
	uint64_t gpa, size;
} places[] = {
	{ PHYS + GUEST_KALLSYMS, 0x8000 },
	{ PHYS + GUEST_KALLSYMS, 64 },
	{ PHYS + GUEST_TABLES, 0x6000 },
	{ PHYS + GUEST_MODULES, 16 },
	{ PHYS + GUEST_BANNER, 16 },
	{ MODULE_PHYS + 2 * MIB - 0x8000, 0x8000 },
	{ MODULE_PHYS + 2 * MIB - 0x2000, 0x1000 },
	{ MODULE_PHYS + 2 * MIB - 0x2000 + MODULE_KALLSYMS % 0x1000, 32 },
};

static void search(const struct mem *mem, const struct gva_space *hint, unsigned nr)
{
	struct symbols *s = NULL;
	int ret = symbols_from_guest(mem, hint, nr, &s);

	REQUIRE(ret ? ret == -ENOENT && !s : s != NULL);
	if (ret)
		return;
	check_table(s);
	if (symbols_find_slide(s, mem, hint, nr) == 0)
		check_table(s);
	symbols_free(s);
}

struct machine {
	struct mem mem;
	struct guest_kernel k;
};

static void build(struct machine *m, unsigned family, bool five_levels, bool types)
{
	m->k = (struct guest_kernel){
		.family = family,
		.phys = PHYS,
		.virt = 0xffffffffb1400000,
		.five_levels = five_levels,
	};
	REQUIRE(mem_init(&m->mem, RAM) == 0);
	guest_build(&m->mem, &m->k);
	guest_add_module(&m->mem, &m->k, 0, "one", 0x1a0, types, 0);
	guest_add_module(&m->mem, &m->k, 1, "two", 0x1a0, types,
			 guest_module(0) + MODULE_STRUCT + 8);
}

/* Swaps the byte that a patch names with the patch's. */
static void patch(struct mem *mem, uint8_t *data)
{
	unsigned i = data[0] % ARRAY_SIZE(places);
	uint8_t *p = mem_at(mem, places[i].gpa + load_le(data + 1, 2) % places[i].size, 1);
	uint8_t old;

	REQUIRE(p);
	old = *p;
	*p = data[3];
	data[3] = old;
}

static void guest(unsigned choice, const uint8_t *data, size_t size)
{
	/* Made once each: that takes more time than all else. */
	static struct machine machines[NR_FAMILIES][2][2];
	bool five_levels = choice & 0x40, types = choice & 0x20;
	struct machine *m = &machines[choice % NR_FAMILIES][five_levels][types];
	size_t nr = size / 4;
	uint8_t *patches = malloc(nr * 4 + 1);

	REQUIRE(patches);
	memcpy(patches, data, nr * 4);
	if (!m->mem.map)
		build(m, choice % NR_FAMILIES, five_levels, types);
	for (size_t i = 0; i < nr; i++)
		patch(&m->mem, patches + i * 4);
	search(&m->mem, &m->k.space, choice & 0x80 ? 0 : 1);
	for (size_t i = nr; i-- > 0;)
		patch(&m->mem, patches + i * 4);
	free(patches);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] == 0)
		load(data + 1, size - 1);
	else if (data[0] == 1)
		load_elf(data + 1, size - 1);
	else
		guest(data[0], data + 1, size - 1);
	return 0;
}
