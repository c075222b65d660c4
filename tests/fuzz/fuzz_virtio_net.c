/* SPDX-License-Identifier: MIT */
/*
 * A virtio network card driven by fuzz at its registers, in its rings and from its network. It
 * starts with a driver's handshake done, so that frames and commands are reached; fuzz may undo
 * all of it. What is sent is a frame with a header that can be, and the card comes back after a
 * reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/virtio_net.h"
#include "tests/fake_net.h"
#include "tests/fuzz/virtio_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAIRS 2
#define CTRL (2 * PAIRS)
#define RINGS 0x1000ull /* 0x400 bytes a queue: descriptors, available, used */
#define RINGS_SIZE 0x1800ull
#define AVAIL 0x100
#define USED 0x200
#define DATA 0x4000ull /* 64 KiB a queue */

static const uint8_t mac[NET_MAC_LEN] = { 0x52, 0x54, 0, 1, 2, 3 };

struct world {
	struct guest g;
	struct fake_net net;
	uint16_t avail_idx[CTRL + 1];
	bool packed;
};

static uint64_t ring(unsigned q)
{
	return RINGS + q * 0x400;
}

/* What a driver does, with the features fuzz wants of those there are. */
static bool handshake(struct world *w, uint64_t features)
{
	check(!pci_assign(w->g.host));
	config_out(&w->g, PCI_COMMAND, 2, 7);
	common_out(&w->g, 0x14, 1, 0);
	common_out(&w->g, 0x14, 1, 3);
	common_out(&w->g, 0x08, 4, 0);
	common_out(&w->g, 0x0c, 4, features & 0x30ffffaf);
	common_out(&w->g, 0x08, 4, 1);
	common_out(&w->g, 0x0c, 4, 1 | (features >> 32 & 0x01c00004));
	common_out(&w->g, 0x14, 1, 0xb);
	w->packed = features & VIRTIO_F_RING_PACKED;
	for (unsigned q = 0; q <= CTRL; q++) {
		common_out(&w->g, 0x16, 2, q);
		common_out(&w->g, 0x20, 4, ring(q));
		common_out(&w->g, 0x28, 4, ring(q) + AVAIL);
		common_out(&w->g, 0x30, 4, ring(q) + USED);
		common_out(&w->g, 0x1a, 2, q + 1);
		common_out(&w->g, 0x1c, 2, 1);
		w->avail_idx[q] = 0;
	}
	common_out(&w->g, 0x14, 1, 0xf);
	return in(&w->g, BUS_MMIO, bar(&w->g, 1)->addr + 0x14, 1) == 0xf;
}

static void kick(struct world *w, unsigned q)
{
	out(&w->g, BUS_PIO, bar(&w->g, 0)->addr + 4 * q, 2, q);
	settle(&w->g);
}

/* Offers up to two pieces at DATA, the second with flags; of either kind of ring. */
static void offer(struct world *w, unsigned q, uint32_t len, uint32_t more, uint16_t flags)
{
	uint16_t idx = w->avail_idx[q]++;
	uint64_t at = DATA + q * 0x10000;
	uint64_t desc = ring(q) + (w->packed ? idx * 2 % QSIZE : 0) * 16;
	uint16_t round =
		w->packed && !(idx * 2 / QSIZE & 1) ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;

	if (!w->packed)
		round = 0;
	poke(&w->g, desc, 8, at);
	poke(&w->g, desc + 8, 4, len);
	poke(&w->g, desc + 16, 8, at + len);
	poke(&w->g, desc + 24, 4, more);
	poke(&w->g, desc + 28, 4, w->packed ? (uint32_t)(flags | round) << 16 : flags);
	flags = (uint16_t)(1 | (flags & 2 && !(q & 1) && q != CTRL ? 2 : 0) | round);
	poke(&w->g, desc + 12, 4, w->packed ? (uint32_t)flags << 16 : flags | 1u << 16);
	if (w->packed)
		return;
	poke(&w->g, ring(q) + AVAIL + 4 + 2 * (idx % QSIZE), 2, 0);
	poke(&w->g, ring(q) + AVAIL + 2, 2, idx + 1u);
}

/* A frame, whole but for what fuzz says: reaches the code behind the header. */
static void transmit(struct world *w, const uint8_t *op)
{
	unsigned q = 1 + (op[1] & 2);
	uint64_t at = DATA + q * 0x10000;

	poke(&w->g, at, 8, load_le(op + 2, 4) | (uint64_t)op[4] << 48);
	poke(&w->g, at + 8, 4, op[5]);
	offer(w, q, 12 - (op[1] >> 6 & 1), op[6] * 260u, op[1] >> 7 ? 2 : 0);
	kick(w, q);
}

static void receive(struct world *w, const uint8_t *op)
{
	unsigned q = op[1] & 2;

	offer(w, q, op[2], op[3] * 16u, 2);
	if (op[1] & 4)
		kick(w, q);
}

