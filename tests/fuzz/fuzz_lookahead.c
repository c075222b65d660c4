/* SPDX-License-Identifier: MIT */
/*
 * Lookahead on any code, with any registers and any page tables: it ends within its bounds,
 * touches no memory that is not RAM (the sanitizers watch), leaves the registers alone where it
 * has done nothing, and what it says it has accessed is what the device has seen.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/lookahead/lookahead.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM (4 * MIB)
#define TABLES 0x1000ull /* four, of 4 levels: entries are fuzz as well */
#define CODE 0x10000ull
#define PORT 0x100
#define MAX_INSNS 4096
#define RUNS 6

struct input {
	uint64_t gpr[16];
	uint64_t rflags;
	uint64_t entry[4]; /* of each level */
	uint32_t limit, base;
	uint16_t code; /* where in its page */
	uint8_t wide, paging, type;
};

struct fixture {
	struct mem mem;
	struct bus bus;
	struct device dev;
	struct acct acct;
	uint64_t accesses;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static uint64_t dev_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct fixture *f = container_of(dev, struct fixture, dev);

	check(offset + width <= 0xff00);
	f->accesses++;
	return f->accesses * 0x0101010101010101ull & width_mask(width);
}

static void dev_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct fixture *f = container_of(dev, struct fixture, dev);

	check(offset + width <= 0xff00 && value <= width_mask(width));
	f->accesses++;
}

/* The page of the code, and what fuzz says, by tables of which fuzz says the rest. */
static void fill_tables(struct fixture *f, const struct input *in)
{
	for (unsigned level = 0; level < 4; level++) {
		uint64_t table = TABLES + level * PAGE_SIZE_4K;
		uint64_t *e = mem_at(&f->mem, table, PAGE_SIZE_4K);
		uint64_t next = level < 3 ? table + PAGE_SIZE_4K : CODE;

		check(e != NULL);
		for (unsigned i = 0; i < 512; i += 3)
			e[i] = in->entry[level] ^ (uint64_t)i << 12;
		e[level < 3 ? 0 : CODE / PAGE_SIZE_4K] = next | 0x63;
	}
}

static void fill_sregs(const struct input *in, struct kvm_sregs *s)
{
	const struct kvm_segment data = { .base = in->base,
					  .limit = in->limit,
					  .type = in->type & 15,
					  .present = 1,
					  .s = 1,
					  .db = 1,
					  .unusable = in->type >> 4 & 1 };
	bool wide = in->wide & 1, paging = wide || in->paging & 1;

	memset(s, 0, sizeof(*s));
	s->cs = s->ss = data;
	s->cs.base = 0;
	s->cs.limit = s->ss.limit = 0xffffffff;
	s->cs.type = 11;
	s->cs.l = wide;
	s->cs.db = !wide;
	s->ss.type = 3;
	s->ds = s->es = s->fs = s->gs = data;
	s->cr0 = 1 | (paging ? 1ull << 31 : 0);
	s->cr3 = TABLES;
	s->cr4 = wide ? 1 << 5 : in->paging & 0x10;
	s->efer = (wide ? 0x500 : 0) | (in->wide & 2 ? 0x800 : 0);
}

static void fill_regs(const struct input *in, struct kvm_regs *r)
{
	memset(r, 0, sizeof(*r));
	memcpy(r, in->gpr, sizeof(in->gpr));
	r->rip = CODE + in->code % PAGE_SIZE_4K;
	r->rflags = (in->rflags & ~(FLAG_TF | FLAG_RF | FLAG_VM)) | FLAG_FIXED;
	if (in->wide & 1)
		return;
	for (unsigned i = 0; i < 16; i++) {
		uint64_t *gpr = (uint64_t *)(void *)r + i;

		*gpr = i < 8 ? (uint32_t)*gpr : 0;
	}
}

static uint64_t counted(const struct fixture *f)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < ACCT_SITES; i++)
		n += f->acct.sites[i].accesses;
	for (unsigned i = 0; i < 4; i++)
		n += f->acct.lost[i / 2][i % 2].accesses;
	return n;
}

static void run(struct fixture *f, struct lookahead *la, const struct input *in)
{
	struct kvm_regs regs, was;
	struct kvm_sregs sregs;

	fill_sregs(in, &sregs);
	fill_regs(in, &regs);
	was = regs;
	for (unsigned i = 0; i < AHEAD_SITES; i++) {
		la->predictor.sites[i].score = 15; /* more is expected behind what is known */
		la->predictor.sites[i].wait = 0;
	}
	if (!lookahead_run(la, &regs, &sregs, 0, ticks_now()))
		check(!memcmp(&regs, &was, sizeof(regs)));
	check(la->insns <= MAX_INSNS * RUNS && la->avoided <= la->insns);
	/* Accesses that the bus has cut are more for the device. */
	check(counted(f) <= f->accesses && (counted(f) || !f->accesses));
	if (!(in->wide & 1))
		check(regs.rip <= UINT32_MAX && regs.rsp <= UINT32_MAX && !regs.r8);
	check(((regs.rflags ^ was.rflags) & ~(FLAGS_ARITH | FLAG_DF)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct device_ops dev_ops = { .type = "fuzz" };
	static const struct bus_ops bus_ops = { .max_width = 8,
						.read = dev_read,
						.write = dev_write };
	const uint8_t pause = 0;
	_Atomic uint64_t interrupts = 0;
	struct fixture *f;
	struct lookahead_config cfg;
	struct lookahead *la;
	struct input in;

	if (size <= sizeof(in) || size > sizeof(in) + PAGE_SIZE_4K)
		return 0;
	f = calloc(1, sizeof(*f));
	check(f && !mem_init(&f->mem, RAM));
	cfg = (struct lookahead_config){
		.mem = &f->mem,
		.bus = &f->bus,
		.acct = &f->acct,
		.pause = &pause,
		.interrupts = &interrupts,
		.max_ticks = UINT64_MAX,
		.always = true,
	};
	bus_init(&f->bus);
	device_init(&f->dev, &dev_ops, "fuzz0");
	check(!bus_add(&f->bus, BUS_PIO, PORT, 0xff00, &f->dev, &bus_ops));
	la = lookahead_create(&cfg);
	check(la != NULL);
	memcpy(&in, data, sizeof(in));
	fill_tables(f, &in);
	check(!mem_write(&f->mem, CODE + in.code % PAGE_SIZE_4K, data + sizeof(in),
			 size - sizeof(in)));
	/* Each knows a little more than the one before. */
	for (unsigned i = 0; i < RUNS; i++)
		run(f, la, &in);
	lookahead_destroy(la);
	bus_destroy(&f->bus);
	mem_destroy(&f->mem);
	free(f);
	return 0;
}
