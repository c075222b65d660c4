/* SPDX-License-Identifier: MIT */
/* Two runs side by side: A, B, and how many times A's value B's is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

enum { NAME_WIDTH = 32, MAX_ROWS = 40 };

/* One thing that either run may have had, with up to two values of each. */
struct row {
	char name[232];
	size_t order; /* as it was added */
	bool present[2];
	double value[2][2]; /* by column, by run */
};

struct table {
	struct row *rows;
	size_t nr, room;
	bool failed; /* out of memory */
};

/* What a table is printed like. */
struct form {
	const char *title;
	const char *column[2]; /* the second may be NULL */
	int decimals[2];
	bool keep_order; /* else by what differs most in the last column */
};

/* Empty, with room for so many. */
static struct table table_new(size_t room)
{
	struct table t = { .rows = calloc(room + 1, sizeof(*t.rows)) };

	t.failed = !t.rows;
	t.room = t.failed ? 0 : room;
	return t;
}

static void add(struct table *t, unsigned run, const char *name, double first, double second)
{
	struct row *row = &t->rows[t->nr];

	if (t->nr == t->room)
		return;
	row->order = t->nr++;
	report_plain(name, row->name, sizeof(row->name));
	row->present[run] = true;
	row->value[0][run] = first;
	row->value[1][run] = second;
}

