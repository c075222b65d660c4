/* SPDX-License-Identifier: MIT */
#include "backends/net/user.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/net/user_sockets.h"

#define NSEC_PER_MSEC 1000000ull
#define VLAN_LEN 4

/* One of libslirp's own. */
struct user_timer {
	SlirpTimerCb fn;
	void *opaque;
	uint64_t deadline; /* ns, or TIMER_OFF */
	struct user_timer *next;
};

struct user {
	struct net net;
	Slirp *slirp;
	struct user_sockets sockets;
	struct user_timer *timers;
	struct clock *clock; /* NULL: there is no queue, and the host's */
	struct clock *test_clock; /* NULL: none was given */

	/* The queue's; its thread's while it is open. */
	struct net_queue q;
	bool open;
	struct net_queue_config cfg;
	struct host_clock host_clock;
	struct timer timer; /* the first of all that is due */
	struct loop_src src; /* the sockets */
	bool listening; /* src is in the loop */
	bool wanted;
	size_t slot; /* bytes of a place in the ring */
	uint8_t *ring; /* USER_RING of those */
	size_t lens[USER_RING];
	unsigned first, count;
	uint8_t frame[NET_MAX_FRAME]; /* the guest's, for libslirp to read as often as it likes */
};

static struct user *to_user(struct net *net)
{
	return container_of(net, struct user, net);
}

static struct user *queue_to_user(struct net_queue *q)
{
	return container_of(q, struct user, q);
}

/* --- what libslirp asks for --------------------------------------------------------------- */

static uint64_t now_ns(const struct user *u)
{
	struct timespec ts;

	if (u->clock)
		return clock_now(u->clock);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int64_t clock_get_ns(void *opaque)
{
	return (int64_t)now_ns(opaque);
}

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;
	unsigned i = (u->first + u->count) % USER_RING;

	if (u->count == USER_RING || len > u->slot) {
		atomic_fetch_add_explicit(&u->q.received.dropped, 1, memory_order_relaxed);
		return (ssize_t)len;
	}
	memcpy(u->ring + i * u->slot, buf, len);
	u->lens[i] = len;
	u->count++;
	return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
	(void)msg;
	(void)opaque;
}

static void *timer_new(SlirpTimerCb fn, void *fn_opaque, void *opaque)
{
	struct user *u = opaque;
	struct user_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	*t = (struct user_timer){ fn, fn_opaque, TIMER_OFF, u->timers };
	u->timers = t;
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct user *u = opaque;

	for (struct user_timer **p = &u->timers; *p; p = &(*p)->next) {
		if (*p == timer) {
			*p = (*p)->next;
			break;
		}
	}
	free(timer);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct user_timer *t = timer;

	(void)opaque;
	if (t)
		t->deadline = expire_ms < 0 ? 0 : (uint64_t)expire_ms * NSEC_PER_MSEC;
}

static void fd_changes(int fd, void *opaque)
{
	user_sockets_forget(&((struct user *)opaque)->sockets, fd);
}

static void notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_get_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = fd_changes,
	.unregister_poll_fd = fd_changes,
	.notify = notify,
};

/* --- turns: what the queue's thread does -------------------------------------------------- */

static bool has_room(const struct user *u)
{
	return u->count < USER_RING / 2;
}

static void listen_if_room(struct user *u)
{
	bool listening = has_room(u);

	if (listening == u->listening)
		return;
	u->listening = listening;
	if (!listening)
		loop_del(u->cfg.loop, &u->src);
	else if (loop_add(u->cfg.loop, &u->src, EPOLLIN))
		u->listening = false;
}

/* What to wait for has changed, perhaps. */
static void prepare(struct user *u)
{
	uint32_t timeout = UINT32_MAX;
	uint64_t deadline = TIMER_OFF;

	user_sockets_begin(&u->sockets);
	slirp_pollfds_fill(u->slirp, &timeout, user_sockets_add, &u->sockets);
	user_sockets_end(&u->sockets);
	if (timeout != UINT32_MAX)
		deadline = now_ns(u) + timeout * NSEC_PER_MSEC;
	for (const struct user_timer *t = u->timers; t; t = t->next)
		deadline = min_u64(deadline, t->deadline);
	timer_arm(&u->timer, deadline);
	listen_if_room(u);
}

static void run_timers(struct user *u)
{
	uint64_t now = now_ns(u);

	for (struct user_timer *t = u->timers, *next; t; t = next) {
		next = t->next;
		if (t->deadline > now)
			continue;
		t->deadline = TIMER_OFF;
		t->fn(t->opaque);
	}
}

