/* SPDX-License-Identifier: MIT */
#include "cpu/exit.h"

#include <errno.h>
#include <linux/kvm_para.h>

#include "cpu/coalesced_io.h"
#include "cpu/vcpu.h"
#include "guests/include/bantam/coalesced_io.h"

struct exit_entry {
	const char *name;
	enum exit_action (*fn)(struct vcpu *vcpu, unsigned *row); /* NULL: an error */
	const char *crash; /* for people, where it is an error */
};

/* The accesses of a ring are those of the list. */
static bool exit_doorbell(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint64_t page;
	bool found;

	if (!vcpu->doorbell || run->io.port != vcpu->doorbell ||
	    run->io.size != COALESCED_IO_DOORBELL_LEN || run->io.count != 1)
		return false;
	page = load_le((char *)run + run->io.data_offset, COALESCED_IO_DOORBELL_LEN);
	vcpu->accesses =
		coalesced_io_run(vcpu->bus, vcpu->mem, page << COALESCED_IO_PAGE_SHIFT, &found);
	return true;
}

static enum exit_action exit_io(struct vcpu *vcpu, unsigned *row)
{
	struct kvm_run *run = vcpu->run;
	void *data = (char *)run + run->io.data_offset;
	unsigned width = run->io.size, count = run->io.count;

	vcpu->accesses = count;
	if (run->io.direction == KVM_EXIT_IO_OUT) {
		*row = ACCT_IO_OUT;
		if (exit_doorbell(vcpu))
			return EXIT_CONTINUE;
		if (count == 1)
			bus_write(vcpu->bus, BUS_PIO, run->io.port, data, width);
		else
			bus_write_rep(vcpu->bus, BUS_PIO, run->io.port, data, width, count);
	} else {
		if (count == 1)
			bus_read(vcpu->bus, BUS_PIO, run->io.port, data, width);
		else
			bus_read_rep(vcpu->bus, BUS_PIO, run->io.port, data, width, count);
	}
	return EXIT_CONTINUE;
}

static enum exit_action exit_mmio(struct vcpu *vcpu, unsigned *row)
{
	struct kvm_run *run = vcpu->run;

	vcpu->accesses = 1;
	if (run->mmio.is_write) {
		*row = ACCT_MMIO_WRITE;
		bus_write(vcpu->bus, BUS_MMIO, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	} else {
		bus_read(vcpu->bus, BUS_MMIO, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	}
	return EXIT_CONTINUE;
}

static enum exit_action exit_hypercall(struct vcpu *vcpu, unsigned *row)
{
	struct kvm_run *run = vcpu->run;
	bool found;

	(void)row;
	vcpu->accesses = 0;
	if (!vcpu->hypercall) {
		vcpu->crash = "a hypercall nobody asked to see";
		return EXIT_ERROR;
	}
	if (run->hypercall.nr != COALESCED_IO_HYPERCALL_NR || run->hypercall.args[1] != 1 ||
	    run->hypercall.args[2] != COALESCED_IO_HYPERCALL_MAGIC) {
		run->hypercall.ret = (uint64_t)-KVM_ENOSYS;
		return EXIT_CONTINUE;
	}
	vcpu->accesses = coalesced_io_run(vcpu->bus, vcpu->mem, run->hypercall.args[0], &found);
	run->hypercall.ret = found ? 0 : (uint64_t)-KVM_EFAULT;
	return EXIT_CONTINUE;
}

static enum exit_action exit_again(struct vcpu *vcpu, unsigned *row)
{
	(void)vcpu;
	(void)row;
	return EXIT_CONTINUE;
}

static enum exit_action exit_intr(struct vcpu *vcpu, unsigned *row)
{
	(void)vcpu;
	(void)row;
	return EXIT_STOP;
}

#define EXIT(reason, n, f, c) [KVM_EXIT_##reason] = { .name = (n), .fn = (f), .crash = (c) }

/* clang-format off */
static const struct exit_entry exit_table[ACCT_NR_ROWS] = {
	EXIT(UNKNOWN, "unknown", NULL, "an exit that KVM itself cannot name"),
	EXIT(EXCEPTION, "exception", NULL, "an exception that KVM could not deliver"),
	EXIT(IO, "io-in", exit_io, NULL),
	EXIT(HYPERCALL, "hypercall", exit_hypercall, NULL),
	EXIT(DEBUG, "debug", NULL, "a debug exit nobody asked for"),
	/* Only with a local APIC in user space, which bantam has not; harmless all the same. */
	EXIT(HLT, "hlt", exit_again, NULL),
	EXIT(MMIO, "mmio-read", exit_mmio, NULL),
	EXIT(IRQ_WINDOW_OPEN, "irq-window", exit_again, NULL),
	EXIT(SHUTDOWN, "shutdown", NULL, "triple fault"),
	EXIT(FAIL_ENTRY, "fail-entry", NULL,
	     "the processor refuses to enter the guest (KVM_EXIT_FAIL_ENTRY)"),
	EXIT(INTR, "intr", exit_intr, NULL),
	EXIT(SET_TPR, "set-tpr", exit_again, NULL),
	EXIT(TPR_ACCESS, "tpr-access", exit_again, NULL),
	EXIT(NMI, "nmi", exit_again, NULL),
	EXIT(INTERNAL_ERROR, "internal-error", NULL, "KVM_EXIT_INTERNAL_ERROR"),
	EXIT(SYSTEM_EVENT, "system-event", NULL, "a system event nobody asked for"),
	EXIT(IOAPIC_EOI, "ioapic-eoi", exit_again, NULL),
	EXIT(X86_RDMSR, "rdmsr", NULL, "an MSR exit nobody asked for"),
	EXIT(X86_WRMSR, "wrmsr", NULL, "an MSR exit nobody asked for"),
	EXIT(DIRTY_RING_FULL, "dirty-ring-full", NULL, "a dirty ring nobody asked for"),
	EXIT(X86_BUS_LOCK, "bus-lock", exit_again, NULL),
	[ACCT_OTHER] = { .name = "other", .crash = "an exit reason that bantam does not know" },
	[ACCT_IO_OUT] = { .name = "io-out" },
	[ACCT_MMIO_WRITE] = { .name = "mmio-write" },
	[ACCT_SIGNAL] = { .name = "signal" },
};
/* clang-format on */

enum exit_action exit_handle(struct vcpu *vcpu, unsigned *row)
{
	uint32_t reason = vcpu->run->exit_reason;
	const struct exit_entry *e;

	if (reason >= ACCT_OTHER || !exit_table[reason].name)
		reason = ACCT_OTHER;
	e = &exit_table[reason];
	*row = reason;
	if (e->fn)
		return e->fn(vcpu, row);
	vcpu->crash = e->crash;
	return EXIT_ERROR;
}

enum exit_action exit_run_failed(struct vcpu *vcpu, int err)
{
	vcpu->crash = "KVM_RUN failed";
	vcpu->crash_errno = err;
	return EXIT_ERROR;
}

const char *exit_row_name(unsigned row)
{
	return row < ACCT_NR_ROWS && exit_table[row].name ? exit_table[row].name : "unknown";
}
