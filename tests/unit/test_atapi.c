/* SPDX-License-Identifier: MIT */
/* The ATAPI drive's packet commands: what each answers, what it refuses, and in which state. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/device.h"
#include "devices/ide/atapi.h"
#include "tests/unit/fake.h"

#define BLOCKS 1000u
#define DVD_BLOCKS 2000000u
#define GUARD 0xa5

struct drive {
	struct atapi_medium m;
	struct atapi_state s;
	struct atapi_reply out;
	uint8_t data[ATAPI_MAX_DATA];
};

/* A drive that has told of its reset. */
static struct drive *drive(struct drive *d)
{
	memset(d, 0, sizeof(*d));
	d->m = (struct atapi_medium){ .present = true, .blocks = BLOCKS };
	atapi_power_on(&d->s);
	d->s.attention_reset = 0;
	return d;
}

/* The bytes of the packet that are given; the rest is 0. */
#define CMD(d, ...) command(d, (const uint8_t[ATAPI_PACKET_SIZE]){ __VA_ARGS__ })

static enum atapi_phase command(struct drive *d, const uint8_t *packet)
{
	memset(d->data, GUARD, sizeof(d->data));
	atapi_command(&d->m, &d->s, packet, d->data, &d->out);
	return d->out.phase;
}

static uint32_t be(const uint8_t *p, unsigned bytes)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

static void assert_sense(const struct drive *d, uint8_t key, uint8_t asc, uint8_t ascq)
{
	assert_int_equal(d->s.sense_key, key);
	assert_int_equal(d->s.sense_asc, asc);
	assert_int_equal(d->s.sense_ascq, ascq);
}

static void assert_refused(struct drive *d, const uint8_t *packet, uint8_t asc, uint8_t ascq)
{
	assert_int_equal(command(d, packet), ATAPI_FAILED);
	assert_sense(d, 5, asc, ascq);
	assert_int_equal(atapi_error(&d->s), 0x54);
	assert_int_equal(d->out.len, 0);
	assert_int_equal(d->out.blocks, 0);
}

#define REFUSED(d, asc, ascq, ...) \
	assert_refused(d, (const uint8_t[ATAPI_PACKET_SIZE]){ __VA_ARGS__ }, asc, ascq)

/* --- sense and unit attention --------------------------------------------------------- */

static void test_power_on(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	atapi_power_on(&d.s);
	/* These are answered whatever is pending. */
	assert_int_equal(CMD(&d, 0x12, 0, 0, 0, 36), ATAPI_DATA_IN);
	assert_int_equal(CMD(&d, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), ATAPI_DATA_IN);
	assert_int_equal(CMD(&d, 0x46, 0, 0, 0, 0, 0, 0, 0, 8), ATAPI_DATA_IN);
	/* Anything else hears of the reset, once. */
	assert_int_equal(CMD(&d, 0x00), ATAPI_FAILED);
	assert_sense(&d, 6, 0x29, 0);
	assert_int_equal(atapi_error(&d.s), 0x60);
	assert_int_equal(CMD(&d, 0x03, 0, 0, 0, 18), ATAPI_DATA_IN);
	assert_int_equal(d.data[2], 6);
	assert_int_equal(d.data[12], 0x29);
	assert_int_equal(CMD(&d, 0x00), ATAPI_NO_DATA);
	assert_sense(&d, 0, 0, 0);
}

static void test_attention_comes_first(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	atapi_power_on(&d.s);
	assert_int_equal(CMD(&d, 0xff), ATAPI_FAILED);
	assert_sense(&d, 6, 0x29, 0);
	REFUSED(&d, 0x20, 0, 0xff);
	/* REQUEST SENSE with nothing kept takes the attention itself. */
	atapi_power_on(&d.s);
	assert_int_equal(CMD(&d, 0x03, 0, 0, 0, 18), ATAPI_DATA_IN);
	assert_int_equal(d.data[2], 6);
	assert_int_equal(CMD(&d, 0x00), ATAPI_NO_DATA);
	/* What is kept is told before what else is pending. */
	atapi_power_on(&d.s);
	d.s.attention_medium = 1;
	assert_int_equal(CMD(&d, 0x00), ATAPI_FAILED);
	CMD(&d, 0x03, 0, 0, 0, 18);
	assert_int_equal(d.data[12], 0x29);
	assert_int_equal(CMD(&d, 0x00), ATAPI_FAILED);
	CMD(&d, 0x03, 0, 0, 0, 18);
	assert_int_equal(d.data[12], 0x28);
}

