/* SPDX-License-Identifier: MIT */
/*
 * Protected mode, 32 bits: the state at the PVH entry, segments and their limits, ports
 * and memory-mapped I/O at every width without paging, then 32-bit paging with 4 KiB and
 * 4 MiB pages, and off again.
 *
 * Runs with a virtio disk, whose MSI-X table is the memory-mapped register to try.
 */
#include "guests/baremetal/lib/irq.h"
#include "guests/baremetal/lib/vblk.h"

#define PTE_PRESENT 1
#define PTE_WRITE 2
#define PTE_ACCESSED 0x20
#define PTE_DIRTY 0x40
#define PTE_LARGE 0x80
#define ALIAS 0x40000000u

static volatile uint32_t directory[1024] __attribute__((aligned(4096)));
static volatile uint32_t table[1024] __attribute__((aligned(4096)));
static uint8_t page[4096] __attribute__((aligned(4096)));

static void test_entry(void)
{
	const struct entry_state *e = &entry_state;

	tap(e->cr0 & CR0_PE && !(e->cr0 & CR0_PG), "PVH entry: protected mode, no paging");
	tap_is(e->cr4, 0, "PVH entry: CR4");
	tap(!(e->eflags & (EFLAGS_IF | 0x20100)), "PVH entry: IF, TF, VM clear in EFLAGS");
	tap(e->cs && e->ds && e->ss && e->ds == e->ss, "PVH entry: segments are loaded");
	tap(e->tr != 0, "PVH entry: a task register");
	tap_is(start_info()->magic, START_INFO_MAGIC, "PVH entry: ebx is at the start info");
	tap(start_info()->version >= 1 && start_info()->memmap_entries > 1, "it has a memory map");
	tap(cmdline_has("prot"), "it has the command line");
	tap_is(start_info()->nr_modules, 0, "it has no module where there is no initrd");
}

static void test_ports(void)
{
	outl(PLATFORM_PORT_PCI_ADDR, 0x80001234);
	tap_is(inl(PLATFORM_PORT_PCI_ADDR), 0x80001234, "a 32-bit port reads back");
	outl(PLATFORM_PORT_PCI_ADDR, 0x80000000);
	tap_is(inl(PLATFORM_PORT_PCI_DATA), 0x12378086, "a port read of 32 bits");
	tap_is(inw(PLATFORM_PORT_PCI_DATA + 2), 0x1237, "a port read of 16 bits");
	tap_is(inb(PLATFORM_PORT_PCI_DATA + 1), 0x80, "a port read of 8 bits");
}

static void test_mmio(uintptr_t entry)
{
	write32(entry, 0xfee00000);
	write32(entry + 4, 0);
	write32(entry + 8, 0x11223344);
	tap_is(read32(entry + 8), 0x11223344, "MMIO keeps 32 bits");
	tap_is(read16(entry + 10), 0x1122, "MMIO reads 16 bits");
	tap_is(read8(entry + 9), 0x33, "MMIO reads 8 bits");
	tap_is(read32(PLATFORM_PCI_MMIO_END - 0x1000), 0xffffffff, "nobody there: ones");
	__asm__ volatile("lock; orl $0x80, (%0)" : : "r"(entry + 8) : "memory");
	tap_is(read32(entry + 8), 0x112233c4, "a locked read-modify-write on MMIO");
	{
		uint32_t got[4] = { 0 };
		uintptr_t src = entry, n = 4;
		void *dst = got;

		__asm__ volatile("rep movsl" : "+S"(src), "+D"(dst), "+c"(n) : : "memory");
		tap(got[0] == 0xfee00000 && got[2] == 0x112233c4, "rep movsl from MMIO");
	}
	tap_is(read32(PLATFORM_IOAPIC_BASE) & 0xffffff00, 0, "the I/O APIC is there");
	tap_is(read32(PLATFORM_LAPIC_BASE + LAPIC_VERSION) & 0xf0, 0x10, "the local APIC is there");
}

static void test_segments(void)
{
	uint32_t v = 0;
	int vector;

	__asm__ volatile("movl %0, %%fs" : : "r"(SEL_SMALL));
	tap_is((uint32_t)IRQ_TRY("movl %%fs:0xff8, %0", "=r"(v)
				 :),
	       (uint32_t)-1, "a segment of a page holds its last bytes");
	vector = IRQ_TRY("movl %%fs:0xffe, %0", "=r"(v) :);
	if (vector == -1)
		tap_skip("#GP past its limit", "QEMU's software emulation does not check it");
	else
		tap_is((uint32_t)vector, 13, "#GP past its limit");
	tap_is((uint32_t)IRQ_TRY("movl %0, %%fs", : "r"(0x1238)), 13, "#GP for a bad selector");
	__asm__ volatile("movl %0, %%fs" : : "r"(SEL_DATA));
	tap_is((uint32_t)IRQ_TRY("ud2", :), 6, "#UD");
	(void)v;
}

