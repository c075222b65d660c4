/* SPDX-License-Identifier: MIT */
#include "devices/pc/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "base/state.h"

#define KEY_SIGNATURE 0x00
#define KEY_ID 0x01
#define KEY_DIRECTORY 0x19
#define KEY_FIRST_FILE 0x20
#define KEY_LAST_FILE 0x3fff
#define KEY_WRITE 0x4000 /* set in a selector, it changes nothing here */

#define ID_TRADITIONAL 0x01
#define ID_DMA 0x02

#define DMA_ERROR 0x01
#define DMA_READ 0x02
#define DMA_SKIP 0x04
#define DMA_SELECT 0x08
#define DMA_WRITE 0x10

/* Offsets from PLATFORM_PORT_FW_CFG */
#define REG_SELECTOR 0
#define REG_DATA 1
#define REG_DMA_HIGH 4
#define REG_DMA_LOW 8
#define REG_DMA_END 12

static const char dma_signature[8] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };

/* The control block of a transfer, all big-endian. */
struct dma_block {
	uint32_t control;
	uint32_t length;
	uint64_t address;
};

/* An entry of the directory, all big-endian. */
struct directory_entry {
	uint32_t size;
	uint16_t key;
	uint16_t reserved;
	char name[FW_ITEM_NAME_MAX + 1];
};

struct entry {
	uint16_t key;
	uint32_t len;
	uint8_t *data;
};

struct fw_cfg_state {
	uint16_t selector;
	uint32_t offset; /* in the selected item; 0 without one */
	uint32_t dma_high;
};

struct fw_cfg {
	struct device dev;
	struct fw_cfg_state s;
	struct bus *bus;
	struct mem *mem;
	struct entry *entries;
	size_t nr_entries;
	const struct entry *selected; /* NULL: there is no such item */
};

static struct fw_cfg *to_fw_cfg(struct device *dev)
{
	return container_of(dev, struct fw_cfg, dev);
}

static const struct entry *find(const struct fw_cfg *f, uint16_t key)
{
	for (size_t i = 0; i < f->nr_entries; i++)
		if (f->entries[i].key == key)
			return &f->entries[i];
	return NULL;
}

static void select_item(struct fw_cfg *f, uint16_t selector)
{
	f->s.selector = selector;
	f->s.offset = 0;
	f->selected = find(f, selector & (uint16_t)~KEY_WRITE);
}

static uint32_t bytes_left(const struct fw_cfg *f)
{
	return f->selected ? f->selected->len - f->s.offset : 0;
}

/* Moves on by len bytes, which go to buf; there are zeroes behind the item's end. */
static void take(struct fw_cfg *f, void *buf, uint32_t len)
{
	uint32_t n = (uint32_t)min_u64(len, bytes_left(f));

	if (n)
		memcpy(buf, f->selected->data + f->s.offset, n);
	memset((char *)buf + n, 0, len - n);
	f->s.offset += n;
}

/* True where all of it was done. */
static bool dma_transfer(struct fw_cfg *f, uint32_t control, uint32_t len, uint64_t gpa)
{
	void *to;

	if (!len)
		return true;
	if (control & DMA_READ) {
		to = mem_at(f->mem, gpa, len);
		if (!to)
			return false;
		take(f, to, len);
		return true;
	}
	if (control & DMA_WRITE)
		return false;
	if (control & DMA_SKIP)
		f->s.offset += (uint32_t)min_u64(len, bytes_left(f));
	return true;
}

static void dma_start(struct fw_cfg *f, uint64_t gpa)
{
	struct dma_block block;
	uint32_t control;
	bool ok;

	ok = !mem_read(f->mem, gpa, &block, sizeof(block));
	if (ok) {
		control = be32toh(block.control);
		if (control & DMA_SELECT)
			select_item(f, (uint16_t)(control >> 16));
		ok = dma_transfer(f, control, be32toh(block.length), be64toh(block.address));
	}
	control = htobe32(ok ? 0 : DMA_ERROR);
	/* A guest that has no RAM there cannot be told. */
	(void)!mem_write(f->mem, gpa, &control, sizeof(control));
}

