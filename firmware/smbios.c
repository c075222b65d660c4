/* SPDX-License-Identifier: MIT */
#include "firmware/smbios.h"

#include <assert.h>
#include <string.h>

#include "base/platform.h"

/* Handles: the type in the high byte, a number in the low one. */
#define HANDLE(type, n) ((type) << 8 | (n))
#define HANDLE_NONE 0xfffe /* "not provided" */
#define HANDLE_NO_CACHE 0xffff

enum {
	TYPE_SYSTEM = 1,
	TYPE_CHASSIS = 3,
	TYPE_PROCESSOR = 4,
	TYPE_MEMORY_ARRAY = 16,
	TYPE_MEMORY_DEVICE = 17,
	TYPE_MEMORY_MAPPED = 19,
	TYPE_BOOT = 32,
	TYPE_END = 127,
};

#define STATE_UNKNOWN 2
#define STATE_SAFE 3
#define KIB_IN_EXTENDED 0x80000000 /* the size is in the 64-bit field */
#define MIB_IN_EXTENDED 0x7fff

#define MAX_FORMATTED 64

/* A structure in the making: its formatted part, then its strings. */
struct structure {
	struct smbios *s;
	uint8_t body[MAX_FORMATTED];
	uint8_t len;
	char strings[128]; /* each with its NUL */
	unsigned strings_len;
	uint8_t nr_strings;
};

static void put(struct structure *st, unsigned width, uint64_t v)
{
	assert(st->len + width <= sizeof(st->body));
	store_le(st->body + st->len, width, v);
	st->len = (uint8_t)(st->len + width);
}

/* A reference to a string; the text comes behind the formatted part. */
static void put_string(struct structure *st, const char *text)
{
	size_t n = strlen(text) + 1;

	assert(st->strings_len + n <= sizeof(st->strings));
	memcpy(st->strings + st->strings_len, text, n);
	st->strings_len += (unsigned)n;
	put(st, 1, ++st->nr_strings);
}

static struct structure begin(struct smbios *s, unsigned type, unsigned number)
{
	struct structure st = { .s = s };

	put(&st, 1, type);
	put(&st, 1, 0); /* the length, by end() */
	put(&st, 2, HANDLE(type, number));
	return st;
}

static void end(struct structure *st)
{
	struct smbios *s = st->s;
	/* The strings end with an empty one, which stands twice where there are none. */
	unsigned total = st->len + st->strings_len + (st->nr_strings ? 1 : 2);
	uint8_t *p = s->tables + s->len;

	assert(total <= sizeof(s->tables) - s->len);
	st->body[1] = st->len;
	memset(p, 0, total);
	memcpy(p, st->body, st->len);
	memcpy(p + st->len, st->strings, st->strings_len);
	s->len = (uint16_t)(s->len + total);
	s->longest = (uint16_t)max_u64(s->longest, total);
	s->nr++;
}

/* 7.2: System Information */
static void add_system(struct smbios *s)
{
	struct structure st = begin(s, TYPE_SYSTEM, 0);

	put_string(&st, "bantam");
	put_string(&st, "bantam virtual machine");
	put(&st, 1, 0); /* version: none */
	put(&st, 1, 0); /* serial number: none */
	put(&st, 8, 0); /* UUID: none */
	put(&st, 8, 0);
	put(&st, 1, 6); /* woken by: the power switch */
	put(&st, 1, 0); /* SKU number: none */
	put(&st, 1, 0); /* family: none */
	end(&st);
}

/* 7.4: System Enclosure or Chassis */
static void add_chassis(struct smbios *s)
{
	struct structure st = begin(s, TYPE_CHASSIS, 0);

	put_string(&st, "bantam");
	put(&st, 1, 1); /* type: other */
	put(&st, 1, 0); /* version: none */
	put(&st, 1, 0); /* serial number: none */
	put(&st, 1, 0); /* asset tag: none */
	put(&st, 1, STATE_SAFE); /* boot-up */
	put(&st, 1, STATE_SAFE); /* power supply */
	put(&st, 1, STATE_SAFE); /* thermal */
	put(&st, 1, STATE_UNKNOWN); /* security */
	put(&st, 4, 0); /* OEM defined */
	put(&st, 1, 0); /* height: not specified */
	put(&st, 1, 0); /* power cords: not specified */
	put(&st, 1, 0); /* contained elements: none */
	put(&st, 1, 0); /* and their length */
	put(&st, 1, 0); /* SKU number: none */
	end(&st);
}

/* 7.5: Processor Information; one socket, as CPUID says */
static void add_processor(struct smbios *s, unsigned nr_cpus)
{
	struct structure st = begin(s, TYPE_PROCESSOR, 0);

	put_string(&st, "CPU 0");
	put(&st, 1, 3); /* type: central processor */
	put(&st, 1, 1); /* family: other */
	put_string(&st, "bantam");
	put(&st, 8, 0); /* CPUID's signature and features: ask CPUID */
	put_string(&st, "virtual CPU");
	put(&st, 1, 0); /* voltage: unknown */
	put(&st, 2, 0); /* external clock: unknown */
	put(&st, 2, 0); /* maximum speed: unknown */
	put(&st, 2, 0); /* current speed: unknown */
	put(&st, 1, 0x41); /* populated, enabled */
	put(&st, 1, 1); /* upgrade: other */
	put(&st, 2, HANDLE_NO_CACHE);
	put(&st, 2, HANDLE_NO_CACHE);
	put(&st, 2, HANDLE_NO_CACHE);
	put(&st, 1, 0); /* serial number: none */
	put(&st, 1, 0); /* asset tag: none */
	put(&st, 1, 0); /* part number: none */
	put(&st, 1, nr_cpus); /* cores */
	put(&st, 1, nr_cpus); /* cores enabled */
	put(&st, 1, nr_cpus); /* threads */
	put(&st, 2, 1u << 2); /* characteristics: 64-bit */
	put(&st, 2, 1); /* family: other */
	end(&st);
}