static void inject(struct world *w, const uint8_t *op)
{
	size_t len = load_le(op + 2, 2) % (NET_MAX_FRAME + 10);
	struct virtio_net_hdr_v1 h = { .flags = op[4] & 7,
				       .gso_type = op[5],
				       .gso_size = op[6],
				       .csum_start = op[7],
				       .csum_offset = op[6] };
	uint8_t *frame = calloc(1, len + 16);

	memcpy(frame, op[1] & 8 ? op + 2 : mac, NET_MAC_LEN);
	frame[12] = 0x81;
	frame[15] = op[7];
	fake_net_inject(&w->net, op[1] & 1, op[1] & 16 ? &h : NULL, frame, len);
	free(frame);
	settle(&w->g);
}

static void command(struct world *w, const uint8_t *op)
{
	uint64_t at = DATA + CTRL * 0x10000;

	poke(&w->g, at, 8, load_le(op + 1, 7));
	poke(&w->g, at + 8, 8, load_le(op + 2, 4) * 0x01010101ull);
	offer(w, CTRL, op[7] & 0x7f, 1, op[7] & 0x80 ? 0 : 2);
	kick(w, CTRL);
}

static void rare(struct world *w, const uint8_t *op)
{
	switch (op[1] % 7) {
	case 0:
		device_reset(w->g.dev);
		break;
	case 1:
		memset((char *)w->g.mem->map + RINGS, 0, RINGS_SIZE);
		handshake(w, load_le(op + 2, 4) | (uint64_t)op[6] << 54 |
				     (op[7] & 1 ? VIRTIO_F_RING_PACKED : 0));
		break;
	case 2:
		save_load(&w->g);
		break;
	case 3:
		virtio_net_set_link(w->g.dev, op[2] & 1);
		break;
	case 4:
		virtio_net_announce(w->g.dev);
		break;
	case 5:
		w->net.set_result = op[2] & 1 ? -EIO : 0;
		w->net.send_result = op[2] & 2 ? -EIO : 0;
		w->net.receive_result = op[2] & 4 ? -EIO : 0;
		break;
	default:
		fake_net_set_full(&w->net, op[2] & 1);
		settle(&w->g);
		break;
	}
}

static void step(struct world *w, const uint8_t *op)
{
	unsigned width = 1u << (op[1] & 3);
	uint64_t v = load_le(op + 4, 4);

	switch (op[0] % 10) {
	case 0:
	case 1:
		transmit(w, op);
		break;
	case 2:
		receive(w, op);
		break;
	case 3:
		inject(w, op);
		break;
	case 4:
		command(w, op);
		break;
	case 5: /* anything in the rings */
		poke(&w->g, RINGS + load_le(op + 2, 2) % RINGS_SIZE, width, v);
		break;
	case 6:
		kick(w, op[1] % (CTRL + 1));
		break;
	case 7:
		common_out(&w->g, op[2], width, v);
		(void)in(&w->g, BUS_MMIO, bar(&w->g, 1)->addr + load_le(op + 2, 2) % 0x1000, width);
		break;
	case 8:
		config_out(&w->g, op[2], width, (uint32_t)v);
		break;
	default:
		rare(w, op);
		break;
	}
}

/* A driver that does all right finds a card that does, too. */
static void check_works(struct world *w)
{
	w->net.set_result = w->net.send_result = w->net.receive_result = 0;
	fake_net_set_full(&w->net, false);
	device_reset(w->g.dev);
	virtio_net_set_link(w->g.dev, true);
	settle(&w->g);
	memset((char *)w->g.mem->map + RINGS, 0, RINGS_SIZE);
	check(handshake(w, 0));
	w->net.nr_sent = 0;
	poke(&w->g, DATA + 0x10000, 8, 0);
	poke(&w->g, DATA + 0x10008, 4, 0);
	offer(w, 1, 12, 60, 0);
	kick(w, 1);
	check(w->net.nr_sent == 1 && w->net.log[0].len == 60);
	check(load_le((char *)w->g.mem->map + ring(1) + USED + 2, 2) == 1);
	/* A buffer for each frame that came in before, at most; the last one is ours. */
	inject(w, (const uint8_t[8]){ 0, 0, 60 });
	for (unsigned i = 0; w->net.queues[0]->frames && i < 300; i++) {
		offer(w, 0, 12, 2048, 2);
		kick(w, 0);
	}
	check(!w->net.queues[0]->frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem mem;
	static struct iothread io;
	struct world w = { 0 };
	struct virtio_net_config nc = { .name = "virtio-net0", .net = &w.net.net, .pairs = PAIRS };
	struct err err;

	if (size < 8 || size > 8 * 256)
		return 0;
	guest_init(&w.g, &mem, &io, true, &nc.at);
	nc.at.packed = true;
	loop_set_polling(&io.loop, 5000);
	memset((char *)mem.map + RINGS, 0, RINGS_SIZE);
	fake_net_init(&w.net, PAIRS);
	memcpy(nc.mac, mac, NET_MAC_LEN);
	check(!virtio_net_create(&nc, &w.g.dev, &err));
	check(handshake(&w, load_le(data, 8)));
	for (data += 8, size -= 8; size >= 8; data += 8, size -= 8)
		step(&w, data);
	check_works(&w);
	guest_fini(&w.g);
	pthread_mutex_destroy(&w.net.lock);
	return 0;
}
