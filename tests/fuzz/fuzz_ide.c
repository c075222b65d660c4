/* SPDX-License-Identifier: MIT */
/*
 * IDE channels driven by fuzz at their registers, with fuzz in the tables that the bus master
 * reads. A few operations are whole requests, right but for what fuzz says, so that the code
 * behind the registers is reached from nothing; and the mutator has seeds of its own besides
 * the corpus that the unit tests write. The disks stay within their size, and the drives work
 * again after a reset. The I/O thread is this one: nothing is waited for before settle() has
 * run its loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/ide/ata_regs.h"
#include "devices/ide/ide.h"
#include "tests/fuzz/ide_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

#define RAM MIB
#define TABLE IDE_FUZZ_TABLE
#define DATA IDE_FUZZ_DATA
#define KEPT (64 * 512) /* bytes of a disk that hold what was written; the others are 0 */
#define BM_BASE PLATFORM_PCI_IO_BASE
#define OP_SIZE IDE_FUZZ_OP_SIZE

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* Held, it keeps its request until it is told to go on. */
struct ram_block {
	struct block b;
	uint8_t bytes[KEPT];
	bool hold;
	struct block_req *held;
};

static void ram_copy(struct ram_block *r, bool read, uint64_t at, uint8_t *p, size_t n)
{
	uint64_t from = min_u64(at, KEPT), kept = min_u64(n, KEPT - from);
	volatile uint8_t last = p[n - 1]; /* what is not kept has to be there as well */

	(void)last;
	if (read) {
		memset(p, 0, n);
		memcpy(p, r->bytes + from, kept);
	} else {
		memcpy(r->bytes + from, p, kept);
	}
}

static void ram_do(struct ram_block *r, struct block_req *req)
{
	uint64_t at = req->offset, sum = 0;

	for (unsigned i = 0; i < req->nr_iov && req->op != BLOCK_FLUSH; i++) {
		const struct iovec *v = &req->iov[i];

		check(v->iov_len && at <= r->b.size && v->iov_len <= r->b.size - at);
		ram_copy(r, req->op == BLOCK_READ, at, v->iov_base, v->iov_len);
		at += v->iov_len;
		sum += v->iov_len;
	}
	check(sum == req->len && sum % 512 == 0);
	/* Sectors 40 to 43 are bad. */
	req->done(req, req->offset < 44 * 512 && at > 40 * 512 ? -EIO : 0);
}

