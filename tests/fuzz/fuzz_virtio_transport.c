/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk over the legacy interface, a transitional function or memory-mapped I/O, its
 * registers and its ring driven by fuzz. Whatever was done to it, it works after a reset.
 */
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM MIB
#define QSIZE 8
#define DESC 0x1000ull /* a legacy ring: available behind it, used on the next page */
#define AVAIL (DESC + 16 * QSIZE)
#define USED 0x2000ull
#define DATA 0x4000ull
#define DISK (8 * 512)
#define DEVFN 0x10
#define MMIO_BASE 0xfec80000ull

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void zero_submit(struct block_queue *q, struct block_req *req)
{
	(void)q;
	for (unsigned i = 0; i < req->nr_iov && req->op == BLOCK_READ; i++)
		memset(req->iov[i].iov_base, 0, req->iov[i].iov_len);
	req->done(req, 0);
}

static void zero_close(struct block_queue *q)
{
	free(q);
}

static const struct block_queue_ops zero_queue_ops = { .submit = zero_submit, .close = zero_close };

static int zero_open_queue(struct block *b, const struct block_queue_config *cfg,
			   struct block_queue **out)
{
	(void)cfg;
	*out = malloc(sizeof(**out));
	check(*out);
	**out = (struct block_queue){ &zero_queue_ops, b };
	return 0;
}

enum kind { LEGACY, TRANSITIONAL, MMIO };

struct world {
	enum kind kind;
	bool packed; /* as the last handshake has it */
	struct mem *mem;
	struct iothread *io;
	struct bus bus;
	struct block disk;
	struct pci_host *host;
	struct device *dev;
	uint16_t avail_idx;
};

static void out(struct world *w, enum bus_space space, uint64_t addr, unsigned width, uint64_t v)
{
	bus_write(&w->bus, space, addr, &v, width);
}

static uint64_t in(struct world *w, enum bus_space space, uint64_t addr, unsigned width)
{
	uint64_t v = 0;

	bus_read(&w->bus, space, addr, &v, width);
	return v;
}

static const struct pci_bar *bar(const struct world *w, unsigned n)
{
	return &container_of(w->dev, struct virtio_pci, vdev.dev)->pci.bars[n];
}

/* The legacy registers, or virtio-mmio's. */
static void reg_out(struct world *w, unsigned reg, unsigned width, uint64_t v)
{
	if (w->kind == MMIO)
		out(w, BUS_MMIO, MMIO_BASE + reg, width, v);
	else
		out(w, BUS_PIO, (uint16_t)(bar(w, 0)->addr + reg), width, v);
}

static uint64_t reg_in(struct world *w, unsigned reg, unsigned width)
{
	if (w->kind == MMIO)
		return in(w, BUS_MMIO, MMIO_BASE + reg, width);
	return in(w, BUS_PIO, (uint16_t)(bar(w, 0)->addr + reg), width);
}

static void config_out(struct world *w, unsigned reg, unsigned width, uint32_t v)
{
	out(w, BUS_PIO, 0xcf8, 4, 0x80000000u | DEVFN << 8 | (reg & 0xfc));
	out(w, BUS_PIO, 0xcfc + (reg & 3), width, v);
}

static bool handshake_legacy(struct world *w, uint32_t features)
{
	check(!pci_assign(w->host));
	w->packed = false;
	reg_out(w, 0x12, 1, 0);
	reg_out(w, 0x12, 1, 3);
	reg_out(w, 0x04, 4, features);
	reg_out(w, 0x0e, 2, 0);
	reg_out(w, 0x08, 4, DESC / 4096);
	reg_out(w, 0x12, 1, 7);
	return reg_in(w, 0x12, 1) == 7;
}

static bool handshake_mmio(struct world *w, uint32_t features)
{
	w->packed = features & 1;
	reg_out(w, 0x70, 4, 0);
	reg_out(w, 0x70, 4, 3);
	reg_out(w, 0x24, 4, 0);
	reg_out(w, 0x20, 4, features & 0x30000204);
	reg_out(w, 0x24, 4, 1);
	reg_out(w, 0x20, 4, 1 | (w->packed ? 4 : 0));
	reg_out(w, 0x70, 4, 0xb);
	reg_out(w, 0x80, 4, DESC);
	reg_out(w, 0x90, 4, AVAIL);
	reg_out(w, 0xa0, 4, USED);
	reg_out(w, 0x44, 4, 1);
	reg_out(w, 0x70, 4, 0xf);
	return reg_in(w, 0x70, 4) == 0xf;
}

static bool handshake(struct world *w, uint32_t features)
{
	w->avail_idx = 0;
	return w->kind == MMIO ? handshake_mmio(w, features) : handshake_legacy(w, features);
}

static void poke(struct world *w, uint64_t gpa, unsigned width, uint64_t v)
{
	(void)!mem_write(w->mem, gpa, &v, width);
}

static void post_sem(void *opaque)
{
	sem_post(opaque);
}

/* Returns when the I/O thread has seen every kick so far: see fuzz_virtio_blk.c. */
static void settle(struct world *w)
{
	struct loop_post post = { .fn = post_sem };
	sem_t sem;

	sem_init(&sem, 0, 0);
	post.opaque = &sem;
	for (unsigned i = 0; i < 2; i++) {
		loop_post(&w->io->loop, &post);
		while (sem_wait(&sem)) /* a signal */
			;
	}
	sem_destroy(&sem);
}

