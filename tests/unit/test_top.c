/* SPDX-License-Identifier: MIT */
/* bantam top: what it shows in any room, and a true terminal that it has to give back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "vmm/cmd.h"
#include "vmm/control.h"
#include "vmm/top_view.h"

#define TIMEOUT_MS 20000

/* --- a report ------------------------------------------------------------------- */

static struct report_reason reason(const char *name, uint64_t count, uint64_t ns)
{
	struct report_reason r = { .time = { count, ns, 900, 12000, 1000000 } };

	snprintf(r.name, sizeof(r.name), "%s", name);
	return r;
}

static struct report_site site(bool mmio, bool write, uint64_t addr, unsigned width,
			       const char *device, const char *reg, uint64_t count, uint64_t ns)
{
	struct report_site s = {
		.mmio = mmio,
		.write = write,
		.addr = addr,
		.width = width,
		.count = count,
		.accesses = count * 2,
		.total_ns = ns,
	};

	snprintf(s.device, sizeof(s.device), "%s", device);
	snprintf(s.reg, sizeof(s.reg), "%s", reg);
	return s;
}

static struct report_hot hot(const char *function, const char *module, const char *caller,
			     enum report_caller kind, uint64_t count, uint64_t ns)
{
	struct report_hot h = {
		.rip = 0xffffffff81000000,
		.caller_rip = kind ? 0xffffffff81234567 : 0,
		.caller_kind = kind,
		.reason = "io-out",
		.device = "uart0",
		.reg = "thr",
		.addr = 0x3f8,
		.count = count,
		.total_ns = ns,
	};

	snprintf(h.function, sizeof(h.function), "%s", function);
	snprintf(h.module, sizeof(h.module), "%s", module);
	snprintf(h.caller, sizeof(h.caller), "%s", caller);
	return h;
}

static void *copy_of(const void *rows, size_t size)
{
	void *copy = malloc(size);

	memcpy(copy, rows, size);
	return copy;
}

#define TAKE(to, nr, rows) ((to) = copy_of(rows, sizeof(rows)), (nr) = ARRAY_SIZE(rows))

/* Two seconds of a machine of cpus vCPUs. */
static void make_report(struct report *r, unsigned cpus)
{
	const struct report_reason reasons[] = {
		reason("io-in", 10, 30000),
		reason("io-out", 2000, 4000000),
		reason("mmio-write", 400, 8000000),
	};
	const struct report_site sites[] = {
		site(false, true, 0x3f8, 1, "uart0", "thr", 1999, 3999000),
		site(false, true, 0x80, 1, "", "", 1, 1000),
		site(false, false, 0x3fd, 1, "uart0", "lsr", 10, 30000),
		site(true, true, 0xfe000000, 4, "virtio-blk0", "notify", 400, 8000000),
		site(true, false, 0, 0, "", "", 3, 30),
	};
	const struct report_hot hots[] = {
		hot("io_serial_out", "", "serial8250_console_putchar", REPORT_CALLER_EXACT, 1999,
		    3999000),
		hot("vp_notify", "virtio_pci", "virtqueue_notify", REPORT_CALLER_GUESS, 400,
		    8000000),
		hot("", "", "", REPORT_CALLER_NONE, 1, 1000),
		hot("evil\033[2J\x9b\nname", "", "", REPORT_CALLER_EXACT, 1, 999),
	};
	const struct report_counter counters[] = {
		{ "exits", 50000 },
		{ "halt_exits", 24 },
		{ "irq_injections", 600 },
	};

	memset(r, 0, sizeof(*r));
	strcpy(r->name, "vm");
	r->running = true;
	r->wall_ns = 2000000000;
	r->has_kvm = true;
	r->kernel_io = 100;
	r->doorbells = 90;
	r->total.run_ns = 1900000000ull * cpus;
	r->nr_cpus = cpus;
	r->cpus = calloc(cpus, sizeof(*r->cpus));
	for (unsigned i = 0; i < cpus; i++) {
		TAKE(r->cpus[i].reasons, r->cpus[i].nr_reasons, reasons);
		r->cpus[i].run_ns = 1900000000;
	}
	TAKE(r->total.reasons, r->total.nr_reasons, reasons);
	TAKE(r->total.sites, r->total.nr_sites, sites);
	TAKE(r->kvm_vcpu.list, r->kvm_vcpu.nr, counters);
	TAKE(r->profile.hot, r->profile.nr_hot, hots);
	for (size_t i = 0; i < r->profile.nr_hot; i++)
		r->profile.hot[i].rip += i * 16;
	r->profile.present = r->profile.on = true;
}

