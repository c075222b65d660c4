/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <semaphore.h>
#include <unistd.h>

#include "devices/virtio/virtio_mmio.h"

const struct vrig_variant vrig_variants[VRIG_NR_VARIANTS] = {
	[VRIG_MODERN] = { "modern", VIRTIO_PCI_MODERN, VDRV_MODERN, false,
			  VRIG_MODERN_FEATURES | VIRTIO_F_EVENT_IDX },
	[VRIG_MODERN_PACKED] = { "modern packed", VIRTIO_PCI_MODERN, VDRV_MODERN, false,
				 VRIG_MODERN_FEATURES | VIRTIO_F_RING_PACKED },
	[VRIG_TRANSITIONAL] = { "transitional", VIRTIO_PCI_TRANSITIONAL, VDRV_MODERN, false,
				VRIG_MODERN_FEATURES },
	[VRIG_TRANSITIONAL_PACKED] = { "transitional packed", VIRTIO_PCI_TRANSITIONAL, VDRV_MODERN,
				       false,
				       VRIG_MODERN_FEATURES | VIRTIO_F_RING_PACKED |
					       VIRTIO_F_EVENT_IDX },
	[VRIG_AS_LEGACY] = { "transitional used as legacy", VIRTIO_PCI_TRANSITIONAL, VDRV_LEGACY,
			     false, VRIG_LEGACY_FEATURES },
	[VRIG_LEGACY] = { "legacy", VIRTIO_PCI_LEGACY, VDRV_LEGACY, false, VRIG_F_FLUSH },
	[VRIG_LEGACY_EXITS] = { "legacy without ioeventfds", VIRTIO_PCI_LEGACY, VDRV_LEGACY, true,
				VRIG_LEGACY_FEATURES },
	[VRIG_MMIO] = { "mmio", VIRTIO_PCI_MODERN, VDRV_MMIO, false, VRIG_MODERN_FEATURES },
	[VRIG_MMIO_PACKED] = { "mmio packed", VIRTIO_PCI_MODERN, VDRV_MMIO, false,
			       VRIG_MODERN_FEATURES | VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX },
	[VRIG_MMIO_EXITS] = { "mmio without ioeventfds", VIRTIO_PCI_MODERN, VDRV_MMIO, true,
			      VRIG_MODERN_FEATURES | VIRTIO_F_EVENT_IDX },
};

int vrig_setup_none(void **state)
{
	struct vrig *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	vrig_init(m);
	*state = m;
	return 0;
}

int vrig_setup(void **state)
{
	vrig_setup_none(state);
	vrig_create(*state);
	return 0;
}

int vrig_setup_image_none(void **state)
{
	vrig_setup_none(state);
	vrig_open_image(*state, false);
	return 0;
}

int vrig_setup_image(void **state)
{
	vrig_setup_image_none(state);
	vrig_create(*state);
	return 0;
}

int vrig_teardown(void **state)
{
	vrig_fini(*state);
	free(*state);
	return 0;
}

static uint8_t image_byte(uint64_t offset)
{
	return (uint8_t)(offset * 31 + offset / 512 * 7);
}

void vrig_init(struct vrig *m)
{
	assert_int_equal(mem_init(&m->mem, VRIG_RAM), 0);
	fake_block_init(&m->disk, sizeof(m->bytes));
	m->disk.bytes = m->bytes;
	m->v = &vrig_variants[VRIG_MODERN];
	m->cfg = (struct virtio_blk_config){ .name = "virtio-blk0",
					     .at.devfn = -1,
					     .at.mem = &m->mem,
					     .block = &m->disk.b,
					     .at.queue_size = VRIG_QSIZE };
}

void vrig_fini(struct vrig *m)
{
	if (m->dev)
		vrig_destroy(m);
	block_destroy(m->image);
	mem_destroy(&m->mem);
	if (m->image)
		unlink(m->path);
}

void vrig_open_image(struct vrig *m, bool readonly)
{
	struct block_config cfg = { .path = m->path, .readonly = readonly, .serial = "SERIAL-1" };
	uint8_t bytes[VRIG_SECTORS * 512];
	struct err err;
	int fd;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = image_byte(i);
	strcpy(m->path, "/tmp/bantam-vblk-XXXXXX");
	fd = mkstemp(m->path);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	assert_int_equal(block_open(&cfg, &m->image, &err), 0);
	m->cfg.block = m->image;
}

void vrig_probe(struct vrig *m)
{
	struct mem *mem = m->cfg.at.mem;

	switch (m->v->kind) {
	case VDRV_MODERN:
		assert_true(vdrv_probe(&m->d, &m->bus, mem, VRIG_DEVFN));
		break;
	case VDRV_LEGACY:
		assert_true(vdrv_probe_legacy(&m->d, &m->bus, mem, VRIG_DEVFN));
		break;
	case VDRV_MMIO:
		assert_true(vdrv_probe_mmio(&m->d, &m->bus, mem, VRIG_MMIO_BASE));
		break;
	}
}

