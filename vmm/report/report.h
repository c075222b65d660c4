/* SPDX-License-Identifier: MIT */
/*
 * What the guest's exits cost, as a value: taken from a machine (vmm/observe.h), or
 * read from JSON (docs/exits.md), and shown in one of many ways. Everything in here is a
 * copy; strings are in the arrays themselves. Not shared between threads.
 *
 * All times are nanoseconds.
 */
#ifndef VMM_REPORT_REPORT_H
#define VMM_REPORT_REPORT_H

#include <stdio.h>

#include "base/err.h"
#include "base/util.h"

struct report_time {
	uint64_t count;
	uint64_t total_ns;
	uint64_t p50_ns;
	uint64_t p99_ns;
	uint64_t max_ns;
};

struct report_reason {
	char name[32]; /* "io-out", "mmio-read", "signal" */
	struct report_time time; /* in user space: from KVM_RUN's return to its next call */
};

/* One address, accessed in one direction with one width. */
struct report_site {
	bool mmio; /* else a port */
	bool write;
	uint64_t addr;
	unsigned
		width; /* bytes; 0: all that found no place in the table (space and direction hold) */
	char device[32]; /* "uart0"; "": nobody answers there */
	char reg[32]; /* "thr"; "": the device does not say */
	uint64_t count; /* exits */
	uint64_t accesses; /* elements of strings counted each */
	uint64_t total_ns;
	uint64_t max_ns;
};

struct report_cpu {
	struct report_reason *reasons; /* those with a count */
	size_t nr_reasons;
	struct report_site *sites;
	size_t nr_sites;
	uint64_t run_ns; /* inside KVM_RUN: the guest, and KVM on its behalf */
};

struct report_counter {
	char name[64];
	uint64_t value;
};

struct report_counters {
	struct report_counter *list;
	size_t nr;
};

/* How sure the caller of a function is. */
enum report_caller {
	REPORT_CALLER_NONE, /* none was found */
	REPORT_CALLER_GUESS, /* something on the stack that looks like a return address */
	REPORT_CALLER_EXACT, /* the call before the return address leads to this very function */
};

/* Exits of one reason, of one guest instruction, called from one place, on one register. */
struct report_hot {
	uint64_t rip;
	char function[128]; /* "vp_notify"; "": no symbol is known for rip */
	char module[64]; /* "virtio_pci"; "": the kernel itself */
	uint64_t offset; /* of rip in function */
	uint64_t caller_rip; /* the return address; 0 with REPORT_CALLER_NONE */
	char caller[128]; /* "" as above */
	enum report_caller caller_kind;
	char reason[32];
	char device[32]; /* of the register accessed; "" for none */
	char reg[32];
	uint64_t addr; /* likewise */
	uint64_t count;
	uint64_t total_ns;
};

struct report_profile {
	bool present; /* there was one in this run */
	bool on; /* it is running */
	char symbols
		[128]; /* where names come from: "the guest's own kallsyms, ...", "" for nowhere */
	uint64_t lost; /* exits that found no place in its table */
	uint64_t lost_ns;
	struct report_hot *hot; /* unordered */
	size_t nr_hot;
};

/* How long the block requests of a disk spent between two points of their way. */
struct report_stage {
	char disk[32]; /* "virtio-blk0" */
	char name[32]; /* "kick-popped", "submitted-completed", ..., "total" */
	struct report_time time;
};

/* An access of a guest's instruction to a port, under --coalesce lookahead. */
struct report_ahead_site {
	uint64_t rip;
	bool write;
	uint64_t addr; /* the port */
	char device[32]; /* as in a site */
	char reg[32];
	char function[128]; /* as in a profile's row */
	char module[64];
	uint64_t offset;
	uint64_t exits; /* to user space */
	uint64_t runs; /* that began behind it */
	uint64_t avoided; /* its accesses in runs, each an exit less */
};

