/* SPDX-License-Identifier: MIT */
#include "vmm/rates.h"

#include <errno.h>
#include <string.h>

const char *const rate_names[NR_RATES] = {
	[RATE_IOPS] = "iops",
	[RATE_IOPS_BURST] = "iops-burst",
	[RATE_BPS] = "bps",
	[RATE_BPS_BURST] = "bps-burst",
};

uint64_t *rate_field(struct limit_rates *rates, enum rate rate)
{
	switch (rate) {
	case RATE_IOPS:
		return &rates->iops;
	case RATE_IOPS_BURST:
		return &rates->iops_burst;
	case RATE_BPS:
		return &rates->bps;
	case RATE_BPS_BURST:
	default:
		return &rates->bps_burst;
	}
}

const char *const net_rate_names[NR_NET_RATES] = {
	[NET_RATE_PPS] = "pps",
	[NET_RATE_BPS] = "bps",
};

uint64_t *net_rate_field(struct net_rates *rates, enum net_rate rate)
{
	return rate == NET_RATE_PPS ? &rates->pps : &rates->bps;
}

static int parse(const char *name, bool bytes, const char *what, const char *text, uint64_t *out,
		 struct err *err)
{
	*out = 0;
	if (!strcmp(text, "off"))
		return 0;
	if (bytes ? util_parse_size(text, out) : util_parse_uint(text, 0, LIMIT_MAX_RATE, out))
		*out = UINT64_MAX;
	if (*out <= LIMIT_MAX_RATE)
		return 0;
	return err_set(err, -EINVAL, "%s %s=%.60s: must be %s, or off", what, name, text,
		       bytes ? "a size such as 10M" : "a number");
}

int rate_parse(enum rate rate, const char *what, const char *text, uint64_t *out, struct err *err)
{
	return parse(rate_names[rate], rate == RATE_BPS || rate == RATE_BPS_BURST, what, text, out,
		     err);
}

int net_rate_parse(enum net_rate rate, const char *what, const char *text, uint64_t *out,
		   struct err *err)
{
	return parse(net_rate_names[rate], rate == NET_RATE_BPS, what, text, out, err);
}
