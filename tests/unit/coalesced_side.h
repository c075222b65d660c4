/* SPDX-License-Identifier: MIT */
/*
 * A machine with a guest's disks and clock for tests of coalesced I/O, and a KVM that keeps writes
 * back in its ring, whose kernel half is played here.
 */
#ifndef TESTS_UNIT_COALESCED_SIDE_H
#define TESTS_UNIT_COALESCED_SIDE_H

#include "cpu/coalesced_pio.h"
#include "guests/include/bantam/coalesced_io.h"
#include "tests/unit/ide_driver.h"

#define PAGE 0x20000ull /* the list's */
#define STRINGS 0x200000ull
#define STRINGS_LEN 0x10000ull
#define RING_SIZE \
	((4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

struct side {
	struct ide_world w;
	struct fake_clock clock;
	struct fake_irq rtc_irq;
	struct device *rtc;
	/* The kernel's. */
	struct kvm_coalesced_mmio_ring *ring; /* a page */
	struct coalesced_pio posted;
	pthread_mutex_t ring_lock; /* as the kernel's */
	struct {
		uint64_t port, len;
	} zones[32];
	unsigned nr_zones, kept;
};

/* posts: writes are kept back. */
void side_init(struct side *s, bool posts);
void side_destroy(struct side *s);

/* Would a write of these ports be kept back, if there is room? */
bool in_zone(const struct side *s, uint64_t port, unsigned width);
/* As virt/kvm/coalesced_mmio.c: false where the write has to leave the kernel. */
bool keep_back(struct side *s, uint64_t port, const void *data, unsigned width);
void guest_out(struct side *s, uint64_t port, unsigned width, uint32_t value);

struct coalesced_io_page *page_of(struct side *s);
/* Returns the accesses made. */
unsigned ring_bell(struct side *s);

/* The same state of all devices, interrupts and memory. */
void same(struct side *a, struct side *b);

#endif
