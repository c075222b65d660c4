/* SPDX-License-Identifier: MIT */
/*
 * qcow2 beside a plain array, and beside qemu-img: whatever is done to a disk, both hold the same
 * bytes in the end, and qemu-img finds nothing to complain of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/qcow2_disk.h"

#define DISK (6 * MIB)
#define MAX_DISK (12 * MIB)

static int setup(void **state)
{
	struct qcow2_disk *d = calloc(1, sizeof(*d));

	qcow2_disk_init(d);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	qcow2_disk_destroy(*state);
	free(*state);
	return 0;
}

static void need_qemu(void)
{
	if (qcow2_disk_have_qemu())
		return;
	print_message("no qemu-img: package qemu-utils\n");
	skip();
}

static void fill_pattern(uint8_t *p, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i += 8)
		store_le(p + i, 8, (seed + i) * 0x9e3779b97f4a7c15ull);
}

static void write_file(const struct qcow2_disk *d, const char *name, const void *buf, size_t len)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(util_pwrite_all(fd, buf, len, 0), 0);
	close(fd);
}

/* A file whose bytes are the pattern, with holes of zeroes; the caller's to free. */
static uint8_t *make_raw(const struct qcow2_disk *d, const char *name, uint64_t len, uint64_t seed)
{
	uint8_t *p = calloc(1, MAX_DISK);

	assert_non_null(p);
	for (uint64_t at = 0; at < len; at += 64 * KIB)
		if (at / (64 * KIB) % 3 != 1)
			fill_pattern(p + at, min_u64(64 * KIB, len - at), seed + at);
	write_file(d, name, p, len);
	return p;
}

static void check_bytes(struct qcow2_disk *d, const uint8_t *model)
{
	uint64_t size = d->b->size, step = 192 * KIB;
	uint8_t *buf = malloc(step);

	assert_non_null(buf);
	for (uint64_t at = 0; at < size; at += step) {
		uint64_t n = min_u64(step, size - at);

		assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, at, buf, n), 0);
		assert_memory_equal(buf, model + at, n);
	}
	free(buf);
}

/* The disk is closed, and qemu-img agrees with us on it. */
static void check_by_qemu(struct qcow2_disk *d, const uint8_t *model, uint64_t size)
{
	write_file(d, "model", model, size);
	assert_int_equal(qcow2_disk_run(d, "qemu-img check -f qcow2 image"), 0);
	assert_int_equal(qcow2_disk_run(d, "qemu-img compare -f raw -F qcow2 model image"), 0);
}

/* --- the model test ------------------------------------------------------------ */

struct variant {
	const char *options; /* of qemu-img create */
	const char *backing; /* NULL, "raw" or "qcow2" */
	bool snapshots;
	uint64_t size; /* 0: DISK */
};

static void do_discard(struct qcow2_disk *d, uint8_t *model, uint64_t off, uint64_t len)
{
	uint8_t *now = malloc(len);

	assert_non_null(now);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_DISCARD, off, NULL, len), 0);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, off, now, len), 0);
	for (uint64_t i = 0; i < len; i++)
		assert_true(now[i] == model[off + i] || !now[i]);
	memcpy(model + off, now, len);
	free(now);
}

static void do_random(struct qcow2_disk *d, uint8_t *model, uint64_t *seed)
{
	uint64_t sectors = d->b->size / 512, max = qcow2_disk_random(seed, 8) ? 64 : 1500;
	uint64_t off = qcow2_disk_random(seed, sectors) * 512;
	uint64_t len = (1 + qcow2_disk_random(seed, max)) * 512;
	struct block_req req = { .offset = off };
	uint8_t *buf;

	len = min_u64(len, d->b->size - off);
	buf = malloc(len);
	assert_non_null(buf);
	switch (qcow2_disk_random(seed, 10)) {
	case 0:
		req.op = BLOCK_WRITE_ZEROES;
		req.unmap = qcow2_disk_random(seed, 2);
		assert_int_equal(qcow2_disk_do(d, req, NULL, len), 0);
		memset(model + off, 0, len);
		break;
	case 1:
		do_discard(d, model, off, len);
		break;
	case 2:
		assert_int_equal(qcow2_disk_rw(d, BLOCK_FLUSH, 0, NULL, 0), 0);
		break;
	case 3:
	case 4:
	case 5:
		assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, off, buf, len), 0);
		assert_memory_equal(buf, model + off, len);
		break;
	default:
		fill_pattern(buf, len, *seed);
		req.op = BLOCK_WRITE;
		req.durable = qcow2_disk_random(seed, 8) == 0;
		assert_int_equal(qcow2_disk_do(d, req, buf, len), 0);
		memcpy(model + off, buf, len);
	}
	free(buf);
}

