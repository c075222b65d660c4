/* SPDX-License-Identifier: MIT */
#include "tests/unit/ide_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/platform.h"

#define READY (ATA_STATUS_DRDY | ATA_STATUS_DSC)

static const uint16_t ports[] = { PLATFORM_PORT_IDE0, PLATFORM_PORT_IDE1 };
static const uint16_t control_ports[] = { PLATFORM_PORT_IDE0_CONTROL, PLATFORM_PORT_IDE1_CONTROL };

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- notes for the fuzzer ------------------------------------------------------------ */

static void note_op(struct ide_notes *n, const uint8_t op[4], uint32_t v)
{
	if (n->nr == IDE_MAX_OPS)
		return;
	memcpy(n->ops[n->nr], op, 4);
	store_le(n->ops[n->nr++] + 4, 4, v);
}

/* What tests do to the world by hand is seen here. */
static void note(struct ide_world *w, const uint8_t op[4], uint32_t v)
{
	struct ide_notes *n = &w->notes;

	if (n->cur != w->cur)
		note_op(n, (uint8_t[4]){ IDE_FUZZ_CHANNEL, (uint8_t)w->cur }, 0);
	n->cur = w->cur;
	for (uint8_t i = 0; i < 4; i++) {
		bool hold = w->disks[i].hold;

		if (n->hold[i] != hold)
			note_op(n, (uint8_t[4]){ IDE_FUZZ_HOLD, !hold, i }, 0);
		n->hold[i] = hold;
	}
	note_op(n, op, v);
}

#define NOTE(w, v, ...) note(w, (const uint8_t[4]){ __VA_ARGS__ }, v)

/* The table is at the same place there, other memory is not. */
static uint32_t note_addr(uint32_t gpa)
{
	_Static_assert(IDE_PRD == IDE_FUZZ_TABLE, "one address");
	return gpa >= IDE_DATA && gpa < IDE_RAM ? (uint32_t)(gpa - IDE_DATA + IDE_FUZZ_DATA) : gpa;
}

/* Packets as they are; of longer blocks the first byte has to do. */
static void note_data(struct ide_world *w, bool in, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t at = 0; !in && len <= 12 && at + 4 <= len; at += 4)
		NOTE(w, (uint32_t)load_le(p + at, 4), IDE_FUZZ_OUT, ATA_DATA, 2);
	for (size_t left = in || len > 12 ? len / 2 : 0; left; left -= min_u64(left, 256))
		NOTE(w, in ? 0 : p[0], IDE_FUZZ_DATA_PORT, in, 1,
		     (uint8_t)(min_u64(left, 256) - 1));
}

static void notes_write(const struct ide_notes *n)
{
	const char *folder = getenv("IDE_CORPUS");
	size_t len = n->nr * IDE_FUZZ_OP_SIZE;
	char path[4096];
	FILE *f;

	if (!folder || !len)
		return;
	snprintf(path, sizeof(path), "%s/%08x", folder, util_crc32(0, n->ops, len));
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(n->ops, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* --- disks ------------------------------------------------------------------------- */

static struct ide_disk *to_disk(struct block *b)
{
	return container_of(b, struct ide_disk, b);
}

static int do_request(struct ide_disk *d, struct block_req *req)
{
	uint64_t at = req->offset, sum = 0;

	if (d->fails) {
		d->fails--;
		return -EIO;
	}
	if (req->op == BLOCK_FLUSH)
		return d->flush_fails ? -EIO : 0;
	if (d->bad >= req->offset && d->bad - req->offset < req->len)
		return -EIO;
	if (req->op == BLOCK_DISCARD)
		return fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)req->offset, (off_t)req->len);
	for (unsigned i = 0; i < req->nr_iov; i++) {
		const struct iovec *v = &req->iov[i];
		int ret = req->op == BLOCK_READ
				  ? util_pread_all(d->fd, v->iov_base, v->iov_len, at)
				  : util_pwrite_all(d->fd, v->iov_base, v->iov_len, at);

		if (ret)
			return -EIO;
		at += v->iov_len;
		sum += v->iov_len;
	}
	if (sum != req->len || sum % BLOCK_SECTOR)
		abort();
	return 0;
}

