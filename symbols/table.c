/* SPDX-License-Identifier: MIT */
#include "symbols/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How far the last function of an area goes where nothing says it. */
#define UNKNOWN_SIZE 4096

#define RANK_LOCAL 1
#define RANK_ODD 2 /* not what people call the function */
#define RANK_MODULE 4

struct symbols *table_create(void)
{
	struct symbols *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->strings = calloc(1, 1);
	if (!s->strings) {
		free(s);
		return NULL;
	}
	s->strings_len = s->strings_room = 1;
	return s;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	free(s->entries);
	free(s->strings);
	free(s);
}

/* --- adding ----------------------------------------------------------------------- */

static int reserve(void **array, size_t *room, size_t need, size_t max, size_t size)
{
	size_t more = max_u64(need, min_u64(*room * 2, max));
	void *p;

	if (need <= *room)
		return 0;
	if (need > max)
		return -E2BIG;
	p = realloc(*array, more * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*room = more;
	return 0;
}

static int add_string(struct symbols *s, const char *str, size_t len, uint32_t *at)
{
	void *strings = s->strings;
	int ret =
		reserve(&strings, &s->strings_room, s->strings_len + len + 1, TABLE_MAX_STRINGS, 1);
	char *p;

	s->strings = strings;
	if (ret)
		return ret;
	*at = (uint32_t)s->strings_len;
	p = s->strings + s->strings_len;
	for (size_t i = 0; i < len; i++)
		p[i] = str[i] > ' ' && str[i] < 0x7f ? str[i] : '?';
	p[len] = '\0';
	s->strings_len += len + 1;
	return 0;
}

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool ends_with(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len >= n && !strcmp(s + len - n, suffix);
}

static bool one_of(const char *s, const char *const *list, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(s, list[i]))
			return true;
	return false;
}

/* The linker's names for where code begins and ends: no function, and none goes beyond it. */
static bool is_marker(const char *name)
{
	static const char *const markers[] = {
		"_text",
		"_stext",
		"_etext",
		"_sinittext",
		"_einittext",
		"_end",
		"__indirect_thunk_start",
		"__indirect_thunk_end",
	};

	return one_of(name, markers, ARRAY_SIZE(markers)) ||
	       (starts_with(name, "__") &&
		(ends_with(name, "_text_start") || ends_with(name, "_text_end")));
}

static bool is_odd(const char *name)
{
	static const char *const odd[] = { "init_module", "cleanup_module" };

	return name[0] == '.' || one_of(name, odd, ARRAY_SIZE(odd)) ||
	       starts_with(name, "__pfx_") || starts_with(name, "__cfi_");
}

int table_add(struct symbols *s, const struct found_symbol *sym)
{
	const char *module = sym->module ? sym->module : "";
	struct entry e = {
		.start = sym->start,
		.size = (uint32_t)min_u64(sym->size, UINT32_MAX),
		.label = sym->label,
	};
	void *entries = s->entries;
	int ret;

	if (!sym->type || strchr("aAuUnN?-", sym->type) || !sym->name_len)
		return 0;
	ret = reserve(&entries, &s->room, s->nr + 1, TABLE_MAX_SYMBOLS, sizeof(*s->entries));
	s->entries = entries;
	if (ret)
		return ret;
	ret = add_string(s, sym->name, min_u64(sym->name_len, SYMBOL_NAME_MAX - 1), &e.name);
	if (ret)
		return ret;
	/* A module's symbols come together. */
	if (*module && strcmp(module, s->strings + s->last_module)) {
		ret = add_string(s, module, strnlen(module, SYMBOL_NAME_MAX - 1), &s->last_module);
		if (ret)
			return ret;
	}

	const char *name = s->strings + e.name;

	e.module = *module ? s->last_module : 0;
	e.text = strchr("TtWwi", sym->type) && !is_marker(name);
	if (sym->type >= 'a')
		e.rank |= RANK_LOCAL;
	if (is_odd(name))
		e.rank |= RANK_ODD;
	if (e.module)
		e.rank |= RANK_MODULE;
	s->entries[s->nr++] = e;
	return 0;
}

