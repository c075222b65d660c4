/* SPDX-License-Identifier: MIT */
#include "tests/unit/ahead_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TARGET_DISTANCE 0x40 /* of a branch, from the instruction */

void rig_create(struct ahead_rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	assert_int_equal(mem_init(&rig->mem, RIG_RAM), 0);
	rig->next_table = RIG_TABLES + PAGE_SIZE_4K;
}

void rig_destroy(struct ahead_rig *rig)
{
	mem_destroy(&rig->mem);
}

static uint64_t *entry_at(struct ahead_rig *rig, uint64_t table, unsigned index)
{
	uint64_t *e = mem_at(&rig->mem, table + index * 8, 8);

	assert_non_null(e);
	return e;
}

static uint64_t *walk(struct ahead_rig *rig, uint64_t gva, unsigned last)
{
	uint64_t table = RIG_TABLES;

	for (unsigned shift = 39;; shift -= 9) {
		uint64_t *e = entry_at(rig, table, gva >> shift & 511);

		if (shift == last)
			return e;
		if (!*e) {
			*e = rig->next_table | 0x27; /* present, writable, user, accessed */
			rig->next_table += PAGE_SIZE_4K;
		}
		table = *e & ~(PAGE_SIZE_4K - 1);
	}
}

uint64_t *rig_entry(struct ahead_rig *rig, uint64_t gva)
{
	return walk(rig, gva, 12);
}

uint64_t *rig_directory_entry(struct ahead_rig *rig, uint64_t gva)
{
	return walk(rig, gva, 21);
}

void rig_map(struct ahead_rig *rig, uint64_t gva, uint64_t gpa, uint64_t flags)
{
	*rig_entry(rig, gva) = gpa | flags;
}

void rig_sregs(bool wide, struct kvm_sregs *out)
{
	const struct kvm_segment data = { .limit = 0xffffffff,
					  .selector = 0x18,
					  .type = 3,
					  .present = 1,
					  .s = 1,
					  .g = 1,
					  .db = 1 };
	struct kvm_segment code = data;

	code.selector = 0x10;
	code.type = 11;
	code.l = wide;
	code.db = !wide;
	out->cs = code;
	out->ds = out->es = out->fs = out->gs = out->ss = data;
	out->cr0 = 0x31 | (wide ? 1ull << 31 : 0);
	out->cr3 = wide ? RIG_TABLES : 0;
	out->cr4 = wide ? 1 << 5 : 0;
	out->efer = wide ? 0x500 : 0;
}

/* --- random instructions ------------------------------------------------------- */

uint64_t rig_random(struct rig_random *r)
{
	/* xorshift64* */
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545f4914f6cdd1dull;
}

static unsigned below(struct rig_random *r, unsigned n)
{
	return (unsigned)(rig_random(r) >> 33) % n;
}

/* Numbers at which arithmetic is interesting, and any other. */
static uint64_t number(struct rig_random *r)
{
	static const uint64_t edges[] = { 0,          1,          2,          0x7f,
					  0x80,       0xff,       0x7fff,     0x8000,
					  0xffff,     0x7fffffff, 0x80000000, 0xffffffff,
					  1ull << 63, ~0ull >> 1, ~0ull };

	switch (below(r, 4)) {
	case 0:
		return edges[below(r, ARRAY_SIZE(edges))];
	case 1:
		return below(r, 70);
	default:
		return rig_random(r);
	}
}

