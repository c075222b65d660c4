/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/block_contract.h"

#define NR_BIG 8

struct fixture {
	char dir[64];
	char path[96];
	struct err err;
	struct block *b;
	struct disk d; /* a queue into b, from the first request on */
	bool has_queue;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/bantam-block-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/image", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->has_queue)
		disk_fini(&f->d);
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

static struct disk *disk(struct fixture *f)
{
	if (!f->has_queue)
		disk_init(&f->d, f->b);
	f->has_queue = true;
	return &f->d;
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

/* A child that has the image locked, by how(path), until it is killed. */
static pid_t start_holder(struct fixture *f, int (*how)(const char *path))
{
	int fds[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid)
		_exit(how(f->path) || write(fds[1], "x", 1) != 1 || pause());
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	close(fds[0]);
	return pid;
}

static int lock_process_wide(const char *path)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(open(path, O_RDWR), F_SETLK, &fl);
}

static int lock_as_writer(const char *path)
{
	const struct block_config cfg = { .path = path };
	struct block *b;
	struct err err;

	prctl(PR_SET_NAME, "holder name");
	return block_open(&cfg, &b, &err);
}

static int lock_as_reader(const char *path)
{
	const struct block_config cfg = { .path = path, .readonly = true };
	struct block *b;
	struct err err;

	return block_open(&cfg, &b, &err);
}

static void end_holder(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_lock(void **state)
{
	struct fixture *f = *state;
	struct block *again;

	make_image(f, 512);
	assert_int_equal(open_image(f, true, &f->b), 0);
	assert_int_equal(open_image(f, true, &again), 0); /* readers share */
	block_destroy(again);
	check_refused(f, false, -EBUSY, "in use by another disk of this machine");
	block_destroy(f->b);

	assert_int_equal(open_image(f, false, &f->b), 0);
	check_refused(f, false, -EBUSY, "in use by another disk of this machine");
	check_refused(f, true, -EBUSY, "in use by another disk of this machine");
	block_destroy(f->b);
	f->b = NULL;
}

static void test_lock_names_holder(void **state)
{
	int (*const hows[])(const char *) = { lock_process_wide, lock_as_writer, lock_as_reader };
	struct fixture *f = *state;
	char who[64];

	make_image(f, 512);
	for (unsigned i = 0; i < ARRAY_SIZE(hows); i++) {
		pid_t pid = start_holder(f, hows[i]);

		snprintf(who, sizeof(who), "in use by process %d (%s", (int)pid,
			 i == 1 ? "holder name)" : "");
		check_refused(f, false, -EBUSY, who);
		if (hows[i] == lock_as_reader)
			assert_int_equal(open_image(f, true, &f->b), 0);
		else
			check_refused(f, true, -EBUSY, who);
		end_holder(pid);
	}
	block_destroy(f->b);
	assert_int_equal(open_image(f, false, &f->b), 0); /* gone with its holder */
}

static void test_bytes(void **state)
{
	struct fixture *f = *state;
	char w[2048], r[2048] = { 0 };
	int fd;

	for (size_t i = 0; i < sizeof(w); i++)
		w[i] = (char)(i * 7 + i / 256);
	make_image(f, 8192);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(f->b->size, 8192);
	assert_string_equal(f->b->serial, "S1");
	assert_false(f->b->readonly);
	assert_int_equal(disk_write(disk(f), 512, w, sizeof(w)), 0);
	assert_int_equal(disk_flush(disk(f)), 0);

	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, r, sizeof(r), 512), sizeof(r));
	assert_memory_equal(r, w, sizeof(w));
	close(fd);
}

/* Copies that are too big for the thread that submits them, alone and many at a time. */
static void test_big_copies(void **state)
{
	struct fixture *f = *state;
	static char bufs[NR_BIG][MIB];

	make_image(f, NR_BIG * MIB);
	assert_int_equal(open_image(f, false, &f->b), 0);
	for (unsigned i = 0; i < NR_BIG; i++) {
		memset(bufs[i], (int)('a' + i), MIB);
		assert_int_equal(disk_write(disk(f), i * MIB, bufs[i], MIB), 0);
	}
	for (unsigned nr = 1; nr <= NR_BIG; nr++) {
		memset(bufs, 0, sizeof(bufs));
		for (unsigned i = 0; i < nr; i++) {
			struct disk_req *r = &f->d.reqs[i];

			r->iov = (struct iovec){ bufs[i], MIB };
			disk_start(&f->d, r,
				   &(struct block_req){ .op = BLOCK_READ,
							.offset = i * MIB,
							.len = MIB,
							.iov = &r->iov,
							.nr_iov = 1 });
		}
		disk_wait(&f->d);
		for (unsigned i = 0; i < nr * MIB; i++)
			assert_true(bufs[i / MIB][i % MIB] == (char)('a' + i / MIB));
	}
}

