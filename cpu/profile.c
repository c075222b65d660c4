/* SPDX-License-Identifier: MIT */
#include "cpu/profile.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES (PROFILE_ENTRIES * 3 / 4)
#define MAX_INSNS (PROFILE_INSNS * 3 / 4)
#define STACK_WORDS 64 /* how far above the stack pointer a return address is looked for */
#define CALL_MAX 7 /* bytes of the longest call without prefixes */
#define NEAR_CODE (2 * GIB) /* a kernel and its modules lie within this */
#define NEVER 1 /* profile_insn.searched: no function starts there */

struct profile *profile_create(const struct mem *mem)
{
	struct profile *p = calloc(1, sizeof(*p));

	if (p)
		p->mem = mem;
	return p;
}

void profile_destroy(struct profile *p)
{
	free(p);
}

void profile_clear(struct profile *p)
{
	atomic_store(&p->clear, true);
}

void profile_function(struct profile_insn *insn, uint64_t start)
{
	atomic_store_explicit(&insn->function, start, memory_order_relaxed);
}

bool profile_space(const struct profile *p, struct gva_space *out)
{
	*out = (struct gva_space){
		.cr0 = counter_get(&p->cr0),
		.cr3 = counter_get(&p->cr3),
		.cr4 = counter_get(&p->cr4),
		.efer = counter_get(&p->efer),
	};
	return out->cr0 != 0;
}

static void set(_Atomic uint64_t *p, uint64_t v)
{
	atomic_store_explicit(p, v, memory_order_relaxed);
}

/* Readers meanwhile see counts fall, never a torn entry: all but the counters stays. */
static void forget(struct profile *p)
{
	for (unsigned i = 0; i < PROFILE_ENTRIES; i++) {
		set(&p->entries[i].count, 0);
		set(&p->entries[i].ticks, 0);
	}
	set(&p->lost, 0);
	set(&p->lost_ticks, 0);
}

/* --- the stack -------------------------------------------------------------------- */

/* How a guest's code sees its stack and itself. */
struct frame {
	struct gva_space space;
	uint64_t rip, rsp; /* linear */
	unsigned word; /* bytes; 0: 16-bit code, whose calls we do not read */
};

static void frame_fill(struct frame *f, const struct kvm_sync_regs *regs)
{
	const struct kvm_sregs *s = &regs->sregs;

	f->space = (struct gva_space){ s->cr0, s->cr3, s->cr4, s->efer };
	f->word = s->cs.l ? 8 : s->cs.db ? 4 : 0;
	f->rip = s->cs.l ? regs->regs.rip : (uint32_t)(s->cs.base + regs->regs.rip);
	f->rsp = s->cs.l ? regs->regs.rsp : (uint32_t)(s->ss.base + regs->regs.rsp);
}

/* The length of an indirect near call (FF /2) with this ModRM and SIB; 0 if it is none. */
static unsigned indirect_length(uint8_t modrm, uint8_t sib)
{
	unsigned mod = modrm >> 6, rm = modrm & 7, len = 2;

	if ((modrm >> 3 & 7) != 2)
		return 0;
	if (mod == 3)
		return len;
	if (rm == 4)
		len++;
	if (mod == 1)
		len += 1;
	else if (mod == 2 || (mod == 0 && rm == 5) || (mod == 0 && rm == 4 && (sib & 7) == 5))
		len += 4;
	return len;
}

/* Whether the code before addr ends in a call; *target: where that leads, 0 if unknown. */
static bool after_call(const struct mem *mem, const struct frame *f, uint64_t addr,
		       uint64_t *target)
{
	uint8_t code[CALL_MAX];

	if (gva_read(mem, &f->space, addr - CALL_MAX, code, CALL_MAX))
		return false;
	*target = 0;
	if (code[CALL_MAX - 5] == 0xe8) {
		*target = addr + (uint64_t)(int64_t)(int32_t)load_le(code + CALL_MAX - 4, 4);
		if (f->word == 4)
			*target = (uint32_t)*target;
		return true;
	}
	for (unsigned len = 2; len <= CALL_MAX; len++) {
		const uint8_t *c = code + CALL_MAX - len;

		if (c[0] == 0xff && indirect_length(c[1], len > 2 ? c[2] : 0) == len)
			return true;
	}
	return false;
}

/* A return address at all: code of the same kind as rip is. */
static bool near_code(const struct frame *f, uint64_t addr)
{
	return addr - f->rip + NEAR_CODE < 2 * NEAR_CODE && addr >= CALL_MAX;
}

