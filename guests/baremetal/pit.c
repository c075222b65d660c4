/* SPDX-License-Identifier: MIT */
/*
 * The interval timer as old guests use it: the rate of IRQ 0 by the PIC and by the I/O APIC, and
 * the calibration loops that poll counter 2 or counter 0, all against the TSC, whose own rate is
 * taken from the PM timer.
 *
 * slack=N is how far off a rate may be, per mille: 10, unless the host is busy. max=N is max-hz,
 * dilate says that the policy is time=dilate, kernel that the timer is KVM's; sum=MS is how long
 * to count at each rate. quick leaves all but the rates away; forever prints the ticks of each
 * second at the rate of count=N, and how many there have been in how much time, instead.
 */
#include "guests/baremetal/lib/irq.h"

#define HZ 1193182u
#define PORT_COUNTER(n) ((uint16_t)(PLATFORM_PORT_PIT + (n)))
#define PORT_CONTROL PORT_COUNTER(3)
#define VECTOR_IOAPIC 0x45
#define SPEAKER_OUT2 0x20
#define SPEAKER_REFRESH 0x10
#define CALIBRATION_SLACK 10 /* per mille */

static struct {
	volatile unsigned ticks;
	volatile uint64_t first, last; /* TSC */
} seen;

static uint64_t tsc_hz;
static unsigned slack;

static void tick(struct irq_frame *frame)
{
	uint64_t now = rdtsc();

	(void)frame;
	if (!seen.ticks)
		seen.first = now;
	seen.last = now;
	seen.ticks++;
}

/* How far got is from want, in thousandths. */
static unsigned off(uint64_t got, uint64_t want)
{
	uint64_t diff = got > want ? got - want : want - got;

	return want ? (unsigned)(diff * 1000 / want) : 1000;
}

/* The longest of some tries is disturbed least: what disturbs comes between reading two clocks. */
static uint64_t measure_tsc(void)
{
	uint64_t best = 0;
	unsigned least = ~0u;

	for (unsigned i = 0; i < 5; i++) {
		uint32_t before = pm_timer(), after;
		uint64_t tsc = rdtsc(), width = rdtsc();

		delay_us(50000);
		after = pm_timer();
		width = rdtsc() - width;
		tsc = rdtsc() - tsc;
		if (tsc - width < least) {
			least = (unsigned)(tsc - width);
			best = tsc * PLATFORM_PM_TIMER_HZ / ((after - before) & 0xffffff);
		}
	}
	return best;
}

static void program(unsigned counter, uint8_t mode, unsigned count)
{
	outb(PORT_CONTROL, (uint8_t)(counter << 6 | 0x30 | mode << 1));
	outb(PORT_COUNTER(counter), (uint8_t)count);
	outb(PORT_COUNTER(counter), (uint8_t)(count >> 8));
}

static unsigned latched(unsigned counter)
{
	unsigned low;

	outb(PORT_CONTROL, (uint8_t)(counter << 6));
	low = inb(PORT_COUNTER(counter));
	return low | (unsigned)inb(PORT_COUNTER(counter)) << 8;
}

/* Ticks a second times 1000, from the first to the last of those that ms brings. */
static uint64_t rate(uint8_t mode, unsigned count, unsigned ms)
{
	program(0, mode, count);
	delay_us(120000); /* what a change of the rate brings with it */
	cli();
	seen.ticks = 0;
	sti();
	for (unsigned i = 0; i < ms / 10; i++)
		delay_us(10000);
	cli();
	program(0, 2, 0);
	sti();
	if (seen.ticks < 2)
		return 0;
	return (seen.ticks - 1ull) * tsc_hz / ((seen.last - seen.first) / 1000);
}

static void test_rates(const char *by, unsigned max, bool dilate)
{
	static const struct {
		const char *name;
		unsigned count;
	} rates[] = {
		{ "18.2 Hz", 0 }, { "100 Hz", 11932 }, { "250 Hz", 4773 }, { "1000 Hz", 1193 }
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
		unsigned count = rates[i].count ? rates[i].count : 65536;
		uint64_t want = HZ * 1000ull / count, got = 0;

		if (max && dilate && want > max * 1000ull)
			want = max * 1000ull;
		for (unsigned tries = 0; tries < 8 && off(got, want) > slack; tries++)
			got = rate(i % 2 ? 2 : 3, rates[i].count, cmdline_number("sum=", 1000));
		tap(off(got, want) <= slack, "%s by the %s: %u.%03u a second, wanted %u.%03u",
		    rates[i].name, by, (unsigned)(got / 1000), (unsigned)(got % 1000),
		    (unsigned)(want / 1000), (unsigned)(want % 1000));
	}
}

