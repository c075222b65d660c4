/* SPDX-License-Identifier: MIT */
/* NBD disks, against nbdkit and qemu-nbd on Unix sockets; skipped where they are not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "backends/block/block.h"
#include "tests/unit/block_rig.h"

#define DEPTH 32

struct fixture {
	char dir[64];
	char socket[96];
	char uri[160];
	char image[96];
	char control[96]; /* a file whose being there changes what the server does */
	pid_t server;
	struct err err;
	struct block *b;
	struct rig rig;
	bool has_rig;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/bantam-nbd-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->dir);
	snprintf(f->image, sizeof(f->image), "%s/image", f->dir);
	snprintf(f->control, sizeof(f->control), "%s/control", f->dir);
	snprintf(f->uri, sizeof(f->uri), "nbd+unix:///?socket=%s", f->socket);
	*state = f;
	return 0;
}

static void stop_server(struct fixture *f, int sig)
{
	if (!f->server)
		return;
	kill(f->server, sig);
	assert_int_equal(waitpid(f->server, NULL, 0), f->server);
	f->server = 0;
	(void)unlink(f->socket);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->has_rig)
		rig_close(&f->rig);
	block_destroy(f->b);
	stop_server(f, SIGKILL);
	(void)unlink(f->image);
	(void)unlink(f->control);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static bool installed(const char *program)
{
	char path[64];

	snprintf(path, sizeof(path), "/usr/bin/%s", program);
	if (!access(path, X_OK))
		return true;
	printf("# %s is not installed\n", program);
	return false;
}

/* Between its bind() and its listen() a server's socket is there and refuses us. */
static bool listens(const char *path)
{
	FILE *f = fopen("/proc/net/unix", "re");
	char line[512];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned flags;

		found = strstr(line, path) && sscanf(line, "%*s %*s %*s %x", &flags) == 1 &&
			flags & 0x10000; /* __SO_ACCEPTCON */
	}
	if (f)
		fclose(f);
	return found;
}