static void ram_submit(struct block_queue *q, struct block_req *req)
{
	struct ram_block *r = container_of(q->block, struct ram_block, b);

	if (!r->hold) {
		ram_do(r, req);
		return;
	}
	check(!r->held);
	r->held = req;
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

struct world {
	struct mem *mem;
	struct loop *loop;
	struct bus bus;
	struct ram_block disks[4];
	struct block_stages stages;
	struct pci_host *host;
	struct device *ch[IDE_NR_CHANNELS];
	struct device *fn;
	unsigned cur;
};

static void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

/* Does what the I/O thread was told so far, on this one. */
static void settle(struct world *w)
{
	struct loop_post post = { .fn = stop_loop, .opaque = w->loop };

	loop_post(w->loop, &post);
	w->loop->stop = false;
	check(!loop_run(w->loop));
}

static void release_all(void *opaque)
{
	struct world *w = opaque;

	for (unsigned i = 0; i < 4; i++) {
		struct block_req *req = w->disks[i].held;

		w->disks[i].hold = false;
		w->disks[i].held = NULL;
		if (req)
			ram_do(&w->disks[i], req);
	}
}

static void release(struct world *w)
{
	struct loop_post post = { .fn = release_all, .opaque = w };

	loop_post(w->loop, &post);
	settle(w);
}

static uint16_t port(const struct world *w, unsigned reg)
{
	return (uint16_t)((w->cur ? PLATFORM_PORT_IDE1 : PLATFORM_PORT_IDE0) + reg);
}

static uint16_t control_port(const struct world *w)
{
	return w->cur ? PLATFORM_PORT_IDE1_CONTROL : PLATFORM_PORT_IDE0_CONTROL;
}

static void out(struct world *w, uint16_t at, unsigned width, uint64_t v)
{
	bus_write(&w->bus, BUS_PIO, at, &v, width);
}

static uint64_t in(struct world *w, uint16_t at, unsigned width)
{
	uint64_t v = 0;

	bus_read(&w->bus, BUS_PIO, at, &v, width);
	return v;
}

static void bm_out(struct world *w, unsigned reg, unsigned width, uint64_t v)
{
	out(w, (uint16_t)(BM_BASE + w->cur * BM_NR_REGS + reg), width, v);
}

static void config_out(struct world *w, unsigned reg, unsigned width, uint32_t v)
{
	out(w, PLATFORM_PORT_PCI_ADDR, 4, 0x80000000u | PLATFORM_PCI_IDE << 8 | (reg & 0xfc));
	out(w, (uint16_t)(PLATFORM_PORT_PCI_DATA + (reg & 3)), width, v);
}

static void firmware(struct world *w)
{
	check(!pci_assign(w->host));
	config_out(w, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static void poke(struct world *w, uint64_t gpa, unsigned width, uint64_t v)
{
	(void)!mem_write(w->mem, gpa, &v, width);
}

static void task_file(struct world *w, unsigned unit, uint32_t lba, unsigned count)
{
	out(w, port(w, ATA_DEVICE), 1, 0xe0 | unit << 4 | (lba >> 24 & 15));
	/* Twice: the second is the one that counts, the first a 48-bit command's high bytes. */
	for (unsigned i = 2; i-- > 0;) {
		out(w, port(w, ATA_COUNT), 1, count >> 8 * i);
		out(w, port(w, ATA_LBA_LOW), 1, i ? 0 : lba);
		out(w, port(w, ATA_LBA_MID), 1, i ? 0 : lba >> 8);
		out(w, port(w, ATA_LBA_HIGH), 1, i ? 0 : lba >> 16);
	}
}

static void data_port(struct world *w, const uint8_t *op)
{
	uint8_t buf[1024];
	unsigned width = 1u << op[2] % 3, count = 1 + (op[3] & 0xff);

	memset(buf, op[4], sizeof(buf));
	if (op[1] & 1)
		bus_read_rep(&w->bus, BUS_PIO, port(w, ATA_DATA), buf, width, count);
	else
		bus_write_rep(&w->bus, BUS_PIO, port(w, ATA_DATA), buf, width, count);
}

static void dma(struct world *w, const uint8_t *op)
{
	static const uint8_t opcodes[] = { 0xc8, 0xca, 0x25, 0x35 };

	task_file(w, op[1] & 1, op[2], op[3] & 0x80 ? op[3] * 8u : op[3]);
	out(w, port(w, ATA_COMMAND), 1, opcodes[op[4] & 3]);
	bm_out(w, BM_COMMAND, 1, 0);
	bm_out(w, BM_TABLE, 4, TABLE + (op[5] & 0xfc));
	bm_out(w, BM_COMMAND, 1, 1 | (op[4] & 1 ? 0 : 8) | (op[6] & 0x20));
}

/* Entries of the table: regions of one length, one after the other. */
static void regions(struct world *w, const uint8_t *op)
{
	uint32_t len = (uint32_t)load_le(op + 2, 2);

	for (unsigned i = 0; i <= op[1]; i++) {
		uint64_t prd = TABLE + i * 8ull;

		poke(w, prd, 4, DATA + op[4] + (uint64_t)i * len);
		poke(w, prd + 4, 4, len | (i == op[1] && op[5] & 1 ? 0x80000000u : 0));
	}
	if (op[6] & 1)
		poke(w, TABLE + op[7] * 8ull, 4, load_le(op + 2, 4));
}

static void packet(struct world *w, const uint8_t *op)
{
	uint8_t cdb[12] = {
		op[1], [4] = op[2], [5] = op[3], [7] = op[4], [8] = op[5], [9] = op[6]
	};

	w->cur = 0;
	out(w, port(w, ATA_DEVICE), 1, 0xb0);
	out(w, port(w, ATA_FEATURES), 1, op[7] & 1);
	out(w, port(w, ATA_LBA_MID), 1, op[7]);
	out(w, port(w, ATA_LBA_HIGH), 1, op[7] >> 6);
	out(w, port(w, ATA_COMMAND), 1, 0xa0);
	bus_write_rep(&w->bus, BUS_PIO, port(w, ATA_DATA), cdb, 2, 6);
	if (!(op[7] & 1))
		return;
	bm_out(w, BM_COMMAND, 1, 0);
	bm_out(w, BM_TABLE, 4, TABLE);
	bm_out(w, BM_COMMAND, 1, BM_COMMAND_START | BM_COMMAND_TO_MEMORY);
}

static void save_load(struct world *w)
{
	struct state_buf a = { 0 };

	release(w);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++) {
		ide_channel_pause(w->ch[i]);
		check(!state_save(w->ch[i], &a));
		check(state_load(w->ch[i], a.data, a.len) == (ssize_t)a.len);
		ide_channel_resume(w->ch[i]);
		a.len = 0;
	}
	state_buf_free(&a);
}

static void reset_all(struct world *w)
{
	release(w);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++)
		device_reset(w->ch[i]);
	device_reset(w->fn);
	firmware(w);
}

static void step(struct world *w, const uint8_t *op)
{
	uint64_t v = load_le(op + 4, 4);
	unsigned width = 1u << op[2] % 3;

	switch (op[0] % IDE_FUZZ_NR_OPS) {
	case IDE_FUZZ_OUT:
		out(w, port(w, op[1] % 8), width, v);
		break;
	case IDE_FUZZ_POKE:
		poke(w, TABLE + load_le(op + 1, 2) * 4, 4, v);
		break;
	case IDE_FUZZ_COMMAND:
		task_file(w, op[1] & 1, op[2], op[3]);
		out(w, port(w, ATA_FEATURES), 1, op[5]);
		out(w, port(w, ATA_COMMAND), 1, op[4]);
		break;
	case IDE_FUZZ_DMA:
		dma(w, op);
		break;
	case IDE_FUZZ_REGIONS:
		regions(w, op);
		break;
	case IDE_FUZZ_DATA_PORT:
		data_port(w, op);
		break;
	case IDE_FUZZ_PACKET:
		packet(w, op);
		break;
	case IDE_FUZZ_CONTROL:
		out(w, control_port(w), 1, op[1]);
		break;
	case IDE_FUZZ_BM_OUT:
		bm_out(w, op[1] % 8, width, v);
		break;
	case IDE_FUZZ_IN:
		(void)in(w, port(w, op[1] % 8), width);
		(void)in(w, control_port(w), 1);
		(void)in(w, (uint16_t)(BM_BASE + op[2] % 16), width);
		break;
	case IDE_FUZZ_CHANNEL:
		w->cur = op[1] & 1;
		break;
	case IDE_FUZZ_HOLD:
		if (op[1] & 1)
			release(w);
		else
			w->disks[op[2] % 4].hold = true;
		break;
	case IDE_FUZZ_CONFIG:
		config_out(w, op[1], width, (uint32_t)v);
		break;
	default:
		if (op[1] % 4 == 0)
			reset_all(w);
		else if (op[1] % 4 == 1)
			save_load(w);
		else
			firmware(w);
		break;
	}
	settle(w);
}

/* A sector by DMA, as a driver would. */
static void check_alive(struct world *w, unsigned disk)
{
	const uint8_t prd[8] = { 0, 0, DATA >> 16, 0, 0, 2, 0, 0x80 };

	w->cur = disk / 2;
	memset(w->disks[disk].bytes, 0x5a, 512);
	check(!mem_write(w->mem, TABLE, prd, sizeof(prd)));
	poke(w, DATA, 8, 0);
	task_file(w, disk & 1, 0, 1);
	dma(w, (uint8_t[OP_SIZE]){ 0, disk & 1, 0, 1, 0 });
	settle(w);
	check(in(w, port(w, ATA_STATUS), 1) == (ATA_STATUS_DRDY | ATA_STATUS_DSC));
	check(load_le((char *)w->mem->map + DATA, 8) == 0x5a5a5a5a5a5a5a5a);
}

static void add_channel(struct world *w, unsigned i, const struct ide_drive_config drives[2])
{
	static const char *const names[] = { "ide0", "ide1" };
	struct ide_channel_config cc = { .name = names[i],
					 .bus = &w->bus,
					 .mem = w->mem,
					 .loop = w->loop,
					 .drives = { drives[0], drives[1] } };

	w->cur = i;
	cc.port = port(w, 0);
	cc.control_port = control_port(w);
	check(!ide_channel_create(&cc, &w->ch[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct block_ops ram_ops = { .open_queue = ram_open_queue };
	/* As in the unit tests: the second is a CD, the last one needs 48-bit addresses. */
	static const uint64_t sectors[] = { 20160, 4000, 0, 300ull << 21 };
	static struct world w;
	static struct mem mem;
	static struct loop loop;
	struct pci_host_config pc = { .name = "pci", .bus = &w.bus };

	if (!mem.map)
		check(!mem_init(&mem, RAM) && !loop_init(&loop));
	/* Memory and disks as well: a run is the same when it is run again. */
	memset(mem.map, 0, RAM);
	memset(&w, 0, sizeof(w));
	w.mem = &mem;
	w.loop = &loop;
	block_stages_init(&w.stages, "ide0-0", NULL);
	for (unsigned i = 0; i < 4; i++) {
		w.disks[i].b.ops = &ram_ops;
		w.disks[i].b.size = sectors[i] * 512;
	}
	bus_init(&w.bus);
	check(!pci_host_create(&pc, &w.host));
	/* A disk and a CD; below nothing, a disk. */
	add_channel(&w, 0,
		    (struct ide_drive_config[]){ { .block = &w.disks[0].b, .stages = &w.stages },
						 { .block = &w.disks[1].b, .cdrom = true } });
	add_channel(&w, 1, (struct ide_drive_config[]){ { 0 }, { .block = &w.disks[3].b } });

	struct piix_ide_config fc = {
		"piix-ide", w.host, PLATFORM_PCI_IDE, { w.ch[0], w.ch[1] }, false
	};

	check(!piix_ide_create(&fc, &w.fn));
	firmware(&w);
	w.cur = 0;
	for (; size >= OP_SIZE; data += OP_SIZE, size -= OP_SIZE)
		step(&w, data);

	reset_all(&w);
	check_alive(&w, 0);
	check_alive(&w, 3);
	device_destroy(w.fn);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++)
		device_destroy(w.ch[i]);
	device_destroy(&w.host->dev);
	bus_destroy(&w.bus);
	return 0;
}

/* Where the search starts: what the unit tests do, in a few operations each. */
static const struct {
	uint8_t ops[8][OP_SIZE];
} seeds[] = {
	/* IDENTIFY by PIO */
	{ { { IDE_FUZZ_COMMAND, 0, 0, 1, 0xec }, { IDE_FUZZ_DATA_PORT, 1, 1, 255 } } },
	/* READ MULTIPLE, WRITE SECTORS, their data */
	{ { { IDE_FUZZ_COMMAND, 0, 5, 40, 0xc4 },
	    { IDE_FUZZ_DATA_PORT, 1, 2, 255 },
	    { IDE_FUZZ_DATA_PORT, 1, 2, 255 },
	    { IDE_FUZZ_IN, 7 },
	    { IDE_FUZZ_COMMAND, 0, 9, 1, 0x30 },
	    { IDE_FUZZ_DATA_PORT, 0, 1, 255, 7 } } },
	/* READ DMA, WRITE DMA EXT into tables of whole and of odd regions */
	{ { { IDE_FUZZ_REGIONS, 7, 0, 2, 0, 1 },
	    { IDE_FUZZ_DMA, 0, 9, 8, 0 },
	    { IDE_FUZZ_IN, 7 },
	    { IDE_FUZZ_BM_OUT, 0, 0, 0, 0 },
	    { IDE_FUZZ_REGIONS, 200, 26, 0, 4, 1 },
	    { IDE_FUZZ_DMA, 0, 20, 10, 3 },
	    { IDE_FUZZ_IN, 7 } } },
	/* a slow disk: SRST, then stop, in flight */
	{ { { IDE_FUZZ_HOLD, 0, 0 },
	    { IDE_FUZZ_REGIONS, 1, 0, 8, 0, 1 },
	    { IDE_FUZZ_DMA, 0, 9, 8, 1 },
	    { IDE_FUZZ_CONTROL, 4 },
	    { IDE_FUZZ_CONTROL, 0 },
	    { IDE_FUZZ_BM_OUT, 0 },
	    { IDE_FUZZ_HOLD, 1 },
	    { IDE_FUZZ_IN, 7 } } },
	/* packets: INQUIRY, READ (10) by PIO and by DMA, DEVICE RESET */
	{ { { IDE_FUZZ_PACKET, 0x12, 36, 0, 0, 0, 0, 36 },
	    { IDE_FUZZ_DATA_PORT, 1, 1, 17 },
	    { IDE_FUZZ_PACKET, 0, 0, 0, 0, 0, 0, 2 },
	    { IDE_FUZZ_PACKET, 0x28, 0, 4, 0, 3, 0, 64 },
	    { IDE_FUZZ_DATA_PORT, 1, 1, 255 },
	    { IDE_FUZZ_REGIONS, 3, 0, 8, 0, 1 },
	    { IDE_FUZZ_PACKET, 0x28, 0, 4, 0, 2, 0, 1 },
	    { IDE_FUZZ_OUT, 7, 0, 0, 8 } } },
	/* a reply that a table is too short for: saved, and into another table */
	{ { { IDE_FUZZ_REGIONS, 0, 20, 0, 0, 1 },
	    { IDE_FUZZ_PACKET, 0x12, 36, 0, 0, 0, 0, 1 },
	    { IDE_FUZZ_MACHINE, 1 },
	    { IDE_FUZZ_BM_OUT, 0, 0, 0, 0 },
	    { IDE_FUZZ_BM_OUT, 0, 0, 0, 9 } } },
	/* the second channel's slave; save and load in between */
	{ { { IDE_FUZZ_CHANNEL, 1 },
	    { IDE_FUZZ_COMMAND, 1, 38, 4, 0x20 },
	    { IDE_FUZZ_DATA_PORT, 1, 1, 255 },
	    { IDE_FUZZ_MACHINE, 1 },
	    { IDE_FUZZ_DATA_PORT, 1, 1, 255 },
	    { IDE_FUZZ_COMMAND, 1, 3, 0, 0x90 },
	    { IDE_FUZZ_MACHINE, 0 } } },
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	if (seed % 16 == 0 && size + sizeof(seeds[0]) <= max_size) {
		memcpy(data + size, &seeds[seed / 16 % (sizeof(seeds) / sizeof(seeds[0]))],
		       sizeof(seeds[0]));
		return size + sizeof(seeds[0]);
	}
	return LLVMFuzzerMutate(data, size, max_size);
}