/* --- pages ---------------------------------------------------------------------- */

static const struct top_view plain = { .sort = TOP_BY_TIME, .interval_ms = 1000 };

static void render(const struct top_view *v, const struct report *r, unsigned rows, unsigned cols,
		   struct top_page *p)
{
	assert_int_equal(top_view_render(v, r, r, rows, cols, p), 0);
}

static void check_page(const struct top_page *p, unsigned rows, unsigned cols)
{
	if (rows)
		assert_true(p->nr <= rows);
	for (size_t i = 0; i < p->nr; i++) {
		const char *text = p->lines[i].text;

		assert_true(strlen(text) <= cols);
		for (; *text; text++)
			assert_true(*text >= ' ' && *text <= '~');
	}
}

/* The line that begins with text; fails where there is none. */
static size_t find_line(const struct top_page *p, const char *text)
{
	for (size_t i = 0; i < p->nr; i++)
		if (!strncmp(p->lines[i].text, text, strlen(text)))
			return i;
	print_error("no line begins with \"%s\"\n", text);
	for (size_t i = 0; i < p->nr; i++)
		print_error("%s\n", p->lines[i].text);
	fail();
	return 0;
}

static void expect_page(const struct top_page *p, const char *const *want, size_t nr)
{
	for (size_t i = 0; i < p->nr && i < nr; i++)
		assert_string_equal(p->lines[i].text, want[i]);
	assert_int_equal(p->nr, nr);
}

static void test_screen(void **state)
{
	static const char *const want[] = {
		"vm  up 0:00:02  2 CPUs  by time  every 1s",
		"1205 exits/s  bantam 0.30%  guest and KVM 99.7%  mean 4.99us",
		"bantam      cpu0 0.60%  cpu1 0.60%",
		"KVM alone   ports 50.0/s  memory 0.0/s  doorbells 45.0/s  halts 12.0/s",
		"            interrupts 300/s  all exits 25000/s",
		"reason                      exits/s % time      mean       p50       p99",
		"mmio-write                      200  0.20%   20.00us     900ns   12.00us",
		"io-out                         1000  0.10%    2.00us     900ns   12.00us",
		"io-in                           5.0  0.00%    3.00us     900ns   12.00us",
		"register                         access      exits/s % time      mean accesses/s",
		"virtio-blk0.notify               write 32        200  0.20%   20.00us        400",
		"uart0.thr                        out 8          1000  0.10%    2.00us       1999",
		"uart0.lsr                        in 8            5.0  0.00%    3.00us       10.0",
		"port 0x80                        out 8           0.5  0.00%    1.00us        1.0",
		"other addresses                  read            1.5  0.00%      10ns        3.0",
		"function <- caller                                      exits/s % time      mean",
		"vp_notify [virtio_pci] <- virtqueue_notify?                 200  0.20%   20.00us",
		"io_serial_out <- serial8250_console_putchar                1000  0.10%    2.00us",
		"0xffffffff81000020 <- -                                     0.5  0.00%    1.00us",
		"evil?[2J??name <- 0xffffffff81234567                        0.5  0.00%     999ns",
		"",
		"",
		"",
		"q quit  s sort  r reverse  p profile  c counts  h help",
	};
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	make_report(&r, 2);
	render(&plain, &r, 24, 80, &p);
	expect_page(&p, want, ARRAY_SIZE(want));
	top_page_free(&p);
	report_free(&r);
}

/* The tables share what there is; what does not fit is cut, and says so. */
static void test_small_screen(void **state)
{
	static const char *const want[] = {
		"vm  up 0:00:02  4 CPUs  by time  every 1",
		"1205 exits/s  bantam 0.15%  guest and KV",
		"bantam      cpu0 0.60%  cpu1 0.60%  ...",
		"KVM alone   ports 50.0/s  ...",
		"reason                    exits/s % time",
		"mmio-write                    200  0.10%",
		"io-out                       1000  0.05%",
		"register             access      exits/s",
		"virtio-blk0.notify   write 32        200",
		"q quit  s sort  r reverse  p profile  c",
	};
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	make_report(&r, 4);
	render(&plain, &r, 10, 40, &p);
	expect_page(&p, want, ARRAY_SIZE(want));
	render(&plain, &r, 14, 40, &p);
	find_line(&p, "vp_notify [virtio_pci~        200  0.10%");
	render(&plain, &r, 9, 40, &p);
	assert_int_equal(find_line(&p, "needs 40x10"), 0);
	render(&plain, &r, 10, 39, &p);
	assert_int_equal(find_line(&p, "needs 40x10"), 0);
	top_page_free(&p);
	report_free(&r);
}

