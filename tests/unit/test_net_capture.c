/* SPDX-License-Identifier: MIT */
/* What a capture writes, read back block by block as draft-ietf-opsawg-pcapng has them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/net/capture.h"
#include "tests/unit/net_host.h"

enum { SECTION = 0x0a0d0d0a, INTERFACE = 1, STATISTICS = 5, FRAME = 6 };

struct block {
	uint32_t type, len;
	const uint8_t *body;
};

struct rig {
	char path[64];
	struct stub_net stub;
	struct net *net;
	struct net_host h;
	uint8_t *file;
	size_t len, at;
};

static void rig_open(struct rig *r)
{
	struct capture_config cfg = { .below = &r->stub.net, .name = "net7" };
	struct err err = { "" };
	int fd;

	memset(r, 0, sizeof(*r));
	strcpy(r->path, "/tmp/test_net_capture.XXXXXX");
	fd = mkstemp(r->path);
	assert_true(fd >= 0);
	close(fd);
	stub_net_init(&r->stub);
	r->stub.waiting_len = 61;
	cfg.path = r->path;
	if (capture_create(&cfg, &r->net, &err))
		fail_msg("%s", err.text);
	net_host_init(&r->h);
	net_host_open(&r->h, r->net);
}

static void rig_end(struct rig *r)
{
	net_host_close(&r->h);
	net_host_destroy(&r->h);
	net_destroy(r->net);
	assert_true(r->stub.destroyed);
	assert_int_equal(r->stub.nr_open, 0);
}

static void rig_close(struct rig *r)
{
	unlink(r->path);
	free(r->file);
}

static void load(struct rig *r)
{
	struct stat st;
	int fd = open(r->path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(fstat(fd, &st), 0);
	free(r->file);
	r->len = (size_t)st.st_size;
	r->at = 0;
	r->file = malloc(r->len + 1);
	assert_int_equal(util_pread_all(fd, r->file, r->len, 0), 0);
	close(fd);
}

/* False at the end, which is a block's. */
static bool next(struct rig *r, struct block *b)
{
	const uint8_t *p = r->file + r->at;

	if (r->at == r->len)
		return false;
	assert_true(r->len - r->at >= 12);
	b->type = (uint32_t)load_le(p, 4);
	b->len = (uint32_t)load_le(p + 4, 4);
	assert_int_equal(b->len % 4, 0);
	assert_true(b->len >= 12 && b->len <= r->len - r->at);
	assert_int_equal(load_le(p + b->len - 4, 4), b->len);
	b->body = p + 8;
	r->at += b->len;
	return true;
}

/* A block's option, behind its first skip bytes; NULL: it has none of that code. */
static const uint8_t *option(const struct block *b, size_t skip, unsigned code, size_t *len)
{
	const uint8_t *p = b->body + skip, *end = b->body + b->len - 12;

	while (p < end) {
		unsigned c = (unsigned)load_le(p, 2);

		*len = load_le(p + 2, 2);
		if (!c)
			break;
		if (c == code)
			return p + 4;
		p += 4 + align_up(*len, 4);
	}
	return NULL;
}

static void check_head(struct rig *r)
{
	const uint8_t *o;
	struct block b;
	size_t len;

	assert_true(next(r, &b));
	assert_int_equal(b.type, SECTION);
	assert_int_equal(load_le(b.body, 4), 0x1a2b3c4d);
	assert_int_equal(load_le(b.body + 4, 4), 1); /* 1.0 */
	assert_true(next(r, &b));
	assert_int_equal(b.type, INTERFACE);
	assert_int_equal(load_le(b.body, 2), 1); /* Ethernet */
	o = option(&b, 8, 2, &len);
	assert_non_null(o);
	assert_int_equal(len, 4);
	assert_memory_equal(o, "net7", 4);
	o = option(&b, 8, 9, &len);
	assert_non_null(o);
	assert_int_equal(o[0], 9); /* nanoseconds */
}

static uint64_t frame_time(const struct block *b)
{
	return load_le(b->body + 4, 4) << 32 | load_le(b->body + 8, 4);
}

static void check_frame(struct rig *r, unsigned direction, const uint8_t *data, size_t len)
{
	const uint8_t *o;
	struct block b;
	size_t o_len;

	assert_true(next(r, &b));
	assert_int_equal(b.type, FRAME);
	assert_int_equal(load_le(b.body, 4), 0);
	assert_int_equal(load_le(b.body + 12, 4), len);
	assert_int_equal(load_le(b.body + 16, 4), len);
	assert_memory_equal(b.body + 20, data, len);
	o = option(&b, 20 + align_up(len, 4), 2, &o_len);
	assert_non_null(o);
	assert_int_equal(o_len, 4);
	assert_int_equal(load_le(o, 4), direction);
	o = option(&b, 20 + align_up(len, 4), 6, &o_len);
	assert_non_null(o);
	assert_int_equal(load_le(o, 4), 0);
}

