/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * libata's driver for the PIIX's IDE function in a virtual machine, with DMA commands by lists of
 * port accesses where the host takes them (ata_batch.h).
 *
 * What a real PIIX wants besides, timings, is left out, as no virtual disk heeds them; so real ones
 * are left to ata_piix. Whichever of the two is loaded first has the function: blacklist the other.
 */
#include <linux/libata.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <scsi/scsi_host.h>

#include "ata_batch.h"

enum {
	PIIX3,
	PIIX4,
};

static const struct pci_device_id bantam_ata_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID_INTEL_82371SB_1), .driver_data = PIIX3 },
	{ PCI_DEVICE(PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID_INTEL_82371AB), .driver_data = PIIX4 },
	{}
};
MODULE_DEVICE_TABLE(pci, bantam_ata_ids);

/* IDETIM's enable bit of each channel. */
static const struct pci_bits channel_enabled[] = {
	{ 0x41, 1, 0x80, 0x80 },
	{ 0x43, 1, 0x80, 0x80 },
};

static int bantam_ata_prereset(struct ata_link *link, unsigned long deadline)
{
	struct ata_port *ap = link->ap;

	if (!pci_test_config_bits(to_pci_dev(ap->host->dev), &channel_enabled[ap->port_no]))
		return -ENOENT;
	return ata_sff_prereset(link, deadline);
}

static int bantam_ata_port_start(struct ata_port *ap)
{
	ata_batch_init(ap);
	return ata_bmdma_port_start32(ap);
}

static struct scsi_host_template bantam_ata_sht = {
	ATA_BMDMA_SHT(KBUILD_MODNAME),
};

/* Not const: libata completes it by what it inherits. */
static struct ata_port_operations bantam_ata_ops = {
	.inherits = &ata_bmdma32_port_ops,
	.cable_detect = ata_cable_40wire,
	.prereset = bantam_ata_prereset,
	.port_start = bantam_ata_port_start,
	.qc_issue = ata_batch_qc_issue,
};

static const struct ata_port_info bantam_ata_info[] = {
	[PIIX3] = {
		.flags = ATA_FLAG_SLAVE_POSS,
		.pio_mask = ATA_PIO4,
		.mwdma_mask = ATA_MWDMA12_ONLY,
		.port_ops = &bantam_ata_ops,
	},
	[PIIX4] = {
		.flags = ATA_FLAG_SLAVE_POSS,
		.pio_mask = ATA_PIO4,
		.mwdma_mask = ATA_MWDMA12_ONLY,
		.udma_mask = ATA_UDMA2,
		.port_ops = &bantam_ata_ops,
	},
};

static int bantam_ata_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	const struct ata_port_info *ppi[] = { &bantam_ata_info[id->driver_data], NULL };
	struct ata_host *host;
	int ret;

	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR))
		return -ENODEV;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = ata_pci_bmdma_prepare_host(pdev, ppi, &host);
	if (ret)
		return ret;
	host->flags |= ATA_HOST_PARALLEL_SCAN;
	pci_set_master(pdev);
	return ata_pci_sff_activate_host(host, ata_batch_interrupt, &bantam_ata_sht);
}

static struct pci_driver bantam_ata_driver = {
	.name = KBUILD_MODNAME,
	.id_table = bantam_ata_ids,
	.probe = bantam_ata_probe,
	.remove = ata_pci_remove_one,
#ifdef CONFIG_PM_SLEEP
	.suspend = ata_pci_device_suspend,
	.resume = ata_pci_device_resume,
#endif
};
module_pci_driver(bantam_ata_driver);

MODULE_DESCRIPTION("PIIX IDE of a virtual machine, by lists of port accesses");
MODULE_LICENSE("Dual MIT/GPL");
