/* SPDX-License-Identifier: MIT */
/*
 * A machine with IDE channels for tests that drive them at their registers: a real bus and
 * memory, and disks that do what the test says, when it says so.
 */
#ifndef TESTS_UNIT_IDE_DRIVER_H
#define TESTS_UNIT_IDE_DRIVER_H

#include <stdatomic.h>

#include "base/mem.h"
#include "devices/ide/ata_regs.h"
#include "devices/ide/ide.h"
#include "tests/fuzz/ide_ops.h"
#include "tests/unit/fake.h"

#define IDE_RAM (8 * MIB)
#define IDE_BM_BASE 0xc000
#define IDE_PRD 0x10000ull
#define IDE_DATA 0x100000ull
#define IDE_WAIT 5000 /* ms; only ever waited for when something is wrong */

#define IDE_MAX_OPS 512

/*
 * What a test does through the functions below, as input for fuzz_ide. With IDE_CORPUS=FOLDER
 * in the environment each world leaves a file there.
 */
struct ide_notes {
	uint8_t ops[IDE_MAX_OPS][IDE_FUZZ_OP_SIZE];
	unsigned nr;
	unsigned cur; /* the channel, and what is held, as last noted */
	bool hold[4];
};

/* A sparse disk in memory. Held, it keeps a request until ide_disk_release(). */
struct ide_disk {
	struct block b;
	int fd; /* what is on it */
	struct loop *loop;
	struct block_req *held;
	atomic_bool hold;
	atomic_uint submitted, completed;
	uint64_t bad; /* a byte that cannot be read or written; UINT64_MAX: none */
	bool flush_fails;
	unsigned fails; /* requests from now on, whatever they are */
	enum block_op ops[64]; /* what was asked, in order, with */
	uint64_t offsets[64];
	uint64_t lens[64];
	struct loop_post release;
};

struct ide_world {
	struct mem mem;
	struct bus bus;
	struct fake_irq irq[IDE_NR_CHANNELS];
	struct fake_irq pci_irqs[PCI_NR_ISA_IRQS];
	struct pci_host *host;
	struct device *ch[IDE_NR_CHANNELS];
	struct device *fn;
	struct ide_disk disks[4];
	bool cdrom[4];
	struct block_stages stages[4];
	unsigned cur; /* the channel that the functions below use */
	struct ide_notes notes;
};

/* What each of the four places has: sectors of a disk, IDE_NONE, or a CD of as many sectors. */
#define IDE_NONE 0
#define IDE_CD(sectors) (-(int64_t)(sectors))
#define IDE_EMPTY_CD INT64_MIN

void ide_world_init(struct ide_world *w, const int64_t places[4], bool udma);
void ide_world_destroy(struct ide_world *w);
/* The same drives behind devices that have just been made. */
void ide_world_remake(struct ide_world *w, bool udma);

void ide_disk_release(struct ide_disk *d);
void ide_disk_wait_submitted(struct ide_disk *d, unsigned n);
/* Bytes that tell every sector of every disk from any other. */
void ide_pattern(void *buf, size_t len, unsigned seed);
void ide_disk_fill(struct ide_disk *d, uint64_t sector, unsigned n, unsigned seed);
void ide_disk_peek(struct ide_disk *d, uint64_t sector, void *buf, size_t len);

uint8_t ide_in(struct ide_world *w, unsigned reg);
void ide_out(struct ide_world *w, unsigned reg, uint8_t v);
uint8_t ide_altstatus(struct ide_world *w);
void ide_control(struct ide_world *w, uint8_t v);
uint16_t ide_data_port(const struct ide_world *w);
/* Returns when the channel's I/O thread has done all that it was told. */
void ide_settle(struct ide_world *w);
/* Until BSY falls; the status. */
uint8_t ide_wait(struct ide_world *w);

/* Task files: unit 0 or 1. Counts and addresses as the guest would write them. */
void ide_lba28(struct ide_world *w, unsigned unit, uint32_t lba, uint8_t count);
void ide_lba48(struct ide_world *w, unsigned unit, uint64_t lba, uint16_t count);
/* Writes the command and waits for BSY to fall; the status. */
uint8_t ide_cmd(struct ide_world *w, uint8_t opcode);
/* IDENTIFY DEVICE of a disk. */
void ide_read_identity(struct ide_world *w, unsigned unit, uint16_t words[256]);
/* One data block of len bytes by string I/O. */
void ide_read_block(struct ide_world *w, void *buf, size_t len);
void ide_write_block(struct ide_world *w, const void *buf, size_t len);

uint8_t ide_bm_in(struct ide_world *w, unsigned reg);
void ide_bm_out(struct ide_world *w, unsigned reg, uint8_t v);
/* Entry i of the table at IDE_PRD. */
void ide_prd(struct ide_world *w, unsigned i, uint32_t addr, uint16_t len, bool end);
/* The table's address, the direction, START. */
void ide_bm_start(struct ide_world *w, bool to_memory);
uint8_t ide_bm_wait_idle(struct ide_world *w);
/* Clears all of the command register. */
void ide_bm_stop(struct ide_world *w);
/* Stops it and resets both drives: for one that is waiting for nobody knows what. */
void ide_recover(struct ide_world *w);

void *ide_ram(struct ide_world *w, uint64_t gpa);
/* ide_pattern() there; it is there, or from that sector on. */
void ide_fill_ram(struct ide_world *w, uint64_t gpa, size_t len, unsigned seed);
void ide_expect_ram(struct ide_world *w, uint64_t gpa, size_t len, unsigned seed);
void ide_expect_disk(struct ide_disk *d, uint64_t sector, size_t len, unsigned seed);

void ide_config_out(struct ide_world *w, unsigned reg, unsigned width, uint32_t v);
uint32_t ide_config_in(struct ide_world *w, unsigned reg, unsigned width);

#endif
