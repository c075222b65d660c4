/* SPDX-License-Identifier: MIT */
/*
 * What firmware is told, taken as SeaBIOS takes it: the table loader's script is executed
 * and the ACPI tables walked where it has put them, the SMBIOS structures are walked from
 * their entry point, the ROM is looked at from the guest's side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/platform.h"
#include "firmware/fwcfg.h"
#include "firmware/rom.h"
#include "firmware/smbios.h"

#define FACTS (FIRMWARE_COM1 | FIRMWARE_RTC | FIRMWARE_PM_TIMER | FIRMWARE_GPE | FIRMWARE_PCI)

struct fixture {
	struct mem mem;
	struct firmware_config machine;
	struct fwcfg_config cfg;
	struct fwcfg f;
};

static int setup_with(struct fixture *f, uint64_t ram, unsigned nr_cpus)
{
	memset(f, 0, sizeof(*f));
	f->machine = (struct firmware_config){ .nr_cpus = nr_cpus, .facts = FACTS };
	f->cfg.machine = &f->machine;
	f->cfg.mem = &f->mem;
	return mem_init(&f->mem, ram);
}

static int setup(void **state)
{
	static struct fixture f;

	*state = &f;
	return setup_with(&f, 64 * MIB, 2);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fwcfg_free(&f->f);
	mem_destroy(&f->mem);
	return 0;
}

static const struct fw_item *item(const struct fixture *f, const char *name, unsigned key)
{
	for (unsigned i = 0; i < f->f.nr_items; i++) {
		const struct fw_item *it = &f->f.items[i];

		if (name ? it->name && !strcmp(it->name, name) : !it->name && it->key == key)
			return it;
	}
	return NULL;
}

static uint64_t number(const struct fixture *f, const char *name, unsigned key, unsigned width)
{
	const struct fw_item *it = item(f, name, key);

	assert_non_null(it);
	assert_int_equal(it->len, width);
	return load_le(it->data, width);
}

static void settings(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	assert_int_equal(number(f, NULL, 5, 2), 2);
	assert_int_equal(number(f, NULL, 0xf, 2), 2);
	assert_int_equal(number(f, NULL, 0xe, 2), 0);
	assert_int_equal(number(f, NULL, 0x8002, 1), 1);
	assert_int_equal(number(f, "etc/sercon-port", 0, 2), 0x3f8);
	assert_int_equal(number(f, "etc/boot-fail-wait", 0, 4), 0xffffffff);
	assert_null(item(f, "bootorder", 0));
	fwcfg_free(&f->f);

	f->machine.facts &= ~FIRMWARE_COM1;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	assert_null(item(f, "etc/sercon-port", 0));
	fwcfg_free(&f->f);

	f->machine.nr_cpus = 0;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), -EINVAL);
	f->machine.nr_cpus = PLATFORM_MAX_CPUS + 1;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), -EINVAL);
	f->machine.nr_cpus = PLATFORM_MAX_CPUS;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	assert_int_equal(number(f, NULL, 5, 2), 255);
}

static void check_entry(const struct fw_item *map, unsigned i, uint64_t addr, uint64_t size,
			uint32_t type)
{
	const char *p = (const char *)map->data + (size_t)i * 20;

	assert_true(map->len >= (i + 1) * 20);
	assert_int_equal(load_le(p, 8), addr);
	assert_int_equal(load_le(p + 8, 8), size);
	assert_int_equal(load_le(p + 16, 4), type);
}

static void memory_map(void **state)
{
	struct fixture *f = *state;
	const struct fw_item *map;

	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	map = item(f, "etc/e820", 0);
	assert_int_equal(map->len, 40);
	check_entry(map, 0, 0, 64 * MIB, 1);
	check_entry(map, 1, 0xfffbc000, 0x44000, 2);
	teardown(state);

	assert_int_equal(setup_with(f, 5 * GIB, 1), 0);
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	map = item(f, "etc/e820", 0);
	assert_int_equal(map->len, 60);
	check_entry(map, 0, 0, 3 * GIB, 1);
	check_entry(map, 1, 0xfffbc000, 0x44000, 2);
	check_entry(map, 2, 4 * GIB, 2 * GIB, 1);
}

static void boot_order(void **state)
{
	static const struct fwcfg_boot boot[FWCFG_MAX_BOOT + 1] = {
		{ .kind = FWCFG_BOOT_VIRTIO_BLK, .slot = 31 },
		{ .kind = FWCFG_BOOT_IDE, .slot = 1, .function = 1, .channel = 1, .drive = 0 },
		{ .kind = FWCFG_BOOT_IDE, .slot = 1, .function = 1, .channel = 0, .drive = 1 },
		{ .kind = FWCFG_BOOT_VIRTIO_BLK, .slot = 10, .function = 2 },
	};
	struct fixture *f = *state;
	const struct fw_item *it;

	f->cfg.boot = boot;
	f->cfg.nr_boot = 4;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	it = item(f, "bootorder", 0);
	assert_string_equal(it->data, "/pci@i0cf8/scsi@1f/disk@0,0\n"
				      "/pci@i0cf8/ide@1,1/drive@1/disk@0\n"
				      "/pci@i0cf8/ide@1,1/drive@0/disk@1\n"
				      "/pci@i0cf8/scsi@a,2/disk@0,0");
	assert_int_equal(it->len, strlen(it->data) + 1);
	fwcfg_free(&f->f);
	f->cfg.nr_boot = FWCFG_MAX_BOOT;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	fwcfg_free(&f->f);
	f->cfg.nr_boot = FWCFG_MAX_BOOT + 1;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), -EINVAL);
}

/* --- the table loader --------------------------------------------------------- */

