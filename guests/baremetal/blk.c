/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk, polled: what is on it, what is written to it, and requests that are wrong.
 * How it is reached, lib/vblk.h says; vring.c has what is wrong with rings.
 *
 * Sector n of the disk holds n (lib/sector.h). The guest writes what is written to sectors 8
 * to 15, 100, and 1000 to 1063; the host looks at the image afterwards. readonly and serial=STR on the command line are what
 * bantam was told; sectors=N is the disk's length.
 */
#include "guests/baremetal/lib/sector.h"
#include "guests/baremetal/lib/vblk.h"

#define BIG 64 /* sectors in one request */

static uint8_t buf[BIG * 512];

static void test_device(struct vblk *b)
{
	const char *serial = cmdline_value("serial=");
	char id[21];
	uint32_t n = 0;

	tap_is(b->capacity, cmdline_number("sectors=", 2048), "capacity");
	tap_is(!!(b->features & VBLK_F_RO), cmdline_has("readonly"), "the read-only feature");
	tap(b->features & VBLK_F_FLUSH, "the flush feature");
	memset(id, 0x55, sizeof(id));
	tap_is((uint64_t)vblk_request(b, VBLK_GET_ID, 0, id, 20), VBLK_OK, "get-id");
	while (serial && serial[n] && serial[n] != ' ')
		n++;
	tap(!memcmp(id, serial ? serial : "", n) && (n == 20 || !id[n]), "the id is the serial");
	tap_is((uint8_t)id[20], 0x55, "and no longer than 20 bytes");
}

static void test_read(struct vblk *b)
{
	unsigned last = (unsigned)b->capacity - 1, bad = 0;

	tap(vblk_request(b, VBLK_IN, 0, buf, 512) == VBLK_OK && sector_holds(buf, 0, false),
	    "sector 0");
	tap(vblk_request(b, VBLK_IN, last, buf, 512) == VBLK_OK && sector_holds(buf, last, false),
	    "the last sector");
	memset(buf, 0, sizeof(buf));
	tap_is((uint64_t)vblk_request(b, VBLK_IN, 512, buf, sizeof(buf)), VBLK_OK, "64 sectors");
	for (unsigned i = 0; i < BIG; i++)
		bad += !sector_holds(buf + 512 * i, 512 + i, false);
	tap_is(bad, 0, "each of them");
}

static void test_write(struct vblk *b)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < 8; i++)
		sector_fill(buf + 512 * i, 8 + i, true);
	tap_is((uint64_t)vblk_request(b, VBLK_OUT, 8, buf, 8 * 512), VBLK_OK, "8 sectors written");
	sector_fill(buf, 100, true);
	tap_is((uint64_t)vblk_request(b, VBLK_OUT, 100, buf, 512), VBLK_OK, "one more");
	for (unsigned i = 0; i < BIG; i++)
		sector_fill(buf + 512 * i, 1000 + i, true);
	tap_is((uint64_t)vblk_request(b, VBLK_OUT, 1000, buf, sizeof(buf)), VBLK_OK, "and 64");
	tap_is((uint64_t)vblk_request(b, VBLK_FLUSH, 0, NULL, 0), VBLK_OK, "flush");
	memset(buf, 0, sizeof(buf));
	tap_is((uint64_t)vblk_request(b, VBLK_IN, 1000, buf, sizeof(buf)), VBLK_OK, "read again");
	for (unsigned i = 0; i < BIG; i++)
		bad += !sector_holds(buf + 512 * i, 1000 + i, true);
	tap_is(bad, 0, "they hold what was written");
	tap(vblk_request(b, VBLK_IN, 7, buf, 512) == VBLK_OK && sector_holds(buf, 7, false) &&
		    vblk_request(b, VBLK_IN, 16, buf, 512) == VBLK_OK &&
		    sector_holds(buf, 16, false),
	    "their neighbours are untouched");
}

/* Several buffers of odd sizes in one request, and several requests before one kick. */
static void test_shapes(struct vblk *b)
{
	static struct {
		uint32_t type, reserved;
		uint64_t sector;
	} head[4];
	static volatile uint8_t status[4];
	uint32_t len, done = 0, bad = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint8_t *data = buf + 1024 * i;
		struct vseg segs[6] = {
			{ &head[i], 5, false },    { (uint8_t *)&head[i] + 5, 11, false },
			{ data, 1, true },         { data + 1, 700, true },
			{ data + 701, 323, true }, { (void *)(uintptr_t)&status[i], 1, true },
		};

		head[i].type = VBLK_IN;
		head[i].sector = 20 + 2 * i;
		status[i] = 0xee;
		vblk_offer(b, 6 * i, segs, 6);
	}
	memset(buf, 0, 4096);
	vblk_kick(b);
	while (done < 4 && vblk_wait(b, &len)) {
		done++;
		bad += len != 1025;
	}
	tap_is(done, 4, "four requests with one kick");
	tap_is(bad, 0, "each says 1025 bytes written");
	for (unsigned i = 0; i < 8; i++)
		bad += !sector_holds(buf + 512 * i, 20 + i, false) || status[i / 2] != VBLK_OK;
	tap_is(bad, 0, "scattered buffers hold what they should");
}

static void test_wrong(struct vblk *b)
{
	unsigned end = (unsigned)b->capacity;

	tap_is((uint64_t)vblk_request(b, VBLK_IN, end, buf, 512), VBLK_IOERR, "past the end");
	tap_is((uint64_t)vblk_request(b, VBLK_IN, end - 1, buf, 1024), VBLK_IOERR, "over the end");
	tap_is((uint64_t)vblk_request(b, VBLK_IN, ~0ull, buf, 512), VBLK_IOERR, "sector 2^64 - 1");
	tap_is((uint64_t)vblk_request(b, VBLK_IN, 1ull << 55, buf, 512), VBLK_IOERR,
	       "a byte offset that wraps around");
	tap_is((uint64_t)vblk_request(b, VBLK_IN, 0, buf, 100), VBLK_IOERR, "no whole sector");
	tap_is((uint64_t)vblk_request(b, 77, 0, buf, 512), VBLK_UNSUPP, "an unknown request");
	tap(vblk_request(b, VBLK_IN, 5, buf, 512) == VBLK_OK && sector_holds(buf, 5, false),
	    "the disk works all the same");
}

int main(void)
{
	struct vblk b;

	if (!tap(vblk_find(&b), "there is a disk") ||
	    !tap(vblk_start(&b, VBLK_NO_VECTOR), "it starts"))
		return 0;
	test_device(&b);
	test_read(&b);
	test_shapes(&b);
	if (cmdline_has("readonly")) {
		sector_fill(buf, 8, true);
		tap_is((uint64_t)vblk_request(&b, VBLK_OUT, 8, buf, 512), VBLK_IOERR,
		       "a write is refused");
	} else {
		test_write(&b);
	}
	test_wrong(&b);
	vblk_reset(&b);
	return 0;
}