static uint64_t fw_cfg_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct fw_cfg *f = to_fw_cfg(dev);
	uint8_t byte;

	if (offset >= REG_DMA_HIGH)
		return load_le(dma_signature + (offset - REG_DMA_HIGH), width);
	if (offset != REG_DATA)
		return width_mask(width);
	take(f, &byte, 1);
	return byte;
}

static void fw_cfg_read_rep(struct device *dev, uint64_t offset, unsigned width, void *buf,
			    unsigned count)
{
	if (offset == REG_DATA) {
		take(to_fw_cfg(dev), buf, count);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		store_le((char *)buf + (size_t)i * width, width, fw_cfg_read(dev, offset, width));
}

static void fw_cfg_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct fw_cfg *f = to_fw_cfg(dev);
	uint64_t gpa;

	if (offset == REG_SELECTOR && width == 2) {
		select_item(f, (uint16_t)value);
	} else if (offset == REG_DMA_HIGH && width == 4) {
		f->s.dma_high = be32toh((uint32_t)value);
	} else if (offset == REG_DMA_LOW && width == 4) {
		gpa = (uint64_t)f->s.dma_high << 32 | be32toh((uint32_t)value);
		f->s.dma_high = 0;
		dma_start(f, gpa);
	}
}

static const char *fw_cfg_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	(void)write;
	if (offset >= REG_DMA_LOW)
		return "dma-address-low";
	if (offset >= REG_DMA_HIGH)
		return "dma-address-high";
	return offset == REG_DATA ? "data" : "selector";
}

static const struct bus_ops fw_cfg_bus_ops = {
	.max_width = 4,
	.read = fw_cfg_read,
	.write = fw_cfg_write,
	.read_rep = fw_cfg_read_rep,
	.reg_name = fw_cfg_reg_name,
};

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *f = to_fw_cfg(dev);

	f->s.dma_high = 0;
	select_item(f, KEY_SIGNATURE);
}

static int fw_cfg_post_load(struct device *dev)
{
	struct fw_cfg *f = to_fw_cfg(dev);
	const struct entry *e = find(f, f->s.selector & (uint16_t)~KEY_WRITE);

	if (f->s.offset > (e ? e->len : 0))
		return -EBADMSG;
	f->selected = e;
	return 0;
}

static void free_entries(struct fw_cfg *f)
{
	for (size_t i = 0; i < f->nr_entries; i++)
		free(f->entries[i].data);
	free(f->entries);
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *f = to_fw_cfg(dev);

	bus_remove(f->bus, BUS_PIO, PLATFORM_PORT_FW_CFG);
	bus_remove(f->bus, BUS_PIO, PLATFORM_PORT_FW_CFG_DMA);
	free_entries(f);
	free(f);
}

static const struct state_field fw_cfg_fields[] = {
	STATE_U(struct fw_cfg_state, selector),
	STATE_U(struct fw_cfg_state, offset),
	STATE_U(struct fw_cfg_state, dma_high),
};

static const struct state_desc fw_cfg_state_desc = {
	.version = 1,
	.fields = fw_cfg_fields,
	.nr_fields = ARRAY_SIZE(fw_cfg_fields),
};

static const struct device_ops fw_cfg_ops = {
	.type = "fw-cfg",
	.reset = fw_cfg_reset,
	.destroy = fw_cfg_destroy,
	.state = &fw_cfg_state_desc,
	.state_offset = offsetof(struct fw_cfg, s),
	.post_load = fw_cfg_post_load,
};

