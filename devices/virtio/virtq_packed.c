/* SPDX-License-Identifier: MIT */
/*
 * Packed virtqueues: VIRTIO 1.2, section 2.8. One ring of descriptors, in which the device
 * overwrites what the driver has made available by what it has used, in its own order.
 *
 * A place is a descriptor's number with the wrap counter in bit 15, which says the meaning
 * of the flags there. A buffer of n descriptors takes n places of the ring, also when it
 * comes back; so next_used meets next_avail when nothing is in flight.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "devices/virtio/virtq_ring.h"

#define EVENT_SIZE 4
#define EVENT_FLAGS_SHIFT 16
#define EVENT_FLAGS_MASK 3
#define EVENT_UNKNOWN UINT32_MAX /* reserved flags: never shown */

static uint16_t place_index(uint16_t place)
{
	return place & (VIRTQ_WRAP - 1);
}

/* n places further on, at most one round. */
static uint16_t place_add(const struct virtq *vq, uint16_t place, unsigned n)
{
	unsigned index = place_index(place) + n;
	unsigned wrap = place & VIRTQ_WRAP;

	if (index >= vq->size) {
		index -= vq->size;
		wrap ^= VIRTQ_WRAP;
	}
	return (uint16_t)(index | wrap);
}

/* How far b is behind a: two rounds of the ring tell all places apart. */
static unsigned place_sub(const struct virtq *vq, uint16_t a, uint16_t b)
{
	unsigned from = place_index(b) + (b & VIRTQ_WRAP ? 0 : vq->size);
	unsigned to = place_index(a) + (a & VIRTQ_WRAP ? 0 : vq->size);

	return to >= from ? to - from : to + 2u * vq->size - from;
}

int virtq_packed_init(struct virtq *vq, const struct virtq_params *p)
{
	/* 2.8.10.1 */
	if (p->desc & 15 || p->avail & 3 || p->used & 3)
		return -EINVAL;
	if (place_index(p->next_avail) >= p->size || place_index(p->next_used) >= p->size)
		return -EINVAL;
	vq->ring = mem_at(vq->mem, p->desc, sizeof(struct virtq_packed_desc) * p->size);
	vq->avail = mem_at_const(vq->mem, p->avail, EVENT_SIZE);
	vq->used = mem_at(vq->mem, p->used, EVENT_SIZE);
	vq->event = EVENT_UNKNOWN;
	return vq->ring && vq->avail && vq->used ? 0 : -EINVAL;
}

/* 2.8.1: made available in this round, and not yet used. */
static bool available(const struct virtq *vq, uint16_t place, uint16_t *flags)
{
	bool wrap = place & VIRTQ_WRAP;

	/* Acquire: all of the chain was written before its first flags. */
	*flags = virtq_get16(&vq->ring[place_index(place)].flags);
	return !!(*flags & VIRTQ_DESC_F_AVAIL) == wrap && !!(*flags & VIRTQ_DESC_F_USED) != wrap;
}

/* Copies a descriptor, once: see virtq_split.c. */
static struct virtq_packed_desc desc_copy(const struct virtq_packed_desc *table, unsigned i)
{
	struct virtq_packed_desc d;

	memcpy(&d, table + i, sizeof(d));
	atomic_signal_fence(memory_order_seq_cst);
	return d;
}

/* 2.8.7: all of the table is the buffer, and no flag but WRITE means anything in it. */
static int add_table(struct virtq *vq, struct virtq_buf *buf, const struct virtq_packed_desc *d)
{
	const struct virtq_packed_desc *table;
	uint32_t entries;

	table = virtq_indirect(vq, d->addr, d->len, d->flags, &entries);
	if (!table)
		return -EPROTO;
	if (entries > vq->size)
		return virtq_break(vq, "a chain longer than the queue");
	for (uint32_t i = 0; i < entries; i++) {
		struct virtq_packed_desc e = desc_copy(table, i);
		int ret = virtq_buf_add(vq, buf, e.addr, e.len, e.flags & VIRTQ_DESC_F_WRITE);

		if (ret)
			return ret;
	}
	return 0;
}

