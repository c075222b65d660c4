/* SPDX-License-Identifier: MIT */
/*
 * Runs of guest code behind a port access: how far they go, where they must stop and leave
 * everything to the CPU, what they learn. What single instructions do: test_lookahead_insn.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/platform.h"
#include "cpu/lookahead/lookahead.h"
#include "cpu/lookahead/space.h"
#include "tests/unit/ahead_rig.h"

#define PORT 0x1f0 /* 8 of them are a device's */
#define WRITE_RAISES 0xdd /* an interrupt */
#define WRITE_PAUSES 0xee
#define STACK (RIG_SCRATCH + 2 * PAGE_SIZE_4K)
#define MAX_ACCESSES 8192

struct fixture {
	struct ahead_rig rig;
	struct bus bus;
	struct device dev;
	struct acct acct;
	struct lookahead *la;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint8_t pause;
	_Atomic uint64_t interrupts;
	unsigned nr; /* accesses */
	struct {
		bool write;
		unsigned offset, width;
		uint64_t value;
	} accesses[MAX_ACCESSES];
};

static uint64_t dev_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct fixture *f = container_of(dev, struct fixture, dev);
	uint64_t v = (f->nr * 0x01010101ull) & width_mask(width);

	assert_true(f->nr < MAX_ACCESSES);
	f->accesses[f->nr].write = false;
	f->accesses[f->nr].offset = (unsigned)offset;
	f->accesses[f->nr].width = width;
	f->accesses[f->nr++].value = v;
	return v;
}

static void dev_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct fixture *f = container_of(dev, struct fixture, dev);

	assert_true(f->nr < MAX_ACCESSES);
	f->accesses[f->nr].write = true;
	f->accesses[f->nr].offset = (unsigned)offset;
	f->accesses[f->nr].width = width;
	f->accesses[f->nr++].value = value;
	if (value == WRITE_RAISES)
		f->interrupts++;
	if (value == WRITE_PAUSES)
		f->pause = 1;
}

static const struct device_ops dev_ops = { .type = "test" };
static const struct bus_ops bus_ops = { .max_width = 4, .read = dev_read, .write = dev_write };

/* The first 16 MiB are mapped to themselves; code begins behind the access that has exited. */
static void *create(bool wide, bool always)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct lookahead_config cfg = {
		.bus = &f->bus,
		.mem = &f->rig.mem,
		.acct = &f->acct,
		.pause = &f->pause,
		.interrupts = &f->interrupts,
		.max_ticks = UINT64_MAX,
		.always = always,
	};

	assert_non_null(f);
	rig_create(&f->rig);
	for (uint64_t gpa = 0; gpa < RIG_RAM; gpa += PAGE_SIZE_4K)
		rig_map(&f->rig, gpa, gpa, RIG_PAGE);
	bus_init(&f->bus);
	device_init(&f->dev, &dev_ops, "test0");
	assert_int_equal(bus_add(&f->bus, BUS_PIO, PORT, 8, &f->dev, &bus_ops), 0);
	f->la = lookahead_create(&cfg);
	assert_non_null(f->la);
	rig_sregs(wide, &f->sregs);
	f->regs = (struct kvm_regs){ .rip = RIG_CODE,
				     .rsp = STACK,
				     .rdx = PORT,
				     .rsi = RIG_SCRATCH,
				     .rdi = RIG_SCRATCH,
				     .rflags = FLAG_FIXED };
	return f;
}

static int setup_64(void **state)
{
	*state = create(true, true);
	return 0;
}

static int setup_32(void **state)
{
	*state = create(false, true);
	return 0;
}

static int setup_auto(void **state)
{
	*state = create(true, false);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lookahead_destroy(f->la);
	bus_destroy(&f->bus);
	rig_destroy(&f->rig);
	free(f);
	return 0;
}

static void put(struct fixture *f, uint64_t gpa, const void *bytes, size_t len)
{
	assert_int_equal(mem_write(&f->rig.mem, gpa, bytes, len), 0);
}

#define CODE(f, ...)                                            \
	do {                                                    \
		static const uint8_t code_[] = { __VA_ARGS__ }; \
		put(f, RIG_CODE, code_, sizeof(code_));         \
	} while (0)

#define UNKNOWN 0x0f, 0xa2 /* cpuid */
#define OUT 0xee /* out %al, %dx */
#define IN 0xec /* in %dx, %al */

