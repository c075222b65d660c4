/* SPDX-License-Identifier: MIT */
/*
 * The board: every file that is opened and every wire of the machine is in here.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"
#include "devices/pc/i8042.h"
#include "devices/pc/misc_ports.h"
#include "devices/pc/pm.h"
#include "devices/pc/rtc.h"
#include "devices/pc/uart.h"
#include "devices/pci/shadow.h"
#include "firmware/rom.h"
#include "vmm/bios.h"
#include "vmm/cpus.h"
#include "vmm/disks.h"
#include "vmm/nets.h"
#include "vmm/verbs.h"

#define DISK_QUEUES 4 /* where nobody asks for more; a thread has to look at each */

/* --- files ------------------------------------------------------------------ */

int machine_open_file(struct firmware_file *f, const char *option, const char *path,
		      struct err *err)
{
	struct stat st;

	f->fd = -1;
	f->path = path;
	if (!path)
		return 0;
	/* Not blocking: a FIFO without a writer is refused below, not waited for. */
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0 || fstat(f->fd, &st))
		return err_set(err, -errno, "%s %s: %s", option, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s %s: must be a file, not %s", option, path,
			       S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
	f->size = (uint64_t)st.st_size;
	return 0;
}

/* What the firmware has to tell the guest of; the disks are found on the PCI bus. */
static int open_firmware(struct firmware_config *fw, const struct config *cfg, struct err *err)
{
	int ret;

	*fw = (struct firmware_config){
		.kernel.fd = -1,
		.initrd.fd = -1,
		.cmdline = cfg->append,
		.nr_cpus = (unsigned)cfg->nr_cpus,
		.nr_virtio_mmio = config_nr_mmio(cfg),
		.facts = FIRMWARE_RTC | FIRMWARE_PVPANIC | FIRMWARE_DEBUG_EXIT | FIRMWARE_PM_TIMER |
			 FIRMWARE_GPE | FIRMWARE_PCI,
	};
	for (unsigned i = 0; i < cfg->nr_serials; i++)
		fw->facts |= FIRMWARE_COM1 << i;
	if (cfg->coalesce == COALESCE_HYPERCALL)
		fw->facts |= FIRMWARE_COALESCED_IO;
	ret = machine_open_file(&fw->kernel, "--kernel", cfg->kernel, err);
	return ret ? ret : machine_open_file(&fw->initrd, "--initrd", cfg->initrd, err);
}

static void close_firmware(struct firmware_config *fw)
{
	if (fw->kernel.fd >= 0)
		close(fw->kernel.fd);
	if (fw->initrd.fd >= 0)
		close(fw->initrd.fd);
}

static int open_serials(struct machine *m, struct err *err)
{
	const struct console_escapes esc = { .quit = machine_quit, .opaque = m };
	static const char *const kinds[] = {
		[SERIAL_STDIO] = "stdio",    [SERIAL_PTY] = "pty",   [SERIAL_FILE] = "file=",
		[SERIAL_SOCKET] = "socket=", [SERIAL_NONE] = "none",
	};
	char pty[64];

	for (unsigned i = 0; i < m->cfg->nr_serials; i++) {
		const struct serial_config *s = &m->cfg->serials[i];
		struct chardev **c = &m->chardevs[i];
		int ret = -EINVAL;

		switch (s->kind) {
		case SERIAL_STDIO:
			ret = chardev_stdio_create(&m->loop, &esc, c);
			break;
		case SERIAL_PTY:
			ret = chardev_pty_create(&m->loop, pty, sizeof(pty), c);
			if (!ret)
				log_info("serial port %u is %s", i + 1, pty);
			break;
		case SERIAL_FILE:
			ret = chardev_file_create(&m->loop, s->path, c);
			break;
		case SERIAL_SOCKET:
			ret = chardev_socket_create(&m->loop, s->path, c);
			break;
		case SERIAL_NONE:
			ret = chardev_null_create(c);
			break;
		}
		if (ret)
			return err_set(err, ret, "--serial %s%s: %s", kinds[s->kind],
				       s->path ? s->path : "", strerror(-ret));
	}
	return 0;
}

/* --- wires -------------------------------------------------------------------- */

int machine_add(struct machine *m, int ret, struct device *const *dev, const char *name,
		struct err *err)
{
	if (ret)
		return err_set(err, ret, "%s: %s", name, strerror(-ret));
	m->devices[m->nr_devices++] = *dev;
	return 0;
}

