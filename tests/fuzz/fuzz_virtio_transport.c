/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk over the legacy interface, a transitional function or memory-mapped I/O, its
 * registers and its ring driven by fuzz. Whatever was done to it, it works after a reset.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/virtio_blk.h"
#include "tests/fake_block.h"
#include "tests/fuzz/virtio_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DESC 0x1000ull /* a legacy ring: available behind it, used on the next page */
#define AVAIL (DESC + 16 * QSIZE)
#define USED 0x2000ull
#define DATA 0x4000ull
#define MMIO_BASE 0xfec80000ull

enum kind { LEGACY, TRANSITIONAL, MMIO };

struct world {
	struct guest g;
	uint16_t avail_idx;
	enum kind kind;
	bool packed; /* as the last handshake has it */
	struct fake_block disk;
	uint8_t bytes[DISK];
};

/* The legacy registers, or virtio-mmio's. */
static void reg_out(struct world *w, unsigned reg, unsigned width, uint64_t v)
{
	if (w->kind == MMIO)
		out(&w->g, BUS_MMIO, MMIO_BASE + reg, width, v);
	else
		out(&w->g, BUS_PIO, (uint16_t)(bar(&w->g, 0)->addr + reg), width, v);
}

static uint64_t reg_in(struct world *w, unsigned reg, unsigned width)
{
	if (w->kind == MMIO)
		return in(&w->g, BUS_MMIO, MMIO_BASE + reg, width);
	return in(&w->g, BUS_PIO, (uint16_t)(bar(&w->g, 0)->addr + reg), width);
}

static bool handshake_legacy(struct world *w, uint32_t features)
{
	check(!pci_assign(w->g.host));
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

static void kick(struct world *w)
{
	reg_out(w, w->kind == MMIO ? 0x50 : 0x10, w->kind == MMIO ? 4 : 2, 0);
	settle(&w->g);
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

	poke(&w->g, DATA, 4, op[4] & 7);
	poke(&w->g, DATA + 8, 8, op[5]);
	for (unsigned i = 3; i-- > 0;) {
		uint64_t at = DESC + i * 16;

		poke(&w->g, at, 8, d[i].addr);
		poke(&w->g, at + 8, 4, d[i].len);
		poke(&w->g, at + 12, 4,
		     w->packed ? (uint32_t)(d[i].flags | 0x80) << 16
			       : d[i].flags | (uint32_t)(i + 1) << 16);
	}
	if (!w->packed) {
		poke(&w->g, AVAIL + 4 + 2 * (w->avail_idx % QSIZE), 2, 0);
		poke(&w->g, AVAIL + 2, 2, ++w->avail_idx);
	}
	kick(w);
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
		poke(&w->g, DESC + load_le(op + 2, 2) % 0x1100, width, v);
		break;
	case 3:
		kick(w);
		break;
	case 4:
	case 5:
		reg_out(w, (unsigned)load_le(op + 2, 2) % 0x200, width, v);
		(void)reg_in(w, (unsigned)load_le(op + 2, 2) % 0x200, width);
		settle(&w->g);
		break;
	case 6:
		if (w->kind != MMIO)
			config_out(&w->g, op[2], width, (uint32_t)v);
		break;
	case 7: /* the modern interface, that comes too late or too early */
		if (w->kind != MMIO)
			out(&w->g, BUS_MMIO, bar(&w->g, 1)->addr + op[2] % 0x40, width, v);
		break;
	default:
		if (op[2] % 4 == 0)
			device_reset(w->g.dev);
		else if (op[2] % 4 == 1)
			handshake(w, (uint32_t)v);
		else if (op[2] % 4 == 2)
			virtio_config_changed(virtio_of(w->g.dev));
		else
			save_load(&w->g);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem mem;
	static struct iothread io;
	struct world w = { 0 };
	struct virtio_blk_config bc = { .name = "virtio-blk0", .block = &w.disk.b };

	if (size < 8)
		return 0;
	guest_init(&w.g, &mem, &io, false, &bc.at);
	memset((char *)mem.map + DESC, 0, 0x2000);
	w.kind = data[0] % 3;
	fake_block_init(&w.disk, DISK);
	w.disk.bytes = w.bytes;
	bc.at.mode = w.kind == LEGACY ? VIRTIO_PCI_LEGACY : VIRTIO_PCI_TRANSITIONAL;
	bc.at.no_ioeventfd = data[1] & 1;
	bc.at.packed = true;
	bc.at.flr = true;
	bc.at.bus = &w.g.bus;
	bc.at.base = MMIO_BASE;
	if (w.kind == MMIO)
		bc.at.pci = NULL;
	check(!virtio_blk_create(&bc, &w.g.dev));
	check(handshake(&w, (uint32_t)load_le(data + 4, 4)));
	for (data += 8, size -= 8; size >= 8; data += 8, size -= 8)
		step(&w, data);

	memset((char *)mem.map + DESC, 0, 0x2000);
	device_reset(w.g.dev);
	check(handshake(&w, 0));
	request(&w, (const uint8_t[8]){ 0, 8, 0, 1, 0, 1, 0, 0 });
	check_used_sector(&w.g, USED);
	guest_fini(&w.g);
	return 0;
}
