/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/config.h"

#define MAX_ARGS 48

struct parsed {
	struct config cfg;
	enum config_result result;
	struct err err;
};

/* Parses a line of words separated by blanks; "''" is an empty word. */
static void parse(struct parsed *p, const char *line)
{
	char buf[1024], *argv[MAX_ARGS], *save = NULL;
	int argc = 0;

	assert_true(strlen(line) < sizeof(buf));
	strcpy(buf, line);
	for (char *w = strtok_r(buf, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_true(argc < MAX_ARGS);
		argv[argc++] = strcmp(w, "''") ? w : w + 2;
	}
	p->err.text[0] = '\0';
	p->result = config_parse(&p->cfg, argc, argv, &p->err);
}

static void test_defaults(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "--kernel k");
	assert_int_equal(p.result, CONFIG_RUN);
	assert_string_equal(p.cfg.kernel, "k");
	assert_null(p.cfg.initrd);
	assert_null(p.cfg.append);
	assert_int_equal(p.cfg.nr_cpus, 1);
	assert_int_equal(p.cfg.memory, 256 * MIB);
	assert_int_equal(p.cfg.nr_disks, 0);
	assert_int_equal(p.cfg.nr_serials, 1);
	assert_int_equal(p.cfg.serials[0].kind, SERIAL_STDIO);
	assert_int_equal(p.cfg.pit, PIT_KERNEL);
	assert_int_equal(p.cfg.coalesce, COALESCE_OFF);
	assert_false(p.cfg.exits);
	assert_false(p.cfg.no_reboot);
	config_free(&p.cfg);
}

static void test_everything(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "--kernel=k --initrd i --append=console=ttyS0,115200 --cpus 4 --memory 2G "
		  "--disk path=a,,b.img,if=virtio,format=raw,readonly=on,serial=abc"
		  ",on-error=stop,iops=500,iops-burst=1000,bps=10M"
		  ",engine=io_uring,cache=unsafe,sqpoll=on "
		  "--disk serial=x=y,path=second,iops=off,queues=8,threads=2,poll=5000 --serial "
		  "file=/tmp/x --serial none --pit "
		  "none --coalesce auto "
		  "--exits=out.json --no-reboot --dump-dtb dtb");
	assert_string_equal(p.err.text, "");
	assert_int_equal(p.result, CONFIG_RUN);
	assert_string_equal(p.cfg.append, "console=ttyS0,115200");
	assert_int_equal(p.cfg.nr_cpus, 4);
	assert_int_equal(p.cfg.memory, 2 * GIB);
	assert_int_equal(p.cfg.nr_disks, 2);
	assert_string_equal(p.cfg.disks[0].path, "a,b.img");
	assert_int_equal(p.cfg.disks[0].interface, DISK_VIRTIO);
	assert_int_equal(p.cfg.disks[0].format, BLOCK_RAW);
	assert_int_equal(p.cfg.disks[0].readonly, 1);
	assert_string_equal(p.cfg.disks[0].serial, "abc");
	assert_string_equal(p.cfg.disks[1].path, "second");
	assert_string_equal(p.cfg.disks[1].serial, "x=y");
	assert_int_equal(p.cfg.disks[1].readonly, 0);
	assert_int_equal(p.cfg.disks[0].engine, BLOCK_ENGINE_IO_URING);
	assert_int_equal(p.cfg.disks[0].cache, BLOCK_CACHE_UNSAFE);
	assert_int_equal(p.cfg.disks[0].sqpoll, 1);
	assert_int_equal(p.cfg.disks[1].engine, BLOCK_ENGINE_AUTO);
	assert_int_equal(p.cfg.disks[1].cache, BLOCK_CACHE_WRITEBACK);
	assert_int_equal(p.cfg.disks[0].on_error, DISK_STOP);
	assert_int_equal(p.cfg.disks[0].rates.iops, 500);
	assert_int_equal(p.cfg.disks[0].rates.iops_burst, 1000);
	assert_int_equal(p.cfg.disks[0].rates.bps, 10 * MIB);
	assert_int_equal(p.cfg.disks[0].rates.bps_burst, 0);
	assert_int_equal(p.cfg.disks[1].on_error, DISK_REPORT);
	assert_int_equal(p.cfg.disks[1].rates.iops, 0);
	assert_int_equal(p.cfg.disks[0].queues, 0);
	assert_int_equal(p.cfg.disks[0].virtio.poll_ns, 32000);
	assert_int_equal(p.cfg.disks[1].queues, 8);
	assert_int_equal(p.cfg.disks[1].virtio.threads, 2);
	assert_int_equal(p.cfg.disks[1].virtio.poll_ns, 5000);
	assert_int_equal(p.cfg.nr_serials, 2);
	assert_int_equal(p.cfg.serials[0].kind, SERIAL_FILE);
	assert_string_equal(p.cfg.serials[0].path, "/tmp/x");
	assert_int_equal(p.cfg.serials[1].kind, SERIAL_NONE);
	assert_int_equal(p.cfg.pit, PIT_NONE);
	assert_int_equal(p.cfg.coalesce, COALESCE_AUTO);
	assert_true(p.cfg.exits);
	assert_string_equal(p.cfg.exits_json, "out.json");
	assert_true(p.cfg.no_reboot);
	assert_string_equal(p.cfg.dump_dtb, "dtb");
	config_free(&p.cfg);
}