/* Those that the tests use. */
static const struct ahead_port ports[4] = {
	{ PORT, true }, { PORT, false }, { PORT + 4, true }, { PORT + 4, false }
};

static void expect(struct fixture *f, uint64_t rip, struct ahead_port port,
		   struct ahead_port before)
{
	f->la->predictor.last_port = before;
	ahead_site(&f->la->predictor, rip, port)->score = 8;
}

/* More is expected behind every access of these instructions, whatever is before it. */
static void expect_more(struct fixture *f, uint64_t from, uint64_t to)
{
	const struct ahead_port none = { 0, false };

	for (uint64_t rip = from; rip < to; rip++)
		for (unsigned i = 0; i < 4; i++) {
			expect(f, rip, ports[i], none);
			for (unsigned k = 0; k < 4; k++)
				expect(f, rip, ports[i], ports[k]);
		}
	f->la->predictor.last = NULL;
	f->la->predictor.last_port = none;
}

static bool run(struct fixture *f)
{
	return lookahead_run(f->la, &f->regs, &f->sregs, f->interrupts, ticks_now());
}

/* Of an instruction, behind whatever. */
static uint64_t avoided_at(const struct fixture *f, uint64_t rip)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < AHEAD_SITES; i++)
		if (f->la->predictor.sites[i].rip == rip)
			n += f->la->predictor.sites[i].avoided;
	return n;
}

static uint64_t ended(const struct fixture *f, enum ahead_end end)
{
	return f->la->ends[end];
}

/* --- how far ------------------------------------------------------------------- */

static void test_calls_and_returns(void **state)
{
	struct fixture *f = *state;

	CODE(f, 0xb0, 0x11, /* 0: mov $0x11, %al */
	     OUT, /* 2 */
	     0x83, 0xc2, 4, /* 3: add $4, %edx */
	     0xe8, 5, 0, 0, 0, /* 6: call 16 */
	     0x0f, 0xb6, 0xd8, /* 11: movzbl %al, %ebx */
	     UNKNOWN, /* 14 */
	     0xed, /* 16: in %dx, %eax */
	     0xc3); /* 17: ret */
	expect_more(f, RIG_CODE, RIG_CODE + 18);
	assert_true(run(f));
	assert_int_equal(f->nr, 2);
	assert_true(f->accesses[0].write);
	assert_int_equal(f->accesses[0].value, 0x11);
	assert_false(f->accesses[1].write);
	assert_int_equal(f->accesses[1].offset, 4);
	assert_int_equal(f->accesses[1].width, 4);
	assert_int_equal(f->regs.rax, 0x01010101);
	assert_int_equal(f->regs.rbx, 0x01);
	assert_int_equal(f->regs.rip, RIG_CODE + 14);
	assert_int_equal(f->regs.rsp, STACK);
	assert_int_equal(ended(f, AHEAD_END_UNKNOWN), 1);
	assert_int_equal(f->la->avoided, 2);
	assert_int_equal(f->la->insns, 7);
	assert_int_equal(avoided_at(f, RIG_CODE + 2), 1);
}

static void test_stops_where_nothing_is_expected(void **state)
{
	struct fixture *f = *state;

	CODE(f, OUT, OUT, 0x90, OUT);
	expect_more(f, RIG_CODE, RIG_CODE + 1);
	assert_true(run(f));
	assert_int_equal(f->nr, 2);
	assert_int_equal(f->regs.rip, RIG_CODE + 2);
	assert_int_equal(ended(f, AHEAD_END_EXPECTED), 1);
}

static void test_port_of_nobody(void **state)
{
	struct fixture *f = *state;

	CODE(f, OUT, 0xe6, 0x20); /* the PIC is in the kernel */
	expect_more(f, RIG_CODE, RIG_CODE + 8);
	assert_true(run(f));
	assert_int_equal(f->nr, 1);
	assert_int_equal(f->regs.rip, RIG_CODE + 1);
	assert_int_equal(ended(f, AHEAD_END_REFUSED), 1);
	/* One that begins at ours and ends beyond is not all ours. */
	CODE(f, 0xef, UNKNOWN); /* out %eax, %dx */
	f->regs.rip = RIG_CODE;
	f->regs.rdx = PORT + 6;
	assert_false(run(f));
	assert_int_equal(f->nr, 1);
}

