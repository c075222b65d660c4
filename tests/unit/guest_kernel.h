/* SPDX-License-Identifier: MIT */
/*
 * A guest's RAM as a running Linux leaves it, as far as symbols/ looks at it: an image with its
 * banner and kallsyms of any family, page tables that map it where KASLR may have put it, and
 * modules on their list. For tests and fuzzers of the guest-memory reader.
 *
 * The image, from its start (both in physical memory and, another one, in virtual):
 *	+0		text: _text, startup_64, func_NNNN every 64 bytes from +0x1000
 *	+0x100000	the banner
 *	+0x200000	page tables, the list of modules
 *	+0x240000	kallsyms
 * Modules have 16 KiB each from MODULE_VIRT on, in the first 2 MiB of RAM, page by page from the
 * last one down.
 */
#ifndef TESTS_UNIT_GUEST_KERNEL_H
#define TESTS_UNIT_GUEST_KERNEL_H

#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "base/gva.h"
#include "base/mem.h"

#define GUEST_RAM (16 * MIB)
#define GUEST_FUNCTIONS 1000
#define GUEST_TEXT 0x1000
#define GUEST_ETEXT (GUEST_TEXT + GUEST_FUNCTIONS * 0x40)
#define GUEST_BANNER 0x100040
#define GUEST_KALLSYMS 0x240000 /* not in the first 2 MiB */
#define GUEST_KALLSYMS_MAX 0x40000
#define GUEST_TABLES 0x200000
#define GUEST_MODULES 0x210000
#define GUEST_END 0x300000
#define MODULE_VIRT 0xffffffffc0200000ull
#define MODULE_PHYS 0ull
#define MODULE_SIZE 0x4000
#define MODULE_FUNCTIONS 6
/* In a module's 16 KiB. */
#define MODULE_STRUCT 0x1040
#define MODULE_KALLSYMS 0x1900
#define MODULE_SYMTAB 0x1fc0 /* across a page's end */
#define MODULE_STRTAB 0x2ff8
#define MODULE_TYPETAB 0x3800

enum family {
	LINUX_4_5, /* absolute */
	LINUX_4_6, /* relative, per-CPU absolute, u64 counts */
	LINUX_6_1,
	LINUX_6_2, /* sequence numbers behind the markers */
	LINUX_6_4, /* addresses last */
	LINUX_6_15, /* and per-CPU symbols as all others */
	NR_FAMILIES,
};

struct guest_kernel {
	enum family family;
	uint64_t phys, virt; /* of _text, multiples of 2 MiB */
	bool five_levels;
	bool no_data; /* as without CONFIG_KALLSYMS_ALL */
	/* filled in by guest_build() */
	struct gva_space space;
	uint64_t markers, kallsyms_end; /* gpa */
};

#define GUEST_LONG_NAME                                                                     \
	"long_0123456789_0123456789_0123456789_0123456789_0123456789_0123456789_0123456789" \
	"_0123456789_0123456789_0123456789_0123456789_0123456789_0123456789_0123456789_end"

struct guest_symbol {
	uint64_t addr; /* from virt, or absolute with type A */
	char name[192]; /* the type first */
};

