/* SPDX-License-Identifier: MIT */
#include "cpu/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm_para.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define KVM_PATH "/dev/kvm"

/* Memory slots: the regions of struct mem by number, then low RAM's second part, then these. */
#define SLOT_ABOVE_SHADOW MEM_MAX_REGIONS
#define SLOT_SHADOW (MEM_MAX_REGIONS + 1)
#define SHADOW_UNIT (16 * KIB)

struct needed_cap {
	unsigned long cap;
	const char *name;
};

static const struct needed_cap needed_caps[] = {
	{ KVM_CAP_USER_MEMORY, "user memory" },
	{ KVM_CAP_IRQCHIP, "an in-kernel irqchip" },
	{ KVM_CAP_IRQ_INJECT_STATUS, "the status of an injected interrupt" },
	{ KVM_CAP_IRQ_ROUTING, "interrupt routing" },
	{ KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_EXT_CPUID, "KVM_GET_SUPPORTED_CPUID" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate_exit" },
};

int kvm_cap(const struct kvm *kvm, unsigned long cap)
{
	int ret = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, cap);

	return ret < 0 ? 0 : ret;
}

static int open_failed(struct err *err)
{
	int ret = -errno;

	switch (-ret) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return err_set(err, ret,
			       KVM_PATH
			       " is missing: load kvm_intel or kvm_amd, enable virtualisation "
			       "in the firmware, or use the lab (tests/lab/lab)");
	case EACCES:
	case EPERM:
		return err_set(err, ret, KVM_PATH ": no right to open it: join the group kvm");
	default:
		return err_set(err, ret, KVM_PATH ": %s", strerror(-ret));
	}
}

/* The parts that need no undoing but closing what is open. */
static int init_vm(struct kvm *kvm, struct err *err)
{
	uint64_t identity = PLATFORM_KVM_IDENTITY_MAP;
	int ret;

	ret = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
	if (ret != KVM_API_VERSION) {
		return err_set(err, -ENOTSUP, KVM_PATH ": API version %d, bantam speaks %d", ret,
			       KVM_API_VERSION);
	}
	do
		kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
	while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0) {
		return err_set(err, -errno, KVM_PATH ": cannot create a VM: %s", strerror(errno));
	}
	for (size_t i = 0; i < ARRAY_SIZE(needed_caps); i++) {
		if (kvm_cap(kvm, needed_caps[i].cap))
			continue;
		return err_set(err, -ENOTSUP, KVM_PATH ": this host's KVM lacks %s",
			       needed_caps[i].name);
	}
	ret = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < 0)
		return -errno;
	kvm->run_size = (size_t)ret;

	ret = kvm_cap(kvm, KVM_CAP_MAX_VCPUS);
	kvm->max_cpus = ret ? (unsigned)ret : 4; /* api.rst 4.7: 4 where it is unknown */

	/* Intel needs both out of the guest's way; elsewhere they are accepted and unused. */
	if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) ||
	    ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)PLATFORM_KVM_TSS)) {
		return err_set(err, -errno, KVM_PATH ": cannot place the TSS: %s", strerror(errno));
	}
	return 0;
}

int kvm_init(struct kvm *kvm, struct err *err)
{
	int ret;

	memset(kvm, 0, sizeof(*kvm));
	kvm->vm_fd = kvm->ack_raise_fd = kvm->ack_fd = -1;
	pthread_mutex_init(&kvm->msi_lock, NULL);
	kvm->fd = open(KVM_PATH, O_RDWR | O_CLOEXEC);
	if (kvm->fd < 0)
		return open_failed(err);
	ret = init_vm(kvm, err);
	if (ret)
		kvm_destroy(kvm);
	return ret;
}

void kvm_destroy(struct kvm *kvm)
{
	for (int i = 0; i < KVM_MSI_VECTORS; i++)
		if (kvm->vec[i].used)
			close(kvm->vec[i].fd);
	if (kvm->ack_raise_fd >= 0)
		close(kvm->ack_raise_fd);
	if (kvm->ack_fd >= 0)
		close(kvm->ack_fd);
	coalesced_pio_destroy(&kvm->posted);
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	if (kvm->fd >= 0)
		close(kvm->fd);
	pthread_mutex_destroy(&kvm->msi_lock);
	kvm->vm_fd = kvm->fd = -1;
}

/* size 0: no longer. */
static int set_slot(struct kvm *kvm, unsigned slot, uint64_t gpa, uint64_t size, const void *hva,
		    bool readonly)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
}

int kvm_map_memory(struct kvm *kvm, const struct mem *mem, bool shadow)
{
	int ret = 0;

	for (unsigned i = 0; i < mem->nr_regions && !ret; i++) {
		const struct mem_region *r = &mem->regions[i];
		uint64_t size = r->size;

		if (shadow && !r->gpa) {
			size = PLATFORM_SHADOW_BASE;
			if (r->size > PLATFORM_SHADOW_END)
				ret = set_slot(kvm, SLOT_ABOVE_SHADOW, PLATFORM_SHADOW_END,
					       r->size - PLATFORM_SHADOW_END,
					       (char *)r->hva + PLATFORM_SHADOW_END, false);
		}
		if (!ret)
			ret = set_slot(kvm, i, r->gpa, size, r->hva, r->readonly);
	}
	return ret;
}