static void grow(struct qcow2_disk *d, const struct variant *v, uint8_t *model, uint64_t *seed)
{
	uint64_t old = d->b->size;
	uint64_t size = old + (1 + qcow2_disk_random(seed, 2048)) * 512;

	if (size > MAX_DISK || (v->snapshots && strstr(v->options, "compat=0.10")))
		return;
	assert_int_equal(block_resize(d->b, size, &d->err), 0);
	assert_int_equal(d->b->size, size);
	memset(model + old, 0, size - old);
}

static uint8_t *make_image(struct qcow2_disk *d, const struct variant *v)
{
	uint64_t size = v->size ? v->size : DISK;
	uint8_t *model = NULL;

	if (!v->backing) {
		assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 -o %s image %llu",
						v->options, (unsigned long long)size),
				 0);
		model = calloc(1, MAX_DISK);
		assert_non_null(model);
		return model;
	}
	/* Longer than the disk, and not of whole clusters: neither end may show. */
	model = make_raw(d, "base.raw", size + 100 * KIB + 512, 7);
	if (!strcmp(v->backing, "qcow2"))
		assert_int_equal(qcow2_disk_run(d, "qemu-img convert -c -f raw -O qcow2 base.raw "
						   "base.qcow2"),
				 0);
	assert_int_equal(qcow2_disk_run(d,
					"qemu-img create -f qcow2 -o %s -b base.%s -F %s "
					"image %llu",
					v->options, v->backing, v->backing,
					(unsigned long long)size),
			 0);
	memset(model + size, 0, MAX_DISK - size);
	return model;
}

static void run_model(struct qcow2_disk *d, const struct variant *v, uint64_t seed)
{
	uint8_t *model = make_image(d, v), *then = NULL;
	uint64_t size = v->size ? v->size : DISK, then_size = 0;

	for (int round = 0; round < 4; round++) {
		qcow2_disk_open(d);
		assert_int_equal(d->b->size, size);
		check_bytes(d, model);
		for (int i = 0; i < 60; i++)
			do_random(d, model, &seed);
		grow(d, v, model, &seed);
		for (int i = 0; i < 60; i++)
			do_random(d, model, &seed);
		check_bytes(d, model);
		size = d->b->size;
		qcow2_disk_close(d);
		check_by_qemu(d, model, size);
		if (round == 1 && v->snapshots) {
			assert_int_equal(qcow2_disk_run(d, "qemu-img snapshot -c s image"), 0);
			then = malloc(size);
			assert_non_null(then);
			memcpy(then, model, size);
			then_size = size;
		}
	}
	if (then) {
		assert_int_equal(qcow2_disk_run(d, "qemu-img snapshot -a s image"), 0);
		check_by_qemu(d, then, then_size);
	}
	free(then);
	free(model);
}

