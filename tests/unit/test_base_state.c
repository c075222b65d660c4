/* SPDX-License-Identifier: MIT */
/* base/state.h: what a stream may say, and that nothing else gets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/state.h"
#include "tests/unit/fake.h"

struct toy_state {
	uint8_t flag;
	uint16_t port;
	uint32_t level;
	uint64_t when;
	uint16_t ring[3];
	uint8_t blob[5];
	uint32_t added; /* since version 2 */
};

struct toy {
	struct device dev;
	struct toy_state s;
	unsigned loaded;
	int refuse; /* what post_load says to a level of 13 */
};

static int toy_post_load(struct device *dev)
{
	struct toy *t = container_of(dev, struct toy, dev);

	assert_int_equal(pthread_mutex_trylock(&dev->lock), EBUSY);
	t->loaded++;
	return t->s.level == 13 ? t->refuse : 0;
}

static void toy_reset(struct device *dev)
{
	struct toy *t = container_of(dev, struct toy, dev);

	assert_int_equal(pthread_mutex_trylock(&dev->lock), EBUSY);
	memset(&t->s, 0, sizeof(t->s));
}

static void toy_destroy(struct device *dev)
{
	/* A device's other threads may still want the lock until it has stopped them. */
	assert_int_equal(pthread_mutex_lock(&dev->lock), 0);
	assert_int_equal(pthread_mutex_unlock(&dev->lock), 0);
	free(dev);
}

#define TOY_V1                                                                              \
	STATE_U_MAX(struct toy_state, flag, 1), STATE_U(struct toy_state, port),            \
		STATE_U_MAX(struct toy_state, level, 100), STATE_U(struct toy_state, when), \
		STATE_ARRAY_MAX(struct toy_state, ring, 255), STATE_BYTES(struct toy_state, blob)

static const struct state_field fields_v1[] = { TOY_V1 };
static const struct state_field fields_v2[] = {
	TOY_V1,
	{ .name = "added",
	  .offset = offsetof(struct toy_state, added),
	  .size = 4,
	  .count = 1,
	  .since = 2 },
};
static const struct state_desc desc_v1 = { 1, fields_v1, ARRAY_SIZE(fields_v1) };
static const struct state_desc desc_v2 = { 2, fields_v2, ARRAY_SIZE(fields_v2) };

#define TOY_OPS(d)                                                                       \
	{                                                                                \
		.type = "toy", .reset = toy_reset, .destroy = toy_destroy, .state = (d), \
		.state_offset = offsetof(struct toy, s), .post_load = toy_post_load,     \
	}

static const struct device_ops ops_v1 = TOY_OPS(&desc_v1);
static const struct device_ops ops_v2 = TOY_OPS(&desc_v2);
static const struct device_ops ops_none = { .type = "none", .destroy = toy_destroy };

static struct toy *toy_new(const struct device_ops *ops, const char *name)
{
	struct toy *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	device_init(&t->dev, ops, name);
	return t;
}

static struct toy *toy_filled(const struct device_ops *ops)
{
	struct toy *t = toy_new(ops, "toy0");

	t->s = (struct toy_state){
		1, 0xbeef, 99, UINT64_MAX, { 1, 2, 255 }, { 9, 8, 7, 6, 5 }, 77
	};
	return t;
}

static void round_trip(void **state)
{
	struct toy *a = toy_filled(&ops_v2), *b = toy_new(&ops_v2, "toy0");

	(void)state;
	check_state_round_trip(&a->dev, &b->dev);
	assert_int_equal(b->s.port, 0xbeef);
	assert_true(b->s.when == UINT64_MAX);
	assert_memory_equal(b->s.blob, a->s.blob, 5);
	assert_int_equal(b->s.ring[2], 255);
	assert_int_equal(b->s.added, 77);
	assert_true(b->loaded > 0);
	device_reset(&b->dev);
	assert_int_equal(b->s.port, 0);
	device_destroy(&a->dev);
	device_destroy(&b->dev);
}

static void stateless(void **state)
{
	struct toy *t = toy_new(&ops_none, "toy0");
	struct state_buf buf = { 0 };

	(void)state;
	assert_int_equal(state_save(&t->dev, &buf), 0);
	assert_int_equal(buf.len, 0);
	assert_int_equal(state_load(&t->dev, NULL, 0), 0);
	state_dump(&t->dev, stderr);
	device_reset(&t->dev);
	device_destroy(&t->dev);
}

