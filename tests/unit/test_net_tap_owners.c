/* SPDX-License-Identifier: MIT */
/* Taps: whose they are, how they come about, and what is said where they cannot. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/net/tap_host.h"
#include "tests/unit/tap_rig.h"

#define BRIDGE "br-test"

/* --- a tap by its name -------------------------------------------------------------------- */

static bool is_up(const char *name)
{
	struct ifreq ifr = { .ifr_flags = 0 };

	assert_int_equal(tap_ioctl(name, SIOCGIFFLAGS, &ifr), 0);
	return ifr.ifr_flags & IFF_UP;
}

static int get_mtu(const char *name)
{
	struct ifreq ifr = { .ifr_mtu = 0 };

	assert_int_equal(tap_ioctl(name, SIOCGIFMTU, &ifr), 0);
	return ifr.ifr_mtu;
}

static void make_persistent(const char *name, int flags, bool on)
{
	int fd = tap_rig_open_fd(name, IFF_TAP | IFF_NO_PI | flags);

	assert_int_equal(ioctl(fd, TUNSETPERSIST, on), 0);
	close(fd);
}

static void test_made_and_gone(void **state)
{
	const struct tap_config cfg = { .name = TAP_RIG_NAME, .queues = 1, .mtu = 1400 };
	struct net *net = tap_rig_open(&cfg);

	(void)state;
	assert_true(tap_rig_is_there(TAP_RIG_NAME));
	assert_true(is_up(TAP_RIG_NAME));
	assert_int_equal(get_mtu(TAP_RIG_NAME), 1400);
	assert_int_equal(net->mtu, 1400);
	assert_int_equal(net->max_queues, 1);
	net_destroy(net);
	assert_false(tap_rig_is_there(TAP_RIG_NAME));
}

static void test_left_alone(void **state)
{
	const struct tap_config cfg = { .name = TAP_RIG_NAME, .queues = 1 };
	struct net *net;

	(void)state;
	make_persistent(TAP_RIG_NAME, 0, true);
	net = tap_rig_open(&cfg);
	assert_false(is_up(TAP_RIG_NAME));
	assert_int_equal(net->mtu, 1500);
	net_destroy(net);
	assert_true(tap_rig_is_there(TAP_RIG_NAME));
	assert_false(is_up(TAP_RIG_NAME));
	make_persistent(TAP_RIG_NAME, 0, false);
	assert_false(tap_rig_is_there(TAP_RIG_NAME));
}

/* One that was made for several queues is as good for one. */
static void test_one_of_many(void **state)
{
	const struct tap_config cfg = { .name = TAP_RIG_NAME, .queues = 1 };

	(void)state;
	make_persistent(TAP_RIG_NAME, IFF_MULTI_QUEUE, true);
	net_destroy(tap_rig_open(&cfg));
	make_persistent(TAP_RIG_NAME, IFF_MULTI_QUEUE, false);
}

/* --- inherited descriptors ---------------------------------------------------------------- */

static void test_inherited(void **state)
{
	const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	int fds[2];
	struct tap_config cfg = { .fds = fds, .nr_fds = 2, .queues = 2 };
	struct net *net;

	(void)state;
	fds[0] = tap_rig_open_fd(TAP_RIG_NAME, flags);
	fds[1] = tap_rig_open_fd(TAP_RIG_NAME, flags);
	net = tap_rig_open(&cfg);
	assert_int_equal(net->max_queues, 2);
	assert_int_equal(net->mtu, 1500);
	assert_true(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fds[1], F_GETFD) & FD_CLOEXEC);
	net_destroy(net);
	assert_false(tap_rig_is_there(TAP_RIG_NAME));
}

static void check_fds_refused(int first, int second, const char *word)
{
	const int fds[] = { first, second };
	const struct tap_config cfg = { .fds = fds, .nr_fds = second < 0 ? 1 : 2, .queues = 2 };
	struct err err = { "" };
	struct net *net;

	if (!tap_open(&cfg, &net, &err))
		fail_msg("not refused: %s", word);
	if (!strstr(err.text, word))
		fail_msg("no '%s' in: %s", word, err.text);
	/* Those that were taken are closed. */
	if (fcntl(first, F_GETFD) >= 0)
		close(first);
	if (second >= 0 && fcntl(second, F_GETFD) >= 0)
		close(second);
}

