/* SPDX-License-Identifier: MIT */
#include "vmm/top_page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* --- the page ------------------------------------------------------------------- */

void top_page_begin(struct top_page *p, unsigned rows, unsigned cols)
{
	p->rows = rows;
	p->cols = (unsigned)min_u64(cols, TOP_MAX_COLS);
	p->nr = 0;
	p->failed = false;
}

void top_page_free(struct top_page *p)
{
	free(p->lines);
	memset(p, 0, sizeof(*p));
}

static bool grow(struct top_page *p)
{
	size_t room = p->room ? p->room * 2 : 64;
	struct top_line *lines = reallocarray(p->lines, room, sizeof(*lines));

	if (!lines) {
		p->failed = true;
		return false;
	}
	p->lines = lines;
	p->room = room;
	return true;
}

/* Every line comes through here: nothing gets out that is wider or could move a cursor. */
void top_page_add(struct top_page *p, enum top_style style, const char *text)
{
	struct top_line *line;
	size_t n = 0;

	if (p->failed || !top_page_left(p) || (p->nr == p->room && !grow(p)))
		return;
	line = &p->lines[p->nr++];
	line->style = style;
	for (; n < p->cols && text[n]; n++)
		line->text[n] = (char)(text[n] >= ' ' && text[n] <= '~' ? text[n] : '?');
	while (n && line->text[n - 1] == ' ')
		n--;
	line->text[n] = '\0';
}

void top_page_print(struct top_page *p, enum top_style style, const char *fmt, ...)
{
	char text[TOP_MAX_COLS + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	top_page_add(p, style, text);
}

size_t top_page_left(const struct top_page *p)
{
	return p->rows ? p->rows - p->nr : SIZE_MAX;
}

/* --- flows ---------------------------------------------------------------------- */

void top_flow_begin(struct top_flow *f, struct top_page *p, const char *label, size_t max)
{
	*f = (struct top_flow){ .page = p, .max = max };
	f->indent = min_u64((size_t)snprintf(f->text, sizeof(f->text), "%-10s", label),
			    sizeof(f->text) - 1);
	f->len = f->indent;
}

static void append(struct top_flow *f, const char *word)
{
	f->len += (size_t)snprintf(f->text + f->len, sizeof(f->text) - f->len, "  %s", word);
	f->len = min_u64(f->len, sizeof(f->text) - 1);
}

void top_flow_word(struct top_flow *f, const char *word)
{
	bool last = f->lines + 1 == f->max;
	size_t end = f->len + 2 + strlen(word) + (last ? strlen("  ...") : 0);
	bool fits = f->len == f->indent || end <= f->page->cols;

	if (f->lines == f->max)
		return;
	if (!fits && !last)
		top_flow_end(f);
	append(f, fits || !last ? word : "...");
	if (!fits && last)
		top_flow_end(f);
}

void top_flow_end(struct top_flow *f)
{
	if (f->len == f->indent || f->lines == f->max)
		return;
	top_page_add(f->page, TOP_PLAIN, f->text);
	f->lines++;
	memset(f->text, ' ', f->indent);
	f->len = f->indent;
}

/* --- numbers -------------------------------------------------------------------- */

struct top_text top_number(double v, int decimals)
{
	static const char units[] = "MGTPE";
	struct top_text t;
	size_t unit = 0;

	if (v < 1e9) {
		snprintf(t.s, sizeof(t.s), "%.*f", v < 100 ? decimals : 0, v);
		return t;
	}
	for (v /= 1e6; v >= 1e6 && units[unit + 1]; unit++)
		v /= 1e3;
	snprintf(t.s, sizeof(t.s), "%.1f%c", v < 999999 ? v : 999999, units[unit]);
	return t;
}

struct top_text top_time(double ns)
{
	struct top_text t;

	if (ns < 1e3)
		snprintf(t.s, sizeof(t.s), "%.0fns", ns);
	else if (ns < 1e6)
		snprintf(t.s, sizeof(t.s), "%.2fus", ns / 1e3);
	else if (ns < 1e9)
		snprintf(t.s, sizeof(t.s), "%.2fms", ns / 1e6);
	else
		snprintf(t.s, sizeof(t.s), "%.2fs", ns < 1e14 ? ns / 1e9 : 99999.99);
	return t;
}

struct top_text top_mean(uint64_t total_ns, uint64_t count)
{
	return count ? top_time((double)total_ns / (double)count) : (struct top_text){ "-" };
}

struct top_text top_share(double part, double whole)
{
	double share = whole > 0 && part > 0 ? 100 * part / whole : 0;
	struct top_text t;

	snprintf(t.s, sizeof(t.s), "%.*f%%", share < 10 ? 2 : 1, share < 999.9 ? share : 999.9);
	return t;
}

struct top_text top_uptime(uint64_t ns)
{
	uint64_t s = ns / NSEC_PER_SEC;
	struct top_text t;

	if (s < 86400)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 ":%02u:%02u", s / 3600,
			 (unsigned)(s / 60 % 60), (unsigned)(s % 60));
	else
		snprintf(t.s, sizeof(t.s), "%" PRIu64 "d %02u:%02u", s / 86400,
			 (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60));
	return t;
}
