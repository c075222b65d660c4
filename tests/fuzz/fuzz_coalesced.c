/* SPDX-License-Identifier: MIT */
/*
 * Lists of port accesses by fuzz: entries that are mostly right, to an IDE channel with a disk and
 * a CD-ROM drive, its bus master and the PCI configuration ports; or a page of raw bytes. Whatever
 * it is, there is a result that says so, and two machines agree: one that did the list, and one
 * that did as many of its entries, one by one. The I/O threads are this one: nothing they have to
 * do happens before settle().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "base/state.h"
#include "cpu/coalesced_io.h"
#include "devices/ide/ata_regs.h"
#include "devices/ide/ide.h"
#include "guests/include/bantam/coalesced_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM MIB
#define PAGE 0x40000ull
#define TABLE 0x50000ull
#define DATA 0x60000ull
#define BM_BASE PLATFORM_PCI_IO_BASE
#define DISK (64 * KIB)
#define OP_SIZE 8
#define MAX_LISTS 32

static void check(bool ok)
{
	if (!ok)
		abort();
}

struct ram_block {
	struct block b;
	uint8_t bytes[DISK];
};

static void ram_submit(struct block_queue *q, struct block_req *req)
{
	struct ram_block *r = container_of(q->block, struct ram_block, b);
	uint8_t *p = r->bytes + req->offset;

	for (unsigned i = 0; i < req->nr_iov && req->op != BLOCK_FLUSH; i++) {
		size_t n = req->iov[i].iov_len;

		check(p + n <= r->bytes + DISK);
		if (req->op == BLOCK_READ)
			memcpy(req->iov[i].iov_base, p, n);
		else
			memcpy(p, req->iov[i].iov_base, n);
		p += n;
	}
	req->done(req, 0);
}

static void ram_close(struct block_queue *q)
{
	free(q);
}

static const struct block_queue_ops ram_queue_ops = { .submit = ram_submit, .close = ram_close };

static int ram_open_queue(struct block *b, const struct block_queue_config *cfg,
			  struct block_queue **out)
{
	(void)cfg;
	*out = malloc(sizeof(**out));
	check(*out);
	**out = (struct block_queue){ &ram_queue_ops, b };
	return 0;
}

static const struct block_ops ram_ops = { .open_queue = ram_open_queue };

struct side {
	struct mem mem;
	struct loop loop;
	struct bus bus;
	struct ram_block disk;
	struct pci_host *host;
	struct device *ch[IDE_NR_CHANNELS];
	struct device *fn;
};

static void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

static void settle(struct side *s)
{
	struct loop_post post = { .fn = stop_loop, .opaque = &s->loop };

	loop_post(&s->loop, &post);
	s->loop.stop = false;
	check(!loop_run(&s->loop));
}

static void config_out(struct side *s, unsigned reg, uint32_t v)
{
	uint32_t addr = 0x80000000u | PLATFORM_PCI_IDE << 8 | reg;

	bus_write(&s->bus, BUS_PIO, PLATFORM_PORT_PCI_ADDR, &addr, 4);
	bus_write(&s->bus, BUS_PIO, PLATFORM_PORT_PCI_DATA, &v, 4);
}

static void side_make(struct side *s)
{
	struct pci_host_config pc = { .name = "pci", .bus = &s->bus };
	struct piix_ide_config fc = { .name = "piix-ide", .devfn = PLATFORM_PCI_IDE, .udma = true };
	struct ide_channel_config cc = {
		.name = "ide0",
		.bus = &s->bus,
		.mem = &s->mem,
		.port = PLATFORM_PORT_IDE0,
		.control_port = PLATFORM_PORT_IDE0_CONTROL,
		.drives = { { .block = &s->disk.b }, { .cdrom = true } },
		.loop = &s->loop,
	};

	if (!s->mem.map)
		check(!mem_init(&s->mem, RAM) && !loop_init(&s->loop));
	memset(s->mem.map, 0, RAM);
	memset(&s->disk, 0, sizeof(s->disk));
	s->disk.b.ops = &ram_ops;
	s->disk.b.size = DISK;
	bus_init(&s->bus);
	check(!pci_host_create(&pc, &s->host));
	check(!ide_channel_create(&cc, &s->ch[0]));
	cc = (struct ide_channel_config){
		.name = "ide1",
		.bus = &s->bus,
		.mem = &s->mem,
		.port = PLATFORM_PORT_IDE1,
		.control_port = PLATFORM_PORT_IDE1_CONTROL,
		.loop = &s->loop,
	};
	check(!ide_channel_create(&cc, &s->ch[1]));
	fc.pci = s->host;
	fc.channels[0] = s->ch[0];
	fc.channels[1] = s->ch[1];
	check(!piix_ide_create(&fc, &s->fn));
	check(!pci_assign(s->host));
	config_out(s, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	for (uint64_t i = 0; i < 16; i++) {
		uint64_t prd =
			(DATA + i * 0x1000) | (i < 15 ? 0x1000ull << 32 : 0x80001000ull << 32);

		check(!mem_write(&s->mem, TABLE + i * 8, &prd, 8));
	}
}

static void side_unmake(struct side *s)
{
	settle(s);
	device_destroy(s->fn);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++)
		device_destroy(s->ch[i]);
	device_destroy(&s->host->dev);
	bus_destroy(&s->bus);
}

static struct coalesced_io_page *page_of(struct side *s)
{
	struct coalesced_io_page *page = mem_at(&s->mem, PAGE, sizeof(*page));

	check(page);
	return page;
}

static void same_device(struct device *a, struct device *b)
{
	struct state_buf x = { 0 }, y = { 0 };

	check(!state_save(a, &x) && !state_save(b, &y));
	check(x.len == y.len && !memcmp(x.data, y.data, x.len));
	state_buf_free(&x);
	state_buf_free(&y);
}

/* --- lists --------------------------------------------------------------------------------- */