static void test_virtio(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "--kernel k --disk path=a --disk path=b,virtio=legacy,event-idx=off "
		  "--disk path=c,bus=mmio,packed=on --disk path=d,virtio=modern,flr=on,packed=off");
	assert_string_equal(p.err.text, "");
	assert_int_equal(p.cfg.disks[0].virtio.bus, VIRTIO_ON_PCI);
	assert_int_equal(p.cfg.disks[0].virtio.kinship, VIRTIO_TRANSITIONAL);
	assert_int_equal(p.cfg.disks[0].virtio.packed, 0);
	assert_int_equal(p.cfg.disks[0].virtio.no_event_idx, 0);
	assert_int_equal(p.cfg.disks[0].virtio.flr, 0);
	assert_int_equal(p.cfg.disks[1].virtio.kinship, VIRTIO_LEGACY);
	assert_int_equal(p.cfg.disks[1].virtio.no_event_idx, 1);
	assert_int_equal(p.cfg.disks[2].virtio.bus, VIRTIO_ON_MMIO);
	assert_int_equal(p.cfg.disks[2].virtio.packed, 1);
	assert_int_equal(p.cfg.disks[3].virtio.kinship, VIRTIO_MODERN);
	assert_int_equal(p.cfg.disks[3].virtio.flr, 1);
	assert_int_equal(config_nr_mmio(&p.cfg), 1);
	config_free(&p.cfg);
	parse(&p, "--kernel k --disk path=0,bus=mmio --disk path=1,bus=mmio --disk path=2,bus=mmio "
		  "--disk path=3,bus=mmio --disk path=4,bus=mmio --disk path=5,bus=mmio "
		  "--disk path=6,bus=mmio --disk path=7,bus=mmio --disk path=8");
	assert_int_equal(p.result, CONFIG_RUN);
	assert_int_equal(config_nr_mmio(&p.cfg), 8);
	config_free(&p.cfg);
	parse(&p, "--kernel k --disk path=0,bus=mmio --disk path=1,bus=mmio --disk path=2,bus=mmio "
		  "--disk path=3,bus=mmio --disk path=4,bus=mmio --disk path=5,bus=mmio "
		  "--disk path=6,bus=mmio --disk path=7,bus=mmio --disk path=8,bus=mmio");
	assert_int_equal(p.result, CONFIG_USAGE);
	assert_non_null(strstr(p.err.text, "8"));
	config_free(&p.cfg);
}

static void test_firmware(void **state)
{
	unsigned order[CONFIG_MAX_DISKS];
	struct parsed p;

	(void)state;
	parse(&p, "--firmware seabios --firmware-log log --disk path=a --disk path=b,boot=99 "
		  "--disk path=c --disk path=d,boot=2");
	assert_string_equal(p.err.text, "");
	assert_int_equal(p.result, CONFIG_RUN);
	assert_string_equal(p.cfg.firmware, CONFIG_SEABIOS);
	assert_string_equal(p.cfg.firmware_log, "log");
	assert_null(p.cfg.kernel);
	assert_int_equal(config_boot_order(&p.cfg, order), 4);
	assert_int_equal(order[0], 3);
	assert_int_equal(order[1], 1);
	assert_int_equal(order[2], 0);
	assert_int_equal(order[3], 2);
	config_free(&p.cfg);
	parse(&p, "--firmware FILE");
	assert_int_equal(p.result, CONFIG_RUN);
	assert_int_equal(config_boot_order(&p.cfg, order), 0);
	config_free(&p.cfg);
}