static void test_model(void **state)
{
	static const struct variant variants[] = {
		{ "compat=1.1", NULL, false, 0 },
		{ "compat=0.10", NULL, false, 0 },
		{ "compat=1.1,cluster_size=512", NULL, false, 0 },
		{ "compat=1.1,cluster_size=512,refcount_bits=64", NULL, true, 0 },
		{ "compat=0.10,cluster_size=1024", "raw", true, 0 },
		{ "compat=1.1,cluster_size=4096,refcount_bits=1", NULL, false, 0 },
		{ "compat=1.1,cluster_size=512,refcount_bits=2", "qcow2", true, 0 },
		{ "compat=1.1,cluster_size=8192,refcount_bits=4", "qcow2", true, 5 * MIB + 512 },
		{ "compat=1.1,refcount_bits=8,lazy_refcounts=on", "raw", true, 0 },
		{ "compat=1.1,refcount_bits=32", "raw", false, 6 * MIB - 512 },
		{ "compat=0.10", "qcow2", true, 0 },
		{ "compat=1.1,cluster_size=2M", "raw", true, 0 },
		{ "compat=1.1,preallocation=metadata", NULL, true, 0 },
		{ "compat=1.1,preallocation=full,cluster_size=16k", NULL, false, 0 },
	};

	need_qemu();
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		print_message("%s, backing: %s\n", variants[i].options,
			      variants[i].backing ? variants[i].backing : "none");
		run_model(*state, &variants[i], i + 1);
	}
}

/* --- what qemu-img makes -------------------------------------------------------- */

static void test_cluster_sizes(void **state)
{
	static const char *const kinds[] = {
		"compat=0.10",
		"compat=1.1",
		"-c compat=1.1",
		"-c compat=0.10",
		"-c compat=1.1,compression_type=zstd",
	};
	struct qcow2_disk *d = *state;
	uint8_t *model = make_raw(d, "raw", DISK, 3);

	need_qemu();
	for (unsigned bits = 9; bits <= 21; bits++) {
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			bool packed = !strncmp(kinds[k], "-c ", 3);

			assert_int_equal(qcow2_disk_run(d,
							"qemu-img convert %s -f raw -O qcow2 -o "
							"%s,cluster_size=%u raw image",
							packed ? "-c" : "",
							kinds[k] + (packed ? 3 : 0), 1u << bits),
					 0);
			qcow2_disk_open(d);
			assert_int_equal(d->b->size, DISK);
			check_bytes(d, model);
			/* Over compressed clusters, partly. */
			fill_pattern(model + 8192 * (k + 1), 70 * KIB, bits * 16 + k);
			assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 8192 * (k + 1),
						       model + 8192 * (k + 1), 70 * KIB),
					 0);
			check_bytes(d, model);
			qcow2_disk_close(d);
			check_by_qemu(d, model, DISK);
			write_file(d, "raw", model, DISK);
		}
	}
	free(model);
}

static void test_large_growth(void **state)
{
	struct qcow2_disk *d = *state;
	uint8_t buf[512] = { 1 }, back[512];

	need_qemu();
	/* An L1 table of more clusters than one refcount block covers, many refcount blocks. */
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 -o "
					   "cluster_size=512,refcount_bits=64 image 1M"),
			 0);
	qcow2_disk_open(d);
	for (int i = 0; i < 12; i++) {
		uint64_t size = MIB << i;

		assert_int_equal(block_resize(d->b, size, &d->err), 0);
		for (int k = 0; k < 16; k++)
			assert_int_equal(
				qcow2_disk_rw(d, BLOCK_WRITE, size - 512 - size / 16 * k, buf, 512),
				0);
	}
	assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, 2 * GIB - 512, back, 512), 0);
	assert_memory_equal(buf, back, 512);
	assert_int_equal(block_resize(d->b, MIB, &d->err), -EOPNOTSUPP);
	assert_int_equal(block_resize(d->b, 1ull << 50, &d->err), -EFBIG);
	qcow2_disk_close(d);
	assert_int_equal(qcow2_disk_run(d, "qemu-img check -f qcow2 image"), 0);
}

static void test_grow_refcount_table(void **state)
{
	struct qcow2_disk *d = *state;
	uint8_t *model = calloc(1, 48 * MIB);

	need_qemu();
	assert_non_null(model);
	assert_int_equal(
		qcow2_disk_run(d, "qemu-img create -f qcow2 -o cluster_size=512 image 40M"), 0);
	fill_pattern(model, 40 * MIB, 5);
	qcow2_disk_open(d);
	for (uint64_t at = 0; at < 40 * MIB; at += MIB)
		assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, at, model + at, MIB), 0);
	check_bytes(d, model);
	qcow2_disk_close(d);
	check_by_qemu(d, model, 40 * MIB);
	free(model);
}

