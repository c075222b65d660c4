/* SPDX-License-Identifier: MIT */
/*
 * A guest's instruction, taken apart as far as to run it: by Zydis, and a table of those that
 * are known here. What is not in the table, or has a form or prefix that the table does not
 * mean, is no instruction for us.
 */
#ifndef CPU_LOOKAHEAD_INSN_H
#define CPU_LOOKAHEAD_INSN_H

#include "base/util.h"
#include "cpu/lookahead/alu.h"

#define AHEAD_INSN_MAX 15 /* bytes */

enum ahead_op {
	AHEAD_UNKNOWN,
	/* exec.c */
	AHEAD_MOV, /* MOVZX too: what the source is narrower than the destination is zero */
	AHEAD_MOVSX,
	AHEAD_LEA,
	AHEAD_ALU, /* dst = dst op src */
	AHEAD_ALU_TEST, /* likewise, for the flags alone */
	AHEAD_IMUL3, /* dst = src * imm */
	AHEAD_MUL, /* rDX:rAX = rAX * dst */
	AHEAD_IMUL,
	AHEAD_NOT,
	AHEAD_BSWAP,
	AHEAD_XCHG,
	AHEAD_EXTEND_A, /* CBW, CWDE, CDQE */
	AHEAD_EXTEND_D, /* CWD, CDQ, CQO */
	AHEAD_PUSH,
	AHEAD_POP,
	AHEAD_LEAVE,
	AHEAD_CALL,
	AHEAD_RET,
	AHEAD_JMP,
	AHEAD_JCC,
	AHEAD_SETCC,
	AHEAD_CMOVCC,
	AHEAD_CLC,
	AHEAD_STC,
	AHEAD_CMC,
	AHEAD_CLD,
	AHEAD_STD,
	AHEAD_LAHF,
	AHEAD_SAHF,
	AHEAD_NOP,
	AHEAD_FENCE,
	/* port.c */
	AHEAD_IN,
	AHEAD_OUT,
	AHEAD_INS,
	AHEAD_OUTS,
};

enum ahead_kind { AHEAD_NONE, AHEAD_REG, AHEAD_IMM, AHEAD_MEM, AHEAD_REL };

struct ahead_operand {
	uint8_t kind;
	uint8_t width; /* bytes; of an immediate, what the instruction makes of it */
	uint8_t reg;
	uint8_t high; /* AH, CH, DH, BH */
};

/* No base, no index; the address of the next instruction. */
enum { AHEAD_REG_NONE = 0xff, AHEAD_REG_RIP = 0xfe };

struct ahead_mem {
	uint8_t seg;
	uint8_t base, index;
	uint8_t scale;
	uint8_t width; /* of the address: 4 or 8 bytes */
	int64_t disp;
};

struct ahead_insn {
	uint8_t op; /* enum ahead_op */
	uint8_t alu; /* enum ahead_alu */
	uint8_t cond;
	uint8_t len;
	bool rep;
	struct ahead_operand dst, src;
	struct ahead_mem
		mem; /* where one of them is AHEAD_MEM; strings: their segment, and width */
	uint64_t imm; /* sign-extended */
};

/*
 * Takes the instruction in len bytes of code apart; op is AHEAD_UNKNOWN where it is none of
 * ours. False where the bytes end before the instruction does.
 */
bool ahead_decode(bool wide, const uint8_t *code, size_t len, struct ahead_insn *insn) __must_check;

static inline bool ahead_is_port(const struct ahead_insn *insn)
{
	return insn->op >= AHEAD_IN;
}

#endif
