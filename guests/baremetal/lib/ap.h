/* SPDX-License-Identifier: MIT */
/*
 * The other CPUs, in 64-bit guests: INIT and SIPI start them in real mode at AP_BASE, from
 * where they come to long mode and to a function of the guest's.
 */
#ifndef GUESTS_AP_H
#define GUESTS_AP_H

#include "guests/baremetal/lib/irq.h"

#define AP_MAX 16

#define ICR_FIXED 0x4000
#define ICR_INIT 0x4500
#define ICR_SIPI 0x4600

/* Runs on each AP, on a stack of its own, with the IDT loaded and interrupts off. */
typedef void ap_fn(unsigned index);

/* How many have come up since the last ap_prepare(). */
extern volatile unsigned ap_count;
/* What CS and IP were when the SIPI took effect, of the last one. */
extern volatile unsigned ap_cs, ap_cr0;

/* Puts the trampoline into place; the next ap_fn is fn. */
void ap_prepare(ap_fn *fn);
/* INIT, SIPI, SIPI for one APIC id. Its local APIC must be enabled by the caller. */
void ap_start(uint32_t id);
void ap_init(uint32_t id);

#endif
