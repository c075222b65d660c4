/* SPDX-License-Identifier: MIT */
/*
 * qcow2 and the power: everything that goes to the file is recorded, and played again up to a
 * point. Behind the last barrier any of its sectors may be missing. Then the image opens, qemu-img
 * finds no corruption, and whatever had been flushed is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/qcow2_disk.h"

#define DISK (1536 * KIB)
#define GROWN (DISK + 4 * MIB) /* what it becomes half-way, so that the L1 table moves */
#define SECTORS (DISK / 512)
#define MAX_EVENTS 20000
#define MAX_FILE (16 * MIB)
#define OPS 70
#define CUTS 20

/* A write, or for data NULL a barrier. */
struct event {
	uint64_t off, len;
	uint8_t *data;
	bool durable; /* a write that is its own barrier */
};

/* The host's calls in front of the C library's: they do their work and are written down. */
static struct {
	bool on;
	struct event events[MAX_EVENTS];
	size_t nr;
} record;

static void add_event(uint64_t off, const struct iovec *iov, int n, size_t len)
{
	struct event *e = &record.events[record.nr++];
	size_t at = 0;

	assert_true(record.nr < MAX_EVENTS);
	*e = (struct event){ .off = off, .len = len, .data = malloc(max_u64(len, 1)) };
	assert_non_null(e->data);
	for (int i = 0; i < n && at < len; i++) {
		size_t part = min_u64(len - at, iov[i].iov_len);

		memcpy(e->data + at, iov[i].iov_base, part);
		at += part;
	}
}

/* With cache=none, and of blocks that several clusters share. */
int statx(int fd, const char *path, int flags, unsigned mask, struct statx *stx)
{
	long ret = syscall(SYS_statx, fd, path, flags, mask, stx);

	if (!ret && mask == STATX_DIOALIGN) {
		stx->stx_mask |= STATX_DIOALIGN;
		stx->stx_dio_offset_align = stx->stx_dio_mem_align = 4096;
	}
	return (int)ret;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	ssize_t ret = syscall(SYS_pwrite64, fd, buf, len, (long)off);
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	if (record.on && ret > 0)
		add_event((uint64_t)off, &iov, 1, (size_t)ret);
	return ret;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	ssize_t ret = syscall(SYS_pwritev, fd, iov, n, (long)off, 0L);

	if (record.on && ret > 0)
		add_event((uint64_t)off, iov, n, (size_t)ret);
	return ret;
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	ssize_t ret = syscall(SYS_pwritev2, fd, iov, n, (long)off, 0L, flags);

	if (record.on && ret > 0) {
		add_event((uint64_t)off, iov, n, (size_t)ret);
		record.events[record.nr - 1].durable = flags & RWF_DSYNC;
	}
	return ret;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	struct iovec iov = { calloc(1, (size_t)len), (size_t)len };
	int ret = (int)syscall(SYS_fallocate, fd, mode, (long)off, (long)len);

	assert_non_null(iov.iov_base);
	if (record.on && !ret)
		add_event((uint64_t)off, &iov, 1, (size_t)len);
	free(iov.iov_base);
	return ret;
}

int fdatasync(int fd)
{
	(void)fd;
	if (record.on) {
		assert_true(record.nr < MAX_EVENTS);
		record.events[record.nr++] = (struct event){ 0 };
	}
	return 0;
}

/* What a sector may hold, by the operations on it: one number in all its eight-byte words. */
struct op {
	enum block_op op;
	bool durable;
	uint64_t sector, n;
	uint64_t value;
	size_t begun, over; /* events */
};

static struct op ops[OPS];

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

static void fill_value(uint8_t *p, uint64_t sectors, uint64_t value)
{
	for (uint64_t i = 0; i < sectors * 512; i += 8)
		store_le(p + i, 8, value);
}

