/* SPDX-License-Identifier: MIT */
/* --net, and what follows from it. */
#ifndef VMM_CONFIG_NET_H
#define VMM_CONFIG_NET_H

#include "vmm/config.h"

/* 0, or -EINVAL with a line in err; value is cut apart. */
int config_net(struct config *cfg, const char *option, char *value, struct err *err) __must_check;

/*
 * The address of card number of a machine of that name, where none is given: always the same, and of
 * no group, administered locally.
 */
void config_net_mac(uint8_t mac[NET_MAC_LEN], const char *machine, unsigned number);

/* Its keys, for help. */
void config_net_print_keys(void);

#endif
