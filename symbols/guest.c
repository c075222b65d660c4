/* SPDX-License-Identifier: MIT */
/*
 * The running guest's own symbols, and where it has moved itself.
 *
 * A token table in RAM need not be the running kernel's: a kernel leaves copies of itself
 * behind while it is unpacked and moved, and one that ran before a reset lies there still. The one
 * that counts is mapped where its own symbols say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/kallsyms.h"
#include "symbols/modules.h"

#define MAX_CHECKS 65536 /* of token tables, in one search */
#define MAX_DECODES 16 /* of what has one */

#define KERNEL_AREA 0xffffffff80000000ull /* Linux: __START_KERNEL_map */
#define KERNEL_AREA_SIZE GIB
#define KERNEL_ALIGN (2 * MIB) /* of its place in either kind of memory */

/* How far KASLR moves a kernel. */
#define SLIDE_MAX GIB
#define SLIDE_MAX_32 (512 * MIB)

#define CR0_PE_PG 0x80000001ull
#define CR4_PAE 0x20ull
#define CR4_LA57 0x1000ull
#define EFER_LME_LMA 0x500ull

struct search {
	const struct mem *mem;
	const struct gva_space *hints;
	unsigned nr_hints;
	unsigned checks, decodes; /* left */
	struct symbols *found; /* the best so far */
	bool runs; /* found, in space */
	struct gva_space space;
};

/* --- is it what runs? ------------------------------------------------------------- */

/*
 * Whether space maps the byte at gpa, of the kernel's read-only data, as far from text as it
 * lies from that in physical memory: a kernel lies in one piece in both.
 */
static bool maps_image(const struct mem *mem, const struct gva_space *space, uint64_t text,
		       uint64_t gpa)
{
	uint64_t start, found;

	if (gva_translate(mem, space, text, &start) || gpa < start ||
	    gpa - start >= KERNEL_AREA_SIZE)
		return false;
	return !gva_translate(mem, space, text + (gpa - start), &found) && found == gpa;
}

/* With 4 or 5 levels at cr3; sets q->space where that is it. */
static bool maps_itself(struct search *q, uint64_t cr3, uint64_t text, uint64_t gpa)
{
	static const uint64_t cr4[] = { CR4_PAE, CR4_PAE | CR4_LA57 };

	for (unsigned i = 0; i < ARRAY_SIZE(cr4); i++) {
		q->space = (struct gva_space){
			.cr0 = CR0_PE_PG, .cr3 = cr3, .cr4 = cr4[i], .efer = EFER_LME_LMA
		};
		if (maps_image(q->mem, &q->space, text, gpa))
			return true;
	}
	return false;
}

enum verdict {
	RUNS,
	RUNS_NOT,
	UNKNOWN,
};

/* By the kernel's own tables: in its data, and it begins at a multiple of 2 MiB below gpa. */
static enum verdict judge_by_itself(struct search *q, const struct symbols *s, uint64_t text,
				    uint64_t gpa)
{
	uint64_t tables, start = align_down(gpa, KERNEL_ALIGN) + text % KERNEL_ALIGN;

	if (symbols_find(s, "init_top_pgt", &tables) && symbols_find(s, "init_level4_pgt", &tables))
		return UNKNOWN;
	for (uint64_t down = 0; down < KERNEL_AREA_SIZE && down <= start; down += KERNEL_ALIGN)
		if (maps_itself(q, start - down + (tables - text), text, gpa))
			return RUNS;
	return RUNS_NOT;
}

/* Of s, found at gpa; sets q->space to where it runs. */
static enum verdict judge(struct search *q, const struct symbols *s, uint64_t gpa)
{
	enum verdict verdict;
	uint64_t text;

	if (symbols_find(s, "_text", &text) && symbols_find(s, "_stext", &text))
		return UNKNOWN;
	for (unsigned i = 0; i < q->nr_hints; i++) {
		q->space = q->hints[i];
		if (maps_image(q->mem, &q->space, text, gpa))
			return RUNS;
	}
	verdict = judge_by_itself(q, s, text, gpa);
	return verdict == UNKNOWN && q->nr_hints ? RUNS_NOT : verdict;
}

/* --- the search ------------------------------------------------------------------- */

/* Copies what of its region lies around gpa; *at is where in the copy that is. */
static uint8_t *copy_around(const struct search *q, uint64_t gpa, uint64_t before, uint64_t behind,
			    size_t *len, size_t *at)
{
	for (unsigned i = 0; i < q->mem->nr_regions; i++) {
		const struct mem_region *r = &q->mem->regions[i];
		uint64_t from, to;
		uint8_t *bytes;

		if (gpa < r->gpa || gpa - r->gpa >= r->size)
			continue;
		from = gpa - r->gpa < before ? r->gpa : align_down(gpa - before, 8);
		to = r->gpa + min_u64(r->size, gpa - r->gpa + behind);
		*len = to - from;
		*at = gpa - from;
		bytes = malloc(*len);
		if (!bytes || !mem_read(q->mem, from, bytes, *len))
			return bytes;
		free(bytes);
	}
	return NULL;
}