/* 7.17: Physical Memory Array */
static void add_memory_array(struct smbios *s, uint64_t ram)
{
	struct structure st = begin(s, TYPE_MEMORY_ARRAY, 0);
	bool extended = ram / KIB >= KIB_IN_EXTENDED;

	put(&st, 1, 3); /* location: system board */
	put(&st, 1, 3); /* use: system memory */
	put(&st, 1, 3); /* error correction: none */
	put(&st, 4, extended ? KIB_IN_EXTENDED : ram / KIB);
	put(&st, 2, HANDLE_NONE); /* error information */
	put(&st, 2, 1); /* devices */
	put(&st, 8, extended ? ram : 0);
	end(&st);
}

/* 7.18: Memory Device; one for all of RAM */
static void add_memory_device(struct smbios *s, uint64_t ram)
{
	struct structure st = begin(s, TYPE_MEMORY_DEVICE, 0);
	bool extended = ram / MIB >= MIB_IN_EXTENDED;

	put(&st, 2, HANDLE(TYPE_MEMORY_ARRAY, 0));
	put(&st, 2, HANDLE_NONE); /* error information */
	put(&st, 2, 0xffff); /* total width: unknown */
	put(&st, 2, 0xffff); /* data width: unknown */
	put(&st, 2, extended ? MIB_IN_EXTENDED : ram / MIB);
	put(&st, 1, 9); /* form factor: DIMM */
	put(&st, 1, 0); /* not one of a set */
	put_string(&st, "DIMM 0");
	put(&st, 1, 0); /* bank: none */
	put(&st, 1, 7); /* type: RAM */
	put(&st, 2, 1u << 1); /* type detail: other */
	put(&st, 2, 0); /* speed: unknown */
	put_string(&st, "bantam");
	put(&st, 1, 0); /* serial number: none */
	put(&st, 1, 0); /* asset tag: none */
	put(&st, 1, 0); /* part number: none */
	put(&st, 1, 0); /* rank: unknown */
	put(&st, 4, extended ? ram / MIB : 0);
	put(&st, 2, 0); /* configured speed: unknown */
	put(&st, 2, 0); /* lowest voltage: unknown */
	put(&st, 2, 0); /* highest voltage: unknown */
	put(&st, 2, 0); /* configured voltage: unknown */
	end(&st);
}

/* 7.20: Memory Array Mapped Address */
static void add_mapped(struct smbios *s, unsigned number, uint64_t first, uint64_t after)
{
	struct structure st = begin(s, TYPE_MEMORY_MAPPED, number);
	bool extended = after / KIB > UINT32_MAX;

	if (after <= first)
		return;
	put(&st, 4, extended ? UINT32_MAX : first / KIB);
	put(&st, 4, extended ? UINT32_MAX : after / KIB - 1);
	put(&st, 2, HANDLE(TYPE_MEMORY_ARRAY, 0));
	put(&st, 1, 1); /* devices in a row */
	put(&st, 8, extended ? first : 0);
	put(&st, 8, extended ? after - 1 : 0);
	end(&st);
}

/* 7.33: System Boot Information */
static void add_boot(struct smbios *s)
{
	struct structure st = begin(s, TYPE_BOOT, 0);

	put(&st, 6, 0); /* reserved */
	put(&st, 1, 0); /* no errors */
	end(&st);
}

void smbios_build(struct smbios *s, const struct firmware_config *cfg, const struct mem *mem)
{
	struct structure last;

	memset(s, 0, sizeof(*s));
	add_system(s);
	add_chassis(s);
	add_processor(s, cfg->nr_cpus);
	add_memory_array(s, mem->ram_size);
	add_memory_device(s, mem->ram_size);
	add_mapped(s, 0, 0, mem_low_end(mem));
	add_mapped(s, 1, PLATFORM_HIGH_RAM_BASE, mem_high_end(mem));
	add_boot(s);
	last = begin(s, TYPE_END, 0);
	end(&last);
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* 5.2.1: SMBIOS 2.1 (32-bit) Entry Point */
void smbios_anchor(const struct smbios *s, uint32_t gpa, uint8_t anchor[SMBIOS_ANCHOR_LEN])
{
	memset(anchor, 0, SMBIOS_ANCHOR_LEN);
	memcpy(anchor, "_SM_", 4);
	anchor[5] = SMBIOS_ANCHOR_LEN;
	anchor[6] = 2; /* version 2.8 */
	anchor[7] = 8;
	store_le(anchor + 8, 2, s->longest);
	memcpy(anchor + 16, "_DMI_", 5);
	store_le(anchor + 22, 2, s->len);
	store_le(anchor + 24, 4, gpa);
	store_le(anchor + 28, 2, s->nr);
	anchor[30] = 0x28; /* version 2.8, BCD */
	anchor[21] = checksum(anchor + 16, SMBIOS_ANCHOR_LEN - 16);
	anchor[4] = checksum(anchor, SMBIOS_ANCHOR_LEN);
}
