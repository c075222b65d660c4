/* SPDX-License-Identifier: MIT */
/* A disk's rate limits as the user writes them: the keys of --disk, of bantam throttle and its verb. */
#ifndef VMM_RATES_H
#define VMM_RATES_H

#include "backends/block/limit.h"

enum rate { RATE_IOPS, RATE_IOPS_BURST, RATE_BPS, RATE_BPS_BURST, NR_RATES };

extern const char *const rate_names[NR_RATES]; /* "iops", ... */

uint64_t *rate_field(struct limit_rates *rates, enum rate rate);

/* A number or, of bytes, a size; "off" is 0. 0, or -EINVAL with a line that begins with what. */
int rate_parse(enum rate rate, const char *what, const char *text, uint64_t *out,
	       struct err *err) __must_check;

#endif