/* Starts argv and waits until it listens. */
static void start_server(struct fixture *f, const char *const *argv)
{
	f->server = fork();
	assert_true(f->server >= 0);
	if (!f->server) {
		int null = open("/dev/null", O_WRONLY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	for (int i = 0; !listens(f->socket); i++) {
		if (i == 2000)
			fail_msg("%s did not make its socket", argv[0]);
		usleep(5000);
	}
}

/* nbdkit with these arguments, up to a NULL. */
static void nbdkit(struct fixture *f, ...)
{
	const char *argv[20] = { "nbdkit", "-f", "-U", f->socket };
	unsigned n = 4;
	va_list ap;

	if (!installed("nbdkit"))
		skip();
	va_start(ap, f);
	while ((argv[n] = va_arg(ap, const char *)))
		assert_true(++n < ARRAY_SIZE(argv));
	va_end(ap);
	start_server(f, argv);
}

static int open_disk(struct fixture *f, bool readonly, enum block_cache cache)
{
	const struct block_config cfg = { .path = f->uri, .readonly = readonly, .cache = cache };

	return block_open(&cfg, &f->b, &f->err);
}

static void open_all(struct fixture *f)
{
	if (open_disk(f, false, BLOCK_CACHE_WRITEBACK))
		fail_msg("%s", f->err.text);
	rig_open(&f->rig, f->b, DEPTH);
	f->has_rig = true;
}

static void fill(void *buf, size_t len, unsigned seed)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((seed + i) * 2654435761u >> 24);
}

/* What every server is to do right: pieces, scattered and whole, in flight together. */
static void exercise(struct fixture *f)
{
	enum { BIG = 3 * 1024 * 1024 + 512 };
	uint8_t *want = malloc(BIG), *got = malloc(BIG);
	struct iovec iov[40];
	struct rig_call calls[16], scattered = rig_call(BLOCK_WRITE, 512 * 77, NULL, 0);
	size_t at = 0;

	/* One large buffer, at an odd sector. */
	fill(want, BIG, 1);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 512 * 77, want, BIG), 0);
	memset(got, 0, BIG);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 512 * 77, got, BIG), 0);
	assert_memory_equal(got, want, BIG);

	/* The same range from scattered buffers of odd lengths, empty ones among them. */
	fill(want, BIG, 2);
	for (unsigned i = 0; i < ARRAY_SIZE(iov); i++) {
		size_t len = i % 5 == 3 ? 0 : i % 7 == 6 ? 300001 : 513 + 977 * i;

		if (i == ARRAY_SIZE(iov) - 1 || len > BIG - at)
			len = BIG - at;
		iov[i] = (struct iovec){ want + at, len };
		at += len;
	}
	scattered.req.len = BIG;
	scattered.req.iov = iov;
	scattered.req.nr_iov = ARRAY_SIZE(iov);
	rig_submit(&f->rig, &scattered, 1);
	assert_int_equal(rig_wait(&scattered), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(iov); i++)
		iov[i].iov_base = got + ((uint8_t *)iov[i].iov_base - want);
	scattered.req.op = BLOCK_READ;
	memset(got, 0, BIG);
	rig_submit(&f->rig, &scattered, 1);
	assert_int_equal(rig_wait(&scattered), 0);
	assert_memory_equal(got, want, BIG);

	/* Many at once. */
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		fill(want + i * 8192, 8192, 100 + i);
		calls[i] = rig_call(BLOCK_WRITE, 1024 * 1024 + i * 65536, want + i * 8192, 8192);
		calls[i].req.durable = i % 2;
	}
	rig_submit(&f->rig, calls, ARRAY_SIZE(calls));
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
		assert_int_equal(rig_wait(&calls[i]), 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_FLUSH, 0, NULL, 0), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		memset(got, 0, 8192);
		assert_int_equal(rig_do(&f->rig, BLOCK_READ, 1024 * 1024 + i * 65536, got, 8192),
				 0);
		assert_memory_equal(got, want + i * 8192, 8192);
	}

	/* Zeroes next to what stays. */
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE_ZEROES, 1024 * 1024 + 512, NULL, 2048), 0);
	memset(want + 512, 0, 2048);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 1024 * 1024, got, 8192), 0);
	assert_memory_equal(got, want, 8192);
	free(want);
	free(got);
}

static void check_end(struct fixture *f)
{
	uint64_t size = f->b->size;
	uint8_t buf[512] = { 0 };

	assert_int_equal(rig_do(&f->rig, BLOCK_READ, size - 512, buf, 512), 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, size, buf, 512), -ERANGE);
}

static void test_memory(void **state)
{
	struct fixture *f = *state;

	nbdkit(f, "memory", "16M", NULL);
	open_all(f);
	assert_int_equal(f->b->size, 16 << 20);
	assert_int_equal(f->b->limits.max_queues, 0);
	assert_true(f->b->limits.discard_align);
	exercise(f);
	assert_int_equal(rig_do(&f->rig, BLOCK_DISCARD, 0, NULL, 1024 * 1024), 0);
	check_end(f);
}

/* Without zero, FUA, trim, flush: each is done without, or said not to be there. */
static void test_poor_server(void **state)
{
	struct fixture *f = *state;

	nbdkit(f, "--filter=nozero", "--filter=fua", "memory", "16M", NULL);
	open_all(f);
	exercise(f);
	check_end(f);
}

static void test_emulated_fua(void **state)
{
	struct fixture *f = *state;

	nbdkit(f, "--filter=fua", "memory", "16M", "fuamode=discard", NULL);
	open_all(f);
	exercise(f);
}