struct report_ahead {
	bool present; /* this machine looks ahead */
	bool on; /* on some CPU it does at the moment; else it does not pay */
	uint64_t runs;
	uint64_t avoided;
	uint64_t insns;
	uint64_t total_ns; /* of the runs, without what the devices took */
	uint64_t turned_off; /* how often it was found not to pay */
	/* What ended the runs. */
	uint64_t end_expected; /* no more accesses were expected */
	uint64_t end_unknown; /* an instruction that lookahead does not know */
	uint64_t end_refused; /* one that only the CPU may do */
	uint64_t end_interrupt; /* or a pause */
	uint64_t end_bound;
	struct report_ahead_site *sites; /* unordered */
	size_t nr_sites;
};

struct report {
	char name[64]; /* the machine's */
	bool running; /* taken while it ran */
	uint64_t wall_ns; /* since the guest first ran */
	unsigned nr_cpus;
	struct report_cpu *cpus;
	struct report_cpu total;
	bool has_kvm; /* this host's KVM gives its statistics */
	struct report_counters kvm_vm;
	struct report_counters kvm_vcpu; /* of all vCPUs together */
	uint64_t kernel_io; /* port accesses that the host's kernel served alone (has_kvm) */
	uint64_t kernel_mmio;
	uint64_t doorbells; /* of all these, those that rang an ioeventfd of ours */
	uint64_t posted; /* and those that were kept back, by --coalesce pio */
	struct report_stage *stages;
	size_t nr_stages;
	struct report_profile profile;
	struct report_ahead ahead;
};

/* Frees what it holds and zeroes it. Harmless on a zeroed struct. */
void report_free(struct report *r);

/* --- sums -------------------------------------------------------------------- */

/* All reasons of a CPU (or of the total): exits, and time in user space. */
uint64_t report_exits(const struct report_cpu *cpu);
uint64_t report_user_ns(const struct report_cpu *cpu);

/* The reason of that name; NULL where there was none. */
const struct report_reason *report_reason(const struct report_cpu *cpu, const char *name);

/* A counter of that name; 0 where there is none. */
uint64_t report_counter(const struct report_counters *c, const char *name);

/* "uart0.thr", "uart0", "port 0x1230", "0xfee00000": what a person calls a site. */
const char *report_site_name(const struct report_site *site, char *buf, size_t size);

/* --- JSON: report_json.c ------------------------------------------------------- */

struct cJSON;

/* The form of docs/exits.md; NULL without memory. cJSON_Delete() is the caller's. */
struct cJSON *report_to_json(const struct report *r) __must_check;

/*
 * The reverse, of a hostile value: every field checked, arrays bounded. what names the source
 * in err's line ("A.json"). 0 or -errno; *out is freed on failure.
 */
int report_from_json(const struct cJSON *json, const char *what, struct report *out,
		     struct err *err) __must_check;

/* Reads a file of it: 0, or -errno and one line. Files up to 256 MiB. */
int report_load(const char *path, struct report *out, struct err *err) __must_check;

/* Writes it to fd, as text with line breaks. 0 or -errno. */
int report_write_json(const struct report *r, int fd) __must_check;

/* --- views ----------------------------------------------------------------------- */

/* The tables of --exits: reasons, registers, CPUs, the kernel's counters, stages, hot functions. */
void report_print(const struct report *r, FILE *out);

/* Hot functions alone: function, caller, count, time, share; at most max rows, 0: all. */
void report_print_hot(const struct report *r, FILE *out, size_t max);

/* Two runs side by side, a row each, with the ratio b/a. */
void report_print_diff(const struct report *a, const char *a_name, const struct report *b,
		       const char *b_name, FILE *out);

/* What happened between two reports of one machine, the later one's level values kept. 0 or -ENOMEM. */
int report_delta(const struct report *before, const struct report *after,
		 struct report *out) __must_check;

/* By what a flame graph is as wide as. */
enum report_weight { REPORT_BY_COUNT, REPORT_BY_TIME };

/*
 * "device;register;function;caller N" lines (flamegraph.pl's input), N exits or
 * nanoseconds; and the same as an SVG that needs nothing else. Where there is no
 * profile, device and register alone.
 */
int report_print_folded(const struct report *r, enum report_weight weight, FILE *out) __must_check;
int report_print_svg(const struct report *r, enum report_weight weight, FILE *out) __must_check;

#endif
