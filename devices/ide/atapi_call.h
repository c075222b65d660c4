/* SPDX-License-Identifier: MIT */
/*
 * Between the parts of the ATAPI drive: a packet on its way through, and the commands that
 * only describe the disc and the drive (atapi_info.c). Nobody else includes this.
 */
#ifndef DEVICES_IDE_ATAPI_CALL_H
#define DEVICES_IDE_ATAPI_CALL_H

#include "devices/ide/atapi.h"

/* Additional sense codes and their qualifiers, of illegal requests (SPC-3, 4.5). */
#define ASC_INVALID_OPCODE 0x20, 0x00
#define ASC_LBA_OUT_OF_RANGE 0x21, 0x00
#define ASC_INVALID_FIELD 0x24, 0x00
#define ASC_INCOMPATIBLE_FORMAT 0x30, 0x02
#define ASC_SAVING_NOT_SUPPORTED 0x39, 0x00
#define ASC_REMOVAL_PREVENTED 0x53, 0x02
#define ASC_ILLEGAL_MODE_FOR_TRACK 0x64, 0x00

#define ATAPI_REVISION "1.0 "

struct atapi_call {
	const struct atapi_medium *m;
	struct atapi_state *s;
	const uint8_t *cdb;
	uint8_t *data;
	struct atapi_reply *out;
};

static inline uint32_t load_be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t load_be32(const uint8_t *p)
{
	return load_be16(p) << 16 | load_be16(p + 2);
}

static inline void store_be16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	store_be16(p, v >> 16);
	store_be16(p + 2, v);
}

/* The first len bytes of the data, zeroed: at most ATAPI_MAX_DATA. */
uint8_t *atapi_prepare(struct atapi_call *c, uint32_t len);
/* What was prepared goes to the host, as much of it as the packet has room for. */
void atapi_answer(struct atapi_call *c, uint32_t len, uint32_t allocation);
/* An illegal request. */
void atapi_refuse(struct atapi_call *c, uint8_t asc, uint8_t ascq);
/* Is there a disc that can be read? */
bool atapi_ready(const struct atapi_call *c);

/* Those of the commands that only tell. All but the last three need a medium. */
void atapi_read_toc(struct atapi_call *c);
void atapi_read_sub_channel(struct atapi_call *c);
void atapi_read_disc_information(struct atapi_call *c);
void atapi_read_track_information(struct atapi_call *c);
void atapi_read_dvd_structure(struct atapi_call *c);
void atapi_mode_sense_6(struct atapi_call *c);
void atapi_mode_sense_10(struct atapi_call *c);
void atapi_get_configuration(struct atapi_call *c);

#endif
