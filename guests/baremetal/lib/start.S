/* SPDX-License-Identifier: MIT */
/*
 * The PVH entry of every guest, in both flavours: 32-bit guests stay in flat protected
 * mode, 64-bit ones go on to long mode with 8 GiB mapped one to one by 2 MiB pages,
 * which ring 3 may use as well.
 */
#include "guests/baremetal/lib/arch.h"

#define NOTE_PHYS32_ENTRY 18
#define STACK_SIZE 0x4000
#define NR_PD 8

	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, NOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long _start

	.text
	.code32
	.globl _start
_start:
	movl %eax, entry_state
	movl %ebx, entry_state + 4
	movl %edx, entry_state + 8
	movl %cr0, %eax
	movl %eax, entry_state + 12
	movl %cr3, %eax
	movl %eax, entry_state + 16
	movl %cr4, %eax
	movl %eax, entry_state + 20
	movl $stack_top, %esp
	pushfl
	popl entry_state + 24
	movl %cs, %eax
	movl %eax, entry_state + 28
	movl %ds, %eax
	movl %eax, entry_state + 32
	movl %ss, %eax
	movl %eax, entry_state + 36
	str %eax
	movl %eax, entry_state + 40
	cld
	lgdt gdt_desc32
	ljmp $SEL_CODE32, $1f
1:
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	movl %eax, %ss

#ifdef __x86_64__
	movl $page_dirs, %edi
	movl $0x87, %eax		/* present, writable, user, 2 MiB */
	xorl %edx, %edx
	movl $(NR_PD * 512), %ecx
2:	movl %eax, (%edi)
	movl %edx, 4(%edi)
	addl $0x200000, %eax
	adcl $0, %edx
	addl $8, %edi
	decl %ecx
	jnz 2b
	movl $page_pdpt, %edi
	movl $(page_dirs + 7), %eax
	movl $NR_PD, %ecx
3:	movl %eax, (%edi)
	addl $0x1000, %eax
	addl $8, %edi
	decl %ecx
	jnz 3b
	movl $(page_pdpt + 7), page_pml4
	call enter_long
	.code64
	xorl %ebp, %ebp
	call rt_main
	hlt

/* Called in 32-bit mode, returns in 64-bit mode: APs come through here as well. */
	.code32
	.globl enter_long
enter_long:
	movl $(CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT), %eax
	movl %eax, %cr4
	movl $page_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	andl $~0xc, %eax		/* EM, TS off: SSE may be used */
	orl $(CR0_PG | CR0_WP | 0x2), %eax
	movl %eax, %cr0
	ljmp $SEL_CODE64, $4f
	.code64
4:	movl (%rsp), %eax
	addq $4, %rsp
	jmp *%rax
#else
	xorl %ebp, %ebp
	call rt_main
	hlt
#endif

	.data
	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* SEL_CODE32 */
	.quad 0x00cf93000000ffff	/* SEL_DATA */
	.quad 0x00af9b000000ffff	/* SEL_CODE64 */
	.quad 0x00009b070000ffff	/* SEL_CODE16, base REAL_BASE */
	.quad 0x000093000000ffff	/* SEL_DATA16 */
	.quad 0x00cff3000000ffff	/* SEL_USER_DATA */
	.quad 0x00affb000000ffff	/* SEL_USER_CODE64 */
	.quad 0, 0			/* SEL_TSS, filled in by irq_init() */
	.quad 0x0040930000000fff	/* SEL_SMALL */
	.quad 0
	.globl gdt_desc32
gdt_desc32:
	.word SEL_NR * 8 - 1
	.long gdt
	.long 0				/* the rest of a 64-bit base */
	.balign 4
	.globl entry_state
entry_state:
	.fill 11, 4, 0

	.bss
#ifdef __x86_64__
	.balign 4096
page_dirs:
	.skip NR_PD * 4096
page_pdpt:
	.skip 4096
	.globl page_pml4
page_pml4:
	.skip 4096
#endif
	.balign 16
	.skip STACK_SIZE
stack_top:

	.section .note.GNU-stack, "", @progbits
