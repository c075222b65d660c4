/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk under a machine that gets killed. Writes are numbered from 1; what a write is
 * (where, how long, which bytes) follows from its number, and so does whether a flush comes
 * after it. After each flush the console says "flushed N": the writes up to N are durable.
 *
 * flushed=N on the command line: the last such line of the run before. First all of the disk is
 * read: each sector must hold its last write up to N, or a later one that was on its way. Then
 * the console says "verified", and writing goes on from N + 1, for ever; with verify-only the
 * guest ends there. String instructions do the work: where the kernel's mode is interpreted, all
 * else is slow.
 */
#include "guests/baremetal/lib/sector.h"
#include "guests/baremetal/lib/vblk.h"

#define MAX_SECTORS 32768u
#define LONGEST 16 /* sectors of a write */
#define BATCH 8 /* writes in flight together */
#define READ 256 /* sectors at a time */
#define FLUSH_EVERY 24 /* writes, on average */

struct write {
	uint32_t first, n; /* sectors */
};

struct request {
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} head;
	struct write write;
	volatile uint8_t status;
	uint8_t data[LONGEST * SECTOR_SIZE];
};

static struct request requests[BATCH];
static uint32_t promised[MAX_SECTORS]; /* the last write that must be there, 0: none */
static uint8_t got[READ * SECTOR_SIZE], want[SECTOR_SIZE];
static uint32_t sectors;

static uint32_t mix(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352d;
	x = (x ^ x >> 15) * 0x846ca68b;
	return x ^ x >> 16;
}

/* Half of them are whole pages, which back-ends like; the others begin and end anywhere. */
static struct write write_of(uint32_t number)
{
	uint32_t a = mix(number), b = mix(a + 1);
	struct write w = { .first = a % (sectors - LONGEST), .n = 1 + b % LONGEST };

	if (b & 0x100) {
		w.first &= ~7u;
		w.n = b & 0x200 ? 8 : 16;
	}
	return w;
}

static bool flush_after(uint32_t number)
{
	return mix(number + 0x5bd1e995) % FLUSH_EVERY == 0;
}

/* The number at both ends, so that half of a sector does not pass for a whole one. */
static void fill(uint8_t *p, uint32_t sector, uint32_t number)
{
	memset(p, (int)mix(sector ^ mix(number)), SECTOR_SIZE);
	memcpy(p, &number, sizeof(number));
	memcpy(p + SECTOR_SIZE - sizeof(number), &number, sizeof(number));
}

static bool covers(uint32_t number, uint32_t sector)
{
	struct write w = write_of(number);

	return sector - w.first < w.n;
}

/* Which write a sector holds; false: none that there ever was. */
static bool holds(const uint8_t *p, uint32_t sector, uint32_t *number)
{
	memcpy(number, p, 4);
	if (!*number)
		return bytes_are(p, SECTOR_SIZE, 0);
	fill(want, sector, *number);
	return covers(*number, sector) && !memcmp(p, want, SECTOR_SIZE);
}

static void replay(uint32_t flushed)
{
	for (uint32_t number = 1; number <= flushed; number++) {
		struct write w = write_of(number);

		for (uint32_t i = 0; i < w.n; i++)
			promised[w.first + i] = number;
	}
}

static void verify(struct vblk *b)
{
	unsigned torn = 0, lost = 0, unread = 0;

	for (uint32_t at = 0; at < sectors; at += READ) {
		if (vblk_request(b, VBLK_IN, at, got, sizeof(got)) != VBLK_OK) {
			unread++;
			continue;
		}
		for (uint32_t i = 0; i < READ; i++) {
			uint32_t number;

			if (!holds(got + i * SECTOR_SIZE, at + i, &number))
				torn++;
			else if (number < promised[at + i])
				lost++;
		}
	}
	tap_is(unread, 0, "every sector can be read");
	tap_is(torn, 0, "each holds a write as it was");
	tap_is(lost, 0, "and none from before the last flush");
}

static bool overlap(struct write a, struct write b)
{
	return a.first < b.first + b.n && b.first < a.first + a.n;
}

/* What is in flight together may be done in any order, so such writes must not meet. */
static bool meets_others(struct write w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (overlap(w, requests[i].write))
			return true;
	return false;
}

static void offer(struct vblk *b, unsigned i, uint32_t number, struct write w)
{
	struct request *r = &requests[i];
	struct vseg segs[3] = {
		{ &r->head, sizeof(r->head), false },
		{ r->data, w.n * SECTOR_SIZE, false },
		{ (void *)(uintptr_t)&r->status, 1, true },
	};

	r->head.type = VBLK_OUT;
	r->head.sector = w.first;
	r->write = w;
	r->status = 0xee;
	for (uint32_t k = 0; k < w.n; k++)
		fill(r->data + k * SECTOR_SIZE, w.first + k, number);
	vblk_offer(b, 3 * i, segs, 3);
}

/* Writes from this number on, as many as may be in flight together; the next number, 0: failed. */
static uint32_t write_batch(struct vblk *b, uint32_t number)
{
	unsigned n = 0;
	uint32_t len;

	do {
		struct write w = write_of(number);

		if (meets_others(w, n))
			break;
		offer(b, n++, number++, w);
	} while (n < BATCH && !flush_after(number - 1));
	vblk_kick(b);
	for (unsigned i = 0; i < n; i++)
		if (!vblk_wait(b, &len))
			return 0;
	for (unsigned i = 0; i < n; i++)
		if (requests[i].status != VBLK_OK)
			return 0;
	return number;
}

int main(void)
{
	uint32_t flushed = cmdline_number("flushed=", 0), number = flushed + 1;
	struct vblk b;

	if (!tap(vblk_find(&b) && vblk_start(&b, VBLK_NO_VECTOR), "there is a disk"))
		return 0;
	sectors = (uint32_t)b.capacity;
	if (!tap(sectors <= MAX_SECTORS && sectors % READ == 0, "of a length that fits"))
		return 0;
	replay(flushed);
	verify(&b);
	if (tap_state.failed || cmdline_has("verify-only"))
		return 0;
	print("verified\n");
	while ((number = write_batch(&b, number))) {
		if (!flush_after(number - 1))
			continue;
		if (vblk_request(&b, VBLK_FLUSH, 0, NULL, 0) != VBLK_OK)
			break;
		print("flushed %u\n", number - 1);
	}
	tap(false, "a write or a flush failed");
	return 0;
}
