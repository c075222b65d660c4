/* SPDX-License-Identifier: MIT */
#include "devices/ide/ata.h"

struct ata_command {
	void (*fn)(struct ide_channel *ch, unsigned unit, const struct ata_command *c);
	uint8_t flags;
	uint8_t op; /* enum ide_op */
};

#define FOR_DISK 0x01
#define FOR_CDROM 0x02
#define FOR_BOTH (FOR_DISK | FOR_CDROM)
#define EXT 0x04 /* 48-bit addresses and counts */
#define DMA 0x08
#define MULTIPLE 0x10
#define WRITES 0x20

#define LBA28_LIMIT (1ull << 28)

static void refuse(struct ide_channel *ch)
{
	ide_fail(ch, ATA_ERROR_ABRT, 0);
}

/* --- addresses -------------------------------------------------------------------------- */

static uint64_t get_chs(const struct ide_drive_state *d, uint8_t head)
{
	unsigned cylinder = d->tf[0][TF_LBA_MID] | d->tf[0][TF_LBA_HIGH] << 8;
	unsigned sector = d->tf[0][TF_LBA_LOW];

	if (!sector || sector > d->sectors || head >= d->heads || cylinder >= d->cylinders)
		return UINT64_MAX;
	return ((uint64_t)cylinder * d->heads + head) * d->sectors + sector - 1;
}

static uint64_t get_lba(const uint8_t tf[TF_NR])
{
	return tf[TF_LBA_LOW] | (uint64_t)tf[TF_LBA_MID] << 8 | (uint64_t)tf[TF_LBA_HIGH] << 16;
}

/* What the registers address, UINT64_MAX for what no disk has. */
static uint64_t get_address(const struct ide_channel *ch, unsigned unit, bool ext)
{
	const struct ide_drive_state *d = &ch->s.drives[unit];
	uint8_t low = ch->s.device & ATA_DEVICE_HEAD;

	if (ext)
		return get_lba(d->tf[1]) << 24 | get_lba(d->tf[0]);
	if (ch->s.device & ATA_DEVICE_LBA)
		return (uint64_t)low << 24 | get_lba(d->tf[0]);
	return get_chs(d, low);
}

static uint64_t get_count(const struct ide_drive_state *d, bool ext)
{
	unsigned n = d->tf[0][TF_COUNT];

	if (!ext)
		return n ? n : 0x100;
	n |= d->tf[1][TF_COUNT] << 8;
	return n ? n : 0x10000;
}

static void put_lba(uint8_t tf[TF_NR], uint64_t lba)
{
	tf[TF_LBA_LOW] = (uint8_t)lba;
	tf[TF_LBA_MID] = (uint8_t)(lba >> 8);
	tf[TF_LBA_HIGH] = (uint8_t)(lba >> 16);
}

void ide_put_address(struct ide_channel *ch, unsigned unit, uint64_t lba, bool ext)
{
	struct ide_drive_state *d = &ch->s.drives[unit];
	uint8_t low;

	if (ext) {
		put_lba(d->tf[0], lba);
		put_lba(d->tf[1], lba >> 24);
		return;
	}
	if (ch->s.device & ATA_DEVICE_LBA) {
		put_lba(d->tf[0], lba);
		low = (uint8_t)(lba >> 24);
	} else {
		uint64_t track = lba / d->sectors;

		put_lba(d->tf[0], track / d->heads << 8 | (lba % d->sectors + 1));
		low = (uint8_t)(track % d->heads);
	}
	ch->s.device = (uint8_t)((ch->s.device & ~ATA_DEVICE_HEAD) | (low & ATA_DEVICE_HEAD));
}

/* Takes offset and length from the registers; false (and the command failed): out of range. */
static bool get_range(struct ide_channel *ch, unsigned unit, uint64_t count, bool ext)
{
	uint64_t size = min_u64(ch->drives[unit].sectors, ext ? UINT64_MAX : LBA28_LIMIT);
	uint64_t lba = get_address(ch, unit, ext);

	if (lba >= size || count > size - lba) {
		ide_fail(ch, ATA_ERROR_IDNF, 0);
		return false;
	}
	ch->s.offset = lba * BLOCK_SECTOR;
	ch->s.left = count * BLOCK_SECTOR;
	ch->s.ext = ext;
	return true;
}

