/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/file.h"

static int read_file(FILE *f, const char *path, struct symbols *s, struct err *err)
{
	int c = getc(f);
	size_t in_modules;
	int ret;

	if (c == EOF && ferror(f))
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	/* One character can be taken back even from a pipe. */
	ungetc(c, f);
	ret = c == 0x7f ? elf_read(fileno(f), path, s, err) : text_read(f, path, s, err);
	if (ret)
		return ret;
	table_finish(s);
	if (!symbols_count(s, &in_modules))
		return err_set(err, -ENODATA, "%s: no functions in it", path);
	return 0;
}

int symbols_load(const char *path, struct symbols **out, struct err *err)
{
	struct symbols *s;
	FILE *f = fopen(path, "re");
	int ret;

	if (!f)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	s = table_create();
	ret = s ? read_file(f, path, s, err) : err_set(err, -ENOMEM, "%s: out of memory", path);
	fclose(f);
	if (ret)
		symbols_free(s);
	else
		*out = s;
	return ret;
}
