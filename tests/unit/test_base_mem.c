/* SPDX-License-Identifier: MIT */
/* base/mem.h: what a guest address may and may not lead to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/platform.h"

#define LOW PLATFORM_LOW_RAM_END
#define HIGH PLATFORM_HIGH_RAM_BASE

static void sizes(void **state)
{
	struct mem m;

	(void)state;
	assert_int_equal(mem_init(&m, 0), -EINVAL);
	assert_int_equal(mem_init(&m, MIB - 4096), -EINVAL);
	assert_int_equal(mem_init(&m, MIB + 1), -EINVAL);
	assert_int_equal(mem_init(&m, (1ull << 46) + 4096), -EINVAL);
	assert_int_equal(mem_init(&m, UINT64_MAX & ~0xfffull), -EINVAL);
	assert_int_equal(mem_init(&m, MIB), 0);
	assert_int_equal(mem_low_end(&m), MIB);
	assert_int_equal(mem_high_end(&m), 0);
	mem_destroy(&m);
	/* Destroyed, it leads nowhere. */
	assert_null(mem_at(&m, 0, 1));
	mem_destroy(&m);
}

static void edges(void **state)
{
	struct mem m;
	char *p;

	(void)state;
	assert_int_equal(mem_init(&m, 64 * MIB), 0);
	p = mem_at(&m, 0, 1);
	assert_non_null(p);
	assert_true((uintptr_t)p % (2 * MIB) == 0); /* huge pages */
	assert_ptr_equal(mem_at(&m, 0, 64 * MIB), p);
	assert_ptr_equal(mem_at(&m, 64 * MIB - 1, 1), p + 64 * MIB - 1);
	assert_null(mem_at(&m, 64 * MIB - 1, 2));
	assert_null(mem_at(&m, 64 * MIB, 1));
	assert_null(mem_at(&m, 0, 64 * MIB + 1));
	assert_null(mem_at(&m, 0, UINT64_MAX));
	/* Nothing is no range anywhere. */
	assert_null(mem_at(&m, 0, 0));
	assert_null(mem_at(&m, 64 * MIB, 0));
	/* Ends that wrap around. */
	assert_null(mem_at(&m, UINT64_MAX, 1));
	assert_null(mem_at(&m, UINT64_MAX, 2));
	assert_null(mem_at(&m, UINT64_MAX - 7, 16));
	assert_null(mem_at(&m, 1, UINT64_MAX));
	assert_null(mem_at(&m, 4096, UINT64_MAX - 4095));
	assert_null(mem_at(&m, 4096, UINT64_MAX - 4094));
	/* Zeroed, and the last byte is really there. */
	p[64 * MIB - 1] = 1;
	assert_int_equal(p[0], 0);
	mem_destroy(&m);
}

static void hole(void **state)
{
	struct mem m;
	char *low, *high;

	(void)state;
	assert_int_equal(mem_init(&m, LOW + 2 * GIB), 0);
	assert_true(mem_low_end(&m) == LOW);
	assert_true(mem_high_end(&m) == HIGH + 2 * GIB);
	low = mem_at(&m, LOW - 1, 1);
	high = mem_at(&m, HIGH, 1);
	assert_non_null(low);
	/* One mapping behind both, but no range across. */
	assert_ptr_equal(low + 1, high);
	assert_null(mem_at(&m, LOW - 1, 2));
	assert_null(mem_at(&m, LOW, 1));
	assert_null(mem_at(&m, HIGH - 1, 1));
	assert_null(mem_at(&m, HIGH - 1, 2));
	assert_null(mem_at(&m, LOW - 4096, HIGH));
	assert_null(mem_at(&m, 0, LOW + 1));
	assert_non_null(mem_at(&m, HIGH, 2 * GIB));
	assert_null(mem_at(&m, HIGH, 2 * GIB + 1));
	assert_null(mem_at(&m, HIGH + 2 * GIB, 1));
	assert_non_null(mem_at(&m, HIGH + 2 * GIB - 1, 1));
	assert_null(mem_at(&m, PLATFORM_IOAPIC_BASE, 4));
	assert_null(mem_at(&m, PLATFORM_LAPIC_BASE, 4));
	mem_destroy(&m);

	/* Exactly up to the hole, and one page more. */
	assert_int_equal(mem_init(&m, LOW), 0);
	assert_int_equal(mem_high_end(&m), 0);
	assert_null(mem_at(&m, HIGH, 1));
	mem_destroy(&m);
	assert_int_equal(mem_init(&m, LOW + 4096), 0);
	assert_true(mem_high_end(&m) == HIGH + 4096);
	assert_non_null(mem_at(&m, HIGH, 4096));
	assert_null(mem_at(&m, HIGH, 4097));
	mem_destroy(&m);
}