static uint64_t wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void test_both_ways(void **state)
{
	static const size_t lens[] = { 14, 60, 61, 62, 63, 9000 };
	uint8_t frame[9000];
	uint64_t before = wall(), last = before;
	struct block b;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 3);
	rig_open(&r);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		assert_int_equal(net_host_send(&r.h, frame, lens[i]), 0);
	assert_int_equal(r.stub.sent, ARRAY_SIZE(lens));
	assert_int_equal(r.stub.kicks, ARRAY_SIZE(lens));
	r.stub.waiting = 2;
	assert_true(r.stub.wanted);
	r.stub.cfg.readable(r.stub.cfg.opaque);
	assert_int_equal(r.h.nr, 2);
	/* What does not go, or does not come, is not there. */
	r.stub.send_error = -EAGAIN;
	assert_int_equal(net_host_send(&r.h, frame, 60), -EAGAIN);
	r.stub.send_error = -EIO;
	assert_int_equal(net_host_send(&r.h, frame, 60), -EIO);
	/* The kernel's vhost would not pass it. */
	assert_int_equal(net_vhost_fd(r.h.q), -1);
	assert_int_equal(net_set_offloads(r.net, 3), 0);
	assert_int_equal(r.stub.offloads, 3);

	rig_end(&r);
	load(&r);
	check_head(&r);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		check_frame(&r, 2, frame, lens[i]);
	for (uint8_t i = 0, k = 0; i < 2; i++, k = 0) {
		uint8_t data[61];

		for (size_t n = 0; n < sizeof(data); n++)
			data[n] = k++;
		check_frame(&r, 1, data, sizeof(data));
	}
	assert_true(next(&r, &b));
	assert_int_equal(b.type, STATISTICS);
	assert_false(next(&r, &b));

	for (r.at = 0; next(&r, &b);) {
		if (b.type != FRAME)
			continue;
		assert_in_range(frame_time(&b), last, wall());
		last = frame_time(&b);
	}
	rig_close(&r);
}

/* Whole up to now while it is written, and whatever ends us. */
static void test_readable_after_kill(void **state)
{
	uint8_t frame[100] = { 1, 2, 3 };
	struct rig r;
	pid_t pid;
	int status, fds[2];
	char byte;

	(void)state;
	rig_open(&r);
	load(&r);
	check_head(&r);
	rig_end(&r);
	rig_close(&r);

	assert_int_equal(pipe(fds), 0);
	rig_open(&r);
	rig_end(&r);
	pid = fork();
	if (!pid) {
		struct capture_config cfg = { .below = &r.stub.net,
					      .name = "net7",
					      .path = r.path };
		struct err err;

		if (capture_create(&cfg, &r.net, &err))
			_exit(1);
		net_host_init(&r.h);
		net_host_open(&r.h, r.net);
		/* Some when the thread that writes begins, and some when it sleeps. */
		for (unsigned i = 0; i < 50; i++) {
			(void)net_host_send(&r.h, frame, sizeof(frame));
			usleep(i == 24 ? 100000 : 0);
		}
		usleep(200000);
		(void)!write(fds[1], "x", 1);
		pause();
	}
	assert_int_equal(read(fds[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	load(&r);
	check_head(&r);
	for (unsigned i = 0; i < 50; i++)
		check_frame(&r, 2, frame, sizeof(frame));
	assert_int_equal(r.at, r.len);
	close(fds[0]);
	close(fds[1]);
	rig_close(&r);
}

/* A file that takes nothing more: frames go on, and are counted. */
static void test_left_out(void **state)
{
	static uint8_t frame[60000];
	struct stub_net stub;
	const struct capture_config full = {
		.below = &stub.net,
		.path = "/dev/full",
		.name = "net0",
	};
	struct err err = { "" };
	uint64_t frames = 0, left_out = 0, seen = 0;
	const uint8_t *o;
	struct net *net;
	struct block b;
	struct rig r;
	size_t len;
	int fd;

	(void)state;
	stub_net_init(&stub);
	assert_int_equal(capture_create(&full, &net, &err), -ENOSPC);
	assert_string_equal(err.text, "capture=/dev/full: No space left on device");

	/* A reader that does not read: what does not fit is left out, and nobody waits. */
	rig_open(&r);
	rig_end(&r);
	unlink(r.path);
	assert_int_equal(mkfifo(r.path, 0600), 0);
	fd = open(r.path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	stub_net_init(&r.stub);
	assert_int_equal(capture_create(&(struct capture_config){ .below = &r.stub.net,
								  .path = r.path,
								  .name = "net7" },
					&r.net, &err),
			 0);
	net_host_init(&r.h);
	net_host_open(&r.h, r.net);
	for (unsigned i = 0; i < 400; i++)
		assert_int_equal(net_host_send(&r.h, frame, sizeof(frame)), 0);
	r.file = malloc(64 * MIB);
	for (unsigned quiet = 0; quiet < 100;) {
		ssize_t n = read(fd, r.file + r.len, 64 * MIB - r.len);

		if (n > 0)
			r.len += (size_t)n;
		quiet = n > 0 ? 0 : quiet + 1;
		usleep(n > 0 ? 0 : 2000);
	}
	rig_end(&r);
	r.len += (size_t)read(fd, r.file + r.len, 64 * MIB - r.len);
	close(fd);
	check_head(&r);
	while (next(&r, &b)) {
		if (b.type == FRAME)
			seen++;
		if (b.type != STATISTICS)
			continue;
		o = option(&b, 12, 4, &len);
		assert_non_null(o);
		frames = load_le(o, 8);
		o = option(&b, 12, 5, &len);
		assert_non_null(o);
		left_out = load_le(o, 8);
	}
	assert_int_equal(frames, 400);
	assert_true(left_out > 0);
	assert_int_equal(seen, 400 - left_out);
	rig_close(&r);
}

static void test_refused(void **state)
{
	struct stub_net stub;
	const struct capture_config cfg = {
		.below = &stub.net,
		.path = "/nowhere/x.pcapng",
		.name = "net0",
	};
	struct err err = { "" };
	struct net *net;

	(void)state;
	stub_net_init(&stub);
	assert_int_equal(capture_create(&cfg, &net, &err), -ENOENT);
	assert_string_equal(err.text, "capture=/nowhere/x.pcapng: No such file or directory");
	assert_false(stub.destroyed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_readable_after_kill),
		cmocka_unit_test(test_left_out),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
