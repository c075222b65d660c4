/* SPDX-License-Identifier: MIT */
/* bantam top: a machine's exits while they happen, on the whole screen or as text. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/cmd.h"
#include "vmm/control.h"
#include "vmm/top_term.h"
#include "vmm/top_view.h"

enum { INTERVAL_MIN_MS = 100, INTERVAL_MAX_MS = 3600000 };

/* Keys wait as long as the machine does; a batch has no keys. */
enum { SCREEN_TIMEOUT_MS = 2000, BATCH_TIMEOUT_MS = 10000 };

/* Lines of text have no screen to be as wide as. */
enum { BATCH_COLS = 200 };

struct top_args {
	const char *name; /* NULL: the only machine */
	bool batch;
	uint64_t count; /* blocks; 0: until the machine ends */
	enum top_sort sort;
	unsigned interval_ms;
};

struct top {
	char name[CONTROL_NAME_MAX + 1];
	struct control_client *client; /* NULL: it did not answer; to be connected again */
	int timeout_ms;
	struct top_view view;
	struct report all, recent;
	struct top_page page;
	int timer;
	struct top_term term;
	int signals;
	bool quit;
	bool ended; /* the machine */
	int killed; /* by this signal; 0: by none */
	struct err err;
	struct err note; /* what the view shows of it */
};

static const char usage[] =
	"usage: bantam top [NAME] [--interval SECONDS] [--sort count|time|name]\n"
	"       bantam top [NAME] --batch [--count N] ...\n"
	"\n"
	"  A machine's exits while they happen: rates, registers, hot functions. h lists the\n"
	"  keys. NAME may be left out where one machine runs.\n"
	"\n"
	"  --interval SECONDS     0.1 to 3600 (1)\n"
	"  --sort count|time|name what comes first (time)\n"
	"  --batch                text, a block an interval, until the machine ends\n"
	"  --count N              at most N blocks\n";

/* --- the machine ------------------------------------------------------------------ */

/* A late answer would be taken for the next one's: one that does not come ends the connection. */
static int fetch_once(struct top *t, struct report *now)
{
	int ret = t->client ? 0 : control_connect(t->name, &t->client, &t->err);

	if (!ret)
		ret = cmd_fetch_report(t->client, t->timeout_ms, now, &t->err);
	if (ret == -EPIPE || ret == -ETIMEDOUT) {
		control_close(t->client);
		t->client = NULL;
	}
	return ret;
}

/* A connection that ends is made once more: it need not be the machine that has ended. */
static int fetch(struct top *t, struct report *now)
{
	int ret = fetch_once(t, now);

	return ret == -EPIPE ? fetch_once(t, now) : ret;
}

/* Takes a report, and what happened since the last one. 0; -ENOENT: it has ended; -errno. */
static int update(struct top *t)
{
	struct report now, recent;
	int ret = fetch(t, &now);

	if (ret)
		return ret == -EPIPE ? -ENOENT : ret;
	/* A picture that is held is asked only whether its machine still runs. */
	if (t->view.paused) {
		report_free(&now);
		return 0;
	}
	ret = report_delta(&t->all, &now, &recent);
	if (ret) {
		report_free(&now);
		return err_set(&t->err, ret, "top: out of memory");
	}
	report_free(&t->all);
	report_free(&t->recent);
	t->all = now;
	t->recent = recent;
	return 0;
}

static int switch_profile(struct top *t, bool on)
{
	cJSON *args = cJSON_CreateObject(), *result = NULL;
	int ret = -ENOMEM;

	if (!t->client)
		ret = err_set(&t->err, -EPIPE, "%s: not connected", t->name);
	else if (cJSON_AddBoolToObject(args, "on", on))
		ret = control_call(t->client, "profile", args, t->timeout_ms, &result, &t->err);
	cJSON_Delete(args);
	cJSON_Delete(result);
	return ret;
}

/* --- the timer ---------------------------------------------------------------------- */

static int set_interval(struct top *t, unsigned ms)
{
	const struct timespec each = { ms / 1000, (long)(ms % 1000) * 1000000 };
	const struct itimerspec its = { each, each };

	t->view.interval_ms = ms;
	return timerfd_settime(t->timer, 0, &its, NULL) ? -errno : 0;
}

static int create_timer(struct top *t, unsigned ms)
{
	int ret;

	t->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (t->timer < 0)
		return -errno;
	ret = set_interval(t, ms);
	if (ret)
		close(t->timer);
	return ret;
}

