/* SPDX-License-Identifier: MIT */
/*
 * The two kinds of files that symbols_load() reads. Both add what is in the file to s, which
 * the caller finishes, and on failure leave a line in err that names path. The caller's
 * thread.
 */
#ifndef SYMBOLS_FILE_H
#define SYMBOLS_FILE_H

#include <stdio.h>

#include "symbols/table.h"

/*
 * Lines "ffffffff81000000 T name [module]" to the end of f, which need not be seekable. 0, -errno;
 * -ENOEXEC where a line is none of these; -EACCES where every address is zero.
 */
int text_read(FILE *f, const char *path, struct symbols *s, struct err *err) __must_check;

/*
 * An ELF, ELF specification chapter 4 (symbol tables). 0, -errno; -ENOEXEC for one that is
 * damaged or is no program of this byte order; -ENODATA where it has no symbol table.
 */
int elf_read(int fd, const char *path, struct symbols *s, struct err *err) __must_check;

#endif
