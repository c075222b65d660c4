/* SPDX-License-Identifier: MIT */
#include "backends/net/pcapng.h"

#include <string.h>

/* draft-ietf-opsawg-pcapng, section 4: a block's type, and of its options */
#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_STATISTICS 5u
#define BLOCK_FRAME 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINK_ETHERNET 1u

#define OPT_END 0u
#define OPT_SECTION_APPLICATION 4u
#define OPT_INTERFACE_NAME 2u
#define OPT_INTERFACE_TIME 9u /* the unit, as a power of 10 */
#define OPT_FRAME_FLAGS 2u
#define OPT_FRAME_QUEUE 6u
#define OPT_STATISTICS_RECEIVED 4u
#define OPT_STATISTICS_DROPPED 5u

#define NAME_MAX_LEN 32

struct writer {
	uint8_t *start, *p;
};

static void put(struct writer *w, unsigned width, uint64_t v)
{
	store_le(w->p, width, v);
	w->p += width;
}

static void pad(struct writer *w)
{
	while ((w->p - w->start) % 4)
		*w->p++ = 0;
}

static void put_option(struct writer *w, unsigned code, const void *value, size_t len)
{
	put(w, 2, code);
	put(w, 2, len);
	memcpy(w->p, value, len);
	w->p += len;
	pad(w);
}

static void put_option32(struct writer *w, unsigned code, uint32_t value)
{
	put_option(w, code, &value, sizeof(value));
}

static void put_option64(struct writer *w, unsigned code, uint64_t value)
{
	put_option(w, code, &value, sizeof(value));
}

static struct writer begin(uint8_t *to, uint32_t type)
{
	struct writer w = { to, to };

	put(&w, 4, type);
	put(&w, 4, 0);
	return w;
}

/* Its length stands at both of a block's ends. */
static size_t end(struct writer *w)
{
	size_t len;

	put(w, 4, OPT_END);
	len = (size_t)(w->p - w->start) + 4;
	put(w, 4, len);
	store_le(w->start + 4, 4, len);
	return len;
}

static void put_time(struct writer *w, uint64_t time)
{
	put(w, 4, time >> 32);
	put(w, 4, (uint32_t)time);
}

size_t pcapng_head(uint8_t *to, const char *name)
{
	const uint8_t nanoseconds = 9;
	struct writer w = begin(to, BLOCK_SECTION);
	size_t len;

	put(&w, 4, BYTE_ORDER_MAGIC);
	put(&w, 2, 1); /* version 1.0 */
	put(&w, 2, 0);
	put(&w, 8, UINT64_MAX); /* the section's length: not known */
	put_option(&w, OPT_SECTION_APPLICATION, "bantam", 6);
	len = end(&w);

	w = begin(to + len, BLOCK_INTERFACE);
	put(&w, 2, LINK_ETHERNET);
	put(&w, 2, 0);
	put(&w, 4, 0); /* frames are not cut short */
	put_option(&w, OPT_INTERFACE_NAME, name, strnlen(name, NAME_MAX_LEN));
	put_option(&w, OPT_INTERFACE_TIME, &nanoseconds, 1);
	return len + end(&w);
}

size_t pcapng_frame(uint8_t *to, const struct pcapng_frame *f, const struct iovec *iov,
		    unsigned nr_iov, size_t skip)
{
	struct writer w = begin(to, BLOCK_FRAME);
	size_t left = f->len;

	put(&w, 4, 0); /* the interface */
	put_time(&w, f->time);
	put(&w, 4, f->len);
	put(&w, 4, f->len);
	for (unsigned i = 0; i < nr_iov && left; i++) {
		size_t off = min_u64(skip, iov[i].iov_len);
		size_t n = min_u64(iov[i].iov_len - off, left);

		memcpy(w.p, (const uint8_t *)iov[i].iov_base + off, n);
		w.p += n;
		left -= n;
		skip -= off;
	}
	pad(&w);
	put_option32(&w, OPT_FRAME_FLAGS, f->direction);
	put_option32(&w, OPT_FRAME_QUEUE, f->queue);
	return end(&w);
}

size_t pcapng_statistics(uint8_t *to, uint64_t time, uint64_t frames, uint64_t left_out)
{
	struct writer w = begin(to, BLOCK_STATISTICS);

	put(&w, 4, 0);
	put_time(&w, time);
	put_option64(&w, OPT_STATISTICS_RECEIVED, frames);
	put_option64(&w, OPT_STATISTICS_DROPPED, left_out);
	return end(&w);
}
