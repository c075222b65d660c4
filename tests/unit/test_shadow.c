/* SPDX-License-Identifier: MIT */
/*
 * The PAM registers at config space, and the shadow RAM that they rule: with fakes of who is
 * told of them, and of the memory slots.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pci/pci_host.h"
#include "devices/pci/shadow.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

/* By address: the register, which half of it, where the segment is. */
static const struct {
	unsigned reg, shift;
	uint64_t base, size;
} segments[] = {
	{ 0x5a, 0, 0xc0000, 0x4000 },  { 0x5a, 4, 0xc4000, 0x4000 }, { 0x5b, 0, 0xc8000, 0x4000 },
	{ 0x5b, 4, 0xcc000, 0x4000 },  { 0x5c, 0, 0xd0000, 0x4000 }, { 0x5c, 4, 0xd4000, 0x4000 },
	{ 0x5d, 0, 0xd8000, 0x4000 },  { 0x5d, 4, 0xdc000, 0x4000 }, { 0x5e, 0, 0xe0000, 0x4000 },
	{ 0x5e, 4, 0xe4000, 0x4000 },  { 0x5f, 0, 0xe8000, 0x4000 }, { 0x5f, 4, 0xec000, 0x4000 },
	{ 0x59, 4, 0xf0000, 0x10000 },
};

#define NR_SEGMENTS ARRAY_SIZE(segments)
#define SEGMENT_D0 4
#define SEGMENT_E0 8
#define SEGMENT_F0 12
#define OFF 0u
#define RE 1u
#define WE 2u

/* --- the registers ------------------------------------------------------------------ */

struct told {
	struct bus bus;
	struct pci_host *host;
	unsigned bits[NR_SEGMENTS];
	unsigned calls; /* since somebody looked */
};

static void fake_pam_set(void *ctx, unsigned segment, bool read, bool write)
{
	struct told *t = ctx;

	assert_in_range(segment, 0, NR_SEGMENTS - 1);
	t->bits[segment] = (read ? RE : 0) | (write ? WE : 0);
	t->calls++;
}

static unsigned take_calls(struct told *t)
{
	unsigned n = t->calls;

	t->calls = 0;
	return n;
}

static void told_init(struct told *t)
{
	const struct pci_host_config cfg = {
		.name = "pci",
		.bus = &t->bus,
		.pam = { .set = fake_pam_set, .ctx = t },
	};

	memset(t, 0, sizeof(*t));
	bus_init(&t->bus);
	assert_int_equal(pci_host_create(&cfg, &t->host), 0);
}

static void told_fini(struct told *t)
{
	device_destroy(&t->host->dev);
	bus_destroy(&t->bus);
}

static int told_setup(void **state)
{
	struct told *t = malloc(sizeof(*t));

	told_init(t);
	*state = t;
	return 0;
}

static int told_teardown(void **state)
{
	told_fini(*state);
	free(*state);
	return 0;
}

#define cfg_in(t, reg, width) pci_cfg_in(&(t)->bus, 0, reg, width)
#define cfg_out(t, reg, width, v) pci_cfg_out(&(t)->bus, 0, reg, width, v)

static void all_on(struct bus *bus)
{
	pci_cfg_out(bus, 0, 0x58, 4, 0x33333000);
	pci_cfg_out(bus, 0, 0x5c, 4, 0x33333333);
}

static void test_each_nibble(void **state)
{
	struct told *t = *state;

	assert_int_equal(t->calls, 0); /* all off, as everybody knows */
	for (unsigned i = 0; i < NR_SEGMENTS; i++) {
		assert_int_equal(pam_base(i), segments[i].base);
		assert_int_equal(pam_size(i), segments[i].size);
		assert_int_equal(pam_segment(segments[i].base), i);
		assert_int_equal(pam_segment(segments[i].base + segments[i].size - 1), i);
		for (unsigned bits = 4; bits-- > 0;) {
			cfg_out(t, segments[i].reg, 1, bits << segments[i].shift);
			assert_int_equal(take_calls(t), 1);
			assert_int_equal(t->bits[i], bits);
			assert_int_equal(cfg_in(t, segments[i].reg, 1), bits << segments[i].shift);
		}
	}
}