static void run_op(struct qcow2_disk *d, struct op *op, uint64_t value, uint64_t *seed)
{
	static const enum block_op kinds[] = { BLOCK_WRITE, BLOCK_WRITE,        BLOCK_WRITE,
					       BLOCK_WRITE, BLOCK_WRITE,        BLOCK_DISCARD,
					       BLOCK_FLUSH, BLOCK_WRITE_ZEROES, BLOCK_DISCARD };
	uint64_t max = qcow2_disk_random(seed, 4) ? 20 : 700;
	uint8_t *buf;

	op->op = kinds[qcow2_disk_random(seed, ARRAY_SIZE(kinds))];
	op->sector = qcow2_disk_random(seed, SECTORS);
	op->n = 1 + qcow2_disk_random(seed, max);
	op->n = min_u64(op->n, SECTORS - op->sector);
	op->value = op->op == BLOCK_WRITE ? value : 0;
	op->durable = op->op == BLOCK_WRITE && !qcow2_disk_random(seed, 10);
	buf = malloc(op->n * 512);
	assert_non_null(buf);
	fill_value(buf, op->n, op->value);
	op->begun = record.nr;
	assert_int_equal(qcow2_disk_do(d,
				       (struct block_req){ .op = op->op,
							   .offset = op->sector * 512,
							   .durable = op->durable,
							   .unmap = qcow2_disk_random(seed, 2) },
				       op->op == BLOCK_WRITE ? buf : NULL,
				       op->op == BLOCK_FLUSH ? 0 : op->n * 512),
			 0);
	op->over = record.nr;
	free(buf);
}

static uint8_t *read_file(const struct qcow2_disk *d, uint64_t *len)
{
	uint8_t *p = calloc(1, MAX_FILE);
	int fd = open(d->path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_non_null(p);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*len = (uint64_t)st.st_size;
	assert_true(*len <= MAX_FILE);
	assert_int_equal(util_pread_all(fd, p, *len, 0), 0);
	close(fd);
	return p;
}

static void play(const struct event *e, uint64_t *seed, uint64_t keep, uint8_t *p, uint64_t *len)
{
	for (uint64_t at = 0; at < e->len;) {
		uint64_t n = min_u64(e->len - at, 512 - (e->off + at) % 512);

		assert_true(e->off + at + n <= MAX_FILE);
		/* keep of 4 sectors: 4 is all of them */
		if (qcow2_disk_random(seed, 4) < keep) {
			memcpy(p + e->off + at, e->data + at, n);
			*len = max_u64(*len, e->off + at + n);
		}
		at += n;
	}
}

/* The file as the power's loss leaves it after the first cut events. */
static void make_crashed(const struct qcow2_disk *d, const uint8_t *before, uint64_t before_len,
			 size_t cut, uint64_t keep, uint64_t *seed)
{
	uint8_t *p = malloc(MAX_FILE);
	uint64_t len = before_len;
	size_t barrier = 0;
	int fd;

	assert_non_null(p);
	memcpy(p, before, MAX_FILE);
	for (size_t i = 0; i < cut; i++)
		if (!record.events[i].data)
			barrier = i;
	for (size_t i = 0; i < cut; i++)
		play(&record.events[i], seed, i < barrier || record.events[i].durable ? 4 : keep, p,
		     &len);
	fd = open(d->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(util_pwrite_all(fd, p, len, 0), 0);
	close(fd);
	free(p);
}

/* Whether a sector may hold value, when the first cut events have happened. */
static bool allowed(uint64_t sector, uint64_t value, uint64_t first, size_t cut)
{
	bool fits = value == first;
	uint64_t flushed = 0;

	for (size_t i = 0; i < OPS; i++)
		if (ops[i].op == BLOCK_FLUSH && ops[i].over <= cut)
			flushed = i;
	for (size_t i = 0; i < OPS && ops[i].begun <= cut; i++) {
		const struct op *op = &ops[i];

		if (op->op == BLOCK_FLUSH || sector < op->sector || sector - op->sector >= op->n)
			continue;
		/* Flushed, it is what is there, but what comes later may be there as well. */
		if (op->op != BLOCK_DISCARD && op->over <= cut && (i < flushed || op->durable))
			fits = false;
		fits |= value == op->value;
	}
	return fits;
}

static void check_crashed(struct qcow2_disk *d, uint64_t first, size_t cut, uint8_t *buf)
{
	int ret = qcow2_disk_run(d, "qemu-img check -f qcow2 image");

	if (ret != 0 && ret != 3) /* 3: clusters that are lost, and nothing else */
		fail_msg("qemu-img check: %d, after %zu events", ret, cut);
	qcow2_disk_open(d);
	assert_true(d->b->size == DISK || d->b->size == GROWN);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, 0, buf, DISK), 0);
	for (uint64_t s = 0; s < SECTORS; s++) {
		uint64_t value = load_le(buf + s * 512, 8);

		for (unsigned i = 8; i < 512; i += 8)
			assert_int_equal(load_le(buf + s * 512 + i, 8), value);
		if (!allowed(s, value, first, cut))
			fail_msg("sector %llu holds %llu after %zu events", (unsigned long long)s,
				 (unsigned long long)value, cut);
	}
	/* It can be worked with. */
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, buf, DISK / 2), 0);
	qcow2_disk_close(d);
	ret = qcow2_disk_run(d, "qemu-img check -f qcow2 image");
	assert_true(ret == 0 || ret == 3);
}