static void finish(struct ide_disk *d, struct block_req *req)
{
	int ret = do_request(d, req);

	d->completed++;
	req->done(req, ret);
}

static void disk_submit(struct block_queue *q, struct block_req *req)
{
	struct ide_disk *d = to_disk(q->block);
	unsigned n = d->submitted;

	if (n < ARRAY_SIZE(d->ops)) {
		d->ops[n] = req->op;
		d->offsets[n] = req->offset;
		d->lens[n] = req->len;
	}
	if (d->hold) {
		if (d->held)
			abort(); /* a channel has one request at a time */
		d->held = req;
		d->submitted++;
		return;
	}
	d->submitted++;
	finish(d, req);
}

static void disk_close(struct block_queue *q)
{
	free(q);
}

static const struct block_queue_ops disk_queue_ops = { .submit = disk_submit, .close = disk_close };

static int disk_open_queue(struct block *b, const struct block_queue_config *cfg,
			   struct block_queue **out)
{
	to_disk(b)->loop = cfg->loop;
	*out = malloc(sizeof(**out));
	**out = (struct block_queue){ &disk_queue_ops, b };
	return 0;
}

static const struct block_ops disk_ops = { .open_queue = disk_open_queue };

static void released(void *opaque)
{
	struct ide_disk *d = opaque;
	struct block_req *req = d->held;

	d->held = NULL;
	if (req)
		finish(d, req);
}

void ide_disk_release(struct ide_disk *d)
{
	d->hold = false;
	d->release = (struct loop_post){ .fn = released, .opaque = d };
	loop_post(d->loop, &d->release);
}

void ide_disk_wait_submitted(struct ide_disk *d, unsigned n)
{
	uint64_t limit = now_ms() + IDE_WAIT;

	while (d->submitted < n && now_ms() < limit)
		nap();
	assert_true(d->submitted >= n);
}

void ide_pattern(void *buf, size_t len, unsigned seed)
{
	uint8_t *p = buf;
	uint32_t x = seed * 2654435761u + 12345;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
}

void ide_disk_fill(struct ide_disk *d, uint64_t sector, unsigned n, unsigned seed)
{
	uint8_t *buf = malloc((size_t)n * BLOCK_SECTOR);

	ide_pattern(buf, (size_t)n * BLOCK_SECTOR, seed);
	assert_int_equal(
		util_pwrite_all(d->fd, buf, (size_t)n * BLOCK_SECTOR, sector * BLOCK_SECTOR), 0);
	free(buf);
}

void ide_disk_peek(struct ide_disk *d, uint64_t sector, void *buf, size_t len)
{
	assert_int_equal(util_pread_all(d->fd, buf, len, sector * BLOCK_SECTOR), 0);
}

static void disk_init(struct ide_disk *d, int64_t place)
{
	uint64_t sectors;

	memset(d, 0, sizeof(*d));
	d->fd = -1;
	d->bad = UINT64_MAX;
	if (place == IDE_NONE || place == IDE_EMPTY_CD)
		return;
	sectors = (uint64_t)(place < 0 ? -place : place);
	d->fd = memfd_create("ide", MFD_CLOEXEC);
	assert_true(d->fd >= 0);
	assert_int_equal(ftruncate(d->fd, (off_t)(sectors * BLOCK_SECTOR)), 0);
	d->b.ops = &disk_ops;
	d->b.size = sectors * BLOCK_SECTOR;
	d->b.limits.discard_align = place < 0 ? 0 : BLOCK_SECTOR;
}

/* --- the machine ---------------------------------------------------------------------- */