static int compare_names(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

static int compare_order(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

static double difference(const struct row *row, unsigned column)
{
	double d = row->value[column][1] - row->value[column][0];

	return d < 0 ? -d : d;
}

static int compare_differences(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	for (int column = 1; column >= 0; column--) {
		double dx = difference(x, (unsigned)column), dy = difference(y, (unsigned)column);

		if (dx != dy)
			return dx < dy ? 1 : -1;
	}
	return strcmp(x->name, y->name);
}

/* Rows of one name become one. */
static void merge(struct table *t)
{
	size_t n = 0;

	qsort(t->rows, t->nr, sizeof(*t->rows), compare_names);
	for (size_t i = 0; i < t->nr; i++) {
		struct row *to = &t->rows[n ? n - 1 : 0], *from = &t->rows[i];

		if (!n || strcmp(to->name, from->name)) {
			t->rows[n++] = *from;
			continue;
		}
		for (unsigned run = 0; run < 2; run++) {
			to->present[run] |= from->present[run];
			to->value[0][run] += from->value[0][run];
			to->value[1][run] += from->value[1][run];
		}
	}
	t->nr = n;
}

static const char *ratio(double a, double b, char *buf, size_t size)
{
	double r = a > 0 ? b / a : 0;

	if (!(a > 0))
		return "-";
	snprintf(buf, size, "%.*f", r >= 1000 ? 0 : r && r < 0.1 ? 4 : 2, r);
	return buf;
}

static void print_values(const double *value, int decimals, FILE *out)
{
	char buf[40];

	fprintf(out, " %12.*f %12.*f %7s", decimals, value[0], decimals, value[1],
		ratio(value[0], value[1], buf, sizeof(buf)));
}

static void print_head(const struct form *form, FILE *out)
{
	fprintf(out, "\n%-*s", NAME_WIDTH, form->title);
	for (unsigned i = 0; i < 2 && form->column[i]; i++) {
		char a[32], b[32];

		snprintf(a, sizeof(a), "%s A", form->column[i]);
		snprintf(b, sizeof(b), "%s B", form->column[i]);
		fprintf(out, " %12s %12s %7s", a, b, "B/A");
	}
	fputc('\n', out);
}

static void print_row(const struct form *form, const struct row *row, FILE *out)
{
	fprintf(out, "%-*.*s", NAME_WIDTH, NAME_WIDTH, row->name);
	for (unsigned i = 0; i < 2 && form->column[i]; i++) {
		if (row->present[0] && row->present[1])
			print_values(row->value[i], form->decimals[i], out);
		else if (row->present[0])
			fprintf(out, " %12.*f %12s %7s", form->decimals[i], row->value[i][0], "",
				"gone");
		else
			fprintf(out, " %12s %12.*f %7s", "", form->decimals[i], row->value[i][1],
				"new");
	}
	fputc('\n', out);
}

/* Prints the table, and frees it. */
static void finish(struct table *t, const struct form *form, FILE *out)
{
	if (t->failed)
		fprintf(out, "\n%s: out of memory\n", form->title);
	if (t->nr) {
		merge(t);
		qsort(t->rows, t->nr, sizeof(*t->rows),
		      form->keep_order ? compare_order : compare_differences);
		print_head(form, out);
	}
	for (size_t i = 0; i < t->nr && i < MAX_ROWS; i++)
		print_row(form, &t->rows[i], out);
	if (t->nr > MAX_ROWS)
		fprintf(out, "%zu more\n", t->nr - MAX_ROWS);
	free(t->rows);
}

/* --- the tables ----------------------------------------------------------------- */

struct total {
	const char *name;
	int decimals;
	double value[2];
};

static void print_totals(const struct report *const *runs, FILE *out)
{
	struct total totals[] = {
		{ .name = "seconds of wall time", .decimals = 3 },
		{ .name = "exits to user space" },
		{ .name = "exits per second" },
		{ .name = "us an exit (mean)", .decimals = 2 },
		{ .name = "ms in bantam", .decimals = 3 },
		{ .name = "ms in the guest and KVM", .decimals = 3 },
		{ .name = "port accesses by the kernel" },
		{ .name = "doorbells (ioeventfd)" },
		{ .name = "posted port writes" },
	};

	for (unsigned i = 0; i < 2; i++) {
		const struct report *r = runs[i];
		uint64_t exits = report_exits(&r->total), ns = report_user_ns(&r->total);

		totals[0].value[i] = (double)r->wall_ns / 1e9;
		totals[1].value[i] = (double)exits;
		totals[2].value[i] = per_second(exits, r->wall_ns);
		totals[3].value[i] = mean_us(ns, exits);
		totals[4].value[i] = ms(ns);
		totals[5].value[i] = ms(r->total.run_ns);
		totals[6].value[i] = (double)r->kernel_io;
		totals[7].value[i] = (double)r->doorbells;
		totals[8].value[i] = (double)r->posted;
	}
	fprintf(out, "\n%-*s %12s %12s %7s\n", NAME_WIDTH, "total", "A", "B", "B/A");
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++) {
		fprintf(out, "%-*s", NAME_WIDTH, totals[i].name);
		print_values(totals[i].value, totals[i].decimals, out);
		fputc('\n', out);
	}
}

static void print_reasons(const struct report *const *runs, FILE *out)
{
	static const struct form costs = { "exit", { "exits", "ms" }, { 0, 3 }, false };
	static const struct form times = { "exit", { "p50 us", "p99 us" }, { 2, 2 }, false };
	size_t room = runs[0]->total.nr_reasons + runs[1]->total.nr_reasons;
	struct table by_cost = table_new(room), by_time = table_new(room);

	for (unsigned run = 0; run < 2; run++) {
		const struct report_cpu *cpu = &runs[run]->total;

		for (size_t i = 0; i < cpu->nr_reasons; i++) {
			const struct report_reason *r = &cpu->reasons[i];

			add(&by_cost, run, r->name, (double)r->time.count, ms(r->time.total_ns));
			add(&by_time, run, r->name, us(r->time.p50_ns), us(r->time.p99_ns));
		}
	}
	finish(&by_cost, &costs, out);
	finish(&by_time, &times, out);
}

/* By name, not by address: a register moves with the slot of its device. */
static void print_sites(const struct report *const *runs, FILE *out)
{
	static const struct form form = { "register", { "exits", "ms" }, { 0, 3 }, false };
	struct table t = table_new(runs[0]->total.nr_sites + runs[1]->total.nr_sites);

	for (unsigned run = 0; run < 2; run++) {
		const struct report_cpu *cpu = &runs[run]->total;

		for (size_t i = 0; i < cpu->nr_sites; i++) {
			const struct report_site *s = &cpu->sites[i];
			char site[80], access[32], name[120];

			snprintf(name, sizeof(name), "%s %s",
				 report_site_name(s, site, sizeof(site)),
				 report_access(s, access, sizeof(access)));
			add(&t, run, name, (double)s->count, ms(s->total_ns));
		}
	}
	finish(&t, &form, out);
}

static void print_kvm(const struct report *const *runs, FILE *out)
{
	static const struct form form = { "KVM's own counters", { "", NULL }, { 0, 0 }, true };
	static const char *const names[] = {
		"exits",
		"io_exits",
		"mmio_exits",
		"halt_exits",
		"irq_exits",
		"irq_injections",
		"irq_window_exits",
		"signal_exits",
		"request_irq_exits",
		"hypercalls",
		"insn_emulation",
		"pf_taken",
		"pf_fixed",
		"tlb_flush",
	};
	struct table t = table_new(2 * ARRAY_SIZE(names));

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t a = report_counter(&runs[0]->kvm_vcpu, names[i]);
		uint64_t b = report_counter(&runs[1]->kvm_vcpu, names[i]);

		if (!a && !b)
			continue;
		add(&t, 0, names[i], (double)a, 0);
		add(&t, 1, names[i], (double)b, 0);
	}
	finish(&t, &form, out);
}