static void crash_at(struct qcow2_disk *d, const uint8_t *before, uint64_t before_len,
		     uint64_t first, size_t cut, uint64_t *seed)
{
	uint8_t *buf = malloc(DISK);

	assert_non_null(buf);
	make_crashed(d, before, before_len, cut, qcow2_disk_random(seed, 5), seed);
	check_crashed(d, first, cut, buf);
	free(buf);
}

static void run_crashes(struct qcow2_disk *d, const char *options, bool backing, uint64_t seed)
{
	uint8_t *buf = malloc(DISK), *before;
	uint64_t len, first = backing ? 77 : 0;
	int fd;

	assert_non_null(buf);
	fill_value(buf, SECTORS, first);
	if (backing) {
		char base[128];

		snprintf(base, sizeof(base), "%s/base", d->dir);
		fd = open(base, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		assert_int_equal(util_pwrite_all(fd, buf, DISK, 0), 0);
		close(fd);
	}
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 -o %s %s image %llu", options,
					backing ? "-b base -F raw" : "", (unsigned long long)DISK),
			 0);
	if (backing) {
		/* Tables and data that a snapshot shares: copied on write, from now on. */
		qcow2_disk_open(d);
		assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, buf, DISK / 3 * 2), 0);
		qcow2_disk_close(d);
		assert_int_equal(qcow2_disk_run(d, "qemu-img snapshot -c s image"), 0);
	}
	before = read_file(d, &len);
	qcow2_disk_open(d);
	record.on = true;
	for (uint64_t i = 0; i < OPS; i++) {
		if (i == OPS / 2 && !strstr(options, "compat=0.10"))
			assert_int_equal(block_resize(d->b, GROWN, &d->err), 0);
		run_op(d, &ops[i], 1000 + i, &seed);
	}
	qcow2_disk_close(d);
	record.on = false;
	d->cache = BLOCK_CACHE_WRITEBACK; /* what is left is looked at often */
	for (int i = 0; i < CUTS; i++)
		crash_at(d, before, len, first, qcow2_disk_random(&seed, record.nr + 1), &seed);
	/* Where a barrier would have come most can be missing. */
	for (size_t i = 0; i < record.nr; i++)
		for (int k = 0; k < 3 && !record.events[i].data; k++)
			crash_at(d, before, len, first, i, &seed);
	for (size_t i = 0; i < record.nr; i++)
		free(record.events[i].data);
	record.nr = 0;
	free(before);
	free(buf);
}

static void test_crashes(void **state)
{
	static const struct {
		const char *options;
		bool backing;
		enum block_cache cache;
	} variants[] = {
		{ "cluster_size=4096", false, BLOCK_CACHE_WRITEBACK },
		{ "cluster_size=512,refcount_bits=64", false, BLOCK_CACHE_WRITEBACK },
		{ "cluster_size=512", true, BLOCK_CACHE_WRITEBACK },
		{ "cluster_size=4096,lazy_refcounts=on", true, BLOCK_CACHE_WRITEBACK },
		{ "cluster_size=65536", true, BLOCK_CACHE_NONE },
		{ "compat=0.10,cluster_size=2048", true, BLOCK_CACHE_WRITEBACK },
		{ "cluster_size=1024", false, BLOCK_CACHE_NONE },
	};
	struct qcow2_disk *d = *state;

	if (!qcow2_disk_have_qemu()) {
		print_message("no qemu-img: package qemu-utils\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		d->cache = variants[i].cache;
		if (d->cache == BLOCK_CACHE_NONE && !qcow2_disk_have_direct())
			continue;
		print_message("%s%s%s\n", variants[i].options,
			      variants[i].backing ? ", backing" : "", d->cache ? ", direct" : "");
		run_crashes(d, variants[i].options, variants[i].backing, 100 + i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_crashes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
