/* SPDX-License-Identifier: MIT */
/*
 * PCI: configuration mechanism 1, base addresses, capabilities, MSI-X. A function is named
 * by its devfn (slot << 3 | function) on bus 0.
 */
#ifndef GUESTS_PCI_H
#define GUESTS_PCI_H

#include "guests/baremetal/lib/rt.h"

#define PCI_NONE (~0u)

#define PCI_COMMAND 0x04
#define PCI_COMMAND_IO 1
#define PCI_COMMAND_MEMORY 2
#define PCI_COMMAND_MASTER 4
#define PCI_COMMAND_INTX_OFF 0x400
#define PCI_STATUS 0x06
#define PCI_BAR(n) (0x10 + 4 * (n))
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_CAP_VENDOR 9
#define PCI_CAP_MSIX 0x11

uint32_t pci_read(unsigned devfn, unsigned offset, unsigned width);
void pci_write(unsigned devfn, unsigned offset, unsigned width, uint32_t v);

/* The first function with these ids, or PCI_NONE. */
unsigned pci_find(uint16_t vendor, uint16_t device);
/* The next capability of this id behind after (0: the first); 0 where there is none. */
unsigned pci_cap(unsigned devfn, uint8_t id, unsigned after);

bool pci_bar_is_io(unsigned devfn, unsigned bar);
bool pci_bar_is_64(unsigned devfn, unsigned bar);
uint64_t pci_bar(unsigned devfn, unsigned bar);
void pci_set_bar(unsigned devfn, unsigned bar, uint64_t addr);
/* By writing ones and reading back; the BAR is as before afterwards. */
uint64_t pci_bar_size(unsigned devfn, unsigned bar);

/* A memory BAR's address plus offset, or the table of MSI-X. */
uintptr_t pci_msix_table(unsigned devfn);
uintptr_t pci_msix_pba(unsigned devfn);
unsigned pci_msix_vectors(unsigned devfn);
void pci_msix_control(unsigned devfn, bool enable, bool mask_all);
/* Entry n: vector for APIC id 0. */
void pci_msix_set(unsigned devfn, unsigned n, unsigned vector, bool masked);

#endif
