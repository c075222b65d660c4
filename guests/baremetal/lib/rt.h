/* SPDX-License-Identifier: MIT */
/*
 * The runtime of the bare-metal test guests: what stands between the machine's entry
 * and a guest's own main().
 *
 * A guest is an ELF with a PVH note. It is entered in flat 32-bit protected mode; start.S
 * sets up a stack, a GDT and, in 64-bit guests, long mode with the first 8 GiB mapped one
 * to one. main() then says what it finds in TAP ("ok 1 - ...") on COM1 and leaves through
 * the debug exit port: 0 where all tests passed. Returning from main() does that too.
 *
 * Everything here runs with interrupts off unless a guest turns them on. One CPU writes
 * to the serial port: the first.
 */
#ifndef GUESTS_RT_H
#define GUESTS_RT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/platform.h"
#include "guests/baremetal/lib/arch.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The registers at entry, as start.S found them. */
struct entry_state {
	uint32_t eax, ebx, edx, cr0, cr3, cr4, eflags, cs, ds, ss, tr;
};
extern struct entry_state entry_state;

/* xen/include/public/arch-x86/hvm/start_info.h */
#define START_INFO_MAGIC 0x336ec578

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct start_memmap {
	uint64_t addr, size;
	uint32_t type, reserved;
};

static inline const struct start_info *start_info(void)
{
	return (const struct start_info *)(uintptr_t)entry_state.ebx;
}

/* Is word one of the command line's? What follows "key=" on it, or NULL. */
bool cmdline_has(const char *word);
const char *cmdline_value(const char *key);
/* The same as a number, or the default. */
unsigned cmdline_number(const char *key, unsigned def);

void *memcpy(void *dst, const void *src, size_t len);
void *memset(void *dst, int c, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t len);

/* %s %c %d %u %x, %lx and %llx for longer ones, %% and a width with a leading 0. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void print_char(char c);

/* One TAP line, numbered; returns ok. */
bool tap(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, where a value is expected: says both when they differ. */
bool tap_is(uint64_t got, uint64_t want, const char *name);
void tap_skip(const char *name, const char *why);
/* The plan, and out by the debug exit port. */
void tap_done(void) __attribute__((noreturn));

/* For guests that go through a reset: where to go on counting. */
struct tap_state {
	unsigned count, failed;
};
extern struct tap_state tap_state;

/* Ends the machine: 0 well, anything else as a crash. */
void debug_exit(unsigned value) __attribute__((noreturn));

/* By the PM timer. */
uint32_t pm_timer(void);
void delay_us(unsigned us);
/* Waits until *flag has become at least value; false after ms. */
bool wait_for(const volatile unsigned *flag, unsigned value, unsigned ms);

/* CMOS RAM, which outlives a reset. */
uint8_t cmos_read(uint8_t index);
void cmos_write(uint8_t index, uint8_t value);

int main(void);

#endif
