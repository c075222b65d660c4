/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic with flags, by the host CPU's own instructions: the guest's arithmetic flags are
 * loaded, the very operation is done, the flags are taken. So flags that an operation leaves
 * alone stay, and undefined ones are what this CPU makes of them, as for the guest itself.
 */
#ifndef CPU_LOOKAHEAD_ALU_H
#define CPU_LOOKAHEAD_ALU_H

#include "base/util.h"

enum ahead_alu {
	/* dst = dst op src */
	ALU_ADD,
	ALU_OR,
	ALU_ADC,
	ALU_SBB,
	ALU_AND,
	ALU_SUB,
	ALU_XOR,
	/* 2 bytes and more */
	ALU_IMUL,
	ALU_BT,
	ALU_BTS,
	ALU_BTR,
	ALU_BTC,
	ALU_BSF,
	ALU_BSR,
	/* by src modulo 32 or 64 */
	ALU_ROL,
	ALU_ROR,
	ALU_RCL,
	ALU_RCR,
	ALU_SHL,
	ALU_SHR,
	ALU_SAR,
	/* dst = op dst */
	ALU_INC,
	ALU_DEC,
	ALU_NEG,
	ALU_NR,
};

/*
 * width is 1, 2, 4 or 8 bytes; what the operands have above it is left out, and the result's
 * upper bits are zero. *rflags: the arithmetic flags change, nothing else.
 */
uint64_t ahead_alu(enum ahead_alu op, unsigned width, uint64_t dst, uint64_t src, uint64_t *rflags);

/* *low times src: the product's halves in *low and *high (for a width of 1: 16 bits in *low). */
void ahead_multiply(bool is_signed, unsigned width, uint64_t *low, uint64_t *high, uint64_t src,
		    uint64_t *rflags);

/* The condition of a jump, as the low 4 bits of its opcode name it (SDM vol. 1, appendix B). */
bool ahead_condition(unsigned cond, uint64_t rflags);

#endif