static uint64_t blocks_used(const struct qcow2_disk *d)
{
	struct stat st;

	assert_int_equal(stat(d->path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_discard_frees(void **state)
{
	struct qcow2_disk *d = *state;
	uint8_t *model = calloc(1, MAX_DISK);
	uint64_t full;

	need_qemu();
	assert_non_null(model);
	fill_pattern(model, DISK, 9);
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 image 6M"), 0);
	qcow2_disk_open(d);
	assert_int_equal(d->b->limits.discard_align, 64 * KIB);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, model, DISK), 0);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_FLUSH, 0, NULL, 0), 0);
	full = blocks_used(d);
	assert_true(full > DISK);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_DISCARD, 0, NULL, 4 * MIB), 0);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_FLUSH, 0, NULL, 0), 0);
	memset(model, 0, 4 * MIB);
	check_bytes(d, model);
	assert_true(blocks_used(d) + 3 * MIB < full);
	/* Freed clusters are taken again: the file does not become longer. */
	fill_pattern(model, 3 * MIB, 10);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, model, 3 * MIB), 0);
	qcow2_disk_close(d);
	assert_true(blocks_used(d) <= full);
	check_by_qemu(d, model, DISK);
	free(model);
}

/* A guest that never flushes cannot have the host's space for all that it has ever freed. */
static void test_space_comes_back(void **state)
{
	struct qcow2_disk *d = *state;
	uint8_t *model = calloc(1, MAX_DISK);
	struct stat st;

	need_qemu();
	assert_non_null(model);
	fill_pattern(model, 4 * MIB, 11);
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 image 6M"), 0);
	qcow2_disk_open(d);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(qcow2_disk_rw(d, BLOCK_DISCARD, 0, NULL, 4 * MIB), 0);
		assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, model, 4 * MIB), 0);
	}
	assert_int_equal(stat(d->path, &st), 0);
	assert_true((uint64_t)st.st_size < 80 * MIB);
	qcow2_disk_close(d);
	check_by_qemu(d, model, DISK);
	free(model);
}

/* --- what is refused ------------------------------------------------------------- */

static void check_refused(struct qcow2_disk *d, struct block_config cfg, const char *word)
{
	assert_true(qcow2_disk_open_as(d, cfg) < 0);
	assert_null(d->b);
	if (!strstr(d->err.text, word))
		fail_msg("no '%s' in: %s", word, d->err.text);
	assert_non_null(strstr(d->err.text, "image"));
}

