/* SPDX-License-Identifier: MIT */
/*
 * Coalesced I/O in each of its ways against the same accesses one by one: lists of accesses, writes that
 * KVM keeps back, and a guest's instructions that are run ahead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/platform.h"
#include "cpu/lookahead/lookahead.h"
#include "tests/unit/ahead_rig.h"
#include "tests/unit/coalesced_side.h"

/* --- the property ----------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 8;
}

/*
 * Any access but those that start I/O of the host's: when that ends is not the guest's to say, so
 * that two runs may differ.
 */
static void random_port(struct coalesced_io_entry *e, uint32_t *x)
{
	static const uint8_t commands[] = { 0x00, 0x90, 0x91, 0xa1, 0xc6,
					    0xe5, 0xec, 0xec, 0xef, 0xff };
	static const uint16_t bases[] = { PLATFORM_PORT_IDE0, PLATFORM_PORT_IDE1 };
	uint32_t v = next_random(x);

	e->width = 1;
	switch (next_random(x) % 8) {
	case 0:
		e->port = v & 1 ? PLATFORM_PORT_RTC_INDEX : PLATFORM_PORT_RTC_DATA;
		break;
	case 1:
		e->port = (uint16_t)(IDE_BM_BASE + v % 16);
		v = next_random(x) & (e->port & 7 ? 0xff : 0x08); /* never START */
		break;
	case 2:
		e->port = (uint16_t)(IDE_BM_BASE + 4 + (v & 8));
		e->width = 4;
		break;
	case 3:
		e->port = v & 1 ? PLATFORM_PORT_IDE0_CONTROL : PLATFORM_PORT_IDE1_CONTROL;
		v = next_random(x) & 0x86;
		break;
	case 4:
		e->port = bases[v & 1];
		e->width = (uint8_t)(1u << next_random(x) % 3);
		break;
	case 5:
		e->port = bases[v & 1] + ATA_COMMAND;
		v = commands[next_random(x) % sizeof(commands)];
		break;
	case 6:
		e->port = (uint16_t)(bases[v & 1] + ATA_COUNT);
		e->width = 2;
		break;
	default:
		e->port = (uint16_t)(bases[v & 1] + 1 + next_random(x) % 6);
		break;
	}
	e->value = (uint32_t)(v & width_mask(e->width));
}

static void random_entry(struct coalesced_io_entry *e, uint32_t *x)
{
	unsigned kind = next_random(x) % 12;
	uint32_t value;

	memset(e, 0, sizeof(*e));
	random_port(e, x);
	e->op = kind < 6 ? COALESCED_IO_OUT : COALESCED_IO_IN;
	value = e->value;
	if (e->op == COALESCED_IO_IN)
		e->value = 0;
	if (kind == 10) {
		e->op = COALESCED_IO_POLL;
		e->mask = next_random(x) & 1; /* mostly it holds */
		e->value = value & e->mask & next_random(x);
		e->count = 1 + next_random(x) % 3;
	}
	if (kind == 11)
		*e = (struct coalesced_io_entry){ .op = COALESCED_IO_BARRIER };
	if (kind == 9 && e->port <= PLATFORM_PORT_IDE0 && !(e->port & 7)) {
		e->op = next_random(x) & 1 ? COALESCED_IO_IN_STRING : COALESCED_IO_OUT_STRING;
		e->count = 1 + next_random(x) % (next_random(x) & 7 ? 300 : 3000);
		e->addr = STRINGS + next_random(x) % (STRINGS_LEN - 12000);
	}
}

/* The same as a guest without lists does it. False: a poll that does not hold. */
static bool do_single(struct side *s, const struct coalesced_io_entry *e, uint32_t *read)
{
	void *p = e->addr ? ide_ram(&s->w, e->addr) : NULL;

	switch (e->op) {
	case COALESCED_IO_OUT:
		guest_out(s, e->port, e->width, e->value);
		break;
	case COALESCED_IO_OUT_STRING:
		bus_write_rep(&s->w.bus, BUS_PIO, e->port, p, e->width, e->count);
		break;
	case COALESCED_IO_IN_STRING:
		bus_read_rep(&s->w.bus, BUS_PIO, e->port, p, e->width, e->count);
		break;
	case COALESCED_IO_IN:
		*read = (uint32_t)bus_in(&s->w.bus, BUS_PIO, e->port, e->width);
		break;
	case COALESCED_IO_POLL:
		for (uint32_t i = 0; i < e->count; i++) {
			*read = (uint32_t)bus_in(&s->w.bus, BUS_PIO, e->port, e->width);
			if ((*read & e->mask) == e->value)
				return true;
		}
		return false;
	default:
		break;
	}
	return true;
}