/* A reader's lease is for files that nobody can write to; here or in a moment. */
static bool is_let_go(int fd)
{
	for (unsigned i = 0; i < 5; i++) {
		if (!fcntl(fd, F_SETLEASE, F_RDLCK) || errno != EAGAIN)
			return true;
		usleep(500);
	}
	return false;
}

/* Another may have it at once: an io_uring, which has the file open, outlives its close. */
static void test_let_go(void **state)
{
	struct fixture *f = *state;
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char w[512] = "bytes";
	int fd;

	make_image(f, 8192);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(open_image(f, false, &f->b), 0);
		assert_int_equal(disk_write(disk(f), 0, w, sizeof(w)), 0);
		disk_fini(&f->d);
		f->has_queue = false;
		block_destroy(f->b);
		f->b = NULL;
		fd = open(f->path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(fcntl(fd, F_OFD_GETLK, &fl), 0);
		assert_int_equal(fl.l_type, F_UNLCK);
		fl.l_type = F_WRLCK;
		assert_true(is_let_go(fd));
		close(fd);
	}
}

static void test_readonly_write(void **state)
{
	struct fixture *f = *state;
	struct block_req zeroes = { .op = BLOCK_WRITE_ZEROES, .len = 512 };
	struct block_req discard = { .op = BLOCK_DISCARD, .len = 512 };
	char buf[512] = { 0 };

	make_image(f, 512);
	assert_int_equal(open_image(f, true, &f->b), 0);
	assert_int_equal(f->b->limits.discard_align, 0);
	assert_int_equal(disk_write(disk(f), 0, buf, 512), -EROFS);
	assert_int_equal(disk_do(disk(f), &zeroes), -EROFS);
	assert_int_equal(disk_do(disk(f), &discard), -EROFS);
	assert_int_equal(disk_read(disk(f), 0, buf, 512), 0);
	assert_int_equal(disk_flush(disk(f)), 0);
	assert_int_equal(block_resize(f->b, 1024, &f->err), -EROFS);
}

/* Space goes back to the host's file system, and zeroes with unmap do not take any. */
static void test_discard_frees(void **state)
{
	struct fixture *f = *state;
	struct block_req discard = { .op = BLOCK_DISCARD, .len = MIB };
	struct block_req zeroes = {
		.op = BLOCK_WRITE_ZEROES, .unmap = true, .offset = MIB, .len = MIB
	};
	char *buf = calloc(2, MIB);
	struct stat before, after;

	memset(buf, 1, 2 * MIB);
	make_image(f, 2 * MIB);
	assert_int_equal(open_image(f, false, &f->b), 0);
	if (!f->b->limits.discard_align)
		skip();
	assert_int_equal(disk_write(disk(f), 0, buf, 2 * MIB), 0);
	assert_int_equal(disk_flush(disk(f)), 0);
	assert_int_equal(stat(f->path, &before), 0);
	assert_true(before.st_blocks >= (blkcnt_t)(2 * MIB / 512));

	assert_int_equal(disk_do(disk(f), &discard), 0);
	assert_int_equal(stat(f->path, &after), 0);
	assert_true(after.st_blocks <= before.st_blocks - (blkcnt_t)(MIB / 512));
	assert_int_equal(after.st_size, before.st_size);
	assert_int_equal(disk_do(disk(f), &zeroes), 0);
	assert_int_equal(stat(f->path, &after), 0);
	assert_true(after.st_blocks < 64);
	free(buf);
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	struct block_config cfg = { .path = f->path, .cache = BLOCK_CACHE_NONE };

	make_image(f, 65536);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(f->b->limits.physical_block, 4096);
	if (f->b->limits.discard_align)
		assert_true(is_pow2(f->b->limits.discard_align));
	block_destroy(f->b);
	f->b = NULL;
	if (block_open(&cfg, &f->b, &f->err)) {
		/* A file system without it is named as the reason, with the way out. */
		assert_non_null(strstr(f->err.text, "cache=writeback"));
		skip();
	}
	assert_in_range(f->b->limits.physical_block, 512, 65536);
}

/* proc has no O_DIRECT, whichever kernel this is; nor a length, which is asked for later. */
static void test_no_direct(void **state)
{
	struct fixture *f = *state;
	struct block_config cfg = { .path = "/proc/self/maps",
				    .cache = BLOCK_CACHE_NONE,
				    .readonly = true };

	assert_int_equal(block_open(&cfg, &f->b, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "/proc/self/maps: "));
	assert_non_null(strstr(f->err.text, "cache=writeback"));
}