static void turn(void *opaque)
{
	struct user *u = opaque;

	if (has_room(u))
		user_sockets_collect(&u->sockets);
	else
		user_sockets_clear(&u->sockets);
	slirp_pollfds_poll(u->slirp, 0, user_sockets_ready, &u->sockets);
	run_timers(u);
	prepare(u);
	if (u->wanted && u->count)
		u->cfg.readable(u->cfg.opaque);
}

static void sockets_ready(void *opaque, uint32_t events)
{
	(void)events;
	turn(opaque);
}

/* --- the queue ---------------------------------------------------------------------------- */

/* Copies what iov holds behind its first skip bytes, up to size of them. */
static void gather(uint8_t *to, size_t size, const struct iovec *iov, unsigned nr_iov, size_t skip)
{
	for (unsigned i = 0; i < nr_iov; i++) {
		size_t off = min_u64(skip, iov[i].iov_len);
		size_t n = min_u64(iov[i].iov_len - off, size);

		memcpy(to, (const uint8_t *)iov[i].iov_base + off, n);
		to += n;
		size -= n;
		skip -= off;
	}
}

static void scatter(const struct iovec *iov, unsigned nr_iov, size_t skip, const uint8_t *from,
		    size_t len)
{
	for (unsigned i = 0; i < nr_iov; i++) {
		size_t off = min_u64(skip, iov[i].iov_len);
		size_t n = min_u64(iov[i].iov_len - off, len);

		memcpy((uint8_t *)iov[i].iov_base + off, from, n);
		from += n;
		len -= n;
		skip -= off;
	}
}

static size_t total(const struct iovec *iov, unsigned nr_iov)
{
	size_t len = 0;

	for (unsigned i = 0; i < nr_iov; i++)
		len += iov[i].iov_len;
	return len;
}

static int user_send(struct net_queue *q, const struct iovec *iov, unsigned nr_iov)
{
	struct user *u = queue_to_user(q);
	size_t len = total(iov, nr_iov);
	struct virtio_net_hdr_v1 hdr;

	if (len < NET_HDR_LEN + NET_MIN_FRAME)
		return -EINVAL;
	len -= NET_HDR_LEN;
	if (len > sizeof(u->frame))
		return -EMSGSIZE;
	memcpy(&hdr, iov[0].iov_base, sizeof(hdr));
	if (!net_hdr_valid(&hdr, len, u->net.offloads))
		return -EINVAL;
	gather(u->frame, len, iov, nr_iov, NET_HDR_LEN);
	slirp_input(u->slirp, u->frame, (int)len);
	return 0;
}

/* Answers to what was sent are handed over from the loop, not from inside of the sender. */
static void user_kick(struct net_queue *q)
{
	struct user *u = queue_to_user(q);

	prepare(u);
	if (u->wanted && u->count)
		timer_arm(&u->timer, now_ns(u));
}

static ssize_t user_receive(struct net_queue *q, const struct iovec *iov, unsigned nr_iov)
{
	struct user *u = queue_to_user(q);
	const struct virtio_net_hdr_v1 hdr = { .flags = 0 };
	unsigned i = u->first;
	size_t len = u->lens[i];

	if (!u->count)
		return -EAGAIN;
	u->first = (u->first + 1) % USER_RING;
	u->count--;
	listen_if_room(u);
	if (total(iov, nr_iov) < NET_HDR_LEN + len)
		return -EMSGSIZE;
	scatter(iov, nr_iov, 0, (const uint8_t *)&hdr, NET_HDR_LEN);
	scatter(iov, nr_iov, NET_HDR_LEN, u->ring + i * u->slot, len);
	return (ssize_t)(NET_HDR_LEN + len);
}

static void user_want(struct net_queue *q, bool readable)
{
	struct user *u = queue_to_user(q);

	u->wanted = readable;
	if (readable && u->count)
		timer_arm(&u->timer, now_ns(u));
}

static void stop_turns(void *opaque)
{
	struct user *u = opaque;

	loop_del(u->cfg.loop, &u->src);
	timer_arm(&u->timer, TIMER_OFF);
}

static void user_close_queue(struct net_queue *q)
{
	struct user *u = queue_to_user(q);

	/* A turn may be under way, and arm what this disarms. */
	loop_call(u->cfg.loop, stop_turns, u);
	u->open = false;
	if (!u->test_clock)
		host_clock_destroy(&u->host_clock);
	u->clock = u->test_clock;
	u->listening = u->wanted = false;
	u->first = u->count = 0;
}

static const struct net_queue_ops user_queue_ops = {
	.send = user_send,
	.kick = user_kick,
	.receive = user_receive,
	.want = user_want,
	.close = user_close_queue,
};

/* --- the network -------------------------------------------------------------------------- */

