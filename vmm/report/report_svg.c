/* SPDX-License-Identifier: MIT */
/*
 * A flame graph of exits, hanging from its root: devices, below them their registers,
 * below those the guest's functions and their callers; as wide as their share. One
 * file, of SVG 1.1 with a script for zoom and search, which works without either.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

/* Pixels */
#define IMAGE_WIDTH 1200
#define MARGIN 10
#define WIDTH (IMAGE_WIDTH - 2 * MARGIN)
#define TOP 44
#define ROW 19
#define HEIGHT (TOP + ROW * (FLAME_DEPTH + 1) + 30)
#define CHAR_WIDTH 6.7 /* of a monospaced font of 11 pixels */
#define TEXT_MARGIN 8
#define TOO_NARROW 0.1 /* to be drawn */

struct drawing {
	FILE *out;
	enum report_weight weight;
	uint64_t count, total_ns; /* of the root */
	double scale; /* pixels for an exit or a nanosecond */
};

static const char style[] =
	"<style>\n"
	"text { font: 11px 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1a1a1a; }\n"
	"#title { font-size: 14px; }\n"
	"#details, #search { fill: #555; }\n"
	"#search, .f { cursor: pointer; }\n"
	".f rect { stroke: #fff; stroke-width: 0.5; }\n"
	".f text { pointer-events: none; }\n"
	".f:hover rect { stroke: #1a1a1a; stroke-width: 1; }\n"
	".above { opacity: 0.5; }\n"
	".hidden { display: none; }\n"
	".found rect { fill: #e04fe0; }\n"
	"</style>\n";

/* Frames are in the order of a walk, so what lies below a frame follows it. */
static const char script[] =
	"(function () {\n"
	"  'use strict';\n"
	"  var frames = Array.prototype.map.call(document.querySelectorAll('.f'), function (g) {\n"
	"    var rect = g.querySelector('rect'), lines = "
	"g.querySelector('title').textContent.split('\\n');\n"
	"    return { g: g, rect: rect, text: g.querySelector('text'), name: lines[0], lines: "
	"lines,\n"
	"      x: +rect.getAttribute('x'), y: +rect.getAttribute('y'), w: "
	"+rect.getAttribute('width') };\n"
	"  });\n"
	"  var root = frames[0], details = document.getElementById('details');\n"
	"  var search = document.getElementById('search'), slack = 0.05;\n"
	"\n"
	"  function place(f, x, w) {\n"
	"    var n = Math.floor((w - text_margin) / char_width);\n"
	"    f.rect.setAttribute('x', x);\n"
	"    f.rect.setAttribute('width', w);\n"
	"    f.text.setAttribute('x', x + text_margin / 2);\n"
	"    f.text.textContent = n >= f.name.length ? f.name : n < 3 ? '' : f.name.slice(0, n - "
	"2) + '..';\n"
	"  }\n"
	"  function zoom(to) {\n"
	"    frames.forEach(function (f) {\n"
	"      var inside = f.y >= to.y && f.x >= to.x - slack && f.x + f.w <= to.x + to.w + "
	"slack;\n"
	"      var above = f.y < to.y && f.x <= to.x + slack && f.x + f.w >= to.x + to.w - slack;\n"
	"      f.g.classList.toggle('hidden', !inside && !above);\n"
	"      f.g.classList.toggle('above', above);\n"
	"      if (inside)\n"
	"        place(f, root.x + (f.x - to.x) * root.w / to.w, f.w * root.w / to.w);\n"
	"      else if (above)\n"
	"        place(f, root.x, root.w);\n"
	"    });\n"
	"  }\n"
	"  function find(what) {\n"
	"    var width = 0, end = 0;\n"
	"    frames.forEach(function (f) {\n"
	"      var found = what !== '' && f.name.toLowerCase().indexOf(what.toLowerCase()) >= 0;\n"
	"      f.g.classList.toggle('found', found);\n"
	"      if (found && f.x >= end - slack) {\n"
	"        width += f.w;\n"
	"        end = f.x + f.w;\n"
	"      }\n"
	"    });\n"
	"    search.textContent = what === '' ? 'search' : what + ': ' + (100 * width / "
	"root.w).toFixed(1) + '%';\n"
	"  }\n"
	"  frames.forEach(function (f) {\n"
	"    f.g.addEventListener('click', function () { zoom(f); });\n"
	"    f.g.addEventListener('mouseover', function () { details.textContent = f.lines.join(', "
	"'); });\n"
	"    f.g.addEventListener('mouseout', function () { details.textContent = ''; });\n"
	"  });\n"
	"  search.addEventListener('click', function () {\n"
	"    find(window.prompt('Mark the frames whose name has this in it (nothing: none):', '') "
	"|| '');\n"
	"  });\n"
	"})();\n";

/* n characters of s, which is printable ASCII. */
static void put_text(FILE *out, const char *s, size_t n)
{
	for (; *s && n; s++, n--) {
		switch (*s) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		default:
			fputc(*s, out);
		}
	}
}

/* FNV-1a */
static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

/* A channel of the colour of that hue (0 to 6): fully there for two sixths of the circle. */
static unsigned channel(double hue, double offset, double lightness)
{
	double k = hue + offset < 6 ? hue + offset : hue + offset - 6;
	double part = k < 3 ? 2 - k : k - 4;

	part = part < 0 ? 0 : part > 1 ? 1 : part;
	return (unsigned)(255 * (lightness + (part - 0.5) * 0.9 * (1 - lightness)));
}

