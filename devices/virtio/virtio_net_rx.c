/* SPDX-License-Identifier: MIT */
/*
 * Frames to the guest: VIRTIO 1.2, 5.1.6.3 and 5.1.6.4.
 *
 * How long a frame is shows only when it has been read, so there are buffers in hand for the
 * largest one that is likely. What is behind them all the same goes to memory of ours, and waits
 * there for more buffers; so however few the guest offers, a frame that fits is never lost.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/virtio_net_int.h"

#define BATCH 64 /* frames, before others on the thread have their turn */
/* Bytes after which the guest gets to work on them, while the next are read. */
#define SHOWN 32768
#define MIN_MTU_FRAME (1500 + 18)
#define LARGE_OFFLOADS (NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_UFO | NET_OFFLOAD_USO)

/* What became of a step, when no error. */
enum { NO_FRAME, NO_ROOM, DONE };

int virtio_net_rx_create(struct vnet_rx *rx, unsigned queue_size)
{
	rx->spill = malloc(NET_MAX_FRAME);
	return rx->spill ? vnet_hand_create(&rx->hand, queue_size) : -ENOMEM;
}

void virtio_net_rx_destroy(struct vnet_rx *rx)
{
	vnet_hand_destroy(&rx->hand);
	free(rx->spill);
}

/* Room worth having in hand. Without mergeable buffers the first one is all there is to a frame. */
static size_t likely_room(const struct virtio_net *net)
{
	bool large = atomic_load(&net->rx_offloads) & LARGE_OFFLOADS;

	if (!net->mergeable)
		return 1;
	return net->hdr_len + (large ? NET_MAX_FRAME : max_u64(net->host->mtu + 18, MIN_MTU_FRAME));
}

/* Reads a frame as net_receive(): behind the place of its header, then into the spill. */
static ssize_t read_frame(struct vnet_pair *pair)
{
	const struct virtio_net *net = pair->net;
	struct vnet_rx *rx = &pair->rx;
	unsigned bufs = net->mergeable ? rx->hand.nr : (unsigned)min_u64(rx->hand.nr, 1);
	unsigned n = 1;

	rx->iov[0] = (struct iovec){ &rx->hdr, NET_HDR_LEN };
	n += vnet_hand_iov(&rx->hand, bufs, net->hdr_len, NET_MAX_FRAME, rx->iov + 1,
			   NET_RX_IOVS - 2, &rx->direct);
	if (rx->direct < NET_MAX_FRAME)
		rx->iov[n++] = (struct iovec){ rx->spill, NET_MAX_FRAME - rx->direct };
	return net_receive(pair->host, rx->iov, n);
}

/* Copies the start of the frame that was just read. */
static void peek(const struct virtio_net *net, const struct vnet_rx *rx, uint8_t *dst, size_t len)
{
	size_t n = min_u64(len, rx->direct);

	vnet_hand_read(&rx->hand, net->hdr_len, dst, n);
	memcpy(dst + n, rx->spill, len - n);
}

/* Whether the guest is to get the frame that was just read. */
static bool accept_frame(struct vnet_pair *pair, size_t len)
{
	const struct virtio_net *net = pair->net;
	const struct vnet_rx *rx = &pair->rx;
	uint8_t start[NET_FILTER_LEN];
	size_t n = min_u64(len, sizeof(start));

	if (len < NET_MIN_FRAME) {
		vnet_drop(pair, VIRTIO_NET_RX_LENGTH);
		return false;
	}
	/* The guest may have changed its mind since the frame set out. */
	if (!net_hdr_valid(&rx->hdr, len, atomic_load(&net->rx_offloads))) {
		vnet_drop(pair, VIRTIO_NET_RX_HEADER);
		return false;
	}
	peek(net, rx, start, n);
	if (!virtio_net_filter_wants(net, start, n)) {
		vnet_drop(pair, VIRTIO_NET_RX_FILTER);
		return false;
	}
	return true;
}

/* The header as the guest gets it, in front of the frame. */
static void write_header(struct vnet_pair *pair, size_t total)
{
	const struct virtio_net *net = pair->net;
	struct vnet_rx *rx = &pair->rx;
	struct virtio_net_hdr_v1 *hdr = &rx->hdr;
	bool csum = atomic_load(&net->rx_offloads) & NET_OFFLOAD_CSUM;

	hdr->flags &= csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID : 0;
	hdr->num_buffers =
		htole16((uint16_t)(net->mergeable ? vnet_hand_count(&rx->hand, total) : 1));
	vnet_hand_write(&rx->hand, 0, hdr, net->hdr_len);
}

/*
 * Drivers give new buffers at latest when half the ring is used up: with more than that in our
 * hands, no more will come for the frame that waits.
 */
static bool more_may_come(struct vnet_rx *rx)
{
	const struct virtq *vq = &rx->q->vq;

	return vq->in_flight < vq->size / 2 && !vnet_hand_full(&rx->hand, vq->size);
}

