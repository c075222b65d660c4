/* SPDX-License-Identifier: MIT */
/*
 * Coalesced I/O, from inside. On the command line is one of:
 *
 *   plain, doorbell    n= DMA requests of 4 KiB, as ata_piix does them, or as two lists of
 *                      accesses each; the host compares the numbers of exits
 *   lists              what a list can do, and what it must not
 *   changed            another CPU rewrites a list all the time
 *   posted             what one CPU has written the other one sees, whatever the host keeps
 *                      back; with and without DMA going on
 *   reset              what another CPU was writing does not come after it
 *
 * With "hypercall" as well, lists go that way instead of by the doorbell. The first disk is as in
 * ide.c, 2048 sectors at least.
 */
#include "guests/baremetal/lib/coalesce.h"
#include "guests/baremetal/lib/ap.h"
#include "guests/baremetal/lib/sector.h"

#define SECTORS 8
#define NOBODY 0x1230
#define NOT_RAM 0xe0000000u
#define UNTOUCHED 0x5aa55aa5u
#define REWRITES 300
#define REWRITES_MOST 100000
#define ROUNDS 300
#define CMOS_RESET 0x50
#define CMOS_ELSEWHERE 0x55
#define NOT_BCD 0xee

static uint8_t buf[SECTORS * SECTOR_SIZE] __attribute__((aligned(4096)));
static struct ide_prd table[1] __attribute__((aligned(4096)));
static struct coalesced_io_page page __attribute__((aligned(COALESCED_IO_PAGE_SIZE)));
static struct coalesce coalesce;
static struct ide disk;
static unsigned awaited; /* interrupts of the disk, until now */

static void wait_irq(void)
{
	while (irq_seen.count[VECTOR_IRQ(14)] == awaited)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	awaited = irq_seen.count[VECTOR_IRQ(14)];
}

static void expect_irqs(void)
{
	(void)ide_read(&disk, IDE_STATUS);
	pic_unmask(14);
	/* The PIC remembers an edge from when it was masked; some KVMs only look at an exit. */
	sti();
	for (unsigned i = 0; i < 10; i++)
		(void)ide_read(&disk, IDE_STATUS);
	cli();
	awaited = irq_seen.count[VECTOR_IRQ(14)];
}

/* --- requests --------------------------------------------------------------------------- */

static bool request(bool plain, unsigned i)
{
	unsigned lba = i * SECTORS % 1024;
	const struct ide_regs r = { .command = IDE_CMD_READ_DMA, .count = SECTORS, .lba = lba };
	int status;

	table[0] = (struct ide_prd){ (uint32_t)(uintptr_t)buf, sizeof(buf), IDE_PRD_END };
	memset(buf, 0, sizeof(buf));
	if (plain)
		status = coalesce_dma_plain(&disk, &r, table, true, wait_irq);
	else
		status = coalesce_dma(&coalesce, &page, &disk, &r, table, true, wait_irq);
	return ide_ok(status) && !sectors_wrong(buf, lba, SECTORS, false);
}

static void requests(bool plain, unsigned n)
{
	unsigned good = 0;

	expect_irqs();
	for (unsigned i = 0; i < n; i++)
		good += request(plain, i);
	tap_is(good, n, "DMA requests with the right data");
}

/* --- lists ------------------------------------------------------------------------------ */

static struct coalesced_io_entry *ide_entry(unsigned op, unsigned reg)
{
	struct coalesced_io_entry *e = coalesce_next(&page);

	coalesced_io_entry_set(e, op, 1, disk.port + reg);
	return e;
}

static uint32_t ring(void)
{
	page.result = page.failed = UNTOUCHED;
	(void)coalesce_ring(&coalesce, &page);
	return page.result;
}