static void test_interrupt(void **state)
{
	struct fixture *f = *state;

	CODE(f, 0xb0, WRITE_RAISES, OUT, OUT, UNKNOWN);
	expect_more(f, RIG_CODE, RIG_CODE + 8);
	f->regs.rflags |= FLAG_IF;
	assert_true(run(f));
	assert_int_equal(f->nr, 1);
	assert_int_equal(f->regs.rip, RIG_CODE + 3);
	assert_int_equal(ended(f, AHEAD_END_INTERRUPT), 1);

	/* Due already when the guest was left. */
	f->regs.rip = RIG_CODE;
	assert_false(lookahead_run(f->la, &f->regs, &f->sregs, f->interrupts - 1, ticks_now()));
	assert_int_equal(f->regs.rip, RIG_CODE);

	/* Masked, it is not due. */
	f->regs.rflags &= ~FLAG_IF;
	assert_true(run(f));
	assert_int_equal(f->nr, 3);
	assert_int_equal(f->regs.rip, RIG_CODE + 4);
}

static void test_pause(void **state)
{
	struct fixture *f = *state;

	CODE(f, 0xb0, WRITE_PAUSES, OUT, OUT, UNKNOWN);
	expect_more(f, RIG_CODE, RIG_CODE + 8);
	assert_true(run(f));
	assert_int_equal(f->nr, 1);
	assert_int_equal(f->regs.rip, RIG_CODE + 3);
}

static void test_bounds(void **state)
{
	struct fixture *f = *state;

	CODE(f, 0xff, 0xc0, 0xeb, 0xfc); /* 1: inc %eax; jmp 1b */
	assert_true(run(f));
	assert_int_equal(ended(f, AHEAD_END_BOUND), 1);
	assert_in_range(f->la->insns, 2, 256);
	assert_int_equal(f->regs.rax, f->la->insns / 2);
	/* Accesses that never end do not run for ever either. */
	CODE(f, OUT, 0xeb, 0xfd);
	f->regs.rip = RIG_CODE;
	expect_more(f, RIG_CODE, RIG_CODE + 1);
	assert_true(run(f));
	assert_int_equal(ended(f, AHEAD_END_BOUND), 2);
	assert_in_range(f->nr, 2, 4096);
}

static void test_time(void **state)
{
	struct fixture *f = *state;

	f->la->cfg.max_ticks = 0;
	CODE(f, OUT, OUT);
	expect_more(f, RIG_CODE, RIG_CODE + 2);
	assert_true(run(f));
	assert_int_equal(f->nr, 1);
	assert_int_equal(ended(f, AHEAD_END_BOUND), 1);
}

/* --- code ---------------------------------------------------------------------- */

static void test_code_that_changes(void **state)
{
	struct fixture *f = *state;
	const uint8_t other = 0xc3; /* another inc: of %ebx */

	CODE(f, 0xff, 0xc0, UNKNOWN); /* inc %eax */
	assert_true(run(f));
	assert_int_equal(f->regs.rax, 1);
	put(f, RIG_CODE + 1, &other, 1);
	f->regs.rip = RIG_CODE;
	assert_true(run(f));
	assert_int_equal(f->regs.rax, 1);
	assert_int_equal(f->regs.rbx, 1);

	/* By itself, the very next instruction. */
	CODE(f, 0xc6, 0x05, 1, 0, 0, 0, 0xc3, /* movb $0xc3, 1(%rip) */
	     0xff, 0xc0, UNKNOWN);
	f->regs.rip = RIG_CODE;
	assert_true(run(f));
	assert_int_equal(f->regs.rax, 1);
	assert_int_equal(f->regs.rbx, 2);
}

static void test_code_on_two_pages(void **state)
{
	static const uint8_t code[] = { 0xb8, 1, 2, 3, 4, UNKNOWN };
	struct fixture *f = *state;
	uint64_t page = RIG_CODE + PAGE_SIZE_4K;

	put(f, page - 2, code, sizeof(code));
	for (unsigned i = 0; i < 2; i++) { /* from the cache as well */
		f->regs.rip = page - 2;
		f->regs.rax = 0;
		assert_true(run(f));
		assert_int_equal(f->regs.rax, 0x04030201);
	}
	rig_map(&f->rig, page, page, 0);
	f->regs.rip = page - 2;
	assert_false(run(f));
	assert_int_equal(f->regs.rip, page - 2);
	/* An instruction that ends where the page does needs no other one. */
	put(f, page - 2, "\xff\xc0", 2);
	assert_true(run(f));
	assert_int_equal(f->regs.rip, page);
}

