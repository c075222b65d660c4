/* SPDX-License-Identifier: MIT */
/*
 * Exactly so many accesses to ports and addresses that nothing else touches: the host's
 * side compares bantam's counts with the numbers in here (tests/guest/exits.sh).
 *
 * With "profile" on the command line, port 0x80 is written by poke(), which first_caller() calls
 * 30 and second_caller() 12 times, and by poke_elsewhere(), which pointer_caller() calls 9 times by
 * a pointer.
 *
 * With "multiple=N" the first disk's first 16 sectors are read N times by READ MULTIPLE, each time as
 * one block and by one instruction: 8192 bytes. With "dma=N" the first 8 are read N times by READ DMA,
 * and with "dma-ext=N" by READ DMA EXT: 4096 bytes, waited for by polling.
 */
#include "guests/baremetal/lib/ide.h"
#include "guests/baremetal/lib/rt.h"

#define PORT 0x1230
#define HOLE 0xd0000000u /* below 4 GiB, above any RAM, no BAR there */

/* exits_profile.S */
void first_caller(void);
void second_caller(void);
void pointer_caller(void);

static volatile uint8_t *hole(unsigned offset)
{
	return (volatile uint8_t *)(uintptr_t)(HOLE + offset);
}

static void ports(void)
{
	static const char text[400];

	for (unsigned i = 0; i < 100; i++)
		outb(PORT, (uint8_t)i);
	for (unsigned i = 0; i < 50; i++)
		outw(PORT, (uint16_t)i);
	for (unsigned i = 0; i < 25; i++)
		outl(PORT, i);
	for (unsigned i = 0; i < 70; i++)
		(void)inb(PORT);
	for (unsigned i = 0; i < 60; i++)
		(void)inw(PORT);
	for (unsigned i = 0; i < 55; i++)
		(void)inl(PORT);
	rep_outsb(PORT + 8, text, sizeof(text));
}

static void memory(void)
{
	for (unsigned i = 0; i < 40; i++)
		*(volatile uint32_t *)hole(0) = i;
	for (unsigned i = 0; i < 41; i++)
		(void)*hole(0);
	for (unsigned i = 0; i < 42; i++)
		(void)*(volatile uint16_t *)hole(0x100);
	for (unsigned i = 0; i < 43; i++)
		*hole(0x100) = (uint8_t)i;
}

/* More addresses than the accounts have places for. */
static void flood(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		(void)*hole(0x1000 + i);
}

static void multiple(unsigned n)
{
	static uint8_t buf[16 * 512] __attribute__((aligned(4096)));
	const struct ide_regs set = { .command = IDE_CMD_SET_MULTIPLE, .count = 16 };
	const struct ide_regs read = { .command = IDE_CMD_READ_MULTIPLE, .count = 16 };
	unsigned devfn = ide_find(), done = 0;
	struct ide d;

	if (devfn == PCI_NONE) {
		tap(false, "there is an IDE controller");
		return;
	}
	d = ide_place(devfn, 0);
	tap(ide_ok(ide_command(&d, &set)), "SET MULTIPLE MODE");
	while (done < n && ide_ok(ide_pio_in(&d, &read, buf, sizeof(buf), sizeof(buf), 2)))
		done++;
	tap_is(done, n, "READ MULTIPLE");
}

static void dma(unsigned n, uint8_t command)
{
	static uint8_t buf[8 * 512] __attribute__((aligned(4096)));
	const struct ide_regs read = { .command = command, .count = 8 };
	unsigned devfn = ide_find(), done = 0;
	struct ide d;

	if (devfn == PCI_NONE) {
		tap(false, "there is an IDE controller");
		return;
	}
	d = ide_place(devfn, 0);
	while (done < n && ide_ok(ide_dma(&d, &read, buf, sizeof(buf), true) & 0xff))
		done++;
	tap_is(done, n, "READ DMA");
}

int main(void)
{
	unsigned n = cmdline_number("multiple=", 0);

	ports();
	memory();
	flood(cmdline_number("flood=", 0));
	if (cmdline_has("profile")) {
		first_caller();
		second_caller();
		pointer_caller();
	}
	if (n)
		multiple(n);
	n = cmdline_number("dma=", 0);
	if (n)
		dma(n, IDE_CMD_READ_DMA);
	n = cmdline_number("dma-ext=", 0);
	if (n)
		dma(n, IDE_CMD_READ_DMA_EXT);
	tap(true, "all accesses are made");
	tap_done();
}
