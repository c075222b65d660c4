/* SPDX-License-Identifier: MIT */
/*
 * Message-signalled interrupts of a PCI function: MSI-X (PCI 3.0, 6.8.2) and MSI
 * with one vector (6.8.1).
 *
 * Every vector has an eventfd that the interrupt controller has bound to its message
 * (base/irq.h): notifying is one eventfd write, by any thread, without a lock. A
 * masked vector's signal stays in the eventfd, which is thus the pending bit.
 * The controller is only told when what it should do changes: a guest that fills
 * in a masked table entry costs nothing.
 */
#ifndef DEVICES_PCI_MSI_H
#define DEVICES_PCI_MSI_H

#include "devices/pci/pci.h"

#define PCI_MSIX_MAX 64

struct pci_msix_state {
	uint8_t table[PCI_MSIX_MAX * PCI_MSIX_ENTRY_SIZE];
	uint64_t pending; /* as of pci_dev_pre_save(); the eventfds have it otherwise */
};

#define PCI_MSIX_STATE_FIELDS(s, m) STATE_BYTES(s, m.table), STATE_U(s, m.pending)

struct pci_msi_vector {
	int id; /* the controller's */
	int fd;
	/* What the controller was last told. */
	bool masked;
	uint64_t addr;
	uint32_t data;
};

struct pci_msix {
	struct pci_msix_state *s;
	struct msi_ctl *ctl;
	unsigned nr;
	uint8_t cap;
	atomic_bool enabled;
	struct pci_msi_vector vec[PCI_MSIX_MAX];
};

struct pci_msi {
	struct msi_ctl *ctl;
	uint8_t cap;
	atomic_bool enabled;
	struct pci_msi_vector vec;
};

/*
 * Gives pd an MSI-X capability with nr vectors (1 .. PCI_MSIX_MAX), its table at
 * table_offset and pending bits at pba_offset of a memory BAR; the BAR's handler
 * passes accesses there to pci_msix_read/write and pci_msix_pba_read. m is zeroed.
 * 0, -EOPNOTSUPP where the host has no MSI, or -errno of the controller.
 */
int pci_msix_add(struct pci_dev *pd, struct pci_msix *m, struct pci_msix_state *s, unsigned nr,
		 unsigned bar, uint32_t table_offset, uint32_t pba_offset) __must_check;

/* The table and the pending bits, from their own start; anything beyond reads 0. */
uint64_t pci_msix_read(struct pci_dev *pd, uint64_t offset, unsigned width);
void pci_msix_write(struct pci_dev *pd, uint64_t offset, unsigned width, uint64_t value);
uint64_t pci_msix_pba_read(struct pci_dev *pd, uint64_t offset, unsigned width);

/* Signals a vector; nothing happens while MSI-X is off or for a vector that is none. */
void pci_msix_notify(struct pci_dev *pd, unsigned vec);
static inline bool pci_msix_enabled(const struct pci_dev *pd)
{
	return pd->msix && atomic_load_explicit(&pd->msix->enabled, memory_order_relaxed);
}
/* The eventfd that pci_msix_notify() would write to; -1 where it would do nothing. */
int pci_msix_fd(const struct pci_dev *pd, unsigned vec);
/* Forgets signals that a mask has held back (a device reset). */
void pci_msix_clear_pending(struct pci_dev *pd);

/* The same for MSI, which has one vector. */
int pci_msi_add(struct pci_dev *pd, struct pci_msi *m) __must_check;
void pci_msi_notify(struct pci_dev *pd);
static inline bool pci_msi_enabled(const struct pci_dev *pd)
{
	return pd->msi && atomic_load_explicit(&pd->msi->enabled, memory_order_relaxed);
}

/* For pci.c: config space was written, reset, loaded; the function goes. */
void pci_msi_update(struct pci_dev *pd);
void pci_msi_reset(struct pci_dev *pd);
int pci_msi_post_load(struct pci_dev *pd) __must_check;
void pci_msi_pre_save(struct pci_dev *pd);
void pci_msi_destroy(struct pci_dev *pd);

#endif
