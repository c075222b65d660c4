/* SPDX-License-Identifier: MIT */
/* Frames from the guest: VIRTIO 1.2, 5.1.6.2. */
#include <errno.h>
#include <stdlib.h>

#include "devices/virtio/virtio_net_int.h"

int virtio_net_tx_create(struct vnet_tx *tx, unsigned queue_size)
{
	tx->iovs = calloc(queue_size + 1, sizeof(*tx->iovs));
	if (!tx->iovs)
		return -ENOMEM;
	tx->buf.iov = tx->iovs + 1;
	tx->buf.max_iov = queue_size;
	return 0;
}

void virtio_net_tx_destroy(struct vnet_tx *tx)
{
	free(tx->iovs);
}

/* What the header says that nobody asks for is not passed on. */
static void tidy_header(struct virtio_net_hdr_v1 *hdr)
{
	hdr->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (!hdr->flags)
		hdr->csum_start = hdr->csum_offset = 0;
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		hdr->hdr_len = hdr->gso_size = 0;
	hdr->num_buffers = 0;
}

/* Takes the header off the buffer; false for a frame that does not go. */
static bool prepare(struct vnet_pair *pair)
{
	const struct virtio_net *net = pair->net;
	struct vnet_tx *tx = &pair->tx;

	tx->hdr = (struct virtio_net_hdr_v1){ 0 };
	if (!virtq_buf_pull(&tx->buf, &tx->hdr, net->hdr_len) || tx->buf.out_len < NET_MIN_FRAME ||
	    tx->buf.out_len > NET_MAX_FRAME) {
		vnet_drop(pair, VIRTIO_NET_TX_LENGTH);
		return false;
	}
	tidy_header(&tx->hdr);
	if (!net_hdr_valid(&tx->hdr, tx->buf.out_len, net->tx_offloads)) {
		vnet_drop(pair, VIRTIO_NET_TX_HEADER);
		return false;
	}
	if (vnet_get(net->s.link_down)) {
		vnet_drop(pair, VIRTIO_NET_TX_LINK);
		return false;
	}
	return true;
}

/* False where the back-end is full: the buffer is kept. */
static bool send(struct vnet_pair *pair)
{
	struct vnet_tx *tx = &pair->tx;
	struct iovec *iov =
		tx->buf.out - 1; /* of the header, or free: see virtio_net_tx_create() */
	int ret;

	*iov = (struct iovec){ &tx->hdr, NET_HDR_LEN };
	ret = net_send(pair->host, iov, tx->buf.nr_out + 1);
	tx->stalled = ret == -EAGAIN;
	if (tx->stalled) {
		counter_add(&tx->counts.stalls, 1);
		return false;
	}
	if (ret) {
		vnet_drop(pair, VIRTIO_NET_TX_HOST);
	} else {
		counter_add(&tx->counts.frames, 1);
		counter_add(&tx->counts.bytes, tx->buf.out_len);
	}
	return true;
}

/* Sends what there is, one ring's worth at most. As virtq_pop(). */
static int send_batch(struct vnet_pair *pair)
{
	struct vnet_tx *tx = &pair->tx;
	struct virtq *vq = &tx->q->vq;

	for (unsigned i = 0; i < vq->size; i++) {
		if (!tx->stalled) {
			int ret = virtq_pop(vq, &tx->buf);

			if (ret <= 0)
				return ret;
		}
		if ((tx->stalled || prepare(pair)) && !send(pair))
			return 0;
		virtq_push(vq, &tx->buf, 0);
	}
	return 0;
}

static void run(struct vnet_pair *pair)
{
	struct vnet_tx *tx = &pair->tx;
	uint16_t before = tx->q->vq.next_used;
	int ret = send_batch(pair);

	if (tx->q->vq.next_used != before) {
		counter_add(&tx->counts.batches, 1);
		net_kick(pair->host);
	}
	virtio_queue_sate(tx->q, tx->stalled);
	virtio_queue_flush(tx->q);
	if (ret < 0)
		virtio_queue_broken(tx->q);
}

void virtio_net_tx_handle(struct vnet_pair *pair)
{
	struct vnet_tx *tx = &pair->tx;

	if (pair->index >= vnet_get(pair->net->s.pairs))
		virtio_queue_sate(tx->q, true);
	else if (!tx->stalled)
		run(pair);
}

void virtio_net_tx_writable(void *opaque)
{
	struct vnet_pair *pair = opaque;

	if (pair->tx.stalled)
		run(pair);
}

void virtio_net_tx_cease(struct vnet_pair *pair)
{
	struct vnet_tx *tx = &pair->tx;

	if (tx->stalled)
		virtq_unpop(&tx->q->vq, &tx->buf);
	tx->stalled = false;
}
