/* SPDX-License-Identifier: MIT */
#include "vmm/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cpu/exit.h"
#include "cpu/vcpu.h"

static uint64_t monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

void report_start(struct report_start *start)
{
	start->ticks = acct_now();
	start->ns = monotonic();
}

static void take_cpu(struct report_cpu *out, const struct acct *a, uint64_t wall_ns,
		     uint64_t wall_ticks)
{
	for (unsigned i = 0; i < ACCT_NR_ROWS; i++) {
		out->rows[i].count = acct_get(&a->rows[i].count);
		out->rows[i].ns = mul_div(acct_get(&a->rows[i].ticks), wall_ns, wall_ticks);
		out->rows[i].max_ns = mul_div(acct_get(&a->rows[i].max), wall_ns, wall_ticks);
	}
	out->run_ns = mul_div(acct_get(&a->run_ticks), wall_ns, wall_ticks);
	out->accesses = acct_get(&a->accesses);
}

static void add_cpu(struct report_cpu *total, const struct report_cpu *cpu)
{
	for (unsigned i = 0; i < ACCT_NR_ROWS; i++) {
		total->rows[i].count += cpu->rows[i].count;
		total->rows[i].ns += cpu->rows[i].ns;
		total->rows[i].max_ns = max_u64(total->rows[i].max_ns, cpu->rows[i].max_ns);
	}
	total->run_ns += cpu->run_ns;
	total->accesses += cpu->accesses;
}

/* KVM older than 5.14 has no statistics: the report then has ours alone. */
static void take_kvm(struct report *r, const struct vcpu *vcpus, int vm_fd)
{
	if (kvmstats_read(vm_fd, &r->vm))
		return;
	if (kvmstats_read(vcpus[0].fd, &r->vcpu)) {
		kvmstats_free(&r->vm);
		return;
	}
	for (unsigned i = 1; i < r->nr_cpus; i++) {
		struct kvmstats more;

		if (kvmstats_read(vcpus[i].fd, &more))
			continue;
		kvmstats_add(&r->vcpu, &more);
		kvmstats_free(&more);
	}
	r->has_kvm = true;
}

int report_take(struct report *r, const struct report_start *start, struct vcpu *vcpus,
		unsigned nr_cpus, int vm_fd)
{
	uint64_t wall_ticks = acct_now() - start->ticks;

	memset(r, 0, sizeof(*r));
	r->wall_ns = monotonic() - start->ns;
	r->nr_cpus = nr_cpus;
	r->cpus = calloc(nr_cpus, sizeof(*r->cpus));
	if (!r->cpus)
		return -ENOMEM;
	for (unsigned i = 0; i < nr_cpus; i++) {
		take_cpu(&r->cpus[i], &vcpus[i].acct, r->wall_ns, max_u64(wall_ticks, 1));
		add_cpu(&r->total, &r->cpus[i]);
	}
	take_kvm(r, vcpus, vm_fd);
	return 0;
}

void report_free(struct report *r)
{
	kvmstats_free(&r->vm);
	kvmstats_free(&r->vcpu);
	free(r->cpus);
	memset(r, 0, sizeof(*r));
}

static uint64_t total_count(const struct report_cpu *cpu)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < ACCT_NR_ROWS; i++)
		n += cpu->rows[i].count;
	return n;
}

static uint64_t total_ns(const struct report_cpu *cpu)
{
	uint64_t ns = 0;

	for (unsigned i = 0; i < ACCT_NR_ROWS; i++)
		ns += cpu->rows[i].ns;
	return ns;
}

static void print_rows(const struct report_cpu *cpu, FILE *out)
{
	bool done[ACCT_NR_ROWS] = { false };
	uint64_t all = max_u64(total_ns(cpu), 1);

	/* By the time they took: what costs most comes first. */
	for (;;) {
		int best = -1;

		for (int i = 0; i < ACCT_NR_ROWS; i++)
			if (!done[i] && cpu->rows[i].count &&
			    (best < 0 || cpu->rows[i].ns > cpu->rows[best].ns))
				best = i;
		if (best < 0)
			break;
		done[best] = true;

		const struct report_row *row = &cpu->rows[best];

		fprintf(out, "%-16s %10" PRIu64 " %12.3f %10.2f %10.1f %6.1f%%\n",
			exit_row_name((unsigned)best), row->count, (double)row->ns / 1e6,
			(double)row->ns / 1e3 / (double)row->count, (double)row->max_ns / 1e3,
			100.0 * (double)row->ns / (double)all);
	}
}

