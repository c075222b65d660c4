/* SPDX-License-Identifier: MIT */
#include "vmm/disks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backends/block/policy.h"
#include "base/log.h"
#include "devices/virtio/virtio_blk.h"
#include "vmm/rates.h"

/* --- a disk that stops ---------------------------------------------------------------------- */

/* On the thread of whichever queue it was. */
static void disk_stopped(void *ctx)
{
	struct machine *m = ctx;

	loop_post(&m->loop, &m->disks_post);
}

static void say_failure(const struct machine *m, unsigned i, const struct policy_failure *f)
{
	static const char *const ops[] = {
		[BLOCK_READ] = "reading",         [BLOCK_WRITE] = "writing",
		[BLOCK_FLUSH] = "flushing",       [BLOCK_DISCARD] = "discarding",
		[BLOCK_WRITE_ZEROES] = "zeroing",
	};
	char where[64] = "";

	if (f->op != BLOCK_FLUSH)
		snprintf(where, sizeof(where), " %" PRIu64 " bytes at %" PRIu64, f->len, f->offset);
	log_error("disk%u (%s): %s%s: %s; the machine is stopped until bantam resume %s", i,
		  m->cfg->disks[i].path, ops[f->op], where, strerror(-f->error), m->name);
}

/*
 * Stops the vCPUs, but does not wait for them: one may be in the middle of a reset of the very
 * disk, which waits for what is held.
 */
static void handle_stopped(void *opaque)
{
	struct machine *m = opaque;
	struct policy_failure failure;

	for (unsigned i = 0; i < m->cfg->nr_disks; i++) {
		if (!m->policies[i] || m->stopped_disks & 1u << i ||
		    !policy_stopped(m->policies[i], &failure))
			continue;
		m->stopped_disks |= 1u << i;
		say_failure(m, i, &failure);
	}
	for (unsigned i = 0; m->stopped_disks && i < m->nr_vcpus; i++)
		vcpu_pause(&m->vcpus[i]);
}

static void resume_policies(struct machine *m)
{
	m->stopped_disks = 0;
	for (unsigned i = 0; i < m->cfg->nr_disks; i++)
		if (m->policies[i])
			policy_resume(m->policies[i]);
}

int disks_resume(struct machine *m, struct err *err)
{
	if (!m->stopped_disks)
		return err_set(err, -EALREADY, "is not stopped");
	resume_policies(m);
	/* One that has asked for a reset or an end does not run until that has come. */
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; !m->wanted && i < m->nr_vcpus; i++)
		vcpu_resume(&m->vcpus[i]);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

void disks_drain(struct machine *m)
{
	for (unsigned i = 0; i < m->cfg->nr_disks; i++) {
		limit_lift(m->limits[i], true);
		if (m->policies[i])
			policy_give_up(m->policies[i]);
	}
}

void disks_go_on(struct machine *m)
{
	for (unsigned i = 0; i < m->cfg->nr_disks; i++)
		limit_lift(m->limits[i], false);
	resume_policies(m);
}

int disks_stack(struct machine *m, unsigned i)
{
	const struct disk_config *d = &m->cfg->disks[i];
	struct limit_config limit = { .below = m->blocks[i], .rates = d->rates };
	struct policy_config policy = { .stopped = disk_stopped, .ctx = m };
	int ret = limit_create(&limit, &m->limits[i]);

	m->disks_post = (struct loop_post){ .fn = handle_stopped, .opaque = m };
	if (ret)
		return ret;
	policy.below = m->blocks[i] = m->limits[i];
	if (d->on_error == DISK_REPORT)
		return 0;
	ret = policy_create(&policy, &m->policies[i]);
	if (!ret)
		m->blocks[i] = m->policies[i];
	return ret;
}

/* --- while the machine runs ----------------------------------------------------------------- */

static int find(const struct machine *m, const char *name, unsigned *out, struct err *err)
{
	unsigned nr = m->cfg->nr_disks;
	char last[32] = "";
	uint64_t i;

	if (!strncmp(name, "disk", 4) && nr && !util_parse_uint(name + 4, 0, nr - 1, &i)) {
		*out = (unsigned)i;
		return 0;
	}
	if (nr > 1)
		snprintf(last, sizeof(last), " to disk%u", nr - 1);
	return err_set(err, -ENOENT, "%.40s: no such disk; %s%s", name,
		       nr ? "there is disk0" : "there is none", last);
}

int disks_resize(struct machine *m, const char *name, uint64_t size, bool shrink, struct err *err)
{
	struct err why = { "" };
	unsigned i = 0;
	int ret = find(m, name, &i, err);

	if (ret)
		return ret;
	if (!m->disks[i])
		return err_set(err, -EOPNOTSUPP,
			       "%s: an IDE drive has one size while it is there; if=virtio can "
			       "change it",
			       name);
	if (size < m->blocks[i]->size && !shrink)
		return err_set(err, -EINVAL,
			       "%s: has %" PRIu64 " bytes; --shrink is needed to cut off its end",
			       name, m->blocks[i]->size);
	ret = block_resize(m->blocks[i], size, &why);
	if (ret)
		return err_set(err, ret, "%s: %.400s", name, why.text);
	virtio_blk_resized(m->disks[i]);
	return 0;
}

int disks_throttle(struct machine *m, const char *name, unsigned set, struct limit_rates *rates,
		   struct err *err)
{
	struct limit_rates now;
	unsigned i = 0;
	int ret = find(m, name, &i, err);

	if (ret)
		return ret;
	limit_get(m->limits[i], &now);
	for (enum rate rate = 0; rate < NR_RATES; rate++)
		if (set & 1u << rate)
			*rate_field(&now, rate) = *rate_field(rates, rate);
	if (set)
		limit_set(m->limits[i], &now);
	*rates = now;
	return 0;
}