/* Hands over the frame of rx->len bytes, or has it wait. */
static int finish_frame(struct vnet_pair *pair)
{
	const struct virtio_net *net = pair->net;
	struct vnet_rx *rx = &pair->rx;
	struct virtq *vq = &rx->q->vq;
	struct vnet_hand *hand = &rx->hand;
	size_t total = net->hdr_len + rx->len, room;
	int ret = net->mergeable ? vnet_hand_fill(hand, vq, total, net->hdr_len) : 0;

	if (ret < 0)
		return ret;
	room = net->mergeable ? hand->room : hand->bufs[hand->first].in_len;
	if (room < total && net->mergeable && more_may_come(rx))
		return NO_ROOM;
	if (room < total) {
		vnet_drop(pair, VIRTIO_NET_RX_LENGTH);
	} else {
		if (rx->len > rx->direct)
			vnet_hand_write(hand, net->hdr_len + rx->direct, rx->spill,
					rx->len - rx->direct);
		/* All of it, num_buffers too, before the guest gets the buffers. */
		write_header(pair, total);
		vnet_hand_push(hand, vq, total);
		rx->held += total;
		counter_add(&rx->counts.frames, 1);
		counter_add(&rx->counts.bytes, rx->len);
	}
	rx->len = 0;
	return DONE;
}

/* One frame, from where it is to where it goes; or -EPROTO. */
static int step(struct vnet_pair *pair)
{
	const struct virtio_net *net = pair->net;
	struct vnet_rx *rx = &pair->rx;
	bool up = !vnet_get(net->s.link_down);
	ssize_t got;
	int ret;

	if (rx->len && up)
		return finish_frame(pair);
	if (rx->len) {
		vnet_drop(pair, VIRTIO_NET_RX_LINK);
		rx->len = 0;
	}
	ret = vnet_hand_fill(&rx->hand, &rx->q->vq, likely_room(net), net->hdr_len);
	if (ret < 0)
		return ret;
	if (!rx->hand.nr && up)
		return NO_ROOM;
	got = read_frame(pair);
	if (got == -EAGAIN)
		return NO_FRAME;
	if (!up) {
		vnet_drop(pair, VIRTIO_NET_RX_LINK);
		return DONE;
	}
	if (got < (ssize_t)NET_HDR_LEN) {
		bool length = got >= 0 || got == -EMSGSIZE;

		vnet_drop(pair, length ? VIRTIO_NET_RX_LENGTH : VIRTIO_NET_RX_HOST);
		return DONE;
	}
	if (!accept_frame(pair, (size_t)got - NET_HDR_LEN))
		return DONE;
	rx->len = (size_t)got - NET_HDR_LEN;
	return finish_frame(pair);
}

/* Without buffers the guest's kick is what we wait for, with some the host's frames. */
static void wait_for(struct vnet_pair *pair, bool frames)
{
	struct vnet_rx *rx = &pair->rx;

	virtio_queue_sate(rx->q, frames);
	if (rx->open != frames)
		net_want(pair->host, frames);
	rx->open = frames;
}

static void flush(struct vnet_rx *rx)
{
	rx->held = 0;
	virtio_queue_flush(rx->q);
}

static void run(struct vnet_pair *pair)
{
	struct vnet_rx *rx = &pair->rx;
	uint64_t before = counter_get(&rx->counts.frames);
	int ret = DONE;

	for (unsigned i = 0; i < BATCH && ret == DONE; i++) {
		ret = step(pair);
		if (rx->held >= SHOWN)
			flush(rx);
	}
	rx->more = ret == DONE;
	if (counter_get(&rx->counts.frames) != before)
		counter_add(&rx->counts.batches, 1);
	if (ret == NO_ROOM)
		counter_add(&rx->counts.stalls, 1);
	if (ret == NO_ROOM || ret < 0)
		wait_for(pair, false);
	flush(rx);
	if (ret < 0)
		virtio_queue_broken(rx->q);
}

static bool in_use(const struct vnet_pair *pair)
{
	return pair->index < vnet_get(pair->net->s.pairs);
}

/* The guest may have added buffers, or it uses another number of pairs. */
void virtio_net_rx_handle(struct vnet_pair *pair)
{
	struct vnet_rx *rx = &pair->rx;

	if (!in_use(pair)) {
		wait_for(pair, false);
		rx->more = false;
		virtio_queue_sate(rx->q, true);
		return;
	}
	wait_for(pair, true);
	run(pair);
}

bool virtio_net_rx_poll(struct vnet_pair *pair)
{
	if (!pair->rx.more)
		return false;
	run(pair);
	return true;
}

void virtio_net_rx_readable(void *opaque)
{
	struct vnet_pair *pair = opaque;

	if (pair->rx.open)
		run(pair);
}

void virtio_net_rx_cease(struct vnet_pair *pair)
{
	struct vnet_rx *rx = &pair->rx;

	wait_for(pair, false);
	rx->more = false;
	if (rx->len)
		vnet_drop(pair, VIRTIO_NET_RX_LENGTH);
	rx->len = 0;
	vnet_hand_unpop(&rx->hand, &rx->q->vq);
}
