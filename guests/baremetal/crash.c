/* SPDX-License-Identifier: MIT */
/*
 * Ways to end, by a word on the command line:
 *
 *	triple		a triple fault: ud2 without an IDT
 *	emulate		an instruction that no KVM can emulate, on memory-mapped I/O
 *	pvpanic		the guest says that it has panicked
 *	fail		the debug exit with 1
 *	off		ACPI's S5
 *	exits		count=N writes to port 0x80, then ok: what --exits counts
 *	spin		for ever; "# spinning" once a second
 *	flood		lines=N numbered lines as fast as they go
 *
 * triple and emulate leave known values in rax, rbx, r15 and on the stack, and print
 * where rip and rsp will be.
 */
#include "guests/baremetal/lib/acpi.h"
#include "guests/baremetal/lib/irq.h"

#define KNOWN_REGISTERS                         \
	"movabs $0x0123456789abcdef, %%rax\n\t" \
	"movabs $0x1111222233334444, %%rbx\n\t" \
	"movabs $0xfedcba9876543210, %%r15\n\t" \
	"mov %0, %%rsp\n\t"

static uint64_t stack[16] __attribute__((aligned(16))) = {
	[8] = 0xdeadbeefcafef00d,
	[9] = 0x5555aaaa12348765,
};

extern const char triple_here[], emulate_here[];

static void triple(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	print("# rip %016lx rsp %016lx\n", (unsigned long)triple_here, (unsigned long)&stack[8]);
	__asm__ volatile("lidt %1\n\t" KNOWN_REGISTERS "triple_here: ud2"
			 :
			 : "r"(&stack[8]), "m"(none)
			 : "rax", "rbx", "r15");
}

static void emulate(void)
{
	print("# rip %016lx rsp %016lx\n", (unsigned long)emulate_here, (unsigned long)&stack[8]);
	__asm__ volatile("mov %1, %%rcx\n\t" KNOWN_REGISTERS "emulate_here: paddd (%%rcx), %%xmm0"
			 :
			 : "r"(&stack[8]), "r"((uint64_t)PLATFORM_PCI_MMIO_END - 4096)
			 : "rax", "rbx", "rcx", "r15");
}

int main(void)
{
	unsigned n = cmdline_number("count=", 0), lines = cmdline_number("lines=", 0);

	if (cmdline_has("triple"))
		triple();
	if (cmdline_has("emulate"))
		emulate();
	if (cmdline_has("pvpanic"))
		outb(PLATFORM_PORT_PVPANIC, 1);
	if (cmdline_has("fail"))
		debug_exit(1);
	if (cmdline_has("off"))
		acpi_power_off();
	for (unsigned i = 1; i <= lines; i++)
		print("flood %u\n", i);
	while (cmdline_has("spin")) {
		print("# spinning\n");
		delay_us(1000000);
	}
	if (cmdline_has("exits") || lines) {
		for (unsigned i = 0; i < n; i++)
			outb(PLATFORM_PORT_POST, (uint8_t)i);
		tap(true, "done");
		tap_done();
	}
	delay_us(100000);
	tap(false, "still here");
	return 0;
}
