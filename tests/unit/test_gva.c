/* SPDX-License-Identifier: MIT */
/*
 * Guest page tables of every kind, built by hand (Intel SDM vol. 3A, 4.3 to 4.5), and what
 * they must not do: lead outside of RAM, or anywhere from an entry that is not present.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/gva.h"

#define RAM (8 * MIB)
#define CR0_PE 0x1ull
#define CR0_PG 0x80000000ull
#define CR4_PSE 0x10ull
#define CR4_PAE 0x20ull
#define CR4_LA57 0x1000ull
#define EFER_LMA 0x400ull
#define P 1ull
#define PS 0x80ull
#define NX (1ull << 63)

/* Where the tables of the tests lie, top one first. */
#define T5 0x1000ull
#define T4 0x2000ull
#define T3 0x3000ull
#define T2 0x4000ull
#define T1 0x5000ull
#define PAGE 0x9000ull

static const struct gva_space real = { .cr0 = 0x10 };
static const struct gva_space flat = { .cr0 = CR0_PE };
static const struct gva_space narrow = { .cr0 = CR0_PE | CR0_PG, .cr3 = T2 | 0x18 };
static const struct gva_space pse = { .cr0 = CR0_PE | CR0_PG, .cr3 = T2, .cr4 = CR4_PSE };
static const struct gva_space pae = { .cr0 = CR0_PE | CR0_PG, .cr3 = T3 + 0x40, .cr4 = CR4_PAE };
static const struct gva_space four = {
	.cr0 = CR0_PE | CR0_PG,
	.cr3 = T4 | NX | 0xfff,
	.cr4 = CR4_PAE,
	.efer = EFER_LMA,
};
static const struct gva_space five = {
	.cr0 = CR0_PE | CR0_PG,
	.cr3 = T5,
	.cr4 = CR4_PAE | CR4_LA57,
	.efer = EFER_LMA,
};

static int setup(void **state)
{
	struct mem *m = calloc(1, sizeof(*m));

	*state = m;
	return !m || mem_init(m, RAM) ? -1 : 0;
}

static int teardown(void **state)
{
	mem_destroy(*state);
	free(*state);
	return 0;
}

static void poke(struct mem *m, uint64_t gpa, unsigned width, uint64_t v)
{
	void *p = mem_at(m, gpa, width);

	assert_non_null(p);
	store_le(p, width, v);
}

static void leads(const struct mem *m, const struct gva_space *s, uint64_t gva, uint64_t want)
{
	uint64_t gpa = ~0ull;

	assert_int_equal(gva_translate(m, s, gva, &gpa), 0);
	assert_int_equal(gpa, want);
}

static void faults(const struct mem *m, const struct gva_space *s, uint64_t gva)
{
	uint64_t gpa = 0x1234;
	char c;

	assert_int_equal(gva_translate(m, s, gva, &gpa), -EFAULT);
	assert_int_equal(gpa, 0x1234);
	assert_int_equal(gva_read(m, s, gva, &c, 1), -EFAULT);
}

static void no_paging(void **state)
{
	struct mem *m = *state;
	uint32_t v;

	leads(m, &real, 0, 0);
	leads(m, &flat, 0xfffffff0, 0xfffffff0);
	faults(m, &flat, 0x100000000);
	poke(m, 0x2ffe, 4, 0xcafe1234);
	assert_int_equal(gva_read(m, &flat, 0x2ffe, &v, 4), 0);
	assert_int_equal(v, 0xcafe1234);
	assert_int_equal(gva_read(m, &flat, RAM - 2, &v, 4), -EFAULT);
	/* a 32-bit system may leave LMA's neighbours set: without PG nothing counts */
	leads(m, &(struct gva_space){ .cr4 = CR4_PAE, .efer = EFER_LMA }, 0x5000, 0x5000);
}

