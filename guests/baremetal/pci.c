/* SPDX-License-Identifier: MIT */
/*
 * PCI: configuration mechanism 1 at every width, base addresses sized, moved and turned
 * off with the disk used at its new place, INTx through the PIC and the I/O APIC, MSI-X
 * with its masks and pending bits. Runs with a virtio disk.
 */
#include "guests/baremetal/lib/irq.h"
#include "guests/baremetal/lib/vblk.h"

#define VECTOR_INTX 0x50
#define VECTOR_MSIX 0x51
#define DATA PLATFORM_PORT_PCI_DATA

static uint8_t sector[512];

static void test_config(void)
{
	uint32_t v;

	outl(PLATFORM_PORT_PCI_ADDR, 0x80000000);
	tap_is(inl(DATA), 0x12378086, "host bridge: ids at 32 bits");
	tap(inw(DATA) == 0x8086 && inw(DATA + 2) == 0x1237, "host bridge: ids at 16 bits");
	tap(inb(DATA) == 0x86 && inb(DATA + 1) == 0x80 && inb(DATA + 3) == 0x12,
	    "host bridge: ids at 8 bits");
	tap_is(pci_read(PLATFORM_PCI_HOST_BRIDGE, 8, 4) >> 16, 0x0600, "host bridge: class");
	tap_is(pci_read(PLATFORM_PCI_ISA_BRIDGE, 8, 4) >> 16, 0x0601, "ISA bridge: class");
	tap_is(pci_read(PLATFORM_PCI_ISA_BRIDGE, 14, 1) & 0x80, 0x80, "it is multifunction");
	outl(PLATFORM_PORT_PCI_ADDR, 0x00000000);
	tap_is(inl(DATA), 0xffffffff, "without the enable bit nobody answers");
	outl(PLATFORM_PORT_PCI_ADDR, 0x80000000 | 31 << 11);
	tap_is(inl(DATA), 0xffffffff, "an empty slot reads ones");
	outl(PLATFORM_PORT_PCI_ADDR, 0x80000000 | 1 << 16);
	tap_is(inl(DATA), 0xffffffff, "an absent bus reads ones");
	/* The address register takes 32 bits only: a byte write must not reach it. */
	outl(PLATFORM_PORT_PCI_ADDR, 0x80000040);
	outb(PLATFORM_PORT_PCI_ADDR, 0x08);
	tap_is(inl(PLATFORM_PORT_PCI_ADDR), 0x80000040, "the address takes 32 bits at once");
	/* An unaligned access goes nowhere but must not hurt. */
	v = pci_read(PLATFORM_PCI_HOST_BRIDGE, 0, 4);
	pci_write(PLATFORM_PCI_HOST_BRIDGE, 0, 4, 0);
	tap_is(pci_read(PLATFORM_PCI_HOST_BRIDGE, 0, 4), v, "ids cannot be written");
}

static bool disk_works(struct vblk *b)
{
	memset(sector, 0, sizeof(sector));
	return vblk_find(b) && vblk_start(b, VBLK_NO_VECTOR) &&
	       vblk_request(b, VBLK_IN, 3, sector, 512) == VBLK_OK && sector[510] == '3';
}

