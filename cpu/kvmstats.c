/* SPDX-License-Identifier: MIT */
#include "cpu/kvmstats.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static void fill(struct kvmstat *out, const struct kvm_stats_desc *d, const uint64_t *values)
{
	uint32_t type = d->flags & KVM_STATS_TYPE_MASK;

	snprintf(out->name, sizeof(out->name), "%s", d->name);
	out->histogram = type == KVM_STATS_TYPE_LINEAR_HIST || type == KVM_STATS_TYPE_LOG_HIST;
	out->peak = type == KVM_STATS_TYPE_PEAK || type == KVM_STATS_TYPE_INSTANT;
	out->value = 0;
	for (uint16_t i = 0; i < d->size; i++)
		out->value += values[i];
}

/* The kernel is trusted, but not to have the layout of the header we were built with. */
static int read_all(int fd, struct kvmstats *out)
{
	struct kvm_stats_header head;
	size_t desc_size;
	uint64_t values[1024];
	char *descs;
	int ret;

	ret = util_pread_all(fd, &head, sizeof(head), 0);
	if (ret)
		return ret;
	if (head.num_desc > 4096 || head.name_size > 4096)
		return -EPROTO;
	desc_size = sizeof(struct kvm_stats_desc) + head.name_size;
	descs = calloc(head.num_desc, desc_size);
	out->stats = calloc(head.num_desc, sizeof(*out->stats));
	if (!descs || !out->stats) {
		free(descs);
		return -ENOMEM;
	}
	ret = util_pread_all(fd, descs, head.num_desc * desc_size, head.desc_offset);
	for (uint32_t i = 0; i < head.num_desc && !ret; i++) {
		const struct kvm_stats_desc *d =
			(const struct kvm_stats_desc *)(const void *)(descs + i * desc_size);

		if (d->size > ARRAY_SIZE(values))
			ret = -EPROTO;
		else
			ret = util_pread_all(fd, values, d->size * sizeof(values[0]),
					     (uint64_t)head.data_offset + d->offset);
		if (!ret)
			fill(&out->stats[out->nr++], d, values);
	}
	free(descs);
	return ret;
}

int kvmstats_open(int fd)
{
	int stats_fd = ioctl(fd, KVM_GET_STATS_FD, NULL);

	return stats_fd < 0 ? -errno : stats_fd;
}

int kvmstats_read(int stats_fd, struct kvmstats *out)
{
	int ret;

	memset(out, 0, sizeof(*out));
	ret = read_all(stats_fd, out);
	if (ret)
		kvmstats_free(out);
	return ret;
}

void kvmstats_free(struct kvmstats *s)
{
	free(s->stats);
	memset(s, 0, sizeof(*s));
}

static struct kvmstat *find(const struct kvmstats *s, const char *name)
{
	for (size_t i = 0; i < s->nr; i++)
		if (!strcmp(s->stats[i].name, name))
			return &s->stats[i];
	return NULL;
}

void kvmstats_add(struct kvmstats *a, const struct kvmstats *b)
{
	for (size_t i = 0; i < b->nr; i++) {
		struct kvmstat *st = find(a, b->stats[i].name);

		if (!st)
			continue;
		if (st->peak)
			st->value = max_u64(st->value, b->stats[i].value);
		else
			st->value += b->stats[i].value;
	}
}

uint64_t kvmstats_get(const struct kvmstats *s, const char *name)
{
	const struct kvmstat *st = find(s, name);

	return st ? st->value : 0;
}