/* Those of KVM's counters that say what exits it handled by itself, and why. */
static void print_kvm(const struct report *r, FILE *out)
{
	static const char *const names[] = {
		"exits",        "io_exits",       "mmio_exits",       "halt_exits",
		"irq_exits",    "irq_injections", "irq_window_exits", "nmi_injections",
		"signal_exits", "hypercalls",     "insn_emulation",   "request_irq_exits",
		"pf_taken",     "pf_fixed",       "tlb_flush",        "host_state_reload",
	};
	unsigned n = 0;

	fprintf(out, "\nKVM's own counters (exits that it handled by itself included):\n");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t v = kvmstats_get(&r->vcpu, names[i]);

		if (v)
			fprintf(out, "%s%-18s %10" PRIu64,
				n++ % 3 ? "   "
				: n > 1 ? "\n"
					: "",
				names[i], v);
	}
	fputc('\n', out);
}

void report_print(const struct report *r, FILE *out)
{
	fprintf(out,
		"\nbantam: %" PRIu64 " exits to user space in %.3f s on %u CPU%s: %.3f s in the "
		"guest and KVM, %.3f s in bantam\n\n",
		total_count(&r->total), (double)r->wall_ns / 1e9, r->nr_cpus,
		r->nr_cpus > 1 ? "s" : "", (double)r->total.run_ns / 1e9,
		(double)total_ns(&r->total) / 1e9);
	fprintf(out, "%-16s %10s %12s %10s %10s %7s\n", "exit", "count", "total ms", "mean us",
		"max us", "share");
	print_rows(&r->total, out);
	if (r->nr_cpus > 1) {
		fprintf(out, "\n%-16s %10s %12s %12s\n", "CPU", "exits", "bantam ms", "guest ms");
		for (unsigned i = 0; i < r->nr_cpus; i++)
			fprintf(out, "%-16u %10" PRIu64 " %12.3f %12.3f\n", i,
				total_count(&r->cpus[i]), (double)total_ns(&r->cpus[i]) / 1e6,
				(double)r->cpus[i].run_ns / 1e6);
	}
	if (r->has_kvm)
		print_kvm(r, out);
}

static cJSON *cpu_json(const struct report_cpu *cpu)
{
	cJSON *obj = cJSON_CreateObject();
	cJSON *rows = cJSON_AddObjectToObject(obj, "reasons");

	cJSON_AddNumberToObject(obj, "exits", (double)total_count(cpu));
	cJSON_AddNumberToObject(obj, "user_ns", (double)total_ns(cpu));
	cJSON_AddNumberToObject(obj, "run_ns", (double)cpu->run_ns);
	cJSON_AddNumberToObject(obj, "port_accesses", (double)cpu->accesses);
	for (unsigned i = 0; i < ACCT_NR_ROWS; i++) {
		cJSON *row;

		if (!cpu->rows[i].count)
			continue;
		row = cJSON_AddObjectToObject(rows, exit_row_name(i));
		cJSON_AddNumberToObject(row, "count", (double)cpu->rows[i].count);
		cJSON_AddNumberToObject(row, "user_ns", (double)cpu->rows[i].ns);
		cJSON_AddNumberToObject(row, "max_ns", (double)cpu->rows[i].max_ns);
	}
	return obj;
}

static cJSON *stats_json(const struct kvmstats *s)
{
	cJSON *obj = cJSON_CreateObject();

	for (size_t i = 0; i < s->nr; i++)
		cJSON_AddNumberToObject(obj, s->stats[i].name, (double)s->stats[i].value);
	return obj;
}

static cJSON *report_json(const struct report *r)
{
	cJSON *root = cJSON_CreateObject();
	cJSON *cpus = cJSON_AddArrayToObject(root, "cpus");

	cJSON_AddNumberToObject(root, "version", 1);
	cJSON_AddNumberToObject(root, "wall_ns", (double)r->wall_ns);
	cJSON_AddItemToObject(root, "total", cpu_json(&r->total));
	for (unsigned i = 0; i < r->nr_cpus; i++)
		cJSON_AddItemToArray(cpus, cpu_json(&r->cpus[i]));
	if (r->has_kvm) {
		cJSON *kvm = cJSON_AddObjectToObject(root, "kvm");

		cJSON_AddItemToObject(kvm, "vm", stats_json(&r->vm));
		cJSON_AddItemToObject(kvm, "vcpu", stats_json(&r->vcpu));
	}
	return root;
}

int report_write_json(const struct report *r, int fd)
{
	cJSON *root = report_json(r);
	char *text = cJSON_Print(root);
	int ret;

	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	ret = util_write_all(fd, text, strlen(text));
	if (!ret)
		ret = util_write_all(fd, "\n", 1);
	cJSON_free(text);
	return ret;
}
