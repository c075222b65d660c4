/* SPDX-License-Identifier: MIT */
#include "backends/net/net.h"

#include <endian.h>
#include <errno.h>

static void count(struct net_counters *c, size_t bytes)
{
	atomic_fetch_add_explicit(&c->frames, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->bytes, bytes - NET_HDR_LEN, memory_order_relaxed);
}

static void count_drop(struct net_counters *c)
{
	atomic_fetch_add_explicit(&c->dropped, 1, memory_order_relaxed);
}

int net_send(struct net_queue *q, const struct iovec *iov, unsigned nr_iov)
{
	int ret = q->ops->send(q, iov, nr_iov);
	size_t len = 0;

	for (unsigned i = 0; i < nr_iov; i++)
		len += iov[i].iov_len;
	if (!ret)
		count(&q->sent, len);
	else if (ret != -EAGAIN)
		count_drop(&q->sent);
	return ret;
}

ssize_t net_receive(struct net_queue *q, const struct iovec *iov, unsigned nr_iov)
{
	ssize_t ret = q->ops->receive(q, iov, nr_iov);

	if (ret > 0)
		count(&q->received, (size_t)ret);
	else if (ret != -EAGAIN)
		count_drop(&q->received);
	return ret;
}

/* The offload that a kind of GSO is; 0 for one that there is not. */
static unsigned gso_offload(uint8_t type)
{
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return NET_OFFLOAD_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return NET_OFFLOAD_TSO6;
	case VIRTIO_NET_HDR_GSO_UDP:
		return NET_OFFLOAD_UFO;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return NET_OFFLOAD_USO;
	default:
		return 0;
	}
}

bool net_hdr_valid(const struct virtio_net_hdr_v1 *hdr, size_t len, unsigned offloads)
{
	bool csum = hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	unsigned wanted = 0;

	if (csum) {
		wanted |= NET_OFFLOAD_CSUM;
		if ((size_t)le16toh(hdr->csum_start) + le16toh(hdr->csum_offset) + 2 > len)
			return false;
	}
	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		unsigned gso = gso_offload(hdr->gso_type);

		if (!gso || !csum || !hdr->gso_size)
			return false;
		wanted |= gso;
		if (hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN)
			wanted |= NET_OFFLOAD_ECN;
	}
	return !(wanted & ~offloads);
}
