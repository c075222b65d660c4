/* SPDX-License-Identifier: MIT */
/*
 * More than one CPU: INIT and SIPI start them all, in real mode, with the ids that CPUID,
 * the local APIC and the MADT agree on; IPIs reach the one they are for, in xAPIC and
 * x2APIC mode; atomic operations are atomic; INIT stops a CPU. cpus=N is what bantam was
 * told.
 */
#include "guests/baremetal/lib/ap.h"

#define VECTOR_WAKE 0x60 /* may be sent more than once */
#define VECTOR_ONCE 0x61
#define ADDS 2000

struct cpu {
	volatile unsigned seen; /* the last command done */
	volatile unsigned cpuid_id, topology_id, lapic, once;
	volatile unsigned alive; /* counts while spinning */
};

enum command { CMD_IDLE, CMD_ADD, CMD_X2APIC, CMD_SPIN };

static struct cpu cpus[AP_MAX];
static volatile unsigned command, sequence, total;
static volatile unsigned id_of_index[AP_MAX];

static void once(struct irq_frame *frame)
{
	(void)frame;
	__atomic_add_fetch(&cpus[cpuid(1, 0).ebx >> 24].once, 1, __ATOMIC_SEQ_CST);
}

static void add(void)
{
	for (unsigned i = 0; i < ADDS; i++)
		__asm__ volatile("lock; incl %0" : "+m"(total));
}

static void run(struct cpu *me)
{
	switch (command) {
	case CMD_ADD:
		add();
		break;
	case CMD_X2APIC:
		/* irq.c's switch is set by the first CPU; here only the MSR is. */
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0xc00);
		wrmsr(0x80f, 0x100 | VECTOR_SPURIOUS);
		break;
	case CMD_SPIN:
		for (;;)
			me->alive++;
	default:
		break;
	}
}

static void ap(unsigned index)
{
	unsigned id = cpuid(1, 0).ebx >> 24;
	struct cpu *me = &cpus[id % AP_MAX];
	unsigned seen = sequence;

	write32(PLATFORM_LAPIC_BASE + LAPIC_SVR, 0x100 | VECTOR_SPURIOUS);
	id_of_index[index] = id;
	me->cpuid_id = id;
	me->topology_id = cpuid(0, 0).eax >= 0xb ? cpuid(0xb, 0).edx : id;
	me->lapic = read32(PLATFORM_LAPIC_BASE + LAPIC_ID) >> 24;
	__atomic_store_n(&me->seen, seen + 1000, __ATOMIC_SEQ_CST);
	for (;;) {
		cli();
		if (seen == sequence) {
			__asm__ volatile("sti; hlt");
			continue;
		}
		seen = sequence;
		run(me);
		__atomic_store_n(&me->seen, seen, __ATOMIC_SEQ_CST);
	}
}

/* Has each AP do it and waits for all; to the ids from first on. */
static bool command_all(unsigned first, unsigned n, enum command cmd)
{
	command = cmd;
	sequence++;
	for (unsigned tries = 0; tries < 500; tries++) {
		unsigned done = 0;

		for (unsigned id = first; id < n; id++) {
			if (cpus[id].seen == sequence)
				done++;
			else
				lapic_send(id, ICR_FIXED | VECTOR_WAKE);
		}
		if (cmd == CMD_ADD && !tries)
			add();
		if (done == n - first || cmd == CMD_SPIN)
			return true;
		delay_us(10000);
	}
	return false;
}

static void test_ipis(unsigned n, const char *mode)
{
	unsigned bad = 0;

	for (unsigned id = 1; id < n; id++) {
		unsigned before = cpus[id].once;

		lapic_send(id, ICR_FIXED | VECTOR_ONCE);
		bad += !wait_for(&cpus[id].once, before + 1, 5000);
	}
	delay_us(2000);
	for (unsigned id = 1; id < n; id++)
		bad += cpus[id].once != cpus[1].once;
	tap_is(bad, 0, mode);
	tap_is(cpus[0].once, 0, "and none comes to the sender");
}

static void test_start(unsigned n)
{
	unsigned bad = 0, seen = 0;

	ap_prepare(ap);
	for (unsigned id = 1; id < n; id++)
		ap_start(id);
	tap(wait_for(&ap_count, n - 1, 5000), "%u of %u APs have started", ap_count, n - 1);
	delay_us(5000);
	tap_is(ap_count, n - 1, "the second SIPI starts nobody twice");
	tap_is(ap_cs, AP_BASE >> 4, "a SIPI's vector becomes CS");
	tap_is(ap_cr0 & (CR0_PE | CR0_PG), 0, "in real mode");
	for (unsigned id = 1; id < n; id++) {
		struct cpu *c = &cpus[id];

		(void)wait_for(&c->seen, 1000, 5000);
		bad += c->cpuid_id != id || c->topology_id != id || c->lapic != id;
		seen |= 1u << id_of_index[id - 1];
		print("# CPU %u: APIC id %u, x2APIC id %u, local APIC %u\n", id, c->cpuid_id,
		      c->topology_id, c->lapic);
	}
	tap_is(bad, 0, "CPUID, its topology leaf and the local APIC agree on every id");
	tap_is(seen, (1u << n) - 2, "each of them is there once");
}

int main(void)
{
	unsigned n = cmdline_number("cpus=", 1), alive;

	if (n < 2 || n > AP_MAX) {
		tap_skip("more CPUs", "cpus= is not from 2 to 16");
		return 0;
	}
	lapic_enable(false);
	tap_is(lapic_id(), 0, "the first CPU's id is 0");
	irq_handle(VECTOR_ONCE, once);
	test_start(n);
	test_ipis(n, "IPIs reach each CPU once");

	tap(command_all(1, n, CMD_ADD), "all of them count");
	tap_is(total, n * ADDS, "lock inc is atomic");

	tap(command_all(1, n, CMD_X2APIC), "all of them go to x2APIC mode");
	lapic_enable(true);
	tap_is(lapic_id(), 0, "the first one too");
	test_ipis(n, "x2APIC: IPIs reach each CPU once");

	command_all(1, 2, CMD_SPIN);
	tap(wait_for(&cpus[1].alive, 1, 5000), "a CPU spins");
	ap_init(1);
	delay_us(5000);
	alive = cpus[1].alive;
	delay_us(5000);
	tap_is(cpus[1].alive, alive, "INIT stops it");
	ap_prepare(ap);
	ap_start(1);
	tap(wait_for(&ap_count, 1, 5000), "and a SIPI starts it again");
	return 0;
}
