/* SPDX-License-Identifier: MIT */
/*
 * One qcow2 image and several I/O threads, which share its clusters: each writes units of its own
 * and always reads what it wrote last, while clusters are allocated, zeroed and freed around it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <semaphore.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/qcow2_disk.h"

#define DISK (2 * MIB)
#define QUEUES 3
#define DEPTH 8
#define UNIT 512u
#define UNITS (DISK / UNIT)
#define REQUESTS 1500

struct user;

/* A request of a queue's, again and again. */
struct slot {
	struct block_req req;
	struct iovec iov;
	struct user *user;
	uint64_t unit, n; /* units that are ours meanwhile */
	uint64_t value;
	uint8_t *buf;
};

struct user {
	struct iothread io;
	struct block_queue *q;
	struct loop_post start;
	struct slot slots[DEPTH];
	unsigned nr; /* of QUEUES */
	uint64_t seed;
	unsigned left, running;
	bool busy[UNITS];
	uint64_t *values; /* of all units; ours to look at and change where they are ours */
	uint64_t per_cluster;
	sem_t over;
};

static void go_on(struct slot *s);

/* Every fourth cluster is one user's alone, of the others each unit is another's. */
static bool is_ours(const struct user *u, uint64_t unit)
{
	uint64_t cluster = unit / u->per_cluster;

	return (cluster % 4 == 3 ? cluster / 4 : unit) % QUEUES == u->nr;
}

static bool whole_cluster(const struct user *u, uint64_t unit)
{
	return unit / u->per_cluster % 4 == 3;
}

static void slot_done(struct block_req *req, int result)
{
	struct slot *s = req->opaque;
	struct user *u = s->user;

	assert_int_equal(result, 0);
	for (uint64_t i = 0; i < s->n; i++) {
		uint64_t unit = s->unit + i;

		if (req->op == BLOCK_READ)
			for (unsigned k = 0; k < UNIT; k += 8)
				assert_int_equal(load_le(s->buf + i * UNIT + k, 8),
						 u->values[unit]);
		else
			u->values[unit] = s->value;
		u->busy[unit] = false;
	}
	u->running--;
	go_on(s);
	block_kick(u->q);
}

static bool choose(struct user *u, struct slot *s)
{
	s->unit = qcow2_disk_random(&u->seed, UNITS);
	s->n = 1;
	if (whole_cluster(u, s->unit)) {
		s->unit -= s->unit % u->per_cluster;
		s->n = u->per_cluster;
	}
	for (uint64_t i = 0; i < s->n; i++)
		if (!is_ours(u, s->unit + i) || u->busy[s->unit + i])
			return false;
	for (uint64_t i = 0; i < s->n; i++)
		u->busy[s->unit + i] = true;
	return true;
}

static void go_on(struct slot *s)
{
	struct user *u = s->user;
	uint64_t kind = qcow2_disk_random(&u->seed, 16);

	if (!u->left) {
		if (!u->running)
			sem_post(&u->over);
		return;
	}
	u->left--;
	u->running++;
	while (!choose(u, s))
		;
	s->iov.iov_len = s->n * UNIT;
	s->req.offset = s->unit * UNIT;
	s->req.len = s->n * UNIT;
	s->req.op = BLOCK_READ;
	s->req.durable = false;
	s->value = 0;
	if (kind < 8) {
		s->req.op = BLOCK_WRITE;
		s->value = u->seed;
		s->req.durable = kind == 0;
		for (uint64_t i = 0; i < s->req.len; i += 8)
			store_le(s->buf + i, 8, s->value);
	} else if (kind < 10) {
		s->req.op =
			whole_cluster(u, s->unit) && kind == 8 ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES;
		s->req.unmap = kind & 1;
	} else if (kind == 10) {
		for (uint64_t i = 0; i < s->n; i++)
			u->busy[s->unit + i] = false;
		s->n = 0;
		s->req.op = BLOCK_FLUSH;
	}
	block_submit(u->q, &s->req);
}

static void start(void *opaque)
{
	struct user *u = opaque;

	/* The last one to be started may find nothing left, which is not the end. */
	u->running++;
	for (unsigned i = 0; i < DEPTH; i++)
		go_on(&u->slots[i]);
	u->running--;
	block_kick(u->q);
}

