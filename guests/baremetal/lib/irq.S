/* SPDX-License-Identifier: MIT */
/* A stub of 16 bytes for each vector, and the way into ring 3 and back. */
#include "guests/baremetal/lib/arch.h"

	.text
	.balign 16
	.globl irq_stubs
irq_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	/* The CPU pushes an error code of its own for these. */
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
	.else
	push $0
	.endif
	push $vector
	jmp common
	.set vector, vector + 1
	.endr

common:
#ifdef __x86_64__
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $~15, %rsp
	cld
	call irq_dispatch
	mov %rbp, %rsp
	cmpl $IRQ_USER_RETURN, 120(%rsp)
	je back
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rbp
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp
	iretq

	.globl user_call
user_call:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, kernel_rsp
	mov %rsp, irq_tss + 4		/* rsp0 */
	push $SEL_USER_DATA
	push $user_stack_top
	push $2
	push $SEL_USER_CODE64
	push $1f
	iretq
1:	mov %rdi, %rax
	mov %rsi, %rdi
	call *%rax
	.globl user_exit
user_exit:				/* any exception leads back; not every KVM does int */
	ud2

back:
	mov kernel_rsp, %rsp
	mov $SEL_DATA, %eax
	mov %eax, %ss
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.bss
	.balign 16
	.skip 4096
user_stack_top:
kernel_rsp:
	.skip 8
#else
	pusha
	push %esp
	cld
	call irq_dispatch
	add $4, %esp
	popa
	add $8, %esp
	/* An iret to the same ring, which KVM's emulator lacks in protected mode: ip, cs, flags
	   on the stack become flags, ip */
	push %eax
	mov 4(%esp), %eax
	xchg 12(%esp), %eax
	mov %eax, 8(%esp)
	pop %eax
	lea 4(%esp), %esp
	popf
	ret
#endif

	.section .note.GNU-stack, "", @progbits
