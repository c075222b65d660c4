/* SPDX-License-Identifier: MIT */
/*
 * Values that are one of several words, and options that are a list of keys: "path=FILE,if=ide".
 * All return 0, or -EINVAL with a line in err that says what would be right.
 */
#ifndef VMM_CONFIG_KEYS_H
#define VMM_CONFIG_KEYS_H

#include <stddef.h>

#include "base/err.h"
#include "base/util.h"

/* In the place of a key's words: it stands alone, without a value; an unsigned, 1 where it does. */
extern const char *const config_alone[];
/* It is a string, and may be given again, max times: an array of const char *, NULL behind them. */
extern const char *const config_many[];
/* A switch's words, the default first. */
extern const char *const config_off_on[];
extern const char *const config_on_off[];

/* A key of a compound option: a string, one of words, or a number. */
struct config_key {
	const char *name;
	size_t offset; /* in the struct that the option fills */
	const char *const *words; /* an unsigned, which of them; NULL: it is no word */
	size_t max_len; /* of a string (const char *); 0: any */
	unsigned max; /* of a number (unsigned) from 1 on; 0: it is no number */
	const char *meta; /* of what is no word, what help says that it is; NULL: N */
};

/* out: value's place in words, which NULL ends. what: what the value is of, for err. */
int config_word(const char *what, const char *value, const char *const *words, unsigned *out,
		struct err *err) __must_check;

/*
 * Cuts "key=value,key=value" apart in place; a comma in a value is written twice. Each key may
 * stand once, but for config_many. out: the struct that the keys' offsets are in.
 */
int config_keys(const char *option, char *text, const struct config_key *keys, size_t nr, void *out,
		struct err *err) __must_check;

/* The keys and what they may be, wrapped lines for help, to stdout. */
void config_keys_print(const struct config_key *keys, size_t nr);

#endif