static void paging_off(void)
{
	write_cr0(read_cr0() & ~(unsigned long)CR0_PG);
	write_cr4(0);
}

static void test_paging(uintptr_t entry)
{
	uint32_t *alias = (uint32_t *)ALIAS, *last = (uint32_t *)(ALIAS + 0x3ff000);

	/* Itself by 4 MiB pages up to 16 MiB, so are the APICs; the alias by 4 KiB pages. */
	for (unsigned i = 0; i < 4; i++)
		directory[i] = i << 22 | PTE_LARGE | PTE_WRITE | PTE_PRESENT;
	directory[entry >> 22] = (entry & ~0x3fffffu) | PTE_LARGE | PTE_WRITE | PTE_PRESENT;
	directory[ALIAS >> 22] = (uintptr_t)table | PTE_WRITE | PTE_PRESENT;
	table[0] = (uintptr_t)page | PTE_WRITE | PTE_PRESENT;
	table[1] = (uintptr_t)page | PTE_PRESENT;
	table[1023] = (uintptr_t)page | PTE_WRITE | PTE_PRESENT;

	write_cr3((uintptr_t)directory);
	write_cr4(CR4_PSE);
	if (IRQ_TRY("movl %0, %%cr0", : "r"(read_cr0() | CR0_PG | CR0_WP) : "memory") == 13) {
		tap_skip("32-bit paging", "this host's KVM knows paging in long mode only");
		write_cr4(0);
		return;
	}
	tap(read_cr0() & CR0_PG, "paging is on");
	*(volatile uint32_t *)alias = 0xfeedface;
	tap_is(*(volatile uint32_t *)page, 0xfeedface, "a 4 KiB page leads where it says");
	tap_is(*(volatile uint32_t *)last, 0xfeedface, "so does the table's last");
	tap((table[0] & (PTE_ACCESSED | PTE_DIRTY)) == (PTE_ACCESSED | PTE_DIRTY),
	    "a written page is accessed and dirty");
	tap((table[1023] & (PTE_ACCESSED | PTE_DIRTY)) == PTE_ACCESSED,
	    "a read page is accessed, not dirty");
	tap_is((uint32_t)IRQ_TRY("movl $0, (%0)",
				 : "r"(ALIAS + 4096)
				 : "memory"),
	       14, "#PF writing to a read-only page");
	tap(irq_seen.error == 3 && irq_seen.cr2 == ALIAS + 4096, "its error code and CR2");
	tap_is((uint32_t)IRQ_TRY("movl (%0), %%eax",
				 : "r"(ALIAS + 0x2abc)
				 : "eax"),
	       14, "#PF reading what is absent");
	tap(irq_seen.error == 0 && irq_seen.cr2 == ALIAS + 0x2abc, "its error code and CR2");
	/* Absent entries are not cached, so this takes no flush. */
	table[2] = (uintptr_t)page | PTE_PRESENT;
	tap_is(*(volatile uint32_t *)(ALIAS + 0x2000), 0xfeedface, "a page appears");
	table[2] = 0;
	__asm__ volatile("invlpg (%0)" : : "r"(ALIAS + 0x2000) : "memory");
	tap_is((uint32_t)IRQ_TRY("movl (%0), %%eax",
				 : "r"(ALIAS + 0x2000)
				 : "eax"),
	       14, "and is gone after invlpg");
	write32(entry + 8, 0x55667788);
	tap_is(read16(entry + 10), 0x5566, "MMIO through paging");
	paging_off();
	tap(!(read_cr0() & CR0_PG), "paging is off again");
	tap_is(*(volatile uint32_t *)page, 0xfeedface, "RAM is as it was");
}

int main(void)
{
	struct vblk b;
	uintptr_t entry;

	test_entry();
	test_ports();
	if (!tap(vblk_find(&b), "there is a disk, for its registers"))
		return 0;
	entry = pci_msix_table(b.devfn);
	test_mmio(entry);
	test_segments();
	test_paging(entry);
	return 0;
}
