/* SPDX-License-Identifier: MIT */
/*
 * A machine's life: from the first instruction to the exit report.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/crash.h"
#include "devices/virtio/virtio.h"
#include "vmm/disks.h"
#include "vmm/machine.h"

/* How long a slow reader of the console may hold up the end. */
#define DRAIN_TIMEOUT_MS 5000

static void end(struct machine *m, enum machine_end how)
{
	if (m->end == MACHINE_RUNNING)
		m->end = how;
	loop_stop(&m->loop);
}

/* --- what other threads ask for ----------------------------------------------- */

/*
 * A reset gives way to an end; of two ends the first counts. The CPU that asked does
 * not execute another instruction: a guest that has pulled its reset line goes on to
 * other ways of resetting, a triple fault among them, if it finds itself still running.
 */
static void want(struct machine *m, enum power_event event, uint32_t detail, const char *by)
{
	pthread_mutex_lock(&m->lock);
	if (!m->wanted || (m->wanted_event == POWER_RESET && event != POWER_RESET)) {
		m->wanted = true;
		m->wanted_event = event;
		m->wanted_detail = detail;
		m->wanted_by = by;
	}
	pthread_mutex_unlock(&m->lock);
	for (unsigned i = 0; i < m->nr_vcpus; i++)
		vcpu_pause(&m->vcpus[i]);
	loop_post(&m->loop, &m->event_post);
}

void machine_power_request(void *ctx, enum power_event event, uint32_t detail)
{
	want(ctx, event, detail, "pvpanic");
}

void machine_debug_exit_request(void *ctx, enum power_event event, uint32_t detail)
{
	want(ctx, event, detail, "the debug exit");
}

void machine_vcpu_crashed(void *ctx, struct vcpu *vcpu)
{
	struct machine *m = ctx;

	pthread_mutex_lock(&m->lock);
	if (!m->crashed)
		m->crashed = vcpu;
	pthread_mutex_unlock(&m->lock);
	loop_post(&m->loop, &m->event_post);
}

void machine_quit(void *ctx)
{
	end(ctx, MACHINE_QUIT);
}

/* --- the main thread's answers -------------------------------------------------- */

static void pause_all(struct machine *m)
{
	disks_drain(m); /* a vCPU, too, may be waiting for a disk to have nothing in flight */
	for (unsigned i = 0; i < m->nr_vcpus; i++)
		vcpu_pause(&m->vcpus[i]);
	for (unsigned i = 0; i < m->nr_vcpus; i++)
		vcpu_wait_paused(&m->vcpus[i]);
	bus_sync(&m->bus);
	for (unsigned i = 0; i < m->cfg->nr_disks; i++)
		if (m->disks[i])
			virtio_pause(m->disks[i]);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++)
		if (m->ide[i])
			ide_channel_pause(m->ide[i]);
}

static void resume_all(struct machine *m)
{
	disks_go_on(m);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++)
		if (m->ide[i])
			ide_channel_resume(m->ide[i]);
	for (unsigned i = 0; i < m->cfg->nr_disks; i++)
		if (m->disks[i])
			virtio_resume(m->disks[i]);
	for (unsigned i = 0; i < m->nr_vcpus; i++)
		vcpu_resume(&m->vcpus[i]);
}

static void restart(struct machine *m)
{
	struct err err;
	int ret;

	pause_all(m);
	/* What the guest asked for until it stood still is the same reset. */
	pthread_mutex_lock(&m->lock);
	m->wanted &= m->wanted_event != POWER_RESET;
	m->crashed = NULL; /* on another CPU, when the reset was asked for already */
	pthread_mutex_unlock(&m->lock);
	ret = machine_reset(m, &err);
	if (ret) {
		m->end_error = err_set(&m->end_err, ret, "the guest cannot be restarted: %.400s",
				       err.text);
		end(m, MACHINE_FAILED);
		return;
	}
	resume_all(m);
}

static void handle_event(void *opaque)
{
	struct machine *m = opaque;
	enum power_event event;
	struct vcpu *crashed;
	const char *by;
	uint32_t detail;
	bool wanted;

	pthread_mutex_lock(&m->lock);
	wanted = m->wanted;
	m->wanted = false;
	event = m->wanted_event;
	detail = m->wanted_detail;
	by = m->wanted_by;
	crashed = m->crashed;
	pthread_mutex_unlock(&m->lock);

	if (!wanted) {
		if (crashed)
			end(m, MACHINE_CRASHED);
		return;
	}
	switch (event) {
	case POWER_OFF:
		end(m, MACHINE_POWERED_OFF);
		break;
	case POWER_RESET:
		if (m->cfg->no_reboot)
			end(m, MACHINE_POWERED_OFF);
		else
			restart(m);
		break;
	case POWER_CRASHED:
		log_error("the guest says through %s that it failed: %" PRIu32, by, detail);
		end(m, MACHINE_CRASHED);
		break;
	}
}

