/* SPDX-License-Identifier: MIT */
/*
 * Resets by each way that a PC has: ACPI's reset register, port 0xcf9, the 8042, port 0x92.
 * Before each one the guest leaves everything in a mess, with disk requests in flight and
 * an AP running; after each one it compares what it finds with what it found at power-on.
 * At last it powers off by S5 (exit status 0). Runs with a disk, and cpus=2.
 *
 * What must survive is in CMOS RAM: the stage, the tests so far, and a byte for each value
 * found at power-on. "once" on the command line: one reset only, for --no-reboot.
 */
#include "guests/baremetal/lib/acpi.h"
#include "guests/baremetal/lib/ap.h"
#include "guests/baremetal/lib/fdt.h"
#include "guests/baremetal/lib/vblk.h"

#define CMOS_MAGIC 0x40
#define CMOS_STAGE 0x41
#define CMOS_COUNT 0x42
#define CMOS_FAILED 0x43
#define CMOS_VALUES 0x60
#define MAX_VALUES 32
#define MAGIC 0xa7
#define AP_COUNTER 0x90000 /* RAM that no reset writes to */

struct snapshot {
	unsigned n;
	const char *names[MAX_VALUES];
	uint8_t values[MAX_VALUES];
};

static struct snapshot now;
static struct vblk disk;

/* A byte of a value stands for it: any change of one bit or one byte shows. */
static void note(const char *name, uint64_t v)
{
	uint8_t byte = 0;

	for (unsigned i = 0; i < 64; i += 8)
		byte = (uint8_t)(byte * 31 + (v >> i & 0xff));
	now.names[now.n] = name;
	now.values[now.n++] = byte;
}

static uint64_t ioapic_sum(void)
{
	uint64_t sum = 0;

	for (uint8_t i = 0; i < 24; i++)
		sum = sum * 31 + ioapic_read((uint8_t)(0x10 + 2 * i));
	return sum;
}

/* config_address is from before anybody has looked for the disk. */
static void take_snapshot(uint32_t config_address)
{
	const struct fdt_header *fdt = fdt_find();
	uint64_t lapic = 0;
	unsigned d;

	note("cr0 at entry", entry_state.cr0);
	note("cr4 at entry", entry_state.cr4);
	note("eflags at entry", entry_state.eflags);
	note("start info and device tree",
	     entry_state.ebx + ((uint64_t)entry_state.edx << 32) + (fdt ? fdt->totalsize : 0));
	note("APIC base", rdmsr(MSR_APIC_BASE));
	note("PAT", rdmsr(0x277));
	note("SYSENTER_CS and LSTAR", rdmsr(0x174) ^ rdmsr(0xc0000082));
	note("kvm-clock's MSR", rdmsr(0x4b564d01));
	note("MTRR default type", rdmsr(0x2ff));
	for (unsigned reg = 0x20; reg < 0x3f0; reg += 0x10)
		if (reg != LAPIC_TIMER_COUNT && (reg < 0x40 || reg > 0x70) && reg != 0xc0)
			lapic = lapic * 31 + read32(PLATFORM_LAPIC_BASE + reg);
	note("local APIC", lapic);
	note("I/O APIC", ioapic_sum());
	note("ELCR", inb(0x4d0) | inb(0x4d1) << 8);
	note("CONFIG_ADDRESS", config_address);
	note("port 0xcf9", inb(PLATFORM_PORT_RESET));
	d = disk.devfn;
	note("the disk's command register", pci_read(d, PCI_COMMAND, 2));
	note("its BARs", pci_bar(d, 0) ^ pci_bar(d, 1) << 20);
	note("its interrupt line", pci_read(d, PCI_INTERRUPT_LINE, 1));
	note("its MSI-X", pci_read(d, pci_cap(d, PCI_CAP_MSIX, 0) + 2, 2) |
				  (uint64_t)read32(pci_msix_table(d) + 12) << 32);
	note("its status", vblk_status(&disk));
	note("its queue's vector", read16(disk.common + VCOMMON_QUEUE_VECTOR));
	note("PIRQ routes", pci_read(PLATFORM_PCI_ISA_BRIDGE, 0x60, 4));
	note("UART", inb(PLATFORM_PORT_COM1 + 1) | inb(PLATFORM_PORT_COM1 + 2) << 8 |
			     inb(PLATFORM_PORT_COM1 + 3) << 16 | inb(PLATFORM_PORT_COM1 + 4) << 24);
	/* But for TMR_STS: the timer runs on, and its top bit may just have changed. */
	note("PM1", (inw(PLATFORM_PORT_PM_BASE) & ~1u) |
			    (uint32_t)inw(PLATFORM_PORT_PM_BASE + 2) << 16 |
			    (uint64_t)inw(PLATFORM_PORT_PM_BASE + 4) << 32);
	note("GPE", inl(PLATFORM_PORT_GPE_BASE));
	note("port 0x92", inb(PLATFORM_PORT_SYSCTL_A));
	note("RTC's control", cmos_read(0x0a) | cmos_read(0x0b) << 8);
	outb(PLATFORM_PORT_I8042_CMD, 0x20);
	note("i8042's command byte", inb(PLATFORM_PORT_I8042_DATA));
}

static void ap(unsigned index)
{
	volatile unsigned *counter = (volatile unsigned *)AP_COUNTER;

	(void)index;
	for (;;)
		(*counter)++;
}

