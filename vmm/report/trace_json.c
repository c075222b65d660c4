/* SPDX-License-Identifier: MIT */
#include "vmm/report/trace_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define PID 1 /* the machine; its threads have the numbers behind it */
#define MAX_DEPTH 8 /* of spans in spans of one id */

/* Text on its way to a file: one write a buffer. */
struct out {
	int fd;
	int err; /* the first; what comes after it is dropped */
	size_t len;
	char buf[16384];
};

static void out_flush(struct out *o)
{
	if (!o->err)
		o->err = util_write_all(o->fd, o->buf, o->len);
	o->len = 0;
}

static void put(struct out *o, const char *text)
{
	for (; *text; text++) {
		if (o->len == sizeof(o->buf))
			out_flush(o);
		o->buf[o->len++] = *text;
	}
}

/* For numbers and what is between them: at most 127 characters. */
static void __printf(2, 3) put_f(struct out *o, const char *fmt, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(o, text);
}

/* What may stand between quotes for s, whatever its bytes are. */
static void put_escaped(struct out *o, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			put_f(o, "\\u%04x", c);
		else
			put(o, (char[]){ *s, '\0' });
	}
}

struct writer {
	struct out out;
	const struct trace_clock *clock;
	unsigned tid;
};

static uint64_t to_ns(const struct writer *w, uint64_t ticks)
{
	const struct trace_point *start = &w->clock->start, *end = &w->clock->end;

	if (ticks <= start->ticks || end->ticks <= start->ticks)
		return 0;
	return mul_div(ticks - start->ticks, end->ns - start->ns, end->ticks - start->ticks);
}

/* The opening of an event: its phase, thread, and when it was. */
static void put_event(struct writer *w, char phase, uint64_t ns)
{
	put_f(&w->out, ",\n{\"ph\":\"%c\",\"pid\":%d,\"tid\":%u,\"ts\":%" PRIu64 ".%03" PRIu64,
	      phase, PID, w->tid, ns / 1000, ns % 1000);
}

/* A request goes by its disk, an access by its register; all else by what it is. */
static void put_name(struct out *o, const struct trace_event *e)
{
	put(o, ",\"name\":\"");
	if (e->overlaps) {
		if (e->device) {
			put_escaped(o, e->device);
			put(o, " ");
		}
		put_escaped(o, e->name);
	} else if (e->device) {
		put_escaped(o, e->device);
		if (e->reg) {
			put(o, ".");
			put_escaped(o, e->reg);
		}
	} else {
		put_escaped(o, e->name);
		if (e->width)
			put_f(o, " 0x%" PRIx64, e->addr);
	}
	put(o, "\"");
}

static void put_string_arg(struct out *o, const char **sep, const char *key, const char *value)
{
	if (!value)
		return;
	put_f(o, "%s\"%s\":\"", *sep, key);
	put_escaped(o, value);
	put(o, "\"");
	*sep = ",";
}

static void put_hex_arg(struct out *o, const char **sep, const char *key, uint64_t value)
{
	put_f(o, "%s\"%s\":\"0x%" PRIx64 "\"", *sep, key, value);
	*sep = ",";
}

static void put_args(struct out *o, const struct trace_event *e)
{
	const char *sep = "";

	put(o, ",\"args\":{");
	put_string_arg(o, &sep, "device", e->device);
	put_string_arg(o, &sep, "register", e->reg);
	if (e->overlaps && e->device) /* of the whole, not of each part */
		put_hex_arg(o, &sep, "offset", e->addr);
	if (e->width) {
		put_hex_arg(o, &sep, "addr", e->addr);
		put_f(o, ",\"width\":%u", e->width);
	}
	if (e->rip)
		put_hex_arg(o, &sep, "rip", e->rip);
	put(o, "}}");
}

static void put_complete(struct writer *w, const struct trace_event *e)
{
	uint64_t begin = to_ns(w, e->begin), dur = to_ns(w, e->end) - begin;

	put_event(w, 'X', begin);
	put_f(&w->out, ",\"dur\":%" PRIu64 ".%03" PRIu64 ",\"cat\":\"", dur / 1000, dur % 1000);
	put_escaped(&w->out, e->name);
	put(&w->out, "\"");
	put_name(&w->out, e);
	put_args(&w->out, e);
}