static void test_resize_file(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char buf[512];

	make_image(f, 8192);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(block_resize(f->b, 16384, &f->err), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 16384);
	assert_int_equal(disk_read(disk(f), 16384 - 512, buf, 512), 0);
	assert_int_equal(block_resize(f->b, 4096, &f->err), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(disk_read(disk(f), 4096, buf, 512), -ERANGE);
	/* More than a file can be: said, and nothing has changed. */
	assert_true(block_resize(f->b, 1ull << 62, &f->err) < 0);
	assert_non_null(strstr(f->err.text, f->path));
	assert_int_equal(f->b->size, 4096);
}

/* A host that ends short, then an error: the file was cut, or its limit is reached. */
static void test_host_errors(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, low = { 2048 + 100, RLIM_INFINITY };
	char buf[2048] = { 1 };
	struct stat st;

	make_image(f, 4096);
	assert_int_equal(open_image(f, false, &f->b), 0);
	assert_int_equal(truncate(f->path, 1024), 0);
	assert_int_equal(disk_read(disk(f), 0, buf, 2048), -EIO);
	assert_int_equal(disk_read(disk(f), 2048, buf, 512), -EIO);

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	/* 1124 bytes of 2048 are taken. */
	assert_int_equal(disk_write(disk(f), 1024, buf, 2048), -EIO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 2148);
}

/* Full is not broken. */
static void test_no_space(void **state)
{
	struct fixture *f = *state;
	char buf[4096] = { 1 }, folder[128];
	int result = 0;

	snprintf(folder, sizeof(folder), "%s", f->dir);
	if (mount("none", folder, "tmpfs", 0, "size=64k")) {
		print_message("# a small file system takes root\n");
		skip();
	}
	make_image(f, MIB);
	assert_int_equal(open_image(f, false, &f->b), 0);
	for (unsigned i = 0; i < 64 && !result; i++)
		result = disk_write(disk(f), i * 4096, buf, sizeof(buf));
	disk_fini(&f->d);
	f->has_queue = false;
	block_destroy(f->b);
	f->b = NULL;
	assert_int_equal(umount2(folder, MNT_DETACH), 0);
	assert_int_equal(result, -ENOSPC);
}

/* --- the choice of the engine -------------------------------------------------------------- */

static int open_engine(struct fixture *f, enum block_engine engine)
{
	const struct block_config cfg = { .path = f->path, .engine = engine };

	return block_open(&cfg, &f->b, &f->err);
}

static void forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(99);
}

/* 0 where a host that forbids io_uring is served by threads, and says so where that was asked. */
static int without_io_uring(struct fixture *f)
{
	static char buf[512];

	forbid_io_uring();
	if (open_engine(f, BLOCK_ENGINE_IO_URING) != -EPERM)
		return 1;
	if (!strstr(f->err.text, f->path) || !strstr(f->err.text, "engine=threads"))
		return 2;
	if (open_engine(f, BLOCK_ENGINE_AUTO))
		return 3;
	disk_init(&f->d, f->b);
	if (!f->d.q->ops->poll)
		return 4;
	if (disk_write(&f->d, 0, buf, 512) || disk_flush(&f->d))
		return 5;
	return 0;
}

static void test_fall_back(void **state)
{
	struct fixture *f = *state;
	int status = 0;
	pid_t pid;

	make_image(f, 512);
	pid = fork();
	if (!pid)
		_exit(without_io_uring(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* As after a crash: what a killed process had in flight is finished, then its lock is gone. */
static int write_until_killed(const char *path)
{
	const struct block_config cfg = { .path = path, .cache = BLOCK_CACHE_WRITETHROUGH };
	static struct disk d;
	static char buf[32 * KIB];
	struct block *b;
	struct err err;

	if (block_open(&cfg, &b, &err))
		return 1;
	disk_init(&d, b);
	for (unsigned i = 0; i < 32; i++) {
		struct disk_req *r = &d.reqs[i];

		r->iov = (struct iovec){ buf, sizeof(buf) };
		disk_start(&d, r,
			   &(struct block_req){ .op = BLOCK_WRITE,
						.offset = i * sizeof(buf),
						.len = sizeof(buf),
						.iov = &r->iov,
						.nr_iov = 1 });
	}
	block_kick(d.q);
	return 0;
}

static void test_killed(void **state)
{
	struct fixture *f = *state;

	make_image(f, MIB);
	for (unsigned i = 0; i < 5; i++) {
		end_holder(start_holder(f, write_until_killed));
		assert_int_equal(open_image(f, false, &f->b), 0);
		block_destroy(f->b);
		f->b = NULL;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open_special, setup, teardown),
		cmocka_unit_test_setup_teardown(test_serial, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly_permission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock_names_holder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_big_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_let_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_discard_frees, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_direct, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resize_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_space, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fall_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
