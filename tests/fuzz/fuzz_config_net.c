/* SPDX-License-Identifier: MIT */
/* What stands behind --net: anything. It is taken, as something that makes sense, or refused in a line. */
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"

static void check(const struct net_config *n)
{
	unsigned kinds = !!n->tap + !!n->bridge + !!n->nr_fds + !!n->user;

	if (kinds != 1 || !n->queues || n->queues > NET_MAX_QUEUES || n->nr_fds > NET_MAX_QUEUES ||
	    n->nr_forwards > CONFIG_MAX_FORWARDS || n->mac[0] & 1 || n->mtu > USER_MAX_MTU ||
	    (n->nr_fds && n->nr_fds != n->queues))
		abort();
	for (unsigned i = 0; i < n->nr_fds; i++)
		if (n->fds[i] < 3)
			abort();
	for (unsigned i = 0; i < n->nr_forwards; i++)
		if (!n->forwards[i].host_port || !n->forwards[i].guest_port)
			abort();
	if (n->rates.bps > NET_LIMIT_MAX_RATE || n->rates.pps > NET_LIMIT_MAX_RATE)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *argv[] = { (char *)"--kernel", (char *)"k", (char *)"--net", text };
	struct err err = { "" };
	struct config cfg;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	switch (config_parse(&cfg, ARRAY_SIZE(argv), argv, &err)) {
	case CONFIG_RUN:
		if (cfg.nr_nets != 1)
			abort();
		check(&cfg.nets[0]);
		break;
	case CONFIG_USAGE:
		if (!err.text[0] || memchr(err.text, '\0', sizeof(err.text)) == NULL)
			abort();
		break;
	case CONFIG_HELP:
	default:
		abort();
	}
	config_free(&cfg);
	free(text);
	return 0;
}
