/* SPDX-License-Identifier: MIT */
/*
 * Offsets and bits of PCI configuration space that the model uses: PCI Local Bus
 * Specification 3.0, chapter 6.
 */
#ifndef DEVICES_PCI_REGS_H
#define DEVICES_PCI_REGS_H

#define PCI_CONFIG_SIZE 256
#define PCI_NR_BARS 6

#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_STATUS 0x06
#define PCI_REVISION_ID 0x08
#define PCI_CLASS_PROG 0x09
#define PCI_CLASS_DEVICE 0x0a
#define PCI_CACHE_LINE_SIZE 0x0c
#define PCI_LATENCY_TIMER 0x0d
#define PCI_HEADER_TYPE 0x0e
#define PCI_BAR0 0x10
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_CAPABILITY_LIST 0x34
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_INTERRUPT_PIN 0x3d
#define PCI_DEVICE_REGS 0x40 /* the device's own and the capabilities */

#define PCI_COMMAND_IO 0x0001
#define PCI_COMMAND_MEMORY 0x0002
#define PCI_COMMAND_MASTER 0x0004
#define PCI_COMMAND_PARITY 0x0040
#define PCI_COMMAND_SERR 0x0100
#define PCI_COMMAND_INTX_DISABLE 0x0400

#define PCI_STATUS_INTERRUPT 0x0008
#define PCI_STATUS_CAP_LIST 0x0010

#define PCI_HEADER_MULTIFUNCTION 0x80

#define PCI_BAR_SPACE_IO 0x1
#define PCI_BAR_MEM_64 0x4

#define PCI_CAP_MSI 0x05
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX 0x11
#define PCI_CAP_AF 0x13

/* MSI (6.8.1): offsets in the capability, with a 64-bit address and no per-vector mask. */
#define PCI_MSI_CONTROL 2
#define PCI_MSI_ADDR 4
#define PCI_MSI_DATA 12
#define PCI_MSI_LEN 14
#define PCI_MSI_CONTROL_ENABLE 0x0001
#define PCI_MSI_CONTROL_64BIT 0x0080

/* MSI-X (6.8.2) */
#define PCI_MSIX_CONTROL 2
#define PCI_MSIX_TABLE 4
#define PCI_MSIX_PBA 8
#define PCI_MSIX_LEN 12
#define PCI_MSIX_CONTROL_MASKALL 0x4000
#define PCI_MSIX_CONTROL_ENABLE 0x8000
#define PCI_MSIX_ENTRY_SIZE 16ul
#define PCI_MSIX_ENTRY_DATA 8
#define PCI_MSIX_ENTRY_CONTROL 12
#define PCI_MSIX_ENTRY_MASKED 0x1

/* Advanced Features (an ECN of 2006 to the specification) */
#define PCI_AF_LEN 6
#define PCI_AF_CAP_TP 0x01 /* in byte 3, these two */
#define PCI_AF_CAP_FLR 0x02
#define PCI_AF_CONTROL 4
#define PCI_AF_CONTROL_INITIATE 0x01

#endif