static void test_plain_eval(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[4096];

	/* It reads as zeroes and knows nothing else. */
	nbdkit(f, "eval", "get_size=echo 65536", "pread=head -c $3 /dev/zero", NULL);
	assert_int_equal(open_disk(f, false, BLOCK_CACHE_WRITEBACK), -EROFS);
	assert_non_null(strstr(f->err.text, "readonly=on"));
	assert_int_equal(open_disk(f, true, BLOCK_CACHE_WRITEBACK), 0);
	assert_int_equal(f->b->limits.discard_align, 0);
	rig_open(&f->rig, f->b, DEPTH);
	f->has_rig = true;
	memset(buf, 1, sizeof(buf));
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 512, buf, sizeof(buf)), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 0, buf, 512), -EROFS);
}

static void test_one_connection(void **state)
{
	struct fixture *f = *state;
	struct block_queue_config cfg = { .loop = &f->rig.io.loop, .depth = 1 };
	struct block_queue *second;

	nbdkit(f, "--filter=multi-conn", "memory", "16M", "multi-conn-mode=disable", NULL);
	open_all(f);
	assert_int_equal(f->b->limits.max_queues, 1);
	assert_int_equal(block_open_queue(f->b, &cfg, &second), -EBUSY);
	exercise(f);
}

static void test_two_queues(void **state)
{
	struct fixture *f = *state;
	uint8_t a[4096], b[4096] = { 0 };
	struct rig other;

	nbdkit(f, "memory", "16M", NULL);
	open_all(f);
	rig_open(&other, f->b, DEPTH);
	fill(a, sizeof(a), 5);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 4096, a, sizeof(a)), 0);
	assert_int_equal(rig_do(&other, BLOCK_READ, 4096, b, sizeof(b)), 0);
	assert_memory_equal(a, b, sizeof(a));
	rig_close(&other);
	exercise(f);
}

/* A server that takes whole blocks of 4 KiB only. */
static void test_block_size(void **state)
{
	struct fixture *f = *state;
	enum { N = 64 };
	static uint8_t model[N * 512], got[N * 512];
	struct rig_call calls[N];

	nbdkit(f, "--filter=blocksize-policy", "memory", "16M", "blocksize-minimum=4096",
	       "blocksize-preferred=4096", "blocksize-maximum=65536",
	       "blocksize-error-policy=error", NULL);
	open_all(f);
	assert_int_equal(f->b->limits.max_queues, 1);
	assert_int_equal(f->b->limits.physical_block, 4096);
	exercise(f);

	/* Neighbouring sectors in one batch: none of them is lost to another's block. */
	fill(model, sizeof(model), 9);
	for (unsigned half = 0; half < 2; half++) {
		for (unsigned i = 0; i < N / 2; i++)
			calls[i] = rig_call(BLOCK_WRITE, (2 * i + half) * 512,
					    model + (2 * i + half) * 512, 512);
		rig_submit(&f->rig, calls, N / 2);
		for (unsigned i = 0; i < N / 2; i++)
			assert_int_equal(rig_wait(&calls[i]), 0);
	}
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, model, sizeof(got));
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE_ZEROES, 512 * 3, NULL, 512 * 20), 0);
	memset(model + 512 * 3, 0, 512 * 20);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, model, sizeof(got));
	assert_int_equal(rig_do(&f->rig, BLOCK_DISCARD, 512 * 3, NULL, 512 * 3), 0);
}