/* The opcodes that have forms which are known; what is not is thrown away afterwards. */
static const uint8_t opcodes[] = {
	0x00,
	0x01,
	0x02,
	0x03,
	0x04,
	0x05,
	0x08,
	0x09,
	0x0a,
	0x0b,
	0x0c,
	0x0d,
	0x10,
	0x11,
	0x12,
	0x13,
	0x14,
	0x15,
	0x18,
	0x19,
	0x1a,
	0x1b,
	0x1c,
	0x1d,
	0x20,
	0x21,
	0x22,
	0x23,
	0x24,
	0x25,
	0x28,
	0x29,
	0x2a,
	0x2b,
	0x2c,
	0x2d,
	0x30,
	0x31,
	0x32,
	0x33,
	0x34,
	0x35,
	0x38,
	0x39,
	0x3a,
	0x3b,
	0x3c,
	0x3d,
	0x40,
	0x44,
	0x48,
	0x4c,
	0x50,
	0x51,
	0x54,
	0x55,
	0x58,
	0x59,
	0x5c,
	0x5d,
	0x63,
	0x68,
	0x69,
	0x6a,
	0x6b,
	0x70,
	0x71,
	0x72,
	0x73,
	0x74,
	0x75,
	0x76,
	0x77,
	0x78,
	0x79,
	0x7a,
	0x7b,
	0x7c,
	0x7d,
	0x7e,
	0x7f,
	0x80,
	0x81,
	0x83,
	0x84,
	0x85,
	0x86,
	0x87,
	0x88,
	0x89,
	0x8a,
	0x8b,
	0x8d,
	0x90,
	0x91,
	0x96,
	0x98,
	0x99,
	0x9e,
	0x9f,
	0xa0,
	0xa1,
	0xa2,
	0xa3,
	0xa8,
	0xa9,
	0xb0,
	0xb5,
	0xb8,
	0xbf,
	0xc0,
	0xc1,
	0xc2,
	0xc3,
	0xc6,
	0xc7,
	0xc9,
	0xd0,
	0xd1,
	0xd2,
	0xd3,
	0xe8,
	0xe9,
	0xeb,
	0xf5,
	0xf6,
	0xf7,
	0xf8,
	0xf9,
	0xfc,
	0xfd,
	0xfe,
	0xff,
	/* Many in one. */
	0xf6,
	0xf7,
	0xf7,
	0xf7,
	0xff,
	0xff,
	0xff,
	0xd1,
	0xd3,
	0xd3,
	0xc1,
	0xc1,
};

static const uint8_t opcodes_0f[] = {
	0x1e, 0x1f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b,
	0x4c, 0x4d, 0x4e, 0x4f, 0x80, 0x85, 0x8c, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96,
	0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa3, 0xab, 0xae, 0xaf, 0xb3,
	0xb6, 0xb7, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0xc8, 0xc9, 0xcc, 0xcf,
};

/* Bytes that may be an instruction; *modrm: where that would be. */
static void random_bytes(struct rig_random *r, uint8_t *code, unsigned *modrm)
{
	static const uint8_t prefixes[] = { 0x66, 0x66, 0x66, 0x67, 0xf3 };
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	unsigned n = 0;

	for (unsigned i = 0; i < AHEAD_INSN_MAX; i++)
		code[i] = (uint8_t)rig_random(r);
	if (below(r, 8) == 0)
		code[n++] = segments[below(r, ARRAY_SIZE(segments))];
	while (below(r, 3) == 0 && n < 4)
		code[n++] = prefixes[below(r, ARRAY_SIZE(prefixes))];
	if (r->wide && below(r, 2))
		code[n++] = (uint8_t)(0x40 | below(r, 16));
	if (below(r, 3) == 0) {
		code[n++] = 0x0f;
		code[n++] = opcodes_0f[below(r, ARRAY_SIZE(opcodes_0f))];
		if (code[n - 1] == 0xae)
			code[n] = (uint8_t)(0xe8 + 8 * below(r, 3)); /* the fences */
	} else {
		code[n] = opcodes[below(r, ARRAY_SIZE(opcodes))];
		if (r->wide && (code[n] & 0xf0) == 0x40)
			code[n] = 0x90; /* it would be a prefix */
		n++;
	}
	*modrm = n;
}

/*
 * Puts the scratch's address into the registers, or the displacement, that lead there; or to a
 * few bytes before, which *target then is.
 */
static bool aim(struct rig_random *r, struct rig_case *c, uint64_t *gpr, unsigned modrm,
		uint64_t *target)
{
	const struct ahead_mem *m = &c->insn.mem;
	bool has_index = m->index != AHEAD_REG_NONE;
	uint64_t want = *target - r->base[m->seg];

	if (c->insn.op == AHEAD_LEA || c->insn.op == AHEAD_NOP)
		return true;
	if (r->wide && m->width != 8)
		return false; /* the scratch is not there */
	if (m->base == AHEAD_REG_RIP) {
		store_le(c->code + modrm + 1, 4, want - (r->code + c->insn.len));
		return (uint64_t)(int64_t)(int32_t)load_le(c->code + modrm + 1, 4) ==
		       want - (r->code + c->insn.len);
	}
	if (m->base == AHEAD_REG_NONE && !has_index) {
		if ((c->code[modrm - 1] & 0xfc) != 0xa0)
			return false; /* an address of 32 bits */
		store_le(c->code + modrm, m->width, want);
		return true;
	}
	want -= (uint64_t)m->disp;
	if (!r->wide)
		want = (uint32_t)want;
	if (m->base == AHEAD_REG_NONE || m->base == m->index) {
		unsigned factor = m->scale + (m->base == m->index);

		gpr[m->index] = want / factor;
		*target -= want % factor;
		return true;
	}
	if (has_index)
		want -= gpr[m->index] * m->scale;
	gpr[m->base] = r->wide ? want : (uint32_t)want;
	return true;
}