/* --- memory -------------------------------------------------------------------- */

/* The page at the scratch: what of it may be done with these flags and registers. */
static const struct page_case {
	const char *what;
	uint64_t flags, cr4, efer, clear_above; /* in the entry that leads to the table */
	bool read, write, fetch;
} page_cases[] = {
	{ "all is well", 0x63, 0, 0, 0, true, true, true },
	{ "not present", 0x62, 0, 0, 0, false, false, false },
	{ "not accessed", 0x43, 0, 0, 0, false, false, false },
	{ "not dirty", 0x23, 0, 0, 0, true, false, true },
	{ "read-only", 0x61, 0, 0, 0, true, false, true },
	{ "read-only above", 0x63, 0, 0, 2, true, false, true },
	{ "not accessed above", 0x63, 0, 0, 0x20, false, false, false },
	{ "user", 0x67, 0, 0, 0, true, true, true },
	{ "user, SMAP", 0x67, 1 << 21, 0, 0, false, false, false },
	{ "user, SMEP", 0x67, 1 << 20, 0, 0, true, true, false },
	{ "user, PKE", 0x67, 1 << 22, 0, 0, false, false, false },
	{ "kernel, SMAP, SMEP", 0x63, 3 << 20, 0, 0, true, true, true },
	{ "no execute", 1ull << 63 | 0x63, 0, 1 << 11, 0, true, true, false },
	{ "NX without NXE", 1ull << 63 | 0x63, 0, 0, 0, false, false, false },
};

static void test_page_rights(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(page_cases); i++) {
		const struct page_case *c = &page_cases[i];
		const struct kvm_sregs was = f->sregs;
		uint64_t *e = rig_entry(&f->rig, RIG_SCRATCH), v = 0;
		uint64_t *above = rig_directory_entry(&f->rig, RIG_SCRATCH);
		unsigned len = 1;

		*above &= ~c->clear_above;
		*e = RIG_SCRATCH | c->flags;
		f->sregs.cr4 |= c->cr4;
		f->sregs.efer |= c->efer;
		assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
		if (ahead_load(&f->la->cpu, SEG_DS, RIG_SCRATCH, 8, &v) != c->read ||
		    ahead_store(&f->la->cpu, SEG_DS, RIG_SCRATCH, 8, v) != c->write ||
		    (ahead_code(&f->la->cpu, RIG_SCRATCH, &len) != NULL) != c->fetch)
			fail_msg("%s", c->what);
		*above |= c->clear_above;
		f->sregs = was;
	}
}

static void test_memory_that_is_none(void **state)
{
	static const struct {
		const char *what;
		uint64_t gva, gpa;
	} cases[] = {
		{ "a hole", 0xd0000000, 0xd0000000 },
		{ "the shadow", PLATFORM_SHADOW_BASE, PLATFORM_SHADOW_BASE },
		{ "far above", 0x7fff00000000, 1ull << 45 },
	};
	struct fixture *f = *state;
	uint64_t v;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_map(&f->rig, cases[i].gva, cases[i].gpa, RIG_PAGE);
		assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
		if (ahead_load(&f->la->cpu, SEG_DS, cases[i].gva, 4, &v) ||
		    ahead_store(&f->la->cpu, SEG_DS, cases[i].gva, 4, 0))
			fail_msg("%s", cases[i].what);
	}
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	assert_false(ahead_load(&f->la->cpu, SEG_DS, 1ull << 47, 1, &v));
	assert_false(ahead_load(&f->la->cpu, SEG_DS, 0x8000ull << 47, 1, &v));
	/* Across pages, though both are there. */
	assert_false(ahead_load(&f->la->cpu, SEG_DS, RIG_SCRATCH + PAGE_SIZE_4K - 1, 2, &v));
	assert_true(ahead_load(&f->la->cpu, SEG_DS, RIG_SCRATCH + PAGE_SIZE_4K - 2, 2, &v));
}

/* A store that is refused leaves flags and registers as they are. */
static void test_refused_whole(void **state)
{
	struct fixture *f = *state;
	struct kvm_regs was;

	CODE(f, 0x01, 0x07); /* add %eax, (%rdi) */
	rig_map(&f->rig, RIG_SCRATCH, RIG_SCRATCH, 0x61);
	f->regs.rax = 0x80000000;
	was = f->regs;
	assert_false(run(f));
	assert_memory_equal(&f->regs, &was, sizeof(was));
	CODE(f, 0x50); /* push %rax, where there is no stack */
	f->regs.rsp = 0xd0000000;
	was = f->regs;
	assert_false(run(f));
	assert_memory_equal(&f->regs, &was, sizeof(was));
	CODE(f, 0xff, 0xe0); /* jmp *%rax, which is not canonical */
	f->regs.rax = 1ull << 50;
	was = f->regs;
	assert_false(run(f));
	assert_memory_equal(&f->regs, &was, sizeof(was));
}

