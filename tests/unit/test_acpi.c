/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables as an operating system walks them, and their AML as ACPICA's own
 * interpreter sees it: iasl takes the tables apart, acpiexec evaluates the methods.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"
#include "firmware/acpi.h"

#define BASE PLATFORM_ACPI_BASE
#define ALL                                                                             \
	(FIRMWARE_COM1 | FIRMWARE_COM2 | FIRMWARE_COM3 | FIRMWARE_COM4 | FIRMWARE_RTC | \
	 FIRMWARE_PVPANIC | FIRMWARE_DEBUG_EXIT | FIRMWARE_PM_TIMER | FIRMWARE_GPE |    \
	 FIRMWARE_I8042 | FIRMWARE_PCI)

struct tables {
	uint8_t area[PLATFORM_ACPI_END - PLATFORM_ACPI_BASE];
	int len;
	const uint8_t *fadt, *madt, *ssdt, *dsdt, *facs;
};

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static const uint8_t *at(const struct tables *t, uint64_t gpa, size_t len)
{
	assert_true(gpa >= BASE && gpa - BASE + len <= (size_t)t->len);
	return t->area + (gpa - BASE);
}

static const uint8_t *table(const struct tables *t, uint64_t gpa, const char *signature)
{
	const uint8_t *p = at(t, gpa, 36);
	size_t len = load_le(p + 4, 4);

	assert_memory_equal(p, signature, 4);
	at(t, gpa, len);
	assert_int_equal(sum(p, len), 0);
	assert_memory_equal(p + 10, "BANTAM", 6);
	return p;
}

/* Builds and walks from the RSDP, as ACPI 5.2.5 ff. says. */
static void build(struct tables *t, unsigned nr_cpus, uint32_t facts)
{
	const struct firmware_config cfg = { .nr_cpus = nr_cpus, .facts = facts };
	const uint8_t *xsdt;

	memset(t->area, 0xff, sizeof(t->area));
	t->len = acpi_build(&cfg, BASE, t->area, sizeof(t->area));
	assert_true(t->len > 0);
	assert_memory_equal(t->area, "RSD PTR ", 8);
	assert_int_equal(sum(t->area, 20), 0);
	assert_int_equal(load_le(t->area + 20, 4), 36);
	assert_int_equal(sum(t->area, 36), 0);
	assert_int_equal(t->area[15], 2); /* revision */
	assert_int_equal(load_le(t->area + 16, 4), 0); /* no RSDT */
	xsdt = table(t, load_le(t->area + 24, 8), "XSDT");
	assert_int_equal(load_le(xsdt + 4, 4), 36 + 3 * 8);
	t->fadt = table(t, load_le(xsdt + 36, 8), "FACP");
	t->madt = table(t, load_le(xsdt + 44, 8), "APIC");
	t->ssdt = table(t, load_le(xsdt + 52, 8), "SSDT");
	assert_int_equal(load_le(t->fadt + 40, 4), load_le(t->fadt + 140, 8));
	t->dsdt = table(t, load_le(t->fadt + 140, 8), "DSDT");
	t->facs = at(t, load_le(t->fadt + 36, 4), 64);
	assert_memory_equal(t->facs, "FACS", 4);
	assert_int_equal(load_le(t->facs + 4, 4), 64);
	assert_int_equal((uint64_t)(t->facs - t->area) % 64, 0);
	/* nothing but zeroes where nothing else is said: no locks held, no wake vector */
	for (unsigned i = 8; i < 64; i++)
		assert_int_equal(t->facs[i], i == 32 ? 2 : 0);
}

/* A Generic Address Structure in I/O space, or none at all. */
static void check_gas(const uint8_t *p, unsigned bits, uint64_t port)
{
	assert_int_equal(p[0], bits ? 1 : 0);
	assert_int_equal(p[1], bits);
	assert_int_equal(p[2], 0);
	assert_int_equal(load_le(p + 4, 8), port);
}