static void test_only_changes(void **state)
{
	struct told *t = *state;

	all_on(&t->bus);
	assert_int_equal(take_calls(t), NR_SEGMENTS);
	for (unsigned i = 0; i < NR_SEGMENTS; i++)
		assert_int_equal(t->bits[i], RE | WE);
	all_on(&t->bus);
	assert_int_equal(take_calls(t), 0);
	/* Two of four bytes, and of one only one half. */
	cfg_out(t, 0x5c, 4, 0x33113123);
	assert_int_equal(take_calls(t), 4);
	assert_int_equal(t->bits[5], WE);
	assert_int_equal(t->bits[6], RE);
	assert_int_equal(t->bits[8], RE);
	assert_int_equal(t->bits[9], RE);
	/* What is beside them does not count. */
	cfg_out(t, 0x58, 1, 0xff);
	cfg_out(t, 0x60, 4, 0xffffffff);
	cfg_out(t, PCI_COMMAND, 2, 0xffff);
	assert_int_equal(take_calls(t), 0);
}

static void test_reserved_bits(void **state)
{
	struct told *t = *state;

	cfg_out(t, 0x58, 4, 0xffffffff);
	cfg_out(t, 0x5c, 4, 0xffffffff);
	assert_int_equal(cfg_in(t, 0x58, 4), 0x33333000);
	assert_int_equal(cfg_in(t, 0x5c, 4), 0x33333333);
	assert_int_equal(take_calls(t), NR_SEGMENTS);
	cfg_out(t, 0x5c, 4, 0xcccccccc);
	assert_int_equal(take_calls(t), 8);
	cfg_out(t, 0x5c, 4, 0);
	cfg_out(t, 0x59, 1, 0x3f);
	assert_int_equal(take_calls(t), 0);
}

static void test_registers_reset(void **state)
{
	struct told *t = *state;

	all_on(&t->bus);
	(void)take_calls(t);
	device_reset(&t->host->dev);
	assert_int_equal(take_calls(t), NR_SEGMENTS);
	for (unsigned i = 0; i < NR_SEGMENTS; i++)
		assert_int_equal(t->bits[i], OFF);
	device_reset(&t->host->dev);
	assert_int_equal(take_calls(t), 0);
}

static void test_registers_state(void **state)
{
	struct told *t = *state, other;
	struct state_buf fresh = { 0 }, lie = { 0 };

	told_init(&other);
	assert_int_equal(state_save(&t->host->dev, &fresh), 0);
	cfg_out(t, 0x59, 1, 0x10);
	cfg_out(t, 0x5c, 4, 0x01230000);
	check_state_round_trip(&t->host->dev, &other.host->dev);
	assert_int_equal(take_calls(&other), 4);
	assert_int_equal(other.bits[SEGMENT_F0], RE);
	assert_int_equal(other.bits[SEGMENT_E0], RE | WE);
	assert_memory_equal(other.bits, t->bits, sizeof(t->bits));

	/* One that is refused changes nothing. */
	t->host->s.bridge.config[0x59] = 0x33;
	assert_int_equal(state_save(&t->host->dev, &lie), 0);
	assert_int_equal(state_load(&other.host->dev, lie.data, lie.len), -EBADMSG);
	assert_int_equal(take_calls(&other), 0);

	assert_true(state_load(&other.host->dev, fresh.data, fresh.len) > 0);
	assert_int_equal(take_calls(&other), 4);
	assert_int_equal(other.bits[SEGMENT_F0], OFF);
	state_buf_free(&fresh);
	state_buf_free(&lie);
	told_fini(&other);
}

static void test_nobody_is_told(void **state)
{
	const struct pci_host_config cfg = { .name = "pci", .bus = &((struct told *)*state)->bus };
	struct told *t = *state;

	device_destroy(&t->host->dev);
	assert_int_equal(pci_host_create(&cfg, &t->host), 0);
	all_on(&t->bus);
	assert_int_equal(cfg_in(t, 0x58, 4), 0x33333000);
	device_reset(&t->host->dev);
	assert_int_equal(cfg_in(t, 0x58, 4), 0);
	assert_int_equal(t->calls, 0);
}

