/* SPDX-License-Identifier: MIT */
#include "devices/pci/msi.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "devices/pci/pci_host.h"

static int vector_alloc(struct msi_ctl *ctl, struct pci_msi_vector *v)
{
	*v = (struct pci_msi_vector){ .fd = -1, .masked = true };
	v->id = ctl->ops->alloc(ctl, &v->fd);
	return v->id < 0 ? v->id : 0;
}

/* Tells the controller what a vector does from now on, unless it knows. */
static void vector_set(struct msi_ctl *ctl, struct pci_msi_vector *v, uint64_t addr, uint32_t data,
		       bool masked)
{
	if (masked ? v->masked : !v->masked && v->addr == addr && v->data == data)
		return;
	if (ctl->ops->set(ctl, v->id, addr, data, masked) && !masked) {
		/* The controller has no room for it: the guest misses the interrupt. */
		(void)ctl->ops->set(ctl, v->id, addr, data, true);
		masked = true;
	}
	v->masked = masked;
	v->addr = addr;
	v->data = data;
}

/* A signal that a mask holds back. An unmasked vector's is the controller's already. */
static bool vector_pending(const struct pci_msi_vector *v)
{
	struct pollfd pfd = { .fd = v->fd, .events = POLLIN };

	return v->masked && poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLIN);
}

static void vector_clear(const struct pci_msi_vector *v)
{
	eventfd_t n;

	if (vector_pending(v))
		(void)eventfd_read(v->fd, &n);
}

static uint16_t cap_control(const struct pci_dev *pd, unsigned cap)
{
	return (uint16_t)load_le(pd->s->config + cap + PCI_MSIX_CONTROL, 2);
}

static void msix_apply(struct pci_dev *pd, unsigned vec)
{
	struct pci_msix *m = pd->msix;
	const uint8_t *entry = m->s->table + vec * PCI_MSIX_ENTRY_SIZE;
	uint16_t control = cap_control(pd, m->cap);
	bool masked = !(control & PCI_MSIX_CONTROL_ENABLE) ||
		      (control & PCI_MSIX_CONTROL_MASKALL) ||
		      (entry[PCI_MSIX_ENTRY_CONTROL] & PCI_MSIX_ENTRY_MASKED);

	vector_set(m->ctl, &m->vec[vec], load_le(entry, 8),
		   (uint32_t)load_le(entry + PCI_MSIX_ENTRY_DATA, 4), masked);
}

static void msix_update(struct pci_dev *pd)
{
	struct pci_msix *m = pd->msix;

	atomic_store_explicit(&m->enabled, cap_control(pd, m->cap) & PCI_MSIX_CONTROL_ENABLE,
			      memory_order_relaxed);
	for (unsigned i = 0; i < m->nr; i++)
		msix_apply(pd, i);
}

static void msi_update(struct pci_dev *pd)
{
	struct pci_msi *m = pd->msi;
	const uint8_t *cap = pd->s->config + m->cap;
	bool enabled = cap_control(pd, m->cap) & PCI_MSI_CONTROL_ENABLE;

	atomic_store_explicit(&m->enabled, enabled, memory_order_relaxed);
	vector_set(m->ctl, &m->vec, load_le(cap + PCI_MSI_ADDR, 8),
		   (uint32_t)load_le(cap + PCI_MSI_DATA, 2), !enabled);
}

void pci_msi_update(struct pci_dev *pd)
{
	if (pd->msix)
		msix_update(pd);
	if (pd->msi)
		msi_update(pd);
}

void pci_msi_reset(struct pci_dev *pd)
{
	if (pd->msix) {
		struct pci_msix *m = pd->msix;

		memset(m->s, 0, sizeof(*m->s));
		for (unsigned i = 0; i < m->nr; i++)
			m->s->table[i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_CONTROL] =
				PCI_MSIX_ENTRY_MASKED;
	}
	pci_msi_update(pd); /* masks them all: the enable bits are off */
	pci_msix_clear_pending(pd);
	if (pd->msi)
		vector_clear(&pd->msi->vec);
}

void pci_msix_clear_pending(struct pci_dev *pd)
{
	for (unsigned i = 0; pd->msix && i < pd->msix->nr; i++)
		vector_clear(&pd->msix->vec[i]);
}

static uint64_t msix_pending(struct pci_dev *pd)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < pd->msix->nr; i++)
		if (vector_pending(&pd->msix->vec[i]))
			bits |= 1ull << i;
	return bits;
}

void pci_msi_pre_save(struct pci_dev *pd)
{
	if (pd->msix)
		pd->msix->s->pending = msix_pending(pd);
}

/* Nothing may be set where a guest could not have set it. */
static bool msix_state_valid(const struct pci_msix *m)
{
	const uint8_t *table = m->s->table;

	if (m->nr < PCI_MSIX_MAX && m->s->pending >> m->nr)
		return false;
	for (unsigned i = 0; i < m->nr; i++)
		if (load_le(table + i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_CONTROL, 4) >
		    PCI_MSIX_ENTRY_MASKED)
			return false;
	for (unsigned i = m->nr * PCI_MSIX_ENTRY_SIZE; i < sizeof(m->s->table); i++)
		if (table[i])
			return false;
	return true;
}

