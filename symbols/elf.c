/* SPDX-License-Identifier: MIT */
/* The symbol table of a vmlinux. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "symbols/file.h"

#define MAX_TABLE GIB /* bytes of symbols, and of their names */

/* Either class, in the larger one's terms. */
struct elf {
	int fd;
	uint64_t size; /* of the file */
	const char *path;
	struct err *err;
	bool wide; /* ELFCLASS64 */
	uint64_t shoff;
	unsigned shnum;
	Elf64_Shdr *sections;
};

static int damaged(const struct elf *e, const char *what)
{
	err_set(e->err, -ENOEXEC, "%s: unusable ELF: %s", e->path, what);
	return -ENOEXEC;
}

static int failed(const struct elf *e, int ret)
{
	err_set(e->err, ret, "%s: %s", e->path, strerror(-ret));
	return ret;
}

static int read_part(const struct elf *e, void *buf, uint64_t len, uint64_t offset)
{
	int ret;

	if (offset > e->size || len > e->size - offset)
		return damaged(e, "it ends too early");
	ret = util_pread_all(e->fd, buf, len, offset);
	return ret ? failed(e, ret) : 0;
}

/* Sets *out to a part of the file, and one zero byte behind it. */
static int read_alloc(const struct elf *e, uint64_t len, uint64_t offset, void **out)
{
	char *p;
	int ret;

	if (len > MAX_TABLE || offset > e->size || len > e->size - offset)
		return damaged(e, "a section lies outside of the file");
	p = malloc(len + 1);
	if (!p)
		return failed(e, -ENOMEM);
	ret = read_part(e, p, len, offset);
	if (ret) {
		free(p);
		return ret;
	}
	p[len] = '\0';
	*out = p;
	return 0;
}

static int read_header(struct elf *e)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
	} h;
	unsigned shentsize, type;
	int ret = read_part(e, h.ident, sizeof(h.ident), 0);

	if (ret)
		return ret;
	if (memcmp(h.ident, ELFMAG, SELFMAG) != 0)
		return err_set(e->err, -ENOEXEC, "%s: neither an ELF nor lines 'address type name'",
			       e->path);
	if (h.ident[EI_CLASS] != ELFCLASS64 && h.ident[EI_CLASS] != ELFCLASS32)
		return damaged(e, "of neither 64 nor 32 bits");
	if (h.ident[EI_DATA] != ELFDATA2LSB)
		return damaged(e, "not little-endian");
	e->wide = h.ident[EI_CLASS] == ELFCLASS64;
	ret = read_part(e, &h, e->wide ? sizeof(h.wide) : sizeof(h.narrow), 0);
	if (ret)
		return ret;
	type = e->wide ? h.wide.e_type : h.narrow.e_type;
	shentsize = e->wide ? h.wide.e_shentsize : h.narrow.e_shentsize;
	e->shoff = e->wide ? h.wide.e_shoff : h.narrow.e_shoff;
	e->shnum = e->wide ? h.wide.e_shnum : h.narrow.e_shnum;
	if (type != ET_EXEC && type != ET_DYN)
		return damaged(e, "not a linked program");
	if (e->shnum && shentsize != (e->wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr)))
		return damaged(e, "section headers of another size");
	return 0;
}

static Elf64_Shdr widen_section(const Elf32_Shdr *h)
{
	return (Elf64_Shdr){
		.sh_type = h->sh_type,
		.sh_flags = h->sh_flags,
		.sh_offset = h->sh_offset,
		.sh_size = h->sh_size,
		.sh_link = h->sh_link,
		.sh_entsize = h->sh_entsize,
	};
}

static Elf64_Sym widen_symbol(const Elf32_Sym *s)
{
	return (Elf64_Sym){
		.st_name = s->st_name,
		.st_info = s->st_info,
		.st_shndx = s->st_shndx,
		.st_value = s->st_value,
		.st_size = s->st_size,
	};
}

