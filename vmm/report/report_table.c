/* SPDX-License-Identifier: MIT */
/* The tables of --exits, for 100 columns. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

enum { SITE_ROWS = 40, HOT_ROWS = 25, AHEAD_ROWS = 25 };

/* A sorted copy of nr rows, to be freed; NULL without memory. */
static void *sorted(const void *rows, size_t nr, size_t size,
		    int (*compare)(const void *a, const void *b))
{
	void *copy = calloc(nr + 1, size);

	if (!copy || !nr)
		return copy;
	memcpy(copy, rows, nr * size);
	qsort(copy, nr, size, compare);
	return copy;
}

static void print_summary(const struct report *r, FILE *out)
{
	uint64_t exits = report_exits(&r->total), user_ns = report_user_ns(&r->total);
	char name[sizeof(r->name)];

	report_plain(r->name, name, sizeof(name));
	fprintf(out, "\nbantam: %s%s%" PRIu64 " exits to user space in %.3f s on %u CPU%s%s\n",
		name, name[0] ? ": " : "", exits, (double)r->wall_ns / 1e9, r->nr_cpus,
		r->nr_cpus == 1 ? "" : "s", r->running ? ", still running" : "");
	fprintf(out,
		"bantam: %.3f ms in the guest and KVM, %.3f ms in bantam, %.2f us an exit, %.0f a "
		"second\n",
		ms(r->total.run_ns), ms(user_ns), mean_us(user_ns, exits),
		per_second(exits, r->wall_ns));
}

/* --- by reason ---------------------------------------------------------------- */

/* By the time they took: what costs most comes first. */
static int compare_reasons(const void *a, const void *b)
{
	const struct report_reason *x = a, *y = b;

	if (x->time.total_ns != y->time.total_ns)
		return x->time.total_ns < y->time.total_ns ? 1 : -1;
	if (x->time.count != y->time.count)
		return x->time.count < y->time.count ? 1 : -1;
	return strcmp(x->name, y->name);
}

static void print_reasons(const struct report_cpu *cpu, FILE *out)
{
	struct report_reason *rows =
		sorted(cpu->reasons, cpu->nr_reasons, sizeof(*rows), compare_reasons);
	uint64_t all = report_user_ns(cpu);
	char name[sizeof(cpu->reasons->name)];

	if (!rows)
		return;
	fprintf(out, "\n%-16s %12s %12s %10s %10s %10s %12s %7s\n", "exit", "count", "total ms",
		"mean us", "p50 us", "p99 us", "max us", "share");
	for (size_t i = 0; i < cpu->nr_reasons; i++) {
		const struct report_time *t = &rows[i].time;

		fprintf(out, "%-16s %12" PRIu64 " %12.3f %10.2f %10.2f %10.2f %12.1f %6.1f%%\n",
			report_plain(rows[i].name, name, sizeof(name)), t->count, ms(t->total_ns),
			mean_us(t->total_ns, t->count), us(t->p50_ns), us(t->p99_ns), us(t->max_ns),
			percent(t->total_ns, all));
	}
	free(rows);
}

/* --- by register -------------------------------------------------------------- */