static void make(struct ide_world *w, bool udma)
{
	struct piix_ide_config fc = {
		.name = "piix-ide", .pci = w->host, .devfn = PLATFORM_PCI_IDE, .udma = udma
	};
	static const char *const names[] = { "ide0", "ide1" };

	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++) {
		struct ide_channel_config cc = {
			.name = names[i],
			.bus = &w->bus,
			.mem = &w->mem,
			.port = ports[i],
			.control_port = control_ports[i],
			.irq = fake_irq(&w->irq[i]),
			.udma = udma,
		};

		w->irq[i] = (struct fake_irq){ 0 };
		for (unsigned k = 0; k < 2; k++) {
			struct ide_disk *d = &w->disks[i * 2 + k];

			cc.drives[k].cdrom = w->cdrom[i * 2 + k];
			cc.drives[k].block = d->b.ops ? &d->b : NULL;
			cc.drives[k].stages = &w->stages[i * 2 + k];
		}
		assert_int_equal(ide_channel_create(&cc, &w->ch[i]), 0);
		fc.channels[i] = w->ch[i];
	}
	assert_int_equal(piix_ide_create(&fc, &w->fn), 0);
	assert_int_equal(pci_assign(w->host), 0);
	ide_config_out(w, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	assert_int_equal(ide_config_in(w, 0x20, 4), IDE_BM_BASE | 1);
}

void ide_world_init(struct ide_world *w, const int64_t places[4], bool udma)
{
	struct pci_host_config pc = { .name = "pci", .bus = &w->bus };

	memset(w, 0, sizeof(*w));
	assert_int_equal(mem_init(&w->mem, IDE_RAM), 0);
	bus_init(&w->bus);
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		pc.irqs[i] = fake_irq(&w->pci_irqs[i]);
	assert_int_equal(pci_host_create(&pc, &w->host), 0);
	for (unsigned i = 0; i < 4; i++) {
		disk_init(&w->disks[i], places[i]);
		w->cdrom[i] = places[i] < 0;
		w->disks[i].b.readonly = w->cdrom[i];
		block_stages_init(&w->stages[i], "disk", NULL);
	}
	make(w, udma);
}

static void unmake(struct ide_world *w)
{
	device_destroy(w->fn);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++)
		device_destroy(w->ch[i]);
}

void ide_world_remake(struct ide_world *w, bool udma)
{
	NOTE(w, 0, IDE_FUZZ_MACHINE, 1); /* what tests do it for: something was saved */
	unmake(w);
	make(w, udma);
}

void ide_world_destroy(struct ide_world *w)
{
	notes_write(&w->notes);
	/* A test that failed in between shall not hang as well. */
	for (unsigned i = 0; i < 4; i++)
		if (w->disks[i].hold)
			ide_disk_release(&w->disks[i]);
	unmake(w);
	device_destroy(&w->host->dev);
	bus_destroy(&w->bus);
	mem_destroy(&w->mem);
	for (unsigned i = 0; i < 4; i++)
		if (w->disks[i].fd >= 0)
			close(w->disks[i].fd);
}

void ide_config_out(struct ide_world *w, unsigned reg, unsigned width, uint32_t v)
{
	NOTE(w, v, IDE_FUZZ_CONFIG, (uint8_t)reg, (uint8_t)(width / 2));
	outl(&w->bus, PLATFORM_PORT_PCI_ADDR, 0x80000000u | PLATFORM_PCI_IDE << 8 | (reg & 0xfc));
	bus_out(&w->bus, BUS_PIO, PLATFORM_PORT_PCI_DATA + (reg & 3), width, v);
}

uint32_t ide_config_in(struct ide_world *w, unsigned reg, unsigned width)
{
	outl(&w->bus, PLATFORM_PORT_PCI_ADDR, 0x80000000u | PLATFORM_PCI_IDE << 8 | (reg & 0xfc));
	return (uint32_t)bus_in(&w->bus, BUS_PIO, PLATFORM_PORT_PCI_DATA + (reg & 3), width);
}

