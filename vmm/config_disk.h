/* SPDX-License-Identifier: MIT */
/*
 * --disk and --cdrom. All return 0, or -EINVAL with a line in err; value is cut apart.
 */
#ifndef VMM_CONFIG_DISK_H
#define VMM_CONFIG_DISK_H

#include "vmm/config.h"

int config_disk(struct config *cfg, const char *option, char *value, struct err *err) __must_check;
int config_cdrom(struct config *cfg, const char *option, char *value, struct err *err) __must_check;

/*
 * After all of them: gives each IDE drive its place. Disks take the places in order; a CD-ROM likes
 * to be the second channel's master.
 */
int config_place_ide(struct config *cfg, struct err *err) __must_check;

/* The keys of --disk, for help. */
void config_disk_print_keys(void);

#endif
