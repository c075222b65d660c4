/* SPDX-License-Identifier: MIT */
/*
 * The PC's small devices: what ports do that belong to somebody and those that do not, at
 * every width and by strings; RTC, i8042, ports 0x80 and 0x92, PIT and PM timer.
 */
#include "guests/baremetal/lib/irq.h"

#define FREE_PORT 0x1230
#define CMOS_OWN 0x70 /* a byte of CMOS RAM that means nothing */
#define VECTOR_IOAPIC 0x45

static void test_free_ports(void)
{
	uint32_t buf[4];
	unsigned bad = 0;

	tap_is(inb(FREE_PORT), 0xff, "a free port reads ones, 8 bits");
	tap_is(inw(FREE_PORT), 0xffff, "a free port reads ones, 16 bits");
	tap_is(inl(FREE_PORT), 0xffffffff, "a free port reads ones, 32 bits");
	outl(FREE_PORT, 0x12345678);
	tap_is(inl(FREE_PORT), 0xffffffff, "and forgets what is written");
	tap_is(inl(0xffff), 0xffffffff, "so does the last port, at 32 bits");
	memset(buf, 0, sizeof(buf));
	rep_insl(FREE_PORT, buf, 4);
	for (unsigned i = 0; i < 4; i++)
		bad += buf[i] != 0xffffffff;
	tap_is(bad, 0, "rep insl from it");

	/* The last port of COM1 is its scratch register; nobody is behind it. */
	outb(PLATFORM_PORT_COM1 + 7, 0x5a);
	tap_is(inw(PLATFORM_PORT_COM1 + 7), 0xff5a, "16 bits over the edge of a device");
	tap_is(inl(PLATFORM_PORT_COM1 + 6) >> 8, 0xffff5a, "32 bits over the edge of a device");
}

