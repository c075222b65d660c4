/* SPDX-License-Identifier: MIT */
/* A trace as JSON: read back with a parser that is not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "backends/block/stages.h"
#include "vmm/report/trace_json.h"

#define PID 1
#define TID(ring) (PID + 1 + (ring))

/* 4 ticks a nanosecond; the trace's time begins at tick 1000. */
static const struct trace_clock test_clock = { { 1000, 5000 }, { 1000 + 4000000, 5000 + 1000000 } };

static cJSON *write_and_parse(const struct trace *t, const struct trace_clock *clock)
{
	FILE *f = tmpfile();
	cJSON *json;
	char *text;
	long len;

	assert_int_equal(trace_write_json(t, clock, fileno(f)), 0);
	len = lseek(fileno(f), 0, SEEK_END);
	text = malloc((size_t)len + 1);
	assert_int_equal(pread(fileno(f), text, (size_t)len, 0), len);
	text[len] = '\0';
	fclose(f);
	json = cJSON_ParseWithOpts(text, NULL, true);
	free(text);
	assert_non_null(json);
	return json;
}

static const char *str(const cJSON *event, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, key));
}

static const char *arg(const cJSON *event, const char *key)
{
	return str(cJSON_GetObjectItemCaseSensitive(event, "args"), key);
}

static double num(const cJSON *event, const char *key)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(event, key);

	assert_true(cJSON_IsNumber(n));
	return n->valuedouble;
}

/* A time as whole nanoseconds. */
static long long ns(const cJSON *event, const char *key)
{
	return (long long)(num(event, key) * 1000 + 0.5);
}

static cJSON *events_of(const cJSON *json)
{
	assert_string_equal(str(json, "displayTimeUnit"), "ns");
	return cJSON_GetObjectItemCaseSensitive(json, "traceEvents");
}

/* The events of a thread that are no metadata, into out; how many. */
static unsigned thread_events(const cJSON *json, unsigned tid, const cJSON **out, unsigned max)
{
	const cJSON *e;
	unsigned n = 0;

	cJSON_ArrayForEach(e, events_of(json))
	{
		assert_int_equal(num(e, "pid"), PID);
		if ((unsigned)num(e, "tid") != tid || !strcmp(str(e, "ph"), "M"))
			continue;
		assert_true(n < max);
		out[n++] = e;
	}
	return n;
}

/* What metadata says of a thread: NULL where there is nothing. */
static const char *metadata(const cJSON *json, unsigned tid, const char *what)
{
	const cJSON *e;

	cJSON_ArrayForEach(e, events_of(json))
	{
		if (!strcmp(str(e, "ph"), "M") && (unsigned)num(e, "tid") == tid &&
		    !strcmp(str(e, "name"), what))
			return arg(e, "name");
	}
	return NULL;
}

static double dropped(const cJSON *json, const char *thread)
{
	const cJSON *other = cJSON_GetObjectItemCaseSensitive(json, "otherData");

	return num(cJSON_GetObjectItemCaseSensitive(other, "dropped-events"), thread);
}

static void empty(void **state)
{
	struct trace t = { 0 };
	cJSON *json;

	(void)state;
	json = write_and_parse(&t, &test_clock);
	assert_int_equal(cJSON_GetArraySize(events_of(json)), 1);
	assert_non_null(metadata(json, PID, "process_name"));
	cJSON_Delete(json);

	trace_init(&t, 4);
	assert_non_null(trace_add_ring(&t, "vcpu0"));
	assert_non_null(trace_add_ring(&t, "vcpu1"));
	json = write_and_parse(&t, &test_clock);
	assert_string_equal(metadata(json, TID(0), "thread_name"), "vcpu0");
	assert_string_equal(metadata(json, TID(1), "thread_name"), "vcpu1");
	assert_int_equal(dropped(json, "vcpu1"), 0);
	cJSON_Delete(json);
	trace_destroy(&t);
}

