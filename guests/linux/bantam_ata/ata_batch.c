/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#include "ata_batch.h"

#include <linux/cc_platform.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/pci.h>
#include <trace/events/libata.h>
#ifdef CONFIG_X86
#include <asm/processor.h>
#endif

#include "coalesced_io.h"

/* In a page's result before it is rung; it stays there when nobody listens. */
#define NO_ANSWER (~0u)

#define BMDMA_BAR 4
#define BMDMA_PORTS 8 /* of a channel */
#define DRIVES_DMA 0x60 /* in the bus master's status: written back, or they are lost */

/* The list for a completion; it is the same each time, also of a command without data. */
enum {
	DONE_INTERRUPT, /* ends the list if it is another's */
	DONE_STOP,
	DONE_IDLE, /* ends the list if the drive is busy: its status must not be read */
	DONE_STATUS, /* takes the interrupt away */
	DONE_CLEAR,
	DONE_COUNT,
};

/* Both pages are written and rung under the host's lock only. */
struct ata_batch {
	struct coalesced_io_page *issue, *done;
	u16 doorbell;
	u16 cmd, ctl, bmdma; /* ports */
	bool off; /* a list was refused: it would be again */
};

/* The two kinds of commands that come by the thousand. */
static bool is_dma(const struct ata_taskfile *tf)
{
	return tf->protocol == ATA_PROT_DMA && tf->flags & ATA_TFLAG_ISADDR;
}

static bool is_flush(const struct ata_taskfile *tf)
{
	return tf->protocol == ATA_PROT_NODATA &&
	       (tf->command == ATA_CMD_FLUSH || tf->command == ATA_CMD_FLUSH_EXT);
}

/* --- lists ------------------------------------------------------------------------------ */

static struct coalesced_io_entry *next(struct coalesced_io_page *p)
{
	return &p->entry[p->count++];
}

static void out(struct coalesced_io_page *p, unsigned int port, u8 value)
{
	coalesced_io_out(next(p), 1, port, value);
}

static void only_if_idle(struct coalesced_io_page *p, const struct ata_batch *b)
{
	coalesced_io_poll(next(p), 1, b->cmd + ATA_REG_STATUS, ATA_BUSY | ATA_DRQ, 0, 1);
}

static void out_address(struct coalesced_io_page *p, const struct ata_batch *b,
			const struct ata_taskfile *tf)
{
	if (tf->flags & ATA_TFLAG_LBA48) {
		out(p, b->cmd + ATA_REG_FEATURE, tf->hob_feature);
		out(p, b->cmd + ATA_REG_NSECT, tf->hob_nsect);
		out(p, b->cmd + ATA_REG_LBAL, tf->hob_lbal);
		out(p, b->cmd + ATA_REG_LBAM, tf->hob_lbam);
		out(p, b->cmd + ATA_REG_LBAH, tf->hob_lbah);
	}
	out(p, b->cmd + ATA_REG_FEATURE, tf->feature);
	out(p, b->cmd + ATA_REG_NSECT, tf->nsect);
	out(p, b->cmd + ATA_REG_LBAL, tf->lbal);
	out(p, b->cmd + ATA_REG_LBAM, tf->lbam);
	out(p, b->cmd + ATA_REG_LBAH, tf->lbah);
}

static void fill_issue(struct ata_batch *b, const struct ata_queued_cmd *qc)
{
	const struct ata_taskfile *tf = &qc->tf;
	u8 direction = tf->flags & ATA_TFLAG_WRITE ? 0 : ATA_DMA_WR;
	struct coalesced_io_page *p = b->issue;
	bool dma = is_dma(tf);

	p->count = 0;
	if (tf->ctl != qc->ap->last_ctl)
		out(p, b->ctl, tf->ctl);
	only_if_idle(p, b);
	out(p, b->cmd + ATA_REG_DEVICE, tf->device);
	only_if_idle(p, b);
	if (tf->flags & ATA_TFLAG_ISADDR)
		out_address(p, b, tf);
	if (dma) {
		coalesced_io_out(next(p), 4, b->bmdma + ATA_DMA_TABLE_OFS, qc->ap->bmdma_prd_dma);
		out(p, b->bmdma + ATA_DMA_CMD, direction);
	}
	out(p, b->cmd + ATA_REG_CMD, tf->command);
	if (dma)
		out(p, b->bmdma + ATA_DMA_CMD, direction | ATA_DMA_START);
}

