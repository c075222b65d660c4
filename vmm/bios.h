/* SPDX-License-Identifier: MIT */
/*
 * A machine that boots through firmware (--firmware): its image, its log, and what it is
 * told of the machine. Main thread, before the machine runs. All return 0, or -errno,
 * with one line for the user where they take an err.
 */
#ifndef VMM_BIOS_H
#define VMM_BIOS_H

#include "vmm/machine.h"

/* Opens the image into m->rom and maps it; nothing without --firmware. */
int bios_open_rom(struct machine *m, struct err *err) __must_check;

/* Opens m->firmware_log where --firmware-log asks for it. */
int bios_open_log(struct machine *m, struct err *err) __must_check;

/*
 * The end of the image below 1 MiB, and the RAM there: for pci_host_config.pam. After KVM
 * has the other memory.
 */
int bios_shadow_create(struct machine *m, struct device **out) __must_check;

/* The fw_cfg device with what SeaBIOS reads, the disks in the order to boot from. */
int bios_fw_cfg_create(struct machine *m, struct device **out) __must_check;

#endif