static void test_bars(struct vblk *b)
{
	unsigned tested = 0;
	uint64_t old, new;

	tap(pci_read(b->devfn, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY,
	    "the firmware has turned decoding on");
	tap(disk_works(b), "the disk works as the firmware placed it");
	for (unsigned bar = 0; bar < 6; bar++) {
		uint64_t size = pci_bar_size(b->devfn, bar), addr = pci_bar(b->devfn, bar);
		bool io = pci_bar_is_io(b->devfn, bar);

		if (!size)
			continue;
		tap(!(size & (size - 1)) && !(addr & (size - 1)) && size >= (io ? 4 : 16),
		    "BAR %u: 0x%llx bytes, naturally aligned", bar, (unsigned long long)size);
		tap(io ? addr >= PLATFORM_PCI_IO_BASE && addr < PLATFORM_PCI_IO_END
		       : addr >= PLATFORM_PCI_MMIO_BASE && addr < PLATFORM_PCI_MMIO_END,
		    "BAR %u: in its window", bar);
		/* Moved with decoding on, as a guest does that shuffles its resources. */
		old = addr;
		new = io ? PLATFORM_PCI_IO_END - size : PLATFORM_PCI_MMIO_END - size;
		pci_set_bar(b->devfn, bar, new);
		tap_is(pci_bar(b->devfn, bar), new, "it moves");
		tap(disk_works(b), "the disk works at the new place");
		tap_is(io ? inw((uint16_t)old) : read16((uintptr_t)old), 0xffff,
		       "nobody is at the old one");
		pci_set_bar(b->devfn, bar, old);
		tap(disk_works(b), "and back at the old one");
		tested++;
		bar += pci_bar_is_64(b->devfn, bar);
	}
	tap(tested >= 1, "BARs were tested: %u", tested);

	pci_write(b->devfn, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	tap_is(read32(b->common + VCOMMON_NUM_QUEUES), 0xffffffff, "decoding off: ones");
	pci_write(b->devfn, PCI_COMMAND, 2,
		  PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	tap(disk_works(b), "decoding on: the disk works");
}

/*
 * The line is level: the handler must quiet the device before the EOI. Some in-kernel I/O
 * APICs deliver a level once more after that, so only those with a reason are counted.
 */
static volatile unsigned intx_irqs, intx_spurious;
static uintptr_t isr_address;

static void intx(struct irq_frame *frame)
{
	(void)frame;
	if (read8(isr_address) & 1)
		intx_irqs++;
	else
		intx_spurious++;
}

/* One polled request, with the interrupt that belongs to it. */
static bool request_with_irq(struct vblk *b, const volatile unsigned *count, unsigned want)
{
	bool ok;

	sti();
	ok = vblk_request(b, VBLK_IN, 1, sector, 512) == VBLK_OK && wait_for(count, want, 2000);
	delay_us(2000); /* for one too many to show */
	cli();
	return ok && *count == want;
}

static void test_intx(struct vblk *b)
{
	unsigned slot = b->devfn >> 3, irq = PLATFORM_PCI_GSI(slot, 0);
	bool ok;

	(void)vblk_start(b, VBLK_NO_VECTOR);
	isr_address = b->isr;
	(void)read8(isr_address);
	tap_is(pci_read(b->devfn, PCI_INTERRUPT_LINE, 1), irq, "the interrupt line register");
	tap_is(pci_read(b->devfn, PCI_INTERRUPT_LINE + 1, 1), 1, "the interrupt pin is INTA");

	tap(inb(0x4d1) & 1u << (irq - 8), "the firmware has made it level-triggered");
	pic_set_level(irq, true);
	irq_handle(VECTOR_IRQ(irq), intx);
	pic_unmask(irq);
	intx_irqs = intx_spurious = 0;
	ok = request_with_irq(b, &intx_irqs, 1);
	tap(ok, "INTx by the PIC, IRQ %u: %u", irq, intx_irqs);
	tap(request_with_irq(b, &intx_irqs, 2), "and the next one");
	pic_mask_all();

	lapic_enable(false);
	irq_handle(VECTOR_INTX, intx);
	ioapic_route(irq, VECTOR_INTX, IOAPIC_LEVEL);
	intx_irqs = 0;
	ok = request_with_irq(b, &intx_irqs, 1);
	tap(ok, "INTx by the I/O APIC, pin %u: %u", irq, intx_irqs);

	pci_write(b->devfn, PCI_COMMAND, 2,
		  pci_read(b->devfn, PCI_COMMAND, 2) | PCI_COMMAND_INTX_OFF);
	tap(vblk_request(b, VBLK_IN, 1, sector, 512) == VBLK_OK, "a request with INTx off");
	sti();
	tap(!wait_for(&intx_irqs, 2, 5), "no interrupt comes");
	/* The bit masks the line, not what stands behind it. */
	tap(pci_read(b->devfn, PCI_STATUS, 2) & 8, "but the status register shows it");
	pci_write(b->devfn, PCI_COMMAND, 2,
		  pci_read(b->devfn, PCI_COMMAND, 2) & ~PCI_COMMAND_INTX_OFF);
	tap(wait_for(&intx_irqs, 2, 2000), "and it comes with INTx on again");
	cli();
	ioapic_route(irq, VECTOR_INTX, IOAPIC_MASKED);
	tap(intx_spurious < 8, "the line does not stay up: %u without a reason", intx_spurious);
}

static void test_msix(struct vblk *b)
{
	const volatile unsigned *count = &irq_seen.count[VECTOR_MSIX];
	uintptr_t entry = pci_msix_table(b->devfn), pba = pci_msix_pba(b->devfn);

	irq_seen.count[VECTOR_MSIX] = 0;
	intx_irqs = 0;
	tap(pci_msix_vectors(b->devfn) >= 2, "MSI-X: %u vectors", pci_msix_vectors(b->devfn));
	tap_is(read32(entry + 12) & 1, 1, "MSI-X: masked at first");
	pci_msix_control(b->devfn, true, false);
	pci_msix_set(b->devfn, 1, VECTOR_MSIX, false);
	tap(vblk_start(b, 1), "MSI-X: the queue takes vector 1");
	tap(request_with_irq(b, count, 1), "MSI-X: an interrupt");
	tap(request_with_irq(b, count, 2), "MSI-X: and the next one");
	tap_is(intx_irqs, 0, "MSI-X: no INTx beside it");

	write32(entry + 16 + 12, 1);
	tap(request_with_irq(b, count, 2), "MSI-X: none while the vector is masked");
	tap_is(read32(pba) & 2, 2, "MSI-X: it is pending");
	sti();
	write32(entry + 16 + 12, 0);
	tap(wait_for(count, 3, 2000), "MSI-X: it comes when unmasked");
	cli();
	tap_is(read32(pba) & 2, 0, "MSI-X: and is pending no more");

	pci_msix_control(b->devfn, true, true);
	tap(request_with_irq(b, count, 3), "MSI-X: none while the function is masked");
	sti();
	pci_msix_control(b->devfn, true, false);
	tap(wait_for(count, 4, 2000), "MSI-X: it comes when unmasked");
	cli();

	/* Another vector in the same entry, masked meanwhile as the specification wants. */
	pci_msix_set(b->devfn, 1, VECTOR_MSIX + 1, true);
	write32(entry + 16 + 12, 0);
	tap(request_with_irq(b, &irq_seen.count[VECTOR_MSIX + 1], 1), "MSI-X: a changed message");
	tap_is(*count, 4, "MSI-X: not the old one");
	write16(b->common + VCOMMON_QUEUE_VECTOR, 99);
	tap_is(read16(b->common + VCOMMON_QUEUE_VECTOR), VBLK_NO_VECTOR,
	       "MSI-X: a vector that is none is refused");
	vblk_reset(b);
	pci_msix_control(b->devfn, false, false);
}

int main(void)
{
	struct vblk b;

	test_config();
	if (!tap(vblk_find(&b), "there is a disk"))
		return 0;
	test_bars(&b);
	test_intx(&b);
	test_msix(&b);
	return 0;
}