static void make_huge(struct report *r)
{
	make_report(r, 2);
	memset(r->name, 0xff, sizeof(r->name) - 1);
	r->wall_ns = r->kernel_io = r->kernel_mmio = r->doorbells = UINT64_MAX;
	for (size_t i = 0; i < r->total.nr_reasons; i++) {
		struct report_reason *reason = &r->total.reasons[i];

		memset(reason->name, '\t', sizeof(reason->name) - 1);
		memset(&reason->time, 0xff, sizeof(reason->time));
	}
	for (size_t i = 0; i < r->total.nr_sites; i++) {
		struct report_site *site = &r->total.sites[i];

		memset(site->device, 0x1b, sizeof(site->device) - 1);
		memset(site->reg, 0x9b, sizeof(site->reg) - 1);
		site->addr = site->count = site->accesses = site->total_ns = UINT64_MAX;
	}
	for (size_t i = 0; i < r->profile.nr_hot; i++) {
		struct report_hot *hot = &r->profile.hot[i];

		memset(hot->function, 'f', sizeof(hot->function) - 1);
		memset(hot->module, 0x7f, sizeof(hot->module) - 1);
		memset(hot->caller, '%', sizeof(hot->caller) - 1);
		hot->count = hot->total_ns = UINT64_MAX;
	}
}

/* No room, no choice and no number makes a line too wide, a page too long, or a byte that is no text. */
static void test_any_room(void **state)
{
	struct top_page p = { 0 };
	struct report r[4];

	(void)state;
	make_report(&r[0], 3);
	make_huge(&r[1]);
	make_huge(&r[2]);
	r[2].wall_ns = 1;
	memset(&r[3], 0, sizeof(r[3]));
	for (unsigned rows = 0; rows < 70; rows += 1 + rows / 30) {
		for (unsigned cols = 1; cols < 420; cols += 1 + cols / 50) {
			for (unsigned i = 0; i < 8 * ARRAY_SIZE(r); i++) {
				const struct top_view v = {
					.sort = i % TOP_NR_SORTS,
					.reverse = i & 1,
					.cumulative = i & 2,
					.help = (i & 6) == 6,
					.paused = i & 4,
					.interval_ms = 3600000,
					.note = i & 1 ? "a note\033[2J\n that is rather long"
						      : NULL,
				};

				render(&v, &r[i / 8], rows, cols, &p);
				check_page(&p, rows, cols);
				if (rows >= TOP_MIN_ROWS && cols >= TOP_MIN_COLS)
					assert_int_equal(p.nr, rows);
			}
		}
	}
	top_page_free(&p);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		report_free(&r[i]);
}

/* A number ends where its title does. */
static void check_column(const struct top_page *p, const char *title)
{
	size_t end = 0, rows = 0;

	for (size_t i = 0; i < p->nr; i++) {
		const char *text = p->lines[i].text;

		if (p->lines[i].style == TOP_HEADING) {
			assert_non_null(strstr(text, title));
			end = (size_t)(strstr(text, title) - text) + strlen(title);
		} else if (end && text[0] && p->lines[i].style == TOP_PLAIN) {
			assert_true(strlen(text) >= end);
			assert_true(text[end - 1] != ' ');
			assert_true(!text[end] || text[end] == ' ');
			rows++;
		}
	}
	assert_int_equal(rows, 3 + 5 + 3);
}

/* Columns stand under their titles, whatever is in them. */
static void test_columns(void **state)
{
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	make_huge(&r);
	for (unsigned i = 0; i < 4; i++) {
		const struct top_view v = { .cumulative = i & 1, .interval_ms = 100 };

		r.wall_ns = i & 2 ? UINT64_MAX : 1;
		render(&v, &r, 40, 130, &p);
		check_column(&p, i & 1 ? " exits" : " exits/s");
		check_column(&p, "% time");
		check_column(&p, "mean");
	}
	top_page_free(&p);
	report_free(&r);
}

