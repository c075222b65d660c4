/* SPDX-License-Identifier: MIT */
#include "devices/ide/ata.h"

static unsigned selected(const struct ide_channel *ch)
{
	return !!(ch->s.device & ATA_DEVICE_DEV);
}

/* Who answers reads: a drive that is alone does so for the other as well. */
static unsigned responder(const struct ide_channel *ch)
{
	unsigned unit = selected(ch);

	return ch->drives[unit].present ? unit : !unit;
}

/* A drive that is busy keeps the channel: nothing but a reset gets through. */
static bool blocked(const struct ide_channel *ch)
{
	return ch->reset || ch->s.phase == IDE_IO || ch->s.phase == IDE_DMA_WAIT;
}

static uint8_t status(const struct ide_channel *ch, unsigned unit)
{
	const struct ide_channel_state *s = &ch->s;
	bool concerned = ch->reset == IDE_RESET_SOFT || s->unit == unit;

	if (!ch->drives[unit].present)
		return 0;
	if (concerned && blocked(ch))
		return ATA_STATUS_BSY;
	if (concerned && s->phase != IDE_IDLE)
		return s->drives[unit].status | ATA_STATUS_DRQ;
	return s->drives[unit].status;
}

/* --- the interrupt ------------------------------------------------------------- */

void ide_line_update(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;
	unsigned unit = responder(ch);
	bool level = s->drives[unit].intrq && !(s->control & ATA_CONTROL_NIEN);

	if (level == s->line)
		return;
	s->line = level;
	if (level)
		s->bm.status |= BM_STATUS_INTERRUPT; /* at its rising edge (BMISX) */
	irq_set(&ch->irq, level);
}

void ide_raise(struct ide_channel *ch, unsigned unit)
{
	ch->s.drives[unit].intrq = 1;
	ide_line_update(ch);
}

static void lower(struct ide_channel *ch, unsigned unit)
{
	ch->s.drives[unit].intrq = 0;
	ide_line_update(ch);
}

/* --- the end of a command -------------------------------------------------------- */

void ide_abandon(struct ide_channel *ch)
{
	ch->s.phase = IDE_IDLE;
	ch->s.op = IDE_OP_NONE;
	ch->s.pos = ch->s.end = ch->s.len = 0;
}

static void finish(struct ide_channel *ch, uint8_t status_bits, uint8_t error)
{
	struct ide_drive_state *d = &ch->s.drives[ch->s.unit];

	if (ide_op_is_packet(ch->s.op))
		d->tf[0][TF_COUNT] = ATAPI_REASON_CD | ATAPI_REASON_IO;
	ide_abandon(ch);
	d->status = ATA_STATUS_DRDY | ATA_STATUS_DSC | status_bits;
	d->error = error;
	bmdma_drive_done(&ch->s.bm);
	ide_raise(ch, ch->s.unit);
}

void ide_complete(struct ide_channel *ch)
{
	finish(ch, 0, 0);
}

void ide_fail(struct ide_channel *ch, uint8_t error, uint8_t status_bits)
{
	finish(ch, status_bits | ATA_STATUS_ERR, error);
}

/* --- resets ------------------------------------------------------------------------ */

/* What a reset leaves in the registers says what the drive is. */
void ide_signature(struct ide_channel *ch, unsigned unit)
{
	struct ide_drive_state *d = &ch->s.drives[unit];
	bool cdrom = ch->drives[unit].cdrom;

	for (unsigned i = 0; i < TF_NR; i++)
		d->tf[0][i] = d->tf[1][i] = 0;
	d->tf[0][TF_COUNT] = 1;
	d->tf[0][TF_LBA_LOW] = 1;
	d->tf[0][TF_LBA_MID] = cdrom ? ATAPI_SIGNATURE_MID : 0;
	d->tf[0][TF_LBA_HIGH] = cdrom ? ATAPI_SIGNATURE_HIGH : 0;
}

static void reset_drive(struct ide_channel *ch, unsigned unit)
{
	struct ide_drive_state *d = &ch->s.drives[unit];

	ide_signature(ch, unit);
	d->error = ATA_DIAGNOSTIC_PASSED;
	/* A packet drive shows DRDY with its first command. */
	d->status = ch->drives[unit].cdrom ? 0 : ATA_STATUS_DRDY | ATA_STATUS_DSC;
	d->power = ATA_POWER_ACTIVE;
	lower(ch, unit);
}

void ide_power_on(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	s->bm = (struct bmdma_state){ 0 };
	s->control = 0;
	s->device = 0;
	s->unit = s->ext = s->careful = 0;
	s->block = 0;
	s->offset = s->left = 0;
	ch->reset = IDE_RESET_NONE;
	ide_abandon(ch);
	for (unsigned unit = 0; unit < IDE_NR_DRIVES; unit++) {
		reset_drive(ch, unit);
		ide_default_settings(ch, unit);
		s->drives[unit].mode = ATA_MODE_PIO_DEFAULT;
		atapi_power_on(&s->drives[unit].atapi);
	}
	for (unsigned i = 0; i < IDE_BUFFER; i++)
		s->buf[i] = 0;
}