/* Adds the descriptor at place; 1 where it ends its chain, 0, or -EPROTO. */
static int add_place(struct virtq *vq, struct virtq_buf *buf, uint16_t place)
{
	struct virtq_packed_desc d = desc_copy(vq->ring, place_index(place));
	int ret;

	buf->head = d.id; /* 2.8.6: the last one's counts */
	buf->descs++;
	if (d.flags & VIRTQ_DESC_F_INDIRECT) {
		if (buf->descs > 1)
			return virtq_break(vq, "an indirect table amid a chain");
		ret = add_table(vq, buf, &d);
	} else {
		ret = virtq_buf_add(vq, buf, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
	}
	return ret ? ret : !(d.flags & VIRTQ_DESC_F_NEXT);
}

int virtq_packed_pop(struct virtq *vq, struct virtq_buf *buf)
{
	unsigned room = vq->size - place_sub(vq, vq->next_avail, vq->next_used);
	uint16_t place = vq->next_avail, flags;
	int ret = 0;

	if (!available(vq, place, &flags))
		return 0;
	if (!room)
		return virtq_break(vq, "more buffers than the queue holds");
	for (buf->descs = 0; buf->descs < room && !ret;) {
		ret = add_place(vq, buf, place);
		place = place_add(vq, place, 1);
	}
	if (!ret)
		return virtq_break(vq, "a chain without an end");
	if (ret > 0)
		vq->next_avail = place;
	return ret;
}

void virtq_packed_unpop(struct virtq *vq, const struct virtq_buf *buf)
{
	/* As many places back are what is left of two rounds. */
	vq->next_avail = place_add(vq, vq->next_avail, vq->size);
	vq->next_avail = place_add(vq, vq->next_avail, vq->size - buf->descs);
}

/* Whole buffers; but a chain without an end is something to pop, too. */
unsigned virtq_packed_pending(const struct virtq *vq)
{
	unsigned room = vq->size - place_sub(vq, vq->next_avail, vq->next_used), n = 0;
	uint16_t place = vq->next_avail, flags;

	if (!available(vq, place, &flags))
		return 0;
	for (unsigned i = 0; i < room && available(vq, place, &flags); i++) {
		n += !(flags & VIRTQ_DESC_F_NEXT);
		place = place_add(vq, place, 1);
	}
	return n ? n : 1;
}

void virtq_packed_push(struct virtq *vq, const struct virtq_buf *buf, uint32_t written)
{
	char *d = (char *)&vq->ring[place_index(vq->next_used)];
	uint16_t flags = vq->next_used & VIRTQ_WRAP ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;

	if (written)
		flags |= VIRTQ_DESC_F_WRITE;
	store_le(d + offsetof(struct virtq_packed_desc, len), 4, written);
	store_le(d + offsetof(struct virtq_packed_desc, id), 2, buf->head);
	/* A driver looks at one after the other: the first one's flags hold back all. */
	if (vq->next_used == vq->published)
		vq->held_flags = flags;
	else
		virtq_put16(vq, d + offsetof(struct virtq_packed_desc, flags), flags);
	mem_mark(vq->mem, d, sizeof(struct virtq_packed_desc));
	vq->next_used = place_add(vq, vq->next_used, buf->descs);
}

bool virtq_packed_publish(struct virtq *vq)
{
	uint16_t old = vq->published;
	bool first = vq->first;
	uint32_t event;

	/* Release: buffers, ids and lengths are there before the flags say so. */
	virtq_put16(vq, &vq->ring[place_index(old)].flags, vq->held_flags);
	vq->published = vq->next_used;
	vq->first = false;
	/* As in a split ring: the guest sees this, or we see its event. */
	atomic_thread_fence(memory_order_seq_cst);
	event = __atomic_load_n((const uint32_t *)(const void *)vq->avail, __ATOMIC_ACQUIRE);
	switch (event >> EVENT_FLAGS_SHIFT & EVENT_FLAGS_MASK) {
	case VIRTQ_EVENT_DISABLE:
		return false;
	case VIRTQ_EVENT_DESC:
		/* Notify when that place was passed, and, as in a split ring, the first time. */
		return !vq->event_idx || first || place_index((uint16_t)event) >= vq->size ||
		       place_sub(vq, (uint16_t)event, old) < place_sub(vq, vq->published, old);
	default:
		return true;
	}
}

static void show_event(struct virtq *vq, uint32_t event)
{
	if (vq->event == event)
		return;
	vq->event = event;
	__atomic_store_n((uint32_t *)(void *)vq->used, event, __ATOMIC_RELEASE);
	mem_mark(vq->mem, vq->used, EVENT_SIZE);
}

void virtq_packed_disable_kicks(struct virtq *vq)
{
	/* A place that stays behind would not do: it comes round again after two rounds. */
	show_event(vq, VIRTQ_EVENT_DISABLE << EVENT_FLAGS_SHIFT);
}

bool virtq_packed_enable_kicks(struct virtq *vq)
{
	uint16_t flags;

	if (vq->event_idx)
		show_event(vq, VIRTQ_EVENT_DESC << EVENT_FLAGS_SHIFT | vq->next_avail);
	else
		show_event(vq, VIRTQ_EVENT_ENABLE << EVENT_FLAGS_SHIFT);
	/* Then look again, for a guest that looked before. */
	atomic_thread_fence(memory_order_seq_cst);
	return available(vq, vq->next_avail, &flags);
}