static int add_uart(struct machine *m, unsigned i, struct err *err)
{
	static const struct {
		const char *name;
		uint16_t port;
		unsigned irq;
	} com[CONFIG_MAX_SERIALS] = {
		{ "uart0", PLATFORM_PORT_COM1, PLATFORM_IRQ_COM1 },
		{ "uart1", PLATFORM_PORT_COM2, PLATFORM_IRQ_COM2 },
		{ "uart2", PLATFORM_PORT_COM3, PLATFORM_IRQ_COM1 },
		{ "uart3", PLATFORM_PORT_COM4, PLATFORM_IRQ_COM2 },
	};
	const struct uart_config cfg = {
		.name = com[i].name,
		.bus = &m->bus,
		.port = com[i].port,
		.irq = kvm_irq(&m->kvm, com[i].irq),
		.clock = &m->clock.clock,
		.chardev = m->chardevs[i],
	};
	struct device *dev = NULL;

	return machine_add(m, uart_create(&cfg, &dev), &dev, cfg.name, err);
}

/* What firmware asks of the machine, and the port on which it tells what it does. */
static int add_fw_cfg(struct machine *m, struct err *err)
{
	const struct misc_port_config log = {
		.name = "debug-log",
		.bus = &m->bus,
		.chardev = m->firmware_log,
	};
	struct device *dev = NULL;
	int ret = machine_add(m, bios_fw_cfg_create(m, &dev), &dev, "fw-cfg", err);

	if (ret || !m->firmware_log)
		return ret;
	return machine_add(m, debug_log_create(&log, &dev), &dev, log.name, err);
}

/* Brings port 0x61, as KVM's does. */
static int add_pit(struct machine *m, struct err *err)
{
	struct device *dev = NULL;

	return machine_add(m, pit_host_create(&m->pit, &m->kvm, &m->bus, &m->cfg->pit_policy, &dev),
			   &dev, "pit", err);
}

static int wire_devices(struct machine *m, struct err *err)
{
	const struct power power = { .request = machine_power_request, .ctx = m };
	struct kvm *kvm = &m->kvm;
	struct pci_host_config pci = {
		.name = "pci",
		.bus = &m->bus,
		.msi = &kvm->msi,
		.power = power,
	};
	const struct rtc_config rtc = {
		.name = "rtc",
		.bus = &m->bus,
		.irq = kvm_irq(kvm, PLATFORM_IRQ_RTC),
		.clock = &m->clock.clock,
		.low_ram = mem_low_end(&m->mem),
		.high_ram = m->mem.ram_size - mem_low_end(&m->mem),
		.cpus = (unsigned)m->cfg->nr_cpus,
	};
	const struct i8042_config i8042 = {
		.name = "i8042",
		.bus = &m->bus,
		.kbd_irq = kvm_irq(kvm, PLATFORM_IRQ_KEYBOARD),
		.aux_irq = kvm_irq(kvm, PLATFORM_IRQ_MOUSE),
		.power = power,
	};
	const struct pm_config pm = {
		.name = "pm",
		.bus = &m->bus,
		.sci = kvm_irq(kvm, PLATFORM_IRQ_SCI),
		.clock = &m->clock.clock,
		.power = power,
	};
	static const struct {
		const char *name;
		int (*create)(const struct misc_port_config *cfg, struct device **out);
	} misc[] = {
		{ "post", post_create },       { "sysctl-a", sysctl_a_create },
		{ "pvpanic", pvpanic_create }, { "debug-exit", debug_exit_create },
		{ "speaker", speaker_create },
	};
	struct device *dev = NULL;
	int ret;

	/* The IRQs that a PIRQ may lead to: those that no ISA device has. */
	pci.irqs[5] = kvm_irq(kvm, 5);
	pci.irqs[PLATFORM_IRQ_PCI_A] = kvm_irq(kvm, PLATFORM_IRQ_PCI_A);
	pci.irqs[PLATFORM_IRQ_PCI_C] = kvm_irq(kvm, PLATFORM_IRQ_PCI_C);
	if (m->cfg->firmware) {
		ret = machine_add(m, bios_shadow_create(m, &dev), &dev, "shadow", err);
		if (ret)
			return ret;
		pci.pam = (struct pam){ .set = shadow_set, .ctx = dev };
	}
	ret = pci_host_create(&pci, &m->pci);
	if (!ret)
		dev = &m->pci->dev;
	ret = machine_add(m, ret, &dev, "pci", err);
	if (ret)
		return ret;
	ret = machine_add(m, rtc_create(&rtc, &dev), &dev, "rtc", err);
	if (ret)
		return ret;
	ret = machine_add(m, i8042_create(&i8042, &dev), &dev, "i8042", err);
	if (ret)
		return ret;
	ret = machine_add(m, pm_create(&pm, &dev), &dev, "pm", err);
	if (ret)
		return ret;
	for (size_t i = 0; i < ARRAY_SIZE(misc); i++) {
		struct misc_port_config cfg = {
			.name = misc[i].name,
			.bus = &m->bus,
			.power = power,
			.clock = &m->clock.clock,
		};

		if (misc[i].create == debug_exit_create)
			cfg.power.request = machine_debug_exit_request;
		if (misc[i].create == speaker_create && m->cfg->pit != PIT_NONE)
			continue; /* port 0x61 is the PIT's */
		ret = machine_add(m, misc[i].create(&cfg, &dev), &dev, cfg.name, err);
		if (ret)
			return ret;
	}
	if (m->cfg->pit == PIT_USER)
		ret = add_pit(m, err);
	for (unsigned i = 0; i < m->cfg->nr_serials && !ret; i++)
		ret = add_uart(m, i, err);
	if (!ret)
		ret = disks_wire(m, err);
	if (!ret)
		ret = nets_wire(m, err);
	if (!ret && m->cfg->firmware)
		ret = add_fw_cfg(m, err);
	return ret;
}