static void exits(void **state)
{
	const struct trace_event in[] = {
		{ 1004, 1404, "io-out", "uart0", "thr", 0x3f8, 0xffffffff81000000, 0, 1, false },
		{ 3000, 3400, "other", NULL, NULL, 0, 0, 0, 0, false },
		{ 3000, 3000, "halt", NULL, NULL, 0, 0, 0, 0, false },
		{ 4001, 8003, "mmio-read", "virtio-blk0", NULL, 0xc0000014, 0, 0, 4, false },
		{ 9000, 9400, "io-out", NULL, NULL, 0x80, 0, 0, 1, false },
		{ 500, 600, "signal", NULL, NULL, 0, 0, 0, 0, false },
		{ 900, 1800, "signal", NULL, NULL, 0, 0, 0, 0, false },
		{ 8000000000, 8000000004, "halt", NULL, NULL, 0, 0x10, 0, 0, false },
	};
	const cJSON *e[8] = { NULL };
	struct trace_ring *r;
	struct trace t;
	cJSON *json;

	(void)state;
	trace_init(&t, 8);
	r = trace_add_ring(&t, "vcpu0");
	for (unsigned i = 0; i < ARRAY_SIZE(in); i++)
		trace_put(r, &in[i]);
	json = write_and_parse(&t, &test_clock);
	assert_int_equal(thread_events(json, TID(0), e, 8), ARRAY_SIZE(in));

	/* Sorted: what began before the start is at it, as far as it reached. */
	assert_string_equal(str(e[0], "name"), "signal");
	assert_int_equal(ns(e[0], "ts"), 0);
	assert_int_equal(ns(e[0], "dur"), 0);
	assert_int_equal(ns(e[1], "ts"), 0);
	assert_int_equal(ns(e[1], "dur"), 200);

	assert_string_equal(str(e[2], "ph"), "X");
	assert_string_equal(str(e[2], "name"), "uart0.thr");
	assert_string_equal(str(e[2], "cat"), "io-out");
	assert_int_equal(ns(e[2], "ts"), 1);
	assert_int_equal(ns(e[2], "dur"), 100);
	assert_string_equal(arg(e[2], "device"), "uart0");
	assert_string_equal(arg(e[2], "register"), "thr");
	assert_string_equal(arg(e[2], "addr"), "0x3f8");
	assert_string_equal(arg(e[2], "rip"), "0xffffffff81000000");
	assert_int_equal(num(cJSON_GetObjectItem(e[2], "args"), "width"), 1);

	assert_string_equal(str(e[3], "name"), "halt");
	assert_int_equal(ns(e[3], "ts"), 500);
	assert_int_equal(ns(e[3], "dur"), 0);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(e[3], "args")), 0);

	/* One that took no time is in front of one that begins with it. */
	assert_string_equal(str(e[4], "name"), "other");
	assert_int_equal(ns(e[4], "ts"), 500);
	assert_int_equal(ns(e[4], "dur"), 100);

	assert_string_equal(str(e[5], "name"), "virtio-blk0");
	assert_int_equal(ns(e[5], "ts"), 750);
	assert_int_equal(ns(e[5], "dur"), 1000);
	assert_null(arg(e[5], "register"));
	assert_null(arg(e[5], "rip"));

	assert_string_equal(str(e[6], "name"), "io-out 0x80");
	assert_string_equal(str(e[6], "cat"), "io-out");
	/* Later than the clock's second point. */
	assert_int_equal(ns(e[7], "ts"), 1999999750);
	assert_int_equal(ns(e[7], "dur"), 1);
	assert_string_equal(arg(e[7], "rip"), "0x10");
	cJSON_Delete(json);
	trace_destroy(&t);
}

