/* SPDX-License-Identifier: MIT */
#include "cpu/regs.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cpu/kvm.h"

#define CR0_PE (1ull << 0)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define RFLAGS_FIXED 0x2

#define SEG_CODE 0xb /* execute, read, accessed */
#define SEG_DATA 0x3 /* read, write, accessed */
#define SEG_TSS 0xb /* busy 32- or 64-bit TSS */

#define MSR_IA32_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLE (1u << 11)
#define MTRR_TYPE_WB 6

#define LAPIC_LVT1 0x360
#define LVT_MODE_NMI 0x400

/*
 * Firmware leaves memory write-back by default. With the MTRRs off Linux would
 * think all of it uncached and do without PAT.
 */
static int set_msrs(int vcpu_fd)
{
	struct msr_batch m = {
		.nmsrs = 2,
		.entry = {
			{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_TYPE_WB },
			{ .index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
		},
	};

	/* Stops at the first MSR that this host does not have: the second is optional. */
	return ioctl(vcpu_fd, KVM_SET_MSRS, &m) < 1 ? -EIO : 0;
}

int regs_setup_power_on(int vcpu_fd, unsigned index)
{
	struct kvm_lapic_state lapic;
	int ret = set_msrs(vcpu_fd);

	if (ret || index)
		return ret; /* another CPU's LAPIC is reset by INIT again */
	if (ioctl(vcpu_fd, KVM_GET_LAPIC, &lapic))
		return -errno;
	/* LINT0 is ExtINT already, for the PIC's sake. */
	store_le(lapic.regs + LAPIC_LVT1, 4, LVT_MODE_NMI);
	return ioctl(vcpu_fd, KVM_SET_LAPIC, &lapic) ? -errno : 0;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool system, bool long_mode)
{
	return (struct kvm_segment){
		.base = 0,
		.limit = system ? 0x67 : 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = !system,
		.g = !system,
		.db = !system && !long_mode,
		.l = !system && long_mode,
	};
}

static void set_segments(struct kvm_sregs *s, const struct boot_entry *e, bool long_mode)
{
	s->cs = flat_segment(e->cs, SEG_CODE, false, long_mode);
	s->ds = flat_segment(e->ds, SEG_DATA, false, false);
	s->es = s->fs = s->gs = s->ss = s->ds;
	s->tr = flat_segment(e->tr, SEG_TSS, true, false);
	s->gdt.base = e->gdt_base;
	s->gdt.limit = e->gdt_limit;
	s->idt.base = 0;
	s->idt.limit = 0;
}

int regs_set_entry(int vcpu_fd, const struct boot_entry *e)
{
	struct kvm_regs regs = {
		.rip = e->rip,
		.rsp = e->rsp,
		.rbx = e->rbx,
		.rsi = e->rsi,
		.rdx = e->rdx,
		.rflags = RFLAGS_FIXED,
	};
	struct kvm_sregs sregs;

	if (e->mode == BOOT_RESET_VECTOR)
		return 0; /* where power-on has put it */
	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs))
		return -errno;
	set_segments(&sregs, e, e->mode == BOOT_LONG64);
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (e->mode == BOOT_LONG64) {
		sregs.cr3 = e->cr3;
		sregs.cr4 |= CR4_PAE;
		sregs.cr0 |= CR0_PG;
		sregs.efer |= EFER_LME | EFER_LMA;
	}
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) || ioctl(vcpu_fd, KVM_SET_REGS, &regs))
		return -errno;
	return 0;
}
