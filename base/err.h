/* SPDX-License-Identifier: MIT */
/*
 * One line for the user about what went wrong: option, value, what would be right.
 * Written where it is known, carried up, printed once at the top.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/util.h"

struct err {
	char text[512]; /* "" while nothing has failed; no line break */
};

/* Writes the line and returns ret, for `return err_set(err, -EINVAL, ...)`. */
int err_set(struct err *err, int ret, const char *fmt, ...) __printf(3, 4);

#endif
