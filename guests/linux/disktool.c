/* SPDX-License-Identifier: MIT */
/*
 * What the tests and benches do to a disk, in the guest and on the image afterwards:
 *
 *	disktool journal DEVICE [COUNT]		write record 0, 1, ... each flushed before the
 *						line "flushed N" is printed
 *	disktool check-journal IMAGE N		are the records 0 to N in the image?
 *	disktool dio DEVICE read|write|mixed|flush [BYTES [SECONDS [LIMIT [COUNT [DEPTH [seq]]]]]]
 *						direct I/O at random places, or one behind the
 *						other, within the first LIMIT bytes, or flushes,
 *						for SECONDS or COUNT requests; rate and latency
 *						percentiles
 *
 * One request at a time is a system call that waits for it; with a DEPTH of more, that many are in
 * flight by Linux's AIO: all that have completed are asked for anew by one call.
 *
 * With WAIT=1 in the environment it says "test: waits" and waits for a line before the first request
 * and behind the last: between the two there is nothing else.
 *
 * Linked statically, it runs in an initramfs without a C library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RECORD 4096
#define WORDS (RECORD / sizeof(uint64_t))
#define MAGIC 0x6c6e726a6d746e62ull /* "bntmjrnl" */
#define MAX_SAMPLES (1u << 22)
#define MAX_TOUCHED (1u << 16)
#define MAX_BLOCK (1u << 20)
#define MAX_DEPTH 256

static int fail(const char *what, const char *name)
{
	fprintf(stderr, "disktool: %s %s: %s\n", what, name, strerror(errno));
	return 1;
}

static bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-') {
		fprintf(stderr, "disktool: not a number: %s\n", text);
		return false;
	}
	return true;
}

/* A record is a magic word, its index throughout, and a checksum (FNV-1a by words). */
static void record_fill(uint64_t *record, uint64_t index)
{
	uint64_t sum = 0xcbf29ce484222325ull;
	size_t i;

	record[0] = MAGIC;
	for (i = 1; i < WORDS - 1; i++)
		record[i] = index;
	for (i = 0; i < WORDS - 1; i++)
		sum = (sum ^ record[i]) * 0x100000001b3ull;
	record[WORDS - 1] = sum;
}

static int journal(const char *device, uint64_t count)
{
	uint64_t index;
	void *record;
	ssize_t n;
	int fd;

	fd = open(device, O_WRONLY | O_DIRECT);
	if (fd < 0)
		return fail("cannot open", device);
	record = aligned_alloc(RECORD, RECORD);
	if (!record)
		return fail("no memory for", device);

	for (index = 0; index < count; index++) {
		record_fill(record, index);
		n = pwrite(fd, record, RECORD, (off_t)(index * RECORD));
		if (n < 0 && errno == ENOSPC)
			break;
		if (n != RECORD)
			return fail("cannot write", device);
		if (fsync(fd))
			return fail("cannot flush", device);
		printf("flushed %llu\n", (unsigned long long)index);
		fflush(stdout);
	}
	printf("journal end\n");
	return 0;
}

