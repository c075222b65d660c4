/* SPDX-License-Identifier: MIT */
#include "tests/unit/net_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#define DEVFN 0x10
#define NO_ANSWER 0xee

const uint8_t nrig_mac[NET_MAC_LEN] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

void nrig_create(struct nrig *r)
{
	struct pci_host_config pc = { .name = "pci", .bus = &r->bus, .msi = &r->msi.ctl };
	struct err err = { "" };

	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		pc.irqs[i] = fake_irq(&r->irq);
	bus_init(&r->bus);
	fake_msi_init(&r->msi);
	assert_int_equal(pci_host_create(&pc, &r->host), 0);
	r->cfg.at.pci = r->host;
	assert_int_equal(virtio_net_create(&r->cfg, &r->dev, &err), 0);
	assert_string_equal(err.text, "");
	assert_int_equal(pci_assign(r->host), 0);
	if (r->cfg.at.mode == VIRTIO_PCI_MODERN)
		assert_true(vdrv_probe(&r->d, &r->bus, &r->mem, DEVFN));
	else
		assert_true(vdrv_probe_legacy(&r->d, &r->bus, &r->mem, DEVFN));
}

void nrig_destroy(struct nrig *r)
{
	device_destroy(r->dev);
	device_destroy(&r->host->dev);
	bus_destroy(&r->bus);
	for (unsigned i = 0; i < NET_MAX_QUEUES; i++)
		assert_null(r->net.queues[i]);
}

int nrig_setup_none(void **state)
{
	struct nrig *r = calloc(1, sizeof(*r));

	assert_int_equal(mem_init(&r->mem, NRIG_RAM), 0);
	fake_net_init(&r->net, NRIG_PAIRS);
	r->cfg = (struct virtio_net_config){ .name = "virtio-net0",
					     .at.devfn = DEVFN,
					     .at.mem = &r->mem,
					     .net = &r->net.net,
					     .at.packed = true,
					     .at.queue_size = NRIG_QSIZE };
	memcpy(r->cfg.mac, nrig_mac, NET_MAC_LEN);
	*state = r;
	return 0;
}

int nrig_setup(void **state)
{
	nrig_setup_none(state);
	nrig_create(*state);
	return 0;
}

int nrig_teardown(void **state)
{
	struct nrig *r = *state;

	nrig_destroy(r);
	mem_destroy(&r->mem);
	free(r);
	return 0;
}

void nrig_start(struct nrig *r, uint64_t features, unsigned pairs)
{
	bool mq = features & F(N_MQ);

	r->hdr_len = 12;
	assert_true(vdrv_start(&r->d, features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC));
	vdrv_msix_enable(&r->d, true);
	for (unsigned i = 0; i <= r->d.notify.length / 4; i++)
		vdrv_msix_entry(&r->d, i, 0xfee00000, 0x30 + i);
	vdrv_common_out(&r->d, 0x10, 2, 0);
	r->ctrl = mq ? 2 * virtio_net_pairs(r->dev) : 2;
	for (unsigned i = 0; i < 2 * pairs; i++)
		vdrv_queue_setup(&r->d, &r->q[i], i, NRIG_QSIZE, NRIG_RING(i),
				 features & VIRTIO_F_EVENT_IDX);
	if (features & F(N_CTRL_VQ))
		vdrv_queue_setup(&r->d, &r->q[r->ctrl], r->ctrl, NRIG_QSIZE, NRIG_RING(r->ctrl),
				 features & VIRTIO_F_EVENT_IDX);
	vdrv_driver_ok(&r->d);
	assert_int_equal(vdrv_status(&r->d), 0x0f);
}

void nrig_start_legacy(struct nrig *r, uint64_t features)
{
	r->hdr_len = features & F(N_MRG_RXBUF) ? 12 : 10;
	r->ctrl = 2;
	assert_true(vdrv_start(&r->d, features));
	for (unsigned i = 0; i < 3; i++)
		vdrv_queue_setup(&r->d, &r->q[i], i, NRIG_QSIZE, NRIG_RING(i), false);
	vdrv_driver_ok(&r->d);
	assert_int_equal(vdrv_status(&r->d), 0x07);
}

