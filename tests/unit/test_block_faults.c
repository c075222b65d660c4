/* SPDX-License-Identifier: MIT */
/*
 * A host that fails, falls short, is slow or lacks something, for every engine. Its calls are
 * caught in front of the C library and of liburing: what an engine has put into a ring is changed
 * there before the kernel sees it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/block/image.h"
#include "tests/unit/block_contract.h"

#define NOP_INJECT_RESULT 1u /* IORING_NOP_INJECT_RESULT, Linux 6.10 */
#define MAX_CUT 16

/* --- the host ------------------------------------------------------------------------------ */

struct host {
	/* What goes wrong; set while nothing is in flight. */
	size_t most; /* bytes that a transfer takes, 0: all */
	bool whole_writes; /* most is for reads only */
	bool interrupt; /* every second call */
	int read_error;
	int write_error;
	int dsync_error; /* of writes with RWF_DSYNC only */
	int sync_error;
	int allocate_error;
	int lacks; /* modes of fallocate that are not there */
	int slow; /* a sync takes until this descriptor can be read; -1 */
	uint64_t align; /* what transfers have to be multiples of */
	/* What was seen. */
	atomic_uint calls;
	atomic_uint tries; /* of reads that must not block */
	atomic_uint reads;
	atomic_uint writes;
	atomic_uint dsyncs;
	atomic_uint syncs;
	atomic_uint allocates;
	atomic_uint unaligned;
};

static struct host host;

static void host_reset(void)
{
	memset(&host, 0, sizeof(host));
	host.slow = -1;
	host.align = 1;
}