/* --- data -------------------------------------------------------------------------------- */

static void cmd_transfer(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	struct ide_channel_state *s = &ch->s;
	struct ide_drive_state *d = &s->drives[unit];
	bool ext = c->flags & EXT;

	if (((c->flags & MULTIPLE) && !d->multiple) ||
	    ((c->flags & WRITES) && ch->drives[unit].block->readonly)) {
		refuse(ch);
		return;
	}
	if (!get_range(ch, unit, get_count(d, ext), ext))
		return;
	d->power = ATA_POWER_ACTIVE;
	s->op = c->op;
	s->careful = 0;
	s->block = (uint16_t)(BLOCK_SECTOR * (c->flags & MULTIPLE ? d->multiple : 1u));
	if (c->flags & DMA)
		ide_dma_begin(ch);
	else if (c->flags & WRITES)
		ide_pio_out_block(ch);
	else
		ide_io_begin(ch);
}

static void cmd_flush(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)unit;
	ch->s.op = c->op;
	ch->s.left = 0;
	ch->s.offset = 0;
	ide_io_begin(ch);
}

static void cmd_data_set(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	struct ide_channel_state *s = &ch->s;
	struct ide_drive_state *d = &s->drives[unit];
	const struct block *block = ch->drives[unit].block;
	unsigned n = d->tf[0][TF_COUNT] | (unsigned)d->tf[1][TF_COUNT] << 8;

	if (d->tf[0][TF_FEATURES] != ATA_DATA_SET_TRIM || !n || n > IDE_TRIM_MAX ||
	    !block->limits.discard_align || block->readonly) {
		refuse(ch);
		return;
	}
	d->power = ATA_POWER_ACTIVE;
	s->op = c->op;
	s->ext = 1;
	s->offset = s->left = 0;
	s->pos = 0;
	s->end = s->len = n * BLOCK_SECTOR;
	ide_dma_begin(ch);
}

static void cmd_identify(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	struct ide_channel_state *s = &ch->s;

	s->op = c->op;
	ide_identify(ch, unit);
	s->block = BLOCK_SECTOR;
	s->offset = s->left = 0;
	s->end = 0;
	s->len = BLOCK_SECTOR;
	ide_pio_in_block(ch);
}

static void cmd_packet(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)c;
	ide_packet_begin(ch, unit);
}

/* --- settings ------------------------------------------------------------------------------ */

void ide_default_settings(struct ide_channel *ch, unsigned unit)
{
	struct ide_drive_state *d = &ch->s.drives[unit];
	const struct ide_drive *drive = &ch->drives[unit];
	struct ide_geometry g = ide_geometry(drive->sectors ? drive->sectors : 1);

	d->settings = IDE_WRITE_CACHE | IDE_LOOK_AHEAD;
	d->multiple = IDE_MAX_MULTIPLE; /* drivers use what they find to be on */
	d->cylinders = g.cylinders;
	d->heads = g.heads;
	d->sectors = g.sectors;
}

static void cmd_set_multiple(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	struct ide_drive_state *d = &ch->s.drives[unit];
	uint8_t n = d->tf[0][TF_COUNT];

	(void)c;
	if (n > IDE_MAX_MULTIPLE || (n && !is_pow2(n))) {
		refuse(ch);
		return;
	}
	d->multiple = n;
	ide_complete(ch);
}

/* Cylinders follow from the disk's size. */
static void cmd_init_parameters(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	struct ide_drive_state *d = &ch->s.drives[unit];
	unsigned heads = (ch->s.device & ATA_DEVICE_HEAD) + 1u;
	unsigned sectors = d->tf[0][TF_COUNT];
	uint64_t cylinders = sectors ? ch->drives[unit].sectors / (heads * sectors) : 0;

	(void)c;
	if (!cylinders) {
		refuse(ch);
		return;
	}
	d->heads = (uint8_t)heads;
	d->sectors = (uint8_t)sectors;
	d->cylinders = (uint16_t)min_u64(cylinders, UINT16_MAX);
	ide_complete(ch);
}

