/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "tests/unit/block_contract.h"

#define SIZE (4 * MIB)

/* --- one disk on this thread ------------------------------------------------------------- */

static void req_done(struct block_req *b, int result)
{
	struct disk_req *r = b->opaque;

	r->result = result;
	r->times++;
	if (!--r->disk->in_flight)
		loop_stop(&r->disk->loop);
}

static void batch_end(void *opaque)
{
	struct disk *d = opaque;

	d->batches++;
	block_kick(d->q);
}

void disk_init(struct disk *d, struct block *b)
{
	struct block_queue_config qc = {
		.loop = &d->loop, .depth = DISK_DEPTH, .batch_end = batch_end, .opaque = d
	};

	memset(d, 0, sizeof(*d));
	d->b = b;
	assert_int_equal(loop_init(&d->loop), 0);
	assert_int_equal(block_open_queue(b, &qc, &d->q), 0);
}

void disk_fini(struct disk *d)
{
	loop_stop(&d->loop); /* also where it has not run */
	block_close_queue(d->q);
	loop_destroy(&d->loop);
}

void disk_start(struct disk *d, struct disk_req *r, const struct block_req *b)
{
	r->disk = d;
	r->b = *b;
	r->b.done = req_done;
	r->b.opaque = r;
	r->result = 1;
	r->times = 0;
	d->in_flight++;
	block_submit(d->q, &r->b);
}

void disk_wait(struct disk *d)
{
	block_kick(d->q);
	while (d->in_flight) {
		d->loop.stop = false;
		assert_int_equal(loop_run(&d->loop), 0);
	}
}

int disk_do(struct disk *d, const struct block_req *b)
{
	disk_start(d, &d->reqs[0], b);
	disk_wait(d);
	assert_int_equal(d->reqs[0].times, 1);
	return d->reqs[0].result;
}

static int transfer(struct disk *d, enum block_op op, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return disk_do(d,
		       &(struct block_req){
			       .op = op, .offset = offset, .len = len, .iov = &iov, .nr_iov = 1 });
}

int disk_read(struct disk *d, uint64_t offset, void *buf, size_t len)
{
	return transfer(d, BLOCK_READ, offset, buf, len);
}

int disk_write(struct disk *d, uint64_t offset, const void *buf, size_t len)
{
	return transfer(d, BLOCK_WRITE, offset, (void *)buf, len);
}

int disk_flush(struct disk *d)
{
	return disk_do(d, &(struct block_req){ .op = BLOCK_FLUSH });
}

/* --- the tests' own ---------------------------------------------------------------------- */

struct fixture {
	const struct block_contract *c;
	struct block *b;
	struct disk d;
	uint8_t *model; /* what the disk should hold, SIZE bytes */
	uint8_t *buf; /* as many, at an odd address */
	uint8_t *buf_alloc;
	uint32_t seed;
};

static uint32_t rnd(struct fixture *f, uint32_t below)
{
	f->seed = f->seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(f->seed >> 4) * below >> 28);
}

static void fill(struct fixture *f, void *buf, size_t len)
{
	uint8_t *p = buf;

	f->seed += 77;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i + f->seed) * 31 + i / 512 * 7 + 1);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->c = *state;
	f->seed = 1;
	f->model = calloc(1, SIZE);
	f->buf_alloc = calloc(1, SIZE + 1);
	f->buf = f->buf_alloc + 1;
	f->b = f->c->open(f->c->opaque, SIZE);
	if (f->b)
		disk_init(&f->d, f->b);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->b) {
		disk_fini(&f->d);
		f->c->close(f->c->opaque, f->b);
	}
	free(f->model);
	free(f->buf_alloc);
	free(f);
	return 0;
}

/* The disk is what the model is. */
static void check_all(struct fixture *f)
{
	memset(f->buf, 0xa5, SIZE);
	assert_int_equal(disk_read(&f->d, 0, f->buf, SIZE), 0);
	assert_memory_equal(f->buf, f->model, SIZE);
}

/* Writes new bytes and the model. */
static void put(struct fixture *f, uint64_t offset, size_t len)
{
	fill(f, f->model + offset, len);
	assert_int_equal(disk_write(&f->d, offset, f->model + offset, len), 0);
}

static struct fixture *begin(void **state)
{
	struct fixture *f = *state;

	if (!f->b)
		skip();
	return f;
}

