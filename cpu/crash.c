/* SPDX-License-Identifier: MIT */
#include "cpu/crash.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/mem.h"
#include "cpu/vcpu.h"

#define CODE_BEFORE 16
#define CODE_BYTES 32
#define STACK_WORDS 16

/*
 * Reads guest memory at a linear address, page by page as the guest's tables say.
 * Returns how many of len bytes could be read.
 */
static size_t read_linear(const struct vcpu *vcpu, const struct mem *mem, uint64_t addr, void *buf,
			  size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct kvm_translation tr = { .linear_address = addr + done };
		uint64_t in_page = PAGE_SIZE_4K - ((addr + done) & (PAGE_SIZE_4K - 1));
		size_t n = (size_t)min_u64(in_page, len - done);

		if (ioctl(vcpu->fd, KVM_TRANSLATE, &tr) || !tr.valid ||
		    mem_read(mem, tr.physical_address, (char *)buf + done, n))
			break;
		done += n;
	}
	return done;
}

static void dump_reason(const struct vcpu *vcpu, FILE *out)
{
	const struct kvm_run *run = vcpu->run;

	fprintf(out, "bantam: the guest died on CPU %u: %s", vcpu->index, vcpu->crash);
	if (vcpu->crash_errno) {
		fprintf(out, ": %s", strerror(vcpu->crash_errno));
	} else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		static const char *const what[] = {
			[KVM_INTERNAL_ERROR_EMULATION] = "an instruction KVM cannot emulate",
			[KVM_INTERNAL_ERROR_SIMUL_EX] = "simultaneous exceptions",
			[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit while an event was delivered",
			[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] =
				"an exit reason KVM does not know",
		};
		uint32_t sub = run->internal.suberror;

		fprintf(out, ", suberror %" PRIu32 " (%s)", sub,
			sub < ARRAY_SIZE(what) && what[sub] ? what[sub] : "unknown");
	} else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
		fprintf(out, ", hardware reason %#" PRIx64,
			(uint64_t)run->fail_entry.hardware_entry_failure_reason);
	} else {
		fprintf(out, " (exit reason %" PRIu32 ")", run->exit_reason);
	}
	fputc('\n', out);
}

static void dump_regs(const struct kvm_regs *r, FILE *out)
{
	const struct {
		const char *name;
		uint64_t value;
	} regs[] = {
		{ "rax", r->rax }, { "rbx", r->rbx }, { "rcx", r->rcx }, { "rdx", r->rdx },
		{ "rsi", r->rsi }, { "rdi", r->rdi }, { "rbp", r->rbp }, { "rsp", r->rsp },
		{ "r8 ", r->r8 },  { "r9 ", r->r9 },  { "r10", r->r10 }, { "r11", r->r11 },
		{ "r12", r->r12 }, { "r13", r->r13 }, { "r14", r->r14 }, { "r15", r->r15 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		fprintf(out, "  %s %016" PRIx64 "%s", regs[i].name, regs[i].value,
			i % 4 == 3 ? "\n" : "");
	fprintf(out, "  rip %016" PRIx64 "  rflags %08" PRIx64 "\n", (uint64_t)r->rip,
		(uint64_t)r->rflags);
}

static void dump_segment(const char *name, const struct kvm_segment *s, FILE *out)
{
	fprintf(out, "  %s %04x base %016" PRIx64 " limit %08" PRIx32 " type %x dpl %u %s%s%s\n",
		name, s->selector, (uint64_t)s->base, s->limit, s->type, s->dpl,
		s->l    ? "64-bit"
		: s->db ? "32-bit"
			: "16-bit",
		s->present ? "" : " absent", s->unusable ? " unusable" : "");
}

static void dump_sregs(const struct kvm_sregs *s, FILE *out)
{
	fprintf(out,
		"  cr0 %08" PRIx64 "  cr2 %016" PRIx64 "  cr3 %016" PRIx64 "  cr4 %08" PRIx64
		"\n  cr8 %" PRIx64 "  efer %" PRIx64 "  apic base %" PRIx64 "\n",
		(uint64_t)s->cr0, (uint64_t)s->cr2, (uint64_t)s->cr3, (uint64_t)s->cr4,
		(uint64_t)s->cr8, (uint64_t)s->efer, (uint64_t)s->apic_base);
	dump_segment("cs", &s->cs, out);
	dump_segment("ss", &s->ss, out);
	dump_segment("ds", &s->ds, out);
	dump_segment("es", &s->es, out);
	dump_segment("fs", &s->fs, out);
	dump_segment("gs", &s->gs, out);
	dump_segment("tr", &s->tr, out);
	fprintf(out, "  gdt base %016" PRIx64 " limit %04x  idt base %016" PRIx64 " limit %04x\n",
		(uint64_t)s->gdt.base, s->gdt.limit, (uint64_t)s->idt.base, s->idt.limit);
}

/* The byte at RIP stands in angle brackets, as in a Linux oops. */
static void dump_code(const struct vcpu *vcpu, const struct mem *mem, uint64_t rip, FILE *out)
{
	uint8_t code[CODE_BYTES];
	uint64_t before = min_u64(rip, CODE_BEFORE);
	size_t n = read_linear(vcpu, mem, rip - before, code, sizeof(code));

	if (n <= before) { /* the page before may be absent: the code itself matters */
		before = 0;
		n = read_linear(vcpu, mem, rip, code, sizeof(code) - CODE_BEFORE);
	}
	fputs("  code", out);
	for (size_t i = 0; i < n; i++)
		fprintf(out, i == before ? " <%02x>" : " %02x", code[i]);
	fputs(n ? "\n" : " at RIP is not mapped to RAM\n", out);
}

static void dump_stack(const struct vcpu *vcpu, const struct mem *mem, uint64_t rsp, FILE *out)
{
	uint64_t words[STACK_WORDS];
	size_t n = read_linear(vcpu, mem, rsp, words, sizeof(words)) / sizeof(words[0]);

	fputs("  stack", out);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s %016" PRIx64, i && i % 4 == 0 ? "\n       " : "", words[i]);
	fputs(n ? "\n" : " is not mapped to RAM\n", out);
}

void crash_dump(struct vcpu *vcpu, const struct mem *mem, FILE *out)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	dump_reason(vcpu, out);
	if (vcpu->run->exit_reason == KVM_EXIT_SHUTDOWN && !vcpu->crash_errno)
		fprintf(out,
			"bantam: on AMD hosts KVM has reset the CPU by now: what follows may be "
			"its power-on state\n");
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs)) {
		fprintf(out, "bantam: its registers cannot be read\n");
	} else {
		dump_regs(&regs, out);
		dump_sregs(&sregs, out);
		dump_code(vcpu, mem, sregs.cs.base + regs.rip, out);
		dump_stack(vcpu, mem, sregs.ss.base + regs.rsp, out);
	}
	if (kvm_is_interpreter())
		fprintf(out, "bantam: this host's KVM (kvm_pvm) interprets guest kernels and "
			     "cannot run a stock one: use the lab, tests/lab/lab\n");
}