bool ide_mode_valid(const struct ide_channel *ch, uint8_t mode)
{
	uint8_t n = mode & ATA_MODE_NUMBER;

	if (mode == ATA_MODE_PIO_DEFAULT || mode == ATA_MODE_PIO_NO_IORDY)
		return true;
	switch (mode & ~ATA_MODE_NUMBER) {
	case ATA_MODE_PIO:
		return n <= ATA_PIO_MAX;
	case ATA_MODE_MWDMA:
		return n <= ATA_DMA_MAX;
	case ATA_MODE_UDMA:
		return ch->udma && n <= ATA_DMA_MAX;
	default:
		return false;
	}
}

static bool set_mode(struct ide_channel *ch, unsigned unit)
{
	struct ide_drive_state *d = &ch->s.drives[unit];
	uint8_t mode = d->tf[0][TF_COUNT];

	if (!ide_mode_valid(ch, mode))
		return false;
	d->mode = mode;
	return true;
}

static void cmd_set_features(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	static const struct {
		uint8_t subcommand, flags, set, clear;
	} switches[] = {
		{ ATA_FEATURE_WRITE_CACHE_ON, FOR_DISK, IDE_WRITE_CACHE, 0 },
		{ ATA_FEATURE_WRITE_CACHE_OFF, FOR_DISK, 0, IDE_WRITE_CACHE },
		{ ATA_FEATURE_LOOK_AHEAD_ON, FOR_DISK, IDE_LOOK_AHEAD, 0 },
		{ ATA_FEATURE_LOOK_AHEAD_OFF, FOR_DISK, 0, IDE_LOOK_AHEAD },
		{ ATA_FEATURE_KEEP_SETTINGS, FOR_BOTH, IDE_KEEP_SETTINGS, 0 },
		{ ATA_FEATURE_REVERT_SETTINGS, FOR_BOTH, 0, IDE_KEEP_SETTINGS },
	};
	struct ide_drive_state *d = &ch->s.drives[unit];
	uint8_t subcommand = d->tf[0][TF_FEATURES];
	uint8_t kind = ch->drives[unit].cdrom ? FOR_CDROM : FOR_DISK;
	bool known = subcommand == ATA_FEATURE_TRANSFER_MODE && set_mode(ch, unit);

	(void)c;
	for (unsigned i = 0; i < ARRAY_SIZE(switches); i++) {
		if (switches[i].subcommand != subcommand || !(switches[i].flags & kind))
			continue;
		d->settings &= (uint8_t)~switches[i].clear;
		d->settings |= switches[i].set;
		known = true;
	}
	if (!known) {
		refuse(ch);
		return;
	}
	/* What was cached until now must not be lost by those who trust that nothing is. */
	if (subcommand == ATA_FEATURE_WRITE_CACHE_OFF) {
		ch->s.op = IDE_OP_FLUSH;
		ch->s.offset = ch->s.left = 0;
		ide_io_begin(ch);
		return;
	}
	ide_complete(ch);
}

/* --- without data -------------------------------------------------------------------------- */

static void cmd_seek(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)c;
	if (!get_range(ch, unit, 1, false))
		return;
	ch->s.drives[unit].power = ATA_POWER_ACTIVE;
	ide_complete(ch);
}

static void cmd_nothing(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)unit;
	(void)c;
	ide_complete(ch);
}

static void cmd_native_max(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	uint64_t last = ch->drives[unit].sectors - 1;
	bool ext = c->flags & EXT;

	if (!ext) {
		last = min_u64(last, ATA_LBA28_SECTORS - 1);
		ch->s.device |= ATA_DEVICE_LBA;
	}
	ide_put_address(ch, unit, last, ext);
	ide_complete(ch);
}

/* A time-out in the count is ignored: there is no motor to stop. */
static void set_power(struct ide_channel *ch, unsigned unit, uint8_t power)
{
	ch->s.drives[unit].power = power;
	ide_complete(ch);
}

static void cmd_idle(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)c;
	set_power(ch, unit, ATA_POWER_IDLE);
}

static void cmd_standby(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)c;
	set_power(ch, unit, ATA_POWER_STANDBY);
}

static void cmd_sleep(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)c;
	set_power(ch, unit, IDE_POWER_SLEEP);
}

static void cmd_check_power(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	struct ide_drive_state *d = &ch->s.drives[unit];

	(void)c;
	d->tf[0][TF_COUNT] = d->power;
	ide_complete(ch);
}

