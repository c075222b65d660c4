/* SPDX-License-Identifier: MIT */
#include "vmm/config_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 78
#define INDENT "          "

const char *const config_alone[] = { NULL };
const char *const config_many[] = { NULL };
const char *const config_off_on[] = { "off", "on", NULL };
const char *const config_on_off[] = { "on", "off", NULL };

int config_word(const char *what, const char *value, const char *const *words, unsigned *out,
		struct err *err)
{
	char list[128] = "";

	for (unsigned i = 0; words[i]; i++) {
		if (!strcmp(value, words[i])) {
			*out = i;
			return 0;
		}
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "",
			 words[i]);
	}
	return err_set(err, -EINVAL, "%s=%s: must be one of: %s", what, value, list);
}

static const struct config_key *key_find(const struct config_key *keys, size_t nr, const char *name)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

/* The next free place of a key that may be given again. */
static int store_again(const struct config_key *key, const char *what, const char *value, void *out,
		       struct err *err)
{
	const char **place = (const char **)(void *)((char *)out + key->offset);
	unsigned i = 0;

	if (!*value)
		return err_set(err, -EINVAL, "%s=: a value is missing", what);
	while (i < key->max && place[i])
		i++;
	if (i == key->max)
		return err_set(err, -EINVAL, "%s=%s: at most %u of them", what, value, key->max);
	place[i] = value;
	return 0;
}

static int key_store(const struct config_key *key, const char *option, char *value, void *out,
		     struct err *err)
{
	char what[64];

	snprintf(what, sizeof(what), "%s: %s", option, key->name);
	if (key->words == config_many)
		return store_again(key, what, value, out, err);
	if (key->words)
		return config_word(what, value, key->words, (unsigned *)((char *)out + key->offset),
				   err);
	if (!*value)
		return err_set(err, -EINVAL, "%s=: a value is missing", what);
	if (key->max) {
		uint64_t number;

		if (util_parse_uint(value, 1, key->max, &number))
			return err_set(err, -EINVAL, "%s=%s: must be a number from 1 to %u", what,
				       value, key->max);
		*(unsigned *)(void *)((char *)out + key->offset) = (unsigned)number;
		return 0;
	}
	if (key->max_len && strlen(value) > key->max_len)
		return err_set(err, -EINVAL, "%s=%s: %zu characters, at most %zu", what, value,
			       strlen(value), key->max_len);
	*(const char **)(void *)((char *)out + key->offset) = value;
	return 0;
}

int config_keys(const char *option, char *text, const struct config_key *keys, size_t nr, void *out,
		struct err *err)
{
	uint64_t seen = 0;

	while (text) {
		char *name = text, *value, *dst, *src;
		const struct config_key *key;

		value = name + strcspn(name, "=,");
		if (*value != '=') {
			text = *value ? value + 1 : NULL;
			*value = '\0';
			key = key_find(keys, nr, name);
			if (!key || key->words != config_alone)
				return err_set(err, -EINVAL, "%s %s: must be key=value", option,
					       name);
			*(unsigned *)(void *)((char *)out + key->offset) = 1;
			continue;
		}
		*value++ = '\0';
		for (src = dst = value; *src && !(*src == ',' && src[1] != ','); src++) {
			if (*src == ',')
				src++;
			*dst++ = *src;
		}
		text = *src ? src + 1 : NULL;
		*dst = '\0';

		key = key_find(keys, nr, name);
		if (!key) {
			char list[512] = "";

			for (size_t i = 0; i < nr; i++)
				snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
					 i ? ", " : "", keys[i].name);
			return err_set(err, -EINVAL, "%s: unknown key '%s'; the keys are: %s",
				       option, name, list);
		}
		if (key->words == config_alone)
			return err_set(err, -EINVAL, "%s: %s stands alone, without a value", option,
				       name);
		if (seen & 1ull << (key - keys) && key->words != config_many)
			return err_set(err, -EINVAL, "%s: %s is given twice", option, name);
		seen |= 1ull << (key - keys);
		if (key_store(key, option, value, out, err))
			return -EINVAL;
	}
	return 0;
}

void config_keys_print(const struct config_key *keys, size_t nr)
{
	size_t column = 0;

	for (size_t i = 0; i < nr; i++) {
		const struct config_key *key = &keys[i];
		char text[96];
		const char *meta = key->meta ? key->meta : "N";
		bool alone = key->words == config_alone, words = key->words && *key->words;
		int len = snprintf(text, sizeof(text), "%s%s%s", key->name, alone ? "" : "=",
				   alone || words ? "" : meta);

		for (unsigned k = 0; key->words && key->words[k]; k++)
			len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s",
					k ? "|" : "", key->words[k]);
		if (column && column + 2 + (size_t)len > WIDTH)
			column = 0;
		column += (size_t)printf("%s%s", column ? "  " : i ? "\n" INDENT : INDENT, text);
	}
	printf("\n");
}
