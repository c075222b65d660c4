/* SPDX-License-Identifier: MIT */
/*
 * What a driver must not do in a ring of a virtio disk, done: every one of it ends in
 * DEVICE_NEEDS_RESET or in an error status, harms nobody, and after a reset the disk works.
 * Also the interrupt of a device that has no bus. Words: lib/vblk.h.
 */
#include "guests/baremetal/lib/irq.h"
#include "guests/baremetal/lib/vblk.h"

#define NEEDS_RESET 0x40
#define NOT_RAM 0xfe000000
#define VECTOR 0x60

static struct {
	uint32_t type, reserved;
	uint64_t sector;
} head;
static uint8_t data[1024];
static uint8_t status;
static struct vdesc table[1100];

/* A descriptor whose successor is the next one; of a packed ring, of buffer 0. */
static struct vdesc desc(const struct vblk *b, unsigned i, const void *p, uint32_t len,
			 uint16_t flags)
{
	return (struct vdesc){ (uintptr_t)p, len, flags, (uint16_t)(b->packed ? 0 : i + 1) };
}

/* An entry of an indirect table: of a packed ring, the flags are at the end there too. */
static struct vdesc entry(const struct vblk *b, unsigned i, const void *p, uint32_t len,
			  uint16_t flags)
{
	struct vdesc d = { (uintptr_t)p, len, flags, (uint16_t)(i + 1) };

	if (b->packed) {
		d.flags = 0;
		d.next = flags;
	}
	return d;
}

static bool works(struct vblk *b)
{
	memset(data, 0, 512);
	return vblk_start(b, VBLK_NO_VECTOR) && vblk_request(b, VBLK_IN, 5, data, 512) == VBLK_OK &&
	       data[510] == '5' && !(vblk_status(b) & NEEDS_RESET);
}

/* The device has seen what was wrong; reset, it works. */
static void broken(struct vblk *b, const char *what)
{
	unsigned i;
	bool told;

	vblk_kick(b);
	for (i = 0; i < 1000 && !(vblk_status(b) & NEEDS_RESET); i++)
		delay_us(100);
	told = vblk_status(b) & NEEDS_RESET;
	tap(told && works(b), "%s: %s", what, told ? "after a reset it works" : "nothing happens");
}

static void one(struct vblk *b, struct vdesc d, const char *what)
{
	vblk_offer_raw(b, &d, 1);
	broken(b, what);
}

static void test_chains(struct vblk *b)
{
	struct vdesc d[3] = { desc(b, 0, &head, 16, VDESC_NEXT), desc(b, 1, data, 512, VDESC_NEXT),
			      desc(b, 2, &status, 1, VDESC_WRITE) };

	for (unsigned i = 0; i < b->size; i++)
		table[i] = desc(b, i, &head, 16, VDESC_NEXT);
	table[b->size - 1].next = 0; /* bites its tail */
	vblk_offer_raw(b, table, b->size);
	broken(b, "a chain without an end");

	d[0].addr = (uintptr_t)&status;
	d[0].flags |= VDESC_WRITE;
	vblk_offer_raw(b, d, 3);
	broken(b, "readable behind writable");

	one(b, desc(b, 0, (void *)NOT_RAM, 512, VDESC_WRITE), "a buffer that is not RAM");
	one(b, desc(b, 0, (void *)NOT_RAM, 512, 0), "a buffer to read that is not RAM");
	one(b, (struct vdesc){ ~0ull - 15, 32, VDESC_WRITE, 0 }, "a buffer around the end of all");
	one(b, desc(b, 0, &head, 0xffffffff, 0), "a buffer longer than RAM");
	one(b, desc(b, 0, &head, 16, 0), "a request without a status byte");
	one(b, desc(b, 0, &head, 0, 0), "a request of nothing");
}

static void test_split(struct vblk *b)
{
	struct vdesc d = desc(b, 0, &head, 16, VDESC_NEXT);

	d.next = 0;
	one(b, d, "a descriptor that is its own successor");
	d.next = (uint16_t)b->size;
	one(b, d, "a successor beyond the table");
	d.next = 0xffff;
	one(b, d, "a successor far beyond it");

	b->avail[2 + b->avail[1] % b->size] = (uint16_t)b->size;
	b->avail[1]++;
	broken(b, "a head beyond the table");
	b->avail[1] = (uint16_t)(b->avail[1] + b->size + 1);
	broken(b, "an available index that jumps");
	b->avail[1]--;
	broken(b, "an available index that goes back");
}

/* The ring is made available a second time while all of it is in flight, or seems to be. */
static void test_packed(struct vblk *b)
{
	for (unsigned i = 0; i < b->size; i++)
		table[i] = desc(b, i, &head, 16, VDESC_NEXT);
	table[b->size - 2].flags = 0;
	vblk_offer_raw(b, table, b->size);
	broken(b, "a chain without a status byte, and one that runs into it");
}