/* Part of a block behind all of it, which a slow server is still writing; and before it. */
static void test_overlap(void **state)
{
	struct fixture *f = *state;
	uint8_t whole[4096], part[512], got[4096];
	struct rig_call calls[2];

	nbdkit(f, "--filter=blocksize-policy", "--filter=delay", "memory", "16M",
	       "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=65536",
	       "blocksize-error-policy=error", "delay-write=100ms", NULL);
	open_all(f);
	fill(whole, sizeof(whole), 3);
	fill(part, sizeof(part), 4);
	calls[0] = rig_call(BLOCK_WRITE, 0, whole, sizeof(whole));
	calls[1] = rig_call(BLOCK_WRITE, 512, part, sizeof(part));
	rig_submit(&f->rig, calls, 2);
	assert_int_equal(rig_wait(&calls[0]), 0);
	assert_int_equal(rig_wait(&calls[1]), 0);
	memcpy(whole + 512, part, sizeof(part));
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, whole, sizeof(got));

	fill(whole, sizeof(whole), 5);
	calls[0] = rig_call(BLOCK_WRITE, 512, part, sizeof(part));
	calls[1] = rig_call(BLOCK_WRITE, 0, whole, sizeof(whole));
	rig_submit(&f->rig, calls, 2);
	assert_int_equal(rig_wait(&calls[0]), 0);
	assert_int_equal(rig_wait(&calls[1]), 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, got, sizeof(got)), 0);
	assert_memory_equal(got + 1024, whole + 1024, sizeof(got) - 1024);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	char file[128];
	uint8_t buf[4096] = { 0 };

	snprintf(file, sizeof(file), "error-file=%s", f->control);
	nbdkit(f, "--filter=error", "memory", "16M", "error=EIO", "error-rate=100%", file, NULL);
	open_all(f);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 0, buf, sizeof(buf)), 0);
	close(open(f->control, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, buf, sizeof(buf)), -EIO);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 0, buf, sizeof(buf)), -EIO);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE_ZEROES, 0, NULL, sizeof(buf)), -EIO);
	assert_int_equal(unlink(f->control), 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, buf, sizeof(buf)), 0);
}

static void test_full(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[4096] = { 0 };

	nbdkit(f, "full", "16M", NULL);
	open_all(f);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, buf, sizeof(buf)), 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 0, buf, sizeof(buf)), -ENOSPC);
}