static void test_fresh(void **state)
{
	struct fixture *f = begin(state);

	assert_int_equal(f->b->size, SIZE);
	assert_true(is_pow2(f->b->limits.physical_block));
	assert_true(!f->b->limits.discard_align || is_pow2(f->b->limits.discard_align));
	check_all(f);
}

/* Pieces of any length at any address, some of them empty. */
static void test_pieces(void **state)
{
	static const size_t lens[] = { 1, 0, 511, 3, 4096, 100, 0, 0, 1948, 7, 8 * KIB, 1, 501 };
	struct fixture *f = begin(state);
	struct iovec iov[ARRAY_SIZE(lens)];
	struct block_req b = { .offset = 1536, .iov = iov, .nr_iov = ARRAY_SIZE(lens) };
	uint8_t *p = f->buf + 3;

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		iov[i] = (struct iovec){ p, lens[i] };
		fill(f, p, lens[i]);
		memcpy(f->model + b.offset + b.len, p, lens[i]);
		b.len += lens[i];
		p += lens[i] + i % 3;
	}
	assert_int_equal(b.len % BLOCK_SECTOR, 0);
	b.op = BLOCK_WRITE;
	assert_int_equal(disk_do(&f->d, &b), 0);
	check_all(f);

	memset(f->buf, 0, SIZE);
	b.op = BLOCK_READ;
	assert_int_equal(disk_do(&f->d, &b), 0);
	for (size_t i = 0, at = b.offset; i < ARRAY_SIZE(lens); i++) {
		assert_memory_equal(iov[i].iov_base, f->model + at, lens[i]);
		at += lens[i];
	}
}

/* More pieces than the host takes in one call. */
static void test_many_pieces(void **state)
{
	struct fixture *f = begin(state);
	struct iovec *iov = calloc(3072, sizeof(*iov));
	struct block_req b = {
		.op = BLOCK_WRITE, .offset = 4096, .len = 3072 * 96, .iov = iov, .nr_iov = 3072
	};

	fill(f, f->model + 4096, b.len);
	for (unsigned i = 0; i < 3072; i++)
		iov[i] = (struct iovec){ f->model + 4096 + (size_t)i * 96, 96 };
	assert_int_equal(disk_do(&f->d, &b), 0);
	check_all(f);
	for (unsigned i = 0; i < 3072; i++)
		iov[i].iov_base = f->buf + (size_t)i * 96;
	memset(f->buf, 0, b.len);
	b.op = BLOCK_READ;
	assert_int_equal(disk_do(&f->d, &b), 0);
	assert_memory_equal(f->buf, f->model + 4096, b.len);
	free(iov);
}

static void test_large(void **state)
{
	struct fixture *f = begin(state);

	/* From an odd address, as check_all() reads to one. */
	fill(f, f->buf, 3 * MIB);
	memcpy(f->model + 512, f->buf, 3 * MIB);
	assert_int_equal(disk_write(&f->d, 512, f->buf, 3 * MIB), 0);
	check_all(f);
}

static void test_range(void **state)
{
	struct fixture *f = begin(state);
	struct block_req zeroes = { .op = BLOCK_WRITE_ZEROES, .offset = SIZE, .len = 512 };

	assert_int_equal(disk_read(&f->d, SIZE - 512, f->buf, 512), 0);
	assert_int_equal(disk_read(&f->d, SIZE - 512, f->buf, 1024), -ERANGE);
	assert_int_equal(disk_write(&f->d, SIZE, f->buf, 512), -ERANGE);
	assert_int_equal(disk_read(&f->d, UINT64_MAX - 511, f->buf, 512), -ERANGE);
	assert_int_equal(disk_read(&f->d, UINT64_MAX, f->buf, 1024), -ERANGE);
	assert_int_equal(disk_do(&f->d, &zeroes), -ERANGE);
	assert_int_equal(disk_read(&f->d, 0, NULL, 0), 0);
	assert_int_equal(disk_write(&f->d, SIZE, NULL, 0), 0);
	check_all(f);
}

