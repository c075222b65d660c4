/* SPDX-License-Identifier: MIT */
/* What a vCPU's exits touched: the table of accesses, its names, what finds no place in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/acct.h"

struct fixture {
	struct bus bus;
	struct device dev;
	struct acct acct;
};

static uint64_t dev_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)dev;
	(void)offset;
	(void)width;
	return 0;
}

static void dev_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	(void)dev;
	(void)offset;
	(void)width;
	(void)value;
}

static const char *dev_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	if (offset)
		return NULL;
	return write ? "command" : "status";
}

static const struct bus_ops dev_bus_ops = {
	.max_width = 1,
	.read = dev_read,
	.write = dev_write,
	.reg_name = dev_reg_name,
};

static int setup(void **state)
{
	static const struct device_ops ops = { .type = "dev" };
	struct fixture *f = calloc(1, sizeof(*f));

	bus_init(&f->bus);
	device_init(&f->dev, &ops, "dev0");
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x1f0, 8, &f->dev, &dev_bus_ops), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0x1f0, 8, &f->dev, &dev_bus_ops), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_destroy(&f->bus);
	free(f);
	return 0;
}

static void test_key(void **state)
{
	static const uint64_t addrs[] = { 0, 0x3f8, 0xffff, 0xfee00000, (1ull << 52) - 1 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		for (unsigned k = 0; k < 16; k++) {
			enum bus_space space = k & 1 ? BUS_MMIO : BUS_PIO;
			unsigned width = 1u << (k >> 2);
			bool write = k & 2;
			uint64_t key = acct_key(space, write, width, addrs[i]);

			assert_true(key != 0);
			assert_int_equal(acct_key_addr(key), addrs[i]);
			assert_int_equal(acct_key_width(key), width);
			assert_int_equal(acct_key_write(key), write);
			assert_int_equal(acct_key_space(key), space);
		}
	}
}

static struct acct_site *site(struct fixture *f, enum bus_space space, bool write, unsigned width,
			      uint64_t addr)
{
	return acct_site(&f->acct, &f->bus, acct_key(space, write, width, addr));
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	struct acct_site *s = site(f, BUS_PIO, true, 1, 0x1f0);

	assert_string_equal(s->device, "dev0");
	assert_string_equal(s->reg, "command");
	assert_string_equal(site(f, BUS_PIO, false, 1, 0x1f0)->reg, "status");
	assert_string_equal(site(f, BUS_PIO, false, 1, 0x1f1)->device, "dev0");
	assert_null(site(f, BUS_PIO, false, 1, 0x1f1)->reg);
	assert_null(site(f, BUS_PIO, false, 1, 0x1f8)->device);
	/* The same number in another space, at another width, is another access. */
	assert_ptr_not_equal(site(f, BUS_MMIO, true, 1, 0x1f0), s);
	assert_ptr_not_equal(site(f, BUS_PIO, true, 2, 0x1f0), s);
	assert_ptr_equal(site(f, BUS_PIO, true, 1, 0x1f0), s);
}

static void test_counts(void **state)
{
	struct fixture *f = *state;
	struct acct_site *s = site(f, BUS_PIO, true, 1, 0x1f0);

	acct_access(s, 1, 100);
	acct_access(s, 256, 700);
	acct_access(s, 1, 50);
	assert_int_equal(s->count, 3);
	assert_int_equal(s->accesses, 258);
	assert_int_equal(s->ticks, 850);
	assert_int_equal(s->max, 700);
	acct_exit(&f->acct, ACCT_IO_OUT, 100);
	acct_exit(&f->acct, ACCT_IO_OUT, 300);
	assert_int_equal(f->acct.rows[ACCT_IO_OUT].total, 400);
	assert_int_equal(f->acct.rows[ACCT_IO_OUT].max, 300);
}

/* A guest may invent as many addresses as it likes: every access is still counted once. */
static void test_full(void **state)
{
	struct fixture *f = *state;
	uint64_t single = 0, lost = 0;
	unsigned n = 5 * ACCT_SITES;

	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < n; i++)
			acct_access(site(f, BUS_MMIO, i & 1, 4, 0xd0000000ull + i * 4ull), 1, 1);
	for (unsigned i = 0; i < ACCT_SITES; i++) {
		uint64_t count = counter_get(&f->acct.sites[i].count);

		assert_true(count == 0 || count == 2);
		single += count;
	}
	for (unsigned i = 0; i < BUS_NR_SPACES * 2; i++)
		lost += counter_get(&f->acct.lost[i / 2][i % 2].count);
	assert_int_equal(single + lost, 2ull * n);
	assert_true(single >= ACCT_SITES);
	assert_int_equal(f->acct.lost[BUS_PIO][0].count, 0);
	assert_true(f->acct.lost[BUS_MMIO][0].count > 0);
	assert_true(f->acct.lost[BUS_MMIO][1].count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
