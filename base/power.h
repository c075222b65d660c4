/* SPDX-License-Identifier: MIT */
/*
 * What a device asks of the whole machine, as a value passed in: the request is
 * noted and returns at once; vCPUs stop soon after. Any thread, any lock held.
 */
#ifndef BASE_POWER_H
#define BASE_POWER_H

#include "base/util.h"

enum power_event {
	POWER_OFF, /* the guest ends well */
	POWER_RESET, /* restart it, or end with --no-reboot */
	POWER_CRASHED, /* the guest says that it has failed: pvpanic, debug exit */
};

struct power {
	/* detail: the debug exit's value or pvpanic's event bits, 0 otherwise. */
	void (*request)(void *ctx, enum power_event event, uint32_t detail);
	void *ctx;
};

static inline void power_request(const struct power *p, enum power_event event, uint32_t detail)
{
	if (p->request)
		p->request(p->ctx, event, detail);
}

#endif
