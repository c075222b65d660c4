/* SPDX-License-Identifier: MIT */
/*
 * How a guest reaches a virtio device with an I/O thread of its own, for fuzz targets. A check that
 * fails is what the fuzzer looks for.
 */
#ifndef TESTS_FUZZ_VIRTIO_GUEST_H
#define TESTS_FUZZ_VIRTIO_GUEST_H

#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/state.h"
#include "devices/virtio/virtio_any.h"

#define RAM MIB
#define QSIZE 8
#define DISK (8 * 512) /* for those who test with one */
#define DEVFN 0x10

struct guest {
	struct mem *mem;
	struct iothread *io;
	struct bus bus;
	struct msi_ctl ctl;
	struct pci_host *host;
	struct device *dev;
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

/* A register of the modern interface. */
static inline void common_out(struct guest *g, unsigned reg, unsigned width, uint64_t v)
{
	out(g, BUS_MMIO, bar(g, 1)->addr + reg, width, v);
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
 * Returns when the I/O thread has seen every kick so far, and what follows from it. Events are taken in
 * turn, but the first posts may still overtake a kick; the third cannot.
 */
static inline void settle(struct guest *g)
{
	struct loop_post post = { .fn = guest_post_sem };
	sem_t sem;

	sem_init(&sem, 0, 0);
	post.opaque = &sem;
	for (unsigned i = 0; i < 3; i++) {
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

static inline int guest_msi_alloc(struct msi_ctl *ctl, int *fd)
{
	(void)ctl;
	return *fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static inline void guest_msi_free(struct msi_ctl *ctl, int id)
{
	(void)ctl;
	close(id);
}

static inline int guest_msi_set(struct msi_ctl *ctl, int id, uint64_t addr, uint32_t data,
				bool masked)
{
	(void)ctl;
	(void)addr;
	(void)data;
	(void)masked;
	return id < 0;
}

/*
 * g is zeroed; its memory and thread are made once for all runs. at: where its device is to be, on PCI.
 */
static inline void guest_init(struct guest *g, struct mem *mem, struct iothread *io, bool msi,
			      struct virtio_place *at)
{
	static const struct msi_ctl_ops msi_ops = { guest_msi_alloc, guest_msi_free,
						    guest_msi_set };
	struct pci_host_config pc = { .name = "pci", .bus = &g->bus };

	if (!mem->map)
		check(!mem_init(mem, RAM) && !iothread_start(io, "fuzz"));
	g->mem = mem;
	g->io = io;
	g->ctl.ops = &msi_ops;
	if (msi)
		pc.msi = &g->ctl;
	bus_init(&g->bus);
	check(!pci_host_create(&pc, &g->host));
	*at = (struct virtio_place){
		.mem = mem, .pci = g->host, .devfn = DEVFN, .loop = &io->loop, .queue_size = QSIZE
	};
}

static inline void guest_fini(struct guest *g)
{
	device_destroy(g->dev);
	device_destroy(&g->host->dev);
	bus_destroy(&g->bus);
}

#endif