#define MAX_FILES 4
#define HIGH_BASE 0x0fff1000u /* where the files end up; bottom up, page by page */
#define FSEG_BASE 0x000f5a00u

struct loaded {
	struct {
		const char *name;
		uint8_t data[32768];
		size_t len;
		uint64_t gpa;
	} files[MAX_FILES];
	unsigned nr;
};

static unsigned file_index(const struct loaded *l, const char *name)
{
	assert_non_null(memchr(name, 0, 56));
	for (unsigned i = 0; i < l->nr; i++)
		if (!strcmp(l->files[i].name, name))
			return i;
	fail_msg("%s is not loaded", name);
	return 0;
}

static void do_allocate(const struct fixture *f, struct loaded *l, const uint8_t *c)
{
	const char *name = (const char *)c + 4;
	const struct fw_item *it = item(f, name, 0);
	uint32_t align = (uint32_t)load_le(c + 60, 4);
	unsigned n = l->nr++;

	assert_true(n < MAX_FILES);
	assert_non_null(it);
	assert_true(it->len <= sizeof(l->files[n].data));
	assert_true(is_pow2(align));
	l->files[n].name = name;
	l->files[n].len = it->len;
	memcpy(l->files[n].data, it->data, it->len);
	assert_in_range(c[64], 1, 2);
	/* aligned as was asked for, and no better */
	l->files[n].gpa = c[64] == 1 ? HIGH_BASE + align : FSEG_BASE + align;
}

