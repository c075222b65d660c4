/* SPDX-License-Identifier: MIT */
/*
 * The devices that a guest cannot discover by itself. Compiled at build time:
 *
 *	cc -E -P -x c -I. -o dsdt.i.asl firmware/dsdt.asl
 *	iasl -we -p dsdt dsdt.i.asl
 *
 * \FACT comes in an SSDT that acpi.c writes; it says what this very machine has. No
 * method here touches a port or memory: whatever a guest evaluates costs it no VM exit.
 */
#include "base/platform.h"
#include "firmware/dsdt.h"

#define PRESENT(bit) Return (((\FACT >> bit) & 1) * 0x0f)

#define UART(name, uid, bit, port, irq)                                                            \
	Device (name) {                                                                            \
		Name (_HID, EisaId ("PNP0501"))                                                    \
		Name (_UID, uid)                                                                   \
		Name (_CRS, ResourceTemplate () {                                                  \
			IO (Decode16, port, port, 1, 8)                                            \
			IRQNoFlags () { irq }                                                      \
		})                                                                                 \
		Method (_STA) { PRESENT (bit) }                                                    \
	}

/* Pin p of any function of device d, to a GSI without a link device. */
#define PIN(d, p) Package () { (d << 16) | 0xffff, p, 0, PLATFORM_PCI_GSI (d, p) }
#define SLOT(d) PIN (d, 0), PIN (d, 1), PIN (d, 2), PIN (d, 3)

DefinitionBlock ("", "DSDT", 2, "BANTAM", "BANTAM", 1)
{
	External (\FACT, IntObj)

	/* PIC or I/O APIC: a GSI below 16 is the same ISA IRQ in both. */
	Method (\_PIC, 1) {}

	/* SLP_TYPa, SLP_TYPb (there is no PM1b) */
	Name (\_S5, Package () { PLATFORM_SLP_TYP_S5, PLATFORM_SLP_TYP_S5, 0, 0 })

	Scope (\_SB)
	{
		/* What PM1 and GPE0 decode, so that no BAR is moved there */
		Device (PWRM)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, PLATFORM_PORT_PM_BASE, PLATFORM_PORT_PM_BASE, 1,
				    PLATFORM_PORT_PM_LEN)
				IO (Decode16, PLATFORM_PORT_GPE_BASE, PLATFORM_PORT_GPE_BASE, 1,
				    PLATFORM_PORT_GPE_LEN)
			})
		}

		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_BBN, 0)
			Method (_STA) { PRESENT (DSDT_FACT_PCI) }
			Name (_CRS, ResourceTemplate () {
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, PLATFORM_PORT_PCI_ADDR, PLATFORM_PORT_PCI_ADDR, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0000, 0x0cf7, 0, 0x0cf8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0d00, 0xffff, 0, 0xf300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite, 0, DSDT_PCI_MMIO_MIN,
					DSDT_PCI_MMIO_MAX, 0, DSDT_PCI_MMIO_LEN)
			})
			Name (_PRT, Package () {
				SLOT (0), SLOT (1), SLOT (2), SLOT (3),
				SLOT (4), SLOT (5), SLOT (6), SLOT (7),
				SLOT (8), SLOT (9), SLOT (10), SLOT (11),
				SLOT (12), SLOT (13), SLOT (14), SLOT (15),
				SLOT (16), SLOT (17), SLOT (18), SLOT (19),
				SLOT (20), SLOT (21), SLOT (22), SLOT (23),
				SLOT (24), SLOT (25), SLOT (26), SLOT (27),
				SLOT (28), SLOT (29), SLOT (30), SLOT (31)
			})
		}

		/* Beside the bridge, not below it: they are there without PCI too. */
		UART (COM1, 1, DSDT_FACT_COM1, PLATFORM_PORT_COM1, PLATFORM_IRQ_COM1)
		UART (COM2, 2, DSDT_FACT_COM2, PLATFORM_PORT_COM2, PLATFORM_IRQ_COM2)
		UART (COM3, 3, DSDT_FACT_COM3, PLATFORM_PORT_COM3, PLATFORM_IRQ_COM1)
		UART (COM4, 4, DSDT_FACT_COM4, PLATFORM_PORT_COM4, PLATFORM_IRQ_COM2)

		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, PLATFORM_PORT_RTC_INDEX, PLATFORM_PORT_RTC_INDEX, 1, 2)
				IRQNoFlags () { PLATFORM_IRQ_RTC }
			})
			Method (_STA) { PRESENT (DSDT_FACT_RTC) }
		}

		Device (PVPN)
		{
			Name (_HID, "QEMU0001")
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, PLATFORM_PORT_PVPANIC, PLATFORM_PORT_PVPANIC, 1, 1)
			})
			Method (_STA) { PRESENT (DSDT_FACT_PVPANIC) }
		}
	}
}