/* NOP is a command that fails. */
static void cmd_refuse(struct ide_channel *ch, unsigned unit, const struct ata_command *c)
{
	(void)unit;
	(void)c;
	refuse(ch);
}

/* --- the table -------------------------------------------------------------------------------- */

/*
 * By opcode, with the section of ATA/ATAPI-7 volume 1, or the last standard that had it. What
 * is not in here is refused, SMART (0xb0) with it, which is not announced.
 */
static const struct ata_command commands[256] = {
	/* NOP, 6.23 */
	[0x00] = { cmd_refuse, FOR_BOTH, 0 },
	/* DATA SET MANAGEMENT, ATA8-ACS2 7.10 */
	[0x06] = { cmd_data_set, FOR_DISK | EXT | WRITES | DMA, IDE_OP_TRIM_LIST },
	/* RECALIBRATE, ATA-3 */
	[0x10 ... 0x1f] = { cmd_nothing, FOR_DISK, 0 },
	/* READ SECTORS, 6.35 */
	[0x20 ... 0x21] = { cmd_transfer, FOR_DISK, IDE_OP_READ },
	/* READ SECTORS EXT, 6.36 */
	[0x24] = { cmd_transfer, FOR_DISK | EXT, IDE_OP_READ },
	/* READ DMA EXT, 6.27 */
	[0x25] = { cmd_transfer, FOR_DISK | EXT | DMA, IDE_OP_READ_DMA },
	/* READ NATIVE MAX ADDRESS EXT, 6.34 */
	[0x27] = { cmd_native_max, FOR_DISK | EXT, 0 },
	/* READ MULTIPLE EXT, 6.32 */
	[0x29] = { cmd_transfer, FOR_DISK | EXT | MULTIPLE, IDE_OP_READ },
	/* WRITE SECTORS, 6.67 */
	[0x30 ... 0x31] = { cmd_transfer, FOR_DISK | WRITES, IDE_OP_WRITE },
	/* WRITE SECTORS EXT, 6.68 */
	[0x34] = { cmd_transfer, FOR_DISK | EXT | WRITES, IDE_OP_WRITE },
	/* WRITE DMA EXT, 6.58 */
	[0x35] = { cmd_transfer, FOR_DISK | EXT | WRITES | DMA, IDE_OP_WRITE_DMA },
	/* WRITE MULTIPLE EXT, 6.65 */
	[0x39] = { cmd_transfer, FOR_DISK | EXT | WRITES | MULTIPLE, IDE_OP_WRITE },
	/* READ VERIFY SECTORS, 6.39 */
	[0x40 ... 0x41] = { cmd_transfer, FOR_DISK, IDE_OP_VERIFY },
	/* READ VERIFY SECTORS EXT, 6.40 */
	[0x42] = { cmd_transfer, FOR_DISK | EXT, IDE_OP_VERIFY },
	/* SEEK, ATA-6 */
	[0x70 ... 0x7f] = { cmd_seek, FOR_DISK, 0 },
	/* INITIALIZE DEVICE PARAMETERS, ATA-5 */
	[0x91] = { cmd_init_parameters, FOR_DISK, 0 },
	/* STANDBY IMMEDIATE, ATA-3 */
	[0x94] = { cmd_standby, FOR_BOTH, 0 },
	/* IDLE IMMEDIATE, ATA-3 */
	[0x95] = { cmd_idle, FOR_BOTH, 0 },
	/* STANDBY, ATA-3 */
	[0x96] = { cmd_standby, FOR_DISK, 0 },
	/* IDLE, ATA-3 */
	[0x97] = { cmd_idle, FOR_DISK, 0 },
	/* CHECK POWER MODE, ATA-3 */
	[0x98] = { cmd_check_power, FOR_BOTH, 0 },
	/* SLEEP, ATA-3 */
	[0x99] = { cmd_sleep, FOR_BOTH, 0 },
	/* PACKET, 6.24 */
	[0xa0] = { cmd_packet, FOR_CDROM, 0 },
	/* IDENTIFY PACKET DEVICE, 6.17 */
	[0xa1] = { cmd_identify, FOR_CDROM, IDE_OP_DATA },
	/* READ MULTIPLE, 6.31 */
	[0xc4] = { cmd_transfer, FOR_DISK | MULTIPLE, IDE_OP_READ },
	/* WRITE MULTIPLE, 6.64 */
	[0xc5] = { cmd_transfer, FOR_DISK | WRITES | MULTIPLE, IDE_OP_WRITE },
	/* SET MULTIPLE MODE, 6.51 */
	[0xc6] = { cmd_set_multiple, FOR_DISK, 0 },
	/* READ DMA, 6.26 */
	[0xc8 ... 0xc9] = { cmd_transfer, FOR_DISK | DMA, IDE_OP_READ_DMA },
	/* WRITE DMA, 6.57 */
	[0xca ... 0xcb] = { cmd_transfer, FOR_DISK | WRITES | DMA, IDE_OP_WRITE_DMA },
	/* STANDBY IMMEDIATE, 6.55 */
	[0xe0] = { cmd_standby, FOR_BOTH, 0 },
	/* IDLE IMMEDIATE, 6.19 */
	[0xe1] = { cmd_idle, FOR_BOTH, 0 },
	/* STANDBY, 6.54 */
	[0xe2] = { cmd_standby, FOR_DISK, 0 },
	/* IDLE, 6.18 */
	[0xe3] = { cmd_idle, FOR_DISK, 0 },
	/* CHECK POWER MODE, 6.7 */
	[0xe5] = { cmd_check_power, FOR_BOTH, 0 },
	/* SLEEP, 6.52 */
	[0xe6] = { cmd_sleep, FOR_BOTH, 0 },
	/* FLUSH CACHE, 6.13 */
	[0xe7] = { cmd_flush, FOR_DISK, IDE_OP_FLUSH },
	/* FLUSH CACHE EXT, 6.14 */
	[0xea] = { cmd_flush, FOR_DISK | EXT, IDE_OP_FLUSH },
	/* IDENTIFY DEVICE, 6.16 */
	[0xec] = { cmd_identify, FOR_DISK, IDE_OP_DATA },
	/* SET FEATURES, 6.48 */
	[0xef] = { cmd_set_features, FOR_BOTH, 0 },
	/* READ NATIVE MAX ADDRESS, 6.33 */
	[0xf8] = { cmd_native_max, FOR_DISK, 0 },
};

