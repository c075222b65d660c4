/* SPDX-License-Identifier: MIT */
/* Which guest code exits: a kernel's code, stack and page tables made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/acct.h"
#include "cpu/profile.h"

/* The first 2 MiB of memory, seen where a kernel lives. */
#define KERNEL 0xffffffff81000000ull
#define PML4 0x1000
#define PDPT 0x2000
#define PD 0x3000
#define CODE 0x10000 /* offsets from KERNEL, and guest-physical */
#define STACK 0x80000

#define FUNCTION (CODE + 0x2000)
#define INSN (FUNCTION + 0x12)

struct fixture {
	struct mem mem;
	struct profile *p;
	struct kvm_sync_regs regs;
};

static void put(struct fixture *f, uint64_t gpa, unsigned width, uint64_t v)
{
	assert_int_equal(mem_write(&f->mem, gpa, &v, width), 0);
}

/* A call at code offset `at` that leads to `target`; returns the return address. */
static uint64_t put_call(struct fixture *f, uint64_t at, uint64_t target)
{
	put(f, at, 1, 0xe8);
	put(f, at + 1, 4, target - (at + 5));
	return KERNEL + at + 5;
}

static void push(struct fixture *f, unsigned place, uint64_t v)
{
	put(f, STACK + place * 8, 8, v);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(mem_init(&f->mem, 16 * MIB), 0);
	put(f, PML4 + 511 * 8, 8, PDPT | 3);
	put(f, PDPT + 510 * 8, 8, PD | 3);
	put(f, PD + 8 * 8, 8, 0 | 0x83);
	f->p = profile_create(&f->mem);
	assert_non_null(f->p);
	f->regs.regs.rip = KERNEL + INSN;
	f->regs.regs.rsp = KERNEL + STACK;
	f->regs.sregs.cs.l = 1;
	f->regs.sregs.cr0 = 1u << 31 | 1;
	f->regs.sregs.cr3 = PML4;
	f->regs.sregs.cr4 = 1 << 5;
	f->regs.sregs.efer = 0x500;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	profile_destroy(f->p);
	mem_destroy(&f->mem);
	free(f);
	return 0;
}

static void hit(struct fixture *f)
{
	profile_exit(f->p, &f->regs, ACCT_IO_OUT, acct_key(BUS_PIO, true, 1, 0x3f8), 100);
}

/* The only entry with a count; fails where there is another. */
static const struct profile_entry *only(const struct profile *p)
{
	const struct profile_entry *found = NULL;

	for (unsigned i = 0; i < PROFILE_ENTRIES; i++) {
		if (!counter_get(&p->entries[i].rip) || !counter_get(&p->entries[i].count))
			continue;
		assert_null(found);
		found = &p->entries[i];
	}
	assert_non_null(found);
	return found;
}

/* Tells the instruction at INSN where its function starts. */
static void name_function(struct fixture *f, uint64_t start)
{
	for (unsigned i = 0; i < PROFILE_INSNS; i++)
		if (counter_get(&f->p->insns[i].rip) == KERNEL + INSN)
			profile_function(&f->p->insns[i], start);
}

static void test_caller(void **state)
{
	struct fixture *f = *state;
	uint64_t ret = put_call(f, CODE + 0x100, FUNCTION);

	push(f, 0, 0x1234);
	push(f, 1, KERNEL + STACK); /* no code before it that calls */
	push(f, 2, ret);
	for (int i = 0; i < 5; i++)
		hit(f);
	assert_int_equal(only(f->p)->rip, KERNEL + INSN);
	assert_int_equal(only(f->p)->caller, ret);
	assert_int_equal(only(f->p)->target, KERNEL + FUNCTION);
	assert_int_equal(only(f->p)->count, 5);
	assert_int_equal(only(f->p)->ticks, 500);
	assert_int_equal(only(f->p)->row, ACCT_IO_OUT);
	assert_int_equal(acct_key_addr(only(f->p)->access), 0x3f8);
	assert_int_equal(counter_get(&f->p->lost), 0);
}

/* Each exit's own caller is read, from where the first one's was. */
static void test_two_callers(void **state)
{
	struct fixture *f = *state;
	uint64_t a = put_call(f, CODE + 0x100, FUNCTION);
	uint64_t b = put_call(f, CODE + 0x900, FUNCTION);
	unsigned from_a = 0, from_b = 0;

	for (int i = 0; i < 6; i++) {
		push(f, 1, i % 3 ? a : b);
		hit(f);
	}
	for (unsigned i = 0; i < PROFILE_ENTRIES; i++) {
		const struct profile_entry *e = &f->p->entries[i];

		if (counter_get(&e->rip))
			*(e->caller == a ? &from_a : &from_b) += (unsigned)e->count;
	}
	assert_int_equal(from_a, 4);
	assert_int_equal(from_b, 2);
}

/* What an earlier call has left lies nearer: a guess, until the function's start is known. */
static void test_guess_and_certainty(void **state)
{
	struct fixture *f = *state;
	uint64_t stale = put_call(f, CODE + 0x500, CODE + 0x7000);
	uint64_t real = put_call(f, CODE + 0x100, FUNCTION);

	push(f, 0, stale);
	push(f, 3, real);
	hit(f);
	assert_int_equal(only(f->p)->caller, stale);
	assert_int_equal(only(f->p)->target, KERNEL + CODE + 0x7000);
	name_function(f, KERNEL + FUNCTION);
	profile_clear(f->p);
	hit(f);
	assert_int_equal(only(f->p)->caller, real);
	assert_int_equal(only(f->p)->target, KERNEL + FUNCTION);

	/* Reached by a jump, no call leads to it: the guess stays. */
	name_function(f, KERNEL + FUNCTION + 4);
	profile_clear(f->p);
	hit(f);
	assert_int_equal(only(f->p)->caller, stale);
}