/* A branch gets somewhere: its distance, or the pointer that it takes. */
static void direct(struct rig_random *r, struct rig_case *c, uint64_t *gpr, unsigned modrm,
		   uint64_t target)
{
	const struct ahead_insn *insn = &c->insn;
	unsigned word = r->wide ? 8 : 4;

	c->taken = r->code + TARGET_DISTANCE;
	if (insn->dst.kind == AHEAD_REL) {
		uint8_t opcode = c->code[modrm - 1];
		unsigned len = opcode == 0xeb || (opcode & 0xf0) == 0x70 ? 1 : 4;

		store_le(c->code + insn->len - len, len, TARGET_DISTANCE - insn->len);
	} else if (insn->op == AHEAD_RET) {
		store_le(c->scratch + (gpr[REG_SP] - r->scratch), word, c->taken);
	} else if (insn->dst.kind == AHEAD_REG) {
		gpr[insn->dst.reg] = c->taken;
	} else {
		store_le(c->scratch + (target - r->scratch), word, c->taken);
	}
}

/*
 * What QEMU's software CPU, the lab's, does not do as the manuals say: second encodings of TEST,
 * RET with more than 32 KiB, which it takes for less than nothing, and to rotate a byte or a
 * word through the carry more than once around.
 */
static bool is_odd(const struct rig_case *c, unsigned modrm)
{
	const struct ahead_insn *insn = &c->insn;

	if ((c->code[modrm - 1] & 0xfe) == 0xf6 && (c->code[modrm] & 0x38) == 0x08)
		return true;
	if (insn->op == AHEAD_RET)
		return insn->imm & 0x8000;
	return insn->op == AHEAD_ALU && (insn->alu == ALU_RCL || insn->alu == ALU_RCR) &&
	       insn->dst.width < 4 && insn->src.kind == AHEAD_IMM && (insn->imm & 31) > 8;
}

static bool is_branch(const struct ahead_insn *insn)
{
	return insn->op == AHEAD_CALL || insn->op == AHEAD_RET || insn->op == AHEAD_JMP ||
	       insn->op == AHEAD_JCC;
}

static bool has_mem(const struct ahead_insn *insn)
{
	return insn->dst.kind == AHEAD_MEM || insn->src.kind == AHEAD_MEM;
}

/* Where the registers that the instruction needs must point, they do. */
static bool in_scratch(const struct rig_random *r, uint64_t v)
{
	return v - r->scratch >= 128 && v - r->scratch < RIG_SCRATCH_SIZE - 128;
}

static bool uses_stack(const struct ahead_insn *insn)
{
	switch (insn->op) {
	case AHEAD_PUSH:
	case AHEAD_POP:
	case AHEAD_CALL:
	case AHEAD_RET:
		return true;
	default:
		return false;
	}
}

static bool random_case(struct rig_random *r, struct rig_case *c)
{
	/* Off the pages' ends, each in a page of its own. */
	uint64_t target = r->scratch + 512 + below(r, 3000);
	uint64_t stack = r->scratch + PAGE_SIZE_4K + 512 + (below(r, 300) * 8);
	uint64_t frame = r->scratch + 2 * PAGE_SIZE_4K + 512 + (below(r, 300) * 8);
	struct ahead_cpu cpu = { .rip = r->code, .rflags = FLAG_FIXED };
	unsigned modrm;

	random_bytes(r, c->code, &modrm);
	if (!ahead_decode(r->wide, c->code, sizeof(c->code), &c->insn) ||
	    c->insn.op == AHEAD_UNKNOWN || ahead_is_port(&c->insn) || is_odd(c, modrm))
		return false;
	if (!r->wide && has_mem(&c->insn) && c->insn.mem.seg == SEG_CS)
		return false; /* may not be written */
	for (unsigned i = 0; i < NR_GPRS; i++)
		cpu.gpr[i] = number(r);
	for (unsigned i = 0; i < sizeof(c->scratch); i += 8)
		store_le(c->scratch + i, 8, number(r));
	cpu.gpr[REG_SP] = stack;
	if (c->insn.op == AHEAD_LEAVE)
		cpu.gpr[REG_BP] = frame;
	if (!r->wide)
		for (unsigned i = 0; i < NR_GPRS; i++)
			cpu.gpr[i] = i < 8 ? (uint32_t)cpu.gpr[i] : 0;
	if (has_mem(&c->insn) && !aim(r, c, cpu.gpr, modrm, &target))
		return false;
	if (is_branch(&c->insn))
		direct(r, c, cpu.gpr, modrm, target);
	if (uses_stack(&c->insn) && !in_scratch(r, cpu.gpr[REG_SP]))
		return false;
	if (!ahead_decode(r->wide, c->code, sizeof(c->code), &c->insn) ||
	    c->insn.op == AHEAD_UNKNOWN)
		return false;
	cpu.rflags |= rig_random(r) & (FLAGS_ARITH | FLAG_DF);
	memset(&c->regs, 0, sizeof(c->regs));
	ahead_cpu_store(&cpu, &c->regs);
	return true;
}

