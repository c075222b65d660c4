/* SPDX-License-Identifier: MIT */
/* What verbs take from their arguments. */
#ifndef VMM_VERB_ARGS_H
#define VMM_VERB_ARGS_H

#include <cjson/cJSON.h>

#include "base/err.h"

/* True with the number of that name in *out; one that is none gives a line in err. */
bool verb_number(const cJSON *args, const char *name, uint64_t max, uint64_t *out,
		 struct err *err) __must_check;

#endif
