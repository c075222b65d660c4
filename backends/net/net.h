/* SPDX-License-Identifier: MIT */
/*
 * A network as the host offers it: any front-end holds only a struct net *, and for each of its
 * I/O threads a struct net_queue *, the way in and out.
 *
 * Frames are Ethernet's, without FCS, behind a struct virtio_net_hdr_v1 (VIRTIO 1.2, 5.1.6),
 * always of NET_HDR_LEN bytes and little-endian, whatever the guest has negotiated. The
 * header says what is left to do for a frame that uses an offload. A front-end has checked
 * the header of a frame that it sends; a back-end that of a frame that it hands over.
 *
 * Nothing blocks and nothing on this path allocates. A front-end sends on its I/O thread and calls
 * net_kick() once a batch. It receives when readable() was called, until -EAGAIN, or until it
 * has no room: then it says so by net_want(), and is not called again until it wants to be.
 *
 * Layers stack: a capture or a limit over a back-end. Whoever opened a struct net owns it and those
 * below it. All but the queues' calls are the main thread's, but for what says otherwise.
 */
#ifndef BACKENDS_NET_H
#define BACKENDS_NET_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/util.h"

/* 5.1.6; its numbers are little-endian. (linux/virtio_net.h cannot be had beside devices/virtio/.) */
struct virtio_net_hdr_v1 {
	uint8_t flags; /* VIRTIO_NET_HDR_F_* */
	uint8_t gso_type; /* VIRTIO_NET_HDR_GSO_* */
	uint16_t hdr_len; /* of the headers that each segment has: a hint */
	uint16_t gso_size;
	uint16_t csum_start; /* from where to sum up, and where from there to put it */
	uint16_t csum_offset;
	uint16_t num_buffers; /* between a front-end and its guest only */
};

#define VIRTIO_NET_HDR_F_NEEDS_CSUM 1
#define VIRTIO_NET_HDR_F_DATA_VALID 2
#define VIRTIO_NET_HDR_GSO_NONE 0
#define VIRTIO_NET_HDR_GSO_TCPV4 1
#define VIRTIO_NET_HDR_GSO_UDP 3
#define VIRTIO_NET_HDR_GSO_TCPV6 4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#define VIRTIO_NET_HDR_GSO_ECN 0x80

#define NET_HDR_LEN sizeof(struct virtio_net_hdr_v1)
#define NET_MAC_LEN 6
#define NET_MIN_FRAME 14 /* a header of Ethernet */
#define NET_MAX_FRAME (65535 + 18) /* an IP packet of any length, with a VLAN's tag */
#define NET_MAX_QUEUES 8

/* What may be left for the other side to do with a frame (struct virtio_net_hdr_v1). */
#define NET_OFFLOAD_CSUM (1u << 0)
#define NET_OFFLOAD_TSO4 (1u << 1)
#define NET_OFFLOAD_TSO6 (1u << 2)
#define NET_OFFLOAD_ECN (1u << 3) /* segments of TSO with ECN's bits */
#define NET_OFFLOAD_UFO (1u << 4)
#define NET_OFFLOAD_USO (1u << 5) /* both IPv4's and IPv6's */

struct net;
struct net_queue;

struct net_queue_config {
	struct loop *loop; /* whose thread sends and receives, and which calls back */
	/* There may be frames. Only after net_want(q, true), and from the loop. */
	void (*readable)(void *opaque);
	/* After net_send() gave -EAGAIN: it may be tried again. From the loop. */
	void (*writable)(void *opaque);
	void *opaque;
};

struct net_ops {
	/* From outside of the loop's thread, which may run. 0 or -errno. */
	int (*open_queue)(struct net *net, const struct net_queue_config *cfg,
			  struct net_queue **out);
	/*
	 * Optional: what frames from here may leave to the receiver (NET_OFFLOAD_*, a part of
	 * net->offloads). Any thread, one at a time. 0 or -errno.
	 */
	int (*set_offloads)(struct net *net, unsigned offloads);
	/*
	 * Optional: how many of the queues, the first ones, frames come in by. At first one. Any
	 * thread, one at a time. 0 or -errno.
	 */
	int (*set_queues)(struct net *net, unsigned queues);
	void (*destroy)(struct net *net);
};