/* --- the memory --------------------------------------------------------------------- */

struct world {
	struct bus bus;
	struct mem mem;
	struct device *shadow;
	struct pci_host *host;
	struct {
		const uint8_t *hva;
		bool readonly;
	} slots[NR_SEGMENTS];
	unsigned calls;
	unsigned calls_left; /* until they fail */
};

static int fake_slot_set(void *ctx, uint64_t gpa, uint64_t size, const void *hva, bool readonly)
{
	struct world *w = ctx;
	unsigned i = pam_segment(gpa);

	assert_int_equal(gpa, segments[i].base);
	assert_int_equal(size, segments[i].size);
	w->calls++;
	w->slots[i].hva = NULL;
	if (!w->calls_left)
		return -ENOMEM;
	w->calls_left--;
	w->slots[i].hva = hva;
	w->slots[i].readonly = readonly;
	return 0;
}

static uint8_t rom_byte(uint64_t gpa)
{
	return (uint8_t)(gpa >> 12 ^ gpa * 7);
}

static uint8_t ram_byte(uint64_t gpa)
{
	return (uint8_t)~rom_byte(gpa);
}

static struct shadow_config shadow_config(struct world *w)
{
	return (struct shadow_config){
		.name = "shadow",
		.bus = &w->bus,
		.mem = &w->mem,
		.slots = { .set = fake_slot_set, .ctx = w },
	};
}

/* A machine whose image has rom_size bytes; image and RAM differ in every byte. */
static void world_init(struct world *w, uint64_t rom_size)
{
	uint8_t *image = malloc(rom_size), *ram;
	struct shadow_config cfg = shadow_config(w);
	struct pci_host_config pc = { .name = "pci", .bus = &w->bus };

	memset(w, 0, sizeof(*w));
	w->calls_left = 1000;
	bus_init(&w->bus);
	assert_int_equal(mem_init(&w->mem, 16 * MIB), 0);
	for (uint64_t i = 0; i < rom_size; i++)
		image[i] = rom_byte(MIB - rom_size + i);
	assert_int_equal(mem_add_rom(&w->mem, 4 * GIB - rom_size, image, rom_size), 0);
	free(image);
	ram = mem_at(&w->mem, 0, MIB);
	for (uint64_t i = 0; i < MIB; i++)
		ram[i] = ram_byte(i);
	assert_int_equal(shadow_create(&cfg, &w->shadow), 0);
	pc.pam = (struct pam){ .set = shadow_set, .ctx = w->shadow };
	assert_int_equal(pci_host_create(&pc, &w->host), 0);
}

static void world_fini(struct world *w)
{
	device_destroy(&w->host->dev);
	device_destroy(w->shadow);
	assert_int_equal(w->bus.tables[BUS_MMIO].nr_ranges, 0);
	mem_destroy(&w->mem);
	bus_destroy(&w->bus);
}

static int world_setup(void **state)
{
	struct world *w = malloc(sizeof(*w));

	world_init(w, 256 * KIB);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	world_fini(*state);
	free(*state);
	return 0;
}

static void set_bits(struct world *w, unsigned i, unsigned bits)
{
	unsigned old = cfg_in(w, segments[i].reg, 1) & ~(0xfu << segments[i].shift);

	cfg_out(w, segments[i].reg, 1, old | bits << segments[i].shift);
}

static const uint8_t *ram_at(struct world *w, uint64_t gpa)
{
	return mem_at_const(&w->mem, gpa, 1);
}

