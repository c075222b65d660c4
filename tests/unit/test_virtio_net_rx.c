/* SPDX-License-Identifier: MIT */
/* A virtio network card: the frames that the guest gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "base/state.h"
#include "tests/unit/net_rig.h"

#define MERGEABLE F(N_MRG_RXBUF)
#define BIG (F(N_MRG_RXBUF) | F(N_GUEST_CSUM) | F(N_GUEST_TSO4))

static struct vdrv_queue *rxq(struct nrig *r)
{
	return &r->q[NRIG_RX0];
}

/* The frame of len bytes that the first of the n buffers at starts to hold. */
static void check_frame(struct nrig *r, const uint64_t *at, const uint32_t *used, unsigned n,
			size_t len)
{
	uint8_t *want = malloc(len);
	size_t done = 0;

	nrig_frame(want, len, nrig_mac);
	for (unsigned i = 0; i < n; i++) {
		size_t skip = i ? 0 : r->hdr_len, part = used[i] - skip;

		assert_true(done + part <= len);
		assert_memory_equal(mem_at(&r->mem, at[i] + skip, part), want + done, part);
		done += part;
	}
	assert_int_equal(done, len);
	free(want);
}

static struct virtio_net_hdr_v1 header_at(struct nrig *r, uint64_t at)
{
	struct virtio_net_hdr_v1 h = { 0 };

	assert_int_equal(mem_read(&r->mem, at, &h, r->hdr_len), 0);
	return h;
}

/* A frame into one buffer of 2 KiB. */
static void check_receives(struct nrig *r, size_t len)
{
	uint64_t at = nrig_offer_rx(r, rxq(r), 2048);
	uint32_t used;

	vdrv_kick(rxq(r));
	nrig_inject(r, 0, len, nrig_mac);
	used = nrig_used(rxq(r));
	assert_int_equal(used, r->hdr_len + len);
	check_frame(r, &at, &used, 1, len);
	/* Not a byte behind it. */
	assert_int_equal(*(uint8_t *)nrig_at(r, at + used), 0xee);
	if (r->hdr_len == 12)
		assert_int_equal(header_at(r, at).num_buffers, 1);
}

static void test_header_sizes(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, 0, 1);
	check_receives(r, 60);
	check_receives(r, 1514);
	nrig_start(r, MERGEABLE, 1);
	check_receives(r, 60);
	nrig_start(r, MERGEABLE | VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX, 1);
	for (unsigned i = 0; i < 3 * NRIG_QSIZE; i++)
		check_receives(r, 60 + i);
	nrig_destroy(r);
	r->cfg.at.mode = VIRTIO_PCI_TRANSITIONAL;
	nrig_create(r);
	nrig_start_legacy(r, 0);
	check_receives(r, 60);
	nrig_start_legacy(r, MERGEABLE);
	check_receives(r, 60);
	assert_int_equal(nrig_stats(r, 0).rx_frames, 2);
	assert_int_equal(nrig_stats(r, 0).rx_bytes, 120);
}

/* A frame over as many buffers as it takes, each filled; num_buffers says how many. */
static void spread(struct nrig *r, uint64_t features)
{
	uint64_t at[NRIG_QSIZE];
	uint32_t used[NRIG_QSIZE];
	static const struct {
		size_t len;
		unsigned bufs;
	} cases[] = { { 88, 1 }, { 89, 2 }, { 188, 2 }, { 189, 3 }, { 1500 - 12, 15 } };

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		nrig_start(r, features, 1);
		for (unsigned i = 0; i < NRIG_QSIZE; i++)
			at[i] = nrig_offer_rx(r, rxq(r), 100);
		vdrv_kick(rxq(r));
		nrig_inject(r, 0, cases[c].len, nrig_mac);
		for (unsigned i = 0; i < cases[c].bufs; i++)
			used[i] = nrig_used(rxq(r));
		nrig_not_used(r, rxq(r));
		assert_int_equal(header_at(r, at[0]).num_buffers, cases[c].bufs);
		check_frame(r, at, used, cases[c].bufs, cases[c].len);
		/* The next one goes on where this one has ended. */
		if (cases[c].bufs == NRIG_QSIZE - 1)
			continue;
		nrig_inject(r, 0, 60, nrig_mac);
		used[0] = nrig_used(rxq(r));
		check_frame(r, at + cases[c].bufs, used, 1, 60);
	}
}

