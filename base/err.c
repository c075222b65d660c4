/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

int err_set(struct err *err, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	/* A file's name may hold anything; the promise is one line. */
	for (char *p = err->text; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = '?';
	return ret;
}