static void user_start(struct user *u, struct block *b)
{
	struct block_queue_config qc = { .depth = DEPTH };

	u->left = REQUESTS;
	sem_init(&u->over, 0, 0);
	assert_int_equal(iothread_start(&u->io, "user"), 0);
	qc.loop = &u->io.loop;
	assert_int_equal(block_open_queue(b, &qc, &u->q), 0);
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *s = &u->slots[i];

		s->user = u;
		s->buf = aligned_alloc(UNIT, u->per_cluster * UNIT);
		assert_non_null(s->buf);
		s->iov.iov_base = s->buf;
		s->req = (struct block_req){
			.iov = &s->iov, .nr_iov = 1, .done = slot_done, .opaque = s
		};
	}
	u->start = (struct loop_post){ .fn = start, .opaque = u };
	loop_post(&u->io.loop, &u->start);
}

static void user_end(struct user *u)
{
	sem_wait(&u->over);
	block_close_queue(u->q);
	iothread_stop(&u->io);
	sem_destroy(&u->over);
	for (unsigned i = 0; i < DEPTH; i++)
		free(u->slots[i].buf);
}

static void run_queues(struct qcow2_disk *d, const char *create, struct block_config cfg,
		       unsigned cluster_size)
{
	struct user *users = calloc(QUEUES, sizeof(*users));
	uint64_t *values = calloc(UNITS, sizeof(*values));
	uint8_t *buf = malloc(DISK);

	assert_true(users && values && buf);
	assert_int_equal(qcow2_disk_run(d, "%s", create), 0);
	assert_int_equal(qcow2_disk_open_as(d, cfg), 0);
	for (unsigned i = 0; i < QUEUES; i++) {
		users[i].nr = i;
		users[i].seed = 7 + i;
		users[i].values = values;
		users[i].per_cluster = max_u64(cluster_size / UNIT, 1);
		user_start(&users[i], d->b);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		user_end(&users[i]);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, 0, buf, DISK), 0);
	qcow2_disk_close(d);
	for (uint64_t i = 0; i < DISK; i += 8)
		assert_int_equal(load_le(buf + i, 8), values[i / UNIT]);
	assert_int_equal(qcow2_disk_run(d, "qemu-img check -f qcow2 image"), 0);
	free(buf);
	free(values);
	free(users);
}

/* statx() in front of the C library's: a device of blocks that hold several units, or clusters. */
static unsigned host_block;

int statx(int fd, const char *path, int flags, unsigned mask, struct statx *stx)
{
	long ret = syscall(SYS_statx, fd, path, flags, mask, stx);

	if (!ret && host_block && mask == STATX_DIOALIGN) {
		stx->stx_mask |= STATX_DIOALIGN;
		stx->stx_dio_offset_align = stx->stx_dio_mem_align = host_block;
	}
	return (int)ret;
}

static void test_queues(void **state)
{
	static const struct {
		enum block_engine engine;
		enum block_cache cache;
		unsigned cluster_size;
		unsigned block; /* of the device, 0: whatever it has */
	} variants[] = {
		{ BLOCK_ENGINE_SYNC, BLOCK_CACHE_WRITEBACK, 65536, 0 },
		{ BLOCK_ENGINE_SYNC, BLOCK_CACHE_WRITEBACK, 4096, 0 },
		{ BLOCK_ENGINE_THREADS, BLOCK_CACHE_NONE, 65536, 0 },
		{ BLOCK_ENGINE_AUTO, BLOCK_CACHE_WRITEBACK, 65536, 0 },
		{ BLOCK_ENGINE_AUTO, BLOCK_CACHE_NONE, 8192, 0 },
		{ BLOCK_ENGINE_AUTO, BLOCK_CACHE_NONE, 512, 0 },
		{ BLOCK_ENGINE_AUTO, BLOCK_CACHE_NONE, 512, 4096 },
		{ BLOCK_ENGINE_SYNC, BLOCK_CACHE_NONE, 16384, 4096 },
		{ BLOCK_ENGINE_THREADS, BLOCK_CACHE_NONE, 1024, 4096 },
		{ BLOCK_ENGINE_AUTO, BLOCK_CACHE_WRITETHROUGH, 65536, 0 },
		{ BLOCK_ENGINE_AUTO, BLOCK_CACHE_UNSAFE, 16384, 0 },
	};
	struct qcow2_disk *d = *state;

	if (!qcow2_disk_have_qemu()) {
		print_message("no qemu-img: package qemu-utils\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		struct block_config cfg = { .engine = variants[i].engine,
					    .cache = variants[i].cache };
		char create[128];

		if (cfg.cache == BLOCK_CACHE_NONE && !qcow2_disk_have_direct())
			continue;
		print_message("clusters of %u, blocks of %u\n", variants[i].cluster_size,
			      variants[i].block);
		host_block = variants[i].block;
		snprintf(create, sizeof(create),
			 "qemu-img create -f qcow2 -o cluster_size=%u image 2M",
			 variants[i].cluster_size);
		run_queues(d, create, cfg, variants[i].cluster_size);
	}
}