static void test_irqs(void)
{
	unsigned max = cmdline_number("max=", 0);
	bool dilate = cmdline_has("dilate");

	irq_handle(VECTOR_IRQ(0), tick);
	irq_handle(VECTOR_IOAPIC, tick);
	sti();
	pic_unmask(0);
	test_rates("PIC", max, dilate);
	pic_mask_all();
	lapic_enable(false);
	ioapic_route(2, VECTOR_IOAPIC, 0);
	test_rates("I/O APIC", max, dilate);
	ioapic_route(2, VECTOR_IOAPIC, IOAPIC_MASKED);
	cli();
}

/* Counter 2, mode 0, GATE on: what port 0x61 shows after 50 ms. */
static uint64_t by_gate(void)
{
	uint64_t tsc;

	outb(PLATFORM_PORT_SPEAKER, 0);
	program(2, 0, HZ / 20);
	outb(PLATFORM_PORT_SPEAKER, 1);
	tsc = rdtsc();
	while (!(inb(PLATFORM_PORT_SPEAKER) & SPEAKER_OUT2))
		;
	return (rdtsc() - tsc) * 20;
}

/* Counter 2, mode 0, read over and over. */
static uint64_t by_count2(void)
{
	unsigned first, last;
	uint64_t tsc;

	outb(PLATFORM_PORT_SPEAKER, 1);
	program(2, 0, 0xffff);
	first = latched(2);
	tsc = rdtsc();
	do
		last = latched(2);
	while (first - last < HZ / 20 - 10);
	return (rdtsc() - tsc) * HZ / (first - last);
}

/* Counter 0, mode 2, free running, the sum of the differences. */
static uint64_t by_count0(void)
{
	unsigned sum = 0, last, now;
	uint64_t tsc;

	program(0, 2, 0); /* whoever is away for a whole period is out by that much */
	last = latched(0);
	tsc = rdtsc();
	while (sum < HZ / 20) {
		now = latched(0);
		sum += (uint16_t)(last - now);
		last = now;
	}
	return (rdtsc() - tsc) * HZ / sum;
}

/* The refresh bit changes every 18 pulses: 15.085 us. Who polls slowly misses some. */
static void test_refresh(void)
{
	unsigned changes = 0, last = 0;
	uint64_t until = rdtsc() + tsc_hz / 20;

	for (unsigned polls = 0; polls < 100000 && rdtsc() < until; polls++) {
		unsigned now = inb(PLATFORM_PORT_SPEAKER) & SPEAKER_REFRESH;

		changes += now != last;
		last = now;
	}
	tap(changes > 20 && changes < 3400, "the refresh bit changes: %u times in 50 ms", changes);
}

/* The best of some tries: who polls while the host is busy sees the end too late. */
static void test_calibration(const char *name, uint64_t (*fn)(void))
{
	uint64_t got = 0;

	for (unsigned tries = 0; tries < 200 && off(got, tsc_hz) > CALIBRATION_SLACK; tries++) {
		uint64_t v = fn();

		if (off(v, tsc_hz) < off(got, tsc_hz))
			got = v;
	}
	tap(off(got, tsc_hz) <= CALIBRATION_SLACK, "%s: the TSC has %u kHz, the PM timer says %u",
	    name, (unsigned)(got / 1000), (unsigned)(tsc_hz / 1000));
}

/* By the PIC, second after second by the TSC. */
static void count_forever(void)
{
	unsigned count = cmdline_number("count=", 1193), hz = (HZ + count / 2) / count;
	uint64_t start, begun, now;
	unsigned before = 0, total;

	irq_handle(VECTOR_IRQ(0), tick);
	pic_unmask(0);
	program(0, 2, count);
	sti();
	start = begun = rdtsc();
	for (;;) {
		do
			now = rdtsc();
		while (now - begun < tsc_hz);
		total = seen.ticks;
		print("%u Hz: %u ticks, %u in %u ms\n", hz,
		      (unsigned)((total - before) * tsc_hz / (now - begun)), total,
		      (unsigned)((now - start) * 1000 / tsc_hz));
		before = total;
		begun = now;
	}
}

int main(void)
{
	slack = cmdline_number("slack=", 10);
	tsc_hz = measure_tsc();
	if (cmdline_has("forever"))
		count_forever();
	test_irqs();
	if (cmdline_has("quick"))
		return 0;
	test_calibration("counter 2's output", by_gate);
	test_calibration("counter 2's count", by_count2);
	if (!cmdline_has("dilate") || cmdline_number("max=", 0) >= 19)
		test_calibration("counter 0's count", by_count0);
	test_refresh();
	if (!cmdline_has("kernel"))
		tap_is(inb(PORT_CONTROL), 0xff, "the control port cannot be read");
	return 0;
}