static void test_request_sense(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	REFUSED(&d, 0x20, 0, 0xd8);
	assert_int_equal(CMD(&d, 0x03, 0, 0, 0, 255), ATAPI_DATA_IN);
	assert_int_equal(d.out.len, 18);
	assert_int_equal(d.data[0], 0x70);
	assert_int_equal(d.data[2], 5);
	assert_int_equal(d.data[7], 10);
	assert_int_equal(d.data[12], 0x20);
	assert_int_equal(d.data[18], GUARD);
	assert_int_equal(CMD(&d, 0x03, 0, 0, 0, 18), ATAPI_DATA_IN);
	assert_int_equal(d.data[2], 0); /* told once */
	/* Any other command clears what is kept. */
	REFUSED(&d, 0x20, 0, 0xd8);
	assert_int_equal(CMD(&d, 0x00), ATAPI_NO_DATA);
	assert_sense(&d, 0, 0, 0);
	assert_int_equal(CMD(&d, 0x03, 0, 0, 0, 0), ATAPI_NO_DATA);
}

static void test_read_failed(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	atapi_read_failed(&d.s);
	assert_sense(&d, 3, 0x11, 0);
	assert_int_equal(atapi_error(&d.s), 0x30);
}

static void test_reset(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	CMD(&d, 0x1b, 0, 0, 0, 2); /* eject */
	CMD(&d, 0x1e, 0, 0, 0, 1);
	atapi_reset(&d.s);
	assert_int_equal(d.s.locked, 0);
	assert_int_equal(d.s.tray_open, 1);
	assert_int_equal(CMD(&d, 0x00), ATAPI_FAILED);
	assert_sense(&d, 6, 0x29, 0);
	atapi_power_on(&d.s);
	assert_int_equal(d.s.tray_open, 0);
	assert_int_equal(d.s.media_event, 0);
}

/* --- the tray ------------------------------------------------------------------------- */

static void test_eject_and_load(void **state)
{
	static const uint8_t poll[ATAPI_PACKET_SIZE] = { 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8 };
	struct drive d;

	(void)state;
	drive(&d);
	command(&d, poll);
	assert_int_equal(be(d.data, 2), 6);
	assert_int_equal(d.data[2], 4);
	assert_int_equal(d.data[3], 0x10);
	assert_int_equal(d.data[4], 0);
	assert_int_equal(d.data[5], 2); /* a medium, the tray is closed */

	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 2), ATAPI_NO_DATA);
	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 2), ATAPI_NO_DATA); /* it is open */
	assert_int_equal(CMD(&d, 0x00), ATAPI_FAILED);
	assert_sense(&d, 2, 0x3a, 2);
	assert_int_equal(atapi_error(&d.s), 0x20);
	assert_int_equal(CMD(&d, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), ATAPI_FAILED);
	assert_sense(&d, 2, 0x3a, 2);
	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 1), ATAPI_FAILED); /* nothing to spin */
	command(&d, poll);
	assert_int_equal(d.data[4], 3); /* media removal */
	assert_int_equal(d.data[5], 1);
	command(&d, poll);
	assert_int_equal(d.data[4], 0); /* told once */
	CMD(&d, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8);
	assert_int_equal(d.data[1], 0x10);

	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 3), ATAPI_NO_DATA);
	command(&d, poll);
	assert_int_equal(d.data[4], 2); /* new media */
	assert_int_equal(d.data[5], 2);
	assert_int_equal(CMD(&d, 0x00), ATAPI_FAILED);
	assert_sense(&d, 6, 0x28, 0);
	assert_int_equal(CMD(&d, 0x00), ATAPI_NO_DATA);
	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 3), ATAPI_NO_DATA); /* it is closed */
	assert_int_equal(CMD(&d, 0x00), ATAPI_NO_DATA);
	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 1), ATAPI_NO_DATA); /* spin up */
	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 0), ATAPI_NO_DATA); /* spin down */
	assert_int_equal(CMD(&d, 0x00), ATAPI_NO_DATA);
}

