/* SPDX-License-Identifier: MIT */
#include "vmm/verb_args.h"

#include <errno.h>
#include <inttypes.h>

bool verb_number(const cJSON *args, const char *name, uint64_t max, uint64_t *out, struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(args, name);

	if (!item)
		return false;
	if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= (double)max &&
	    item->valuedouble == (double)(uint64_t)item->valuedouble) {
		*out = (uint64_t)item->valuedouble;
		return true;
	}
	err_set(err, -EINVAL, "%s: must be a whole number up to %" PRIu64, name, max);
	return false;
}
