/* SPDX-License-Identifier: MIT */
/*
 * Disks in block devices: loop devices over memory, with logical blocks of 512 bytes and 4 KiB.
 * Where they cannot be made, by who is not root or in a container, that is said and nothing tested.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <unistd.h>

#include "tests/unit/block_contract.h"
#include "tests/unit/qcow2_disk.h"

#define TRIES 50

struct device {
	unsigned block; /* bytes, logical and physical */
	enum block_engine engine;
	enum block_cache cache;
	enum block_format format;
	int memory; /* what the device is in */
	int fd;
	char path[32];
	struct err err;
	struct block *b;
	struct disk d;
	bool has_queue;
};

static int free_device(struct device *dev)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n;

	if (control < 0)
		return -errno;
	n = ioctl(control, LOOP_CTL_GET_FREE);
	if (n < 0)
		n = -errno;
	close(control);
	if (n < 0)
		return n;
	snprintf(dev->path, sizeof(dev->path), "/dev/loop%d", n);
	dev->fd = open(dev->path, O_RDWR | O_CLOEXEC);
	return dev->fd < 0 ? -errno : 0;
}

/* 0 or -errno. The device goes with the last who has it open. */
static int try_device(struct device *dev)
{
	struct loop_config cfg = { .fd = (uint32_t)dev->memory,
				   .block_size = dev->block,
				   .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int ret = free_device(dev);

	if (!ret && ioctl(dev->fd, LOOP_CONFIGURE, &cfg)) {
		ret = -errno;
		close(dev->fd);
		dev->fd = -1;
	}
	return ret;
}

static bool make_device(struct device *dev, uint64_t size)
{
	int ret = -EBUSY;

	dev->fd = -1;
	dev->memory = memfd_create("disk", MFD_CLOEXEC);
	assert_true(dev->memory >= 0);
	assert_int_equal(ftruncate(dev->memory, (off_t)size), 0);
	/* Somebody else may have taken the free one. */
	for (int i = 0; i < TRIES && ret == -EBUSY; i++)
		ret = try_device(dev);
	if (!ret)
		return true;
	print_message("# no loop devices here: %s\n", strerror(-ret));
	close(dev->memory);
	return false;
}

static void drop_device(struct device *dev)
{
	close(dev->fd);
	close(dev->memory);
}

static int open_disk(struct device *dev, bool readonly)
{
	struct block_config cfg = { .path = dev->path,
				    .engine = dev->engine,
				    .cache = dev->cache,
				    .format = dev->format,
				    .readonly = readonly };

	return block_open(&cfg, &dev->b, &dev->err);
}

static void close_disk(struct device *dev)
{
	if (dev->has_queue)
		disk_fini(&dev->d);
	dev->has_queue = false;
	block_destroy(dev->b);
	dev->b = NULL;
}

/* A disk of its own, with a queue. */
static void start(struct device *dev, uint64_t size)
{
	if (!make_device(dev, size))
		skip();
	if (open_disk(dev, false))
		fail_msg("%s", dev->err.text);
	disk_init(&dev->d, dev->b);
	dev->has_queue = true;
}

static void stop(struct device *dev)
{
	close_disk(dev);
	drop_device(dev);
}

/* --- block.h's promises ------------------------------------------------------------------ */

static struct block *contract_open(void *opaque, uint64_t size)
{
	struct device *dev = opaque;

	if (!make_device(dev, size))
		return NULL;
	if (open_disk(dev, false)) {
		print_message("# %s\n", dev->err.text);
		assert_int_equal(dev->engine, BLOCK_ENGINE_IO_URING);
		drop_device(dev);
		return NULL;
	}
	return dev->b;
}

static void contract_close(void *opaque, struct block *b)
{
	block_destroy(b);
	drop_device(opaque);
}

/* --- what is a device's own ---------------------------------------------------------------- */

static uint64_t used(const struct device *dev)
{
	struct stat st;

	assert_int_equal(fstat(dev->memory, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_limits(void **state)
{
	static const unsigned blocks[] = { 512, 4096 };
	struct device dev = { .engine = BLOCK_ENGINE_SYNC };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
		for (dev.cache = BLOCK_CACHE_WRITEBACK; dev.cache <= BLOCK_CACHE_NONE;
		     dev.cache++) {
			dev.block = blocks[i];
			start(&dev, 3 * MIB + 4096);
			assert_int_equal(dev.b->size, 3 * MIB + 4096);
			assert_int_equal(dev.b->limits.physical_block, blocks[i]);
			assert_true(is_pow2(dev.b->limits.discard_align));
			assert_true(dev.b->limits.discard_align >= blocks[i]);
			stop(&dev);
		}
	}
}

/* Space goes back to whom the device has it from; what is zeroed without unmap keeps it. */
static void test_space(void **state)
{
	static const enum block_engine engines[] = { BLOCK_ENGINE_SYNC, BLOCK_ENGINE_THREADS,
						     BLOCK_ENGINE_AUTO };
	struct block_req discard = { .op = BLOCK_DISCARD, .offset = MIB, .len = MIB };
	struct block_req zeroes = { .op = BLOCK_WRITE_ZEROES, .len = MIB };
	char *buf = malloc(2 * MIB), *zero = calloc(1, 2 * MIB);

	(void)state;
	assert_true(buf && zero);
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(engines); i++) {
		struct device dev = { .block = 4096,
				      .engine = engines[i / 2],
				      .cache = i % 2 ? BLOCK_CACHE_NONE : BLOCK_CACHE_WRITEBACK };

		memset(buf, 1, 2 * MIB);
		start(&dev, 2 * MIB);
		assert_int_equal(disk_write(&dev.d, 0, buf, 2 * MIB), 0);
		assert_int_equal(disk_flush(&dev.d), 0);
		assert_int_equal(used(&dev), 2 * MIB);
		assert_int_equal(disk_do(&dev.d, &discard), 0);
		assert_int_equal(used(&dev), MIB);
		zeroes.unmap = true;
		assert_int_equal(disk_do(&dev.d, &zeroes), 0);
		assert_int_equal(disk_flush(&dev.d), 0);
		assert_int_equal(used(&dev), 0);
		assert_int_equal(disk_write(&dev.d, 0, buf, MIB), 0);
		zeroes.unmap = false;
		assert_int_equal(disk_do(&dev.d, &zeroes), 0);
		assert_int_equal(disk_flush(&dev.d), 0);
		assert_int_equal(used(&dev), MIB);
		assert_int_equal(disk_read(&dev.d, 0, buf, 2 * MIB), 0);
		assert_memory_equal(buf, zero, 2 * MIB);
		stop(&dev);
	}
	free(buf);
	free(zero);
}

/* One sector of a block, in memory that fits nothing, and its neighbours stay. */
static void test_parts_of_blocks(void **state)
{
	struct device dev = { .block = 4096, .cache = BLOCK_CACHE_NONE };
	struct block_req part = { .op = BLOCK_WRITE_ZEROES, .offset = 1024, .len = 4096 };
	char *buf = malloc(MIB), *got = malloc(MIB);

	(void)state;
	assert_true(buf && got);
	for (dev.engine = BLOCK_ENGINE_AUTO; dev.engine <= BLOCK_ENGINE_SYNC; dev.engine++) {
		start(&dev, MIB);
		memset(buf, 1, MIB);
		assert_int_equal(disk_write(&dev.d, 0, buf, MIB), 0);
		memset(buf + 512, 2, 512);
		assert_int_equal(disk_write(&dev.d, 512, buf + 512, 512), 0);
		memset(buf + MIB - 512, 3, 512);
		assert_int_equal(disk_write(&dev.d, MIB - 512, buf + MIB - 512, 512), 0);
		memset(buf + 1024, 0, 4096);
		assert_int_equal(disk_do(&dev.d, &part), 0);
		assert_int_equal(disk_read(&dev.d, 0, got, MIB), 0);
		assert_memory_equal(got, buf, MIB);
		assert_int_equal(disk_read(&dev.d, 1536, got + 8, 512), 0);
		assert_memory_equal(got + 8, buf + 1536, 512);
		stop(&dev);
	}
	free(buf);
	free(got);
}

static void test_lock(void **state)
{
	struct device dev = { .block = 512 }, other;

	(void)state;
	start(&dev, MIB);
	other = dev;
	assert_int_equal(open_disk(&other, false), -EBUSY);
	assert_non_null(strstr(other.err.text, "is in use"));
	assert_int_equal(open_disk(&other, true), -EBUSY);
	stop(&dev);
}

/* A device has the length it has; when that has changed, a disk can follow. */
static void test_length(void **state)
{
	struct device dev = { .block = 512 };
	char buf[512];

	(void)state;
	start(&dev, MIB);
	assert_int_equal(block_resize(dev.b, 2 * MIB, &dev.err), -EOPNOTSUPP);
	assert_non_null(strstr(dev.err.text, "is a device of 1048576 bytes"));
	assert_int_equal(dev.b->size, MIB);
	assert_int_equal(ftruncate(dev.memory, 2 * MIB), 0);
	assert_int_equal(ioctl(dev.fd, LOOP_SET_CAPACITY), 0);
	assert_int_equal(block_resize(dev.b, 2 * MIB, &dev.err), 0);
	assert_int_equal(disk_read(&dev.d, 2 * MIB - 512, buf, 512), 0);
	stop(&dev);
}

/* qcow2 straight in a device: clusters smaller and larger than its blocks; its end is its end. */
static void test_qcow2(void **state)
{
	static const unsigned clusters[] = { 512, 65536 };
	struct qcow2_disk q;
	char *buf = malloc(MIB), *got = malloc(MIB);

	(void)state;
	assert_true(buf && got);
	if (!qcow2_disk_have_qemu())
		skip();
	qcow2_disk_init(&q);
	for (size_t i = 0; i < ARRAY_SIZE(clusters); i++) {
		struct device dev = { .block = 4096,
				      .cache = BLOCK_CACHE_NONE,
				      .format = BLOCK_QCOW2 };

		if (!make_device(&dev, 2 * MIB)) {
			qcow2_disk_destroy(&q);
			skip();
		}
		assert_int_equal(qcow2_disk_run(&q,
						"qemu-img create -f qcow2 -o cluster_size=%u %s 4M",
						clusters[i], dev.path),
				 0);
		for (size_t k = 0; k < MIB; k++)
			buf[k] = (char)(k * 7 + k / 4096);
		for (int round = 0; round < 2; round++) {
			if (open_disk(&dev, false))
				fail_msg("%s", dev.err.text);
			disk_init(&dev.d, dev.b);
			dev.has_queue = true;
			assert_int_equal(disk_write(&dev.d, 512, buf, MIB - 512), 0);
			assert_int_equal(disk_read(&dev.d, 512, got, MIB - 512), 0);
			assert_memory_equal(got, buf, MIB - 512);
			/* There is no room for more. */
			assert_int_equal(disk_write(&dev.d, 2 * MIB, buf, MIB), -ENOSPC);
			close_disk(&dev);
			assert_int_equal(qcow2_disk_run(&q, "qemu-img check -f qcow2 %s", dev.path),
					 0);
		}
		drop_device(&dev);
	}
	qcow2_disk_destroy(&q);
	free(buf);
	free(got);
}

static const struct {
	const char *name;
	unsigned block;
	enum block_engine engine;
	enum block_cache cache;
} kinds[] = {
	{ "sync writeback, 512", 512, BLOCK_ENGINE_SYNC, BLOCK_CACHE_WRITEBACK },
	{ "sync none, 4096", 4096, BLOCK_ENGINE_SYNC, BLOCK_CACHE_NONE },
	{ "threads none, 512", 512, BLOCK_ENGINE_THREADS, BLOCK_CACHE_NONE },
	{ "threads none, 4096", 4096, BLOCK_ENGINE_THREADS, BLOCK_CACHE_NONE },
	{ "io_uring none, 4096", 4096, BLOCK_ENGINE_IO_URING, BLOCK_CACHE_NONE },
	{ "io_uring writethrough, 4096", 4096, BLOCK_ENGINE_IO_URING, BLOCK_CACHE_WRITETHROUGH },
};

int main(void)
{
	static struct block_contract contracts[ARRAY_SIZE(kinds)];
	static struct device devices[ARRAY_SIZE(kinds)];
	static const struct CMUnitTest own[] = {
		cmocka_unit_test(test_limits), cmocka_unit_test(test_space),
		cmocka_unit_test(test_lock),   cmocka_unit_test(test_parts_of_blocks),
		cmocka_unit_test(test_length), cmocka_unit_test(test_qcow2),
	};
	static struct CMUnitTest tests[ARRAY_SIZE(kinds) * BLOCK_CONTRACT_TESTS + ARRAY_SIZE(own)];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		devices[i] = (struct device){ .block = kinds[i].block,
					      .engine = kinds[i].engine,
					      .cache = kinds[i].cache };
		contracts[i] = (struct block_contract){
			.name = kinds[i].name,
			.open = contract_open,
			.close = contract_close,
			.opaque = &devices[i],
			.discard_zeroes = true,
		};
		block_contract_add(&tests[i * BLOCK_CONTRACT_TESTS], &contracts[i]);
	}
	memcpy(&tests[ARRAY_SIZE(kinds) * BLOCK_CONTRACT_TESTS], own, sizeof(own));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
