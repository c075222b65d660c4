/* SPDX-License-Identifier: MIT */
/*
 * The guest's side of coalesced I/O (guests/include/bantam/coalesced_io.h), and IDE requests by
 * DMA that make a list of every access they need: one to start, one when the interrupt has come.
 */
#ifndef GUESTS_COALESCE_H
#define GUESTS_COALESCE_H

#include "guests/baremetal/lib/ide.h"
#include "guests/include/bantam/coalesced_io.h"

struct coalesce {
	uint16_t port; /* the doorbell */
	bool hypercall; /* offered */
	bool by_hypercall; /* used */
};

/* By CPUID. False where there is none. */
bool coalesce_find(struct coalesce *c);

/* Starts a list in page; entries follow by the functions of the header. */
void coalesce_begin(struct coalesced_io_page *page);
struct coalesced_io_entry *coalesce_next(struct coalesced_io_page *page);
/* Rings; what is in result after it. The hypercall's own return value, 0 by the doorbell. */
int64_t coalesce_ring(const struct coalesce *c, struct coalesced_io_page *page);

/*
 * One request of up to 256 sectors by a table, from its registers to its last status, which is
 * returned (-1: the bus master says that it is not done). wait() returns when the interrupt has
 * come. Plain: access for access what Linux' ata_piix does, 26 of them.
 */
int coalesce_dma(const struct coalesce *c, struct coalesced_io_page *page, const struct ide *d,
		 const struct ide_regs *r, const struct ide_prd *table, bool to_memory,
		 void (*wait)(void));
int coalesce_dma_plain(const struct ide *d, const struct ide_regs *r, const struct ide_prd *table,
		       bool to_memory, void (*wait)(void));

#endif
