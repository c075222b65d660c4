/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/state.h"

#include <string.h>

#define CR0_PE (1ull << 0)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LMA (1ull << 10)

/* VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP LA57 FSGSBASE PCIDE OSXSAVE SMEP SMAP PKE */
#define CR4_KNOWN 0x771fffull
/* SCE LME LMA NXE FFXSR TCE AIBRSE */
#define EFER_KNOWN 0x20cd01ull

/* Where struct kvm_regs has them: in an order of its own. */
static const size_t reg_place[NR_GPRS] = {
	offsetof(struct kvm_regs, rax), offsetof(struct kvm_regs, rcx),
	offsetof(struct kvm_regs, rdx), offsetof(struct kvm_regs, rbx),
	offsetof(struct kvm_regs, rsp), offsetof(struct kvm_regs, rbp),
	offsetof(struct kvm_regs, rsi), offsetof(struct kvm_regs, rdi),
	offsetof(struct kvm_regs, r8),  offsetof(struct kvm_regs, r9),
	offsetof(struct kvm_regs, r10), offsetof(struct kvm_regs, r11),
	offsetof(struct kvm_regs, r12), offsetof(struct kvm_regs, r13),
	offsetof(struct kvm_regs, r14), offsetof(struct kvm_regs, r15),
};

static bool mode_known(const struct kvm_regs *regs, const struct kvm_sregs *s)
{
	bool lma = s->efer & EFER_LMA;

	if (!(s->cr0 & CR0_PE) || s->cr4 & ~CR4_KNOWN || s->efer & ~EFER_KNOWN)
		return false;
	if (regs->rflags & (FLAG_TF | FLAG_RF | FLAG_VM))
		return false;
	if (s->ss.dpl || s->cs.dpl || !s->cs.present)
		return false;
	if (s->cs.l)
		return lma && !s->cs.db;
	/*
	 * Legacy PAE translates by four entries that the CPU has read when CR3 was written: what
	 * memory has by now may be something else.
	 */
	if (s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !lma)
		return false;
	return s->cs.db && s->ss.db;
}

bool ahead_cpu_load(struct ahead_cpu *cpu, const struct kvm_regs *regs,
		    const struct kvm_sregs *sregs)
{
	if (!mode_known(regs, sregs))
		return false;
	for (unsigned i = 0; i < NR_GPRS; i++)
		memcpy(&cpu->gpr[i], (const char *)regs + reg_place[i], sizeof(cpu->gpr[i]));
	cpu->rip = regs->rip;
	cpu->rflags = regs->rflags;
	cpu->wide = sregs->cs.l;
	cpu->seg[SEG_ES] = sregs->es;
	cpu->seg[SEG_CS] = sregs->cs;
	cpu->seg[SEG_SS] = sregs->ss;
	cpu->seg[SEG_DS] = sregs->ds;
	cpu->seg[SEG_FS] = sregs->fs;
	cpu->seg[SEG_GS] = sregs->gs;
	cpu->cr0 = sregs->cr0;
	cpu->cr3 = sregs->cr3;
	cpu->cr4 = sregs->cr4;
	cpu->efer = sregs->efer;
	cpu->run++;
	return true;
}

void ahead_cpu_store(const struct ahead_cpu *cpu, struct kvm_regs *regs)
{
	for (unsigned i = 0; i < NR_GPRS; i++)
		memcpy((char *)regs + reg_place[i], &cpu->gpr[i], sizeof(cpu->gpr[i]));
	regs->rip = cpu->rip;
	regs->rflags = cpu->rflags;
}
