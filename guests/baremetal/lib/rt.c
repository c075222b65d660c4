/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/rt.h"

#include "guests/baremetal/lib/irq.h"

struct tap_state tap_state;

/* By words where there are any: some hosts interpret a guest, an element at a time. */
void *memcpy(void *dst, const void *src, size_t len)
{
	size_t words = len / 4, rest = len % 4;
	void *d = dst;

	__asm__ volatile("rep movsl" : "+D"(d), "+S"(src), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(rest) : : "memory");
	return dst;
}

void *memset(void *dst, int c, size_t len)
{
	size_t words = len / 4, rest = len % 4;
	uint32_t word = 0x01010101u * (uint8_t)c;
	void *d = dst;

	__asm__ volatile("rep stosl" : "+D"(d), "+c"(words) : "a"(word) : "memory");
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(word) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const unsigned char *p = a, *q = b;
	size_t words = len / 4, rest = len % 4;
	bool same = true;

	if (words)
		__asm__ volatile("repe cmpsl"
				 : "+S"(p), "+D"(q), "+c"(words), "=@ccz"(same)
				 :
				 : "memory");
	if (!same) { /* in the word before */
		p -= 4;
		q -= 4;
		rest = 4;
	}
	for (; rest; rest--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strncmp(const char *a, const char *b, size_t len)
{
	for (; len && *a && *a == *b; len--, a++, b++)
		;
	return len ? (unsigned char)*a - (unsigned char)*b : 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

const char *cmdline_value(const char *key)
{
	const char *p = (const char *)(uintptr_t)start_info()->cmdline;
	size_t len = strlen(key);

	while (p && *p) {
		if (!strncmp(p, key, len))
			return p + len;
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
	}
	return NULL;
}

bool cmdline_has(const char *word)
{
	const char *end = cmdline_value(word);

	return end && (!*end || *end == ' ');
}

unsigned cmdline_number(const char *key, unsigned def)
{
	const char *p = cmdline_value(key);
	unsigned v = 0;

	if (!p)
		return def;
	for (; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (unsigned)(*p - '0');
	return v;
}

void print_char(char c)
{
	/* A device that never takes a byte must not hang the guest for ever. */
	for (unsigned i = 0; i < 100000 && !(inb(PLATFORM_PORT_COM1 + 5) & 0x20); i++)
		cpu_relax();
	outb(PLATFORM_PORT_COM1, (uint8_t)c);
}

static void print_hex(uint64_t v, int width)
{
	int digits = 1;

	while (digits < 16 && v >> (4 * digits))
		digits++;
	if (digits < width)
		digits = width;
	while (digits--)
		print_char("0123456789abcdef"[v >> (4 * digits) & 15]);
}

/* 32 bits: a 32-bit guest has no library to divide longer ones. */
static void print_dec(uint32_t v, int width)
{
	char buf[10];
	int n = 0;

	do {
		buf[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (width-- > n)
		print_char('0');
	while (n)
		print_char(buf[--n]);
}

static void vprint(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		int width = 0, longs = 0;
		uint64_t v;

		if (*fmt != '%') {
			print_char(*fmt);
			continue;
		}
		for (fmt++; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + *fmt - '0';
		for (; *fmt == 'l'; fmt++)
			longs++;
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				print_char(*s);
			break;
		case 'c':
			print_char((char)va_arg(ap, int));
			break;
		case 'd':
		case 'u':
		case 'x':
			v = longs == 2   ? va_arg(ap, unsigned long long)
			    : longs == 1 ? va_arg(ap, unsigned long)
					 : va_arg(ap, unsigned);
			if (*fmt == 'x') {
				print_hex(v, width);
				break;
			}
			if (*fmt == 'd' && (int)v < 0) {
				print_char('-');
				v = -v;
			}
			print_dec((uint32_t)v, width);
			break;
		default:
			print_char(*fmt);
			break;
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

static void tap_head(bool ok)
{
	tap_state.count++;
	tap_state.failed += !ok;
	print("%sok %u - ", ok ? "" : "not ", tap_state.count);
}

bool tap(bool ok, const char *fmt, ...)
{
	va_list ap;

	tap_head(ok);
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print_char('\n');
	return ok;
}

bool tap_is(uint64_t got, uint64_t want, const char *name)
{
	tap_head(got == want);
	print("%s", name);
	if (got != want)
		print(": 0x%llx, expected 0x%llx", (unsigned long long)got,
		      (unsigned long long)want);
	print_char('\n');
	return got == want;
}

void tap_skip(const char *name, const char *why)
{
	tap_head(true);
	print("%s # SKIP %s\n", name, why);
}

void tap_done(void)
{
	print("1..%u\n", tap_state.count);
	debug_exit(tap_state.failed ? 1 : 0);
}

void debug_exit(unsigned value)
{
	for (;;) {
		outl(PLATFORM_PORT_DEBUG_EXIT, value);
		__asm__ volatile("cli; hlt");
	}
}

uint32_t pm_timer(void)
{
	return inl(PLATFORM_PORT_PM_BASE + 8) & 0xffffff;
}

void delay_us(unsigned us)
{
	uint32_t start = pm_timer();
	uint32_t ticks = us * 4; /* a tenth more than the timer's rate */

	while (((pm_timer() - start) & 0xffffff) < ticks)
		cpu_relax();
}

bool wait_for(const volatile unsigned *flag, unsigned value, unsigned ms)
{
	for (unsigned i = 0; i < ms * 10; i++) {
		if (*flag >= value)
			return true;
		delay_us(100);
	}
	return *flag >= value;
}

uint8_t cmos_read(uint8_t index)
{
	outb(PLATFORM_PORT_RTC_INDEX, index);
	return inb(PLATFORM_PORT_RTC_DATA);
}

void cmos_write(uint8_t index, uint8_t value)
{
	outb(PLATFORM_PORT_RTC_INDEX, index);
	outb(PLATFORM_PORT_RTC_DATA, value);
}

/* From start.S. */
void rt_main(void);

void rt_main(void)
{
	irq_init();
	(void)main();
	tap_done();
}
