/* SPDX-License-Identifier: MIT */
/*
 * PACKET (ATA/ATAPI-7 volume 1, 6.24): the registers around a packet. What the
 * packets mean is atapi.c's.
 */
#include <string.h>

#include "devices/ide/ata.h"

static struct atapi_medium medium(const struct ide_drive *drive)
{
	struct atapi_medium m = { .present = drive->block };

	if (m.present)
		m.blocks = (uint32_t)min_u64(drive->block->size / ATAPI_BLOCK_SIZE, UINT32_MAX);
	return m;
}

/* Bytes of a data block: an even number, which the guest's limit may be not. */
static uint16_t block_size(const struct ide_drive_state *d)
{
	unsigned limit = d->tf[0][TF_LBA_MID] | d->tf[0][TF_LBA_HIGH] << 8;

	if (!limit)
		return ATAPI_BYTE_COUNT_MAX;
	return limit == 1 ? 2 : (uint16_t)(limit & ~1u);
}

void ide_packet_begin(struct ide_channel *ch, unsigned unit)
{
	struct ide_channel_state *s = &ch->s;
	struct ide_drive_state *d = &s->drives[unit];
	uint8_t features = d->tf[0][TF_FEATURES];

	s->op = features & ATA_PACKET_DMA ? IDE_OP_PACKET_DMA : IDE_OP_PACKET;
	if (features & ATA_PACKET_OVERLAP) {
		ide_fail(ch, ATA_ERROR_ABRT, 0);
		return;
	}
	s->block = block_size(d);
	s->careful = 0;
	s->ext = 0;
	s->offset = s->left = 0;
	s->pos = 0;
	s->end = s->len = ATAPI_PACKET_SIZE;
	s->phase = IDE_PACKET;
	d->tf[0][TF_COUNT] = ATAPI_REASON_CD;
}

static void data_in(struct ide_channel *ch, uint32_t len)
{
	struct ide_channel_state *s = &ch->s;

	s->pos = s->end = 0;
	s->len = len;
	if (s->op == IDE_OP_PACKET) {
		ide_pio_in_block(ch);
		return;
	}
	s->op = IDE_OP_PACKET_DATA_DMA;
	s->end = len;
	ide_dma_begin(ch);
}

void ide_packet_received(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;
	const struct ide_drive *drive = &ch->drives[s->unit];
	struct atapi_state *a = &s->drives[s->unit].atapi;
	struct atapi_medium m = medium(drive);
	uint8_t packet[ATAPI_PACKET_SIZE];
	struct atapi_reply reply = { 0 };

	memcpy(packet, s->buf, sizeof(packet));
	atapi_command(&m, a, packet, s->buf, &reply);
	switch (reply.phase) {
	case ATAPI_NO_DATA:
		ide_complete(ch);
		break;
	case ATAPI_DATA_IN:
		data_in(ch, reply.len);
		break;
	case ATAPI_READ:
		s->offset = (uint64_t)reply.lba * ATAPI_BLOCK_SIZE;
		s->left = (uint64_t)reply.blocks * ATAPI_BLOCK_SIZE;
		if (s->op == IDE_OP_PACKET)
			ide_io_begin(ch);
		else
			ide_dma_begin(ch);
		break;
	case ATAPI_FAILED:
		ide_fail(ch, atapi_error(a), 0);
		break;
	}
}

void ide_packet_data_block(struct ide_channel *ch)
{
	struct ide_drive_state *d = &ch->s.drives[ch->s.unit];
	uint32_t n = ch->s.end - ch->s.pos;

	d->tf[0][TF_COUNT] = ATAPI_REASON_IO;
	d->tf[0][TF_LBA_MID] = (uint8_t)n;
	d->tf[0][TF_LBA_HIGH] = (uint8_t)(n >> 8);
}

void ide_packet_failed(struct ide_channel *ch)
{
	struct atapi_state *a = &ch->s.drives[ch->s.unit].atapi;

	atapi_read_failed(a);
	ide_fail(ch, atapi_error(a), 0);
}
