/* SPDX-License-Identifier: MIT */
/*
 * The table behind symbols.h, while it is made: any reader of names adds them with
 * table_add() in any order and ends with table_finish(). Not before that may it be
 * looked up by address; symbols_find() works at any time. One thread.
 *
 * A name is a function where its type letter, as nm(1) and kallsyms print it, is T, t, W, w
 * or i; absolute, undefined and debugging symbols are left out; the rest is data, which can
 * be found by name and ends the function before it.
 */
#ifndef SYMBOLS_TABLE_H
#define SYMBOLS_TABLE_H

#include "symbols/symbols.h"

#define TABLE_MAX_SYMBOLS (1u << 22)
#define TABLE_MAX_STRINGS (1u << 28)

struct entry {
	uint64_t start;
	uint32_t name; /* both in symbols.strings */
	uint32_t module; /* 0, an empty string: the kernel itself */
	uint32_t size; /* of functions from table_finish() on; before: as given */
	uint8_t rank; /* among names at one address and of one name, the lowest is taken */
	bool text;
	bool label; /* as in struct found_symbol */
	bool inner; /* a label inside of a function: bounds nothing */
};

struct symbols {
	/* From table_finish() on the first nr_functions are functions, one an address, sorted. */
	struct entry *entries;
	size_t nr, room;
	size_t nr_functions, nr_in_modules;
	char *strings;
	size_t strings_len, strings_room;
	uint32_t last_module; /* the one that the latest entry is of */
	int64_t slide;
};

/* A symbol as it is found; the strings are copied. */
struct found_symbol {
	uint64_t start;
	uint64_t size; /* 0: unknown */
	char type; /* a letter */
	bool label; /* a place in code, of which nothing says that a function begins there */
	const char *name;
	size_t name_len;
	const char *module; /* NULL: the kernel */
};

/* NULL where there is no memory. */
struct symbols *table_create(void);

/*
 * 0 (also for one that is left out), -ENOMEM, or -E2BIG past the limits above. Bytes of a name
 * that could not be printed become '?'.
 */
int table_add(struct symbols *s, const struct found_symbol *sym) __must_check;

void table_finish(struct symbols *s);

#endif