static void test_mergeable(void **state)
{
	spread(*state, MERGEABLE);
	spread(*state, MERGEABLE | VIRTIO_F_RING_PACKED);
}

/* Without them a frame has the one buffer, of however many pieces. */
static void test_one_buffer(void **state)
{
	struct nrig *r = *state;
	const uint64_t at = NRIG_RX;
	const struct vdrv_seg segs[] = { { at, 5, true },
					 { at + 5, 6, true },
					 { at + 11, 1, true },
					 { at + 12, 10, true },
					 { at + 22, 1000, true } };
	uint32_t used;

	nrig_start(r, 0, 1);
	vdrv_add(rxq(r), segs, ARRAY_SIZE(segs), NRIG_TABLE);
	nrig_offer_rx(r, rxq(r), 100);
	vdrv_kick(rxq(r));
	nrig_inject(r, 0, 700, nrig_mac);
	used = nrig_used(rxq(r));
	check_frame(r, &at, &used, 1, 700);
	assert_int_equal(header_at(r, at).num_buffers, 1);
	/* One that does not fit is lost, and its buffer the next one's. */
	nrig_inject(r, 0, 89, nrig_mac);
	nrig_wait_drop(r, VIRTIO_NET_RX_LENGTH, 1);
	nrig_not_used(r, rxq(r));
	nrig_inject(r, 0, 88, nrig_mac);
	assert_int_equal(nrig_used(rxq(r)), 100);
}

/* Without buffers the back-end is left alone, and the guest is asked to kick. */
static void test_no_buffers(void **state)
{
	struct nrig *r = *state;
	uint16_t old;

	nrig_start(r, VIRTIO_F_EVENT_IDX, 1);
	nrig_inject(r, 0, 60, nrig_mac);
	nrig_inject(r, 0, 61, nrig_mac);
	nrig_settle(r);
	assert_int_equal(r->net.nr_left, 2);
	assert_int_equal(nrig_stats(r, 0).rx_stalls, 1);
	old = rxq(r)->avail_idx;
	nrig_offer_rx(r, rxq(r), 2048);
	assert_true(vdrv_wants_kick(rxq(r), old));
	vdrv_kick(rxq(r));
	assert_int_equal(nrig_used(rxq(r)), 72);
	nrig_settle(r);
	assert_int_equal(r->net.nr_left, 1);
	nrig_offer_rx(r, rxq(r), 2048);
	vdrv_kick(rxq(r));
	assert_int_equal(nrig_used(rxq(r)), 73);
	assert_int_equal(nrig_stats(r, 0).rx_frames, 2);
}

/* With buffers to spare no kick is wanted, and nobody looks for what is not needed. */
static void test_no_kicks(void **state)
{
	struct nrig *r = *state;
	uint16_t old;

	nrig_start(r, VIRTIO_F_EVENT_IDX, 1);
	for (unsigned i = 0; i < NRIG_QSIZE / 2; i++)
		nrig_offer_rx(r, rxq(r), 2048);
	vdrv_kick(rxq(r));
	nrig_settle(r);
	old = rxq(r)->avail_idx;
	nrig_offer_rx(r, rxq(r), 2048);
	assert_false(vdrv_wants_kick(rxq(r), old));
	nrig_check_idle(r);
	for (unsigned i = 0; i <= NRIG_QSIZE / 2; i++) {
		nrig_inject(r, 0, 60, nrig_mac);
		assert_int_equal(nrig_used(rxq(r)), 72);
	}
	nrig_settle(r);
	old = rxq(r)->avail_idx;
	nrig_offer_rx(r, rxq(r), 2048);
	assert_true(vdrv_wants_kick(rxq(r), old));
}

