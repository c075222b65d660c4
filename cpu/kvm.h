/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine as the host's kernel holds it: /dev/kvm, the VM, its memory
 * slots, its interrupt controllers. Set up on the main thread before any vCPU
 * runs; what may be called later, and from where, is said at each function.
 *
 * The API is Documentation/virt/kvm/api.rst.
 */
#ifndef CPU_KVM_H
#define CPU_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/bus.h"
#include "base/err.h"
#include "base/irq.h"
#include "base/mem.h"
#include "base/platform.h"
#include "base/util.h"
#include "cpu/coalesced_pio.h"

#define KVM_MSI_VECTORS 128

struct vcpu;

/* A struct kvm_msrs with room for its entries. */
struct msr_batch {
	uint32_t nmsrs;
	uint32_t pad;
	struct kvm_msr_entry entry[64];
};

struct kvm_msi_vector {
	bool used;
	bool bound; /* its irqfd is assigned: the kernel delivers its signals */
	bool routed; /* the kernel's table has this very message */
	int fd;
	uint64_t addr;
	uint32_t data;
};

struct kvm {
	int fd; /* /dev/kvm */
	int vm_fd;
	size_t run_size; /* bytes of a vCPU's shared run area */
	unsigned max_cpus; /* what this host allows */
	bool has_pit; /* KVM_CREATE_PIT2 was done */
	struct coalesced_pio posted; /* the bus's posted writes; off unless kvm_post_writes() */
	uint32_t shadow_slots; /* a bit each that exists; kvm_shadow_set()'s own */

	_Atomic uint64_t raised; /* counts the lines that devices have raised */

	struct msi_ctl msi;
	pthread_mutex_t msi_lock; /* guards vec and the kernel's routing table */
	struct kvm_msi_vector vec[KVM_MSI_VECTORS];

	/* The irqfd of kvm_irq_ack_eventfd(): what raises it (nobody does), what it tells; -1: none. */
	int ack_raise_fd, ack_fd;

	/* The controllers at power-on, to which a reset returns them. */
	struct kvm_irqchip chips[3];
	struct kvm_pit_state2 pit;
};

/*
 * Opens /dev/kvm, checks what bantam needs of it and creates a VM. On failure err
 * holds one line for the user. Returns 0 or -errno.
 */
int kvm_init(struct kvm *kvm, struct err *err) __must_check;
void kvm_destroy(struct kvm *kvm);

/* KVM_CHECK_EXTENSION on the VM: what cap stands for, 0 where it is unknown. Any thread. */
int kvm_cap(const struct kvm *kvm, unsigned long cap);

/*
 * Makes each region of mem a memory slot. With shadow, low RAM is two, and between them, from
 * PLATFORM_SHADOW_BASE to _END, is what kvm_shadow_set() says: nothing at first. (A whole one
 * is for machines that do not need that: nested page tables then have fewer and larger pages.)
 * 0 or -errno.
 */
int kvm_map_memory(struct kvm *kvm, const struct mem *mem, bool shadow) __must_check;

/*
 * What the guest finds from gpa on, size bytes in whole units of 16 KiB within the shadow's
 * area: those at hva or, NULL, nothing. gpa names the slot: a later call has the same size.
 * Nothing else in memory is disturbed; here, a running vCPU finds nothing for a moment.
 * While vCPUs run, on any thread, but one call at a time. 0 or -errno: then what was there
 * is still there, or nothing.
 */
int kvm_shadow_set(void *kvm, uint64_t gpa, uint64_t size, const void *hva,
		   bool readonly) __must_check;

/*
 * PIC, I/O APIC and local APICs in the kernel, routed as platform.h says, and,
 * where asked, its PIT (which brings port 0x61). Before the first vCPU.
 */
int kvm_create_irqchip(struct kvm *kvm, bool pit) __must_check;

/* Returns the controllers to power-on. Every vCPU paused. */
int kvm_reset_irqchip(struct kvm *kvm) __must_check;

/* The interrupt line GSI gsi (< PLATFORM_NR_GSI). */
struct irq kvm_irq(struct kvm *kvm, unsigned gsi);

/*
 * An edge on GSI gsi, for an edge-triggered line. Positive: a controller has taken it; 0: the PIC
 * still has the one before, or no CPU takes it; negative: masked in all of them. Any thread.
 */
int kvm_irq_pulse(struct kvm *kvm, unsigned gsi);

/*
 * An eventfd (non-blocking) that is signalled with each EOI of gsi's pins, be they edge- or
 * level-triggered: KVM signals the resample eventfd of an irqfd whenever the controller
 * acknowledges its GSI, and takes back a level that was raised by it; this irqfd raises none. Needs
 * KVM_CAP_IRQFD_RESAMPLE. Returns it, or -errno; closed with the VM. One for each machine.
 */
int kvm_irq_ack_eventfd(struct kvm *kvm, unsigned gsi) __must_check;

/* Lets the kernel take over the bus's eventfds. */
int kvm_accelerate_bus(struct kvm *kvm, struct bus *bus) __must_check;

/*
 * The same, and has the kernel keep back writes to the ports where the bus's devices allow it
 * (cpu/coalesced_pio.h). -EOPNOTSUPP where this KVM cannot. vcpu is any, and outlives its runs.
 */
int kvm_post_writes(struct kvm *kvm, struct bus *bus, const struct vcpu *vcpu) __must_check;

/*
 * Makes the one hypercall that can leave the kernel do so (KVM_HC_MAP_GPA_RANGE). False where
 * this KVM cannot, or does not come back from it.
 */
bool kvm_expose_hypercall(struct kvm *kvm);

/* True where the host's KVM interprets guest kernels instead of running them (kvm_pvm). */
bool kvm_is_interpreter(void);

#endif