static void test_large_pages(void **state)
{
	struct fixture *f = *state;
	const uint64_t directory = 0x7000, pointers = 0x8000, top = 0x9000, gva = 0x40000000;
	uint64_t e, v;

	e = RIG_SCRATCH | 0xe3; /* 2 MiB */
	put(f, directory + 8, &e, 8);
	e = directory | 0x23;
	put(f, pointers + 8, &e, 8);
	e = pointers | 0x23;
	put(f, top, &e, 8);
	v = 0x1122334455667788;
	put(f, RIG_SCRATCH + 0x5008, &v, 8);
	f->sregs.cr3 = top;
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	v = 0;
	assert_true(ahead_load(&f->la->cpu, SEG_DS, gva + 2 * MIB + 0x5008, 8, &v));
	assert_true(v == 0x1122334455667788);
	/* Reserved bits between the address and the flags. */
	e = RIG_SCRATCH | 0x20e3 | 0x2000;
	put(f, directory + 8, &e, 8);
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	assert_false(ahead_load(&f->la->cpu, SEG_DS, gva + 2 * MIB, 8, &v));
}

static void test_segments_32(void **state)
{
	struct fixture *f = *state;
	struct kvm_segment *fs = &f->sregs.fs;
	uint64_t v = 0x55;

	put(f, RIG_SCRATCH + 0x100, &v, 8);
	fs->base = RIG_SCRATCH;
	fs->limit = 0x103;
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	assert_true(ahead_load(&f->la->cpu, SEG_FS, 0x100, 4, &v));
	assert_int_equal(v, 0x55);
	assert_false(ahead_load(&f->la->cpu, SEG_FS, 0x101, 4, &v)); /* beyond the limit */
	fs->type = 1; /* read-only */
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	assert_true(ahead_load(&f->la->cpu, SEG_FS, 0x100, 4, &v));
	assert_false(ahead_store(&f->la->cpu, SEG_FS, 0x100, 4, v));
	fs->type = 7; /* expands down: below the limit there is nothing */
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	assert_false(ahead_load(&f->la->cpu, SEG_FS, 0x100, 4, &v));
	fs->type = 3;
	fs->unusable = 1;
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	assert_false(ahead_load(&f->la->cpu, SEG_FS, 0x100, 4, &v));
	assert_false(ahead_store(&f->la->cpu, SEG_CS, RIG_SCRATCH, 4, v));
}

static void test_paging_32(void **state)
{
	struct fixture *f = *state;
	const uint32_t directory = 0x7000, table = 0x8000;
	uint32_t pde = table | 0x23, large = RIG_SCRATCH | 0xe3, pte = RIG_SCRATCH | 0x63;
	uint64_t v = 0x77;

	put(f, directory + 4 * 64, &pde, 4); /* at 10000000 */
	put(f, directory + 4 * 65, &large, 4); /* at 10400000 */
	put(f, table + 4 * 3, &pte, 4);
	put(f, RIG_SCRATCH + 8, &v, 8);
	f->sregs.cr0 |= 1ull << 31;
	f->sregs.cr3 = directory;
	f->sregs.cr4 = 1 << 4;
	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	assert_true(ahead_load(&f->la->cpu, SEG_DS, 0x10003008, 4, &v));
	assert_int_equal(v, 0x77);
	v = 0;
	assert_true(ahead_load(&f->la->cpu, SEG_DS, 0x10400008, 4, &v));
	assert_int_equal(v, 0x77);
	assert_false(ahead_load(&f->la->cpu, SEG_DS, 0x10004008, 4, &v));
	f->sregs.cr4 |= 1 << 5; /* PAE has entries that only the CPU knows */
	assert_false(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
}

static void test_modes(void **state)
{
	struct fixture *f = *state;
	const struct kvm_sregs sregs = f->sregs;
	const struct kvm_regs regs = f->regs;

#define REFUSED(change)                                                         \
	do {                                                                    \
		change;                                                         \
		assert_false(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs)); \
		f->sregs = sregs;                                               \
		f->regs = regs;                                                 \
	} while (0)

	assert_true(ahead_cpu_load(&f->la->cpu, &f->regs, &f->sregs));
	REFUSED(f->sregs.cs.dpl = f->sregs.ss.dpl = 3);
	REFUSED(f->sregs.cr0 &= ~1ull);
	REFUSED(f->sregs.cr4 |= 1 << 23); /* CET */
	REFUSED(f->sregs.cr4 |= 1 << 13); /* VMX */
	REFUSED(f->sregs.efer |= 1 << 12); /* SVM */
	REFUSED(f->sregs.cs.l = 0); /* 16-bit code */
	REFUSED(f->regs.rflags |= FLAG_TF);
	REFUSED(f->regs.rflags |= FLAG_RF);
	REFUSED(f->regs.rflags |= FLAG_VM);
#undef REFUSED
}

