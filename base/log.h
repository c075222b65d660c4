/* SPDX-License-Identifier: MIT */
/*
 * One line to standard error, prefixed "bantam: ". Any thread; a line is one
 * write(2), so lines of two threads never mix. Not for a path that a guest can
 * take at will: a guest's mistake is told to the guest.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/util.h"

void log_error(const char *fmt, ...) __printf(1, 2);
void log_info(const char *fmt, ...) __printf(1, 2);
void log_warn(const char *fmt, ...) __printf(1, 2);

#endif