static void test_fadt(void **state)
{
	struct tables t;

	(void)state;
	build(&t, 1, ALL);
	assert_int_equal(load_le(t.fadt + 4, 4), 276);
	assert_int_equal(t.fadt[8], 6);
	assert_int_equal(load_le(t.fadt + 46, 2), PLATFORM_IRQ_SCI);
	assert_int_equal(load_le(t.fadt + 48, 4), 0); /* SMI_CMD: always in ACPI mode */
	assert_int_equal(load_le(t.fadt + 56, 4), 0x600);
	assert_int_equal(load_le(t.fadt + 64, 4), 0x604);
	assert_int_equal(load_le(t.fadt + 76, 4), 0x608);
	assert_int_equal(load_le(t.fadt + 80, 4), 0x620);
	assert_int_equal(t.fadt[88], 4);
	assert_int_equal(t.fadt[89], 2);
	assert_int_equal(t.fadt[91], 4);
	assert_int_equal(t.fadt[92], 4);
	assert_int_equal(load_le(t.fadt + 109, 2), 0x0017); /* with a keyboard and an RTC */
	/* fixed power button, no sleep button, reset register; not hardware-reduced */
	assert_int_equal(load_le(t.fadt + 112, 4), 0x465);
	check_gas(t.fadt + 116, 8, PLATFORM_PORT_RESET);
	assert_int_equal(t.fadt[128], 6);
	check_gas(t.fadt + 148, 32, 0x600);
	check_gas(t.fadt + 172, 16, 0x604);
	check_gas(t.fadt + 208, 32, 0x608);
	check_gas(t.fadt + 220, 32, 0x620);
	/* without what is optional */
	build(&t, 1, 0);
	assert_int_equal(load_le(t.fadt + 76, 8), 0);
	assert_int_equal(load_le(t.fadt + 91, 2), 0);
	assert_int_equal(load_le(t.fadt + 109, 2), 0x0035); /* no keyboard, no RTC */
	check_gas(t.fadt + 208, 0, 0);
	check_gas(t.fadt + 220, 0, 0);
}

static void test_madt(void **state)
{
	static const unsigned counts[] = { 1, 2, PLATFORM_MAX_CPUS };
	static const uint8_t overrides[][10] = {
		{ 2, 10, 0, 0, 2, 0, 0, 0, 0, 0 },
		{ 2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0 },
		{ 2, 10, 0, 10, 10, 0, 0, 0, 0xd, 0 },
		{ 2, 10, 0, 11, 11, 0, 0, 0, 0xd, 0 },
	};
	struct tables t;

	(void)state;
	for (unsigned c = 0; c < ARRAY_SIZE(counts); c++) {
		unsigned cpus = 0, seen = 0;
		const uint8_t *p, *end;

		build(&t, counts[c], ALL);
		assert_int_equal(load_le(t.madt + 36, 4), PLATFORM_LAPIC_BASE);
		assert_int_equal(load_le(t.madt + 40, 4), 1); /* PCAT_COMPAT: the 8259s are there */
		end = t.madt + load_le(t.madt + 4, 4);
		for (p = t.madt + 44; p < end; p += p[1]) {
			assert_true(p[1] >= 6 && p + p[1] <= end);
			switch (p[0]) {
			case 0:
				assert_int_equal(p[1], 8);
				assert_int_equal(p[2], cpus);
				assert_int_equal(p[3], cpus);
				assert_int_equal(load_le(p + 4, 4), 1);
				cpus++;
				break;
			case 1:
				assert_int_equal(p[1], 12);
				assert_int_equal(load_le(p + 4, 4), PLATFORM_IOAPIC_BASE);
				assert_int_equal(load_le(p + 8, 4), 0);
				seen |= 1;
				break;
			case 2:
				assert_true((seen >> 4) < ARRAY_SIZE(overrides));
				assert_memory_equal(p, overrides[seen >> 4], 10);
				seen += 0x10;
				break;
			case 4:
				assert_memory_equal(p, "\4\6\xff\0\0\1", 6);
				seen |= 2;
				break;
			default:
				fail_msg("entry of type %u", p[0]);
			}
		}
		assert_ptr_equal(p, end);
		assert_int_equal(cpus, counts[c]);
		assert_int_equal(seen, 0x43);
	}
}

static void test_no_room(void **state)
{
	const struct firmware_config cfg = { .nr_cpus = 3, .facts = ALL };
	struct tables t;

	(void)state;
	build(&t, 3, ALL);
	for (int size = 0; size < t.len; size++) {
		memset(t.area, 0xee, sizeof(t.area));
		assert_int_equal(acpi_build(&cfg, BASE, t.area, (size_t)size), -ENOSPC);
		assert_int_equal(t.area[size], 0xee);
	}
	assert_int_equal(acpi_build(&cfg, BASE, t.area, (size_t)t.len), t.len);
	/* the most there can be fits easily */
	build(&t, PLATFORM_MAX_CPUS, ALL);
	assert_true(t.len < 0x4000);
}

/*
 * ACPICA's tools
 */

struct scratch {
	char dir[32];
};

static void scratch_make(struct scratch *s)
{
	strcpy(s->dir, "/tmp/test_acpi.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
}

static void scratch_remove(struct scratch *s)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", s->dir);
	assert_int_equal(system(cmd), 0);
}

static void scratch_put(const struct scratch *s, const char *name, const uint8_t *tbl)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(util_write_all(fd, tbl, load_le(tbl + 4, 4)), 0);
	close(fd);
}

