/* SPDX-License-Identifier: MIT */
/*
 * Long mode: CPUID and MSRs as the machine sets them, exceptions, ring 3, FPU and SSE state,
 * RAM where the memory map says, and nothing where it says nothing.
 *
 * cpus=N and memory=MIB on the command line are what bantam was told.
 */
#include "guests/baremetal/lib/acpi.h"
#include "guests/baremetal/lib/fdt.h"
#include "guests/baremetal/lib/irq.h"

#define MIB (1024ull * 1024)

static void test_entry(void)
{
	tap(rdmsr(MSR_EFER) & EFER_LMA, "EFER.LMA is set");
	tap(!(entry_state.cr0 & CR0_PG) && entry_state.cr0 & CR0_PE,
	    "entered in protected mode without paging, cr0 0x%x", entry_state.cr0);
}

static void test_cpuid(unsigned cpus)
{
	struct cpuid one = cpuid(1, 0), hyp = cpuid(0x40000000, 0), max = cpuid(0, 0);
	struct cpuid far = cpuid(0x80000001, 0);
	uint32_t id = one.ebx >> 24;

	tap(one.ecx >> 31, "CPUID: the hypervisor bit is set");
	tap(hyp.ebx == 0x4b4d564b && hyp.eax >= 0x40000001, "CPUID: KVM's own leaves are there");
	tap(one.ecx & 1u << 21, "CPUID: x2APIC");
	tap(!(one.ecx & 1u << 5) && !(far.ecx & 1u << 2), "CPUID: neither VMX nor SVM");
	tap_is(id, 0, "CPUID: the first CPU's APIC id");
	/* Some KVMs set HTT whatever they are told; with one CPU the count says it. */
	tap(one.edx & 1u << 28 ? (one.ebx >> 16 & 0xff) >= cpus : cpus == 1,
	    "CPUID: the package has room for its CPUs");
	tap(!(one.ecx & 1u << 27), "CPUID: OSXSAVE is off while CR4.OSXSAVE is");
	if (max.eax >= 0xb) {
		struct cpuid smt = cpuid(0xb, 0), core = cpuid(0xb, 1), end = cpuid(0xb, 2);

		tap(smt.ebx == 1 && smt.eax == 0 && (smt.ecx >> 8 & 0xff) == 1,
		    "CPUID: one thread a core");
		tap(core.ebx == cpus && 1u << core.eax >= cpus && (core.ecx >> 8 & 0xff) == 2,
		    "CPUID: %u cores, %u bits of APIC id", core.ebx, core.eax);
		tap(!end.ebx && !(end.ecx >> 8 & 0xff), "CPUID: the topology ends there");
		tap_is(smt.edx, 0, "CPUID: x2APIC id");
	} else {
		tap_skip("CPUID: topology", "no leaf 0xb");
	}
}

static void test_msrs(void)
{
	uint64_t tsc = rdtsc(), base = rdmsr(MSR_APIC_BASE);

	tap(base & 0x100 && base & 0x800, "APIC base: enabled, of the boot processor");
	tap_is(base & ~0xfffull, PLATFORM_LAPIC_BASE, "APIC base");
	wrmsr(0xc0000102, 0x0000334455667788); /* KERNEL_GS_BASE */
	tap_is(rdmsr(0xc0000102), 0x0000334455667788, "an MSR keeps 64 bits");
	tap(rdtsc() > tsc, "the TSC counts");
	tap_is((uint64_t)IRQ_TRY("rdmsr",
				 : "c"(0x12345678)
				 : "eax", "edx"),
	       13, "#GP for an MSR that is none");
}

static void test_exceptions(void)
{
	uint32_t zero = 0, rax = 5, rdx = 0;

	tap_is((uint64_t)IRQ_TRY("divl %2", "+a"(rax), "+d"(rdx) : "r"(zero)), 0, "#DE");
	tap_is((uint64_t)IRQ_TRY("ud2", :), 6, "#UD");
	tap_is((uint64_t)IRQ_TRY("movw %w0, %%fs", : "r"(0x1238)), 13, "#GP for a bad selector");
	tap_is(irq_seen.error, 0x1238, "its error code is the selector");
	tap_is((uint64_t)IRQ_TRY("movb (%0), %%al",
				 : "r"(0x7000001234ull)
				 : "rax"),
	       14, "#PF where nothing is mapped");
	tap(irq_seen.cr2 == 0x7000001234 && irq_seen.error == 0, "its address and error code");
}

struct user_state {
	uint64_t sum;
	uint16_t cs;
	float f;
	double quotient;
	uint32_t vector[4];
};

static void user_main(void *opaque)
{
	struct user_state *s = opaque;
	static const uint32_t a[4] __attribute__((aligned(16))) = { 1, 2, 3, 4 };

	__asm__ volatile("movw %%cs, %0" : "=m"(s->cs));
	for (uint64_t i = 0; i < 100000; i++)
		__asm__ volatile("addq %1, %0" : "+m"(s->sum) : "r"(i));
	/* 22 / 7 in the FPU, and four sums at once in SSE registers */
	__asm__ volatile("fninit; fildl %1; fildl %2; fdivrp; fstpl %0"
			 : "=m"(s->quotient)
			 : "m"((int32_t){ 22 }), "m"((int32_t){ 7 }));
	__asm__ volatile("movdqa %1, %%xmm7; paddd %%xmm7, %%xmm7; movdqu %%xmm7, %0"
			 : "=m"(s->vector)
			 : "m"(a));
}