static void test_lock(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	assert_int_equal(CMD(&d, 0x1e, 0, 0, 0, 1), ATAPI_NO_DATA);
	REFUSED(&d, 0x53, 2, 0x1b, 0, 0, 0, 2);
	assert_int_equal(CMD(&d, 0x00), ATAPI_NO_DATA);
	CMD(&d, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255);
	assert_int_equal(d.data[8 + 6], 0x2b); /* page 2a shows it */
	REFUSED(&d, 0x24, 0, 0x1e, 0, 0, 0, 2);
	assert_int_equal(d.s.locked, 1);
	assert_int_equal(CMD(&d, 0x1e, 0, 0, 0, 0), ATAPI_NO_DATA);
	assert_int_equal(CMD(&d, 0x1b, 0, 0, 0, 2), ATAPI_NO_DATA);
	assert_int_equal(d.s.tray_open, 1);
}

static void test_event_status(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	REFUSED(&d, 0x24, 0, 0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8);
	/* A class that is not there: a header without an event. */
	assert_int_equal(CMD(&d, 0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8), ATAPI_DATA_IN);
	assert_int_equal(d.out.len, 4);
	assert_int_equal(be(d.data, 2), 2);
	assert_int_equal(d.data[2], 0x80);
	/* An event for which there was no room is told again. */
	d.s.media_event = 2;
	CMD(&d, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 4);
	assert_int_equal(d.out.len, 4);
	assert_int_equal(d.s.media_event, 2);
}

static void test_empty(void **state)
{
	static const struct atapi_medium empty[] = { { false, BLOCKS }, { true, 0 } };
	static const uint8_t opcodes[] = { 0x00, 0x25, 0x28, 0x2b, 0x42, 0x43,
					   0x51, 0x52, 0xa8, 0xad, 0xbe };
	struct drive d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		drive(&d)->m = empty[i];
		for (size_t j = 0; j < ARRAY_SIZE(opcodes); j++) {
			assert_int_equal(CMD(&d, opcodes[j], 0, 0, 0, 0, 0, 0, 1, 1), ATAPI_FAILED);
			assert_sense(&d, 2, 0x3a, 1);
		}
		CMD(&d, 0x46, 0, 0, 0, 0, 0, 0, 0, 8);
		assert_int_equal(be(d.data + 6, 2), 0);
		CMD(&d, 0x5a, 0, 0x0d, 0, 0, 0, 0, 0, 255);
		assert_int_equal(d.data[2], 0x70);
		/* Loading nothing is not a new medium. */
		CMD(&d, 0x1b, 0, 0, 0, 2);
		CMD(&d, 0x1b, 0, 0, 0, 3);
		assert_int_equal(d.s.attention_medium, 0);
	}
}

/* --- reading -------------------------------------------------------------------------- */

static void assert_reads(const struct drive *d, uint32_t lba, uint32_t blocks)
{
	assert_int_equal(d->out.phase, ATAPI_READ);
	assert_int_equal(d->out.lba, lba);
	assert_int_equal(d->out.blocks, blocks);
}