/* A full queue of requests of all lengths, each of which is done once. */
static void test_depth(void **state)
{
	struct fixture *f = begin(state);
	struct disk *d = &f->d;
	const size_t slot = SIZE / DISK_DEPTH;

	for (unsigned pass = 0; pass < 4; pass++) {
		bool writes = pass % 2 == 0;

		memset(f->buf, 0, SIZE);
		for (unsigned i = 0; i < DISK_DEPTH; i++) {
			struct disk_req *r = &d->reqs[i];
			uint64_t len = 512 * (1 + rnd(f, slot / 512));
			uint8_t *p = (writes ? f->model : f->buf) + i * slot;

			if (!writes)
				len = slot;
			else
				fill(f, p, len);
			r->iov = (struct iovec){ p, len };
			disk_start(d, r,
				   &(struct block_req){ .op = writes ? BLOCK_WRITE : BLOCK_READ,
							.offset = i * slot,
							.len = len,
							.iov = &r->iov,
							.nr_iov = 1 });
		}
		disk_wait(d);
		for (unsigned i = 0; i < DISK_DEPTH; i++) {
			assert_int_equal(d->reqs[i].times, 1);
			assert_int_equal(d->reqs[i].result, 0);
		}
		if (!writes)
			assert_memory_equal(f->buf, f->model, SIZE);
	}
	check_all(f);
}

/* Neighbours within a block that the host may only take whole. */
static void test_sectors(void **state)
{
	struct fixture *f = begin(state);
	struct disk *d = &f->d;

	put(f, 0, 64 * KIB);
	for (unsigned pass = 0; pass < 8; pass++) {
		for (unsigned i = 0; i < DISK_DEPTH; i++) {
			struct disk_req *r = &d->reqs[i];
			uint64_t offset = ((uint64_t)i * 2 + pass % 2) * 512;

			fill(f, f->model + offset, 512);
			r->iov = (struct iovec){ f->model + offset, 512 };
			disk_start(d, r,
				   &(struct block_req){ .op = BLOCK_WRITE,
							.offset = offset,
							.len = 512,
							.iov = &r->iov,
							.nr_iov = 1 });
		}
		disk_wait(d);
		for (unsigned i = 0; i < DISK_DEPTH; i++)
			assert_int_equal(d->reqs[i].result, 0);
	}
	check_all(f);
}

/* Of writes in flight together that overlap, each sector is one's; a later one wins. */
static void test_overlap(void **state)
{
	struct fixture *f = begin(state);
	struct disk *d = &f->d;
	static uint8_t all[16][16 * 1024];

	for (unsigned pass = 0; pass < 10; pass++) {
		for (unsigned i = 0; i < 16; i++) {
			struct disk_req *r = &d->reqs[i];

			memset(all[i], (int)(pass * 16 + i + 1), sizeof(all[i]));
			r->iov = (struct iovec){ all[i], sizeof(all[i]) };
			disk_start(d, r,
				   &(struct block_req){ .op = BLOCK_WRITE,
							.offset = i * 1536,
							.len = sizeof(all[i]),
							.iov = &r->iov,
							.nr_iov = 1 });
		}
		disk_wait(d);
		assert_int_equal(disk_read(d, 0, f->buf, 64 * KIB), 0);
		for (unsigned s = 0; s < (15 * 1536 + sizeof(all[0])) / 512; s++) {
			const uint8_t *p = f->buf + (size_t)s * 512;
			unsigned who = p[0] - pass * 16 - 1;

			assert_true(who < 16);
			assert_true(s * 512 >= who * 1536);
			assert_true(s * 512 < who * 1536 + sizeof(all[0]));
			assert_memory_equal(p, all[who], 512);
		}
	}
	memcpy(f->model, f->buf, 64 * KIB);
	put(f, 1024, 2048);
	check_all(f);
}

static void test_flush(void **state)
{
	struct fixture *f = begin(state);
	struct disk *d = &f->d;

	assert_int_equal(disk_flush(d), 0);
	put(f, 8192, 4096);
	assert_int_equal(disk_flush(d), 0);
	/* Among writes, and several at once. */
	for (unsigned i = 0; i < 32; i++) {
		struct disk_req *r = &d->reqs[i];
		uint64_t offset = 65536 + (uint64_t)i * 4096;
		struct block_req b = { .op = BLOCK_FLUSH };

		if (i % 3) {
			fill(f, f->model + offset, 4096);
			r->iov = (struct iovec){ f->model + offset, 4096 };
			b = (struct block_req){ .op = BLOCK_WRITE,
						.durable = i % 2,
						.offset = offset,
						.len = 4096,
						.iov = &r->iov,
						.nr_iov = 1 };
		}
		disk_start(d, r, &b);
	}
	disk_wait(d);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(d->reqs[i].result, 0);
	check_all(f);
}

static void zero(struct fixture *f, uint64_t offset, uint64_t len, bool unmap, bool durable)
{
	struct block_req b = { .op = BLOCK_WRITE_ZEROES,
			       .offset = offset,
			       .len = len,
			       .unmap = unmap,
			       .durable = durable };

	memset(f->model + offset, 0, len);
	assert_int_equal(disk_do(&f->d, &b), 0);
}

