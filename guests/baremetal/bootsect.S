/* SPDX-License-Identifier: MIT */
/*
 * A disk that firmware boots: sector 0 loads the next ones through INT 13h, and they ask
 * the BIOS for the rest, say what they find in TAP on COM2 (COM1 is the BIOS's own console)
 * and end by the debug exit. The first time round they destroy the BIOS's copy in RAM and
 * restart the machine: the firmware has to come up again from its ROM.
 *
 * Sector DATA_LBA begins with a letter that is said, so that the host sees which disk was
 * booted; sector WRITE_LBA is written. All of it is linked at 7c00h, in segment 0.
 */
#include "base/platform.h"

#define CODE_SECTORS 6
#define DATA_LBA 7
#define WRITE_LBA 8
#define SECTOR 512

/* Buffers in segment 0, behind the code */
#define BUF_LBA 0x9000
#define BUF_CHS 0x9200
#define BUF_WRITE 0x9400
#define BUF_ROM 0x9600
#define BUF_E820 0x9700
#define BUF_PARAMETERS 0x9800

#define BUF_AP 0xa000	/* where another CPU starts: on a page */

/* The 82441FX's PAM registers: two bits for each half. */
#define PAM_F0000 0x59	/* the high half */
#define PAM_D0000 0x5c	/* the low half; the other one stays as it is */
#define PAM_RE 1
#define PAM_WE 2

/* x2APIC: the command register is an MSR, which 16-bit code can write. */
#define MSR_APIC_BASE 0x1b
#define APIC_BASE_X2APIC 0xc00
#define MSR_X2APIC_ICR 0x830
#define ICR_OTHERS_INIT 0xc4500
#define ICR_OTHERS_STARTUP 0xc4600

#define AP_VALUE 0x55667788 /* what it finds at D0000h */
#define CMOS_OTHER_CPUS 0x5f
#define CMOS_RESTARTED 0x60	/* RAM that means nothing to anybody */
#define RESTARTED 0x5a
#define TICK_COUNT 0x46c

	.code16
	.text
	.globl _start
_start:
	ljmp $0, $1f
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $_start, %sp
	cld
	sti
	mov %dl, drive
	mov $greeting, %si
1:	lodsb
	mov $0x0e, %ah
	mov $7, %bx
	int $0x10
	cmpb $0, (%si)
	jne 1b
	mov $code_packet, %si
	mov $0x42, %ah
	call disk
	jnc tests
	mov $1, %al
	out %al, $PLATFORM_PORT_DEBUG_EXIT
	hlt

/* An INT 13h of the boot drive. */
disk:
	mov drive, %dl
	int $0x13
	ret

drive:
	.byte 0
greeting:
	.asciz "INT 10h says: bantam boot sector\r\n"

/* Disk address packet: INT 13h, functions 42h and 43h */
.macro PACKET name, buffer, lba, count
\name:
	.byte 16, 0
	.short \count, \buffer, 0
	.quad \lba
.endm
	.balign 4
PACKET code_packet, tests, 1, CODE_SECTORS

	.org 510
	.short 0xaa55

/* --- from sector 1 on ------------------------------------------------------------- */

tests:
	mov $line_start, %si
	call say
	call restart_once

	mov $is_80h, %si
	cmpb $0x80, drive
	call verdict_equal

	mov $0x41, %ah
	mov $0x55aa, %bx
	call disk
	mov $has_lba, %si
	jc 1f
	cmp $0xaa55, %bx
	je 1f
	stc
1:	call verdict

	call parameters
	call reading
	call writing
	mov $beyond_packet, %si
	mov $0x42, %ah
	call disk
	cmc
	mov $beyond_fails, %si
	call verdict
	call memory_map
	call tables
	call rom
	call bios_protected
	call shadow
	call shadow_changes
	call time

	mov $plan, %si
	call say
	mov test_number, %al
	call say_number_al
	mov $newline, %si
	call say
	mov failed, %al
	out %al, $PLATFORM_PORT_DEBUG_EXIT
1:	hlt
	jmp 1b

