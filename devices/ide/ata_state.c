/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "devices/ide/ata.h"

#define STATUS_BITS (ATA_STATUS_DRDY | ATA_STATUS_DF | ATA_STATUS_DSC | ATA_STATUS_ERR)
#define CONTROL_BITS (ATA_CONTROL_NIEN | ATA_CONTROL_SRST | ATA_CONTROL_HOB)

#define S struct ide_channel_state

#define DRIVE_FIELDS(n)                                                                            \
	STATE_BYTES(S, drives[n].tf), STATE_U(S, drives[n].error),                                 \
		STATE_U_MAX(S, drives[n].status, STATUS_BITS), STATE_U_MAX(S, drives[n].intrq, 1), \
		STATE_U_MAX(S, drives[n].settings, IDE_SETTINGS),                                  \
		STATE_U_MAX(S, drives[n].multiple, IDE_MAX_MULTIPLE), STATE_U(S, drives[n].mode),  \
		STATE_U(S, drives[n].power), STATE_U_MAX(S, drives[n].heads, IDE_MAX_HEADS),       \
		STATE_U(S, drives[n].sectors), STATE_U(S, drives[n].cylinders),                    \
		ATAPI_STATE_FIELDS(S, drives[n].atapi)

static const struct state_field fields[] = {
	DRIVE_FIELDS(0),
	DRIVE_FIELDS(1),
	BMDMA_STATE_FIELDS(S, bm),
	STATE_U(S, device),
	STATE_U_MAX(S, control, CONTROL_BITS),
	STATE_U_MAX(S, line, 1),
	STATE_U_MAX(S, phase, IDE_NR_PHASES - 1),
	STATE_U_MAX(S, unit, IDE_NR_DRIVES - 1),
	STATE_U_MAX(S, op, IDE_NR_OPS - 1),
	STATE_U_MAX(S, ext, 1),
	STATE_U_MAX(S, careful, 1),
	STATE_U(S, block),
	STATE_U(S, offset),
	STATE_U(S, left),
	STATE_U_MAX(S, pos, IDE_BUFFER),
	STATE_U_MAX(S, end, IDE_BUFFER),
	STATE_U_MAX(S, len, IDE_BUFFER),
	STATE_BYTES(S, buf),
};

const struct state_desc ide_channel_state_desc = {
	.version = 1,
	.fields = fields,
	.nr_fields = ARRAY_SIZE(fields),
};

static bool drive_valid(const struct ide_channel *ch, unsigned unit)
{
	const struct ide_drive_state *d = &ch->s.drives[unit];

	return !(d->status & ~STATUS_BITS) && (!d->multiple || is_pow2(d->multiple)) &&
	       ide_mode_valid(ch, d->mode) && d->heads && d->sectors && d->cylinders;
}

/* What a command may be in which phase, and what it needs there. */
#define PHASE(p) (1u << IDE_##p)

static const struct {
	uint8_t phases;
	bool left; /* while it waits for the host there is something to wait for */
	bool writes;
} rules[IDE_NR_OPS] = {
	[IDE_OP_DATA] = { PHASE(PIO_IN), false, false },
	[IDE_OP_READ] = { PHASE(PIO_IN) | PHASE(IO), true, false },
	[IDE_OP_WRITE] = { PHASE(PIO_OUT) | PHASE(IO), true, true },
	[IDE_OP_READ_DMA] = { PHASE(DMA_WAIT) | PHASE(IO), true, false },
	[IDE_OP_WRITE_DMA] = { PHASE(DMA_WAIT) | PHASE(IO), true, true },
	[IDE_OP_VERIFY] = { PHASE(IO), true, false },
	[IDE_OP_FLUSH] = { PHASE(IO), false, false },
	[IDE_OP_TRIM_LIST] = { PHASE(DMA_WAIT) | PHASE(IO), false, true },
	[IDE_OP_TRIM] = { PHASE(IO), false, true },
	[IDE_OP_PACKET] = { PHASE(PACKET) | PHASE(PIO_IN) | PHASE(IO), true, false },
	[IDE_OP_PACKET_DMA] = { PHASE(PACKET) | PHASE(DMA_WAIT) | PHASE(IO), true, false },
	[IDE_OP_PACKET_DATA_DMA] = { PHASE(DMA_WAIT) | PHASE(IO), false, false },
};

