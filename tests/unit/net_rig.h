/* SPDX-License-Identifier: MIT */
/* A virtio network card on a network of the test's, and its driver. What goes wrong fails the test. */
#ifndef TESTS_UNIT_NET_RIG_H
#define TESTS_UNIT_NET_RIG_H

#include "devices/virtio/virtio_net.h"
#include "tests/fake_net.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

#define NRIG_QSIZE 16
#define NRIG_PAIRS 4
#define NRIG_RAM (8 * MIB)
#define NRIG_RING(n) (0x10000ull + (n)*0x10000)
#define NRIG_TABLE 0x100000ull /* of queue n: + n * 0x1000 */
#define NRIG_TX 0x200000ull /* slots of 128 KiB */
#define NRIG_RX 0x400000ull /* slots of 4 KiB */
#define NRIG_CTRL 0x600000ull
#define NRIG_WAIT 2000 /* ms; only ever waited for when something is wrong */

/* VIRTIO 1.2, 5.1.3: bits */
#define F(bit) (1ull << (bit))
enum {
	N_CSUM = 0,
	N_GUEST_CSUM = 1,
	N_CTRL_GUEST_OFFLOADS = 2,
	N_MTU = 3,
	N_MAC = 5,
	N_GUEST_TSO4 = 7,
	N_HOST_TSO4 = 11,
	N_HOST_ECN = 13,
	N_MRG_RXBUF = 15,
	N_STATUS = 16,
	N_CTRL_VQ = 17,
	N_CTRL_RX = 18,
	N_CTRL_VLAN = 19,
	N_CTRL_RX_EXTRA = 20,
	N_GUEST_ANNOUNCE = 21,
	N_MQ = 22,
	N_CTRL_MAC_ADDR = 23,
};

enum { NRIG_RX0, NRIG_TX0, NRIG_CTRLQ, NRIG_QUEUES = 2 * NRIG_PAIRS + 1 };

struct nrig {
	struct mem mem;
	struct bus bus;
	struct fake_irq irq;
	struct fake_msi msi;
	struct pci_host *host;
	struct fake_net net;
	struct virtio_net_config cfg;
	struct device *dev;
	struct vdrv d;
	struct vdrv_queue q[NRIG_QUEUES];
	unsigned ctrl; /* the control queue's index */
	size_t hdr_len;
	unsigned slot; /* the next of NRIG_RX */
};

/* For cmocka: *state is a struct nrig, without a card yet or with one. */
int nrig_setup_none(void **state);
int nrig_setup(void **state);
int nrig_teardown(void **state);
void nrig_create(struct nrig *r);
void nrig_destroy(struct nrig *r);

/* Brings it up with queues of nr pairs and a control queue where features have that. */
void nrig_start(struct nrig *r, uint64_t features, unsigned pairs);
void nrig_start_legacy(struct nrig *r, uint64_t features);

void *nrig_at(struct nrig *r, uint64_t gpa);
struct virtio_net_stats nrig_stats(struct nrig *r, unsigned pair);
/* Every thread is done with what was asked of it so far. */
void nrig_settle(struct nrig *r);
/* And they sleep: no thread is busy with nothing. */
void nrig_check_idle(struct nrig *r);
/* Waits until *v is n. */
void nrig_wait(const atomic_uint *v, unsigned n);
void nrig_wait_drop(struct nrig *r, enum virtio_net_drop drop, uint64_t n);

/* A frame's bytes: an IPv4 frame from somebody to dst, with a pattern of its length. */
void nrig_frame(uint8_t *frame, size_t len, const uint8_t *dst);

/*
 * Sends a frame by queue q from slot, with a header of its own descriptor; kicks. hdr NULL: of
 * zeroes. Returns once the buffer has come back.
 */
void nrig_offer_tx(struct nrig *r, struct vdrv_queue *q, unsigned slot,
		   const struct virtio_net_hdr_v1 *hdr, size_t len);
void nrig_tx(struct nrig *r, const struct virtio_net_hdr_v1 *hdr, size_t len);

/* A receive buffer in one piece; its place. */
uint64_t nrig_offer_rx(struct nrig *r, struct vdrv_queue *q, uint32_t len);
/* A frame of len bytes comes in by a pair for dst. */
void nrig_inject(struct nrig *r, unsigned pair, size_t len, const uint8_t *dst);
/* The next used buffer: its length. */
uint32_t nrig_used(struct vdrv_queue *q);
/* None comes. */
void nrig_not_used(struct nrig *r, struct vdrv_queue *q);

/* A control command; its answer. */
uint8_t nrig_ctrl(struct nrig *r, uint8_t class, uint8_t cmd, const void *data, uint32_t len);

extern const uint8_t nrig_mac[NET_MAC_LEN];

#endif