static void test_operations(void)
{
	static const uint8_t out[4] = { 1, 2, 3, 0x77 };
	uint64_t addr = (uintptr_t)buf;
	struct coalesced_io_entry *e;

	coalesce_begin(&page);
	coalesced_io_out(coalesce_next(&page), 1, disk.port + IDE_LBA_LOW, 0x12);
	coalesced_io_out(coalesce_next(&page), 2, disk.port + IDE_LBA_MID, 0x5634);
	coalesced_io_barrier(coalesce_next(&page));
	for (unsigned reg = IDE_LBA_LOW; reg <= IDE_LBA_HIGH; reg++)
		(void)ide_entry(COALESCED_IO_IN, reg);
	coalesced_io_string(coalesce_next(&page), COALESCED_IO_OUT_STRING, 1, disk.port + IDE_COUNT,
			    (uintptr_t)out, 4);
	memset(buf, 0, 16);
	coalesced_io_string(coalesce_next(&page), COALESCED_IO_IN_STRING, 1, disk.port + IDE_COUNT,
			    addr + 3, 5);
	e = coalesce_next(&page);
	coalesced_io_poll(e, 1, disk.port + IDE_COUNT, 0xf0, 0x70, 9);
	tap_is(ring(), COALESCED_IO_OK, "a list");
	tap_is(page.failed, page.count, "none of it failed");
	tap_is(page.entry[3].read | page.entry[4].read << 8 | page.entry[5].read << 16, 0x563412,
	       "IN reads what OUT wrote");
	tap_is(page.entry[6].done, 4, "OUT_STRING is done with all elements");
	tap(!buf[2] && bytes_are(buf + 3, 5, 0x77) && !buf[8],
	    "IN_STRING puts them where it should");
	tap_is(e->done, 1, "POLL ends when it holds");
	tap_is(e->read, 0x77, "and tells what it read");
	page.entry[3].read = 0;
	tap(ring() == COALESCED_IO_OK && page.entry[3].read == 0x12, "a page rings again as it is");
}

/* A sector by PIO, in one list if the disk is quick. */
static void test_pio(void)
{
	const struct ide_regs r = { .command = IDE_CMD_READ, .count = 1, .lba = 77 };
	unsigned tries = 0;

	pic_mask_all();
	memset(buf, 0, sizeof(buf));
	ide_issue(&disk, &r);
	coalesce_begin(&page);
	coalesced_io_poll(coalesce_next(&page), 1, disk.control, IDE_BSY | IDE_DRQ, IDE_DRQ, 10000);
	(void)ide_entry(COALESCED_IO_IN, IDE_STATUS);
	coalesced_io_string(coalesce_next(&page), COALESCED_IO_IN_STRING, 2, disk.port + IDE_DATA,
			    (uintptr_t)buf, SECTOR_SIZE / 2);
	while (ring() == COALESCED_IO_E_POLL && ++tries < 1000)
		;
	tap_is(page.result, COALESCED_IO_OK, "a sector by PIO: wait, status and data in one list");
	tap(sector_holds(buf, 77, false), "it is the right one");
}

/* The list under way is a copy: what it reads over itself does not count. */
static void test_over_itself(void)
{
	ide_write(&disk, IDE_COUNT, 0xee);
	coalesce_begin(&page);
	coalesced_io_string(coalesce_next(&page), COALESCED_IO_IN_STRING, 1, disk.port + IDE_COUNT,
			    (uintptr_t)page.entry, 3 * sizeof(page.entry[0]));
	coalesced_io_out(coalesce_next(&page), 1, disk.port + IDE_LBA_LOW, 0x99);
	coalesced_io_in(coalesce_next(&page), 1, disk.port + IDE_LBA_LOW);
	tap_is(ring(), COALESCED_IO_OK, "a list that reads over itself");
	tap_is(page.entry[2].read, 0x99, "is done as it was");
	tap_is(page.entry[1].op, 0xee, "and has read over itself");
}

