/* SPDX-License-Identifier: MIT */
/* A PCI host on buses of its own, and a function that has one of everything. */
#ifndef TESTS_UNIT_PCI_RIG_H
#define TESTS_UNIT_PCI_RIG_H

#include "devices/pci/msi.h"
#include "devices/pci/pci_host.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

#define BAR_IO 0
#define BAR_MEM 1
#define BAR_MEM64 2
#define MSIX_TABLE 0x800
#define MSIX_PBA 0xc00
#define VECTORS 3

/* A function with one BAR of each kind, MSI-X, and a doorbell. */
struct pci_toy_state {
	struct pci_state pci;
	struct pci_msix_state msix;
};

struct pci_toy {
	struct device dev;
	struct pci_dev pci;
	struct pci_msix msix;
	struct pci_msi msi;
	struct pci_eventfd doorbell;
	uint64_t last_offset, last_value;
	unsigned writes;
	struct pci_toy_state s;
};

struct pci_rig {
	struct bus bus;
	struct fake_irq irqs[PCI_NR_ISA_IRQS];
	struct fake_msi msi;
	struct fake_power power;
	struct pci_host *host;
};

void pci_rig_init(struct pci_rig *m);
/* Every function must be gone; fails the test if anything of them is left. */
void pci_rig_fini(struct pci_rig *m);
/* Of a test: the host alone. */
int pci_rig_setup(void **state);
int pci_rig_teardown(void **state);

/* A new function at devfn; -1: wherever there is room. For device_destroy(). */
struct pci_toy *pci_rig_toy(struct pci_rig *m, int devfn, uint8_t pin);

#define cfg_in(m, devfn, reg, width) pci_cfg_in(&(m)->bus, devfn, reg, width)
#define cfg_out(m, devfn, reg, width, v) pci_cfg_out(&(m)->bus, devfn, reg, width, v)

#endif
