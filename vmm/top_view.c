/* SPDX-License-Identifier: MIT */
#include "vmm/top_view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

/* What is looked at, and over how long. */
struct window {
	const struct top_view *view;
	const struct report *r;
	double seconds; /* 0: no time has gone by */
};

/* How often: in a second, or altogether. */
static struct top_text show_count(const struct window *w, uint64_t count)
{
	if (w->view->cumulative)
		return top_number((double)count, 0);
	return top_number(w->seconds > 0 ? (double)count / w->seconds : 0, 1);
}

static const char *count_unit(const struct window *w)
{
	return w->view->cumulative ? "" : "/s";
}

/* ns of the time of so many vCPUs. */
static struct top_text show_share(const struct window *w, uint64_t ns, unsigned cpus)
{
	return top_share((double)ns, w->seconds * 1e9 * cpus);
}

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[TOP_NR_SORTS] = { "count", "time", "name" };

	return names[sort];
}

/* --- above the tables --------------------------------------------------------------- */

static void add_title(struct top_page *p, const struct window *w, const struct report *all)
{
	const struct top_view *v = w->view;

	top_page_print(p, TOP_TITLE, "%s  up %s  %u CPU%s  %sby %s%s  every %gs%s", all->name,
		       top_uptime(all->wall_ns).s, all->nr_cpus, all->nr_cpus == 1 ? "" : "s",
		       v->cumulative ? "since its start  " : "", top_sort_name(v->sort),
		       v->reverse ? " reversed" : "", v->interval_ms / 1e3,
		       v->paused ? "  PAUSED" : "");
}

/*
 * A vCPU is in KVM_RUN whenever bantam does nothing for it: what one does not take is the
 * other's. The report's run_ns says less: it grows when KVM_RUN comes back, which in an
 * idle guest may be many intervals later.
 */
static void add_total(struct top_page *p, const struct window *w)
{
	const struct report_cpu *total = &w->r->total;
	uint64_t exits = report_exits(total), user = report_user_ns(total);
	double whole = w->seconds * 1e9 * w->r->nr_cpus;

	top_page_print(p, TOP_PLAIN, "%s exits%s  bantam %s  guest and KVM %s  mean %s",
		       show_count(w, exits).s, count_unit(w), show_share(w, user, w->r->nr_cpus).s,
		       top_share(whole - (double)user, whole).s, top_mean(user, exits).s);
}

/* A flow may take this many lines, so that the tables keep the most of a screen. */
static size_t flow_lines(const struct top_page *p)
{
	return p->rows ? 1 + p->rows / 16 : SIZE_MAX;
}

/* Each by itself, where the total is not all there is to say. */
static void add_cpus(struct top_page *p, const struct window *w)
{
	struct top_flow f;

	if (w->r->nr_cpus < 2)
		return;
	top_flow_begin(&f, p, "bantam", flow_lines(p));
	for (unsigned i = 0; i < w->r->nr_cpus; i++) {
		char word[40];

		snprintf(word, sizeof(word), "cpu%u %s", i,
			 show_share(w, report_user_ns(&w->r->cpus[i]), 1).s);
		top_flow_word(&f, word);
	}
	top_flow_end(&f);
}

/* What the host's kernel did alone, and how much it did in all. */
static void add_kvm(struct top_page *p, const struct window *w)
{
	const struct report *r = w->r;
	const struct {
		const char *name;
		uint64_t count;
	} rates[] = {
		{ "ports", r->kernel_io },
		{ "memory", r->kernel_mmio },
		{ "doorbells", r->doorbells },
		{ "halts", report_counter(&r->kvm_vcpu, "halt_exits") },
		{ "interrupts", report_counter(&r->kvm_vcpu, "irq_injections") },
		{ "all exits", report_counter(&r->kvm_vcpu, "exits") },
	};
	struct top_flow f;

	top_flow_begin(&f, p, "KVM alone", flow_lines(p));
	for (size_t i = 0; r->has_kvm && i < ARRAY_SIZE(rates); i++) {
		char word[80];

		snprintf(word, sizeof(word), "%s %s%s", rates[i].name,
			 show_count(w, rates[i].count).s, count_unit(w));
		top_flow_word(&f, word);
	}
	if (!r->has_kvm)
		top_flow_word(&f, "this host's KVM has no statistics");
	top_flow_end(&f);
}