struct net {
	const struct net_ops *ops;
	unsigned offloads; /* NET_OFFLOAD_*: what frames that are sent may use; constant */
	unsigned max_queues; /* that can be open at a time: 1 .. NET_MAX_QUEUES */
	uint16_t mtu; /* as the host's side has it; 0: not known */
};

/* What went through a queue; frames with one more segment to make count once. Any thread reads. */
struct net_counters {
	_Atomic uint64_t frames;
	_Atomic uint64_t bytes; /* without struct virtio_net_hdr_v1 */
	_Atomic uint64_t dropped; /* by the host's side: it said no */
};

struct net_queue_ops {
	/*
	 * A frame, its header first; all of it is taken before this returns. 0; -EAGAIN, and
	 * writable() later; or another -errno: the frame is lost, and the next one may go.
	 */
	int (*send)(struct net_queue *q, const struct iovec *iov, unsigned nr_iov);
	void (*kick)(struct net_queue *q); /* optional */
	/*
	 * A frame, its header first, into iov: the bytes of it, header included; -EAGAIN where there
	 * is none; -EMSGSIZE for one that did not fit, and is lost; or another -errno.
	 */
	ssize_t (*receive)(struct net_queue *q, const struct iovec *iov, unsigned nr_iov);
	void (*want)(struct net_queue *q, bool readable);
	/*
	 * Optional: a descriptor that the kernel's vhost-net can serve in our place; -1: none. It
	 * stays the queue's.
	 */
	int (*vhost_fd)(struct net_queue *q);
	void (*close)(struct net_queue *q);
};

struct net_queue {
	const struct net_queue_ops *ops;
	struct net *net;
	struct net_counters sent, received; /* kept by net_send() and net_receive() */
};

static inline int __must_check net_open_queue(struct net *net, const struct net_queue_config *cfg,
					      struct net_queue **out)
{
	return net->ops->open_queue(net, cfg, out);
}

/*
 * From outside of the loop's thread, which calls nothing here any more, whichever of its
 * callbacks still come. NULL is closed already.
 */
static inline void net_close_queue(struct net_queue *q)
{
	if (q)
		q->ops->close(q);
}

/* These four on the queue's thread; nr_iov is at least 1, iov[0] has at least the header. */
int net_send(struct net_queue *q, const struct iovec *iov, unsigned nr_iov) __must_check;
ssize_t net_receive(struct net_queue *q, const struct iovec *iov, unsigned nr_iov) __must_check;

static inline void net_kick(struct net_queue *q)
{
	if (q->ops->kick)
		q->ops->kick(q);
}

static inline void net_want(struct net_queue *q, bool readable)
{
	q->ops->want(q, readable);
}

static inline int net_vhost_fd(struct net_queue *q)
{
	return q->ops->vhost_fd ? q->ops->vhost_fd(q) : -1;
}

static inline int __must_check net_set_offloads(struct net *net, unsigned offloads)
{
	return net->ops->set_offloads ? net->ops->set_offloads(net, offloads) : 0;
}

static inline int __must_check net_set_queues(struct net *net, unsigned queues)
{
	return net->ops->set_queues ? net->ops->set_queues(net, queues) : 0;
}

/* Every queue is closed. NULL is destroyed already. */
static inline void net_destroy(struct net *net)
{
	if (net)
		net->ops->destroy(net);
}

/*
 * That the header is one that can be (5.1.6.2, 5.1.6.4): the checksum's place lies within a
 * frame of len bytes (header not counted), GSO's kind is one of offloads and its sizes make
 * sense, and it asks for nothing that is not in offloads.
 */
bool net_hdr_valid(const struct virtio_net_hdr_v1 *hdr, size_t len, unsigned offloads) __must_check;

#endif