/* --- finishing -------------------------------------------------------------------- */

/* At one address functions come first, of these the best name. */
static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->text != y->text)
		return x->text ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

/* e's size, where next is what follows at another address, NULL at the end. */
static uint32_t function_size(const struct symbols *s, const struct entry *e,
			      const struct entry *next)
{
	uint64_t room = next ? next->start - e->start : UINT64_MAX;

	if (next && next->text && !strcmp(s->strings + e->module, s->strings + next->module))
		return (uint32_t)min_u64(room, UINT32_MAX);
	return (uint32_t)min_u64(room, e->size ? e->size : UNKNOWN_SIZE);
}

/* A label inside of a function whose size is known is a place in it, not another one. */
static void set_labels_aside(struct symbols *s)
{
	const struct entry *around = NULL;

	for (size_t i = 0; i < s->nr; i++) {
		struct entry *e = &s->entries[i];

		if (!e->text)
			continue;
		if (!e->label)
			around = e;
		else if (around && e->start - around->start < around->size)
			e->inner = true;
		e->text = !e->inner;
	}
}

/* What follows the names at one address, the last of which is before end. */
static const struct entry *following(const struct symbols *s, size_t end)
{
	while (end < s->nr && s->entries[end].inner)
		end++;
	return end < s->nr ? &s->entries[end] : NULL;
}

/* Keeps the best of the functions at each address as such; the rest are only names. */
static void choose(struct symbols *s)
{
	for (size_t i = 0, end; i < s->nr; i = end) {
		struct entry *e = &s->entries[i];

		for (end = i + 1; end < s->nr && s->entries[end].start == e->start; end++) {
			if (e->text && s->entries[end].text)
				e->size = (uint32_t)max_u64(e->size, s->entries[end].size);
			s->entries[end].text = false;
		}
		if (e->text)
			e->size = function_size(s, e, following(s, end));
	}
}

static int compare_finished(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->text != y->text)
		return x->text ? -1 : 1;
	return compare(a, b);
}

void table_finish(struct symbols *s)
{
	if (!s->nr)
		return;
	qsort(s->entries, s->nr, sizeof(*s->entries), compare);
	set_labels_aside(s);
	choose(s);
	qsort(s->entries, s->nr, sizeof(*s->entries), compare_finished);
	for (size_t i = 0; i < s->nr && s->entries[i].text; i++) {
		s->nr_functions++;
		s->nr_in_modules += s->entries[i].module != 0;
	}
}

/* --- looking up ------------------------------------------------------------------- */

int64_t symbols_slide(const struct symbols *s)
{
	return s->slide;
}

size_t symbols_count(const struct symbols *s, size_t *in_modules)
{
	*in_modules = s->nr_in_modules;
	return s->nr_functions;
}

bool symbols_lookup(const struct symbols *s, uint64_t addr, struct symbol *out)
{
	uint64_t at = addr - (uint64_t)s->slide;
	size_t low = 0, high = s->nr_functions;
	const struct entry *e;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->entries[mid].start <= at)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return false;
	e = &s->entries[low - 1];
	if (at - e->start >= e->size)
		return false;
	*out = (struct symbol){
		.start = e->start + (uint64_t)s->slide,
		.offset = at - e->start,
		.name = s->strings + e->name,
		.module = e->module ? s->strings + e->module : NULL,
	};
	return true;
}

/* The kernel's own names go before modules', global before local ones. */
int symbols_find(const struct symbols *s, const char *name, uint64_t *addr)
{
	const struct entry *best = NULL;

	for (size_t i = 0; i < s->nr; i++) {
		const struct entry *e = &s->entries[i];

		if (!strcmp(s->strings + e->name, name) && (!best || e->rank < best->rank))
			best = e;
	}
	if (!best)
		return -ENOENT;
	*addr = best->start + (uint64_t)s->slide;
	return 0;
}