/* Of more than a ring holds the newest are there, oldest first, none in another's time. */
static void full_rings(void **state)
{
	enum { SIZE = 1 << 15, NR = 100000 };
	static const cJSON *e[SIZE];
	struct trace_ring *r;
	struct trace t;
	cJSON *json;

	(void)state;
	trace_init(&t, SIZE);
	r = trace_add_ring(&t, "vcpu0");
	for (uint64_t i = 0; i < NR; i++)
		trace_put(r, &(struct trace_event){ .begin = 1000 + 7 * i,
						    .end = 1006 + 7 * i,
						    .name = "io-in",
						    .addr = i,
						    .width = 1 });
	r = trace_add_ring(&t, "vcpu1");
	for (uint64_t i = 0; i < SIZE; i++)
		trace_put(r, &(struct trace_event){
				     .begin = 5000 - i % 2, .end = 5000, .name = "halt" });
	json = write_and_parse(&t, &test_clock);
	assert_int_equal(thread_events(json, TID(0), e, SIZE), SIZE);
	assert_int_equal(dropped(json, "vcpu0"), NR - SIZE);
	assert_int_equal(dropped(json, "vcpu1"), 0);
	for (unsigned i = 0; i < SIZE; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "0x%x", NR - SIZE + i);
		assert_string_equal(arg(e[i], "addr"), addr);
		if (i)
			assert_true(ns(e[i], "ts") >= ns(e[i - 1], "ts") + ns(e[i - 1], "dur"));
	}
	assert_int_equal(thread_events(json, TID(1), e, SIZE), SIZE);
	cJSON_Delete(json);
	trace_destroy(&t);
}

/*
 * What a viewer does with them: for each id a stack, onto which b puts and from which
 * e takes, and time never goes back.
 */
struct span_check {
	const char *id;
	const char *open[8];
	unsigned depth;
	unsigned spans;
	long long ts;
};

static void check_async(struct span_check *c, unsigned nr, const cJSON *e)
{
	const char *id = str(e, "id"), *ph = str(e, "ph"), *name = str(e, "name");
	unsigned i = 0;

	assert_string_equal(str(e, "cat"), "request");
	while (i < nr && c[i].id && strcmp(c[i].id, id) != 0)
		i++;
	assert_true(i < nr);
	c[i].id = id;
	assert_true(ns(e, "ts") >= c[i].ts);
	c[i].ts = ns(e, "ts");
	if (!strcmp(ph, "b")) {
		assert_true(c[i].depth < 8);
		c[i].open[c[i].depth++] = name;
		c[i].spans++;
	} else {
		assert_string_equal(ph, "e");
		assert_int_not_equal(c[i].depth, 0);
		assert_string_equal(c[i].open[--c[i].depth], name);
	}
}

static void requests(void **state)
{
	/* They overlap, and end in another order than they began in. */
	const struct block_stamps stamps[] = {
		{ { 2000, 2400, 2800, 9000, 9400, 9800 } },
		{ { 2000, 2500, 3000, 4000, 4400, 0 } },
		{ { 0, 2600, 0, 0, 4400, 5200 } },
	};
	static const unsigned spans[] = { 6, 5, 2 };
	struct span_check c[8] = { { 0 } };
	struct block_stages disks[2];
	const cJSON *e[64] = { NULL };
	struct trace t;
	unsigned nr;
	cJSON *json;

	(void)state;
	trace_init(&t, 32);
	for (unsigned d = 0; d < 2; d++) {
		char name[8];

		snprintf(name, sizeof(name), "disk%u", d);
		block_stages_init(&disks[d], name, trace_add_ring(&t, name));
		block_stages_add(&disks[d], &stamps[1], "read", 0x1000);
		block_stages_add(&disks[d], &stamps[2], "unsupported", 0);
		block_stages_add(&disks[d], &stamps[0], "write", 0x2200);
	}
	json = write_and_parse(&t, &test_clock);
	for (unsigned d = 0; d < 2; d++) {
		nr = thread_events(json, TID(d), e, 64);
		assert_int_equal(nr, 2 * (spans[0] + spans[1] + spans[2]));
		for (unsigned i = 0; i < nr; i++)
			check_async(c, 6, e[i]); /* no id of the one in the other */
	}
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(c[i].depth, 0);
		assert_int_equal(c[i].spans, spans[(i + 1) % 3]);
	}
	assert_string_equal(str(e[0], "name"), "disk1 read");
	assert_string_equal(arg(e[0], "device"), "disk1");
	assert_string_equal(arg(e[0], "offset"), "0x1000");
	assert_int_equal(ns(e[0], "ts"), 250);
	assert_string_equal(str(e[1], "name"), "kick-popped");
	assert_null(arg(e[1], "offset"));
	assert_string_equal(str(e[2], "ph"), "e");
	assert_int_equal(ns(e[2], "ts"), 375);
	assert_string_equal(str(e[3], "name"), "popped-submitted");
	assert_string_equal(str(e[nr - 1], "name"), "disk1 write");
	assert_int_equal(ns(e[nr - 1], "ts"), 2200);
	cJSON_Delete(json);
	trace_destroy(&t);
}

