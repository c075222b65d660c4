/* SPDX-License-Identifier: MIT */
/*
 * Functions whose exits are counted by caller: in assembly, so that no compiler
 * inlines, unrolls or clones them.
 */
#include "base/platform.h"

.macro function name
	.globl \name
	.type \name, @function
\name:
.endm

.macro end name
	.size \name, . - \name
.endm

	.text

function poke
	sub $24, %rsp /* a frame: the return address is not where the stack pointer is */
	out %al, $PLATFORM_PORT_POST
	add $24, %rsp
	ret
end poke

function poke_elsewhere
	out %al, $PLATFORM_PORT_POST
	ret
end poke_elsewhere

function first_caller
	mov $30, %ecx
1:	call poke
	dec %ecx
	jnz 1b
	ret
end first_caller

function second_caller
	mov $12, %ecx
1:	call poke
	dec %ecx
	jnz 1b
	ret
end second_caller

function pointer_caller
	lea poke_elsewhere(%rip), %rdx
	mov $9, %ecx
1:	call *%rdx
	dec %ecx
	jnz 1b
	ret
end pointer_caller

	.section .note.GNU-stack, "", @progbits