static void expect_order(const struct report *r, enum top_sort sort, bool reverse,
			 const char *const want[3])
{
	const struct top_view v = { .sort = sort, .reverse = reverse };
	struct top_page p = { 0 };
	size_t title;

	render(&v, r, 40, 100, &p);
	title = find_line(&p, "reason");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(strncmp(p.lines[title + 1 + i].text, want[i], strlen(want[i])), 0);
	top_page_free(&p);
}

static void test_sorting(void **state)
{
	struct report r;

	(void)state;
	make_report(&r, 1);
	expect_order(&r, TOP_BY_TIME, false,
		     (const char *const[]){ "mmio-write ", "io-out ", "io-in " });
	expect_order(&r, TOP_BY_TIME, true,
		     (const char *const[]){ "io-in ", "io-out ", "mmio-write " });
	expect_order(&r, TOP_BY_COUNT, false,
		     (const char *const[]){ "io-out ", "mmio-write ", "io-in " });
	expect_order(&r, TOP_BY_COUNT, true,
		     (const char *const[]){ "io-in ", "mmio-write ", "io-out " });
	expect_order(&r, TOP_BY_NAME, false,
		     (const char *const[]){ "io-in ", "io-out ", "mmio-write " });
	expect_order(&r, TOP_BY_NAME, true,
		     (const char *const[]){ "mmio-write ", "io-out ", "io-in " });
	/* Of equals the name decides. */
	for (size_t i = 0; i < r.total.nr_reasons; i++)
		r.total.reasons[i].time = (struct report_time){ .count = 1, .total_ns = 1 };
	expect_order(&r, TOP_BY_TIME, false,
		     (const char *const[]){ "io-in ", "io-out ", "mmio-write " });
	report_free(&r);
}

/* Rates are of the last interval, counts of all time, and so are their shares. */
static void test_cumulative(void **state)
{
	struct top_view v = plain;
	struct top_page p = { 0 };
	struct report all, recent;

	(void)state;
	make_report(&all, 1);
	make_report(&recent, 1);
	all.wall_ns = 90061ull * 1000000000;
	all.total.reasons[1].time.count = 123456789;
	all.total.reasons[1].time.total_ns = all.wall_ns / 4;
	assert_int_equal(top_view_render(&v, &all, &recent, 24, 80, &p), 0);
	find_line(&p, "vm  up 1d 01:01  1 CPU  by time  every 1s");
	find_line(&p, "1205 exits/s  bantam 0.60%");
	find_line(&p, "io-out                         1000  0.20%");
	v.cumulative = true;
	v.paused = true;
	assert_int_equal(top_view_render(&v, &all, &recent, 24, 80, &p), 0);
	find_line(&p, "vm  up 1d 01:01  1 CPU  since its start  by time  every 1s  PAUSED");
	find_line(&p, "123457199 exits  bantam 25.0%");
	find_line(&p, "reason                        exits % time");
	find_line(&p, "io-out                    123456789  25.0%");
	top_page_free(&p);
	report_free(&all);
	report_free(&recent);
}

static void test_states(void **state)
{
	struct top_view v = plain;
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	make_report(&r, 1);
	r.profile.nr_hot = 0;
	render(&v, &r, 24, 80, &p);
	find_line(&p, "hot functions: no exits");
	r.profile.on = false;
	render(&v, &r, 24, 80, &p);
	find_line(&p, "hot functions: the profile is off; p switches it on");
	render(&v, &r, 0, 80, &p);
	find_line(&p, "hot functions: the profile is off; bantam profile vm on switches it on");
	r.has_kvm = false;
	v.note = "vm: the machine does not answer";
	render(&v, &r, 24, 80, &p);
	find_line(&p, "KVM alone   this host's KVM has no statistics");
	assert_int_equal(find_line(&p, v.note), 23);
	v.help = true;
	v.note = NULL;
	render(&v, &r, 10, 80, &p);
	find_line(&p, "p      profile");
	assert_int_equal(find_line(&p, "q quit"), 9);
	top_page_free(&p);
	report_free(&r);
}

static void test_endless(void **state)
{
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	make_report(&r, 64);
	render(&plain, &r, 0, 200, &p);
	find_line(&p, "evil?[2J??name <- 0xffffffff81234567               0.5  0.00%     999ns out "
		      "uart0");
	find_line(&p, "            cpu57 0.60%");
	assert_int_equal(p.lines[p.nr - 1].style, TOP_PLAIN);
	top_page_free(&p);
	report_free(&r);
}

