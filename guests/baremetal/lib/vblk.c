/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/vblk.h"

#include "guests/baremetal/lib/fdt.h"

#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3
#define CAP_DEVICE 4

#define STATUS_READY 0x0f /* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK */

#define PAGE 4096
#define LEGACY_QUEUE_MAX 1024
#define WRAP 0x8000 /* in a place of a packed ring */

static struct vblk_rings vblk_rings;
/* Descriptors, the available ring, and on the next page the used ring (2.7.2). */
static uint8_t legacy_ring[26 * LEGACY_QUEUE_MAX + 3 * PAGE] __attribute__((aligned(PAGE)));

static bool find_mmio(struct vblk *b)
{
	const struct fdt_header *fdt = fdt_find();
	struct fdt_node node = { 0 };

	while (fdt && fdt_compatible(fdt, &node, "virtio,mmio")) {
		uint32_t len, irq_len;
		const uint32_t *reg = fdt_prop(fdt, &node, "reg", &len);
		const uint32_t *irq = fdt_prop(fdt, &node, "interrupts", &irq_len);

		if (!reg || len != 16 || !irq || irq_len != 8)
			continue;
		b->base = fdt_be32(reg + 1);
		b->irq = fdt_be32(irq);
		if (read32(b->base + VMMIO_MAGIC) == 0x74726976 &&
		    read32(b->base + VMMIO_VERSION) == 2 && read32(b->base + VMMIO_DEVICE_ID) == 2)
			return true;
	}
	return false;
}

static bool find_capabilities(struct vblk *b)
{
	unsigned devfn = b->devfn;

	for (unsigned cap = 0; (cap = pci_cap(devfn, PCI_CAP_VENDOR, cap));) {
		unsigned bar = pci_read(devfn, cap + 4, 1);
		uint64_t at;

		if (bar > 5)
			continue; /* the window through configuration space has none */
		at = pci_bar(devfn, bar) + pci_read(devfn, cap + 8, 4);
		switch (pci_read(devfn, cap + 3, 1)) {
		case CAP_COMMON:
			b->common = (uintptr_t)at;
			break;
		case CAP_NOTIFY:
			b->notify = at; /* queue 0's offset is times the multiplier: 0 */
			b->notify_io = pci_bar_is_io(devfn, bar);
			break;
		case CAP_ISR:
			b->isr = (uintptr_t)at;
			break;
		case CAP_DEVICE:
			b->config = (uintptr_t)at;
			break;
		default:
			break;
		}
	}
	return b->common && b->notify && b->isr && b->config;
}

bool vblk_find(struct vblk *b)
{
	*b = (struct vblk){ .devfn = PCI_NONE, .packed = cmdline_has("packed") };
	if (cmdline_has("mmio")) {
		b->kind = VBLK_MMIO;
		return find_mmio(b);
	}
	b->devfn = pci_find(VBLK_VENDOR, VBLK_TRANSITIONAL);
	if (b->devfn == PCI_NONE)
		b->devfn = pci_find(VBLK_VENDOR, VBLK_DEVICE);
	if (b->devfn == PCI_NONE)
		return false;
	if (cmdline_has("legacy")) {
		b->kind = VBLK_LEGACY;
		b->base = (uintptr_t)pci_bar(b->devfn, 0);
		return pci_bar_is_io(b->devfn, 0);
	}
	return find_capabilities(b);
}

uint8_t vblk_status(const struct vblk *b)
{
	switch (b->kind) {
	case VBLK_LEGACY:
		return inb((uint16_t)(b->base + VLEGACY_STATUS));
	case VBLK_MMIO:
		return (uint8_t)read32(b->base + VMMIO_STATUS);
	case VBLK_MODERN:
	default:
		return read8(b->common + VCOMMON_STATUS);
	}
}

static void set_status(const struct vblk *b, uint8_t status)
{
	if (b->kind == VBLK_LEGACY)
		outb((uint16_t)(b->base + VLEGACY_STATUS), status);
	else if (b->kind == VBLK_MMIO)
		write32(b->base + VMMIO_STATUS, status);
	else
		write8(b->common + VCOMMON_STATUS, status);
}

void vblk_reset(struct vblk *b)
{
	set_status(b, 0);
	for (unsigned i = 0; i < 1000 && vblk_status(b); i++)
		delay_us(100);
}

static uint32_t features_word(const struct vblk *b, unsigned word)
{
	if (b->kind == VBLK_LEGACY)
		return word ? 0 : inl((uint16_t)(b->base + VLEGACY_DEVICE_FEATURES));
	if (b->kind == VBLK_MMIO) {
		write32(b->base + VMMIO_DEVICE_FEATURES_SELECT, word);
		return read32(b->base + VMMIO_DEVICE_FEATURES);
	}
	write32(b->common + VCOMMON_DEVICE_FEATURE_SELECT, word);
	return read32(b->common + VCOMMON_DEVICE_FEATURE);
}

