/* SPDX-License-Identifier: MIT */
/* System.map and /proc/kallsyms: what nm(1) prints. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/file.h"

#define LINE_MAX_LEN 4096 /* the rest of a longer line is passed over */

/* Reads a line without its end; false at the end of the file. */
static bool read_line(FILE *f, char *line)
{
	size_t len = 0;
	int c = getc_unlocked(f);

	if (c == EOF)
		return false;
	for (; c != '\n' && c != EOF; c = getc_unlocked(f))
		if (len < LINE_MAX_LEN - 1)
			line[len++] = (char)c;
	line[len] = '\0';
	return true;
}

/* Ends the word at p with NUL; returns what follows it and the blanks behind it. */
static char *end_word(char *p)
{
	p += strcspn(p, " \t\r");
	if (*p)
		*p++ = '\0';
	return p + strspn(p, " \t\r");
}

/* "[name]", or nothing */
static bool parse_module(char *p, const char **module)
{
	size_t len;

	*module = NULL;
	if (!*p)
		return true;
	if (*end_word(p))
		return false;
	len = strlen(p);
	if (len < 3 || p[0] != '[' || p[len - 1] != ']')
		return false;
	p[len - 1] = '\0';
	*module = p + 1;
	return true;
}

/* false where the line is none; type 0: it names no address. Changes line. */
static bool parse_line(char *line, struct found_symbol *sym)
{
	char *type, *name, *module, *end;

	memset(sym, 0, sizeof(*sym));
	if (line[0] == ' ') { /* nm: undefined */
		type = line + strspn(line, " ");
		return isalpha((unsigned char)type[0]) && type[1] == ' ' && type[2];
	}
	if (!isxdigit((unsigned char)line[0]))
		return false;
	type = end_word(line);
	name = end_word(type);
	module = end_word(name);
	if (strlen(line) > 16 || !isalpha((unsigned char)*type) || type[1] || !*name)
		return false;
	sym->start = strtoull(line, &end, 16);
	sym->type = *type;
	sym->name = name;
	sym->name_len = strlen(name);
	return !*end && parse_module(module, &sym->module);
}

int text_read(FILE *f, const char *path, struct symbols *s, struct err *err)
{
	struct found_symbol sym;
	char line[LINE_MAX_LEN];
	bool zeroes = false, addresses = false;

	for (unsigned long nr = 1; read_line(f, line); nr++) {
		int ret;

		if (!parse_line(line, &sym))
			return nr == 1 ? err_set(err, -ENOEXEC,
						 "%s: neither an ELF nor lines 'address type name'",
						 path)
				       : err_set(err, -ENOEXEC,
						 "%s: line %lu is not 'address type name'", path,
						 nr);
		if (!sym.type)
			continue;
		if (!sym.start)
			zeroes = true;
		else
			addresses = true;
		ret = table_add(s, &sym);
		if (ret)
			return err_set(err, ret, "%s: %s", path, strerror(-ret));
	}
	if (ferror(f))
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (zeroes && !addresses)
		return err_set(err, -EACCES,
			       "%s: all addresses are zero; to read them from kallsyms takes root",
			       path);
	return 0;
}