static void test_numbers(void **state)
{
	(void)state;
	assert_string_equal(top_number(0, 1).s, "0.0");
	assert_string_equal(top_number(99.94, 1).s, "99.9");
	assert_string_equal(top_number(100, 1).s, "100");
	assert_string_equal(top_number(999999999, 1).s, "999999999");
	assert_string_equal(top_number(1e9, 1).s, "1000.0M");
	assert_string_equal(top_number(1e12, 0).s, "1000.0G");
	assert_string_equal(top_number(1.8e19, 0).s, "18000.0P");
	assert_string_equal(top_number(1e30, 0).s, "999999.0E");
	assert_string_equal(top_time(0).s, "0ns");
	assert_string_equal(top_time(999).s, "999ns");
	assert_string_equal(top_time(1900).s, "1.90us");
	assert_string_equal(top_time(12345678).s, "12.35ms");
	assert_string_equal(top_time(2e9).s, "2.00s");
	assert_string_equal(top_time(1.8e19).s, "99999.99s");
	assert_string_equal(top_mean(100, 0).s, "-");
	assert_string_equal(top_share(1, 0).s, "0.00%");
	assert_string_equal(top_share(-1, 8).s, "0.00%");
	assert_string_equal(top_share(1, 8).s, "12.5%");
	assert_string_equal(top_share(1e19, 1).s, "999.9%");
	assert_string_equal(top_uptime(3723ull * 1000000000).s, "1:02:03");
	assert_string_equal(top_uptime(UINT64_MAX).s, "213503d 23:34");
}

/* --- a machine, and bantam top on a terminal ----------------------------------------- */

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

struct machine {
	char run[64];
	struct iothread io;
	struct control *control;
	_Atomic uint64_t reports, profiles;
	_Atomic bool profiling, deaf, broken;
};

static int verb_exits(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;
	struct report r;
	uint64_t n = ++m->reports;

	(void)args;
	(void)err;
	for (unsigned i = 0; m->deaf && i < 1000; i++)
		poll(NULL, 0, 10);
	make_report(&r, 2);
	r.wall_ns *= n;
	r.profile.on = m->profiling;
	for (size_t i = 0; i < r.total.nr_reasons; i++) {
		r.total.reasons[i].time.count *= n;
		r.total.reasons[i].time.total_ns *= n;
	}
	*result = m->broken ? cJSON_CreateTrue() : report_to_json(&r);
	report_free(&r);
	return *result ? 0 : -ENOMEM;
}

static int verb_profile(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;

	(void)result;
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(args, "off")))
		return err_set(err, -EINVAL, "no");
	m->profiling = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(args, "on"));
	m->profiles++;
	return 0;
}

static const struct control_verb verbs[] = { { "exits", verb_exits }, { "profile", verb_profile } };

static void end_machine(struct machine *m)
{
	iothread_stop(&m->io);
	control_destroy(m->control);
	m->control = NULL;
}

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct err err = { "" };

	strcpy(m->run, "/tmp/test_top.XXXXXX");
	assert_non_null(mkdtemp(m->run));
	setenv("XDG_RUNTIME_DIR", m->run, 1);
	setenv("TERM", "xterm", 1);
	assert_int_equal(iothread_start(&m->io, "control"), 0);
	assert_int_equal(
		control_serve(&m->io.loop, "vm", verbs, ARRAY_SIZE(verbs), m, &m->control, &err),
		0);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;
	char command[128];

	m->deaf = false;
	end_machine(m);
	snprintf(command, sizeof(command), "rm -rf '%s'", m->run);
	assert_int_equal(system(command), 0);
	free(m);
	return 0;
}

struct session {
	pid_t pid;
	int tty; /* the terminal's side */
	struct termios before;
	char out[1 << 20];
	size_t len, seen;
};

static struct session *start(unsigned rows, unsigned cols, char *const args[])
{
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
	struct session *s = calloc(1, sizeof(*s));
	char *argv[16] = { (char *)"test_top", (char *)"--top" };
	int slave;