/* Counts a transfer, and says what it fails with: 0 or -errno. */
static int host_transfer(bool write, const struct iovec *iov, unsigned n, uint64_t offset,
			 int flags)
{
	uint64_t bits = offset;

	if (flags & RWF_NOWAIT) { /* it may find nothing */
		host.tries++;
		return host.read_error || host.most || host.interrupt ? -EAGAIN : 0;
	}
	for (unsigned i = 0; i < n; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	if (bits % host.align)
		host.unaligned++;
	if (write)
		host.writes++;
	else
		host.reads++;
	if (host.interrupt && host.calls++ % 2 == 0)
		return -EINTR;
	if (!write)
		return -host.read_error;
	if (flags & RWF_DSYNC) {
		host.dsyncs++;
		if (host.dsync_error)
			return -host.dsync_error;
	}
	return -host.write_error;
}

static int host_sync(void)
{
	host.syncs++;
	return -host.sync_error;
}

static int host_allocate(int mode)
{
	host.allocates++;
	return mode & host.lacks ? -EOPNOTSUPP : -host.allocate_error;
}

/* The first host.most bytes of it. */
static unsigned cut(struct iovec *out, const struct iovec *iov, unsigned n)
{
	size_t left = host.most;
	unsigned i;

	for (i = 0; i < n && i < MAX_CUT && left; i++) {
		out[i] = (struct iovec){ iov[i].iov_base, min_u64(left, iov[i].iov_len) };
		left -= out[i].iov_len;
	}
	return i;
}

static ssize_t result(int ret)
{
	errno = -ret;
	return -1;
}

static ssize_t plain_transfer(long nr, int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	int ret = host_transfer(nr == SYS_pwritev2, iov, (unsigned)n, (uint64_t)off, flags);
	struct iovec less[MAX_CUT];

	if (ret)
		return result(ret);
	if (host.most && !(host.whole_writes && nr == SYS_pwritev2)) {
		n = (int)cut(less, iov, (unsigned)n);
		iov = less;
	}
	return syscall(nr, fd, iov, (long)n, (long)off, 0L, (long)flags);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return plain_transfer(SYS_preadv2, fd, iov, n, off, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return plain_transfer(SYS_pwritev2, fd, iov, n, off, flags);
}

int fdatasync(int fd)
{
	struct pollfd p = { .fd = host.slow, .events = POLLIN };
	int ret = host_sync();

	if (host.slow >= 0)
		poll(&p, 1, -1);
	return ret ? (int)result(ret) : (int)syscall(SYS_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	int ret = host_allocate(mode);

	return ret ? (int)result(ret) : (int)syscall(SYS_fallocate, fd, (long)mode, off, len);
}

/* An entry that does nothing but give that. */
static void give(struct io_uring_sqe *sqe, int ret)
{
	uint64_t data = sqe->user_data;

	io_uring_prep_nop(sqe);
	sqe->rw_flags = NOP_INJECT_RESULT;
	sqe->len = (unsigned)ret;
	sqe->user_data = data;
}

/* Shortened pieces, one set for each entry of a ring: until it is done they stay. */
static struct iovec *room_for(const struct io_uring *ring, const struct io_uring_sqe *sqe)
{
	static struct iovec room[128][MAX_CUT];

	return room[(size_t)(sqe - ring->sq.sqes) % 128];
}

static void change_transfer(struct io_uring *ring, struct io_uring_sqe *sqe)
{
	bool write = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV;
	bool one = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_READ;
	struct iovec single = { (void *)(uintptr_t)sqe->addr, sqe->len };
	const struct iovec *iov = one ? &single : single.iov_base;
	unsigned n = one ? 1 : sqe->len;
	int ret = host_transfer(write, iov, n, sqe->off, sqe->rw_flags);

	if (ret)
		give(sqe, ret);
	else if (!host.most || (host.whole_writes && write))
		return;
	else if (one)
		sqe->len = (unsigned)min_u64(sqe->len, host.most);
	else {
		sqe->len = cut(room_for(ring, sqe), iov, n);
		sqe->addr = (uintptr_t)room_for(ring, sqe);
	}
}

static void change_sync(struct io_uring_sqe *sqe)
{
	uint64_t data = sqe->user_data;
	int ret = host_sync();

	if (ret) {
		give(sqe, ret);
	} else if (host.slow >= 0) {
		io_uring_prep_poll_add(sqe, host.slow, POLLIN);
		sqe->user_data = data;
	}
}

/* What the kernel has not been shown yet. */
static void change_entries(struct io_uring *ring)
{
	for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[i & ring->sq.ring_mask];
		int ret;

		switch (sqe->opcode) {
		case IORING_OP_FSYNC:
			change_sync(sqe);
			break;
		case IORING_OP_FALLOCATE:
			ret = host_allocate((int)sqe->len);
			if (ret)
				give(sqe, ret);
			break;
		default:
			change_transfer(ring, sqe);
			break;
		}
	}
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
	int (*real)(struct io_uring *) = dlsym(RTLD_NEXT, "io_uring_submit_and_get_events");

	change_entries(ring);
	return real(ring);
}

/* --- the tests' own ------------------------------------------------------------------------ */

struct fixture {
	enum block_engine engine;
	char path[64];
	struct block *b;
	struct disk d;
	bool open;
};

static bool can_inject(void)
{
	struct io_uring_cqe *cqe = NULL;
	struct io_uring ring;
	bool ok;

	if (io_uring_queue_init(1, &ring, 0))
		return false;
	give(io_uring_get_sqe(&ring), -ENOSPC);
	ok = io_uring_submit(&ring) == 1 && !io_uring_wait_cqe(&ring, &cqe) && cqe->res == -ENOSPC;
	io_uring_queue_exit(&ring);
	return ok;
}

static void make_file(struct fixture *f, const char *folder, off_t size)
{
	int fd;

	snprintf(f->path, sizeof(f->path), "%s/bantam-faults-XXXXXX", folder);
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void open_disk(struct fixture *f, enum block_cache cache)
{
	struct block_config cfg = { .path = f->path, .engine = f->engine, .cache = cache };
	struct err err;

	assert_int_equal(block_open(&cfg, &f->b, &err), 0);
	disk_init(&f->d, f->b);
	f->open = true;
}

static void close_disk(struct fixture *f)
{
	if (!f->open)
		return;
	disk_fini(&f->d);
	block_destroy(f->b);
	f->open = false;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->engine = *(const enum block_engine *)*state;
	host_reset();
	make_file(f, "/var/tmp", MIB);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	host_reset();
	close_disk(f);
	unlink(f->path);
	free(f);
	return 0;
}

static struct fixture *begin(void **state)
{
	struct fixture *f = *state;

	if (f->engine == BLOCK_ENGINE_IO_URING && !can_inject()) {
		print_message("# no io_uring here, or none with NOPs that fail\n");
		skip();
	}
	return f;
}

/* Writes that take the engine's own way, not the submitter's thread: durable ones. */
static int write_durably(struct fixture *f, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return disk_do(&f->d, &(struct block_req){ .op = BLOCK_WRITE,
						   .durable = true,
						   .offset = offset,
						   .len = len,
						   .iov = &iov,
						   .nr_iov = 1 });
}

/* Transfers cut at every length, across and inside pieces, come out whole. */
static void test_short(void **state)
{
	static const size_t mosts[] = { 1, 3, 9, 499, 500, 501, 512, 1000, 1499, 1500, 1535 };
	struct fixture *f = begin(state);
	uint8_t w[1536], r[1536];
	struct iovec iov[4];

	open_disk(f, BLOCK_CACHE_WRITEBACK);
	for (size_t k = 0; k < 2 * ARRAY_SIZE(mosts); k++) {
		struct block_req b = { .offset = 512, .len = 1536, .iov = iov, .nr_iov = 4 };

		host.most = mosts[k / 2];
		b.durable = k % 2;
		for (size_t i = 0; i < sizeof(w); i++)
			w[i] = (uint8_t)(i * (k + 1) + i / 256);
		memset(r, 0, sizeof(r));
		iov[0] = (struct iovec){ w, 500 };
		iov[1] = (struct iovec){ w + 500, 0 };
		iov[2] = (struct iovec){ w + 500, 1000 };
		iov[3] = (struct iovec){ w + 1500, 36 };
		b.op = BLOCK_WRITE;
		assert_int_equal(disk_do(&f->d, &b), 0);
		iov[0] = (struct iovec){ r, 3 };
		iov[1] = (struct iovec){ r + 3, 1533 };
		b.op = BLOCK_READ;
		b.nr_iov = 2;
		assert_int_equal(disk_do(&f->d, &b), 0);
		assert_memory_equal(w, r, sizeof(w));
	}
	assert_true(host.reads > 100);
	assert_true(host.writes > 100);
}

static void test_interrupted(void **state)
{
	struct fixture *f = begin(state);
	uint8_t w[8192], r[8192];

	memset(w, 0x5a, sizeof(w));
	open_disk(f, BLOCK_CACHE_WRITEBACK);
	host.interrupt = true;
	assert_int_equal(disk_write(&f->d, 0, w, sizeof(w)), 0);
	assert_int_equal(write_durably(f, 8192, w, sizeof(w)), 0);
	assert_int_equal(disk_read(&f->d, 8192, r, sizeof(r)), 0);
	assert_memory_equal(w, r, sizeof(w));
	assert_true(host.calls >= 5);
}

static void test_errors(void **state)
{
	struct fixture *f = begin(state);
	uint8_t buf[4096] = { 0 };

	open_disk(f, BLOCK_CACHE_WRITEBACK);
	host.read_error = EIO;
	assert_int_equal(disk_read(&f->d, 0, buf, 4096), -EIO);
	host.read_error = ENXIO;
	assert_int_equal(disk_read(&f->d, 0, buf, 4096), -EIO);
	host.read_error = 0;
	assert_int_equal(disk_read(&f->d, 0, buf, 4096), 0);
	for (unsigned i = 0; i < 2; i++) {
		int (*const put)(struct fixture *, uint64_t, void *, size_t) = write_durably;

		host.write_error = ENOSPC;
		assert_int_equal(i ? put(f, 0, buf, 4096) : disk_write(&f->d, 0, buf, 4096),
				 -ENOSPC);
		host.write_error = EDQUOT;
		assert_int_equal(i ? put(f, 0, buf, 4096) : disk_write(&f->d, 0, buf, 4096),
				 -ENOSPC);
		host.write_error = 0;
		assert_int_equal(i ? put(f, 0, buf, 4096) : disk_write(&f->d, 0, buf, 4096), 0);
	}
	/* The disk was full, which is over: nothing was lost that had been promised. */
	assert_int_equal(disk_flush(&f->d), 0);
	host.write_error = EIO;
	assert_int_equal(disk_write(&f->d, 0, buf, 4096), -EIO);
	host.write_error = 0;
	host.allocate_error = ENOSPC;
	assert_int_equal(
		disk_do(&f->d, &(struct block_req){ .op = BLOCK_WRITE_ZEROES, .len = 4096 }),
		-ENOSPC);
}

/* The kernel reports lost writes once: we go on reporting them, to every queue. */
static void test_flush_fails_for_ever(void **state)
{
	struct fixture *f = begin(state);
	struct disk other;

	open_disk(f, BLOCK_CACHE_WRITEBACK);
	disk_init(&other, f->b);
	assert_int_equal(disk_flush(&f->d), 0);
	assert_int_equal(host.syncs, 1);
	host.sync_error = EIO;
	assert_int_equal(disk_flush(&f->d), -EIO);
	host.sync_error = 0;
	assert_int_equal(disk_flush(&f->d), -EIO);
	assert_int_equal(disk_flush(&other), -EIO);
	assert_int_equal(host.syncs, 2);
	disk_fini(&other);
}

/* A durable write may be the one that is told of another's loss. */
static void test_durable_fails(void **state)
{
	struct fixture *f = begin(state);
	uint8_t buf[512] = { 0 };

	open_disk(f, BLOCK_CACHE_WRITEBACK);
	host.dsync_error = EIO;
	assert_int_equal(write_durably(f, 0, buf, 512), -EIO);
	host.dsync_error = 0;
	assert_int_equal(disk_flush(&f->d), -EIO);
}

static void test_cache_modes(void **state)
{
	struct fixture *f = begin(state);
	struct block_req zeroes = { .op = BLOCK_WRITE_ZEROES, .len = 4096 };
	uint8_t buf[512] = { 0 };

	open_disk(f, BLOCK_CACHE_WRITEBACK);
	assert_int_equal(disk_write(&f->d, 0, buf, 512), 0);
	assert_int_equal(host.dsyncs, 0);
	assert_int_equal(write_durably(f, 0, buf, 512), 0);
	assert_int_equal(host.dsyncs, 1);
	assert_int_equal(host.syncs, 0);
	assert_int_equal(disk_flush(&f->d), 0);
	assert_int_equal(host.syncs, 1);
	close_disk(f);

	host_reset();
	open_disk(f, BLOCK_CACHE_WRITETHROUGH);
	assert_int_equal(disk_write(&f->d, 0, buf, 512), 0);
	assert_int_equal(host.dsyncs, 1);
	assert_int_equal(host.syncs, 0);
	assert_int_equal(disk_do(&f->d, &zeroes), 0);
	assert_int_equal(host.syncs + host.dsyncs, 2);
	close_disk(f);

	host_reset();
	open_disk(f, BLOCK_CACHE_UNSAFE);
	assert_int_equal(write_durably(f, 0, buf, 512), 0);
	assert_int_equal(disk_flush(&f->d), 0);
	zeroes.durable = true;
	assert_int_equal(disk_do(&f->d, &zeroes), 0);
	assert_int_equal(host.syncs + host.dsyncs, 0);
}

/* Where writes cannot be durable by themselves they are by a sync. */
static void test_no_dsync(void **state)
{
	struct fixture *f = begin(state);
	uint8_t buf[512] = { 1 }, r[512];

	open_disk(f, BLOCK_CACHE_WRITEBACK);
	host.dsync_error = EOPNOTSUPP;
	assert_int_equal(write_durably(f, 512, buf, 512), 0);
	assert_int_equal(host.dsyncs, 1);
	assert_int_equal(host.syncs, 1);
	assert_int_equal(write_durably(f, 512, buf, 512), 0);
	assert_int_equal(host.dsyncs, 1); /* not asked again */
	assert_int_equal(host.syncs, 2);
	assert_int_equal(disk_read(&f->d, 512, r, 512), 0);
	assert_memory_equal(r, buf, 512);
	host.sync_error = EIO;
	assert_int_equal(write_durably(f, 512, buf, 512), -EIO);
}

/* Zeroes always come about, in the end by writing them. */
static void test_zeroes_anyway(void **state)
{
	struct fixture *f = begin(state);
	static uint8_t w[600 * KIB], r[600 * KIB];

	for (unsigned i = 0; i < 4; i++) {
		struct block_req b = { .op = BLOCK_WRITE_ZEROES,
				       .unmap = i & 1,
				       .offset = 1536,
				       .len = 500 * KIB + 512 };

		host_reset();
		open_disk(f, BLOCK_CACHE_WRITEBACK);
		host.lacks = FALLOC_FL_ZERO_RANGE | (i & 2 ? FALLOC_FL_PUNCH_HOLE : 0);
		host.most = 100000;
		memset(w, 0xff, sizeof(w));
		assert_int_equal(disk_write(&f->d, 0, w, sizeof(w)), 0);
		memset(w + b.offset, 0, b.len);
		assert_int_equal(disk_do(&f->d, &b), 0);
		assert_int_equal(disk_read(&f->d, 0, r, sizeof(r)), 0);
		assert_memory_equal(w, r, sizeof(w));
		if (i != 1) {
			unsigned asked = host.allocates;

			assert_true(asked > 0);
			assert_int_equal(disk_do(&f->d, &b), 0);
			assert_int_equal(host.allocates, asked);
		}
		close_disk(f);
	}
}

static bool has_nowait(const struct fixture *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	char byte;
	struct iovec iov = { &byte, 1 };
	bool ok = preadv2(fd, &iov, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN;

	close(fd);
	return ok;
}

/* One read is tried by its submitter, and is done where the page cache has it. */
static void test_lone_read(void **state)
{
	struct fixture *f = begin(state);
	uint8_t buf[3][4096] = { { 0 } };

	if (f->engine == BLOCK_ENGINE_SYNC || !has_nowait(f))
		skip();
	open_disk(f, BLOCK_CACHE_WRITEBACK);
	assert_int_equal(disk_write(&f->d, 0, buf[0], 4096), 0);
	host.tries = 0; /* opening has asked whether there is such a thing */
	assert_int_equal(disk_read(&f->d, 0, buf[0], 4096), 0);
	assert_int_equal(host.tries, 1);
	assert_int_equal(host.reads, 0);
	host.most = 4095;
	assert_int_equal(disk_read(&f->d, 0, buf[0], 4096), 0);
	assert_int_equal(host.reads, 2);
	host.most = 0;

	/* Several in a batch are the ring's, if there is one. */
	for (unsigned i = 0; i < 3; i++) {
		struct disk_req *r = &f->d.reqs[i];

		r->iov = (struct iovec){ buf[i], 4096 };
		disk_start(&f->d, r,
			   &(struct block_req){ .len = 4096, .iov = &r->iov, .nr_iov = 1 });
	}
	disk_wait(&f->d);
	assert_int_equal(host.tries, f->engine == BLOCK_ENGINE_IO_URING ? 2 : 5);
	assert_int_equal(host.reads, f->engine == BLOCK_ENGINE_IO_URING ? 5 : 2);
}

/* What has completed is done while a slow one is still on its way. */
static void test_slow(void **state)
{
	struct fixture *f = begin(state);
	uint8_t buf[4096] = { 0 };
	struct disk_req *slow, *fast;
	int fds[2];

	if (f->engine == BLOCK_ENGINE_SYNC)
		skip();
	open_disk(f, BLOCK_CACHE_WRITEBACK);
	assert_int_equal(pipe(fds), 0);
	host.slow = fds[0];
	slow = &f->d.reqs[0];
	fast = &f->d.reqs[1];
	disk_start(&f->d, slow, &(struct block_req){ .op = BLOCK_FLUSH });
	for (unsigned i = 0; i < 50; i++) {
		fast->iov = (struct iovec){ buf, sizeof(buf) };
		disk_start(&f->d, fast,
			   &(struct block_req){ .op = i % 2 ? BLOCK_READ : BLOCK_WRITE,
						.durable = i % 4 == 0,
						.len = sizeof(buf),
						.iov = &fast->iov,
						.nr_iov = 1 });
		block_kick(f->d.q);
		while (!fast->times)
			(void)block_poll(f->d.q);
		assert_int_equal(fast->result, 0);
		assert_int_equal(slow->times, 0);
	}
	assert_int_equal(write(fds[1], "x", 1), 1);
	disk_wait(&f->d);
	assert_int_equal(slow->times, 1);
	assert_int_equal(slow->result, 0);
	close(fds[0]);
	close(fds[1]);
}

/* --- the image under a format --------------------------------------------------------------- */

struct plain {
	struct block b;
	struct image img;
};

static int plain_open_queue(struct block *b, const struct block_queue_config *cfg,
			    struct block_queue **out)
{
	return image_open_queue(&container_of(b, struct plain, b)->img, b, cfg, out);
}

static const struct block_ops plain_ops = { .open_queue = plain_open_queue };

static void plain_open(struct plain *p, const struct fixture *f, enum block_cache cache)
{
	struct block_config cfg = {
		.path = f->path, .engine = f->engine, .cache = cache, .format = BLOCK_QCOW2
	};
	struct err err;

	memset(p, 0, sizeof(*p));
	assert_int_equal(image_open(&p->img, &cfg, &err), 0);
	p->b.ops = &plain_ops;
	p->b.size = GIB; /* formats go where they like */
	p->b.limits = p->img.limits;
}

/* Behind the end a file grows by writes, of zeroes as well, and reads fail. */
static void test_behind_the_end(void **state)
{
	struct fixture *f = begin(state);
	struct block_req zeroes = { .op = BLOCK_WRITE_ZEROES, .len = 4096 };
	uint8_t buf[4096] = { 1 };
	struct plain p;
	struct disk d;
	struct stat st;

	plain_open(&p, f, BLOCK_CACHE_WRITEBACK);
	disk_init(&d, &p.b);
	assert_int_equal(disk_read(&d, MIB - 2048, buf, 4096), -EIO);
	assert_int_equal(disk_write(&d, MIB + 4096, buf, 4096), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, MIB + 8192);
	for (unsigned i = 0; i < 2; i++) {
		zeroes.offset = MIB + (i + 2) * 4096;
		zeroes.unmap = i;
		assert_int_equal(disk_do(&d, &zeroes), 0);
		assert_int_equal(disk_read(&d, zeroes.offset, buf, 4096), 0);
	}
	assert_int_equal(disk_read(&d, MIB, buf, 4096), 0);
	disk_fini(&d);
	image_close(&p.img);
}

/* What a part of a block is written into is read whole, however often the host falls short. */
static void test_short_fill(void **state)
{
	struct fixture *f = begin(state);
	static uint8_t w[16 * KIB], r[16 * KIB];
	struct plain p;
	struct disk d;

	plain_open(&p, f, BLOCK_CACHE_WRITEBACK);
	p.img.io_align = p.img.mem_align = 4096;
	disk_init(&d, &p.b);
	memset(w, 0x77, sizeof(w));
	assert_int_equal(disk_write(&d, 0, w, sizeof(w)), 0);
	assert_int_equal(disk_write(&d, 32 * KIB, r, sizeof(r)), 0); /* no 0x77 is left over */
	host.most = 4096;
	host.whole_writes = true;
	memset(w + 2048, 0x33, 8192);
	assert_int_equal(disk_write(&d, 2048, w + 2048, 8192), 0);
	assert_int_equal(disk_read(&d, 0, r, sizeof(r)), 0);
	assert_memory_equal(w, r, sizeof(w));
	disk_fini(&d);
	image_close(&p.img);
}

/* Sectors of 4 KiB, or more: the host only sees whole ones. */
static struct block *coarse_open(void *opaque, uint64_t size)
{
	struct fixture *f = opaque;
	struct plain *p = calloc(1, sizeof(*p));

	host_reset();
	make_file(f, "/dev/shm", (off_t)size);
	if (f->engine == BLOCK_ENGINE_IO_URING && !can_inject()) {
		unlink(f->path);
		free(p);
		return NULL;
	}
	plain_open(p, f, BLOCK_CACHE_WRITEBACK);
	p->b.size = size;
	p->img.io_align = p->img.mem_align = 4096;
	p->img.gated = true;
	host.align = 4096;
	host.lacks = FALLOC_FL_ZERO_RANGE;
	return &p->b;
}

static void coarse_close(void *opaque, struct block *b)
{
	struct plain *p = container_of(b, struct plain, b);
	struct fixture *f = opaque;

	assert_int_equal(host.unaligned, 0);
	image_close(&p->img);
	unlink(f->path);
	free(p);
	host_reset();
}

#define NR_ENGINES 3

int main(void)
{
	static const struct {
		const char *name;
		void (*fn)(void **state);
	} all[] = {
		{ "short transfers", test_short },
		{ "interrupted calls", test_interrupted },
		{ "errors", test_errors },
		{ "a failed flush fails for ever", test_flush_fails_for_ever },
		{ "a failed durable write", test_durable_fails },
		{ "cache modes", test_cache_modes },
		{ "no RWF_DSYNC", test_no_dsync },
		{ "no fallocate()", test_zeroes_anyway },
		{ "a lone read", test_lone_read },
		{ "slow flushes", test_slow },
		{ "behind the end", test_behind_the_end },
		{ "short reads of blocks that change in part", test_short_fill },
	};
	static const enum block_engine engines[NR_ENGINES] = { BLOCK_ENGINE_SYNC,
							       BLOCK_ENGINE_THREADS,
							       BLOCK_ENGINE_IO_URING };
	static const char *const names[NR_ENGINES] = { "sync", "threads", "io_uring" };
	static char titles[NR_ENGINES][ARRAY_SIZE(all) + 1][64];
	static struct fixture coarse[NR_ENGINES];
	static struct block_contract contracts[NR_ENGINES];
	static struct CMUnitTest tests[NR_ENGINES * (ARRAY_SIZE(all) + BLOCK_CONTRACT_TESTS)];
	struct CMUnitTest *t = tests;

	for (unsigned e = 0; e < NR_ENGINES; e++) {
		for (unsigned i = 0; i < ARRAY_SIZE(all); i++, t++) {
			snprintf(titles[e][i], 64, "%s: %s", names[e], all[i].name);
			*t = (struct CMUnitTest){ titles[e][i], all[i].fn, setup, teardown,
						  (void *)&engines[e] };
		}
		coarse[e].engine = engines[e];
		snprintf(titles[e][ARRAY_SIZE(all)], 64, "%s, blocks of 4096", names[e]);
		contracts[e] = (struct block_contract){ .name = titles[e][ARRAY_SIZE(all)],
							.open = coarse_open,
							.close = coarse_close,
							.opaque = &coarse[e],
							.discard_zeroes = true };
		block_contract_add(t, &contracts[e]);
		t += BLOCK_CONTRACT_TESTS;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