/* Ids are told apart in the whole process: each thread has its own range. */
static void put_async(struct writer *w, char phase, const struct trace_event *e, uint64_t ticks)
{
	put_event(w, phase, to_ns(w, ticks));
	put_f(&w->out, ",\"cat\":\"request\",\"id\":\"0x%" PRIx64 "\"",
	      (uint64_t)w->tid << 32 | e->id);
	put_name(&w->out, e);
	if (phase == 'b')
		put_args(&w->out, e);
	else
		put(&w->out, "}");
}

/* An event in the order of the file. */
struct entry {
	const struct trace_event *e;
};

/* The spans of one id, sorted, each in those that enclose it. Returns how many there were. */
static size_t put_spans(struct writer *w, const struct entry *entries, size_t nr)
{
	const struct trace_event *open[MAX_DEPTH];
	unsigned depth = 0;
	size_t n = 0;

	for (; n < nr && entries[n].e->id == entries[0].e->id; n++) {
		const struct trace_event *e = entries[n].e;

		while (depth && (open[depth - 1]->end <= e->begin || depth == MAX_DEPTH)) {
			depth--;
			put_async(w, 'e', open[depth], open[depth]->end);
		}
		put_async(w, 'b', e, e->begin);
		open[depth++] = e;
	}
	while (depth--)
		put_async(w, 'e', open[depth], open[depth]->end);
	return n;
}

/* Those that do not overlap first; those that do by id, and what encloses others first. */
static int compare(const void *a, const void *b)
{
	const struct trace_event *x = ((const struct entry *)a)->e;
	const struct trace_event *y = ((const struct entry *)b)->e;

	if (x->overlaps != y->overlaps)
		return x->overlaps - y->overlaps;
	if (x->overlaps && x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	if (x->end != y->end)
		return (x->end > y->end) == x->overlaps ? -1 : 1;
	return 0;
}

static int put_ring(struct writer *w, const struct trace_ring *r)
{
	size_t nr = (size_t)min_u64(r->next, r->size);
	struct entry *entries = calloc(nr + 1, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		entries[i].e = &r->events[i];
	qsort(entries, nr, sizeof(*entries), compare);
	for (size_t i = 0; i < nr;) {
		if (entries[i].e->overlaps)
			i += put_spans(w, &entries[i], nr - i);
		else
			put_complete(w, entries[i++].e);
	}
	free(entries);
	return 0;
}

static void put_metadata(struct out *o, const char *what, unsigned tid, const char *name)
{
	put_f(o, "{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"%s\",\"args\":{\"name\":\"", PID,
	      tid, what);
	put_escaped(o, name);
	put(o, "\"}}");
}

static unsigned count_rings(const struct trace *t)
{
	unsigned nr = 0;

	for (const struct trace_ring *r = t->rings; r; r = r->link)
		nr++;
	return nr;
}

/* The n-th of nr rings in the order in which they were made. */
static const struct trace_ring *nth_ring(const struct trace *t, unsigned nr, unsigned n)
{
	const struct trace_ring *r = t->rings;

	while (++n < nr)
		r = r->link;
	return r;
}

static void put_dropped(struct out *o, const struct trace *t, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		const struct trace_ring *r = nth_ring(t, nr, i);

		put(o, i ? ",\"" : "\"");
		put_escaped(o, r->thread);
		put_f(o, "\":%" PRIu64, r->next - min_u64(r->next, r->size));
	}
}

int trace_write_json(const struct trace *t, const struct trace_clock *clock, int fd)
{
	struct writer w = { .out = { .fd = fd }, .clock = clock };
	unsigned nr = count_rings(t);
	struct out *o = &w.out;
	int ret = 0;

	put(o, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
	put_metadata(o, "process_name", PID, "guest");
	for (unsigned i = 0; i < nr && !ret; i++) {
		const struct trace_ring *r = nth_ring(t, nr, i);

		w.tid = PID + 1 + i;
		put(o, ",\n");
		put_metadata(o, "thread_name", w.tid, r->thread);
		ret = put_ring(&w, r);
	}
	put(o, "\n],\"otherData\":{\"dropped-events\":{");
	put_dropped(o, t, nr);
	put(o, "}}}\n");
	out_flush(o);
	return ret ? ret : o->err;
}