	for (size_t i = 0; args[i]; i++)
		argv[2 + i] = args[i];
	assert_int_equal(openpty(&s->tty, &slave, NULL, NULL, &ws), 0);
	assert_int_equal(tcgetattr(s->tty, &s->before), 0);
	s->pid = fork();
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(s->tty);
		login_tty(slave);
		execv("/proc/self/exe", argv);
		_exit(99);
	}
	close(slave);
	return s;
}

#define START(rows, cols, ...) start(rows, cols, (char *[]){ __VA_ARGS__, NULL })

/* Reads what there is by then; false at the end. */
static bool more(struct session *s)
{
	struct pollfd pfd = { .fd = s->tty, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&pfd, 1, TIMEOUT_MS), 1);
	if (s->len == sizeof(s->out) - 1)
		return false;
	n = read(s->tty, s->out + s->len, sizeof(s->out) - 1 - s->len);
	if (n <= 0)
		return false;
	for (ssize_t i = 0; i < n; i++)
		assert_true(s->out[s->len + (size_t)i] != '\0');
	s->len += (size_t)n;
	return true;
}

/* Waits until text has been written behind what was seen last. */
static void expect(struct session *s, const char *text)
{
	for (;;) {
		const char *at = strstr(s->out + s->seen, text);

		if (at) {
			s->seen = (size_t)(at - s->out) + strlen(text);
			return;
		}
		if (!more(s)) {
			print_error("the end instead of \"%s\", after %.500s\n", text,
				    s->out + s->seen);
			fail();
		}
	}
}

static void type(struct session *s, const char *keys)
{
	assert_int_equal(write(s->tty, keys, strlen(keys)), strlen(keys));
}

static void assert_given_back(const struct session *s)
{
	struct termios now;

	assert_int_equal(tcgetattr(s->tty, &now), 0);
	assert_int_equal(now.c_lflag, s->before.c_lflag);
	assert_int_equal(now.c_iflag, s->before.c_iflag);
	assert_int_equal(now.c_oflag, s->before.c_oflag);
	assert_memory_equal(now.c_cc, s->before.c_cc, sizeof(now.c_cc));
}

static void assert_taken(const struct session *s)
{
	struct termios now;

	assert_int_equal(tcgetattr(s->tty, &now), 0);
	assert_false(now.c_lflag & (ICANON | ECHO));
	assert_true(now.c_lflag & ISIG);
}

/* Waits for the end; its wait status. The last that was written is how a terminal is left. */
static int finish(struct session *s, const char *last)
{
	int status;

	while (more(s))
		;
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(s->len >= strlen(last));
	assert_string_equal(s->out + s->len - strlen(last), last);
	assert_given_back(s);
	close(s->tty);
	free(s);
	return status;
}

static void test_quit(void **state)
{
	struct session *s = START(24, 80, "vm", "--interval", "0.1");

	(void)state;
	expect(s, ENTER);
	expect(s, "vm  up 0:00:02");
	expect(s, "evil?[2J??name");
	expect(s, "\033[24;1H\033[1mq quit");
	assert_taken(s);
	expect(s, "vm  up 0:00:06");
	type(s, "q");
	assert_int_equal(finish(s, LEAVE), 0);
}

static void test_interrupt_key(void **state)
{
	struct session *s = START(24, 80, "vm");

	(void)state;
	expect(s, "q quit");
	type(s, "\003");
	assert_int_equal(finish(s, LEAVE), 0);
}

static void test_killed(void **state)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGQUIT };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct session *s = START(24, 80, "vm");
		int status;

		expect(s, "q quit");
		kill(s->pid, signals[i]);
		status = finish(s, LEAVE);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
	}
}

static void test_machine_ends(void **state)
{
	struct session *s = START(24, 80, "--interval", "0.1");

	expect(s, "q quit");
	end_machine(*state);
	assert_int_equal(finish(s, LEAVE "bantam: vm has ended\r\n"), 0);
}

static void resize(struct session *s, unsigned rows, unsigned cols)
{
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };

	assert_int_equal(ioctl(s->tty, TIOCSWINSZ, &ws), 0);
}