/* Waits for the interval's end, if it has not come yet. */
static void wait_interval(struct top *t)
{
	uint64_t n;

	(void)!read(t->timer, &n, sizeof(n));
}

/* --- as text -------------------------------------------------------------------------- */

static int print_block(struct top *t)
{
	int ret = top_view_render(&t->view, &t->all, &t->recent, 0, BATCH_COLS, &t->page);

	if (ret)
		return err_set(&t->err, ret, "top: out of memory");
	for (size_t i = 0; i < t->page.nr; i++)
		puts(t->page.lines[i].text);
	putchar('\n');
	return fflush(stdout) ? err_set(&t->err, -errno, "standard output: %s", strerror(errno))
			      : 0;
}

static int run_batch(struct top *t, uint64_t count)
{
	int ret = update(t);

	for (uint64_t i = 0; !ret && (!count || i < count); i++) {
		wait_interval(t);
		ret = update(t);
		if (!ret)
			ret = print_block(t);
	}
	t->ended = ret == -ENOENT;
	return t->ended ? 0 : ret;
}

/* --- on the screen ---------------------------------------------------------------------- */

static int draw(struct top *t)
{
	int ret = top_view_render(&t->view, &t->all, &t->recent, t->term.rows, t->term.cols,
				  &t->page);

	if (!ret)
		ret = top_term_draw(&t->term, &t->page);
	return ret ? err_set(&t->err, ret, "top: the screen: %s", strerror(-ret)) : 0;
}

static void note_error(struct top *t)
{
	t->note = t->err;
	t->view.note = t->note.text;
}

/* What passes is shown for as long as it lasts, and asked again. */
static int update_screen(struct top *t)
{
	int ret = update(t);

	t->view.note = NULL;
	switch (ret) {
	case -ENOENT:
		t->ended = true;
		return 0;
	case -EREMOTEIO:
	case -ETIMEDOUT:
	case -EAGAIN:
		note_error(t);
		return 0;
	default:
		return ret;
	}
}

static void toggle_profile(struct top *t)
{
	bool on = !t->all.profile.on;

	if (switch_profile(t, on))
		note_error(t);
	else
		t->all.profile.on = on;
}

static int on_key(struct top *t, char key)
{
	struct top_view *v = &t->view;

	v->note = NULL;
	switch (key) {
	case 'q':
		t->quit = true;
		return 0;
	case 's':
		v->sort = (v->sort + 1) % TOP_NR_SORTS;
		return 0;
	case 'r':
		v->reverse = !v->reverse;
		return 0;
	case 'c':
		v->cumulative = !v->cumulative;
		return 0;
	case 'p':
		toggle_profile(t);
		return 0;
	case '+':
	case '=':
		return set_interval(t, (unsigned)min_u64(v->interval_ms * 2, INTERVAL_MAX_MS));
	case '-':
		return set_interval(t, (unsigned)max_u64(v->interval_ms / 2, INTERVAL_MIN_MS));
	case ' ':
		v->paused = !v->paused;
		return 0;
	case 'h':
	case '?':
		v->help = !v->help;
		return 0;
	default:
		return 0;
	}
}

static int on_keys(struct top *t)
{
	char keys[64];
	int n = top_term_keys(&t->term, keys, sizeof(keys)), ret = 0;

	/* The terminal has gone, and with it whoever would read why. */
	if (n < 0)
		t->quit = true;
	for (int i = 0; i < n && !ret && !t->quit; i++)
		ret = on_key(t, keys[i]);
	return ret;
}

static void on_signal(struct top *t)
{
	struct signalfd_siginfo si;

	if (read(t->signals, &si, sizeof(si)) != sizeof(si))
		return;
	switch (si.ssi_signo) {
	case SIGTSTP:
		top_term_stop(&t->term);
		break;
	case SIGCONT:
		top_term_continue(&t->term);
		break;
	case SIGWINCH:
		top_term_measure(&t->term);
		break;
	case SIGINT:
		t->quit = true;
		break;
	default:
		t->quit = true;
		t->killed = (int)si.ssi_signo;
		break;
	}
}

static int on_events(struct top *t, const struct pollfd fds[4])
{
	bool redraw = fds[0].revents || fds[1].revents || fds[2].revents;
	int ret = 0;

	if (fds[0].revents)
		on_signal(t);
	if (fds[1].revents && !t->quit)
		ret = on_keys(t);
	if (fds[2].revents && !t->quit && !ret) {
		wait_interval(t);
		ret = update_screen(t);
	}
	if (fds[3].revents && !ret) {
		bool left_out;

		ret = top_term_flush(&t->term, &left_out);
		redraw |= left_out;
	}
	return ret || !redraw || t->quit || t->ended ? ret : draw(t);
}

