/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/insn.h"

#include <Zydis/Zydis.h>

#include "cpu/lookahead/state.h"

enum shape {
	SHAPE_GENERAL, /* dst and src as they are written */
	SHAPE_ALONE, /* its operands say nothing that is needed */
	SHAPE_BIT, /* as general; the bit's number is taken modulo the width */
	SHAPE_REGS, /* registers only: in memory it is a locked one */
	SHAPE_STACK, /* of the mode's own width */
	SHAPE_BRANCH, /* likewise */
	SHAPE_STRING,
};

struct row {
	uint8_t op;
	uint8_t alu;
	uint8_t shape;
};

#define M(mnemonic) [ZYDIS_MNEMONIC_##mnemonic]
#define GENERAL(op)                          \
	{                                    \
		AHEAD_##op, 0, SHAPE_GENERAL \
	}
#define ALU(alu)                                    \
	{                                           \
		AHEAD_ALU, ALU_##alu, SHAPE_GENERAL \
	}
#define FLAGS_OF(alu)                                    \
	{                                                \
		AHEAD_ALU_TEST, ALU_##alu, SHAPE_GENERAL \
	}
#define ALONE(op)                          \
	{                                  \
		AHEAD_##op, 0, SHAPE_ALONE \
	}
#define BRANCH(op)                          \
	{                                   \
		AHEAD_##op, 0, SHAPE_BRANCH \
	}
#define STACK(op)                          \
	{                                  \
		AHEAD_##op, 0, SHAPE_STACK \
	}
#define STRING(op)                          \
	{                                   \
		AHEAD_##op, 0, SHAPE_STRING \
	}

/* clang-format off */
static const struct row rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	M(MOV) = GENERAL(MOV), M(MOVZX) = GENERAL(MOV), M(MOVSX) = GENERAL(MOVSX),
	M(MOVSXD) = GENERAL(MOVSX), M(LEA) = GENERAL(LEA), M(BSWAP) = GENERAL(BSWAP),
	M(XCHG) = { AHEAD_XCHG, 0, SHAPE_REGS },
	M(CBW) = ALONE(EXTEND_A), M(CWDE) = ALONE(EXTEND_A), M(CDQE) = ALONE(EXTEND_A),
	M(CWD) = ALONE(EXTEND_D), M(CDQ) = ALONE(EXTEND_D), M(CQO) = ALONE(EXTEND_D),

	M(ADD) = ALU(ADD), M(OR) = ALU(OR), M(ADC) = ALU(ADC), M(SBB) = ALU(SBB),
	M(AND) = ALU(AND), M(SUB) = ALU(SUB), M(XOR) = ALU(XOR),
	M(CMP) = FLAGS_OF(SUB), M(TEST) = FLAGS_OF(AND),
	M(INC) = ALU(INC), M(DEC) = ALU(DEC), M(NEG) = ALU(NEG), M(NOT) = GENERAL(NOT),
	M(ROL) = ALU(ROL), M(ROR) = ALU(ROR), M(RCL) = ALU(RCL), M(RCR) = ALU(RCR),
	M(SHL) = ALU(SHL), M(SHR) = ALU(SHR), M(SAR) = ALU(SAR),
	M(MUL) = GENERAL(MUL), M(IMUL) = GENERAL(IMUL),
	M(BSF) = ALU(BSF), M(BSR) = ALU(BSR),
	M(BT) = { AHEAD_ALU_TEST, ALU_BT, SHAPE_BIT }, M(BTS) = { AHEAD_ALU, ALU_BTS, SHAPE_BIT },
	M(BTR) = { AHEAD_ALU, ALU_BTR, SHAPE_BIT }, M(BTC) = { AHEAD_ALU, ALU_BTC, SHAPE_BIT },

	M(PUSH) = STACK(PUSH), M(POP) = STACK(POP), M(LEAVE) = STACK(LEAVE),
	M(CALL) = BRANCH(CALL), M(RET) = BRANCH(RET), M(JMP) = BRANCH(JMP),
	M(JO) = BRANCH(JCC), M(JNO) = BRANCH(JCC), M(JB) = BRANCH(JCC), M(JNB) = BRANCH(JCC),
	M(JZ) = BRANCH(JCC), M(JNZ) = BRANCH(JCC), M(JBE) = BRANCH(JCC), M(JNBE) = BRANCH(JCC),
	M(JS) = BRANCH(JCC), M(JNS) = BRANCH(JCC), M(JP) = BRANCH(JCC), M(JNP) = BRANCH(JCC),
	M(JL) = BRANCH(JCC), M(JNL) = BRANCH(JCC), M(JLE) = BRANCH(JCC), M(JNLE) = BRANCH(JCC),

	M(SETO) = GENERAL(SETCC), M(SETNO) = GENERAL(SETCC), M(SETB) = GENERAL(SETCC),
	M(SETNB) = GENERAL(SETCC), M(SETZ) = GENERAL(SETCC), M(SETNZ) = GENERAL(SETCC),
	M(SETBE) = GENERAL(SETCC), M(SETNBE) = GENERAL(SETCC), M(SETS) = GENERAL(SETCC),
	M(SETNS) = GENERAL(SETCC), M(SETP) = GENERAL(SETCC), M(SETNP) = GENERAL(SETCC),
	M(SETL) = GENERAL(SETCC), M(SETNL) = GENERAL(SETCC), M(SETLE) = GENERAL(SETCC),
	M(SETNLE) = GENERAL(SETCC),
	M(CMOVO) = GENERAL(CMOVCC), M(CMOVNO) = GENERAL(CMOVCC), M(CMOVB) = GENERAL(CMOVCC),
	M(CMOVNB) = GENERAL(CMOVCC), M(CMOVZ) = GENERAL(CMOVCC), M(CMOVNZ) = GENERAL(CMOVCC),
	M(CMOVBE) = GENERAL(CMOVCC), M(CMOVNBE) = GENERAL(CMOVCC), M(CMOVS) = GENERAL(CMOVCC),
	M(CMOVNS) = GENERAL(CMOVCC), M(CMOVP) = GENERAL(CMOVCC), M(CMOVNP) = GENERAL(CMOVCC),
	M(CMOVL) = GENERAL(CMOVCC), M(CMOVNL) = GENERAL(CMOVCC), M(CMOVLE) = GENERAL(CMOVCC),
	M(CMOVNLE) = GENERAL(CMOVCC),

	M(CLC) = ALONE(CLC), M(STC) = ALONE(STC), M(CMC) = ALONE(CMC),
	M(CLD) = ALONE(CLD), M(STD) = ALONE(STD),
	M(LAHF) = ALONE(LAHF), M(SAHF) = ALONE(SAHF),
	M(NOP) = ALONE(NOP), M(ENDBR32) = ALONE(NOP), M(ENDBR64) = ALONE(NOP),
	M(LFENCE) = ALONE(FENCE), M(MFENCE) = ALONE(FENCE), M(SFENCE) = ALONE(FENCE),

	M(IN) = GENERAL(IN), M(OUT) = GENERAL(OUT),
	M(INSB) = STRING(INS), M(INSW) = STRING(INS), M(INSD) = STRING(INS),
	M(OUTSB) = STRING(OUTS), M(OUTSW) = STRING(OUTS), M(OUTSD) = STRING(OUTS),
};
/* clang-format on */

