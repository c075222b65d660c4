/* SPDX-License-Identifier: MIT */
/* Raw images by every engine and cache mode, through the tests of block_contract.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "backends/block/image.h"
#include "tests/unit/block_contract.h"

struct raw {
	enum block_engine engine;
	enum block_cache cache;
	bool sqpoll;
	const char *dir;
	char path[64];
};

static struct block *raw_open_new(void *opaque, uint64_t size)
{
	struct raw *r = opaque;
	struct block_config cfg = {
		.path = r->path, .engine = r->engine, .cache = r->cache, .sqpoll = r->sqpoll
	};
	struct block *b;
	struct err err;
	int fd;

	snprintf(r->path, sizeof(r->path), "%s/bantam-engine-XXXXXX", r->dir);
	fd = mkstemp(r->path);
	if (fd < 0) {
		print_message("# %s: no files here\n", r->dir);
		return NULL;
	}
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
	if (block_open(&cfg, &b, &err)) {
		print_message("# %s\n", err.text);
		/* A host without io_uring, a file system without O_DIRECT: said, and not tested. */
		assert_true(r->engine == BLOCK_ENGINE_IO_URING || r->cache == BLOCK_CACHE_NONE);
		unlink(r->path);
		return NULL;
	}
	return b;
}

static void raw_close(void *opaque, struct block *b)
{
	struct raw *r = opaque;

	block_destroy(b);
	unlink(r->path);
}

#define NR_KINDS 16

int main(void)
{
	static const struct {
		const char *name;
		enum block_engine engine;
		enum block_cache cache;
		bool sqpoll;
		const char *dir;
	} kinds[NR_KINDS] = {
		{ "sync writeback", BLOCK_ENGINE_SYNC, BLOCK_CACHE_WRITEBACK, false, "/var/tmp" },
		{ "sync none", BLOCK_ENGINE_SYNC, BLOCK_CACHE_NONE, false, "/var/tmp" },
		{ "sync writethrough", BLOCK_ENGINE_SYNC, BLOCK_CACHE_WRITETHROUGH, false,
		  "/dev/shm" },
		{ "sync unsafe", BLOCK_ENGINE_SYNC, BLOCK_CACHE_UNSAFE, false, "/var/tmp" },
		{ "threads writeback", BLOCK_ENGINE_THREADS, BLOCK_CACHE_WRITEBACK, false,
		  "/var/tmp" },
		{ "threads none", BLOCK_ENGINE_THREADS, BLOCK_CACHE_NONE, false, "/var/tmp" },
		{ "threads writethrough", BLOCK_ENGINE_THREADS, BLOCK_CACHE_WRITETHROUGH, false,
		  "/dev/shm" },
		{ "threads unsafe", BLOCK_ENGINE_THREADS, BLOCK_CACHE_UNSAFE, false, "/dev/shm" },
		{ "io_uring writeback", BLOCK_ENGINE_IO_URING, BLOCK_CACHE_WRITEBACK, false,
		  "/var/tmp" },
		{ "io_uring none", BLOCK_ENGINE_IO_URING, BLOCK_CACHE_NONE, false, "/var/tmp" },
		{ "io_uring writethrough", BLOCK_ENGINE_IO_URING, BLOCK_CACHE_WRITETHROUGH, false,
		  "/var/tmp" },
		{ "io_uring unsafe", BLOCK_ENGINE_IO_URING, BLOCK_CACHE_UNSAFE, false, "/dev/shm" },
		{ "sqpoll none", BLOCK_ENGINE_IO_URING, BLOCK_CACHE_NONE, true, "/var/tmp" },
		{ "sqpoll writeback", BLOCK_ENGINE_IO_URING, BLOCK_CACHE_WRITEBACK, true,
		  "/var/tmp" },
		{ "auto on tmpfs", BLOCK_ENGINE_AUTO, BLOCK_CACHE_WRITEBACK, false, "/dev/shm" },
		{ "none on tmpfs", BLOCK_ENGINE_AUTO, BLOCK_CACHE_NONE, false, "/dev/shm" },
	};
	static struct CMUnitTest tests[NR_KINDS * BLOCK_CONTRACT_TESTS];
	static struct raw raws[NR_KINDS];
	static struct block_contract contracts[NR_KINDS];

	for (unsigned i = 0; i < NR_KINDS; i++) {
		raws[i] = (struct raw){ .engine = kinds[i].engine,
					.cache = kinds[i].cache,
					.sqpoll = kinds[i].sqpoll,
					.dir = kinds[i].dir };
		contracts[i] = (struct block_contract){ .name = kinds[i].name,
							.open = raw_open_new,
							.close = raw_close,
							.opaque = &raws[i],
							.discard_zeroes = true };
		block_contract_add(&tests[i * BLOCK_CONTRACT_TESTS], &contracts[i]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