/* A frame that is longer than all buffers so far waits for more of them. */
static void waits(struct nrig *r, uint64_t features)
{
	const size_t len = 3000;
	uint64_t at[NRIG_QSIZE];
	uint32_t used[NRIG_QSIZE];

	nrig_start(r, features, 1);
	at[0] = nrig_offer_rx(r, rxq(r), 1000);
	at[1] = nrig_offer_rx(r, rxq(r), 1000);
	vdrv_kick(rxq(r));
	nrig_inject(r, 0, len, nrig_mac);
	nrig_inject(r, 0, 60, nrig_mac);
	nrig_not_used(r, rxq(r));
	at[2] = nrig_offer_rx(r, rxq(r), 1000);
	vdrv_kick(rxq(r));
	nrig_not_used(r, rxq(r));
	at[3] = nrig_offer_rx(r, rxq(r), 1000);
	at[4] = nrig_offer_rx(r, rxq(r), 1000);
	vdrv_kick(rxq(r));
	for (unsigned i = 0; i < 5; i++)
		used[i] = nrig_used(rxq(r));
	assert_int_equal(header_at(r, at[0]).num_buffers, 4);
	check_frame(r, at, used, 4, len);
	check_frame(r, at + 4, used + 4, 1, 60);
}

static void test_waits_for_buffers(void **state)
{
	waits(*state, MERGEABLE);
	waits(*state, BIG | VIRTIO_F_RING_PACKED);
}

/* It is gone when the cable is. */
static void test_waits_without_link(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, MERGEABLE, 1);
	nrig_offer_rx(r, rxq(r), 1000);
	vdrv_kick(rxq(r));
	nrig_inject(r, 0, 3000, nrig_mac);
	nrig_not_used(r, rxq(r));
	virtio_net_set_link(r->dev, false);
	nrig_wait_drop(r, VIRTIO_NET_RX_LINK, 1);
	virtio_net_set_link(r->dev, true);
	nrig_inject(r, 0, 60, nrig_mac);
	assert_int_equal(nrig_used(rxq(r)), 72);
}

/* But not for ever: with half a ring given, a guest will not give more. */
static void test_too_long(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, MERGEABLE, 1);
	for (unsigned i = 0; i < NRIG_QSIZE / 2; i++)
		nrig_offer_rx(r, rxq(r), 100);
	vdrv_kick(rxq(r));
	nrig_inject(r, 0, 3000, nrig_mac);
	nrig_inject(r, 0, 80, nrig_mac);
	assert_int_equal(nrig_used(rxq(r)), 92);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_RX_LENGTH], 1);
}

/* Nor where no more can be taken, as those there are consist of so many pieces. */
static void test_too_many_pieces(void **state)
{
	struct nrig *r = *state;
	struct vdrv_seg segs[64];

	nrig_destroy(r);
	r->cfg.at.queue_size = 64;
	nrig_create(r);
	nrig_start(r, MERGEABLE, 0);
	vdrv_queue_setup(&r->d, rxq(r), 0, 64, NRIG_RING(0), false);
	for (unsigned t = 0; t < 6; t++) {
		for (unsigned i = 0; i < 64; i++)
			segs[i] = (struct vdrv_seg){ NRIG_RX + t * 256 + i * 2, 1, true };
		vdrv_add(rxq(r), segs, 64, NRIG_TABLE + t * 0x1000);
	}
	vdrv_kick(rxq(r));
	nrig_inject(r, 0, 350, nrig_mac);
	nrig_inject(r, 0, 100, nrig_mac);
	assert_int_equal(nrig_used(rxq(r)), 64);
	assert_int_equal(nrig_used(rxq(r)), 48);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_RX_LENGTH], 1);
}

