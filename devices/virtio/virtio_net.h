/* SPDX-License-Identifier: MIT */
/*
 * A virtio network card: VIRTIO 1.2, section 5.1, over PCI or memory-mapped I/O.
 *
 * Frames go between the guest's memory and the back-end without a copy and without an allocation,
 * on the I/O thread of their queue pair, and no lock is taken on the way unless the guest has
 * turned MSI-X off. What the guest chooses by the control queue (addresses, filters, offloads,
 * how many pairs) the threads see at their next frame.
 *
 * A guest's header is copied once and checked against what was negotiated before the back-end
 * sees it. A frame that cannot be is dropped and counted; it never stops the queue.
 */
#ifndef DEVICES_VIRTIO_NET_H
#define DEVICES_VIRTIO_NET_H

#include "backends/net/net.h"
#include "base/err.h"
#include "devices/virtio/virtio_any.h"

struct vhost_sys;

enum virtio_net_vhost { VIRTIO_NET_VHOST_OFF, VIRTIO_NET_VHOST_AUTO, VIRTIO_NET_VHOST_ON };

struct virtio_net_config {
	const char *name; /* "virtio-net0" */
	struct virtio_place at; /* threads: 0 is one for each pair */
	struct net *net; /* the board's, and lives as long as the device */
	uint8_t mac[NET_MAC_LEN]; /* of one card: neither zero nor a group's */
	bool link_down; /* the cable is out at first */
	bool no_offloads; /* offer none of what net->offloads allows */
	uint32_t speed; /* Mbit/s, full duplex, as the guest is told; 0: it is not */
	unsigned pairs; /* of queues, 1 .. net->max_queues; 0: 1 */
	/*
	 * The host's kernel serves the queues (devices/virtio/vhost_net.h). AUTO: where it can, and
	 * else we do. ON: creation fails where it cannot, and what the kernel lacks is not offered.
	 */
	enum virtio_net_vhost vhost;
	const struct vhost_sys *vhost_sys; /* NULL: the host's (devices/virtio/vhost.h) */
};

/* 0 or -errno with a line in err. virtio_pause() and virtio_resume() work on the device. */
int virtio_net_create(const struct virtio_net_config *cfg, struct device **out,
		      struct err *err) __must_check;

/* For the main thread, or any that may take the device's lock: */

/* The cable: while it is out all frames are dropped, both ways. */
void virtio_net_set_link(struct device *dev, bool up);
bool virtio_net_link(struct device *dev);

/*
 * Has the guest announce itself to its neighbours (5.1.6.5.4), where it can: it may be somewhere
 * else now, as after a restore. set_link() does so, too.
 */
void virtio_net_announce(struct device *dev);

/* Why a frame did not get through. */
enum virtio_net_drop {
	VIRTIO_NET_TX_LENGTH, /* shorter or longer than a frame can be */
	VIRTIO_NET_TX_HEADER, /* its header asks for what cannot be */
	VIRTIO_NET_TX_LINK, /* the cable is out, these two */
	VIRTIO_NET_RX_LINK,
	VIRTIO_NET_TX_HOST, /* the back-end said no, these two */
	VIRTIO_NET_RX_HOST,
	VIRTIO_NET_RX_LENGTH, /* longer than the guest's buffers */
	VIRTIO_NET_RX_HEADER, /* its header has what the guest has not negotiated */
	VIRTIO_NET_RX_FILTER, /* for somebody else */
	VIRTIO_NET_NR_DROPS,
};

/* For people and reports: "tx-length". */
const char *virtio_net_drop_name(enum virtio_net_drop drop);

/* A queue pair's, since the device was made. What vhost-net moves is not counted. */
struct virtio_net_stats {
	uint64_t tx_frames; /* with segments to make: once */
	uint64_t tx_bytes; /* of frames, without virtio's header */
	uint64_t tx_batches; /* times the thread found frames to send */
	uint64_t tx_stalls; /* times the back-end was full */
	uint64_t tx_interrupts;
	uint64_t rx_frames;
	uint64_t rx_bytes;
	uint64_t rx_batches; /* times it handed frames to the guest */
	uint64_t rx_stalls; /* times the guest had no buffer for more */
	uint64_t rx_interrupts;
	uint64_t drops[VIRTIO_NET_NR_DROPS];
};

/* Any thread. The guest's kicks are virtio_kicks(). */
void virtio_net_get_stats(const struct device *dev, unsigned pair, struct virtio_net_stats *out);
unsigned virtio_net_pairs(const struct device *dev);
/* How many of them the guest uses. Any thread. */
unsigned virtio_net_pairs_in_use(const struct device *dev);
/* vhost-net serves the queues, or will when the guest starts them. */
bool virtio_net_uses_vhost(const struct device *dev);

#endif
