/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk driven by fuzz at its registers and in its rings. It starts with a
 * driver's handshake done, so that requests are reached; fuzz may undo all of it.
 * The disk stays within its size, and the device comes back after a reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "devices/virtio/virtio_blk.h"
#include "tests/fake_block.h"
#include "tests/fuzz/virtio_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DESC 0x1000ull
#define AVAIL 0x1100ull
#define USED 0x1200ull
#define DATA 0x2000ull

/* Some of the requests fail. */
static void on_submit(void *opaque)
{
	struct fake_block *f = opaque;

	f->result = f->nr_log % 5 == 4 ? -EIO : 0;
}

struct world {
	struct guest g;
	uint16_t avail_idx;
	struct fake_block disk;
	uint8_t bytes[DISK];
	struct block_stages stages;
};

/* What a driver does, with the features fuzz wants of those there are. */
static bool handshake(struct world *w, uint64_t features)
{
	check(!pci_assign(w->g.host));
	config_out(&w->g, PCI_COMMAND, 2, 7);
	common_out(&w->g, 0x14, 1, 0);
	common_out(&w->g, 0x14, 1, 3);
	common_out(&w->g, 0x08, 4, 0);
	common_out(&w->g, 0x0c, 4, features & 0x30006a04);
	common_out(&w->g, 0x08, 4, 1);
	common_out(&w->g, 0x0c, 4, 1);
	common_out(&w->g, 0x14, 1, 0xb);
	common_out(&w->g, 0x20, 4, DESC);
	common_out(&w->g, 0x28, 4, AVAIL);
	common_out(&w->g, 0x30, 4, USED);
	common_out(&w->g, 0x1a, 2, 1);
	common_out(&w->g, 0x1c, 2, 1);
	common_out(&w->g, 0x14, 1, 0xf);
	w->avail_idx = 0;
	return in(&w->g, BUS_MMIO, bar(&w->g, 1)->addr + 0x14, 1) == 0xf;
}

static void kick(struct world *w)
{
	out(&w->g, BUS_PIO, bar(&w->g, 0)->addr, 2, 0);
	settle(&w->g);
}

/* A well-formed request, but for what fuzz says: reaches the code behind the ring. */
static void request(struct world *w, const uint8_t *op)
{
	const uint64_t flags[3] = { 1, 1 | (op[1] & 2), 2 };

	poke(&w->g, DATA, 4, op[1] >> 2 & 15);
	poke(&w->g, DATA + 8, 8, op[2] & 0x80 ? ~0ull / (op[3] + 1u) : op[2]);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t len = i == 0 ? 16 - (op[4] & 1) : i == 1 ? op[5] * 64u : 1 + (op[4] >> 7);

		poke(&w->g, DESC + i * 16, 8, DATA + i * 0x4000 + (op[6] & 7));
		poke(&w->g, DESC + i * 16 + 8, 4, len);
		poke(&w->g, DESC + i * 16 + 12, 2, flags[i]);
		poke(&w->g, DESC + i * 16 + 14, 2, i + 1);
	}
	poke(&w->g, AVAIL + 4 + 2 * (w->avail_idx % QSIZE), 2, 0);
	poke(&w->g, AVAIL + 2, 2, ++w->avail_idx);
	kick(w);
}

static void resize(struct world *w, uint64_t size)
{
	w->disk.b.size = size;
	virtio_blk_resized(w->g.dev);
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
		poke(&w->g, DESC + load_le(op + 2, 2) % 0x300, width, v);
		break;
	case 3:
		kick(w);
		break;
	case 4:
		common_out(&w->g, op[2], width, v);
		break;
	case 5:
		out(&w->g, BUS_MMIO, bar(&w->g, 1)->addr + load_le(op + 2, 2) % 0x1000, width, v);
		(void)in(&w->g, BUS_MMIO, bar(&w->g, 1)->addr + load_le(op + 2, 2) % 0x1000, width);
		break;
	case 6:
		config_out(&w->g, op[2], width, (uint32_t)v);
		(void)in(&w->g, BUS_PIO, 0xcfc + (op[2] & 3), width);
		break;
	case 7:
		out(&w->g, BUS_PIO, (uint16_t)(bar(&w->g, 0)->addr + op[2]), width, v);
		settle(&w->g);
		break;
	default:
		if (op[2] % 5 == 0)
			device_reset(w->g.dev);
		else if (op[2] % 5 == 1)
			handshake(w, v);
		else if (op[2] % 5 == 2)
			resize(w, v & 1 ? DISK : DISK / 2);
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
	struct virtio_blk_config bc = { .name = "virtio-blk0",
					.block = &w.disk.b,
					.stages = { &w.stages } };
	struct trace trace;

	if (size < 8)
		return 0;
	guest_init(&w.g, &mem, &io, true, &bc.at);
	loop_set_polling(&io.loop, 5000);
	memset((char *)mem.map + DESC, 0, 0x1000);
	fake_block_init(&w.disk, DISK);
	w.disk.bytes = w.bytes;
	w.disk.b.limits.discard_align = 512;
	w.disk.on_submit = on_submit;
	w.disk.opaque = &w.disk;
	trace_init(&trace, 64);
	block_stages_init(&w.stages, bc.name, trace_add_ring(&trace, bc.name));
	bc.at.no_ioeventfd = data[7] & 1;
	check(!virtio_blk_create(&bc, &w.g.dev));
	check(handshake(&w, load_le(data, 8)));
	for (data += 8, size -= 8; size >= 8; data += 8, size -= 8)
		step(&w, data);

	memset((char *)mem.map + DESC, 0, 0x1000);
	device_reset(w.g.dev);
	w.disk.on_submit = NULL;
	w.disk.result = 0;
	check(handshake(&w, 0));
	request(&w, (const uint8_t[8]){ 0, 2, 0, 1, 0, 8, 0, 0 });
	check_used_sector(&w.g, USED);
	check(virtio_kicks(virtio_of(w.g.dev)) <= w.g.bus.eventfds_fired);
	guest_fini(&w.g);
	trace_destroy(&trace);
	return 0;
}
