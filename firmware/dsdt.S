/* SPDX-License-Identifier: MIT */
/* The AML of dsdt.asl; the build folder is on the include path. */
	.section .rodata
	.balign 16
	.globl firmware_dsdt
	.type firmware_dsdt, @object
firmware_dsdt:
	.incbin "firmware/dsdt.aml"
	.set firmware_dsdt_len_bytes, . - firmware_dsdt
	.size firmware_dsdt, . - firmware_dsdt
	.balign 4
	.globl firmware_dsdt_len
	.type firmware_dsdt_len, @object
firmware_dsdt_len:
	.long firmware_dsdt_len_bytes
	.size firmware_dsdt_len, 4
	.section .note.GNU-stack, "", @progbits
