/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/exec.h"

#include "cpu/lookahead/space.h"

/* --- operands ------------------------------------------------------------------ */

uint64_t ahead_reg_get(const struct ahead_cpu *cpu, const struct ahead_operand *o)
{
	return cpu->gpr[o->reg] >> (o->high ? 8 : 0) & width_mask(o->width);
}

void ahead_reg_set(struct ahead_cpu *cpu, const struct ahead_operand *o, uint64_t v)
{
	uint64_t *reg = &cpu->gpr[o->reg];
	unsigned shift = o->high ? 8 : 0;
	uint64_t mask = width_mask(o->width);

	if (o->width >= 4)
		*reg = v & mask; /* the upper half becomes zero */
	else
		*reg = (*reg & ~(mask << shift)) | (v & mask) << shift;
}

static uint64_t address_reg(const struct ahead_cpu *cpu, const struct ahead_insn *insn, uint8_t reg)
{
	if (reg == AHEAD_REG_NONE)
		return 0;
	return reg == AHEAD_REG_RIP ? cpu->rip + insn->len : cpu->gpr[reg];
}

static uint64_t address(const struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	const struct ahead_mem *m = &insn->mem;
	uint64_t v = (uint64_t)m->disp + address_reg(cpu, insn, m->base) +
		     address_reg(cpu, insn, m->index) * m->scale;

	return v & width_mask(m->width);
}

static bool get(struct ahead_cpu *cpu, const struct ahead_insn *insn, const struct ahead_operand *o,
		uint64_t *v)
{
	switch (o->kind) {
	case AHEAD_REG:
		*v = ahead_reg_get(cpu, o);
		return true;
	case AHEAD_MEM:
		return ahead_load(cpu, insn->mem.seg, address(cpu, insn), o->width, v);
	default:
		*v = insn->imm; /* 0 where there is no operand */
		return true;
	}
}

static bool set(struct ahead_cpu *cpu, const struct ahead_insn *insn, const struct ahead_operand *o,
		uint64_t v)
{
	if (o->kind == AHEAD_MEM)
		return ahead_store(cpu, insn->mem.seg, address(cpu, insn), o->width, v);
	ahead_reg_set(cpu, o, v);
	return true;
}

static int64_t sign_extend(uint64_t v, unsigned width)
{
	unsigned shift = 64 - width * 8;

	return (int64_t)(v << shift) >> shift;
}

/* --- data ---------------------------------------------------------------------- */

static bool do_mov(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t v;

	if (!get(cpu, insn, &insn->src, &v))
		return false;
	if (insn->op == AHEAD_MOVSX)
		v = (uint64_t)sign_extend(v, insn->src.width);
	return set(cpu, insn, &insn->dst, v);
}

static bool do_alu(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t rflags = cpu->rflags, dst, src;

	if (!get(cpu, insn, &insn->dst, &dst) || !get(cpu, insn, &insn->src, &src))
		return false;
	/* Of no bit at all the number is undefined, and what becomes of the register. */
	if ((insn->alu == ALU_BSF || insn->alu == ALU_BSR) && !src)
		return false;
	dst = ahead_alu(insn->alu, insn->dst.width, dst, src, &rflags);
	if (insn->op == AHEAD_ALU && !set(cpu, insn, &insn->dst, dst))
		return false;
	cpu->rflags = rflags;
	return true;
}

static bool do_imul3(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t src;

	if (!get(cpu, insn, &insn->src, &src))
		return false;
	src = ahead_alu(ALU_IMUL, insn->dst.width, src, insn->imm, &cpu->rflags);
	ahead_reg_set(cpu, &insn->dst, src);
	return true;
}

static bool do_multiply(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	unsigned width = insn->dst.width;
	struct ahead_operand a = { AHEAD_REG, (uint8_t)width, REG_AX, 0 }, d = a;
	uint64_t src, low, high;

	d.reg = REG_DX;
	if (!get(cpu, insn, &insn->dst, &src))
		return false;
	low = ahead_reg_get(cpu, &a);
	high = ahead_reg_get(cpu, &d);
	ahead_multiply(insn->op == AHEAD_IMUL, width, &low, &high, src, &cpu->rflags);
	if (width == 1) {
		a.width = 2;
	} else {
		ahead_reg_set(cpu, &d, high);
	}
	ahead_reg_set(cpu, &a, low);
	return true;
}