static void two_levels(void **state)
{
	struct mem *m = *state;
	uint64_t gva = 0xc0345678;

	faults(m, &narrow, gva);
	poke(m, T2 + (gva >> 22) * 4, 4, T1 | 0xe66 | P);
	faults(m, &narrow, gva);
	poke(m, T1 + (gva >> 12 & 1023) * 4, 4, 0xabcde000 | 0x80 | P);
	leads(m, &narrow, gva, 0xabcde678);
	poke(m, T1 + (gva >> 12 & 1023) * 4, 4, 0xabcde000);
	faults(m, &narrow, gva);
	faults(m, &narrow, 0x100000000 | gva);
}

static void four_megabytes(void **state)
{
	struct mem *m = *state;
	uint64_t gva = 0x81234567;

	poke(m, T2 + (gva >> 22) * 4, 4, 0x00c00000 | PS | P);
	leads(m, &pse, gva, 0x00c00000 | (gva & 0x3fffff));
	/* PSE-36: bits 20:13 are 39:32; the lowest of a page's own are the PAT's and others' */
	poke(m, T2 + (gva >> 22) * 4, 4, 0x00c00000 | 0xa5 << 13 | 0x1000 | PS | P);
	leads(m, &pse, gva, 0xa500c00000 | (gva & 0x3fffff));
	/* without CR4.PSE the bit says nothing: it is a table */
	poke(m, T2 + (gva >> 22) * 4, 4, T1 | PS | P);
	poke(m, T1 + (gva >> 12 & 1023) * 4, 4, PAGE | P);
	leads(m, &narrow, gva, PAGE | 0x567);
}

static void pae_pages(void **state)
{
	struct mem *m = *state;
	uint64_t gva = 0xc0600123;

	faults(m, &pae, gva);
	poke(m, T3 + 0x40 + 3 * 8, 8, T2 | P);
	poke(m, T2 + (gva >> 21 & 511) * 8, 8, T1 | P);
	poke(m, T1 + (gva >> 12 & 511) * 8, 8, 0x123456000 | NX | P);
	leads(m, &pae, gva, 0x123456123);
	/* 2 MiB, its bits 20:12 not of the address */
	poke(m, T2 + (gva >> 21 & 511) * 8, 8, 0x7ffe01000 | PS | P);
	leads(m, &pae, gva, 0x7ffe00123);
	/* a pointer table has no large pages */
	poke(m, T3 + 0x40 + 3 * 8, 8, T2 | PS | P);
	faults(m, &pae, gva);
	faults(m, &pae, 0x100000000 | gva);
}

static void four_levels(void **state)
{
	struct mem *m = *state;
	uint64_t gva = 0xffffffff81234567;

	poke(m, T4 + 511 * 8, 8, T3 | 0x63);
	poke(m, T3 + 510 * 8, 8, T2 | 0x63);
	poke(m, T2 + (gva >> 21 & 511) * 8, 8, T1 | NX | 0x63);
	faults(m, &four, gva);
	poke(m, T1 + (gva >> 12 & 511) * 8, 8, PAGE | PS | P);
	leads(m, &four, gva, PAGE | 0x567);
	/* bits above the address are others' */
	poke(m, T1 + (gva >> 12 & 511) * 8, 8, PAGE | 0x7ff0000000000000 | P);
	leads(m, &four, gva, PAGE | 0x567);
	poke(m, T2 + (gva >> 21 & 511) * 8, 8, 0x40000000 | 0x1000 | PS | P);
	leads(m, &four, gva, 0x40000000 | (gva & 0x1fffff));
	poke(m, T3 + 510 * 8, 8, 0x1c0000000 | 0x2000 | PS | P);
	leads(m, &four, gva, 0x1c0000000 | (gva & 0x3fffffff));
	/* 512 GiB pages do not exist */
	poke(m, T4 + 511 * 8, 8, T3 | PS | P);
	faults(m, &four, gva);
}