int pci_msi_post_load(struct pci_dev *pd)
{
	struct pci_msix *m = pd->msix;

	if (m && !msix_state_valid(m))
		return -EBADMSG;
	pci_msix_clear_pending(pd);
	for (unsigned i = 0; m && i < m->nr; i++)
		if (m->s->pending & 1ull << i)
			eventfd_write(m->vec[i].fd, 1);
	pci_msi_update(pd);
	return 0;
}

uint64_t pci_msix_read(struct pci_dev *pd, uint64_t offset, unsigned width)
{
	const struct pci_msix *m = pd->msix;

	if (!m || offset >= m->nr * PCI_MSIX_ENTRY_SIZE ||
	    width > m->nr * PCI_MSIX_ENTRY_SIZE - offset)
		return 0;
	return load_le(m->s->table + offset, width);
}

void pci_msix_write(struct pci_dev *pd, uint64_t offset, unsigned width, uint64_t value)
{
	struct pci_msix *m = pd->msix;
	uint8_t *entry;
	unsigned vec;

	if (!m || offset >= m->nr * PCI_MSIX_ENTRY_SIZE ||
	    width > m->nr * PCI_MSIX_ENTRY_SIZE - offset)
		return;
	vec = (unsigned)(offset / PCI_MSIX_ENTRY_SIZE);
	entry = m->s->table + vec * PCI_MSIX_ENTRY_SIZE;
	store_le(m->s->table + offset, width, value);
	/* Vector control has one bit, the others read 0 (6.8.2.9). */
	store_le(entry + PCI_MSIX_ENTRY_CONTROL, 4,
		 entry[PCI_MSIX_ENTRY_CONTROL] & PCI_MSIX_ENTRY_MASKED);
	msix_apply(pd, vec);
}

uint64_t pci_msix_pba_read(struct pci_dev *pd, uint64_t offset, unsigned width)
{
	if (!pd->msix || offset >= 8)
		return 0;
	return msix_pending(pd) >> (offset * 8) & width_mask(width);
}

int pci_msix_fd(const struct pci_dev *pd, unsigned vec)
{
	return pci_msix_enabled(pd) && vec < pd->msix->nr ? pd->msix->vec[vec].fd : -1;
}

void pci_msix_notify(struct pci_dev *pd, unsigned vec)
{
	int fd = pci_msix_fd(pd, vec);

	if (fd >= 0)
		eventfd_write(fd, 1);
}

void pci_msi_notify(struct pci_dev *pd)
{
	if (pci_msi_enabled(pd))
		eventfd_write(pd->msi->vec.fd, 1);
}

int pci_msix_add(struct pci_dev *pd, struct pci_msix *m, struct pci_msix_state *s, unsigned nr,
		 unsigned bar, uint32_t table_offset, uint32_t pba_offset)
{
	uint8_t body[PCI_MSIX_LEN - 2];
	int ret;

	assert(nr && nr <= PCI_MSIX_MAX && !(table_offset & 7) && !(pba_offset & 7));
	if (!pd->host->msi)
		return -EOPNOTSUPP;
	store_le(body + PCI_MSIX_CONTROL - 2, 2, nr - 1);
	store_le(body + PCI_MSIX_TABLE - 2, 4, table_offset | bar);
	store_le(body + PCI_MSIX_PBA - 2, 4, pba_offset | bar);
	ret = pci_add_cap(pd, PCI_CAP_MSIX, body, PCI_MSIX_LEN);
	if (ret < 0)
		return ret;
	m->cap = (uint8_t)ret;
	m->s = s;
	m->ctl = pd->host->msi;
	pci_set_reg(pd, m->cap + PCI_MSIX_CONTROL, 2, nr - 1,
		    PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASKALL);
	pd->msix = m;
	/* nr counts what there is to free, should one fail. */
	for (m->nr = 0; m->nr < nr; m->nr++) {
		ret = vector_alloc(m->ctl, &m->vec[m->nr]);
		if (ret)
			return ret;
	}
	return 0;
}

int pci_msi_add(struct pci_dev *pd, struct pci_msi *m)
{
	uint8_t body[PCI_MSI_LEN - 2] = { 0 };
	int ret;

	if (!pd->host->msi)
		return -EOPNOTSUPP;
	ret = vector_alloc(pd->host->msi, &m->vec);
	if (ret)
		return ret;
	m->ctl = pd->host->msi;
	pd->msi = m;
	store_le(body, 2, PCI_MSI_CONTROL_64BIT);
	ret = pci_add_cap(pd, PCI_CAP_MSI, body, PCI_MSI_LEN);
	if (ret < 0)
		return ret;
	m->cap = (uint8_t)ret;
	pci_set_reg(pd, m->cap + PCI_MSI_CONTROL, 2, PCI_MSI_CONTROL_64BIT, PCI_MSI_CONTROL_ENABLE);
	pci_set_reg(pd, m->cap + PCI_MSI_ADDR, 4, 0, 0xfffffffc);
	pci_set_reg(pd, m->cap + PCI_MSI_ADDR + 4, 4, 0, 0xffffffff);
	pci_set_reg(pd, m->cap + PCI_MSI_DATA, 2, 0, 0xffff);
	return 0;
}

void pci_msi_destroy(struct pci_dev *pd)
{
	if (pd->msix)
		while (pd->msix->nr)
			pd->msix->ctl->ops->free(pd->msix->ctl, pd->msix->vec[--pd->msix->nr].id);
	if (pd->msi)
		pd->msi->ctl->ops->free(pd->msi->ctl, pd->msi->vec.id);
	pd->msix = NULL;
	pd->msi = NULL;
}