/* The output of a shell command run in the folder, both streams; to be freed. */
static char *scratch_run(const struct scratch *s, const char *command)
{
	size_t size = 256 * KIB, len;
	char *out = malloc(size);
	char cmd[512];
	FILE *f;

	assert_non_null(out);
	snprintf(cmd, sizeof(cmd), "cd '%s' && (%s) </dev/null 2>&1", s->dir, command);
	f = popen(cmd, "r");
	assert_non_null(f);
	len = fread(out, 1, size - 1, f);
	out[len] = '\0';
	if (pclose(f))
		fail_msg("%s:\n%s", command, out);
	return out;
}

static void test_disassembly(void **state)
{
	struct scratch s;
	struct tables t;
	char *out;

	(void)state;
	scratch_make(&s);
	build(&t, 4, ALL);
	scratch_put(&s, "dsdt.dat", t.dsdt);
	scratch_put(&s, "ssdt.dat", t.ssdt);
	scratch_put(&s, "facp.dat", t.fadt);
	scratch_put(&s, "apic.dat", t.madt);
	scratch_put(&s, "facs.dat", t.facs);
	free(scratch_run(&s, "iasl -d dsdt.dat ssdt.dat"));
	out = scratch_run(&s, "iasl -d facp.dat apic.dat facs.dat");
	assert_null(strcasestr(out, "warning"));
	assert_null(strcasestr(out, "error"));
	assert_null(strcasestr(out, "invalid"));
	free(out);
	out = scratch_run(&s, "cat facp.dsl apic.dsl facs.dsl");
	assert_null(strcasestr(out, "warning"));
	assert_null(strcasestr(out, "error"));
	assert_null(strcasestr(out, "incorrect"));
	assert_null(strcasestr(out, "unknown"));
	free(out);
	/* what comes out goes in again: the whole of it is well-formed */
	out = scratch_run(&s, "iasl -we dsdt.dsl ssdt.dsl facp.dsl apic.dsl");
	assert_null(strstr(out, "1 Errors"));
	free(out);
	/* no AML reaches for a device: what it costs a guest is no exit */
	out = scratch_run(&s, "cat dsdt.dsl ssdt.dsl");
	assert_non_null(strstr(out, "_PRT"));
	assert_null(strstr(out, "OperationRegion"));
	assert_null(strstr(out, "_INI"));
	free(out);
	scratch_remove(&s);
}

/*
 * The output of these commands, with the machine's AML loaded; to be freed. They go in
 * by standard input, many to a run: with -b it takes one, and a second for it.
 */
static char *acpiexec(const struct tables *t, const char *commands)
{
	struct scratch s;
	char path[64], *out;
	FILE *f;

	scratch_make(&s);
	scratch_put(&s, "dsdt.dat", t->dsdt);
	scratch_put(&s, "ssdt.dat", t->ssdt);
	snprintf(path, sizeof(path), "%s/commands", s.dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%squit\n", commands);
	fclose(f);
	out = scratch_run(&s, "acpiexec dsdt.dat ssdt.dat <commands");
	scratch_remove(&s);
	return out;
}

/* What it said of one object; to be freed. */
static char *evaluate(const char *out, const char *object)
{
	char line[64];
	const char *p, *end;

	snprintf(line, sizeof(line), "Evaluation of %s returned", object);
	p = strstr(out, line);
	if (!p)
		fail_msg("no '%s' in:\n%s", line, out);
	end = strstr(p, "\n- ");
	assert_non_null(end);
	return strndup(p, (size_t)(end - p));
}

static void check_status(const char *session, const char *device, bool present)
{
	char object[32], *out;

	snprintf(object, sizeof(object), "\\_SB.%s._STA", device);
	out = evaluate(session, object);
	if (!strstr(out, present ? "[Integer] = 000000000000000F" : "[Integer] = 0000000000000000"))
		fail_msg("%s: %s", object, out);
	free(out);
}

static void test_present_devices(void **state)
{
	static const struct {
		const char *device;
		uint32_t fact;
	} devices[] = {
		{ "COM1", FIRMWARE_COM1 }, { "COM2", FIRMWARE_COM2 }, { "COM3", FIRMWARE_COM3 },
		{ "COM4", FIRMWARE_COM4 }, { "RTC0", FIRMWARE_RTC },  { "PVPN", FIRMWARE_PVPANIC },
		{ "PCI0", FIRMWARE_PCI },
	};
	char commands[512] = "";
	struct tables t;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		sprintf(commands + strlen(commands), "evaluate \\_SB.%s._STA\n", devices[i].device);
	/* each of them alone, then each of them missing */
	for (unsigned m = 0; m < 2 * ARRAY_SIZE(devices); m++) {
		uint32_t facts = devices[m / 2].fact;
		char *out;

		if (m % 2)
			facts ^= ALL;
		build(&t, 1, facts);
		out = acpiexec(&t, commands);
		for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
			check_status(out, devices[i].device, facts & devices[i].fact);
		free(out);
	}
}

/* The next "[Integer] = " after *p. */
static uint64_t next_integer(const char **p)
{
	uint64_t v;

	*p = *p ? strstr(*p, "[Integer] = ") : NULL;
	if (!*p) {
		fail_msg("no integer");
		return 0;
	}
	*p += strlen("[Integer] = ");
	assert_int_equal(sscanf(*p, "%lx", &v), 1);
	return v;
}

static void test_interrupt_routing(void **state)
{
	struct tables t;
	const char *p;
	char *session, *out;

	(void)state;
	build(&t, 1, ALL);
	session = acpiexec(&t, "evaluate \\_SB.PCI0._PRT\n");
	out = evaluate(session, "\\_SB.PCI0._PRT");
	p = out;
	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			unsigned link = PLATFORM_PCI_LINK(slot, pin);

			assert_int_equal(next_integer(&p), slot << 16 | 0xffff);
			assert_int_equal(next_integer(&p), pin);
			assert_int_equal(next_integer(&p), 0); /* no link device */
			assert_int_equal(next_integer(&p),
					 link < 2 ? PLATFORM_IRQ_PCI_A : PLATFORM_IRQ_PCI_C);
		}
	}
	assert_null(strstr(p, "[Integer]"));
	free(out);
	free(session);
}

