/* SPDX-License-Identifier: MIT */
#include "devices/ide/atapi.h"

#include <string.h>

#include "devices/ide/atapi_call.h"

/* Sense keys and additional sense codes (SPC-3, 4.5). */
#define KEY_NOT_READY 0x2
#define KEY_MEDIUM_ERROR 0x3
#define KEY_ILLEGAL_REQUEST 0x5
#define KEY_UNIT_ATTENTION 0x6

#define ASC_UNRECOVERED_READ_ERROR 0x11, 0x00
#define ASC_MEDIUM_MAY_HAVE_CHANGED 0x28, 0x00
#define ASC_RESET_OCCURRED 0x29, 0x00
#define ASC_NO_MEDIUM_TRAY_CLOSED 0x3a, 0x01
#define ASC_NO_MEDIUM_TRAY_OPEN 0x3a, 0x02

#define EVENT_NEW_MEDIA 2
#define EVENT_MEDIA_REMOVAL 3

#define ERROR_ABRT 0x04

static void set_sense(struct atapi_state *s, uint8_t key, uint8_t asc, uint8_t ascq)
{
	s->sense_key = key;
	s->sense_asc = asc;
	s->sense_ascq = ascq;
}

static void fail(struct atapi_call *c, uint8_t key, uint8_t asc, uint8_t ascq)
{
	set_sense(c->s, key, asc, ascq);
	c->out->phase = ATAPI_FAILED;
}

void atapi_refuse(struct atapi_call *c, uint8_t asc, uint8_t ascq)
{
	fail(c, KEY_ILLEGAL_REQUEST, asc, ascq);
}

uint8_t *atapi_prepare(struct atapi_call *c, uint32_t len)
{
	return memset(c->data, 0, len);
}

void atapi_answer(struct atapi_call *c, uint32_t len, uint32_t allocation)
{
	c->out->len = (uint32_t)min_u64(len, allocation);
	c->out->phase = c->out->len ? ATAPI_DATA_IN : ATAPI_NO_DATA;
}

bool atapi_ready(const struct atapi_call *c)
{
	return c->m->present && c->m->blocks && !c->s->tray_open;
}

static void not_ready(struct atapi_call *c)
{
	if (c->s->tray_open)
		fail(c, KEY_NOT_READY, ASC_NO_MEDIUM_TRAY_OPEN);
	else
		fail(c, KEY_NOT_READY, ASC_NO_MEDIUM_TRAY_CLOSED);
}

/* --- what every drive does ------------------------------------------------------------ */

static void test_unit_ready(struct atapi_call *c)
{
	(void)c; /* the medium has been looked for */
}

static void request_sense(struct atapi_call *c)
{
	uint8_t *p = atapi_prepare(c, 18);

	p[0] = 0x70; /* current error, fixed format */
	p[2] = c->s->sense_key;
	p[7] = 18 - 8;
	p[12] = c->s->sense_asc;
	p[13] = c->s->sense_ascq;
	set_sense(c->s, 0, 0, 0);
	atapi_answer(c, 18, c->cdb[4]);
}