static void test_indirect(struct vblk *b)
{
	struct vdesc d = desc(b, 0, table, 32, VDESC_INDIRECT);
	unsigned n = b->size + 1;

	one(b, d, "an indirect table that was not negotiated");
	b->wanted = VIRTIO_F_INDIRECT_DESC;
	tap(works(b) && b->features & VIRTIO_F_INDIRECT_DESC, "indirect tables are offered");

	/* First one that is right. */
	head.type = VBLK_IN;
	head.sector = 7;
	table[0] = entry(b, 0, &head, 16, VDESC_NEXT);
	table[1] = entry(b, 1, data, 512, VDESC_NEXT | VDESC_WRITE);
	table[2] = entry(b, 2, &status, 1, VDESC_WRITE);
	d.len = 48;
	status = 0xee;
	b->places[0] = 1;
	vblk_offer_raw(b, &d, 1);
	vblk_kick(b);
	tap(vblk_wait(b, &d.len) && status == VBLK_OK && data[510] == '7', "a request in a table");

	for (unsigned i = 0; i < n; i++)
		table[i] = entry(b, i, &head, 16, VDESC_NEXT);
	d.len = n * 16;
	one(b, d, "a table longer than the queue");
	d.len = 40;
	one(b, d, "a table of two descriptors and a half");
	d.len = 0;
	one(b, d, "a table of nothing");
	d.len = 48;
	d.addr = NOT_RAM;
	one(b, d, "a table that is not RAM");
	d.addr = (uintptr_t)table;
	d.flags |= VDESC_NEXT;
	one(b, d, "a table amid a chain");
	if (!b->packed) { /* a packed ring's tables have no flag for it */
		d.flags = VDESC_INDIRECT;
		table[0] = d;
		one(b, d, "a table in itself");
	}
	b->wanted = 0;
	tap(works(b), "and without them again");
}

/* Wrong in the request, not in the ring: an answer, and no reset. */
static void test_requests(struct vblk *b)
{
	struct vseg short_head[] = { { &head, 15, false }, { &status, 1, true } };
	uint32_t len;

	status = 0xee;
	vblk_offer(b, 0, short_head, 2);
	vblk_kick(b);
	tap(vblk_wait(b, &len) && status == VBLK_IOERR, "a header that is too short: an I/O error");
	/* Everything is the device's to write: it has no header to read. */
	short_head[0].write = true;
	status = 0xee;
	vblk_offer(b, 0, short_head, 2);
	vblk_kick(b);
	tap(vblk_wait(b, &len) && status == VBLK_IOERR, "a header to write: an I/O error");
	tap(!(vblk_status(b) & NEEDS_RESET) && works(b), "neither needs a reset");
}

/* A queue where there is no RAM, or not where it has to be. */
static void test_queue_address(struct vblk *b)
{
	if (b->kind == VBLK_LEGACY) {
		outl((uint16_t)(b->base + VLEGACY_QUEUE_ADDRESS), 0);
		outl((uint16_t)(b->base + VLEGACY_QUEUE_ADDRESS), NOT_RAM / 4096);
	} else if (b->kind == VBLK_MMIO) {
		write32(b->base + VMMIO_QUEUE_READY, 0);
		write32(b->base + VMMIO_QUEUE_DESC, NOT_RAM);
		write32(b->base + VMMIO_QUEUE_READY, 1);
	} else {
		vblk_reset(b);
		write8(b->common + VCOMMON_STATUS, 3);
		write32(b->common + VCOMMON_DRIVER_FEATURE_SELECT, 1);
		write32(b->common + VCOMMON_DRIVER_FEATURE, 1);
		write8(b->common + VCOMMON_STATUS, 0xb);
		write32(b->common + VCOMMON_QUEUE_DESC, 0x1008);
		write16(b->common + VCOMMON_QUEUE_ENABLE, 1);
		write8(b->common + VCOMMON_STATUS, 0xf);
	}
	broken(b, "a queue that is where it cannot be");
}

static volatile unsigned acks;
static uintptr_t mmio_base;

static void mmio_irq(struct irq_frame *frame)
{
	uint32_t why = read32(mmio_base + VMMIO_INTERRUPT_STATUS);

	(void)frame;
	write32(mmio_base + VMMIO_INTERRUPT_ACK, why);
	acks += why & 1;
}

static void test_mmio_interrupt(struct vblk *b)
{
	mmio_base = b->base;
	lapic_enable(false);
	irq_handle(VECTOR, mmio_irq);
	ioapic_route(b->irq, VECTOR, IOAPIC_LEVEL);
	tap(works(b), "it works with its interrupt on");
	sti();
	(void)wait_for(&acks, 1, 1000); /* the one that tells of that */
	acks = 0;
	for (unsigned i = 0; i < 10; i++) {
		(void)vblk_request(b, VBLK_IN, i, data, 512);
		(void)wait_for(&acks, i + 1, 1000);
	}
	delay_us(2000);
	cli();
	tap_is(acks, 10, "an interrupt for each request, at its pin of the I/O APIC");
	tap_is(read32(b->base + VMMIO_INTERRUPT_STATUS), 0, "none is left");
	ioapic_route(b->irq, VECTOR, IOAPIC_LEVEL | IOAPIC_MASKED);
}

int main(void)
{
	struct vblk b;

	if (!tap(vblk_find(&b), "there is a disk") || !tap(works(&b), "it works"))
		return 0;
	test_chains(&b);
	if (b.packed)
		test_packed(&b);
	else
		test_split(&b);
	test_indirect(&b);
	test_requests(&b);
	test_queue_address(&b);
	if (b.kind == VBLK_MMIO)
		test_mmio_interrupt(&b);
	vblk_reset(&b);
	return 0;
}
