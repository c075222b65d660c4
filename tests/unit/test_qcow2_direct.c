/* SPDX-License-Identifier: MIT */
/*
 * qcow2 with cache=none: everything that goes to the file goes past the host's page cache, in
 * whole blocks, be they larger than a cluster; tables and data that share a block keep their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <unistd.h>

#include "tests/unit/qcow2_disk.h"

#define DISK (3 * MIB)
#define OPS 250

/* The host's calls in front of the C library's: a device of such blocks, which takes them whole. */
static struct {
	unsigned align;
	bool on;
	atomic_uint transfers;
	atomic_uint holes, odd_holes;
} host = { .align = 512 };

int statx(int fd, const char *path, int flags, unsigned mask, struct statx *stx)
{
	long ret = syscall(SYS_statx, fd, path, flags, mask, stx);

	if (!ret && mask == STATX_DIOALIGN) {
		stx->stx_mask |= STATX_DIOALIGN;
		stx->stx_dio_offset_align = stx->stx_dio_mem_align = host.align;
	}
	return (int)ret;
}

static bool fits(int fd, const struct iovec *iov, int n, off_t off)
{
	uint64_t odd = (uint64_t)off;

	if (!host.on)
		return true;
	host.transfers++;
	for (int i = 0; i < n; i++)
		odd |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return fcntl(fd, F_GETFL) & O_DIRECT && odd % host.align == 0;
}

static ssize_t transfer(long nr, int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	if (!fits(fd, iov, n, off)) {
		errno = EINVAL;
		return -1;
	}
	return syscall(nr, fd, iov, (long)n, (long)off, 0L, (long)flags);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return transfer(SYS_preadv2, fd, iov, n, off, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return transfer(SYS_pwritev2, fd, iov, n, off, flags);
}

/* A hole that begins or ends within a page is zeroes written there by way of the cache. */
int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (host.on) {
		host.holes++;
		host.odd_holes += (off | len) % PAGE_SIZE_4K != 0;
	}
	return (int)syscall(SYS_fallocate, fd, (long)mode, (long)off, (long)len);
}

/* Pages of the image in the host's cache. */
static unsigned cached_pages(const struct qcow2_disk *d)
{
	int fd = open(d->path, O_RDONLY | O_CLOEXEC);
	unsigned n = 0;
	struct stat st;
	uint8_t *seen;
	void *p;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	seen = calloc(1, (size_t)st.st_size / PAGE_SIZE_4K + 1);
	assert_non_null(seen);
	assert_int_equal(mincore(p, (size_t)st.st_size, seen), 0);
	for (uint64_t i = 0; i * PAGE_SIZE_4K < (uint64_t)st.st_size; i++)
		n += seen[i] & 1;
	munmap(p, (size_t)st.st_size);
	free(seen);
	close(fd);
	return n;
}

/* What qemu-img has left there. */
static void drop_cache(const struct qcow2_disk *d)
{
	int fd = open(d->path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

static bool has_page_cache(const struct qcow2_disk *d)
{
	struct statfs fs;

	return !statfs(d->dir, &fs) && fs.f_type != TMPFS_MAGIC;
}

static void open_direct(struct qcow2_disk *d, enum block_engine engine)
{
	struct block_config cfg = { .engine = engine, .cache = BLOCK_CACHE_NONE, .backing = true };

	drop_cache(d);
	host.on = true;
	if (qcow2_disk_open_as(d, cfg))
		fail_msg("%s", d->err.text);
}

static void close_direct(struct qcow2_disk *d)
{
	if (has_page_cache(d))
		assert_int_equal(cached_pages(d), 0);
	qcow2_disk_close(d);
	host.on = false;
}

static void fill(uint8_t *p, uint64_t len, uint64_t value)
{
	for (uint64_t i = 0; i + 8 <= len; i += 8)
		store_le(p + i, 8, value + i);
}

/* Memory as odd as the offsets are. */
static void do_random(struct qcow2_disk *d, uint8_t *model, uint64_t *seed)
{
	uint64_t max = qcow2_disk_random(seed, 6) ? 24 : 700;
	uint64_t off = qcow2_disk_random(seed, DISK / 512) * 512;
	uint64_t len = (1 + qcow2_disk_random(seed, max)) * 512;
	uint64_t odd = qcow2_disk_random(seed, 3) * 24;
	uint8_t *whole = aligned_alloc(PAGE_SIZE_4K, DISK), *buf = whole + odd;

	assert_non_null(whole);
	len = min_u64(len, DISK - off);
	switch (qcow2_disk_random(seed, 8)) {
	case 0:
		assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE_ZEROES, off, NULL, len), 0);
		memset(model + off, 0, len);
		break;
	case 1:
		assert_int_equal(qcow2_disk_rw(d, BLOCK_DISCARD, off, NULL, len), 0);
		assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, off, model + off, len), 0);
		break;
	case 2:
		assert_int_equal(qcow2_disk_rw(d, BLOCK_FLUSH, 0, NULL, 0), 0);
		break;
	case 3:
	case 4:
		assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, off, buf, len), 0);
		assert_memory_equal(buf, model + off, len);
		break;
	default:
		fill(buf, len, *seed);
		assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, off, buf, len), 0);
		memcpy(model + off, buf, len);
	}
	free(whole);
}