static int read_sections(struct elf *e)
{
	size_t each = e->wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	void *raw;
	int ret;

	if (!e->shnum)
		return 0;
	ret = read_alloc(e, e->shnum * each, e->shoff, &raw);
	if (ret)
		return ret;
	if (e->wide) {
		e->sections = raw;
		return 0;
	}
	e->sections = calloc(e->shnum, sizeof(*e->sections));
	if (!e->sections)
		ret = failed(e, -ENOMEM);
	for (unsigned i = 0; !ret && i < e->shnum; i++)
		e->sections[i] = widen_section((const Elf32_Shdr *)raw + i);
	free(raw);
	return ret;
}

/* As nm(1) would print it; 0 for what names no place. */
static char type_letter(const struct elf *e, const Elf64_Sym *sym)
{
	unsigned type = ELF64_ST_TYPE(sym->st_info), bind = ELF64_ST_BIND(sym->st_info);
	bool text = type == STT_FUNC || type == STT_GNU_IFUNC;

	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx >= e->shnum ||
	    sym->st_shndx >= SHN_LORESERVE)
		return 0;
	if (type != STT_NOTYPE && type != STT_OBJECT && !text)
		return 0;
	/* Functions in assembly often have no type. */
	if (type == STT_NOTYPE)
		text = e->sections[sym->st_shndx].sh_flags & SHF_EXECINSTR;
	if (text)
		return bind == STB_LOCAL ? 't' : 'T';
	return bind == STB_LOCAL ? 'd' : 'D';
}

static int add_symbols(const struct elf *e, const void *table, size_t nr, const char *names,
		       uint64_t names_len, struct symbols *s)
{
	for (size_t i = 0; i < nr; i++) {
		Elf64_Sym sym = e->wide ? ((const Elf64_Sym *)table)[i]
					: widen_symbol((const Elf32_Sym *)table + i);
		struct found_symbol found = {
			.start = sym.st_value,
			.size = sym.st_size,
			.type = type_letter(e, &sym),
			.label = ELF64_ST_TYPE(sym.st_info) == STT_NOTYPE,
		};
		int ret;

		if (sym.st_name >= names_len)
			return damaged(e, "a name lies outside of the string table");
		found.name = names + sym.st_name;
		found.name_len = strnlen(found.name, SYMBOL_NAME_MAX);
		ret = table_add(s, &found);
		if (ret)
			return failed(e, ret);
	}
	return 0;
}

static int read_table(const struct elf *e, const Elf64_Shdr *symtab, struct symbols *s)
{
	size_t each = e->wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	const Elf64_Shdr *strtab;
	void *table, *names;
	int ret;

	if (symtab->sh_entsize != each)
		return damaged(e, "symbols of another size");
	if (symtab->sh_link >= e->shnum || e->sections[symtab->sh_link].sh_type != SHT_STRTAB)
		return damaged(e, "a symbol table without names");
	strtab = &e->sections[symtab->sh_link];
	ret = read_alloc(e, symtab->sh_size, symtab->sh_offset, &table);
	if (ret)
		return ret;
	ret = read_alloc(e, strtab->sh_size, strtab->sh_offset, &names);
	if (!ret) {
		ret = add_symbols(e, table, symtab->sh_size / each, names, strtab->sh_size, s);
		free(names);
	}
	free(table);
	return ret;
}

static int read_elf(struct elf *e, struct symbols *s)
{
	int ret = read_header(e);

	if (ret)
		return ret;
	ret = read_sections(e);
	if (ret)
		return ret;
	for (unsigned i = 0; i < e->shnum; i++)
		if (e->sections[i].sh_type == SHT_SYMTAB)
			return read_table(e, &e->sections[i], s);
	return err_set(e->err, -ENODATA, "%s: no symbol table in it (a stripped kernel)", e->path);
}

int elf_read(int fd, const char *path, struct symbols *s, struct err *err)
{
	struct elf e = { .fd = fd, .path = path, .err = err };
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	e.size = (uint64_t)st.st_size;
	ret = read_elf(&e, s);
	free(e.sections);
	return ret;
}
