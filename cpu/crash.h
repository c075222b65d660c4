/* SPDX-License-Identifier: MIT */
/*
 * The dump of a guest that died: why, registers, control registers, the code bytes
 * at RIP and the top of the stack. The vCPU must be paused.
 */
#ifndef CPU_CRASH_H
#define CPU_CRASH_H

#include <stdio.h>

struct mem;
struct vcpu;

void crash_dump(struct vcpu *vcpu, const struct mem *mem, FILE *out);

#endif
