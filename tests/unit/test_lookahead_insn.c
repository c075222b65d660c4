/* SPDX-License-Identifier: MIT */
/*
 * Every instruction that lookahead knows, on random operands, beside the real CPU: once run
 * natively in this process (64-bit code), once by a guest under KVM (64-bit and 32-bit code;
 * skipped where there is none). Registers, memory, where it goes, and all flags but those that
 * the manuals leave undefined.
 */
#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/cpuid.h"
#include "cpu/kvm.h"
#include "cpu/lookahead/exec.h"
#include "tests/unit/ahead_rig.h"

#define NATIVE_CASES 200000
#define KVM_CASES 40000

/* --- by lookahead -------------------------------------------------------------- */

/* want is what the CPU has made of it. False: refused, and rightly so. */
static bool by_lookahead(struct ahead_rig *rig, const struct rig_random *r,
			 const struct rig_case *c, const struct kvm_regs *want,
			 struct kvm_regs *out)
{
	bool bit_scan =
		c->insn.op == AHEAD_ALU && (c->insn.alu == ALU_BSF || c->insn.alu == ALU_BSR);
	static struct ahead_cpu cpu;
	struct kvm_sregs sregs = { 0 };
	char bytes[64];

	memset(&cpu, 0, sizeof(cpu));
	cpu.mem = &rig->mem;
	rig_sregs(r->wide, &sregs);
	sregs.fs.base = r->base[SEG_FS];
	assert_true(ahead_cpu_load(&cpu, &c->regs, &sregs));
	*out = c->regs;
	if (!ahead_exec(&cpu, &c->insn)) {
		if (!bit_scan || !(want->rflags & FLAG_ZF))
			fail_msg("refused: %s", rig_bytes(c, bytes, sizeof(bytes)));
		return false;
	}
	ahead_cpu_store(&cpu, out);
	return true;
}

static void check_same(const struct rig_case *c, const struct kvm_regs *want,
		       const struct kvm_regs *got, const void *want_ram, const void *got_ram)
{
	static const char *const names[] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi",
					     "rsp", "rbp", "r8",  "r9",  "r10", "r11",
					     "r12", "r13", "r14", "r15", "rip", "rflags" };
	const uint64_t undefined = rig_undefined_flags(c);
	struct kvm_regs w = *want, g = *got;
	char bytes[64];

	w.rflags = (w.rflags & ~undefined) | FLAG_FIXED;
	g.rflags = (g.rflags & ~undefined) | FLAG_FIXED;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t was = load_le((const char *)&c->regs + i * 8, 8);
		uint64_t a = load_le((const char *)&w + i * 8, 8);
		uint64_t b = load_le((const char *)&g + i * 8, 8);

		if (a != b)
			fail_msg("%s: %s was %llx, is %llx, the CPU makes it %llx",
				 rig_bytes(c, bytes, sizeof(bytes)), names[i],
				 (unsigned long long)was, (unsigned long long)b,
				 (unsigned long long)a);
	}
	if (memcmp(want_ram, got_ram, RIG_SCRATCH_SIZE))
		fail_msg("%s: memory differs", rig_bytes(c, bytes, sizeof(bytes)));
}

/* --- natively ------------------------------------------------------------------ */

/*
 * Loads all registers, does the instruction at native_insn, and keeps what it has made of them.
 * It lies in a page that may be written and run; no signal handler uses the guest's stack.
 */
extern const char native_begin[], native_insn[], native_fall[], native_taken[], native_regs[],
	native_end[];
asm(".pushsection .rodata\n"
    ".balign 4096\n"
    "native_begin:\n"
    "	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
    "	mov %rsp, native_sp(%rip)\n"
    "	push native_regs+136(%rip)\n	popfq\n"
    "	mov native_regs(%rip), %rax\n"
    "	mov native_regs+8(%rip), %rbx\n"
    "	mov native_regs+16(%rip), %rcx\n"
    "	mov native_regs+24(%rip), %rdx\n"
    "	mov native_regs+32(%rip), %rsi\n"
    "	mov native_regs+40(%rip), %rdi\n"
    "	mov native_regs+48(%rip), %rsp\n"
    "	mov native_regs+56(%rip), %rbp\n"
    "	mov native_regs+64(%rip), %r8\n"
    "	mov native_regs+72(%rip), %r9\n"
    "	mov native_regs+80(%rip), %r10\n"
    "	mov native_regs+88(%rip), %r11\n"
    "	mov native_regs+96(%rip), %r12\n"
    "	mov native_regs+104(%rip), %r13\n"
    "	mov native_regs+112(%rip), %r14\n"
    "	mov native_regs+120(%rip), %r15\n"
    "	jmp native_insn\n"
    ".balign 256\n"
    "native_insn:\n"
    "	.fill 64, 1, 0x90\n" /* the instruction, a jump to native_fall, at 0x40: */
    "	movl $1, native_regs+128(%rip)\n"
    "	jmp native_save\n"
    "native_fall:\n"
    "	movl $0, native_regs+128(%rip)\n"
    "native_save:\n"
    "	mov %rax, native_regs(%rip)\n"
    "	mov %rbx, native_regs+8(%rip)\n"
    "	mov %rcx, native_regs+16(%rip)\n"
    "	mov %rdx, native_regs+24(%rip)\n"
    "	mov %rsi, native_regs+32(%rip)\n"
    "	mov %rdi, native_regs+40(%rip)\n"
    "	mov %rsp, native_regs+48(%rip)\n"
    "	mov %rbp, native_regs+56(%rip)\n"
    "	mov %r8, native_regs+64(%rip)\n"
    "	mov %r9, native_regs+72(%rip)\n"
    "	mov %r10, native_regs+80(%rip)\n"
    "	mov %r11, native_regs+88(%rip)\n"
    "	mov %r12, native_regs+96(%rip)\n"
    "	mov %r13, native_regs+104(%rip)\n"
    "	mov %r14, native_regs+112(%rip)\n"
    "	mov %r15, native_regs+120(%rip)\n"
    "	mov native_sp(%rip), %rsp\n"
    "	pushfq\n	pop native_regs+136(%rip)\n"
    "	cld\n"
    "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
    "	ret\n"
    ".balign 64\n"
    "native_sp: .quad 0\n"
    "native_regs: .fill 18, 8, 0\n" /* in struct kvm_regs's order; RIP: was it taken */
    "native_end:\n"
    ".popsection\n");

