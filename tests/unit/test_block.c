/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "backends/block/block.h"

/*
 * The host's calls in front of the C library's, to make them fail or fall short: a
 * transfer takes at most host_most bytes, every second call is interrupted first.
 */
static size_t host_most;
static unsigned host_calls;
static int host_sync_error;
static unsigned host_syncs;

static ssize_t host_transfer(long nr, int fd, const struct iovec *iov, int n, off_t off)
{
	struct iovec cut[16];
	size_t left = host_most;
	int i;

	if (!host_most)
		return syscall(nr, fd, iov, n, (long)off, 0L);
	if (host_calls++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	for (i = 0; i < n && i < 16 && left; i++) {
		cut[i] = (struct iovec){ iov[i].iov_base, min_u64(left, iov[i].iov_len) };
		left -= cut[i].iov_len;
	}
	return syscall(nr, fd, cut, (long)i, (long)off, 0L);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	return host_transfer(SYS_preadv, fd, iov, n, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return host_transfer(SYS_pwritev, fd, iov, n, off);
}

int fdatasync(int fd)
{
	host_syncs++;
	if (host_sync_error) {
		errno = host_sync_error;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

struct fixture {
	char dir[64];
	char path[96];
	struct err err;
	struct block *b;
	struct block_queue *q; /* into b, opened by the first request */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	host_most = host_calls = host_syncs = 0;
	host_sync_error = 0;
	strcpy(f->dir, "/tmp/bantam-block-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/image", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	block_close_queue(f->q);
	block_destroy(f->b);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void make_image(struct fixture *f, off_t size)
{
	int fd = open(f->path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static int open_image(struct fixture *f, bool readonly, struct block **b)
{
	const struct block_config cfg = { .path = f->path, .readonly = readonly, .serial = "S1" };

	*b = NULL;
	return block_open(&cfg, b, &f->err);
}

/* Fails to open with error ret, and a line that names the path and has word in it. */
static void check_refused(struct fixture *f, bool readonly, int ret, const char *word)
{
	struct block *b;

	assert_int_equal(open_image(f, readonly, &b), ret);
	assert_null(b);
	assert_non_null(strstr(f->err.text, f->path));
	assert_non_null(strstr(f->err.text, word));
	assert_null(strchr(f->err.text, '\n'));
}

static void req_done(struct block_req *req, int result)
{
	*(int *)req->opaque = result;
}

static int submit_vec(struct fixture *f, enum block_op op, uint64_t off, struct iovec *iov,
		      unsigned n)
{
	const struct block_queue_config qc = { .depth = 1 };
	int result = 1;
	struct block_req req = { .op = op,
				 .offset = off,
				 .iov = iov,
				 .nr_iov = n,
				 .done = req_done,
				 .opaque = &result };

	for (unsigned i = 0; i < n; i++)
		req.len += iov[i].iov_len;
	if (!f->q)
		assert_int_equal(block_open_queue(f->b, &qc, &f->q), 0);
	block_submit(f->q, &req);
	block_kick(f->q);
	return result;
}

static int submit(struct fixture *f, enum block_op op, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return submit_vec(f, op, off, &iov, 1);
}

static void test_open_errors(void **state)
{
	struct fixture *f = *state;

	check_refused(f, false, -ENOENT, "No such file");
	make_image(f, 0);
	check_refused(f, false, -EINVAL, "empty");
	make_image(f, 1000);
	check_refused(f, false, -EINVAL, "512");
	unlink(f->path);

	assert_int_equal(mkdir(f->path, 0700), 0);
	check_refused(f, false, -EISDIR, "folder");
	check_refused(f, true, -EISDIR, "folder");
	assert_int_equal(rmdir(f->path), 0);
}

static void test_open_special(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int s;

	/* A FIFO that nobody has open must not hang us either. */
	assert_int_equal(mkfifo(f->path, 0600), 0);
	alarm(10);
	check_refused(f, false, -EINVAL, "FIFO");
	check_refused(f, true, -EINVAL, "FIFO");
	alarm(0);
	unlink(f->path);

	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f->path);
	assert_int_equal(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	check_refused(f, false, -EINVAL, "socket");
	close(s);
	unlink(f->path);

	assert_int_equal(symlink("/dev/null", f->path), 0);
	check_refused(f, false, -EINVAL, "character device");
}

static void test_serial(void **state)
{
	struct fixture *f = *state;
	struct block_config cfg = { .path = f->path, .serial = "123456789012345678901" };

	make_image(f, 512);
	assert_int_equal(block_open(&cfg, &f->b, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "serial"));
	cfg.serial = "12345678901234567890";
	assert_int_equal(block_open(&cfg, &f->b, &f->err), 0);
	assert_string_equal(f->b->serial, cfg.serial);
}

static void test_readonly_permission(void **state)
{
	struct fixture *f = *state;
	uid_t me = geteuid();

	make_image(f, 512);
	assert_int_equal(chmod(f->path, 0444), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	if (!me && seteuid(65534)) /* root may write everything */
		skip();
	check_refused(f, false, -EACCES, "readonly=on");
	assert_int_equal(open_image(f, true, &f->b), 0);
	assert_true(f->b->readonly);
	if (!me)
		assert_int_equal(seteuid(0), 0);
}

static void test_lock(void **state)
{
	struct fixture *f = *state;
	struct block *again;
	int status;

	make_image(f, 512);
	assert_int_equal(open_image(f, true, &f->b), 0);
	assert_int_equal(open_image(f, true, &again), 0); /* readers share */
	block_destroy(again);
	check_refused(f, false, -EBUSY, "in use by");
	block_destroy(f->b);

	assert_int_equal(open_image(f, false, &f->b), 0);
	check_refused(f, false, -EBUSY, "in use by another process");
	check_refused(f, true, -EBUSY, "in use by another process");

	block_destroy(f->b);
	f->b = NULL;

	/* A holder with a process-wide lock is named. */
	int pipefd[2];
	char c;

	assert_int_equal(pipe(pipefd), 0);

	pid_t pid = fork();

	if (!pid) {
		struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		int fd = open(f->path, O_RDWR);

		_exit(fcntl(fd, F_SETLK, &fl) || write(pipefd[1], "x", 1) != 1 || pause());
	}
	assert_int_equal(read(pipefd[0], &c, 1), 1);

	char who[32];

	snprintf(who, sizeof(who), "process %d", (int)pid);
	check_refused(f, false, -EBUSY, who);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(pipefd[0]);
	close(pipefd[1]);
	assert_int_equal(open_image(f, false, &f->b), 0); /* gone with its holder */
}

static void test_read_write(void **state)
{
	struct fixture *f = *state;
	char w[2048], r[2048] = { 0 };
	struct iovec iov[3];

	for (size_t i = 0; i < sizeof(w); i++)
		w[i] = (char)(i * 7 + i / 256);
	make_image(f, 8192);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(f->b->size, 8192);
	assert_string_equal(f->b->serial, "S1");
	assert_false(f->b->readonly);
	/* Scattered over odd pieces, one of them empty. */
	iov[0] = (struct iovec){ w, 100 };
	iov[1] = (struct iovec){ w, 0 };
	iov[2] = (struct iovec){ w + 100, 1948 };
	assert_int_equal(submit_vec(f, BLOCK_WRITE, 512, iov, 3), 0);
	assert_int_equal(submit(f, BLOCK_FLUSH, 0, NULL, 0), 0);
	iov[0] = (struct iovec){ r, 1 };
	iov[1] = (struct iovec){ r + 1, 2046 };
	iov[2] = (struct iovec){ r + 2047, 1 };
	assert_int_equal(submit_vec(f, BLOCK_READ, 512, iov, 3), 0);
	assert_memory_equal(r, w, sizeof(w));

	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, r, sizeof(r), 512), sizeof(r));
	assert_memory_equal(r, w, sizeof(w));
	close(fd);
	assert_int_equal(submit(f, BLOCK_READ, 0, NULL, 0), 0);
}

static void test_range(void **state)
{
	struct fixture *f = *state;
	char buf[1024];

	make_image(f, 4096);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(submit(f, BLOCK_READ, 4096 - 512, buf, 512), 0);
	assert_int_equal(submit(f, BLOCK_READ, 4096 - 512, buf, 1024), -ERANGE);
	assert_int_equal(submit(f, BLOCK_WRITE, 4096, buf, 512), -ERANGE);
	assert_int_equal(submit(f, BLOCK_READ, UINT64_MAX - 511, buf, 512), -ERANGE);
	assert_int_equal(submit(f, BLOCK_READ, UINT64_MAX, buf, 1024), -ERANGE);
}

static void test_readonly_write(void **state)
{
	struct fixture *f = *state;
	char buf[512] = { 0 };

	make_image(f, 512);
	assert_int_equal(open_image(f, true, &f->b), 0);
	assert_int_equal(submit(f, BLOCK_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(submit(f, BLOCK_READ, 0, buf, 512), 0);
	assert_int_equal(submit(f, BLOCK_FLUSH, 0, NULL, 0), 0);
}

/* More pieces than one preadv() takes. */
static void test_many_iovecs(void **state)
{
	struct fixture *f = *state;
	static struct iovec iov[2048];
	static char w[2048 * 4], r[2048 * 4];

	for (size_t i = 0; i < sizeof(w); i++)
		w[i] = (char)(i ^ i >> 8);
	make_image(f, sizeof(w));
	assert_int_equal(open_image(f, false, &f->b), 0);
	for (unsigned i = 0; i < 2048; i++)
		iov[i] = (struct iovec){ w + (size_t)i * 4, 4 };
	assert_int_equal(submit_vec(f, BLOCK_WRITE, 0, iov, 2048), 0);
	for (unsigned i = 0; i < 2048; i++)
		iov[i] = (struct iovec){ r + (size_t)i * 4, 4 };
	assert_int_equal(submit_vec(f, BLOCK_READ, 0, iov, 2048), 0);
	assert_memory_equal(r, w, sizeof(w));
}

/* A host that ends short, then an error: the file was cut, or its limit is reached. */
static void test_host_errors(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, low = { 2048 + 100, RLIM_INFINITY };
	char buf[2048] = { 1 };
	struct iovec iov[2] = { { buf, 512 }, { buf + 512, 1536 } };
	struct stat st;

	make_image(f, 4096);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(truncate(f->path, 1024), 0);
	assert_int_equal(submit_vec(f, BLOCK_READ, 0, iov, 2), -EIO);
	assert_int_equal(submit(f, BLOCK_READ, 2048, buf, 512), -EIO);

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	/* pwritev takes 1124 bytes of 2048, in the middle of the second piece. */
	assert_int_equal(submit_vec(f, BLOCK_WRITE, 1024, iov, 2), -EIO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 2148);
}

/* Transfers cut at every length, across and inside pieces, come out whole. */
static void test_short_transfers(void **state)
{
	struct fixture *f = *state;
	char w[1536], r[1536];
	struct iovec iov[4];

	make_image(f, 4096);
	assert_int_equal(open_image(f, false, &f->b), 0);
	for (size_t most = 1; most <= sizeof(w); most = most < 1024 ? most * 3 : most + 1) {
		for (size_t i = 0; i < sizeof(w); i++)
			w[i] = (char)(i * most + i / 256);
		memset(r, 0, sizeof(r));
		host_most = most;
		iov[0] = (struct iovec){ w, 500 };
		iov[1] = (struct iovec){ w + 500, 0 };
		iov[2] = (struct iovec){ w + 500, 1000 };
		iov[3] = (struct iovec){ w + 1500, 36 };
		assert_int_equal(submit_vec(f, BLOCK_WRITE, 512, iov, 4), 0);
		iov[0] = (struct iovec){ r, 3 };
		iov[1] = (struct iovec){ r + 3, 1533 };
		assert_int_equal(submit_vec(f, BLOCK_READ, 512, iov, 2), 0);
		assert_memory_equal(w, r, sizeof(w));
		most = most > 1024 && most < 1500 ? 1500 : most;
	}
}

/* The kernel reports lost writes once: we go on reporting them. */
static void test_flush_error_is_sticky(void **state)
{
	struct fixture *f = *state;

	make_image(f, 512);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(submit(f, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(host_syncs, 1);
	host_sync_error = EIO;
	assert_int_equal(submit(f, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	host_sync_error = 0;
	assert_int_equal(submit(f, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(submit(f, BLOCK_FLUSH, 0, NULL, 0), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open_special, setup, teardown),
		cmocka_unit_test_setup_teardown(test_serial, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly_permission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_range, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_iovecs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short_transfers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flush_error_is_sticky, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