/* The largest frame there can be, in more pieces than one call takes. */
static void test_largest(void **state)
{
	struct nrig *r = *state;
	struct vdrv_seg segs[NRIG_QSIZE];
	uint64_t at = NRIG_TX;
	uint32_t used = 0;
	uint8_t *want = malloc(NET_MAX_FRAME);

	nrig_start(r, BIG, 1);
	/* 5 tables of 16 pieces of 1 KiB, as if in one piece. */
	for (unsigned t = 0; t < 5; t++) {
		for (unsigned i = 0; i < NRIG_QSIZE; i++)
			segs[i] = (struct vdrv_seg){ at + (t * 16 + i) * 1024ull, 1024, true };
		vdrv_add(rxq(r), segs, NRIG_QSIZE, NRIG_TABLE + t * 0x1000);
	}
	vdrv_kick(rxq(r));
	nrig_inject(r, 0, NET_MAX_FRAME, nrig_mac);
	for (unsigned i = 0; i < 5; i++)
		used += nrig_used(rxq(r));
	assert_int_equal(used, NET_MAX_FRAME + 12);
	assert_int_equal(header_at(r, at).num_buffers, 5);
	nrig_frame(want, NET_MAX_FRAME, nrig_mac);
	assert_memory_equal(mem_at(&r->mem, at + 12, NET_MAX_FRAME), want, NET_MAX_FRAME);
	free(want);
	assert_true(r->net.most_iovs <= 256);
}

/* Straight into the guest's memory where there is room for it. */
static void test_reads_in_place(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, MERGEABLE, 1);
	for (unsigned i = 0; i < 4; i++)
		nrig_offer_rx(r, rxq(r), 1024);
	vdrv_kick(rxq(r));
	nrig_inject(r, 0, 1514, nrig_mac);
	nrig_used(rxq(r));
	nrig_used(rxq(r));
	assert_int_equal(r->net.most_iovs, 1 + 2 + 1); /* header, likely buffers, the spill */
}

static void inject_header(struct nrig *r, const struct virtio_net_hdr_v1 *h, size_t len)
{
	uint8_t frame[1024];

	nrig_frame(frame, len, nrig_mac);
	fake_net_inject(&r->net, 0, h, frame, len);
}

static void test_headers(void **state)
{
	struct nrig *r = *state;
	const struct virtio_net_hdr_v1 csum = {
		.flags = 0xff, .csum_start = 34, .csum_offset = 16, .num_buffers = 77
	};
	struct virtio_net_hdr_v1 valid = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	struct virtio_net_hdr_v1 got;
	uint64_t at;

	/* What was not negotiated does not reach the guest. */
	nrig_start(r, 0, 1);
	at = nrig_offer_rx(r, rxq(r), 2048);
	vdrv_kick(rxq(r));
	inject_header(r, &csum, 60);
	nrig_wait_drop(r, VIRTIO_NET_RX_HEADER, 1);
	inject_header(r, &valid, 60);
	nrig_used(rxq(r));
	assert_int_equal(header_at(r, at).flags, 0);

	nrig_start(r, F(N_GUEST_CSUM), 1);
	assert_int_equal(r->net.offloads, NET_OFFLOAD_CSUM);
	at = nrig_offer_rx(r, rxq(r), 2048);
	vdrv_kick(rxq(r));
	inject_header(r, &csum, 60);
	nrig_used(rxq(r));
	got = header_at(r, at);
	assert_int_equal(got.flags, 3);
	assert_int_equal(got.csum_start, 34);
	assert_int_equal(got.csum_offset, 16);
	assert_int_equal(got.num_buffers, 1);
	nrig_offer_rx(r, rxq(r), 2048);
	vdrv_kick(rxq(r));
	valid.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	inject_header(r, &valid, 60);
	nrig_wait_drop(r, VIRTIO_NET_RX_HEADER, 2);
}