static void test_power_off(void **state)
{
	struct tables t;
	const char *p;
	char *session, *out;

	(void)state;
	build(&t, 1, ALL);
	session = acpiexec(&t, "evaluate \\_S5\nevaluate \\_PIC 1\n");
	out = evaluate(session, "\\_S5");
	p = out;
	assert_int_equal(next_integer(&p), PLATFORM_SLP_TYP_S5);
	assert_int_equal(next_integer(&p), PLATFORM_SLP_TYP_S5);
	free(out);
	assert_non_null(strstr(session, "No object was returned from evaluation of \\_PIC"));
	free(session);
}

/*
 * The bytes of a dump as acpiexec prints it: lines of "0010: 47 01 ... // text".
 */
static void dump_bytes(const char *dump, char *bytes, size_t size)
{
	const char *p = strstr(dump, "[Buffer]");
	size_t len = 0;

	while (p && (p = strstr(p, "0: "))) {
		for (p += 3; p[0] != ' ' && p[1] != ' ' && p[2] == ' '; p += 3) {
			assert_true(len + 4 < size);
			memcpy(bytes + len, p, 3);
			len += 3;
		}
		p = strstr(p, "//");
	}
	bytes[len] = '\0';
}

/* The resources by their bytes: ACPI 6.4. */
static void test_resources(void **state)
{
	static const struct {
		const char *object, *bytes;
	} cases[] = {
		{ "\\_SB.COM1._CRS", "47 01 F8 03 F8 03 01 08 22 10 00 79 00" },
		{ "\\_SB.COM2._CRS", "47 01 F8 02 F8 02 01 08 22 08 00 79 00" },
		{ "\\_SB.COM3._CRS", "47 01 E8 03 E8 03 01 08 22 10 00 79 00" },
		{ "\\_SB.COM4._CRS", "47 01 E8 02 E8 02 01 08 22 08 00 79 00" },
		{ "\\_SB.RTC0._CRS", "47 01 70 00 70 00 01 02 22 00 01 79 00" },
		{ "\\_SB.PVPN._CRS", "47 01 05 05 05 05 01 01 79 00" },
		{ "\\_SB.PWRM._CRS", "47 01 00 06 00 06 01 10 47 01 20 06 20 06 01 04 79 00" },
		/* the memory window: c0000000 to febfffff, 3ec00000 bytes */
		{ "\\_SB.PCI0._CRS", "00 00 00 C0 FF FF BF FE 00 00 00 00 00 00 C0 3E" },
		{ "\\_SB.PCI0._CRS", "47 01 F8 0C F8 0C 01 08" },
	};
	char commands[512] = "", *session;
	struct tables t;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		sprintf(commands + strlen(commands), "evaluate %s\n", cases[i].object);
	build(&t, 1, ALL);
	session = acpiexec(&t, commands);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char *out = evaluate(session, cases[i].object);
		char bytes[1024];

		dump_bytes(out, bytes, sizeof(bytes));
		if (!strstr(bytes, cases[i].bytes))
			fail_msg("%s: '%s' of:\n%s", cases[i].object, bytes, out);
		free(out);
	}
	free(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fadt),
		cmocka_unit_test(test_madt),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_disassembly),
		cmocka_unit_test(test_present_devices),
		cmocka_unit_test(test_interrupt_routing),
		cmocka_unit_test(test_power_off),
		cmocka_unit_test(test_resources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
