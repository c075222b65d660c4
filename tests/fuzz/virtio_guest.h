/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk for fuzz targets, with an I/O thread of its own, and how a guest reaches it. A
 * check that fails is what the fuzzer looks for.
 */
#ifndef TESTS_FUZZ_VIRTIO_GUEST_H
#define TESTS_FUZZ_VIRTIO_GUEST_H

#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"

#define RAM MIB
#define QSIZE 8
#define DISK (8 * 512)
#define DEVFN 0x10

struct guest {
	struct mem *mem;
	struct iothread *io;
	struct bus bus;
	struct pci_host *host;
	struct device *dev;
	uint16_t avail_idx;
};

static inline void check(bool ok)
{
	if (!ok)
		abort();
}

static inline void out(struct guest *g, enum bus_space space, uint64_t addr, unsigned width,
		       uint64_t v)
{
	bus_write(&g->bus, space, addr, &v, width);
}

static inline uint64_t in(struct guest *g, enum bus_space space, uint64_t addr, unsigned width)
{
	uint64_t v = 0;

	bus_read(&g->bus, space, addr, &v, width);
	return v;
}

static inline const struct pci_bar *bar(const struct guest *g, unsigned n)
{
	return &container_of(g->dev, struct virtio_pci, vdev.dev)->pci.bars[n];
}

static inline void config_out(struct guest *g, unsigned reg, unsigned width, uint32_t v)
{
	out(g, BUS_PIO, 0xcf8, 4, 0x80000000u | DEVFN << 8 | (reg & 0xfc));
	out(g, BUS_PIO, 0xcfc + (reg & 3), width, v);
}

static inline void poke(struct guest *g, uint64_t gpa, unsigned width, uint64_t v)
{
	(void)!mem_write(g->mem, gpa, &v, width);
}

static inline void guest_post_sem(void *opaque)
{
	sem_post(opaque);
}

/*
 * Returns when the I/O thread has seen every kick so far. Events are taken in turn, but
 * the first post may still overtake a kick, the second one cannot.
 */
static inline void settle(struct guest *g)
{
	struct loop_post post = { .fn = guest_post_sem };
	sem_t sem;

	sem_init(&sem, 0, 0);
	post.opaque = &sem;
	for (unsigned i = 0; i < 2; i++) {
		loop_post(&g->io->loop, &post);
		while (sem_wait(&sem)) /* a signal */
			;
	}
	sem_destroy(&sem);
}

static inline void save_load(struct guest *g)
{
	struct state_buf a = { 0 };

	virtio_pause(g->dev);
	check(!state_save(g->dev, &a));
	check(state_load(g->dev, a.data, a.len) == (ssize_t)a.len);
	virtio_resume(g->dev);
	state_buf_free(&a);
}

/* The ring at used has one element: descriptor 0, a sector and its status. */
static inline void check_used_sector(const struct guest *g, uint64_t used)
{
	check(load_le((char *)g->mem->map + used + 2, 2) == 1);
	check(load_le((char *)g->mem->map + used + 4, 8) == 513ull << 32);
}

static inline void guest_fini(struct guest *g)
{
	device_destroy(g->dev);
	device_destroy(&g->host->dev);
	bus_destroy(&g->bus);
}

#endif
