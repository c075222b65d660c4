/* SPDX-License-Identifier: MIT */
/*
 * A machine's network cards: opened, with the layers over each, wired, and what is done to them while
 * the machine runs. Card i is called "neti", in the order of --net on the command line.
 *
 * The main thread's.
 */
#ifndef VMM_NETS_H
#define VMM_NETS_H

#include <cjson/cJSON.h>

#include "vmm/machine.h"

/* Opens the back-ends; then makes the cards. 0, or -errno with one line in err, as those below. */
int nets_open(struct machine *m, struct err *err) __must_check;
int nets_wire(struct machine *m, struct err *err) __must_check;

/* Pulls the cable out, or plugs it in. */
int nets_set_link(struct machine *m, const char *name, bool up, struct err *err) __must_check;

/* Changes those rates that have their bit (1 << enum net_rate) in set; rates becomes what they are. */
int nets_throttle(struct machine *m, const char *name, unsigned set, struct net_rates *rates,
		  struct err *err) __must_check;

/* What each of them is and has moved: docs/net.md. NULL without memory. */
cJSON *nets_to_json(const struct machine *m) __must_check;

#endif