static void test_read(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	CMD(&d, 0x28, 0, 0, 0, 1, 2, 0, 0, 3);
	assert_reads(&d, 0x102, 3);
	CMD(&d, 0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 7);
	assert_reads(&d, 5, 7);
	CMD(&d, 0x28, 0, 0, 0, 0, 0, 0, BLOCKS >> 8, BLOCKS & 0xff);
	assert_reads(&d, 0, BLOCKS);
	CMD(&d, 0x28, 0, 0, 0, (BLOCKS - 1) >> 8, (BLOCKS - 1) & 0xff, 0, 0, 1);
	assert_reads(&d, BLOCKS - 1, 1);
	assert_int_equal(CMD(&d, 0x28, 0, 0, 0, 0, 5, 0, 0, 0), ATAPI_NO_DATA);
	d.m.blocks = 0xffffffff;
	CMD(&d, 0xa8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
	assert_reads(&d, 0, 0xffffffff);
	CMD(&d, 0xa8, 0, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1);
	assert_reads(&d, 0xfffffffe, 1);
}

static void test_read_past_the_end(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	REFUSED(&d, 0x21, 0, 0x28, 0, 0, 0, BLOCKS >> 8, BLOCKS & 0xff, 0, 0, 1);
	REFUSED(&d, 0x21, 0, 0x28, 0, 0, 0, BLOCKS >> 8, BLOCKS & 0xff, 0, 0, 0);
	REFUSED(&d, 0x21, 0, 0x28, 0, 0, 0, (BLOCKS - 1) >> 8, (BLOCKS - 1) & 0xff, 0, 0, 2);
	REFUSED(&d, 0x21, 0, 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1);
	REFUSED(&d, 0x21, 0, 0xa8, 0, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff); /* wraps around */
	REFUSED(&d, 0x21, 0, 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
	REFUSED(&d, 0x21, 0, 0xbe, 0, 0, 0, BLOCKS >> 8, BLOCKS & 0xff, 0, 0, 1, 0x10);
	REFUSED(&d, 0x21, 0, 0x2b, 0, 0, 0, BLOCKS >> 8, BLOCKS & 0xff);
	d.m.blocks = 0xffffffff;
	REFUSED(&d, 0x21, 0, 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1);
}

static void test_read_cd(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	CMD(&d, 0xbe, 0, 0, 0, 0, 9, 0, 1, 2, 0x10);
	assert_reads(&d, 9, 0x102);
	CMD(&d, 0xbe, 2 << 2, 0, 0, 0, 9, 0, 0, 2, 0x10); /* mode 1 */
	assert_reads(&d, 9, 2);
	assert_int_equal(CMD(&d, 0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0), ATAPI_NO_DATA);
	REFUSED(&d, 0x21, 0, 0xbe, 0, 0, 0, 0, 9, 1, 0, 0, 0x10);
	REFUSED(&d, 0x24, 0, 0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0xf8); /* raw */
	REFUSED(&d, 0x24, 0, 0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0x10, 1); /* sub-channel */
	for (uint8_t type = 1; type < 8; type++)
		if (type != 2)
			REFUSED(&d, 0x64, 0, 0xbe, type << 2, 0, 0, 0, 9, 0, 0, 2, 0x10);
}

static void test_capacity(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	assert_int_equal(CMD(&d, 0x25), ATAPI_DATA_IN);
	assert_int_equal(d.out.len, 8);
	assert_int_equal(be(d.data, 4), BLOCKS - 1);
	assert_int_equal(be(d.data + 4, 4), 2048);
	assert_int_equal(CMD(&d, 0x2b, 0, 0, 0, 0, 5), ATAPI_NO_DATA);
	assert_int_equal(CMD(&d, 0xbb, 0, 0xff, 0xff), ATAPI_NO_DATA);
}

/* --- what is on the disc -------------------------------------------------------------- */

static void test_toc(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	assert_int_equal(CMD(&d, 0x43, 0, 0, 0, 0, 0, 0, 1, 0), ATAPI_DATA_IN);
	assert_int_equal(d.out.len, 20);
	assert_int_equal(be(d.data, 2), 18);
	assert_int_equal(be(d.data + 2, 2), 0x0101);
	assert_int_equal(be(d.data + 4, 4), 0x00140100);
	assert_int_equal(be(d.data + 8, 4), 0);
	assert_int_equal(be(d.data + 12, 4), 0x0014aa00);
	assert_int_equal(be(d.data + 16, 4), BLOCKS);
	/* In minutes, seconds and frames: 1000 + 150 frames are 15 s 25. */
	assert_int_equal(CMD(&d, 0x43, 2, 0, 0, 0, 0, 1, 1, 0), ATAPI_DATA_IN);
	assert_int_equal(be(d.data + 8, 4), 0x000200);
	assert_int_equal(be(d.data + 16, 4), 0x000f19);
	/* The lead-out alone. */
	CMD(&d, 0x43, 0, 0, 0, 0, 0, 0xaa, 1, 0);
	assert_int_equal(d.out.len, 12);
	assert_int_equal(d.data[6], 0xaa);
	REFUSED(&d, 0x24, 0, 0x43, 0, 0, 0, 0, 0, 2, 1, 0);
	/* The longest time that has a form. */
	d.m.blocks = 0xffffffff;
	CMD(&d, 0x43, 2, 0, 0, 0, 0, 0xaa, 1, 0);
	assert_int_equal(be(d.data + 8, 4), 0x00ff3b4a);
}

static void test_toc_formats(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	/* Sessions: the format in the third byte, and where SFF-8020i has it. */
	CMD(&d, 0x43, 0, 1, 0, 0, 0, 0, 1, 0);
	assert_int_equal(d.out.len, 12);
	assert_int_equal(be(d.data + 4, 4), 0x00140100);
	CMD(&d, 0x43, 2, 0, 0, 0, 0, 0, 0, 12, 0x40);
	assert_int_equal(d.out.len, 12);
	assert_int_equal(be(d.data, 4), 0x000a0101);
	assert_int_equal(be(d.data + 8, 4), 0x000200);
	/* Raw. */
	CMD(&d, 0x43, 0, 2, 0, 0, 0, 0, 1, 0);
	assert_int_equal(d.out.len, 4 + 4 * 11);
	assert_int_equal(be(d.data, 2), 46);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(be(d.data + 4 + 11 * i, 3), 0x011400);
	assert_int_equal(d.data[4 + 3], 0xa0);
	assert_int_equal(d.data[4 + 8], 1);
	assert_int_equal(d.data[15 + 3], 0xa1);
	assert_int_equal(d.data[26 + 3], 0xa2);
	assert_int_equal(be(d.data + 26 + 8, 3), 0x000f19);
	assert_int_equal(d.data[37 + 3], 1);
	assert_int_equal(be(d.data + 37 + 8, 3), 0x000200);
	for (uint8_t format = 3; format < 16; format++)
		REFUSED(&d, 0x24, 0, 0x43, 0, format, 0, 0, 0, 0, 1, 0);
	REFUSED(&d, 0x24, 0, 0x43, 0, 0, 0, 0, 0, 0, 1, 0, 0xc0);
}

static void test_disc_information(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	CMD(&d, 0x51, 0, 0, 0, 0, 0, 0, 1, 0);
	assert_int_equal(d.out.len, 34);
	assert_int_equal(be(d.data, 2), 32);
	assert_int_equal(d.data[2], 0x0e);
	assert_int_equal(be(d.data + 3, 4), 0x01010101);
	REFUSED(&d, 0x24, 0, 0x51, 1, 0, 0, 0, 0, 0, 1, 0);

	for (uint8_t type = 0; type < 3; type++) {
		CMD(&d, 0x52, type, 0, 0, 0, 1, 0, 1, 0);
		assert_int_equal(d.out.len, 36);
		assert_int_equal(be(d.data, 2), 34);
		assert_int_equal(be(d.data + 2, 2), 0x0101);
		assert_int_equal(be(d.data + 5, 2), 0x0401);
		assert_int_equal(be(d.data + 24, 4), BLOCKS);
	}
	REFUSED(&d, 0x24, 0, 0x52, 0, 0, 0, BLOCKS >> 8, BLOCKS & 0xff, 0, 1, 0);
	REFUSED(&d, 0x24, 0, 0x52, 1, 0, 0, 0, 2, 0, 1, 0);
	REFUSED(&d, 0x24, 0, 0x52, 2, 0, 0, 0, 0, 0, 1, 0);
	REFUSED(&d, 0x24, 0, 0x52, 3, 0, 0, 0, 1, 0, 1, 0);
}

static void test_sub_channel(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	CMD(&d, 0x42, 0, 0, 1, 0, 0, 0, 0, 96);
	assert_int_equal(d.out.len, 4);
	assert_int_equal(d.data[1], 0x15);
	CMD(&d, 0x42, 2, 0x40, 1, 0, 0, 0, 0, 96);
	assert_int_equal(d.out.len, 16);
	assert_int_equal(be(d.data, 4), 0x0015000c);
	assert_int_equal(be(d.data + 4, 4), 0x01140101);
	assert_int_equal(be(d.data + 8, 4), 0x000200);
	for (uint8_t format = 2; format < 4; format++) {
		CMD(&d, 0x42, 0, 0x40, format, 0, 0, 0, 0, 96);
		assert_int_equal(d.out.len, 24);
		assert_int_equal(d.data[8], 0); /* no number is valid */
	}
	REFUSED(&d, 0x24, 0, 0x42, 0, 0x40, 0, 0, 0, 0, 0, 96);
	REFUSED(&d, 0x24, 0, 0x42, 0, 0x40, 4, 0, 0, 0, 0, 96);
}

static void test_dvd(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	REFUSED(&d, 0x30, 2, 0xad, 0, 0, 0, 0, 0, 0, 0, 8);
	d.m.blocks = DVD_BLOCKS;
	CMD(&d, 0xad, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);
	assert_int_equal(d.out.len, 2052);
	assert_int_equal(be(d.data, 2), 2050);
	assert_int_equal(be(d.data + 8, 4), 0x30000);
	assert_int_equal(be(d.data + 12, 4), 0x30000 + DVD_BLOCKS - 1);
	CMD(&d, 0xad, 0, 0, 0, 0, 0, 0, 1, 0, 255);
	assert_int_equal(d.out.len, 8);
	assert_int_equal(be(d.data + 4, 4), 0);
	REFUSED(&d, 0x24, 0, 0xad, 0, 0, 0, 0, 0, 0, 2, 0, 255);
	REFUSED(&d, 0x24, 0, 0xad, 0, 0, 0, 0, 0, 1, 0, 0, 255);
}

/* --- what the drive can do ------------------------------------------------------------ */

static void test_inquiry(void **state)
{
	struct drive d;

	(void)state;
	drive(&d);
	CMD(&d, 0x12, 0, 0, 0, 255);
	assert_int_equal(d.out.len, 36);
	assert_int_equal(be(d.data, 2), 0x0580);
	assert_int_equal(d.data[4], 31);
	assert_memory_equal(d.data + 8, "BANTAM  CD-ROM          1.0 ", 28);
	CMD(&d, 0x12, 0, 0, 0, 5);
	assert_int_equal(d.out.len, 5);
	CMD(&d, 0x12, 0, 0, 1, 0);
	assert_int_equal(d.out.len, 36);
	REFUSED(&d, 0x24, 0, 0x12, 1, 0, 0, 255);
	REFUSED(&d, 0x24, 0, 0x12, 1, 0x80, 0, 255);
	REFUSED(&d, 0x24, 0, 0x12, 0, 0x80, 0, 255);
}

static void test_mode_sense(void **state)
{
	static const struct {
		uint8_t page, len;
	} pages[] = { { 0x01, 12 }, { 0x0d, 8 }, { 0x0e, 16 }, { 0x1a, 12 }, { 0x2a, 20 } };
	uint32_t all = 0;
	struct drive d;

	(void)state;
	drive(&d);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		uint8_t page = pages[i].page, len = pages[i].len;

		CMD(&d, 0x5a, 0, page, 0, 0, 0, 0, 1, 0);
		assert_int_equal(d.out.len, 8 + len);
		assert_int_equal(be(d.data, 2), 6 + len);
		assert_int_equal(d.data[2], 1); /* a data disc */
		assert_int_equal(be(d.data + 6, 2), 0); /* no block descriptor */
		assert_int_equal(be(d.data + 8, 2), page << 8 | (len - 2u));
		CMD(&d, 0x1a, 0, page, 0, 255);
		assert_int_equal(d.out.len, 4 + len);
		assert_int_equal(d.data[0], 3 + len);
		assert_int_equal(d.data[1], 1);
		assert_int_equal(be(d.data + 4, 2), page << 8 | (len - 2u));
		/* Nothing of it can be changed. */
		CMD(&d, 0x5a, 0, page | 0x40, 0, 0, 0, 0, 1, 0);
		assert_int_equal(d.out.len, 8 + len);
		for (unsigned j = 2; j < len; j++)
			assert_int_equal(d.data[8 + j], 0);
		all += len;
	}
	CMD(&d, 0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0);
	assert_int_equal(d.out.len, 8 + all);
	CMD(&d, 0x5a, 0, 0xbf, 0, 0, 0, 0, 1, 0); /* defaults */
	assert_int_equal(d.out.len, 8 + all);
	CMD(&d, 0x5a, 0, 0x0d, 0, 0, 0, 0, 1, 0);
	assert_int_equal(be(d.data + 8 + 4, 4), 0x003c004b);
	CMD(&d, 0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0);
	assert_int_equal(d.data[8 + 2] & 8, 8); /* reads DVDs */
	assert_int_equal(d.data[8 + 3], 0); /* writes nothing */
	assert_int_equal(d.data[8 + 6], 0x29); /* a tray, eject, lock */
	REFUSED(&d, 0x39, 0, 0x5a, 0, 0xea, 0, 0, 0, 0, 1, 0);
	REFUSED(&d, 0x24, 0, 0x5a, 0, 0x05, 0, 0, 0, 0, 1, 0);
	REFUSED(&d, 0x24, 0, 0x5a, 0, 0x2a, 1, 0, 0, 0, 1, 0);
	REFUSED(&d, 0x20, 0, 0x55);
	REFUSED(&d, 0x20, 0, 0x15);
	CMD(&d, 0x1b, 0, 0, 0, 2);
	CMD(&d, 0x1a, 0, 0x2a, 0, 255);
	assert_int_equal(d.data[1], 0x71);
}

/* Walks the features: how many, and whether code is among them and current. */
static unsigned features(const struct drive *d, uint32_t code, bool *current)
{
	unsigned n = 0;

	*current = false;
	assert_int_equal(be(d->data, 4), d->out.len - 4);
	for (uint32_t at = 8; at < d->out.len; at += 4 + d->data[at + 3], n++) {
		assert_int_equal(d->data[at + 3] % 4, 0);
		if (be(d->data + at, 2) == code)
			*current = d->data[at + 2] & 1;
	}
	return n;
}

static void test_configuration(void **state)
{
	struct drive d;
	bool current;

	(void)state;
	drive(&d);
	CMD(&d, 0x46, 0, 0, 0, 0, 0, 0, 2, 0);
	assert_int_equal(be(d.data + 6, 2), 0x0008);
	assert_int_equal(features(&d, 0x1e, &current), 7);
	assert_true(current);
	(void)features(&d, 0x1f, &current);
	assert_false(current);
	assert_int_equal(be(d.data + 12, 4), 0x00100000); /* DVD-ROM, not current */
	assert_int_equal(be(d.data + 16, 4), 0x00080100); /* CD-ROM, current */
	CMD(&d, 0x46, 1, 0, 0, 0, 0, 0, 2, 0); /* the current ones */
	assert_int_equal(features(&d, 0x1e, &current), 6);
	CMD(&d, 0x46, 0, 0, 3, 0, 0, 0, 2, 0); /* from the third on */
	assert_int_equal(features(&d, 3, &current), 4);
	CMD(&d, 0x46, 2, 0, 0x10, 0, 0, 0, 2, 0); /* one */
	assert_int_equal(features(&d, 0x10, &current), 1);
	assert_int_equal(be(d.data + 12, 4), 2048);
	CMD(&d, 0x46, 2, 0x77, 0x77, 0, 0, 0, 2, 0); /* none */
	assert_int_equal(features(&d, 0, &current), 0);
	REFUSED(&d, 0x24, 0, 0x46, 3, 0, 0, 0, 0, 0, 2, 0);

	d.m.blocks = DVD_BLOCKS;
	CMD(&d, 0x46, 0, 0, 0, 0, 0, 0, 2, 0);
	assert_int_equal(be(d.data + 6, 2), 0x0010);
	assert_int_equal(features(&d, 0x1f, &current), 7);
	assert_true(current);
	assert_int_equal(d.data[14], 1);
	assert_int_equal(d.data[18], 0);
	/* The profile changes where minutes, seconds and frames end. */
	d.m.blocks = 449850;
	CMD(&d, 0x46, 0, 0, 0, 0, 0, 0, 0, 8);
	assert_int_equal(be(d.data + 6, 2), 0x0008);
	d.m.blocks++;
	CMD(&d, 0x46, 0, 0, 0, 0, 0, 0, 0, 8);
	assert_int_equal(be(d.data + 6, 2), 0x0010);
}

/* Every packet that can have a reply, with every allocation length up to 300. */
static void test_allocation(void **state)
{
	/* The opcode, the byte with the low half of the length, what makes it valid. */
	static const struct {
		uint8_t opcode, at, byte_1, byte_2, byte_4;
	} packets[] = {
		{ 0x03, 4, 0, 0, 0 },    { 0x12, 4, 0, 0, 0 }, { 0x1a, 4, 0, 0x3f, 0 },
		{ 0x42, 8, 0, 0x40, 0 }, { 0x43, 8, 0, 2, 0 }, { 0x46, 8, 0, 0, 0 },
		{ 0x4a, 8, 1, 0, 0x10 }, { 0x51, 8, 0, 0, 0 }, { 0x52, 8, 0, 0, 0 },
		{ 0x5a, 8, 0, 0x3f, 0 }, { 0xad, 9, 0, 0, 0 }, { 0xbd, 9, 0, 0, 0 },
	};
	struct drive d;

	(void)state;
	drive(&d)->m.blocks = DVD_BLOCKS;
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		bool one_byte = packets[i].opcode == 0x03 || packets[i].opcode == 0x1a;
		uint32_t whole = 0;

		for (uint32_t len = 300; len < 301; len--) {
			uint8_t p[ATAPI_PACKET_SIZE] = { packets[i].opcode, packets[i].byte_1,
							 packets[i].byte_2 };

			if (len > 255 && one_byte)
				continue;
			p[3] = packets[i].opcode == 0x42;
			p[4] = packets[i].byte_4;
			p[packets[i].at] = (uint8_t)len;
			if (!one_byte)
				p[packets[i].at - 1] = (uint8_t)(len >> 8);
			assert_int_equal(command(&d, p), len ? ATAPI_DATA_IN : ATAPI_NO_DATA);
			if (!whole)
				whole = d.out.len;
			assert_int_equal(d.out.len, min_u64(len, whole));
		}
	}
}

