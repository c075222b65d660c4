/* SPDX-License-Identifier: MIT */
/*
 * The inside of a channel, shared by its parts:
 *
 *   ata.c           the register file: ports, selection, interrupt line, resets
 *   ata_cmd.c       the commands
 *   ata_identify.c  what a drive says of itself
 *   ata_packet.c    PACKET: from the bytes of a packet to its data and status
 *   ata_io.c        data blocks, and the half of a command that is done on the I/O thread
 *   bmdma.c         the bus master's registers and tables
 *   ata_state.c     what is saved, and what of it is believed
 *   ide_channel.c   the device that all this is: made, reset, destroyed
 *
 * A command is in one phase at a time. All of it is the state's, so that a save can come at
 * any moment at which the I/O thread has nothing in its hands:
 *
 *   IDLE      no command
 *   PACKET    DRQ: the drive waits for the bytes of a packet    buf[pos .. end)
 *   PIO_OUT   DRQ: it takes a block of data from the guest      buf[pos .. end)
 *   PIO_IN    DRQ: it offers one                                buf[pos .. end), data to len
 *   DMA_WAIT  BSY: it waits for the bus master to be started
 *   IO        BSY: the I/O thread is to go on with the command
 *
 * What the host is asked for is fixed when it is submitted: while the I/O thread has the
 * command (busy) the guest sees BSY, its writes to the registers are ignored, and a reset
 * only takes note of itself. The buffer and the iovec belong to the I/O thread as long.
 *
 * Invariant: pos <= end <= len <= IDE_BUFFER, and pos < end while DRQ is up.
 *
 * Every function here wants the channel's lock held, unless it says otherwise.
 */
#ifndef DEVICES_IDE_ATA_H
#define DEVICES_IDE_ATA_H

#include "base/ide_geometry.h"
#include "devices/ide/ata_regs.h"
#include "devices/ide/atapi.h"
#include "devices/ide/bmdma.h"
#include "devices/ide/ide.h"

#define IDE_BUFFER (32 * KIB) /* sixteen CD blocks: read ahead of PIO in one go */
#define IDE_MAX_MULTIPLE 16 /* sectors of a block of READ MULTIPLE */
#define IDE_TRIM_MAX 8 /* sectors of a list of ranges to discard */
#define IDE_DMA_CHUNK MIB /* what a request to the host moves at most */

enum ide_phase {
	IDE_IDLE,
	IDE_PACKET,
	IDE_PIO_OUT,
	IDE_PIO_IN,
	IDE_DMA_WAIT,
	IDE_IO,
	IDE_NR_PHASES,
};

enum ide_op {
	IDE_OP_NONE,
	IDE_OP_DATA, /* a block that is in the buffer already */
	IDE_OP_READ,
	IDE_OP_WRITE,
	IDE_OP_READ_DMA,
	IDE_OP_WRITE_DMA,
	IDE_OP_VERIFY,
	IDE_OP_FLUSH,
	IDE_OP_TRIM_LIST, /* DATA SET MANAGEMENT: its list by DMA into the buffer, */
	IDE_OP_TRIM, /* and then what the list says */
	IDE_OP_PACKET, /* PACKET, data by PIO */
	IDE_OP_PACKET_DMA, /* PACKET, blocks by DMA */
	IDE_OP_PACKET_DATA_DMA, /* PACKET, a reply that is in the buffer by DMA */
	IDE_NR_OPS,
};

/* The registers that are two deep for 48-bit commands: [0] as written last, [1] before. */
enum { TF_FEATURES, TF_COUNT, TF_LBA_LOW, TF_LBA_MID, TF_LBA_HIGH, TF_NR };
#define TF_REG(offset) ((offset)-ATA_FEATURES)

/* struct ide_drive_state.settings */
#define IDE_WRITE_CACHE 0x01
#define IDE_LOOK_AHEAD 0x02
#define IDE_KEEP_SETTINGS 0x04 /* over a software reset */
#define IDE_SETTINGS 0x07

#define IDE_POWER_SLEEP 1 /* besides ATA_POWER_*: deaf but for resets */

struct ide_drive_state {
	uint8_t tf[2][TF_NR];
	uint8_t error;
	uint8_t status; /* but for BSY and DRQ, which are the phase's */
	uint8_t intrq;
	uint8_t settings;
	uint8_t multiple; /* sectors a block; 0: READ MULTIPLE is off */
	uint8_t mode; /* ATA_MODE_* */
	uint8_t power;
	uint8_t heads, sectors; /* the current geometry */
	uint16_t cylinders;
	struct atapi_state atapi;
};

struct ide_channel_state {
	struct ide_drive_state drives[IDE_NR_DRIVES];
	struct bmdma_state bm;
	uint8_t device; /* the register, one for both drives */
	uint8_t control;
	uint8_t line; /* the interrupt's */

	uint8_t phase; /* enum ide_phase; the rest counts while it is not IDLE */
	uint8_t unit; /* whose command it is */
	uint8_t op; /* enum ide_op */
	uint8_t ext; /* it has 48-bit addresses */
	uint8_t careful; /* the host failed to read much at a time: little by little now */
	uint16_t block; /* bytes of a data block, at most */
	uint64_t offset; /* bytes: what is still to be asked of the host */
	uint64_t left;
	uint32_t pos, end, len; /* of buf */
	uint8_t buf[IDE_BUFFER];
};

static inline bool ide_op_is_packet(uint8_t op)
{
	return op >= IDE_OP_PACKET;
}

