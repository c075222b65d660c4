/* SPDX-License-Identifier: MIT */
/* What an ATAPI drive tells of its disc and of itself: replies without a change of state. */
#include <string.h>

#include "devices/ide/atapi_call.h"

/* Minutes, seconds and frames reach to 99:59:74, two seconds of it before block 0. */
#define FRAMES_PER_SECOND 75u
#define MSF_OFFSET 150u
#define CD_MAX_BLOCKS (100 * 60 * FRAMES_PER_SECOND - MSF_OFFSET)

#define PROFILE_NONE 0x0000
#define PROFILE_CD_ROM 0x0008
#define PROFILE_DVD_ROM 0x0010

#define TRACK_LEAD_OUT 0xaa
#define TRACK_DATA 0x14 /* ADR 1: position; control 4: data, copying prohibited */

static uint32_t profile(const struct atapi_call *c)
{
	if (!atapi_ready(c))
		return PROFILE_NONE;
	return c->m->blocks > CD_MAX_BLOCKS ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
}

/* --- what is on the disc: one session with one track ---------------------------------- */

/* An address as READ TOC and READ SUB-CHANNEL have it: 0, minute, second, frame, or a block. */
static void store_address(uint8_t *p, uint32_t lba, bool msf)
{
	uint64_t frames = (uint64_t)lba + MSF_OFFSET;
	uint64_t minutes = frames / FRAMES_PER_SECOND / 60;

	if (!msf) {
		store_be32(p, lba);
		return;
	}
	p[0] = 0;
	p[1] = minutes > 0xff ? 0xff : (uint8_t)minutes;
	p[2] = minutes > 0xff ? 59 : (uint8_t)(frames / FRAMES_PER_SECOND % 60);
	p[3] = minutes > 0xff ? 74 : (uint8_t)(frames % FRAMES_PER_SECOND);
}

static uint32_t toc_entry(uint8_t *p, uint8_t track, uint32_t lba, bool msf)
{
	p[1] = TRACK_DATA;
	p[2] = track;
	store_address(p + 4, lba, msf);
	return 8;
}

/* One of the raw entries in the lead-in: point, and what its PMIN, PSEC and PFRAME say. */
static uint32_t raw_entry(uint8_t *p, uint8_t point, const uint8_t what[3])
{
	p[0] = 1; /* session */
	p[1] = TRACK_DATA;
	p[3] = point;
	memcpy(p + 8, what, 3);
	return 11;
}

static uint32_t raw_toc(const struct atapi_call *c, uint8_t *p)
{
	const uint8_t track_1[3] = { 1 };
	uint8_t end[4], start[4];
	uint32_t len = 0;

	store_address(start, 0, true);
	store_address(end, c->m->blocks, true);
	len += raw_entry(p + len, 0xa0, track_1); /* the first track */
	len += raw_entry(p + len, 0xa1, track_1); /* the last one */
	len += raw_entry(p + len, 0xa2, end + 1); /* the lead-out */
	len += raw_entry(p + len, 1, start + 1);
	return len;
}