static void test_identify(void **state)
{
	uint16_t w[256];

	(void)state;
	memset(w, 0xff, sizeof(w));
	atapi_identify("SN1", w);
	assert_int_equal(w[0], 0x85c0);
	assert_int_equal(w[10], 'S' << 8 | 'N');
	assert_int_equal(w[11], '1' << 8 | ' ');
	assert_int_equal(w[12], 0x2020);
	assert_int_equal(w[19], 0x2020);
	assert_int_equal(w[20], 0);
	assert_int_equal(w[27], 'B' << 8 | 'A');
	assert_int_equal(w[49] & 0x300, 0x300);
	assert_int_equal(w[63], 0);
	assert_int_equal(w[82] & 0x210, 0x210);
	assert_int_equal(w[88], 0);
	assert_int_equal(w[255], 0);
	atapi_identify("0123456789012345678901234567", w);
	assert_int_equal(w[19], '8' << 8 | '9');
	assert_int_equal(w[20], 0);
}

/* The fields as a drive's state table has them. */
struct holder_state {
	struct atapi_state atapi;
};

struct holder {
	struct device dev;
	struct holder_state s;
};

static void test_state_fields(void **state)
{
	static const struct state_field fields[] = {
		ATAPI_STATE_FIELDS(struct holder_state, atapi),
	};
	static const struct state_desc desc = { 1, fields, ARRAY_SIZE(fields) };
	static const struct device_ops ops = {
		.type = "holder",
		.state = &desc,
		.state_offset = offsetof(struct holder, s),
	};
	struct holder from = { .s.atapi = { 6, 0x29, 1, 1, 1, 1, 1, 3 } }, to = { 0 };
	struct state_buf buf = { 0 };

	(void)state;
	device_init(&from.dev, &ops, "cd0");
	device_init(&to.dev, &ops, "cd0");
	assert_int_equal(state_save(&from.dev, &buf), 0);
	assert_int_equal(state_load(&to.dev, buf.data, buf.len), (ssize_t)buf.len);
	assert_memory_equal(&from.s, &to.s, sizeof(to.s));
	state_buf_free(&buf);
	from.s.atapi.media_event = 4;
	assert_int_equal(state_save(&from.dev, &buf), 0);
	assert_int_equal(state_load(&to.dev, buf.data, buf.len), -EBADMSG);
	state_buf_free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_on),
		cmocka_unit_test(test_attention_comes_first),
		cmocka_unit_test(test_request_sense),
		cmocka_unit_test(test_read_failed),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_eject_and_load),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_event_status),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_past_the_end),
		cmocka_unit_test(test_read_cd),
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_toc),
		cmocka_unit_test(test_toc_formats),
		cmocka_unit_test(test_disc_information),
		cmocka_unit_test(test_sub_channel),
		cmocka_unit_test(test_dvd),
		cmocka_unit_test(test_inquiry),
		cmocka_unit_test(test_mode_sense),
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_allocation),
		cmocka_unit_test(test_identify),
		cmocka_unit_test(test_state_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
