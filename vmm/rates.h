/* SPDX-License-Identifier: MIT */
/*
 * The rate limits of disks and networks as the user writes them: the keys of --disk and --net, of
 * bantam throttle and its verb.
 */
#ifndef VMM_RATES_H
#define VMM_RATES_H

#include "backends/block/limit.h"
#include "backends/net/limit.h"

enum rate { RATE_IOPS, RATE_IOPS_BURST, RATE_BPS, RATE_BPS_BURST, NR_RATES };

extern const char *const rate_names[NR_RATES]; /* "iops", ... */

uint64_t *rate_field(struct limit_rates *rates, enum rate rate);

/* A number or, of bytes, a size; "off" is 0. 0, or -EINVAL with a line that begins with what. */
int rate_parse(enum rate rate, const char *what, const char *text, uint64_t *out,
	       struct err *err) __must_check;

enum net_rate { NET_RATE_PPS, NET_RATE_BPS, NR_NET_RATES };

extern const char *const net_rate_names[NR_NET_RATES]; /* "pps", ... */

uint64_t *net_rate_field(struct net_rates *rates, enum net_rate rate);
int net_rate_parse(enum net_rate rate, const char *what, const char *text, uint64_t *out,
		   struct err *err) __must_check;

#endif
