/* SPDX-License-Identifier: MIT */
#include "symbols/kallsyms.h"

#include <errno.h>
#include <string.h>

#define NR_TOKENS 256
#define MARKER_STEP 256
#define MIN_SYMBOLS 512
#define MAX_SYMBOLS (1u << 21)
#define KERNEL_BASE 0xffff800000000000ull /* an image is above, with 57 bits too */

/* Steps from name to name in one decode: a good table takes two or three a symbol. */
#define MAX_STEPS (16u << 20)

static const char digit_tokens[KALLSYMS_DIGITS] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";

/* --- the token table -------------------------------------------------------------- */

/*
 * Four consecutive digits with zeroes between them, from a digit on or from a zero on: of the 20
 * bytes that the digits take, one aligned word at least looks like that.
 */
static bool like_digits(uint64_t w)
{
	return (w & 0xfff0fff0fff0fff0) == 0x0030003000300030 ||
	       (w & 0xf0fff0fff0fff0ff) == 0x3000300030003000;
}

const uint8_t *kallsyms_scan(const uint8_t *p, size_t len)
{
	for (size_t at = 0; at + 8 <= len; at += 8) {
		size_t from = at < 12 ? 0 : at - 12;
		const uint8_t *found;

		if (!like_digits(load_le(p + at, 8)))
			continue;
		found = memmem(p + from, min_u64(len - from, 32), digit_tokens,
			       sizeof(digit_tokens));
		if (found)
			return found;
	}
	return NULL;
}

/* Moves *at behind nr strings. */
static bool skip_strings(const uint8_t *bytes, size_t len, unsigned nr, size_t *at)
{
	for (unsigned i = 0; i < nr; i++) {
		const uint8_t *end = *at < len ? memchr(bytes + *at, 0, len - *at) : NULL;

		if (!end)
			return false;
		*at = (size_t)(end - bytes) + 1;
	}
	return true;
}

/* The index must agree with the table in all of its entries: nothing else looks like that. */
static bool find_tokens(const uint8_t *bytes, size_t len, size_t digits, size_t *table,
			size_t *index)
{
	size_t at = digits, before;

	if (!skip_strings(bytes, len, NR_TOKENS - '0', &at))
		return false;
	*index = align_up(at, 8);
	if (*index > len || len - *index < NR_TOKENS * 2)
		return false;
	before = load_le(bytes + *index + '0' * 2, 2);
	if (before > digits || (digits - before) % 8)
		return false;
	at = *table = digits - before;
	for (unsigned i = 0; i < NR_TOKENS; i++)
		if (load_le(bytes + *index + i * 2, 2) != at - *table ||
		    !skip_strings(bytes, len, 1, &at))
			return false;
	return align_up(at, 8) == *index;
}

bool kallsyms_check(const uint8_t *bytes, size_t len, size_t digits)
{
	size_t table, index;

	return find_tokens(bytes, len, digits, &table, &index);
}

/* --- the layout ------------------------------------------------------------------- */

enum addressing {
	ABSOLUTE, /* u64 addresses */
	RELATIVE, /* u32 from the base */
	RELATIVE_PERCPU, /* negative ones from the base, others absolute */
};

struct layout {
	const uint8_t *bytes;
	size_t len;
	size_t table, index; /* tokens */
	size_t names;
	uint32_t nr;
	enum addressing addressing;
	size_t addresses; /* or offsets */
	uint64_t base;
	unsigned steps; /* left */
};

/* Takes the length of the name at *at, which it moves to the tokens; 0: there is none. */
static unsigned name_length(const struct layout *l, size_t *at)
{
	unsigned len;

	if (*at >= l->table)
		return 0;
	len = l->bytes[(*at)++];
	if (len & 0x80) {
		if (*at >= l->table)
			return 0;
		len = (len & 0x7f) | (unsigned)l->bytes[(*at)++] << 7;
	}
	return len <= l->table - *at ? len : 0;
}

/*
 * Goes through all names. With width not 0 also compares the markers of that many bytes at
 * markers, where there is room for them. Returns where the names end, 0 where they are none.
 */
static size_t walk_names(struct layout *l, size_t markers, unsigned width)
{
	size_t at = l->names;

	for (uint32_t i = 0; i < l->nr; i++) {
		unsigned len;

		if (!l->steps)
			return 0;
		l->steps--;
		if (width && i % MARKER_STEP == 0 &&
		    load_le(l->bytes + markers + i / MARKER_STEP * width, width) != at - l->names)
			return 0;
		len = name_length(l, &at);
		if (!len)
			return 0;
		at += len;
	}
	return at;
}