static void rom(void **state)
{
	char image[8192] = "firmware", buf[8] = { 0 };
	const void *at;
	struct mem m;

	(void)state;
	assert_int_equal(mem_init(&m, LOW + MIB), 0);
	assert_int_equal(mem_add_rom(&m, 0xffffe000, image, sizeof(image)), 0);
	memset(image, 0, sizeof(image)); /* it has been copied */
	assert_null(mem_at(&m, 0xffffe000, 1));
	at = mem_at_const(&m, 0xffffe000, 8192);
	assert_non_null(at);
	assert_ptr_not_equal(at, image);
	assert_null(mem_at_const(&m, 0xffffe000, 8193)); /* not on into high RAM */
	assert_null(mem_at_const(&m, 0xffffdfff, 1));
	assert_int_equal(mem_read(&m, 0xffffe000, buf, 8), 0);
	assert_memory_equal(buf, "firmware", 8);
	assert_int_equal(mem_write(&m, 0xffffe000, "overwrit", 8), -EFAULT);
	assert_memory_equal(at, "firmware", 8);
	/* In its place among the regions, and no RAM. */
	assert_int_equal(m.nr_regions, 3);
	for (unsigned i = 0; i < m.nr_regions; i++)
		assert_true(!i || m.regions[i - 1].gpa < m.regions[i].gpa);
	assert_true(m.ram_size == LOW + MIB);
	assert_true(mem_high_end(&m) == HIGH + MIB);
	assert_non_null(mem_at(&m, HIGH, 1));
	/* Tracking a ROM would be out of the bitmap. */
	assert_int_equal(mem_dirty_start(&m), 0);
	assert_null(mem_at(&m, 0xffffe000, 1));
	assert_non_null(mem_at_const(&m, 0xffffe000, 1));
	mem_destroy(&m);
}

static void rom_refused(void **state)
{
	static const char image[8192];
	struct mem m;

	(void)state;
	assert_int_equal(mem_init(&m, MIB), 0);
	assert_int_equal(mem_add_rom(&m, MIB, image, 0), -EINVAL);
	assert_int_equal(mem_add_rom(&m, MIB + 1, image, 4096), -EINVAL);
	assert_int_equal(mem_add_rom(&m, MIB, image, 4095), -EINVAL);
	assert_int_equal(mem_add_rom(&m, UINT64_MAX - 4095, image, 8192), -EINVAL);
	assert_int_equal(mem_add_rom(&m, 0, image, 4096), -EEXIST);
	assert_int_equal(mem_add_rom(&m, MIB - 4096, image, 8192), -EEXIST);
	for (unsigned i = 1; i < MEM_MAX_REGIONS; i++)
		assert_int_equal(mem_add_rom(&m, i * MIB, image, 4096), 0);
	assert_int_equal(mem_add_rom(&m, GIB, image, 4096), -ENOSPC);
	mem_destroy(&m);
}

static void copies(void **state)
{
	char buf[4] = "abc";
	struct mem m;

	(void)state;
	assert_int_equal(mem_init(&m, MIB), 0);
	assert_int_equal(mem_write(&m, MIB - 4, "wxyz", 4), 0);
	assert_int_equal(mem_read(&m, MIB - 4, buf, 4), 0);
	assert_memory_equal(buf, "wxyz", 4);
	/* All or nothing. */
	assert_int_equal(mem_write(&m, MIB - 3, "1234", 4), -EFAULT);
	assert_int_equal(mem_read(&m, MIB - 3, buf, 4), -EFAULT);
	assert_memory_equal(buf, "wxyz", 4);
	assert_int_equal(mem_read(&m, MIB - 4, buf, 4), 0);
	assert_memory_equal(buf, "wxyz", 4);
	assert_int_equal(mem_read(&m, 0, buf, 0), -EFAULT);
	mem_destroy(&m);
}

static void dirty(void **state)
{
	char buf[16];
	struct mem m;

	(void)state;
	assert_int_equal(mem_init(&m, LOW + MIB), 0);
	assert_int_equal(mem_dirty_fetch(&m, 0), 0);
	assert_int_equal(mem_dirty_start(&m), 0);
	assert_int_equal(mem_dirty_start(&m), -EBUSY);
	assert_non_null(mem_at_const(&m, 0x1000, 4));
	assert_int_equal(mem_read(&m, 0x1000, buf, 16), 0);
	assert_int_equal(mem_dirty_fetch(&m, 0), 0);
	/* Both pages of a range that straddles them, none beyond. */
	assert_non_null(mem_at(&m, 0x1fff, 2));
	assert_non_null(mem_at(&m, 0x3000, 0x1000));
	assert_int_equal(mem_write(&m, 63 * 4096 + 4095, "ab", 2), 0);
	assert_true(mem_dirty_fetch(&m, 0) == (0xeull | 1ull << 63));
	assert_int_equal(mem_dirty_fetch(&m, 0), 0);
	assert_int_equal(mem_dirty_fetch(&m, 1), 1);
	/* A refused range marks nothing. */
	assert_null(mem_at(&m, LOW - 1, 2));
	assert_int_equal(mem_dirty_fetch(&m, (LOW - 1) / 4096 / 64), 0);
	/* High RAM follows low RAM in the bitmap. */
	assert_non_null(mem_at(&m, HIGH, 1));
	assert_int_equal(mem_dirty_fetch(&m, LOW / 4096 / 64), 1);
	assert_non_null(mem_at(&m, HIGH + MIB - 1, 1));
	assert_true(mem_dirty_fetch(&m, (LOW + MIB) / 4096 / 64 - 1) == 1ull << 63);
	/* Past the end there is nothing to fetch. */
	assert_int_equal(mem_dirty_fetch(&m, (LOW + MIB) / 4096 / 64), 0);
	assert_int_equal(mem_dirty_fetch(&m, SIZE_MAX), 0);
	mem_dirty_stop(&m);
	assert_non_null(mem_at(&m, 0, 1));
	assert_int_equal(mem_dirty_fetch(&m, 0), 0);
	mem_destroy(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes), cmocka_unit_test(edges),       cmocka_unit_test(hole),
		cmocka_unit_test(rom),   cmocka_unit_test(rom_refused), cmocka_unit_test(copies),
		cmocka_unit_test(dirty),
	};

	return cmocka_run_group_tests_name("base_mem", tests, NULL, NULL);
}
