/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/ap.h"

#ifdef __x86_64__

extern const char ap_code[], ap_code_end[];

volatile unsigned ap_count, ap_cs, ap_cr0;
/* Taken by ap.S, an index each. */
uint8_t ap_stacks[AP_MAX][4096] __attribute__((aligned(16)));
volatile uint32_t ap_next;
static ap_fn *ap_fn_now;

void ap_prepare(ap_fn *fn)
{
	memcpy((void *)AP_BASE, ap_code, (size_t)(ap_code_end - ap_code));
	ap_fn_now = fn;
	ap_next = 0;
	ap_count = 0;
}

/* From ap.S. */
void ap_main(unsigned index);

void ap_main(unsigned index)
{
	irq_load();
	__atomic_add_fetch(&ap_count, 1, __ATOMIC_SEQ_CST);
	ap_fn_now(index);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void ap_init(uint32_t id)
{
	lapic_send(id, ICR_INIT);
	delay_us(200);
}

void ap_start(uint32_t id)
{
	unsigned before = ap_count;

	ap_init(id);
	lapic_send(id, ICR_SIPI | AP_BASE >> 12);
	(void)wait_for(&ap_count, before + 1, 20);
	/* The second is for those that have missed the first; it must not hurt the others. */
	lapic_send(id, ICR_SIPI | AP_BASE >> 12);
}

#endif
