/* SPDX-License-Identifier: MIT */
/*
 * What the user asked for, typed and checked: the command line's outcome and the
 * machine's only input. Strings point into argv or are the config's own.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include "backends/block/limit.h"
#include "backends/net/limit.h"
#include "backends/net/user.h"
#include "base/err.h"
#include "base/util.h"
#include "devices/pit/pit.h"

#define CONFIG_MAX_DISKS 16
#define CONFIG_MAX_NETS 8
#define CONFIG_MAX_FORWARDS 16 /* of a --net user */
#define CONFIG_MAX_SERIALS 4
#define CONFIG_MAX_IDE 4 /* ide0 master, ide0 slave, ide1 master, ide1 slave */
#define CONFIG_MAX_BOOT 99
#define CONFIG_MAX_QUEUES 16 /* of a virtio disk */
#define CONFIG_SEABIOS "seabios" /* Debian's, where its package puts it */

enum disk_if { DISK_VIRTIO, DISK_IDE };
enum disk_on_error { DISK_REPORT, DISK_STOP };

enum virtio_bus { VIRTIO_ON_PCI, VIRTIO_ON_MMIO };
enum virtio_kinship { VIRTIO_TRANSITIONAL, VIRTIO_MODERN, VIRTIO_LEGACY };

/* What may be said of any virtio device; zero is the default. */
struct virtio_options {
	unsigned threads; /* that serve its queues; 0: the device's choice */
	const char *poll; /* as given; NULL: the default */
	uint64_t poll_ns; /* how long those look for work before they sleep, at most */
	unsigned no_ioeventfd; /* the guest's notifications exit to user space */
	unsigned bus; /* enum virtio_bus: where it hangs */
	unsigned kinship; /* enum virtio_kinship: which drivers know it on the PCI bus */
	unsigned packed; /* offers packed rings */
	unsigned no_event_idx; /* does not offer VIRTIO_F_EVENT_IDX */
	unsigned flr; /* has a function level reset */
};

struct disk_config {
	const char *path;
	const char *serial; /* NULL: none */
	unsigned interface; /* enum disk_if */
	unsigned format; /* enum block_format */
	unsigned engine; /* enum block_engine */
	unsigned cache; /* enum block_cache */
	unsigned sqpoll; /* the engine's, where that is io_uring */
	unsigned backing; /* qcow2: it may stand on another image */
	unsigned readonly;
	unsigned queues; /* 0: as many as CPUs, 4 at most */
	unsigned on_error; /* enum disk_on_error */
	struct limit_rates rates;
	struct virtio_options virtio; /* where it is a virtio disk */
	bool cdrom; /* --cdrom: an ATAPI drive, read-only */
	unsigned ide; /* its place in CONFIG_MAX_IDE, where it is an IDE drive */
	unsigned boot; /* its place in the firmware's boot order, 0: behind those with one */
};

enum net_vhost { NET_VHOST_AUTO, NET_VHOST_OFF, NET_VHOST_ON };

/* One of tap, fds, bridge and user. */
struct net_config {
	const char *tap; /* its name */
	const char *bridge;
	int fds[NET_MAX_QUEUES];
	unsigned nr_fds;
	unsigned user;
	unsigned restricted; /* these two: of user */
	struct user_forward forwards[CONFIG_MAX_FORWARDS];
	unsigned nr_forwards;
	uint8_t mac[NET_MAC_LEN]; /* 0: one made from the machine's name */
	unsigned queues; /* pairs of them */
	unsigned mtu; /* 0: the back-end's */
	unsigned vhost; /* enum net_vhost */
	unsigned no_offloads;
	unsigned link_down;
	const char *capture; /* NULL: none */
	struct net_rates rates;
	unsigned queue_size; /* entries of each queue; 0: 256 */
	struct virtio_options virtio;
};

enum serial_kind { SERIAL_STDIO, SERIAL_PTY, SERIAL_FILE, SERIAL_SOCKET, SERIAL_NONE };

struct serial_config {
	enum serial_kind kind;
	const char *path; /* file, socket */
};

/* PIT_DEFAULT: PIT_USER with firmware, PIT_KERNEL without; no machine finds it here. */
enum pit_kind { PIT_USER, PIT_KERNEL, PIT_NONE, PIT_DEFAULT };
enum coalesce { COALESCE_OFF, COALESCE_PIO, COALESCE_HYPERCALL, COALESCE_LOOKAHEAD, COALESCE_AUTO };

struct config {
	const char *kernel; /* this or the firmware */
	const char *firmware; /* a file, or CONFIG_SEABIOS */
	const char *firmware_log; /* NULL: what it has to say is dropped */
	const char *initrd;
	const char *append;
	uint64_t nr_cpus;
	uint64_t memory; /* bytes */
	struct disk_config disks[CONFIG_MAX_DISKS];
	unsigned nr_disks;
	struct net_config nets[CONFIG_MAX_NETS];
	unsigned nr_nets;
	struct serial_config serials[CONFIG_MAX_SERIALS]; /* COM1 first */
	unsigned nr_serials;
	unsigned pit; /* enum pit_kind */
	struct pit_policy pit_policy; /* of PIT_USER */
	unsigned coalesce; /* enum coalesce */
	const char *name; /* NULL: none was given */
	const char *profile; /* --profile FILE, NULL: none */
	const char *symbols;
	const char *trace; /* --trace FILE */
	uint64_t trace_events; /* a thread */
	bool exits;
	const char *exits_json; /* NULL: the table */
	const char *dump_dtb;
	bool no_reboot;
	char *arena; /* compound values, cut apart */
};

enum config_result { CONFIG_RUN, CONFIG_HELP, CONFIG_USAGE };

/*
 * Parses the options of `bantam run`, argv[0] being the first. Sets defaults and
 * checks what can be checked without touching a file. CONFIG_USAGE: err holds one line that names the option, the value and what would be right.
 * config_free() in any case.
 */
enum config_result config_parse(struct config *cfg, int argc, char **argv,
				struct err *err) __must_check;
void config_free(struct config *cfg);

/* How many disks hang on no bus that a guest could search. */
unsigned config_nr_mmio(const struct config *cfg);

/* Fills order with the disks' numbers, the one to boot from first. Returns how many. */
unsigned config_boot_order(const struct config *cfg, unsigned order[CONFIG_MAX_DISKS]);

/*
 * "max-hz=N,time=keep,...": what is not in text, which is cut apart, stays as it is. option is what
 * an error's line begins with. 0 or -EINVAL.
 */
int config_parse_pit_policy(const char *option, char *text, struct pit_policy *policy,
			    struct err *err) __must_check;

/* The text of `bantam run --help`, made from the same table. */
void config_print_help(void);

#endif