/* The first time: leaves a mark in the CMOS RAM and pulls the reset line. */
restart_once:
	mov $CMOS_RESTARTED, %al
	out %al, $PLATFORM_PORT_RTC_INDEX
	in $PLATFORM_PORT_RTC_DATA, %al
	cmp $RESTARTED, %al
	je 1f
	mov $restarting, %si
	call say
	mov $CMOS_RESTARTED, %al
	out %al, $PLATFORM_PORT_RTC_INDEX
	mov $RESTARTED, %al
	out %al, $PLATFORM_PORT_RTC_DATA
	cli
	mov $PAM_F0000, %bl
	mov $(PAM_RE | PAM_WE) << 4, %al
	call bridge_out
	push $0xf000
	pop %es
	xor %di, %di
	mov $0xf4f4f4f4, %eax	/* hlt */
	mov $0x4000, %cx
	rep stosl
	mov $PLATFORM_PORT_RESET, %dx
	mov $6, %al
	out %al, %dx
2:	hlt
	jmp 2b
1:	mov $did_restart, %si
	clc
	jmp verdict

/* What the drive says of its size, for the host to compare. */
parameters:
	mov $BUF_PARAMETERS, %si
	movw $30, (%si)
	mov $0x48, %ah
	call disk
	pushf
	mov $sectors_are, %si
	call say
	mov BUF_PARAMETERS + 16, %eax
	call say_number
	mov $newline, %si
	call say
	popf
	mov $has_parameters, %si
	jmp verdict

/* The same sector by its number and by cylinder 0, head 0. */
reading:
	mov $data_packet, %si
	mov $0x42, %ah
	call disk
	mov $reads_lba, %si
	call verdict
	mov $0x0201, %ax
	mov $DATA_LBA + 1, %cx
	xor %dh, %dh
	mov $BUF_CHS, %bx
	call disk
	mov $reads_chs, %si
	call verdict
	mov $BUF_LBA, %si
	mov $BUF_CHS, %di
	mov $SECTOR, %cx
	repe cmpsb
	mov $reads_same, %si
	call verdict_equal
	mov $this_is, %si
	call say
	mov BUF_LBA, %al
	call say_char
	mov $newline, %si
	jmp say

writing:
	mov $BUF_WRITE, %di
	mov $SECTOR, %cx
	mov $'W', %al
	rep stosb
	mov $write_packet, %si
	mov $0x4300, %ax
	call disk
	mov $writes, %si
	call verdict
	mov $read_back_packet, %si
	mov $0x42, %ah
	call disk
	mov $BUF_WRITE, %si
	mov $BUF_LBA, %di
	mov $SECTOR, %cx
	repe cmpsb
	mov $reads_back, %si
	jmp verdict_equal

/* INT 15h, E820h until it ends; says the sum of RAM in KiB. */
memory_map:
	xor %ebx, %ebx
	movl $0, ram_kib
1:	mov $0xe820, %eax
	mov $0x534d4150, %edx
	mov $20, %ecx
	mov $BUF_E820, %di
	int $0x15
	jc 3f
	cmpl $1, BUF_E820 + 16
	jne 2f
	mov BUF_E820 + 8, %eax
	mov BUF_E820 + 12, %edx
	shrd $10, %edx, %eax
	add %eax, ram_kib
2:	test %ebx, %ebx
	jnz 1b
3:	mov $has_map, %si
	test %ebx, %ebx
	call verdict_equal
	mov $ram_is, %si
	call say
	mov ram_kib, %eax
	call say_number
	mov $newline, %si
	call say
	int $0x12
	cmp $600, %ax
	mov $has_low_ram, %si
	jmp verdict		/* carry: below */

/* What an operating system looks for between F0000h and FFFFFh, on 16-byte boundaries. */
tables:
	mov $rsdp_signature, %si
	mov $20, %cx
	call find_table
	mov $has_rsdp, %si
	call verdict
	mov $smbios_signature, %si
	mov $31, %cx
	call find_table
	mov $has_smbios, %si
	jmp verdict

/* %si: 4 characters, %cx: bytes that sum up to 0. Carry: there is none such. */
find_table:
	mov (%si), %eax
	push $0xf000
	pop %es
	xor %di, %di