struct lines {
	struct fake_irq irq[IDE_NR_CHANNELS], rtc;
};

static struct lines lines_of(const struct side *s)
{
	return (struct lines){ { s->w.irq[0], s->w.irq[1] }, s->rtc_irq };
}

/* The same, and what may be kept back on one side does not show in an interrupt on the other. */
static bool do_checked(struct side *s, const struct side *posts, const struct coalesced_io_entry *e,
		       uint32_t *read)
{
	bool silent = e->op == COALESCED_IO_OUT && in_zone(posts, e->port, e->width);
	const struct lines before = lines_of(s);
	bool holds = do_single(s, e, read);
	const struct lines after = lines_of(s);

	for (unsigned i = 0; silent && i < IDE_NR_CHANNELS; i++) {
		assert_int_equal(after.irq[i].level, before.irq[i].level);
		assert_int_equal(after.irq[i].raised, before.irq[i].raised);
	}
	assert_true(!silent || after.rtc.raised == before.rtc.raised);
	return holds;
}

/* --- as instructions, run ahead ------------------------------------------------------------------ */

#define CODE 0x40000ull
#define READS 0x60000ull /* what entry i has read, in the end */
#define UNKNOWN 0x0f, 0xa2 /* cpuid: is left to the CPU */

/* A guest that has the entries as code, in 32-bit mode without paging. */
struct coder {
	struct side *s;
	struct lookahead *la;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint8_t pause;
	_Atomic uint64_t interrupts;
	uint64_t at; /* where the next instruction goes */
	uint64_t by_hand; /* elements that were left to the CPU */
};

static void coder_init(struct coder *c, struct side *s)
{
	const struct lookahead_config cfg = {
		.mem = &s->w.mem,
		.bus = &s->w.bus,
		.pause = &c->pause,
		.interrupts = &c->interrupts,
		.max_ticks = UINT64_MAX,
		.always = true,
	};

	memset(c, 0, sizeof(*c));
	c->s = s;
	c->la = lookahead_create(&cfg);
	assert_non_null(c->la);
	rig_sregs(false, &c->sregs);
}

static void emit(struct coder *c, const uint8_t *bytes, size_t len)
{
	assert_int_equal(mem_write(&c->s->w.mem, c->at, bytes, len), 0);
	c->at += len;
}

#define EMIT(c, ...) emit(c, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* An opcode and 32 bits behind it. */
static void emit_32(struct coder *c, uint8_t opcode, uint32_t v)
{
	EMIT(c, opcode, (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24));
}

/* Of al, ax or eax, or of a string: opcode is that of bytes, the next one that of more. */
static void emit_access(struct coder *c, const struct coalesced_io_entry *e, uint8_t opcode,
			bool rep)
{
	const struct ahead_port port = { e->port, opcode & 2 };

	/* More is expected behind it, at once and when it is repeated. */
	for (unsigned i = 0; i < 2; i++)
		ahead_site(&c->la->predictor, c->at, port)->score = 8;
	if (e->width == 2)
		EMIT(c, 0x66);
	if (rep)
		EMIT(c, 0xf3);
	EMIT(c, (uint8_t)(opcode + (e->width > 1)));
}

static void emit_in(struct coder *c, const struct coalesced_io_entry *e, unsigned i)
{
	EMIT(c, 0x31, 0xc0); /* xor %eax, %eax */
	emit_access(c, e, 0xec, false);
	emit_32(c, 0xa3, (uint32_t)READS + i * 4); /* mov %eax, READS */
}

static void emit_entry(struct coder *c, const struct coalesced_io_entry *e, unsigned i)
{
	uint64_t loop;

	emit_32(c, 0xba, e->port); /* mov $port, %edx */
	emit_32(c, 0xb9, e->count); /* mov $count, %ecx */
	switch (e->op) {
	case COALESCED_IO_OUT:
		emit_32(c, 0xb8, e->value); /* mov $value, %eax */
		emit_access(c, e, 0xee, false);
		break;
	case COALESCED_IO_IN:
		emit_in(c, e, i);
		break;
	case COALESCED_IO_OUT_STRING:
		emit_32(c, 0xbe, (uint32_t)e->addr); /* mov $addr, %esi */
		emit_access(c, e, 0x6e, true);
		break;
	case COALESCED_IO_IN_STRING:
		emit_32(c, 0xbf, (uint32_t)e->addr); /* mov $addr, %edi */
		emit_access(c, e, 0x6c, true);
		break;
	case COALESCED_IO_POLL:
		loop = c->at;
		emit_in(c, e, i);
		emit_32(c, 0x25, e->mask); /* and $mask, %eax */
		emit_32(c, 0x3d, e->value); /* cmp $value, %eax */
		EMIT(c, 0x74, 7); /* je: behind all this */
		EMIT(c, 0x83, 0xe9, 1); /* sub $1, %ecx */
		EMIT(c, 0x75, (uint8_t)(loop - c->at - 2)); /* jne */
		EMIT(c, UNKNOWN);
		break;
	default:
		EMIT(c, 0x0f, 0xae, 0xf0); /* mfence */
		break;
	}
}