void vrig_create(struct vrig *m)
{
	struct pci_host_config pc = { .name = "pci", .bus = &m->bus };

	bus_init(&m->bus);
	fake_msi_init(&m->msi);
	if (!m->no_msi)
		pc.msi = &m->msi.ctl;
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++) {
		m->irqs[i] = (struct fake_irq){ 0 };
		pc.irqs[i] = fake_irq(&m->irqs[i]);
	}
	assert_int_equal(pci_host_create(&pc, &m->host), 0);
	m->cfg.at.pci = m->v->kind == VDRV_MMIO ? NULL : m->host;
	m->cfg.at.bus = &m->bus;
	m->cfg.at.base = VRIG_MMIO_BASE;
	m->cfg.at.irq = fake_irq(&m->mmio_irq);
	assert_int_equal(virtio_blk_create(&m->cfg, &m->dev), 0);
	m->vdev = virtio_of(m->dev);
	assert_int_equal(pci_assign(m->host), 0);
	vrig_probe(m);
}

void vrig_create_as(struct vrig *m, const struct vrig_variant *v)
{
	m->v = v;
	m->cfg.at.devfn = VRIG_DEVFN;
	m->cfg.at.mode = v->mode;
	m->cfg.at.packed = true;
	m->cfg.at.no_ioeventfd = v->no_ioeventfd;
	m->cfg.queues = 2;
	m->cfg.at.threads = 2; /* one looks at all of its queues */
	vrig_create(m);
}

void vrig_destroy(struct vrig *m)
{
	device_destroy(m->dev);
	m->dev = NULL;
	device_destroy(&m->host->dev);
	for (unsigned i = 0; i < BUS_NR_SPACES; i++) {
		assert_int_equal(m->bus.tables[i].nr_ranges, 0);
		assert_int_equal(m->bus.tables[i].nr_eventfds, 0);
	}
	for (unsigned i = 0; i < FAKE_MSI_VECTORS; i++)
		assert_false(m->msi.vec[i].used);
	assert_false(m->mmio_irq.level);
	assert_null(m->disk.queues);
	bus_destroy(&m->bus);
}

void vrig_create_twin(struct vrig *twin, struct vrig *m)
{
	*twin = (struct vrig){ .cfg = m->cfg, .v = m->v, .no_msi = m->no_msi };
	vrig_create(twin);
}

void vrig_move_to_twin(struct vrig *twin, const struct vrig *m)
{
	twin->d.features = m->d.features;
	for (unsigned i = 0; i < VRIG_QUEUES; i++) {
		twin->q[i] = m->q[i];
		twin->q[i].d = &twin->d;
	}
}

void vrig_start_queues(struct vrig *m, uint64_t features, unsigned nr)
{
	struct vdrv *d = &m->d;

	if (d->kind != VDRV_LEGACY)
		features |= VIRTIO_F_VERSION_1;
	assert_true(vdrv_start(d, features));
	if (d->msix_cap) {
		vdrv_msix_enable(d, true);
		for (unsigned i = 0; i <= nr; i++)
			vdrv_msix_entry(d, i, 0xfee00000, 0x30 + i);
		vdrv_common_out(d, 0x10, 2, 0);
	}
	for (unsigned i = 0; i < nr; i++) {
		vdrv_queue_setup(d, &m->q[i], i, m->cfg.at.queue_size, VRIG_RING(i),
				 features & VIRTIO_F_EVENT_IDX);
		if (d->kind == VDRV_MODERN)
			assert_int_equal(vdrv_common_in(d, 0x1c, 2), 1);
	}
	vdrv_driver_ok(d);
	assert_int_equal(vdrv_status(d), d->kind == VDRV_LEGACY ? 0x07 : 0x0f);
}

void vrig_start(struct vrig *m, uint64_t features)
{
	vrig_start_queues(m, features, 1);
}

static void *mem_of(struct mem *mem, uint64_t gpa)
{
	void *p = mem_at(mem, gpa, 1);

	assert_non_null(p);
	return p;
}

void *vrig_at(struct vrig *m, uint64_t gpa)
{
	return mem_of(m->cfg.at.mem, gpa);
}

void vrig_put_header(struct vdrv_queue *q, unsigned slot, uint32_t type, uint64_t sector)
{
	char *h = mem_of(q->d->mem, VRIG_HEADER(slot));

	store_le(h, 8, type);
	store_le(h + 8, 8, sector);
	*(uint8_t *)mem_of(q->d->mem, VRIG_STATUS(slot)) = 0xee;
}

static void add(struct vdrv_queue *q, unsigned slot, uint32_t type, uint64_t sector, uint32_t len,
		bool indirect)
{
	bool to_disk = type == VRIG_OUT || type == VRIG_DISCARD || type == VRIG_ZEROES;
	struct vdrv_seg segs[3] = { { VRIG_HEADER(slot), 16, false },
				    { VRIG_DATA(slot), len, !to_disk },
				    { VRIG_STATUS(slot), 1, true } };

	if (!len)
		segs[1] = segs[2];
	if (!(q->d->features & VIRTIO_F_INDIRECT_DESC))
		indirect = false;
	vrig_put_header(q, slot, type, sector);
	vdrv_add(q, segs, len ? 3 : 2, indirect ? VRIG_TABLE(slot) : 0);
}

