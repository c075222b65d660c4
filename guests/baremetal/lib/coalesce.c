/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/coalesce.h"

#ifdef __x86_64__

bool coalesce_find(struct coalesce *c)
{
	struct cpuid base = cpuid(COALESCED_IO_CPUID_BASE, 0), info;

	if (base.ebx != COALESCED_IO_SIGNATURE_EBX || base.ecx != COALESCED_IO_SIGNATURE_ECX ||
	    base.edx != COALESCED_IO_SIGNATURE_EDX)
		return false;
	info = cpuid(COALESCED_IO_CPUID_INFO, 0);
	*c = (struct coalesce){
		.port = (uint16_t)info.ecx,
		.hypercall = info.ebx & COALESCED_IO_F_HYPERCALL,
	};
	return info.eax == COALESCED_IO_VERSION && info.ebx & COALESCED_IO_F_DOORBELL;
}

void coalesce_begin(struct coalesced_io_page *page)
{
	page->count = 0;
	page->flags = 0;
}

struct coalesced_io_entry *coalesce_next(struct coalesced_io_page *page)
{
	return &page->entry[page->count++];
}

int64_t coalesce_ring(const struct coalesce *c, struct coalesced_io_page *page)
{
	uint64_t addr = (uintptr_t)page;
	int64_t ret = COALESCED_IO_HYPERCALL_NR;

	if (!c->by_hypercall) {
		outl(c->port, (uint32_t)(addr >> COALESCED_IO_PAGE_SHIFT));
		return 0;
	}
	__asm__ volatile("vmcall"
			 : "+a"(ret)
			 : "b"(addr), "c"(1ull), "d"(COALESCED_IO_HYPERCALL_MAGIC)
			 : "memory");
	return ret;
}

static void out(struct coalesced_io_page *page, unsigned port, uint8_t v)
{
	coalesced_io_out(coalesce_next(page), 1, port, v);
}

static uint8_t device(const struct ide *d, const struct ide_regs *r)
{
	return (uint8_t)(0xa0 | IDE_LBA | d->device | (r->lba >> 24 & 0xf));
}

int coalesce_dma(const struct coalesce *c, struct coalesced_io_page *page, const struct ide *d,
		 const struct ide_regs *r, const struct ide_prd *table, bool to_memory,
		 void (*wait)(void))
{
	uint8_t direction = to_memory ? IDE_BM_TO_MEMORY : 0;
	struct coalesced_io_entry *status;

	coalesce_begin(page);
	out(page, d->port + IDE_DEVICE, device(d, r));
	out(page, d->port + IDE_FEATURES, r->features);
	out(page, d->port + IDE_COUNT, (uint8_t)r->count);
	out(page, d->port + IDE_LBA_LOW, (uint8_t)r->lba);
	out(page, d->port + IDE_LBA_MID, (uint8_t)(r->lba >> 8));
	out(page, d->port + IDE_LBA_HIGH, (uint8_t)(r->lba >> 16));
	coalesced_io_out(coalesce_next(page), 4, d->bm + IDE_BM_TABLE, (uint32_t)(uintptr_t)table);
	out(page, d->bm + IDE_BM_COMMAND, direction);
	out(page, d->port + IDE_COMMAND, r->command);
	out(page, d->bm + IDE_BM_COMMAND, direction | IDE_BM_START);
	if (coalesce_ring(c, page) || page->result != COALESCED_IO_OK)
		return -1;
	wait();
	coalesce_begin(page);
	/* Reading the status takes the interrupt away: only if it is this drive's. */
	coalesced_io_poll(coalesce_next(page), 1, d->bm + IDE_BM_STATUS, IDE_BM_INTERRUPT,
			  IDE_BM_INTERRUPT, 1);
	out(page, d->bm + IDE_BM_COMMAND, direction);
	coalesced_io_in(coalesce_next(page), 1, d->control);
	status = coalesce_next(page);
	coalesced_io_in(status, 1, d->port + IDE_STATUS);
	out(page, d->bm + IDE_BM_STATUS, IDE_BM_INTERRUPT);
	if (coalesce_ring(c, page) || page->result != COALESCED_IO_OK)
		return -1;
	return (int)status->read;
}

/* ata_sff_tf_load, ata_bmdma_setup, ata_sff_exec_command, ata_bmdma_start */
static void plain_issue(const struct ide *d, const struct ide_regs *r, const struct ide_prd *table,
			uint8_t direction)
{
	(void)ide_read(d, IDE_STATUS);
	ide_write(d, IDE_DEVICE, 0xa0 | d->device);
	(void)ide_alternate(d);
	(void)ide_read(d, IDE_STATUS);
	ide_write(d, IDE_FEATURES, r->features);
	ide_write(d, IDE_COUNT, (uint8_t)r->count);
	ide_write(d, IDE_LBA_LOW, (uint8_t)r->lba);
	ide_write(d, IDE_LBA_MID, (uint8_t)(r->lba >> 8));
	ide_write(d, IDE_LBA_HIGH, (uint8_t)(r->lba >> 16));
	ide_write(d, IDE_DEVICE, device(d, r));
	(void)ide_read(d, IDE_STATUS);
	outl(d->bm + IDE_BM_TABLE, (uint32_t)(uintptr_t)table);
	(void)inb(d->bm + IDE_BM_COMMAND);
	outb(d->bm + IDE_BM_COMMAND, direction);
	ide_write(d, IDE_COMMAND, r->command);
	(void)ide_alternate(d);
	(void)inb(d->bm + IDE_BM_COMMAND);
	outb(d->bm + IDE_BM_COMMAND, direction | IDE_BM_START);
}

int coalesce_dma_plain(const struct ide *d, const struct ide_regs *r, const struct ide_prd *table,
		       bool to_memory, void (*wait)(void))
{
	uint8_t direction = to_memory ? IDE_BM_TO_MEMORY : 0;
	bool done;
	int status;

	plain_issue(d, r, table, direction);
	wait();
	/* ata_bmdma_status, _stop, ata_sff_dma_pause, _irq_status, ata_bmdma_irq_clear */
	done = inb(d->bm + IDE_BM_STATUS) & IDE_BM_INTERRUPT;
	(void)inb(d->bm + IDE_BM_COMMAND);
	outb(d->bm + IDE_BM_COMMAND, direction);
	(void)ide_alternate(d);
	(void)ide_alternate(d);
	status = ide_read(d, IDE_STATUS);
	(void)inb(d->bm + IDE_BM_STATUS);
	outb(d->bm + IDE_BM_STATUS, IDE_BM_INTERRUPT);
	return done ? status : -1;
}

#endif