static int user_open_queue(struct net *net, const struct net_queue_config *cfg,
			   struct net_queue **out)
{
	struct user *u = to_user(net);
	int ret = 0;

	if (u->open)
		return -EBUSY;
	if (!u->test_clock)
		ret = host_clock_init(&u->host_clock, cfg->loop);
	if (ret)
		return ret;
	u->clock = u->test_clock ?: &u->host_clock.clock;
	u->cfg = *cfg;
	u->q = (struct net_queue){ .ops = &user_queue_ops, .net = net };
	u->src = (struct loop_src){ u->sockets.epfd, sockets_ready, u };
	timer_init(&u->timer, u->clock, turn, u);
	u->open = true;
	timer_arm(&u->timer, clock_now(u->clock)); /* the first turn looks at what there is */
	*out = &u->q;
	return 0;
}

static void user_destroy(struct net *net)
{
	struct user *u = to_user(net);

	if (u->slirp)
		slirp_cleanup(u->slirp);
	user_sockets_destroy(&u->sockets);
	free(u->ring);
	free(u);
}

static const struct net_ops user_ops = {
	.open_queue = user_open_queue,
	.destroy = user_destroy,
};

static void say_nothing(const char *domain, int level, const char *msg, void *opaque)
{
	(void)domain;
	(void)level;
	(void)msg;
	(void)opaque;
}

/*
 * libslirp tells glib, and that standard error, of some frames that a guest may send at will. It
 * brings glib along, whose headers nothing else here needs.
 */
static void silence_slirp(void)
{
	typedef void log_func(const char *domain, int level, const char *msg, void *opaque);
	typedef log_func *set_handler_func(log_func * fn, void *opaque);
	set_handler_func *set_handler = dlsym(RTLD_DEFAULT, "g_log_set_default_handler");

	if (set_handler)
		(void)set_handler(say_nothing, NULL);
}

static int start_slirp(struct user *u, const struct user_config *cfg)
{
	SlirpConfig sc = {
		.version = 1,
		.restricted = cfg->restricted,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(0x0a000200),
		.vnetmask.s_addr = htonl(0xffffff00),
		.vhost.s_addr = htonl(0x0a000202),
		.vdhcp_start.s_addr = htonl(0x0a00020f),
		.vnameserver.s_addr = htonl(0x0a000203),
		.in6_enabled = true,
		.vprefix_len = 64,
		.vhostname = cfg->hostname,
		.if_mtu = u->net.mtu,
		.if_mru = u->net.mtu,
	};

	inet_pton(AF_INET6, "fec0::", &sc.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &sc.vhost6);
	inet_pton(AF_INET6, "fec0::3", &sc.vnameserver6);
	silence_slirp();
	u->slirp = slirp_new(&sc, &callbacks, u);
	return u->slirp ? 0 : -ENOMEM;
}

static int add_forward(struct user *u, const struct user_forward *f, struct err *err)
{
	const struct in_addr guest = { .s_addr = 0 }; /* whoever DHCP's first address is given to */
	char host[INET_ADDRSTRLEN] = "?";
	int error;

	if (!slirp_add_hostfwd(u->slirp, f->udp, f->host, f->host_port, guest, f->guest_port))
		return 0;
	error = errno ?: EINVAL;
	inet_ntop(AF_INET, &f->host, host, sizeof(host));
	return err_set(err, -error, "forward=%s:%s:%u:%u: %s%s", f->udp ? "udp" : "tcp", host,
		       f->host_port, f->guest_port, strerror(error),
		       error == EACCES ? "; ports below 1024 are root's" : "");
}

int user_open(const struct user_config *cfg, struct net **out, struct err *err)
{
	struct user *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return err_set(err, -ENOMEM, "out of memory");
	u->net = (struct net){
		.ops = &user_ops,
		.max_queues = 1,
		.mtu = cfg->mtu ?: USER_MTU,
	};
	u->clock = u->test_clock = cfg->clock;
	u->slot = u->net.mtu + NET_MIN_FRAME + VLAN_LEN;
	ret = user_sockets_init(&u->sockets);
	if (ret) {
		free(u);
		return err_set(err, ret, "no epoll for its sockets: %s", strerror(-ret));
	}
	u->ring = malloc(USER_RING * u->slot);
	ret = u->ring ? start_slirp(u, cfg) : -ENOMEM;
	if (ret)
		err_set(err, ret, "libslirp does not start: %s", strerror(-ret));
	for (unsigned i = 0; !ret && i < cfg->nr_forwards; i++)
		ret = add_forward(u, &cfg->forwards[i], err);
	if (ret)
		user_destroy(&u->net);
	else
		*out = &u->net;
	return ret;
}
