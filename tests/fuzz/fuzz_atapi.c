/* SPDX-License-Identifier: MIT */
/*
 * An ATAPI drive and a hostile guest's packets: whatever is sent, a reply stays within the
 * buffer, blocks to be read lie on the medium, and the state is one that can be saved.
 *
 * Input: four bytes of the medium's size in blocks, then operations: a byte that says which
 * (a reset, a read that failed, otherwise a packet) and for a packet its twelve bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/ide/atapi.h"

static void check(bool right)
{
	if (!right)
		abort();
}

static void check_state(const struct atapi_state *s)
{
	check(s->sense_key <= 15 && s->media_event <= ATAPI_MEDIA_EVENT_MAX);
	check(s->attention_reset <= 1 && s->attention_medium <= 1);
	check(s->locked <= 1 && s->tray_open <= 1);
}

static void check_reply(const struct atapi_medium *m, const struct atapi_state *s,
			const struct atapi_reply *r)
{
	switch (r->phase) {
	case ATAPI_NO_DATA:
		check(!r->len && !r->blocks && !s->sense_key);
		break;
	case ATAPI_DATA_IN:
		check(r->len && r->len <= ATAPI_MAX_DATA && !r->blocks && !s->sense_key);
		break;
	case ATAPI_READ:
		check(!r->len && r->blocks && (uint64_t)r->lba + r->blocks <= m->blocks);
		check(m->present && !s->tray_open && !s->sense_key);
		break;
	case ATAPI_FAILED:
		check(!r->len && !r->blocks && s->sense_key && atapi_error(s));
		break;
	default:
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct atapi_medium m = { .present = true };
	struct atapi_state s;
	struct atapi_reply r;
	uint8_t *reply;

	if (size < 4)
		return 0;
	m.blocks = (uint32_t)load_le(data, 4);
	m.present = m.blocks % 16 != 7;
	data += 4;
	size -= 4;
	reply = calloc(1, ATAPI_MAX_DATA); /* of just this size: for ASan to see what goes beyond */
	check(reply);
	atapi_power_on(&s);
	while (size) {
		unsigned what = *data++;

		size--;
		if (what == 0xff) {
			atapi_reset(&s);
		} else if (what == 0xfe) {
			atapi_read_failed(&s);
		} else if (size >= ATAPI_PACKET_SIZE) {
			atapi_command(&m, &s, data, reply, &r);
			check_reply(&m, &s, &r);
			data += ATAPI_PACKET_SIZE;
			size -= ATAPI_PACKET_SIZE;
		} else {
			size = 0;
		}
		check_state(&s);
	}
	free(reply);
	return 0;
}
