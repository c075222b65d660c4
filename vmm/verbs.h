/* SPDX-License-Identifier: MIT */
/*
 * What a running machine answers on its control socket (vmm/control.h). On the
 * control thread; ctx is the struct machine.
 */
#ifndef VMM_VERBS_H
#define VMM_VERBS_H

#include "vmm/control.h"

/*
 * exits                    the report (docs/exits.md)
 * profile {on}, {clear}    switches the profile on or off (booleans), forgets it; {} asks: {"on": bool}
 * resize {disk, size}      "disk0" and its new length in bytes; shrink: true to cut off its end
 * throttle {disk, ...}     "disk0" and any of iops, bps, iops-burst, bps-burst, 0: none; gives all four; or
 * throttle {net, ...}      "net0" and any of pps, bps; gives both
 * resume {}                goes on after a disk with on-error=stop has stopped the machine
 * pit {max-hz}, {time}, {lost-ticks}   changes what is given; {} asks: all of these and
 *                          {"asked-hz", "raised", "dropped", "owed"}
 * info {}                  {"name", "cpus", "memory", "nets"}: what the machine has (docs/net.md)
 * link {net, up}           "net0" and whether its cable is in
 */
#define VERBS_NR 8
extern const struct control_verb verbs[VERBS_NR];

#endif