/* --- registers ---------------------------------------------------------------------------- */

uint16_t ide_data_port(const struct ide_world *w)
{
	return ports[w->cur];
}

uint8_t ide_in(struct ide_world *w, unsigned reg)
{
	NOTE(w, 0, IDE_FUZZ_IN, (uint8_t)reg);
	return inb(&w->bus, ports[w->cur] + reg);
}

void ide_out(struct ide_world *w, unsigned reg, uint8_t v)
{
	NOTE(w, v, IDE_FUZZ_OUT, (uint8_t)reg);
	outb(&w->bus, ports[w->cur] + reg, v);
}

uint8_t ide_altstatus(struct ide_world *w)
{
	return inb(&w->bus, control_ports[w->cur]);
}

void ide_control(struct ide_world *w, uint8_t v)
{
	NOTE(w, 0, IDE_FUZZ_CONTROL, v);
	outb(&w->bus, control_ports[w->cur], v);
}

static void post_sem(void *opaque)
{
	sem_post(opaque);
}

void ide_settle(struct ide_world *w)
{
	const struct ide_disk *d = &w->disks[w->cur * 2];
	struct loop_post post = { .fn = post_sem };
	sem_t sem;

	if (!d->loop)
		d++;
	sem_init(&sem, 0, 0);
	post.opaque = &sem;
	for (unsigned i = 0; i < 2; i++) {
		loop_post(d->loop, &post);
		while (sem_wait(&sem)) /* a signal */
			;
	}
	sem_destroy(&sem);
}

uint8_t ide_wait(struct ide_world *w)
{
	uint64_t limit = now_ms() + IDE_WAIT;
	uint8_t status;

	while ((status = ide_altstatus(w)) & ATA_STATUS_BSY && now_ms() < limit)
		nap();
	assert_false(status & ATA_STATUS_BSY);
	return status;
}

void ide_lba28(struct ide_world *w, unsigned unit, uint32_t lba, uint8_t count)
{
	ide_out(w, ATA_DEVICE, (uint8_t)(0xe0 | unit << 4 | (lba >> 24 & 0xf)));
	ide_out(w, ATA_COUNT, count);
	ide_out(w, ATA_LBA_LOW, (uint8_t)lba);
	ide_out(w, ATA_LBA_MID, (uint8_t)(lba >> 8));
	ide_out(w, ATA_LBA_HIGH, (uint8_t)(lba >> 16));
}

void ide_lba48(struct ide_world *w, unsigned unit, uint64_t lba, uint16_t count)
{
	ide_lba28(w, unit, 0, (uint8_t)(count >> 8));
	ide_out(w, ATA_LBA_LOW, (uint8_t)(lba >> 24));
	ide_out(w, ATA_LBA_MID, (uint8_t)(lba >> 32));
	ide_out(w, ATA_LBA_HIGH, (uint8_t)(lba >> 40));
	ide_out(w, ATA_COUNT, (uint8_t)count);
	ide_out(w, ATA_LBA_LOW, (uint8_t)lba);
	ide_out(w, ATA_LBA_MID, (uint8_t)(lba >> 8));
	ide_out(w, ATA_LBA_HIGH, (uint8_t)(lba >> 16));
}

uint8_t ide_cmd(struct ide_world *w, uint8_t opcode)
{
	ide_out(w, ATA_COMMAND, opcode);
	return ide_wait(w);
}

void ide_read_block(struct ide_world *w, void *buf, size_t len)
{
	note_data(w, true, NULL, len);
	bus_read_rep(&w->bus, BUS_PIO, ports[w->cur], buf, 2, (unsigned)(len / 2));
}

void ide_write_block(struct ide_world *w, const void *buf, size_t len)
{
	note_data(w, false, buf, len);
	bus_write_rep(&w->bus, BUS_PIO, ports[w->cur], buf, 2, (unsigned)(len / 2));
}

