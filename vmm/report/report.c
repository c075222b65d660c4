/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/report/views.h"

static void free_cpu(struct report_cpu *cpu)
{
	free(cpu->reasons);
	free(cpu->sites);
}

void report_free(struct report *r)
{
	for (unsigned i = 0; r->cpus && i < r->nr_cpus; i++)
		free_cpu(&r->cpus[i]);
	free(r->cpus);
	free_cpu(&r->total);
	free(r->kvm_vm.list);
	free(r->kvm_vcpu.list);
	free(r->stages);
	free(r->profile.hot);
	free(r->ahead.sites);
	memset(r, 0, sizeof(*r));
}

/* --- sums -------------------------------------------------------------------- */

uint64_t report_exits(const struct report_cpu *cpu)
{
	uint64_t n = 0;

	for (size_t i = 0; i < cpu->nr_reasons; i++)
		n = sum_sat(n, cpu->reasons[i].time.count);
	return n;
}

uint64_t report_user_ns(const struct report_cpu *cpu)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < cpu->nr_reasons; i++)
		ns = sum_sat(ns, cpu->reasons[i].time.total_ns);
	return ns;
}

const struct report_reason *report_reason(const struct report_cpu *cpu, const char *name)
{
	for (size_t i = 0; i < cpu->nr_reasons; i++)
		if (!strcmp(cpu->reasons[i].name, name))
			return &cpu->reasons[i];
	return NULL;
}

uint64_t report_count_of(const struct report_cpu *cpu, const char *a, const char *b)
{
	const struct report_reason *x = report_reason(cpu, a), *y = report_reason(cpu, b);

	return sum_sat(x ? x->time.count : 0, y ? y->time.count : 0);
}

uint64_t report_counter(const struct report_counters *c, const char *name)
{
	for (size_t i = 0; i < c->nr; i++)
		if (!strcmp(c->list[i].name, name))
			return c->list[i].value;
	return 0;
}

/* --- names ------------------------------------------------------------------- */

const char *report_plain(const char *s, char *buf, size_t size)
{
	size_t n = 0;

	for (; s[n] && n + 1 < size; n++)
		buf[n] = (char)(s[n] >= ' ' && s[n] <= '~' ? s[n] : '?');
	buf[n] = '\0';
	return buf;
}

const char *report_hex(uint64_t addr, char *buf, size_t size)
{
	snprintf(buf, size, "0x%" PRIx64, addr);
	return buf;
}

const char *report_direction(bool mmio, bool write)
{
	static const char *const names[2][2] = { { "in", "out" }, { "read", "write" } };

	return names[mmio][write];
}

const char *report_access(const struct report_site *site, char *buf, size_t size)
{
	const char *direction = report_direction(site->mmio, site->write);

	if (site->width)
		snprintf(buf, size, "%s %u", direction, site->width * 8);
	else
		snprintf(buf, size, "%s", direction);
	return buf;
}

const char *report_site_name(const struct report_site *site, char *buf, size_t size)
{
	char device[sizeof(site->device)], reg[sizeof(site->reg)];

	report_plain(site->device, device, sizeof(device));
	report_plain(site->reg, reg, sizeof(reg));
	if (device[0])
		snprintf(buf, size, "%s%s%s", device, reg[0] ? "." : "", reg);
	else if (!site->width)
		snprintf(buf, size, "%s", site->mmio ? "other addresses" : "other ports");
	else
		snprintf(buf, size, "%s0x%" PRIx64, site->mmio ? "" : "port ", site->addr);
	return buf;
}

struct access {
	const char *reason;
	bool mmio, write;
};

/* NULL where the exits of a reason are no accesses. */
static const struct access *find_access(const char *reason)
{
	static const struct access accesses[] = {
		{ "io-in", false, false },
		{ "io-out", false, true },
		{ "mmio-read", true, false },
		{ "mmio-write", true, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++)
		if (!strcmp(reason, accesses[i].reason))
			return &accesses[i];
	return NULL;
}

bool report_is_access(const char *reason)
{
	return find_access(reason) != NULL;
}

bool report_hot_site(const struct report_hot *h, struct report_site *site)
{
	const struct access *access = find_access(h->reason);

	if (!access)
		return false;
	*site = (struct report_site){
		.mmio = access->mmio,
		.write = access->write,
		.addr = h->addr,
		.width = 1, /* which it was is not known: a row is of all widths */
	};
	memcpy(site->device, h->device, sizeof(site->device));
	memcpy(site->reg, h->reg, sizeof(site->reg));
	return true;
}
