/* SPDX-License-Identifier: MIT */
/*
 * Receive buffers that were popped ahead, so that a frame can be read straight into them before
 * its length is known. They are used in the order in which they came.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/virtio_net_int.h"

#define MORE_IOVS 128 /* for buffers in many pieces, in a short ring */

int vnet_hand_create(struct vnet_hand *hand, unsigned queue_size)
{
	/* Twice what is in a ring: what is left has to be moved once a round only. */
	hand->max = 2 * queue_size;
	hand->max_iovs = 2 * queue_size + MORE_IOVS;
	hand->bufs = calloc(hand->max, sizeof(*hand->bufs));
	hand->iovs = calloc(hand->max_iovs, sizeof(*hand->iovs));
	return hand->bufs && hand->iovs ? 0 : -ENOMEM;
}

void vnet_hand_destroy(struct vnet_hand *hand)
{
	free(hand->bufs);
	free(hand->iovs);
}

/* The first of the iovecs that no buffer has. */
static struct iovec *iovs_end(const struct vnet_hand *hand)
{
	const struct virtq_buf *last;

	if (!hand->nr)
		return hand->iovs;
	last = &hand->bufs[hand->first + hand->nr - 1];
	return last->in + last->nr_in;
}

/* Moves the buffers to the front of their arrays. */
static void compact(struct vnet_hand *hand)
{
	struct virtq_buf *first = &hand->bufs[hand->first];
	ptrdiff_t gap = hand->nr ? first->iov - hand->iovs : 0;

	memmove(hand->iovs, hand->iovs + gap,
		(size_t)(iovs_end(hand) - hand->iovs - gap) * sizeof(*hand->iovs));
	memmove(hand->bufs, first, hand->nr * sizeof(*first));
	hand->first = 0;
	for (unsigned i = 0; i < hand->nr; i++) {
		hand->bufs[i].iov -= gap;
		hand->bufs[i].out -= gap;
		hand->bufs[i].in -= gap;
	}
}

/* There is no place behind the buffers for one of a chain of any length. */
static bool at_end(const struct vnet_hand *hand, unsigned queue_size)
{
	return hand->first + hand->nr == hand->max ||
	       hand->iovs + hand->max_iovs - iovs_end(hand) < queue_size;
}

bool vnet_hand_full(struct vnet_hand *hand, unsigned queue_size)
{
	if (at_end(hand, queue_size))
		compact(hand);
	return at_end(hand, queue_size);
}

/* The place for one more buffer; NULL: there is none. */
static struct virtq_buf *place(struct vnet_hand *hand, unsigned queue_size)
{
	struct virtq_buf *buf;

	if (vnet_hand_full(hand, queue_size))
		return NULL;
	buf = &hand->bufs[hand->first + hand->nr];
	buf->iov = iovs_end(hand);
	buf->max_iov = queue_size;
	return buf;
}

int vnet_hand_fill(struct vnet_hand *hand, struct virtq *vq, size_t room, size_t min)
{
	while (hand->room < room) {
		struct virtq_buf *buf = place(hand, vq->size);
		int ret = buf ? virtq_pop(vq, buf) : 0;

		if (ret <= 0)
			return ret;
		hand->nr++;
		hand->room += buf->in_len;
		if (buf->in_len < min)
			return virtq_break(vq, "a receive buffer without room for a header");
	}
	return 0;
}

/* Copies bytes to the buffers in hand, or from them, len from offset on. */
static void copy(const struct vnet_hand *hand, size_t offset, void *bytes, size_t len, bool to)
{
	char *at = bytes;

	for (const struct virtq_buf *buf = &hand->bufs[hand->first]; len; buf++) {
		for (unsigned i = 0; i < buf->nr_in && len; i++) {
			size_t skip = min_u64(offset, buf->in[i].iov_len);
			size_t n = min_u64(len, buf->in[i].iov_len - skip);
			char *guest = (char *)buf->in[i].iov_base + skip;

			memcpy(to ? guest : at, to ? at : guest, n);
			offset -= skip;
			at += n;
			len -= n;
		}
	}
}

void vnet_hand_write(struct vnet_hand *hand, size_t offset, const void *src, size_t len)
{
	copy(hand, offset, (void *)src, len, true);
}

void vnet_hand_read(const struct vnet_hand *hand, size_t offset, void *dst, size_t len)
{
	copy(hand, offset, dst, len, false);
}

unsigned vnet_hand_iov(const struct vnet_hand *hand, unsigned nr_bufs, size_t skip, size_t len,
		       struct iovec *iov, unsigned max, size_t *bytes)
{
	unsigned n = 0;

	*bytes = 0;
	for (unsigned b = 0; b < nr_bufs && *bytes < len && n < max; b++) {
		const struct virtq_buf *buf = &hand->bufs[hand->first + b];

		for (unsigned i = 0; i < buf->nr_in && *bytes < len && n < max; i++) {
			const struct iovec *v = &buf->in[i];
			size_t gap = min_u64(skip, v->iov_len);
			size_t use = min_u64(v->iov_len - gap, len - *bytes);

			skip -= gap;
			if (!use)
				continue;
			iov[n++] = (struct iovec){ (char *)v->iov_base + gap, use };
			*bytes += use;
		}
	}
	return n;
}

unsigned vnet_hand_count(const struct vnet_hand *hand, size_t len)
{
	unsigned n = 0;

	for (size_t sum = 0; sum < len; n++)
		sum += hand->bufs[hand->first + n].in_len;
	return n;
}

void vnet_hand_push(struct vnet_hand *hand, struct virtq *vq, size_t len)
{
	while (len) {
		const struct virtq_buf *buf = &hand->bufs[hand->first];
		size_t n = min_u64(len, buf->in_len);

		virtq_push(vq, buf, n);
		hand->room -= buf->in_len;
		hand->first++;
		hand->nr--;
		len -= n;
	}
}

void vnet_hand_unpop(struct vnet_hand *hand, struct virtq *vq)
{
	while (hand->nr) {
		hand->nr--;
		virtq_unpop(vq, &hand->bufs[hand->first + hand->nr]);
	}
	hand->first = 0;
	hand->room = 0;
}
