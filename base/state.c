/* SPDX-License-Identifier: MIT */
#include "base/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/device.h"

#define STATE_MAGIC 0x41545342u /* "BSTA" */

void state_buf_free(struct state_buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

static int put(struct state_buf *b, const void *p, size_t len)
{
	if (b->cap - b->len < len) {
		size_t cap = b->cap ? b->cap : 512;

		while (cap - b->len < len)
			cap *= 2;

		uint8_t *data = realloc(b->data, cap);

		if (!data)
			return -ENOMEM;
		b->data = data;
		b->cap = cap;
	}
	memcpy(b->data + b->len, p, len);
	b->len += len;
	return 0;
}

static int put_u32(struct state_buf *b, uint32_t v)
{
	return put(b, &v, sizeof(v));
}

static int put_name(struct state_buf *b, const char *name)
{
	uint8_t len = (uint8_t)strlen(name);

	assert(strlen(name) < 256);
	return put(b, &len, 1) ?: put(b, name, len);
}

static void *device_state(struct device *dev)
{
	return (char *)dev + dev->ops->state_offset;
}

static int save_locked(struct device *dev, struct state_buf *b)
{
	const struct state_desc *d = dev->ops->state;
	const char *s = device_state(dev);
	size_t start = b->len;

	if (dev->ops->pre_save)
		dev->ops->pre_save(dev);

	int ret = put_u32(b, STATE_MAGIC) ?: put_u32(b, 0) ?: put_u32(b, d->version) ?:
		  put_name(b, dev->name);

	for (size_t i = 0; i < d->nr_fields && !ret; i++) {
		const struct state_field *f = &d->fields[i];

		ret = put_name(b, f->name) ?: put_u32(b, f->size) ?: put_u32(b, f->count) ?:
		      put(b, s + f->offset, (size_t)f->size * f->count);
	}
	if (ret)
		return ret;
	/* The length word counts what follows it, the CRC included. */
	store_le(b->data + start + 4, 4, b->len - start - 8 + 4);
	return put_u32(b, util_crc32(0, b->data + start, b->len - start));
}

int state_save(struct device *dev, struct state_buf *buf)
{
	int ret;

	if (!dev->ops->state)
		return 0;
	device_lock(dev);
	ret = save_locked(dev, buf);
	device_unlock(dev);
	return ret;
}

struct reader {
	const uint8_t *p;
	size_t left;
};

static const uint8_t *take(struct reader *r, size_t len)
{
	const uint8_t *p = r->p;

	if (len > r->left)
		return NULL;
	r->p += len;
	r->left -= len;
	return p;
}

static bool take_u32(struct reader *r, uint32_t *v)
{
	const uint8_t *p = take(r, 4);

	if (p)
		*v = (uint32_t)load_le(p, 4);
	return p;
}

static bool take_name(struct reader *r, const uint8_t **name, uint8_t *len)
{
	const uint8_t *p = take(r, 1);

	if (!p)
		return false;
	*len = *p;
	*name = take(r, *len);
	return *name;
}

static bool name_is(const char *want, const uint8_t *name, uint8_t len)
{
	return strlen(want) == len && !memcmp(want, name, len);
}

static bool values_allowed(const struct state_field *f, const uint8_t *data)
{
	if (f->bytes || !f->max)
		return true;
	for (uint32_t i = 0; i < f->count; i++)
		if (load_le(data + (size_t)i * f->size, f->size) > f->max)
			return false;
	return true;
}

/* Loads one field into s; *seen has a bit a field of the table. */
static int load_field(const struct state_desc *d, void *s, struct reader *r, uint64_t *seen)
{
	const uint8_t *name, *data;
	uint32_t size, count;
	uint8_t len;

	if (!take_name(r, &name, &len) || !take_u32(r, &size) || !take_u32(r, &count))
		return -EBADMSG;
	for (size_t i = 0; i < d->nr_fields; i++) {
		const struct state_field *f = &d->fields[i];

		if (!name_is(f->name, name, len))
			continue;
		if (size != f->size || count != f->count || (*seen & 1ull << i))
			return -EBADMSG;
		data = take(r, (size_t)size * count);
		if (!data || !values_allowed(f, data))
			return -EBADMSG;
		memcpy((char *)s + f->offset, data, (size_t)size * count);
		*seen |= 1ull << i;
		return 0;
	}
	return -EBADMSG;
}

/* Checks the frame and loads every field; the state may be half written on error. */
static ssize_t load_section(struct device *dev, const uint8_t *data, size_t len)
{
	const struct state_desc *d = dev->ops->state;
	struct reader r = { data, len };
	uint32_t magic, bytes, version;
	const uint8_t *name;
	uint64_t seen = 0;
	uint8_t name_len;

	assert(d->nr_fields <= 64);
	if (!take_u32(&r, &magic) || magic != STATE_MAGIC || !take_u32(&r, &bytes) ||
	    bytes > r.left || bytes < 4)
		return -EBADMSG;
	if (load_le(data + 8 + bytes - 4, 4) != util_crc32(0, data, 8 + (size_t)bytes - 4))
		return -EBADMSG;
	r.left = bytes - 4;
	if (!take_u32(&r, &version) || version > d->version || !version ||
	    !take_name(&r, &name, &name_len) || !name_is(dev->name, name, name_len))
		return -EBADMSG;
	while (r.left) {
		int ret = load_field(d, device_state(dev), &r, &seen);

		if (ret)
			return ret;
	}
	for (size_t i = 0; i < d->nr_fields; i++)
		if (!(seen & 1ull << i) && d->fields[i].since <= version)
			return -EBADMSG;
	return 8 + (ssize_t)bytes;
}

ssize_t state_load(struct device *dev, const uint8_t *data, size_t len)
{
	struct state_buf before = { 0 };
	ssize_t ret;

	if (!dev->ops->state)
		return 0;
	device_lock(dev);
	ret = save_locked(dev, &before);
	if (!ret) {
		ret = load_section(dev, data, len);
		if (ret >= 0 && dev->ops->post_load) {
			int err = dev->ops->post_load(dev);

			if (err)
				ret = err;
		}
		if (ret < 0) {
			/* Our own section: it loads. */
			ssize_t back = load_section(dev, before.data, before.len);

			assert(back > 0);
			(void)back;
			if (dev->ops->post_load)
				(void)dev->ops->post_load(dev);
		}
	}
	device_unlock(dev);
	state_buf_free(&before);
	return ret;
}

void state_dump(struct device *dev, FILE *out)
{
	const struct state_desc *d = dev->ops->state;

	if (!d)
		return;
	device_lock(dev);
	for (size_t i = 0; i < d->nr_fields; i++) {
		const struct state_field *f = &d->fields[i];
		const char *p = (const char *)device_state(dev) + f->offset;

		fprintf(out, "%s.%s:", dev->name, f->name);
		if (f->bytes)
			fprintf(out, " %" PRIu32 " bytes", f->size * f->count);
		else
			for (uint32_t k = 0; k < f->count; k++)
				fprintf(out, " %#" PRIx64,
					load_le(p + (size_t)k * f->size, f->size));
		fputc('\n', out);
	}
	device_unlock(dev);
}