/* Everything that a reset must undo. */
static void make_a_mess(void)
{
	static uint8_t buf[32][512];
	unsigned d = disk.devfn;

	ap_prepare(ap);
	ap_start(1);
	tap(wait_for((volatile unsigned *)AP_COUNTER, 1, 500), "an AP runs");

	wrmsr(0x277, 0);
	wrmsr(0x174, 0x1234);
	wrmsr(0x4b564d01, AP_COUNTER + 0x1001); /* kvm-clock, on */
	wrmsr(0x2ff, 0xc00);
	wrmsr(0xc0000082, 0x5678);
	lapic_write(LAPIC_LVT_TIMER, 0x20000 | 0x70); /* periodic, at vector 0x70 */
	lapic_write(LAPIC_TIMER_INIT, 10000);
	lapic_write(0x80, 0x20);
	ioapic_route(5, 0x71, IOAPIC_LEVEL);
	pic_set_level(5, true);
	pic_set_level(3, true);
	outw(PLATFORM_PORT_PM_BASE + 2, 0x0120);
	outw(PLATFORM_PORT_GPE_BASE + 2, 0xffff);
	outb(PLATFORM_PORT_SYSCTL_A, 0);
	cmos_write(0x0a, 0x2f);
	cmos_write(0x0b, 0x72);
	outb(PLATFORM_PORT_I8042_CMD, 0x60);
	outb(PLATFORM_PORT_I8042_DATA, 0x77);
	outb(PLATFORM_PORT_PIT + 3, 0x34);
	outb(PLATFORM_PORT_PIT, 0xff);
	outb(PLATFORM_PORT_PIT, 0x10);
	pci_write(PLATFORM_PCI_ISA_BRIDGE, 0x60, 4, 0x80808080);

	pci_msix_control(d, true, false);
	pci_msix_set(d, 0, 0x72, false);
	pci_msix_set(d, 1, 0x73, false);
	tap(vblk_start(&disk, 1), "the disk runs");
	for (unsigned i = 0; i < 20; i++) {
		static struct {
			uint32_t type, reserved;
			uint64_t sector;
		} head[20];
		static uint8_t status[20];
		struct vseg segs[3] = { { &head[i], 16, false },
					{ buf[i], 512, true },
					{ &status[i], 1, true } };

		head[i].sector = i;
		vblk_offer(&disk, 3 * i, segs, 3);
	}
	pci_write(d, PCI_INTERRUPT_LINE, 1, 0x55);
	pci_set_bar(d, 1, PLATFORM_PCI_MMIO_BASE + 0x123000);
	outb(PLATFORM_PORT_COM1 + 1, 0x0f);
	vblk_kick(&disk);
	lapic_enable(true);
}

static void reset_by(unsigned stage)
{
	switch (stage) {
	case 0:
		acpi_reset();
		break;
	case 1:
		outb(PLATFORM_PORT_RESET, 0x02);
		outb(PLATFORM_PORT_RESET, 0x06);
		break;
	case 2:
		outb(PLATFORM_PORT_I8042_CMD, 0xfe);
		break;
	default:
		outb(PLATFORM_PORT_SYSCTL_A, 0x01);
		break;
	}
}

static void compare(const char *by)
{
	volatile unsigned *counter = (volatile unsigned *)AP_COUNTER;
	unsigned before = *counter;

	delay_us(2000);
	tap(*counter == before, "%s: the AP has stopped", by);
	for (unsigned i = 0; i < now.n; i++)
		tap(cmos_read((uint8_t)(CMOS_VALUES + i)) == now.values[i],
		    "%s: %s is as at power-on", by, now.names[i]);
	sti();
	delay_us(2000);
	cli();
	tap(!irq_seen.count[0x70] && !irq_seen.count[0x72] && !irq_seen.count[0x73],
	    "%s: no interrupt from before arrives", by);
	tap(vblk_start(&disk, VBLK_NO_VECTOR), "%s: the disk starts", by);
}

int main(void)
{
	static const char *const ways[] = { "ACPI's reset register", "port 0xcf9", "the 8042",
					    "port 0x92" };
	uint32_t config_address = inl(PLATFORM_PORT_PCI_ADDR);
	bool first = cmos_read(CMOS_MAGIC) != MAGIC;
	unsigned stage = first ? 0 : cmos_read(CMOS_STAGE);

	tap_state.count = first ? 0 : cmos_read(CMOS_COUNT);
	tap_state.failed = first ? 0 : cmos_read(CMOS_FAILED);
	if (!vblk_find(&disk) && !tap(false, "there is a disk"))
		tap_done();
	take_snapshot(config_address);
	if (first) {
		for (unsigned i = 0; i < now.n; i++)
			cmos_write((uint8_t)(CMOS_VALUES + i), now.values[i]);
		cmos_write(CMOS_MAGIC, MAGIC);
	} else {
		compare(ways[stage - 1]);
	}
	if (stage == (cmdline_has("once") ? 1 : ARRAY_SIZE(ways))) {
		print("1..%u\n", tap_state.count);
		if (tap_state.failed)
			debug_exit(1);
		acpi_power_off();
		delay_us(100000);
		debug_exit(2);
	}
	*(volatile unsigned *)AP_COUNTER = 0;
	lapic_enable(false);
	make_a_mess();
	cmos_write(CMOS_STAGE, (uint8_t)(stage + 1));
	cmos_write(CMOS_COUNT, (uint8_t)tap_state.count);
	cmos_write(CMOS_FAILED, (uint8_t)tap_state.failed);
	reset_by(stage);
	delay_us(500000);
	tap(false, "%s did not reset the machine", ways[stage]);
	return 0;
}
