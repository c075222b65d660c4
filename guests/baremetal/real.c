/* SPDX-License-Identifier: MIT */
/*
 * Real mode, from protected mode and back: 16-bit code below 1 MiB (real_code.S), what it
 * computes with segments, strings and flags, software and hardware interrupts by the
 * vector table at 0.
 */
#include "guests/baremetal/lib/irq.h"

/* What real_code.S leaves at REAL_BASE + RESULTS; the two must agree. */
struct results {
	uint16_t cr0, segment_read, hma_read, sum, carry, product_high;
	uint16_t copied, scanned, far_result, int_ax, int_flags, after_flags;
	uint16_t divide_ip_ok, ticks, backwards, stack_ok;
};

struct wanted {
	const char *name;
	size_t offset;
	uint16_t value;
};

#define WANT(field, v, n)                             \
	{                                             \
		n, offsetof(struct results, field), v \
	}

static const struct wanted wanted[] = {
	WANT(cr0, 0, "CR0.PE is clear"),
	WANT(segment_read, 0xbeef, "two segments name the same byte"),
	WANT(hma_read, 0xcafe, "ffff:0010 is the first byte behind 1 MiB"),
	WANT(sum, 0x2345, "16-bit addition wraps"),
	WANT(carry, 1, "and carries"),
	WANT(product_high, 0x0fff, "16-bit multiplication has a high half"),
	WANT(copied, 0x0202, "rep movsw copies, rep stosb fills"),
	WANT(scanned, 6, "repne scasb finds"),
	WANT(far_result, 0x1234, "lcall and lret through another code segment"),
	WANT(int_ax, 0x4321, "int goes through the vector table"),
	WANT(int_flags, 0, "with IF off in the handler"),
	WANT(after_flags, 0x200, "iret brings IF back"),
	WANT(divide_ip_ok, 1, "a division by zero is fault 0, at the instruction"),
	WANT(backwards, 0x6361, "DF turns strings around"),
	WANT(stack_ok, 1, "pusha and popa keep SP"),
};

extern const char real_code[], real_code_end[], real_results[];
/* Enters real mode at REAL_BASE and comes back; real_code.S. */
void real_call(void);

int main(void)
{
	const struct results *r = (const void *)(REAL_BASE + (real_results - real_code));

	for (unsigned round = 1; round <= 2; round++) {
		memcpy((void *)REAL_BASE, real_code, (size_t)(real_code_end - real_code));
		real_call();
		irq_init(); /* the code has given the PICs the BIOS's vectors */
		tap(read_cr0() & CR0_PE, "round %u: back in protected mode", round);
		for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
			tap_is(*(const uint16_t *)((const char *)r + wanted[i].offset),
			       wanted[i].value, wanted[i].name);
		tap(r->ticks >= 3, "IRQ 0 arrives by the vector table");
	}
	return 0;
}
