/* SPDX-License-Identifier: MIT */
/* Exits as stacks: device, register, guest function, its caller. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

/* A name from outside as a frame: ';' would end it, and a space is better none. */
static void clean(char *frame, const char *name)
{
	report_plain(name, frame, FLAME_NAME);
	for (; *frame; frame++)
		if (*frame == ';' || *frame == ' ')
			*frame = '_';
}

static void frame_unknown(char *frame, uint64_t addr)
{
	snprintf(frame, FLAME_NAME, "(unknown 0x%" PRIx64 ")", addr);
}

/* The two frames of an access. */
static void frames_site(struct flame_stack *s, const struct report_site *site)
{
	if (!site->device[0]) {
		strcpy(s->frame[0], "(nobody)");
		report_site_name(site, s->frame[1], FLAME_NAME);
		return;
	}
	clean(s->frame[0], site->device);
	if (site->reg[0])
		clean(s->frame[1], site->reg);
	else
		strcpy(s->frame[1], "(no register)");
}

static void frames_hot(struct flame_stack *s, const struct report_hot *h)
{
	struct report_site site;
	unsigned depth;

	if (report_hot_site(h, &site)) {
		frames_site(s, &site);
		depth = 2;
	} else {
		clean(s->frame[0], h->reason);
		depth = 1;
	}
	if (h->function[0])
		clean(s->frame[depth], h->function);
	else
		frame_unknown(s->frame[depth], h->rip);
	depth++;
	if (h->caller_kind == REPORT_CALLER_NONE)
		return;
	if (h->caller[0])
		clean(s->frame[depth], h->caller);
	else
		frame_unknown(s->frame[depth], h->caller_rip);
	if (h->caller_kind == REPORT_CALLER_GUESS)
		strcat(s->frame[depth], "?");
}

static size_t from_profile(const struct report_profile *p, struct flame_stack *out)
{
	for (size_t i = 0; i < p->nr_hot; i++) {
		frames_hot(&out[i], &p->hot[i]);
		out[i].count = p->hot[i].count;
		out[i].total_ns = p->hot[i].total_ns;
	}
	if (!p->lost)
		return p->nr_hot;
	strcpy(out[p->nr_hot].frame[0], "(lost)");
	out[p->nr_hot].count = p->lost;
	out[p->nr_hot].total_ns = p->lost_ns;
	return p->nr_hot + 1;
}

static size_t from_counts(const struct report_cpu *cpu, struct flame_stack *out)
{
	size_t n = 0;

	for (size_t i = 0; i < cpu->nr_sites; i++, n++) {
		frames_site(&out[n], &cpu->sites[i]);
		out[n].count = cpu->sites[i].count;
		out[n].total_ns = cpu->sites[i].total_ns;
	}
	for (size_t i = 0; i < cpu->nr_reasons; i++) {
		const struct report_reason *r = &cpu->reasons[i];

		if (report_is_access(r->name))
			continue; /* the sites have them */
		clean(out[n].frame[0], r->name);
		out[n].count = r->time.count;
		out[n].total_ns = r->time.total_ns;
		n++;
	}
	return n;
}

static int compare_stacks(const void *a, const void *b)
{
	const struct flame_stack *x = a, *y = b;
	int order = 0;

	for (unsigned i = 0; i < FLAME_DEPTH && !order; i++)
		order = strcmp(x->frame[i], y->frame[i]);
	return order;
}

int flame_stacks(const struct report *r, struct flame_stack **out, size_t *nr)
{
	size_t most = r->profile.nr_hot + r->total.nr_sites + r->total.nr_reasons + 1, all;
	struct flame_stack *s = calloc(most, sizeof(*s));

	if (!s)
		return -ENOMEM;
	all = r->profile.nr_hot ? from_profile(&r->profile, s) : from_counts(&r->total, s);
	qsort(s, all, sizeof(*s), compare_stacks);
	*nr = 0;
	for (size_t i = 0; i < all; i++) {
		if (!*nr || compare_stacks(&s[*nr - 1], &s[i])) {
			s[(*nr)++] = s[i];
			continue;
		}
		s[*nr - 1].count = sum_sat(s[*nr - 1].count, s[i].count);
		s[*nr - 1].total_ns = sum_sat(s[*nr - 1].total_ns, s[i].total_ns);
	}
	*out = s;
	return 0;
}

int report_print_folded(const struct report *r, enum report_weight weight, FILE *out)
{
	struct flame_stack *stacks;
	size_t nr;
	int ret = flame_stacks(r, &stacks, &nr);

	if (ret)
		return ret;
	for (size_t i = 0; i < nr; i++) {
		const struct flame_stack *s = &stacks[i];
		uint64_t n = weight == REPORT_BY_TIME ? s->total_ns : s->count;

		if (!n)
			continue;
		fputs(s->frame[0], out);
		for (unsigned k = 1; k < FLAME_DEPTH && s->frame[k][0]; k++)
			fprintf(out, ";%s", s->frame[k]);
		fprintf(out, " %" PRIu64 "\n", n);
	}
	free(stacks);
	return ferror(out) ? -EIO : 0;
}
