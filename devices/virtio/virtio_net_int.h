/* SPDX-License-Identifier: MIT */
/*
 * The inside of a virtio network card, for virtio_net*.c and vhost_net.c only: creation
 * (virtio_net.c), what the driver is told and may choose (virtio_net_config.c), frames out
 * (virtio_net_tx.c) and in (virtio_net_rx.c), the control queue (virtio_net_ctrl.c), whose frames
 * these are (virtio_net_filter.c).
 *
 * What the guest chooses while queues run lies in the state and is read by other threads than the
 * one that writes it: such fields are only accessed by vnet_get() and vnet_set().
 */
#ifndef DEVICES_VIRTIO_NET_INT_H
#define DEVICES_VIRTIO_NET_INT_H

#include "base/counter.h"
#include "devices/virtio/virtio_net.h"

/* 5.1.3 */
#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (1ull << 2)
#define NET_F_MTU (1ull << 3)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_GUEST_UFO (1ull << 10)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_HOST_UFO (1ull << 14)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS (1ull << 16)
#define NET_F_CTRL_VQ (1ull << 17)
#define NET_F_CTRL_RX (1ull << 18)
#define NET_F_CTRL_VLAN (1ull << 19)
#define NET_F_CTRL_RX_EXTRA (1ull << 20)
#define NET_F_GUEST_ANNOUNCE (1ull << 21)
#define NET_F_MQ (1ull << 22)
#define NET_F_CTRL_MAC_ADDR (1ull << 23)
#define NET_F_GUEST_USO4 (1ull << 54)
#define NET_F_GUEST_USO6 (1ull << 55)
#define NET_F_HOST_USO (1ull << 56)
#define NET_F_SPEED_DUPLEX (1ull << 63)

#define NET_F_GUEST_OFFLOADS                                                        \
	(NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN | \
	 NET_F_GUEST_UFO | NET_F_GUEST_USO4 | NET_F_GUEST_USO6)

#define NET_CONFIG_LEN 17 /* 5.1.4, as far as what is offered goes */
#define NET_LEGACY_HDR_LEN 10 /* 5.1.6.1: without num_buffers */
#define NET_MAX_MACS 64 /* of both tables together */
#define NET_MAX_VLANS 4096
#define NET_MAC_MAX ((1ull << 48) - 1)

/* What frames come in without being asked for (5.1.6.5.1), bits of rx_mode. */
#define NET_RX_PROMISC 0x01
#define NET_RX_ALLMULTI 0x02
#define NET_RX_ALLUNI 0x04
#define NET_RX_NOMULTI 0x08
#define NET_RX_NOUNI 0x10
#define NET_RX_NOBCAST 0x20
#define NET_RX_MODES 0x3f

struct virtio_net_state {
	union virtio_any_state any;
	uint64_t mac; /* addresses as numbers: the first byte is the lowest */
	uint64_t offloads_off; /* of NET_F_GUEST_OFFLOADS, what the driver has turned off */
	uint16_t pairs; /* in use, the first ones: 5.1.6.5.5 */
	uint8_t link_down; /* the cable's: no reset changes it */
	uint8_t announce; /* the driver is asked to, and has not acknowledged it */
	uint8_t rx_mode;
	uint8_t macs_open; /* 1: more unicast addresses than there is room for; 2: group's */
	uint8_t nr_macs;
	uint64_t macs[NET_MAX_MACS];
	uint64_t vlans[NET_MAX_VLANS / 64];
};

#define NET_STATE_FIELDS(s)                                                                   \
	STATE_U_MAX(s, mac, NET_MAC_MAX), STATE_U_MAX(s, offloads_off, NET_F_GUEST_OFFLOADS), \
		STATE_U_MAX(s, pairs, NET_MAX_QUEUES), STATE_U_MAX(s, link_down, 1),          \
		STATE_U_MAX(s, announce, 1), STATE_U_MAX(s, rx_mode, NET_RX_MODES),           \
		STATE_U_MAX(s, macs_open, 3), STATE_U_MAX(s, nr_macs, NET_MAX_MACS),          \
		STATE_ARRAY_MAX(s, macs, NET_MAC_MAX), STATE_ARRAY(s, vlans)

#define vnet_get(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define vnet_set(field, v) __atomic_store_n(&(field), v, __ATOMIC_RELEASE)

struct vnet_counts {
	_Atomic uint64_t frames, bytes, batches, stalls, interrupts;
};

struct vnet_tx {
	struct virtio_queue *q;
	struct iovec *iovs; /* one for the header, before those of buf */
	struct virtq_buf buf;
	struct virtio_net_hdr_v1 hdr;
	bool stalled; /* buf waits until the back-end has room */
	struct vnet_counts counts;
};

/* Popped buffers in hand: the next frames go into the first ones. */
struct vnet_hand {
	struct virtq_buf *bufs; /* in the order of the ring, from bufs[first] on */
	unsigned first, nr;
	unsigned max; /* entries of bufs */
	size_t room; /* bytes, those for headers too */
	struct iovec *iovs; /* the buffers', one behind the other */
	unsigned max_iovs;
};

#define NET_RX_IOVS 256 /* of one call of the back-end; what is not in them is spilt */

struct vnet_rx {
	struct virtio_queue *q;
	struct vnet_hand hand;
	struct iovec iov[NET_RX_IOVS];
	struct virtio_net_hdr_v1 hdr;
	uint8_t *spill; /* NET_MAX_FRAME bytes: what the buffers in hand had no room for */
	size_t direct; /* of the frame that came last: how much of it is in the guest's buffers, */
	size_t len; /* of how much; 0: no frame waits for more buffers */
	bool open; /* the queue runs and has got buffers */
	bool more; /* not all that the back-end has was taken */
	uint64_t held; /* bytes that were pushed and not flushed */
	struct vnet_counts counts;
};