/* --- memory, KVM, files --------------------------------------------------------- */

static int create_memory(struct mem *mem, const struct config *cfg, struct err *err)
{
	uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);
	int ret;

	if (cfg->memory > host)
		return err_set(err, -ENOMEM, "--memory %lluM: this host has %lluM",
			       (unsigned long long)(cfg->memory / MIB),
			       (unsigned long long)(host / MIB));
	ret = mem_init(mem, cfg->memory);
	if (ret)
		return err_set(err, ret, "--memory %lluM: %s",
			       (unsigned long long)(cfg->memory / MIB), strerror(-ret));
	return 0;
}

static int create_kvm(struct machine *m, struct err *err)
{
	struct kvm *kvm = &m->kvm;
	int ret = kvm_init(kvm, err);

	if (ret)
		return ret;
	m->has_kvm = true;
	if (m->cfg->nr_cpus > kvm->max_cpus)
		return err_set(err, -EINVAL, "--cpus %llu: this host's KVM allows at most %u",
			       (unsigned long long)m->cfg->nr_cpus, kvm->max_cpus);
	if (m->cfg->firmware && !kvm_cap(kvm, KVM_CAP_READONLY_MEM))
		return err_set(err, -ENOTSUP,
			       "--firmware %s: this host's KVM lacks read-only memory",
			       m->rom.path);
	ret = kvm_map_memory(kvm, &m->mem, m->cfg->firmware != NULL);
	if (ret)
		return err_set(err, ret, "cannot map guest memory: %s", strerror(-ret));
	ret = kvm_create_irqchip(kvm, m->cfg->pit == PIT_KERNEL);
	if (ret)
		return err_set(err, ret, "cannot create the interrupt controllers: %s",
			       strerror(-ret));
	return 0;
}

static int create_loop(struct machine *m, struct err *err)
{
	int ret = loop_init(&m->loop);

	m->has_loop = !ret;
	if (!ret) {
		ret = host_clock_init(&m->clock, &m->loop);
		m->has_clock = !ret;
	}
	if (ret)
		return err_set(err, ret, "cannot create the event loop: %s", strerror(-ret));
	return 0;
}

void machine_output_name(const struct config *cfg, enum machine_output out, const char **option,
			 const char **path)
{
	switch (out) {
	case MACHINE_EXITS:
		*option = "--exits=";
		*path = cfg->exits_json;
		break;
	case MACHINE_PROFILE:
		*option = "--profile ";
		*path = cfg->profile;
		break;
	case MACHINE_TRACE:
	default:
		*option = "--trace ";
		*path = cfg->trace;
		break;
	}
}

