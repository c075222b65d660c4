/* SPDX-License-Identifier: MIT */
/* A virtio network card: the control queue, and what it governs; state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "base/state.h"
#include "devices/virtio/virtio_net_int.h"
#include "tests/unit/net_rig.h"

/* 5.1.6.5 */
enum { RX, MAC, VLAN, ANNOUNCE, MQ, OFFLOADS };
enum { PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST };
enum { OK, ERR };

#define CTRL                                                                                      \
	(F(N_CTRL_VQ) | F(N_CTRL_RX) | F(N_CTRL_RX_EXTRA) | F(N_CTRL_VLAN) | F(N_CTRL_MAC_ADDR) | \
	 F(N_GUEST_ANNOUNCE) | F(N_STATUS) | F(N_MRG_RXBUF))

static const uint8_t other[NET_MAC_LEN] = { 0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc };
static const uint8_t group[NET_MAC_LEN] = { 0x01, 0x00, 0x5e, 0x00, 0x00, 0x01 };
static const uint8_t broadcast[NET_MAC_LEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static uint8_t set(struct nrig *r, uint8_t cmd, uint8_t on)
{
	return nrig_ctrl(r, RX, cmd, &on, 1);
}

static uint8_t table(struct nrig *r, const uint8_t (*uni)[6], uint32_t nr_uni,
		     const uint8_t (*multi)[6], uint32_t nr_multi)
{
	uint8_t data[8 + 6 * 256], *p = data;

	store_le(p, 4, nr_uni);
	memcpy(p + 4, uni, nr_uni * 6);
	p += 4 + nr_uni * 6;
	store_le(p, 4, nr_multi);
	memcpy(p + 4, multi, nr_multi * 6);
	p += 4 + nr_multi * 6;
	return nrig_ctrl(r, MAC, 0, data, (uint32_t)(p - data));
}

/* A frame for dst gets through; vlan -1: without a tag. */
static bool passes(struct nrig *r, const uint8_t *dst, int vlan)
{
	uint64_t before = nrig_stats(r, 0).drops[VIRTIO_NET_RX_FILTER];
	uint32_t id, len;
	uint8_t frame[64];

	nrig_frame(frame, sizeof(frame), dst);
	if (vlan >= 0) {
		frame[12] = 0x81;
		frame[13] = 0x00;
		frame[14] = (uint8_t)(vlan >> 8 | 0xe0); /* with a priority */
		frame[15] = (uint8_t)vlan;
	}
	nrig_offer_rx(r, &r->q[0], 2048);
	vdrv_kick(&r->q[0]);
	fake_net_inject(&r->net, 0, NULL, frame, sizeof(frame));
	for (unsigned i = 0; i < NRIG_WAIT; i++) {
		if (vdrv_used(&r->q[0], &id, &len, 0))
			return true;
		if (nrig_stats(r, 0).drops[VIRTIO_NET_RX_FILTER] != before)
			return false;
		usleep(1000);
	}
	fail();
	return false;
}

static void test_modes(void **state)
{
	struct nrig *r = *state;

	/* Promiscuous at first, and without the feature for ever. */
	nrig_start(r, F(N_CTRL_VQ), 1);
	assert_true(passes(r, other, -1));
	assert_int_equal(set(r, PROMISC, 0), ERR);
	nrig_start(r, CTRL, 1);
	assert_true(passes(r, other, -1));
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_true(passes(r, nrig_mac, -1));
	assert_true(passes(r, broadcast, -1));
	assert_false(passes(r, other, -1));
	assert_false(passes(r, group, -1));
	assert_int_equal(set(r, ALLMULTI, 1), OK);
	assert_true(passes(r, group, -1));
	assert_false(passes(r, other, -1));
	assert_int_equal(set(r, NOMULTI, 1), OK);
	assert_false(passes(r, group, -1));
	assert_true(passes(r, broadcast, -1));
	assert_int_equal(set(r, ALLUNI, 1), OK);
	assert_true(passes(r, other, -1));
	assert_int_equal(set(r, NOUNI, 1), OK);
	assert_false(passes(r, nrig_mac, -1));
	assert_int_equal(set(r, NOBCAST, 1), OK);
	assert_false(passes(r, broadcast, -1));
	assert_int_equal(set(r, PROMISC, 1), OK);
	assert_true(passes(r, broadcast, -1));
	assert_int_equal(set(r, PROMISC, 2), ERR);
	assert_int_equal(set(r, NOBCAST + 1, 1), ERR);
	/* Some only with the other feature. */
	nrig_start(r, F(N_CTRL_VQ) | F(N_CTRL_RX), 1);
	assert_int_equal(set(r, ALLUNI, 1), ERR);
	assert_int_equal(set(r, ALLMULTI, 1), OK);
}

static void test_mac_table(void **state)
{
	struct nrig *r = *state;
	uint8_t many[100][6];
	uint8_t g2[6];

	memcpy(g2, group, 6);
	g2[5] = 9;
	for (unsigned i = 0; i < 100; i++) {
		memcpy(many[i], other, 6);
		many[i][5] = (uint8_t)i;
	}
	nrig_start(r, CTRL, 1);
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_int_equal(table(r, &other, 1, &group, 1), OK);
	assert_true(passes(r, other, -1));
	assert_true(passes(r, group, -1));
	assert_false(passes(r, g2, -1));
	assert_false(passes(r, many[0], -1));
	/* The next one replaces it. */
	assert_int_equal(table(r, (const void *)many, 64, &group, 0), OK);
	assert_true(passes(r, many[63], -1));
	assert_false(passes(r, many[64], -1));
	assert_false(passes(r, other, -1));
	assert_false(passes(r, group, -1));
	/* More than there is room for: what may be among them passes. */
	assert_int_equal(table(r, (const void *)many, 65, &group, 0), OK);
	assert_true(passes(r, other, -1));
	assert_false(passes(r, group, -1));
	assert_int_equal(table(r, (const void *)many, 64, &group, 1), OK);
	assert_true(passes(r, g2, -1));
	assert_false(passes(r, other, -1));
	assert_true(passes(r, many[5], -1));
	assert_int_equal(table(r, &group, 0, &group, 0), OK);
	assert_false(passes(r, many[5], -1));
	assert_true(passes(r, nrig_mac, -1));
}

static void test_bad_tables(void **state)
{
	struct nrig *r = *state;
	uint8_t data[64] = { 0 }, *many;

	nrig_start(r, CTRL, 1);
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_int_equal(table(r, &other, 1, &group, 0), OK);
	/* Counts that go beyond the data, each end, and too much of it. */
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 0), ERR);
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 3), ERR);
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 4), ERR);
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 9), ERR);
	store_le(data, 4, 0xffffffff);
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 64), ERR);
	store_le(data, 4, 0x2aaaaaab); /* times 6: 2 */
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 64), ERR);
	store_le(data, 4, 9);
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 57), ERR);
	store_le(data, 4, 0);
	store_le(data + 4, 4, 5000);
	assert_int_equal(nrig_ctrl(r, MAC, 0, data, 8), ERR);
	/* And more than anybody needs. */
	many = calloc(1, 4097 * 6 + 8);
	store_le(many, 4, 4097);
	assert_int_equal(nrig_ctrl(r, MAC, 0, many, 4097 * 6 + 8), ERR);
	free(many);
	/* Nothing has changed. */
	assert_true(passes(r, other, -1));
	assert_false(passes(r, group, -1));
}