static void test_exits_takes_no_next_word(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "--exits --kernel k");
	assert_int_equal(p.result, CONFIG_RUN);
	assert_true(p.cfg.exits);
	assert_null(p.cfg.exits_json);
	config_free(&p.cfg);
}

static void test_empty_append(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "--kernel k --append ''");
	assert_int_equal(p.result, CONFIG_RUN);
	assert_string_equal(p.cfg.append, "");
	config_free(&p.cfg);
}

static void test_help(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "--cpus 2 --help");
	assert_int_equal(p.result, CONFIG_HELP);
	config_free(&p.cfg);
}

/* Every mistake is one line that holds the words of the second column. */
static void test_mistakes(void **state)
{
	static const struct {
		const char *line;
		const char *words[3];
	} cases[] = {
		{ "", { "--kernel", "missing", "--firmware" } },
		{ "--kernel", { "--kernel", "missing" } },
		{ "--kernel ''", { "--kernel", "empty" } },
		{ "--kernel a --kernel b", { "--kernel", "b", "already" } },
		{ "--kernel k --frobnicate", { "--frobnicate", "unknown option", "--help" } },
		{ "k", { "k", "unknown option" } },
		{ "--kernel k --no-reboot=1", { "--no-reboot=1", "no value" } },
		{ "--kernel k --exits=", { "--exits=", "missing" } },
		{ "--kernel k --cpus 0", { "--cpus 0", "1 to 255" } },
		{ "--kernel k --cpus 256", { "--cpus 256", "1 to 255" } },
		{ "--kernel k --cpus -1", { "--cpus -1", "1 to 255" } },
		{ "--kernel k --cpus 1x", { "--cpus 1x", "1 to 255" } },
		{ "--kernel k --cpus 99999999999999999999", { "--cpus", "1 to 255" } },
		{ "--kernel k --memory 1M", { "--memory 1M", "16M" } },
		{ "--kernel k --memory 512", { "--memory 512", "16M" } },
		{ "--kernel k --memory 2P", { "--memory 2P", "512M" } },
		{ "--kernel k --memory 2T", { "--memory 2T", "1T" } },
		{ "--kernel k --memory 99999999999999999999G", { "--memory", "1T" } },
		{ "--kernel k --memory 16777217", { "--memory 16777217", "MiB" } },
		{ "--kernel k --disk a.img", { "--disk a.img", "key=value" } },
		{ "--kernel k --disk path=a,readonly", { "readonly", "key=value" } },
		{ "--kernel k --disk path=a,colour=red", { "colour", "path, if, format" } },
		{ "--kernel k --disk path=a,iops=many", { "iops=many", "number, or off" } },
		{ "--kernel k --disk path=a,bps=1x", { "bps=1x", "size such as 10M, or off" } },
		{ "--kernel k --disk path=a,bps-burst=1M", { "bps-burst=1M", "bps=" } },
		{ "--kernel k --disk path=a,on-error=x", { "on-error=x", "report, stop" } },
		{ "--kernel k --disk path=a,engine=aio",
		  { "engine=aio", "auto, io_uring, threads" } },
		{ "--kernel k --disk path=a,cache=some", { "cache=some", "writeback, none" } },
		{ "--kernel k --disk path=a,sqpoll=1", { "sqpoll=1", "off, on" } },
		{ "--kernel k --disk path=a,sqpoll=on,engine=sync",
		  { "sqpoll=on", "engine=io_uring" } },
		{ "--kernel k --disk path=a,queues=17", { "queues=17", "1 to 16" } },
		{ "--kernel k --disk path=a,queues=2,threads=3", { "threads=3", "2 queues" } },
		{ "--kernel k --disk path=a,poll=1000001", { "poll=1000001", "auto, off" } },
		{ "--kernel k --disk path=a,poll=on", { "poll=on", "auto, off" } },
		{ "--kernel k --disk path=a,if=ide,queues=2", { "queues", "if=virtio" } },
		{ "--kernel k --disk path=a,path=b", { "path", "twice" } },
		{ "--kernel k --disk path=", { "path=", "missing" } },
		{ "--kernel k --disk if=virtio", { "path=FILE", "missing" } },
		{ "--kernel k --disk path=a,if=scsi", { "if=scsi", "virtio" } },
		{ "--kernel k --disk path=a,format=vmdk", { "format=vmdk", "raw, qcow2" } },
		{ "--kernel k --disk path=a,backing=on", { "backing=on", "format=qcow2" } },
		{ "--kernel k --disk path=a,readonly=maybe", { "readonly=maybe", "off, on" } },
		{ "--kernel k --disk path=a,serial=123456789012345678901",
		  { "serial", "at most 20" } },
		{ "--kernel k --serial telnet", { "--serial telnet", "stdio" } },
		{ "--kernel k --serial file", { "--serial file", "file=PATH" } },
		{ "--kernel k --serial file=", { "--serial file=", "file=PATH" } },
		{ "--kernel k --serial stdio=x", { "--serial stdio=x", "file=PATH" } },
		{ "--kernel k --serial stdio --serial stdio", { "stdio", "one port" } },
		{ "--kernel k --serial none --serial none --serial none --serial none --serial "
		  "none",
		  { "--serial", "4" } },
		{ "--kernel k --pit fast", { "--pit=fast", "user, kernel, none" } },
		{ "--kernel k --pit none,max-hz=1", { "--pit none,max-hz=1", "only user" } },
		{ "--kernel k --pit user,max-hz=0", { "max-hz=0", "1 to 20000" } },
		{ "--kernel k --pit user,time=slow", { "time=slow", "keep, dilate" } },
		{ "--kernel k --pit user,lost-ticks=all",
		  { "lost-ticks=all", "catchup, delay, discard" } },
		{ "--kernel k --coalesce on",
		  { "--coalesce=on", "off, pio, hypercall, lookahead" } },
		{ "--firmware", { "--firmware", "missing", "seabios" } },
		{ "--firmware f --kernel k", { "--firmware f", "--kernel k", "without" } },
		{ "--firmware f --initrd i", { "--initrd", "needs --kernel" } },
		{ "--firmware f --append a", { "--append", "needs --kernel" } },
		{ "--kernel k --firmware-log l", { "--firmware-log l", "needs --firmware" } },
		{ "--firmware f --disk path=a,boot=0", { "boot=0", "1 to 99" } },
		{ "--firmware f --disk path=a,boot=100", { "boot=100", "1 to 99" } },
		{ "--firmware f --disk path=a,boot=", { "boot=", "missing" } },
		{ "--firmware f --disk path=a,boot=3 --disk path=b,boot=3",
		  { "boot=3", "another" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct parsed p;

		parse(&p, cases[i].line);
		if (p.result != CONFIG_USAGE)
			fail_msg("accepted: %s", cases[i].line);
		assert_null(strchr(p.err.text, '\n'));
		for (size_t k = 0; k < 3 && cases[i].words[k]; k++)
			if (!strstr(p.err.text, cases[i].words[k]))
				fail_msg("'%s': '%s' lacks '%s'", cases[i].line, p.err.text,
					 cases[i].words[k]);
		config_free(&p.cfg);
	}
}

static void test_too_many_disks(void **state)
{
	char line[1024] = "--kernel k";
	struct parsed p;

	(void)state;
	for (int i = 0; i < CONFIG_MAX_DISKS; i++)
		strcat(line, " --disk path=d");
	parse(&p, line);
	assert_int_equal(p.result, CONFIG_RUN);
	config_free(&p.cfg);
	strcat(line, " --disk path=d");
	parse(&p, line);
	assert_int_equal(p.result, CONFIG_USAGE);
	config_free(&p.cfg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_virtio),
		cmocka_unit_test(test_firmware),
		cmocka_unit_test(test_exits_takes_no_next_word),
		cmocka_unit_test(test_empty_append),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_too_many_disks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
