/* SPDX-License-Identifier: MIT */
/*
 * What the views of a report share, those of this folder and top's.
 *
 * Reports hold strings from guest memory and from files: every view prints them through
 * report_plain(). Their numbers are whatever they are: sums stop at the largest one.
 */
#ifndef VMM_REPORT_VIEWS_H
#define VMM_REPORT_VIEWS_H

#include "vmm/report/report.h"

static inline uint64_t sum_sat(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline uint64_t diff_sat(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static inline double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static inline double us(uint64_t ns)
{
	return (double)ns / 1e3;
}

static inline double mean_us(uint64_t total_ns, uint64_t count)
{
	return count ? us(total_ns) / (double)count : 0;
}

static inline double per_second(uint64_t n, uint64_t wall_ns)
{
	return wall_ns ? (double)n * 1e9 / (double)wall_ns : 0;
}

static inline double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* s in printable ASCII, the rest as '?'; cut to fit. Returns buf. */
const char *report_plain(const char *s, char *buf, size_t size);

/* The address of code without a name: "0xffffffff81000010". Returns buf. */
const char *report_hex(uint64_t addr, char *buf, size_t size);

/* "in", "out", "read", "write". */
const char *report_direction(bool mmio, bool write);

/* The direction and the width in bits: "out 8", "read 32"; "out" where the width is 0. */
const char *report_access(const struct report_site *site, char *buf, size_t size);

/* Whether the exits of a reason are accesses to ports or memory. */
bool report_is_access(const char *reason);

/* The site that the exits of a hot row touched; false where they were no accesses. */
bool report_hot_site(const struct report_hot *h, struct report_site *site);

/* Exits of these two reasons together. */
uint64_t report_count_of(const struct report_cpu *cpu, const char *a, const char *b);

/* Ready for print: hot rows that look the same to a person are one. */
struct report_function {
	char name[200]; /* "vp_notify [virtio_pci]", or the address */
	char site[96]; /* "write virtio-blk0.notify", or the reason */
	char caller[136]; /* "virtqueue_notify", "printk?" for a guess, "-" */
	uint64_t count;
	uint64_t total_ns;
};

/*
 * The functions of a profile, those that took the longest first; names_only: the site and the
 * caller are left empty and not told apart. 0 or -ENOMEM; *out is the caller's to free.
 */
int report_functions(const struct report *r, bool names_only, struct report_function **out,
		     size_t *nr) __must_check;

/* Hot functions as a table, max rows (0: all), where the profile has any. */
void report_print_functions(const struct report *r, FILE *out, size_t max);

/* --- flame graphs: report_flame.c ------------------------------------------------ */

enum { FLAME_DEPTH = 4, FLAME_NAME = 136 };

/* Exits by where they went and where they came from, root first. */
struct flame_stack {
	char frame[FLAME_DEPTH][FLAME_NAME]; /* "" ends it */
	uint64_t count;
	uint64_t total_ns;
};

/*
 * The stacks of a report, sorted by their frames, no two alike; frames hold printable ASCII
 * without ';'. 0 or -ENOMEM; *out is the caller's to free.
 */
int flame_stacks(const struct report *r, struct flame_stack **out, size_t *nr) __must_check;

#endif