1:	cmp %eax, %es:(%di)
	je 3f
2:	add $16, %di
	jnz 1b
	stc
	jmp 5f
3:	push %ax
	push %cx
	push %di
	xor %al, %al
4:	add %es:(%di), %al
	inc %di
	loop 4b
	test %al, %al
	pop %di
	pop %cx
	pop %ax
	jnz 2b
	clc
5:	push $0
	pop %es
	ret

/* The image's last bytes below 4 GiB are those below 1 MiB, and cannot be written. */
rom:
	mov $copy_out, %si
	call move_block
	mov $reads_rom, %si
	call verdict
	call compare_rom
	mov $rom_same, %si
	call verdict_equal
	mov $BUF_WRITE, %di
	mov $8, %cx
	xor %ax, %ax
	rep stosw
	mov $copy_in, %si
	call move_block
	mov $copy_out, %si
	call move_block
	call compare_rom
	mov $rom_stays, %si
	jmp verdict_equal

move_block:
	mov $0x87, %ah
	mov $8, %cx		/* words */
	int $0x15
	ret

/* The jump at the reset vector: five bytes. */
compare_rom:
	push $0xf000
	pop %es
	mov $BUF_ROM, %si
	mov $0xfff0, %di
	mov $5, %cx
	repe cmpsb
	push $0
	pop %es
	ret

/* %bl: a register of the host bridge. Gives the port at which it is, in %dx. */
bridge_at:
	push %eax
	movzx %bl, %eax
	and $0xfc, %al
	or $0x80000000, %eax
	mov $PLATFORM_PORT_PCI_ADDR, %dx
	out %eax, %dx
	movzx %bl, %dx
	and $3, %dx
	add $PLATFORM_PORT_PCI_DATA, %dx
	pop %eax
	ret

/* %al: its new value. */
bridge_out:
	call bridge_at
	out %al, %dx
	ret

/* %al: what is to be done with accesses to D0000h, PAM_*. */
pam_d0000:
	mov %al, %ah
	mov $PAM_D0000, %bl
	call bridge_at
	in %dx, %al
	and $0xf0, %al
	or %ah, %al
	out %al, %dx
	ret

/*
 * As SeaBIOS leaves it, its own segment can be read only. Made writable, RAM is there; turned
 * off, the ROM, whose bytes are still what they were.
 */
bios_protected:
	cli
	push $0xf000
	pop %fs
	mov %fs:0xfff8, %ecx
	notl %fs:0xfff8
	cmp %fs:0xfff8, %ecx
	mov $bios_stays, %si
	call verdict_equal

	mov $PAM_F0000, %bl
	mov $(PAM_RE | PAM_WE) << 4, %al
	call bridge_out
	mov %fs:0xfff8, %ecx
	notl %fs:0xfff8
	mov %fs:0xfff8, %esi
	xor %al, %al
	call bridge_out
	mov %fs:0xfff8, %edi
	mov $PAM_RE << 4, %al
	call bridge_out
	mov %fs:0xfff8, %ebp
	mov $(PAM_RE | PAM_WE) << 4, %al
	call bridge_out
	mov %ecx, %fs:0xfff8
	mov $PAM_RE << 4, %al
	call bridge_out
	sti
	not %ecx
	cmp %ecx, %esi		/* RAM took the change */
	jne 1f
	cmp %esi, %ebp		/* and still had it when it could only be read */
	jne 1f
	not %ecx
	cmp %ecx, %edi		/* and the ROM did not have it */
1:	mov $bios_rom, %si
	jmp verdict_equal