/* Whatever is in there, it is JSON: spans deeper than any, or that do not nest. */
static void strange_spans(void **state)
{
	const cJSON *e[128] = { NULL };
	struct trace_ring *r;
	struct trace t;
	unsigned nr, begins = 0;
	cJSON *json;

	(void)state;
	trace_init(&t, 64);
	r = trace_add_ring(&t, "disk0");
	for (uint64_t i = 0; i < 40; i++)
		trace_put(r, &(struct trace_event){ .begin = 2000 + 10 * i,
						    .end = i % 3 ? 2000 + 10 * i : 9000 - i,
						    .name = "part",
						    .overlaps = i != 5 });
	json = write_and_parse(&t, &test_clock);
	nr = thread_events(json, TID(0), e, 128);
	assert_int_equal(nr, 79);
	for (unsigned i = 0; i < nr; i++)
		begins += str(e[i], "ph")[0] == 'b';
	assert_int_equal(begins, 39);
	cJSON_Delete(json);
	trace_destroy(&t);
}

static void hostile_strings(void **state)
{
	struct trace_ring *r;
	const cJSON *e[2] = { NULL };
	struct trace t;
	cJSON *json;

	(void)state;
	trace_init(&t, 4);
	r = trace_add_ring(&t, "a\"b\\c\n\x01\x7f\xe9\xff");
	trace_put(r, &(struct trace_event){ 2000, 2100, "</script>\"", "de\"v", "\t\\", 1, 0, 0, 1,
					    false });
	json = write_and_parse(&t, &test_clock);
	assert_string_equal(metadata(json, TID(0), "thread_name"),
			    "a\"b\\c\n\x01\x7f\xc3\xa9\xc3\xbf");
	assert_int_equal(dropped(json, "a\"b\\c\n\x01\x7f\xc3\xa9\xc3\xbf"), 0);
	assert_int_equal(thread_events(json, TID(0), e, 2), 1);
	assert_string_equal(str(e[0], "cat"), "</script>\"");
	assert_string_equal(str(e[0], "name"), "de\"v.\t\\");
	assert_string_equal(arg(e[0], "register"), "\t\\");
	cJSON_Delete(json);
	trace_destroy(&t);
}

/* A clock that tells nothing, files that take nothing. */
static void bad_clock_bad_file(void **state)
{
	const struct trace_clock stopped = { { 1000, 5000 }, { 1000, 5000 } };
	int full = open("/dev/full", O_WRONLY), fd = open("/dev/null", O_WRONLY);
	struct trace_ring *r;
	const cJSON *e[2] = { NULL };
	struct trace t;
	cJSON *json;

	(void)state;
	trace_init(&t, 4096);
	r = trace_add_ring(&t, "vcpu0");
	trace_put(r, &(struct trace_event){ .begin = 2000, .end = 2100, .name = "halt" });
	json = write_and_parse(&t, &stopped);
	assert_int_equal(thread_events(json, TID(0), e, 2), 1);
	assert_int_equal(ns(e[0], "ts"), 0);
	assert_int_equal(ns(e[0], "dur"), 0);
	cJSON_Delete(json);
	assert_int_equal(trace_write_json(&t, &test_clock, full), -ENOSPC);
	for (unsigned i = 0; i < 4096; i++)
		trace_put(r, &(struct trace_event){ .begin = 2000, .end = 2100, .name = "halt" });
	assert_int_equal(trace_write_json(&t, &test_clock, full), -ENOSPC);
	close(fd);
	assert_int_equal(trace_write_json(&t, &test_clock, fd), -EBADF);
	close(full);
	trace_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(exits),
		cmocka_unit_test(full_rings),
		cmocka_unit_test(requests),
		cmocka_unit_test(strange_spans),
		cmocka_unit_test(hostile_strings),
		cmocka_unit_test(bad_clock_bad_file),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