static void test_mac_addr(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, CTRL, 1);
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_int_equal(nrig_ctrl(r, MAC, 1, other, 5), ERR);
	assert_int_equal(nrig_ctrl(r, MAC, 1, other, 6), OK);
	assert_true(passes(r, other, -1));
	assert_false(passes(r, nrig_mac, -1));
	assert_int_equal(vdrv_device_in(&r->d, 4, 2), 0xccbb);
	nrig_start(r, CTRL & ~F(N_CTRL_MAC_ADDR), 1);
	assert_int_equal(vdrv_device_in(&r->d, 4, 2), 0x5634);
	assert_int_equal(nrig_ctrl(r, MAC, 1, other, 6), ERR);
}

static uint8_t vlan(struct nrig *r, uint8_t cmd, uint16_t id)
{
	return nrig_ctrl(r, VLAN, cmd, &id, 2);
}

static void test_vlan(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, CTRL, 1);
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_true(passes(r, nrig_mac, 0)); /* a priority only */
	assert_false(passes(r, nrig_mac, 1));
	assert_int_equal(vlan(r, 0, 1), OK);
	assert_int_equal(vlan(r, 0, 4095), OK);
	assert_int_equal(vlan(r, 0, 4096), ERR);
	assert_true(passes(r, nrig_mac, 1));
	assert_true(passes(r, nrig_mac, 4095));
	assert_false(passes(r, nrig_mac, 65));
	assert_false(passes(r, other, 1));
	assert_int_equal(vlan(r, 1, 1), OK);
	assert_false(passes(r, nrig_mac, 1));
	assert_true(passes(r, nrig_mac, 4095));
	assert_int_equal(vlan(r, 2, 1), ERR);
	/* Without the feature they all pass. */
	nrig_start(r, CTRL & ~F(N_CTRL_VLAN), 1);
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_int_equal(vlan(r, 0, 1), ERR);
	assert_true(passes(r, nrig_mac, 77));
}