#define CMD_READ_SECTORS 0x20
#define CMD_DIAGNOSTIC 0x90
#define CMD_IDENTIFY_DEVICE 0xec

/* Both drives do it, whichever is selected; the first of them reports. */
static void diagnose(struct ide_channel *ch)
{
	unsigned first = ch->drives[0].present ? 0 : 1;

	if (!ch->drives[first].present)
		return;
	ch->s.device = 0;
	for (unsigned unit = 0; unit < IDE_NR_DRIVES; unit++) {
		struct ide_drive_state *d = &ch->s.drives[unit];

		ide_signature(ch, unit);
		d->error = ATA_DIAGNOSTIC_PASSED;
		d->status = ch->drives[unit].cdrom ? 0 : ATA_STATUS_DRDY | ATA_STATUS_DSC;
		d->intrq = 0;
	}
	ide_line_update(ch);
	ide_raise(ch, first);
}

void ide_command(struct ide_channel *ch, unsigned unit, uint8_t opcode)
{
	struct ide_drive_state *d = &ch->s.drives[unit];
	const struct ata_command *c = &commands[opcode];
	bool cdrom = ch->drives[unit].cdrom;

	if (opcode == CMD_DIAGNOSTIC) {
		ide_abandon(ch);
		diagnose(ch);
		return;
	}
	if (!ch->drives[unit].present || d->power == IDE_POWER_SLEEP)
		return;
	ide_abandon(ch);
	ch->s.unit = (uint8_t)unit;
	d->status = ATA_STATUS_DRDY | ATA_STATUS_DSC;
	d->error = 0;
	d->intrq = 0;
	ide_line_update(ch);
	if (c->fn && (c->flags & (cdrom ? FOR_CDROM : FOR_DISK))) {
		c->fn(ch, unit, c);
		return;
	}
	/* How a host that looks for a disk learns that it is none (6.16, 6.35). */
	if (cdrom && (opcode == CMD_IDENTIFY_DEVICE || opcode == CMD_READ_SECTORS))
		ide_signature(ch, unit);
	refuse(ch);
}
