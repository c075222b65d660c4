/* SPDX-License-Identifier: MIT */
/*
 * Device state as data: each device lists its fields once, and saving, restoring,
 * migrating, dumping and checking a reset are generic.
 *
 * Stream format, all little-endian, one section a device:
 *
 *   u32 "BSTA"  u32 bytes of the section after this word  u32 version
 *   u8 length, device name
 *   per field: u8 length, name; u32 element size; u32 count; the elements
 *   u32 CRC-32 of everything before it in the section
 *
 * Fields are found by name, so a newer version may add some (since) and an older
 * stream still loads; an unknown, missing, doubled or mis-sized field refuses the
 * stream. A stream is as hostile as a guest: the CRC finds accidents, and what a
 * field may hold is checked against its max here and by post_load.
 * A flag is a uint8_t with max 1, never a bool: any other byte in a bool is undefined.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include <stdio.h>

#include "base/util.h"

struct device;

struct state_field {
	const char *name;
	uint32_t offset;
	uint32_t size; /* of an element: 1, 2, 4, 8, or any for bytes */
	uint32_t count; /* elements */
	uint32_t since; /* first version with this field; 0 or 1: always there */
	uint64_t max; /* largest value of an element; 0: anything its size holds */
	bool bytes; /* opaque bytes, no numbers */
};

struct state_desc {
	uint32_t version;
	const struct state_field *fields;
	size_t nr_fields;
};

/* Table entries: a number, an array of numbers, raw bytes, each with an optional bound. */
#define STATE_U(s, f)                                                                         \
	{                                                                                     \
		.name = #f, .offset = offsetof(s, f), .size = sizeof(((s *)0)->f), .count = 1 \
	}
#define STATE_U_MAX(s, f, m)                                                                   \
	{                                                                                      \
		.name = #f, .offset = offsetof(s, f), .size = sizeof(((s *)0)->f), .count = 1, \
		.max = (m)                                                                     \
	}
#define STATE_ARRAY(s, f)                                                             \
	{                                                                             \
		.name = #f, .offset = offsetof(s, f), .size = sizeof(((s *)0)->f[0]), \
		.count = sizeof(((s *)0)->f) / sizeof(((s *)0)->f[0])                 \
	}
#define STATE_ARRAY_MAX(s, f, m)                                                      \
	{                                                                             \
		.name = #f, .offset = offsetof(s, f), .size = sizeof(((s *)0)->f[0]), \
		.count = sizeof(((s *)0)->f) / sizeof(((s *)0)->f[0]), .max = (m)     \
	}
#define STATE_BYTES(s, f)                                                                      \
	{                                                                                      \
		.name = #f, .offset = offsetof(s, f), .size = sizeof(((s *)0)->f), .count = 1, \
		.bytes = true                                                                  \
	}

/* A growing buffer. data is malloc'ed and the holder's to free. */
struct state_buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

void state_buf_free(struct state_buf *buf);

/* Appends dev's section. Takes the device's lock. 0 or -ENOMEM. */
int state_save(struct device *dev, struct state_buf *buf) __must_check;

/*
 * Loads the section at data into dev and calls its post_load. Returns the bytes
 * used, or -EBADMSG for a stream that is refused, or post_load's error. On any
 * error the device is as it was before. Takes the device's lock.
 */
ssize_t state_load(struct device *dev, const uint8_t *data, size_t len) __must_check;

/* One line a field, for people. Takes the device's lock. */
void state_dump(struct device *dev, FILE *out);

#endif