static void test_strings(void)
{
	static const char text[] = "# rep outsb to the serial port\n";
	static uint8_t bytes[2000];
	uint32_t longs[3] = { 0 };
	uint16_t words[5] = { 0 };
	unsigned bad = 0;

	rep_outsb(PLATFORM_PORT_COM1, text, sizeof(text) - 1);
	cmos_write(CMOS_OWN, 0x3c);
	rep_insb(PLATFORM_PORT_RTC_DATA, bytes, sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bad += bytes[i] != 0x3c;
	tap_is(bad, 0, "2000 bytes by rep insb");
	outl(PLATFORM_PORT_PCI_ADDR, 0x80000000);
	rep_insw(PLATFORM_PORT_PCI_DATA, words, 5);
	rep_insl(PLATFORM_PORT_PCI_DATA, longs, 3);
	tap(words[0] == 0x8086 && words[4] == 0x8086, "rep insw");
	tap(longs[0] == 0x12378086 && longs[2] == 0x12378086, "rep insl");
}

static void test_small(void)
{
	uint8_t a;

	outb(PLATFORM_PORT_POST, 0x42);
	tap_is(inb(PLATFORM_PORT_POST), 0x42, "port 0x80 reads back");
	a = inb(PLATFORM_PORT_SYSCTL_A);
	outb(PLATFORM_PORT_SYSCTL_A, (a & 0xfe) | 2);
	tap_is(inb(PLATFORM_PORT_SYSCTL_A) & 3, 2, "port 0x92: A20 on");
	outb(PLATFORM_PORT_SYSCTL_A, a & 0xfc);
	tap_is(inb(PLATFORM_PORT_SYSCTL_A) & 3, 0, "port 0x92: A20 off reads back");
	outb(PLATFORM_PORT_SYSCTL_A, (a & 0xfe) | 2);
	tap_is(inb(PLATFORM_PORT_PVPANIC), 3, "pvpanic says what it knows");
	tap_is(inw(PLATFORM_PORT_PM_BASE + 4) & 1, 1, "SCI_EN is set: no SMI is needed");
	outw(PLATFORM_PORT_PM_BASE + 2, 0x0100);
	tap_is(inw(PLATFORM_PORT_PM_BASE + 2) & 0x100, 0x100, "PM1 enable keeps the power button");
	outw(PLATFORM_PORT_PM_BASE + 2, 0);
	tap_is(inw(PLATFORM_PORT_PM_BASE) & 0x100, 0, "the power button was not pressed");
}

static bool i8042_wait(uint8_t mask, uint8_t value)
{
	for (unsigned i = 0; i < 1000; i++) {
		if ((inb(PLATFORM_PORT_I8042_CMD) & mask) == value)
			return true;
		delay_us(10);
	}
	return false;
}

/* An answer to a command, or -1. */
static int i8042_answer(void)
{
	return i8042_wait(1, 1) ? inb(PLATFORM_PORT_I8042_DATA) : -1;
}

static int i8042_command(uint8_t command)
{
	outb(PLATFORM_PORT_I8042_CMD, command);
	return i8042_answer();
}

static void test_i8042(void)
{
	int config;

	tap(i8042_wait(2, 0), "i8042: takes input");
	tap_is((uint64_t)i8042_command(0xaa), 0x55, "i8042: self-test");
	tap_is((uint64_t)i8042_command(0xab), 0, "i8042: keyboard interface test");
	config = i8042_command(0x20);
	tap(config >= 0, "i8042: command byte");
	outb(PLATFORM_PORT_I8042_CMD, 0x60);
	outb(PLATFORM_PORT_I8042_DATA, (uint8_t)(config ^ 0x10));
	tap_is((uint64_t)i8042_command(0x20), (uint64_t)(config ^ 0x10), "i8042: it reads back");
	outb(PLATFORM_PORT_I8042_CMD, 0x60);
	outb(PLATFORM_PORT_I8042_DATA, (uint8_t)config);
	tap((i8042_command(0xd0) & 3) == 3, "i8042: output port: no reset, A20");
	outb(PLATFORM_PORT_I8042_DATA, 0xff);
	tap_is((uint64_t)i8042_answer(), 0xfe, "i8042: no keyboard answers");
	tap(i8042_wait(1, 0), "i8042: and the buffer is empty");
}

static unsigned bcd(uint8_t v)
{
	return (unsigned)(v >> 4) * 10 + (v & 15);
}

static volatile uint8_t rtc_flags;

static void rtc_irq(struct irq_frame *frame)
{
	(void)frame;
	rtc_flags |= cmos_read(0x0c);
}

static void test_rtc(void)
{
	const volatile unsigned *seen = &irq_seen.count[VECTOR_IRQ(PLATFORM_IRQ_RTC)];
	uint64_t tsc;
	unsigned n;

	irq_seen.count[VECTOR_IRQ(PLATFORM_IRQ_RTC)] = 0;
	tap_is(cmos_read(0x0d), 0x80, "RTC: time and RAM are valid");
	tap_is(cmos_read(0x0b) & 0x7a, 0x02, "RTC: BCD, 24 hours, interrupts off");
	cmos_write(CMOS_OWN, 0xa5);
	tap_is(cmos_read(CMOS_OWN), 0xa5, "RTC: RAM keeps a byte");
	n = cmos_read(0x34) | (unsigned)cmos_read(0x35) << 8;
	tap_is(n * 64 / 1024 + 16, cmdline_number("memory=", 256), "RTC: RAM size in CMOS");

	/* Periodic, rate 6: 1024 a second. Who reads register C acknowledges. */
	irq_handle(VECTOR_IRQ(PLATFORM_IRQ_RTC), rtc_irq);
	rtc_flags = 0;
	sti();
	pic_unmask(PLATFORM_IRQ_RTC);
	(void)cmos_read(0x0c);
	cmos_write(0x0a, 0x26);
	tsc = pm_timer();
	cmos_write(0x0b, 0x42);
	tap(wait_for(seen, 20, 1000) && (rtc_flags & 0xc0) == 0xc0,
	    "RTC: periodic interrupts are IRQ 8");
	tsc = (pm_timer() - tsc) & 0xffffff;
	cmos_write(0x0b, 0x02);
	tap(tsc > 18 * PLATFORM_PM_TIMER_HZ / 1024, "RTC: and not too fast, 20 in %u us",
	    (unsigned)tsc * 10 / 36);
	/* The end of an update, once a second. */
	rtc_flags = 0;
	irq_seen.count[VECTOR_IRQ(PLATFORM_IRQ_RTC)] = 0;
	(void)cmos_read(0x0c);
	cmos_write(0x0b, 0x12);
	tap(wait_for(seen, 1, 2000) && rtc_flags & 0x10, "RTC: an update ends within a second");
	cmos_write(0x0b, 0x02);
	pic_mask_all();
	cli();
	/* Right behind an update, so no digit changes while they are read. */
	print("# rtc %02u%02u-%02u-%02u %02u:%02u\n", bcd(cmos_read(0x32)), bcd(cmos_read(9)),
	      bcd(cmos_read(8)), bcd(cmos_read(7)), bcd(cmos_read(4)), bcd(cmos_read(2)));
}

static uint16_t pit_count(void)
{
	uint8_t low;

	outb(PLATFORM_PORT_PIT + 3, 0x00); /* latch channel 0 */
	low = inb(PLATFORM_PORT_PIT);
	return (uint16_t)(low | inb(PLATFORM_PORT_PIT) << 8);
}

static void test_timers(void)
{
	uint32_t pm, pm_ticks;
	uint64_t tsc[3];
	uint16_t pit;
	unsigned ratio = 0;

	/* Preemption by the host tells on one of the two: then they are tried again. */
	for (unsigned tries = 0; tries < 10 && (ratio < 50 || ratio > 200); tries++) {
		tsc[0] = rdtsc();
		delay_us(20000);
		tsc[1] = rdtsc();
		delay_us(20000);
		tsc[2] = rdtsc();
		ratio = (unsigned)((tsc[2] - tsc[1]) * 100 / (tsc[1] - tsc[0]));
	}
	tap(ratio >= 50 && ratio <= 200, "PM timer: two times 20 ms by the TSC, ratio %u %%",
	    ratio);

	if (!cmdline_has("pit")) {
		/* Nobody counts, so nobody must be kept waiting. */
		tap(inb(PLATFORM_PORT_SPEAKER) & 0x20, "port 0x61 without a PIT: done at once");
		return;
	}
	/* Both count at 1.193182 MHz, one times three. */
	outb(PLATFORM_PORT_PIT + 3, 0x34);
	outb(PLATFORM_PORT_PIT, 0);
	outb(PLATFORM_PORT_PIT, 0);
	ratio = 0;
	for (unsigned tries = 0; tries < 10 && (ratio < 290 || ratio > 310); tries++) {
		pm = pm_timer();
		pit = pit_count();
		delay_us(20000);
		pm_ticks = (pm_timer() - pm) & 0xffffff;
		pit = (uint16_t)(pit - pit_count());
		ratio = pit ? pm_ticks * 100 / pit : 0;
	}
	tap(ratio >= 290 && ratio <= 310, "PM timer: three times the PIT, %u %%", ratio);
}

static void pit_rate(uint16_t divisor)
{
	outb(PLATFORM_PORT_PIT + 3, 0x34);
	outb(PLATFORM_PORT_PIT, (uint8_t)divisor);
	outb(PLATFORM_PORT_PIT, (uint8_t)(divisor >> 8));
}

static void test_pit_irq(void)
{
	irq_seen.count[VECTOR_IRQ(0)] = 0;
	pit_rate(2983); /* 400 a second */
	sti();
	pic_unmask(0);
	tap(wait_for(&irq_seen.count[VECTOR_IRQ(0)], 8, 500), "PIT: IRQ 0 by the PIC");
	pic_mask_all();
	lapic_enable(false);
	/* By the MADT's override it is pin 2. */
	ioapic_route(2, VECTOR_IOAPIC, 0);
	tap(wait_for(&irq_seen.count[VECTOR_IOAPIC], 8, 500), "PIT: I/O APIC pin 2");
	ioapic_route(2, VECTOR_IOAPIC, IOAPIC_MASKED);

	/* The local APIC's own timer, one shot. */
	lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, 0x46);
	lapic_write(LAPIC_TIMER_INIT, 1000000);
	tap(wait_for(&irq_seen.count[0x46], 1, 500), "local APIC: timer");
	tap_is(irq_seen.count[0x46], 1, "local APIC: once");
	cli();
	/* The PIT again at its slowest, in case somebody unmasks it. */
	pit_rate(0);

	/* Channel 2 behind port 0x61: the output goes up at the end of mode 0. */
	outb(PLATFORM_PORT_SPEAKER, 1);
	outb(PLATFORM_PORT_PIT + 3, 0xb0);
	outb(PLATFORM_PORT_PIT + 2, 0xa9);
	outb(PLATFORM_PORT_PIT + 2, 0x04); /* 1 ms */
	tap(!(inb(PLATFORM_PORT_SPEAKER) & 0x20), "PIT: channel 2 counts");
	delay_us(3000);
	tap(inb(PLATFORM_PORT_SPEAKER) & 0x20, "PIT: channel 2 has counted");
}

int main(void)
{
	test_free_ports();
	test_strings();
	test_small();
	test_i8042();
	test_timers();
	test_rtc();
	if (cmdline_has("pit"))
		test_pit_irq();
	return 0;
}
