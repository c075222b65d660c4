/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_vhost.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <string.h>

static int fake_open(void *opaque, const char *path)
{
	struct fake_vhost *f = opaque;

	assert(!strcmp(path, "/dev/vhost-net"));
	if (f->open_result)
		return f->open_result;
	f->nodes[f->nr_nodes] = open("/dev/null", O_RDWR | O_CLOEXEC);
	return f->nodes[f->nr_nodes++];
}

static void note_memory(struct fake_vhost *f, const struct vhost_memory *m)
{
	f->nr_regions = m->nregions;
	assert(f->nr_regions <= MEM_MAX_REGIONS);
	for (unsigned i = 0; i < m->nregions; i++)
		f->regions[i] = (struct mem_region){
			.gpa = m->regions[i].guest_phys_addr,
			.size = m->regions[i].memory_size,
			.hva = (void *)(uintptr_t)m->regions[i].userspace_addr,
		};
}

static void note_state(struct fake_vhost_call *c, const struct vhost_vring_state *s)
{
	c->index = s->index;
	c->value = s->num;
}

static void note_file(struct fake_vhost_call *c, const struct vhost_vring_file *v)
{
	c->index = v->index;
	c->value = v->fd;
}

static void note_addr(struct fake_vhost_call *c, const struct vhost_vring_addr *a)
{
	assert(!a->flags && !a->log_guest_addr);
	c->index = a->index;
	c->desc = a->desc_user_addr;
	c->avail = a->avail_user_addr;
	c->used = a->used_user_addr;
}

static const char *note(struct fake_vhost *f, struct fake_vhost_call *c, unsigned long request,
			void *arg)
{
	switch (request) {
	case VHOST_SET_OWNER:
		return "SET_OWNER";
	case VHOST_GET_FEATURES:
		memcpy(arg, &f->features, sizeof(f->features));
		return "GET_FEATURES";
	case VHOST_SET_FEATURES:
		memcpy(&c->value, arg, sizeof(c->value));
		return "SET_FEATURES";
	case VHOST_SET_MEM_TABLE:
		note_memory(f, arg);
		return "SET_MEM_TABLE";
	case VHOST_SET_VRING_ADDR:
		note_addr(c, arg);
		return "SET_VRING_ADDR";
	case VHOST_GET_VRING_BASE:
		note_state(c, arg);
		((struct vhost_vring_state *)arg)->num = f->base[2 * c->node + c->index];
		return "GET_VRING_BASE";
	case VHOST_SET_VRING_NUM:
		note_state(c, arg);
		return "SET_VRING_NUM";
	case VHOST_SET_VRING_BASE:
		note_state(c, arg);
		return "SET_VRING_BASE";
	case VHOST_SET_VRING_KICK:
		note_file(c, arg);
		return "SET_VRING_KICK";
	case VHOST_SET_VRING_CALL:
		note_file(c, arg);
		return "SET_VRING_CALL";
	case VHOST_NET_SET_BACKEND:
		note_file(c, arg);
		return "NET_SET_BACKEND";
	default:
		return "?";
	}
}

static int fake_control(void *opaque, int fd, unsigned long request, void *arg)
{
	struct fake_vhost *f = opaque;
	struct fake_vhost_call *c = &f->log[f->nr_log++];

	assert(f->nr_log < FAKE_VHOST_LOG);
	*c = (struct fake_vhost_call){ 0 };
	while (c->node < f->nr_nodes && f->nodes[c->node] != fd)
		c->node++;
	assert(c->node < f->nr_nodes);
	c->request = note(f, c, request, arg);
	return f->failing && !strcmp(f->failing, c->request) ? -EINVAL : 0;
}

void fake_vhost_init(struct fake_vhost *f)
{
	f->sys = (struct vhost_sys){ fake_open, fake_control, f };
}

const struct fake_vhost_call *fake_vhost_find(const struct fake_vhost *f, const char *request,
					      unsigned index, unsigned n)
{
	for (unsigned i = 0; i < f->nr_log; i++)
		if (!strcmp(f->log[i].request, request) && f->log[i].index == index &&
		    !f->log[i].node && !n--)
			return &f->log[i];
	return NULL;
}
