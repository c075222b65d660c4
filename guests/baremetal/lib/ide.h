/* SPDX-License-Identifier: MIT */
/*
 * A driver for the drives of a PIIX IDE controller (ATA/ATAPI-7 volume 1; 82371SB, 2.7):
 * polled, PIO and bus-master DMA, with requests of any shape so that wrong ones can be sent
 * too. Interrupts are the guest's own business: nothing here needs one.
 */
#ifndef GUESTS_IDE_H
#define GUESTS_IDE_H

#include "guests/baremetal/lib/pci.h"

/* Offsets from the channel's port, and the bits in them. */
#define IDE_DATA 0
#define IDE_ERROR 1
#define IDE_FEATURES 1
#define IDE_COUNT 2
#define IDE_LBA_LOW 3
#define IDE_LBA_MID 4
#define IDE_LBA_HIGH 5
#define IDE_DEVICE 6
#define IDE_STATUS 7
#define IDE_COMMAND 7

#define IDE_ERR 0x01
#define IDE_DRQ 0x08
#define IDE_DF 0x20
#define IDE_DRDY 0x40
#define IDE_BSY 0x80

#define IDE_ABRT 0x04
#define IDE_IDNF 0x10

#define IDE_SLAVE 0x10
#define IDE_LBA 0x40

#define IDE_NIEN 0x02
#define IDE_SRST 0x04
#define IDE_HOB 0x80

#define IDE_BM_COMMAND 0
#define IDE_BM_STATUS 2
#define IDE_BM_TABLE 4

#define IDE_BM_START 0x01
#define IDE_BM_TO_MEMORY 0x08
#define IDE_BM_ACTIVE 0x01
#define IDE_BM_ERROR 0x02
#define IDE_BM_INTERRUPT 0x04
#define IDE_BM_MASK 0x07

enum ide_command {
	IDE_CMD_NOP = 0x00,
	IDE_CMD_DATA_SET_MANAGEMENT = 0x06,
	IDE_CMD_DEVICE_RESET = 0x08,
	IDE_CMD_RECALIBRATE = 0x10,
	IDE_CMD_READ = 0x20,
	IDE_CMD_READ_EXT = 0x24,
	IDE_CMD_READ_DMA_EXT = 0x25,
	IDE_CMD_READ_MULTIPLE_EXT = 0x29,
	IDE_CMD_WRITE = 0x30,
	IDE_CMD_WRITE_EXT = 0x34,
	IDE_CMD_WRITE_DMA_EXT = 0x35,
	IDE_CMD_WRITE_MULTIPLE_EXT = 0x39,
	IDE_CMD_VERIFY = 0x40,
	IDE_CMD_VERIFY_EXT = 0x42,
	IDE_CMD_SEEK = 0x70,
	IDE_CMD_DIAGNOSTIC = 0x90,
	IDE_CMD_INIT_PARAMETERS = 0x91,
	IDE_CMD_PACKET = 0xa0,
	IDE_CMD_IDENTIFY_PACKET = 0xa1,
	IDE_CMD_SMART = 0xb0,
	IDE_CMD_READ_MULTIPLE = 0xc4,
	IDE_CMD_WRITE_MULTIPLE = 0xc5,
	IDE_CMD_SET_MULTIPLE = 0xc6,
	IDE_CMD_READ_DMA = 0xc8,
	IDE_CMD_WRITE_DMA = 0xca,
	IDE_CMD_STANDBY_IMMEDIATE = 0xe0,
	IDE_CMD_IDLE_IMMEDIATE = 0xe1,
	IDE_CMD_STANDBY = 0xe2,
	IDE_CMD_IDLE = 0xe3,
	IDE_CMD_CHECK_POWER = 0xe5,
	IDE_CMD_SLEEP = 0xe6,
	IDE_CMD_FLUSH = 0xe7,
	IDE_CMD_FLUSH_EXT = 0xea,
	IDE_CMD_IDENTIFY = 0xec,
	IDE_CMD_SET_FEATURES = 0xef,
};

/* A place where a drive can be, whether there is one or not. */
struct ide {
	uint16_t port, control, bm;
	unsigned irq;
	uint8_t device; /* 0 or IDE_SLAVE */
};

/* The registers of a command. Those with 48 bits are told by their opcode. */
struct ide_regs {
	uint8_t command, features;
	bool chs; /* lba is of ide_chs() */
	uint32_t count; /* sectors, or what the command has there */
	uint64_t lba;
};

/* A physical region descriptor. count 0: 64 KiB. */
struct ide_prd {
	uint32_t addr;
	uint16_t count, end;
};
#define IDE_PRD_END 0x8000

/* The function, its decoding and bus-mastering on; PCI_NONE where there is none. */
unsigned ide_find(void);
/* Place n: 0 the first channel's master, 1 its slave, 2 and 3 the second channel's. */
struct ide ide_place(unsigned devfn, unsigned n);

uint8_t ide_read(const struct ide *d, unsigned reg);
void ide_write(const struct ide *d, unsigned reg, uint8_t v);
uint8_t ide_alternate(const struct ide *d);
void ide_control(const struct ide *d, uint8_t v);
/* Selects the drive, with what else is to be in the device register. */
void ide_select(const struct ide *d, uint8_t bits);

/* Waits until (alternate status & mask) == value; false after some ten seconds. */
bool ide_until(const struct ide *d, uint8_t mask, uint8_t value);
/* What a command's last status says: ready, no error, no more data. */
bool ide_ok(int status);
/* Waits for the end of BSY: the status (which clears the interrupt), or -1. */
int ide_wait(const struct ide *d);

uint64_t ide_chs(unsigned cylinder, unsigned head, unsigned sector);
/* The address that the registers hold, all 48 bits of it. */
uint64_t ide_address(const struct ide *d);

/* Selects, loads the registers and writes the command; nothing is waited for. */
void ide_issue(const struct ide *d, const struct ide_regs *r);

/*
 * A command from its issue to its last status, which is returned (-1: no answer). Data goes by
 * blocks of as many bytes; width 2 or 4 at the data port. done, when given: the bytes moved.
 */
int ide_command(const struct ide *d, const struct ide_regs *r);
int ide_pio_in(const struct ide *d, const struct ide_regs *r, void *buf, uint32_t len,
	       uint32_t block, unsigned width);
int ide_pio_out(const struct ide *d, const struct ide_regs *r, const void *buf, uint32_t len,
		uint32_t block, unsigned width);

/* DMA by a table, or by one that is made for a buffer. The bus master's last status: >> 8. */
void ide_dma_prepare(const struct ide *d, const struct ide_prd *table, bool to_memory);
void ide_dma_start(const struct ide *d);
uint8_t ide_dma_stop(const struct ide *d);
/* Waits until the bus master has stopped or told of an interrupt: its status, ~0 after seconds. */
unsigned ide_dma_wait(const struct ide *d);
int ide_dma_by(const struct ide *d, const struct ide_regs *r, const struct ide_prd *table,
	       bool to_memory);
int ide_dma(const struct ide *d, const struct ide_regs *r, void *buf, uint32_t len, bool to_memory);

/* SRST for the channel. True where the drive was done with it in time. */
bool ide_reset(const struct ide *d);

/* A packet by PIO, data blocks of at most limit bytes; got: the bytes that came, and in how many. */
struct ide_got {
	uint32_t len, blocks;
};
int ide_packet(const struct ide *d, const uint8_t packet[12], void *buf, uint32_t len,
	       uint16_t limit, struct ide_got *got);
/* The same with its data by DMA, or without any. */
int ide_packet_dma(const struct ide *d, const uint8_t packet[12], const struct ide_prd *table);

#endif