static bool check_markers(struct layout *l, size_t markers, unsigned width)
{
	size_t size = (l->nr + MARKER_STEP - 1) / MARKER_STEP * width;
	size_t end = align_up(markers + size, 8);

	/* seqs_of_names may come between */
	return end <= l->table && l->table - end <= align_up(l->nr * 4, 8) &&
	       walk_names(l, markers, width);
}

/* Whether num_syms is what lies at the offset at. */
static bool check_names(struct layout *l, size_t at)
{
	uint64_t nr = load_le(l->bytes + at, 8);
	size_t markers;

	/* A name takes two bytes at least. */
	if (nr < MIN_SYMBOLS || nr > MAX_SYMBOLS || nr * 2 > l->table - at)
		return false;
	l->nr = (uint32_t)nr;
	l->names = at + 8;
	markers = align_up(walk_names(l, 0, 0), 8);
	return markers && (check_markers(l, markers, 4) || check_markers(l, markers, 8));
}

static bool find_names(struct layout *l)
{
	for (size_t at = l->table; at >= 8 && l->steps; at -= 8)
		if (check_names(l, at - 8))
			return true;
	return false;
}

static uint64_t address(const struct layout *l, uint32_t i)
{
	int32_t offset;

	if (l->addressing == ABSOLUTE)
		return load_le(l->bytes + l->addresses + i * 8ull, 8);
	offset = (int32_t)load_le(l->bytes + l->addresses + i * 4ull, 4);
	if (l->addressing == RELATIVE)
		return l->base + (uint32_t)offset;
	return offset < 0 ? l->base - 1 - (uint64_t)(int64_t)offset : (uint64_t)offset;
}

/* Sorted, and at last in the kernel. */
static bool check_addresses(const struct layout *l)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < l->nr; i++) {
		uint64_t a = address(l, i);

		if (a < last)
			return false;
		last = a;
	}
	return last >= KERNEL_BASE;
}

static bool check_relative(struct layout *l, size_t offsets, size_t base)
{
	l->addresses = offsets;
	l->base = load_le(l->bytes + base, 8);
	if (l->base < KERNEL_BASE)
		return false;
	/* The kernel's symbols are behind those of the per-CPU area. */
	l->addressing = load_le(l->bytes + offsets + (l->nr - 1) * 4ull, 4) >> 31 ? RELATIVE_PERCPU
										  : RELATIVE;
	return check_addresses(l);
}

static bool find_addresses(struct layout *l)
{
	size_t num_syms = l->names - 8;
	size_t behind = l->index + NR_TOKENS * 2ull;
	size_t size = align_up(l->nr * 4ull, 8);

	if (num_syms >= 8 + size && check_relative(l, num_syms - 8 - size, num_syms - 8))
		return true;
	if (l->len - behind >= size + 8 && check_relative(l, behind, behind + size))
		return true;
	if (num_syms < l->nr * 8ull)
		return false;
	l->addressing = ABSOLUTE;
	l->addresses = num_syms - l->nr * 8ull;
	return check_addresses(l);
}

/* --- decoding --------------------------------------------------------------------- */

/* Spells out the len tokens at at, cut where it is too long; the length. */
static size_t expand(const struct layout *l, size_t at, unsigned len, char *buf, size_t room)
{
	size_t used = 0;

	for (unsigned i = 0; i < len; i++) {
		size_t token = l->table + load_le(l->bytes + l->index + l->bytes[at + i] * 2, 2);

		for (const uint8_t *p = l->bytes + token; *p && used < room; p++)
			buf[used++] = (char)*p;
	}
	return used;
}

static int decode(const struct layout *l, struct symbols *s)
{
	char name[SYMBOL_NAME_MAX + 1];
	size_t at = l->names;

	for (uint32_t i = 0; i < l->nr; i++) {
		unsigned tokens = name_length(l, &at);
		size_t len = expand(l, at, tokens, name, sizeof(name));
		struct found_symbol sym = {
			.start = address(l, i),
			.type = len ? name[0] : '\0',
			.name = name + 1,
			.name_len = len ? len - 1 : 0,
		};
		int ret = table_add(s, &sym);

		if (ret)
			return ret;
		at += tokens;
	}
	return 0;
}

int kallsyms_decode(const uint8_t *bytes, size_t len, size_t digits, struct symbols *s)
{
	struct layout l = { .bytes = bytes, .len = len, .steps = MAX_STEPS };

	if (!find_tokens(bytes, len, digits, &l.table, &l.index) || !find_names(&l) ||
	    !find_addresses(&l))
		return -ENOENT;
	return decode(&l, s);
}