static void inquiry(struct atapi_call *c)
{
	uint8_t *p = atapi_prepare(c, 36);

	if (c->cdb[1] & 1 || c->cdb[2]) { /* vital product data, or a page of it */
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	p[0] = 0x05; /* CD-ROM */
	p[1] = 0x80; /* removable */
	p[3] = 0x21; /* ATAPI, as SFF-8020i has it: a version of SCSI is not claimed */
	p[4] = 36 - 5;
	memcpy(p + 8, "BANTAM  ", 8);
	memcpy(p + 16, "CD-ROM          ", 16);
	memcpy(p + 32, ATAPI_REVISION, 4);
	atapi_answer(c, 36, load_be16(c->cdb + 3));
}

/* --- the tray ------------------------------------------------------------------------- */

static void open_tray(struct atapi_call *c)
{
	if (c->s->locked) {
		atapi_refuse(c, ASC_REMOVAL_PREVENTED);
		return;
	}
	c->s->tray_open = 1;
	c->s->attention_medium = 0;
	c->s->media_event = EVENT_MEDIA_REMOVAL;
}

static void close_tray(struct atapi_call *c)
{
	c->s->tray_open = 0;
	if (!atapi_ready(c))
		return;
	c->s->attention_medium = 1;
	c->s->media_event = EVENT_NEW_MEDIA;
}

static void start_stop(struct atapi_call *c)
{
	bool start = c->cdb[4] & 1, tray = c->cdb[4] & 2;

	if (tray && start && c->s->tray_open)
		close_tray(c);
	else if (tray && !start && !c->s->tray_open)
		open_tray(c);
	else if (!tray && start && !atapi_ready(c))
		not_ready(c);
}

static void prevent_allow(struct atapi_call *c)
{
	if (c->cdb[4] & ~1) /* a persistent lock is a changer's */
		atapi_refuse(c, ASC_INVALID_FIELD);
	else
		c->s->locked = c->cdb[4];
}

static void mechanism_status(struct atapi_call *c)
{
	uint8_t *p = atapi_prepare(c, 8);

	p[1] = c->s->tray_open ? 0x10 : 0;
	atapi_answer(c, 8, load_be16(c->cdb + 8));
}

static void get_event_status(struct atapi_call *c)
{
	const uint8_t media_class = 4;
	uint32_t allocation = load_be16(c->cdb + 7);
	uint8_t *p = atapi_prepare(c, 8);

	if (!(c->cdb[1] & 1)) { /* told when it happens, not polled */
		atapi_refuse(c, ASC_INVALID_FIELD);
		return;
	}
	p[3] = (uint8_t)(1u << media_class);
	if (!(c->cdb[4] & 1u << media_class)) {
		store_be16(p, 2);
		p[2] = 0x80; /* no event of the classes asked for */
		atapi_answer(c, 4, allocation);
		return;
	}
	store_be16(p, 6);
	p[2] = media_class;
	p[4] = c->s->media_event;
	p[5] = (uint8_t)((atapi_ready(c) ? 2 : 0) | c->s->tray_open);
	if (allocation > 4)
		c->s->media_event = 0;
	atapi_answer(c, 8, allocation);
}

/* --- reading -------------------------------------------------------------------------- */

static void read_capacity(struct atapi_call *c)
{
	uint8_t *p = atapi_prepare(c, 8);

	store_be32(p, c->m->blocks - 1);
	store_be32(p + 4, ATAPI_BLOCK_SIZE);
	atapi_answer(c, 8, 8);
}

/* Is [lba, lba + blocks) on the medium? With no block either, lba itself has to be. */
static bool on_medium(struct atapi_call *c, uint32_t lba, uint32_t blocks)
{
	if (lba < c->m->blocks && blocks <= c->m->blocks - lba)
		return true;
	atapi_refuse(c, ASC_LBA_OUT_OF_RANGE);
	return false;
}

static void read_blocks(struct atapi_call *c, uint32_t blocks)
{
	uint32_t lba = load_be32(c->cdb + 2);

	if (!on_medium(c, lba, blocks) || !blocks)
		return;
	c->out->phase = ATAPI_READ;
	c->out->lba = lba;
	c->out->blocks = blocks;
}

static void read_10(struct atapi_call *c)
{
	read_blocks(c, load_be16(c->cdb + 7));
}

static void read_12(struct atapi_call *c)
{
	read_blocks(c, load_be32(c->cdb + 6));
}

/* Of a block only its 2048 bytes of user data are there, as a track of mode 1 has them. */
static void read_cd(struct atapi_call *c)
{
	unsigned type = c->cdb[1] >> 2 & 7, wanted = c->cdb[9], subchannel = c->cdb[10] & 7;

	if (type != 0 && type != 2)
		atapi_refuse(c, ASC_ILLEGAL_MODE_FOR_TRACK);
	else if (subchannel || (wanted && wanted != 0x10))
		atapi_refuse(c, ASC_INVALID_FIELD);
	else if (wanted)
		read_blocks(c, (uint32_t)c->cdb[6] << 16 | load_be16(c->cdb + 7));
	else
		(void)on_medium(c, load_be32(c->cdb + 2), 0);
}

static void seek(struct atapi_call *c)
{
	(void)on_medium(c, load_be32(c->cdb + 2), 0);
}

static void set_cd_speed(struct atapi_call *c)
{
	(void)c; /* as fast as the host is */
}

/* --- the commands --------------------------------------------------------------------- */

#define NEEDS_MEDIUM 1
#define DESPITE_ATTENTION 2 /* done though a unit attention is pending */

static const struct command {
	uint8_t opcode;
	uint8_t flags;
	void (*run)(struct atapi_call *c);
} commands[] = {
	{ 0x00, NEEDS_MEDIUM, test_unit_ready },
	{ 0x03, DESPITE_ATTENTION, request_sense },
	{ 0x12, DESPITE_ATTENTION, inquiry },
	{ 0x1a, 0, atapi_mode_sense_6 },
	{ 0x1b, 0, start_stop },
	{ 0x1e, 0, prevent_allow },
	{ 0x25, NEEDS_MEDIUM, read_capacity },
	{ 0x28, NEEDS_MEDIUM, read_10 },
	{ 0x2b, NEEDS_MEDIUM, seek },
	{ 0x42, NEEDS_MEDIUM, atapi_read_sub_channel },
	{ 0x43, NEEDS_MEDIUM, atapi_read_toc },
	{ 0x46, DESPITE_ATTENTION, atapi_get_configuration },
	{ 0x4a, DESPITE_ATTENTION, get_event_status },
	{ 0x51, NEEDS_MEDIUM, atapi_read_disc_information },
	{ 0x52, NEEDS_MEDIUM, atapi_read_track_information },
	{ 0x5a, 0, atapi_mode_sense_10 },
	{ 0xa8, NEEDS_MEDIUM, read_12 },
	{ 0xad, NEEDS_MEDIUM, atapi_read_dvd_structure },
	{ 0xbb, 0, set_cd_speed },
	{ 0xbd, 0, mechanism_status },
	{ 0xbe, NEEDS_MEDIUM, read_cd },
};

static const struct command *find_command(uint8_t opcode)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].opcode == opcode)
			return &commands[i];
	return NULL;
}

