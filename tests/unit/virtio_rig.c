/* SPDX-License-Identifier: MIT */
#include "tests/unit/virtio_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <semaphore.h>
#include <unistd.h>

#include "base/platform.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_mmio.h"

#define VRIG_TABLE 0x100000ull

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

int vrig_setup(void **state)
{
	struct vrig_disk *f = calloc(1, sizeof(*f));
	struct block_config cfg = { .serial = "SERIAL-1" };
	struct err err;
	FILE *file;
	int fd;

	assert_int_equal(mem_init(&f->mem, VRIG_RAM), 0);
	strcpy(f->path, "/tmp/bantam-vtrans-XXXXXX");
	fd = mkstemp(f->path);
	file = fdopen(fd, "w");
	for (int i = 0; i < VRIG_SECTORS; i++)
		assert_true(fprintf(file, "%c%511d", i, i) == 512);
	fclose(file);
	cfg.path = f->path;
	assert_int_equal(block_open(&cfg, &f->block, &err), 0);
	*state = f;
	return 0;
}

int vrig_teardown(void **state)
{
	struct vrig_disk *f = *state;

	block_destroy(f->block);
	mem_destroy(&f->mem);
	unlink(f->path);
	free(f);
	return 0;
}

void vrig_probe(struct vrig *m)
{
	switch (m->v->kind) {
	case VDRV_MODERN:
		assert_true(vdrv_probe(&m->d, &m->bus, m->mem, VRIG_DEVFN));
		break;
	case VDRV_LEGACY:
		assert_true(vdrv_probe_legacy(&m->d, &m->bus, m->mem, VRIG_DEVFN));
		break;
	case VDRV_MMIO:
		assert_true(vdrv_probe_mmio(&m->d, &m->bus, m->mem, VRIG_MMIO_BASE));
		break;
	}
}

void vrig_init(struct vrig *m, struct vrig_disk *f, const struct vrig_variant *v, bool msi,
	       bool flr)
{
	struct pci_host_config pc = { .name = "pci", .bus = &m->bus };
	struct virtio_blk_config cfg = { .name = "virtio-blk0",
					 .at.devfn = VRIG_DEVFN,
					 .at.mode = v->mode,
					 .at.flr = flr,
					 .at.bus = &m->bus,
					 .at.base = VRIG_MMIO_BASE,
					 .at.irq = fake_irq(&m->mmio_irq),
					 .at.mem = &f->mem,
					 .block = f->block,
					 .queues = 2,
					 .at.threads = 2, /* one looks at all of its queues */
					 .at.queue_size = VRIG_QSIZE,
					 .at.packed = true,
					 .at.no_ioeventfd = v->no_ioeventfd };

	m->v = v;
	m->mem = &f->mem;
	bus_init(&m->bus);
	fake_msi_init(&m->msi);
	if (msi)
		pc.msi = &m->msi.ctl;
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		pc.irqs[i] = fake_irq(&m->irqs[i]);
	assert_int_equal(pci_host_create(&pc, &m->host), 0);
	if (v->kind != VDRV_MMIO)
		cfg.at.pci = m->host;
	assert_int_equal(virtio_blk_create(&cfg, &m->dev), 0);
	m->vdev = virtio_of(m->dev);
	assert_int_equal(pci_assign(m->host), 0);
	vrig_probe(m);
}

void vrig_fini(struct vrig *m)
{
	device_destroy(m->dev);
	device_destroy(&m->host->dev);
	for (unsigned i = 0; i < BUS_NR_SPACES; i++) {
		assert_int_equal(m->bus.tables[i].nr_ranges, 0);
		assert_int_equal(m->bus.tables[i].nr_eventfds, 0);
	}
	assert_false(m->mmio_irq.level);
	bus_destroy(&m->bus);
}

static void *at(struct vrig *m, uint64_t gpa)
{
	void *p = mem_at(m->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

void vrig_start(struct vrig *m)
{
	uint64_t features = m->v->features;

	assert_true(vdrv_start(&m->d, features));
	if (m->d.msix_cap) {
		vdrv_msix_enable(&m->d, true);
		for (unsigned i = 0; i < 3; i++)
			vdrv_msix_entry(&m->d, i, 0xfee00000, 0x30 + i);
		vdrv_common_out(&m->d, 0x10, 2, 0);
	}
	vdrv_queue_setup(&m->d, &m->q, 0, VRIG_QSIZE, VRIG_RING(0), features & VIRTIO_F_EVENT_IDX);
	vdrv_driver_ok(&m->d);
	assert_int_equal(vdrv_status(&m->d), m->v->kind == VDRV_LEGACY ? 0x07 : 0x0f);
}

void vrig_add(struct vrig *m, unsigned slot, uint32_t type, uint64_t sector)
{
	const struct vdrv_seg segs[] = { { VRIG_HEADER + slot * 16, 16, false },
					 { VRIG_DATA + slot * 512, 512, type != 1 },
					 { VRIG_STATUS + slot, 1, true } };
	char *h = at(m, VRIG_HEADER + slot * 16);

	store_le(h, 8, type);
	store_le(h + 8, 8, sector);
	*(uint8_t *)at(m, VRIG_STATUS + slot) = 0xee;
	vdrv_add(&m->q, segs, 3,
		 m->v->features & VIRTIO_F_INDIRECT_DESC && sector & 1 ? VRIG_TABLE + slot * 64
								       : 0);
}

void vrig_finish(struct vrig *m, unsigned slot, unsigned sector)
{
	uint32_t id, len;

	assert_true(vdrv_used(&m->q, &id, &len, VRIG_WAIT));
	assert_int_equal(len, 513);
	assert_int_equal(*(uint8_t *)at(m, VRIG_STATUS + slot), 0);
	assert_int_equal(*(uint8_t *)at(m, VRIG_DATA + slot * 512), sector);
}

void vrig_request(struct vrig *m, unsigned sector)
{
	vrig_add(m, 0, 0, sector);
	vdrv_kick(&m->q);
	vrig_finish(m, 0, sector);
}

static void post_sem(void *opaque)
{
	sem_post(opaque);
}

void vrig_settle(struct vrig *m)
{
	struct loop_post post = { .fn = post_sem };
	sem_t sem;

	sem_init(&sem, 0, 0);
	post.opaque = &sem;
	for (unsigned i = 0; i < 2; i++) {
		loop_post(m->vdev->queues[0].loop, &post);
		while (sem_wait(&sem)) /* a signal */
			;
	}
	sem_destroy(&sem);
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
	level = m->irqs[PLATFORM_PCI_GSI(VRIG_DEVFN >> 3, 0)].level;
	pthread_mutex_unlock(&m->host->intx_lock);
	return level;
}

void vrig_wait_line(struct vrig *m)
{
	for (unsigned i = 0; i < VRIG_WAIT && !vrig_line(m); i++)
		usleep(1000);
	assert_true(vrig_line(m));
}