static void test_inherited_refused(void **state)
{
	const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

	(void)state;
	check_fds_refused(999, -1, "was started without");
	check_fds_refused(open("/dev/null", O_RDWR), -1, "is no tap");
	check_fds_refused(open("/dev/net/tun", O_RDWR), -1, "is no tap");
	check_fds_refused(tap_rig_open_fd("tun-test", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), -1,
			  "is no tap");
	check_fds_refused(tap_rig_open_fd(TAP_RIG_NAME, IFF_TAP | IFF_NO_PI), -1, "IFF_VNET_HDR");
	check_fds_refused(tap_rig_open_fd(TAP_RIG_NAME, flags), tap_rig_open_fd("tap-test2", flags),
			  "multi_queue");
	check_fds_refused(tap_rig_open_fd(TAP_RIG_NAME, flags | IFF_MULTI_QUEUE),
			  tap_rig_open_fd("tap-test2", flags | IFF_MULTI_QUEUE), "is a queue of");
	assert_false(tap_rig_is_there(TAP_RIG_NAME));
}
/* --- a bridge ----------------------------------------------------------------------------- */

static void make_bridge(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(ioctl(fd, SIOCBRADDBR, name), 0);
	close(fd);
	assert_int_equal(tap_set_up(name), 0);
}

static void remove_bridge(const char *name)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(tap_ioctl(name, SIOCSIFFLAGS, &ifr), 0);
	assert_int_equal(ioctl(fd, SIOCBRDELBR, name), 0);
	close(fd);
}

/* How many ports the bridge has. */
static int count_ports(const char *bridge)
{
	int ports[64] = { 0 }, n = 0;
	unsigned long args[] = { BRCTL_GET_PORT_LIST, (unsigned long)ports, 64, 0 };
	struct ifreq ifr = { .ifr_flags = 0 };

	ifr.ifr_data = (void *)args;
	assert_int_equal(tap_ioctl(bridge, SIOCDEVPRIVATE, &ifr), 0);
	for (unsigned i = 0; i < 64; i++)
		n += ports[i] != 0;
	return n;
}

static void test_bridge(void **state)
{
	const struct tap_config cfg = { .bridge = BRIDGE, .queues = 1 };
	struct net *a, *b;
	struct net_host ha, hb;
	uint8_t frame[80];
	const struct net_host_frame *f;

	(void)state;
	make_bridge(BRIDGE);
	assert_int_equal(tap_set_mtu(BRIDGE, 1300), 0);
	a = tap_rig_open(&cfg);
	b = tap_rig_open(&cfg);
	assert_int_equal(count_ports(BRIDGE), 2);
	assert_int_equal(a->mtu, 1300);
	assert_int_equal(get_mtu(BRIDGE), 1300);
	net_host_init(&ha);
	net_host_init(&hb);
	net_host_open(&ha, a);
	net_host_open(&hb, b);
	/* From one guest to the other. */
	assert_int_equal(net_host_send(&ha, frame, tap_rig_frame(frame, sizeof(frame), 3)), 0);
	f = tap_rig_take(&hb);
	assert_non_null(f);
	assert_memory_equal(f->data, frame, sizeof(frame));
	net_host_close(&ha);
	net_host_close(&hb);
	net_host_destroy(&ha);
	net_host_destroy(&hb);
	net_destroy(a);
	assert_int_equal(count_ports(BRIDGE), 1);
	net_destroy(b);
	remove_bridge(BRIDGE);
}
/* --- what is refused ---------------------------------------------------------------------- */

/* That it is refused with that error, and a line that has all of these. */
static void check_refused(const struct tap_config *cfg, int ret, const char *const *words)
{
	struct err err = { "" };
	struct net *net = NULL;

	assert_int_equal(tap_open(cfg, &net, &err), ret);
	for (; *words; words++)
		if (!strstr(err.text, *words))
			fail_msg("no '%s' in: %s", *words, err.text);
	assert_true(strlen(err.text) < sizeof(err.text) - 8);
}

#define WORDS(...)                \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

static void test_refused(void **state)
{
	const struct tap_config tap = { .name = TAP_RIG_NAME, .queues = 1 },
				two = { .name = TAP_RIG_NAME, .queues = 2 };
	const struct tap_config large = { .name = TAP_RIG_NAME, .queues = 1, .mtu = 9000 };
	static const struct {
		struct tap_config cfg;
		int ret;
		const char *words[4]; /* up to a NULL */
	} never[] = {
		{ { .name = "lo", .queues = 1 }, -EINVAL, { "tap=lo", "no tap" } },
		{ { .name = "lo", .queues = 2 }, -EINVAL, { "tap=lo", "no tap" } },
		{ { .name = "tap%d", .queues = 1 }, -EINVAL, { "no name" } },
		{ { .name = "a/b", .queues = 1 }, -EINVAL, { "no name" } },
		{ { .name = "abcdefghijklmnop", .queues = 1 }, -EINVAL, { "no name" } },
		{ { .bridge = "br-none", .queues = 1 },
		  -ENODEV,
		  { "bridge=br-none", "no such bridge", "ip link add br-none type bridge" } },
		{ { .bridge = "lo", .queues = 1 }, -EOPNOTSUPP, { "bridge=lo", "no bridge" } },
	};
	char pid[32];
	int fd;

	(void)state;
	snprintf(pid, sizeof(pid), "(process %ld)", (long)getpid());
	make_persistent(TAP_RIG_NAME, 0, true);
	fd = tap_rig_open_fd(TAP_RIG_NAME, IFF_TAP | IFF_NO_PI);
	check_refused(&tap, -EBUSY, WORDS(TAP_RIG_NAME, "in use by", pid, "ip tuntap add"));
	close(fd);
	check_refused(&two, -EINVAL,
		      WORDS("without multi_queue", "has 1 queue, not 2",
			    "ip tuntap add " TAP_RIG_NAME " mode tap user $USER multi_queue"));
	check_refused(&large, -EINVAL, WORDS("mtu=9000", "has 1500", "ip link set"));
	make_persistent(TAP_RIG_NAME, 0, false);

	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		check_refused(&never[i].cfg, never[i].ret, never[i].words);
}

