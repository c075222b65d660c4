/* SPDX-License-Identifier: MIT */
/* base/util.h: arithmetic, loads and stores, CRC, whole reads and writes, number parsing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

static void align(void **state)
{
	(void)state;
	assert_int_equal(align_down(0x1fff, 0x1000), 0x1000);
	assert_int_equal(align_down(0x1000, 0x1000), 0x1000);
	assert_int_equal(align_up(0x1001, 0x1000), 0x2000);
	assert_int_equal(align_up(0x1000, 0x1000), 0x1000);
	assert_int_equal(align_up(0, 0x1000), 0);
	assert_true(align_up(UINT64_MAX, 0x1000) == 0);
	assert_true(is_pow2(1));
	assert_true(is_pow2(1ull << 63));
	assert_false(is_pow2(0));
	assert_false(is_pow2(3));
}

static void overlap(void **state)
{
	(void)state;
	assert_true(ranges_overlap(0, 2, 1, 2));
	assert_true(ranges_overlap(1, 2, 0, 2));
	assert_true(ranges_overlap(0, 10, 5, 1));
	assert_false(ranges_overlap(0, 2, 2, 2));
	assert_false(ranges_overlap(2, 2, 0, 2));
	assert_false(ranges_overlap(4, 0, 0, 4));
}

static void little_endian(void **state)
{
	uint8_t b[9] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };

	(void)state;
	assert_int_equal(load_le(b + 1, 1), 0x01);
	assert_int_equal(load_le(b + 1, 2), 0x0201);
	assert_int_equal(load_le(b + 1, 3), 0x030201);
	assert_int_equal(load_le(b + 1, 4), 0x04030201);
	assert_true(load_le(b + 1, 8) == 0x0807060504030201ull);
	store_le(b + 1, 3, 0xaabbccddull);
	assert_int_equal(b[0], 0);
	assert_int_equal(b[1], 0xdd);
	assert_int_equal(b[3], 0xbb);
	assert_int_equal(b[4], 4);
	assert_int_equal(width_mask(1), 0xff);
	assert_int_equal(width_mask(4), 0xffffffff);
	assert_true(width_mask(7) == 0xffffffffffffffull);
	assert_true(width_mask(8) == UINT64_MAX);
}

static void product(void **state)
{
	(void)state;
	assert_true(mul_div(UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_MAX);
	assert_int_equal(mul_div(10, 3, 4), 7);
	assert_true(mul_div(1ull << 60, 3579545, 1000000000) ==
		    (uint64_t)(((unsigned __int128)1 << 60) * 3579545 / 1000000000));
}

static void crc(void **state)
{
	const char *check = "123456789";

	(void)state;
	assert_int_equal(util_crc32(0, check, 9), 0xcbf43926);
	assert_int_equal(util_crc32(0, "", 0), 0);
	assert_int_equal(util_crc32(util_crc32(0, check, 4), check + 4, 5), 0xcbf43926);
}

static void whole_files(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC), fds[2];
	char buf[8];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(util_pwrite_all(fd, "abcdef", 6, 2), 0);
	assert_int_equal(util_pread_all(fd, buf, 8, 0), 0);
	assert_memory_equal(buf, "\0\0abcdef", 8);
	assert_int_equal(util_pread_all(fd, buf, 8, 1), -ENODATA);
	assert_int_equal(util_pread_all(fd, buf, 1, 100), -ENODATA);
	assert_int_equal(util_pread_all(fd, buf, 0, 100), 0);
	assert_int_equal(util_pread_all(fd, buf, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(util_write_all(fd, "xy", 2), 0);
	assert_int_equal(util_pread_all(fd, buf, 2, 0), 0);
	assert_memory_equal(buf, "xy", 2);
	close(fd);
	assert_int_equal(util_pread_all(fd, buf, 1, 0), -EBADF);
	assert_int_equal(util_pwrite_all(fd, buf, 1, 0), -EBADF);
	assert_int_equal(util_write_all(fd, buf, 1), -EBADF);

	/* A pipe that is full takes the first part only. */
	assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);

	static const char big[1 << 20];

	assert_int_equal(util_write_all(fds[1], big, sizeof(big)), -EAGAIN);
	close(fds[0]);
	close(fds[1]);
}

static void sizes(void **state)
{
	static const struct {
		const char *s;
		int ret;
		uint64_t v;
	} cases[] = {
		{ "0", 0, 0 },
		{ "1", 0, 1 },
		{ "007", 0, 7 },
		{ "4K", 0, 4 * KIB },
		{ "4k", 0, 4 * KIB },
		{ "512M", 0, 512 * MIB },
		{ "512m", 0, 512 * MIB },
		{ "2G", 0, 2 * GIB },
		{ "1t", 0, 1024 * GIB },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "8388607T", 0, 8388607ull << 40 },
		{ "8388608T", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
		{ "\xb2", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 0xdead;

		assert_int_equal(util_parse_size(cases[i].s, &v), cases[i].ret);
		assert_true(v == (cases[i].ret ? 0xdead : cases[i].v));
	}
}

static void numbers(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_int_equal(util_parse_uint("1", 1, 255, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(util_parse_uint("255", 1, 255, &v), 0);
	assert_int_equal(v, 255);
	assert_int_equal(util_parse_uint("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_int_equal(util_parse_uint("0", 1, 255, &v), -ERANGE);
	assert_int_equal(util_parse_uint("256", 1, 255, &v), -ERANGE);
	assert_int_equal(util_parse_uint("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(util_parse_uint("", 0, 9, &v), -EINVAL);
	assert_int_equal(util_parse_uint("1K", 0, 9999, &v), -EINVAL);
	assert_int_equal(util_parse_uint("-1", 0, 9, &v), -EINVAL);
	assert_int_equal(v, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(align),         cmocka_unit_test(overlap),
		cmocka_unit_test(little_endian), cmocka_unit_test(product),
		cmocka_unit_test(crc),           cmocka_unit_test(whole_files),
		cmocka_unit_test(sizes),         cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