static void test_zeroes(void **state)
{
	struct fixture *f = begin(state);

	for (unsigned i = 0; i < 4; i++) {
		bool unmap = i & 1, durable = i & 2;

		put(f, 0, SIZE);
		zero(f, 0, 512, unmap, durable);
		zero(f, 3584, 512, unmap, durable);
		zero(f, 12 * KIB, 4096, unmap, durable);
		zero(f, 65536 - 512, 1024, unmap, durable);
		zero(f, 131072 + 1536, 300 * KIB, unmap, durable);
		zero(f, 2 * MIB, MIB, unmap, durable);
		zero(f, SIZE - 512, 512, unmap, durable);
		check_all(f);
		/* And it can be written again. */
		put(f, 131072, 64 * KIB);
		check_all(f);
	}
	zero(f, 0, SIZE, true, false);
	check_all(f);
}

static void test_discard(void **state)
{
	struct fixture *f = begin(state);
	struct block_req b = { .op = BLOCK_DISCARD, .offset = MIB + 512, .len = MIB };

	put(f, 0, SIZE);
	if (!f->b->limits.discard_align) {
		assert_int_equal(disk_do(&f->d, &b), -EOPNOTSUPP);
		check_all(f);
		return;
	}
	assert_int_equal(disk_do(&f->d, &b), 0);
	assert_int_equal(disk_read(&f->d, 0, f->buf, SIZE), 0);
	/* Whole blocks; a rest of one at either end may stay. */
	uint64_t align = f->b->limits.discard_align;
	uint64_t from = align_up(b.offset, align), to = align_down(b.offset + b.len, align);

	if (f->c->discard_zeroes)
		for (uint64_t i = from; i < to; i++)
			assert_int_equal(f->buf[i], 0);
	assert_memory_equal(f->buf, f->model, b.offset);
	assert_memory_equal(f->buf + b.offset + b.len, f->model + b.offset + b.len,
			    SIZE - b.offset - b.len);
	/* What it reads as it goes on reading as, and it can be written. */
	memcpy(f->model, f->buf, SIZE);
	check_all(f);
	put(f, MIB, 512 * KIB);
	check_all(f);
	b.len = 0;
	assert_int_equal(disk_do(&f->d, &b), 0);
	b.len = 512;
	assert_int_equal(disk_do(&f->d, &b), 0);
}

