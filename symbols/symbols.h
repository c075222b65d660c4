/* SPDX-License-Identifier: MIT */
/*
 * The names of a guest kernel's functions: from System.map, from /proc/kallsyms
 * text, from a vmlinux ELF, or from the running guest's own memory.
 *
 * A table is made once and then only read, by any thread. Files and guest memory are
 * hostile: sizes, counts and offsets are checked, nothing is allocated by a number
 * that was not, every walk ends.
 */
#ifndef SYMBOLS_SYMBOLS_H
#define SYMBOLS_SYMBOLS_H

#include "base/err.h"
#include "base/gva.h"
#include "base/mem.h"

#define SYMBOL_NAME_MAX 512 /* longer ones are cut (KSYM_NAME_LEN since Linux 6.1) */

struct symbols;

/* Where an address lies; the strings are the table's. */
struct symbol {
	uint64_t start; /* of the function, slide included */
	uint64_t offset; /* of the address in it */
	const char *name;
	const char *module; /* NULL: the kernel itself */
};

/*
 * Reads a file: an ELF with a symbol table (64 or 32 bits), or text of the form
 * "ffffffff81000000 T name [module]" (System.map, /proc/kallsyms; absolute and
 * undefined symbols left out). On failure err holds one line that names path and
 * what is wrong: cannot be opened, neither of the two, no symbols in it, all addresses
 * zero (kallsyms read without rights). 0 or -errno.
 */
int symbols_load(const char *path, struct symbols **out, struct err *err) __must_check;

/*
 * Finds the kernel's own kallsyms in guest RAM, decodes it, and adds the functions of
 * the modules that are loaded. It may run while the guest does. hints: address spaces in which
 * kernel code was seen running, nr_hints of them, may be none. Linux on x86-64; the
 * layouts that are known stand in kallsyms.h. Addresses are those of the running guest
 * (KASLR included). 0; -ENOENT where there is no such table (yet); -ENOMEM.
 */
int symbols_from_guest(const struct mem *mem, const struct gva_space *hints, unsigned nr_hints,
		       struct symbols **out) __must_check;

/*
 * KASLR: looks for the distance between the table's addresses and the running guest's,
 * by finding the kernel's banner where the table says that linux_banner lies. On success the
 * table is moved there. 0; -ENOENT where it is not to be found (no such symbol, another kernel, not
 * running yet). Before the table is shared between threads.
 */
int symbols_find_slide(struct symbols *s, const struct mem *mem, const struct gva_space *hints,
		       unsigned nr_hints) __must_check;

/* How far symbols_find_slide() moved the table; 0 for a table from the guest itself. */
int64_t symbols_slide(const struct symbols *s);

/* How many functions the table names, and how many of those are modules'. */
size_t symbols_count(const struct symbols *s, size_t *in_modules);

/* The symbol that holds addr; false where none does (outside the kernel and its modules). */
bool symbols_lookup(const struct symbols *s, uint64_t addr, struct symbol *out);

/* The address of a name, slide included: 0 or -ENOENT. */
int symbols_find(const struct symbols *s, const char *name, uint64_t *addr) __must_check;

/* Harmless on NULL. */
void symbols_free(struct symbols *s);

#endif