static void test_indirect_calls(void **state)
{
	static const struct {
		uint8_t len, code[7];
		bool call;
	} forms[] = {
		{ 2, { 0xff, 0xd0 }, true }, /* call *%rax */
		{ 3, { 0x41, 0xff, 0xd3 }, true }, /* call *%r11 */
		{ 2, { 0xff, 0x10 }, true }, /* call *(%rax) */
		{ 3, { 0xff, 0x50, 0x18 }, true }, /* call *0x18(%rax) */
		{ 3, { 0xff, 0x14, 0xc5 }, false }, /* a SIB that wants four bytes more */
		{ 7, { 0xff, 0x14, 0xc5, 0, 0, 0, 0x81 }, true }, /* call *0x81000000(,%rax,8) */
		{ 6, { 0xff, 0x15, 1, 2, 3, 4 }, true }, /* call *disp32(%rip) */
		{ 6, { 0xff, 0x90, 1, 2, 3, 4 }, true }, /* call *disp32(%rax) */
		{ 4, { 0xff, 0x54, 0x24, 0x08 }, true }, /* call *8(%rsp) */
		{ 2, { 0xff, 0xe0 }, false }, /* jmp *%rax */
		{ 2, { 0x90, 0x90 }, false },
	};
	struct fixture *f = *state;
	uint64_t at = CODE + 0x300;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		uint8_t nops[16];

		memset(nops, 0x90, sizeof(nops));
		assert_int_equal(mem_write(&f->mem, at - 16, nops, 16), 0);
		assert_int_equal(mem_write(&f->mem, at - forms[i].len, forms[i].code, forms[i].len),
				 0);
		push(f, 0, KERNEL + at);
		/* A new instruction each time, so that the stack is searched again. */
		f->regs.regs.rip = KERNEL + INSN + i;
		profile_clear(f->p);
		hit(f);
		assert_int_equal(only(f->p)->caller, forms[i].call ? KERNEL + at : 0);
		assert_int_equal(only(f->p)->target, 0);
	}
}

static void test_no_stack(void **state)
{
	struct fixture *f = *state;

	f->regs.regs.rsp = 0xdead000000000000;
	hit(f);
	f->regs.regs.rsp = UINT64_MAX - 3; /* wraps */
	hit(f);
	f->regs.sregs.cr3 = 0xffffffffff000; /* no page tables either */
	hit(f);
	assert_int_equal(only(f->p)->caller, 0);
	assert_int_equal(only(f->p)->count, 3);
}

/* 32-bit code: words of four bytes, addresses that wrap at 4 GiB, no paging. */
static void test_protected_mode(void **state)
{
	struct fixture *f = *state;

	memset(&f->regs.sregs, 0, sizeof(f->regs.sregs));
	f->regs.sregs.cr0 = 1;
	f->regs.sregs.cs.db = 1;
	f->regs.regs.rip = INSN;
	f->regs.regs.rsp = STACK;
	put_call(f, CODE + 0x100, FUNCTION);
	put(f, STACK, 4, 7);
	put(f, STACK + 4, 4, CODE + 0x105);
	hit(f);
	assert_int_equal(only(f->p)->rip, INSN);
	assert_int_equal(only(f->p)->caller, CODE + 0x105);
	assert_int_equal(only(f->p)->target, FUNCTION);
}

/* 16-bit code has segments and calls that nobody here reads. */
static void test_real_mode(void **state)
{
	struct fixture *f = *state;

	memset(&f->regs.sregs, 0, sizeof(f->regs.sregs));
	f->regs.sregs.cs.base = 0xf0000;
	f->regs.regs.rip = 0x1234;
	hit(f);
	assert_int_equal(only(f->p)->rip, 0xf1234);
	assert_int_equal(only(f->p)->caller, 0);
}

/* A guest may exit from everywhere: nothing is lost from the sums. */
static void test_full(void **state)
{
	struct fixture *f = *state;
	uint64_t n = 0, exits = 3ull * PROFILE_ENTRIES;

	for (uint64_t i = 0; i < exits; i++) {
		f->regs.regs.rip = KERNEL + i * 16;
		hit(f);
	}
	for (unsigned i = 0; i < PROFILE_ENTRIES; i++)
		n += counter_get(&f->p->entries[i].count);
	assert_true(n >= PROFILE_ENTRIES / 2);
	assert_int_equal(n + counter_get(&f->p->lost), exits);
	assert_int_equal(counter_get(&f->p->lost_ticks), counter_get(&f->p->lost) * 100);
	profile_clear(f->p);
	f->regs.regs.rip = KERNEL;
	hit(f);
	assert_int_equal(only(f->p)->count, 1);
	assert_int_equal(counter_get(&f->p->lost), 0);
}

static void test_space(void **state)
{
	struct fixture *f = *state;
	struct gva_space space;

	assert_false(profile_space(f->p, &space));
	f->regs.sregs.cs.dpl = 3;
	hit(f);
	assert_false(profile_space(f->p, &space)); /* a process: its tables may lack the kernel */
	f->regs.sregs.cs.dpl = 0;
	hit(f);
	assert_true(profile_space(f->p, &space));
	assert_int_equal(space.cr3, PML4);
	assert_int_equal(space.efer, 0x500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_caller, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_callers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_guess_and_certainty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_indirect_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protected_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_real_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_space, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
