/* SPDX-License-Identifier: MIT */
/* block.h's promises, kept by qcow2 images over each engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/block_contract.h"
#include "tests/unit/qcow2_disk.h"

static const struct {
	const char *name;
	const char *options; /* of qemu-img create */
	enum block_engine engine;
	enum block_cache cache;
} kinds[] = {
	{ "sync", "compat=1.1", BLOCK_ENGINE_SYNC, BLOCK_CACHE_WRITEBACK },
	{ "auto, small clusters", "cluster_size=4096", BLOCK_ENGINE_AUTO, BLOCK_CACHE_NONE },
	{ "threads, version 2", "compat=0.10,cluster_size=512", BLOCK_ENGINE_THREADS,
	  BLOCK_CACHE_WRITETHROUGH },
};

int main(void)
{
	static struct CMUnitTest tests[ARRAY_SIZE(kinds) * BLOCK_CONTRACT_TESTS];
	static struct block_contract contracts[ARRAY_SIZE(kinds)];
	static struct qcow2_disk disks[ARRAY_SIZE(kinds)];
	int failed;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		qcow2_disk_init(&disks[i]);
		disks[i].options = kinds[i].options;
		disks[i].engine = kinds[i].engine;
		disks[i].cache = kinds[i].cache;
		contracts[i] = (struct block_contract){
			.name = kinds[i].name,
			.open = qcow2_disk_new,
			.close = qcow2_disk_drop,
			.opaque = &disks[i],
			.discard_zeroes = true,
		};
		block_contract_add(&tests[i * BLOCK_CONTRACT_TESTS], &contracts[i]);
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		qcow2_disk_destroy(&disks[i]);
	return failed;
}
