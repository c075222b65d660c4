/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus: configuration mechanism 1 at ports 0xcf8 .. 0xcff (PCI Local Bus
 * Specification 3.0, 3.2.2.3.2), the host bridge 00:00.0 (82441FX), the ISA bridge
 * 00:01.0 (PIIX3) with its PIRQ route registers, and the PIIX3's reset control
 * register (devices/pci/rcr.h), which lies under mechanism 1's address register.
 *
 * There is one bus, number 0; reads of others and of absent functions give ones.
 * A slot's pin (INTA 0 .. INTD 3) leads to PLATFORM_PCI_LINK(slot, pin), PIRQA .. PIRQD, and
 * from there to the ISA IRQ that the PIRQ route register names: what the DSDT's
 * _PRT must say too. A line is up while any function on any link routed to it is.
 *
 * The host bridge's PAM registers are told to whom the config names (devices/pci/pam.h);
 * else they are storage, and the memory below 1 MiB is RAM whatever they hold.
 *
 * Locks: devices/pci/pci.h.
 */
#ifndef DEVICES_PCI_HOST_H
#define DEVICES_PCI_HOST_H

#include <pthread.h>

#include "base/bus.h"
#include "base/device.h"
#include "base/irq.h"
#include "base/power.h"
#include "devices/pci/pam.h"
#include "devices/pci/pci.h"

#define PCI_NR_LINKS 4
#define PCI_NR_ISA_IRQS 16
#define PCI_NR_DEVFN 256

struct pci_host_config {
	const char *name; /* "pci" */
	struct bus *bus;
	struct msi_ctl *msi; /* NULL: functions have no MSI */
	struct irq irqs[PCI_NR_ISA_IRQS]; /* level-triggered, as far as PIRQs may lead there */
	struct power power; /* port 0xcf9 */
	struct pam pam;
};

struct pci_host_state {
	uint32_t address; /* CONFIG_ADDRESS */
	uint8_t reset_control; /* port 0xcf9 */
	struct pci_state bridge;
	struct pci_state isa;
};

struct pci_host {
	struct device dev;
	struct bus *bus;
	struct msi_ctl *msi;
	struct power power;
	struct pci_dev bridge;
	struct pci_dev isa;
	struct pci_dev *fns[PCI_NR_DEVFN]; /* fixed before the machine runs */
	atomic_uint nr_refused; /* BARs that wait for room */
	struct pam pam;
	uint8_t pam_told[PAM_NR_SEGMENTS]; /* what it was told last: PAM_READ, PAM_WRITE */

	pthread_mutex_t intx_lock; /* guards everything below, and the pci_dev.intx_* */
	struct irq irqs[PCI_NR_ISA_IRQS];
	unsigned link_count[PCI_NR_LINKS]; /* functions that hold the link up */
	uint8_t pirq[PCI_NR_LINKS]; /* PIRQRC: bit 7 off, bits 0-3 the IRQ */
	uint16_t irq_levels;

	struct pci_host_state s;
};

/* Claims ports 0xcf8 .. 0xcff. 0 or -errno. Functions are destroyed before the host. */
int pci_host_create(const struct pci_host_config *cfg, struct pci_host **out) __must_check;

/*
 * What firmware does before an operating system: routes PIRQs to PLATFORM_IRQ_PCI_*,
 * places every BAR in PLATFORM_PCI_MMIO_* and PLATFORM_PCI_IO_*, writes interrupt
 * lines and turns memory and I/O decoding on (bus mastering is left to drivers).
 * For direct boot, after creation and after every reset; no vCPU runs. 0, or -ENOSPC
 * where a BAR has no room (it stays off, the others are done).
 */
int pci_assign(struct pci_host *host) __must_check;

/* The ISA IRQ that pin INTA of a slot leads to at present, or -1. Any thread. */
int pci_slot_irq(struct pci_host *host, unsigned slot);

#endif