static uint64_t stack_word(const struct mem *mem, const struct frame *f, int place)
{
	uint64_t v = 0;

	if (gva_read(mem, &f->space, f->rsp + (uint64_t)place * f->word, &v, f->word))
		return 0;
	return v;
}

/* Sets insn->place. */
static void search_stack(const struct mem *mem, const struct frame *f, struct profile_insn *insn)
{
	uint64_t function = insn->searched;

	insn->place = -1;
	for (int i = 0; i < STACK_WORDS; i++) {
		uint64_t v = stack_word(mem, f, i), target;

		if (!near_code(f, v) || !after_call(mem, f, v, &target))
			continue;
		if (function && target == function) {
			insn->place = i;
			return;
		}
		if (insn->place < 0)
			insn->place = i;
	}
}

/* --- the tables ------------------------------------------------------------------- */

static unsigned hash(uint64_t v, unsigned size)
{
	return (unsigned)((v * 0x9e3779b97f4a7c15ull) >> 40) % size;
}

/* The instruction at rip, made if it is new; NULL when the table is full. */
static struct profile_insn *find_insn(struct profile *p, uint64_t rip)
{
	for (unsigned i = hash(rip, PROFILE_INSNS);; i = (i + 1) % PROFILE_INSNS) {
		struct profile_insn *insn = &p->insns[i];
		uint64_t found = counter_get(&insn->rip);

		if (found == rip)
			return insn;
		if (found)
			continue;
		if (p->nr_insns == MAX_INSNS)
			return NULL;
		p->nr_insns++;
		insn->searched = NEVER;
		atomic_store_explicit(&insn->rip, rip, memory_order_release);
		return insn;
	}
}

static uint64_t find_caller(struct profile *p, const struct frame *f)
{
	struct profile_insn *insn = f->word ? find_insn(p, f->rip) : NULL;
	uint64_t function, caller;

	if (!insn)
		return 0;
	function = counter_get(&insn->function);
	if (insn->searched != function) {
		insn->searched = function;
		search_stack(p->mem, f, insn);
	}
	if (insn->place < 0)
		return 0;
	caller = stack_word(p->mem, f, insn->place);
	return near_code(f, caller) ? caller : 0;
}

static struct profile_entry *find_entry(struct profile *p, const struct frame *f, uint64_t caller,
					unsigned row, uint64_t access)
{
	unsigned i = hash(f->rip ^ caller << 20 ^ access << 7 ^ row, PROFILE_ENTRIES);

	for (;; i = (i + 1) % PROFILE_ENTRIES) {
		struct profile_entry *e = &p->entries[i];
		uint64_t rip = counter_get(&e->rip);

		if (rip == f->rip && e->caller == caller && e->access == access && e->row == row)
			return e;
		if (rip)
			continue;
		if (p->nr_entries == MAX_ENTRIES)
			return NULL;
		p->nr_entries++;
		e->caller = caller;
		e->access = access;
		e->row = row;
		if (!caller || !after_call(p->mem, f, caller, &e->target))
			e->target = 0;
		atomic_store_explicit(&e->rip, f->rip, memory_order_release);
		return e;
	}
}

/* The upper half of a 64-bit kernel, or whatever a 32-bit one runs at privilege level 0. */
static void note_space(struct profile *p, const struct frame *f, const struct kvm_sregs *s)
{
	if (s->cs.dpl != 0 || counter_get(&p->cr3) == s->cr3)
		return;
	set(&p->cr3, s->cr3);
	set(&p->cr4, f->space.cr4);
	set(&p->efer, f->space.efer);
	set(&p->cr0, f->space.cr0);
}

void profile_exit(struct profile *p, const struct kvm_sync_regs *regs, unsigned row,
		  uint64_t access, uint64_t ticks)
{
	struct profile_entry *e;
	struct frame f;

	if (atomic_load_explicit(&p->clear, memory_order_relaxed)) {
		atomic_store(&p->clear, false);
		forget(p);
	}
	frame_fill(&f, regs);
	note_space(p, &f, &regs->sregs);
	e = f.rip ? find_entry(p, &f, find_caller(p, &f), row, access) : NULL;
	if (!e) {
		counter_add(&p->lost, 1);
		counter_add(&p->lost_ticks, ticks);
		return;
	}
	counter_add(&e->count, 1);
	counter_add(&e->ticks, ticks);
}
