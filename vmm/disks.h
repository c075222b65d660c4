/* SPDX-License-Identifier: MIT */
/*
 * A machine's disks: opened and wired (disks_wire.c); the layers over each, what happens when one
 * stops (on-error=stop), and what is done to them while the machine runs (disks.c). Disk i is called "diski", in
 * the order of --disk and --cdrom on the command line.
 *
 * The main thread's.
 */
#ifndef VMM_DISKS_H
#define VMM_DISKS_H

#include "vmm/machine.h"

/*
 * Opens the images, with their layers; then, with a bus to hang them on, makes the controllers and
 * virtio devices. 0, or -errno with one line in err.
 */
int disks_open(struct machine *m, struct err *err) __must_check;
int disks_wire(struct machine *m, struct err *err) __must_check;

/* Puts the layers over m->blocks[i], which has been opened. 0 or -ENOMEM. */
int disks_stack(struct machine *m, unsigned i) __must_check;

/*
 * Before somebody waits until nothing is in flight: what is held or delayed goes down at once, and
 * errors go to the guest; and after it.
 */
void disks_drain(struct machine *m);
void disks_go_on(struct machine *m);

/*
 * Another length for a disk, told to its guest; a shorter one only if shrink says so. 0, or -errno
 * with one line in err, as those below.
 */
int disks_resize(struct machine *m, const char *name, uint64_t size, bool shrink,
		 struct err *err) __must_check;

/* Changes those rates that have their bit (1 << enum rate) in set; rates becomes what they all are. */
int disks_throttle(struct machine *m, const char *name, unsigned set, struct limit_rates *rates,
		   struct err *err) __must_check;

/* Goes on after a disk has stopped the machine. */
int disks_resume(struct machine *m, struct err *err) __must_check;

#endif
