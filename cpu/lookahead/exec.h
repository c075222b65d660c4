/* SPDX-License-Identifier: MIT */
/*
 * One instruction, as the CPU would do it (Intel SDM vol. 2; AMD APM vol. 3).
 */
#ifndef CPU_LOOKAHEAD_EXEC_H
#define CPU_LOOKAHEAD_EXEC_H

#include "cpu/lookahead/insn.h"
#include "cpu/lookahead/state.h"

/*
 * Does it, RIP included. False where it is not known here, or where the CPU could fault: then
 * neither registers nor memory have changed.
 */
bool ahead_exec(struct ahead_cpu *cpu, const struct ahead_insn *insn) __must_check;

/* A register as an operand: as wide as that, and what of the rest a write leaves. */
uint64_t ahead_reg_get(const struct ahead_cpu *cpu, const struct ahead_operand *o);
void ahead_reg_set(struct ahead_cpu *cpu, const struct ahead_operand *o, uint64_t v);

/* The address behind the instruction. */
static inline uint64_t ahead_next(const struct ahead_cpu *cpu, const struct ahead_insn *insn)
{
	return ahead_wrap(cpu, cpu->rip + insn->len);
}

#endif