int kvm_shadow_set(void *ctx, uint64_t gpa, uint64_t size, const void *hva, bool readonly)
{
	struct kvm *kvm = ctx;
	unsigned n = (unsigned)((gpa - PLATFORM_SHADOW_BASE) / SHADOW_UNIT);
	int ret = 0;

	/* KVM changes neither a slot's bytes nor whether it is read-only: it is made anew. */
	if (kvm->shadow_slots & 1u << n)
		ret = set_slot(kvm, SLOT_SHADOW + n, gpa, 0, NULL, false);
	if (ret)
		return ret;
	kvm->shadow_slots &= ~(1u << n);
	if (!hva)
		return 0;
	ret = set_slot(kvm, SLOT_SHADOW + n, gpa, size, hva, readonly);
	if (!ret)
		kvm->shadow_slots |= 1u << n;
	return ret;
}

static void kvm_irq_set(void *ctx, unsigned line, bool level)
{
	struct kvm *kvm = ctx;
	struct kvm_irq_level l = { .irq = line, .level = level };

	/* Cannot fail for a line that exists; there is nobody to tell if it did. */
	(void)ioctl(kvm->vm_fd, KVM_IRQ_LINE, &l);
	if (level)
		atomic_fetch_add_explicit(&kvm->raised, 1, memory_order_relaxed);
}

struct irq kvm_irq(struct kvm *kvm, unsigned gsi)
{
	return (struct irq){ .set = kvm_irq_set, .ctx = kvm, .line = gsi };
}

int kvm_irq_pulse(struct kvm *kvm, unsigned gsi)
{
	struct kvm_irq_level l = { .irq = gsi, .level = 1 };
	int taken;

	if (ioctl(kvm->vm_fd, KVM_IRQ_LINE_STATUS, &l))
		return -errno;
	taken = (int)l.status;
	kvm_irq_set(kvm, gsi, false);
	return taken;
}

int kvm_irq_ack_eventfd(struct kvm *kvm, unsigned gsi)
{
	struct kvm_irqfd irqfd = { .gsi = gsi, .flags = KVM_IRQFD_FLAG_RESAMPLE };

	if (!kvm_cap(kvm, KVM_CAP_IRQFD_RESAMPLE))
		return -ENOTSUP;
	kvm->ack_raise_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	kvm->ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kvm->ack_raise_fd < 0 || kvm->ack_fd < 0)
		return -errno;
	irqfd.fd = (uint32_t)kvm->ack_raise_fd;
	irqfd.resamplefd = (uint32_t)kvm->ack_fd;
	return ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) ? -errno : kvm->ack_fd;
}

static int kvm_bus_eventfd(void *ctx, enum bus_space space, const struct bus_eventfd *e, bool add)
{
	struct kvm *kvm = ctx;
	struct kvm_ioeventfd io = {
		.datamatch = e->datamatch,
		.addr = e->addr,
		.len = e->width,
		.fd = e->fd,
		.flags = (space == BUS_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
			 (e->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
			 (add ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &io) ? -errno : 0;
}

int kvm_accelerate_bus(struct kvm *kvm, struct bus *bus)
{
	struct bus_accel accel = { .eventfd = kvm_bus_eventfd, .ctx = kvm };

	return bus_set_accel(bus, &accel);
}

static void kvm_bus_post(void *ctx, uint64_t port, uint64_t len, bool add)
{
	struct kvm *kvm = ctx;

	coalesced_pio_post(&kvm->posted, port, len, add);
}

static void kvm_bus_sync(void *ctx)
{
	struct kvm *kvm = ctx;

	coalesced_pio_sync(&kvm->posted);
}

int kvm_post_writes(struct kvm *kvm, struct bus *bus, const struct vcpu *vcpu)
{
	const struct bus_accel accel = {
		.eventfd = kvm_bus_eventfd,
		.post = kvm_bus_post,
		.sync = kvm_bus_sync,
		.ctx = kvm,
	};
	int ret = coalesced_pio_init(&kvm->posted, kvm, vcpu, bus);

	return ret ? ret : bus_set_accel(bus, &accel);
}

bool kvm_expose_hypercall(struct kvm *kvm)
{
	const uint64_t wanted = 1ull << KVM_HC_MAP_GPA_RANGE;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXIT_HYPERCALL, .args = { wanted } };

	/* kvm_pvm has the capability, but KVM_RUN never returns from the hypercall. */
	if (kvm_is_interpreter() || !((unsigned)kvm_cap(kvm, KVM_CAP_EXIT_HYPERCALL) & wanted))
		return false;
	return !ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap);
}

bool kvm_is_interpreter(void)
{
	return access("/sys/module/kvm_pvm", F_OK) == 0;
}