static void make_entry(struct coalesced_io_entry *e, const uint8_t *op)
{
	static const uint16_t ports[] = {
		PLATFORM_PORT_IDE0,
		PLATFORM_PORT_IDE0_CONTROL,
		BM_BASE,
		PLATFORM_PORT_PCI_ADDR,
		PLATFORM_PORT_PCI_DATA,
		PLATFORM_PORT_IDE0,
		PLATFORM_PORT_COALESCED_IO,
		0xfffe,
	};
	uint32_t v = (uint32_t)load_le(op + 4, 4);

	memset(e, 0, sizeof(*e));
	e->op = op[0] % 8;
	if (e->op == COALESCED_IO_BARRIER)
		return;
	e->width = op[1] & 0x40 ? op[1] : (uint8_t)(1u << op[1] % 3);
	e->port = (uint16_t)(ports[op[2] >> 3 & 7] + (op[2] & 7));
	switch (e->op) {
	case COALESCED_IO_OUT:
		e->value = v;
		/* The table that is there, mostly. */
		if (e->port == BM_BASE + BM_TABLE && op[3] & 3)
			e->value = TABLE;
		break;
	case COALESCED_IO_POLL:
		e->count = op[3];
		e->mask = v & 0xff;
		e->value = v >> 8 & 0xff;
		break;
	case COALESCED_IO_IN_STRING:
	case COALESCED_IO_OUT_STRING:
		e->count = op[3] * 8u;
		e->addr = v & 0x80000000 ? v * 0x10001ull << 8 : DATA + (v & 0xffff);
		break;
	default:
		break;
	}
}

/* Does entry i of the page, done accesses of it, as a guest without lists would. */
static void do_single(struct side *s, const struct coalesced_io_entry *e, uint32_t done)
{
	uint64_t len = (uint64_t)done * e->width;
	uint32_t v = 0;

	switch (e->op) {
	case COALESCED_IO_OUT:
		if (done)
			bus_write(&s->bus, BUS_PIO, e->port, &e->value, e->width);
		break;
	case COALESCED_IO_OUT_STRING:
		if (done)
			bus_write_rep(&s->bus, BUS_PIO, e->port, mem_at(&s->mem, e->addr, len),
				      e->width, done);
		break;
	case COALESCED_IO_IN_STRING:
		if (done)
			bus_read_rep(&s->bus, BUS_PIO, e->port, mem_at(&s->mem, e->addr, len),
				     e->width, done);
		break;
	case COALESCED_IO_IN:
	case COALESCED_IO_POLL:
		for (uint32_t i = 0; i < done; i++) {
			v = 0;
			bus_read(&s->bus, BUS_PIO, e->port, &v, e->width);
		}
		check(v == e->read || !done);
		break;
	default:
		break;
	}
}

/* A string over the page itself: what was told when is not the same one by one. */
static bool over_itself(const struct coalesced_io_page *page)
{
	for (uint32_t i = 0; i < page->count && i < COALESCED_IO_MAX_ENTRIES; i++) {
		const struct coalesced_io_entry *e = &page->entry[i];

		if (e->addr < PAGE + sizeof(*page) && e->addr + e->count * 4ull > PAGE)
			return true;
	}
	return false;
}

static bool run_list(struct side *list, struct side *single)
{
	struct coalesced_io_page *page = page_of(list), before = *page;
	unsigned made = 0, accesses;
	bool found;

	for (uint32_t i = 0; i < COALESCED_IO_MAX_ENTRIES; i++)
		page->entry[i].done = 0;
	accesses = coalesced_io_run(&list->bus, &list->mem, PAGE, &found);
	check(found && accesses <= COALESCED_IO_MAX_ACCESSES);
	if (over_itself(&before))
		return false;
	check(page->result <= COALESCED_IO_E_POLL);
	check(page->result ? page->failed < COALESCED_IO_MAX_ENTRIES : page->failed == page->count);
	for (uint32_t i = 0; i < COALESCED_IO_MAX_ENTRIES; i++) {
		check(i <= page->failed || !page->entry[i].done);
		do_single(single, &page->entry[i], page->entry[i].done);
		made += page->entry[i].done;
	}
	check(made == accesses);
	*page_of(single) = *page;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct side a, b;
	bool go_on = true;

	side_make(&a);
	side_make(&b);
	for (unsigned lists = 0; lists < MAX_LISTS && size > OP_SIZE && go_on; lists++) {
		struct coalesced_io_page *page = page_of(&a);
		uint8_t kind = *data++;
		size_t n = min_u64(1 + kind % 32, --size / OP_SIZE);

		memset(page, 0, sizeof(*page));
		if (kind == 0xff) {
			n = min_u64(size, sizeof(*page));
			memcpy(page, data, n);
			go_on = run_list(&a, &b);
			data += n;
			size -= n;
		} else {
			page->count = (uint32_t)n;
			for (size_t i = 0; i < n; i++)
				make_entry(&page->entry[i], data + i * OP_SIZE);
			go_on = run_list(&a, &b);
			data += n * OP_SIZE;
			size -= n * OP_SIZE;
		}
		settle(&a);
		settle(&b);
		if (!go_on)
			break;
		same_device(a.ch[0], b.ch[0]);
		same_device(a.fn, b.fn);
		same_device(&a.host->dev, &b.host->dev);
		check(!memcmp(a.mem.map, b.mem.map, RAM));
		check(!memcmp(a.disk.bytes, b.disk.bytes, DISK));
	}
	side_unmake(&a);
	side_unmake(&b);
	return 0;
}
