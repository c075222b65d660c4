/* SPDX-License-Identifier: MIT */
/*
 * A PCI function: 256 bytes of configuration space, six base addresses, a list of
 * capabilities, an interrupt line (PCI Local Bus Specification 3.0, chapter 6).
 *
 * A device embeds a struct pci_dev, and a struct pci_state in its state struct.
 * Its create() calls, in this order: pci_dev_init, pci_add_bar / pci_add_cap /
 * pci_msix_add / pci_msi_add, pci_dev_attach. Reset, post_load and destroy call
 * the functions of the same name below.
 *
 * Locks, outermost first:
 *
 *   host's device lock      a guest's access to 0xcf8/0xcfc: the address latch, the list
 *                           of functions
 *   function's device lock  its configuration space, where its BARs are mapped; the
 *                           config handlers take it below the host's, the bus takes it
 *                           alone. So: host, then function; never the other way round,
 *                           and never two functions at once.
 *   bus lock, intx_lock     leaves. pci_host.intx_lock guards what the interrupt lines
 *                           depend on, so that a line is raised with a function's lock
 *                           held, or from an I/O thread with none.
 *
 * pci_intx_set(), pci_msix_notify() and pci_msi_notify() may be called by any thread;
 * everything else under the function's lock, or before the machine runs.
 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include <stdatomic.h>

#include "base/bus.h"
#include "base/device.h"
#include "base/irq.h"
#include "base/state.h"
#include "devices/pci/pci_regs.h"

struct pci_host;
struct pci_dev;
struct pci_msix;
struct pci_msi;

/* What a function saves, and the entries of its device's state table for it. */
struct pci_state {
	uint8_t config[PCI_CONFIG_SIZE];
};

#define PCI_STATE_FIELDS(s, m) STATE_BYTES(s, m.config)

enum pci_bar_type { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

/* An eventfd at an offset of a BAR, wherever the BAR is. The device embeds one each. */
struct pci_eventfd {
	uint32_t offset;
	unsigned width; /* as in struct bus_eventfd, these three */
	bool match;
	uint64_t datamatch;
	int fd;
	struct pci_eventfd *next; /* the BAR's list */
	bool on_bus;
};

struct pci_bar {
	enum pci_bar_type type;
	uint64_t size; /* bytes, a power of 2 */
	const struct bus_ops *ops; /* offsets count from the start of the BAR */
	struct pci_eventfd *eventfds;
	struct device *const *owners; /* who answers, each in a part of it: pci_bar_share() */
	unsigned nr_owners;
	bool mapped;
	bool refused; /* something else is where it should be */
	uint64_t addr; /* where it is mapped */
};

struct pci_dev_ops {
	/* Before offset .. offset + width is read: brings config up to date. Optional. */
	void (*config_read)(struct pci_dev *pd, unsigned offset, unsigned width);
	/* After it was written and the header, BARs and MSI have acted on it. Optional. */
	void (*config_written)(struct pci_dev *pd, unsigned offset, unsigned width);
};

struct pci_ids {
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class; /* base class, subclass, programming interface: 0x010000 */
	uint8_t pin; /* 0: no INTx, 1: INTA */
};

struct pci_dev {
	struct pci_host *host;
	struct device *dev; /* whose lock guards it and whom the BARs' handlers get */
	struct pci_state *s;
	const struct pci_dev_ops *ops; /* may be NULL */
	uint8_t devfn; /* slot << 3 | function */
	bool attached;
	uint8_t wmask[PCI_CONFIG_SIZE]; /* bits that the guest may write */
	uint8_t initial[PCI_CONFIG_SIZE]; /* config at power-on */
	uint8_t cap_last; /* where the list of capabilities ends, 0: empty */
	uint8_t cap_free; /* first free byte behind them */
	struct pci_bar bars[PCI_NR_BARS];
	struct pci_msix *msix; /* NULL: none */
	struct pci_msi *msi;
	bool intx_level; /* the next two: guarded by the host's intx_lock */
	bool intx_disabled;
};

/* pd must be zeroed. dev and s must live as long. */
void pci_dev_init(struct pci_dev *pd, struct pci_host *host, struct device *dev,
		  struct pci_state *s, const struct pci_dev_ops *ops, const struct pci_ids *ids);

/* size: a power of 2, at least 16 (memory) or 4, at most 256 (I/O). MEM64 takes two. */
void pci_add_bar(struct pci_dev *pd, unsigned bar, enum pci_bar_type type, uint64_t size,
		 const struct bus_ops *ops);

/*
 * Divides a BAR into nr equal parts, each for a device of its own: handlers get that device,
 * its lock held, and offsets that count from the start of its part. owners lives as long as pd.
 */
void pci_bar_share(struct pci_dev *pd, unsigned bar, struct device *const *owners, unsigned nr);

/*
 * Appends a capability of len bytes: id, link, then body (len - 2 bytes). Returns its
 * offset, or -ENOSPC. Guests read the list in the order of the calls.
 */
int pci_add_cap(struct pci_dev *pd, uint8_t id, const void *body, unsigned len) __must_check;

/* A register of the device's own: its value at power-on and its writable bits. */
void pci_set_reg(struct pci_dev *pd, unsigned offset, unsigned width, uint32_t value,
		 uint32_t wmask);

/*
 * Puts the function at devfn (slot << 3 | function; -1: function 0 of the first free
 * slot) and resets it. 0, -EEXIST where one is there, -ENOSPC, -EINVAL.
 */
int pci_dev_attach(struct pci_dev *pd, int devfn) __must_check;

/* Undoes all of the above, whatever was done of it; frees MSI vectors. No vCPU runs. */
void pci_dev_destroy(struct pci_dev *pd);

/* Config space as at power-on: BARs unmapped, MSI off, the line down. */
void pci_dev_reset(struct pci_dev *pd);

/*
 * Refuses (-EBADMSG) a config space that differs from ours where a guest cannot write,
 * then maps the BARs and sets up MSI as loaded. The line is the device's to set again.
 */
int pci_dev_post_load(struct pci_dev *pd) __must_check;

/* Brings what is only in eventfds into the state, for device_ops.pre_save. */
void pci_dev_pre_save(struct pci_dev *pd);

/* Adds (removes) an eventfd at e->offset of a BAR; it moves with the BAR. 0 or -errno. */
int pci_bar_add_eventfd(struct pci_dev *pd, unsigned bar, struct pci_eventfd *e) __must_check;
void pci_bar_remove_eventfd(struct pci_dev *pd, unsigned bar, struct pci_eventfd *e);

/* Raises or lowers the function's INTx pin. Any thread, any lock but the leaves. */
void pci_intx_set(struct pci_dev *pd, bool level);

/* For pci.c, under the same rules: the command register's bit; what the pin says. */
void pci_intx_disable(struct pci_dev *pd, bool disabled);
bool pci_intx_level(struct pci_dev *pd);

bool pci_bus_master(const struct pci_dev *pd);

/* A guest's access to the function's config space; naturally aligned, 1, 2 or 4 bytes. */
uint32_t pci_config_read(struct pci_dev *pd, unsigned offset, unsigned width);
void pci_config_write(struct pci_dev *pd, unsigned offset, unsigned width, uint32_t value);

/* Tries again to map BARs that were refused. */
void pci_bars_retry(struct pci_dev *pd);

#endif