/* --- tables ------------------------------------------------------------------------- */

enum { MAX_COLUMNS = 6, CELL_SIZE = 96 };

struct column {
	const char *title;
	unsigned width;
	unsigned beside; /* shown where so much is left for the name */
	enum { COLUMN_RIGHT, COLUMN_LEFT, COLUMN_COUNT } kind; /* COUNT: right, a rate or a sum */
};

/* A name, and of the columns as many as there is room for, from the left. */
struct table_kind {
	const char *title;
	unsigned name_max;
	struct column columns[MAX_COLUMNS]; /* up to the first of width 0 */
};

struct row {
	char name[344];
	char cell[MAX_COLUMNS][CELL_SIZE];
	uint64_t count, ns;
};

struct table {
	const struct table_kind *kind;
	struct row *rows;
	size_t nr;
	size_t shown; /* of them */
};

static const struct table_kind reasons_kind = {
	"reason",
	24,
	{ { "exits", 10, 12, COLUMN_COUNT },
	  { "% time", 6, 12, COLUMN_RIGHT },
	  { "mean", 9, 16, COLUMN_RIGHT },
	  { "p50", 9, 16, COLUMN_RIGHT },
	  { "p99", 9, 16, COLUMN_RIGHT } },
};

static const struct table_kind sites_kind = {
	"register",
	40,
	{ { "access", 8, 16, COLUMN_LEFT },
	  { "exits", 10, 16, COLUMN_COUNT },
	  { "% time", 6, 20, COLUMN_RIGHT },
	  { "mean", 9, 20, COLUMN_RIGHT },
	  { "accesses", 10, 20, COLUMN_COUNT } },
};

static const struct table_kind functions_kind = {
	"function <- caller",
	100,
	{ { "exits", 10, 16, COLUMN_COUNT },
	  { "% time", 6, 16, COLUMN_RIGHT },
	  { "mean", 9, 32, COLUMN_RIGHT },
	  { "register", 28, 56, COLUMN_LEFT } },
};

static void set_cell(struct row *row, unsigned column, const char *text)
{
	snprintf(row->cell[column], sizeof(row->cell[column]), "%s", text);
}

/* The three that every kind has, from column on. */
static void set_cost(struct row *row, unsigned column, const struct window *w)
{
	set_cell(row, column, show_count(w, row->count).s);
	set_cell(row, column + 1, show_share(w, row->ns, w->r->nr_cpus).s);
	set_cell(row, column + 2, top_mean(row->ns, row->count).s);
}

static int alloc_rows(struct table *t, const struct table_kind *kind, size_t nr)
{
	*t = (struct table){ .kind = kind, .nr = nr };
	t->rows = calloc(nr + 1, sizeof(*t->rows));
	return t->rows ? 0 : -ENOMEM;
}

static int take_reasons(struct table *t, const struct window *w)
{
	const struct report_cpu *total = &w->r->total;
	int ret = alloc_rows(t, &reasons_kind, total->nr_reasons);

	for (size_t i = 0; !ret && i < t->nr; i++) {
		const struct report_reason *reason = &total->reasons[i];
		struct row *row = &t->rows[i];

		row->count = reason->time.count;
		row->ns = reason->time.total_ns;
		snprintf(row->name, sizeof(row->name), "%s", reason->name);
		set_cost(row, 0, w);
		set_cell(row, 3, top_time((double)reason->time.p50_ns).s);
		set_cell(row, 4, top_time((double)reason->time.p99_ns).s);
	}
	return ret;
}

static int take_sites(struct table *t, const struct window *w)
{
	const struct report_cpu *total = &w->r->total;
	int ret = alloc_rows(t, &sites_kind, total->nr_sites);

	for (size_t i = 0; !ret && i < t->nr; i++) {
		const struct report_site *site = &total->sites[i];
		struct row *row = &t->rows[i];

		row->count = site->count;
		row->ns = site->total_ns;
		report_site_name(site, row->name, sizeof(row->name));
		report_access(site, row->cell[0], sizeof(row->cell[0]));
		set_cost(row, 1, w);
		set_cell(row, 4, show_count(w, site->accesses).s);
	}
	return ret;
}

