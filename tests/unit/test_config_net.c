/* SPDX-License-Identifier: MIT */
/* --net on the command line. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/config.h"
#include "vmm/config_net.h"

#define MAX_ARGS 48

struct parsed {
	struct config cfg;
	enum config_result result;
	struct err err;
};

/* Parses "--kernel k" and a line of words separated by blanks. */
static void parse(struct parsed *p, const char *line)
{
	char buf[1024], *argv[MAX_ARGS] = { (char *)"--kernel", (char *)"k" }, *save = NULL;
	int argc = 2;

	assert_true(strlen(line) < sizeof(buf));
	strcpy(buf, line);
	for (char *w = strtok_r(buf, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_true(argc < MAX_ARGS);
		argv[argc++] = w;
	}
	p->err.text[0] = '\0';
	p->result = config_parse(&p->cfg, argc, argv, &p->err);
}

/* The one card of that line. */
static const struct net_config *parse_ok(struct parsed *p, const char *line)
{
	parse(p, line);
	assert_string_equal(p->err.text, "");
	assert_int_equal(p->result, CONFIG_RUN);
	assert_int_equal(p->cfg.nr_nets, 1);
	return &p->cfg.nets[0];
}

static void test_kinds(void **state)
{
	static const uint8_t none[NET_MAC_LEN];
	const struct net_config *n;
	struct parsed p;

	(void)state;
	parse(&p, "");
	assert_int_equal(p.cfg.nr_nets, 0);
	config_free(&p.cfg);

	n = parse_ok(&p, "--net user");
	assert_int_equal(n->user, 1);
	assert_int_equal(n->queues, 1);
	assert_int_equal(n->vhost, NET_VHOST_AUTO);
	assert_int_equal(n->no_offloads | n->link_down | n->restricted, 0);
	assert_int_equal(n->nr_forwards + n->mtu, 0);
	assert_null(n->capture);
	assert_memory_equal(n->mac, none, sizeof(none));
	assert_int_equal(n->rates.bps | n->rates.pps, 0);
	config_free(&p.cfg);

	/* Without a word it is user mode, which needs no right. */
	n = parse_ok(&p, "--net link=down");
	assert_int_equal(n->user, 1);
	assert_int_equal(n->link_down, 1);
	config_free(&p.cfg);

	n = parse_ok(&p, "--net tap=tap0,queues=4,vhost=on,offloads=off");
	assert_string_equal(n->tap, "tap0");
	assert_int_equal(n->user, 0);
	assert_int_equal(n->queues, 4);
	assert_int_equal(n->vhost, NET_VHOST_ON);
	assert_int_equal(n->no_offloads, 1);
	config_free(&p.cfg);

	n = parse_ok(&p, "--net=bridge=br0,mtu=9000,vhost=off");
	assert_string_equal(n->bridge, "br0");
	assert_int_equal(n->mtu, 9000);
	assert_int_equal(n->vhost, NET_VHOST_OFF);
	config_free(&p.cfg);

	n = parse_ok(&p, "--net fd=3:7:5");
	assert_int_equal(n->nr_fds, 3);
	assert_int_equal(n->fds[0], 3);
	assert_int_equal(n->fds[1], 7);
	assert_int_equal(n->fds[2], 5);
	assert_int_equal(n->queues, 3);
	config_free(&p.cfg);
}

/* What it has as every virtio device has, disks too. */
static void test_virtio(void **state)
{
	const struct net_config *n;
	struct parsed p;
	char line[600];

	(void)state;
	n = parse_ok(&p, "--net tap=a,queues=4,threads=2,poll=5000,ioeventfd=off,virtio=modern,"
			 "packed=on,event-idx=off,flr=on,queue-size=1024");
	assert_int_equal(n->virtio.threads, 2);
	assert_int_equal(n->virtio.poll_ns, 5000);
	assert_int_equal(n->virtio.no_ioeventfd, 1);
	assert_int_equal(n->virtio.bus, VIRTIO_ON_PCI);
	assert_int_equal(n->virtio.kinship, VIRTIO_MODERN);
	assert_int_equal(n->virtio.packed, 1);
	assert_int_equal(n->virtio.no_event_idx, 1);
	assert_int_equal(n->virtio.flr, 1);
	assert_int_equal(n->queue_size, 1024);
	config_free(&p.cfg);

	n = parse_ok(&p, "--net tap=a");
	assert_int_equal(n->virtio.poll_ns, 0);
	config_free(&p.cfg);
	n = parse_ok(&p, "--net tap=a,poll=auto");
	assert_int_equal(n->virtio.poll_ns, 0);
	config_free(&p.cfg);

	/* They share the room that there is without a bus. */
	strcpy(line, "--net user,bus=mmio");
	for (unsigned i = 0; i < 7; i++)
		strcat(line, " --disk path=a,bus=mmio");
	parse_ok(&p, line);
	assert_int_equal(config_nr_mmio(&p.cfg), 8);
	config_free(&p.cfg);
	strcat(line, " --net user,bus=mmio");
	parse(&p, line);
	assert_int_equal(p.result, CONFIG_USAGE);
	assert_non_null(strstr(p.err.text, "room for 8"));
	config_free(&p.cfg);
}

static void test_everything(void **state)
{
	static const uint8_t mac[] = { 0x52, 0x54, 0x00, 0xab, 0xCD, 0xef };
	const struct net_config *n;
	struct parsed p;

	(void)state;
	n = parse_ok(&p,
		     "--net mac=52:54:00:ab:CD:ef,forward=tcp:2222:22,user,restrict=on,"
		     "forward=udp:0.0.0.0:5353:53,mtu=1280,capture=a,,b.pcapng,bps=10M,pps=5000");
	assert_int_equal(n->user, 1);
	assert_memory_equal(n->mac, mac, sizeof(mac));
	assert_int_equal(n->restricted, 1);
	assert_int_equal(n->nr_forwards, 2);
	assert_false(n->forwards[0].udp);
	assert_int_equal(n->forwards[0].host.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(n->forwards[0].host_port, 2222);
	assert_int_equal(n->forwards[0].guest_port, 22);
	assert_true(n->forwards[1].udp);
	assert_int_equal(n->forwards[1].host.s_addr, 0);
	assert_int_equal(n->forwards[1].host_port, 5353);
	assert_int_equal(n->forwards[1].guest_port, 53);
	assert_int_equal(n->mtu, 1280);
	assert_string_equal(n->capture, "a,b.pcapng");
	assert_int_equal(n->rates.bps, 10 * MIB);
	assert_int_equal(n->rates.pps, 5000);
	config_free(&p.cfg);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *line;
		const char *words[3];
	} cases[] = {
		{ "--net", { "--net", "missing", "user|tap=NAME" } },
		{ "--net=", { "--net", "empty", "user|tap=NAME" } },
		{ "--net tap0", { "--net tap0", "key=value" } },
		{ "--net user=on", { "--net: user", "stands alone" } },
		{ "--net user,colour=red", { "colour", "user, tap, bridge, fd, mac" } },
		{ "--net tap=", { "tap=", "missing" } },
		{ "--net tap=a,tap=b", { "tap", "twice" } },
		{ "--net tap=a,user", { "one of: user, tap=NAME" } },
		{ "--net tap=a,bridge=b", { "one of: user, tap=NAME" } },
		{ "--net bridge=b,fd=3", { "one of: user, tap=NAME" } },
		{ "--net fd=2", { "fd=2", "from 3 on" } },
		{ "--net fd=x", { "fd=x", "from 3 on" } },
		{ "--net fd=3:", { "fd=3:", "from 3 on" } },
		{ "--net fd=3:4:3", { "fd=3:4:3", "3 is given twice" } },
		{ "--net fd=3:4:5:6:7:8:9:10:11", { "at most 8" } },
		{ "--net fd=3:4,queues=3", { "queues=3", "2 descriptors" } },
		{ "--net user,mac=52:54:00:12:34", { "mac=52:54:00:12:34", "such as" } },
		{ "--net user,mac=52:54:00:12:34:5g", { "such as" } },
		{ "--net user,mac=52:54:00:12:34:567", { "such as" } },
		{ "--net user,mac=52-54-00-12-34-56", { "such as" } },
		{ "--net user,mac=5:254:00:12:34:56", { "such as" } },
		{ "--net user,mac=00:00:00:00:00:00", { "no address" } },
		{ "--net user,mac=53:54:00:12:34:56", { "first byte is odd" } },
		{ "--net user,queues=2", { "queues=2", "user has one" } },
		{ "--net tap=a,queues=9", { "queues=9", "1 to 8" } },
		{ "--net tap=a,queues=0", { "queues=0", "1 to 8" } },
		{ "--net tap=a,forward=tcp:1:2", { "forward", "keys of user" } },
		{ "--net tap=a,restrict=on", { "restrict", "keys of user" } },
		{ "--net user,forward=", { "forward=", "missing" } },
		{ "--net user,forward=22:22", { "forward=22:22", "tcp:2222:22" } },
		{ "--net user,forward=sctp:1:2", { "tcp:2222:22" } },
		{ "--net user,forward=tcp:0:2", { "tcp:2222:22" } },
		{ "--net user,forward=tcp:1:65536", { "tcp:2222:22" } },
		{ "--net user,forward=tcp:here:1:2", { "tcp:2222:22" } },
		{ "--net user,forward=tcp:1.2.3.4:1:2:3", { "tcp:2222:22" } },
		{ "--net user,restrict=yes", { "restrict=yes", "off, on" } },
		{ "--net user,vhost=on", { "vhost=on", "no descriptor" } },
		{ "--net tap=a,vhost=yes", { "vhost=yes", "auto, off, on" } },
		{ "--net tap=a,vhost=on,capture=x", { "vhost=on", "vhost=off" } },
		{ "--net tap=a,vhost=on,bps=1M", { "vhost=on", "vhost=off" } },
		{ "--net tap=a,mtu=67", { "mtu=67", "68 to 65521" } },
		{ "--net tap=a,mtu=65522", { "mtu=65522", "1 to 65521" } },
		{ "--net user,mtu=575", { "mtu=575", "576 to 65521" } },
		{ "--net user,link=off", { "link=off", "up, down" } },
		{ "--net user,bps=fast", { "bps=fast", "size such as 10M, or off" } },
		{ "--net user,pps=1M", { "pps=1M", "number, or off" } },
		{ "--net user,queue-size=3", { "queue-size=3", "power of 2, 4 to 1024" } },
		{ "--net user,queue-size=100", { "queue-size=100", "power of 2, 4 to 1024" } },
		{ "--net user,queue-size=2048", { "queue-size=2048", "1 to 1024" } },
		{ "--net tap=a,queues=2,threads=3", { "threads=3", "there are 2 queues" } },
		{ "--net tap=a,threads=2", { "threads=2", "there is 1 queue for" } },
		{ "--net user,poll=on", { "poll=on", "auto, off" } },
		{ "--net user,bus=mmio,flr=on", { "flr", "bus=pci" } },
		{ "--net user,virtio=legacy,packed=on", { "packed=on", "virtio=legacy" } },
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

static void test_too_many(void **state)
{
	char line[1024] = "";
	struct parsed p;

	(void)state;
	for (int i = 0; i < CONFIG_MAX_NETS; i++)
		strcat(line, " --net user");
	parse(&p, line);
	assert_int_equal(p.result, CONFIG_RUN);
	assert_int_equal(p.cfg.nr_nets, CONFIG_MAX_NETS);
	config_free(&p.cfg);
	strcat(line, " --net user");
	parse(&p, line);
	assert_int_equal(p.result, CONFIG_USAGE);
	config_free(&p.cfg);

	strcpy(line, "--net user");
	for (int i = 0; i < CONFIG_MAX_FORWARDS; i++)
		strcat(line, ",forward=tcp:1:2");
	parse_ok(&p, line);
	config_free(&p.cfg);
	strcat(line, ",forward=tcp:1:2");
	parse(&p, line);
	assert_int_equal(p.result, CONFIG_USAGE);
	assert_non_null(strstr(p.err.text, "at most 16"));
	config_free(&p.cfg);
}

static void test_mac(void **state)
{
	uint8_t macs[4][NET_MAC_LEN];

	(void)state;
	config_net_mac(macs[0], "web", 0);
	config_net_mac(macs[1], "web", 0);
	config_net_mac(macs[2], "web", 1);
	config_net_mac(macs[3], "wea", 0);
	assert_memory_equal(macs[0], macs[1], NET_MAC_LEN);
	assert_memory_not_equal(macs[0], macs[2], NET_MAC_LEN);
	assert_memory_not_equal(macs[0], macs[3], NET_MAC_LEN);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(macs[i][0] & 3, 2);
	/* Guests know their cards by these: what was given once stays. */
	assert_memory_equal(macs[0], "\x96\x49\x62\x81\x55\xb3", NET_MAC_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),    cmocka_unit_test(test_everything),
		cmocka_unit_test(test_mistakes), cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_mac),      cmocka_unit_test(test_virtio),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
