/* SPDX-License-Identifier: MIT */
/*
 * The packet commands of an ATAPI CD-ROM drive (SFF-8020i; MMC-3, with SPC-3 for what is
 * common to all SCSI devices): given a packet and the drive's small state, what is to happen.
 * No ports, interrupts or I/O: those are the controller's, which embeds struct atapi_state in
 * the drive's own and describes it in its state table (ATAPI_STATE_FIELDS).
 *
 * A guest's packet is hostile and so may be the state after a load: every number is checked
 * here before it is used. A reply is never longer than the packet's allocation length or
 * ATAPI_MAX_DATA, and blocks to be read always lie on the medium.
 *
 * Eject opens the tray and load closes it, on the guest's own commands; the disc (the host's
 * image) stays in it. Power-on closes the tray.
 *
 * Threads: none of its own; the caller holds the device's lock.
 */
#ifndef DEVICES_IDE_ATAPI_H
#define DEVICES_IDE_ATAPI_H

#include "base/state.h"

#define ATAPI_PACKET_SIZE 12
#define ATAPI_BLOCK_SIZE 2048u
#define ATAPI_BYTE_COUNT_MAX 0xfffeu /* bytes of a PIO data block; what a limit of 0 means */
#define ATAPI_MAX_DATA 2052 /* bytes of the longest reply: a DVD's physical format */

/* The signature after a reset (ATA-7 volume 1): in LBA mid and LBA high. */
#define ATAPI_SIGNATURE_MID 0x14
#define ATAPI_SIGNATURE_HIGH 0xeb

/* The interrupt reason, in the sector count register (ATA-7 volume 1, PACKET). */
#define ATAPI_REASON_CD 0x01 /* the packet or the status, not data */
#define ATAPI_REASON_IO 0x02 /* towards the host */

/* What the disc is; blocks beyond 32 bits cannot be addressed. */
struct atapi_medium {
	bool present; /* false: an empty drive */
	uint32_t blocks; /* of ATAPI_BLOCK_SIZE */
};

/* Made by atapi_power_on(). Flags are 0 or 1. */
struct atapi_state {
	uint8_t sense_key; /* kept for REQUEST SENSE until the next command */
	uint8_t sense_asc;
	uint8_t sense_ascq;
	uint8_t attention_reset; /* unit attention pending: there was a reset */
	uint8_t attention_medium; /* the same: the medium may have changed */
	uint8_t locked; /* PREVENT ALLOW MEDIUM REMOVAL */
	uint8_t tray_open;
	uint8_t media_event; /* not yet told: MMC's media event code */
};

#define ATAPI_MEDIA_EVENT_MAX 3

/* Entries of the state table of struct s, which holds a struct atapi_state f. */
#define ATAPI_STATE_FIELDS(s, f)                                                             \
	STATE_U_MAX(s, f.sense_key, 15), STATE_U(s, f.sense_asc), STATE_U(s, f.sense_ascq),  \
		STATE_U_MAX(s, f.attention_reset, 1), STATE_U_MAX(s, f.attention_medium, 1), \
		STATE_U_MAX(s, f.locked, 1), STATE_U_MAX(s, f.tray_open, 1),                 \
		STATE_U_MAX(s, f.media_event, ATAPI_MEDIA_EVENT_MAX)

enum atapi_phase {
	ATAPI_NO_DATA, /* done, well */
	ATAPI_DATA_IN, /* len bytes of data go to the host, then it is done */
	ATAPI_READ, /* blocks from lba go to the host */
	ATAPI_FAILED, /* CHECK CONDITION: atapi_error() is the error register */
};

struct atapi_reply {
	enum atapi_phase phase;
	uint32_t len; /* DATA_IN: 1 .. ATAPI_MAX_DATA */
	uint32_t lba; /* READ, in blocks */
	uint32_t blocks; /* READ: at least 1; lba + blocks <= the medium's */
};

/* At power-on, and by a reset of the machine. */
void atapi_power_on(struct atapi_state *s);

/* By SRST and DEVICE RESET: unlocked, unit attention; the tray stays as it is. */
void atapi_reset(struct atapi_state *s);

/* Carries out the packet; data (ATAPI_MAX_DATA bytes) is the reply if there is one. */
void atapi_command(const struct atapi_medium *m, struct atapi_state *s,
		   const uint8_t packet[ATAPI_PACKET_SIZE], uint8_t *data, struct atapi_reply *out);

/* The host could not read the image: unrecovered read error is the sense from now on. */
void atapi_read_failed(struct atapi_state *s);

/* The error register of a packet that failed: sense key and ABRT (ATA-7 volume 1, PACKET). */
uint8_t atapi_error(const struct atapi_state *s);

/*
 * The words of IDENTIFY PACKET DEVICE (ATA-7 volume 1). serial: up to 20 characters.
 * Words 63 and 88, the DMA modes, are left 0: they are the controller's.
 */
void atapi_identify(const char *serial, uint16_t words[256]);

#endif
