/* SPDX-License-Identifier: MIT */
#include "vmm/pit_host.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "base/platform.h"

static int line_pulse(void *ctx)
{
	struct pit_host *h = ctx;

	return kvm_irq_pulse(h->kvm, PLATFORM_IRQ_PIT);
}

static uint64_t line_acked(void *ctx)
{
	struct pit_host *h = ctx;
	eventfd_t n;

	return eventfd_read(h->ack.fd, &n) ? 0 : n;
}

static void line_watch(void *ctx, bool on)
{
	struct pit_host *h = ctx;
	uint32_t events = on ? EPOLLIN : 0;

	if (h->ack.fd < 0 || events == h->ack_events)
		return;
	h->ack_events = events;
	loop_mod(&h->io.loop, &h->ack, events);
}

static void on_ack(void *opaque, uint32_t events)
{
	struct pit_host *h = opaque;

	(void)events;
	pit_acked(h->dev);
}

int pit_host_create(struct pit_host *h, struct kvm *kvm, struct bus *bus,
		    const struct pit_policy *policy, struct device **out)
{
	struct pit_config cfg = {
		.name = "pit",
		.bus = bus,
		.clock = &h->clock.clock,
		.line = { .pulse = line_pulse, .watch = line_watch, .ctx = h },
		.policy = *policy,
	};
	int fd, ret;

	h->kvm = kvm;
	ret = iothread_start(&h->io, "pit");
	if (ret)
		return ret;
	ret = host_clock_init(&h->clock, &h->io.loop);
	if (ret)
		return ret;
	h->has_clock = true;
	fd = kvm_irq_ack_eventfd(kvm, PLATFORM_IRQ_PIT);
	h->ack = (struct loop_src){ fd, on_ack, h };
	if (fd >= 0) {
		cfg.line.acked = line_acked;
		ret = loop_add(&h->io.loop, &h->ack, 0);
	} else if (fd != -ENOTSUP) {
		ret = fd;
	}
	if (!ret)
		ret = pit_create(&cfg, out);
	if (!ret)
		h->dev = *out;
	return ret;
}

void pit_host_stop(struct pit_host *h)
{
	iothread_join(&h->io);
}

void pit_host_destroy(struct pit_host *h)
{
	if (h->has_clock)
		host_clock_destroy(&h->clock);
	iothread_stop(&h->io);
	h->has_clock = false;
}
