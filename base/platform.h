/* SPDX-License-Identifier: MIT */
/*
 * The one page of addresses, ports and interrupt numbers of the machine, read by
 * devices, firmware and guests alike (from C and from assembly: macros only).
 */
#ifndef BASE_PLATFORM_H
#define BASE_PLATFORM_H

/*
 * Guest physical memory
 *
 *   00000000 .. 0009fbff  RAM
 *   0009fc00 .. 0009ffff  RAM, reserved in e820: the EBDA
 *   000a0000 .. 000dffff  RAM, reserved in e820 (a PC has VGA and option ROMs here)
 *   000e0000 .. 000fffff  RAM, reserved in e820: ACPI tables
 *                         With firmware, 000c0000 .. 000fffff is what the host bridge's PAM
 *                         registers say: RAM, or from e0000 on the end of the image
 *   00100000 .. bfffffff  RAM, as much as the guest has
 *   c0000000 .. febfffff  PCI memory window
 *   fec00000              I/O APIC
 *   fec80000 .. fec80fff  virtio over memory-mapped I/O, 512 bytes a device
 *   fee00000              local APICs
 *   fffbc000 .. fffbffff  KVM's own on hosts with VT-x: TSS and identity map
 *   fffc0000 .. ffffffff  firmware
 *  100000000 ..           RAM, the rest
 */
#define PLATFORM_LOW_RAM_END 0xc0000000 /* RAM beyond continues at 4 GiB */
#define PLATFORM_HIGH_RAM_BASE 0x100000000
#define PLATFORM_EBDA_BASE 0x9fc00
#define PLATFORM_BIOS_AREA_BASE 0xa0000
#define PLATFORM_BIOS_AREA_END 0x100000
#define PLATFORM_SHADOW_BASE 0xc0000 /* what PAM registers rule */
#define PLATFORM_SHADOW_END 0x100000
#define PLATFORM_ACPI_BASE 0xe0000 /* RSDP first, on a 16-byte boundary */
#define PLATFORM_ACPI_END 0xffff0
#define PLATFORM_RESET_VECTOR 0xffff0 /* F000:FFF0, the 16 bytes below 1 MiB */
#define PLATFORM_ROM_END 0x100000000 /* the firmware's image ends here, at most 256 KiB long */
#define PLATFORM_ROM_LOW_BASE 0xe0000 /* and its last 128 KiB are here as well */
#define PLATFORM_PCI_MMIO_BASE 0xc0000000
#define PLATFORM_PCI_MMIO_END 0xfec00000 /* exclusive */
#define PLATFORM_IOAPIC_BASE 0xfec00000
#define PLATFORM_VIRTIO_MMIO_BASE 0xfec80000
#define PLATFORM_VIRTIO_MMIO_SIZE 0x200 /* of each of them */
#define PLATFORM_VIRTIO_MMIO_NR 8
#define PLATFORM_LAPIC_BASE 0xfee00000
#define PLATFORM_KVM_IDENTITY_MAP 0xfffbc000
#define PLATFORM_KVM_TSS 0xfffbd000 /* three pages */

/* What the direct-boot loaders put into low RAM. One page each unless said. */
#define PLATFORM_BOOT_GDT 0x1000
#define PLATFORM_BOOT_PAGE_TABLES 0x2000 /* PML4, PDPT, four PDs: 0x2000 .. 0x7fff */
#define PLATFORM_BOOT_PAGE_TABLES_END 0x8000
#define PLATFORM_BOOT_PARAMS 0x8000 /* Linux's zero page */
#define PLATFORM_PVH_START_INFO 0x9000 /* start info, module list, memory map */
#define PLATFORM_BOOT_STACK_TOP 0xb000 /* grows down to 0xa000 */
#define PLATFORM_FDT_BASE 0x10000 /* behind a 16-byte setup_data header; 64 KiB */
#define PLATFORM_FDT_END 0x20000
#define PLATFORM_CMDLINE_BASE 0x20000 /* 64 KiB */
#define PLATFORM_CMDLINE_END 0x30000

