/* SPDX-License-Identifier: MIT */
/*
 * A hostile qcow2 image: a small good one with some bytes changed, and requests to it. Whatever it
 * says of itself, it is refused, or requests fail; nothing crashes, hangs or leaks, and no guest
 * writes into the header, which could name another file then.
 *
 * Input: a byte of which kind the image is, a byte of how many changes, for each two bytes of
 * where and one of what; then requests: a byte of which, three of where, one of how long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "backends/block/qcow2_impl.h"

#define DISK (256 * KIB)
#define MAX_LEN (64 * KIB)
#define MAX_REQUESTS 48
#define L2_CLUSTER 4
#define DATA_CLUSTER 5
#define DEFLATED_CLUSTER 8
#define CLUSTERS 12
#define HEADER 24 /* bytes that stay as they are: magic, version, the backing file's name */

static void check(bool right)
{
	if (!right)
		abort();
}

struct image_file {
	uint8_t *p;
	unsigned bits;
	size_t len;
};

static void put(struct image_file *f, uint64_t off, uint64_t value, unsigned width)
{
	store_le(f->p + off, width, htobe64(value) >> (64 - 8 * width));
}

static void put_deflated(struct image_file *f, uint64_t l2)
{
	uint64_t at = (uint64_t)DEFLATED_CLUSTER << f->bits, size = 1ull << f->bits;
	z_stream z = { .avail_in = (uInt)size, .next_out = f->p + at, .avail_out = (uInt)size };
	uint8_t *zeroes = calloc(1, size);

	check(zeroes && deflateInit2(&z, 9, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	z.next_in = zeroes;
	check(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	free(zeroes);
	put(f, l2 + 8 * 3, QCOW2_COMPRESSED | at, 8);
	put(f, l2 + 8 * 4, QCOW2_COMPRESSED | 1ull << (62 - (f->bits - 8)) | at, 8);
}

/* Header, refcount table, refcount block, L1 table, L2 table, data, compressed data. */
static void make_image(struct image_file *f, uint8_t kind)
{
	uint64_t size, l2;

	f->bits = kind & 1 ? 12 : 9;
	size = 1ull << f->bits;
	l2 = L2_CLUSTER * size;
	f->len = CLUSTERS * size;
	f->p = calloc(1, f->len);
	check(f->p);
	put(f, 0, 0x514649fb, 4);
	put(f, 4, kind & 2 ? 2 : 3, 4);
	put(f, 20, f->bits, 4);
	put(f, 24, DISK, 8);
	put(f, 36, 8, 4);
	put(f, 40, 3 * size, 8);
	put(f, 48, size, 8);
	put(f, 56, 1, 4);
	if (!(kind & 2)) {
		put(f, 96, 4, 4);
		put(f, 100, 112, 4);
	}
	if (kind & 4) {
		put(f, 72, QCOW2_INCOMPAT_COMPRESSION, 8);
		put(f, 104, 1, 1);
	}
	put(f, size, 2 * size, 8);
	for (unsigned i = 0; i < CLUSTERS; i++)
		put(f, 2 * size + 2ull * i, i == DATA_CLUSTER + 1 ? 2 : 1, 2);
	put(f, 3 * size, QCOW2_COPIED | l2, 8);
	put(f, l2, QCOW2_COPIED | DATA_CLUSTER * size, 8);
	put(f, l2 + 8, (DATA_CLUSTER + 1) * size, 8);
	put(f, l2 + 16, QCOW2_COPIED | (DATA_CLUSTER + 2) * size | !(kind & 2), 8);
	put_deflated(f, l2);
}

struct disk {
	struct loop loop;
	struct block *b;
	struct block_queue *q;
	bool over;
};

static void request_done(struct block_req *req, int result)
{
	struct disk *d = req->opaque;

	(void)result;
	check(!d->over);
	d->over = true;
	loop_stop(&d->loop);
}

static void run_request(struct disk *d, uint8_t *buf, const uint8_t *in)
{
	struct iovec iov = { buf, ((in[4] & 127) + 1ull) * 512 };
	struct block_req req = {
		.op = in[0] % 5,
		.durable = in[0] & 64,
		.unmap = in[0] & 128,
		.offset = load_le(in + 1, 3) % (DISK / 512) * 512,
		.len = iov.iov_len,
		.iov = &iov,
		.nr_iov = 1,
		.done = request_done,
		.opaque = d,
	};

	d->over = false;
	d->loop.stop = false;
	block_submit(d->q, &req);
	block_kick(d->q);
	if (!d->over)
		check(loop_run(&d->loop) == 0);
	check(d->over);
}

static void run_requests(struct disk *d, const uint8_t *in, size_t len)
{
	const struct block_queue_config qc = { .loop = &d->loop, .depth = 1 };
	uint8_t *buf = calloc(1, MAX_LEN);
	struct err err;

	check(buf && loop_init(&d->loop) == 0 && block_open_queue(d->b, &qc, &d->q) == 0);
	for (unsigned i = 0; i < MAX_REQUESTS && len >= 5; i++, in += 5, len -= 5) {
		if (in[0] % 5 == BLOCK_FLUSH && in[1] & 1)
			(void)!block_resize(d->b, d->b->size + in[2] * 4096ull, &err);
		run_request(d, buf, in);
	}
	loop_stop(&d->loop);
	block_close_queue(d->q);
	loop_destroy(&d->loop);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct block_config cfg = { .engine = BLOCK_ENGINE_SYNC, .cache = BLOCK_CACHE_UNSAFE };
	struct image_file f;
	struct disk d = { 0 };
	struct err err;
	uint8_t before[HEADER], after[HEADER];
	char path[64];
	int fd;

	if (size < 2)
		return 0;
	make_image(&f, data[0]);
	cfg.readonly = data[0] & 8;
	unsigned changes = data[1] % 32;

	for (data += 2, size -= 2; changes && size >= 3; changes--, data += 3, size -= 3)
		f.p[load_le(data, 2) % f.len] = data[2];
	fd = memfd_create("qcow2", MFD_CLOEXEC);
	check(fd >= 0 && util_pwrite_all(fd, f.p, f.len, 0) == 0);
	memcpy(before, f.p, HEADER);
	free(f.p);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cfg.path = path;
	cfg.format = BLOCK_QCOW2;
	if (!block_open(&cfg, &d.b, &err)) {
		run_requests(&d, data, size);
		block_destroy(d.b);
	} else {
		check(*err.text && !strchr(err.text, '\n'));
	}
	check(util_pread_all(fd, after, HEADER, 0) == 0 && !memcmp(before, after, HEADER));
	close(fd);
	return 0;
}
