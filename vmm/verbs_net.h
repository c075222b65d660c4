/* SPDX-License-Identifier: MIT */
/* Those of vmm/verbs.h that are about network cards. */
#ifndef VMM_VERBS_NET_H
#define VMM_VERBS_NET_H

#include <cjson/cJSON.h>

#include "base/err.h"

int verb_info(void *ctx, const cJSON *args, cJSON **result, struct err *err);
int verb_link(void *ctx, const cJSON *args, cJSON **result, struct err *err);
int verb_throttle_net(void *ctx, const cJSON *args, cJSON **result, struct err *err);

#endif
