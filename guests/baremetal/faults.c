/* SPDX-License-Identifier: MIT */
/*
 * A disk that fails while it is used: the host's storage gives errors, is full, is cut off, is slow.
 * The guest must be told of each request that failed, get an answer to every other one, and find
 * all that it was told is written.
 *
 * The command line:
 *	sectors=	the disk's length, a multiple of a piece's
 *	ide		it is the first IDE drive, by DMA; without it, a virtio disk
 *	reads		all is written in the beginning, and only read from then on
 *	clean		nothing may fail; without it something has to, and then to work again
 *
 * Pieces are written (or read) one after the other, round after round. "healthy" on the console
 * is for the host to break something, "failing" to mend it.
 */
#include "guests/baremetal/lib/ide.h"
#include "guests/baremetal/lib/sector.h"
#include "guests/baremetal/lib/vblk.h"

#define PIECE 64 /* sectors */
#define MAX_PIECES 256
#define CLEAN_ROUNDS 2
#define PATIENCE 1000000 /* requests */

enum answer { GOOD, FAILED, WRONG_STATUS, SILENT };

/* The how-manieth write each sector of a piece may hold: from the last that was good on. */
struct piece {
	uint32_t good, tried;
};

static struct piece pieces[MAX_PIECES];
static uint8_t buf[PIECE * SECTOR_SIZE] __attribute__((aligned(0x10000)));
static uint8_t want[SECTOR_SIZE];
static struct vblk vblk;
static struct ide ide;
static bool use_ide;
static unsigned nr, wrong, silent, unlike;

static bool find(void)
{
	unsigned devfn;

	if (!use_ide)
		return vblk_find(&vblk) && vblk_start(&vblk, VBLK_NO_VECTOR);
	devfn = ide_find();
	if (devfn != PCI_NONE)
		ide = ide_place(devfn, 0);
	return devfn != PCI_NONE;
}

static enum answer ask_ide(bool write, unsigned i)
{
	struct ide_regs r = {
		.command = write ? IDE_CMD_WRITE_DMA_EXT : IDE_CMD_READ_DMA_EXT,
		.lba = (uint64_t)i * PIECE,
		.count = PIECE,
	};
	int status = ide_dma(&ide, &r, buf, sizeof(buf), !write);

	if (status < 0)
		return SILENT;
	if (ide_ok(status))
		return GOOD;
	return status & IDE_ERR && ide_read(&ide, IDE_ERROR) ? FAILED : WRONG_STATUS;
}

static enum answer ask_virtio(bool write, unsigned i)
{
	switch (vblk_request(&vblk, write ? VBLK_OUT : VBLK_IN, (uint64_t)i * PIECE, buf,
			     sizeof(buf))) {
	case VBLK_OK:
		return GOOD;
	case VBLK_IOERR:
		return FAILED;
	case -1:
		return SILENT;
	default:
		return WRONG_STATUS;
	}
}

static bool ask(bool write, unsigned i)
{
	enum answer a = use_ide ? ask_ide(write, i) : ask_virtio(write, i);

	wrong += a == WRONG_STATUS;
	silent += a == SILENT;
	return a == GOOD;
}

static void fill(uint8_t *p, uint32_t sector, uint32_t n)
{
	memset(p, (int)(sector * 31 + n * 7), SECTOR_SIZE);
	memcpy(p, &n, sizeof(n));
	memcpy(p + SECTOR_SIZE - sizeof(n), &n, sizeof(n));
}

static bool write_piece(unsigned i)
{
	uint32_t n = ++pieces[i].tried;

	for (unsigned k = 0; k < PIECE; k++)
		fill(buf + k * SECTOR_SIZE, i * PIECE + k, n);
	if (!ask(true, i))
		return false;
	pieces[i].good = n;
	return true;
}

/* What was never written is zeroes. */
static bool holds(const struct piece *p, const uint8_t *data, uint32_t sector)
{
	uint32_t n;

	memcpy(&n, data, sizeof(n));
	if (n < p->good || n > p->tried)
		return false;
	fill(want, sector, n);
	return n ? !memcmp(data, want, SECTOR_SIZE) : bytes_are(data, SECTOR_SIZE, 0);
}

static bool read_piece(unsigned i)
{
	if (!ask(false, i))
		return false;
	for (unsigned k = 0; k < PIECE; k++)
		unlike += !holds(&pieces[i], buf + k * SECTOR_SIZE, i * PIECE + k);
	return true;
}

/* Requests of a round that failed. */
static unsigned go_round(bool (*request)(unsigned i))
{
	unsigned failed = 0;

	for (unsigned i = 0; i < nr; i++)
		failed += !request(i);
	return failed;
}

/* Until something fails, which the host sees to once the first one has gone well. */
static bool break_down(bool (*request)(unsigned i))
{
	for (unsigned i = 0; i < PATIENCE; i++) {
		if (!request(i % nr))
			return true;
		if (i == 0)
			print("healthy\n");
	}
	return false;
}

static bool recover(bool (*request)(unsigned i))
{
	for (unsigned i = 0; i < PATIENCE / nr; i++)
		if (!go_round(request))
			return true;
	return false;
}

static bool flush(void)
{
	const struct ide_regs r = { .command = IDE_CMD_FLUSH_EXT };

	if (use_ide)
		return ide_ok(ide_command(&ide, &r));
	return vblk_request(&vblk, VBLK_FLUSH, 0, NULL, 0) == VBLK_OK;
}

int main(void)
{
	bool (*request)(unsigned i) = cmdline_has("reads") ? read_piece : write_piece;

	nr = cmdline_number("sectors=", 0) / PIECE;
	use_ide = cmdline_has("ide");
	if (!tap(find() && nr && nr <= MAX_PIECES, "there is a disk"))
		return 0;
	if (request == read_piece && !tap_is(go_round(write_piece), 0, "all of it is written"))
		return 0;
	if (cmdline_has("clean")) {
		for (unsigned i = 0; i < CLEAN_ROUNDS; i++)
			tap_is(go_round(request), 0, "nothing fails");
	} else {
		tap(break_down(request), "a request fails, and the guest is told");
		print("failing\n");
		tap(recover(request), "they work again");
	}
	tap(flush(), "a flush");
	tap_is(go_round(read_piece), 0, "all of it can be read");
	tap_is(unlike, 0, "and is what was written");
	tap_is(silent, 0, "no request was left without an answer");
	tap_is(wrong, 0, "nor had one that means something else");
	return 0;
}
