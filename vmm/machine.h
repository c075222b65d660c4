/* SPDX-License-Identifier: MIT */
/*
 * A whole machine: vmm/machine.c wires it from the config, vmm/run.c runs it.
 *
 * Threads: everything here is the main thread's, which is also the event loop's,
 * but for what is guarded by the lock.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "backends/block/block.h"
#include "backends/char/chardev.h"
#include "base/bus.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/power.h"
#include "cpu/kvm.h"
#include "cpu/vcpu.h"
#include "devices/ide/ide.h"
#include "devices/pci/pci_host.h"
#include "firmware/firmware.h"
#include "vmm/call.h"
#include "vmm/config.h"
#include "vmm/control.h"
#include "vmm/observe.h"
#include "vmm/pit_host.h"

#define MACHINE_MAX_DEVICES 64

/* The PCI slot of disk i: behind the host bridge and the ISA bridge. */
#define MACHINE_DISK_SLOT(i) (2 + (i))
/* Of network card i: behind all disks. */
#define MACHINE_NET_SLOT(i) (MACHINE_DISK_SLOT(CONFIG_MAX_DISKS) + (i))

/* What is written at the end of a run. */
enum machine_output { MACHINE_EXITS, MACHINE_PROFILE, MACHINE_TRACE, MACHINE_NR_OUTPUTS };

/* Why the loop was left. */
enum machine_end {
	MACHINE_RUNNING,
	MACHINE_POWERED_OFF, /* by the guest, or a reset under --no-reboot */
	MACHINE_QUIT, /* by the user, on the console */
	MACHINE_SIGNALLED,
	MACHINE_CRASHED,
	MACHINE_FAILED, /* an error of the host's */
};

struct machine {
	const struct config *cfg;
	struct loop loop;
	struct host_clock clock;
	struct mem mem;
	struct kvm kvm;
	struct bus bus;

	struct firmware_config firmware;
	struct firmware_file rom; /* --firmware's image; fd -1: none */
	struct chardev *firmware_log; /* NULL: none */
	struct chardev *chardevs[CONFIG_MAX_SERIALS];
	struct block *blocks[CONFIG_MAX_DISKS]; /* the uppermost layer of each (vmm/disks.h) */
	struct block *limits[CONFIG_MAX_DISKS]; /* a layer below it, or it */
	struct block *policies[CONFIG_MAX_DISKS]; /* NULL: on-error=report */
	struct loop_post disks_post; /* one of them has stopped */
	unsigned stopped_disks; /* bits: they have stopped the machine, and the user knows */
	struct net *nets[CONFIG_MAX_NETS]; /* the uppermost layer of each (vmm/nets.h) */
	struct net *net_limits[CONFIG_MAX_NETS]; /* a layer below it, or it */
	struct device *net_cards[CONFIG_MAX_NETS]; /* also in devices */
	uint8_t macs[CONFIG_MAX_NETS][NET_MAC_LEN];
	struct pci_host *pci;
	struct pit_host pit; /* of the PIT in user space */
	struct device *disks[CONFIG_MAX_DISKS]; /* virtio's, NULL for others; also in devices */
	unsigned nr_mmio; /* virtio devices without a bus that have their place already */
	struct device *ide[IDE_NR_CHANNELS]; /* NULL where there are no drives; also in devices */
	struct device *devices[MACHINE_MAX_DEVICES]; /* in order of creation */
	unsigned nr_devices;
	struct vcpu *vcpus;
	unsigned nr_vcpus;
	struct loop_src signals; /* a signalfd; fd -1 while there is none */
	bool has_loop, has_clock, has_bus, has_kvm, has_control_clock;

	struct observe observe;
	char name[CONTROL_NAME_MAX + 1];
	struct iothread control_io; /* reports are taken on it, for those outside */
	struct host_clock control_clock;
	struct call call; /* from it to the main thread */
	struct control *control; /* NULL: nobody can reach this machine */
	int outputs[MACHINE_NR_OUTPUTS]; /* opened files; -1: not asked for */

	enum machine_end end;
	int end_signal;
	int end_error; /* -errno of MACHINE_FAILED, and its line */
	struct err end_err;

	struct loop_post event_post;
	pthread_mutex_t lock; /* guards wanted, wanted_*, crashed */
	bool wanted; /* an event waits to be handled */
	enum power_event wanted_event;
	uint32_t wanted_detail;
	const char *wanted_by; /* what the guest used to say that it failed */
	struct vcpu *crashed;
};

/*
 * Opens every file, then wires the machine; no vCPU runs yet. On failure err holds
 * one line for the user and -errno is returned; machine_destroy() in any case.
 */
int machine_create(struct machine *m, const struct config *cfg, struct err *err) __must_check;
void machine_destroy(struct machine *m);

/*
 * Every device, controller and vCPU to power-on, and the firmware's work done again.
 * No vCPU runs. 0, or -errno with one line in err.
 */
int machine_reset(struct machine *m, struct err *err) __must_check;

/*
 * Opens a file that is read as a whole; path NULL: none, fd -1. 0, or -errno with one line in
 * err.
 */
int machine_open_file(struct firmware_file *f, const char *option, const char *path,
		      struct err *err) __must_check;

/*
 * While the machine is wired: takes what a create function gave into *dev, in the same call; ret is
 * what it returned, name the device's. The list is the order of resets. 0, or ret with a line in err.
 */
int machine_add(struct machine *m, int ret, struct device *const *dev, const char *name,
		struct err *err) __must_check;

/* The option and the path of an output, for a line to the user; path NULL: not asked for. */
void machine_output_name(const struct config *cfg, enum machine_output out, const char **option,
			 const char **path);

/* What the guest or a vCPU asks for (vmm/run.c). Any thread. */
void machine_power_request(void *ctx, enum power_event event, uint32_t detail);
void machine_debug_exit_request(void *ctx, enum power_event event, uint32_t detail);
void machine_vcpu_crashed(void *ctx, struct vcpu *vcpu);
/* Ctrl-a x; the loop's thread. */
void machine_quit(void *ctx);

struct machine_result {
	bool crashed; /* the guest died, or said that it failed; the dump is printed */
	int signal; /* the signal that ended us, 0 if none */
};

/*
 * Builds the machine, runs it until it ends, prints the exit report where asked,
 * and takes it all down again. Main thread, once a process at a time. Returns 0, or
 * -errno with one line for the user in err.
 */
int machine_run(const struct config *cfg, struct machine_result *result,
		struct err *err) __must_check;

/* Writes the device tree that the machine's guest would find. 0, or -errno and err. */
int machine_dump_dtb(const struct config *cfg, struct err *err) __must_check;

#endif