static const struct wrong {
	const char *name;
	struct coalesced_io_entry e;
	uint32_t result;
} wrongs[] = {
	{ "no operation", { .op = 0, .width = 1 }, COALESCED_IO_E_OP },
	{ "an unknown operation", { .op = 7, .width = 1 }, COALESCED_IO_E_OP },
	{ "operation 255", { .op = 255, .width = 1 }, COALESCED_IO_E_OP },
	{ "width 0", { .op = COALESCED_IO_IN, .port = 0x1f3 }, COALESCED_IO_E_WIDTH },
	{ "width 3", { .op = COALESCED_IO_IN, .width = 3, .port = 0x1f3 }, COALESCED_IO_E_WIDTH },
	{ "width 8", { .op = COALESCED_IO_OUT, .width = 8, .port = 0x1f3 }, COALESCED_IO_E_WIDTH },
	{ "a value for IN",
	  { .op = COALESCED_IO_IN, .width = 1, .port = 0x1f3, .value = 1 },
	  COALESCED_IO_E_RESERVED },
	{ "a mask for OUT",
	  { .op = COALESCED_IO_OUT, .width = 1, .port = 0x1f3, .mask = 1 },
	  COALESCED_IO_E_RESERVED },
	{ "a port for BARRIER",
	  { .op = COALESCED_IO_BARRIER, .port = 0x1f3 },
	  COALESCED_IO_E_RESERVED },
	{ "past the last port",
	  { .op = COALESCED_IO_IN, .width = 2, .port = 0xffff },
	  COALESCED_IO_E_RANGE },
	{ "the doorbell",
	  { .op = COALESCED_IO_OUT, .width = 4, .port = PLATFORM_PORT_COALESCED_IO },
	  COALESCED_IO_E_RANGE },
	{ "half of the doorbell",
	  { .op = COALESCED_IO_IN, .width = 2, .port = PLATFORM_PORT_COALESCED_IO - 1 },
	  COALESCED_IO_E_RANGE },
	{ "a string of nothing",
	  { .op = COALESCED_IO_IN_STRING, .width = 1, .port = 0x1f3, .addr = 0x100000 },
	  COALESCED_IO_E_LIMIT },
	{ "a string that is too long",
	  { .op = COALESCED_IO_IN_STRING, .width = 4, .port = 0x1f3, .count = ~0u },
	  COALESCED_IO_E_LIMIT },
	{ "too many polls",
	  { .op = COALESCED_IO_POLL, .width = 1, .port = 0x1f3, .count = 40000 },
	  COALESCED_IO_E_LIMIT },
	{ "a string where no RAM is",
	  { .op = COALESCED_IO_IN_STRING, .width = 1, .port = 0x1f3, .count = 1, .addr = NOT_RAM },
	  COALESCED_IO_E_ADDR },
	{ "a string whose address wraps",
	  { .op = COALESCED_IO_OUT_STRING, .width = 4, .port = 0x1f3, .count = 4, .addr = ~7ull },
	  COALESCED_IO_E_ADDR },
	{ "a string at the end of all addresses",
	  { .op = COALESCED_IO_IN_STRING, .width = 4, .port = 0x1f3, .count = 1, .addr = ~3ull },
	  COALESCED_IO_E_ADDR },
};

/* Behind a good entry, which then must not have been done. */
static void test_wrong(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(wrongs); i++) {
		ide_write(&disk, IDE_LBA_LOW, 0x11);
		coalesce_begin(&page);
		ide_entry(COALESCED_IO_OUT, IDE_LBA_LOW)->value = 0x22;
		*coalesce_next(&page) = wrongs[i].e;
		page.entry[1].done = UNTOUCHED;
		tap_is(ring(), wrongs[i].result, wrongs[i].name);
		tap(page.failed == 1 && page.entry[1].done == UNTOUCHED &&
			    ide_read(&disk, IDE_LBA_LOW) == 0x11,
		    "it is named, and nothing is done");
	}
}

static void test_wrong_page(void)
{
	static const uint32_t counts[] = { 0, COALESCED_IO_MAX_ENTRIES + 1, 0x10000, ~0u };
	static const uint32_t numbers[] = { NOT_RAM >> 12, ~0u, 0xfee00 };

	coalesce_begin(&page);
	ide_entry(COALESCED_IO_OUT, IDE_LBA_LOW)->value = 0x22;
	ide_write(&disk, IDE_LBA_LOW, 0x11);
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		page.count = counts[i];
		tap(ring() == COALESCED_IO_E_COUNT && !page.failed, "%u entries", counts[i]);
	}
	page.count = 1;
	page.flags = 1;
	tap_is(ring(), COALESCED_IO_E_RESERVED, "a flag");
	page.flags = 0;
	page.result = UNTOUCHED;
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		outl(coalesce.port, numbers[i]);
	outw(coalesce.port, (uint16_t)((uintptr_t)&page >> COALESCED_IO_PAGE_SHIFT));
	outb(coalesce.port, 0);
	tap_is(page.result, UNTOUCHED, "pages that are not there, and bells too narrow");
	tap_is(inl(coalesce.port), ~0u, "the doorbell reads ones");
	tap_is(ide_read(&disk, IDE_LBA_LOW), 0x11, "nothing is done");
}