static int compare_sites(const void *a, const void *b)
{
	const struct report_site *x = a, *y = b;

	if (x->total_ns != y->total_ns)
		return x->total_ns < y->total_ns ? 1 : -1;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void print_site(const struct report_site *s, uint64_t all, FILE *out)
{
	char name[80], access[32], addr[24] = "", accesses[24] = "";

	if (s->width)
		report_hex(s->addr, addr, sizeof(addr));
	if (s->accesses != s->count)
		snprintf(accesses, sizeof(accesses), "%" PRIu64, s->accesses);
	fprintf(out, "%-26s %-8s %10s %10" PRIu64 " %11s %11.3f %9.2f %6.1f%%\n",
		report_site_name(s, name, sizeof(name)), report_access(s, access, sizeof(access)),
		addr, s->count, accesses, ms(s->total_ns), mean_us(s->total_ns, s->count),
		percent(s->total_ns, all));
}

static void print_rest(const struct report_site *rows, size_t nr, FILE *out)
{
	uint64_t count = 0, ns = 0;

	for (size_t i = 0; i < nr; i++) {
		count = sum_sat(count, rows[i].count);
		ns = sum_sat(ns, rows[i].total_ns);
	}
	fprintf(out, "%zu more: %" PRIu64 " exits, %.3f ms\n", nr, count, ms(ns));
}

static void print_sites(const struct report_cpu *cpu, FILE *out)
{
	struct report_site *rows = sorted(cpu->sites, cpu->nr_sites, sizeof(*rows), compare_sites);
	uint64_t all = report_user_ns(cpu);

	if (!rows)
		return;
	if (cpu->nr_sites)
		fprintf(out, "\n%-26s %-8s %10s %10s %11s %11s %9s %7s\n", "register", "access",
			"address", "exits", "accesses", "total ms", "mean us", "share");
	for (size_t i = 0; i < cpu->nr_sites && i < SITE_ROWS; i++)
		print_site(&rows[i], all, out);
	if (cpu->nr_sites > SITE_ROWS)
		print_rest(rows + SITE_ROWS, cpu->nr_sites - SITE_ROWS, out);
	free(rows);
}

/* --- do the sums agree? --------------------------------------------------------- */

static uint64_t exits_by_site(const struct report_cpu *cpu, bool mmio)
{
	uint64_t n = 0;

	for (size_t i = 0; i < cpu->nr_sites; i++)
		if (cpu->sites[i].mmio == mmio)
			n = sum_sat(n, cpu->sites[i].count);
	return n;
}

static void print_check(const struct report *r, const char *what, bool mmio, FILE *out)
{
	uint64_t sites = exits_by_site(&r->total, mmio);
	uint64_t reasons = mmio ? report_count_of(&r->total, "mmio-read", "mmio-write")
				: report_count_of(&r->total, "io-in", "io-out");
	uint64_t kvm = report_counter(&r->kvm_vcpu, mmio ? "mmio_exits" : "io_exits");
	uint64_t alone = mmio ? r->kernel_mmio : r->kernel_io;

	fprintf(out, "%-7s %" PRIu64 " exits by register %s %" PRIu64 " by reason", what, sites,
		sites == reasons ? "=" : "!=", reasons);
	if (r->has_kvm)
		fprintf(out, "; KVM saw %" PRIu64 ", of which it served %" PRIu64 " alone", kvm,
			alone);
	fputc('\n', out);
}

static void print_checks(const struct report *r, FILE *out)
{
	fputc('\n', out);
	print_check(r, "ports:", false, out);
	print_check(r, "memory:", true, out);
	if (r->doorbells)
		fprintf(out,
			"doorbells: %" PRIu64 " accesses rang an ioeventfd in the host's kernel, "
			"with no exit to bantam\n",
			r->doorbells);
	if (r->posted)
		fprintf(out,
			"posted: %" PRIu64
			" port writes were kept back by the host's kernel, with no "
			"exit of their own\n",
			r->posted);
}

/* --- the rest ------------------------------------------------------------------- */

static void print_cpus(const struct report *r, FILE *out)
{
	if (r->nr_cpus < 2)
		return;
	fprintf(out, "\n%-16s %12s %12s %12s %12s\n", "CPU", "exits", "bantam ms", "guest ms",
		"mean us");
	for (unsigned i = 0; i < r->nr_cpus; i++) {
		uint64_t exits = report_exits(&r->cpus[i]), ns = report_user_ns(&r->cpus[i]);

		fprintf(out, "%-16u %12" PRIu64 " %12.3f %12.3f %12.2f\n", i, exits, ms(ns),
			ms(r->cpus[i].run_ns), mean_us(ns, exits));
	}
}

/* Those of KVM's counters that say what exits it handled by itself, and why. */
static void print_kvm(const struct report *r, FILE *out)
{
	static const char *const names[] = {
		"exits",
		"io_exits",
		"mmio_exits",
		"halt_exits",
		"irq_exits",
		"irq_injections",
		"irq_window_exits",
		"nmi_injections",
		"nmi_window_exits",
		"signal_exits",
		"request_irq_exits",
		"hypercalls",
		"insn_emulation",
		"insn_emulation_fail",
		"pf_taken",
		"pf_fixed",
		"tlb_flush",
		"invlpg",
		"host_state_reload",
		"halt_wakeup",
		"preemption_reported",
	};
	unsigned n = 0;

	if (!r->has_kvm)
		return;
	fputs("\nKVM's own counters (exits that it handled by itself included):", out);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t v = report_counter(&r->kvm_vcpu, names[i]);

		if (v)
			fprintf(out, "%s%-19s %10" PRIu64, n++ % 3 ? "   " : "\n", names[i], v);
	}
	fputc('\n', out);
}