static bool do_not(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t v;

	return get(cpu, insn, &insn->dst, &v) && set(cpu, insn, &insn->dst, ~v);
}

static void do_bswap(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t v = ahead_reg_get(cpu, &insn->dst);

	v = insn->dst.width == 8 ? __builtin_bswap64(v) : __builtin_bswap32((uint32_t)v);
	ahead_reg_set(cpu, &insn->dst, v);
}

static void do_xchg(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t a = ahead_reg_get(cpu, &insn->dst), b = ahead_reg_get(cpu, &insn->src);

	ahead_reg_set(cpu, &insn->dst, b);
	ahead_reg_set(cpu, &insn->src, a);
}

/* CBW and its kin: AL to AX to EAX to RAX. CWD and its: the sign of rAX throughout rDX. */
static void do_extend(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint8_t width = insn->dst.width;
	bool within = insn->op == AHEAD_EXTEND_A;
	const struct ahead_operand to = { AHEAD_REG, width, within ? REG_AX : REG_DX, 0 };
	int64_t v = sign_extend(cpu->gpr[REG_AX], within ? width / 2 : width);

	if (!within)
		v = v < 0 ? -1 : 0;
	ahead_reg_set(cpu, &to, (uint64_t)v);
}

/* --- the stack and branches ---------------------------------------------------- */

/* The word below the stack's top; rSP is the caller's to move. */
static bool push(struct ahead_cpu *cpu, uint64_t v)
{
	uint64_t top = ahead_wrap(cpu, cpu->gpr[REG_SP] - ahead_word(cpu));

	if (!ahead_store(cpu, SEG_SS, top, ahead_word(cpu), v))
		return false;
	cpu->gpr[REG_SP] = top;
	return true;
}

static bool do_push(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t v;

	return get(cpu, insn, &insn->dst, &v) && push(cpu, v);
}

static bool do_pop(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	unsigned word = ahead_word(cpu);
	uint64_t v;

	if (insn->dst.kind != AHEAD_REG ||
	    !ahead_load(cpu, SEG_SS, ahead_wrap(cpu, cpu->gpr[REG_SP]), word, &v))
		return false;
	cpu->gpr[REG_SP] = ahead_wrap(cpu, cpu->gpr[REG_SP] + word);
	cpu->gpr[insn->dst.reg] = v; /* POP rSP has what was popped */
	return true;
}

static bool do_leave(struct ahead_cpu *cpu)
{
	unsigned word = ahead_word(cpu);
	uint64_t frame = ahead_wrap(cpu, cpu->gpr[REG_BP]), v;

	if (!ahead_load(cpu, SEG_SS, frame, word, &v))
		return false;
	cpu->gpr[REG_SP] = ahead_wrap(cpu, frame + word);
	cpu->gpr[REG_BP] = v;
	return true;
}

/* Where a jump or a call leads. */
static bool target(struct ahead_cpu *cpu, const struct ahead_insn *insn, uint64_t *to)
{
	if (insn->dst.kind == AHEAD_REL)
		*to = ahead_wrap(cpu, ahead_next(cpu, insn) + insn->imm);
	else if (!get(cpu, insn, &insn->dst, to))
		return false;
	return ahead_target_ok(cpu, *to);
}

static bool do_call(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t to;

	if (!target(cpu, insn, &to) || !push(cpu, ahead_next(cpu, insn)))
		return false;
	cpu->rip = to;
	return true;
}

static bool do_ret(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	unsigned word = ahead_word(cpu);
	uint64_t to, more = insn->dst.kind == AHEAD_IMM ? insn->imm & 0xffff : 0;

	if (!ahead_load(cpu, SEG_SS, ahead_wrap(cpu, cpu->gpr[REG_SP]), word, &to) ||
	    !ahead_target_ok(cpu, to))
		return false;
	cpu->gpr[REG_SP] = ahead_wrap(cpu, cpu->gpr[REG_SP] + word + more);
	cpu->rip = to;
	return true;
}