static void test_resize(void **state)
{
	struct session *s = START(24, 80, "vm", "--interval", "3600");

	(void)state;
	expect(s, "\033[24;1H\033[1mq quit");
	resize(s, 40, 200);
	expect(s, "accesses/s");
	expect(s, "out uart0.thr");
	expect(s, "\033[40;1H\033[1mq quit");
	resize(s, 5, 30);
	expect(s, "\033[1;1Hneeds 40x10\033[K\033[2;1H\033[J");
	resize(s, 10, 40);
	expect(s, "\033[10;1H\033[1mq quit  s sort  r reverse  p profile  c\033[0m");
	resize(s, 0, 0);
	expect(s, "\033[24;1H\033[1mq quit");
	type(s, "q");
	assert_int_equal(finish(s, LEAVE), 0);
}

static void test_stopped(void **state)
{
	struct session *s = START(24, 80, "vm", "--interval", "3600");
	int status;

	(void)state;
	expect(s, "q quit");
	type(s, "\032");
	expect(s, LEAVE);
	assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
	assert_true(WIFSTOPPED(status));
	assert_given_back(s);
	kill(s->pid, SIGCONT);
	expect(s, ENTER);
	expect(s, "q quit");
	assert_taken(s);
	/* Stopped without a word, its terminal set by somebody else. */
	kill(s->pid, SIGSTOP);
	assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
	assert_int_equal(tcsetattr(s->tty, TCSANOW, &s->before), 0);
	kill(s->pid, SIGCONT);
	expect(s, "\033[?25l");
	expect(s, "q quit");
	assert_taken(s);
	type(s, "q");
	assert_int_equal(finish(s, LEAVE), 0);
}

/* The uptime that is drawn next: it grows with every report that is shown. */
static void take_uptime(struct session *s, char buf[16])
{
	size_t from;

	expect(s, "vm  up ");
	from = s->seen;
	expect(s, "  2 CPUs");
	snprintf(buf, 16, "%.*s", (int)(s->seen - from), s->out + from);
}

static void test_keys(void **state)
{
	struct machine *m = *state;
	char held[16], now[16];
	struct session *s = START(24, 80, "vm", "--interval", "2", "--sort", "count");

	expect(s, "by count  every 2s");
	type(s, "s");
	expect(s, "by time  every 2s");
	type(s, "sr");
	expect(s, "by name reversed");
	type(s, "c");
	expect(s, "since its start");
	type(s, "crs\033[A\033Oq\033[5~\033");
	expect(s, "by count  every 2s");
	type(s, "+");
	expect(s, "every 4s");
	type(s, "-------------");
	expect(s, "every 0.1s");
	type(s, "h");
	expect(s, "space  hold the picture");
	type(s, "?");
	expect(s, "reason");
	expect(s, "hot functions: the profile is off; p switches it on");
	type(s, "p");
	expect(s, "hot functions: no exits");
	assert_true(m->profiling);
	type(s, "p");
	expect(s, "hot functions: the profile is off; p switches it on");
	assert_false(m->profiling);
	assert_int_equal(m->profiles, 2);
	type(s, " ");
	expect(s, "PAUSED");
	/* The picture stays, and it goes on looking whether there is a machine. */
	take_uptime(s, held);
	for (unsigned i = 0; i < 5; i++) {
		take_uptime(s, now);
		assert_string_equal(now, held);
	}
	end_machine(m);
	assert_int_equal(finish(s, LEAVE "bantam: vm has ended\r\n"), 0);
}

/* A machine that stands still, and one that speaks nonsense. */
static void test_no_answer(void **state)
{
	struct machine *m = *state;
	struct session *s = START(24, 80, "vm", "--interval", "0.1");

	expect(s, "q quit");
	m->deaf = true;
	expect(s, "vm: the machine does not answer");
	m->deaf = false;
	expect(s, "q quit");
	m->broken = true;
	expect(s, LEAVE "bantam: vm: ");
	assert_int_equal(WEXITSTATUS(finish(s, "\r\n")), STATUS_ERROR);
}

/* A terminal that takes nothing keeps nobody from ending it. */
static void test_stuck_terminal(void **state)
{
	struct machine *m = *state;
	struct session *s = START(400, 400, "vm", "--interval", "0.1");
	uint64_t reports;
	int status = 0;

	expect(s, "vm");
	for (reports = m->reports; m->reports < reports + 5;)
		poll(NULL, 0, 10);
	kill(s->pid, SIGTERM);
	for (unsigned i = 0; i < TIMEOUT_MS / 10 && !status; i++) {
		assert_true(waitpid(s->pid, &status, WNOHANG) >= 0);
		poll(NULL, 0, 10);
	}
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_given_back(s);
	close(s->tty);
	free(s);
}