static void set_features_word(const struct vblk *b, unsigned word)
{
	uint32_t v = (uint32_t)(b->features >> 32 * word);

	if (b->kind == VBLK_LEGACY) {
		if (!word)
			outl((uint16_t)(b->base + VLEGACY_DRIVER_FEATURES), v);
	} else if (b->kind == VBLK_MMIO) {
		write32(b->base + VMMIO_DRIVER_FEATURES_SELECT, word);
		write32(b->base + VMMIO_DRIVER_FEATURES, v);
	} else {
		write32(b->common + VCOMMON_DRIVER_FEATURE_SELECT, word);
		write32(b->common + VCOMMON_DRIVER_FEATURE, v);
	}
}

static void set_address(uintptr_t reg, const void *p)
{
	write32(reg, (uint32_t)(uintptr_t)p);
	write32(reg + 4, 0);
}

static void use_rings(struct vblk *b)
{
	memset(&vblk_rings, 0, sizeof(vblk_rings));
	b->rings = &vblk_rings;
	b->size = VBLK_QUEUE;
	b->desc = vblk_rings.desc;
	b->avail = &vblk_rings.avail.flags;
	b->used = &vblk_rings.used.flags;
}

static bool start_queue_modern(struct vblk *b, unsigned vector)
{
	use_rings(b);
	write16(b->common + VCOMMON_QUEUE_SELECT, 0);
	write16(b->common + VCOMMON_QUEUE_SIZE, VBLK_QUEUE);
	write16(b->common + VCOMMON_QUEUE_VECTOR, (uint16_t)vector);
	if (read16(b->common + VCOMMON_QUEUE_VECTOR) != vector)
		return false;
	set_address(b->common + VCOMMON_QUEUE_DESC, b->desc);
	set_address(b->common + VCOMMON_QUEUE_DRIVER, b->avail);
	set_address(b->common + VCOMMON_QUEUE_DEVICE, b->used);
	write16(b->common + VCOMMON_QUEUE_ENABLE, 1);
	return true;
}

static bool start_queue_mmio(struct vblk *b)
{
	use_rings(b);
	write32(b->base + VMMIO_QUEUE_SELECT, 0);
	write32(b->base + VMMIO_QUEUE_SIZE, VBLK_QUEUE);
	set_address(b->base + VMMIO_QUEUE_DESC, b->desc);
	set_address(b->base + VMMIO_QUEUE_DRIVER, b->avail);
	set_address(b->base + VMMIO_QUEUE_DEVICE, b->used);
	write32(b->base + VMMIO_QUEUE_READY, 1);
	return read32(b->base + VMMIO_QUEUE_READY) == 1;
}

