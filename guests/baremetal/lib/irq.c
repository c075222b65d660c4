/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/irq.h"

#define PIC1 0x20
#define PIC2 0xa0
#define ELCR 0x4d0

struct gate {
	uint16_t offset_low, selector, flags, offset_mid;
#ifdef __x86_64__
	uint32_t offset_high, reserved;
#endif
};

#ifdef __x86_64__
struct tss {
	uint32_t reserved0;
	uint64_t rsp0, rsp1, rsp2, reserved1, ist[7], reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));
#define IDT_SELECTOR SEL_CODE64
#else
struct tss {
	uint32_t link, esp0, ss0, rest[23];
};
#define IDT_SELECTOR SEL_CODE32
#endif

struct table {
	uint16_t limit;
	uintptr_t base;
} __attribute__((packed));

extern uint64_t gdt[];
extern const char irq_stubs[], user_exit[];

static struct gate idt[256] __attribute__((aligned(16)));
struct tss irq_tss;
struct irq_seen irq_seen;
volatile uintptr_t irq_resume;
volatile int irq_caught;
static irq_fn *handlers[256];
static bool lapic_on, x2apic_on;

void irq_handle(unsigned vector, irq_fn *fn)
{
	handlers[vector] = fn;
}

static void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

/* From irq.S. */
void irq_dispatch(struct irq_frame *f);

void irq_dispatch(struct irq_frame *f)
{
	unsigned vector = (unsigned)f->vector;

#ifdef __x86_64__
	if (f->ip == (uintptr_t)user_exit) {
		f->vector = IRQ_USER_RETURN;
		return;
	}
#endif
	irq_seen.count[vector]++;
	if (vector < 32) {
		irq_seen.error = f->error;
		irq_seen.ip = f->ip;
		irq_seen.cr2 = read_cr2();
		if (irq_resume) {
			irq_caught = (int)vector;
			f->ip = irq_resume;
			return;
		}
		tap(false, "unexpected exception %u, error 0x%lx, at 0x%lx, cr2 0x%lx", vector,
		    (unsigned long)f->error, (unsigned long)f->ip, read_cr2());
		debug_exit(2);
	}
	if (handlers[vector])
		handlers[vector](f);
	if (vector < VECTOR_IRQ(16))
		pic_eoi(vector - VECTOR_IRQ(0));
	else if (vector != VECTOR_SPURIOUS && lapic_on)
		lapic_write(LAPIC_EOI, 0);
}

void irq_load(void)
{
	struct table t = { sizeof(idt) - 1, (uintptr_t)idt };

	__asm__ volatile("lidt %0" : : "m"(t));
}

static void pic_init(void)
{
	static const uint8_t words[2][4] = {
		{ 0x11, VECTOR_IRQ(0), 0x04, 0x01 }, /* the second hangs on IRQ 2 */
		{ 0x11, VECTOR_IRQ(8), 0x02, 0x01 },
	};

	for (unsigned i = 0; i < 2; i++) {
		uint16_t port = i ? PIC2 : PIC1;

		outb(port, words[i][0]);
		for (unsigned k = 1; k < 4; k++)
			outb((uint16_t)(port + 1), words[i][k]);
	}
	pic_mask_all();
}

void irq_init(void)
{
	uintptr_t tss = (uintptr_t)&irq_tss;

	for (unsigned i = 0; i < 256; i++) {
		uintptr_t stub = (uintptr_t)irq_stubs + 16 * i;

		idt[i] = (struct gate){
			.offset_low = (uint16_t)stub,
			.selector = IDT_SELECTOR,
			.flags = 0x8e00,
			.offset_mid = (uint16_t)(stub >> 16),
		};
	}
	irq_load();

	gdt[SEL_TSS / 8] = (sizeof(irq_tss) - 1) | (uint64_t)(tss & 0xffffff) << 16 |
			   0x89ull << 40 | (uint64_t)(tss >> 24 & 0xff) << 56;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	pic_init();
}

static uint16_t pic_mask_port(unsigned irq)
{
	return irq < 8 ? PIC1 + 1 : PIC2 + 1;
}

void pic_unmask(unsigned irq)
{
	outb(pic_mask_port(irq), (uint8_t)(inb(pic_mask_port(irq)) & ~(1u << irq % 8)));
	if (irq >= 8)
		pic_unmask(2);
}

void pic_mask_all(void)
{
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

void pic_set_level(unsigned irq, bool level)
{
	uint16_t port = (uint16_t)(ELCR + irq / 8);
	uint8_t bit = (uint8_t)(1u << irq % 8), v = inb(port);

	outb(port, level ? v | bit : v & (uint8_t)~bit);
}

void lapic_enable(bool x2apic)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	wrmsr(MSR_APIC_BASE, base | 0x800 | (x2apic ? 0x400 : 0));
	x2apic_on = x2apic;
	lapic_on = true;
	lapic_write(LAPIC_SVR, 0x100 | VECTOR_SPURIOUS);
}

uint32_t lapic_read(unsigned reg)
{
	if (x2apic_on)
		return (uint32_t)rdmsr(0x800 + reg / 16);
	return read32(PLATFORM_LAPIC_BASE + reg);
}

void lapic_write(unsigned reg, uint32_t v)
{
	if (x2apic_on)
		wrmsr(0x800 + reg / 16, v);
	else
		write32(PLATFORM_LAPIC_BASE + reg, v);
}

uint32_t lapic_id(void)
{
	return x2apic_on ? lapic_read(LAPIC_ID) : lapic_read(LAPIC_ID) >> 24;
}

void lapic_send(uint32_t id, uint32_t icr)
{
	if (x2apic_on) {
		wrmsr(0x800 + LAPIC_ICR / 16, (uint64_t)id << 32 | icr);
	} else {
		lapic_write(LAPIC_ICR_HIGH, id << 24);
		lapic_write(LAPIC_ICR, icr);
	}
}

uint32_t ioapic_read(uint8_t reg)
{
	write32(PLATFORM_IOAPIC_BASE, reg);
	return read32(PLATFORM_IOAPIC_BASE + 0x10);
}

void ioapic_write(uint8_t reg, uint32_t v)
{
	write32(PLATFORM_IOAPIC_BASE, reg);
	write32(PLATFORM_IOAPIC_BASE + 0x10, v);
}

void ioapic_route(unsigned pin, unsigned vector, uint32_t flags)
{
	ioapic_write((uint8_t)(0x11 + 2 * pin), 0);
	ioapic_write((uint8_t)(0x10 + 2 * pin), vector | flags);
}
