/* SPDX-License-Identifier: MIT */
/* A virtio network card: what it tells its driver, and the frames that the guest sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "base/state.h"
#include "tests/unit/net_rig.h"

#define OFFERED                                                                  \
	(F(N_MAC) | F(N_STATUS) | F(N_MRG_RXBUF) | F(N_CTRL_VQ) | F(N_CTRL_RX) | \
	 F(N_CTRL_RX_EXTRA) | F(N_CTRL_VLAN) | F(N_CTRL_MAC_ADDR) | F(N_GUEST_ANNOUNCE))
#define OFFLOADS (0x7f87ull | F(54) | F(55) | F(56)) /* 0, 1, 2, 7 .. 14 */
#define DEVICE_BITS (0xffffffull | 0xffull << 50 | F(63))

static void test_config(void **state)
{
	struct nrig *r = *state;
	static const struct {
		unsigned offset, width;
		uint64_t value;
	} want[] = {
		{ 0, 4, 0x12005452 }, { 4, 1, 0x34 },   { 5, 1, 0x56 }, { 6, 2, 1 },  { 8, 2, 3 },
		{ 10, 2, 9000 },      { 12, 4, 10000 }, { 16, 1, 1 },   { 17, 1, 0 },
	};

	r->net.net.mtu = 9000;
	r->cfg.pairs = 3;
	r->cfg.speed = 10000;
	nrig_create(r);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(vdrv_device_in(&r->d, want[i].offset, want[i].width),
				 want[i].value);
	assert_int_equal(vdrv_features(&r->d) & DEVICE_BITS,
			 OFFERED | OFFLOADS | F(N_MTU) | F(N_MQ) | F(63));
	assert_int_equal(pci_cfg_in(&r->bus, 0x10, 0, 4), 0x10411af4);
	assert_int_equal(pci_cfg_in(&r->bus, 0x10, 8, 4) >> 8, 0x020000);
	assert_int_equal(vdrv_common_in(&r->d, 0x12, 2), 7);
	nrig_destroy(r);

	/* Of a network that can and knows little. */
	r->net.net.mtu = 0;
	r->net.net.offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4;
	r->cfg.pairs = 0;
	r->cfg.speed = 0;
	r->cfg.link_down = true;
	nrig_create(r);
	assert_int_equal(vdrv_features(&r->d) & DEVICE_BITS,
			 OFFERED | F(0) | F(1) | F(2) | F(N_GUEST_TSO4) | F(N_HOST_TSO4));
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 0);
	assert_int_equal(vdrv_common_in(&r->d, 0x12, 2), 3);
	nrig_destroy(r);

	r->cfg.no_offloads = true;
	nrig_create(r);
	assert_int_equal(vdrv_features(&r->d) & DEVICE_BITS, OFFERED);
	nrig_destroy(r);

	/* 5.1.3.1: no segmentation without checksums. */
	r->cfg.no_offloads = false;
	r->net.net.offloads = NET_OFFLOAD_TSO4;
	nrig_create(r);
	assert_int_equal(vdrv_features(&r->d) & DEVICE_BITS, OFFERED);
}

static void check_refused(struct nrig *r, const char *word)
{
	struct err err = { "" };
	struct device *dev;

	assert_int_equal(virtio_net_create(&r->cfg, &dev, &err), -EINVAL);
	assert_non_null(strstr(err.text, word));
}

static void test_bad_configs(void **state)
{
	struct nrig *r = *state;

	r->cfg.pairs = NRIG_PAIRS + 1;
	check_refused(r, "1 to 4");
	r->cfg.pairs = 1;
	r->cfg.at.queue_size = 24;
	check_refused(r, "power of 2");
	r->cfg.at.queue_size = 2048;
	check_refused(r, "power of 2");
	r->cfg.at.queue_size = 0;
	r->cfg.mac[0] = 0x01;
	check_refused(r, "first byte");
	memset(r->cfg.mac, 0, NET_MAC_LEN);
	check_refused(r, "first byte");
	r->cfg.mac[0] = 0x52;
	nrig_create(r);
}

static const struct fake_sent *sent(struct nrig *r, unsigned n)
{
	assert_int_equal(r->net.nr_sent, n + 1);
	return &r->net.log[n];
}

static void check_sent(struct nrig *r, unsigned n, size_t len)
{
	const struct fake_sent *s = sent(r, n);
	uint8_t *frame = malloc(len);

	nrig_frame(frame, len, nrig_mac);
	assert_int_equal(s->len, len);
	assert_int_equal(s->sum, util_crc32(0, frame, len));
	free(frame);
}

