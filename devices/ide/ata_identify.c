/* SPDX-License-Identifier: MIT */
/*
 * IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ATA/ATAPI-7 volume 1, 6.16 and 6.17; of TRIM,
 * ATA8-ACS2 7.16).
 */
#include <string.h>

#include "devices/ide/ata.h"

#define WORDS 256
#define MODEL "bantam disk"
#define FIRMWARE_REVISION "1.0"

/* Words 82 .. 87: what there is and what of it is on */
#define W82_NOP 0x4000
#define W82_LOOK_AHEAD 0x0040
#define W82_WRITE_CACHE 0x0020
#define W82_POWER 0x0008
#define W83_FLUSH_EXT 0x2000
#define W83_FLUSH 0x1000
#define W83_LBA48 0x0400
#define VALID 0x4000 /* in words 83, 84, 87, 93 */

/* Two characters a word, the first one in the high byte, padded with blanks. */
static void put_string(uint16_t *w, unsigned nr_words, const char *text)
{
	size_t len = strlen(text);

	for (unsigned i = 0; i < nr_words; i++) {
		char a = 2 * i < len ? text[2 * i] : ' ';
		char b = 2 * i + 1 < len ? text[2 * i + 1] : ' ';

		w[i] = (uint16_t)((uint8_t)a << 8 | (uint8_t)b);
	}
}

static void put_number(uint16_t *w, unsigned nr_words, uint64_t v)
{
	for (unsigned i = 0; i < nr_words; i++)
		w[i] = (uint16_t)(v >> 16 * i);
}

/* Words 63 and 88: the modes there are, and the one that is selected. */
static void put_dma_modes(const struct ide_channel *ch, unsigned unit, uint16_t *w)
{
	const unsigned all = (1u << (ATA_DMA_MAX + 1)) - 1;
	uint8_t mode = ch->s.drives[unit].mode;
	uint16_t active = (uint16_t)(0x100u << (mode & ATA_MODE_NUMBER));

	w[63] = (uint16_t)all;
	if ((mode & ~ATA_MODE_NUMBER) == ATA_MODE_MWDMA)
		w[63] |= active;
	if (!ch->udma)
		return;
	w[88] = (uint16_t)all;
	if ((mode & ~ATA_MODE_NUMBER) == ATA_MODE_UDMA)
		w[88] |= active;
}

/* Word 93, what the drive found at power-on: a 40-wire cable, itself by jumper, the other. */
static uint16_t power_on_result(const struct ide_channel *ch, unsigned unit)
{
	if (unit)
		return VALID | 0x0b00;
	return ch->drives[1].present ? VALID | 0x003b : VALID | 0x000b;
}

static void put_geometry(const struct ide_channel *ch, unsigned unit, uint16_t *w)
{
	const struct ide_drive_state *d = &ch->s.drives[unit];
	uint64_t sectors = ch->drives[unit].sectors;
	struct ide_geometry g = ide_geometry(sectors);

	w[1] = g.cylinders;
	w[3] = g.heads;
	w[6] = g.sectors;
	w[54] = d->cylinders;
	w[55] = d->heads;
	w[56] = d->sectors;
	put_number(&w[57], 2, (uint64_t)d->cylinders * d->heads * d->sectors);
	put_number(&w[60], 2, min_u64(sectors, ATA_LBA28_SECTORS));
	put_number(&w[100], 4, sectors);
}

static void identify_disk(const struct ide_channel *ch, unsigned unit, uint16_t *w)
{
	const struct ide_drive_state *d = &ch->s.drives[unit];

	w[0] = 0x0040; /* fixed */
	put_string(&w[10], 10, ch->drives[unit].serial);
	put_string(&w[23], 4, FIRMWARE_REVISION);
	put_string(&w[27], 20, MODEL);
	w[47] = 0x8000 | IDE_MAX_MULTIPLE;
	w[49] = 0x2b00; /* standard standby timer, IORDY, LBA, DMA */
	w[50] = VALID;
	w[51] = 0x0200; /* PIO mode 2 for those who do not read word 64 */
	w[53] = 0x0007; /* words 54-58, 64-70 and 88 mean something */
	put_geometry(ch, unit, w);
	w[59] = d->multiple ? 0x0100 | d->multiple : 0;
	w[64] = 0x0003; /* PIO modes 3 and 4 */
	for (unsigned i = 65; i <= 68; i++)
		w[i] = 120; /* ns a cycle, of DMA and of PIO */
	w[80] = 0x00f0; /* ATA/ATAPI-4 to -7 */
	w[82] = W82_NOP | W82_LOOK_AHEAD | W82_WRITE_CACHE | W82_POWER;
	w[83] = VALID | W83_FLUSH_EXT | W83_FLUSH | W83_LBA48;
	w[84] = VALID;
	w[85] = W82_NOP | W82_POWER;
	w[85] |= d->settings & IDE_LOOK_AHEAD ? W82_LOOK_AHEAD : 0;
	w[85] |= d->settings & IDE_WRITE_CACHE ? W82_WRITE_CACHE : 0;
	w[86] = W83_FLUSH_EXT | W83_FLUSH | W83_LBA48;
	w[87] = VALID;
	w[93] = power_on_result(ch, unit);
	/* What a discarded sector reads is not promised: word 69 says nothing. */
	if (ch->drives[unit].block->limits.discard_align) {
		w[105] = IDE_TRIM_MAX;
		w[169] = 0x0001;
	}
}

void ide_identify(struct ide_channel *ch, unsigned unit)
{
	uint16_t w[WORDS] = { 0 };
	uint8_t sum = 0;

	if (ch->drives[unit].cdrom)
		atapi_identify(ch->drives[unit].serial, w);
	else
		identify_disk(ch, unit, w);
	put_dma_modes(ch, unit, w);
	/* Word 255: the integrity word, which makes all the bytes' sum 0. */
	w[255] = 0x00a5;
	for (unsigned i = 0; i < WORDS; i++)
		sum += (uint8_t)(w[i] + (w[i] >> 8));
	w[255] |= (uint16_t)((uint8_t)-sum << 8);
	memcpy(ch->s.buf, w, sizeof(w));
}
