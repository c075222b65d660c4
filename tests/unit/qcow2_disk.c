/* SPDX-License-Identifier: MIT */
#include "tests/unit/qcow2_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

void qcow2_disk_init(struct qcow2_disk *d)
{
	memset(d, 0, sizeof(*d));
	strcpy(d->dir, "/tmp/bantam-qcow2-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	snprintf(d->path, sizeof(d->path), "%s/image", d->dir);
	assert_int_equal(loop_init(&d->loop), 0);
}

void qcow2_disk_destroy(struct qcow2_disk *d)
{
	qcow2_disk_close(d);
	loop_destroy(&d->loop);
	assert_int_equal(qcow2_disk_run(d, "rm -rf %s", d->dir), 0);
}

void qcow2_disk_open_queue(struct qcow2_disk *d)
{
	const struct block_queue_config qc = { .loop = &d->loop, .depth = 4 };

	assert_int_equal(block_open_queue(d->b, &qc, &d->q), 0);
}

int qcow2_disk_open_as(struct qcow2_disk *d, struct block_config cfg)
{
	int ret;

	cfg.path = d->path;
	cfg.format = BLOCK_QCOW2;
	d->b = NULL;
	ret = block_open(&cfg, &d->b, &d->err);
	if (!ret)
		qcow2_disk_open_queue(d);
	return ret;
}

void qcow2_disk_open(struct qcow2_disk *d)
{
	int ret = qcow2_disk_open_as(d, (struct block_config){ .engine = BLOCK_ENGINE_SYNC,
							       .cache = d->cache,
							       .backing = true });

	if (ret)
		fail_msg("%s", d->err.text);
}

void qcow2_disk_close(struct qcow2_disk *d)
{
	loop_stop(&d->loop);
	block_close_queue(d->q);
	block_destroy(d->b);
	d->q = NULL;
	d->b = NULL;
}

struct block *qcow2_disk_new(void *opaque, uint64_t size)
{
	struct qcow2_disk *d = opaque;
	const struct block_config cfg = {
		.path = d->path, .format = BLOCK_QCOW2, .engine = d->engine, .cache = d->cache
	};
	struct block *b = NULL;

	if (!qcow2_disk_have_qemu()) {
		print_message("no qemu-img: package qemu-utils\n");
		return NULL;
	}
	if (d->cache == BLOCK_CACHE_NONE && !qcow2_disk_have_direct()) {
		print_message("no O_DIRECT in /tmp\n");
		return NULL;
	}
	assert_int_equal(qcow2_disk_run(d, "qemu-img create -f qcow2 -o %s image %llu",
					d->options ? d->options : "compat=1.1",
					(unsigned long long)size),
			 0);
	if (block_open(&cfg, &b, &d->err))
		fail_msg("%s", d->err.text);
	return b;
}

void qcow2_disk_drop(void *opaque, struct block *b)
{
	block_destroy(b);
	assert_int_equal(qcow2_disk_run(opaque, "qemu-img check -f qcow2 image"), 0);
}

struct wait {
	struct loop *loop;
	bool over;
	int result;
};

static void request_done(struct block_req *req, int result)
{
	struct wait *w = req->opaque;

	assert_false(w->over);
	w->over = true;
	w->result = result;
	loop_stop(w->loop);
}

int qcow2_disk_do(struct qcow2_disk *d, struct block_req req, void *buf, uint64_t len)
{
	size_t cut = buf && len > 1024 ? 512 + len / 3 / 512 * 512 : len;
	struct iovec iov[2] = { { buf, cut }, { buf ? (char *)buf + cut : NULL, len - cut } };
	struct wait w = { .loop = &d->loop };

	req.iov = iov;
	req.nr_iov = buf ? 1 + (len > cut) : 0;
	req.len = len;
	req.done = request_done;
	req.opaque = &w;
	d->loop.stop = false;
	block_submit(d->q, &req);
	block_kick(d->q);
	if (!w.over)
		assert_int_equal(loop_run(&d->loop), 0);
	assert_true(w.over);
	return w.result;
}

int qcow2_disk_rw(struct qcow2_disk *d, enum block_op op, uint64_t off, void *buf, uint64_t len)
{
	return qcow2_disk_do(d, (struct block_req){ .op = op, .offset = off, .unmap = true }, buf,
			     len);
}

int qcow2_disk_run(struct qcow2_disk *d, const char *fmt, ...)
{
	char command[1024], line[1280];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "cd %s && timeout 60 %s >/dev/null 2>&1", d->dir, command);
	status = system(line); /* NOLINT(bugprone-command-processor): our own command lines */
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool qcow2_disk_have_qemu(void)
{
	/* NOLINTNEXTLINE(bugprone-command-processor) */
	return system("command -v qemu-img qemu-io >/dev/null 2>&1") == 0;
}

bool qcow2_disk_have_direct(void)
{
	char path[] = "/tmp/bantam-direct-XXXXXX";
	int fd = mkstemp(path), direct;

	assert_true(fd >= 0);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct >= 0)
		close(direct);
	close(fd);
	unlink(path);
	return direct >= 0;
}

uint64_t qcow2_disk_random(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (*seed >> 33) % n;
}