static int take_functions(struct table *t, const struct window *w)
{
	struct report_function *functions;
	size_t nr;
	int ret = report_functions(w->r, false, &functions, &nr);

	if (ret)
		return ret;
	ret = alloc_rows(t, &functions_kind, nr);
	for (size_t i = 0; !ret && i < nr; i++) {
		const struct report_function *f = &functions[i];
		struct row *row = &t->rows[i];

		row->count = f->count;
		row->ns = f->total_ns;
		snprintf(row->name, sizeof(row->name), "%s <- %s", f->name, f->caller);
		set_cost(row, 0, w);
		set_cell(row, 3, f->site);
	}
	free(functions);
	return ret;
}

/* In the order that the user wants; the same rows always come in the same one. */
static int compare_rows(const void *a, const void *b, void *opaque)
{
	const struct row *x = a, *y = b;
	const struct top_view *v = opaque;
	uint64_t kx = v->sort == TOP_BY_TIME ? x->ns : x->count;
	uint64_t ky = v->sort == TOP_BY_TIME ? y->ns : y->count;
	int order = 0;

	if (v->sort != TOP_BY_NAME && kx != ky)
		order = kx > ky ? -1 : 1;
	if (!order)
		order = strcmp(x->name, y->name);
	if (!order)
		order = memcmp(x->cell, y->cell, sizeof(x->cell));
	return v->reverse ? -order : order;
}

/* --- a table on the page -------------------------------------------------------------- */

struct layout {
	const struct table_kind *kind;
	unsigned columns;
	int name_width;
};

/* An endless page is as wide as its names. */
static struct layout lay_out(const struct table *t, const struct top_page *p)
{
	struct layout l = { .kind = t->kind };
	unsigned taken = 0, room;

	for (; l.columns < MAX_COLUMNS && t->kind->columns[l.columns].width; l.columns++) {
		const struct column *c = &t->kind->columns[l.columns];

		if (taken + 1 + c->width + c->beside > p->cols)
			break;
		taken += 1 + c->width;
	}
	room = p->cols > taken ? p->cols - taken : 1;
	if (!p->rows) {
		size_t longest = strlen(t->kind->title);

		for (size_t i = 0; i < t->nr; i++)
			longest = max_u64(longest, strlen(t->rows[i].name));
		room = (unsigned)min_u64(room, longest);
	}
	l.name_width = (int)min_u64(room, t->kind->name_max);
	return l;
}

/* Appends text in that many columns; what is cut ends in '~'. */
static void append(char *line, size_t size, const char *text, int width, bool left)
{
	size_t n = strlen(line);
	bool cut = strlen(text) > (size_t)width;

	snprintf(line + n, size - n, left ? "%s%-*.*s%s" : "%s%*.*s%s", n ? " " : "",
		 cut ? width - 1 : width, cut ? width - 1 : width, text, cut ? "~" : "");
}

static void add_row(struct top_page *p, enum top_style style, const struct layout *l,
		    const char *name, const char (*cells)[CELL_SIZE])
{
	char line[TOP_MAX_COLS + 64] = "";

	append(line, sizeof(line), name, l->name_width, true);
	for (unsigned i = 0; i < l->columns; i++)
		append(line, sizeof(line), cells[i], (int)l->kind->columns[i].width,
		       l->kind->columns[i].kind == COLUMN_LEFT);
	top_page_add(p, style, line);
}

static void add_table(struct top_page *p, const struct window *w, const struct table *t)
{
	struct layout l = lay_out(t, p);
	char titles[MAX_COLUMNS][CELL_SIZE];

	for (unsigned i = 0; i < l.columns; i++)
		snprintf(titles[i], sizeof(titles[i]), "%s%s", t->kind->columns[i].title,
			 t->kind->columns[i].kind == COLUMN_COUNT ? count_unit(w) : "");
	add_row(p, TOP_HEADING, &l, t->kind->title, titles);
	for (size_t i = 0; i < t->shown; i++)
		add_row(p, TOP_PLAIN, &l, t->rows[i].name, t->rows[i].cell);
}

/* --- all of it ------------------------------------------------------------------------ */

enum { TABLE_REASONS, TABLE_SITES, TABLE_FUNCTIONS, NR_TABLES };

/*
 * Each table gets its title and a row, in their order; then row after row in turn, so
 * that what a short one does not need goes to the others. A table that gets no row is left out.
 */