static bool has_prefix(const ZydisDecodedInstruction *z, uint8_t prefix)
{
	for (unsigned i = 0; i < z->raw.prefix_count; i++)
		if (z->raw.prefixes[i].value == prefix)
			return true;
	return false;
}

static uint8_t segment_number(ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_ES:
		return SEG_ES;
	case ZYDIS_REGISTER_CS:
		return SEG_CS;
	case ZYDIS_REGISTER_SS:
		return SEG_SS;
	case ZYDIS_REGISTER_FS:
		return SEG_FS;
	case ZYDIS_REGISTER_GS:
		return SEG_GS;
	default:
		return SEG_DS;
	}
}

/* A general-purpose register as operand or address; false for any other. */
static bool take_reg(ZydisRegister reg, uint8_t *number, uint8_t *high)
{
	*high = 0;
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
			*number = (uint8_t)(reg - ZYDIS_REGISTER_AH);
			*high = 1;
			return true;
		}
		*number = (uint8_t)(reg - ZYDIS_REGISTER_AL);
		if (reg >= ZYDIS_REGISTER_SPL) /* behind AH to BH */
			*number = (uint8_t)(*number - 4);
		return true;
	case ZYDIS_REGCLASS_GPR16:
		*number = (uint8_t)(reg - ZYDIS_REGISTER_AX);
		return true;
	case ZYDIS_REGCLASS_GPR32:
		*number = (uint8_t)(reg - ZYDIS_REGISTER_EAX);
		return true;
	case ZYDIS_REGCLASS_GPR64:
		*number = (uint8_t)(reg - ZYDIS_REGISTER_RAX);
		return true;
	default:
		return false;
	}
}

/* Base or index. */
static bool take_address_reg(ZydisRegister reg, uint8_t *number)
{
	uint8_t high;

	if (reg == ZYDIS_REGISTER_NONE) {
		*number = AHEAD_REG_NONE;
		return true;
	}
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) {
		*number = AHEAD_REG_RIP;
		return true;
	}
	return take_reg(reg, number, &high);
}

/* REX.B has no part in this (SDM vol. 2, table 2-5); to Zydis 4.0.0 it is R13 with prefix 67. */
static bool has_no_base(const ZydisDecodedInstruction *z)
{
	return z->attributes & ZYDIS_ATTRIB_HAS_SIB && !z->raw.modrm.mod &&
	       (z->raw.sib.base & 7) == 5;
}

static bool take_mem(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
		     struct ahead_insn *insn)
{
	struct ahead_mem *m = &insn->mem;