static void soft_reset(struct ide_channel *ch)
{
	ch->s.device = 0;
	for (unsigned unit = 0; unit < IDE_NR_DRIVES; unit++) {
		reset_drive(ch, unit);
		if (ch->drives[unit].cdrom)
			atapi_reset(&ch->s.drives[unit].atapi);
		if (!(ch->s.drives[unit].settings & IDE_KEEP_SETTINGS))
			ide_default_settings(ch, unit);
	}
}

void ide_reset_progress(struct ide_channel *ch)
{
	enum ide_reset reset = ch->reset;

	if (!reset || ch->busy)
		return;
	ide_abandon(ch);
	if (ch->s.control & ATA_CONTROL_SRST)
		return; /* goes on when the guest lets go */
	ch->reset = IDE_RESET_NONE;
	if (reset == IDE_RESET_SOFT) {
		soft_reset(ch);
	} else {
		reset_drive(ch, ch->s.unit);
		atapi_reset(&ch->s.drives[ch->s.unit].atapi);
	}
}

/* DEVICE RESET (6.10) is taken by a packet drive whatever it is doing. */
static void device_reset_write(struct ide_channel *ch)
{
	unsigned unit = selected(ch);

	if (!ch->drives[unit].cdrom || ch->reset || (blocked(ch) && ch->s.unit != unit))
		return;
	ch->s.unit = (uint8_t)unit;
	ch->reset = IDE_RESET_DEVICE;
	ide_reset_progress(ch);
}

/* --- the command block ------------------------------------------------------------- */

static void command_write(struct ide_channel *ch, uint8_t opcode)
{
	unsigned unit = selected(ch);
	bool mine = ch->s.unit == unit && ch->s.phase != IDE_IDLE;

	if (opcode == ATA_CMD_DEVICE_RESET && ch->drives[unit].cdrom) {
		device_reset_write(ch);
		return;
	}
	/* With DRQ up a command is a mistake; another drive's takes the channel away. */
	if (blocked(ch) || mine)
		return;
	ide_command(ch, unit, opcode);
}

static void reg_write(struct ide_channel *ch, unsigned reg, uint8_t v)
{
	if (reg == ATA_COMMAND) {
		ch->s.control &= (uint8_t)~ATA_CONTROL_HOB;
		command_write(ch, v);
		return;
	}
	if (blocked(ch))
		return;
	ch->s.control &= (uint8_t)~ATA_CONTROL_HOB;
	if (reg == ATA_DEVICE) {
		ch->s.device = v;
		ide_line_update(ch);
		return;
	}
	for (unsigned unit = 0; unit < IDE_NR_DRIVES; unit++) {
		struct ide_drive_state *d = &ch->s.drives[unit];

		d->tf[1][TF_REG(reg)] = d->tf[0][TF_REG(reg)];
		d->tf[0][TF_REG(reg)] = v;
	}
}

static uint8_t reg_read(struct ide_channel *ch, unsigned reg)
{
	const struct ide_drive_state *d = &ch->s.drives[responder(ch)];
	uint8_t v;

	switch (reg) {
	case ATA_ERROR:
		return d->error;
	case ATA_DEVICE:
		return ch->s.device;
	case ATA_STATUS:
		v = status(ch, selected(ch));
		lower(ch, selected(ch));
		return v;
	default:
		return d->tf[!!(ch->s.control & ATA_CONTROL_HOB)][TF_REG(reg)];
	}
}

static uint64_t command_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct ide_channel *ch = to_channel(dev);
	uint8_t bytes[4] = { 0 };

	if (!ch->decoded)
		return width_mask(width);
	if (offset == ATA_DATA)
		ide_data_read(ch, bytes, width, width);
	for (unsigned i = 0; i < width && offset; i++)
		bytes[i] = reg_read(ch, (unsigned)offset + i);
	return load_le(bytes, width);
}

static void command_block_write(struct device *dev, uint64_t offset, unsigned width, uint64_t v)
{
	struct ide_channel *ch = to_channel(dev);
	uint8_t bytes[4];

	if (!ch->decoded)
		return;
	store_le(bytes, width, v);
	if (offset == ATA_DATA)
		ide_data_write(ch, bytes, width, width);
	for (unsigned i = 0; i < width && offset; i++)
		reg_write(ch, (unsigned)offset + i, bytes[i]);
}