static void share_rows(struct table tables[NR_TABLES], size_t room)
{
	bool given = true;

	for (unsigned i = 0; i < NR_TABLES; i++) {
		tables[i].shown = tables[i].nr && room >= 2;
		room -= tables[i].shown ? 2 : 0;
	}
	while (room && given) {
		given = false;
		for (unsigned i = 0; i < NR_TABLES && room; i++) {
			if (!tables[i].shown || tables[i].shown == tables[i].nr)
				continue;
			tables[i].shown++;
			room--;
			given = true;
		}
	}
}

/* Why there are no functions to see. */
static void add_profile_state(struct top_page *p, const struct report *all)
{
	if (!all->profile.on)
		top_page_print(p, TOP_HEADING,
			       p->rows ? "hot functions: the profile is off; p switches it on"
				       : "hot functions: the profile is off; "
					 "bantam profile %s on switches it on",
			       all->name);
	else
		top_page_add(p, TOP_HEADING, "hot functions: no exits");
}

static int add_tables(struct top_page *p, const struct window *w, const struct report *all,
		      size_t below)
{
	struct table tables[NR_TABLES] = { 0 };
	int ret = take_reasons(&tables[TABLE_REASONS], w);

	if (!ret)
		ret = take_sites(&tables[TABLE_SITES], w);
	if (!ret)
		ret = take_functions(&tables[TABLE_FUNCTIONS], w);
	for (unsigned i = 0; !ret && i < NR_TABLES; i++)
		qsort_r(tables[i].rows, tables[i].nr, sizeof(*tables[i].rows), compare_rows,
			(void *)w->view);
	if (!ret) {
		bool state = !tables[TABLE_FUNCTIONS].nr;

		share_rows(tables, top_page_left(p) - min_u64(top_page_left(p), below + state));
		for (unsigned i = 0; i < NR_TABLES; i++)
			if (tables[i].shown)
				add_table(p, w, &tables[i]);
		if (state)
			add_profile_state(p, all);
	}
	for (unsigned i = 0; i < NR_TABLES; i++)
		free(tables[i].rows);
	return ret;
}

static void add_help(struct top_page *p)
{
	static const char *const lines[] = {
		"q      quit",
		"s      sort by time, name, count",
		"r      reverse the order",
		"c      counts since the start, or rates",
		"p      profile: hot functions, on or off",
		"+ -    a longer, a shorter interval",
		"space  hold the picture, or go on",
		"h ?    this",
		"",
		"% time: in bantam, of all vCPUs' time; the rest is the guest's and KVM's.",
		"p50 and p99: of the whole run.",
		"KVM alone: what the host's kernel served itself; all exits: that it saw.",
		"A caller with a ? is a guess from what lies on the stack.",
	};

	top_page_add(p, TOP_HEADING, "keys");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		top_page_add(p, TOP_PLAIN, lines[i]);
}

static int add_body(struct top_page *p, const struct top_view *v, const struct report *all,
		    const struct report *recent)
{
	const struct report *r = v->cumulative ? all : recent;
	const struct window w = { v, r, (double)r->wall_ns / 1e9 };

	add_title(p, &w, all);
	if (v->help) {
		add_help(p);
		return 0;
	}
	add_total(p, &w);
	add_cpus(p, &w);
	add_kvm(p, &w);
	return add_tables(p, &w, all, p->rows ? 1 : 0);
}

/* The last row of a screen is the keys', whatever the body took. */
static void add_footer(struct top_page *p, const struct top_view *v)
{
	p->nr = min_u64(p->nr, p->rows - 1);
	while (!p->failed && top_page_left(p) > 1)
		top_page_add(p, TOP_PLAIN, "");
	top_page_add(p, TOP_TITLE,
		     v->note ? v->note : "q quit  s sort  r reverse  p profile  c counts  h help");
}

int top_view_render(const struct top_view *v, const struct report *all, const struct report *recent,
		    unsigned rows, unsigned cols, struct top_page *page)
{
	int ret = 0;

	top_page_begin(page, rows, cols);
	if (rows && (rows < TOP_MIN_ROWS || cols < TOP_MIN_COLS)) {
		top_page_print(page, TOP_PLAIN, "needs %dx%d", TOP_MIN_COLS, TOP_MIN_ROWS);
	} else {
		ret = add_body(page, v, all, recent);
		if (rows)
			add_footer(page, v);
	}
	return ret ? ret : page->failed ? -ENOMEM : 0;
}