void *nrig_at(struct nrig *r, uint64_t gpa)
{
	void *p = mem_at(&r->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

struct virtio_net_stats nrig_stats(struct nrig *r, unsigned pair)
{
	struct virtio_net_stats s;

	virtio_net_get_stats(r->dev, pair, &s);
	return s;
}

static void post_sem(void *opaque)
{
	sem_post(opaque);
}

/* Events are taken in turn: the first post may overtake a kick, those after it cannot. */
void nrig_settle(struct nrig *r)
{
	struct loop_post post = { .fn = post_sem };
	sem_t sem;

	sem_init(&sem, 0, 0);
	post.opaque = &sem;
	for (unsigned i = 0; i < 3 * virtio_of(r->dev)->nr_queues; i++) {
		loop_post(virtio_of(r->dev)->queues[i / 3].loop, &post);
		while (sem_wait(&sem)) /* a signal */
			;
	}
	sem_destroy(&sem);
}

void nrig_check_idle(struct nrig *r)
{
	clock_t before;

	nrig_settle(r);
	before = clock();
	usleep(100000);
	assert_true(clock() - before < CLOCKS_PER_SEC / 100);
}

void nrig_wait(const atomic_uint *v, unsigned n)
{
	for (unsigned i = 0; i < NRIG_WAIT && *v != n; i++)
		usleep(1000);
	assert_int_equal(*v, n);
}

void nrig_wait_drop(struct nrig *r, enum virtio_net_drop drop, uint64_t n)
{
	for (unsigned i = 0; i < NRIG_WAIT && nrig_stats(r, 0).drops[drop] < n; i++)
		usleep(1000);
	assert_int_equal(nrig_stats(r, 0).drops[drop], n);
}

void nrig_frame(uint8_t *frame, size_t len, const uint8_t *dst)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + len);
	memcpy(frame, dst, min_u64(len, NET_MAC_LEN));
	if (len >= NET_MIN_FRAME) {
		frame[6] = 2;
		frame[12] = 0x08;
		frame[13] = 0x00;
	}
}

void nrig_offer_tx(struct nrig *r, struct vdrv_queue *q, unsigned slot,
		   const struct virtio_net_hdr_v1 *hdr, size_t len)
{
	uint64_t at = NRIG_TX + slot * 0x20000ull;
	const struct vdrv_seg segs[] = { { at, (uint32_t)r->hdr_len, false },
					 { at + r->hdr_len, (uint32_t)len, false } };
	uint8_t *p = mem_at(&r->mem, at, r->hdr_len + len);

	assert_non_null(p);
	memset(p, 0, r->hdr_len);
	if (hdr)
		memcpy(p, hdr, r->hdr_len);
	nrig_frame(p + r->hdr_len, len, nrig_mac);
	vdrv_add(q, segs, len ? 2 : 1, 0);
}

void nrig_tx(struct nrig *r, const struct virtio_net_hdr_v1 *hdr, size_t len)
{
	nrig_offer_tx(r, &r->q[NRIG_TX0], 0, hdr, len);
	vdrv_kick(&r->q[NRIG_TX0]);
	assert_int_equal(nrig_used(&r->q[NRIG_TX0]), 0);
}

uint64_t nrig_offer_rx(struct nrig *r, struct vdrv_queue *q, uint32_t len)
{
	uint64_t at = NRIG_RX + r->slot++ % 512 * 0x1000ull;
	const struct vdrv_seg seg = { at, len, true };

	memset(mem_at(&r->mem, at, len), 0xee, len);
	vdrv_add(q, &seg, 1, 0);
	return at;
}

void nrig_inject(struct nrig *r, unsigned pair, size_t len, const uint8_t *dst)
{
	uint8_t *frame = malloc(len);

	nrig_frame(frame, len, dst);
	fake_net_inject(&r->net, pair, NULL, frame, len);
	free(frame);
}

uint32_t nrig_used(struct vdrv_queue *q)
{
	uint32_t id, len;

	assert_true(vdrv_used(q, &id, &len, NRIG_WAIT));
	return len;
}

void nrig_not_used(struct nrig *r, struct vdrv_queue *q)
{
	uint32_t id, len;

	nrig_settle(r);
	assert_false(vdrv_used(q, &id, &len, 0));
}

uint8_t nrig_ctrl(struct nrig *r, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	const struct vdrv_seg segs[] = { { NRIG_CTRL, 2, false },
					 { NRIG_CTRL + 0x1000, len, false },
					 { NRIG_CTRL + 0x800, 1, true } };
	const struct vdrv_seg bare[] = { segs[0], segs[2] };
	uint8_t *p = nrig_at(r, NRIG_CTRL);
	struct vdrv_queue *q = &r->q[r->ctrl];

	p[0] = class;
	p[1] = cmd;
	p[0x800] = NO_ANSWER;
	if (len)
		memcpy(mem_at(&r->mem, NRIG_CTRL + 0x1000, len), data, len);
	vdrv_add(q, len ? segs : bare, len ? 3 : 2, 0);
	vdrv_kick(q);
	assert_int_equal(nrig_used(q), 1);
	return p[0x800];
}