/* Each of the four settings at D0000h, where there is nothing but RAM. */
shadow:
	push $0xd000
	pop %fs
	mov $PAM_RE | PAM_WE, %al
	call pam_d0000
	movl $0x11111111, %fs:0
	cmpl $0x11111111, %fs:0
	mov $shadow_on, %si
	call verdict_equal

	xor %al, %al
	call pam_d0000
	cmpl $-1, %fs:0
	mov $shadow_off, %si
	call verdict_equal
	movl $0x22222222, %fs:0
	mov $PAM_RE, %al
	call pam_d0000
	cmpl $0x11111111, %fs:0
	mov $shadow_off_lost, %si
	call verdict_equal

	movl $0x33333333, %fs:0
	cmpl $0x11111111, %fs:0
	mov $shadow_read, %si
	call verdict_equal

	mov $PAM_WE, %al
	call pam_d0000
	movl $0x44444444, %fs:0
	push %fs
	pop %es
	mov $4, %di
	mov $12, %cx
	mov $0x44, %al
	rep stosb
	cmpl $-1, %fs:0
	mov $shadow_write, %si
	call verdict_equal
	mov $PAM_RE, %al
	call pam_d0000
	xor %di, %di
	mov $4, %cx
	mov $0x44444444, %eax
	repe scasl
	push $0
	pop %es
	mov $shadow_written, %si
	call verdict_equal
	mov $PAM_RE | PAM_WE, %al
	jmp pam_d0000

/*
 * Another CPU, where there is one, is at D0000h all the while that the segment is made
 * read-only and writable again: it must never find anything but what is there.
 */
shadow_changes:
	mov $CMOS_OTHER_CPUS, %al
	out %al, $PLATFORM_PORT_RTC_INDEX
	in $PLATFORM_PORT_RTC_DATA, %al
	test %al, %al
	jz 4f
	push $0xd000
	pop %fs
	movl $AP_VALUE, %fs:0
	movl $AP_VALUE, %fs:4
	movb $0xea, BUF_AP	/* ljmp */
	movw $ap, BUF_AP + 1
	movw $0, BUF_AP + 3
	mov $MSR_APIC_BASE, %ecx
	rdmsr
	or $APIC_BASE_X2APIC, %eax
	wrmsr
	mov $MSR_X2APIC_ICR, %ecx
	xor %edx, %edx
	mov $ICR_OTHERS_INIT, %eax
	wrmsr
	mov $ICR_OTHERS_STARTUP | BUF_AP >> 12, %eax
	wrmsr
	mov TICK_COUNT, %ecx
	add $9, %ecx		/* half a second */
1:	mov $PAM_RE, %al
	call pam_d0000
	mov $PAM_RE | PAM_WE, %al
	call pam_d0000
	cmp %ecx, TICK_COUNT
	jb 1b
	mov $MSR_X2APIC_ICR, %ecx
	xor %edx, %edx
	mov $ICR_OTHERS_INIT, %eax
	wrmsr
	cmpl $100, ap_rounds
	jb 3f
	cmpl $0, ap_wrong
	jne 2f
	clc
	jmp 3f
2:	stc
3:	mov $shadow_changing, %si
	jmp verdict
4:	ret

ap:	xor %ax, %ax
	mov %ax, %ds
	mov $0xd000, %ax
	mov %ax, %es
1:	cmpl $AP_VALUE, %es:0
	je 2f
	incl ap_wrong
2:	movl $AP_VALUE, %es:4
	cmpl $AP_VALUE, %es:4
	je 3f
	incl ap_wrong
3:	incl ap_rounds
	jmp 1b

time:
	mov TICK_COUNT, %eax
	mov $200, %cx		/* other interrupts wake it too */
1:	hlt
	cmp TICK_COUNT, %eax
	jne 2f
	loop 1b
2:	mov $ticks, %si
	cmp TICK_COUNT, %eax
	setne %al
	cmp $1, %al
	call verdict_equal
	mov $4, %ah
	int $0x1a
	mov $has_date, %si
	jc verdict
	cmp $0x20, %ch		/* the century */
	jmp verdict_equal

/* --- what is said -------------------------------------------------------------------- */

/* Zero flag: passed. */
verdict_equal:
	clc
	je verdict
	stc
/* %si: what was tested; carry: it failed. */
verdict:
	push %si
	mov $ok, %si
	jnc 1f
	movb $1, failed
	mov $not_ok, %si
1:	call say
	incb test_number
	mov test_number, %al
	call say_number_al
	mov $dash, %si
	call say
	pop %si
	call say
	mov $newline, %si