static void test_user(void)
{
	static const uint32_t want[4] = { 2, 4, 6, 8 };
	static uint8_t area[2][512] __attribute__((aligned(16)));
	struct user_state s = { 0 };
	uint64_t quotient;

	user_call(user_main, &s);
	tap_is(s.cs & 3, 3, "ring 3 runs and comes back");
	tap_is(s.sum, 4999950000, "it computes");
	memcpy(&quotient, &s.quotient, 8);
	tap(quotient == 0x4009249249249249 || quotient == 0x400924924924924a, "the FPU divides");
	tap(!memcmp(s.vector, want, sizeof(want)), "SSE adds");
	/* xmm7 lies at 160 + 7 * 16 of the image */
	__asm__ volatile("fxsave %0" : "=m"(area[0]));
	tap(!memcmp(area[0] + 160 + 7 * 16, want, sizeof(want)), "fxsave holds xmm7");
	memset(area[0] + 160 + 7 * 16, 0x5a, 16);
	__asm__ volatile("fxrstor %1; fxsave %0" : "=m"(area[1]) : "m"(area[0]));
	tap(area[1][160 + 7 * 16 + 3] == 0x5a, "fxrstor loads it");
}

/* The memory map's usable RAM must be what --memory said, and the device tree agrees. */
static void test_map(unsigned megabytes)
{
	const struct start_memmap *map = (const void *)(uintptr_t)start_info()->memmap;
	const struct fdt_header *fdt = fdt_find();
	struct fdt_node node = { 0 };
	uint64_t top = 0, tree = 0;
	bool broken, overlap = false;

	for (unsigned i = 0; i < start_info()->memmap_entries; i++) {
		uint64_t end = map[i].addr + map[i].size;

		for (unsigned k = 0; k < i; k++)
			overlap |= map[i].addr < map[k].addr + map[k].size && map[k].addr < end;
		if (map[i].type == 1 && map[i].addr >= PLATFORM_BIOS_AREA_END)
			top += map[i].size;
	}
	tap(!overlap, "the memory map's entries do not overlap");
	/* Up to 1 MiB is RAM too, but partly reserved. */
	tap_is(top + MIB, megabytes * MIB, "its RAM is what --memory said");
	while (fdt && fdt_next(fdt, &node, &broken)) {
		uint32_t len;
		const char *type = fdt_prop(fdt, &node, "device_type", &len);
		const uint32_t *reg = fdt_prop(fdt, &node, "reg", &len);

		if (type && !strcmp(type, "memory"))
			for (; len >= 16; len -= 16, reg += 4)
				tree += (uint64_t)fdt_be32(reg + 2) << 32 | fdt_be32(reg + 3);
	}
	tap_is(tree, megabytes * MIB, "the device tree's RAM is what --memory said");
}

/* Marks the last 8 bytes of every piece of RAM, then looks whether any is an alias. */
static void test_ram(void)
{
	const struct start_memmap *map = (const void *)(uintptr_t)start_info()->memmap;
	unsigned n = start_info()->memmap_entries, bad = 0;
	bool high = false;

	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < n; i++) {
			uint64_t first = map[i].addr, last = map[i].addr + map[i].size - 8;

			if (map[i].type != 1 || first < PLATFORM_BIOS_AREA_END ||
			    last >= 8192 * MIB)
				continue;
			high |= first >= PLATFORM_HIGH_RAM_BASE;
			if (first == PLATFORM_BIOS_AREA_END)
				first += 64 * MIB / 8; /* behind the guest itself */
			if (!pass) {
				write64(first, ~first);
				write64(last, ~last);
			} else {
				bad += read64(first) != ~first;
				bad += read64(last) != ~last;
			}
		}
	}
	tap_is(bad, 0, "RAM keeps what is written to both ends of each piece");
	tap_is(high, cmdline_number("memory=", 256) > 3072, "RAM above 4 GiB");
}

static void test_holes(void)
{
	uintptr_t hole = PLATFORM_PCI_MMIO_END - 0x10000;

	tap_is(read8(hole), 0xff, "the PCI hole reads ones, 8 bits");
	tap_is(read16(hole + 2), 0xffff, "the PCI hole reads ones, 16 bits");
	tap_is(read32(hole + 4), 0xffffffff, "the PCI hole reads ones, 32 bits");
	tap_is(read64(hole + 8), ~0ull, "the PCI hole reads ones, 64 bits");
	write64(hole, 0);
	tap_is(read64(hole), ~0ull, "and forgets what is written");
	tap_is(read32(8192 * MIB - 16), 0xffffffff, "so does what lies beyond RAM");
}

static void test_acpi(unsigned cpus)
{
	static const char names[][5] = { "FACP", "APIC" };
	const struct acpi_table *t;
	unsigned found = 0;

	tap(acpi_find("XSDT") != NULL, "ACPI: RSDP and XSDT");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		t = acpi_find(names[i]);
		tap(t && acpi_checksum_ok(t, t->length), "ACPI: %s", names[i]);
	}
	t = acpi_dsdt();
	tap(t && !memcmp(t->signature, "DSDT", 4) && acpi_checksum_ok(t, t->length), "ACPI: DSDT");
	tap_is((uint64_t)acpi_s5_type(), PLATFORM_SLP_TYP_S5, "ACPI: \\_S5's SLP_TYPa");
	t = acpi_find("APIC");
	for (uint32_t at = 44; t && at + 8 <= t->length;) {
		const uint8_t *e = (const uint8_t *)t + at;

		found += e[0] == 0 && e[3] == found && e[4] & 1;
		if (e[1] < 2)
			break;
		at += e[1];
	}
	tap_is(found, cpus, "ACPI: the MADT names each CPU, ids from 0");
}

int main(void)
{
	unsigned cpus = cmdline_number("cpus=", 1);

	test_entry();
	test_cpuid(cpus);
	test_msrs();
	test_exceptions();
	test_user();
	test_map(cmdline_number("memory=", 256));
	test_ram();
	test_holes();
	test_acpi(cpus);
	return 0;
}