static bool do_jump(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t to;

	if (insn->op == AHEAD_JCC && !ahead_condition(insn->cond, cpu->rflags)) {
		cpu->rip = ahead_next(cpu, insn);
		return true;
	}
	if (!target(cpu, insn, &to))
		return false;
	cpu->rip = to;
	return true;
}

/* --- conditions and flags ------------------------------------------------------ */

/* The source is loaded, and may fault, in any case; so is the destination written. */
static bool do_cmov(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t v;

	if (!get(cpu, insn, &insn->src, &v))
		return false;
	if (!ahead_condition(insn->cond, cpu->rflags))
		v = ahead_reg_get(cpu, &insn->dst);
	ahead_reg_set(cpu, &insn->dst, v);
	return true;
}

static void do_flag(struct ahead_cpu *cpu, enum ahead_op op)
{
	const uint64_t low = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF;
	const struct ahead_operand ah = { AHEAD_REG, 1, REG_AX, 1 };

	switch (op) {
	case AHEAD_CLC:
		cpu->rflags &= ~FLAG_CF;
		break;
	case AHEAD_STC:
		cpu->rflags |= FLAG_CF;
		break;
	case AHEAD_CMC:
		cpu->rflags ^= FLAG_CF;
		break;
	case AHEAD_CLD:
		cpu->rflags &= ~FLAG_DF;
		break;
	case AHEAD_STD:
		cpu->rflags |= FLAG_DF;
		break;
	case AHEAD_LAHF:
		ahead_reg_set(cpu, &ah, (cpu->rflags & low) | FLAG_FIXED);
		break;
	default: /* SAHF */
		cpu->rflags = (cpu->rflags & ~low) | (ahead_reg_get(cpu, &ah) & low);
		break;
	}
}

/* All but those that branch: RIP is the caller's. */
static bool do_straight(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	switch (insn->op) {
	case AHEAD_MOV:
	case AHEAD_MOVSX:
		return do_mov(cpu, insn);
	case AHEAD_LEA:
		ahead_reg_set(cpu, &insn->dst, address(cpu, insn));
		return true;
	case AHEAD_ALU:
	case AHEAD_ALU_TEST:
		return do_alu(cpu, insn);
	case AHEAD_IMUL3:
		return do_imul3(cpu, insn);
	case AHEAD_MUL:
	case AHEAD_IMUL:
		return do_multiply(cpu, insn);
	case AHEAD_NOT:
		return do_not(cpu, insn);
	case AHEAD_BSWAP:
		do_bswap(cpu, insn);
		return true;
	case AHEAD_XCHG:
		do_xchg(cpu, insn);
		return true;
	case AHEAD_EXTEND_A:
	case AHEAD_EXTEND_D:
		do_extend(cpu, insn);
		return true;
	case AHEAD_PUSH:
		return do_push(cpu, insn);
	case AHEAD_POP:
		return do_pop(cpu, insn);
	case AHEAD_LEAVE:
		return do_leave(cpu);
	case AHEAD_SETCC:
		return set(cpu, insn, &insn->dst, ahead_condition(insn->cond, cpu->rflags));
	case AHEAD_CMOVCC:
		return do_cmov(cpu, insn);
	case AHEAD_CLC:
	case AHEAD_STC:
	case AHEAD_CMC:
	case AHEAD_CLD:
	case AHEAD_STD:
	case AHEAD_LAHF:
	case AHEAD_SAHF:
		do_flag(cpu, insn->op);
		return true;
	case AHEAD_NOP:
		return true;
	case AHEAD_FENCE:
		atomic_thread_fence(memory_order_seq_cst);
		return true;
	default:
		return false;
	}
}

bool ahead_exec(struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	uint64_t next = ahead_next(cpu, insn);

	switch (insn->op) {
	case AHEAD_CALL:
		return do_call(cpu, insn);
	case AHEAD_RET:
		return do_ret(cpu, insn);
	case AHEAD_JMP:
	case AHEAD_JCC:
		return do_jump(cpu, insn);
	default:
		break;
	}
	if (!ahead_target_ok(cpu, next) || !do_straight(cpu, insn))
		return false;
	cpu->rip = next;
	return true;
}