/* %si: a string for COM2. */
say:
	lodsb
	test %al, %al
	jz 1f
	call say_char
	jmp say
1:	ret

say_char:
	push %dx
	push %ax
	mov $PLATFORM_PORT_COM2 + 5, %dx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	pop %ax
	mov $PLATFORM_PORT_COM2, %dx
	out %al, %dx
	pop %dx
	ret

say_number_al:
	movzx %al, %eax
/* %eax, decimal */
say_number:
	xor %edx, %edx
	mov $10, %ecx
	div %ecx
	push %dx
	test %eax, %eax
	jz 1f
	call say_number
1:	pop %ax
	add $'0', %al
	jmp say_char

	.balign 4
PACKET data_packet, BUF_LBA, DATA_LBA, 1
PACKET write_packet, BUF_WRITE, WRITE_LBA, 1
PACKET read_back_packet, BUF_LBA, WRITE_LBA, 1
PACKET beyond_packet, BUF_LBA, 0x7fffffff, 1

/* INT 15h, 87h: four descriptors of its own, of which the third and fourth are ours. */
.macro MOVE name, from, to
\name:
	.quad 0, 0
	.quad 0x000093000000ffff | ((\from) & 0xffffff) << 16 | ((\from) >> 24) << 56
	.quad 0x000093000000ffff | ((\to) & 0xffffff) << 16 | ((\to) >> 24) << 56
	.quad 0, 0
.endm
	.balign 8
MOVE copy_out, 0xfffffff0, BUF_ROM
MOVE copy_in, BUF_WRITE, 0xfffffff0

ram_kib:	.long 0
ap_rounds:	.long 0
ap_wrong:	.long 0
test_number:	.byte 0
failed:		.byte 0

rsdp_signature:	.ascii "RSD "
smbios_signature: .ascii "_SM_"

line_start:
newline:	.asciz "\r\n"
ok:		.asciz "ok "
not_ok:		.asciz "not ok "
dash:		.asciz " - "
plan:		.asciz "1.."
restarting:	.asciz "# restarting\r\n"
sectors_are:	.asciz "# sectors "
this_is:	.asciz "# disk "
ram_is:		.asciz "# ram "
did_restart:	.asciz "restarted by the reset control register"
is_80h:		.asciz "the boot drive is 80h"
has_lba:	.asciz "INT 13h has the LBA functions"
has_parameters:	.asciz "it knows the drive's size"
reads_lba:	.asciz "it reads a sector by its number"
reads_chs:	.asciz "and by cylinder, head and sector"
reads_same:	.asciz "which is the same"
writes:		.asciz "it writes a sector"
reads_back:	.asciz "which reads back"
beyond_fails:	.asciz "a sector behind the end is an error"
has_map:	.asciz "INT 15h, E820h comes to an end"
has_low_ram:	.asciz "INT 12h has at least 600 KiB"
has_rsdp:	.asciz "there is an RSDP"
has_smbios:	.asciz "there is an SMBIOS entry point"
reads_rom:	.asciz "INT 15h, 87h reads the ROM below 4 GiB"
rom_same:	.asciz "whose reset vector is the one below 1 MiB"
rom_stays:	.asciz "writing to it changes nothing"
bios_stays:	.asciz "the BIOS's own segment is write-protected"
bios_rom:	.asciz "as PAM0 says: RAM, writable or not, or the ROM"
shadow_on:	.asciz "shadow RAM at D0000h, on: it keeps what is written"
shadow_off:	.asciz "off: reads are ones"
shadow_off_lost: .asciz "and writes are lost"
shadow_read:	.asciz "read-only: it is protected"
shadow_write:	.asciz "write-only: reads are ones"
shadow_written:	.asciz "and writes are there when reads are on"
shadow_changing: .asciz "another CPU finds it while it is changed"
ticks:		.asciz "the timer ticks"
has_date:	.asciz "INT 1Ah has the date"

	.org (1 + CODE_SECTORS) * SECTOR
	.ascii "a"
	.fill SECTOR - 1, 1, 0x2e
	.fill SECTOR, 1, 0
