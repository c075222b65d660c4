/* SPDX-License-Identifier: MIT */
/*
 * A machine with a virtio disk, on any transport and with either kind of ring, and its driver.
 * A test says in the disk's own configuration what its disk is to be, and puts the machine
 * together; then the driver starts it, and asks it for something. What does not come out as it
 * should fails the test.
 */
#ifndef TESTS_UNIT_VIRTIO_RIG_H
#define TESTS_UNIT_VIRTIO_RIG_H

#include <stdatomic.h>

#include "devices/pci/pci_host.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/fake_block.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

#define VRIG_DEVFN 0x10
#define VRIG_MMIO_BASE 0xfec80000ull
#define VRIG_QSIZE 16
#define VRIG_QUEUES 4
#define VRIG_SECTORS 64
#define VRIG_WAIT 2000 /* ms; only ever waited for when something is wrong */

/* Where in guest memory: the queues, and what a slot, of which a ring may fill, has. */
#define VRIG_RAM (8 * MIB)
#define VRIG_RING(queue) (0x10000ull + (queue)*0x10000)
#define VRIG_TABLE(slot) (0x100000ull + (slot)*64)
#define VRIG_HEADER(slot) (0x200000ull + (slot)*16)
#define VRIG_STATUS(slot) (0x201000ull + (slot))
#define VRIG_DATA(slot) (0x300000ull + (slot)*0x2000)

/* VIRTIO 1.2, 5.2.3 */
#define VRIG_F_RO (1ull << 5)
#define VRIG_F_FLUSH (1ull << 9)
#define VRIG_F_WCE (1ull << 11)
#define VRIG_F_MQ (1ull << 12)
#define VRIG_F_DISCARD (1ull << 13)
#define VRIG_F_ZEROES (1ull << 14)
#define VRIG_LEGACY_FEATURES (VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define VRIG_MODERN_FEATURES (VIRTIO_F_VERSION_1 | VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC)

/* 5.2.6: a request's type, and its status. */
enum {
	VRIG_IN = 0,
	VRIG_OUT = 1,
	VRIG_FLUSH = 4,
	VRIG_GET_ID = 8,
	VRIG_DISCARD = 11,
	VRIG_ZEROES = 13,
};
enum { VRIG_OK, VRIG_IOERR, VRIG_UNSUPP };

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

struct vrig {
	/* What outlives a machine; a twin's cfg leads to those of the first. */
	struct mem mem;
	struct fake_block disk;
	uint8_t bytes[VRIG_SECTORS * 512]; /* the fake disk's */
	struct block *image; /* after vrig_open_image() */
	char path[32];
	struct block_stages stages[VRIG_QUEUES]; /* for tests that want accounts */

	/* What the next machine is like. */
	struct virtio_blk_config cfg;
	const struct vrig_variant *v;
	bool no_msi;

	/* The machine; dev is NULL while there is none. */
	struct bus bus;
	struct fake_irq irqs[PCI_NR_ISA_IRQS];
	struct fake_irq mmio_irq;
	struct fake_msi msi;
	struct pci_host *host;
	struct device *dev;
	struct virtio_dev *vdev;
	struct vdrv d;
	struct vdrv_queue q[VRIG_QUEUES];
};

/*
 * No machine yet; cfg is that of a modern PCI disk with one queue, and the fake disk of zeroes
 * behind it. m is zeroed. vrig_fini() takes the machine, too, if there is one.
 */
void vrig_init(struct vrig *m);
void vrig_fini(struct vrig *m);
/* Puts an image in the place of the fake disk; a byte's value follows from its place. */
void vrig_open_image(struct vrig *m, bool readonly);

/* The driver has found the disk, and done no more. */
void vrig_create(struct vrig *m);
/* The same of a disk with two queues and the threads for them, and with packed rings, as v says. */
void vrig_create_as(struct vrig *m, const struct vrig_variant *v);
/* Fails the test where anything of the disk is left on the bus. */
void vrig_destroy(struct vrig *m);
/* A second machine like the first, with the same memory and disk; for vrig_destroy(). */
void vrig_create_twin(struct vrig *twin, struct vrig *m);
/* The driver and its queues go on with the twin's device. */
void vrig_move_to_twin(struct vrig *twin, const struct vrig *m);
/* Finds the disk again, after a reset of its PCI function. */
void vrig_probe(struct vrig *m);

/*
 * For cmocka: *state is a struct vrig, with the fake disk or an image, with a machine or with
 * none yet.
 */
int vrig_setup_none(void **state);
int vrig_setup(void **state);
int vrig_setup_image_none(void **state);
int vrig_setup_image(void **state);
int vrig_teardown(void **state);

/*
 * Brings the disk up, with MSI-X where that is: vector 0 is the configuration's, n + 1 queue n's.
 * A driver that is not a legacy one takes VERSION_1 with features.
 */
void vrig_start(struct vrig *m, uint64_t features);
void vrig_start_queues(struct vrig *m, uint64_t features, unsigned nr);

void *vrig_at(struct vrig *m, uint64_t gpa);

/*
 * A request of a slot, whose data are the test's: into the ring, in an indirect table where the
 * driver has those. Its answer: its status; *used, which may be NULL, is as many bytes as the
 * device says that it has written. And all of that in slot 0, with a kick.
 */
void vrig_add(struct vdrv_queue *q, unsigned slot, uint32_t type, uint64_t sector, uint32_t len);
uint8_t vrig_finish(struct vdrv_queue *q, unsigned slot, uint32_t *used);
uint8_t vrig_request(struct vdrv_queue *q, uint32_t type, uint64_t sector, uint32_t len,
		     uint32_t *used);
/* The header alone, of a request whose descriptors the test makes; its status is unset. */
void vrig_put_header(struct vdrv_queue *q, unsigned slot, uint32_t type, uint64_t sector);

/*
 * The same three for a sector that is read from an image, and looked at. Odd sectors come in an
 * indirect table where the driver has those, even ones never do.
 */
void vrig_add_read(struct vdrv_queue *q, unsigned slot, unsigned sector);
void vrig_finish_read(struct vdrv_queue *q, unsigned slot, unsigned sector);
void vrig_read(struct vdrv_queue *q, unsigned sector);
/* len bytes at gpa are those of an image from offset on. */
void vrig_check_data(struct vdrv_queue *q, uint64_t gpa, uint64_t offset, unsigned len);

/* Waits for the next used buffer: its length. */
uint32_t vrig_used(struct vdrv_queue *q);
/* None comes within ms milliseconds. */
void vrig_check_none_used(struct vdrv_queue *q, unsigned ms);

/*
 * Whatever has woken queue 0's I/O thread is over, and the thread has asked for the next kick,
 * if the queue works at all.
 */
void vrig_settle(struct vrig *m);

/* Waits until *v is n: what the fake disk counts. */
void vrig_wait(const atomic_uint *v, unsigned n);
void vrig_wait_needs_reset(struct vrig *m);

/* Interrupts by MSI-X vector since the last call; the same, but waits for the first of them. */
unsigned vrig_take(struct vrig *m, unsigned vec);
unsigned vrig_take_soon(struct vrig *m, unsigned vec);
/* The disk's interrupt line, for a driver without MSI-X; and waits until it has this level. */
bool vrig_line(struct vrig *m);
void vrig_wait_line(struct vrig *m, bool level);

#endif