/* An element that lies in two pages is the CPU's. */
static void do_by_hand(struct coder *c)
{
	const uint8_t *code = ide_ram(&c->s->w, c->regs.rip);
	unsigned len = 2 + (code[0] == 0x66);
	uint8_t opcode = code[len - 1];
	unsigned width = !(opcode & 1) ? 1 : len == 3 ? 2 : 4;
	struct bus *bus = &c->s->w.bus;

	assert_int_equal(opcode & 0xfc, 0x6c);
	if (opcode & 2) {
		bus_write_rep(bus, BUS_PIO, c->regs.rdx, ide_ram(&c->s->w, c->regs.rsi), width, 1);
		c->regs.rsi += width;
	} else {
		bus_read_rep(bus, BUS_PIO, c->regs.rdx, ide_ram(&c->s->w, c->regs.rdi), width, 1);
		c->regs.rdi += width;
	}
	c->by_hand++;
	if (!--c->regs.rcx)
		c->regs.rip += len;
}

/* False: a poll has not held. *reads is what the entries have read. */
static bool do_as_code(struct coder *c, const struct coalesced_io_page *page,
		       const uint32_t **reads)
{
	static const uint8_t unknown[] = { UNKNOWN };

	*reads = memset(ide_ram(&c->s->w, READS), 0, COALESCED_IO_MAX_ENTRIES * 4);
	memset(&c->la->predictor, 0, sizeof(c->la->predictor));
	c->at = CODE;
	for (uint32_t i = 0; i < page->count; i++)
		emit_entry(c, &page->entry[i], i);
	EMIT(c, UNKNOWN);
	c->la->predictor.last = NULL;
	c->la->predictor.last_port = (struct ahead_port){ 0 };
	c->regs = (struct kvm_regs){ .rip = CODE, .rflags = FLAG_FIXED };
	while (memcmp(ide_ram(&c->s->w, c->regs.rip), unknown, sizeof(unknown)) != 0)
		if (!lookahead_run(c->la, &c->regs, &c->sregs, 0, ticks_now()))
			do_by_hand(c);
	return c->regs.rip == c->at - sizeof(unknown);
}

/* --- all of them ----------------------------------------------------------------------------------- */

static void test_any_list(void **state)
{
	static struct side sides[4]; /* plain, with lists, with writes kept back, ahead */
	static struct coder coder;
	struct coalesced_io_page *page;
	uint32_t x = 1, polls = 0, kept;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		side_init(&sides[i], i == 2);
	coder_init(&coder, &sides[3]);
	page = page_of(&sides[1]);
	for (unsigned round = 0; round < 400; round++) {
		uint32_t reads[2][COALESCED_IO_MAX_ENTRIES] = { 0 }, n;
		const uint32_t *ahead;
		bool holds = true;

		page->count = 1 + next_random(&x) % COALESCED_IO_MAX_ENTRIES;
		page->flags = 0;
		for (uint32_t i = 0; i < page->count; i++)
			random_entry(&page->entry[i], &x);
		for (n = 0; n < page->count && holds; n++) {
			holds = do_checked(&sides[0], &sides[2], &page->entry[n], &reads[0][n]);
			assert_true(do_single(&sides[2], &page->entry[n], &reads[1][n]) == holds);
		}
		assert_true(do_as_code(&coder, page, &ahead) == holds);
		ring_bell(&sides[1]);
		polls += !holds;
		assert_int_equal(page->result, holds ? COALESCED_IO_OK : COALESCED_IO_E_POLL);
		assert_int_equal(page->failed, holds ? page->count : n - 1);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(page->entry[i].read, reads[0][i]);
			assert_int_equal(reads[1][i], reads[0][i]);
			assert_int_equal(ahead[i], reads[0][i]);
		}
		for (unsigned i = 1; i < 4; i++)
			same(&sides[0], &sides[i]);
	}
	kept = sides[2].kept;
	assert_true(polls > 50 && polls < 350);
	assert_true(kept > 2000);
	assert_int_equal(sides[2].w.bus.posted, kept);
	assert_true(coder.la->avoided > 10 * coder.la->runs);
	assert_true(coder.by_hand < coder.la->avoided / 100);
	lookahead_destroy(coder.la);
	for (unsigned i = 0; i < 4; i++)
		side_destroy(&sides[i]);
}

