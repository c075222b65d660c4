/* SPDX-License-Identifier: MIT */
/*
 * The PIIX's bus master of one channel (82371SB: BMICX, BMISX, BMIDTPX): three registers and the walk
 * through a table of physical region descriptors in guest memory.
 *
 * Each descriptor is copied once and then used. The walk is bounded whatever the table says:
 * every descriptor moves at least two bytes, and a table ends at the next 64 KiB border, which
 * it must not cross. Regions that are not RAM from end to end are never touched.
 *
 * Bits of the status register when the drive is done, or can go no further:
 *
 *   Interrupt  Active
 *   1          0       done, and so is the table
 *   1          1       done, and the table describes more
 *   0          0       the table describes less (Error 0), or memory could not be reached (1)
 *   0          1       still at it
 *
 * Threads: the channel's lock is held for all of it.
 */
#ifndef DEVICES_IDE_BMDMA_H
#define DEVICES_IDE_BMDMA_H

#include <sys/uio.h>

#include "base/mem.h"
#include "base/state.h"
#include "devices/ide/ata_regs.h"

struct bmdma_state {
	uint8_t command;
	uint8_t status;
	uint8_t seg_last; /* the region below is the table's last */
	uint32_t table;
	uint32_t next; /* address of the next descriptor */
	uint32_t seg_addr; /* what is left of the region at hand */
	uint32_t seg_left;
};

#define BMDMA_SEG_MAX 0x10000

#define BMDMA_STATE_FIELDS(s, m)                                                              \
	STATE_U_MAX(s, m.command, BM_COMMAND_MASK), STATE_U_MAX(s, m.status, BM_STATUS_MASK), \
		STATE_U_MAX(s, m.seg_last, 1), STATE_U(s, m.table), STATE_U(s, m.next),       \
		STATE_U(s, m.seg_addr), STATE_U_MAX(s, m.seg_left, BMDMA_SEG_MAX)

/* Room for a sector in two-byte pieces, twice: see bmdma_map(). */
#define BMDMA_MAX_IOV 512

enum bmdma_end {
	BMDMA_MORE, /* all that was asked for, or as much as there was room for */
	BMDMA_TABLE_END, /* the table describes no more */
	BMDMA_FAULT, /* a descriptor, or what it describes, is not in RAM */
};

struct bmdma_place {
	uint8_t seg_last;
	uint32_t next, seg_addr, seg_left;
};

struct bmdma_vec {
	struct iovec iov[BMDMA_MAX_IOV];
	unsigned nr;
	uint64_t len; /* sum, bytes */
};

uint8_t bmdma_read(const struct bmdma_state *s, unsigned offset);
/* One byte. True when it started the bus master: the walk begins at the table's first entry. */
bool bmdma_write(struct bmdma_state *s, unsigned offset, uint8_t v);

/* The bus master would move data, in this direction. */
bool bmdma_ready(const struct bmdma_state *s, bool to_memory);

/*
 * Takes the next want bytes (a multiple of a sector, or the last of a transfer) from the
 * table into v; fewer when the table ends, at a fault, or at a sector's border for lack of
 * room. The regions stay mapped until the I/O into them is over.
 */
enum bmdma_end bmdma_map(struct bmdma_state *s, struct mem *mem, bool to_memory, uint64_t want,
			 struct bmdma_vec *v);

/* Takes bytes off v's end. */
void bmdma_vec_trim(struct bmdma_vec *v, uint64_t len);

/* Where the walk is, and back there: what was mapped since is mapped once more. */
struct bmdma_place bmdma_tell(const struct bmdma_state *s);
void bmdma_seek(struct bmdma_state *s, const struct bmdma_place *place);

/* What status says from now on: the map that was just used ended so; the drive is done. */
void bmdma_stopped(struct bmdma_state *s, enum bmdma_end end);
void bmdma_drive_done(struct bmdma_state *s);

bool bmdma_state_valid(const struct bmdma_state *s);

#endif