void rig_random_case(struct rig_random *r, struct rig_case *c)
{
	while (!random_case(r, c))
		;
}

/* --- what was tried ------------------------------------------------------------ */

/* Of a shift or a rotation. */
static uint64_t undefined_by_count(const struct rig_case *c, bool shift)
{
	unsigned width = c->insn.dst.width;
	uint64_t count = c->insn.src.kind == AHEAD_IMM ? c->insn.imm : c->regs.rcx;

	count &= width == 8 ? 63 : 31;
	if (!count)
		return 0;
	return (count > 1 ? FLAG_OF : 0) | (shift ? FLAG_AF : 0) |
	       (shift && count >= width * 8 ? FLAG_CF : 0);
}

uint64_t rig_undefined_flags(const struct rig_case *c)
{
	switch (c->insn.op) {
	case AHEAD_MUL:
	case AHEAD_IMUL:
	case AHEAD_IMUL3:
		return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
	case AHEAD_ALU:
	case AHEAD_ALU_TEST:
		break;
	default:
		return 0;
	}
	switch (c->insn.alu) {
	case ALU_AND:
	case ALU_OR:
	case ALU_XOR:
		return FLAG_AF;
	case ALU_IMUL:
		return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
	case ALU_BT:
	case ALU_BTS:
	case ALU_BTR:
	case ALU_BTC:
		return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
	case ALU_BSF:
	case ALU_BSR:
		return FLAGS_ARITH & ~FLAG_ZF;
	case ALU_SHL:
	case ALU_SHR:
	case ALU_SAR:
		return undefined_by_count(c, true);
	case ALU_ROL:
	case ALU_ROR:
	case ALU_RCL:
	case ALU_RCR:
		return undefined_by_count(c, false);
	default:
		return 0;
	}
}

void rig_cover(struct rig_coverage *cover, const struct rig_case *c)
{
	cover->ops[c->insn.op][c->insn.dst.width]++;
	if (c->insn.op == AHEAD_ALU || c->insn.op == AHEAD_ALU_TEST)
		cover->alu[c->insn.alu][c->insn.dst.width]++;
	if (c->insn.op == AHEAD_JCC)
		cover->conditions[c->insn.cond][ahead_condition(c->insn.cond, c->regs.rflags)]++;
}

const char *rig_uncovered(const struct rig_coverage *cover, bool wide)
{
	static const unsigned widths[] = { 1, 2, 4, 8 };

	for (unsigned op = AHEAD_UNKNOWN + 1; op < AHEAD_IN; op++) {
		unsigned n = 0;

		for (unsigned width = 0; width < 9; width++)
			n += cover->ops[op][width];
		if (!n)
			return "an operation";
	}
	for (unsigned alu = 0; alu < ALU_NR; alu++)
		for (unsigned i = 0; i < ARRAY_SIZE(widths) - !wide; i++)
			if (!cover->alu[alu][widths[i]] &&
			    !(widths[i] == 1 && alu >= ALU_IMUL && alu <= ALU_BSR))
				return "an arithmetic operation";
	for (unsigned cond = 0; cond < 16; cond++)
		if (!cover->conditions[cond][0] || !cover->conditions[cond][1])
			return "a condition";
	return NULL;
}

const char *rig_bytes(const struct rig_case *c, char *buf, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->insn.len && n + 4 < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%02x ", c->code[i]);
	return buf;
}