/* The header's length follows what was negotiated (5.1.6.1). */
static void test_tx_modern(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, 0, 1);
	nrig_tx(r, NULL, 60);
	check_sent(r, 0, 60);
	nrig_tx(r, NULL, 1514);
	check_sent(r, 1, 1514);
	nrig_start(r, F(N_MRG_RXBUF), 1);
	nrig_tx(r, NULL, 61);
	check_sent(r, 2, 61);
	assert_int_equal(nrig_stats(r, 0).tx_frames, 3);
	assert_int_equal(nrig_stats(r, 0).tx_bytes, 60 + 1514 + 61);
	assert_int_equal(nrig_stats(r, 0).tx_batches >= 3, 1);
	assert_true(nrig_stats(r, 0).tx_interrupts > 0);
	assert_true(r->net.nr_kicks >= 3);
}

static void test_tx_packed(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX, 1);
	for (unsigned i = 0; i < 3 * NRIG_QSIZE; i++) {
		nrig_tx(r, NULL, 60 + i);
		check_sent(r, i, 60 + i);
	}
}

static void test_tx_legacy(void **state)
{
	struct nrig *r = *state;

	nrig_destroy(r);
	r->cfg.at.mode = VIRTIO_PCI_TRANSITIONAL;
	nrig_create(r);
	assert_int_equal(pci_cfg_in(&r->bus, 0x10, 0, 4), 0x10001af4);
	assert_int_equal(pci_cfg_in(&r->bus, 0x10, 0x2c, 4) >> 16, 1);
	nrig_start_legacy(r, 0);
	nrig_tx(r, NULL, 60);
	check_sent(r, 0, 60);
	nrig_start_legacy(r, F(N_MRG_RXBUF));
	nrig_tx(r, NULL, 64);
	check_sent(r, 1, 64);
}

/* However the guest cuts it. */
static void test_tx_layout(void **state)
{
	struct nrig *r = *state;
	struct vdrv_queue *q = &r->q[NRIG_TX0];
	uint8_t *p = mem_at(&r->mem, NRIG_TX, 4096);
	const struct vdrv_seg one[] = { { NRIG_TX, 72, false } };
	const struct vdrv_seg many[] = { { NRIG_TX, 5, false },
					 { NRIG_TX + 5, 6, false },
					 { NRIG_TX + 11, 2, false },
					 { NRIG_TX + 13, 59, false } };
	const struct vdrv_seg answer[] = { { NRIG_TX, 72, false }, { NRIG_TX + 0x1000, 8, true } };

	nrig_start(r, 0, 1);
	memset(p, 0, 12);
	nrig_frame(p + 12, 60, nrig_mac);
	vdrv_add(q, one, 1, 0);
	vdrv_kick(q);
	assert_int_equal(nrig_used(q), 0);
	check_sent(r, 0, 60);
	vdrv_add(q, many, 4, NRIG_TABLE);
	vdrv_kick(q);
	assert_int_equal(nrig_used(q), 0);
	check_sent(r, 1, 60);
	vdrv_add(q, answer, 2, 0);
	vdrv_kick(q);
	assert_int_equal(nrig_used(q), 0);
	check_sent(r, 2, 60);
}

static void test_tx_lengths(void **state)
{
	struct nrig *r = *state;
	const struct vdrv_seg half[] = { { NRIG_TX, 11, false } };

	nrig_start(r, 0, 1);
	nrig_tx(r, NULL, 0);
	nrig_tx(r, NULL, NET_MIN_FRAME - 1);
	nrig_tx(r, NULL, NET_MAX_FRAME + 1);
	vdrv_add(&r->q[NRIG_TX0], half, 1, 0);
	vdrv_kick(&r->q[NRIG_TX0]);
	nrig_used(&r->q[NRIG_TX0]);
	assert_int_equal(r->net.nr_sent, 0);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_TX_LENGTH], 4);
	nrig_tx(r, NULL, NET_MIN_FRAME);
	check_sent(r, 0, NET_MIN_FRAME);
	nrig_tx(r, NULL, NET_MAX_FRAME);
	check_sent(r, 1, NET_MAX_FRAME);
	assert_int_equal(nrig_stats(r, 0).tx_frames, 2);
}