static void several(void **state)
{
	struct toy *a = toy_filled(&ops_v1), *b = toy_new(&ops_v1, "toy1");
	struct toy *a2 = toy_new(&ops_v1, "toy0"), *b2 = toy_new(&ops_v1, "toy1");
	struct state_buf buf = { 0 };
	ssize_t n;

	(void)state;
	b->s.level = 5;
	assert_int_equal(state_save(&a->dev, &buf), 0);
	assert_int_equal(state_save(&b->dev, &buf), 0);
	/* The wrong device's section. */
	assert_int_equal(state_load(&b2->dev, buf.data, buf.len), -EBADMSG);
	n = state_load(&a2->dev, buf.data, buf.len);
	assert_true(n > 0 && (size_t)n < buf.len);
	assert_int_equal(state_load(&b2->dev, buf.data + n, buf.len - (size_t)n),
			 (ssize_t)buf.len - n);
	assert_int_equal(a2->s.level, 99);
	assert_int_equal(b2->s.level, 5);
	state_buf_free(&buf);
	assert_null(buf.data);
	device_destroy(&a->dev);
	device_destroy(&b->dev);
	device_destroy(&a2->dev);
	device_destroy(&b2->dev);
}

static void truncated(void **state)
{
	struct toy *a = toy_filled(&ops_v1), *b = toy_new(&ops_v1, "toy0");
	struct state_buf buf = { 0 };

	(void)state;
	assert_int_equal(state_save(&a->dev, &buf), 0);
	for (size_t len = 0; len < buf.len; len++) {
		/* A copy of just that length, for the sanitizer's sake. */
		uint8_t *part = malloc(len ?: 1);

		memcpy(part, buf.data, len);
		assert_int_equal(state_load(&b->dev, part, len), -EBADMSG);
		free(part);
		assert_int_equal(b->s.port, 0);
	}
	state_buf_free(&buf);
	device_destroy(&a->dev);
	device_destroy(&b->dev);
}

/* Streams made by hand, with a right length and CRC, so that only what they say is wrong. */
struct builder {
	uint8_t data[1024];
	size_t len;
};

static void put(struct builder *b, const void *p, size_t len)
{
	memcpy(b->data + b->len, p, len);
	b->len += len;
}

static void put_u32(struct builder *b, uint32_t v)
{
	put(b, &v, 4);
}

static void begin(struct builder *b, uint32_t version, const char *name)
{
	uint8_t len = (uint8_t)strlen(name);

	b->len = 0;
	put(b, "BSTA", 4);
	put_u32(b, 0);
	put_u32(b, version);
	put(b, &len, 1);
	put(b, name, len);
}

static void field(struct builder *b, const char *name, uint32_t size, uint32_t count,
		  const void *data, size_t bytes)
{
	uint8_t len = (uint8_t)strlen(name);

	put(b, &len, 1);
	put(b, name, len);
	put_u32(b, size);
	put_u32(b, count);
	put(b, data, bytes);
}

static void end(struct builder *b)
{
	store_le(b->data + 4, 4, b->len - 8 + 4);
	put_u32(b, util_crc32(0, b->data, b->len));
}

static void v1_but(struct builder *b, int skip)
{
	static const struct toy_state s = { 1, 2, 3, 4, { 5, 6, 7 }, { 8, 9, 10, 11, 12 }, 0 };

	if (skip != 0)
		field(b, "flag", 1, 1, &s.flag, 1);
	if (skip != 1)
		field(b, "port", 2, 1, &s.port, 2);
	if (skip != 2)
		field(b, "level", 4, 1, &s.level, 4);
	if (skip != 3)
		field(b, "when", 8, 1, &s.when, 8);
	if (skip != 4)
		field(b, "ring", 2, 3, s.ring, 6);
	if (skip != 5)
		field(b, "blob", 5, 1, s.blob, 5);
}

static void expect(struct toy *t, const struct builder *b, ssize_t ret)
{
	struct toy_state before = t->s;

	assert_int_equal(state_load(&t->dev, b->data, b->len), ret);
	if (ret < 0)
		assert_memory_equal(&t->s, &before, sizeof(before));
}

