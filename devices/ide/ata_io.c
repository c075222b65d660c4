/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/counter.h"
#include "devices/ide/ata.h"

static const struct {
	enum block_op op;
	bool from_memory; /* DMA only */
	uint8_t error, status; /* when the host fails */
	const char *what; /* in reports */
} ops[IDE_NR_OPS] = {
	[IDE_OP_READ] = { BLOCK_READ, false, ATA_ERROR_UNC, 0, "read" },
	[IDE_OP_WRITE] = { BLOCK_WRITE, true, ATA_ERROR_ABRT, ATA_STATUS_DF, "write" },
	[IDE_OP_READ_DMA] = { BLOCK_READ, false, ATA_ERROR_UNC, 0, "read" },
	[IDE_OP_WRITE_DMA] = { BLOCK_WRITE, true, ATA_ERROR_ABRT, ATA_STATUS_DF, "write" },
	[IDE_OP_VERIFY] = { BLOCK_READ, false, ATA_ERROR_UNC, 0, "verify" },
	[IDE_OP_FLUSH] = { BLOCK_FLUSH, false, ATA_ERROR_ABRT, ATA_STATUS_DF, "flush" },
	[IDE_OP_TRIM_LIST] = { BLOCK_DISCARD, true, ATA_ERROR_ABRT, 0, "discard" },
	[IDE_OP_TRIM] = { BLOCK_DISCARD, false, ATA_ERROR_ABRT, ATA_STATUS_DF, "discard" },
	[IDE_OP_PACKET] = { BLOCK_READ, false, 0, 0, "read" },
	[IDE_OP_PACKET_DMA] = { BLOCK_READ, false, 0, 0, "read" },
};

/* --- the vCPU's half: data blocks ----------------------------------------------------- */

void ide_pio_in_block(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	s->pos = s->end;
	s->end += (uint32_t)min_u64(s->block, s->len - s->pos);
	s->phase = IDE_PIO_IN;
	if (s->op == IDE_OP_PACKET)
		ide_packet_data_block(ch);
	ide_raise(ch, s->unit);
}

void ide_pio_out_block(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	s->pos = 0;
	s->end = s->len = (uint32_t)min_u64(s->block, s->left);
	s->phase = IDE_PIO_OUT;
}

/* The guest has taken a block. Of a disk's last one it hears no more. */
static void block_taken(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	if (s->pos < s->len)
		ide_pio_in_block(ch);
	else if (s->left)
		ide_io_begin(ch);
	else if (s->op == IDE_OP_PACKET)
		ide_complete(ch);
	else
		ide_abandon(ch);
}

static void block_given(struct ide_channel *ch)
{
	if (ch->s.phase == IDE_PACKET)
		ide_packet_received(ch);
	else
		ide_io_begin(ch);
}

static bool data_phase(const struct ide_channel *ch, bool out)
{
	const struct ide_channel_state *s = &ch->s;

	if (s->unit != !!(s->device & ATA_DEVICE_DEV) || ch->reset)
		return false;
	return out ? s->phase == IDE_PIO_OUT || s->phase == IDE_PACKET : s->phase == IDE_PIO_IN;
}

/* Bytes of the next copy, and how far it advances: an element never spans two blocks. */
static size_t data_step(const struct ide_channel *ch, size_t n, unsigned width, size_t *advance)
{
	size_t k = min_u64(n, ch->s.end - ch->s.pos);

	*advance = (k + width - 1) / width * width;
	return k;
}

void ide_data_read(struct ide_channel *ch, uint8_t *p, size_t n, unsigned width)
{
	struct ide_channel_state *s = &ch->s;
	size_t advance;

	memset(p, 0, n);
	while (n && data_phase(ch, false)) {
		size_t k = data_step(ch, n, width, &advance);

		memcpy(p, s->buf + s->pos, k);
		s->pos += (uint32_t)k;
		p += advance;
		n -= advance;
		if (s->pos == s->end)
			block_taken(ch);
	}
}

void ide_data_write(struct ide_channel *ch, const uint8_t *p, size_t n, unsigned width)
{
	struct ide_channel_state *s = &ch->s;
	size_t advance;

	while (n && data_phase(ch, true)) {
		size_t k = data_step(ch, n, width, &advance);

		memcpy(s->buf + s->pos, p, k);
		s->pos += (uint32_t)k;
		p += advance;
		n -= advance;
		if (s->pos == s->end)
			block_given(ch);
	}
}

/* --- the hand-over -------------------------------------------------------------------- */

