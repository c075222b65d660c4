/* SPDX-License-Identifier: MIT */
#include "symbols/modules.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MODULES 1024
#define MAX_MODULE_SYMBOLS 65536u
#define MAX_MODULE_STRINGS (4 * MIB)
#define MAX_ALL_STRINGS (64 * MIB) /* also bounds a list that leads to one module again */

/* struct module */
#define MODULE_LIST 8
#define MODULE_NAME 24
#define MODULE_NAME_LEN 56
#define MODULE_SEARCHED 2048 /* how much of it is looked at */

#define KERNEL_BASE 0xff00000000000000ull /* where kernels have their half, with 57 bits too */

struct list_head {
	uint64_t next, prev;
};

struct mod_kallsyms {
	uint64_t symtab;
	uint32_t num_symtab;
	uint32_t pad;
	uint64_t strtab;
	uint64_t typetab; /* one letter a symbol; not before Linux 5.2 */
};

/* A module's mod_kallsyms and what it points to, copied. */
struct module_copy {
	char name[MODULE_NAME_LEN + 1];
	uint32_t nr;
	Elf64_Sym *symtab;
	char *strings;
	size_t strings_len; /* and a zero byte behind */
	char *types; /* NULL: there are none */
};

struct walk {
	const struct mem *mem;
	const struct gva_space *space;
	struct symbols *s;
	size_t strings_left;
};

static bool is_kernel(uint64_t gva)
{
	return gva >= KERNEL_BASE;
}

/* Reads page by page as far as there is something; how much that was. */
static size_t read_some(const struct walk *w, uint64_t gva, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t n = min_u64(len - done, PAGE_SIZE_4K - ((gva + done) & (PAGE_SIZE_4K - 1)));

		if (gva_read(w->mem, w->space, gva + done, (char *)buf + done, n))
			break;
		done += n;
	}
	return done;
}

static bool is_printable(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)s[i]))
			return false;
	return true;
}

/* Which of nm's letters: in the type table, in st_info (to Linux 4.20), or by the ELF type. */
static char type_letter(const struct module_copy *m, uint32_t i)
{
	const Elf64_Sym *sym = &m->symtab[i];

	if (sym->st_shndx == SHN_UNDEF)
		return 'U';
	if (m->types)
		return m->types[i];
	if (isalpha(sym->st_info))
		return (char)sym->st_info;
	return ELF64_ST_TYPE(sym->st_info) == STT_FUNC ? 't' : 'd';
}

static bool read_symbols(const struct walk *w, const struct mod_kallsyms *k, struct module_copy *m)
{
	static const Elf64_Sym none;
	size_t size = k->num_symtab * sizeof(*m->symtab);

	m->nr = k->num_symtab;
	m->symtab = malloc(size);
	return m->symtab && !gva_read(w->mem, w->space, k->symtab, m->symtab, size) &&
	       !memcmp(&m->symtab[0], &none, sizeof(none));
}

/* As much of the string table as the symbols name. */
static bool read_strings(struct walk *w, const struct mod_kallsyms *k, struct module_copy *m)
{
	size_t last = 0;

	for (uint32_t i = 0; i < m->nr; i++)
		last = max_u64(last, m->symtab[i].st_name);
	if (last > MAX_MODULE_STRINGS)
		return false;
	m->strings = calloc(1, last + SYMBOL_NAME_MAX + 1);
	if (!m->strings)
		return false;
	m->strings_len = read_some(w, k->strtab, m->strings, last + SYMBOL_NAME_MAX);
	if (m->strings_len <= last || m->strings_len > w->strings_left)
		return false;
	w->strings_left -= m->strings_len;
	return m->strings[0] == '\0';
}

static void read_types(const struct walk *w, const struct mod_kallsyms *k, struct module_copy *m)
{
	bool good;

	m->types = malloc(m->nr);
	good = m->types && !gva_read(w->mem, w->space, k->typetab, m->types, m->nr);
	for (uint32_t i = 1; good && i < m->nr; i++)
		good = isalpha((unsigned char)m->types[i]) || m->types[i] == '?';
	if (good)
		return;
	free(m->types);
	m->types = NULL;
}

