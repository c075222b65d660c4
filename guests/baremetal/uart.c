/* SPDX-License-Identifier: MIT */
/*
 * The 16550A on COM1: registers, FIFOs in loopback, interrupts through the PIC and the I/O
 * APIC, and input. It says "# input ready" and then wants a line, which it echoes, and
 * input=N more bytes, of which it prints the sum.
 */
#include "guests/baremetal/lib/irq.h"

#define COM(reg) (uint16_t)(PLATFORM_PORT_COM1 + (reg))
#define RBR COM(0)
#define IER COM(1)
#define IIR COM(2)
#define FCR COM(2)
#define LCR COM(3)
#define MCR COM(4)
#define LSR COM(5)
#define MSR COM(6)
#define SCR COM(7)

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_IDLE 0x60 /* THRE, TEMT */
#define MCR_LOOP 0x10
#define VECTOR_IOAPIC 0x44

/* Nothing may be printed in between: these are the console's registers. */
static void test_registers(void)
{
	uint8_t scratch[2], divisor[2], ier, lcr, mcr, lsr, iir[2];

	for (unsigned i = 0; i < 2; i++) {
		outb(SCR, i ? 0xa5 : 0x5a);
		scratch[i] = inb(SCR);
	}
	lsr = inb(LSR);
	outb(LCR, 0x83);
	outb(COM(0), 0x34);
	outb(COM(1), 0x12);
	divisor[0] = inb(COM(0));
	divisor[1] = inb(COM(1));
	outb(COM(0), 1);
	outb(COM(1), 0);
	outb(LCR, 0x03);
	lcr = inb(LCR);
	outb(IER, 0xf0);
	ier = inb(IER);
	outb(IER, 0);
	outb(MCR, 0xe0);
	mcr = inb(MCR);
	outb(FCR, 0);
	iir[0] = inb(IIR);
	outb(FCR, 1);
	iir[1] = inb(IIR);

	tap(scratch[0] == 0x5a && scratch[1] == 0xa5, "the scratch register keeps its bits");
	tap_is(lsr & LSR_IDLE, LSR_IDLE, "the transmitter is empty");
	tap(divisor[0] == 0x34 && divisor[1] == 0x12, "the divisor is behind DLAB");
	tap_is(lcr, 0x03, "LCR reads back");
	tap_is(ier, 0, "IER has four bits");
	tap_is(mcr & 0xe0, 0, "MCR has five bits");
	tap_is(iir[0], 0x01, "IIR: no interrupt, no FIFO");
	tap_is(iir[1], 0xc1, "IIR: FIFO on");
}

static unsigned drain(void)
{
	unsigned n = 0;

	for (; n < 64 && inb(LSR) & LSR_DR; n++)
		(void)inb(RBR);
	return n;
}

static void test_loopback(void)
{
	uint8_t msr[4], lsr[4], iir[3], got[16], first, second;
	static const uint8_t mcr_bits[4] = { 1, 2, 4, 8 }; /* DTR, RTS, OUT1, OUT2 */
	bool in_order = true;
	unsigned cleared, left;

	for (unsigned i = 0; i < 4; i++) {
		outb(MCR, MCR_LOOP | mcr_bits[i]);
		msr[i] = inb(MSR) & 0xf0;
	}
	outb(FCR, 0x07);
	for (uint8_t i = 0; i < 16; i++)
		outb(RBR, (uint8_t)(0x30 + i));
	lsr[0] = inb(LSR);
	outb(RBR, 0xee); /* one too many */
	lsr[1] = inb(LSR);
	lsr[2] = inb(LSR);
	for (unsigned i = 0; i < 16; i++) {
		got[i] = inb(RBR);
		in_order &= got[i] == 0x30 + i;
	}
	lsr[3] = inb(LSR);

	for (unsigned i = 0; i < 3; i++)
		outb(RBR, 'x');
	outb(FCR, 0x03);
	cleared = drain();

	/* A trigger level of 8, the receive interrupt on. */
	outb(FCR, 0x87);
	outb(IER, 1);
	for (unsigned i = 0; i < 7; i++)
		outb(RBR, 'y');
	iir[0] = inb(IIR);
	outb(RBR, 'z');
	iir[1] = inb(IIR);
	(void)inb(RBR);
	iir[2] = inb(IIR);
	outb(IER, 0);
	left = drain();

	/* No FIFO: one byte, and the next overwrites it. */
	outb(FCR, 0);
	outb(RBR, 'a');
	outb(RBR, 'b');
	second = inb(LSR);
	first = inb(RBR);
	outb(FCR, 0x07);
	outb(MCR, 0x0b);

	tap(msr[0] == 0x20 && msr[1] == 0x10 && msr[2] == 0x40 && msr[3] == 0x80,
	    "loopback: MCR's lines come back in MSR");
	tap(lsr[0] & LSR_DR && !(lsr[0] & LSR_OE), "loopback: 16 bytes fit the FIFO");
	tap(lsr[1] & LSR_OE && !(lsr[2] & LSR_OE), "loopback: the 17th is an overrun, told once");
	tap(in_order, "loopback: they come out in order");
	tap(!(lsr[3] & LSR_DR), "loopback: and that is all");
	tap_is(cleared, 0, "loopback: FCR clears the FIFO");
	tap((iir[0] & 0x0f) != 4 && iir[1] == 0xc4 && (iir[2] & 0x0f) != 4,
	    "loopback: the trigger level of 8, iir 0x%x 0x%x 0x%x", iir[0], iir[1], iir[2]);
	tap_is(left, 7, "loopback: nothing was lost by it");
	tap(second & LSR_OE && first == 'b', "loopback: one byte without the FIFO");
}

