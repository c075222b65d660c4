/* SPDX-License-Identifier: MIT */
/*
 * Exactly so many accesses to ports and addresses that nothing else touches: the host's
 * side compares bantam's counts with the numbers in here (tests/guest/run.sh).
 *
 * With "profile" on the command line, port 0x80 is written by poke(), which first_caller() calls
 * 30 and second_caller() 12 times, and by poke_elsewhere(), which pointer_caller() calls 9 times by
 * a pointer.
 */
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

int main(void)
{
	ports();
	memory();
	flood(cmdline_number("flood=", 0));
	if (cmdline_has("profile")) {
		first_caller();
		second_caller();
		pointer_caller();
	}
	tap(true, "all accesses are made");
	tap_done();
}