static void fill_done(struct ata_batch *b, u8 drives_dma)
{
	struct coalesced_io_entry *e = b->done->entry;

	b->done->count = DONE_COUNT;
	coalesced_io_poll(&e[DONE_INTERRUPT], 1, b->bmdma + ATA_DMA_STATUS, ATA_DMA_INTR,
			  ATA_DMA_INTR, 1);
	coalesced_io_out(&e[DONE_STOP], 1, b->bmdma + ATA_DMA_CMD, 0);
	coalesced_io_poll(&e[DONE_IDLE], 1, b->ctl, ATA_BUSY, 0, 1);
	coalesced_io_in(&e[DONE_STATUS], 1, b->cmd + ATA_REG_STATUS);
	coalesced_io_out(&e[DONE_CLEAR], 1, b->bmdma + ATA_DMA_STATUS,
			 drives_dma | ATA_DMA_INTR | ATA_DMA_ERR);
}

static u32 ring(const struct ata_batch *b, struct coalesced_io_page *p)
{
	p->result = NO_ANSWER;
	mb(); /* the list and the PRD table are in memory before the host looks at them */
	outl(virt_to_phys(p) >> COALESCED_IO_PAGE_SHIFT, b->doorbell);
	rmb(); /* what the host wrote is read after it was rung */
	return READ_ONCE(p->result);
}

/* --- commands --------------------------------------------------------------------------- */

static struct ata_batch *batch_for(const struct ata_queued_cmd *qc)
{
	const struct ata_taskfile *tf = &qc->tf;
	struct ata_batch *b = qc->ap->private_data;

	if (!b || b->off || !(tf->flags & ATA_TFLAG_DEVICE) || tf->flags & ATA_TFLAG_POLLING)
		return NULL;
	return is_dma(tf) || is_flush(tf) ? b : NULL;
}

static void refused(struct ata_port *ap, struct ata_batch *b, u32 result)
{
	b->off = true;
	ata_port_warn(ap, "the host refuses a list of port accesses (%d): on by single ones\n",
		      (int)result);
}

unsigned int ata_batch_qc_issue(struct ata_queued_cmd *qc)
{
	struct ata_batch *b = batch_for(qc);
	struct ata_port *ap = qc->ap;
	u32 result;

	if (!b)
		return ata_bmdma_qc_issue(qc);
	trace_ata_tf_load(ap, &qc->tf);
	if (is_dma(&qc->tf)) {
		trace_ata_bmdma_setup(ap, &qc->tf, qc->tag);
		trace_ata_bmdma_start(ap, &qc->tf, qc->tag);
	}
	fill_issue(b, qc);
	result = ring(b, b->issue);
	if (result == COALESCED_IO_OK) {
		ap->last_ctl = qc->tf.ctl;
		ap->hsm_task_state = HSM_ST_LAST;
		return 0;
	}
	if (result != COALESCED_IO_E_POLL)
		refused(ap, b, result);
	return ata_bmdma_qc_issue(qc);
}
EXPORT_SYMBOL_GPL(ata_batch_qc_issue);

static void complete_dma(struct ata_port *ap, struct ata_queued_cmd *qc, u8 host_stat, u8 status)
{
	trace_ata_bmdma_status(ap, host_stat);
	if (unlikely(host_stat & ATA_DMA_ERR)) {
		qc->err_mask |= AC_ERR_HOST_BUS;
		ap->hsm_task_state = HSM_ST_ERR;
	}
	ata_sff_hsm_move(ap, qc, status, 0);
	if (unlikely(qc->err_mask))
		ata_ehi_push_desc(&ap->link.eh_info, "BMDMA stat 0x%x", host_stat);
}