/* Tells of one unit attention and forgets it; false where none is pending. */
static bool take_attention(struct atapi_state *s)
{
	if (s->attention_reset) {
		s->attention_reset = 0;
		set_sense(s, KEY_UNIT_ATTENTION, ASC_RESET_OCCURRED);
		return true;
	}
	if (s->attention_medium) {
		s->attention_medium = 0;
		set_sense(s, KEY_UNIT_ATTENTION, ASC_MEDIUM_MAY_HAVE_CHANGED);
		return true;
	}
	return false;
}

void atapi_command(const struct atapi_medium *m, struct atapi_state *s,
		   const uint8_t packet[ATAPI_PACKET_SIZE], uint8_t *data, struct atapi_reply *out)
{
	const struct command *cmd = find_command(packet[0]);
	struct atapi_call c = { m, s, packet, data, out };

	*out = (struct atapi_reply){ .phase = ATAPI_NO_DATA };
	if (cmd && cmd->run == request_sense) {
		if (!s->sense_key)
			(void)take_attention(s);
		cmd->run(&c);
		return;
	}
	set_sense(s, 0, 0, 0);
	if (!(cmd && cmd->flags & DESPITE_ATTENTION) && take_attention(s))
		out->phase = ATAPI_FAILED;
	else if (!cmd)
		atapi_refuse(&c, ASC_INVALID_OPCODE);
	else if (!(cmd->flags & NEEDS_MEDIUM) || atapi_ready(&c))
		cmd->run(&c);
	else
		not_ready(&c);
}

void atapi_read_failed(struct atapi_state *s)
{
	set_sense(s, KEY_MEDIUM_ERROR, ASC_UNRECOVERED_READ_ERROR);
}

uint8_t atapi_error(const struct atapi_state *s)
{
	return (uint8_t)(s->sense_key << 4 |
			 (s->sense_key == KEY_ILLEGAL_REQUEST ? ERROR_ABRT : 0));
}

void atapi_power_on(struct atapi_state *s)
{
	*s = (struct atapi_state){ .attention_reset = 1 };
}

void atapi_reset(struct atapi_state *s)
{
	*s = (struct atapi_state){
		.attention_reset = 1,
		.attention_medium = s->attention_medium,
		.tray_open = s->tray_open,
		.media_event = s->media_event,
	};
}
