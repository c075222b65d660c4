/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void log_line(const char *level, const char *fmt, va_list ap)
{
	char line[1024];
	int saved = errno;
	size_t len = (size_t)snprintf(line, sizeof(line), "bantam: %s", level);
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);

	if (n > 0)
		len += min_u64((size_t)n, sizeof(line) - len - 2);
	line[len++] = '\n';
	/* Nothing can be said about a standard error that does not work. */
	int ignored = util_write_all(STDERR_FILENO, line, len);

	(void)ignored;
	errno = saved;
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line("", fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line("warning: ", fmt, ap);
	va_end(ap);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line("", fmt, ap);
	va_end(ap);
}