/* Last of all files, as they are made new: a mistake elsewhere leaves nothing behind. */
static int open_outputs(struct machine *m, struct err *err)
{
	for (enum machine_output i = 0; i < MACHINE_NR_OUTPUTS; i++) {
		const char *option, *path;

		machine_output_name(m->cfg, i, &option, &path);
		if (!path)
			continue;
		m->outputs[i] = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (m->outputs[i] < 0)
			return err_set(err, -errno, "%s%s: %s", option, path, strerror(errno));
	}
	return 0;
}

/* --- those who look on ---------------------------------------------------------- */

static int create_observe(struct machine *m, struct err *err)
{
	struct observe *o = &m->observe;
	struct err why = { "" };
	int ret = observe_init(o, m->cfg->symbols, m->cfg->trace_events, &why);

	if (m->cfg->name)
		snprintf(m->name, sizeof(m->name), "%s", m->cfg->name);
	else
		snprintf(m->name, sizeof(m->name), "%ld", (long)getpid());
	o->name = m->name;
	o->mem = &m->mem;
	o->bus = &m->bus;
	return ret ? err_set(err, ret, "--symbols %.480s", why.text) : 0;
}

static bool can_stop(const struct machine *m)
{
	for (unsigned i = 0; i < m->cfg->nr_disks; i++)
		if (m->policies[i])
			return true;
	return false;
}

/*
 * The control socket. A machine that was given no name also runs where there is no place for
 * one (no user's session, no right to /run), unless it may have to be resumed by it.
 */
static int create_control(struct machine *m, struct err *err)
{
	int ret = iothread_start(&m->control_io, "control");

	if (!ret) {
		ret = host_clock_init(&m->control_clock, &m->control_io.loop);
		m->has_control_clock = !ret;
	}
	if (ret)
		return err_set(err, ret, "cannot start the control thread: %s", strerror(-ret));
	m->observe.vcpus = m->vcpus;
	m->observe.nr_vcpus = m->nr_vcpus;
	m->observe.vm_fd = m->kvm.vm_fd;
	observe_set_clock(&m->observe, &m->control_clock.clock);
	ret = control_serve(&m->control_io.loop, m->name, verbs, VERBS_NR, m, &m->control, err);
	if (ret && !m->cfg->name && !can_stop(m)) {
		*err = (struct err){ "" };
		ret = 0;
	}
	if (!ret && m->cfg->profile) {
		ret = observe_set_profile(&m->observe, true);
		if (ret)
			err_set(err, ret, "--profile %s: this host's KVM cannot: %s",
				m->cfg->profile, strerror(-ret));
	}
	return ret;
}

static void destroy_control(struct machine *m)
{
	call_close(&m->call);
	iothread_join(&m->control_io);
	control_destroy(m->control);
	if (m->has_control_clock)
		host_clock_destroy(&m->control_clock);
	iothread_stop(&m->control_io);
}

int machine_create(struct machine *m, const struct config *cfg, struct err *err)
{
	int ret;

	memset(m, 0, sizeof(*m));
	m->cfg = cfg;
	m->signals.fd = -1;
	for (unsigned i = 0; i < MACHINE_NR_OUTPUTS; i++)
		m->outputs[i] = -1;
	m->firmware.kernel.fd = m->firmware.initrd.fd = m->rom.fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	call_init(&m->call, &m->loop);
	bus_init(&m->bus);
	m->has_bus = true;

	/* Files first, so that a mistake costs the user nothing; stdio before any thread. */
	ret = create_observe(m, err);
	if (!ret)
		ret = create_loop(m, err);
	if (!ret)
		ret = open_firmware(&m->firmware, cfg, err);
	if (!ret)
		ret = disks_open(m, err);
	if (!ret)
		ret = nets_open(m, err);
	if (!ret)
		ret = create_memory(&m->mem, cfg, err);
	if (!ret)
		ret = bios_open_rom(m, err);
	if (!ret)
		ret = create_kvm(m, err);
	if (!ret)
		ret = open_serials(m, err);
	if (!ret)
		ret = bios_open_log(m, err);
	if (!ret)
		ret = wire_devices(m, err);
	if (!ret)
		ret = cpus_create(m, err);
	if (!ret)
		ret = create_control(m, err);
	return ret ? ret : open_outputs(m, err);
}

