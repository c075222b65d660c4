/* SPDX-License-Identifier: MIT */
/*
 * What a running machine answers on its control socket (vmm/control.h). On the
 * control thread; ctx is the struct observe.
 */
#ifndef VMM_VERBS_H
#define VMM_VERBS_H

#include "vmm/control.h"

/*
 * exits                    the report (docs/exits.md)
 * profile {on}, {clear}    switches the profile on or off (booleans), forgets it; {} asks: {"on": bool}
 */
#define VERBS_NR 2
extern const struct control_verb verbs[VERBS_NR];

#endif
