/* SPDX-License-Identifier: MIT */
/*
 * Registers, bits and commands of an ATA channel (ATA/ATAPI-7 volume 1, chapters 5 and 6) and of
 * the PIIX's bus master (82371SB: BMICX, BMISX, BMIDTPX).
 */
#ifndef DEVICES_IDE_ATA_REGS_H
#define DEVICES_IDE_ATA_REGS_H

/* Command block, offsets from the channel's port */
#define ATA_DATA 0
#define ATA_ERROR 1 /* read */
#define ATA_FEATURES 1 /* write */
#define ATA_COUNT 2 /* packet commands: the interrupt reason */
#define ATA_LBA_LOW 3
#define ATA_LBA_MID 4 /* packet commands: the byte count, low */
#define ATA_LBA_HIGH 5
#define ATA_DEVICE 6
#define ATA_STATUS 7 /* read */
#define ATA_COMMAND 7 /* write */
#define ATA_NR_REGS 8

#define ATA_ERROR_ABRT 0x04
#define ATA_ERROR_IDNF 0x10
#define ATA_ERROR_UNC 0x40
#define ATA_DIAGNOSTIC_PASSED 0x01

#define ATA_STATUS_ERR 0x01 /* packet commands: CHECK CONDITION */
#define ATA_STATUS_DRQ 0x08
#define ATA_STATUS_DSC 0x10
#define ATA_STATUS_DF 0x20
#define ATA_STATUS_DRDY 0x40
#define ATA_STATUS_BSY 0x80

#define ATA_DEVICE_HEAD 0x0f
#define ATA_DEVICE_DEV 0x10
#define ATA_DEVICE_LBA 0x40

/* Device control */
#define ATA_CONTROL_NIEN 0x02
#define ATA_CONTROL_SRST 0x04
#define ATA_CONTROL_HOB 0x80

/* Sectors that IDENTIFY DEVICE counts in 28 bits, at most (6.16, words 60 and 61) */
#define ATA_LBA28_SECTORS 0x0fffffffull

/* PACKET's features register (6.24) */
#define ATA_PACKET_DMA 0x01
#define ATA_PACKET_OVERLAP 0x02

/* DATA SET MANAGEMENT's features register (ATA8-ACS2 7.10), and an entry of its list */
#define ATA_DATA_SET_TRIM 0x01
#define ATA_TRIM_ENTRY_SIZE 8
#define ATA_TRIM_LBA_BITS 48 /* the rest is a number of sectors */

/* The one command that a busy drive takes (6.10) */
#define ATA_CMD_DEVICE_RESET 0x08

/* SET FEATURES (6.48), subcommands in the features register */
#define ATA_FEATURE_WRITE_CACHE_ON 0x02
#define ATA_FEATURE_TRANSFER_MODE 0x03
#define ATA_FEATURE_LOOK_AHEAD_OFF 0x55
#define ATA_FEATURE_KEEP_SETTINGS 0x66
#define ATA_FEATURE_WRITE_CACHE_OFF 0x82
#define ATA_FEATURE_LOOK_AHEAD_ON 0xaa
#define ATA_FEATURE_REVERT_SETTINGS 0xcc

/* Transfer modes (6.48): kind in the high bits, number in the low three */
#define ATA_MODE_PIO_DEFAULT 0x00
#define ATA_MODE_PIO_NO_IORDY 0x01
#define ATA_MODE_PIO 0x08
#define ATA_MODE_MWDMA 0x20
#define ATA_MODE_UDMA 0x40
#define ATA_MODE_NUMBER 0x07
#define ATA_PIO_MAX 4
#define ATA_DMA_MAX 2 /* multiword and Ultra */

/* CHECK POWER MODE's answers (6.7) */
#define ATA_POWER_STANDBY 0x00
#define ATA_POWER_IDLE 0x80
#define ATA_POWER_ACTIVE 0xff

/* Bus master, offsets from a channel's eight ports */
#define BM_COMMAND 0
#define BM_STATUS 2
#define BM_TABLE 4
#define BM_NR_REGS 8

#define BM_COMMAND_START 0x01
#define BM_COMMAND_TO_MEMORY 0x08
#define BM_COMMAND_MASK 0x09

#define BM_STATUS_ACTIVE 0x01
#define BM_STATUS_ERROR 0x02
#define BM_STATUS_INTERRUPT 0x04
#define BM_STATUS_DRIVES_DMA 0x60 /* for drivers to note which drives do DMA */
#define BM_STATUS_MASK 0x67 /* bit 7, simplex, is 0: both channels work at a time */

#endif
