/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/pci.h"

static void select(unsigned devfn, unsigned offset)
{
	outl(PLATFORM_PORT_PCI_ADDR, 0x80000000 | devfn << 8 | (offset & 0xfc));
}

uint32_t pci_read(unsigned devfn, unsigned offset, unsigned width)
{
	uint16_t port = (uint16_t)(PLATFORM_PORT_PCI_DATA + (offset & 3));

	select(devfn, offset);
	return width == 1 ? inb(port) : width == 2 ? inw(port) : inl(port);
}

void pci_write(unsigned devfn, unsigned offset, unsigned width, uint32_t v)
{
	uint16_t port = (uint16_t)(PLATFORM_PORT_PCI_DATA + (offset & 3));

	select(devfn, offset);
	if (width == 1)
		outb(port, (uint8_t)v);
	else if (width == 2)
		outw(port, (uint16_t)v);
	else
		outl(port, v);
}

unsigned pci_find(uint16_t vendor, uint16_t device)
{
	for (unsigned devfn = 0; devfn < 256; devfn += 8)
		if (pci_read(devfn, 0, 4) == (vendor | (uint32_t)device << 16))
			return devfn;
	return PCI_NONE;
}

unsigned pci_cap(unsigned devfn, uint8_t id, unsigned after)
{
	unsigned cap = pci_read(devfn, after ? after + 1 : 0x34, 1);

	/* A list that bites its own tail ends all the same. */
	for (unsigned n = 0; cap && n < 48; n++) {
		if (pci_read(devfn, cap, 1) == id)
			return cap;
		cap = pci_read(devfn, cap + 1, 1);
	}
	return 0;
}

bool pci_bar_is_io(unsigned devfn, unsigned bar)
{
	return pci_read(devfn, PCI_BAR(bar), 4) & 1;
}

bool pci_bar_is_64(unsigned devfn, unsigned bar)
{
	return (pci_read(devfn, PCI_BAR(bar), 4) & 7) == 4;
}

uint64_t pci_bar(unsigned devfn, unsigned bar)
{
	uint32_t v = pci_read(devfn, PCI_BAR(bar), 4);

	if (v & 1)
		return v & ~3u;
	if (pci_bar_is_64(devfn, bar))
		return (v & ~15u) | (uint64_t)pci_read(devfn, PCI_BAR(bar + 1), 4) << 32;
	return v & ~15u;
}

void pci_set_bar(unsigned devfn, unsigned bar, uint64_t addr)
{
	bool is_64 = pci_bar_is_64(devfn, bar);

	pci_write(devfn, PCI_BAR(bar), 4, (uint32_t)addr);
	if (is_64)
		pci_write(devfn, PCI_BAR(bar + 1), 4, (uint32_t)(addr >> 32));
}

uint64_t pci_bar_size(unsigned devfn, unsigned bar)
{
	uint32_t command = pci_read(devfn, PCI_COMMAND, 2);
	bool io = pci_bar_is_io(devfn, bar), is_64 = pci_bar_is_64(devfn, bar);
	uint64_t addr = pci_bar(devfn, bar), mask;

	pci_write(devfn, PCI_COMMAND, 2, command & ~3u);
	pci_set_bar(devfn, bar, ~0ull);
	mask = pci_read(devfn, PCI_BAR(bar), 4) & (io ? ~3u : ~15u);
	if (is_64)
		mask |= (uint64_t)pci_read(devfn, PCI_BAR(bar + 1), 4) << 32;
	else if (mask)
		mask |= (io && !(mask >> 16) ? 0xffffffffffff0000ull : 0xffffffff00000000ull);
	pci_set_bar(devfn, bar, addr);
	pci_write(devfn, PCI_COMMAND, 2, command);
	return ~mask + 1;
}

static uintptr_t msix_place(unsigned devfn, unsigned reg)
{
	uint32_t v = pci_read(devfn, pci_cap(devfn, PCI_CAP_MSIX, 0) + reg, 4);

	return (uintptr_t)(pci_bar(devfn, v & 7) + (v & ~7u));
}

uintptr_t pci_msix_table(unsigned devfn)
{
	return msix_place(devfn, 4);
}

uintptr_t pci_msix_pba(unsigned devfn)
{
	return msix_place(devfn, 8);
}

unsigned pci_msix_vectors(unsigned devfn)
{
	return (pci_read(devfn, pci_cap(devfn, PCI_CAP_MSIX, 0) + 2, 2) & 0x7ff) + 1;
}

void pci_msix_control(unsigned devfn, bool enable, bool mask_all)
{
	pci_write(devfn, pci_cap(devfn, PCI_CAP_MSIX, 0) + 2, 2,
		  (enable ? 0x8000 : 0) | (mask_all ? 0x4000 : 0));
}

void pci_msix_set(unsigned devfn, unsigned n, unsigned vector, bool masked)
{
	uintptr_t entry = pci_msix_table(devfn) + 16 * n;

	write32(entry, PLATFORM_LAPIC_BASE);
	write32(entry + 4, 0);
	write32(entry + 8, vector);
	write32(entry + 12, masked);
}