static void patch(const struct qcow2_disk *d, uint64_t off, uint64_t value, unsigned width)
{
	uint64_t be = htobe64(value) >> (64 - 8 * width);
	int fd = open(d->path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(util_pwrite_all(fd, &be, width, off), 0);
	close(fd);
}

static void test_bad_headers(void **state)
{
	static const struct {
		uint64_t off, value;
		unsigned width;
		const char *word;
	} bad[] = {
		{ 0, 0x51464900, 4, "no qcow2 image" },
		{ 4, 1, 4, "version 1" },
		{ 4, 4, 4, "version 4" },
		{ 8, 1 << 20, 8, "backing file's name" },
		{ 20, 8, 4, "2^8" },
		{ 20, 22, 4, "2^22" },
		{ 24, 1000, 8, "multiple of 512" },
		{ 24, 0, 8, "multiple of 512" },
		{ 24, 1ull << 62, 8, "L1 table" },
		{ 32, 1, 4, "encrypted" },
		{ 36, 0xffffffff, 4, "L1 table" },
		{ 40, 0x30001, 8, "L1 table" },
		{ 40, 1ull << 40, 8, "L1 table" },
		{ 40, 0, 8, "L1 table" },
		{ 48, 1ull << 60, 8, "refcount table" },
		{ 48, 0x30000, 8, "share offset" },
		{ 56, 0, 4, "refcount table" },
		{ 56, 0xffffffff, 4, "refcount table" },
		{ 60, 0xffffffff, 4, "snapshot table" },
		{ 72, 1, 8, "not closed" },
		{ 72, 2, 8, "marked corrupt" },
		{ 72, 4, 8, "another file" },
		{ 72, 8, 8, "compression type" },
		{ 72, 16, 8, "extended L2" },
		{ 72, 1ull << 40, 8, "bit 40" },
		{ 96, 7, 4, "refcounts" },
		{ 100, 96, 4, "header cannot be" },
		{ 100, 108, 4, "header cannot be" },
		{ 100, 0x1000000, 4, "header cannot be" },
		{ 0x30000, 1ull << 60, 8, "entry 0" },
		{ 0x30000, 0x800, 8, "entry 0" },
		{ 0x30000, 0x30000, 8, "share offset" },
		{ 0x30000, 1ull << 40, 8, "no table" },
	};
	struct qcow2_disk *d = *state;

	need_qemu();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 image 6M"), 0);
		patch(d, bad[i].off, bad[i].value, bad[i].width);
		check_refused(d, (struct block_config){ .backing = true }, bad[i].word);
	}
	/* The name that the image gives a feature: bit 40 of the incompatible ones. */
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 image 6M"), 0);
	patch(d, 72, 1ull << 40, 8);
	patch(d, 112, 0x6803f857, 4);
	patch(d, 116, 48, 4);
	patch(d, 120, 40, 2);
	patch(d, 122, 0x7761727020647269, 8); /* "warp dri" */
	patch(d, 130, 0x7665000000000000, 8); /* "ve" */
	patch(d, 168, 0, 8);
	check_refused(d, (struct block_config){ 0 }, "warp drive, bit 40");
}

static void test_read_only(void **state)
{
	struct qcow2_disk *d = *state;
	uint8_t *model = make_raw(d, "raw", DISK, 3), buf[512] = { 0 };

	need_qemu();
	assert_int_equal(qcow2_disk_run(d, "qemu-img convert -f raw -O qcow2 raw image"), 0);
	patch(d, 72, 3, 8); /* dirty and corrupt: what can be read, is */
	assert_int_equal(qcow2_disk_open_as(d, (struct block_config){ .readonly = true }), 0);
	check_bytes(d, model);
	assert_int_equal(d->b->limits.discard_align, 0);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(block_resize(d->b, 7 * MIB, &d->err), -EROFS);
	qcow2_disk_close(d);
	free(model);
}

static void test_autoclear(void **state)
{
	struct qcow2_disk *d = *state;
	uint64_t bits = 1;
	int fd;

	need_qemu();
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 image 6M"), 0);
	patch(d, 88, 1ull << 63, 8);
	qcow2_disk_open(d);
	qcow2_disk_close(d);
	fd = open(d->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(util_pread_all(fd, &bits, 8, 88), 0);
	close(fd);
	assert_int_equal(bits, 0);
}

static void test_backing(void **state)
{
	struct qcow2_disk *d = *state;
	uint8_t *model = make_raw(d, "base.raw", DISK, 4);

	need_qemu();
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 -b base.raw -F raw image"), 0);
	check_refused(d, (struct block_config){ 0 }, "backing=on");
	qcow2_disk_open(d);
	check_bytes(d, model);
	qcow2_disk_close(d);
	assert_int_equal(qcow2_disk_run(d, "mv base.raw other.raw"), 0);
	check_refused(d, (struct block_config){ .backing = true }, "base.raw");
	assert_int_equal(qcow2_disk_run(d, "mv other.raw base.raw"), 0);
	/* Without its format: version 2 images need not say it. */
	assert_int_equal(qcow2_disk_run(d, "qemu-img rebase -u -b '' image"), 0);
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -u -f qcow2 -b ./base.vmdk -F vmdk "
					   "image 6M"),
			 0);
	check_refused(d, (struct block_config){ .backing = true }, "vmdk");
	patch(d, 112, 0x12345678, 4); /* the extension becomes an unknown one */
	patch(d, 104 + 0, 0, 8);
	check_refused(d, (struct block_config){ .backing = true }, "which format");
	/* Standing on itself, directly and not. */
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -u -f qcow2 -b image -F qcow2 a 6M"),
			 0);
	assert_int_equal(qcow2_disk_run(d, "mv a image"), 0);
	check_refused(d, (struct block_config){ .backing = true }, "on itself");
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -u -f qcow2 -b image -F qcow2 b 6M"),
			 0);
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -u -f qcow2 -b b -F qcow2 image 6M"),
			 0);
	check_refused(d, (struct block_config){ .backing = true }, "on itself");
	for (int i = 0; i < 20; i++)
		assert_int_equal(qcow2_disk_run(d,
						"qemu-img create -u -f qcow2 -b c%d -F qcow2 "
						"c%d 6M",
						i + 1, i),
				 0);
	assert_int_equal(qcow2_disk_run(d, "cp c0 image"), 0);
	check_refused(d, (struct block_config){ .backing = true }, "16");
	free(model);
}