static void hostile(void **state)
{
	struct toy *t = toy_filled(&ops_v1);
	struct builder b;
	uint32_t v32;
	uint16_t ring[3] = { 1, 256, 3 };

	(void)state;
	begin(&b, 1, "toy0");
	v1_but(&b, -1);
	end(&b);
	expect(t, &b, (ssize_t)b.len);
	assert_int_equal(t->s.level, 3);

	for (int skip = 0; skip < 6; skip++) { /* missing */
		begin(&b, 1, "toy0");
		v1_but(&b, skip);
		end(&b);
		expect(t, &b, -EBADMSG);
	}
	begin(&b, 1, "toy0"); /* doubled */
	v1_but(&b, -1);
	field(&b, "flag", 1, 1, "\1", 1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* unknown */
	v1_but(&b, -1);
	field(&b, "flog", 1, 1, "\1", 1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* a name that only begins right */
	v1_but(&b, 0);
	field(&b, "fl", 1, 1, "\1", 1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* another size */
	v1_but(&b, 1);
	field(&b, "port", 4, 1, "\1\0\0\0", 4);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* another count */
	v1_but(&b, 4);
	field(&b, "ring", 2, 4, "\0\0\0\0\0\0\0\0", 8);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* sizes whose product wraps to the right one */
	v1_but(&b, 0);
	field(&b, "flag", 0x80000001u, 2, "\1\1", 2);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* data that ends early */
	v1_but(&b, 3);
	field(&b, "when", 8, 1, "\0\0\0\0", 4);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* a flag of 2 */
	v1_but(&b, 0);
	field(&b, "flag", 1, 1, "\2", 1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* past the bound */
	v1_but(&b, 2);
	v32 = 101;
	field(&b, "level", 4, 1, &v32, 4);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* one element past it */
	v1_but(&b, 4);
	field(&b, "ring", 2, 3, ring, 6);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy"); /* other names */
	v1_but(&b, -1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy00");
	v1_but(&b, -1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 2, "toy0"); /* from the future, and from before the beginning */
	v1_but(&b, -1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 0, "toy0");
	v1_but(&b, -1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 1, "toy0"); /* lengths that lie */
	v1_but(&b, -1);
	end(&b);
	for (uint32_t bytes = 0; bytes < 8; bytes++) {
		store_le(b.data + 4, 4, bytes);
		expect(t, &b, -EBADMSG);
	}
	store_le(b.data + 4, 4, UINT32_MAX);
	expect(t, &b, -EBADMSG);
	store_le(b.data + 4, 4, b.len);
	expect(t, &b, -EBADMSG);
	device_destroy(&t->dev);
}

static void versions(void **state)
{
	struct toy *t = toy_new(&ops_v2, "toy0");
	struct builder b;

	(void)state;
	/* An old stream leaves the new field as the fresh device has it. */
	t->s.added = 42;
	begin(&b, 1, "toy0");
	v1_but(&b, -1);
	end(&b);
	expect(t, &b, (ssize_t)b.len);
	assert_int_equal(t->s.added, 42);
	/* A new one must have it. */
	begin(&b, 2, "toy0");
	v1_but(&b, -1);
	end(&b);
	expect(t, &b, -EBADMSG);
	begin(&b, 2, "toy0");
	v1_but(&b, -1);
	field(&b, "added", 4, 1, "\7\0\0\0", 4);
	end(&b);
	expect(t, &b, (ssize_t)b.len);
	assert_int_equal(t->s.added, 7);
	device_destroy(&t->dev);
}

static void refused_by_device(void **state)
{
	struct toy *a = toy_filled(&ops_v1), *b = toy_filled(&ops_v1);
	struct state_buf buf = { 0 };

	(void)state;
	a->s.level = 13;
	b->s.port = 0x1234;
	b->refuse = -ERANGE;
	assert_int_equal(state_save(&a->dev, &buf), 0);
	assert_int_equal(state_load(&b->dev, buf.data, buf.len), -ERANGE);
	/* As it was, and told so: timers and lines follow the state. */
	assert_int_equal(b->s.level, 99);
	assert_int_equal(b->s.port, 0x1234);
	assert_int_equal(b->loaded, 2);
	state_buf_free(&buf);
	device_destroy(&a->dev);
	device_destroy(&b->dev);
}

static void dump(void **state)
{
	struct toy *t = toy_filled(&ops_v1);
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	state_dump(&t->dev, out);
	fclose(out);
	assert_string_equal(text, "toy0.flag: 0x1\n"
				  "toy0.port: 0xbeef\n"
				  "toy0.level: 0x63\n"
				  "toy0.when: 0xffffffffffffffff\n"
				  "toy0.ring: 0x1 0x2 0xff\n"
				  "toy0.blob: 5 bytes\n");
	free(text);
	device_destroy(&t->dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(stateless),
		cmocka_unit_test(several),    cmocka_unit_test(truncated),
		cmocka_unit_test(hostile),    cmocka_unit_test(versions),
		cmocka_unit_test(dump),       cmocka_unit_test(refused_by_device),
	};

	return cmocka_run_group_tests_name("base_state", tests, NULL, NULL);
}
