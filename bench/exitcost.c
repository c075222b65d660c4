/* SPDX-License-Identifier: MIT */
/*
 * What an exit to user space and back costs: nanoseconds for each of many empty port
 * writes, by the bare KVM_RUN loop and by bantam's own, without accounts, with them,
 * and with the profile as well. The four take turns, in one process.
 *
 * Usage: exitcost ROUNDS WRITES; prints "NAME NS" lines for bench/summary.sh.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/bus.h"
#include "base/device.h"
#include "base/platform.h"
#include "cpu/kvm.h"
#include "cpu/regs.h"
#include "cpu/vcpu.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)

#define PORT_EMPTY 0x1230
#define PORT_BEGIN 0x2000
#define PORT_END 0x2001

/* Where the guest's few pages lie. */
#define GPA_PML4 0x1000
#define GPA_PDPT 0x2000
#define GPA_PD 0x3000
#define GPA_GDT 0x4000
#define GPA_CODE 0x10000
#define GPA_STACK 0x20000

struct rig {
	struct kvm kvm;
	struct mem mem;
	struct bus bus;
	struct device dev;
	struct vcpu vcpu;
	struct boot_entry entry;
	struct timespec begin, end; /* of the last round */
	int done; /* an eventfd: the round is over */
};

static void die(const char *what, int err)
{
	fprintf(stderr, "exitcost: %s: %s\n", what, strerror(-err));
	exit(1);
}

static uint64_t port_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)dev;
	(void)offset;
	return width_mask(width);
}

static void empty_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	(void)dev;
	(void)offset;
	(void)width;
	(void)value;
}

static void mark_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct rig *rig = container_of(dev, struct rig, dev);

	(void)width;
	(void)value;
	clock_gettime(CLOCK_MONOTONIC, offset ? &rig->end : &rig->begin);
	if (offset) {
		vcpu_pause(&rig->vcpu);
		eventfd_write(rig->done, 1);
	}
}

/* 64-bit code; %rbx has the number of writes. The function leaves a caller to be found. */
extern const char guest_begin[], guest_end[];
asm(".pushsection .rodata\n"
    "guest_begin:\n"
    "	mov %ebx, %ecx\n"
    "	mov $" STRING(PORT_BEGIN) ", %edx\n"
				  "	out %al, %dx\n"
				  "	mov $" STRING(
					  PORT_EMPTY) ", %edx\n"
						      "	call 2f\n"
						      "	mov $" STRING(
							      PORT_END) ", %edx\n"
									"	out %al, %dx\n"
									"1:	jmp 1b\n"
									"2:	out %al, %dx\n"
									"	dec %ecx\n"
									"	jnz 2b\n"
									"	ret\n"
									"guest_end:\n"
									".popsection");

/* The code, and tables that map the first GiB to itself. */
static void load_guest(struct rig *rig, uint32_t writes)
{
	static const uint64_t gdt[] = {
		0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067, 0
	};
	uint64_t table = GPA_PDPT | 3;
	int ret;

	ret = mem_write(&rig->mem, GPA_CODE, guest_begin, (uint64_t)(guest_end - guest_begin));
	ret |= mem_write(&rig->mem, GPA_GDT, gdt, sizeof(gdt));
	ret |= mem_write(&rig->mem, GPA_PML4, &table, sizeof(table));
	table = GPA_PD | 3;
	ret |= mem_write(&rig->mem, GPA_PDPT, &table, sizeof(table));
	for (uint64_t i = 0; i < 512; i++) {
		table = i * 2 * MIB | 0x83;
		ret |= mem_write(&rig->mem, GPA_PD + i * 8, &table, sizeof(table));
	}
	if (ret)
		die("guest memory", -EFAULT);
	rig->entry = (struct boot_entry){
		.mode = BOOT_LONG64,
		.rip = GPA_CODE,
		.rsp = GPA_STACK,
		.rbx = writes,
		.cr3 = GPA_PML4,
		.gdt_base = GPA_GDT,
		.gdt_limit = sizeof(gdt) - 1,
		.cs = 0x10,
		.ds = 0x18,
		.tr = 0x20,
	};
}

static void crashed(void *ctx, struct vcpu *vcpu)
{
	(void)ctx;
	fprintf(stderr, "exitcost: the guest: %s\n", vcpu->crash);
	exit(1);
}