/* --- requests by DMA ---------------------------------------------------------------------------- */

static void issue(struct coalesced_io_page *page, uint32_t lba, bool to_memory)
{
	uint8_t direction = to_memory ? BM_COMMAND_TO_MEMORY : 0;
	const struct {
		uint16_t port;
		uint8_t width;
		uint32_t value;
	} outs[] = {
		{ PLATFORM_PORT_IDE0 + ATA_DEVICE, 1, 0xe0 },
		{ PLATFORM_PORT_IDE0 + ATA_COUNT, 1, 8 },
		{ PLATFORM_PORT_IDE0 + ATA_LBA_LOW, 1, lba },
		{ PLATFORM_PORT_IDE0 + ATA_LBA_MID, 1, 0 },
		{ PLATFORM_PORT_IDE0 + ATA_LBA_HIGH, 1, 0 },
		{ IDE_BM_BASE + BM_TABLE, 4, IDE_PRD },
		{ IDE_BM_BASE + BM_STATUS, 1, BM_STATUS_INTERRUPT | BM_STATUS_ERROR },
		{ IDE_BM_BASE + BM_COMMAND, 1, direction },
		{ PLATFORM_PORT_IDE0 + ATA_COMMAND, 1, to_memory ? 0xc8 : 0xca },
		{ IDE_BM_BASE + BM_COMMAND, 1, direction | BM_COMMAND_START },
	};

	page->flags = 0;
	page->count = ARRAY_SIZE(outs);
	for (unsigned i = 0; i < ARRAY_SIZE(outs); i++)
		coalesced_io_out(&page->entry[i], outs[i].width, outs[i].port, outs[i].value);
}

static void complete(struct coalesced_io_page *page)
{
	page->count = 4;
	coalesced_io_poll(&page->entry[0], 1, IDE_BM_BASE + BM_STATUS, BM_STATUS_INTERRUPT,
			  BM_STATUS_INTERRUPT, 1);
	coalesced_io_out(&page->entry[1], 1, IDE_BM_BASE + BM_COMMAND, 0);
	coalesced_io_in(&page->entry[2], 1, PLATFORM_PORT_IDE0 + ATA_STATUS);
	coalesced_io_out(&page->entry[3], 1, IDE_BM_BASE + BM_STATUS, BM_STATUS_INTERRUPT);
}

static void do_page(struct side *s, bool list)
{
	struct coalesced_io_page *page = page_of(s);
	uint32_t read;

	if (list) {
		ring_bell(s);
		assert_int_equal(page->result, COALESCED_IO_OK);
		return;
	}
	for (uint32_t i = 0; i < page->count; i++)
		assert_true(do_single(s, &page->entry[i], &read));
}

/*
 * Writes while the disk has the command are ignored, or change what the bus master has read
 * already; and are so before it ends, however long they were kept back.
 */
static void write_meanwhile(struct side *s)
{
	guest_out(s, PLATFORM_PORT_IDE0 + ATA_LBA_LOW, 1, 0x99);
	guest_out(s, PLATFORM_PORT_IDE0 + ATA_COUNT, 1, 0x98);
	guest_out(s, IDE_BM_BASE + BM_STATUS, 1, 0x24);
	guest_out(s, IDE_BM_BASE + BM_TABLE, 4, 0x30000);
}

static void test_dma(void **state)
{
	static struct side sides[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		side_init(&sides[i], i == 2);
	for (uint32_t round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 3; i++) {
			struct side *s = &sides[i];
			bool hold = round % 2;

			ide_prd(&s->w, 0, IDE_DATA, 4096, true);
			issue(page_of(s), round * 3 % 50, round % 4 != 2);
			s->w.disks[0].hold = hold;
			do_page(s, i == 1);
			if (hold) {
				ide_disk_wait_submitted(&s->w.disks[0], round + 1);
				write_meanwhile(s);
				ide_disk_release(&s->w.disks[0]);
			}
			ide_settle(&s->w);
			ide_settle(&s->w);
			complete(page_of(s));
			do_page(s, i == 1);
		}
		same(&sides[0], &sides[1]);
		same(&sides[0], &sides[2]);
	}
	assert_int_equal(sides[0].w.irq[0].raised, 20);
	assert_true(sides[2].kept > 20 * 8);
	for (unsigned i = 0; i < 3; i++)
		side_destroy(&sides[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_list),
		cmocka_unit_test(test_dma),
	};

	return cmocka_run_group_tests_name("coalesced_same", tests, NULL, NULL);
}
