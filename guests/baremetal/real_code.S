/* SPDX-License-Identifier: MIT */
/*
 * real_call() goes down to real mode and up again. The code between real_code and
 * real_code_end is copied to REAL_BASE first and runs there, as segment REAL_BASE / 16.
 */
#include "base/platform.h"
#include "guests/baremetal/lib/arch.h"

#define REAL_SEG 0x7000		/* REAL_BASE >> 4 */
#define SCRATCH_SEG 0x8000	/* 64 KiB of RAM to write to */
#define HERE(label) ((label) - real_code)
#define TICKS 3

	.text
	.code32
	.globl real_call
real_call:
	push %ebx
	push %esi
	push %edi
	push %ebp
	mov %esp, saved_sp
	ljmp $SEL_CODE16, $HERE(to_real)

back_to_prot:
	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	mov saved_sp, %esp
	pop %ebp
	pop %edi
	pop %esi
	pop %ebx
	ret

	.bss
	.balign 4
saved_sp:
	.skip 4

	.section .rodata
	.balign 16
	.globl real_code
real_code:
	.code16
	/* Segments with limits that fit real mode stay in the hidden parts. */
to_real:
	mov $SEL_DATA16, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %fs
	mov %ax, %gs
	mov %ax, %ss
	lidtl %cs:HERE(vectors)
	mov %cr0, %eax
	and $0xfe, %al
	mov %eax, %cr0
	ljmp $REAL_SEG, $HERE(in_real)

in_real:
	mov $REAL_SEG, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0xfff0, %sp
	xor %ax, %ax
	mov %ax, %fs			/* the vector table */
	mov $SCRATCH_SEG, %ax
	mov %ax, %es
	cld

	mov %cr0, %eax
	and $1, %ax
	mov %ax, HERE(cr0)

	/* 8000:1230 and 8120:0030 are one address */
	movw $0xbeef, %es:0x1230
	mov $(SCRATCH_SEG + 0x120), %ax
	mov %ax, %gs
	mov %gs:0x30, %ax
	mov %ax, HERE(segment_read)

	/* The first word behind 1 MiB is in our image: put it back. */
	mov $0xffff, %ax
	mov %ax, %gs
	mov %gs:0x10, %bx
	movw $0xcafe, %gs:0x10
	mov %gs:0x10, %ax
	mov %ax, HERE(hma_read)
	mov %bx, %gs:0x10

	mov $0xa345, %ax
	add $0x8000, %ax
	mov %ax, HERE(sum)
	setc HERE(carry)
	mov $0xffff, %ax
	mov $0x1000, %dx
	mul %dx
	mov %dx, HERE(product_high)

	/* Four bytes of 0x01, then of 0x02 over the second half, then a copy of it all */
	xor %di, %di
	mov $0x01, %al
	mov $4, %cx
	rep stosb
	mov $2, %di
	mov $0x02, %al
	mov $2, %cx
	rep stosb
	push %ds
	push %es
	pop %ds
	xor %si, %si
	mov $0x100, %di
	mov $2, %cx
	rep movsw
	pop %ds
	mov %es:0x102, %ax
	mov %ax, HERE(copied)

	push %es
	push %ds
	pop %es
	mov $HERE(text), %di
	mov $10, %cx
	mov $'m', %al
	repne scasb
	sub $HERE(text), %di
	mov %di, HERE(scanned)
	pop %es

	/* lcall to the same code by a segment of its own */
	mov $0x1230, %ax
	lcall $(REAL_SEG - 0x100), $(HERE(far_add) + 0x1000)
	mov %ax, HERE(far_result)

	/* Our own vector 0x60 */
	movw $HERE(int_60), %fs:(0x60 * 4)
	movw $REAL_SEG, %fs:(0x60 * 4 + 2)
	movw $HERE(irq_0), %fs:(8 * 4)
	movw $REAL_SEG, %fs:(8 * 4 + 2)
	movw $HERE(divide), %fs:0
	movw $REAL_SEG, %fs:2
	mov $0x1234, %ax
	sti
	int $0x60
	mov %ax, HERE(int_ax)
	pushf
	cli
	pop %ax
	and $EFLAGS_IF, %ax
	mov %ax, HERE(after_flags)

	movw $0, HERE(divide_ip_ok)
	xor %cx, %cx
	mov $1, %ax
	xor %dx, %dx
bad_div:
	div %cx
after_div:

	/* With DF set: "cd" first, then "ab" */
	mov $HERE(abcd) + 2, %si
	std
	lodsw
	mov %ax, %bx
	lodsw
	cld
	mov %bl, %ah			/* 'c' behind 'a' */
	mov %ax, HERE(backwards)

	mov %sp, %bx
	pusha
	mov $0x5555, %ax
	popa
	cmp %sp, %bx
	sete HERE(stack_ok)

	/* A string to the serial port, which takes all of it at once */
	mov $HERE(text), %si
	mov $(text_end - text), %cx
	mov $PLATFORM_PORT_COM1, %dx
	rep outsb

	/* The timer, 100 times a second, by the PIC with the BIOS's base */
	mov $0x11, %al
	out %al, $0x20
	mov $8, %al
	out %al, $0x21
	mov $4, %al
	out %al, $0x21
	mov $1, %al
	out %al, $0x21
	mov $0xfe, %al
	out %al, $0x21
	mov $0x34, %al
	out %al, $(PLATFORM_PORT_PIT + 3)
	mov $0x9c, %al
	out %al, $PLATFORM_PORT_PIT
	mov $0x2e, %al
	out %al, $PLATFORM_PORT_PIT
	movw $0, HERE(ticks)
	sti
	mov $40, %cx			/* at most 40 halts: other things wake too */
1:	cmpw $TICKS, HERE(ticks)
	jae 2f
	hlt
	loop 1b
2:	cli
	mov $0xff, %al
	out %al, $0x21

	lidtl HERE(vectors)
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $SEL_CODE32, $back_to_prot

far_add:
	add $4, %ax
	lret

int_60:
	pushf
	popw %cs:HERE(int_flags)
	andw $EFLAGS_IF, %cs:HERE(int_flags)
	mov $0x4321, %ax
	iret

irq_0:
	push %ax
	incw %cs:HERE(ticks)
	mov $0x20, %al
	out %al, $0x20
	pop %ax
	iret

	/* A fault: the saved IP is the instruction's own, so step over it. */
divide:
	push %bp
	mov %sp, %bp
	cmpw $HERE(bad_div), 2(%bp)
	jne 1f
	movw $1, %cs:HERE(divide_ip_ok)
1:	movw $HERE(after_div), 2(%bp)
	pop %bp
	iret

	.balign 4
vectors:
	.word 0x3ff
	.long 0
text:
	.ascii "# from real mode: string output\n"
text_end:
abcd:
	.ascii "abcd"

	.balign 4
	.globl real_results
real_results:
cr0:		.word 0xffff
segment_read:	.word 0
hma_read:	.word 0
sum:		.word 0
carry:		.word 0
product_high:	.word 0
copied:		.word 0
scanned:	.word 0
far_result:	.word 0
int_ax:		.word 0
int_flags:	.word 0xffff
after_flags:	.word 0
divide_ip_ok:	.word 0
ticks:		.word 0
backwards:	.word 0
stack_ok:	.word 0
	.globl real_code_end
real_code_end:

	.section .note.GNU-stack, "", @progbits