/* Found on the way: what comes before is done, what comes after is not. */
static void test_in_between(void)
{
	struct coalesced_io_entry *poll;

	coalesce_begin(&page);
	ide_entry(COALESCED_IO_OUT, IDE_LBA_LOW)->value = 0x33;
	coalesced_io_in(coalesce_next(&page), 1, NOBODY);
	ide_entry(COALESCED_IO_OUT, IDE_LBA_LOW)->value = 0x44;
	tap_is(ring(), COALESCED_IO_E_PORT, "a port of no device");
	tap(page.failed == 1 && ide_read(&disk, IDE_LBA_LOW) == 0x33, "ends the list there");
	poll = &page.entry[1];
	coalesced_io_poll(poll, 1, disk.port + IDE_LBA_LOW, 0xff, 0x55, 5000);
	tap_is(ring(), COALESCED_IO_E_POLL, "POLL that never holds");
	tap(page.failed == 1 && poll->done == 5000 && poll->read == 0x33 &&
		    ide_read(&disk, IDE_LBA_LOW) == 0x33,
	    "ends the list there");
	coalesced_io_poll(poll, 1, disk.port + IDE_LBA_LOW, 0x0f, 0x33, 1);
	tap_is(ring(), COALESCED_IO_E_POLL, "POLL for bits that are not in the mask");
}

static void lists(void)
{
	test_operations();
	test_pio();
	test_over_itself();
	test_wrong();
	test_wrong_page();
	test_in_between();
	expect_irqs();
	tap(request(false, 3) && request(true, 4), "the disk works");
}

/* --- a list that changes -------------------------------------------------------------------- */

static volatile unsigned stop, changes;

static uint32_t next_random(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 8;
}

/* Good entries and two bad ones, none of which is a command; torn ones are neither. */
static void rewrite(unsigned index)
{
	const uint64_t addr = (uintptr_t)buf;
	const struct coalesced_io_entry entries[] = {
		{ .op = COALESCED_IO_OUT, .width = 1, .port = 0x1f3, .value = 0x55 },
		{ .op = COALESCED_IO_IN, .width = 2, .port = 0x1f4 },
		{ .op = COALESCED_IO_IN_STRING,
		  .width = 1,
		  .port = 0x1f2,
		  .count = 9,
		  .addr = addr },
		{ .op = COALESCED_IO_OUT_STRING,
		  .width = 1,
		  .port = 0x1f5,
		  .count = 7,
		  .addr = addr },
		{ .op = COALESCED_IO_POLL, .width = 1, .port = 0x1f3, .count = 50 },
		{ .op = COALESCED_IO_BARRIER },
		{ .op = COALESCED_IO_IN, .width = 1, .port = NOBODY },
		{ .op = COALESCED_IO_IN_STRING,
		  .width = 4,
		  .port = 0x1f2,
		  .count = ~0u,
		  .addr = NOT_RAM },
	};
	uint32_t x = index + 1;

	while (!stop) {
		const struct coalesced_io_entry *e =
			&entries[next_random(&x) % ARRAY_SIZE(entries)];
		volatile struct coalesced_io_entry *to = &page.entry[next_random(&x) % 8];

		to->op = e->op;
		to->width = e->width;
		to->port = e->port;
		to->count = e->count;
		to->value = e->value;
		to->addr = e->addr;
		*(volatile uint32_t *)&page.count = next_random(&x) % 6;
		changes++;
	}
}

static void changed(void)
{
	unsigned bad = 0, seen = 0;

	lapic_enable(false);
	ap_prepare(rewrite);
	ap_start(1);
	if (!tap(wait_for(&changes, 10, 5000), "another CPU rewrites the list"))
		return;
	/* The host may run the other CPU seldom: some lists more, until two have differed. */
	for (unsigned i = 0; i < REWRITES || (!(seen & (seen - 1)) && i < REWRITES_MOST); i++) {
		uint32_t result = ring();

		bad += result > COALESCED_IO_E_POLL;
		seen |= result <= COALESCED_IO_E_POLL ? 1u << result : 0;
	}
	print("# results seen: %x\n", seen);
	tap_is(bad, 0, "each list has one of the results that there are");
	tap(seen & (seen - 1), "not always the same");
	stop = 1;
	delay_us(20000);
	expect_irqs();
	tap(request(false, 5) && request(true, 6), "the disk works");
}

/* --- posted writes -------------------------------------------------------------------------- */

static volatile unsigned turn, seen_by_ap, wrong;

static uint8_t pattern(unsigned i, unsigned reg)
{
	return (uint8_t)(i * 37 + reg * 11 + 1);
}

