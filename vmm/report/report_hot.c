/* SPDX-License-Identifier: MIT */
/* Hot functions: the profile as a person reads it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

/* Names longer than these are cut, so that the columns meet. */
enum { NAME_WIDTH = 36, SITE_WIDTH = 28 };

static void name_function(const struct report_hot *h, char *buf, size_t size)
{
	char function[sizeof(h->function)], module[sizeof(h->module)];

	if (!h->function[0]) {
		report_hex(h->rip, buf, size);
		return;
	}
	report_plain(h->function, function, sizeof(function));
	report_plain(h->module, module, sizeof(module));
	if (module[0])
		snprintf(buf, size, "%s [%s]", function, module);
	else
		snprintf(buf, size, "%s", function);
}

static void name_site(const struct report_hot *h, char *buf, size_t size)
{
	struct report_site site;
	char name[80];

	if (report_hot_site(h, &site))
		snprintf(buf, size, "%s %s", report_direction(site.mmio, site.write),
			 report_site_name(&site, name, sizeof(name)));
	else
		report_plain(h->reason, buf, size);
}

static void name_caller(const struct report_hot *h, char *buf, size_t size)
{
	char name[sizeof(h->caller)];

	if (h->caller_kind == REPORT_CALLER_NONE) {
		snprintf(buf, size, "-");
		return;
	}
	if (h->caller[0])
		report_plain(h->caller, name, sizeof(name));
	else
		report_hex(h->caller_rip, name, sizeof(name));
	snprintf(buf, size, "%s%s", name, h->caller_kind == REPORT_CALLER_GUESS ? "?" : "");
}

static int compare_names(const void *a, const void *b)
{
	const struct report_function *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	if (!order)
		order = strcmp(x->site, y->site);
	return order ? order : strcmp(x->caller, y->caller);
}

static int compare_cost(const void *a, const void *b)
{
	const struct report_function *x = a, *y = b;

	if (x->total_ns != y->total_ns)
		return x->total_ns < y->total_ns ? 1 : -1;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return compare_names(x, y);
}

/* Sorted rows: those of the same names become one. Returns how many are left. */
static size_t merge(struct report_function *rows, size_t nr)
{
	size_t n = 0;

	for (size_t i = 0; i < nr; i++) {
		if (!n || compare_names(&rows[n - 1], &rows[i])) {
			rows[n++] = rows[i];
			continue;
		}
		rows[n - 1].count = sum_sat(rows[n - 1].count, rows[i].count);
		rows[n - 1].total_ns = sum_sat(rows[n - 1].total_ns, rows[i].total_ns);
	}
	return n;
}

int report_functions(const struct report *r, bool names_only, struct report_function **out,
		     size_t *nr)
{
	const struct report_profile *p = &r->profile;
	struct report_function *rows = calloc(p->nr_hot + 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < p->nr_hot; i++) {
		const struct report_hot *h = &p->hot[i];

		rows[i].count = h->count;
		rows[i].total_ns = h->total_ns;
		name_function(h, rows[i].name, sizeof(rows[i].name));
		if (names_only)
			continue;
		name_site(h, rows[i].site, sizeof(rows[i].site));
		name_caller(h, rows[i].caller, sizeof(rows[i].caller));
	}
	qsort(rows, p->nr_hot, sizeof(*rows), compare_names);
	*nr = merge(rows, p->nr_hot);
	qsort(rows, *nr, sizeof(*rows), compare_cost);
	*out = rows;
	return 0;
}

/* --- the table ---------------------------------------------------------------- */

/* s in a column of that width, cut with a '~' where it is longer. */
static void print_cell(const char *s, size_t width, FILE *out)
{
	size_t len = strlen(s);

	if (len > width)
		fprintf(out, " %.*s~", (int)width - 1, s);
	else
		fprintf(out, " %-*s", (int)width, s);
}

static void print_row(const struct report_function *row, uint64_t exits, uint64_t ns,
		      const size_t *widths, FILE *out)
{
	fprintf(out, "%7" PRIu64 " %8.2f %5.1f %5.1f", row->count, ms(row->total_ns),
		percent(row->count, exits), percent(row->total_ns, ns));
	print_cell(row->name, widths[0], out);
	print_cell(row->site, widths[1], out);
	fprintf(out, " %s\n", row->caller);
}

/* Shares are those of exits and ns. */
static void print_rows(const struct report_function *rows, size_t nr, uint64_t exits, uint64_t ns,
		       FILE *out)
{
	size_t widths[2] = { 8, 8 };
	bool guess = false;

	for (size_t i = 0; i < nr; i++) {
		widths[0] = max_u64(widths[0], min_u64(strlen(rows[i].name), NAME_WIDTH));
		widths[1] = max_u64(widths[1], min_u64(strlen(rows[i].site), SITE_WIDTH));
		guess |= strchr(rows[i].caller, '?') != NULL;
	}
	fprintf(out, "%7s %8s %5s %5s %-*s %-*s %s\n", "exits", "time ms", "exit%", "time%",
		(int)widths[0], "function", (int)widths[1], "register", "caller");
	for (size_t i = 0; i < nr; i++)
		print_row(&rows[i], exits, ns, widths, out);
	if (guess)
		fputs("?: a guess: something on the stack that looks like a return address\n", out);
}

static void print_head(const struct report *r, uint64_t exits, uint64_t ns, FILE *out)
{
	const struct report_profile *p = &r->profile;
	char symbols[sizeof(p->symbols)];

	report_plain(p->symbols, symbols, sizeof(symbols));
	fprintf(out, "hot functions: %" PRIu64 " of %" PRIu64 " exits profiled, %.3f ms\n", exits,
		report_exits(&r->total), ms(ns));
	if (symbols[0])
		fprintf(out, "names from %s\n", symbols);
	else
		fputs("no names: no symbols were found\n", out);
	if (p->lost)
		fprintf(out,
			"lost: %" PRIu64 " exits, %.3f ms, found no place in the profile's table\n",
			p->lost, ms(p->lost_ns));
}

void report_print_functions(const struct report *r, FILE *out, size_t max)
{
	uint64_t exits = r->profile.lost, ns = r->profile.lost_ns;
	struct report_function *rows;
	size_t nr, shown;

	if (report_functions(r, false, &rows, &nr)) {
		fputs("hot functions: out of memory\n", out);
		return;
	}
	for (size_t i = 0; i < nr; i++) {
		exits = sum_sat(exits, rows[i].count);
		ns = sum_sat(ns, rows[i].total_ns);
	}
	shown = max && max < nr ? max : nr;
	print_head(r, exits, ns, out);
	print_rows(rows, shown, exits, ns, out);
	if (shown < nr)
		fprintf(out, "%zu more\n", nr - shown);
	free(rows);
}

void report_print_hot(const struct report *r, FILE *out, size_t max)
{
	if (!r->profile.present)
		fputs("no profile: it was not switched on in this run\n", out);
	else if (!r->profile.nr_hot)
		fputs("an empty profile: no exit has happened since it was switched on\n", out);
	else
		report_print_functions(r, out, max);
}
