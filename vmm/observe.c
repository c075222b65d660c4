/* SPDX-License-Identifier: MIT */
#include "vmm/observe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cpu/vcpu.h"
#include "vmm/observe_parts.h"

struct trace_point observe_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (struct trace_point){
		.ticks = ticks_now(),
		.ns = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec,
	};
}

int observe_init(struct observe *o, const char *symbols_path, uint64_t trace_events,
		 struct err *err)
{
	memset(o, 0, sizeof(*o));
	pthread_mutex_init(&o->lock, NULL);
	o->tracing = trace_events != 0;
	trace_init(&o->trace, trace_events);
	o->started = observe_now();
	o->symbols_path = symbols_path;
	return symbols_path ? symbols_load(symbols_path, &o->file, err) : 0;
}

void observe_destroy(struct observe *o)
{
	symbols_free(o->file);
	symbols_free(o->guest);
	trace_destroy(&o->trace);
	for (unsigned i = 0; i < o->nr_disks; i++)
		free(o->disks[i]);
	pthread_mutex_destroy(&o->lock);
}

int observe_ring(struct observe *o, const char *thread, struct trace_ring **ring)
{
	*ring = NULL;
	if (!o->tracing)
		return 0;
	*ring = trace_add_ring(&o->trace, thread);
	return *ring ? 0 : -ENOMEM;
}

struct block_stages *observe_disk(struct observe *o, const char *name)
{
	struct block_stages *s = malloc(sizeof(*s));
	struct trace_ring *ring;

	if (!s || observe_ring(o, name, &ring)) {
		free(s);
		return NULL;
	}
	block_stages_init(s, name, ring);
	o->disks[o->nr_disks++] = s;
	return s;
}

void observe_doorbells(struct observe *o, const struct virtio_dev *vdev)
{
	o->doorbells[o->nr_doorbells++] = vdev;
}

void observe_start(struct observe *o)
{
	pthread_mutex_lock(&o->lock);
	o->started = observe_now();
	pthread_mutex_unlock(&o->lock);
}

/* On the clock's thread. */
static void tick(void *opaque)
{
	struct observe *o = opaque;
	bool again;

	pthread_mutex_lock(&o->lock);
	again = o->profiling;
	if (again)
		observe_find_names(o, false);
	pthread_mutex_unlock(&o->lock);
	if (again)
		timer_arm(&o->tick, clock_now(o->tick.clock) + NSEC_PER_SEC);
}

void observe_set_clock(struct observe *o, struct clock *clock)
{
	timer_init(&o->tick, clock, tick, o);
}

int observe_set_profile(struct observe *o, bool on)
{
	int ret = 0;

	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->nr_vcpus && !ret; i++)
		ret = vcpu_set_profiling(&o->vcpus[i], o->mem, on);
	if (!ret) {
		o->profiling = on;
		o->profiled |= on;
	}
	pthread_mutex_unlock(&o->lock);
	if (!ret && on)
		timer_arm(&o->tick, clock_now(o->tick.clock) + NSEC_PER_SEC);
	return ret;
}

bool observe_profiling(struct observe *o)
{
	bool on;

	pthread_mutex_lock(&o->lock);
	on = o->profiling;
	pthread_mutex_unlock(&o->lock);
	return on;
}

void observe_clear_profile(struct observe *o)
{
	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->nr_vcpus; i++)
		if (o->vcpus[i].profile)
			profile_clear(o->vcpus[i].profile);
	pthread_mutex_unlock(&o->lock);
}

int observe_write_trace(struct observe *o, int fd)
{
	struct trace_clock clock;

	pthread_mutex_lock(&o->lock);
	clock = (struct trace_clock){ .start = o->started, .end = observe_now() };
	pthread_mutex_unlock(&o->lock);
	return trace_write_json(&o->trace, &clock, fd);
}