/* The server dies with requests in flight; then there is one again. */
static void test_lost(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[8][4096] = { { 0 } };
	struct rig_call calls[8];

	nbdkit(f, "--filter=delay", "memory", "16M", "delay-read=10", NULL);
	open_all(f);
	assert_int_equal(rig_do(&f->rig, BLOCK_WRITE, 0, buf, 4096), 0);
	for (unsigned i = 0; i < 8; i++)
		calls[i] = rig_call(BLOCK_READ, i * 4096, buf[i], 4096);
	rig_submit(&f->rig, calls, 8);
	assert_false(rig_is_done(&calls[0]));
	stop_server(f, SIGKILL);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rig_wait(&calls[i]), -EIO);
	assert_true(f->rig.batch_ends > 0);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, buf, 4096), -EIO);
	rig_submit(&f->rig, calls, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rig_wait(&calls[i]), -EIO);

	nbdkit(f, "memory", "16M", NULL);
	rig_submit(&f->rig, calls, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rig_wait(&calls[i]), 0);
	/* What was written before is gone, and was never flushed: it is said once. */
	assert_int_equal(rig_do(&f->rig, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(rig_do(&f->rig, BLOCK_FLUSH, 0, NULL, 0), 0);

	/* One that is not the same disk is none. */
	stop_server(f, SIGKILL);
	nbdkit(f, "memory", "8M", NULL);
	assert_int_equal(rig_do(&f->rig, BLOCK_READ, 0, buf, 4096), -EIO);
	stop_server(f, SIGKILL);
	nbdkit(f, "memory", "16M", NULL);
	exercise(f);
}

struct last_call {
	struct block_req req;
	struct rig *rig;
	int result;
	atomic_bool done;
};

/* Done, and the loop's thread is held in here until the loop is wanted: by the close. */
static void last_done(struct block_req *req, int result)
{
	struct last_call *c = container_of(req, struct last_call, req);

	c->result = result;
	c->done = true;
	for (int i = 0; !c->rig->io.loop.woken && i < 20000; i++)
		usleep(1000);
}

static void submit_last(void *opaque)
{
	struct last_call *c = opaque;

	block_submit(c->rig->q, &c->req);
	block_kick(c->rig->q);
}

/* A further descriptor of every socket: closing one does not take it out of an epoll then. */
static unsigned dup_sockets(int *fds, unsigned max)
{
	unsigned n = 0;

	for (int fd = 3; fd < 256 && n < max; fd++) {
		struct stat st;

		if (!fstat(fd, &st) && S_ISSOCK(st.st_mode))
			fds[n++] = fcntl(fd, F_DUPFD_CLOEXEC, 256);
	}
	return n;
}

static unsigned sources(const struct loop *loop)
{
	char path[64], line[256];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", loop->epfd);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += !strncmp(line, "tfd:", 4);
	fclose(f);
	return n;
}

/* The callback that ended the last request is still at work, and would go on listening. */
static void test_closed_meanwhile(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[512];
	struct iovec iov = { buf, sizeof(buf) };
	struct last_call c = { .req = { .op = BLOCK_READ, .len = sizeof(buf) } };
	struct loop_post post = { .fn = submit_last, .opaque = &c };
	int fds[4];
	unsigned n;

	nbdkit(f, "memory", "16M", NULL);
	open_all(f);
	n = dup_sockets(fds, ARRAY_SIZE(fds));
	assert_true(n > 0);
	assert_int_equal(sources(&f->rig.io.loop), 2);
	c.req.iov = &iov;
	c.req.nr_iov = 1;
	c.req.done = last_done;
	c.rig = &f->rig;
	loop_post(&f->rig.io.loop, &post);
	for (int i = 0; !c.done && i < 20000; i++)
		usleep(1000);
	assert_true(c.done);
	block_close_queue(f->rig.q);
	f->rig.q = NULL;
	assert_int_equal(c.result, 0);
	assert_int_equal(sources(&f->rig.io.loop), 1);
	while (n)
		close(fds[--n]);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;

	if (!installed("nbdkit"))
		skip();
	assert_int_equal(open_disk(f, false, BLOCK_CACHE_WRITEBACK), -EIO);
	assert_non_null(strstr(f->err.text, f->uri));
	assert_non_null(strstr(f->err.text, "No such file"));
	nbdkit(f, "memory", "1000", NULL);
	assert_int_equal(open_disk(f, false, BLOCK_CACHE_WRITEBACK), -EINVAL);
	assert_non_null(strstr(f->err.text, "1000 bytes"));
	stop_server(f, SIGKILL);
	nbdkit(f, "memory", "0", NULL);
	assert_int_equal(open_disk(f, false, BLOCK_CACHE_WRITEBACK), -EINVAL);
	assert_non_null(strstr(f->err.text, "empty"));
}

static void test_qemu_nbd(void **state)
{
	struct fixture *f = *state;
	const char *make[] = { "qemu-img", "create", "-q", "-f", "qcow2", f->image, "16M", NULL };
	const char *serve[] = { "qemu-nbd",  "-t",    "-e", "4",       "-f",     "qcow2",
				"--discard", "unmap", "-k", f->socket, f->image, NULL };
	char command[256];

	if (!installed("qemu-nbd") || !installed("qemu-img"))
		skip();
	snprintf(command, sizeof(command), "%s %s %s %s %s %s %s", make[0], make[1], make[2],
		 make[3], make[4], make[5], make[6]);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	start_server(f, serve);
	open_all(f);
	exercise(f);
	assert_int_equal(rig_do(&f->rig, BLOCK_DISCARD, 0, NULL, 1024 * 1024), 0);
	check_end(f);
	rig_close(&f->rig);
	f->has_rig = false;
	block_destroy(f->b);
	f->b = NULL;
	stop_server(f, SIGTERM);
	snprintf(command, sizeof(command), "qemu-img check -q %s", f->image);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_memory),     TEST(test_poor_server),    TEST(test_emulated_fua),
		TEST(test_plain_eval), TEST(test_one_connection), TEST(test_two_queues),
		TEST(test_block_size), TEST(test_overlap),        TEST(test_errors),
		TEST(test_full),       TEST(test_lost),           TEST(test_closed_meanwhile),
		TEST(test_refused),    TEST(test_qemu_nbd),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