/* Symbol i in order of address; false behind the last. */
static inline bool guest_symbol(const struct guest_kernel *k, unsigned i, struct guest_symbol *out)
{
	static const struct guest_symbol before[] = {
		{ 0, "A__per_cpu_start" }, { 0x1000, "Acpu_debug_store" }, { 0, "T_text" },
		{ 0, "Tstartup_64" },      { 0x200, "tsecondary" },        { 0x200, "Tprimary" },
		{ 0x200, "t.Lodd" },       { 0x240, "t" GUEST_LONG_NAME },
	};
	static const struct guest_symbol behind[] = {
		{ GUEST_ETEXT, "T_etext" },
		{ GUEST_BANNER, "Dlinux_banner" },
		{ GUEST_TABLES, "Dinit_top_pgt" },
		{ GUEST_MODULES, "Dmodules" },
		{ GUEST_END, "B_end" },
	};

	/* newer ones have no absolute symbols */
	if (k->family == LINUX_6_15)
		i += 2;
	if (i < ARRAY_SIZE(before)) {
		*out = before[i];
		return true;
	}
	i -= ARRAY_SIZE(before);
	if (i < GUEST_FUNCTIONS) {
		out->addr = GUEST_TEXT + i * 0x40;
		snprintf(out->name, sizeof(out->name), "%cfunc_%04u", i % 3 ? 't' : 'T', i);
		return true;
	}
	i -= GUEST_FUNCTIONS;
	if (i >= (k->no_data ? 1 : ARRAY_SIZE(behind)))
		return false;
	*out = behind[i];
	return true;
}

/* --- kallsyms -------------------------------------------------------------------- */

