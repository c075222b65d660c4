/* SPDX-License-Identifier: MIT */
#include "devices/virtio/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int host_open(void *opaque, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	(void)opaque;
	return fd < 0 ? -errno : fd;
}

static int host_control(void *opaque, int fd, unsigned long request, void *arg)
{
	(void)opaque;
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static const struct vhost_sys host_sys = { .open = host_open, .control = host_control };

static int control(const struct vhost *v, unsigned long request, void *arg)
{
	return v->sys->control(v->sys->opaque, v->fd, request, arg);
}

static int set_state(const struct vhost *v, unsigned index, unsigned long request, unsigned num)
{
	struct vhost_vring_state s = { .index = index, .num = num };

	return control(v, request, &s);
}

static int set_file(const struct vhost *v, unsigned index, unsigned long request, int fd)
{
	struct vhost_vring_file f = { .index = index, .fd = fd };

	return control(v, request, &f);
}

int vhost_open(struct vhost *v, const char *path, const struct vhost_sys *sys)
{
	int ret;

	v->sys = sys ? sys : &host_sys;
	v->fd = v->sys->open(v->sys->opaque, path);
	if (v->fd < 0) {
		ret = v->fd;
		v->fd = -1;
		return ret;
	}
	ret = control(v, VHOST_SET_OWNER, NULL);
	if (!ret)
		ret = control(v, VHOST_GET_FEATURES, &v->features);
	if (ret)
		vhost_close(v);
	return ret;
}

void vhost_close(struct vhost *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
}

int vhost_set_features(const struct vhost *v, uint64_t features)
{
	return control(v, VHOST_SET_FEATURES, &features);
}

int vhost_set_memory(const struct vhost *v, const struct mem *mem)
{
	_Alignas(struct vhost_memory) char
		raw[sizeof(struct vhost_memory) +
		    MEM_MAX_REGIONS * sizeof(struct vhost_memory_region)] = { 0 };
	struct vhost_memory *table = (void *)raw;

	table->nregions = mem->nr_regions;
	for (unsigned i = 0; i < mem->nr_regions; i++) {
		const struct mem_region *r = &mem->regions[i];

		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = r->gpa,
			.memory_size = r->size,
			.userspace_addr = (uintptr_t)r->hva,
		};
	}
	return control(v, VHOST_SET_MEM_TABLE, table);
}

int vhost_set_ring(const struct vhost *v, const struct vhost_ring *ring)
{
	struct vhost_vring_addr addr = {
		.index = ring->index,
		.desc_user_addr = (uintptr_t)ring->desc,
		.avail_user_addr = (uintptr_t)ring->avail,
		.used_user_addr = (uintptr_t)ring->used,
	};
	int ret = set_state(v, ring->index, VHOST_SET_VRING_NUM, ring->size);

	if (!ret)
		ret = set_state(v, ring->index, VHOST_SET_VRING_BASE, ring->base);
	if (!ret)
		ret = control(v, VHOST_SET_VRING_ADDR, &addr);
	return ret ? ret : set_file(v, ring->index, VHOST_SET_VRING_KICK, ring->kick_fd);
}

int vhost_set_call(const struct vhost *v, unsigned index, int fd)
{
	return set_file(v, index, VHOST_SET_VRING_CALL, fd);
}

int vhost_attach(const struct vhost *v, unsigned index, int fd)
{
	return set_file(v, index, VHOST_NET_SET_BACKEND, fd);
}

int vhost_get_base(const struct vhost *v, unsigned index, uint16_t *base)
{
	struct vhost_vring_state s = { .index = index };
	int ret = control(v, VHOST_GET_VRING_BASE, &s);

	if (!ret)
		*base = (uint16_t)s.num;
	return ret;
}
