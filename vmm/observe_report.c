/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/exit.h"
#include "cpu/kvmstats.h"
#include "cpu/vcpu.h"
#include "devices/virtio/virtio.h"
#include "vmm/observe_parts.h"

static void take_time(struct report_time *out, const struct hist_sum *sum,
		      const struct observe_scale *s)
{
	*out = (struct report_time){
		.count = sum->count,
		.total_ns = observe_ns(s, sum->total),
		.p50_ns = observe_ns(s, hist_percentile(sum, 50)),
		.p99_ns = observe_ns(s, hist_percentile(sum, 99)),
		.max_ns = observe_ns(s, sum->max),
	};
}

void observe_copy(char *dst, size_t size, const char *src)
{
	snprintf(dst, size, "%s", src ? src : "");
}

/* The rows of vCPUs first to first + nr, summed. */
static int take_reasons(struct report_cpu *out, const struct vcpu *vcpus, unsigned nr,
			const struct observe_scale *s)
{
	out->reasons = calloc(ACCT_NR_ROWS, sizeof(*out->reasons));
	if (!out->reasons)
		return -ENOMEM;
	for (unsigned row = 0; row < ACCT_NR_ROWS; row++) {
		struct report_reason *r = &out->reasons[out->nr_reasons];
		struct hist_sum sum = { 0 };

		for (unsigned i = 0; i < nr; i++)
			hist_collect(&sum, &vcpus[i].acct.rows[row]);
		if (!sum.count)
			continue;
		observe_copy(r->name, sizeof(r->name), exit_row_name(row));
		take_time(&r->time, &sum, s);
		out->nr_reasons++;
	}
	return 0;
}

static int compare_sites(const void *a, const void *b)
{
	const struct report_site *x = a, *y = b;

	if (x->mmio != y->mmio)
		return x->mmio - y->mmio;
	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->write != y->write)
		return x->write - y->write;
	return (int)x->width - (int)y->width;
}

/* The vCPUs' rows of the same access become one. */
static void merge_sites(struct report_cpu *cpu)
{
	size_t n = 0;

	if (!cpu->nr_sites)
		return;
	qsort(cpu->sites, cpu->nr_sites, sizeof(*cpu->sites), compare_sites);
	for (size_t i = 1; i < cpu->nr_sites; i++) {
		struct report_site *to = &cpu->sites[n], *from = &cpu->sites[i];

		if (compare_sites(to, from)) {
			cpu->sites[++n] = *from;
			continue;
		}
		to->count += from->count;
		to->accesses += from->accesses;
		to->total_ns += from->total_ns;
		to->max_ns = max_u64(to->max_ns, from->max_ns);
	}
	cpu->nr_sites = n + 1;
}

static void take_site(struct report_site *out, const struct acct_site *site,
		      const struct observe_scale *s)
{
	out->count = counter_get(&site->count);
	out->accesses = counter_get(&site->accesses);
	out->total_ns = observe_ns(s, counter_get(&site->ticks));
	out->max_ns = observe_ns(s, counter_get(&site->max));
	observe_copy(out->device, sizeof(out->device), site->device);
	observe_copy(out->reg, sizeof(out->reg), site->reg);
}

static int take_sites(struct report_cpu *out, const struct acct *a, const struct observe_scale *s)
{
	out->sites = calloc(ACCT_SITES + BUS_NR_SPACES * 2, sizeof(*out->sites));
	if (!out->sites)
		return -ENOMEM;
	for (unsigned i = 0; i < ACCT_SITES; i++) {
		uint64_t key = atomic_load_explicit(&a->sites[i].key, memory_order_acquire);
		struct report_site *site = &out->sites[out->nr_sites];

		if (!key || !counter_get(&a->sites[i].accesses))
			continue;
		site->mmio = acct_key_space(key) == BUS_MMIO;
		site->write = acct_key_write(key);
		site->addr = acct_key_addr(key);
		site->width = acct_key_width(key);
		take_site(site, &a->sites[i], s);
		out->nr_sites++;
	}
	for (unsigned i = 0; i < BUS_NR_SPACES * 2; i++) {
		const struct acct_site *lost = &a->lost[i / 2][i % 2];
		struct report_site *site = &out->sites[out->nr_sites];

		if (!counter_get(&lost->accesses))
			continue;
		site->mmio = i / 2 == BUS_MMIO;
		site->write = i % 2;
		take_site(site, lost, s);
		out->nr_sites++;
	}
	return 0;
}

