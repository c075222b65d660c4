/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's registers at power-on and at the kernel's entry. The vCPU must be paused.
 */
#ifndef CPU_REGS_H
#define CPU_REGS_H

#include "base/boot.h"
#include "base/util.h"

/* What firmware leaves beyond KVM's own reset values: MTRRs, LINT0 and LINT1. 0 or -errno. */
int regs_setup_power_on(int vcpu_fd, unsigned index) __must_check;

/* Where the first vCPU starts (base/boot.h). 0 or -errno. */
int regs_set_entry(int vcpu_fd, const struct boot_entry *entry) __must_check;

#endif