static int add_entry(struct fw_cfg *f, uint16_t key, const void *data, size_t len)
{
	struct entry *e = &f->entries[f->nr_entries];

	if (len > UINT32_MAX || (key & KEY_WRITE))
		return -EINVAL;
	if (find(f, key))
		return -EEXIST;
	e->data = malloc(max_u64(len, 1));
	if (!e->data)
		return -ENOMEM;
	if (len)
		memcpy(e->data, data, len);
	e->key = key;
	e->len = (uint32_t)len;
	f->nr_entries++;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct fw_item *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* The files, and the directory that lists them; files (of nr) are in the order of their names. */
static int add_files(struct fw_cfg *f, const struct fw_item *files, uint32_t nr)
{
	size_t len = sizeof(uint32_t) + nr * sizeof(struct directory_entry);
	char *dir = calloc(1, len);
	uint32_t count = htobe32(nr);
	int ret = 0;

	if (!dir)
		return -ENOMEM;
	memcpy(dir, &count, sizeof(count));
	for (uint32_t i = 0; i < nr && !ret; i++) {
		const struct fw_item *item = &files[i];
		uint16_t key = (uint16_t)(KEY_FIRST_FILE + i);
		struct directory_entry e = {
			.size = htobe32((uint32_t)item->len),
			.key = htobe16(key),
		};
		size_t n = strlen(item->name);

		if (!n || n > FW_ITEM_NAME_MAX) {
			ret = -EINVAL;
		} else if (i && !strcmp(files[i - 1].name, item->name)) {
			ret = -EEXIST;
		} else {
			memcpy(e.name, item->name, n);
			memcpy(dir + sizeof(count) + i * sizeof(e), &e, sizeof(e));
			ret = add_entry(f, key, item->data, item->len);
		}
	}
	if (!ret)
		ret = add_entry(f, KEY_DIRECTORY, dir, len);
	free(dir);
	return ret;
}

static int add_items(struct fw_cfg *f, const struct fw_cfg_config *cfg)
{
	const uint8_t id[4] = { ID_TRADITIONAL | ID_DMA };
	struct fw_item *files;
	uint32_t nr_files = 0;
	int ret;

	files = calloc(cfg->nr_items + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < cfg->nr_items; i++)
		if (cfg->items[i].name)
			files[nr_files++] = cfg->items[i];
	qsort(files, nr_files, sizeof(*files), by_name);
	ret = nr_files > KEY_LAST_FILE - KEY_FIRST_FILE ? -EINVAL : 0;
	if (!ret)
		ret = add_entry(f, KEY_SIGNATURE, "QEMU", 4);
	if (!ret)
		ret = add_entry(f, KEY_ID, id, sizeof(id));
	if (!ret)
		ret = add_files(f, files, nr_files);
	for (size_t i = 0; i < cfg->nr_items && !ret; i++) {
		const struct fw_item *item = &cfg->items[i];

		if (!item->name)
			ret = add_entry(f, item->key, item->data, item->len);
	}
	free(files);
	return ret;
}

static int claim_ports(struct fw_cfg *f)
{
	int ret = bus_add(f->bus, BUS_PIO, PLATFORM_PORT_FW_CFG, REG_DATA + 1, &f->dev,
			  &fw_cfg_bus_ops);

	if (ret)
		return ret;
	ret = bus_add_at(f->bus, BUS_PIO, PLATFORM_PORT_FW_CFG_DMA, REG_DMA_END - REG_DMA_HIGH,
			 &f->dev, &fw_cfg_bus_ops, REG_DMA_HIGH);
	if (ret)
		bus_remove(f->bus, BUS_PIO, PLATFORM_PORT_FW_CFG);
	return ret;
}

int fw_cfg_create(const struct fw_cfg_config *cfg, struct device **out)
{
	struct fw_cfg *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	f->bus = cfg->bus;
	f->mem = cfg->mem;
	f->entries = calloc(cfg->nr_items + 3, sizeof(*f->entries));
	ret = f->entries ? add_items(f, cfg) : -ENOMEM;
	device_init(&f->dev, &fw_cfg_ops, cfg->name);
	if (!ret) {
		device_reset(&f->dev);
		ret = claim_ports(f);
	}
	if (ret) {
		free_entries(f);
		pthread_mutex_destroy(&f->dev.lock);
		free(f);
		return ret;
	}
	*out = &f->dev;
	return 0;
}