/* Keeps s, found at gpa, or frees it. What cannot be judged is better than nothing. */
static void consider(struct search *q, struct symbols *s, uint64_t gpa)
{
	enum verdict verdict = judge(q, s, gpa);

	if (verdict == RUNS_NOT) {
		symbols_free(s);
		return;
	}
	q->runs = verdict == RUNS;
	symbols_free(q->found);
	q->found = s;
}

/* Looks at the digits at gpa. 0 to go on searching, -ENOMEM. */
static int try_digits(struct search *q, uint64_t gpa)
{
	struct symbols *s;
	uint8_t *bytes;
	size_t len, at;
	bool good;
	int ret;

	q->checks--;
	bytes = copy_around(q, gpa, KALLSYMS_TOKENS, KALLSYMS_TOKENS, &len, &at);
	if (!bytes)
		return -ENOMEM;
	good = kallsyms_check(bytes, len, at);
	free(bytes);
	if (!good)
		return 0;
	q->decodes--;
	bytes = copy_around(q, gpa, KALLSYMS_BEFORE, KALLSYMS_BEHIND, &len, &at);
	s = table_create();
	ret = bytes && s ? kallsyms_decode(bytes, len, at, s) : -ENOMEM;
	free(bytes);
	if (!ret)
		consider(q, s, gpa);
	else
		symbols_free(s);
	return ret == -ENOMEM ? ret : 0;
}

static bool is_over(const struct search *q)
{
	return q->runs || !q->checks || !q->decodes;
}

static int search_range(struct search *q, uint64_t gpa, uint64_t len)
{
	const uint8_t *p = mem_at_const(q->mem, gpa, len);
	uint64_t at = 0;

	while (p && !is_over(q)) {
		const uint8_t *digits = kallsyms_scan(p + at, len - at);
		int ret;

		if (!digits)
			break;
		ret = try_digits(q, gpa + (uint64_t)(digits - p));
		if (ret)
			return ret;
		at = align_down((uint64_t)(digits - p) + KALLSYMS_DIGITS, 8);
	}
	return 0;
}

/* Only what a hint maps as the kernel's image: quick, however much RAM there is. */
static int search_image(struct search *q, const struct gva_space *hint)
{
	uint64_t start = 0, end = 0;
	int ret = 0;

	for (uint64_t at = 0; !ret && at <= KERNEL_AREA_SIZE; at += KERNEL_ALIGN) {
		uint64_t gpa;
		bool mapped = at < KERNEL_AREA_SIZE &&
			      !gva_translate(q->mem, hint, KERNEL_AREA + at, &gpa) &&
			      gpa % KERNEL_ALIGN == 0;

		if (!mapped || gpa != end) {
			ret = search_range(q, start, end - start);
			start = end = mapped ? gpa : 0;
		}
		if (mapped)
			end += KERNEL_ALIGN;
	}
	return ret;
}

static int search_all(struct search *q)
{
	int ret = 0;

	for (unsigned i = 0; !ret && i < q->nr_hints && !is_over(q); i++)
		ret = search_image(q, &q->hints[i]);
	for (unsigned i = 0; !ret && i < q->mem->nr_regions; i++)
		if (!q->mem->regions[i].readonly)
			ret = search_range(q, q->mem->regions[i].gpa, q->mem->regions[i].size);
	if (!ret && !q->found)
		ret = -ENOENT;
	return ret;
}

int symbols_from_guest(const struct mem *mem, const struct gva_space *hints, unsigned nr_hints,
		       struct symbols **out)
{
	struct search q = {
		.mem = mem,
		.hints = hints,
		.nr_hints = nr_hints,
		.checks = MAX_CHECKS,
		.decodes = MAX_DECODES,
	};
	int ret = search_all(&q);
	uint64_t modules;

	if (!ret && q.runs && !symbols_find(q.found, "modules", &modules))
		ret = modules_add(mem, &q.space, modules, q.found);
	if (ret) {
		symbols_free(q.found);
		return ret == -ENOENT ? ret : -ENOMEM;
	}
	table_finish(q.found);
	*out = q.found;
	return 0;
}

/* --- the slide -------------------------------------------------------------------- */

static bool has_banner(const struct mem *mem, const struct gva_space *hints, unsigned nr_hints,
		       uint64_t gva)
{
	static const char banner[] = "Linux version ";
	char buf[sizeof(banner) - 1];

	for (unsigned i = 0; i < nr_hints; i++)
		if (!gva_read(mem, &hints[i], gva, buf, sizeof(buf)) &&
		    !memcmp(buf, banner, sizeof(buf)))
			return true;
	return false;
}

int symbols_find_slide(struct symbols *s, const struct mem *mem, const struct gva_space *hints,
		       unsigned nr_hints)
{
	uint64_t gva, max;

	s->slide = 0;
	if (symbols_find(s, "linux_banner", &gva))
		return -ENOENT;
	max = gva > UINT32_MAX ? SLIDE_MAX : SLIDE_MAX_32;
	for (uint64_t slide = 0; slide <= max; slide += KERNEL_ALIGN) {
		if (!has_banner(mem, hints, nr_hints, gva + slide))
			continue;
		s->slide = (int64_t)slide;
		return 0;
	}
	return -ENOENT;
}