void machine_destroy(struct machine *m)
{
	destroy_control(m);
	for (unsigned i = 0; i < m->nr_vcpus; i++)
		vcpu_destroy(&m->vcpus[i]);
	free(m->vcpus);
	pit_host_stop(&m->pit);
	while (m->nr_devices)
		device_destroy(m->devices[--m->nr_devices]);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		block_destroy(m->blocks[i]);
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++)
		net_destroy(m->nets[i]);
	for (unsigned i = 0; i < CONFIG_MAX_SERIALS; i++)
		chardev_destroy(m->chardevs[i]);
	chardev_destroy(m->firmware_log);
	for (unsigned i = 0; i < MACHINE_NR_OUTPUTS; i++)
		if (m->outputs[i] >= 0)
			close(m->outputs[i]);
	if (m->has_kvm)
		kvm_destroy(&m->kvm);
	pit_host_destroy(&m->pit);
	mem_destroy(&m->mem);
	close_firmware(&m->firmware);
	if (m->rom.fd >= 0)
		close(m->rom.fd);
	if (m->signals.fd >= 0)
		close(m->signals.fd);
	if (m->has_clock)
		host_clock_destroy(&m->clock);
	if (m->has_loop)
		loop_destroy(&m->loop);
	if (m->has_bus)
		bus_destroy(&m->bus);
	observe_destroy(&m->observe);
	call_destroy(&m->call);
	pthread_mutex_destroy(&m->lock);
}

/* What is done before the first instruction: by a real firmware's means, or instead of it. */
static int load_guest(struct machine *m, struct boot_entry *entry, struct err *err)
{
	int ret;

	if (m->cfg->firmware) {
		rom_entry(entry);
		return 0;
	}
	ret = firmware_load(&m->mem, &m->firmware, entry, err);
	if (ret)
		return ret;
	ret = pci_assign(m->pci);
	return ret ? err_set(err, ret, "no room for the PCI functions' BARs") : 0;
}

int machine_reset(struct machine *m, struct err *err)
{
	struct boot_entry entry;
	int ret;

	for (unsigned i = 0; i < m->nr_devices; i++)
		device_reset(m->devices[i]);
	ret = kvm_reset_irqchip(&m->kvm);
	if (ret)
		return err_set(err, ret, "cannot reset the interrupt controllers: %s",
			       strerror(-ret));
	ret = load_guest(m, &entry, err);
	if (ret)
		return ret;
	for (unsigned i = 0; i < m->nr_vcpus; i++) {
		ret = vcpu_reset(&m->vcpus[i], i ? NULL : &entry);
		if (ret)
			return err_set(err, ret, "cannot reset CPU %u: %s", i, strerror(-ret));
	}
	return 0;
}

/* The tree that the kernel finds in RAM, or would without one; in a buffer of its own. */
static int build_dtb(const struct config *cfg, struct mem *mem, const struct firmware_config *fw,
		     void *buf, size_t *len, struct err *err)
{
	struct boot_entry entry;
	const void *fdt;
	int ret;

	if (cfg->kernel) {
		ret = firmware_load(mem, fw, &entry, err);
		fdt = ret ? NULL : firmware_fdt_find(mem, len);
		if (fdt)
			memcpy(buf, fdt, *len);
		return ret;
	}
	ret = firmware_fdt_build(fw, mem, 0, buf, *len);
	if (ret < 0)
		return err_set(err, ret, "cannot build the device tree: %s", strerror(-ret));
	*len = (size_t)ret;
	return 0;
}

int machine_dump_dtb(const struct config *cfg, struct err *err)
{
	size_t len = PLATFORM_FDT_END - PLATFORM_FDT_BASE;
	void *buf = malloc(len);
	struct firmware_config fw;
	struct mem mem = { 0 };
	int ret, fd;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	ret = open_firmware(&fw, cfg, err);
	if (!ret)
		ret = create_memory(&mem, cfg, err);
	if (!ret)
		ret = build_dtb(cfg, &mem, &fw, buf, &len, err);
	if (!ret) {
		fd = open(cfg->dump_dtb, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		ret = fd < 0 ? -errno : util_write_all(fd, buf, len);
		if (fd >= 0 && close(fd) && !ret)
			ret = -errno;
		if (ret)
			err_set(err, ret, "--dump-dtb %s: %s", cfg->dump_dtb, strerror(-ret));
	}
	free(buf);
	mem_destroy(&mem);
	close_firmware(&fw);
	return ret;
}
