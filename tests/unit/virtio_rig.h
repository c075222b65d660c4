/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk on any transport, with either kind of ring, and its driver: for tests of what
 * all of them have in common, and of what each has of its own. What does not come out as it
 * should fails the test.
 */
#ifndef TESTS_UNIT_VIRTIO_RIG_H
#define TESTS_UNIT_VIRTIO_RIG_H

#include "backends/block/block.h"
#include "devices/pci/pci_host.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

#define VRIG_DEVFN 0x10
#define VRIG_MMIO_BASE 0xfec80000ull
#define VRIG_RAM (8 * MIB)
#define VRIG_QSIZE 8
#define VRIG_RING(n) (0x10000ull + (n)*0x10000)
#define VRIG_HEADER 0x200000ull /* a slot's 16 bytes, 1 byte and 512 bytes, these three */
#define VRIG_STATUS 0x201000ull
#define VRIG_DATA 0x300000ull
#define VRIG_SECTORS 64
#define VRIG_WAIT 2000 /* ms; only ever waited for when something is wrong */

#define VRIG_F_FLUSH (1ull << 9)
#define VRIG_LEGACY_FEATURES (VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define VRIG_MODERN_FEATURES (VIRTIO_F_VERSION_1 | VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC)

/* How a disk is made, and which way its driver comes. */
struct vrig_variant {
	const char *name;
	enum virtio_pci_mode mode;
	enum vdrv_kind kind;
	bool no_ioeventfd;
	uint64_t features;
};

enum vrig_way {
	VRIG_MODERN,
	VRIG_MODERN_PACKED,
	VRIG_TRANSITIONAL,
	VRIG_TRANSITIONAL_PACKED,
	VRIG_AS_LEGACY,
	VRIG_LEGACY,
	VRIG_LEGACY_EXITS,
	VRIG_MMIO,
	VRIG_MMIO_PACKED,
	VRIG_MMIO_EXITS,
	VRIG_NR_VARIANTS
};

extern const struct vrig_variant vrig_variants[VRIG_NR_VARIANTS];

/* What outlives a machine. A sector's first byte is its number. */
struct vrig_disk {
	struct mem mem;
	struct block *block;
	char path[64];
};

struct vrig {
	struct mem *mem;
	struct bus bus;
	struct fake_irq irqs[PCI_NR_ISA_IRQS];
	struct fake_irq mmio_irq;
	struct fake_msi msi;
	struct pci_host *host;
	struct device *dev;
	struct virtio_dev *vdev;
	struct vdrv d;
	struct vdrv_queue q;
	const struct vrig_variant *v;
};

/* For cmocka: *state is a struct vrig_disk. */
int vrig_setup(void **state);
int vrig_teardown(void **state);

/* m is zeroed. The driver has found the device, and done no more; v lives on. */
void vrig_init(struct vrig *m, struct vrig_disk *f, const struct vrig_variant *v, bool msi,
	       bool flr);
void vrig_fini(struct vrig *m);
/* Finds it again, after a reset of its PCI function. */
void vrig_probe(struct vrig *m);

/* Brings the device up with queue 0 as m->q. */
void vrig_start(struct vrig *m);

/*
 * A request: into the ring of m->q; its answer; both, and a kick between. Odd sectors come in an
 * indirect table where the driver has those.
 */
void vrig_add(struct vrig *m, unsigned slot, uint32_t type, uint64_t sector);
void vrig_finish(struct vrig *m, unsigned slot, unsigned sector);
void vrig_request(struct vrig *m, unsigned sector);

/* The I/O thread is done with every kick so far: see test_virtio_blk.c. */
void vrig_settle(struct vrig *m);

/* The device's interrupt line, without MSI-X. */
bool vrig_line(struct vrig *m);
void vrig_wait_line(struct vrig *m);

#endif