static void test_host_errors(void **state)
{
	struct nrig *r = *state;

	nrig_start(r, 0, 1);
	nrig_offer_rx(r, rxq(r), 2048);
	vdrv_kick(rxq(r));
	nrig_settle(r);
	r->net.receive_result = -EIO;
	nrig_inject(r, 0, 60, nrig_mac);
	assert_int_equal(nrig_used(rxq(r)), 72);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_RX_HOST], 1);
	nrig_offer_rx(r, rxq(r), 2048);
	vdrv_kick(rxq(r));
	nrig_settle(r);
	r->net.receive_result = -EMSGSIZE;
	nrig_inject(r, 0, 13, nrig_mac);
	nrig_inject(r, 0, 60, nrig_mac);
	assert_int_equal(nrig_used(rxq(r)), 72);
	assert_int_equal(nrig_stats(r, 0).drops[VIRTIO_NET_RX_LENGTH], 2);
}

/* More than a batch, with others on the thread in between. */
static void test_many_frames(void **state)
{
	struct nrig *r = *state;
	unsigned offered = 0, got = 0;

	nrig_start(r, MERGEABLE | VIRTIO_F_EVENT_IDX, 1);
	for (unsigned i = 0; i < 1000; i++)
		nrig_inject(r, 0, 60, nrig_mac);
	while (got < 1000) {
		for (; offered < 1000 && offered - got < NRIG_QSIZE; offered++)
			nrig_offer_rx(r, rxq(r), 100);
		vdrv_kick(rxq(r));
		assert_int_equal(nrig_used(rxq(r)), 72);
		got++;
	}
	nrig_not_used(r, rxq(r));
	assert_int_equal(nrig_stats(r, 0).rx_frames, 1000);
}

/* Of a batch of large frames the guest is told while the next ones are read. */
static void test_shown_early(void **state)
{
	struct nrig *r = *state;
	const unsigned frames = 3;

	nrig_start(r, MERGEABLE, 1);
	for (unsigned i = 0; i < frames; i++, r->slot += 16)
		nrig_offer_rx(r, rxq(r), 40000);
	nrig_settle(r);
	virtio_pause(r->dev);
	for (unsigned i = 0; i < frames; i++)
		nrig_inject(r, 0, 39000, nrig_mac);
	(void)fake_msi_take(&r->msi, NRIG_RX0 + 1);
	virtio_resume(r->dev);
	for (unsigned i = 0; i < frames; i++)
		assert_int_equal(nrig_used(rxq(r)), 39012);
	nrig_settle(r);
	assert_int_equal(nrig_stats(r, 0).rx_batches, 1);
	assert_int_equal(fake_msi_take(&r->msi, NRIG_RX0 + 1), frames);
}

/* Frame after frame with many buffers in hand, over rings and hands in a row. */
static void long_run(struct nrig *r, uint64_t features)
{
	uint64_t at[200];

	nrig_start(r, features, 1);
	for (unsigned i = 0; i < 10; i++)
		at[i] = nrig_offer_rx(r, rxq(r), 200);
	vdrv_kick(rxq(r));
	for (unsigned i = 0; i < 180; i++) {
		uint32_t used;

		nrig_inject(r, 0, 60 + i % 100, nrig_mac);
		used = nrig_used(rxq(r));
		check_frame(r, &at[i], &used, 1, 60 + i % 100);
		at[i + 10] = nrig_offer_rx(r, rxq(r), 200);
		vdrv_kick(rxq(r));
	}
}

static void test_long_run(void **state)
{
	long_run(*state, BIG);
	long_run(*state, BIG | VIRTIO_F_RING_PACKED);
}