static void do_pointer(struct loaded *l, const uint8_t *c)
{
	unsigned in = file_index(l, (const char *)c + 4);
	unsigned to = file_index(l, (const char *)c + 60);
	uint32_t offset = (uint32_t)load_le(c + 116, 4);
	uint8_t width = c[120];
	uint8_t *p = l->files[in].data + offset;

	assert_true(width == 4 || width == 8);
	assert_true(offset + width <= l->files[in].len);
	/* it pointed into the file */
	assert_true(load_le(p, width) < l->files[to].len);
	store_le(p, width, load_le(p, width) + l->files[to].gpa);
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static void do_checksum(struct loaded *l, const uint8_t *c)
{
	unsigned in = file_index(l, (const char *)c + 4);
	uint32_t at = (uint32_t)load_le(c + 60, 4);
	uint32_t start = (uint32_t)load_le(c + 64, 4), len = (uint32_t)load_le(c + 68, 4);
	uint8_t *data = l->files[in].data;

	assert_true(at < l->files[in].len && start + len <= l->files[in].len);
	data[at] = (uint8_t)(data[at] - sum(data + start, len));
}

static const uint8_t *at(const struct loaded *l, uint64_t gpa, size_t len)
{
	for (unsigned i = 0; i < l->nr; i++)
		if (gpa >= l->files[i].gpa && gpa - l->files[i].gpa + len <= l->files[i].len)
			return l->files[i].data + (gpa - l->files[i].gpa);
	fail_msg("%llx is in no file", (unsigned long long)gpa);
	return NULL;
}

static const uint8_t *table(const struct loaded *l, uint64_t gpa, const char *signature)
{
	const uint8_t *p = at(l, gpa, 36);
	size_t len = load_le(p + 4, 4);

	assert_memory_equal(p, signature, 4);
	at(l, gpa, len);
	assert_int_equal(sum(p, len), 0);
	return p;
}

static void acpi(void **state)
{
	struct fixture *f = *state;
	static struct loaded l;
	const struct fw_item *script;
	const uint8_t *rsdp, *rsdt, *xsdt, *fadt, *facs;
	uint64_t facs_gpa;

	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	script = item(f, "etc/table-loader", 0);
	assert_int_equal(script->len % 128, 0);
	memset(&l, 0, sizeof(l));
	for (size_t i = 0; i < script->len; i += 128) {
		const uint8_t *c = (const uint8_t *)script->data + i;

		switch (load_le(c, 4)) {
		case 1:
			do_allocate(f, &l, c);
			break;
		case 2:
			do_pointer(&l, c);
			break;
		case 3:
			do_checksum(&l, c);
			break;
		default:
			fail_msg("command %u", c[0]);
		}
	}
	rsdp = at(&l, l.files[file_index(&l, "etc/acpi/rsdp")].gpa, 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	xsdt = table(&l, load_le(rsdp + 24, 8), "XSDT");
	assert_int_equal(load_le(xsdt + 4, 4), 36 + 3 * 8);
	rsdt = table(&l, load_le(rsdp + 16, 4), "RSDT");
	assert_int_equal(load_le(rsdt + 4, 4), 36 + 3 * 4);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(load_le(rsdt + 36 + i * 4, 4), load_le(xsdt + 36 + i * 8, 8));
	fadt = table(&l, load_le(xsdt + 36, 8), "FACP");
	table(&l, load_le(xsdt + 44, 8), "APIC");
	table(&l, load_le(xsdt + 52, 8), "SSDT");
	assert_int_equal(load_le(fadt + 40, 4), load_le(fadt + 140, 8));
	table(&l, load_le(fadt + 140, 8), "DSDT");
	facs_gpa = load_le(fadt + 36, 4);
	facs = at(&l, facs_gpa, 64);
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(facs_gpa % 64, 0);
	assert_int_equal(load_le(fadt + 56, 4), PLATFORM_PORT_PM_BASE);
}

/* --- SMBIOS ------------------------------------------------------------------- */

static const uint8_t *structure_end(const uint8_t *p)
{
	p += p[1];
	while (p[0] || p[1])
		p++;
	return p + 2;
}

/* The number-th structure of a type; NULL: there are not as many. */
static const uint8_t *structure(const struct fw_item *tables, unsigned type, unsigned number)
{
	const uint8_t *p = tables->data, *end = p + tables->len;

	for (; p < end; p = structure_end(p))
		if (p[0] == type && !number--)
			return p;
	return NULL;
}

static const char *string(const uint8_t *s, unsigned at_byte)
{
	const char *p = (const char *)s + s[1];

	assert_true(s[at_byte]);
	for (unsigned i = 1; i < s[at_byte]; i++)
		p += strlen(p) + 1;
	return p;
}

static void check_anchor(const uint8_t *a, const struct fw_item *tables)
{
	const uint8_t *p = tables->data, *end = p + tables->len, *next;
	unsigned nr = 0;
	size_t longest = 0;

	assert_memory_equal(a, "_SM_", 4);
	assert_int_equal(a[5], 31);
	assert_int_equal(sum(a, 31), 0);
	assert_memory_equal(a + 16, "_DMI_", 5);
	assert_int_equal(sum(a + 16, 15), 0);
	assert_int_equal(load_le(a + 22, 2), tables->len);
	for (; p < end; p = next) {
		assert_true(p[1] >= 4);
		next = structure_end(p);
		assert_true(next <= end);
		longest = max_u64(longest, (size_t)(next - p));
		nr++;
	}
	assert_ptr_equal(p, end);
	assert_int_equal(load_le(a + 8, 2), longest);
	assert_int_equal(load_le(a + 28, 2), nr);
}

/* Asks dmidecode, where it is installed, whether it finds anything wrong. */
static void check_dmidecode(const struct fixture *f, const struct fw_item *tables)
{
	char path[] = "/tmp/test_fwcfg.XXXXXX", command[128], line[256];
	uint8_t anchor[SMBIOS_ANCHOR_LEN];
	struct smbios s;
	bool processor = false;
	int fd = mkstemp(path);
	FILE *out;

	assert_true(fd >= 0);
	smbios_build(&s, &f->machine, &f->mem);
	smbios_anchor(&s, 32, anchor);
	assert_int_equal(pwrite(fd, anchor, sizeof(anchor), 0), sizeof(anchor));
	assert_int_equal(pwrite(fd, tables->data, tables->len, 32), (ssize_t)tables->len);
	close(fd);
	snprintf(command, sizeof(command), "dmidecode --from-dump %s 2>&1", path);
	out = popen(command, "r");
	assert_non_null(out);
	while (fgets(line, sizeof(line), out)) {
		assert_null(strstr(line, "BAD"));
		assert_null(strstr(line, "OUT OF SPEC"));
		assert_null(strstr(line, "TRUNCATED"));
		assert_null(strstr(line, "roken"));
		processor |= !!strstr(line, "virtual CPU");
	}
	if (pclose(out) == 0)
		assert_true(processor);
	unlink(path);
}

static void smbios(void **state)
{
	static const uint8_t types[] = { 1, 3, 4, 16, 17, 19, 32, 127 };
	struct fixture *f = *state;
	const struct fw_item *tables;
	const uint8_t *s;

	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	tables = item(f, "etc/smbios/smbios-tables", 0);
	assert_int_equal(item(f, "etc/smbios/smbios-anchor", 0)->len, 31);
	check_anchor(item(f, "etc/smbios/smbios-anchor", 0)->data, tables);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		assert_non_null(structure(tables, types[i], 0));
		assert_null(structure(tables, types[i], 1));
	}
	s = structure(tables, 1, 0);
	assert_string_equal(string(s, 4), "bantam");
	assert_string_equal(string(s, 5), "bantam virtual machine");
	s = structure(tables, 4, 0);
	assert_int_equal(s[1], 42);
	assert_int_equal(s[0x23], 2);
	assert_int_equal(s[0x24], 2);
	assert_int_equal(s[0x25], 2);
	s = structure(tables, 16, 0);
	assert_int_equal(load_le(s + 7, 4), 64 * 1024);
	s = structure(tables, 17, 0);
	assert_int_equal(s[1], 40);
	assert_int_equal(load_le(s + 12, 2), 64);
	assert_string_equal(string(s, 0x10), "DIMM 0");
	s = structure(tables, 19, 0);
	assert_int_equal(load_le(s + 4, 4), 0);
	assert_int_equal(load_le(s + 8, 4), 64 * 1024 - 1);
	check_dmidecode(f, tables);
	teardown(state);

	/* RAM on both sides of the hole, more than the small fields can say */
	assert_int_equal(setup_with(f, 5 * GIB, 255), 0);
	f->mem.ram_size = 5 * 1024 * GIB;
	assert_int_equal(fwcfg_build(&f->f, &f->cfg), 0);
	tables = item(f, "etc/smbios/smbios-tables", 0);
	check_anchor(item(f, "etc/smbios/smbios-anchor", 0)->data, tables);
	assert_int_equal(structure(tables, 4, 0)[0x23], 255);
	s = structure(tables, 16, 0);
	assert_int_equal(load_le(s + 7, 4), 0x80000000);
	assert_int_equal(load_le(s + 15, 8), 5 * 1024 * GIB);
	s = structure(tables, 17, 0);
	assert_int_equal(load_le(s + 12, 2), 0x7fff);
	assert_int_equal(load_le(s + 0x1c, 4), 5 * MIB);
	s = structure(tables, 19, 0);
	assert_int_equal(load_le(s + 8, 4), 3 * MIB - 1);
	s = structure(tables, 19, 1);
	assert_int_equal(load_le(s + 4, 4), 0xffffffff);
	assert_int_equal(load_le(s + 15, 8), 4 * GIB);
	assert_int_equal(load_le(s + 23, 8), 5 * 1024 * GIB + GIB - 1);
	check_dmidecode(f, tables);
}

/* --- the ROM ------------------------------------------------------------------ */

static struct firmware_file make_image(uint64_t size)
{
	struct firmware_file file = { .path = "bios.bin", .size = size };
	uint8_t *p;

	file.fd = memfd_create("bios", 0);
	assert_int_equal(ftruncate(file.fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
	assert_true(p != MAP_FAILED);
	for (uint64_t i = 0; i < size; i++)
		p[i] = (uint8_t)(i >> 12 ^ i);
	munmap(p, size);
	return file;
}

static void rom_of(uint64_t size)
{
	struct firmware_file file = make_image(size);
	struct boot_entry entry = { .mode = BOOT_LONG64 };
	struct err err = { "" };
	struct mem mem;

	assert_int_equal(mem_init(&mem, 16 * MIB), 0);
	assert_int_equal(rom_load(&mem, &file, &err), 0);
	close(file.fd); /* what is loaded stays */
	assert_null(mem_at(&mem, 4 * GIB - size, 1));
	assert_null(mem_at_const(&mem, 4 * GIB - size - 1, 1));
	assert_int_equal(*(const uint8_t *)mem_at_const(&mem, 4 * GIB - size + 0x1001, 1), 0);
	assert_int_equal(*(const uint8_t *)mem_at_const(&mem, 4 * GIB - size + 1, 1), 1);

	rom_entry(&entry);
	assert_int_equal(entry.mode, BOOT_RESET_VECTOR);
	mem_destroy(&mem);
}

static void rom(void **state)
{
	static const uint64_t wrong[] = { 0, 1, 32 * KIB, 96 * KIB, 128 * KIB - 1, 512 * KIB };
	struct firmware_file file;
	struct err err = { "" };
	struct mem mem;

	(void)state;
	rom_of(64 * KIB);
	rom_of(128 * KIB);
	rom_of(256 * KIB);

	assert_int_equal(mem_init(&mem, 16 * MIB), 0);
	file = make_image(64 * KIB);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		file.size = wrong[i];
		assert_int_equal(rom_load(&mem, &file, &err), -ENOEXEC);
		assert_non_null(strstr(err.text, "--firmware bios.bin"));
	}
	file.size = 128 * KIB; /* it was, when it was opened */
	assert_int_equal(rom_load(&mem, &file, &err), -ENODATA);
	assert_non_null(strstr(err.text, "shorter"));
	file.size = 64 * KIB;
	assert_int_equal(rom_load(&mem, &file, &err), 0);
	assert_int_equal(rom_load(&mem, &file, &err), -EEXIST);
	mem_destroy(&mem);
	close(file.fd);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(settings), TEST(memory_map), TEST(boot_order),
		TEST(acpi),     TEST(smbios),     cmocka_unit_test(rom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