/* In a process of its own, that fn can change for good; it fails by ending the process. */
static void in_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (!pid) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void say(const struct tap_config *cfg, int wanted, const char *word)
{
	struct err err = { "" };
	struct net *net;
	int ret = tap_open(cfg, &net, &err);

	if (ret == wanted && strstr(err.text, word))
		return;
	fprintf(stderr, "%d, wanted %d with '%s': %s\n", ret, wanted, word, err.text);
	_exit(1);
}

/* Another user namespace has no right over a network that is not its own. */
static void drop_rights(void)
{
	if (unshare(CLONE_NEWUSER))
		_exit(1);
}

static void without_rights(void)
{
	const struct tap_config tap = { .name = "tap-new", .queues = 2 };
	const struct tap_config old = { .name = TAP_RIG_NAME, .queues = 1 };
	struct tap_config bridge = { .bridge = BRIDGE, .queues = 1, .helper = "/bin/false" };

	drop_rights();
	say(&tap, -EPERM, "ip tuntap add tap-new mode tap user $USER multi_queue");
	say(&old, -EPERM, "belongs to another user");
	say(&bridge, -EPERM, "/bin/false refuses");
	bridge.helper = "/nowhere/helper";
	say(&bridge, -EPERM, "/nowhere/helper refuses");
	bridge.queues = 2;
	say(&bridge, -EPERM, "makes one of 1 queue, not 2");
}

static void test_without_rights(void **state)
{
	int fd;

	(void)state;
	make_bridge(BRIDGE);
	fd = tap_rig_open_fd(TAP_RIG_NAME, IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
	assert_int_equal(ioctl(fd, TUNSETOWNER, 4711), 0);
	in_child(without_rights);
	close(fd);
	remove_bridge(BRIDGE);
}

/* The helper is this program: main() sends the descriptor that the variable names. */
#define HELPER_VARIABLE "TEST_NET_TAP_FD"

static int be_helper(int argc, char **argv, const char *fd_text)
{
	const char *args[] = { "--use-vnet", "--fd=3", ("--br=" BRIDGE) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd = atoi(fd_text);

	if (argc != 4)
		return 1;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], args[i - 1]))
			return 1;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(3, &msg, 0) != 1;
}

static void use_helper(void)
{
	const struct tap_config cfg = { .bridge = BRIDGE, .queues = 1, .helper = "/proc/self/exe" };
	int fd = tap_rig_open_fd(TAP_RIG_NAME, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	struct err err = { "" };
	struct net *net;
	char text[16];

	fd = fcntl(fd, F_DUPFD, 10); /* the helper's socket is its 3 */
	snprintf(text, sizeof(text), "%d", fd);
	setenv(HELPER_VARIABLE, text, 1);
	drop_rights();
	if (tap_open(&cfg, &net, &err)) {
		fprintf(stderr, "%s\n", err.text);
		_exit(1);
	}
	if (net->max_queues != 1)
		_exit(2);
	net_destroy(net);
}

static void test_helper(void **state)
{
	(void)state;
	make_bridge(BRIDGE);
	in_child(use_helper);
	remove_bridge(BRIDGE);
}

static void without_device(void)
{
	const struct tap_config tap = { .name = TAP_RIG_NAME, .queues = 1 };

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev/net", "tmpfs", 0, NULL))
		_exit(1);
	say(&tap, -ENOENT, "modprobe tun");
}

static void test_without_device(void **state)
{
	(void)state;
	in_child(without_device);
}
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made_and_gone),
		cmocka_unit_test(test_left_alone),
		cmocka_unit_test(test_one_of_many),
		cmocka_unit_test(test_inherited),
		cmocka_unit_test(test_inherited_refused),
		cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_without_rights),
		cmocka_unit_test(test_helper),
		cmocka_unit_test(test_without_device),
	};
	const char *helper = getenv(HELPER_VARIABLE);

	if (helper)
		return be_helper(argc, argv, helper);
	return tap_rig_enter() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