static bool block_valid(const struct ide_channel_state *s)
{
	switch (s->op) {
	case IDE_OP_READ:
	case IDE_OP_WRITE:
	case IDE_OP_VERIFY:
	case IDE_OP_DATA:
		return s->block && s->block % BLOCK_SECTOR == 0 &&
		       s->block <= IDE_MAX_MULTIPLE * BLOCK_SECTOR;
	case IDE_OP_PACKET:
		return s->block && s->block % 2 == 0;
	default:
		return true;
	}
}

/* What is left lies on the disk. */
static bool range_valid(const struct ide_channel_state *s, const struct ide_drive *drive)
{
	uint64_t size = drive->block ? drive->block->size : 0;

	return s->offset % BLOCK_SECTOR == 0 && s->left % BLOCK_SECTOR == 0 && s->left <= size &&
	       s->offset <= size - s->left;
}

static bool buffer_valid(const struct ide_channel_state *s)
{
	bool drq = s->phase == IDE_PIO_IN || s->phase == IDE_PIO_OUT || s->phase == IDE_PACKET;

	if (s->pos > s->end || s->end > s->len || s->len > IDE_BUFFER)
		return false;
	if (drq && s->pos == s->end)
		return false;
	if (s->phase == IDE_PACKET)
		return s->end == ATAPI_PACKET_SIZE && s->len == s->end;
	if (s->op == IDE_OP_TRIM_LIST || s->op == IDE_OP_TRIM)
		return s->end == s->len && s->len % BLOCK_SECTOR == 0 &&
		       (s->op == IDE_OP_TRIM_LIST || s->pos % ATA_TRIM_ENTRY_SIZE == 0);
	if (s->op == IDE_OP_WRITE)
		return s->end == s->len && s->end && s->end % BLOCK_SECTOR == 0 &&
		       s->end <= s->left && (drq || s->pos == s->end);
	return true;
}

static bool command_valid(const struct ide_channel *ch)
{
	const struct ide_channel_state *s = &ch->s;
	const struct ide_drive *drive = &ch->drives[s->unit];
	bool waits = s->phase == IDE_IO || s->phase == IDE_DMA_WAIT;

	if (s->phase == IDE_IDLE)
		return s->op == IDE_OP_NONE;
	if (!drive->present || !(rules[s->op].phases & 1u << s->phase))
		return false;
	if (s->op != IDE_OP_DATA && ide_op_is_packet(s->op) != drive->cdrom)
		return false;
	if (rules[s->op].writes && drive->block->readonly)
		return false;
	if (!range_valid(s, drive) || !buffer_valid(s) || !block_valid(s))
		return false;
	if (waits && rules[s->op].left && !s->left)
		return false;
	return !waits || s->op != IDE_OP_PACKET_DATA_DMA || s->pos < s->len;
}

int ide_post_load(struct device *dev)
{
	struct ide_channel *ch = to_channel(dev);
	struct ide_channel_state *s = &ch->s;
	bool held = s->control & ATA_CONTROL_SRST;

	for (unsigned unit = 0; unit < IDE_NR_DRIVES; unit++)
		if (!drive_valid(ch, unit))
			return -EBADMSG;
	if (!bmdma_state_valid(&s->bm) || s->control & ~CONTROL_BITS || !command_valid(ch) ||
	    (held && s->phase != IDE_IDLE))
		return -EBADMSG;
	ch->reset = held ? IDE_RESET_SOFT : IDE_RESET_NONE;
	irq_set(&ch->irq, s->line);
	ide_line_update(ch);
	ide_io_continue(ch);
	return 0;
}