uint8_t ide_bm_in(struct ide_world *w, unsigned reg)
{
	return inb(&w->bus, IDE_BM_BASE + w->cur * BM_NR_REGS + reg);
}

void ide_bm_out(struct ide_world *w, unsigned reg, uint8_t v)
{
	NOTE(w, v, IDE_FUZZ_BM_OUT, (uint8_t)reg);
	outb(&w->bus, IDE_BM_BASE + w->cur * BM_NR_REGS + reg, v);
}

void ide_prd(struct ide_world *w, unsigned i, uint32_t addr, uint16_t len, bool end)
{
	uint8_t prd[8];

	store_le(prd, 4, addr);
	store_le(prd + 4, 4, len | (end ? 0x80000000u : 0));
	NOTE(w, note_addr(addr), IDE_FUZZ_POKE, (uint8_t)(2 * i), (uint8_t)(2 * i >> 8));
	NOTE(w, (uint32_t)load_le(prd + 4, 4), IDE_FUZZ_POKE, (uint8_t)(2 * i + 1),
	     (uint8_t)(2 * i >> 8));
	assert_int_equal(mem_write(&w->mem, IDE_PRD + i * 8, prd, sizeof(prd)), 0);
}

void ide_bm_start(struct ide_world *w, bool to_memory)
{
	uint8_t command = to_memory ? BM_COMMAND_TO_MEMORY : 0;

	ide_bm_out(w, BM_COMMAND, command);
	ide_bm_out(w, BM_STATUS, BM_STATUS_INTERRUPT | BM_STATUS_ERROR);
	NOTE(w, IDE_FUZZ_TABLE, IDE_FUZZ_BM_OUT, BM_TABLE, 2);
	outl(&w->bus, IDE_BM_BASE + w->cur * BM_NR_REGS + BM_TABLE, IDE_PRD);
	ide_bm_out(w, BM_COMMAND, command | BM_COMMAND_START);
}

uint8_t ide_bm_wait_idle(struct ide_world *w)
{
	uint64_t limit = now_ms() + IDE_WAIT;
	uint8_t status;

	while ((status = ide_bm_in(w, BM_STATUS)) & BM_STATUS_ACTIVE && now_ms() < limit)
		nap();
	assert_false(status & BM_STATUS_ACTIVE);
	return status;
}

void *ide_ram(struct ide_world *w, uint64_t gpa)
{
	void *p = mem_at(&w->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

void ide_fill_ram(struct ide_world *w, uint64_t gpa, size_t len, unsigned seed)
{
	ide_pattern(ide_ram(w, gpa), len, seed);
}

void ide_expect_ram(struct ide_world *w, uint64_t gpa, size_t len, unsigned seed)
{
	uint8_t *want = malloc(len);

	ide_pattern(want, len, seed);
	assert_memory_equal(ide_ram(w, gpa), want, len);
	free(want);
}

void ide_expect_disk(struct ide_disk *d, uint64_t sector, size_t len, unsigned seed)
{
	uint8_t *want = malloc(len), *got = malloc(len);

	ide_pattern(want, len, seed);
	ide_disk_peek(d, sector, got, len);
	assert_memory_equal(got, want, len);
	free(want);
	free(got);
}

void ide_bm_stop(struct ide_world *w)
{
	ide_bm_out(w, BM_COMMAND, 0);
}

void ide_recover(struct ide_world *w)
{
	ide_bm_stop(w);
	ide_control(w, ATA_CONTROL_SRST);
	ide_control(w, 0);
	assert_int_equal(ide_wait(w), READY);
}

void ide_read_identity(struct ide_world *w, unsigned unit, uint16_t words[256])
{
	ide_out(w, ATA_DEVICE, (uint8_t)(0xa0 | unit << 4));
	assert_int_equal(ide_cmd(w, 0xec), READY | ATA_STATUS_DRQ);
	ide_read_block(w, words, 512);
	assert_int_equal(ide_in(w, ATA_STATUS), READY);
}