static int take_cpus(struct observe *o, struct report *r, const struct observe_scale *s)
{
	size_t sites = 0;
	int ret;

	r->cpus = calloc(o->nr_vcpus, sizeof(*r->cpus));
	if (!r->cpus)
		return -ENOMEM;
	for (unsigned i = 0; i < o->nr_vcpus; i++) {
		const struct acct *a = &o->vcpus[i].acct;
		struct report_cpu *cpu = &r->cpus[r->nr_cpus++];

		cpu->run_ns = observe_ns(s, counter_get(&a->run_ticks));
		ret = take_reasons(cpu, &o->vcpus[i], 1, s);
		if (!ret)
			ret = take_sites(cpu, a, s);
		if (ret)
			return ret;
		sites += cpu->nr_sites;
	}
	ret = take_reasons(&r->total, o->vcpus, o->nr_vcpus, s);
	r->total.sites = calloc(sites + 1, sizeof(*r->total.sites));
	if (!r->total.sites)
		return -ENOMEM;
	for (unsigned i = 0; i < r->nr_cpus; i++) {
		const struct report_cpu *cpu = &r->cpus[i];

		r->total.run_ns += cpu->run_ns;
		memcpy(&r->total.sites[r->total.nr_sites], cpu->sites,
		       cpu->nr_sites * sizeof(*cpu->sites));
		r->total.nr_sites += cpu->nr_sites;
	}
	merge_sites(&r->total);
	return ret;
}

static int copy_counters(struct report_counters *out, const struct kvmstats *s)
{
	out->list = calloc(s->nr + 1, sizeof(*out->list));
	if (!out->list)
		return -ENOMEM;
	for (size_t i = 0; i < s->nr; i++) {
		observe_copy(out->list[i].name, sizeof(out->list[i].name), s->stats[i].name);
		out->list[i].value = s->stats[i].value;
	}
	out->nr = s->nr;
	return 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t count_of(const struct report *r, const char *a, const char *b)
{
	const struct report_reason *x = report_reason(&r->total, a);
	const struct report_reason *y = report_reason(&r->total, b);

	return (x ? x->time.count : 0) + (y ? y->time.count : 0);
}

/* KVM older than 5.14 has no statistics: the report then has ours alone. */
static int take_kvm(struct observe *o, struct report *r)
{
	int fd = kvmstats_open(o->vm_fd), ret;
	struct kvmstats vm, vcpu;

	if (fd < 0)
		return 0;
	ret = kvmstats_read(fd, &vm);
	close(fd);
	if (ret)
		return 0;
	if (kvmstats_read(o->vcpus[0].stats_fd, &vcpu)) {
		kvmstats_free(&vm);
		return 0;
	}
	for (unsigned i = 1; i < o->nr_vcpus; i++) {
		struct kvmstats more;

		if (kvmstats_read(o->vcpus[i].stats_fd, &more))
			continue;
		kvmstats_add(&vcpu, &more);
		kvmstats_free(&more);
	}
	r->has_kvm = true;
	ret = copy_counters(&r->kvm_vm, &vm);
	if (!ret)
		ret = copy_counters(&r->kvm_vcpu, &vcpu);
	kvmstats_free(&vm);
	kvmstats_free(&vcpu);
	r->kernel_io =
		less(report_counter(&r->kvm_vcpu, "io_exits"), count_of(r, "io-in", "io-out"));
	r->kernel_mmio = less(report_counter(&r->kvm_vcpu, "mmio_exits"),
			      count_of(r, "mmio-read", "mmio-write"));
	return ret;
}

static int take_stages(struct observe *o, struct report *r, const struct observe_scale *s)
{
	r->stages = calloc((size_t)o->nr_disks * BLOCK_NR_STAGES + 1, sizeof(*r->stages));
	if (!r->stages)
		return -ENOMEM;
	for (unsigned i = 0; i < o->nr_disks; i++) {
		for (unsigned k = 0; k < BLOCK_NR_STAGES; k++) {
			struct report_stage *stage = &r->stages[r->nr_stages];
			struct hist_sum sum = { 0 };

			hist_collect(&sum, &o->disks[i]->stage[k]);
			if (!sum.count)
				continue;
			observe_copy(stage->disk, sizeof(stage->disk), o->disks[i]->name);
			observe_copy(stage->name, sizeof(stage->name), block_stage_name(k));
			take_time(&stage->time, &sum, s);
			r->nr_stages++;
		}
	}
	return 0;
}

static uint64_t count_doorbells(const struct observe *o)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < o->nr_doorbells; i++)
		n += virtio_kicks(o->doorbells[i]);
	return less(n, counter_get(&o->bus->eventfds_fired));
}

int observe_report(struct observe *o, bool running, struct report *r)
{
	struct trace_point at;
	struct observe_scale s;
	int ret;

	memset(r, 0, sizeof(*r));
	pthread_mutex_lock(&o->lock);
	at = observe_now();
	s.ns = at.ns - o->started.ns;
	s.ticks = max_u64(at.ticks - o->started.ticks, 1);
	observe_copy(r->name, sizeof(r->name), o->name);
	r->running = running;
	r->wall_ns = s.ns;
	ret = take_cpus(o, r, &s);
	if (!ret)
		ret = take_kvm(o, r);
	r->doorbells = count_doorbells(o);
	r->posted = counter_get(&o->bus->posted);
	if (!ret)
		ret = take_stages(o, r, &s);
	if (!ret)
		ret = observe_profile(o, r, &s);
	if (!ret)
		ret = observe_ahead(o, r, &s);
	pthread_mutex_unlock(&o->lock);
	if (ret)
		report_free(r);
	return ret;
}