static void post(struct ide_channel *ch)
{
	if (ch->busy)
		return; /* it will see for itself */
	ch->busy = true;
	loop_post(ch->loop, &ch->post);
}

void ide_io_begin(struct ide_channel *ch)
{
	ch->s.phase = IDE_IO;
	ch->req.stamps = (struct block_stamps){ { [BLOCK_KICKED] = ticks_now() } };
	ch->req.what = NULL;
	post(ch);
}

void ide_dma_begin(struct ide_channel *ch)
{
	ch->s.phase = IDE_DMA_WAIT;
	ide_dma_poll(ch);
}

static bool dma_ready(const struct ide_channel *ch)
{
	return ch->master && bmdma_ready(&ch->s.bm, !ops[ch->s.op].from_memory);
}

void ide_dma_poll(struct ide_channel *ch)
{
	if (ch->s.phase == IDE_DMA_WAIT && !ch->reset && dma_ready(ch))
		ide_io_begin(ch);
}

void ide_io_drain(struct ide_channel *ch)
{
	ch->holds++;
	while (ch->busy)
		pthread_cond_wait(&ch->idle, &ch->dev.lock);
	ch->holds--;
}

void ide_io_continue(struct ide_channel *ch)
{
	if (ch->s.phase == IDE_IO && !ch->paused)
		post(ch);
}

void ide_channel_pause(struct device *dev)
{
	struct ide_channel *ch = to_channel(dev);

	device_lock(dev);
	ch->paused = true;
	ide_io_drain(ch);
	device_unlock(dev);
}

void ide_channel_resume(struct device *dev)
{
	struct ide_channel *ch = to_channel(dev);

	device_lock(dev);
	ch->paused = false;
	ide_io_continue(ch);
	device_unlock(dev);
}

/* --- the I/O thread's half --------------------------------------------------------------- */

static void request_done(struct block_req *b, int result);

static void request_set(struct ide_channel *ch, const struct iovec *iov, unsigned nr, uint64_t len)
{
	struct ide_request *r = &ch->req;

	r->b = (struct block_req){
		.op = ops[ch->s.op].op,
		.offset = ch->s.offset,
		.iov = iov,
		.nr_iov = nr,
		.len = len,
		.done = request_done,
		.opaque = ch,
	};
	if (r->what)
		return;
	/* A write's flush, and what is left of a long transfer, are part of it. */
	r->what = ops[ch->s.op].what;
	r->offset = ch->s.offset;
}

static void request_set_buffer(struct ide_channel *ch, uint64_t len)
{
	ch->req.vec.iov[0] = (struct iovec){ ch->s.buf, len };
	ch->req.vec.nr = 1;
	ch->req.vec.len = len;
	request_set(ch, ch->req.vec.iov, 1, len);
}

/*
 * What is read at a time once the host has failed: then what comes before the bad sector does
 * arrive, and the registers say where that is. 0: it is not tried again.
 */
static uint64_t careful_len(const struct ide_channel_state *s)
{
	switch (s->op) {
	case IDE_OP_READ:
	case IDE_OP_VERIFY:
		return s->block;
	case IDE_OP_READ_DMA:
		return BLOCK_SECTOR;
	case IDE_OP_PACKET:
		return ATAPI_BLOCK_SIZE;
	default:
		return 0;
	}
}

/* Bytes of the next request. */
static uint64_t request_len(const struct ide_channel_state *s, uint64_t most)
{
	uint64_t careful = s->careful ? careful_len(s) : 0;

	return min_u64(s->left, careful ? careful : most);
}

static bool try_carefully(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;
	uint64_t len = careful_len(s);

	if (!len || s->careful || ch->req.b.len <= len)
		return false;
	s->careful = 1;
	if (ide_op_is_dma(s->op))
		bmdma_seek(&s->bm, &ch->req.from);
	return true;
}

/* Nothing more can be moved until the guest starts the bus master anew. */
static bool dma_stall(struct ide_channel *ch, enum bmdma_end end)
{
	bmdma_stopped(&ch->s.bm, end);
	ch->s.phase = IDE_DMA_WAIT;
	return false;
}

/*
 * A table that ends within a sector: of a read its part still arrives, the rest goes into the
 * bounce buffer; of a write it is not enough for the disk. Either way the sector counts as
 * not transferred.
 */
static void dma_round(struct ide_request *r, bool to_memory)
{
	uint64_t part = r->vec.len % BLOCK_SECTOR;

	r->bounced = part && to_memory;
	if (r->bounced) {
		r->vec.iov[r->vec.nr++] = (struct iovec){ r->bounce, BLOCK_SECTOR - part };
		r->vec.len += BLOCK_SECTOR - part;
	} else {
		bmdma_vec_trim(&r->vec, part);
	}
}