/* Code 1 stands for what most names begin with, codes that no name has for something. */
static inline void guest_token(unsigned code, char *buf, size_t size)
{
	bool plain = (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') ||
		     (code >= 'A' && code <= 'Z') || code == '_' || code == '.';

	if (code == 1)
		snprintf(buf, size, "tfunc_");
	else if (plain)
		snprintf(buf, size, "%c", (char)code);
	else
		snprintf(buf, size, "x%u", code);
}

struct guest_writer {
	struct mem *mem;
	uint64_t gpa;
};

static inline void guest_put(struct guest_writer *w, unsigned width, uint64_t v)
{
	uint8_t bytes[8];

	store_le(bytes, 8, v);
	if (mem_write(w->mem, w->gpa, bytes, width) == 0)
		w->gpa += width;
}

static inline void guest_align(struct guest_writer *w)
{
	while (w->gpa % 8)
		guest_put(w, 1, 0);
}

static inline unsigned guest_compress(const char *name, uint8_t *out)
{
	unsigned n = 0;

	while (*name) {
		if (!strncmp(name, "tfunc_", 6)) {
			out[n++] = 1;
			name += 6;
		} else {
			out[n++] = (uint8_t)*name++;
		}
	}
	return n;
}

static inline unsigned guest_count(const struct guest_kernel *k)
{
	struct guest_symbol sym;
	unsigned nr = 0;

	while (guest_symbol(k, nr, &sym))
		nr++;
	return nr;
}

static inline void guest_put_addresses(struct guest_writer *w, const struct guest_kernel *k)
{
	struct guest_symbol sym;

	guest_align(w);
	for (unsigned i = 0; guest_symbol(k, i, &sym); i++) {
		bool absolute = sym.name[0] == 'A';

		if (k->family == LINUX_4_5)
			guest_put(w, 8, absolute ? sym.addr : k->virt + sym.addr);
		else if (k->family == LINUX_6_15 || absolute)
			guest_put(w, 4, sym.addr);
		else
			guest_put(w, 4, (uint32_t)(-1 - (int64_t)sym.addr));
	}
	guest_align(w);
	if (k->family != LINUX_4_5)
		guest_put(w, 8, k->virt);
}

static inline void guest_put_seqs(struct guest_writer *w, const struct guest_kernel *k)
{
	guest_align(w);
	for (unsigned i = guest_count(k); i-- > 0;)
		guest_put(w, 3, i >> 16 | (i & 0xff00) | (i & 0xff) << 16);
}

static inline void guest_put_kallsyms(struct guest_writer *w, struct guest_kernel *k)
{
	unsigned wide = k->family <= LINUX_4_6 ? 8 : 4;
	uint32_t markers[GUEST_FUNCTIONS / 256 + 2] = { 0 };
	uint16_t index[256];
	struct guest_symbol sym;
	uint64_t start;

	if (k->family < LINUX_6_4)
		guest_put_addresses(w, k);
	guest_put(w, wide, guest_count(k));
	guest_align(w);
	start = w->gpa;
	for (unsigned i = 0; guest_symbol(k, i, &sym); i++) {
		uint8_t tokens[sizeof(sym.name)];
		unsigned n = guest_compress(sym.name, tokens);

		if (i % 256 == 0)
			markers[i / 256] = (uint32_t)(w->gpa - start);
		if (n < 128) {
			guest_put(w, 1, n);
		} else {
			guest_put(w, 1, (n & 0x7f) | 0x80);
			guest_put(w, 1, n >> 7);
		}
		for (unsigned t = 0; t < n; t++)
			guest_put(w, 1, tokens[t]);
	}
	guest_align(w);
	k->markers = w->gpa;
	for (unsigned i = 0; i < (guest_count(k) + 255) / 256; i++)
		guest_put(w, wide, markers[i]);
	if (k->family == LINUX_6_2)
		guest_put_seqs(w, k);
	guest_align(w);
	start = w->gpa;
	for (unsigned i = 0; i < 256; i++) {
		char token[16];

		index[i] = (uint16_t)(w->gpa - start);
		guest_token(i, token, sizeof(token));
		for (const char *p = token; *p; p++)
			guest_put(w, 1, (uint8_t)*p);
		guest_put(w, 1, 0);
	}
	guest_align(w);
	for (unsigned i = 0; i < 256; i++)
		guest_put(w, 2, index[i]);
	if (k->family >= LINUX_6_4) {
		guest_put_addresses(w, k);
		guest_put_seqs(w, k);
	}
}

/* --- the image ------------------------------------------------------------------- */

static inline void guest_poke(struct mem *m, uint64_t gpa, uint64_t v)
{
	struct guest_writer w = { m, gpa };

	guest_put(&w, 8, v);
}

static inline uint64_t guest_module_gpa(uint64_t virt)
{
	return MODULE_PHYS + 2 * MIB - PAGE_SIZE_4K - align_down(virt - MODULE_VIRT, PAGE_SIZE_4K) +
	       virt % PAGE_SIZE_4K;
}

/* Tables at the image's GUEST_TABLES: top, below it, the modules' two. */
static inline void guest_put_tables(struct mem *m, struct guest_kernel *k)
{
	uint64_t at = k->phys + GUEST_TABLES, table = at;

	if (k->five_levels) {
		guest_poke(m, table + 511 * 8, (table + 0x1000) | 3);
		table += 0x1000;
	}
	guest_poke(m, table + 511 * 8, (table + 0x1000) | 3);
	table += 0x1000;
	guest_poke(m, table + 510 * 8, (table + 0x1000) | 3);
	guest_poke(m, table + 511 * 8, (table + 0x2000) | 3);
	for (unsigned i = 0; i < 2; i++)
		guest_poke(m, table + 0x1000 + ((k->virt >> 21 & 511) + i) * 8,
			   (k->phys + i * 2 * MIB) | 0x83);
	guest_poke(m, table + 0x2000 + (MODULE_VIRT >> 21 & 511) * 8, (table + 0x3000) | 3);
	for (unsigned i = 0; i < 512; i++)
		guest_poke(m, table + 0x3000 + i * 8,
			   guest_module_gpa(MODULE_VIRT + i * PAGE_SIZE_4K) | 3);
	k->space = (struct gva_space){
		.cr0 = 0x80000001,
		.cr3 = at,
		.cr4 = k->five_levels ? 0x1020 : 0x20,
		.efer = 0x500,
	};
}

/* RAM must be zero, phys from 2 MiB on, and 4 MiB be there. */
static inline void guest_build(struct mem *m, struct guest_kernel *k)
{
	static const char banner[] = "Linux version 6.1.0 (a guest)";
	struct guest_writer w = { m, k->phys + GUEST_KALLSYMS };
	uint64_t head = k->virt + GUEST_MODULES;

	if (mem_write(m, k->phys + GUEST_BANNER, banner, sizeof(banner)))
		return;
	guest_put_kallsyms(&w, k);
	k->kallsyms_end = w.gpa;
	guest_put_tables(m, k);
	guest_poke(m, k->phys + GUEST_MODULES, head);
	guest_poke(m, k->phys + GUEST_MODULES + 8, head);
}

/* --- modules --------------------------------------------------------------------- */

/* virt is in the modules' area. */
static inline void guest_write(struct mem *m, uint64_t virt, const void *buf, size_t len)
{
	for (const uint8_t *p = buf; len; p++, virt++, len--)
		if (mem_write(m, guest_module_gpa(virt), p, 1))
			return;
}

static inline void guest_write64(struct mem *m, uint64_t virt, uint64_t v)
{
	guest_write(m, virt, &v, 8);
}

static inline uint64_t guest_module(unsigned i)
{
	return MODULE_VIRT + i * MODULE_SIZE;
}

/*
 * Puts module i, with functions NAME_0 and so on each 32 bytes from its start, at the head of the
 * list where older is what was there (0: none). field: where in struct module its pointer to
 * mod_kallsyms lies. types: has a table of types.
 */
static inline void guest_add_module(struct mem *m, const struct guest_kernel *k, unsigned i,
				    const char *name, unsigned field, bool types, uint64_t older)
{
	uint64_t virt = guest_module(i), list = virt + MODULE_STRUCT + 8;
	uint64_t head = k->virt + GUEST_MODULES;
	uint64_t strings = virt + MODULE_STRTAB + 1;
	char buf[64];

	guest_write64(m, list, older ? older : head);
	guest_write64(m, list + 8, head);
	guest_poke(m, k->phys + GUEST_MODULES, list);
	if (older)
		guest_write64(m, older + 8, list);
	else
		guest_poke(m, k->phys + GUEST_MODULES + 8, list);
	guest_write(m, list + 16, name, strlen(name) + 1);
	/* pointers that look good for a while: to itself, to text */
	guest_write64(m, virt + MODULE_STRUCT + 96, list);
	guest_write64(m, virt + MODULE_STRUCT + 104, k->virt);
	guest_write64(m, virt + MODULE_STRUCT + field, virt + MODULE_KALLSYMS);
	guest_write64(m, virt + MODULE_KALLSYMS, virt + MODULE_SYMTAB);
	guest_write64(m, virt + MODULE_KALLSYMS + 8, MODULE_FUNCTIONS + 3);
	guest_write64(m, virt + MODULE_KALLSYMS + 16, virt + MODULE_STRTAB);
	guest_write64(m, virt + MODULE_KALLSYMS + 24, types ? virt + MODULE_TYPETAB : 0);
	for (unsigned s = 1; s < MODULE_FUNCTIONS + 3; s++) {
		Elf64_Sym sym = { .st_shndx = 1, .st_size = 0x18 };
		char type = s <= MODULE_FUNCTIONS ? 't' : s == MODULE_FUNCTIONS + 1 ? 'd' : 'a';

		snprintf(buf, sizeof(buf), "%s_%u", name, s - 1);
		sym.st_name = (uint32_t)(strings - virt - MODULE_STRTAB);
		sym.st_info = types ? ELF64_ST_INFO(STB_LOCAL, type == 't' ? STT_FUNC : STT_OBJECT)
				    : (unsigned char)type;
		sym.st_value = type == 'a' ? 0x2c000 : virt + (s - 1) * 0x20;
		if (type == 'd')
			sym.st_value = virt + 0x3f00;
		guest_write(m, virt + MODULE_SYMTAB + s * sizeof(sym), &sym, sizeof(sym));
		guest_write(m, strings, buf, strlen(buf) + 1);
		strings += strlen(buf) + 1;
		guest_write(m, virt + MODULE_TYPETAB + s, &type, 1);
	}
}

#endif
