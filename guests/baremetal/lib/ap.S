/* SPDX-License-Identifier: MIT */
/* Where an AP begins: copied to AP_BASE, in real mode at AP_BASE / 16:0. */
#include "guests/baremetal/lib/arch.h"

#ifdef __x86_64__
#define AP_STACK 4096

	.section .rodata
	.balign 16
	.globl ap_code
ap_code:
	.code16
	cli
	mov %cs, %ax
	mov %ax, %ds
	mov %cr0, %ebx
	movzwl %ax, %edi
	lgdtl ap_gdt - ap_code
	mov %ebx, %eax
	and $~0x60000000, %eax		/* CD, NW */
	or $1, %al
	mov %eax, %cr0
	ljmpl $SEL_CODE32, $ap_entry32
	.balign 4
ap_gdt:
	.word SEL_NR * 8 - 1
	.long gdt
	.globl ap_code_end
ap_code_end:

	.text
	.code32
ap_entry32:
	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %ebx, ap_cr0
	mov %edi, ap_cs
	mov $1, %esi
	lock xadd %esi, ap_next
	mov %esi, %esp
	inc %esp
	imul $AP_STACK, %esp, %esp
	add $ap_stacks, %esp
	call enter_long
	.code64
	mov %esi, %edi
	xor %ebp, %ebp
	call ap_main
	hlt
#endif

	.section .note.GNU-stack, "", @progbits
