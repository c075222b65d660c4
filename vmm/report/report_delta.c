/* SPDX-License-Identifier: MIT */
/* What happened between two reports of one machine. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

typedef int compare_fn(const void *a, const void *b);

/* Copies nr rows of size; room for one more, so that no row at all is no failure. */
static void *copy_rows(const void *rows, size_t nr, size_t size)
{
	void *copy = calloc(nr + 1, size);

	if (copy && nr)
		memcpy(copy, rows, nr * size);
	return copy;
}

static void sort_rows(void *rows, size_t nr, size_t size, compare_fn *compare)
{
	if (nr)
		qsort(rows, nr, size, compare);
}

static const void *find_row(const void *key, const void *rows, size_t nr, size_t size,
			    compare_fn *compare)
{
	return nr ? bsearch(key, rows, nr, size, compare) : NULL;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* The percentiles and the maximum stay those of the whole run. */
static void subtract_time(struct report_time *after, const struct report_time *before)
{
	after->count = diff_sat(after->count, before->count);
	after->total_ns = diff_sat(after->total_ns, before->total_ns);
}

/* --- reasons ------------------------------------------------------------------ */

static int delta_reasons(const struct report_cpu *before, const struct report_cpu *after,
			 struct report_cpu *out)
{
	out->reasons = copy_rows(after->reasons, after->nr_reasons, sizeof(*out->reasons));
	if (!out->reasons)
		return -ENOMEM;
	for (size_t i = 0; i < after->nr_reasons; i++) {
		struct report_reason *to = &out->reasons[out->nr_reasons];
		const struct report_reason *from = report_reason(before, after->reasons[i].name);

		*to = after->reasons[i];
		if (from)
			subtract_time(&to->time, &from->time);
		out->nr_reasons += to->time.count != 0;
	}
	return 0;
}

/* --- sites -------------------------------------------------------------------- */

static int compare_sites(const void *a, const void *b)
{
	const struct report_site *x = a, *y = b;

	if (x->addr != y->addr)
		return compare_u64(x->addr, y->addr);
	if (x->mmio != y->mmio)
		return x->mmio - y->mmio;
	if (x->write != y->write)
		return x->write - y->write;
	return compare_u64(x->width, y->width);
}

static int delta_sites(const struct report_cpu *before, const struct report_cpu *after,
		       struct report_cpu *out)
{
	struct report_site *old = copy_rows(before->sites, before->nr_sites, sizeof(*old));

	out->sites = copy_rows(after->sites, after->nr_sites, sizeof(*out->sites));
	if (!old || !out->sites) {
		free(old);
		return -ENOMEM;
	}
	sort_rows(old, before->nr_sites, sizeof(*old), compare_sites);
	for (size_t i = 0; i < after->nr_sites; i++) {
		struct report_site *to = &out->sites[out->nr_sites];
		const struct report_site *from = find_row(&after->sites[i], old, before->nr_sites,
							  sizeof(*old), compare_sites);

		*to = after->sites[i];
		if (from) {
			to->count = diff_sat(to->count, from->count);
			to->accesses = diff_sat(to->accesses, from->accesses);
			to->total_ns = diff_sat(to->total_ns, from->total_ns);
		}
		out->nr_sites += to->count || to->accesses;
	}
	free(old);
	return 0;
}

static int delta_cpu(const struct report_cpu *before, const struct report_cpu *after,
		     struct report_cpu *out)
{
	int ret = delta_reasons(before, after, out);

	out->run_ns = diff_sat(after->run_ns, before->run_ns);
	return ret ? ret : delta_sites(before, after, out);
}

static int delta_cpus(const struct report *before, const struct report *after, struct report *out)
{
	static const struct report_cpu none;
	int ret = 0;

	out->cpus = calloc((size_t)after->nr_cpus + 1, sizeof(*out->cpus));
	if (!out->cpus)
		return -ENOMEM;
	out->nr_cpus = after->nr_cpus;
	for (unsigned i = 0; i < after->nr_cpus && !ret; i++)
		ret = delta_cpu(i < before->nr_cpus ? &before->cpus[i] : &none, &after->cpus[i],
				&out->cpus[i]);
	return ret ? ret : delta_cpu(&before->total, &after->total, &out->total);
}

/* --- KVM ---------------------------------------------------------------------- */

/* Those of KVM's x86 statistics that say how things are, not how often something happened. */
static bool is_level(const char *name)
{
	static const char *const levels[] = {
		"blocking",          "guest_mode", "max_mmu_page_hash_collisions",
		"max_mmu_rmap_size", "mmu_unsync", "nx_lpage_splits",
		"pages_1g",          "pages_2m",   "pages_4k",
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (!strcmp(name, levels[i]))
			return true;
	return false;
}

static int compare_counters(const void *a, const void *b)
{
	const struct report_counter *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int delta_counters(const struct report_counters *before, const struct report_counters *after,
			  struct report_counters *out)
{
	struct report_counter *old = copy_rows(before->list, before->nr, sizeof(*old));

	out->list = copy_rows(after->list, after->nr, sizeof(*out->list));
	if (!old || !out->list) {
		free(old);
		return -ENOMEM;
	}
	out->nr = after->nr;
	sort_rows(old, before->nr, sizeof(*old), compare_counters);
	for (size_t i = 0; i < after->nr; i++) {
		const struct report_counter *from =
			find_row(&after->list[i], old, before->nr, sizeof(*old), compare_counters);

		if (from && !is_level(from->name))
			out->list[i].value = diff_sat(out->list[i].value, from->value);
	}
	free(old);
	return 0;
}

/* --- stages ------------------------------------------------------------------- */

static int compare_stages(const void *a, const void *b)
{
	const struct report_stage *x = a, *y = b;
	int by_disk = strcmp(x->disk, y->disk);

	return by_disk ? by_disk : strcmp(x->name, y->name);
}

static int delta_stages(const struct report *before, const struct report *after, struct report *out)
{
	struct report_stage *old = copy_rows(before->stages, before->nr_stages, sizeof(*old));

	out->stages = copy_rows(after->stages, after->nr_stages, sizeof(*out->stages));
	if (!old || !out->stages) {
		free(old);
		return -ENOMEM;
	}
	sort_rows(old, before->nr_stages, sizeof(*old), compare_stages);
	for (size_t i = 0; i < after->nr_stages; i++) {
		struct report_stage *to = &out->stages[out->nr_stages];
		const struct report_stage *from = find_row(
			&after->stages[i], old, before->nr_stages, sizeof(*old), compare_stages);

		*to = after->stages[i];
		if (from)
			subtract_time(&to->time, &from->time);
		out->nr_stages += to->time.count != 0;
	}
	free(old);
	return 0;
}

/* --- the profile -------------------------------------------------------------- */

static int compare_hot(const void *a, const void *b)
{
	const struct report_hot *x = a, *y = b;
	int order;

	if (x->rip != y->rip)
		return compare_u64(x->rip, y->rip);
	if (x->caller_rip != y->caller_rip)
		return compare_u64(x->caller_rip, y->caller_rip);
	if (x->addr != y->addr)
		return compare_u64(x->addr, y->addr);
	order = strcmp(x->reason, y->reason);
	if (!order)
		order = strcmp(x->device, y->device);
	return order ? order : strcmp(x->reg, y->reg);
}

static int delta_profile(const struct report_profile *before, const struct report_profile *after,
			 struct report_profile *out)
{
	struct report_hot *old = copy_rows(before->hot, before->nr_hot, sizeof(*old));

	*out = *after;
	out->lost = diff_sat(after->lost, before->lost);
	out->lost_ns = diff_sat(after->lost_ns, before->lost_ns);
	out->nr_hot = 0;
	out->hot = copy_rows(after->hot, after->nr_hot, sizeof(*out->hot));
	if (!old || !out->hot) {
		free(old);
		return -ENOMEM;
	}
	sort_rows(old, before->nr_hot, sizeof(*old), compare_hot);
	for (size_t i = 0; i < after->nr_hot; i++) {
		struct report_hot *to = &out->hot[out->nr_hot];
		const struct report_hot *from =
			find_row(&after->hot[i], old, before->nr_hot, sizeof(*old), compare_hot);

		*to = after->hot[i];
		if (from) {
			to->count = diff_sat(to->count, from->count);
			to->total_ns = diff_sat(to->total_ns, from->total_ns);
		}
		out->nr_hot += to->count != 0;
	}
	free(old);
	return 0;
}

/* --- lookahead ---------------------------------------------------------------- */

static int compare_ahead(const void *a, const void *b)
{
	const struct report_ahead_site *x = a, *y = b;

	if (x->rip != y->rip)
		return compare_u64(x->rip, y->rip);
	if (x->addr != y->addr)
		return compare_u64(x->addr, y->addr);
	return x->write - y->write;
}

static int delta_ahead(const struct report_ahead *before, const struct report_ahead *after,
		       struct report_ahead *out)
{
	struct report_ahead_site *old = copy_rows(before->sites, before->nr_sites, sizeof(*old));

	*out = *after;
	out->runs = diff_sat(after->runs, before->runs);
	out->avoided = diff_sat(after->avoided, before->avoided);
	out->insns = diff_sat(after->insns, before->insns);
	out->total_ns = diff_sat(after->total_ns, before->total_ns);
	out->turned_off = diff_sat(after->turned_off, before->turned_off);
	out->end_expected = diff_sat(after->end_expected, before->end_expected);
	out->end_unknown = diff_sat(after->end_unknown, before->end_unknown);
	out->end_refused = diff_sat(after->end_refused, before->end_refused);
	out->end_interrupt = diff_sat(after->end_interrupt, before->end_interrupt);
	out->end_bound = diff_sat(after->end_bound, before->end_bound);
	out->nr_sites = 0;
	out->sites = copy_rows(after->sites, after->nr_sites, sizeof(*out->sites));
	if (!old || !out->sites) {
		free(old);
		return -ENOMEM;
	}
	sort_rows(old, before->nr_sites, sizeof(*old), compare_ahead);
	for (size_t i = 0; i < after->nr_sites; i++) {
		struct report_ahead_site *to = &out->sites[out->nr_sites];
		const struct report_ahead_site *from = find_row(
			&after->sites[i], old, before->nr_sites, sizeof(*old), compare_ahead);

		*to = after->sites[i];
		if (from) {
			to->exits = diff_sat(to->exits, from->exits);
			to->runs = diff_sat(to->runs, from->runs);
			to->avoided = diff_sat(to->avoided, from->avoided);
		}
		out->nr_sites += to->exits || to->avoided;
	}
	free(old);
	return 0;
}

int report_delta(const struct report *before, const struct report *after, struct report *out)
{
	int ret;

	memset(out, 0, sizeof(*out));
	memcpy(out->name, after->name, sizeof(out->name));
	out->running = after->running;
	out->wall_ns = diff_sat(after->wall_ns, before->wall_ns);
	out->has_kvm = after->has_kvm;
	out->kernel_io = diff_sat(after->kernel_io, before->kernel_io);
	out->kernel_mmio = diff_sat(after->kernel_mmio, before->kernel_mmio);
	out->doorbells = diff_sat(after->doorbells, before->doorbells);
	out->posted = diff_sat(after->posted, before->posted);
	ret = delta_cpus(before, after, out);
	if (!ret)
		ret = delta_counters(&before->kvm_vm, &after->kvm_vm, &out->kvm_vm);
	if (!ret)
		ret = delta_counters(&before->kvm_vcpu, &after->kvm_vcpu, &out->kvm_vcpu);
	if (!ret)
		ret = delta_stages(before, after, out);
	if (!ret)
		ret = delta_profile(&before->profile, &after->profile, &out->profile);
	if (!ret)
		ret = delta_ahead(&before->ahead, &after->ahead, &out->ahead);
	if (ret)
		report_free(out);
	return ret;
}