static bool start_queue_legacy(struct vblk *b)
{
	uint16_t port = (uint16_t)b->base;
	uintptr_t used;

	outw(port + VLEGACY_QUEUE_SELECT, 0);
	b->rings = NULL;
	b->size = inw(port + VLEGACY_QUEUE_SIZE);
	if (!b->size || b->size > LEGACY_QUEUE_MAX)
		return false;
	memset(legacy_ring, 0, sizeof(legacy_ring));
	b->desc = (struct vdesc *)legacy_ring;
	b->avail = (uint16_t *)(legacy_ring + 16ul * b->size);
	used = (uintptr_t)(b->avail + 3 + b->size);
	b->used = (uint16_t *)((used + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
	outl(port + VLEGACY_QUEUE_ADDRESS, (uint32_t)((uintptr_t)legacy_ring / PAGE));
	return inl(port + VLEGACY_QUEUE_ADDRESS) == (uintptr_t)legacy_ring / PAGE;
}

static bool start_queue(struct vblk *b, unsigned vector)
{
	b->seen = b->next = b->packed ? WRAP : 0;
	switch (b->kind) {
	case VBLK_LEGACY:
		return start_queue_legacy(b);
	case VBLK_MMIO:
		return start_queue_mmio(b);
	case VBLK_MODERN:
	default:
		return start_queue_modern(b, vector);
	}
}

static uint32_t config32(const struct vblk *b, unsigned offset)
{
	if (b->kind == VBLK_LEGACY)
		return inl((uint16_t)(b->base + VLEGACY_CONFIG + offset));
	return read32((b->kind == VBLK_MMIO ? b->base + VMMIO_CONFIG : b->config) + offset);
}

bool vblk_start(struct vblk *b, unsigned vector)
{
	uint64_t wanted = VIRTIO_F_VERSION_1 | VBLK_F_RO | VBLK_F_FLUSH | b->wanted |
			  (b->packed ? VIRTIO_F_RING_PACKED : 0);

	if (b->kind != VBLK_MMIO)
		pci_write(b->devfn, PCI_COMMAND, 2,
			  pci_read(b->devfn, PCI_COMMAND, 2) | PCI_COMMAND_MASTER);
	vblk_reset(b);
	set_status(b, 1);
	set_status(b, 3);
	b->features = features_word(b, 0) | (uint64_t)features_word(b, 1) << 32;
	b->features &= wanted;
	if (b->packed && !(b->features & VIRTIO_F_RING_PACKED))
		return false;
	set_features_word(b, 0);
	set_features_word(b, 1);
	if (b->kind != VBLK_LEGACY) {
		set_status(b, 0xb);
		if (!(vblk_status(b) & 8))
			return false;
	}
	if (!start_queue(b, vector))
		return false;
	set_status(b, vblk_status(b) | 4);
	b->capacity = config32(b, 0) | (uint64_t)config32(b, 4) << 32;
	return vblk_status(b) == (b->kind == VBLK_LEGACY ? 0x07 : STATUS_READY);
}

static uint16_t place_add(const struct vblk *b, uint16_t place, unsigned n)
{
	unsigned index = (place & (WRAP - 1u)) + n;
	bool round = index >= b->size;

	return (uint16_t)((index - (round ? b->size : 0)) | ((place & WRAP) ^ (round ? WRAP : 0)));
}

/* Writes one descriptor of a packed ring: its last two fields change places. */
static void packed_put(struct vblk *b, uint16_t place, const struct vdesc *d)
{
	struct vdesc *to = &b->desc[place & (WRAP - 1)];
	uint16_t flags = d->flags | (place & WRAP ? VDESC_AVAIL : VDESC_USED);

	to->addr = d->addr;
	to->len = d->len;
	to->flags = d->next;
	__atomic_store_n(&to->next, flags, __ATOMIC_RELEASE);
}

/* From the last to the first: what becomes available is all there. */
static void packed_offer(struct vblk *b, const struct vdesc *descs, unsigned n)
{
	for (unsigned i = n; i-- > 0;)
		packed_put(b, place_add(b, b->next, i), &descs[i]);
	b->next = place_add(b, b->next, n);
}

static void split_offer(struct vblk *b, unsigned head)
{
	uint16_t idx = b->avail[1];

	b->avail[2 + idx % b->size] = (uint16_t)head;
	__atomic_store_n(&b->avail[1], (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

void vblk_offer_raw(struct vblk *b, const struct vdesc *descs, unsigned n)
{
	if (b->packed) {
		packed_offer(b, descs, n);
		return;
	}
	memcpy(b->desc, descs, n * sizeof(*descs));
	split_offer(b, 0);
}

void vblk_offer(struct vblk *b, unsigned head, const struct vseg *segs, unsigned n)
{
	struct vdesc descs[VBLK_QUEUE];

	for (unsigned i = 0; i < n; i++)
		descs[i] = (struct vdesc){
			.addr = (uintptr_t)segs[i].addr,
			.len = segs[i].len,
			.flags = (uint16_t)((segs[i].write ? VDESC_WRITE : 0) |
					    (i + 1 < n ? VDESC_NEXT : 0)),
			.next = (uint16_t)(b->packed ? head : head + i + 1),
		};
	if (b->packed) {
		b->places[head] = (uint8_t)n;
		packed_offer(b, descs, n);
		return;
	}
	memcpy(b->desc + head, descs, n * sizeof(*descs));
	split_offer(b, head);
}

void vblk_kick(struct vblk *b)
{
	if (b->kind == VBLK_LEGACY)
		outw((uint16_t)(b->base + VLEGACY_QUEUE_NOTIFY), 0);
	else if (b->kind == VBLK_MMIO)
		write32(b->base + VMMIO_QUEUE_NOTIFY, 0);
	else if (b->notify_io)
		outw((uint16_t)b->notify, 0);
	else
		write16((uintptr_t)b->notify, 0);
}

static bool split_take(struct vblk *b, uint32_t *len)
{
	const uint32_t *ring = (const uint32_t *)(b->used + 2);

	if (__atomic_load_n(&b->used[1], __ATOMIC_ACQUIRE) == b->seen)
		return false;
	*len = ring[2 * (b->seen % b->size) + 1];
	b->seen++;
	return true;
}

static bool packed_take(struct vblk *b, uint32_t *len)
{
	struct vdesc *d = &b->desc[b->seen & (WRAP - 1)];
	uint16_t flags = __atomic_load_n(&d->next, __ATOMIC_ACQUIRE);
	uint16_t want = b->seen & WRAP ? VDESC_AVAIL | VDESC_USED : 0;

	if ((flags & (VDESC_AVAIL | VDESC_USED)) != want)
		return false;
	*len = d->len;
	b->seen = place_add(b, b->seen, b->places[d->flags % VBLK_QUEUE]);
	return true;
}

bool vblk_wait(struct vblk *b, uint32_t *len)
{
	for (unsigned i = 0; i < 10000; i++) {
		if (b->packed ? packed_take(b, len) : split_take(b, len))
			return true;
		delay_us(100);
	}
	return false;
}

int vblk_request(struct vblk *b, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} head = { type, 0, sector };
	volatile uint8_t status = 0xee;
	struct vseg segs[3] = { { &head, sizeof(head), false } };
	unsigned n = 1;
	uint32_t written;

	if (len)
		segs[n++] = (struct vseg){ data, len, type != VBLK_OUT };
	segs[n++] = (struct vseg){ (void *)(uintptr_t)&status, 1, true };
	vblk_offer(b, 0, segs, n);
	vblk_kick(b);
	return vblk_wait(b, &written) ? status : -1;
}
