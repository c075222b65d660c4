/* SPDX-License-Identifier: MIT */
/*
 * Numbers of dsdt.asl that iasl wants folded already (the bounds of a resource) or that are
 * those of firmware.h; acpi.c asserts each against its source. Macros only.
 */
#ifndef FIRMWARE_DSDT_H
#define FIRMWARE_DSDT_H

/* The PCI memory window, ends inclusive. */
#define DSDT_PCI_MMIO_MIN 0xc0000000
#define DSDT_PCI_MMIO_MAX 0xfebfffff
#define DSDT_PCI_MMIO_LEN 0x3ec00000

/* Bits of \FACT: FIRMWARE_* by number. */
#define DSDT_FACT_COM1 0
#define DSDT_FACT_COM2 1
#define DSDT_FACT_COM3 2
#define DSDT_FACT_COM4 3
#define DSDT_FACT_RTC 4
#define DSDT_FACT_PVPANIC 5
#define DSDT_FACT_PCI 10

#endif