static void kick(struct world *w)
{
	reg_out(w, w->kind == MMIO ? 0x50 : 0x10, w->kind == MMIO ? 4 : 2, 0);
	settle(w);
}

/* Reads a sector: header, data, status. A packed ring's first round only. */
static void request(struct world *w, const uint8_t *op)
{
	const struct fuzz_desc {
		uint64_t addr, len;
		uint16_t flags;
	} d[3] = {
		{ DATA, 16, 1 },
		{ DATA + 0x1000, op[1] * 64u, (uint16_t)(3 ^ (op[2] & 2)) },
		{ DATA + 0x8000, op[3] & 1, 2 },
	};

	poke(w, DATA, 4, op[4] & 7);
	poke(w, DATA + 8, 8, op[5]);
	for (unsigned i = 3; i-- > 0;) {
		uint64_t at = DESC + i * 16;

		poke(w, at, 8, d[i].addr);
		poke(w, at + 8, 4, d[i].len);
		poke(w, at + 12, 4,
		     w->packed ? (uint32_t)(d[i].flags | 0x80) << 16
			       : d[i].flags | (uint32_t)(i + 1) << 16);
	}
	if (!w->packed) {
		poke(w, AVAIL + 4 + 2 * (w->avail_idx % QSIZE), 2, 0);
		poke(w, AVAIL + 2, 2, ++w->avail_idx);
	}
	kick(w);
}

static void save_load(struct world *w)
{
	struct state_buf a = { 0 };

	virtio_pause(w->dev);
	check(!state_save(w->dev, &a));
	check(state_load(w->dev, a.data, a.len) == (ssize_t)a.len);
	virtio_resume(w->dev);
	state_buf_free(&a);
}

static void step(struct world *w, const uint8_t *op)
{
	unsigned width = 1u << (op[1] & 3);
	uint64_t v = load_le(op + 4, 4);

	switch (op[0] % 9) {
	case 0:
	case 1:
		request(w, op);
		break;
	case 2: /* anything in the rings */
		poke(w, DESC + load_le(op + 2, 2) % 0x1100, width, v);
		break;
	case 3:
		kick(w);
		break;
	case 4:
	case 5:
		reg_out(w, (unsigned)load_le(op + 2, 2) % 0x200, width, v);
		(void)reg_in(w, (unsigned)load_le(op + 2, 2) % 0x200, width);
		settle(w);
		break;
	case 6:
		if (w->kind != MMIO)
			config_out(w, op[2], width, (uint32_t)v);
		break;
	case 7: /* the modern interface, that comes too late or too early */
		if (w->kind != MMIO)
			out(w, BUS_MMIO, bar(w, 1)->addr + op[2] % 0x40, width, v);
		break;
	default:
		if (op[2] % 4 == 0)
			device_reset(w->dev);
		else if (op[2] % 4 == 1)
			handshake(w, (uint32_t)v);
		else if (op[2] % 4 == 2)
			virtio_config_changed(virtio_of(w->dev));
		else
			save_load(w);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct block_ops zero_ops = { .open_queue = zero_open_queue };
	static struct mem mem;
	static struct iothread io;
	struct world w = { .mem = &mem, .io = &io };
	struct pci_host_config pc = { .name = "pci", .bus = &w.bus };
	struct virtio_blk_config bc = { .name = "virtio-blk0",
					.devfn = DEVFN,
					.bus = &w.bus,
					.base = MMIO_BASE,
					.mem = &mem,
					.block = &w.disk,
					.loop = &io.loop,
					.queue_size = QSIZE,
					.packed = true,
					.flr = true };

	if (!mem.map)
		check(!mem_init(&mem, RAM) && !iothread_start(&io, "fuzz"));
	if (size < 8)
		return 0;
	memset((char *)mem.map + DESC, 0, 0x2000);
	w.kind = data[0] % 3;
	w.disk.ops = &zero_ops;
	w.disk.size = DISK;
	bc.mode = w.kind == LEGACY ? VIRTIO_PCI_LEGACY : VIRTIO_PCI_TRANSITIONAL;
	bc.no_ioeventfd = data[1] & 1;
	bus_init(&w.bus);
	check(!pci_host_create(&pc, &w.host));
	bc.pci = w.kind == MMIO ? NULL : w.host;
	check(!virtio_blk_create(&bc, &w.dev));
	check(handshake(&w, (uint32_t)load_le(data + 4, 4)));
	for (data += 8, size -= 8; size >= 8; data += 8, size -= 8)
		step(&w, data);

	memset((char *)mem.map + DESC, 0, 0x2000);
	device_reset(w.dev);
	check(handshake(&w, 0));
	request(&w, (const uint8_t[8]){ 0, 8, 0, 1, 0, 1, 0, 0 });
	/* One used element: descriptor 0, a sector and its status. */
	check(load_le((char *)mem.map + USED + 2, 2) == 1);
	check(load_le((char *)mem.map + USED + 4, 8) == 513ull << 32);
	device_destroy(w.dev);
	device_destroy(&w.host->dev);
	bus_destroy(&w.bus);
	return 0;
}
