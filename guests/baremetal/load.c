/* SPDX-License-Identifier: MIT */
/*
 * Work under a timer of 1000 Hz, for bench/pit.sh: a fixed computation of work= million steps, then reads=
 * times 8 KiB from the first IDE disk. What each took is told in thousands of TSC cycles.
 */
#include "guests/baremetal/lib/ide.h"
#include "guests/baremetal/lib/irq.h"

#define PIT_COUNT 1193

static volatile unsigned ticks;

static void tick(struct irq_frame *frame)
{
	(void)frame;
	ticks++;
}

static void start_timer(void)
{
	irq_handle(VECTOR_IRQ(0), tick);
	pic_unmask(0);
	outb(PLATFORM_PORT_PIT + 3, 0x34);
	outb(PLATFORM_PORT_PIT, PIT_COUNT & 0xff);
	outb(PLATFORM_PORT_PIT, PIT_COUNT >> 8);
	sti();
}

static void compute(unsigned millions)
{
	uint64_t x = 88172645463325252ull;

	for (uint64_t i = 0; i < millions * 1000000ull; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		__asm__ volatile("" : "+r"(x));
	}
}

static bool read_disk(unsigned n)
{
	static uint8_t buf[16 * 512] __attribute__((aligned(4096)));
	const struct ide_regs set = { .command = IDE_CMD_SET_MULTIPLE, .count = 16 };
	const struct ide_regs read = { .command = IDE_CMD_READ_MULTIPLE, .count = 16 };
	unsigned devfn = ide_find();
	struct ide d;

	if (devfn == PCI_NONE)
		return false;
	d = ide_place(devfn, 0);
	if (!ide_ok(ide_command(&d, &set)))
		return false;
	while (n && ide_ok(ide_pio_in(&d, &read, buf, sizeof(buf), sizeof(buf), 2)))
		n--;
	return !n;
}

int main(void)
{
	uint64_t begun;
	bool ok;

	start_timer();
	print("computes\n");
	ticks = 0;
	begun = rdtsc();
	compute(cmdline_number("work=", 1000));
	print("cpu %u kcycles %u ticks\n", (unsigned)((rdtsc() - begun) / 1000), ticks);
	ticks = 0;
	begun = rdtsc();
	ok = read_disk(cmdline_number("reads=", 1000));
	print("disk %u kcycles %u ticks\n", (unsigned)((rdtsc() - begun) / 1000), ticks);
	tap(ok, "it has read the disk");
	return 0;
}
