/* SPDX-License-Identifier: MIT */
/*
 * What the tests and benches do to a disk, in the guest and on the image afterwards:
 *
 *	disktool journal DEVICE [COUNT]		write record 0, 1, ... each flushed before the
 *						line "flushed N" is printed
 *	disktool check-journal IMAGE N		are the records 0 to N in the image?
 *	disktool dio DEVICE read|write|mixed [BYTES [SECONDS [LIMIT [COUNT]]]]
 *						direct I/O at random places, one request at a
 *						time, within the first LIMIT bytes, for SECONDS
 *						or COUNT requests; rate and latency percentiles
 *
 * Linked statically, it runs in an initramfs without a C library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECORD 4096
#define WORDS (RECORD / sizeof(uint64_t))
#define MAGIC 0x6c6e726a6d746e62ull /* "bntmjrnl" */
#define MAX_SAMPLES (1u << 22)
#define MAX_BLOCK (1u << 20)

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
	bool reads, writes; /* both: a request is one or the other by chance */
	uint64_t bytes; /* of a request */
	uint64_t seconds;
	uint64_t limit; /* of the places, in bytes; 0: the whole device */
	uint64_t count; /* of requests at most */
};

static int dio(const char *device, const struct dio *d)
{
	uint64_t state = 88172645463325252ull, blocks, start, before, end, spent, bytes = d->bytes;
	uint32_t *samples;
	off_t size, at;
	size_t n = 0;
	void *block;
	ssize_t done;
	bool write;
	int fd;

	if (!bytes || bytes % 512 || bytes > MAX_BLOCK) {
		fprintf(stderr, "disktool: bad block size\n");
		return 1;
	}
	fd = open(device, (!d->writes ? O_RDONLY : !d->reads ? O_WRONLY : O_RDWR) | O_DIRECT);
	if (fd < 0)
		return fail("cannot open", device);
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return fail("cannot seek", device);
	if (d->limit && (uint64_t)size > d->limit)
		size = (off_t)d->limit;
	blocks = (uint64_t)size / bytes;
	block = aligned_alloc(RECORD, (bytes + RECORD - 1) / RECORD * RECORD);
	samples = malloc(MAX_SAMPLES * sizeof(*samples));
	if (!block || !samples || !blocks) {
		fprintf(stderr, "disktool: no memory, or %s is too small\n", device);
		return 1;
	}
	memset(block, 0x5a, bytes);

	start = now_ns();
	end = start + d->seconds * 1000000000ull;
	do {
		at = (off_t)(next_random(&state) % blocks * bytes);
		write = d->writes && (!d->reads || next_random(&state) >> 63);
		before = now_ns();
		done = write ? pwrite(fd, block, bytes, at) : pread(fd, block, bytes, at);
		if (done != (ssize_t)bytes)
			return fail(write ? "cannot write" : "cannot read", device);
		spent = now_ns() - before;
		samples[n++] = spent > UINT32_MAX ? UINT32_MAX : (uint32_t)spent;
	} while (before + spent < end && n < d->count);
	spent = now_ns() - start;

	qsort(samples, n, sizeof(*samples), compare);
	printf("dio op=%s bytes=%llu n=%zu seconds=%.3f iops=%.1f p50_us=%.1f p90_us=%.1f "
	       "p99_us=%.1f max_us=%.1f\n",
	       d->op, (unsigned long long)bytes, n, (double)spent / 1e9,
	       (double)n * 1e9 / (double)spent, samples[n / 2] / 1e3, samples[n * 9 / 10] / 1e3,
	       samples[n * 99 / 100] / 1e3, samples[n - 1] / 1e3);
	return 0;
}

/* The arguments after "dio DEVICE"; there is one at least. */
static bool dio_parse(struct dio *d, int argc, char **argv)
{
	uint64_t *numbers[] = { &d->bytes, &d->seconds, &d->limit, &d->count };
	int i;

	d->op = argv[0];
	d->reads = strcmp(d->op, "write") != 0;
	d->writes = strcmp(d->op, "read") != 0;
	if (d->reads && d->writes && strcmp(d->op, "mixed") != 0)
		return false;
	for (i = 1; i < argc; i++)
		if (i > 4 || !parse_number(argv[i], numbers[i - 1]))
			return false;
	return d->count > 0 && d->count <= MAX_SAMPLES;
}

int main(int argc, char **argv)
{
	struct dio d = { .bytes = 4096, .seconds = 5, .count = MAX_SAMPLES };
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
			"       disktool dio DEVICE read|write|mixed "
			"[BYTES [SECONDS [LIMIT [COUNT]]]]\n");
	return 2;
}