/* --- a write that is late ---------------------------------------------------------- */

#define LATE 0x6574616c

/* The host's calls in front of the C library's: one that writes LATE stops before it does. */
static struct {
	atomic_bool on;
	sem_t reached, pass;
} stop;

static void stop_late(const struct iovec *iov)
{
	if (!stop.on || iov->iov_len < 8 || load_le(iov->iov_base, 8) != LATE)
		return;
	stop.on = false;
	sem_post(&stop.reached);
	sem_wait(&stop.pass);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	stop_late(iov);
	return syscall(SYS_pwritev, fd, iov, n, (long)off, 0L);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	stop_late(iov);
	return syscall(SYS_pwritev2, fd, iov, n, (long)off, 0L, flags);
}

struct late {
	struct block_req req;
	struct block_queue *q;
	sem_t over;
};

static void late_done(struct block_req *req, int result)
{
	struct late *l = req->opaque;

	assert_int_equal(result, 0);
	sem_post(&l->over);
}

static void late_start(void *opaque)
{
	struct late *l = opaque;

	block_submit(l->q, &l->req);
	block_kick(l->q);
}

static void fill(uint8_t *buf, uint64_t value)
{
	for (unsigned i = 0; i < 64 * KIB; i += 8)
		store_le(buf + i, 8, value);
}

/* A write on its way to a cluster that is freed meanwhile lands in nobody else's. */
static void test_late_write(void **state)
{
	struct qcow2_disk *d = *state;
	uint8_t *buf = malloc(64 * KIB), *late_buf = malloc(64 * KIB);
	struct iovec iov = { late_buf, 64 * KIB };
	struct late l = { .req = { .op = BLOCK_WRITE, .len = 64 * KIB, .iov = &iov, .nr_iov = 1 } };
	struct loop_post post = { .fn = late_start, .opaque = &l };
	struct iothread io;

	assert_true(buf && late_buf);
	d->engine = BLOCK_ENGINE_SYNC;
	d->b = qcow2_disk_new(d, DISK);
	if (!d->b)
		skip();
	qcow2_disk_open_queue(d);
	assert_int_equal(iothread_start(&io, "late"), 0);
	assert_int_equal(
		block_open_queue(d->b, &(struct block_queue_config){ .loop = &io.loop, .depth = 1 },
				 &l.q),
		0);
	sem_init(&l.over, 0, 0);
	sem_init(&stop.reached, 0, 0);
	sem_init(&stop.pass, 0, 0);
	l.req.done = late_done;
	l.req.opaque = &l;
	fill(late_buf, LATE);

	fill(buf, 1);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, 0, buf, 64 * KIB), 0);
	stop.on = true;
	loop_post(&io.loop, &post);
	sem_wait(&stop.reached);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_DISCARD, 0, NULL, 64 * KIB), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(qcow2_disk_rw(d, BLOCK_FLUSH, 0, NULL, 0), 0);
	fill(buf, 2);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_WRITE, MIB, buf, 64 * KIB), 0);
	sem_post(&stop.pass);
	sem_wait(&l.over);
	assert_int_equal(qcow2_disk_rw(d, BLOCK_READ, MIB, late_buf, 64 * KIB), 0);
	assert_memory_equal(late_buf, buf, 64 * KIB);

	block_close_queue(l.q);
	iothread_stop(&io);
	qcow2_disk_close(d);
	assert_int_equal(qcow2_disk_run(d, "qemu-img check -f qcow2 image"), 0);
	sem_destroy(&l.over);
	sem_destroy(&stop.reached);
	sem_destroy(&stop.pass);
	free(buf);
	free(late_buf);
}

static int setup(void **state)
{
	struct qcow2_disk *d = calloc(1, sizeof(*d));

	qcow2_disk_init(d);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	qcow2_disk_destroy(*state);
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_write, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