static void print_stages(const struct report *r, FILE *out)
{
	char disk[sizeof(r->stages->disk)], name[sizeof(r->stages->name)];

	if (!r->nr_stages)
		return;
	fprintf(out, "\n%-16s %-24s %10s %10s %10s %10s %12s\n", "disk", "stage of a request",
		"count", "mean us", "p50 us", "p99 us", "max us");
	for (size_t i = 0; i < r->nr_stages; i++) {
		const struct report_time *t = &r->stages[i].time;

		fprintf(out, "%-16s %-24s %10" PRIu64 " %10.2f %10.2f %10.2f %12.1f\n",
			report_plain(r->stages[i].disk, disk, sizeof(disk)),
			report_plain(r->stages[i].name, name, sizeof(name)), t->count,
			mean_us(t->total_ns, t->count), us(t->p50_ns), us(t->p99_ns),
			us(t->max_ns));
	}
}

static int compare_ahead(const void *a, const void *b)
{
	const struct report_ahead_site *x = a, *y = b;

	if (x->avoided != y->avoided)
		return x->avoided < y->avoided ? 1 : -1;
	if (x->exits != y->exits)
		return x->exits < y->exits ? 1 : -1;
	if (x->rip != y->rip)
		return x->rip < y->rip ? -1 : 1;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void print_ahead_site(const struct report_ahead_site *s, FILE *out)
{
	struct report_site site = { .write = s->write, .addr = s->addr, .width = 1 };
	char name[80], code[sizeof(s->function) + 24];

	memcpy(site.device, s->device, sizeof(site.device));
	memcpy(site.reg, s->reg, sizeof(site.reg));
	report_site_name(&site, name, sizeof(name));
	fprintf(out, "%-26s %-3s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %6.1f%% ", name,
		report_direction(false, s->write), s->exits, s->runs, s->avoided,
		percent(s->avoided, sum_sat(s->exits, s->avoided)));
	if (s->function[0])
		fprintf(out, "%.30s+0x%" PRIx64 "\n", report_plain(s->function, code, sizeof(code)),
			s->offset);
	else
		fprintf(out, "%s\n", report_hex(s->rip, code, sizeof(code)));
}

static void print_ahead(const struct report_ahead *a, FILE *out)
{
	struct report_ahead_site *rows;

	if (!a->present)
		return;
	fprintf(out,
		"\nlookahead: %" PRIu64 " exits avoided in %" PRIu64 " runs, %.1f instructions and "
		"%.2f us each\n",
		a->avoided, a->runs, a->runs ? (double)a->insns / (double)a->runs : 0,
		mean_us(a->total_ns, a->runs));
	fprintf(out,
		"ended: %" PRIu64 " as expected, %" PRIu64 " unknown code, %" PRIu64
		" left to the CPU, %" PRIu64 " interrupts, %" PRIu64 " bounds\n",
		a->end_expected, a->end_unknown, a->end_refused, a->end_interrupt, a->end_bound);
	if (a->turned_off)
		fprintf(out, "it did not pay and was turned off %" PRIu64 " times, and is now %s\n",
			a->turned_off, a->on ? "on" : "off");
	rows = sorted(a->sites, a->nr_sites, sizeof(*rows), compare_ahead);
	if (!rows)
		return;
	if (a->nr_sites)
		fprintf(out, "%-30s %10s %10s %10s %7s %s\n", "register", "exits", "runs",
			"avoided", "share", "instruction");
	for (size_t i = 0; i < a->nr_sites && i < AHEAD_ROWS; i++)
		print_ahead_site(&rows[i], out);
	if (a->nr_sites > AHEAD_ROWS)
		fprintf(out, "%zu more\n", a->nr_sites - AHEAD_ROWS);
	free(rows);
}

void report_print(const struct report *r, FILE *out)
{
	print_summary(r, out);
	print_reasons(&r->total, out);
	print_sites(&r->total, out);
	print_checks(r, out);
	print_cpus(r, out);
	print_ahead(&r->ahead, out);
	print_kvm(r, out);
	print_stages(r, out);
	if (r->profile.nr_hot) {
		fputc('\n', out);
		report_print_functions(r, out, HOT_ROWS);
	}
}