void vrig_add(struct vdrv_queue *q, unsigned slot, uint32_t type, uint64_t sector, uint32_t len)
{
	add(q, slot, type, sector, len, true);
}

uint32_t vrig_used(struct vdrv_queue *q)
{
	uint32_t id, len;

	assert_true(vdrv_used(q, &id, &len, VRIG_WAIT));
	return len;
}

void vrig_check_none_used(struct vdrv_queue *q, unsigned ms)
{
	uint32_t id, len;

	assert_false(vdrv_used(q, &id, &len, ms));
}

uint8_t vrig_finish(struct vdrv_queue *q, unsigned slot, uint32_t *used)
{
	uint32_t len = vrig_used(q);

	if (used)
		*used = len;
	return *(uint8_t *)mem_of(q->d->mem, VRIG_STATUS(slot));
}

uint8_t vrig_request(struct vdrv_queue *q, uint32_t type, uint64_t sector, uint32_t len,
		     uint32_t *used)
{
	vrig_add(q, 0, type, sector, len);
	vdrv_kick(q);
	return vrig_finish(q, 0, used);
}

void vrig_check_data(struct vdrv_queue *q, uint64_t gpa, uint64_t offset, unsigned len)
{
	const uint8_t *p = mem_of(q->d->mem, gpa);

	for (unsigned i = 0; i < len; i++)
		if (p[i] != image_byte(offset + i))
			fail_msg("byte %u is %#x", i, p[i]);
}

void vrig_add_read(struct vdrv_queue *q, unsigned slot, unsigned sector)
{
	add(q, slot, VRIG_IN, sector, 512, sector & 1);
}

void vrig_finish_read(struct vdrv_queue *q, unsigned slot, unsigned sector)
{
	uint32_t used;

	assert_int_equal(vrig_finish(q, slot, &used), VRIG_OK);
	assert_int_equal(used, 513);
	vrig_check_data(q, VRIG_DATA(slot), sector * 512, 512);
}

void vrig_read(struct vdrv_queue *q, unsigned sector)
{
	vrig_add_read(q, 0, sector);
	vdrv_kick(q);
	vrig_finish_read(q, 0, sector);
}

struct settle {
	const struct virtio_queue *q;
	bool armed;
	sem_t sem;
};

static void look_whether_armed(void *opaque)
{
	struct settle *s = opaque;

	s->armed = s->q->armed;
	sem_post(&s->sem);
}

/* Events are taken in turn, but the first post may still overtake a kick; the second cannot. */
void vrig_settle(struct vrig *m)
{
	struct settle s = { .q = &m->vdev->queues[0] };
	struct loop_post post = { .fn = look_whether_armed, .opaque = &s };

	sem_init(&s.sem, 0, 0);
	for (unsigned i = 0; i < 2 || (!s.armed && i < VRIG_WAIT); i++) {
		loop_post(s.q->loop, &post);
		while (sem_wait(&s.sem)) /* a signal */
			;
	}
	sem_destroy(&s.sem);
}

void vrig_wait(const atomic_uint *v, unsigned n)
{
	for (unsigned i = 0; i < VRIG_WAIT && *v < n; i++)
		usleep(1000);
	assert_int_equal(*v, n);
}

void vrig_wait_needs_reset(struct vrig *m)
{
	for (unsigned i = 0; i < VRIG_WAIT; i++) {
		if (vdrv_status(&m->d) & VIRTIO_STATUS_NEEDS_RESET)
			return;
		usleep(1000);
	}
	fail();
}

unsigned vrig_take(struct vrig *m, unsigned vec)
{
	struct virtio_pci *vp = container_of(m->vdev, struct virtio_pci, vdev);

	return fake_msi_take(&m->msi, vp->msix.vec[vec].id);
}

/* Interrupts come after the used index that a test waits for. */
unsigned vrig_take_soon(struct vrig *m, unsigned vec)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VRIG_WAIT && !n; i++) {
		n = vrig_take(m, vec);
		usleep(1000);
	}
	return n;
}

bool vrig_line(struct vrig *m)
{
	bool level;

	if (m->v->kind == VDRV_MMIO) {
		struct virtio_mmio *vm = container_of(m->vdev, struct virtio_mmio, vdev);

		pthread_mutex_lock(&vm->irq_lock);
		level = m->mmio_irq.level;
		pthread_mutex_unlock(&vm->irq_lock);
		return level;
	}
	pthread_mutex_lock(&m->host->intx_lock);
	level = m->irqs[10].level; /* slot 2, INTA: PIRQB */
	pthread_mutex_unlock(&m->host->intx_lock);
	return level;
}

void vrig_wait_line(struct vrig *m, bool level)
{
	for (unsigned i = 0; i < VRIG_WAIT && vrig_line(m) != level; i++)
		usleep(1000);
	assert_int_equal(vrig_line(m), level);
}