static void test_resize(void **state)
{
	struct fixture *f = begin(state);
	struct err err = { "" };
	int ret;

	put(f, 0, SIZE);
	assert_int_equal(block_resize(f->b, SIZE + 100, &err), -EINVAL);
	assert_int_equal(block_resize(f->b, 0, &err), -EINVAL);
	ret = block_resize(f->b, SIZE + MIB, &err);
	if (ret == -EOPNOTSUPP) {
		assert_string_not_equal(err.text, "");
		return;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(f->b->size, SIZE + MIB);
	check_all(f);
	assert_int_equal(disk_read(&f->d, SIZE, f->buf, MIB), 0);
	for (size_t i = 0; i < MIB; i++)
		assert_int_equal(f->buf[i], 0);
	fill(f, f->buf, 4096);
	assert_int_equal(disk_write(&f->d, SIZE + MIB - 4096, f->buf, 4096), 0);
	assert_int_equal(disk_read(&f->d, SIZE + MIB - 4096, f->buf + 8192, 4096), 0);
	assert_memory_equal(f->buf, f->buf + 8192, 4096);
	assert_int_equal(disk_read(&f->d, SIZE + MIB, f->buf, 512), -ERANGE);

	/* What a smaller size cuts off is lost, also to a larger one. */
	ret = block_resize(f->b, MIB, &err);
	if (ret == -EOPNOTSUPP)
		return;
	assert_int_equal(ret, 0);
	assert_int_equal(disk_read(&f->d, MIB, f->buf, 512), -ERANGE);
	assert_int_equal(disk_read(&f->d, MIB - 512, f->buf, 512), 0);
	assert_int_equal(block_resize(f->b, SIZE, &err), 0);
	memset(f->model + MIB, 0, SIZE - MIB);
	check_all(f);
}

/* Anything at random, many at once, against memory. */
static void test_model(void **state)
{
	static const enum block_op ops[] = { BLOCK_READ,  BLOCK_WRITE, BLOCK_WRITE,
					     BLOCK_WRITE, BLOCK_FLUSH, BLOCK_WRITE_ZEROES };
	struct fixture *f = begin(state);
	struct disk *d = &f->d;
	const size_t slot = SIZE / 16; /* each has one, so that the outcome is certain */

	for (unsigned pass = 0; pass < 120; pass++) {
		for (unsigned i = 0; i < 16; i++) {
			struct disk_req *r = &d->reqs[i];
			uint64_t sector = rnd(f, slot / 512), n = 1 + rnd(f, 64);
			struct block_req b = { .op = ops[rnd(f, ARRAY_SIZE(ops))],
					       .durable = !rnd(f, 16),
					       .unmap = rnd(f, 2),
					       .iov = &r->iov,
					       .nr_iov = 1 };
			uint8_t *model;

			b.offset = i * slot + sector * 512;
			b.len = min_u64(n, slot / 512 - sector) * 512;
			model = f->model + b.offset;
			r->iov = (struct iovec){ f->buf + b.offset, b.len };
			if (b.op == BLOCK_WRITE) {
				fill(f, model, b.len);
				memcpy(f->buf + b.offset, model, b.len);
			} else if (b.op == BLOCK_WRITE_ZEROES) {
				memset(model, 0, b.len);
			}
			disk_start(d, r, &b);
		}
		disk_wait(d);
		for (unsigned i = 0; i < 16; i++) {
			const struct block_req *b = &d->reqs[i].b;

			assert_int_equal(d->reqs[i].result, 0);
			if (b->op == BLOCK_READ)
				assert_memory_equal(f->buf + b->offset, f->model + b->offset,
						    b->len);
		}
	}
	check_all(f);
}

struct chain {
	struct block_req b;
	struct disk *d;
	unsigned left;
	int result;
};

static void chain_done(struct block_req *b, int result)
{
	struct chain *c = b->opaque;

	c->result |= result;
	if (c->left--)
		block_submit(c->d->q, b);
	else if (!--c->d->in_flight)
		loop_stop(&c->d->loop);
}

/* done() that submits the next one, and leaves the kick to whoever called it: a queue always full. */
static void run_chains(struct fixture *f, bool poll)
{
	struct chain c[DISK_DEPTH];
	struct iovec iov[DISK_DEPTH];
	const size_t slot = 4 * KIB;

	put(f, 0, DISK_DEPTH * slot);
	for (unsigned i = 0; i < DISK_DEPTH; i++) {
		bool flush = i == 3;

		iov[i] = (struct iovec){ f->buf + i * slot, slot };
		c[i] = (struct chain){ .d = &f->d, .left = flush ? 20 : 200 };
		c[i].b = (struct block_req){ .op = flush ? BLOCK_FLUSH : BLOCK_READ,
					     .offset = i * slot,
					     .len = flush ? 0 : slot,
					     .iov = &iov[i],
					     .nr_iov = 1,
					     .done = chain_done,
					     .opaque = &c[i] };
		f->d.in_flight++;
	}
	for (unsigned i = 0; i < DISK_DEPTH; i++)
		block_submit(f->d.q, &c[i].b);
	block_kick(f->d.q);
	while (poll && f->d.in_flight)
		(void)block_poll(f->d.q);
	disk_wait(&f->d);
	for (unsigned i = 0; i < DISK_DEPTH; i++)
		assert_int_equal(c[i].result, 0);
	memcpy(f->buf + 3 * slot, f->model + 3 * slot, slot); /* the flushes' */
	assert_memory_equal(f->buf, f->model, DISK_DEPTH * slot);
}

static void test_chain(void **state)
{
	struct fixture *f = begin(state);

	run_chains(f, false);
	if (f->d.q->ops->poll)
		run_chains(f, true);
}

/* Without the loop, where the queue can be polled. */
static void test_poll(void **state)
{
	struct fixture *f = begin(state);
	struct disk *d = &f->d;

	fill(f, f->model, 256 * KIB);
	for (unsigned i = 0; i < 8; i++) {
		struct disk_req *r = &d->reqs[i];

		r->iov = (struct iovec){ f->model + i * 32 * KIB, 32 * KIB };
		disk_start(d, r,
			   &(struct block_req){ .op = BLOCK_WRITE,
						.offset = i * 32 * KIB,
						.len = 32 * KIB,
						.durable = true,
						.iov = &r->iov,
						.nr_iov = 1 });
	}
	block_kick(d->q);
	if (d->q->ops->poll) {
		unsigned before = d->batches;
		bool some = d->in_flight;

		while (d->in_flight)
			(void)block_poll(d->q);
		assert_true(!some || d->batches > before);
		assert_false(block_poll(d->q));
	}
	disk_wait(d);
	check_all(f);
}

/* --- queues on threads of their own ----------------------------------------------------- */

#define ROUNDS 100

struct lane {
	struct iothread io;
	struct block_queue *q;
	struct loop_post post;
	struct block_req b;
	struct iovec iov;
	uint8_t data[512];
	unsigned nr; /* which lane */
	unsigned round;
	atomic_int result; /* 1 until all is done */
};

static void lane_next(struct lane *l)
{
	memset(l->data, (int)(l->round + l->nr), sizeof(l->data));
	l->b.offset = ((uint64_t)(l->round % 4) * 4 + l->nr) * 512;
	block_submit(l->q, &l->b);
}

static void lane_done(struct block_req *b, int result)
{
	struct lane *l = b->opaque;

	if (result || ++l->round == ROUNDS)
		l->result = result;
	else
		lane_next(l);
}

static void lane_batch_end(void *opaque)
{
	struct lane *l = opaque;

	block_kick(l->q);
}

static void lane_start(void *opaque)
{
	struct lane *l = opaque;

	lane_next(l);
	block_kick(l->q);
}

/* Sectors next to each other, from several queues at a time. */
static void test_queues(void **state)
{
	struct fixture *f = begin(state);
	static struct lane lanes[4];

	for (unsigned i = 0; i < 4; i++) {
		struct lane *l = &lanes[i];
		struct block_queue_config qc = {
			.loop = &l->io.loop, .depth = 1, .batch_end = lane_batch_end, .opaque = l
		};

		memset(l, 0, sizeof(*l));
		l->nr = i;
		l->result = 1;
		l->iov = (struct iovec){ l->data, sizeof(l->data) };
		l->b = (struct block_req){ .op = BLOCK_WRITE,
					   .len = 512,
					   .iov = &l->iov,
					   .nr_iov = 1,
					   .done = lane_done,
					   .opaque = l };
		l->post = (struct loop_post){ .fn = lane_start, .opaque = l };
		assert_int_equal(iothread_start(&l->io, "lane"), 0);
		assert_int_equal(block_open_queue(f->b, &qc, &l->q), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		loop_post(&lanes[i].io.loop, &lanes[i].post);
	for (unsigned i = 0; i < 4; i++) {
		while (lanes[i].result == 1)
			usleep(1000);
		assert_int_equal(lanes[i].result, 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		iothread_join(&lanes[i].io);
		block_close_queue(lanes[i].q);
		iothread_stop(&lanes[i].io);
	}
	for (unsigned s = 0; s < 16; s++)
		memset(f->model + s * 512, (int)(ROUNDS - 4 + s / 4 + s % 4), 512);
	check_all(f);
}

/* Also a ring, or threads, can be made again. */
static void test_queue_again(void **state)
{
	struct fixture *f = begin(state);

	put(f, 4096, 4096);
	for (unsigned i = 0; i < 3; i++) {
		disk_fini(&f->d);
		disk_init(&f->d, f->b);
		check_all(f);
	}
}

void block_contract_add(struct CMUnitTest *tests, const struct block_contract *c)
{
	static const struct {
		const char *name;
		void (*fn)(void **state);
	} all[BLOCK_CONTRACT_TESTS] = {
		{ "a new disk is empty", test_fresh },
		{ "odd pieces", test_pieces },
		{ "more pieces than IOV_MAX", test_many_pieces },
		{ "large requests", test_large },
		{ "beyond the end", test_range },
		{ "a full queue", test_depth },
		{ "neighbouring sectors", test_sectors },
		{ "overlapping writes", test_overlap },
		{ "flushes", test_flush },
		{ "zeroes", test_zeroes },
		{ "discard", test_discard },
		{ "resize", test_resize },
		{ "random requests", test_model },
		{ "requests from done()", test_chain },
		{ "polling", test_poll },
		{ "several queues", test_queues },
		{ "a queue after another", test_queue_again },
	};

	for (unsigned i = 0; i < BLOCK_CONTRACT_TESTS; i++) {
		char *name = malloc(128); /* lives as long as the program */

		snprintf(name, 128, "%s: %s", c->name, all[i].name);
		tests[i] = (struct CMUnitTest){ name, all[i].fn, setup, teardown, (void *)c };
	}
}