struct native {
	uint8_t *page;
	uint8_t *insn;
	struct kvm_regs *regs;
};

static void native_create(struct native *n, const void *near)
{
	size_t size = (size_t)(native_end - native_begin);

	/* RIP-relative operands reach 2 GiB. */
	n->page = mmap((char *)(uintptr_t)near + 512 * MIB, align_up(size, PAGE_SIZE_4K),
		       PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(n->page, MAP_FAILED);
	memcpy(n->page, native_begin, size);
	n->insn = n->page + (native_insn - native_begin);
	n->regs = (struct kvm_regs *)(void *)(n->page + (native_regs - native_begin));
}

static void by_cpu(const struct native *n, const struct rig_case *c, struct kvm_regs *out)
{
	const uint8_t *fall = n->page + (native_fall - native_begin);
	uint8_t *p = n->insn + c->insn.len;

	memcpy(n->insn, c->code, c->insn.len);
	*p = 0xe9;
	store_le(p + 1, 4, (uint64_t)(fall - (p + 5)));
	*n->regs = c->regs;
	((void (*)(void))(uintptr_t)n->page)();
	*out = *n->regs;
	out->rip = out->rip & 1 ? c->taken : c->regs.rip + c->insn.len;
	out->rflags &= FLAGS_ARITH | FLAG_DF | FLAG_FIXED;
}

static void test_native(void **state)
{
	static uint8_t ram[RIG_SCRATCH_SIZE];
	static struct rig_coverage cover;
	static struct rig_case c;
	struct rig_random r = { .state = 1, .wide = true };
	struct kvm_regs want, got;
	struct ahead_rig rig;
	struct native n;
	const char *missed;
	uint8_t *scratch;

	(void)state;
	rig_create(&rig);
	scratch = mem_at(&rig.mem, RIG_SCRATCH, RIG_SCRATCH_SIZE);
	/* The guest has its scratch where this process has it. */
	for (uint64_t i = 0; i < RIG_SCRATCH_SIZE; i += PAGE_SIZE_4K)
		rig_map(&rig, (uintptr_t)scratch + i, RIG_SCRATCH + i, RIG_PAGE);
	native_create(&n, scratch);
	r.scratch = (uintptr_t)scratch;
	r.code = (uintptr_t)n.insn;
	assert_int_equal(syscall(SYS_arch_prctl, ARCH_GET_FS, &r.base[SEG_FS]), 0);
	for (unsigned i = 0; i < NATIVE_CASES; i++) {
		rig_random_case(&r, &c);
		rig_cover(&cover, &c);
		memcpy(scratch, c.scratch, RIG_SCRATCH_SIZE);
		by_cpu(&n, &c, &want);
		memcpy(ram, scratch, RIG_SCRATCH_SIZE);
		memcpy(scratch, c.scratch, RIG_SCRATCH_SIZE);
		if (by_lookahead(&rig, &r, &c, &want, &got))
			check_same(&c, &want, &got, ram, scratch);
	}
	missed = rig_uncovered(&cover, true);
	if (missed)
		fail_msg("%s was never tried", missed);
	munmap(n.page, PAGE_SIZE_4K);
	rig_destroy(&rig);
}

/* --- by a guest under KVM ------------------------------------------------------ */

struct guest {
	struct kvm kvm;
	int fd;
	struct kvm_run *run;
};

/* False where this machine cannot. */
static bool guest_create(struct guest *g, const struct mem *mem, bool wide)
{
	struct kvm_sregs sregs;
	struct err err;

	if (kvm_init(&g->kvm, &err))
		return false;
	assert_int_equal(kvm_map_memory(&g->kvm, mem, false), 0);
	g->fd = ioctl(g->kvm.vm_fd, KVM_CREATE_VCPU, 0);
	assert_true(g->fd >= 0);
	g->run = mmap(NULL, g->kvm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
	assert_ptr_not_equal(g->run, MAP_FAILED);
	assert_int_equal(cpuid_setup(&g->kvm, g->fd, 0, 1, 0), 0);
	assert_int_equal(ioctl(g->fd, KVM_GET_SREGS, &sregs), 0);
	rig_sregs(wide, &sregs);
	assert_int_equal(ioctl(g->fd, KVM_SET_SREGS, &sregs), 0);
	return true;
}

static void guest_destroy(struct guest *g)
{
	munmap(g->run, g->kvm.run_size);
	close(g->fd);
	kvm_destroy(&g->kvm);
}

/*
 * The instruction, and HLT behind it and where it may branch to. False where this KVM, an
 * interpreter, does not know it.
 */
static bool by_kvm(struct guest *g, struct ahead_rig *rig, const struct rig_case *c,
		   struct kvm_regs *out)
{
	uint8_t *code = mem_at(&rig->mem, RIG_CODE, PAGE_SIZE_4K);
	struct kvm_regs regs = c->regs;
	char bytes[64];

	memset(code, 0xf4, 128);
	memcpy(code, c->code, c->insn.len);
	assert_int_equal(ioctl(g->fd, KVM_SET_REGS, &regs), 0);
	assert_int_equal(ioctl(g->fd, KVM_RUN, 0), 0);
	if (g->run->exit_reason == KVM_EXIT_INTERNAL_ERROR && kvm_is_interpreter())
		return false;
	if (g->run->exit_reason != KVM_EXIT_HLT)
		fail_msg("%s: KVM exits for %u", rig_bytes(c, bytes, sizeof(bytes)),
			 g->run->exit_reason);
	assert_int_equal(ioctl(g->fd, KVM_GET_REGS, out), 0);
	out->rip--;
	return true;
}

static void run_guest(bool wide)
{
	static uint8_t ram[RIG_SCRATCH_SIZE];
	static struct rig_coverage cover;
	static struct rig_case c;
	struct rig_random r = {
		.state = 2, .wide = wide, .scratch = RIG_SCRATCH, .code = RIG_CODE
	};
	struct kvm_regs want, got;
	struct ahead_rig rig;
	struct guest g;
	const char *missed;
	uint8_t *scratch;

	memset(&cover, 0, sizeof(cover));
	rig_create(&rig);
	for (uint64_t gpa = 0; gpa < RIG_RAM; gpa += PAGE_SIZE_4K)
		rig_map(&rig, gpa, gpa, RIG_PAGE);
	scratch = mem_at(&rig.mem, RIG_SCRATCH, RIG_SCRATCH_SIZE);
	if (!guest_create(&g, &rig.mem, wide)) {
		rig_destroy(&rig);
		skip();
	}
	for (unsigned i = 0; i < KVM_CASES; i++) {
		rig_random_case(&r, &c);
		memcpy(scratch, c.scratch, RIG_SCRATCH_SIZE);
		if (!by_kvm(&g, &rig, &c, &want))
			continue;
		rig_cover(&cover, &c);
		memcpy(ram, scratch, RIG_SCRATCH_SIZE);
		memcpy(scratch, c.scratch, RIG_SCRATCH_SIZE);
		if (by_lookahead(&rig, &r, &c, &want, &got))
			check_same(&c, &want, &got, ram, scratch);
	}
	missed = rig_uncovered(&cover, wide);
	if (missed && !kvm_is_interpreter())
		fail_msg("%s was never tried", missed);
	guest_destroy(&g);
	rig_destroy(&rig);
}

static void test_kvm_64(void **state)
{
	(void)state;
	run_guest(true);
}

static void test_kvm_32(void **state)
{
	(void)state;
	run_guest(false);
}

/* lea 0x12345678(,%r14d), %eax: though REX.B is set, there is no base. */
static void test_no_base(void **state)
{
	const uint8_t code[] = { 0x67, 0x43, 0x8d, 0x04, 0x35, 0x78, 0x56, 0x34, 0x12 };
	struct ahead_insn insn;

	(void)state;
	assert_true(ahead_decode(true, code, sizeof(code), &insn));
	assert_int_equal(insn.op, AHEAD_LEA);
	assert_int_equal(insn.len, sizeof(code));
	assert_int_equal(insn.mem.base, AHEAD_REG_NONE);
	assert_int_equal(insn.mem.index, 14);
	assert_int_equal(insn.mem.disp, 0x12345678);
	assert_false(ahead_decode(true, code, sizeof(code) - 1, &insn));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_base),
		cmocka_unit_test(test_native),
		cmocka_unit_test(test_kvm_64),
		cmocka_unit_test(test_kvm_32),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