static void test_tx_headers(void **state)
{
	struct nrig *r = *state;
	struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				       .csum_start = 34,
				       .csum_offset = 16 };
	uint64_t dropped = 0;
	const struct fake_sent *s;

	nrig_start(r, 0, 1);
	nrig_tx(r, &h, 60);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_TX_HEADER], ++dropped);

	nrig_start(r, F(N_CSUM) | F(N_HOST_TSO4), 1);
	nrig_tx(r, &h, 60);
	s = sent(r, 0);
	assert_memory_equal(&s->hdr, &h, sizeof(h));
	h.csum_start = 43; /* the sum would lie behind the end */
	nrig_tx(r, &h, 60);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_TX_HEADER], ++dropped);
	h.csum_start = 42;
	h.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	h.gso_size = 1448;
	h.hdr_len = 54;
	nrig_tx(r, &h, 3000);
	s = sent(r, 1);
	assert_memory_equal(&s->hdr, &h, sizeof(h));
	/* Kinds that were not negotiated, or that there are none of. */
	for (unsigned type = 2; type < 256; type++) {
		h.gso_type = (uint8_t)type;
		nrig_tx(r, &h, 3000);
		assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_TX_HEADER], ++dropped);
	}
	assert_int_equal(r->net.nr_sent, 2);
	/* What a header says without being asked does not reach the host. */
	h = (struct virtio_net_hdr_v1){ .flags = 0xfe,
					.hdr_len = 0xffff,
					.gso_size = 7,
					.csum_start = 0xffff,
					.csum_offset = 0xffff,
					.num_buffers = 9 };
	nrig_tx(r, &h, 60);
	s = sent(r, 2);
	h = (struct virtio_net_hdr_v1){ 0 };
	assert_memory_equal(&s->hdr, &h, sizeof(h));
}

/* The buffer stays, and nothing is tried, until there is room. */
static void test_tx_full(void **state)
{
	struct nrig *r = *state;
	struct vdrv_queue *q = &r->q[NRIG_TX0];

	nrig_start(r, VIRTIO_F_EVENT_IDX, 1);
	nrig_tx(r, NULL, 60);
	fake_net_set_full(&r->net, true);
	for (unsigned i = 0; i < 4; i++) {
		nrig_offer_tx(r, q, i, NULL, 61 + i);
		vdrv_kick(q);
		nrig_not_used(r, q);
	}
	nrig_check_idle(r);
	assert_int_equal(r->net.nr_refused, 1);
	assert_int_equal(nrig_stats(r, 0).tx_stalls, 1);
	fake_net_set_full(&r->net, false);
	for (unsigned i = 0; i < 4; i++)
		nrig_used(q);
	assert_int_equal(r->net.nr_sent, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(r->net.log[i].len, 60 + i);
	nrig_tx(r, NULL, 70);
	check_sent(r, 5, 70);
}

static void test_tx_errors(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, 0, 1);
	r->net.send_result = -EIO;
	nrig_tx(r, NULL, 60);
	nrig_tx(r, NULL, 60);
	r->net.send_result = 0;
	nrig_tx(r, NULL, 60);
	check_sent(r, 0, 60);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_TX_HOST], 2);
}

/* One publish and one interrupt for a batch. */
static void test_tx_batch(void **state)
{
	struct nrig *r = *state;
	struct vdrv_queue *q = &r->q[NRIG_TX0];

	nrig_start(r, 0, 1);
	nrig_settle(r);
	(void)fake_msi_take(&r->msi, NRIG_TX0 + 1); /* those so far */
	virtio_pause(r->dev);
	for (unsigned i = 0; i < NRIG_QSIZE / 2; i++)
		nrig_offer_tx(r, q, i, NULL, 60);
	virtio_resume(r->dev);
	for (unsigned i = 0; i < NRIG_QSIZE / 2; i++)
		nrig_used(q);
	nrig_settle(r);
	assert_int_equal(fake_msi_take(&r->msi, NRIG_TX0 + 1), 1);
	assert_int_equal(nrig_stats(r, 0).tx_batches, 1);
	assert_int_equal(r->net.nr_kicks, 1);
}

static void test_link(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, F(N_STATUS), 1);
	nrig_settle(r); /* the receive queue waits for buffers */
	assert_true(virtio_net_link(r->dev));
	(void)fake_msi_take(&r->msi, 0); /* those so far */
	virtio_net_set_link(r->dev, false);
	virtio_net_set_link(r->dev, false);
	assert_false(virtio_net_link(r->dev));
	assert_int_equal(fake_msi_take(&r->msi, 0), 1);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 0);
	nrig_tx(r, NULL, 60);
	assert_int_equal(r->net.nr_sent, 0);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_TX_LINK], 1);

	/* What comes in is gone, with buffers and without. */
	nrig_inject(r, 0, 60, nrig_mac);
	nrig_wait_drop(r, VIRTIO_NET_RX_LINK, 1);
	nrig_offer_rx(r, &r->q[NRIG_RX0], 2048);
	vdrv_kick(&r->q[NRIG_RX0]);
	nrig_inject(r, 0, 60, nrig_mac);
	nrig_wait_drop(r, VIRTIO_NET_RX_LINK, 2);

	/* A reset does not plug it in. */
	nrig_start(r, F(N_STATUS), 1);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 0);
	(void)fake_msi_take(&r->msi, 0); /* those so far */
	virtio_net_set_link(r->dev, true);
	assert_int_equal(fake_msi_take(&r->msi, 0), 1);
	assert_int_equal(vdrv_device_in(&r->d, 6, 2), 1);
	nrig_tx(r, NULL, 60);
	check_sent(r, 0, 60);
	nrig_offer_rx(r, &r->q[NRIG_RX0], 2048);
	vdrv_kick(&r->q[NRIG_RX0]);
	nrig_inject(r, 0, 60, nrig_mac);
	assert_int_equal(nrig_used(&r->q[NRIG_RX0]), 72);
}