static bool one_disk(const struct report *r)
{
	for (size_t i = 1; i < r->nr_stages; i++)
		if (strcmp(r->stages[i].disk, r->stages[0].disk))
			return false;
	return true;
}

/* Where either run had one disk, they are the same to a person, whatever it is called. */
static void print_stages(const struct report *const *runs, FILE *out)
{
	static const struct form form = {
		"stage of a request", { "mean us", "p99 us" }, { 2, 2 }, true
	};
	struct table t = table_new(runs[0]->nr_stages + runs[1]->nr_stages);
	bool unnamed = one_disk(runs[0]) && one_disk(runs[1]);

	for (unsigned run = 0; run < 2; run++) {
		for (size_t i = 0; i < runs[run]->nr_stages; i++) {
			const struct report_stage *s = &runs[run]->stages[i];
			char name[80];

			snprintf(name, sizeof(name), "%s%s%s", unnamed ? "" : s->disk,
				 unnamed ? "" : " ", s->name);
			add(&t, run, name, mean_us(s->time.total_ns, s->time.count),
			    us(s->time.p99_ns));
		}
	}
	finish(&t, &form, out);
}

static void print_functions(const struct report *const *runs, FILE *out)
{
	static const struct form form = { "hot function", { "exits", "ms" }, { 0, 3 }, false };
	struct table t;

	if (!runs[0]->profile.present || !runs[1]->profile.present)
		return;
	t = table_new(runs[0]->profile.nr_hot + runs[1]->profile.nr_hot);
	for (unsigned run = 0; run < 2; run++) {
		struct report_function *rows;
		size_t nr;

		if (report_functions(runs[run], true, &rows, &nr)) {
			t.failed = true;
			continue;
		}
		for (size_t i = 0; i < nr; i++)
			add(&t, run, rows[i].name, (double)rows[i].count, ms(rows[i].total_ns));
		free(rows);
	}
	finish(&t, &form, out);
}

static void print_run(char letter, const struct report *r, const char *file, FILE *out)
{
	char plain[80], name[sizeof(r->name)];

	report_plain(file, plain, sizeof(plain));
	report_plain(r->name, name, sizeof(name));
	fprintf(out, "%c: %s (%s%s%.3f s on %u CPU%s)\n", letter, plain, name, name[0] ? ", " : "",
		(double)r->wall_ns / 1e9, r->nr_cpus, r->nr_cpus == 1 ? "" : "s");
}

void report_print_diff(const struct report *a, const char *a_name, const struct report *b,
		       const char *b_name, FILE *out)
{
	const struct report *const runs[2] = { a, b };

	print_run('A', a, a_name, out);
	print_run('B', b, b_name, out);
	print_totals(runs, out);
	print_reasons(runs, out);
	print_sites(runs, out);
	print_kvm(runs, out);
	print_stages(runs, out);
	print_functions(runs, out);
}