/* Was the interrupt this port's? */
static unsigned int port_intr(struct ata_port *ap, struct ata_queued_cmd *qc)
{
	struct ata_batch *b = batch_for(qc);
	u32 result;

	if (!b || ap->hsm_task_state != HSM_ST_LAST)
		return ata_bmdma_port_intr(ap, qc);
	result = ring(b, b->done);
	if (result == COALESCED_IO_OK) {
		u8 status = b->done->entry[DONE_STATUS].read;

		if (is_dma(&qc->tf))
			complete_dma(ap, qc, b->done->entry[DONE_INTERRUPT].read, status);
		else
			ata_sff_hsm_move(ap, qc, status, 0);
		return 1;
	}
	if (result == COALESCED_IO_E_POLL && b->done->failed == DONE_INTERRUPT) {
		ap->stats.idle_irq++;
		return 0;
	}
	if (result != COALESCED_IO_E_POLL)
		refused(ap, b, result);
	/* The interrupt is there until it is cleared, which is the list's last. */
	return ata_bmdma_port_intr(ap, qc);
}

irqreturn_t ata_batch_interrupt(int irq, void *dev_instance)
{
	struct ata_host *host = dev_instance;
	unsigned int handled = 0, i;
	unsigned long flags;

	spin_lock_irqsave(&host->lock, flags);
	for (i = 0; i < host->n_ports; i++) {
		struct ata_port *ap = host->ports[i];
		struct ata_queued_cmd *qc = ata_qc_from_tag(ap, ap->link.active_tag);

		if (qc && !(qc->tf.flags & ATA_TFLAG_POLLING))
			handled |= port_intr(ap, qc);
	}
	spin_unlock_irqrestore(&host->lock, flags);
	/* If it was nobody's, libata knows what to do about it. */
	return handled ? IRQ_HANDLED : ata_bmdma_interrupt(irq, host);
}
EXPORT_SYMBOL_GPL(ata_batch_interrupt);

/* --- finding the host's ------------------------------------------------------------------- */

/* 0: there is none. The host could not read pages that are encrypted. */
static u16 find_doorbell(void)
{
#ifdef CONFIG_X86
	u32 version, features, doorbell, eax, ebx, ecx, edx;

	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR) || cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT))
		return 0;
	cpuid(COALESCED_IO_CPUID_BASE, &eax, &ebx, &ecx, &edx);
	if (ebx != COALESCED_IO_SIGNATURE_EBX || ecx != COALESCED_IO_SIGNATURE_ECX ||
	    edx != COALESCED_IO_SIGNATURE_EDX)
		return 0;
	cpuid(COALESCED_IO_CPUID_INFO, &version, &features, &doorbell, &edx);
	if (version == COALESCED_IO_VERSION && features & COALESCED_IO_F_DOORBELL)
		return doorbell;
#endif
	return 0;
}

static bool is_io(struct pci_dev *pdev, int bar)
{
	return pci_resource_flags(pdev, bar) & IORESOURCE_IO;
}

static struct coalesced_io_page *page_alloc(struct device *dev)
{
	BUILD_BUG_ON(sizeof(struct coalesced_io_page) > PAGE_SIZE);
	return (void *)devm_get_free_pages(dev, GFP_KERNEL | __GFP_ZERO, 0);
}

void ata_batch_init(struct ata_port *ap)
{
	struct pci_dev *pdev = to_pci_dev(ap->host->dev);
	int bar = 2 * ap->port_no;
	u16 doorbell = find_doorbell();
	struct ata_batch *b;

	if (!doorbell || !ap->ioaddr.bmdma_addr || !is_io(pdev, bar) || !is_io(pdev, bar + 1) ||
	    !is_io(pdev, BMDMA_BAR))
		return;
	b = devm_kzalloc(&pdev->dev, sizeof(*b), GFP_KERNEL);
	if (!b)
		return;
	b->issue = page_alloc(&pdev->dev);
	b->done = page_alloc(&pdev->dev);
	if (!b->issue || !b->done)
		return;
	b->doorbell = doorbell;
	b->cmd = pci_resource_start(pdev, bar);
	b->ctl = pci_resource_start(pdev, bar + 1) | ATA_PCI_CTL_OFS;
	b->bmdma = pci_resource_start(pdev, BMDMA_BAR) + BMDMA_PORTS * ap->port_no;
	fill_done(b, ioread8(ap->ioaddr.bmdma_addr + ATA_DMA_STATUS) & DRIVES_DMA);
	ap->private_data = b;
	ata_port_desc(ap, "lists 0x%x", doorbell);
}
EXPORT_SYMBOL_GPL(ata_batch_init);
