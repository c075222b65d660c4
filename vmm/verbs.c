/* SPDX-License-Identifier: MIT */
#include "vmm/verbs.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#include "vmm/observe.h"

static int verb_exits(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct report r;
	int ret = observe_report(ctx, true, &r);

	(void)args;
	if (!ret) {
		*result = report_to_json(&r);
		ret = *result ? 0 : -ENOMEM;
		report_free(&r);
	}
	return ret ? err_set(err, ret, "no report: %s", strerror(-ret)) : 0;
}

static int verb_profile(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	const cJSON *on = cJSON_GetObjectItemCaseSensitive(args, "on");
	const cJSON *clear = cJSON_GetObjectItemCaseSensitive(args, "clear");
	struct observe *o = ctx;
	int ret = 0;

	if ((on && !cJSON_IsBool(on)) || (clear && !cJSON_IsBool(clear)))
		return err_set(err, -EINVAL, "profile: on and clear must be true or false");
	if (cJSON_IsTrue(clear))
		observe_clear_profile(o);
	if (on)
		ret = observe_set_profile(o, cJSON_IsTrue(on));
	if (ret)
		return err_set(err, ret, "profile: %s",
			       ret == -EOPNOTSUPP ? "this host's KVM gives no registers with an "
						    "exit (KVM_CAP_SYNC_REGS)"
						  : strerror(-ret));
	*result = cJSON_CreateObject();
	if (!*result || !cJSON_AddBoolToObject(*result, "on", observe_profiling(o)))
		return err_set(err, -ENOMEM, "profile: out of memory");
	return 0;
}

const struct control_verb verbs[VERBS_NR] = {
	{ "exits", verb_exits },
	{ "profile", verb_profile },
};