	if (o->mem.type != ZYDIS_MEMOP_TYPE_MEM && o->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
		return false;
	m->seg = segment_number(o->mem.segment);
	m->scale = o->mem.scale;
	m->width = z->address_width / 8;
	m->disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
	if (m->width < 4 || !take_address_reg(o->mem.base, &m->base) ||
	    !take_address_reg(o->mem.index, &m->index))
		return false;
	if (has_no_base(z)) {
		m->base = AHEAD_REG_NONE;
		m->disp = z->raw.disp.value;
	}
	return true;
}

static bool width_ok(unsigned width)
{
	return width == 1 || width == 2 || width == 4 || width == 8;
}

static bool take_operand(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
			 struct ahead_insn *insn, struct ahead_operand *out)
{
	out->width = (uint8_t)(o->size / 8);
	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		out->kind = AHEAD_REG;
		return take_reg(o->reg.value, &out->reg, &out->high) && width_ok(out->width);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		out->kind = AHEAD_MEM;
		return take_mem(z, o, insn) && (insn->op == AHEAD_LEA || width_ok(out->width));
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		out->kind = o->imm.is_relative ? AHEAD_REL : AHEAD_IMM;
		insn->imm = o->imm.value.u;
		return true;
	default:
		return false;
	}
}

/* MUL and IMUL have one to three operands, and are as many instructions. */
static bool take_multiply(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
			  struct ahead_insn *insn)
{
	struct ahead_operand imm;

	if (insn->op != AHEAD_IMUL || z->operand_count_visible == 1)
		return true;
	if (z->operand_count_visible == 2) {
		insn->op = AHEAD_ALU;
		insn->alu = ALU_IMUL;
		return true;
	}
	insn->op = AHEAD_IMUL3;
	return take_operand(z, &o[2], insn, &imm) && imm.kind == AHEAD_IMM;
}

static bool take_operands(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
			  struct ahead_insn *insn)
{
	if (z->operand_count_visible > 0 && !take_operand(z, &o[0], insn, &insn->dst))
		return false;
	if (z->operand_count_visible > 1 && !take_operand(z, &o[1], insn, &insn->src))
		return false;
	if (insn->dst.kind == AHEAD_IMM)
		insn->dst.width = z->operand_width / 8;
	if (insn->src.kind == AHEAD_IMM)
		insn->src.width = insn->dst.width;
	return take_multiply(z, o, insn);
}

/* The data's width in dst; the segment and the registers' width. */
static bool take_string(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o,
			struct ahead_insn *insn)
{
	if (has_prefix(z, 0xf2))
		return false;
	insn->rep = z->attributes & ZYDIS_ATTRIB_HAS_REP;
	for (unsigned i = 0; i < z->operand_count; i++) {
		if (o[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		insn->dst.width = (uint8_t)(o[i].size / 8);
		return take_mem(z, &o[i], insn);
	}
	return false;
}

static bool take(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o, bool wide,
		 enum shape shape, struct ahead_insn *insn)
{
	const uint64_t locked =
		ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_XACQUIRE | ZYDIS_ATTRIB_HAS_XRELEASE;

	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || z->attributes & locked)
		return false;
	switch (shape) {
	case SHAPE_ALONE:
		insn->dst.width = z->operand_width / 8;
		return true;
	case SHAPE_STRING:
		return take_string(z, o, insn);
	case SHAPE_STACK:
	case SHAPE_BRANCH:
		/* CPUs do not agree about what a branch of another width is. */
		if (has_prefix(z, 0x66) || z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
			return false;
		if (!take_operands(z, o, insn))
			return false;
		return insn->dst.kind == AHEAD_NONE || insn->dst.kind == AHEAD_IMM ||
		       insn->dst.kind == AHEAD_REL || insn->dst.width == (wide ? 8 : 4);
	case SHAPE_REGS:
		return take_operands(z, o, insn) && insn->dst.kind == AHEAD_REG &&
		       insn->src.kind == AHEAD_REG;
	case SHAPE_BIT:
		return take_operands(z, o, insn) &&
		       (insn->dst.kind == AHEAD_REG || insn->src.kind == AHEAD_IMM);
	case SHAPE_GENERAL:
		break;
	}
	return take_operands(z, o, insn) &&
	       (insn->op != AHEAD_BSWAP || insn->dst.width >= 4); /* undefined */
}

bool ahead_decode(bool wide, const uint8_t *code, size_t len, struct ahead_insn *insn)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	ZydisDecoderContext context;
	ZydisDecoder decoder;
	const struct row *row;
	ZyanStatus status;

	*insn = (struct ahead_insn){ .op = AHEAD_UNKNOWN };
	ZydisDecoderInit(&decoder, wide ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
			 wide ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
	status = ZydisDecoderDecodeInstruction(&decoder, &context, code, len, &z);
	if (status == ZYDIS_STATUS_NO_MORE_DATA)
		return false;
	if (!ZYAN_SUCCESS(status))
		return true;
	row = &rows[z.mnemonic];
	if (row->op == AHEAD_UNKNOWN)
		return true;
	if (!ZYAN_SUCCESS(
		    ZydisDecoderDecodeOperands(&decoder, &context, &z, operands, z.operand_count)))
		return true;
	insn->op = row->op;
	insn->alu = row->alu;
	insn->cond = z.opcode & 15;
	insn->len = z.length;
	if (!take(&z, operands, wide, row->shape, insn))
		insn->op = AHEAD_UNKNOWN;
	return true;
}