/* What a CPU finds in segment i by its slot, and what the bus answers to those that miss it. */
static void check_segment(struct world *w, unsigned i, unsigned bits, bool has_rom)
{
	uint64_t base = segments[i].base, last = base + segments[i].size - 1;

	if (bits & RE) {
		assert_ptr_equal(w->slots[i].hva, ram_at(w, base));
		assert_int_equal(w->slots[i].readonly, !(bits & WE));
		assert_int_equal(bus_in(&w->bus, BUS_MMIO, last, 1), *ram_at(w, last));
	} else if (has_rom) {
		assert_int_equal(w->slots[i].hva[0], rom_byte(base));
		assert_int_equal(w->slots[i].hva[last - base], rom_byte(last));
		assert_true(w->slots[i].readonly);
		assert_int_equal(bus_in(&w->bus, BUS_MMIO, base, 1), rom_byte(base));
		assert_int_equal(bus_in(&w->bus, BUS_MMIO, last, 1), rom_byte(last));
	} else {
		assert_null(w->slots[i].hva);
		assert_int_equal(bus_in(&w->bus, BUS_MMIO, base, 8), ~0ull);
		assert_int_equal(bus_in(&w->bus, BUS_MMIO, last, 1), 0xff);
	}
	/* A write that comes to the bus reaches RAM, or it is lost. */
	bus_out(&w->bus, BUS_MMIO, last, 1, 0x5a);
	assert_int_equal(*ram_at(w, last), bits & WE ? 0x5a : ram_byte(last));
	bus_out(&w->bus, BUS_MMIO, last, 1, ram_byte(last));
}

static void power_on_with(uint64_t rom_size)
{
	uint64_t low = MIB - min_u64(rom_size, 128 * KIB);
	struct world w;

	world_init(&w, rom_size);
	assert_int_equal(w.calls, NR_SEGMENTS);
	for (unsigned i = 0; i < NR_SEGMENTS; i++)
		check_segment(&w, i, OFF, segments[i].base >= low);
	/* And so again after a reset. */
	all_on(&w.bus);
	for (unsigned i = 0; i < NR_SEGMENTS; i++)
		check_segment(&w, i, RE | WE, false);
	device_reset(&w.host->dev);
	for (unsigned i = 0; i < NR_SEGMENTS; i++)
		check_segment(&w, i, OFF, segments[i].base >= low);
	world_fini(&w);
}

static void test_power_on(void **state)
{
	(void)state;
	power_on_with(64 * KIB);
	power_on_with(128 * KIB);
	power_on_with(256 * KIB);
}

static void test_every_setting(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < NR_SEGMENTS; i++) {
		for (unsigned bits = 4; bits-- > 0;) {
			w->calls = 0;
			set_bits(w, i, bits);
			assert_int_equal(w->calls, 1);
			check_segment(w, i, bits, segments[i].base >= 0xe0000);
		}
	}
}

/* A neighbour's bits are its own, in one access that reaches into it too. */
static void test_boundary(void **state)
{
	struct world *w = *state;
	uint64_t at = segments[SEGMENT_E0].base;
	uint64_t value = 0x8877665544332211, seen = 0;

	set_bits(w, SEGMENT_E0 - 1, WE);
	assert_true(bus_write(&w->bus, BUS_MMIO, at - 3, &value, 8));
	assert_memory_equal(ram_at(w, at - 3), &value, 3);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(*ram_at(w, at + i), ram_byte(at + i));
	assert_true(bus_read(&w->bus, BUS_MMIO, at - 3, &seen, 8));
	assert_int_equal(seen & 0xffffff, 0xffffff);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(seen >> (24 + 8 * i) & 0xff, rom_byte(at + i));
	/* All widths, and nothing outside. */
	for (unsigned width = 1; width <= 8; width *= 2) {
		bus_out(&w->bus, BUS_MMIO, at - 64, width, value);
		assert_memory_equal(ram_at(w, at - 64), &value, width);
		assert_int_equal(*ram_at(w, at - 64 + width), ram_byte(at - 64 + width));
	}
	assert_false(bus_read(&w->bus, BUS_MMIO, 0xbfff8, &seen, 8));
	assert_false(bus_read(&w->bus, BUS_MMIO, 0x100000, &seen, 8));
}