static inline bool ide_op_is_dma(uint8_t op)
{
	return op == IDE_OP_READ_DMA || op == IDE_OP_WRITE_DMA || op == IDE_OP_TRIM_LIST ||
	       op == IDE_OP_PACKET_DMA || op == IDE_OP_PACKET_DATA_DMA;
}

struct ide_drive {
	bool present;
	bool cdrom;
	struct block *block; /* NULL: a CD-ROM drive without a disc */
	struct block_queue *queue; /* into it, from our loop */
	struct block_stages *stages;
	uint64_t sectors; /* the disk's size */
	char serial[BLOCK_SERIAL_LEN + 1];
};

enum ide_reset { IDE_RESET_NONE, IDE_RESET_SOFT, IDE_RESET_DEVICE };

/* One request to the host; the I/O thread's own while busy, and no state. */
struct ide_request {
	struct block_req b;
	struct bmdma_vec vec;
	struct bmdma_place from; /* where in the table vec begins */
	enum bmdma_end end; /* why vec ends where it does */
	bool bounced; /* vec's last is bounce */
	uint8_t bounce[BLOCK_SECTOR]; /* the rest of a sector for which the table has no place */
	bool submitting, completed; /* completed while submitting: the caller goes on */
	int result;
	struct block_stamps stamps;
	const char *what; /* "read", "write", ...; NULL: nothing was asked of the host yet */
	uint64_t offset;
};

struct ide_channel {
	struct device dev;
	struct mem *mem;
	struct bus *bus;
	struct irq irq;
	uint16_t port, control_port;
	bool has_ports;
	bool udma;
	struct ide_drive drives[IDE_NR_DRIVES];
	atomic_bool decoded; /* by the function, under its own lock */
	bool master; /* it may reach memory */

	struct iothread io; /* where the board gave us no loop */
	struct loop *loop;
	struct loop_post post;
	pthread_cond_t idle; /* busy fell */
	bool busy; /* the I/O thread has the command */
	bool paused;
	unsigned holds; /* who waits for busy to fall */
	enum ide_reset reset; /* to be done as soon as it has */
	struct ide_request req;

	struct ide_channel_state s;
};

static inline struct ide_channel *to_channel(struct device *dev)
{
	return container_of(dev, struct ide_channel, dev);
}

/* ata.c */
void ide_raise(struct ide_channel *ch, unsigned unit);
/* The interrupt line as it must be now. */
void ide_line_update(struct ide_channel *ch);
/* The command is over, well or with bits for the error register (status: ERR, DF). */
void ide_complete(struct ide_channel *ch);
void ide_fail(struct ide_channel *ch, uint8_t error, uint8_t status);
/* Ends the command without a word. */
void ide_abandon(struct ide_channel *ch);
void ide_signature(struct ide_channel *ch, unsigned unit);
/* Does the reset that was asked for, if nothing is in the way of it any more. */
void ide_reset_progress(struct ide_channel *ch);
void ide_power_on(struct ide_channel *ch);

extern const struct bus_ops ide_command_bus_ops;
extern const struct bus_ops ide_control_bus_ops;
extern const struct bus_ops ide_bmdma_bus_ops; /* a channel's eight ports of the BAR */

/* ide_channel.c, for the function: it answers at its ports; it may reach memory. Takes the lock. */
void ide_channel_set_decoded(struct device *dev, bool on);
void ide_channel_set_master(struct device *dev, bool on);

/* ata_cmd.c: a write to the command register by a drive that is not busy. */
void ide_command(struct ide_channel *ch, unsigned unit, uint8_t opcode);
void ide_default_settings(struct ide_channel *ch, unsigned unit);
bool ide_mode_valid(const struct ide_channel *ch, uint8_t mode);
/* The registers say where, as the command's kind of address demands. */
void ide_put_address(struct ide_channel *ch, unsigned unit, uint64_t lba, bool ext);

/* ata_identify.c: fills the buffer's first 512 bytes. */
void ide_identify(struct ide_channel *ch, unsigned unit);

/* ata_packet.c */
void ide_packet_begin(struct ide_channel *ch, unsigned unit);
void ide_packet_received(struct ide_channel *ch);
void ide_packet_data_block(struct ide_channel *ch);
void ide_packet_failed(struct ide_channel *ch);

/* ata_io.c */
int ide_io_init(struct ide_channel *ch, struct loop *loop) __must_check;
/* The channel is paused; without the lock. */
void ide_io_destroy(struct ide_channel *ch);
/* Hands the command to the I/O thread. */
void ide_io_begin(struct ide_channel *ch);
/* The drive waits for the bus master; if that waits already, off it goes. */
void ide_dma_begin(struct ide_channel *ch);
void ide_dma_poll(struct ide_channel *ch);
/* Returns with the lock held and nothing in the I/O thread's hands. */
void ide_io_drain(struct ide_channel *ch);
/* After that: goes on with what was held up, unless the channel is paused. */
void ide_io_continue(struct ide_channel *ch);
/* Offers (takes) the next block of data. */
void ide_pio_in_block(struct ide_channel *ch);
void ide_pio_out_block(struct ide_channel *ch);
/* The data port: n bytes in elements of width; what is not there reads 0 or vanishes. */
void ide_data_read(struct ide_channel *ch, uint8_t *p, size_t n, unsigned width);
void ide_data_write(struct ide_channel *ch, const uint8_t *p, size_t n, unsigned width);

/* ata_state.c */
extern const struct state_desc ide_channel_state_desc;
int ide_post_load(struct device *dev) __must_check;

#endif