/* A hue a device; what lies below it differs a little, so that neighbours can be told apart. */
static unsigned colour(const char *device, const char *name, unsigned depth)
{
	double hue = hash(device) % 600 / 100.0;
	double lightness = 0.68 + 0.03 * depth + (hash(name) % 8) * 0.008;

	return channel(hue, 0, lightness) << 16 | channel(hue, 4, lightness) << 8 |
	       channel(hue, 2, lightness);
}

struct box {
	const char *name;
	uint64_t count, total_ns;
	double x, width;
	unsigned row;
	unsigned colour;
};

static void draw_box(const struct drawing *d, const struct box *b)
{
	double room = (b->width - TEXT_MARGIN) / CHAR_WIDTH;
	size_t len = strlen(b->name), fits = room > 0 ? (size_t)room : 0;
	unsigned y = TOP + b->row * ROW;

	fputs("<g class=\"f\"><title>", d->out);
	put_text(d->out, b->name, len);
	fprintf(d->out, "\n%" PRIu64 " exits (%.1f%%)\n%.3f ms (%.1f%%)</title>", b->count,
		percent(b->count, d->count), ms(b->total_ns), percent(b->total_ns, d->total_ns));
	fprintf(d->out,
		"<rect x=\"%.1f\" y=\"%u\" width=\"%.1f\" height=\"%d\" rx=\"1\" fill=\"#%06x\"/>",
		b->x, y, b->width, ROW - 1, b->colour);
	fprintf(d->out, "<text x=\"%.1f\" y=\"%u\">", b->x + TEXT_MARGIN / 2.0, y + 13);
	if (fits >= len) {
		put_text(d->out, b->name, len);
	} else if (fits >= 3) {
		put_text(d->out, b->name, fits - 2);
		fputs("..", d->out);
	}
	fputs("</text></g>\n", d->out);
}

/* What is left of nr stacks that agree up to depth, from x on. */
static void draw_level(const struct drawing *d, const struct flame_stack *stacks, size_t nr,
		       unsigned depth, double x)
{
	size_t next;

	for (size_t i = 0; i < nr && depth < FLAME_DEPTH; i = next) {
		struct box b = { .name = stacks[i].frame[depth], .x = x, .row = depth + 1 };

		for (next = i; next < nr && !strcmp(stacks[next].frame[depth], b.name); next++) {
			b.count = sum_sat(b.count, stacks[next].count);
			b.total_ns = sum_sat(b.total_ns, stacks[next].total_ns);
		}
		b.width = d->scale * (double)(d->weight == REPORT_BY_TIME ? b.total_ns : b.count);
		x += b.width;
		if (!b.name[0] || b.width < TOO_NARROW)
			continue;
		b.colour = colour(stacks[i].frame[0], b.name, depth);
		draw_box(d, &b);
		draw_level(d, &stacks[i], next - i, depth + 1, b.x);
	}
}

static void draw_head(const struct drawing *d, const struct report *r)
{
	char name[sizeof(r->name)];

	fprintf(d->out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"%d\" "
		"height=\"%d\" "
		"viewBox=\"0 0 %d %d\">\n",
		IMAGE_WIDTH, HEIGHT, IMAGE_WIDTH, HEIGHT);
	fputs(style, d->out);
	fputs("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", d->out);
	fprintf(d->out, "<text id=\"title\" x=\"%d\" y=\"24\">exits of ", MARGIN);
	report_plain(r->name, name, sizeof(name));
	put_text(d->out, name[0] ? name : "a machine", sizeof(name));
	fprintf(d->out, " by %s: device, register%s</text>\n",
		d->weight == REPORT_BY_TIME ? "time" : "count",
		r->profile.nr_hot ? ", guest function, its caller" : "");
	fprintf(d->out, "<text id=\"search\" x=\"%d\" y=\"24\" text-anchor=\"end\">search</text>\n",
		IMAGE_WIDTH - MARGIN);
	fprintf(d->out, "<text id=\"details\" x=\"%d\" y=\"%d\"> </text>\n", MARGIN, HEIGHT - 12);
}

int report_print_svg(const struct report *r, enum report_weight weight, FILE *out)
{
	struct drawing d = { .out = out, .weight = weight };
	struct box root = { .name = "all", .x = MARGIN, .width = WIDTH, .colour = 0xd8d8d8 };
	struct flame_stack *stacks;
	uint64_t whole;
	size_t nr;
	int ret = flame_stacks(r, &stacks, &nr);

	if (ret)
		return ret;
	for (size_t i = 0; i < nr; i++) {
		d.count = sum_sat(d.count, stacks[i].count);
		d.total_ns = sum_sat(d.total_ns, stacks[i].total_ns);
	}
	whole = weight == REPORT_BY_TIME ? d.total_ns : d.count;
	d.scale = whole ? WIDTH / (double)whole : 0;
	root.count = d.count;
	root.total_ns = d.total_ns;
	draw_head(&d, r);
	draw_box(&d, &root);
	draw_level(&d, stacks, nr, 0, MARGIN);
	fprintf(out,
		"<script>\n<![CDATA[\nvar char_width = %.1f, text_margin = %d;\n%s]]>\n</script>\n",
		CHAR_WIDTH, TEXT_MARGIN, script);
	fputs("</svg>\n", out);
	free(stacks);
	return ferror(out) ? -EIO : 0;
}
