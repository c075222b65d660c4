/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * DMA commands and flushes of a libata driver for PCI IDE, each by two lists of port accesses where
 * the host takes lists (coalesced_io.h), instead of 26 to 31 single ones, or 12:
 *
 *	to issue	wait for idle, select, task file, PRD table, direction, command, start
 *	to complete	if the bus master has an interrupt: stop, status, clear
 *
 * The bus master's interrupt bit follows the drive's interrupt line, whatever the command is.
 * All else (PIO, packets, other commands, resets, the error handler) is libata's own, as
 * is everything where the host knows no lists; and so is a command that finds the drive busy or
 * its list refused, from its beginning.
 *
 * A driver has ata_batch_init() called by its port_start, and takes the two others for its
 * qc_issue and as its interrupt handler. They work on ports without lists as well.
 */
#ifndef ATA_BATCH_H
#define ATA_BATCH_H

#include <linux/irqreturn.h>
#include <linux/libata.h>

/* Makes use of port->private_data. Without memory for the lists, there are none. */
void ata_batch_init(struct ata_port *ap);

/* Instead of ata_bmdma_qc_issue(), under the host's lock, as that is. */
unsigned int ata_batch_qc_issue(struct ata_queued_cmd *qc);

/* Instead of ata_bmdma_interrupt(). */
irqreturn_t ata_batch_interrupt(int irq, void *host);

#endif
