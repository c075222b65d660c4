/* SPDX-License-Identifier: MIT */
#include "vmm/verbs_net.h"

#include <errno.h>

#include "vmm/nets.h"
#include "vmm/rates.h"
#include "vmm/verb_args.h"

struct net_args {
	struct machine *m;
	const char *name;
	bool up;
	struct net_rates rates;
	unsigned set;
	cJSON *json;
};

static int take_net(struct machine *m, const cJSON *args, struct net_args *out, struct err *err)
{
	const cJSON *net = cJSON_GetObjectItemCaseSensitive(args, "net");

	*out = (struct net_args){ .m = m, .name = cJSON_GetStringValue(net) };
	return out->name ? 0 : err_set(err, -EINVAL, "net: must be a name such as \"net0\"");
}

static int set_link(void *opaque, struct err *err)
{
	const struct net_args *a = opaque;

	return nets_set_link(a->m, a->name, a->up, err);
}

int verb_link(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	const cJSON *up = cJSON_GetObjectItemCaseSensitive(args, "up");
	struct machine *m = ctx;
	struct net_args a;
	int ret = take_net(m, args, &a, err);

	(void)result;
	if (ret)
		return ret;
	if (!cJSON_IsBool(up))
		return err_set(err, -EINVAL, "up: must be true or false");
	a.up = cJSON_IsTrue(up);
	return call_make(&m->call, set_link, &a, err);
}

static int throttle(void *opaque, struct err *err)
{
	struct net_args *a = opaque;

	return nets_throttle(a->m, a->name, a->set, &a->rates, err);
}

int verb_throttle_net(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;
	struct net_args a;
	int ret = take_net(m, args, &a, err);

	if (ret)
		return ret;
	for (enum net_rate i = 0; i < NR_NET_RATES; i++) {
		if (verb_number(args, net_rate_names[i], NET_LIMIT_MAX_RATE,
				net_rate_field(&a.rates, i), err))
			a.set |= 1u << i;
		if (err->text[0])
			return -EINVAL;
	}
	ret = call_make(&m->call, throttle, &a, err);
	if (ret)
		return ret;
	*result = cJSON_CreateObject();
	for (enum net_rate i = 0; i < NR_NET_RATES; i++)
		if (!cJSON_AddNumberToObject(*result, net_rate_names[i],
					     (double)*net_rate_field(&a.rates, i)))
			return err_set(err, -ENOMEM, "throttle: out of memory");
	return 0;
}

static int info(void *opaque, struct err *err)
{
	struct net_args *a = opaque;
	const struct machine *m = a->m;
	cJSON *o = cJSON_CreateObject(), *nets = nets_to_json(m);

	if (cJSON_AddItemToObject(o, "nets", nets)) {
		a->json = o;
		if (cJSON_AddStringToObject(o, "name", m->name) &&
		    cJSON_AddNumberToObject(o, "cpus", (double)m->cfg->nr_cpus) &&
		    cJSON_AddNumberToObject(o, "memory", (double)m->cfg->memory))
			return 0;
	} else {
		cJSON_Delete(nets);
		cJSON_Delete(o);
	}
	return err_set(err, -ENOMEM, "info: out of memory");
}

int verb_info(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct net_args a = { .m = ctx };
	int ret = call_make(&a.m->call, info, &a, err);

	(void)args;
	*result = a.json;
	return ret;
}
