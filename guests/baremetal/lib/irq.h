/* SPDX-License-Identifier: MIT */
/*
 * Exceptions, the two legacy PICs, the I/O APIC and the local APIC.
 *
 * Vectors: 0x20 to 0x2f are the PICs' IRQs 0 to 15; above that a guest may use what it
 * likes but 0xff (spurious). An exception that nobody
 * expects is reported and ends the machine.
 */
#ifndef GUESTS_IRQ_H
#define GUESTS_IRQ_H

#include "guests/baremetal/lib/rt.h"

#define VECTOR_IRQ(n) (0x20 + (n))
#define VECTOR_SPURIOUS 0xff

#ifdef __x86_64__
struct irq_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error, ip, cs, flags, sp, ss;
};
#else
struct irq_frame {
	uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
	uint32_t vector, error, ip, cs, flags;
};
#endif

/* The IDT, the TSS, both PICs remapped and masked. Before main(). */
void irq_init(void);
/* Loads the tables that irq_init() made: for an AP. */
void irq_load(void);

/* How often a vector has arrived, and the last error code and CR2. */
struct irq_seen {
	volatile unsigned count[256];
	volatile unsigned long error, cr2, ip;
};
extern struct irq_seen irq_seen;

/* Called for a vector after it was counted and before its EOI. Optional. */
typedef void irq_fn(struct irq_frame *frame);
void irq_handle(unsigned vector, irq_fn *fn);

/*
 * Runs one instruction that may fault: the vector of the exception, or -1. error and cr2
 * are in irq_seen. The operands are those of an asm statement.
 */
extern volatile uintptr_t irq_resume;
#ifdef __x86_64__
#define IRQ_SET_RESUME "movq $1f, irq_resume\n\t"
#define IRQ_CLEAR_RESUME "movq $0, irq_resume\n\t"
#else
#define IRQ_SET_RESUME "movl $1f, irq_resume\n\t"
#define IRQ_CLEAR_RESUME "movl $0, irq_resume\n\t"
#endif
#define IRQ_TRY(insn, ...)                                                                     \
	({                                                                                     \
		irq_caught = -1;                                                               \
		__asm__ volatile(IRQ_SET_RESUME insn "\n1:\t" IRQ_CLEAR_RESUME : __VA_ARGS__); \
		irq_caught;                                                                    \
	})
extern volatile int irq_caught;

/* PIC IRQs, through the PICs. */
void pic_unmask(unsigned irq);
void pic_mask_all(void);
/* Edge or level, by ELCR. */
void pic_set_level(unsigned irq, bool level);

/* The local APIC of the running CPU. lapic_enable() turns it on, x2APIC or not. */
void lapic_enable(bool x2apic);
uint32_t lapic_read(unsigned reg);
void lapic_write(unsigned reg, uint32_t v);
uint32_t lapic_id(void);
/* Sends what the low half of ICR says to one APIC id. */
void lapic_send(uint32_t id, uint32_t icr);

#define LAPIC_ID 0x20
#define LAPIC_VERSION 0x30
#define LAPIC_EOI 0xb0
#define LAPIC_SVR 0xf0
#define LAPIC_IRR 0x200
#define LAPIC_ICR 0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_TIMER_INIT 0x380
#define LAPIC_TIMER_COUNT 0x390
#define LAPIC_TIMER_DIVIDE 0x3e0

#define IOAPIC_LEVEL (1u << 15)
#define IOAPIC_MASKED (1u << 16)

uint32_t ioapic_read(uint8_t reg);
void ioapic_write(uint8_t reg, uint32_t v);
/* A pin to a vector of APIC id 0, with IOAPIC_* flags. */
void ioapic_route(unsigned pin, unsigned vector, uint32_t flags);

#ifdef __x86_64__
/* Runs fn(arg) in ring 3 and comes back. Not to be nested. */
void user_call(void (*fn)(void *), void *arg);
#endif

#endif