/* 5.1.4.2: an old driver writes its address, a new one cannot. */
static void test_legacy_mac(void **state)
{
	struct nrig *r = *state;
	uint64_t config;

	nrig_start(r, 0, 1);
	config = r->d.device.addr;
	bus_out(&r->bus, BUS_MMIO, config, 4, 0x01020304);
	assert_int_equal(vdrv_device_in(&r->d, 0, 4), 0x12005452);
	nrig_destroy(r);

	r->cfg.at.mode = VIRTIO_PCI_LEGACY;
	nrig_create(r);
	nrig_start_legacy(r, 0);
	for (unsigned i = 0; i < 8; i++)
		vdrv_reg_out(&r->d, 0x14 + i, 1, 0x60 + i);
	assert_int_equal(vdrv_device_in(&r->d, 0, 4), 0x63626160);
	assert_int_equal(vdrv_device_in(&r->d, 4, 4), 0x00016564);
	vdrv_set_status(&r->d, 0);
	assert_int_equal(vdrv_device_in(&r->d, 0, 4), 0x12005452);
}

static void test_mmio(void **state)
{
	struct nrig *r = *state;
	struct fake_irq irq = { 0 };
	struct virtio_net_config cfg = r->cfg;
	struct vdrv_queue q;
	struct device *dev;
	struct err err;
	struct vdrv d;

	cfg.name = "virtio-net1";
	cfg.at.pci = NULL;
	cfg.at.bus = &r->bus;
	cfg.at.base = 0xfec80000;
	cfg.at.irq = fake_irq(&irq);
	assert_int_equal(virtio_net_create(&cfg, &dev, &err), 0);
	assert_true(vdrv_probe_mmio(&d, &r->bus, &r->mem, cfg.at.base));
	assert_int_equal(vdrv_reg_in(&d, 8, 4), 1);
	assert_int_equal(vdrv_device_in(&d, 0, 4), 0x12005452);
	assert_true(vdrv_start(&d, VIRTIO_F_VERSION_1));
	vdrv_queue_setup(&d, &q, NRIG_TX0, NRIG_QSIZE, NRIG_RING(1), false);
	vdrv_driver_ok(&d);
	r->hdr_len = 12;
	nrig_offer_tx(r, &q, 0, NULL, 60);
	vdrv_kick(&q);
	assert_int_equal(nrig_used(&q), 0);
	check_sent(r, 0, 60);
	assert_int_equal(r->net.log[0].queue, 1);
	device_destroy(dev);
	assert_true(irq.raised > 0);
}

/* A guest's mistake with the ring stops the card, no more: a reset mends it. */
static void test_broken_queue(void **state)
{
	struct nrig *r = *state;
	const struct vdrv_seg outside[] = { { NRIG_RAM, 60, false } };
	const struct vdrv_seg small[] = { { NRIG_RX, 11, true } };

	nrig_start(r, 0, 1);
	vdrv_add(&r->q[NRIG_TX0], outside, 1, 0);
	vdrv_kick(&r->q[NRIG_TX0]);
	nrig_settle(r);
	assert_int_equal(vdrv_status(&r->d), 0x4f);
	nrig_start(r, 0, 1);
	nrig_tx(r, NULL, 60);
	check_sent(r, 0, 60);
	/* A receive buffer that has no room for the header. */
	vdrv_add(&r->q[NRIG_RX0], small, 1, 0);
	vdrv_kick(&r->q[NRIG_RX0]);
	nrig_settle(r);
	assert_int_equal(vdrv_status(&r->d), 0x4f);
	nrig_start(r, 0, 1);
	nrig_tx(r, NULL, 60);
	check_sent(r, 1, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_config, nrig_setup_none, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_bad_configs, nrig_setup_none, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_modern, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_packed, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_legacy, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_layout, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_lengths, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_headers, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_full, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_errors, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_tx_batch, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_link, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_legacy_mac, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_mmio, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_broken_queue, nrig_setup, nrig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