static void write_model(const struct qcow2_disk *d, const char *name, const uint8_t *model,
			uint64_t len)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(util_pwrite_all(fd, model, len, 0), 0);
	close(fd);
}

static void run_model(struct qcow2_disk *d, enum block_engine engine, uint8_t *model, uint64_t seed)
{
	uint8_t *got = malloc(DISK);

	assert_non_null(got);
	host.transfers = host.holes = host.odd_holes = 0;
	for (int round = 0; round < 2; round++) {
		open_direct(d, engine);
		assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, 0, got, DISK), 0);
		assert_memory_equal(got, model, DISK);
		for (int i = 0; i < OPS; i++)
			do_random(d, model, &seed);
		close_direct(d);
	}
	assert_true(host.transfers > 20);
	assert_int_equal(host.odd_holes, 0);
	write_model(d, "model", model, DISK);
	assert_int_equal(qcow2_disk_run(d, "qemu-img check -f qcow2 image"), 0);
	assert_int_equal(qcow2_disk_run(d, "qemu-img compare -f raw -F qcow2 model image"), 0);
	free(got);
}

static const unsigned aligns[] = { 512, 4096 };

/* Clusters of any size, and blocks of both. */
static void test_model(void **state)
{
	static const char *const options[] = {
		"cluster_size=512",  "cluster_size=1024,refcount_bits=1",
		"cluster_size=4096", "compat=0.10,cluster_size=65536",
		"cluster_size=2M",
	};
	static const enum block_engine engines[] = { BLOCK_ENGINE_SYNC, BLOCK_ENGINE_THREADS,
						     BLOCK_ENGINE_AUTO };
	struct qcow2_disk *d = *state;
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(aligns); k++) {
			uint8_t *model = calloc(1, DISK);

			assert_non_null(model);
			print_message("%s, blocks of %u\n", options[i], aligns[k]);
			host.align = aligns[k];
			assert_int_equal(qcow2_disk_run(d,
							"qemu-img create -f qcow2 -o %s image %llu",
							options[i], (unsigned long long)DISK),
					 0);
			run_model(d, engines[n % ARRAY_SIZE(engines)], model, 11 + n);
			n++;
			assert_true(host.holes > 0);
			free(model);
		}
	}
}

/*
 * A file that ends within a block, compressed clusters that start within one, and a backing file
 * that does both: they are read past the cache as well.
 */
static void test_odd_ends(void **state)
{
	static const char *const bases[] = { "raw", "qcow2" };
	struct qcow2_disk *d = *state;
	uint8_t *model = malloc(DISK);

	assert_non_null(model);
	for (size_t i = 0; i < ARRAY_SIZE(bases) * ARRAY_SIZE(aligns); i++) {
		const char *base = bases[i % ARRAY_SIZE(bases)];
		uint64_t len = DISK - 70 * KIB - 512;

		host.align = aligns[i / ARRAY_SIZE(bases)];
		memset(model, 0, DISK);
		fill(model, len, 5);
		write_model(d, "base.raw", model, len);
		assert_int_equal(qcow2_disk_run(d, "qemu-img convert -c -f raw -O qcow2 base.raw "
						   "base.qcow2"),
				 0);
		assert_int_equal(qcow2_disk_run(d, "truncate -s '%%512' base.qcow2"), 0);
		assert_int_equal(qcow2_disk_run(d,
						"qemu-img create -f qcow2 -o cluster_size=4096 "
						"-b base.%s -F %s image %llu",
						base, base, (unsigned long long)DISK),
				 0);
		run_model(d, BLOCK_ENGINE_SYNC, model, 31 + i);
	}
	/* And one that is compressed itself. */
	for (size_t i = 0; i < ARRAY_SIZE(aligns); i++) {
		struct stat st;

		host.align = aligns[i];
		memset(model, 0, DISK);
		fill(model, DISK, 6);
		write_model(d, "base.raw", model, DISK);
		assert_int_equal(qcow2_disk_run(d, "qemu-img convert -c -f raw -O qcow2 base.raw "
						   "image"),
				 0);
		assert_int_equal(stat(d->path, &st), 0);
		assert_int_not_equal(st.st_size % PAGE_SIZE_4K, 0);
		run_model(d, BLOCK_ENGINE_THREADS, model, 41 + i);
	}
	free(model);
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_ends, setup, teardown),
	};

	if (!qcow2_disk_have_qemu() || !qcow2_disk_have_direct()) {
		print_message("no qemu-img, or no O_DIRECT in /tmp\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