static bool prepare_dma(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;
	struct ide_request *r = &ch->req;
	bool to_memory = !ops[s->op].from_memory;
	uint64_t want = request_len(s, IDE_DMA_CHUNK);

	if (!dma_ready(ch))
		return dma_stall(ch, BMDMA_MORE);
	r->from = bmdma_tell(&s->bm);
	r->end = bmdma_map(&s->bm, ch->mem, to_memory, want, &r->vec);
	dma_round(r, to_memory);
	if (!r->vec.len)
		return dma_stall(ch, r->end);
	request_set(ch, r->vec.iov, r->vec.nr, r->vec.len);
	return true;
}

/* Between the buffer and the guest's memory; false: not all of it yet. */
static bool copy_buffer(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;
	struct bmdma_vec *v = &ch->req.vec;
	bool to_memory = !ops[s->op].from_memory;
	enum bmdma_end end;

	if (!dma_ready(ch))
		return dma_stall(ch, BMDMA_MORE);
	end = bmdma_map(&s->bm, ch->mem, to_memory, s->len - s->pos, v);
	for (unsigned i = 0; i < v->nr; i++) {
		uint8_t *p = v->iov[i].iov_base, *buf = s->buf + s->pos;

		memcpy(to_memory ? p : buf, to_memory ? buf : p, v->iov[i].iov_len);
		s->pos += (uint32_t)v->iov[i].iov_len;
	}
	if (s->pos == s->len)
		return true;
	return end != BMDMA_MORE && dma_stall(ch, end);
}

/* The list's next range: what is beyond the disk's end the block layer refuses. */
static bool prepare_trim(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	while (!s->left && s->pos < s->len) {
		uint64_t entry = load_le(s->buf + s->pos, ATA_TRIM_ENTRY_SIZE);

		s->pos += ATA_TRIM_ENTRY_SIZE;
		s->offset = (entry & ((1ull << ATA_TRIM_LBA_BITS) - 1)) * BLOCK_SECTOR;
		s->left = (entry >> ATA_TRIM_LBA_BITS) * BLOCK_SECTOR;
	}
	if (!s->left) {
		ide_complete(ch);
		return false;
	}
	request_set(ch, NULL, 0, s->left);
	return true;
}

/* True with a request to the host in req; false: the command is somewhere else now. */
static bool prepare(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	switch (s->op) {
	case IDE_OP_READ:
	case IDE_OP_VERIFY:
	case IDE_OP_PACKET:
		request_set_buffer(ch, request_len(s, IDE_BUFFER));
		return true;
	case IDE_OP_WRITE:
		request_set_buffer(ch, s->end);
		return true;
	case IDE_OP_FLUSH:
		request_set(ch, NULL, 0, 0);
		return true;
	case IDE_OP_PACKET_DATA_DMA:
		if (copy_buffer(ch))
			ide_complete(ch);
		return false;
	case IDE_OP_TRIM_LIST:
		if (copy_buffer(ch)) {
			s->op = IDE_OP_TRIM;
			s->pos = 0;
		}
		return false;
	case IDE_OP_TRIM:
		return prepare_trim(ch);
	default:
		return prepare_dma(ch);
	}
}

static void failed(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	if (ide_op_is_packet(s->op)) {
		ide_packet_failed(ch);
		return;
	}
	if (s->op != IDE_OP_FLUSH)
		ide_put_address(ch, s->unit, s->offset / BLOCK_SECTOR, s->ext);
	if (ch->req.result == -ERANGE)
		ide_fail(ch, ATA_ERROR_IDNF, 0);
	else
		ide_fail(ch, ops[s->op].error, ops[s->op].status);
}

static void written(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;

	/* Without a write cache it is not over before it is on the medium. */
	if (!(s->drives[s->unit].settings & IDE_WRITE_CACHE))
		s->op = IDE_OP_FLUSH;
	else
		ide_complete(ch);
}

