/* SPDX-License-Identifier: MIT */
/*
 * A guest's CPU for as long as one lookahead run lasts: the registers that the run changes, and
 * those that say how its code sees memory. Kernel code only, in 64-bit mode or in 32-bit
 * protected mode (Intel SDM vol. 1, chapters 3 and 5).
 */
#ifndef CPU_LOOKAHEAD_STATE_H
#define CPU_LOOKAHEAD_STATE_H

#include <linux/kvm.h>

#include "base/mem.h"

#define FLAG_CF (1ull << 0)
#define FLAG_FIXED (1ull << 1)
#define FLAG_PF (1ull << 2)
#define FLAG_AF (1ull << 4)
#define FLAG_ZF (1ull << 6)
#define FLAG_SF (1ull << 7)
#define FLAG_TF (1ull << 8)
#define FLAG_IF (1ull << 9)
#define FLAG_DF (1ull << 10)
#define FLAG_OF (1ull << 11)
#define FLAG_RF (1ull << 16)
#define FLAG_VM (1ull << 17)
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

/* As instructions number them. */
enum { REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI, NR_GPRS = 16 };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, NR_SEGS };

#define AHEAD_TLB 32

/* A page of 4 KiB that was walked to in this run. */
struct ahead_page {
	uint64_t run; /* of which run it is */
	uint64_t gva;
	uint64_t gpa;
	bool write; /* and its dirty bit is set */
	bool exec;
};

struct ahead_cpu {
	uint64_t gpr[NR_GPRS];
	uint64_t rip, rflags;
	bool wide; /* 64-bit code; else 32-bit */
	struct kvm_segment seg[NR_SEGS];
	uint64_t cr0, cr3, cr4, efer;

	struct mem *mem;
	uint64_t run; /* counts the runs: what the TLB holds of others is void */
	struct ahead_page tlb[AHEAD_TLB];
};

/*
 * Takes the registers; false where the run must not begin: real, virtual-8086 or 16-bit mode,
 * user code, single steps, a feature in the control registers whose meaning is not known here.
 */
bool ahead_cpu_load(struct ahead_cpu *cpu, const struct kvm_regs *regs,
		    const struct kvm_sregs *sregs) __must_check;
void ahead_cpu_store(const struct ahead_cpu *cpu, struct kvm_regs *regs);

/* An address or a stack pointer, as wide as the mode has it. */
static inline uint64_t ahead_wrap(const struct ahead_cpu *cpu, uint64_t v)
{
	return cpu->wide ? v : (uint32_t)v;
}

/* Bytes of a return address. */
static inline unsigned ahead_word(const struct ahead_cpu *cpu)
{
	return cpu->wide ? 8 : 4;
}

#endif