static volatile unsigned irqs;
static volatile uint8_t iir_seen;

static void count_irq(struct irq_frame *frame)
{
	(void)frame;
	iir_seen = inb(IIR);
	if ((iir_seen & 0x0e) == 4 || (iir_seen & 0x0e) == 0xc)
		(void)inb(RBR);
	irqs++;
}

static void test_interrupt(const char *by)
{
	bool first, again, quiet, receive;
	uint8_t iir[2];

	/* An edge that came while the line was masked is still latched in the PIC. */
	sti();
	delay_us(2000);
	irqs = 0;
	outb(IER, 2);
	first = wait_for(&irqs, 1, 500);
	iir[0] = iir_seen;
	outb(RBR, '#');
	again = wait_for(&irqs, 2, 500);
	outb(IER, 0);
	outb(RBR, '\n');
	quiet = !wait_for(&irqs, 3, 20);
	outb(MCR, MCR_LOOP | 8);
	outb(FCR, 0x07);
	outb(IER, 1);
	outb(RBR, 'q');
	receive = wait_for(&irqs, 3, 500);
	iir[1] = iir_seen;
	outb(IER, 0);
	outb(MCR, 0x0b);
	cli();

	tap(first && (iir[0] & 0x0f) == 2, "%s: IRQ 4, the transmitter is empty", by);
	tap(again, "%s: again after a byte", by);
	tap(quiet, "%s: not with IER off", by);
	tap(receive && (iir[1] & 0x0f) == 4, "%s: IRQ 4, a byte was received", by);
}

static uint8_t ring[8192];
static volatile unsigned received;

static void receive_irq(struct irq_frame *frame)
{
	(void)frame;
	(void)inb(IIR);
	while (inb(LSR) & LSR_DR) {
		uint8_t c = inb(RBR);

		if (received < sizeof(ring))
			ring[received] = c;
		received++;
	}
}

/* The line is polled for, the rest comes by interrupt. */
static void test_input(unsigned more)
{
	char line[64];
	unsigned n = 0, sum = 0;

	outb(FCR, 0x07);
	print("# input ready\n");
	for (unsigned i = 0; i < 100000 && n < sizeof(line) - 1; i++) {
		if (!(inb(LSR) & LSR_DR)) {
			delay_us(100);
			continue;
		}
		line[n] = (char)inb(RBR);
		if (line[n++] == '\n')
			break;
	}
	line[n] = 0;
	tap(n && line[n - 1] == '\n', "a line of input arrives");
	print("# echo %s", n ? line : "\n");

	outb(FCR, 0xc1);
	irq_handle(VECTOR_IOAPIC, receive_irq);
	sti();
	outb(IER, 1);
	print("# more ready\n");
	tap(wait_for(&received, more, 20000), "%u more bytes by interrupt", more);
	delay_us(20000);
	outb(IER, 0);
	cli();
	tap_is(received, more, "and not one too many");
	for (unsigned i = 0; i < received && i < sizeof(ring); i++)
		sum = (sum * 31 + ring[i]) & 0xffffff;
	print("# sum %u\n", sum);
}

int main(void)
{
	test_registers();
	test_loopback();

	irq_handle(VECTOR_IRQ(PLATFORM_IRQ_COM1), count_irq);
	pic_unmask(PLATFORM_IRQ_COM1);
	test_interrupt("PIC");
	pic_mask_all();

	irq_handle(VECTOR_IOAPIC, count_irq);
	lapic_enable(false);
	ioapic_route(PLATFORM_IRQ_COM1, VECTOR_IOAPIC, 0);
	test_interrupt("I/O APIC");

	if (cmdline_value("input="))
		test_input(cmdline_number("input=", 0));
	return 0;
}