static void succeeded(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;
	const struct ide_request *r = &ch->req;
	bool dma = ide_op_is_dma(s->op);
	uint64_t len = r->b.len - (dma && r->bounced ? BLOCK_SECTOR : 0);

	s->offset += len;
	s->left -= len;
	switch (s->op) {
	case IDE_OP_READ:
	case IDE_OP_PACKET:
		s->end = 0;
		s->len = (uint32_t)len;
		ide_pio_in_block(ch);
		break;
	case IDE_OP_WRITE:
		if (s->left) {
			ide_pio_out_block(ch);
			ide_raise(ch, s->unit);
			break;
		}
		written(ch);
		break;
	case IDE_OP_WRITE_DMA:
		if (!s->left)
			written(ch);
		else if (r->end != BMDMA_MORE)
			dma_stall(ch, r->end);
		break;
	case IDE_OP_FLUSH:
		ide_complete(ch);
		break;
	case IDE_OP_TRIM:
		break; /* with the next range */
	default:
		if (!s->left)
			ide_complete(ch);
		else if (dma && r->end != BMDMA_MORE)
			dma_stall(ch, r->end);
		break;
	}
}

/* What was read has just changed the guest's memory. */
static void mark(struct ide_channel *ch)
{
	const struct ide_request *r = &ch->req;

	if (r->b.op != BLOCK_READ || r->b.iov == NULL || r->vec.iov[0].iov_base == ch->s.buf)
		return;
	for (unsigned i = 0; i + r->bounced < r->vec.nr; i++)
		mem_mark(ch->mem, r->vec.iov[i].iov_base, r->vec.iov[i].iov_len);
}

static void request_end(struct ide_channel *ch)
{
	struct ide_channel_state *s = &ch->s;
	struct ide_request *r = &ch->req;
	struct block_stages *stages = ch->drives[s->unit].stages;

	r->stamps.at[BLOCK_COMPLETED] = ticks_now();
	mark(ch);
	if (ch->reset)
		return;
	r->stamps.at[BLOCK_USED] = ticks_now();
	if (!r->result)
		succeeded(ch);
	else if (!try_carefully(ch))
		failed(ch);
	if (s->phase == IDE_IO)
		return; /* there is more of it */
	r->stamps.at[BLOCK_INTERRUPT] = s->line ? ticks_now() : 0;
	if (stages)
		block_stages_add(stages, &r->stamps, r->what, r->offset);
}

/* Goes on with the command; true with a request to submit. */
static bool io_step(struct ide_channel *ch)
{
	if (!ch->req.stamps.at[BLOCK_POPPED])
		ch->req.stamps.at[BLOCK_POPPED] = ticks_now();
	while (ch->s.phase == IDE_IO && !ch->reset && !ch->paused && !ch->holds)
		if (prepare(ch))
			return true;
	bmdma_stopped(&ch->s.bm, BMDMA_MORE); /* should the guest have stopped it meanwhile */
	ch->busy = false;
	pthread_cond_broadcast(&ch->idle);
	ide_reset_progress(ch);
	return false;
}

static void io_run(struct ide_channel *ch, bool completed)
{
	struct ide_request *r = &ch->req;

	do {
		struct block_queue *queue;
		bool more;

		bus_sync(ch->bus); /* the guest wrote before what is to happen now */
		device_lock(&ch->dev);
		if (completed)
			request_end(ch);
		more = io_step(ch);
		queue = ch->drives[ch->s.unit].queue;
		device_unlock(&ch->dev);
		if (!more)
			return;
		r->submitting = true;
		r->completed = false;
		if (!r->stamps.at[BLOCK_SUBMITTED])
			r->stamps.at[BLOCK_SUBMITTED] = ticks_now();
		block_submit(queue, &r->b);
		block_kick(queue);
		r->submitting = false;
		completed = r->completed;
	} while (completed);
}

/* From inside io_run()'s submit or kick, which then goes on, or from the loop. */
static void request_done(struct block_req *b, int result)
{
	struct ide_channel *ch = b->opaque;

	ch->req.result = result;
	ch->req.completed = true;
	if (!ch->req.submitting)
		io_run(ch, true);
}

static void posted(void *opaque)
{
	io_run(opaque, false);
}

int ide_io_init(struct ide_channel *ch, struct loop *loop)
{
	int ret = 0;

	pthread_cond_init(&ch->idle, NULL);
	ch->post = (struct loop_post){ .fn = posted, .opaque = ch };
	ch->loop = loop;
	if (!loop) {
		ret = iothread_start(&ch->io, ch->dev.name);
		ch->loop = &ch->io.loop;
	}
	return ret;
}

void ide_io_destroy(struct ide_channel *ch)
{
	/* The callback that let go of it may still be on its way out. */
	if (ch->loop != &ch->io.loop)
		loop_sync(ch->loop);
	iothread_stop(&ch->io);
	pthread_cond_destroy(&ch->idle);
}