static void test_announce(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, CTRL, 1);
	(void)fake_msi_take(&r->msi, 0); /* those so far */
	virtio_net_announce(r->dev);
	assert_int_equal(fake_msi_take(&r->msi, 0), 1);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 3);
	assert_int_equal(nrig_ctrl(r, ANNOUNCE, 0, "x", 1), ERR);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 3);
	assert_int_equal(nrig_ctrl(r, ANNOUNCE, 0, NULL, 0), OK);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 1);
	virtio_net_set_link(r->dev, false);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 0);
	virtio_net_set_link(r->dev, true);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 3);
	/* Only those who know how to. */
	nrig_start(r, CTRL & ~F(N_GUEST_ANNOUNCE), 1);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 1);
	(void)fake_msi_take(&r->msi, 0); /* those so far */
	virtio_net_announce(r->dev);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 1);
	assert_int_equal(fake_msi_take(&r->msi, 0), 0);
	assert_int_equal(nrig_ctrl(r, ANNOUNCE, 0, NULL, 0), ERR);
}

static uint8_t offloads(struct nrig *r, uint64_t v)
{
	return nrig_ctrl(r, OFFLOADS, 0, &v, 8);
}

static void test_guest_offloads(void **state)
{
	struct nrig *r = *state;
	const uint64_t f = CTRL | F(N_CTRL_GUEST_OFFLOADS) | F(N_GUEST_CSUM) | F(N_GUEST_TSO4);
	const struct virtio_net_hdr_v1 csum = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };
	uint8_t frame[64];

	nrig_start(r, f | F(54), 1);
	/* Both USO bits, or the host makes none. */
	assert_int_equal(r->net.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
	nrig_start(r, f | F(54) | F(55), 1);
	assert_int_equal(r->net.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_USO);
	assert_int_equal(offloads(r, F(N_GUEST_CSUM)), OK);
	assert_int_equal(r->net.offloads, NET_OFFLOAD_CSUM);
	assert_int_equal(offloads(r, F(N_GUEST_TSO4)), OK); /* of no use by itself */
	assert_int_equal(r->net.offloads, 0);
	assert_int_equal(offloads(r, F(N_GUEST_CSUM) | F(N_GUEST_TSO4)), OK);
	assert_int_equal(r->net.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
	assert_int_equal(offloads(r, F(N_GUEST_CSUM) | F(8)), ERR);
	assert_int_equal(offloads(r, F(N_GUEST_CSUM) | F(N_CSUM)), ERR);
	assert_int_equal(nrig_ctrl(r, OFFLOADS, 0, "1234567", 7), ERR);
	r->net.set_result = -EIO;
	assert_int_equal(offloads(r, 0), ERR);
	r->net.set_result = 0;
	assert_int_equal(r->net.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
	nrig_offer_rx(r, &r->q[0], 2048);
	vdrv_kick(&r->q[0]);
	nrig_frame(frame, sizeof(frame), nrig_mac);
	fake_net_inject(&r->net, 0, &csum, frame, sizeof(frame));
	assert_int_equal(nrig_used(&r->q[0]), 76); /* they are what they were */
	nrig_start(r, f & ~F(N_CTRL_GUEST_OFFLOADS), 1);
	assert_int_equal(offloads(r, 0), ERR);
	assert_int_equal(r->net.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
	vdrv_set_status(&r->d, 0);
	assert_int_equal(r->net.offloads, 0);
}

static int setup_pairs(void **state)
{
	struct nrig *r;

	nrig_setup_none(state);
	r = *state;
	r->cfg.pairs = NRIG_PAIRS;
	r->cfg.at.threads = 2;
	nrig_create(r);
	return 0;
}

static uint8_t pairs(struct nrig *r, uint16_t n)
{
	return nrig_ctrl(r, MQ, 0, &n, 2);
}

static void test_multiqueue(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, CTRL | F(N_MQ), NRIG_PAIRS);
	assert_int_equal(vdrv_device_in(&r->d, 8, 2), NRIG_PAIRS);
	assert_int_equal(virtio_net_pairs_in_use(r->dev), 1);
	/* Buffers for all, but only the first pair is in use. */
	for (unsigned i = 0; i < NRIG_PAIRS; i++) {
		nrig_offer_rx(r, &r->q[2 * i], 2048);
		nrig_offer_rx(r, &r->q[2 * i], 2048);
		nrig_offer_tx(r, &r->q[2 * i + 1], i, NULL, 60 + i);
		vdrv_kick(&r->q[2 * i]);
		vdrv_kick(&r->q[2 * i + 1]);
		nrig_inject(r, i, 60 + i, nrig_mac);
	}
	assert_int_equal(nrig_used(&r->q[0]), 72);
	nrig_used(&r->q[1]);
	for (unsigned i = 2; i < 2 * NRIG_PAIRS; i++)
		nrig_not_used(r, &r->q[i]);
	assert_int_equal(r->net.nr_left, NRIG_PAIRS - 1);
	assert_int_equal(r->net.nr_sent, 1);
	/* The others come into use without a kick. */
	assert_int_equal(pairs(r, NRIG_PAIRS), OK);
	assert_int_equal(r->net.queues_set, NRIG_PAIRS);
	for (unsigned i = 1; i < NRIG_PAIRS; i++) {
		assert_int_equal(nrig_used(&r->q[2 * i]), 72 + i);
		nrig_used(&r->q[2 * i + 1]);
		assert_int_equal(nrig_stats(r, i).rx_frames, 1);
		assert_int_equal(nrig_stats(r, i).tx_frames, 1);
	}
	assert_int_equal(pairs(r, 2), OK);
	nrig_settle(r);
	nrig_inject(r, 1, 60, nrig_mac);
	nrig_inject(r, 2, 60, nrig_mac);
	assert_int_equal(nrig_used(&r->q[2]), 72);
	nrig_not_used(r, &r->q[4]);
	/* What cannot be. */
	assert_int_equal(pairs(r, 0), ERR);
	assert_int_equal(pairs(r, NRIG_PAIRS + 1), ERR);
	assert_int_equal(nrig_ctrl(r, MQ, 0, "1", 1), ERR);
	r->net.set_result = -EIO;
	assert_int_equal(pairs(r, 3), ERR);
	r->net.set_result = 0;
	assert_int_equal(virtio_net_pairs_in_use(r->dev), 2);
	/* A reset leaves one. */
	vdrv_set_status(&r->d, 0);
	assert_int_equal(r->net.queues_set, 1);
	assert_int_equal(virtio_net_pairs_in_use(r->dev), 1);
}

/* A driver that does not know of pairs has its control queue behind the first. */
static void test_without_multiqueue(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, CTRL, 1);
	assert_int_equal(r->ctrl, 2);
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_int_equal(pairs(r, 2), ERR);
	assert_true(passes(r, nrig_mac, -1));
	nrig_tx(r, NULL, 60);
	assert_int_equal(r->net.nr_sent, 1);
	/* What it does with a queue that is none of its is nobody's business. */
	vdrv_queue_setup(&r->d, &r->q[5], 5, NRIG_QSIZE, NRIG_RING(5), false);
	nrig_offer_tx(r, &r->q[5], 3, NULL, 60);
	vdrv_kick(&r->q[5]);
	nrig_not_used(r, &r->q[5]);
	assert_int_equal(vdrv_status(&r->d), 0x0f);
}

static void test_malformed(void **state)
{
	struct nrig *r = *state;
	const struct vdrv_seg no_answer[] = { { NRIG_CTRL, 2, false } };
	const struct vdrv_seg short_head[] = { { NRIG_CTRL, 1, false },
					       { NRIG_CTRL + 0x800, 1, true } };

	nrig_start(r, CTRL, 1);
	assert_int_equal(nrig_ctrl(r, 99, 0, NULL, 0), ERR);
	assert_int_equal(nrig_ctrl(r, RX, 0, NULL, 0), ERR);
	assert_int_equal(nrig_ctrl(r, RX, 0, "\0\0", 2), ERR);
	assert_int_equal(nrig_ctrl(r, VLAN, 0, "\0", 1), ERR);
	vdrv_add(&r->q[2], short_head, 2, 0);
	vdrv_kick(&r->q[2]);
	assert_int_equal(nrig_used(&r->q[2]), 1);
	assert_int_equal(*(uint8_t *)nrig_at(r, NRIG_CTRL + 0x800), ERR);
	vdrv_add(&r->q[2], no_answer, 1, 0);
	vdrv_kick(&r->q[2]);
	assert_int_equal(nrig_used(&r->q[2]), 0);
	nrig_settle(r);
	assert_int_equal(vdrv_status(&r->d), 0x4f);
}

static void create_twin(struct nrig *r, struct nrig *twin)
{
	*twin = (struct nrig){ .cfg = r->cfg };
	twin->mem = r->mem;
	fake_net_init(&twin->net, NRIG_PAIRS);
	twin->cfg.net = &twin->net.net;
	twin->cfg.at.mem = &twin->mem;
	nrig_create(twin);
}

/* Saved with all that was chosen, with buffers in hand and a frame on its way out. */
static void test_state(void **state)
{
	struct nrig *r = *state;
	struct nrig *twin = malloc(sizeof(*twin));
	const uint64_t f = CTRL | F(N_MQ) | F(N_GUEST_CSUM) | F(N_GUEST_TSO4) |
			   F(N_CTRL_GUEST_OFFLOADS) | VIRTIO_F_RING_PACKED;

	nrig_start(r, f, 2);
	assert_int_equal(set(r, PROMISC, 0), OK);
	assert_int_equal(nrig_ctrl(r, MAC, 1, other, 6), OK);
	assert_int_equal(table(r, &group, 0, &group, 1), OK);
	assert_int_equal(vlan(r, 0, 7), OK);
	assert_int_equal(pairs(r, 2), OK);
	assert_int_equal(offloads(r, F(N_GUEST_CSUM)), OK);
	virtio_net_announce(r->dev);
	for (unsigned i = 0; i < 3; i++)
		nrig_offer_rx(r, &r->q[0], 2048);
	vdrv_kick(&r->q[0]);
	fake_net_set_full(&r->net, true);
	nrig_offer_tx(r, &r->q[1], 0, NULL, 77);
	vdrv_kick(&r->q[1]);
	nrig_wait(&r->net.nr_refused, 1);
	virtio_pause(r->dev);

	create_twin(r, twin);
	virtio_pause(twin->dev);
	check_state_round_trip(r->dev, twin->dev);
	/* The one goes, the other goes on. */
	nrig_destroy(r);
	twin->d.mem = r->d.mem;
	memcpy(twin->q, r->q, sizeof(r->q));
	for (unsigned i = 0; i < NRIG_QUEUES; i++)
		twin->q[i].d = &twin->d;
	twin->hdr_len = r->hdr_len;
	twin->ctrl = r->ctrl;
	twin->slot = r->slot;
	assert_int_equal(twin->net.queues_set, 2);
	assert_int_equal(twin->net.offloads, NET_OFFLOAD_CSUM);
	assert_true(vdrv_probe(&twin->d, &twin->bus, &twin->mem, 0x10));
	virtio_resume(twin->dev);
	nrig_used(&twin->q[1]);
	assert_int_equal(twin->net.nr_sent, 1);
	assert_int_equal(twin->net.log[0].len, 77);
	assert_int_equal(vdrv_device_in(&twin->d, 6, 2), 3);
	assert_true(passes(twin, other, -1));
	assert_true(passes(twin, group, -1));
	assert_true(passes(twin, other, 7));
	assert_false(passes(twin, nrig_mac, -1));
	assert_false(passes(twin, other, 8));
	nrig_destroy(twin);
	free(twin);
	nrig_create(r);
}

/* States that no driver can have brought about. */
static void test_bad_states(void **state)
{
	struct nrig *r = *state;
	struct virtio_net *net = container_of(r->dev, struct virtio_net, vdev.dev);
	struct virtio_net_state *s = &net->s;

	/* Without what would have to be negotiated. */
	nrig_start(r, F(N_MRG_RXBUF) | F(N_GUEST_CSUM), 1);
	virtio_pause(r->dev);
#define CHECK(field, value)                                                    \
	do {                                                                   \
		struct virtio_net_state good = *s;                             \
		struct state_buf b = { 0 };                                    \
		s->field = value;                                              \
		assert_int_equal(state_save(r->dev, &b), 0);                   \
		*s = good;                                                     \
		assert_int_equal(state_load(r->dev, b.data, b.len), -EBADMSG); \
		state_buf_free(&b);                                            \
	} while (0)
	CHECK(pairs, 0);
	CHECK(pairs, 2);
	CHECK(offloads_off, NET_F_GUEST_CSUM);
	CHECK(announce, 1);
	CHECK(rx_mode, 0);
	CHECK(rx_mode, NET_RX_PROMISC | NET_RX_ALLUNI);
	CHECK(rx_mode, 0x41);
	CHECK(nr_macs, 1);
	CHECK(macs_open, 1);
	CHECK(macs[3], 5);
	CHECK(vlans[9], 1);
	CHECK(mac, 1ull << 48);
	CHECK(link_down, 2);
	virtio_resume(r->dev);
	nrig_start(r, CTRL | F(N_MQ) | F(N_CTRL_GUEST_OFFLOADS), 1);
	virtio_pause(r->dev);
	CHECK(pairs, NRIG_PAIRS + 1);
	CHECK(nr_macs, NET_MAX_MACS + 1);
	CHECK(macs[0], 5);
	CHECK(offloads_off, NET_F_GUEST_CSUM);
#undef CHECK
	virtio_resume(r->dev);
	nrig_tx(r, NULL, 60);
	assert_int_equal(r->net.nr_sent, 1);
}

static void test_reset_is_power_on(void **state)
{
	struct nrig *r = *state;
	struct state_buf before = { 0 }, after = { 0 };

	assert_int_equal(state_save(r->dev, &before), 0);
	nrig_start(r, CTRL | F(N_MQ), 2);
	set(r, PROMISC, 0);
	set(r, NOBCAST, 1);
	nrig_ctrl(r, MAC, 1, other, 6);
	table(r, &other, 1, &group, 1);
	vlan(r, 0, 9);
	pairs(r, 2);
	virtio_net_announce(r->dev);
	device_reset(r->dev);
	assert_int_equal(pci_assign(r->host), 0);
	/* pci_assign() has been there before. */
	assert_int_equal(state_save(r->dev, &after), 0);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, before.len);
	state_buf_free(&before);
	state_buf_free(&after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_modes, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_mac_table, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_bad_tables, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_mac_addr, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_vlan, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_announce, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_guest_offloads, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_multiqueue, setup_pairs, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_without_multiqueue, setup_pairs,
						nrig_teardown),
		cmocka_unit_test_setup_teardown(test_malformed, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_state, setup_pairs, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_bad_states, setup_pairs, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_reset_is_power_on, setup_pairs, nrig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