/* A back-end need not say it twice: all that it has is taken, however much. */
static void test_edge(void **state)
{
	struct nrig *r = *state;

	r->net.edge = true;
	virtio_net_set_link(r->dev, false);
	for (unsigned i = 0; i < 500; i++)
		nrig_inject(r, 0, 60, nrig_mac);
	nrig_start(r, 0, 1);
	nrig_wait_drop(r, VIRTIO_NET_RX_LINK, 500);
}

/* Pause, reset and save find the ring as if the buffers in hand had never been taken. */
static void test_stop(void **state)
{
	struct nrig *r = *state;
	const uint64_t features[] = { MERGEABLE, BIG | VIRTIO_F_RING_PACKED };

	for (unsigned i = 0; i < 2; i++) {
		struct virtio_dev *vdev = virtio_of(r->dev);
		uint64_t at[6];
		uint32_t used[6];

		nrig_start(r, features[i], 1);
		for (unsigned b = 0; b < 6; b++)
			at[b] = nrig_offer_rx(r, rxq(r), 200);
		vdrv_kick(rxq(r));
		nrig_inject(r, 0, 60, nrig_mac);
		nrig_inject(r, 0, 300, nrig_mac);
		for (unsigned b = 0; b < 3; b++)
			used[b] = nrig_used(rxq(r));
		nrig_settle(r);
		assert_true(vdev->queues[0].vq.in_flight > 0);
		virtio_pause(r->dev);
		assert_int_equal(vdev->queues[0].vq.in_flight, 0);
		assert_int_equal(vdev->s->next_avail[0] & 0x7fff, 3);
		assert_int_equal(vdev->s->next_used[0] & 0x7fff, 3);
		nrig_inject(r, 0, 61, nrig_mac);
		nrig_not_used(r, rxq(r));
		virtio_resume(r->dev);
		used[3] = nrig_used(rxq(r));
		check_frame(r, at + 3, used + 3, 1, 61);
		/* With a frame that waits for more. */
		nrig_inject(r, 0, 2000, nrig_mac);
		nrig_not_used(r, rxq(r));
		virtio_pause(r->dev);
		assert_int_equal(vdev->s->next_avail[0] & 0x7fff, 4);
		virtio_resume(r->dev);
		nrig_inject(r, 0, 62, nrig_mac);
		used[4] = nrig_used(rxq(r));
		check_frame(r, at + 4, used + 4, 1, 62);
	}
}

/* A frame in mid-air and a full host, over and over. */
static void test_reset_in_flight(void **state)
{
	struct nrig *r = *state;

	for (unsigned i = 0; i < 20; i++) {
		nrig_start(r, i & 1 ? BIG : VIRTIO_F_RING_PACKED, 1);
		fake_net_set_full(&r->net, true);
		for (unsigned b = 0; b < 4; b++) {
			nrig_offer_rx(r, rxq(r), 100);
			nrig_offer_tx(r, &r->q[NRIG_TX0], b, NULL, 60);
		}
		vdrv_kick(rxq(r));
		vdrv_kick(&r->q[NRIG_TX0]);
		nrig_inject(r, 0, 2000, nrig_mac);
		nrig_inject(r, 0, 60, nrig_mac);
		if (i & 2)
			nrig_settle(r);
		vdrv_set_status(&r->d, 0);
		fake_net_set_full(&r->net, false);
		nrig_settle(r);
	}
	nrig_start(r, 0, 1);
	for (unsigned i = 0; r->net.nr_left; i++) {
		nrig_offer_rx(r, rxq(r), 2048);
		vdrv_kick(rxq(r));
		nrig_used(rxq(r));
	}
	check_receives(r, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_header_sizes, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_mergeable, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_one_buffer, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_no_buffers, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_no_kicks, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_buffers, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_waits_without_link, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_too_long, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_too_many_pieces, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_largest, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_reads_in_place, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_headers, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_host_errors, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_shown_early, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_many_frames, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_long_run, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_edge, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_stop, nrig_setup, nrig_teardown),
		cmocka_unit_test_setup_teardown(test_reset_in_flight, nrig_setup, nrig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
