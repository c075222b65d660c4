/* SPDX-License-Identifier: MIT */
/*
 * Linux's own table of its symbols as it lies in a 64-bit kernel's read-only data:
 * kallsyms (Linux: scripts/kallsyms.c writes it, kernel/kallsyms.c reads it).
 *
 * Names are sequences of tokens, one byte each, of which token_table has the 256 strings one
 * behind the other and token_index, an u16 each, where they begin. Every name stands with
 * its length (one byte below 128, else two of 7 bits, low ones first) in names; markers says
 * where in it each 256th begins. A name's first character is the symbol's type. Each
 * part begins at a multiple of 8.
 *
 *	to 4.5		addresses (u64), num_syms, names, markers, token_table, token_index
 *	4.6 to 6.1	offsets (u32), relative_base (u64), num_syms, names, markers, token_table,
 *			token_index
 *	6.2, 6.3	the same, with seqs_of_names (3 or 4 bytes each) behind the markers
 *	6.4 and later	num_syms, names, markers, token_table, token_index, offsets,
 *			relative_base, seqs_of_names
 *
 * num_syms and markers are u64 to Linux 4.19 and u32 since. An offset counts from
 * relative_base, or, with CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86-64 from 4.6 to 6.14), is
 * relative_base - 1 - address where it is negative, and the address itself where it is not.
 */
#ifndef SYMBOLS_KALLSYMS_H
#define SYMBOLS_KALLSYMS_H

#include "symbols/table.h"

#define KALLSYMS_DIGITS 20 /* bytes that a token table's digits take */

/* How much around them may belong to the token table, and to all the rest. */
#define KALLSYMS_TOKENS (8 * KIB)
#define KALLSYMS_BEFORE (16 * MIB)
#define KALLSYMS_BEHIND (8 * MIB)

/*
 * Searches [p, p + len), p at a multiple of 8, for what every token table has: the digits, each
 * the token of its own code, KALLSYMS_DIGITS bytes "0", "1" to "9"; NULL where there are none. The bytes may change meanwhile.
 */
const uint8_t *kallsyms_scan(const uint8_t *p, size_t len);

/*
 * Whether the digits at bytes + digits are those of a token table. bytes, a multiple of 8 in the
 * guest, holds still.
 */
bool kallsyms_check(const uint8_t *bytes, size_t len, size_t digits);

/*
 * Decodes into s the symbols whose token table has its digits at bytes + digits. bytes, a
 * multiple of 8 in the guest, holds still. 0; -ENOENT where it is not a kallsyms; -ENOMEM, -E2BIG.
 */
int kallsyms_decode(const uint8_t *bytes, size_t len, size_t digits,
		    struct symbols *s) __must_check;

#endif