static void test_no_screen(void **state)
{
	struct session *s;

	(void)state;
	setenv("TERM", "dumb", 1);
	s = START(24, 80, "vm");
	assert_int_equal(WEXITSTATUS(finish(s, "bantam: top: this terminal has no screen "
					       "(TERM=dumb); --batch prints text instead\r\n")),
			 STATUS_ERROR);
}

/* Runs a command with its output and errors in one file, and returns its exit status. */
static int run_piped(const struct machine *m, char *const args[], char *text, size_t size)
{
	char path[128], *argv[16] = { (char *)"test_top", (char *)"--top" };
	int fd, status;
	ssize_t n;
	pid_t pid;

	for (size_t i = 0; args[i]; i++)
		argv[2 + i] = args[i];
	snprintf(path, sizeof(path), "%s/out", m->run);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execv("/proc/self/exe", argv);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	n = pread(fd, text, size - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	return WEXITSTATUS(status);
}

static void expect_run(const struct machine *m, char *const args[], int want, const char *line)
{
	char text[65536];

	assert_int_equal(run_piped(m, args, text, sizeof(text)), want);
	if (!strstr(text, line))
		print_error("%s\n", text);
	assert_non_null(strstr(text, line));
}

#define EXPECT_RUN(m, want, line, ...) expect_run(m, (char *[]){ __VA_ARGS__, NULL }, want, line)

static void test_arguments(void **state)
{
	struct machine *m = *state;

	EXPECT_RUN(m, STATUS_ERROR, "bantam: top: no terminal; --batch prints text", "vm");
	EXPECT_RUN(m, STATUS_OK, "usage: bantam top", "vm", "--help");
	EXPECT_RUN(m, STATUS_ERROR, "no machine of that name is running; there are: vm", "none");
	EXPECT_RUN(m, STATUS_USAGE, "top: --count: goes with --batch", "--count", "3");
	EXPECT_RUN(m, STATUS_USAGE, "top: --count 0: must be", "--batch", "--count", "0");
	EXPECT_RUN(m, STATUS_USAGE, "top: --count : must be", "--batch", "--count");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval 0.05: must be", "--interval", "0.05");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval 3601: must be", "--interval", "3601");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval inf: must be", "--interval", "inf");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval 1.2.3: must be", "--interval", "1.2.3");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval : must be", "--interval", "");
	EXPECT_RUN(m, STATUS_USAGE, "top: --sort size: must be", "--sort", "size");
	EXPECT_RUN(m, STATUS_USAGE, "top: --fly: unknown option", "--fly");
	EXPECT_RUN(m, STATUS_USAGE, "top: b: one machine at a time", "a", "b");
}

static void test_batch(void **state)
{
	struct machine *m = *state;
	char *args[] = { (char *)"--batch", (char *)"--count", (char *)"2",    (char *)"--interval",
			 (char *)"0.1",     (char *)"--sort",  (char *)"name", NULL };
	char text[65536];
	const char *second;

	assert_int_equal(run_piped(m, args, text, sizeof(text)), STATUS_OK);
	/* The first report is what the first block is counted from. */
	assert_int_equal(m->reports, 3);
	assert_int_equal(strncmp(text, "vm  up 0:00:04  2 CPUs  by name", 31), 0);
	assert_non_null(strstr(text, "\nio-out           1000  0.10%"));
	second = strstr(text, "\n\nvm  up 0:00:06");
	assert_non_null(second);
	assert_string_equal(text + strlen(text) - 2, "\n\n");
	assert_null(strchr(text, '\033'));
}

static void *end_soon(void *opaque)
{
	struct machine *m = opaque;

	while (m->reports < 3)
		poll(NULL, 0, 10);
	end_machine(m);
	return NULL;
}

static void test_batch_until_the_end(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, end_soon, *state), 0);
	EXPECT_RUN(*state, STATUS_OK, "bantam: vm has ended\n", "--batch", "--interval", "0.1");
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_screen),
		cmocka_unit_test(test_small_screen),
		cmocka_unit_test(test_any_room),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_sorting),
		cmocka_unit_test(test_cumulative),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test_setup_teardown(test_quit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupt_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_machine_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resize, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stuck_terminal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_screen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch_until_the_end, setup, teardown),
	};

	if (argc > 1 && !strcmp(argv[1], "--top"))
		return cmd_top(argc - 2, argv + 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