static int check_journal(const char *image, uint64_t last)
{
	uint64_t want[WORDS], got[WORDS], index;
	FILE *file;

	file = fopen(image, "rb");
	if (!file)
		return fail("cannot open", image);
	for (index = 0; index <= last; index++) {
		record_fill(want, index);
		if (fread(got, RECORD, 1, file) != 1) {
			printf("journal: record %llu is missing\n", (unsigned long long)index);
			return 1;
		}
		if (memcmp(got, want, RECORD)) {
			printf("journal: record %llu is damaged\n", (unsigned long long)index);
			return 1;
		}
	}
	fclose(file);
	printf("journal: records 0 to %llu are there\n", (unsigned long long)last);
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* xorshift64: the same places in every run, whatever the program under test */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

struct dio {
	const char *op;
	bool reads, writes; /* both: a request is one or the other by chance; none: a flush */
	bool seq;
	uint64_t bytes; /* of a request */
	double seconds;
	uint64_t limit; /* of the places, in bytes; 0: the whole device */
	uint64_t count; /* of requests at most */
	uint64_t depth;

	int fd;
	uint64_t blocks; /* how many places there are */
	uint64_t state; /* of what chooses among them */
	char *memory; /* depth blocks */
	uint32_t *samples; /* ns */
	size_t n;
	uint64_t start, end;
};

struct place {
	off_t at;
	bool write;
};

static struct place next_place(struct dio *d)
{
	uint64_t block = d->seq ? d->state++ : next_random(&d->state);
	struct place p = { .at = (off_t)(block % d->blocks * d->bytes), .write = d->writes };

	if (d->reads && d->writes)
		p.write = next_random(&d->state) >> 63;
	return p;
}

static bool sample(struct dio *d, uint64_t since, uint64_t now)
{
	uint64_t spent = now - since;

	d->samples[d->n++] = spent > UINT32_MAX ? UINT32_MAX : (uint32_t)spent;
	return now < d->end && d->n < d->count;
}

static bool one_by_one(struct dio *d)
{
	uint64_t before;

	do {
		struct place p = next_place(d);
		ssize_t done;

		before = now_ns();
		if (p.write)
			done = pwrite(d->fd, d->memory, d->bytes, p.at);
		else if (d->reads)
			done = pread(d->fd, d->memory, d->bytes, p.at);
		else
			done = fdatasync(d->fd) ? -1 : (ssize_t)d->bytes;
		if (done != (ssize_t)d->bytes)
			return false;
	} while (sample(d, before, now_ns()));
	return true;
}

static bool submit_all(aio_context_t ctx, struct iocb **cbs, long n)
{
	while (n) {
		long done = syscall(SYS_io_submit, ctx, n, cbs);

		if (done <= 0)
			return false;
		cbs += done;
		n -= done;
	}
	return true;
}

static bool many(struct dio *d)
{
	static struct iocb cbs[MAX_DEPTH], *ready[MAX_DEPTH];
	static struct io_event events[MAX_DEPTH];
	static uint64_t begun[MAX_DEPTH];
	aio_context_t ctx = 0;
	unsigned flying = 0;
	bool more = true;
	long n = (long)d->depth;

	if (syscall(SYS_io_setup, d->depth, &ctx))
		return false;
	for (unsigned i = 0; i < d->depth; i++)
		ready[i] = &cbs[i];
	for (;;) {
		uint64_t now = now_ns();

		for (long k = 0; k < n; k++) {
			unsigned slot = (unsigned)(ready[k] - cbs);
			struct place p = next_place(d);

			begun[slot] = now;
			cbs[slot] = (struct iocb){
				.aio_data = slot,
				.aio_lio_opcode = p.write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
				.aio_fildes = (uint32_t)d->fd,
				.aio_buf = (uintptr_t)(d->memory + slot * d->bytes),
				.aio_nbytes = d->bytes,
				.aio_offset = p.at,
			};
		}
		if (!submit_all(ctx, ready, n))
			return false;
		flying += (unsigned)n;
		if (!flying)
			return true;
		n = syscall(SYS_io_getevents, ctx, 1, d->depth, events, NULL);
		if (n <= 0)
			return false;
		flying -= (unsigned)n;
		now = now_ns();
		for (long k = 0; k < n; k++) {
			if (events[k].res != (int64_t)d->bytes)
				return false;
			ready[k] = &cbs[events[k].data];
			if (d->n < d->count)
				more &= sample(d, begun[events[k].data], now);
		}
		if (!more)
			n = 0; /* those in flight are waited for */
	}
}

static void dio_report(struct dio *d, uint64_t spent)
{
	size_t n = d->n;

	qsort(d->samples, n, sizeof(*d->samples), compare);
	printf("dio op=%s bytes=%llu depth=%llu order=%s n=%zu seconds=%.3f iops=%.1f p50_us=%.1f "
	       "p90_us=%.1f p99_us=%.1f max_us=%.1f\n",
	       d->op, (unsigned long long)d->bytes, (unsigned long long)d->depth,
	       d->seq ? "seq" : "random", n, (double)spent / 1e9, (double)n * 1e9 / (double)spent,
	       d->samples[n / 2] / 1e3, d->samples[n * 9 / 10] / 1e3,
	       d->samples[n * 99 / 100] / 1e3, d->samples[n - 1] / 1e3);
}

static void dio_wait(void)
{
	char line[16];

	if (!getenv("WAIT"))
		return;
	printf("test: waits\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		fprintf(stderr, "disktool: no line\n");
}

static int dio(const char *device, struct dio *d)
{
	uint64_t spent;
	bool ok;
	off_t size;

	if (!d->bytes || d->bytes % 512 || d->bytes > MAX_BLOCK || !d->depth ||
	    d->depth > MAX_DEPTH) {
		fprintf(stderr, "disktool: bad block size or depth\n");
		return 1;
	}
	d->fd = open(device, (!d->writes ? O_RDONLY : !d->reads ? O_WRONLY : O_RDWR) | O_DIRECT);
	if (d->fd < 0)
		return fail("cannot open", device);
	size = lseek(d->fd, 0, SEEK_END);
	if (size < 0)
		return fail("cannot seek", device);
	if (d->limit && (uint64_t)size > d->limit)
		size = (off_t)d->limit;
	d->blocks = (uint64_t)size / d->bytes;
	d->state = d->seq ? 0 : 88172645463325252ull;
	d->memory = aligned_alloc(RECORD, (d->depth * d->bytes + RECORD - 1) / RECORD * RECORD);
	d->samples = malloc(MAX_SAMPLES * sizeof(*d->samples));
	if (!d->memory || !d->samples || !d->blocks) {
		fprintf(stderr, "disktool: no memory, or %s is too small\n", device);
		return 1;
	}
	memset(d->memory, 0x5a, d->depth * d->bytes);
	/* Memory that the guest has never touched would cost exits. */
	memset(d->samples, 0, MAX_TOUCHED * sizeof(*d->samples));

	dio_wait();
	d->start = now_ns();
	d->end = d->start + (uint64_t)(d->seconds * 1e9);
	ok = d->depth == 1 || !(d->reads || d->writes) ? one_by_one(d) : many(d);
	spent = now_ns() - d->start;
	if (!ok)
		return fail(d->op, device);
	dio_wait();
	dio_report(d, spent);
	return 0;
}

static bool parse_seconds(const char *text, double *value)
{
	char *end;

	*value = strtod(text, &end);
	return end != text && !*end && *value >= 0;
}

/* The arguments after "dio DEVICE"; there is one at least. */
static bool dio_parse(struct dio *d, int argc, char **argv)
{
	uint64_t *numbers[] = { &d->bytes, NULL, &d->limit, &d->count, &d->depth };
	int i;

	d->op = argv[0];
	d->reads = !strcmp(d->op, "read") || !strcmp(d->op, "mixed");
	d->writes = !strcmp(d->op, "write") || !strcmp(d->op, "mixed");
	if (!d->reads && !d->writes && strcmp(d->op, "flush") != 0)
		return false;
	if (argc == 7 && !strcmp(argv[6], "seq")) {
		d->seq = true;
		argc--;
	}
	for (i = 1; i < argc; i++)
		if (i > 5 || !(i == 2 ? parse_seconds(argv[i], &d->seconds)
				      : parse_number(argv[i], numbers[i - 1])))
			return false;
	return d->count > 0 && d->count <= MAX_SAMPLES;
}

int main(int argc, char **argv)
{
	struct dio d = { .bytes = 4096, .seconds = 5, .count = MAX_SAMPLES, .depth = 1 };
	uint64_t number = UINT64_MAX;

	if (argc >= 3 && argc <= 4 && !strcmp(argv[1], "journal")) {
		if (argc == 4 && !parse_number(argv[3], &number))
			return 2;
		return journal(argv[2], number);
	}
	if (argc == 4 && !strcmp(argv[1], "check-journal"))
		return parse_number(argv[3], &number) ? check_journal(argv[2], number) : 2;
	if (argc >= 4 && !strcmp(argv[1], "dio") && dio_parse(&d, argc - 3, argv + 3))
		return dio(argv[2], &d);
	fprintf(stderr, "usage: disktool journal DEVICE [COUNT]\n"
			"       disktool check-journal IMAGE N\n"
			"       disktool dio DEVICE read|write|mixed|flush "
			"[BYTES [SECONDS [LIMIT [COUNT [DEPTH [seq]]]]]]\n");
	return 2;
}