/* --- strings ------------------------------------------------------------------- */

static void test_string_in(void **state)
{
	struct fixture *f = *state;
	uint16_t got;

	CODE(f, 0xf3, 0x66, 0x6d, UNKNOWN); /* rep insw */
	expect_more(f, RIG_CODE, RIG_CODE + 1);
	f->regs.rdi = RIG_SCRATCH + PAGE_SIZE_4K - 512;
	f->regs.rcx = 1000; /* on two pages: by parts */
	assert_true(run(f));
	assert_int_equal(f->nr, 1000);
	assert_int_equal(f->regs.rcx, 0);
	assert_int_equal(f->regs.rdi, RIG_SCRATCH + PAGE_SIZE_4K - 512 + 2000);
	assert_int_equal(f->regs.rip, RIG_CODE + 3);
	assert_int_equal(mem_read(&f->rig.mem, RIG_SCRATCH + PAGE_SIZE_4K - 512 + 2 * 700, &got, 2),
			 0);
	assert_int_equal(got, f->accesses[700].value);
	assert_int_equal(f->la->avoided, 2);

	f->regs.rip = RIG_CODE; /* nothing to do, and downwards: the CPU's */
	assert_false(run(f));
	f->regs.rcx = 4;
	f->regs.rflags |= FLAG_DF;
	assert_false(run(f));
	f->regs.rflags &= ~FLAG_DF;
	f->regs.rdi = RIG_SCRATCH + PAGE_SIZE_4K - 1; /* an element on two pages */
	assert_false(run(f));
	assert_int_equal(f->nr, 1000);
}

static void test_string_out(void **state)
{
	struct fixture *f = *state;

	CODE(f, 0xf3, 0x6f, 0x6e, UNKNOWN); /* rep outsl; outsb */
	expect_more(f, RIG_CODE, RIG_CODE + 3);
	put(f, RIG_SCRATCH, "\x01\x02\x03\x04\x05\x06\x07\x08\x09", 9);
	f->regs.rcx = 2;
	assert_true(run(f));
	assert_int_equal(f->nr, 3);
	assert_int_equal(f->accesses[1].value, 0x08070605);
	assert_int_equal(f->accesses[1].width, 4);
	assert_int_equal(f->accesses[2].value, 9);
	assert_int_equal(f->regs.rsi, RIG_SCRATCH + 9);
	assert_int_equal(f->regs.rcx, 0);
	assert_int_equal(f->regs.rip, RIG_CODE + 3);
}

/* --- what is learned ----------------------------------------------------------- */

static void test_learns_from_exits(void **state)
{
	struct fixture *f = *state;
	bool tried = false;

	/* 1 is soon followed by 2, after which nothing comes for long. */
	for (unsigned i = 0; i < 8; i++) {
		tried |= lookahead_exit(f->la, RIG_CODE + 1, ports[0], 1000000);
		assert_false(lookahead_exit(f->la, RIG_CODE + 2, ports[2], 1000));
	}
	assert_true(tried);
	assert_false(lookahead_exit(f->la, 0, ports[0], 1000));
	assert_null(f->la->predictor.last);
}

static void test_learns_from_runs(void **state)
{
	struct fixture *f = *state;
	unsigned tried = 0;

	/* Soon followed, but by way of what is not known: hardly tried any more. */
	CODE(f, UNKNOWN);
	for (unsigned i = 0; i < 1000; i++) {
		if (!lookahead_exit(f->la, RIG_CODE - 1, ports[0], 1000))
			continue;
		tried++;
		assert_false(run(f));
	}
	assert_in_range(tried, 1, 15);
	assert_int_equal(ended(f, AHEAD_END_UNKNOWN), tried);
}