/* --- images that lie -------------------------------------------------------------- */

/* A write that would land in a table is refused, and so is every later one. */
static void check_turns_corrupt(struct qcow2_disk *d, uint64_t off)
{
	uint8_t buf[4096] = { 1 };

	qcow2_disk_open(d);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, off, buf, sizeof(buf)), -EIO);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 3 * MIB, buf, sizeof(buf)), -EIO);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, 3 * MIB, buf, sizeof(buf)), 0);
	qcow2_disk_close(d);
	check_refused(d, (struct block_config){ 0 }, "marked corrupt");
}

static void make_written(struct qcow2_disk *d)
{
	uint8_t buf[4096] = { 2 };

	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 image 6M"), 0);
	qcow2_disk_open(d);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 3 * MIB, buf, sizeof(buf)), 0);
	qcow2_disk_close(d);
}

static uint64_t read_be(const struct qcow2_disk *d, uint64_t off)
{
	uint64_t v = 0;
	int fd = open(d->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(util_pread_all(fd, &v, 8, off), 0);
	close(fd);
	return be64toh(v);
}

static void test_corrupt(void **state)
{
	struct qcow2_disk *d = *state;
	uint64_t l2, copied = 1ull << 63;

	need_qemu();
	/* A cluster of the guest's in the L1 table. */
	make_written(d);
	l2 = read_be(d, 0x30000) & ~copied;
	patch(d, l2, 0x30000 | copied, 8);
	check_turns_corrupt(d, 0);
	/* An L2 entry with a reserved bit, and one between two clusters. */
	make_written(d);
	patch(d, l2, (1ull << 58) | 0x50000, 8);
	check_turns_corrupt(d, 0);
	make_written(d);
	patch(d, l2, 0x50200 | copied, 8);
	check_turns_corrupt(d, 4096);
	/* The L1 table counts as free: it would be allocated. */
	make_written(d);
	patch(d, 0x20000 + 2 * 3, 0, 2);
	check_turns_corrupt(d, MIB);
	/* A table that would be freed as a guest's cluster: the L1 table, and the header. */
	make_written(d);
	patch(d, l2, 0x30000, 8);
	check_turns_corrupt(d, 0);
	make_written(d);
	patch(d, l2, (1ull << 62) | 0x200, 8);
	qcow2_disk_open(d);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_DISCARD, 0, NULL, 64 * KIB), -EIO);
	qcow2_disk_close(d);
	check_refused(d, (struct block_config){ 0 }, "marked corrupt");
	/* Data far beyond the end of the file, where nothing was ever allocated. */
	make_written(d);
	patch(d, l2, (1ull << 45) | copied, 8);
	check_turns_corrupt(d, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cluster_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_growth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grow_refcount_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_discard_frees, setup, teardown),
		cmocka_unit_test_setup_teardown(test_space_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_autoclear, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_corrupt, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
