/* SPDX-License-Identifier: MIT */
#include "vmm/verbs.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#include "devices/pit/pit.h"
#include "vmm/disks.h"
#include "vmm/rates.h"
#include "vmm/verb_args.h"
#include "vmm/verbs_net.h"

static int verb_exits(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;
	struct report r;
	int ret = observe_report(&m->observe, true, &r);

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
	struct observe *o = &((struct machine *)ctx)->observe;
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

/* --- disks: the main thread's ------------------------------------------------------------- */

struct disk_args {
	struct machine *m;
	const char *name;
	uint64_t size;
	bool shrink;
	struct limit_rates rates;
	unsigned set;
};

static int take_disk(struct machine *m, const cJSON *args, struct disk_args *out, struct err *err)
{
	const cJSON *disk = cJSON_GetObjectItemCaseSensitive(args, "disk");

	*out = (struct disk_args){ .m = m, .name = cJSON_GetStringValue(disk) };
	return out->name ? 0 : err_set(err, -EINVAL, "disk: must be a name such as \"disk0\"");
}

static int resize(void *opaque, struct err *err)
{
	const struct disk_args *a = opaque;

	return disks_resize(a->m, a->name, a->size, a->shrink, err);
}

/* What a double can say, and a file's length be. */
#define MAX_SIZE (1ull << 53)

static int verb_resize(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	const cJSON *shrink = cJSON_GetObjectItemCaseSensitive(args, "shrink");
	struct machine *m = ctx;
	struct disk_args a;
	int ret = take_disk(m, args, &a, err);

	(void)result;
	if (ret)
		return ret;
	if (!verb_number(args, "size", MAX_SIZE, &a.size, err))
		return err->text[0] ? -EINVAL : err_set(err, -EINVAL, "size: is missing");
	if (shrink && !cJSON_IsBool(shrink))
		return err_set(err, -EINVAL, "shrink: must be true or false");
	a.shrink = cJSON_IsTrue(shrink);
	return call_make(&m->call, resize, &a, err);
}

static int throttle(void *opaque, struct err *err)
{
	struct disk_args *a = opaque;

	return disks_throttle(a->m, a->name, a->set, &a->rates, err);
}

static int verb_throttle(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;
	struct disk_args a;
	int ret;

	if (cJSON_GetObjectItemCaseSensitive(args, "net"))
		return verb_throttle_net(ctx, args, result, err);
	ret = take_disk(m, args, &a, err);
	if (ret)
		return ret;
	for (enum rate i = 0; i < NR_RATES; i++) {
		if (verb_number(args, rate_names[i], LIMIT_MAX_RATE, rate_field(&a.rates, i), err))
			a.set |= 1u << i;
		if (err->text[0])
			return -EINVAL;
	}
	ret = call_make(&m->call, throttle, &a, err);
	if (ret)
		return ret;
	*result = cJSON_CreateObject();
	for (enum rate i = 0; i < NR_RATES; i++)
		if (!cJSON_AddNumberToObject(*result, rate_names[i],
					     (double)*rate_field(&a.rates, i)))
			return err_set(err, -ENOMEM, "throttle: out of memory");
	return 0;
}

static int resume(void *opaque, struct err *err)
{
	return disks_resume(opaque, err);
}

static int verb_resume(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;

	(void)args;
	(void)result;
	return call_make(&m->call, resume, m, err);
}

/* --- the timer ---------------------------------------------------------------------------- */

/* Puts the word that args has under key, if any, into *out, as its place in words. */
static int take_word(const cJSON *args, const char *key, const char *const *words, unsigned *out,
		     struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(args, key);

	if (!item)
		return 0;
	for (unsigned i = 0; cJSON_IsString(item) && words[i]; i++) {
		if (!strcmp(item->valuestring, words[i])) {
			*out = i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "%s: no such word (see bantam pit --help)", key);
}

/* What is not in args stays as it is. */
static int take_pit_policy(const cJSON *args, struct pit_policy *policy, struct err *err)
{
	uint64_t hz;
	int ret;

	if (verb_number(args, "max-hz", PIT_MAX_HZ, &hz, err))
		policy->max_hz = (unsigned)hz;
	if (err->text[0])
		return -EINVAL;
	ret = take_word(args, "time", pit_time_words, &policy->time, err);
	return ret ? ret : take_word(args, "lost-ticks", pit_lost_words, &policy->lost, err);
}

static cJSON *pit_to_json(const struct pit_info *info)
{
	const struct pit_policy *policy = &info->policy;
	cJSON *o = cJSON_CreateObject();

	if (o &&
	    cJSON_AddNumberToObject(o, "max-hz", policy->max_hz ? policy->max_hz : PIT_MAX_HZ) &&
	    cJSON_AddStringToObject(o, "time", pit_time_words[policy->time]) &&
	    cJSON_AddStringToObject(o, "lost-ticks", pit_lost_words[policy->lost]) &&
	    cJSON_AddNumberToObject(o, "asked-hz", info->asked_mhz / 1000.0) &&
	    cJSON_AddNumberToObject(o, "raised", (double)info->raised) &&
	    cJSON_AddNumberToObject(o, "dropped", (double)info->dropped) &&
	    cJSON_AddNumberToObject(o, "owed", info->owed))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int verb_pit(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct device *pit = ((struct machine *)ctx)->pit.dev;
	struct pit_info info;
	int ret;

	if (!pit)
		return err_set(err, -ENODEV, "this machine has no PIT in user space (--pit user)");
	pit_get_info(pit, &info);
	if (args->child) { /* just asking changes nothing */
		ret = take_pit_policy(args, &info.policy, err);
		if (ret)
			return ret;
		ret = pit_set_policy(pit, &info.policy);
		if (ret)
			return err_set(err, ret, "pit: %s", strerror(-ret));
		pit_get_info(pit, &info);
	}
	*result = pit_to_json(&info);
	return *result ? 0 : err_set(err, -ENOMEM, "pit: out of memory");
}

const struct control_verb verbs[VERBS_NR] = {
	{ "exits", verb_exits },       { "profile", verb_profile }, { "resize", verb_resize },
	{ "throttle", verb_throttle }, { "resume", verb_resume },   { "pit", verb_pit },
	{ "info", verb_info },         { "link", verb_link },
};
