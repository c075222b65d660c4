/* SPDX-License-Identifier: MIT */
/*
 * A machine's vCPUs, and what --coalesce makes of the way from their guest's port accesses to the
 * bus.
 *
 * The main thread's.
 */
#ifndef VMM_CPUS_H
#define VMM_CPUS_H

#include "vmm/machine.h"

/* Behind the devices: doorbells and posted writes are KVM's from here on. 0, or -errno and err. */
int cpus_create(struct machine *m, struct err *err) __must_check;

#endif