static void command_read_rep(struct device *dev, uint64_t offset, unsigned width, void *buf,
			     unsigned count)
{
	struct ide_channel *ch = to_channel(dev);
	uint8_t *p = buf;

	if (offset == ATA_DATA && ch->decoded) {
		ide_data_read(ch, p, (size_t)width * count, width);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		store_le(p + (size_t)i * width, width, command_read(dev, offset, width));
}

static void command_write_rep(struct device *dev, uint64_t offset, unsigned width, const void *buf,
			      unsigned count)
{
	struct ide_channel *ch = to_channel(dev);
	const uint8_t *p = buf;

	if (offset == ATA_DATA && ch->decoded) {
		ide_data_write(ch, p, (size_t)width * count, width);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		command_block_write(dev, offset, width, load_le(p + (size_t)i * width, width));
}

static const char *command_name(const struct device *dev, uint64_t offset, bool write)
{
	static const struct {
		const char *read, *write;
	} names[ATA_NR_REGS] = {
		[ATA_DATA] = { "data", "data" },
		[ATA_ERROR] = { "error", "features" },
		[ATA_COUNT] = { "sector-count", "sector-count" },
		[ATA_LBA_LOW] = { "lba-low", "lba-low" },
		[ATA_LBA_MID] = { "lba-mid", "lba-mid" },
		[ATA_LBA_HIGH] = { "lba-high", "lba-high" },
		[ATA_DEVICE] = { "device", "device" },
		[ATA_STATUS] = { "status", "command" },
	};

	(void)dev;
	return write ? names[offset].write : names[offset].read;
}

/*
 * The registers that only a command looks at. Of two drives the one that is selected has the
 * interrupt line, so that a selection may show at once.
 */
static bool command_posted(const struct device *dev, uint64_t offset)
{
	const struct ide_channel *ch = container_of(dev, const struct ide_channel, dev);

	if (offset == ATA_DEVICE)
		return !ch->drives[0].present || !ch->drives[1].present;
	return offset >= ATA_FEATURES && offset <= ATA_LBA_HIGH;
}

const struct bus_ops ide_command_bus_ops = {
	.max_width = 4,
	.read = command_read,
	.write = command_block_write,
	.read_rep = command_read_rep,
	.write_rep = command_write_rep,
	.reg_name = command_name,
	.posted = command_posted,
};

/* --- the control block: alternate status, device control ---------------------------- */

static uint64_t control_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct ide_channel *ch = to_channel(dev);

	(void)offset;
	return ch->decoded ? status(ch, selected(ch)) : width_mask(width);
}

static void control_write(struct device *dev, uint64_t offset, unsigned width, uint64_t v)
{
	struct ide_channel *ch = to_channel(dev);

	(void)offset;
	(void)width;
	if (!ch->decoded)
		return;
	ch->s.control = v & (ATA_CONTROL_NIEN | ATA_CONTROL_SRST | ATA_CONTROL_HOB);
	if (ch->s.control & ATA_CONTROL_SRST)
		ch->reset = IDE_RESET_SOFT;
	ide_reset_progress(ch);
	ide_line_update(ch);
}

static const char *control_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	(void)offset;
	return write ? "control" : "altstatus";
}

const struct bus_ops ide_control_bus_ops = {
	.max_width = 1,
	.read = control_read,
	.write = control_write,
	.reg_name = control_name,
};

/* --- the bus master's ports ---------------------------------------------------------- */

static uint64_t bm_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct ide_channel *ch = to_channel(dev);
	uint8_t bytes[4];

	for (unsigned i = 0; i < width; i++)
		bytes[i] = bmdma_read(&ch->s.bm, (unsigned)offset + i);
	return load_le(bytes, width);
}

static void bm_write(struct device *dev, uint64_t offset, unsigned width, uint64_t v)
{
	struct ide_channel *ch = to_channel(dev);
	bool started = false;

	/* From the top: a wide write that clears status bits and starts does it in this order. */
	for (unsigned i = width; i-- > 0;)
		started |= bmdma_write(&ch->s.bm, (unsigned)offset + i, (uint8_t)(v >> i * 8));
	if (started)
		ide_dma_poll(ch);
	else if (!ch->busy)
		bmdma_stopped(&ch->s.bm, BMDMA_MORE);
}

static const char *bm_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	(void)write;
	if (offset >= BM_TABLE)
		return "bm-prd";
	if (offset == BM_COMMAND)
		return "bm-command";
	return offset == BM_STATUS ? "bm-status" : NULL;
}

/* All but the register that starts and stops it; the I/O thread syncs before it looks. */
static bool bm_posted(const struct device *dev, uint64_t offset)
{
	(void)dev;
	return offset == BM_STATUS || offset >= BM_TABLE;
}

const struct bus_ops ide_bmdma_bus_ops = {
	.max_width = 4,
	.read = bm_read,
	.write = bm_write,
	.reg_name = bm_name,
	.posted = bm_posted,
};