void atapi_read_toc(struct atapi_call *c)
{
	/* SFF-8020i has the format in the last byte but two, MMC in the third. */
	unsigned format = c->cdb[2] & 0xf ? c->cdb[2] & 0xf : c->cdb[9] >> 6;
	uint8_t *p = atapi_prepare(c, 64), first = c->cdb[6];
	bool msf = c->cdb[1] & 2;
	uint32_t len = 4;

	p[2] = 1; /* first track, or session */
	p[3] = 1; /* the last one */
	if (format > 2 || (format == 0 && first > 1 && first != TRACK_LEAD_OUT)) {
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	if (format == 2)
		len += raw_toc(c, p + len);
	if (format == 1 || (format == 0 && first <= 1))
		len += toc_entry(p + len, 1, 0, msf);
	if (format == 0)
		len += toc_entry(p + len, TRACK_LEAD_OUT, c->m->blocks, msf);
	store_be16(p, len - 2);
	atapi_answer(c, len, load_be16(c->cdb + 7));
}

void atapi_read_sub_channel(struct atapi_call *c)
{
	uint32_t allocation = load_be16(c->cdb + 7), len;
	bool msf = c->cdb[1] & 2;
	uint8_t *p = atapi_prepare(c, 24);

	p[1] = 0x15; /* no audio status */
	if (!(c->cdb[2] & 0x40)) { /* no Q sub-channel */
		atapi_answer(c, 4, allocation);
		return;
	}
	p[4] = c->cdb[3];
	switch (c->cdb[3]) {
	case 1: /* position: the start of the track, in both forms of address */
		len = 16;
		p[5] = TRACK_DATA;
		p[6] = 1;
		p[7] = 1;
		store_address(p + 8, 0, msf);
		store_address(p + 12, 0, msf);
		break;
	case 2: /* catalogue number: none */
	case 3: /* recording code: none */
		len = 24;
		break;
	default:
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	store_be16(p + 2, len - 4);
	atapi_answer(c, len, allocation);
}

void atapi_read_disc_information(struct atapi_call *c)
{
	uint8_t *p = atapi_prepare(c, 34);

	if (c->cdb[1] & 7) {
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	store_be16(p, 34 - 2);
	p[2] = 0x0e; /* the disc and its last session are complete */
	memset(p + 3, 1, 4); /* tracks and sessions: 1 */
	p[7] = 0x20; /* unrestricted use */
	memset(p + 16, 0xff, 8); /* no session to come, so none's addresses */
	atapi_answer(c, 34, load_be16(c->cdb + 7));
}

void atapi_read_track_information(struct atapi_call *c)
{
	uint32_t which = load_be32(c->cdb + 2);
	unsigned type = c->cdb[1] & 3;
	uint8_t *p = atapi_prepare(c, 36);

	/* By block, by track, by session. */
	if (type == 3 || (type ? which != 1 : which >= c->m->blocks)) {
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	store_be16(p, 36 - 2);
	p[2] = 1; /* track */
	p[3] = 1; /* session */
	p[5] = TRACK_DATA & 0xf;
	p[6] = 1; /* data mode 1 */
	store_be32(p + 24, c->m->blocks);
	atapi_answer(c, 36, load_be16(c->cdb + 7));
}

void atapi_read_dvd_structure(struct atapi_call *c)
{
	uint32_t allocation = load_be16(c->cdb + 8), len;
	uint8_t *p = atapi_prepare(c, ATAPI_MAX_DATA);

	if (profile(c) != PROFILE_DVD_ROM) {
		atapi_refuse(c, ASC_INCOMPATIBLE_FORMAT);
		return;
	}
	if (c->cdb[6] || c->cdb[7] > 1) { /* a second layer; what else there may be */
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	len = c->cdb[7] ? 8 : ATAPI_MAX_DATA;
	store_be16(p, len - 2);
	if (!c->cdb[7]) { /* physical format; the copyright has no protection and all regions */
		p[4] = 0x01; /* DVD-ROM, version 1 */
		p[5] = 0x0f; /* 120 mm, no maximum rate given */
		p[6] = 0x01; /* one layer, embossed */
		store_be32(p + 8, 0x30000); /* first and last physical sector of the data */
		store_be32(p + 12, (uint32_t)min_u64(0x30000ull + c->m->blocks - 1, 0xffffff));
	}
	atapi_answer(c, len, allocation);
}

/* --- what the drive can do ------------------------------------------------------------ */

/* The pages of MODE SENSE, as SFF-8020i and MMC have them. None can be changed. */
static const uint8_t mode_pages[][20] = {
	{ 0x01, 10, 0, 5 }, /* error recovery: 5 retries */
	{ 0x0d, 6, 0, 0, 0, 60, 0, 75 }, /* device parameters: seconds, frames */
	{ 0x0e, 14, 4, 0, 0, 0, 0, 75, 1, 0xff, 2, 0xff }, /* audio: two ports */
	{ 0x1a, 10 }, /* power condition: no timers */
	/* Capabilities: reads CD-R, CD-RW and DVD-ROM; a tray with a lock; 52 times, 512 KiB */
	{ 0x2a, 18, 0x0b, 0, 0, 0, 0x29, 0, 0x23, 0xd5, 0, 0, 2, 0, 0x23, 0xd5 },
};

/* Appends the page, its values or the mask of those that can be changed: none. */
static uint32_t mode_page(const struct atapi_call *c, uint8_t *p, const uint8_t *page, bool mask)
{
	uint32_t len = 2u + page[1];

	memcpy(p, page, mask ? 2 : len);
	if (page[0] == 0x2a && !mask && c->s->locked)
		p[6] |= 0x02;
	return len;
}

static void mode_sense(struct atapi_call *c, uint32_t header, uint32_t allocation)
{
	unsigned control = c->cdb[2] >> 6, wanted = c->cdb[2] & 0x3f;
	uint8_t *p = atapi_prepare(c, 128);
	uint32_t len = header;

	if (control == 3) {
		atapi_refuse(c, ASC_SAVING_NOT_SUPPORTED);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(mode_pages) && !c->cdb[3]; i++)
		if (wanted == 0x3f || wanted == mode_pages[i][0])
			len += mode_page(c, p + len, mode_pages[i], control == 1);
	if (len == header) {
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	/* The length, less its own bytes; the medium type: a data disc, none, the tray is open. */
	if (header == 4)
		p[0] = (uint8_t)(len - 1);
	else
		store_be16(p, len - 2);
	p[header / 4] = atapi_ready(c) ? 0x01 : c->s->tray_open ? 0x71 : 0x70;
	atapi_answer(c, len, allocation);
}

void atapi_mode_sense_6(struct atapi_call *c)
{
	mode_sense(c, 4, c->cdb[4]);
}

void atapi_mode_sense_10(struct atapi_call *c)
{
	mode_sense(c, 8, load_be16(c->cdb + 7));
}

enum current { ALWAYS, WITH_MEDIUM, WITH_CD, WITH_DVD };

/* What GET CONFIGURATION tells of (MMC-3, features and profiles). */
static const struct feature {
	uint16_t code;
	uint8_t flags; /* version and persistence, without "current" */
	uint8_t current; /* enum current */
	uint8_t len;
	uint8_t data[8];
} features[] = {
	{ 0x0000, 0x02, ALWAYS, 8, { 0, PROFILE_DVD_ROM, 0, 0, 0, PROFILE_CD_ROM, 0, 0 } },
	{ 0x0001, 0x02, ALWAYS, 4, { 0, 0, 0, 2 } }, /* core: ATAPI */
	{ 0x0002, 0x02, ALWAYS, 4, { 0 } }, /* morphing: events are polled */
	{ 0x0003, 0x02, ALWAYS, 4, { 0x29 } }, /* removable medium: tray, eject, lock */
	{ 0x0010, 0x00, WITH_MEDIUM, 8, { 0, 0, 8, 0, 0, 1, 0, 0 } }, /* random readable */
	{ 0x001e, 0x04, WITH_CD, 4, { 0 } }, /* CD read */
	{ 0x001f, 0x00, WITH_DVD, 0, { 0 } }, /* DVD read */
};

static bool is_current(const struct feature *f, uint32_t now)
{
	switch (f->current) {
	case WITH_MEDIUM:
		return now != PROFILE_NONE;
	case WITH_CD:
		return now == PROFILE_CD_ROM;
	case WITH_DVD:
		return now == PROFILE_DVD_ROM;
	default:
		return true;
	}
}

static uint32_t feature_descriptor(uint8_t *p, const struct feature *f, uint32_t now)
{
	store_be16(p, f->code);
	p[2] = (uint8_t)(f->flags | is_current(f, now));
	p[3] = f->len;
	memcpy(p + 4, f->data, f->len);
	/* In the list of profiles the one in use is marked as well. */
	for (unsigned i = 0; f->code == 0 && i < f->len; i += 4)
		if (load_be16(f->data + i) == now)
			p[4 + i + 2] = 1;
	return 4u + f->len;
}

void atapi_get_configuration(struct atapi_call *c)
{
	uint32_t first = load_be16(c->cdb + 2), now = profile(c), len = 8;
	unsigned type = c->cdb[1] & 3; /* all, the current ones, one */
	uint8_t *p = atapi_prepare(c, 128);

	if (type == 3) {
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];

		if (f->code < first || (type == 1 && !is_current(f, now)) ||
		    (type == 2 && f->code != first))
			continue;
		len += feature_descriptor(p + len, f, now);
	}
	store_be32(p, len - 4);
	store_be16(p + 6, now);
	atapi_answer(c, len, load_be16(c->cdb + 7));
}

/* --- IDENTIFY PACKET DEVICE ----------------------------------------------------------- */

/* Two characters a word, the first in the upper half; blanks fill it up. */
static void store_string(uint16_t *words, size_t nr_words, const char *text)
{
	for (size_t i = 0; i < nr_words; i++) {
		char c[2] = { ' ', ' ' };

		for (size_t j = 0; j < 2 && *text; j++)
			c[j] = *text++;
		words[i] = (uint16_t)((uint8_t)c[0] << 8 | (uint8_t)c[1]);
	}
}

void atapi_identify(const char *serial, uint16_t words[256])
{
	static const struct {
		uint8_t word;
		uint16_t value;
	} fixed[] = {
		{ 0, 0x85c0 }, /* ATAPI, CD-ROM, removable, DRQ within 50 us, packets of 12 */
		{ 49, 0x0f00 }, /* DMA, LBA, IORDY may be disabled, is supported */
		{ 53, 0x0006 }, /* words 64 to 70 and 88 are valid */
		{ 64, 0x0003 }, /* PIO modes 3 and 4 */
		{ 65, 120 }, /* ns: DMA cycle, least */
		{ 66, 120 }, /* ns: the same, recommended */
		{ 67, 120 }, /* ns: PIO cycle without flow control */
		{ 68, 120 }, /* ns: the same with IORDY */
		{ 80, 0x00f0 }, /* ATA/ATAPI-4 to -7 */
		{ 82, 0x4218 }, /* NOP, DEVICE RESET, PACKET, power management */
		{ 83, 0x4000 }, { 84, 0x4000 },
		{ 85, 0x4218 }, /* and they are enabled */
		{ 87, 0x4000 }, { 125, ATAPI_BYTE_COUNT_MAX },
	};

	memset(words, 0, 256 * sizeof(words[0]));
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		words[fixed[i].word] = fixed[i].value;
	store_string(words + 10, 10, serial);
	store_string(words + 23, 4, ATAPI_REVISION);
	store_string(words + 27, 20, "BANTAM CD-ROM");
}
