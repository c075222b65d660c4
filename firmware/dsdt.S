/* SPDX-License-Identifier: MIT */
/* The AML of dsdt.asl; the build folder is on the include path. */
	.section .rodata
	.balign 16
	.globl firmware_dsdt
	.globl firmware_dsdt_end
	.type firmware_dsdt, @object
firmware_dsdt:
	.incbin "firmware/dsdt.aml"
firmware_dsdt_end:
	.size firmware_dsdt, . - firmware_dsdt
	.section .note.GNU-stack, "", @progbits