/* Ports */
#define PLATFORM_PORT_PIT 0x40
#define PLATFORM_PORT_I8042_DATA 0x60
#define PLATFORM_PORT_SPEAKER 0x61
#define PLATFORM_PORT_I8042_CMD 0x64
#define PLATFORM_PORT_RTC_INDEX 0x70
#define PLATFORM_PORT_RTC_DATA 0x71
#define PLATFORM_PORT_POST 0x80
#define PLATFORM_PORT_SYSCTL_A 0x92
#define PLATFORM_PORT_DEBUG_EXIT 0xf4
#define PLATFORM_PORT_IDE1 0x170 /* 8; the secondary channel */
#define PLATFORM_PORT_IDE0 0x1f0
#define PLATFORM_PORT_IDE1_CONTROL 0x376
#define PLATFORM_PORT_IDE0_CONTROL 0x3f6
#define PLATFORM_PORT_COM1 0x3f8
#define PLATFORM_PORT_COM2 0x2f8
#define PLATFORM_PORT_COM3 0x3e8
#define PLATFORM_PORT_COM4 0x2e8
#define PLATFORM_PORT_DEBUG_LOG 0x402 /* what firmware has to say while it works */
#define PLATFORM_PORT_PVPANIC 0x505
#define PLATFORM_PORT_FW_CFG 0x510 /* selector; data follows */
#define PLATFORM_PORT_FW_CFG_DMA 0x514
#define PLATFORM_PORT_COALESCED_IO 0x520 /* 4; the doorbell of --coalesce hypercall */
#define PLATFORM_PORT_PM_BASE 0x600 /* PM1a events 0-3, PM1a control 4-5, timer 8-11 */
#define PLATFORM_PORT_PM_LEN 0x10
#define PLATFORM_PORT_GPE_BASE 0x620
#define PLATFORM_PORT_GPE_LEN 4
#define PLATFORM_PORT_PCI_ADDR 0xcf8
#define PLATFORM_PORT_RESET 0xcf9
#define PLATFORM_PORT_PCI_DATA 0xcfc
#define PLATFORM_PCI_IO_BASE 0xc000 /* the window PCI I/O BARs are put into */
#define PLATFORM_PCI_IO_END 0x10000

/* Interrupts: GSIs, which are also the ISA IRQs below 16 */
#define PLATFORM_IRQ_PIT 0 /* I/O APIC pin 2, by the MADT's override */
#define PLATFORM_IRQ_KEYBOARD 1
#define PLATFORM_IRQ_COM2 3
#define PLATFORM_IRQ_COM1 4
#define PLATFORM_IRQ_RTC 8
#define PLATFORM_IRQ_SCI 9
#define PLATFORM_IRQ_PCI_A 10 /* PIRQA and PIRQB, level, as firmware programs the PIIX */
#define PLATFORM_IRQ_PCI_C 11 /* PIRQC and PIRQD */
#define PLATFORM_IRQ_MOUSE 12
#define PLATFORM_IRQ_IDE0 14
#define PLATFORM_IRQ_IDE1 15
/*
 * The link (0..3: PIRQA..PIRQD) that a slot's pin (0: INTA) is wired to, and its GSI: as
 * on the boards of the PIIX's time, (slot - 1 + pin) modulo 4, which firmware knows.
 */
#define PLATFORM_PCI_LINK(slot, pin) (((slot) + 3 + (pin)) & 3)
#define PLATFORM_PCI_GSI(slot, pin) \
	(PLATFORM_IRQ_PCI_A +       \
	 (PLATFORM_IRQ_PCI_C - PLATFORM_IRQ_PCI_A) * (PLATFORM_PCI_LINK(slot, pin) >> 1))
#define PLATFORM_IRQ_VIRTIO_MMIO 16 /* and the next PLATFORM_VIRTIO_MMIO_NR - 1: level, high */
#define PLATFORM_NR_GSI 24 /* I/O APIC pins; MSI routes are numbered above */

/* ACPI */
#define PLATFORM_SLP_TYP_S5 5 /* what \_S5 tells the guest to write into SLP_TYP */
#define PLATFORM_PM_TIMER_HZ 3579545

/* The PCI functions that are always there, as device.function on bus 0 */
#define PLATFORM_PCI_HOST_BRIDGE 0x00 /* 00:00.0 */
#define PLATFORM_PCI_ISA_BRIDGE 0x08 /* 00:01.0 */
#define PLATFORM_PCI_IDE 0x09 /* 00:01.1, where there is an IDE disk or a CD-ROM */

#define PLATFORM_MAX_CPUS 255

#endif