/* Every name is one, and most addresses are the kernel's (those in per-CPU areas are not). */
static bool check_symbols(const struct module_copy *m)
{
	uint32_t kernel = 0;

	for (uint32_t i = 1; i < m->nr; i++) {
		const char *name = m->strings + m->symtab[i].st_name;

		if (!is_printable(name, strnlen(name, SYMBOL_NAME_MAX)))
			return false;
		kernel += m->symtab[i].st_shndx == SHN_UNDEF || is_kernel(m->symtab[i].st_value);
	}
	return kernel * 2 >= m->nr;
}

static void forget(struct module_copy *m)
{
	free(m->symtab);
	free(m->strings);
	free(m->types);
	m->symtab = NULL;
	m->strings = m->types = NULL;
}

static bool read_kallsyms(struct walk *w, uint64_t gva, struct module_copy *m)
{
	struct mod_kallsyms k;

	if (!is_kernel(gva) || gva % 8 || gva_read(w->mem, w->space, gva, &k, sizeof(k)))
		return false;
	if (k.num_symtab < 2 || k.num_symtab > MAX_MODULE_SYMBOLS || !is_kernel(k.symtab) ||
	    k.symtab % 8 || !is_kernel(k.strtab))
		return false;
	if (read_symbols(w, &k, m) && read_strings(w, &k, m) && check_symbols(m)) {
		read_types(w, &k, m);
		return true;
	}
	forget(m);
	return false;
}

static int add_symbols(const struct walk *w, const struct module_copy *m)
{
	for (uint32_t i = 1; i < m->nr; i++) {
		const Elf64_Sym *sym = &m->symtab[i];
		const char *name = m->strings + sym->st_name;
		struct found_symbol found = {
			.start = sym->st_value,
			.size = sym->st_size,
			.type = type_letter(m, i),
			.name = name,
			.name_len = strnlen(name, SYMBOL_NAME_MAX),
			.module = m->name,
		};
		int ret = table_add(w->s, &found);

		if (ret)
			return ret;
	}
	return 0;
}

/* module: the start of a struct module, len bytes */
static int add_module(struct walk *w, const char *module, size_t len)
{
	struct module_copy m = { .nr = 0 };

	memcpy(m.name, module + MODULE_NAME, MODULE_NAME_LEN);
	if (!m.name[0] || !is_printable(m.name, strlen(m.name)))
		return 0;
	for (size_t at = MODULE_NAME + MODULE_NAME_LEN; at + 8 <= len; at += 8) {
		int ret;

		if (!read_kallsyms(w, load_le(module + at, 8), &m))
			continue;
		ret = add_symbols(w, &m);
		forget(&m);
		return ret;
	}
	return 0;
}

int modules_add(const struct mem *mem, const struct gva_space *space, uint64_t head,
		struct symbols *s)
{
	struct walk w = { mem, space, s, MAX_ALL_STRINGS };
	struct list_head list;
	uint64_t at = head, prev;

	if (gva_read(mem, space, head, &list, sizeof(list)))
		return 0;
	for (unsigned i = 0; i < MAX_MODULES; i++) {
		char module[MODULE_SEARCHED];
		size_t len;
		int ret;

		prev = at;
		at = list.next;
		if (at == head || !is_kernel(at))
			return 0;
		len = read_some(&w, at - MODULE_LIST, module, sizeof(module));
		if (len < MODULE_NAME + MODULE_NAME_LEN)
			return 0;
		memcpy(&list, module + MODULE_LIST, sizeof(list));
		/* Two that lead to one: a list that is no list. */
		if (list.prev != prev)
			return 0;
		ret = add_module(&w, module, len);
		if (ret)
			return ret == -E2BIG ? 0 : ret;
	}
	return 0;
}