static bool sees(unsigned i)
{
	bool good = true;

	for (unsigned reg = IDE_COUNT; reg <= IDE_LBA_HIGH; reg++)
		good &= ide_read(&disk, reg) == pattern(i, reg);
	good &= (inl(disk.bm + IDE_BM_TABLE) & ~3u) == (0x1000u * i & 0xffff0000u);
	return good && inb(PLATFORM_PORT_RTC_DATA) == pattern(i % 16, 0);
}

static void look(unsigned index)
{
	(void)index;
	for (;;) {
		unsigned now = turn;

		if (now == seen_by_ap)
			continue;
		wrong += !sees(now);
		__atomic_store_n(&seen_by_ap, now, __ATOMIC_SEQ_CST);
	}
}

static void write_all(unsigned i)
{
	for (unsigned reg = IDE_COUNT; reg <= IDE_LBA_HIGH; reg++)
		ide_write(&disk, reg, pattern(i, reg));
	outl(disk.bm + IDE_BM_TABLE, 0x1000u * i & 0xffff0000u);
	outb(PLATFORM_PORT_RTC_INDEX, (uint8_t)(0x40 + i % 16));
}

static void posted(void)
{
	unsigned good = 0, later;

	for (unsigned i = 0; i < 16; i++)
		cmos_write((uint8_t)(0x40 + i), pattern(i, 0));
	lapic_enable(false);
	ap_prepare(look);
	ap_start(1);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		write_all(i);
		turn = i;
		if (!wait_for(&seen_by_ap, i, 5000))
			break;
	}
	tap_is(seen_by_ap, ROUNDS, "the other CPU has looked each time");
	tap_is(wrong, 0, "at what was written last");
	/* More than what the host keeps back at most, and nothing else in between. */
	for (later = 1000; later < 1100; later++)
		write_all(later);
	tap(sees(later - 1), "many writes in a row: the last ones count");
	ide_write(&disk, IDE_DEVICE, 0xa0 | IDE_SLAVE);
	tap_is(ide_read(&disk, IDE_STATUS), 0, "a drive that is not there is selected");
	ide_write(&disk, IDE_DEVICE, 0xa0);
	tap(ide_read(&disk, IDE_STATUS) & IDE_DRDY, "and the one that is");
	expect_irqs();
	for (unsigned i = 0; i < ROUNDS; i++)
		good += request(true, i);
	tap_is(good, ROUNDS, "DMA requests with the right data");
}

static void write_on(unsigned index)
{
	(void)index;
	for (;;) {
		outb(PLATFORM_PORT_RTC_INDEX, CMOS_ELSEWHERE);
		turn = 1;
	}
}

/*
 * first: what the CMOS data port read before anything else, register 0 after a reset: a second in
 * BCD. In CMOS RAM it says on which side of the reset we are.
 */
static void reset(uint8_t first)
{
	if (cmos_read(CMOS_RESET) != NOT_BCD) {
		cmos_write(CMOS_RESET, NOT_BCD);
		cmos_write(CMOS_ELSEWHERE, NOT_BCD);
		ap_prepare(write_on);
		ap_start(1);
		(void)wait_for(&turn, 1, 5000);
		outb(PLATFORM_PORT_RESET, 6);
		for (;;)
			cpu_relax();
	}
	tap(first != NOT_BCD, "what was written before a reset is not done after it");
}

int main(void)
{
	uint8_t first = inb(PLATFORM_PORT_RTC_DATA);
	unsigned devfn = ide_find(), n = cmdline_number("n=", 0);
	bool found = coalesce_find(&coalesce);

	if (cmdline_has("reset")) {
		reset(first);
		return 0;
	}
	if (!tap(devfn != PCI_NONE, "there is an IDE controller"))
		return 0;
	disk = ide_place(devfn, 0);
	if (cmdline_has("plain")) {
		requests(true, n);
		return 0;
	}
	if (cmdline_has("posted")) {
		posted();
		return 0;
	}
	if (!tap(found, "there is coalesced I/O"))
		return 0;
	tap_is(coalesce.port, PLATFORM_PORT_COALESCED_IO, "its doorbell");
	coalesce.by_hypercall = cmdline_has("hypercall");
	if (coalesce.by_hypercall && !coalesce.hypercall)
		tap_skip("the hypercall", "this host's KVM does not let it out");
	else if (cmdline_has("lists"))
		lists();
	else if (cmdline_has("changed"))
		changed();
	else
		requests(false, n);
	return 0;
}