/* The VMM's own accesses find RAM, and what a CPU writes by way of the bus is marked dirty. */
static void test_our_side(void **state)
{
	struct world *w = *state;
	uint8_t byte;

	assert_int_equal(mem_read(&w->mem, 0xf0000, &byte, 1), 0);
	assert_int_equal(byte, ram_byte(0xf0000));
	assert_int_equal(mem_write(&w->mem, 0xf0000, "x", 1), 0);
	assert_int_equal(*ram_at(w, 0xf0000), 'x');
	assert_int_equal(mem_dirty_start(&w->mem), 0);
	set_bits(w, SEGMENT_D0, RE);
	bus_out(&w->bus, BUS_MMIO, 0xd0000, 1, 1);
	assert_int_equal(mem_dirty_fetch(&w->mem, 0xd0 / 64), 0);
	set_bits(w, SEGMENT_D0, WE);
	bus_out(&w->bus, BUS_MMIO, 0xd0000, 1, 1);
	assert_int_equal(mem_dirty_fetch(&w->mem, 0xd0 / 64), 1ull << 0xd0 % 64);
	mem_dirty_stop(&w->mem);
}

static void test_names(void **state)
{
	struct world *w = *state;
	const char *dev, *reg;
	char want[8];

	for (unsigned i = 0; i < NR_SEGMENTS; i++) {
		uint64_t last = segments[i].base + segments[i].size - 1;

		snprintf(want, sizeof(want), "%llx", (unsigned long long)segments[i].base);
		assert_true(bus_name(&w->bus, BUS_MMIO, last, i & 1, &dev, &reg));
		assert_string_equal(dev, "shadow");
		assert_string_equal(reg, want);
	}
}

/* The kernel refuses: one line, and the bus goes on to answer as the registers say. */
static void test_refusal(void **state)
{
	struct world *w = *state;
	int log = memfd_create("log", 0), err = dup(STDERR_FILENO);
	char text[256] = "";

	assert_true(log >= 0 && err >= 0);
	assert_int_equal(dup2(log, STDERR_FILENO), STDERR_FILENO);
	w->calls_left = 0;
	set_bits(w, SEGMENT_F0, RE);
	set_bits(w, SEGMENT_D0, RE | WE);
	assert_int_equal(dup2(err, STDERR_FILENO), STDERR_FILENO);
	close(err);
	assert_true(pread(log, text, sizeof(text) - 1, 0) > 0);
	close(log);
	assert_non_null(strstr(text, "0xf0000"));
	assert_ptr_equal(strchr(text, '\n') + 1, text + strlen(text));

	assert_null(w->slots[SEGMENT_D0].hva);
	assert_int_equal(bus_in(&w->bus, BUS_MMIO, 0xf0000, 1), ram_byte(0xf0000));
	bus_out(&w->bus, BUS_MMIO, 0xf0000, 1, 0);
	assert_int_equal(*ram_at(w, 0xf0000), ram_byte(0xf0000));
	bus_out(&w->bus, BUS_MMIO, 0xd0010, 4, 0x12345678);
	assert_int_equal(bus_in(&w->bus, BUS_MMIO, 0xd0010, 4), 0x12345678);
	w->calls_left = 2;
	set_bits(w, SEGMENT_D0, RE);
	check_segment(w, SEGMENT_D0, RE, false);
}

static void test_create_fails(void **state)
{
	struct world *w = *state;
	struct shadow_config cfg = shadow_config(w);
	struct device *dev = NULL;

	assert_int_equal(shadow_create(&cfg, &dev), -EEXIST);
	device_destroy(w->shadow);
	w->calls_left = 5;
	assert_int_equal(shadow_create(&cfg, &dev), -ENOMEM);
	assert_null(dev);
	assert_int_equal(w->bus.tables[BUS_MMIO].nr_ranges, 0);
	w->calls_left = 1000;
	assert_int_equal(shadow_create(&cfg, &w->shadow), 0);
}

#define TOLD(fn) cmocka_unit_test_setup_teardown(fn, told_setup, told_teardown)
#define WORLD(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOLD(test_each_nibble),
		TOLD(test_only_changes),
		TOLD(test_reserved_bits),
		TOLD(test_registers_reset),
		TOLD(test_registers_state),
		TOLD(test_nobody_is_told),
		cmocka_unit_test(test_power_on),
		WORLD(test_every_setting),
		WORLD(test_boundary),
		WORLD(test_our_side),
		WORLD(test_names),
		WORLD(test_refusal),
		WORLD(test_create_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