static void not_canonical(void **state)
{
	struct mem *m = *state;

	poke(m, T5, 8, T4 | P);
	poke(m, T5 + 256 * 8, 8, T4 | P);
	poke(m, T4, 8, T3 | P);
	poke(m, T4 + 256 * 8, 8, T3 | P);
	poke(m, T3, 8, PS | P);
	leads(m, &four, 0x123, 0x123);
	leads(m, &four, 0xffff800000000123, 0x123);
	faults(m, &four, 0x800000000123);
	faults(m, &four, 0x7fff800000000123);
	leads(m, &five, 0x800000000123, 0x123);
	leads(m, &five, 0xff00000000000123, 0x123);
	faults(m, &five, 0x100000000000123);
}

static void five_levels(void **state)
{
	struct mem *m = *state;
	uint64_t gva = 0xff11223344556677;

	poke(m, T5 + (gva >> 48 & 511) * 8, 8, T4 | P);
	poke(m, T4 + (gva >> 39 & 511) * 8, 8, T3 | P);
	poke(m, T3 + (gva >> 30 & 511) * 8, 8, T2 | P);
	poke(m, T2 + (gva >> 21 & 511) * 8, 8, T1 | P);
	poke(m, T1 + (gva >> 12 & 511) * 8, 8, PAGE | P);
	leads(m, &five, gva, PAGE | 0x677);
	poke(m, T5 + (gva >> 48 & 511) * 8, 8, T4 | PS | P);
	faults(m, &five, gva);
}

/* Tables in the hole, past the end and at the end of all: a fault, nothing else. */
static void tables_outside(void **state)
{
	struct mem *m = *state;
	static const uint64_t places[] = { RAM, 0xfee00000, 0x000ffffffffff000 };
	struct gva_space s = four;

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		s.cr3 = places[i];
		faults(m, &s, 0);
		poke(m, T4, 8, places[i] | P);
		faults(m, &four, 0);
		s = pse;
		s.cr3 = places[i];
		faults(m, &s, 0);
		s = four;
	}
	/* one that leads to itself has an end all the same */
	poke(m, T4 + 511 * 8, 8, T4 | P);
	leads(m, &four, ~0ull, T4 | 0xfff);
}

/* Pages that are neighbours in one memory and not in the other. */
static void read_across(void **state)
{
	struct mem *m = *state;
	char buf[0x3000], *p;

	poke(m, T4, 8, T3 | P);
	poke(m, T3, 8, T2 | P);
	poke(m, T2, 8, T1 | P);
	poke(m, T1, 8, 0x20000 | P);
	poke(m, T1 + 8, 8, 0x10000 | P);
	poke(m, T1 + 16, 8, 0x30000 | P);
	memset(mem_at(m, 0x20000, 0x1000), 'a', 0x1000);
	memset(mem_at(m, 0x10000, 0x1000), 'b', 0x1000);
	memset(mem_at(m, 0x30000, 0x1000), 'c', 0x1000);
	p = buf;
	assert_int_equal(gva_read(m, &four, 0xffe, p, 0x1004), 0);
	assert_memory_equal(p, "aab", 3);
	assert_memory_equal(p + 0x1001, "bcc", 3);
	assert_int_equal(gva_read(m, &four, 0, p, 0x3000), 0);
	assert_int_equal(gva_read(m, &four, 1, p, 0x3000), -EFAULT);
	assert_int_equal(gva_read(m, &four, 0x5000, p, 0), 0);
	/* a large page that goes on behind RAM */
	poke(m, T2 + 8, 8, (RAM - 2 * MIB) | PS | P);
	assert_int_equal(gva_read(m, &four, 4 * MIB - 16, p, 16), 0);
	poke(m, T3 + 8, 8, PS | P);
	assert_int_equal(gva_read(m, &four, GIB + RAM - 16, p, 16), 0);
	assert_int_equal(gva_read(m, &four, GIB + RAM - 16, p, 17), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_paging, setup, teardown),
		cmocka_unit_test_setup_teardown(two_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(four_megabytes, setup, teardown),
		cmocka_unit_test_setup_teardown(pae_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(four_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(not_canonical, setup, teardown),
		cmocka_unit_test_setup_teardown(five_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_outside, setup, teardown),
		cmocka_unit_test_setup_teardown(read_across, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
