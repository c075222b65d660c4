/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue of either kind over rings, tables and buffers that are all fuzz, changed between calls.
 * Whatever comes out lies in RAM, is no longer than the queue, and is in order.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/virtq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM MIB
#define RING 0x1000ull
#define FUZZ_MAX 0x8000

struct input {
	const uint8_t *p;
	size_t left;
};

static uint64_t take(struct input *in, unsigned width)
{
	uint64_t v = 0;

	if (in->left < width)
		width = (unsigned)in->left;
	v = load_le(in->p, width);
	in->p += width;
	in->left -= width;
	return v;
}

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_iov(const struct mem *mem, const struct iovec *iov, unsigned n, uint64_t len)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		const char *p = iov[i].iov_base;

		check(p >= (char *)mem->map && iov[i].iov_len &&
		      iov[i].iov_len <= RAM - (uint64_t)(p - (char *)mem->map));
		sum += iov[i].iov_len;
	}
	check(sum == len);
}

static void use(struct virtq *vq, struct virtq_buf *buf, struct input *in)
{
	uint8_t header[16], *status;

	check_iov(vq->mem, buf->out, buf->nr_out, buf->out_len);
	check_iov(vq->mem, buf->in, buf->nr_in, buf->in_len);
	check(buf->nr_out + buf->nr_in <= vq->size && (vq->packed || buf->head < vq->size));
	check(vq->in_flight && vq->in_flight <= vq->size);
	check(!vq->packed || (buf->descs && buf->descs <= vq->size));
	if (virtq_buf_pull(buf, header, sizeof(header)))
		check_iov(vq->mem, buf->out, buf->nr_out, buf->out_len);
	status = virtq_buf_chop(buf);
	check_iov(vq->mem, buf->in, buf->nr_in, buf->in_len);
	if (status)
		*status = 0;
	check(virtq_buf_fill(buf, header, sizeof(header)) <= sizeof(header));
	if (take(in, 1) & 3)
		virtq_push(vq, buf, take(in, 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mem mem;
	static struct iovec iov[VIRTQ_MAX_SIZE];
	struct virtq_buf buf = { .iov = iov, .max_iov = VIRTQ_MAX_SIZE };
	struct input in = { data, size };
	struct virtq_params p = { 0 };
	struct virtq vq;

	if (!mem.map && mem_init(&mem, RAM))
		abort();
	p.size = (uint16_t)(1u << (take(&in, 1) % 12));
	p.packed = take(&in, 1) & 1;
	if (p.packed)
		p.size += (uint16_t)(take(&in, 1) % p.size);
	p.indirect = take(&in, 1) & 1;
	p.event_idx = take(&in, 1) & 1;
	p.desc = RING + take(&in, 2) * 16;
	p.avail = RING + take(&in, 2) * 2;
	p.used = RING + take(&in, 3) * 4;
	p.next_avail = (uint16_t)take(&in, 2);
	p.next_used = (uint16_t)take(&in, 2);
	/* As a state that was saved has them: nothing is in flight. */
	if (p.packed)
		p.next_avail = p.next_used =
			(uint16_t)((p.next_avail & VIRTQ_WRAP) | p.next_used % p.size);
	memset(mem.map, 0, RAM);
	memcpy((char *)mem.map + RING, in.p, min_u64(in.left, FUZZ_MAX));
	if (virtq_init(&vq, &mem, &p))
		return 0;
	for (unsigned i = 0; i < 64; i++) {
		uint64_t at = take(&in, 2) * 2 % (RAM - 8);
		int ret;

		store_le((char *)mem.map + at, 8, take(&in, 8));
		check(virtq_pending(&vq) <= vq.size);
		virtq_disable_kicks(&vq);
		ret = virtq_pop(&vq, &buf);
		if (ret > 0)
			use(&vq, &buf, &in);
		(void)!virtq_publish(&vq);
		(void)!virtq_enable_kicks(&vq);
		if (ret < 0)
			check(vq.broken && virtq_pop(&vq, &buf) < 0);
	}
	return 0;
}