static int watch(struct top *t)
{
	int ret = update_screen(t);

	if (!ret && !t->ended)
		ret = draw(t);
	while (!ret && !t->quit && !t->ended) {
		struct pollfd fds[] = {
			{ .fd = t->signals, .events = POLLIN },
			{ .fd = t->term.in, .events = POLLIN },
			{ .fd = t->timer, .events = POLLIN },
			{ .fd = t->term.out, .events = POLLOUT },
		};

		if (poll(fds, top_term_pending(&t->term) ? 4 : 3, -1) > 0)
			ret = on_events(t, fds);
	}
	return ret;
}

static int run_screen(struct top *t)
{
	static const int ours[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH };
	sigset_t set, old;
	int ret;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->signals < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &set, &old);
	ret = top_term_open(&t->term, &t->err);
	if (!ret) {
		ret = watch(t);
		top_term_close(&t->term);
	}
	close(t->signals);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return ret;
}

/* --- the command ------------------------------------------------------------------------ */

/* "0.5", "2": milliseconds; 0 for anything else. */
static unsigned parse_interval(const char *s)
{
	bool plain = *s && strspn(s, "0123456789.") == strlen(s);
	char *end;
	double v = strtod(s, &end) * 1000;

	return plain && !*end && v >= INTERVAL_MIN_MS && v <= INTERVAL_MAX_MS ? (unsigned)v : 0;
}

static bool parse_sort(const char *s, enum top_sort *sort)
{
	for (*sort = 0; *sort < TOP_NR_SORTS; (*sort)++)
		if (!strcmp(s, top_sort_name(*sort)))
			return true;
	return false;
}

/* Takes an argument and its value ("": there is none); STATUS_OK, or what to end with. */
static int take_arg(struct top_args *a, const char *arg, const char *value, bool *taken)
{
	*taken = true;
	if (!strcmp(arg, "--interval")) {
		a->interval_ms = parse_interval(value);
		return a->interval_ms
			       ? STATUS_OK
			       : cmd_usage_value("top", arg, value, "must be 0.1 to 3600 seconds");
	}
	if (!strcmp(arg, "--sort"))
		return parse_sort(value, &a->sort)
			       ? STATUS_OK
			       : cmd_usage_value("top", arg, value, "must be count, time or name");
	if (!strcmp(arg, "--count"))
		return util_parse_uint(value, 1, UINT64_MAX, &a->count)
			       ? cmd_usage_value("top", arg, value,
						 "must be a number of blocks, 1 or more")
			       : STATUS_OK;
	*taken = false;
	if (!strcmp(arg, "--batch"))
		a->batch = true;
	else if (arg[0] == '-')
		return cmd_usage("top", arg, "unknown option");
	else if (a->name)
		return cmd_usage("top", arg, "one machine at a time");
	else
		a->name = arg;
	return STATUS_OK;
}

static int run(struct top *t, const struct top_args *a)
{
	int ret = control_connect(a->name, &t->client, &t->err);

	if (ret)
		return ret;
	snprintf(t->name, sizeof(t->name), "%s", control_client_name(t->client));
	t->view.sort = a->sort;
	t->timeout_ms = a->batch ? BATCH_TIMEOUT_MS : SCREEN_TIMEOUT_MS;
	ret = create_timer(t, a->interval_ms);
	if (!ret) {
		ret = a->batch ? run_batch(t, a->count) : run_screen(t);
		close(t->timer);
	}
	if (t->client)
		control_close(t->client);
	top_page_free(&t->page);
	report_free(&t->all);
	report_free(&t->recent);
	return ret;
}

int cmd_top(int argc, char **argv)
{
	struct top_args a = { .sort = TOP_BY_TIME, .interval_ms = 1000 };
	struct top t = { 0 };
	int ret;

	for (int i = 0; i < argc; i++) {
		bool taken;
		int status;

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(usage, stdout);
			return cmd_written(0);
		}
		status = take_arg(&a, argv[i], i + 1 < argc ? argv[i + 1] : "", &taken);
		if (status)
			return status;
		i += taken;
	}
	if (a.count && !a.batch)
		return cmd_usage("top", "--count", "goes with --batch");
	ret = run(&t, &a);
	if (ret)
		return cmd_failed(&t.err, ret);
	if (t.ended)
		log_info("%s has ended", t.name);
	return t.killed ? cmd_die_by(t.killed) : STATUS_OK;
}