static void handle_signal(void *opaque, uint32_t events)
{
	struct machine *m = opaque;
	struct signalfd_siginfo info;

	(void)events;
	if (read(m->signals.fd, &info, sizeof(info)) != sizeof(info))
		return;
	m->end_signal = (int)info.ssi_signo;
	end(m, MACHINE_SIGNALLED);
}

/* Blocked here, before there is a second thread, and read by the loop. */
static int watch_signals(struct machine *m)
{
	static const int ours[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	m->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signals.fd < 0)
		return -errno;
	m->signals.fn = handle_signal;
	m->signals.opaque = m;
	return loop_add(&m->loop, &m->signals, EPOLLIN);
}

static int run_loop(struct machine *m, struct err *err)
{
	int ret;

	m->event_post = (struct loop_post){ .fn = handle_event, .opaque = m };
	ret = watch_signals(m);
	if (ret) {
		err_set(err, ret, "cannot watch signals: %s", strerror(-ret));
		return ret;
	}
	ret = machine_reset(m, err);
	if (ret)
		return ret;
	observe_start(&m->observe);
	resume_all(m);
	ret = loop_run(&m->loop);
	if (ret)
		err_set(err, ret, "the event loop failed: %s", strerror(-ret));
	pause_all(m);
	for (unsigned i = 0; i < m->cfg->nr_serials; i++)
		chardev_drain(m->chardevs[i], DRAIN_TIMEOUT_MS);
	if (m->firmware_log)
		chardev_drain(m->firmware_log, DRAIN_TIMEOUT_MS);
	return ret;
}

/* --- what is told at the end ------------------------------------------------------ */

static bool ends_in(const char *path, const char *suffix)
{
	size_t n = strlen(path), k = strlen(suffix);

	return n >= k && !strcmp(path + n - k, suffix);
}

/* The form that its name asks for. */
static int write_profile(const struct report *r, const char *path, int fd)
{
	FILE *out;
	int ret = 0;

	if (ends_in(path, ".json"))
		return report_write_json(r, fd);
	fd = dup(fd);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		return -errno;
	if (ends_in(path, ".svg"))
		ret = report_print_svg(r, REPORT_BY_TIME, out);
	else if (ends_in(path, ".folded"))
		ret = report_print_folded(r, REPORT_BY_TIME, out);
	else
		report_print_hot(r, out, 0);
	if (fclose(out) && !ret)
		ret = -errno;
	return ret;
}

static int write_output(struct machine *m, const struct report *r, enum machine_output which)
{
	int fd = m->outputs[which];

	switch (which) {
	case MACHINE_EXITS:
		return report_write_json(r, fd);
	case MACHINE_PROFILE:
		return write_profile(r, m->cfg->profile, fd);
	case MACHINE_TRACE:
	default:
		return observe_write_trace(&m->observe, fd);
	}
}

/* True with a report in *r; a file that cannot be written is a line to the user. */
static bool take_report(struct machine *m, struct report *r)
{
	int ret;

	if (!m->cfg->exits && !m->cfg->profile && !m->cfg->trace)
		return false;
	ret = observe_report(&m->observe, false, r);
	if (ret) {
		log_error("no report: %s", strerror(-ret));
		return false;
	}
	for (enum machine_output i = 0; i < MACHINE_NR_OUTPUTS; i++) {
		const char *option, *path;

		if (m->outputs[i] < 0)
			continue;
		machine_output_name(m->cfg, i, &option, &path);
		ret = write_output(m, r, i);
		if (ret)
			log_error("%s%s: %s", option, path, strerror(-ret));
	}
	return true;
}

int machine_run(const struct config *cfg, struct machine_result *result, struct err *err)
{
	struct machine m;
	struct report report;
	bool has_report = false;
	int ret;

	memset(result, 0, sizeof(*result));
	signal(SIGPIPE, SIG_IGN); /* a console without a reader is no reason to end */
	ret = machine_create(&m, cfg, err);
	if (!ret)
		ret = run_loop(&m, err);
	if (!ret) {
		if (m.crashed && m.end == MACHINE_CRASHED)
			crash_dump(m.crashed, &m.mem, stderr);
		has_report = take_report(&m, &report);
		result->crashed = m.end == MACHINE_CRASHED;
		result->signal = m.end_signal;
		ret = m.end_error;
		*err = m.end_err;
	}
	machine_destroy(&m);
	/* After the console is gone: the table starts on a line of its own. */
	if (has_report) {
		if (cfg->exits && !cfg->exits_json)
			report_print(&report, stderr);
		report_free(&report);
	}
	return ret;
}