/* One thread's own, but for create and destroy, and counters, which any may read. */
struct vnet_pair {
	struct virtio_net *net;
	unsigned index;
	struct net_queue *host;
	struct vnet_tx tx;
	struct vnet_rx rx;
	_Atomic uint64_t drops[VIRTIO_NET_NR_DROPS];
};

struct vhost_net;

struct virtio_net {
	union {
		struct virtio_dev vdev;
		struct virtio_any any;
	};
	struct net *host;
	struct vhost_net *vhost; /* NULL: there is none */
	uint64_t mac; /* the card's own */
	uint32_t speed;
	struct vnet_pair *pairs;
	unsigned nr_pairs;
	/* As negotiated: nothing runs while these change. */
	bool mergeable;
	uint8_t hdr_len;
	unsigned tx_offloads; /* NET_OFFLOAD_* */
	/* NET_OFFLOAD_*, what the guest takes at present; and how often the filter changed, odd
	 * while it does */
	atomic_uint rx_offloads;
	atomic_uint filter_changes;
	struct virtq_buf ctrl; /* the control queue's */
	struct virtio_net_state s;
};

static inline struct virtio_net *virtio_net_of(const struct virtio_dev *vdev)
{
	return container_of(vdev, struct virtio_net, vdev);
}

static inline void vnet_drop(struct vnet_pair *pair, enum virtio_net_drop why)
{
	counter_add(&pair->drops[why], 1);
}

static inline uint64_t vnet_mac(const void *p)
{
	return load_le(p, NET_MAC_LEN);
}

/* virtio_net_config.c */
uint64_t virtio_net_features(const struct virtio_net_config *cfg);
void virtio_net_config_read(struct virtio_dev *vdev, unsigned offset, void *buf, unsigned len);
void virtio_net_config_write(struct virtio_dev *vdev, unsigned offset, const void *buf,
			     unsigned len);
void virtio_net_features_changed(struct virtio_dev *vdev, uint64_t features);
/* That what was loaded into the state can be. */
bool virtio_net_state_valid(const struct virtio_net *net);
/* Which of NET_F_GUEST_OFFLOADS the driver has negotiated and not turned off; and turns some off. */
uint64_t virtio_net_guest_offloads(const struct virtio_net *net);
int virtio_net_set_guest_offloads(struct virtio_net *net, uint64_t on) __must_check;
/* How many pairs the guest uses: their threads notice. */
int virtio_net_set_pairs(struct virtio_net *net, uint16_t pairs) __must_check;

/* virtio_net_tx.c, all on the pair's thread but for create and destroy. 0 or -errno. */
int virtio_net_tx_create(struct vnet_tx *tx, unsigned queue_size) __must_check;
void virtio_net_tx_destroy(struct vnet_tx *tx);
void virtio_net_tx_handle(struct vnet_pair *pair);
void virtio_net_tx_writable(void *pair);
void virtio_net_tx_cease(struct vnet_pair *pair);

/* virtio_net_rx.c, the same */
int virtio_net_rx_create(struct vnet_rx *rx, unsigned queue_size) __must_check;
void virtio_net_rx_destroy(struct vnet_rx *rx);
void virtio_net_rx_handle(struct vnet_pair *pair);
bool virtio_net_rx_poll(struct vnet_pair *pair);
void virtio_net_rx_readable(void *pair);
void virtio_net_rx_cease(struct vnet_pair *pair);

/* virtio_net_hand.c: buffers in hand */
int vnet_hand_create(struct vnet_hand *hand, unsigned queue_size) __must_check;
void vnet_hand_destroy(struct vnet_hand *hand);
/* No more buffers fit, as those there are consist of too many pieces. */
bool vnet_hand_full(struct vnet_hand *hand, unsigned queue_size);
/* Pops until there is room for so many bytes, or no more to pop. 0, or as virtq_pop(). */
int vnet_hand_fill(struct vnet_hand *hand, struct virtq *vq, size_t room, size_t min) __must_check;
/* Copies to the buffers in hand, offset bytes from their start; all of it fits. */
void vnet_hand_write(struct vnet_hand *hand, size_t offset, const void *src, size_t len);
/* The same the other way. */
void vnet_hand_read(const struct vnet_hand *hand, size_t offset, void *dst, size_t len);
/*
 * Fills iov, of max entries, with what is behind the first skip bytes of up to nr_bufs buffers, at
 * most len bytes. How many entries; *bytes says how much they are.
 */
unsigned vnet_hand_iov(const struct vnet_hand *hand, unsigned nr_bufs, size_t skip, size_t len,
		       struct iovec *iov, unsigned max, size_t *bytes);
/* How many of the buffers len bytes take; all of it fits. */
unsigned vnet_hand_count(const struct vnet_hand *hand, size_t len);
/* Gives the buffers of len bytes back to the guest as used. */
void vnet_hand_push(struct vnet_hand *hand, struct virtq *vq, size_t len);
/* Gives all back as if they had never been taken. */
void vnet_hand_unpop(struct vnet_hand *hand, struct virtq *vq);

/* virtio_net_ctrl.c: the control queue's thread */
void virtio_net_ctrl_handle(struct virtio_queue *q);

/* virtio_net_filter.c */
/* Any thread: the frame that starts with these len bytes (NET_MIN_FRAME at least) is wanted. */
bool virtio_net_filter_wants(const struct virtio_net *net, const uint8_t *frame, size_t len);
#define NET_FILTER_LEN 18 /* bytes that it looks at */
/* The control queue's thread: around changes of what the filter goes by. */
void virtio_net_filter_begin(struct virtio_net *net);
void virtio_net_filter_end(struct virtio_net *net);

#endif
