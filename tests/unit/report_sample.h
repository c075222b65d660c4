/* SPDX-License-Identifier: MIT */
/*
 * A report made by hand, with something in every field: two CPUs, ports and memory, KVM's
 * counters, a disk's stages, a profile with exact, guessed and missing callers.
 */
#ifndef TESTS_UNIT_REPORT_SAMPLE_H
#define TESTS_UNIT_REPORT_SAMPLE_H

#include <stdlib.h>
#include <string.h>

#include "vmm/report/report.h"

static inline void *sample_list(const void *rows, size_t size)
{
	void *p = malloc(size);

	if (!p)
		abort();
	return memcpy(p, rows, size);
}

#define SAMPLE_LIST(list, nr, ...)                               \
	do {                                                     \
		const typeof(*(list)) rows_[] = { __VA_ARGS__ }; \
		(list) = sample_list(rows_, sizeof(rows_));      \
		(nr) = ARRAY_SIZE(rows_);                        \
	} while (0)

static inline void sample_cpus(struct report *r)
{
	r->nr_cpus = 2;
	r->cpus = calloc(2, sizeof(*r->cpus));
	if (!r->cpus)
		abort();
	r->cpus[0].run_ns = 3000000000;
	r->cpus[1].run_ns = 1500000000;
	SAMPLE_LIST(r->cpus[0].reasons, r->cpus[0].nr_reasons,
		    { "io-out", { 900, 4500000, 4000, 9000, 60000 } },
		    { "mmio-write", { 500, 1500000, 2900, 5000, 40000 } }, );
	SAMPLE_LIST(r->cpus[1].reasons, r->cpus[1].nr_reasons,
		    { "io-in", { 300, 900000, 2500, 8000, 50000 } },
		    { "signal", { 2, 700000, 300000, 400000, 400000 } }, );
	SAMPLE_LIST(
		r->cpus[0].sites, r->cpus[0].nr_sites,
		{ false, true, 0x3f8, 1, "uart0", "thr", 800, 800, 4000000, 60000 },
		{ false, true, 0x80, 1, "", "", 100, 100, 500000, 9000 },
		{ true, true, 0xc0003000, 2, "virtio-blk0", "notify", 500, 500, 1500000, 40000 }, );
	SAMPLE_LIST(r->cpus[1].sites, r->cpus[1].nr_sites,
		    { false, false, 0x1f0, 2, "ide0", "", 300, 76800, 900000, 50000 }, );
	r->total.run_ns = 4500000000;
	SAMPLE_LIST(r->total.reasons, r->total.nr_reasons,
		    { "io-in", { 300, 900000, 2500, 8000, 50000 } },
		    { "io-out", { 900, 4500000, 4000, 9000, 60000 } },
		    { "mmio-write", { 500, 1500000, 2900, 5000, 40000 } },
		    { "signal", { 2, 700000, 300000, 400000, 400000 } }, );
	SAMPLE_LIST(
		r->total.sites, r->total.nr_sites,
		{ false, true, 0x80, 1, "", "", 100, 100, 500000, 9000 },
		{ false, false, 0x1f0, 2, "ide0", "", 300, 76800, 900000, 50000 },
		{ false, true, 0x3f8, 1, "uart0", "thr", 800, 800, 4000000, 60000 },
		{ true, true, 0xc0003000, 2, "virtio-blk0", "notify", 500, 500, 1500000, 40000 }, );
}

static inline void sample_profile(struct report_profile *p)
{
	*p = (struct report_profile){
		.present = true,
		.on = true,
		.symbols = "the guest's own kallsyms: 51234 functions, 678 of them in modules",
		.lost = 5,
		.lost_ns = 20000,
	};
	SAMPLE_LIST(p->hot, p->nr_hot,
		    { 0xffffffffc0123456, "vp_notify", "virtio_pci", 0x16, 0xffffffffc0100042,
		      "virtqueue_notify", REPORT_CALLER_EXACT, "mmio-write", "virtio-blk0",
		      "notify", 0xc0003000, 480, 1440000 },
		    { 0xffffffff81612345, "serial8250_console_putchar", "", 0x35,
		      0xffffffff81601111, "uart_console_write", REPORT_CALLER_GUESS, "io-out",
		      "uart0", "thr", 0x3f8, 500, 2500000 },
		    { 0xffffffff81612347, "serial8250_console_putchar", "", 0x37,
		      0xffffffff81601111, "uart_console_write", REPORT_CALLER_GUESS, "io-out",
		      "uart0", "thr", 0x3f8, 250, 1250000 },
		    { 0xffffffff81000010, "", "", 0, 0xffffffff81000999, "", REPORT_CALLER_GUESS,
		      "io-out", "", "", 0x80, 90, 450000 },
		    { 0x7ffe12345678, "", "", 0, 0, "", REPORT_CALLER_NONE, "signal", "", "", 0, 2,
		      700000 }, );
}

/* Ends the program where memory runs out. report_free() afterwards. */
static inline void report_sample(struct report *r)
{
	*r = (struct report){
		.name = "sample",
		.running = true,
		.wall_ns = 5000000000,
		.has_kvm = true,
		.kernel_io = 60,
		.kernel_mmio = 3,
		.doorbells = 55,
		.posted = 5,
	};
	sample_cpus(r);
	SAMPLE_LIST(r->kvm_vm.list, r->kvm_vm.nr, { "remote_tlb_flush", 17 },
		    { "pages_4k", 4096 }, );
	SAMPLE_LIST(r->kvm_vcpu.list, r->kvm_vcpu.nr, { "exits", 25000 }, { "io_exits", 1260 },
		    { "mmio_exits", 503 }, { "halt_exits", 3100 }, { "signal_exits", 2 }, );
	SAMPLE_LIST(r->stages, r->nr_stages,
		    { "virtio-blk0", "kick-popped", { 1000, 5000000, 4900, 11000, 90000 } },
		    { "virtio-blk0", "total", { 1000, 95000000, 91000, 180000, 990000 } }, );
	sample_profile(&r->profile);
	r->ahead = (struct report_ahead){
		.present = true,
		.on = true,
		.runs = 700,
		.avoided = 4200,
		.insns = 42000,
		.total_ns = 2100000,
		.turned_off = 1,
		.end_expected = 600,
		.end_unknown = 50,
		.end_refused = 30,
		.end_interrupt = 15,
		.end_bound = 5,
	};
	SAMPLE_LIST(r->ahead.sites, r->ahead.nr_sites,
		    { 0xffffffffc0222222, true, 0x1f2, "ide0", "sector-count", "ata_sff_tf_load",
		      "libata", 0x42, 800, 650, 4000 },
		    { 0xffffffff81000010, false, 0x80, "", "", "", "", 0, 100, 50, 200 }, );
}

/* What a view prints, to be freed. */
static inline char *report_text(void (*view)(const struct report *r, FILE *out),
				const struct report *r)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	view(r, out);
	if (fclose(out))
		abort();
	return text;
}

#endif