/* One function that all accesses go through: what follows depends on the port, and the history. */
static void test_tells_accesses_apart(void **state)
{
	struct fixture *f = *state;
	unsigned tried[3] = { 0, 0, 0 };

	for (unsigned i = 0; i < 40; i++) {
		/* A, then B soon; B again, and nothing for long. */
		tried[2] += lookahead_exit(f->la, RIG_CODE, ports[0], 1000000);
		tried[0] += lookahead_exit(f->la, RIG_CODE, ports[2], 1000);
		tried[1] += lookahead_exit(f->la, RIG_CODE, ports[2], 1000);
	}
	assert_true(tried[0] > 30);
	assert_int_equal(tried[1], 0);
	assert_true(tried[2] > 30);
}

static void test_many_sites(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2 * AHEAD_SITES; i++)
		(void)ahead_site(&f->la->predictor, i + 1, ports[0]);
	assert_null(ahead_site(&f->la->predictor, 2 * AHEAD_SITES + 1, ports[0]));
	assert_non_null(ahead_site(&f->la->predictor, 2, ports[0]));
}

static void test_turns_off(void **state)
{
	struct fixture *f = *state;
	unsigned runs = 0, exits = 0;

	/* An exit that takes a tick: no run can be quicker. */
	CODE(f, OUT, UNKNOWN);
	while (lookahead_is_on(f->la) && runs < 100000) {
		f->nr = 0;
		f->regs.rip = RIG_CODE;
		if (lookahead_exit(f->la, RIG_CODE - 1, ports[0], 1)) {
			runs++;
			assert_true(run(f));
		}
	}
	assert_false(lookahead_is_on(f->la));
	assert_int_equal(f->la->offs, 1);
	while (!lookahead_is_on(f->la) && exits < 10000000) {
		exits++;
		assert_false(lookahead_exit(f->la, RIG_CODE - 1, ports[0], 1));
	}
	assert_true(lookahead_is_on(f->la)); /* it is tried again */
	assert_in_range(exits, 1000, 1000000);
}

static void test_stays_on(void **state)
{
	struct fixture *f = *state;

	CODE(f, OUT, UNKNOWN);
	for (unsigned i = 0; i < 5000; i++) {
		f->nr = 0;
		f->regs.rip = RIG_CODE;
		if (lookahead_exit(f->la, RIG_CODE - 1, ports[0], 1000000000))
			assert_true(run(f));
	}
	assert_true(f->la->runs > 1000);
	assert_true(lookahead_is_on(f->la));
}

static void test_accounts(void **state)
{
	struct fixture *f = *state;
	const struct acct_site *site;

	CODE(f, OUT, OUT, IN, UNKNOWN);
	expect_more(f, RIG_CODE, RIG_CODE + 8);
	assert_true(run(f));
	site = acct_site(&f->acct, &f->bus, acct_key(BUS_PIO, true, 1, PORT));
	assert_int_equal(site->accesses, 2);
	assert_int_equal(site->count, 0); /* they were no exits */
	assert_string_equal(site->device, "test0");
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_calls_and_returns, setup_64),
		TEST(test_stops_where_nothing_is_expected, setup_64),
		TEST(test_port_of_nobody, setup_64),
		TEST(test_interrupt, setup_64),
		TEST(test_pause, setup_64),
		TEST(test_bounds, setup_64),
		TEST(test_time, setup_64),
		TEST(test_code_that_changes, setup_64),
		TEST(test_code_on_two_pages, setup_64),
		TEST(test_page_rights, setup_64),
		TEST(test_memory_that_is_none, setup_64),
		TEST(test_refused_whole, setup_64),
		TEST(test_large_pages, setup_64),
		TEST(test_segments_32, setup_32),
		TEST(test_paging_32, setup_32),
		TEST(test_modes, setup_64),
		TEST(test_string_in, setup_64),
		TEST(test_string_out, setup_64),
		TEST(test_learns_from_exits, setup_64),
		TEST(test_learns_from_runs, setup_64),
		TEST(test_tells_accesses_apart, setup_64),
		TEST(test_many_sites, setup_64),
		TEST(test_turns_off, setup_auto),
		TEST(test_stays_on, setup_auto),
		TEST(test_accounts, setup_64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