static void rig_create(struct rig *rig, uint32_t writes, bool uncounted)
{
	static const struct device_ops dev_ops = { .type = "exitcost" };
	static const struct bus_ops empty = { .max_width = 1,
					      .read = port_read,
					      .write = empty_write };
	static const struct bus_ops mark = { .max_width = 1,
					     .read = port_read,
					     .write = mark_write };
	struct vcpu_config cfg = {
		.kvm = &rig->kvm,
		.bus = &rig->bus,
		.nr_cpus = 1,
		.events = { .crashed = crashed },
		.uncounted = uncounted,
	};
	struct err err = { "" };
	int ret;

	memset(rig, 0, sizeof(*rig));
	device_init(&rig->dev, &dev_ops, "port0");
	bus_init(&rig->bus);
	rig->done = eventfd(0, EFD_CLOEXEC);
	ret = rig->done < 0 ? -errno : mem_init(&rig->mem, 16 * MIB);
	if (!ret)
		ret = kvm_init(&rig->kvm, &err);
	if (!ret)
		ret = kvm_map_memory(&rig->kvm, &rig->mem, false);
	if (!ret)
		ret = kvm_create_irqchip(&rig->kvm, false);
	if (!ret)
		ret = bus_add(&rig->bus, BUS_PIO, PORT_EMPTY, 1, &rig->dev, &empty);
	if (!ret)
		ret = bus_add(&rig->bus, BUS_PIO, PORT_BEGIN, 2, &rig->dev, &mark);
	if (!ret)
		ret = vcpu_create(&rig->vcpu, &cfg);
	if (ret)
		die(err.text[0] ? err.text : "cannot create a machine", ret);
	load_guest(rig, writes);
}

static void rig_destroy(struct rig *rig)
{
	vcpu_destroy(&rig->vcpu);
	kvm_destroy(&rig->kvm);
	mem_destroy(&rig->mem);
	bus_destroy(&rig->bus);
	close(rig->done);
}

static double elapsed_ns(const struct rig *rig)
{
	return (double)(rig->end.tv_sec - rig->begin.tv_sec) * 1e9 +
	       (double)(rig->end.tv_nsec - rig->begin.tv_nsec);
}

/* The floor: nothing but KVM_RUN, and a look at why it has returned. */
static double run_bare(struct rig *rig)
{
	struct kvm_run *run = rig->vcpu.run;
	int ret = vcpu_reset(&rig->vcpu, &rig->entry);

	if (ret)
		die("cannot reset", ret);
	run->immediate_exit = 0;
	for (;;) {
		if (ioctl(rig->vcpu.fd, KVM_RUN, 0))
			die("KVM_RUN", -errno);
		if (run->exit_reason != KVM_EXIT_IO)
			die("an exit that is no port write", -EIO);
		if (run->io.port == PORT_EMPTY)
			continue;
		if (run->io.port == PORT_END)
			break;
		clock_gettime(CLOCK_MONOTONIC, &rig->begin);
	}
	clock_gettime(CLOCK_MONOTONIC, &rig->end);
	return elapsed_ns(rig);
}

static double run_bantam(struct rig *rig, bool profile)
{
	int ret = vcpu_set_profiling(&rig->vcpu, &rig->mem, profile);
	eventfd_t n;

	if (!ret)
		ret = vcpu_reset(&rig->vcpu, &rig->entry);
	if (ret)
		die("cannot reset", ret);
	vcpu_resume(&rig->vcpu);
	if (eventfd_read(rig->done, &n))
		die("eventfd", -errno);
	vcpu_wait_paused(&rig->vcpu);
	return elapsed_ns(rig);
}

int main(int argc, char **argv)
{
	static struct rig bare, off, on;
	uint64_t rounds, writes;

	if (argc != 3 || util_parse_uint(argv[1], 1, 10000, &rounds) ||
	    util_parse_uint(argv[2], 1, 1000000000, &writes)) {
		fprintf(stderr, "usage: exitcost ROUNDS WRITES\n");
		return 2;
	}
	if (vcpu_setup_signal())
		return 1;
	rig_create(&bare, (uint32_t)writes, true);
	rig_create(&off, (uint32_t)writes, true);
	rig_create(&on, (uint32_t)writes, false);
	printf("# exit ns\n");
	for (uint64_t i = 0; i < rounds; i++) {
		printf("floor %.1f\n", run_bare(&bare) / (double)writes);
		printf("off %.1f\n", run_bantam(&off, false) / (double)writes);
		printf("on %.1f\n", run_bantam(&on, false) / (double)writes);
		printf("profile %.1f\n", run_bantam(&on, true) / (double)writes);
		fflush(stdout);
	}
	rig_destroy(&bare);
	rig_destroy(&off);
	rig_destroy(&on);
	return 0;
}
