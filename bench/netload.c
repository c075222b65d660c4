/* SPDX-License-Identifier: MIT */
/*
 * Traffic between a guest and its host, and what it came to:
 *
 *	netload serve				in the guest: says "netload: ready" and serves
 *						one client after the other
 *	netload run ADDRESS KIND in|out MS [INTERVAL]	on the host: prints "RATE P50 P99"
 *
 *	stream		one TCP connection, writes of 128 KiB; Mbit/s
 *	packets		UDP, 64 bytes each; those that arrived a second
 *	tcp, udp	64 bytes there and back, and then the next ones; round trips a second, and
 *			median and 99th percentile of their times in microseconds
 *	ping		the same by ICMP, which the other side's kernel answers
 *
 * in: to the guest, or started by the host; out: the other way, which tcp and ping do not have. With
 * an INTERVAL in microseconds there is a round trip that often only. Streams and packets are counted
 * and timed by who receives them.
 *
 * A TCP connection carries what is asked for, tcp's and stream's data, and the end: the active side,
 * which sends or waits for answers, closes its half; the passive one then has seen it all. Linked statically,
 * it runs in an initramfs without a C library.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 5300
#define CHUNK (128 << 10)
#define PACKET 64
#define BATCH 32 /* packets for a system call */
#define MAX_SAMPLES (1u << 20)
#define QUIET_US 50000 /* nothing for so long: a look whether that was the end */
#define LOST_US 1000000

enum kind { STREAM, PACKETS, TCP, UDP, PING, NR_KINDS };

static const char *const kind_names[NR_KINDS] = { "stream", "packets", "tcp", "udp", "ping" };

struct request {
	uint32_t kind;
	uint32_t out;
	uint32_t ms;
	uint32_t interval; /* us */
};

struct result {
	double rate, p50, p99;
};

/* One side of a measurement; data is the control connection for TCP. */
struct side {
	int control, data;
	struct request req;
	struct result result;
};

static char chunk[CHUNK];
static uint32_t samples[MAX_SAMPLES]; /* ns */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static double per_second(double count, uint64_t ns)
{
	return ns ? count * 1e9 / (double)ns : 0;
}

static void set_timeout(int fd, unsigned us)
{
	struct timeval tv = { us / 1000000, us % 1000000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

static bool ended(const struct side *s)
{
	char c;

	return recv(s->control, &c, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno != EAGAIN;
}

static int send_stream(struct side *s)
{
	uint64_t end = now_ns() + s->req.ms * 1000000ull;

	while (now_ns() < end)
		if (write(s->data, chunk, CHUNK) < 0)
			return -1;
	return 0;
}

static int receive_stream(struct side *s)
{
	uint64_t bytes = 0, first = 0, last = 0;
	ssize_t n;

	while ((n = read(s->data, chunk, CHUNK)) > 0) {
		last = now_ns();
		if (first)
			bytes += (uint64_t)n;
		else
			first = last;
	}
	s->result.rate = per_second((double)bytes * 8 / 1e6, last - first);
	return (int)n;
}

static void batch(struct mmsghdr *msgs, struct iovec *iovs)
{
	memset(msgs, 0, BATCH * sizeof(*msgs));
	for (unsigned i = 0; i < BATCH; i++) {
		iovs[i] = (struct iovec){ chunk + (size_t)i * PACKET, PACKET };
		msgs[i].msg_hdr.msg_iov = &iovs[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
}

static int send_packets(struct side *s)
{
	uint64_t end = now_ns() + s->req.ms * 1000000ull;
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];

	batch(msgs, iovs);
	while (now_ns() < end)
		if (sendmmsg(s->data, msgs, BATCH, 0) < 0 && errno != ENOBUFS)
			return -1;
	return 0;
}

static int receive_packets(struct side *s)
{
	uint64_t packets = 0, first = 0, last = 0;
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];

	batch(msgs, iovs);
	set_timeout(s->data, QUIET_US);
	for (;;) {
		int n = recvmmsg(s->data, msgs, BATCH, MSG_WAITFORONE, NULL);

		if (n < 0 && errno != EAGAIN)
			return -1;
		if (n < 0 && ended(s))
			break;
		if (n < 0)
			continue;
		last = now_ns();
		if (first)
			packets += (uint64_t)n;
		else
			first = last;
	}
	s->result.rate = per_second((double)packets, last - first);
	return 0;
}

/* One's own answer, and no other's. */
static ssize_t await_ping(int fd, uint16_t number)
{
	struct {
		struct iphdr ip;
		struct icmphdr icmp;
		char data[PACKET];
	} answer;
	ssize_t n;

	do
		n = recv(fd, &answer, sizeof(answer), 0);
	while (n >= 0 &&
	       (answer.icmp.type != ICMP_ECHOREPLY || answer.icmp.un.echo.sequence != number));
	return n;
}

static ssize_t ping(int fd, uint16_t number)
{
	const struct icmphdr icmp = { .type = ICMP_ECHO, .un.echo = { PORT, number } };
	uint16_t words[PACKET / 2] = { 0 };
	uint32_t sum = 0;

	memcpy(words, &icmp, sizeof(icmp));
	for (size_t i = 0; i < PACKET / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	words[offsetof(struct icmphdr, checksum) / 2] = (uint16_t)~sum;
	if (send(fd, words, sizeof(words), 0) < 0)
		return -1;
	return await_ping(fd, number);
}

/* An answer to one that counts as lost is passed over. */
static ssize_t exchange(const struct side *s, uint32_t number)
{
	ssize_t n;

	if (s->req.kind == PING)
		return ping(s->data, (uint16_t)number);
	memcpy(chunk, &number, sizeof(number));
	if (send(s->data, chunk, PACKET, 0) < 0)
		return -1;
	do
		n = recv(s->data, chunk, PACKET, MSG_WAITALL);
	while (n > 0 && memcmp(chunk, &number, sizeof(number)));
	return n;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* A lost datagram costs its time and is no sample. */
static int make_trips(struct side *s)
{
	uint64_t begin = now_ns(), end = begin + s->req.ms * 1000000ull, at;
	uint32_t n = 0, number = 0, p50, p99;

	set_timeout(s->data, LOST_US);
	for (at = begin; at < end && n < MAX_SAMPLES; at = now_ns()) {
		ssize_t got = exchange(s, number++);

		if (got < 0 && errno != EAGAIN)
			return -1;
		if (got > 0)
			samples[n++] = (uint32_t)(now_ns() - at);
		if (s->req.interval)
			sleep_until(at + s->req.interval * 1000ull);
	}
	qsort(samples, n, sizeof(*samples), by_size);
	p50 = samples[n / 2];
	p99 = samples[n * 99ull / 100];
	s->result = (struct result){ per_second(n, at - begin), p50 / 1e3, p99 / 1e3 };
	return 0;
}

static int echo(struct side *s)
{
	ssize_t n;

	if (s->data != s->control)
		set_timeout(s->data, QUIET_US);
	while ((n = recv(s->data, chunk, PACKET, 0))) {
		if (n < 0 && (errno != EAGAIN || ended(s)))
			break;
		if (n > 0 && send(s->data, chunk, (size_t)n, 0) < 0)
			return -1;
	}
	return n < 0 && errno != EAGAIN ? -1 : 0;
}

static int act(struct side *s)
{
	switch (s->req.kind) {
	case STREAM:
		return send_stream(s);
	case PACKETS:
		return send_packets(s);
	default:
		return make_trips(s);
	}
}

static int answer(struct side *s)
{
	switch (s->req.kind) {
	case STREAM:
		return receive_stream(s);
	case PACKETS:
		return receive_packets(s);
	default:
		return echo(s);
	}
}

static bool host_measures(const struct request *req)
{
	return req->kind == STREAM || req->kind == PACKETS ? req->out : !req->out;
}

static bool by_datagrams(const struct side *s)
{
	return s->req.kind == PACKETS || s->req.kind == UDP;
}

static int open_socket(int type, int protocol, const struct sockaddr_in *at, bool ours)
{
	int fd = socket(AF_INET, type, protocol), on = 1;

	if (type == SOCK_STREAM) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	if (ours ? bind(fd, (const void *)at, sizeof(*at))
		 : connect(fd, (const void *)at, sizeof(*at))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* --- the guest's side --------------------------------------------------------------------- */

/* The datagrams are exchanged with who has sent the first one, and was told that it arrived. */
static int meet(struct side *s, const struct sockaddr_in *here)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	char c;

	s->data = open_socket(SOCK_DGRAM, 0, here, true);
	if (s->data < 0)
		return -1;
	set_timeout(s->data, LOST_US);
	if (send(s->control, "?", 1, 0) < 0 ||
	    recvfrom(s->data, &c, 1, 0, (void *)&peer, &len) < 0 ||
	    connect(s->data, (void *)&peer, len) || send(s->control, "!", 1, 0) < 0)
		return -1;
	return 0;
}

static void serve_one(struct side *s, const struct sockaddr_in *here)
{
	if (recv(s->control, &s->req, sizeof(s->req), MSG_WAITALL) != sizeof(s->req))
		return;
	s->data = s->control;
	if (by_datagrams(s) && meet(s, here))
		return;
	if (!(s->req.out ? act(s) : answer(s)) && !host_measures(&s->req))
		(void)!send(s->control, &s->result, sizeof(s->result), 0);
}

static int serve(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int listener = open_socket(SOCK_STREAM, 0, &here, true), on = 1;

	if (listener < 0 || listen(listener, 4))
		return 1;
	puts("netload: ready");
	fflush(stdout);
	for (;;) {
		struct side s = { .control = accept(listener, NULL, NULL), .data = -1 };

		setsockopt(s.control, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		serve_one(&s, &here);
		if (s.data != s.control)
			close(s.data);
		close(s.control);
	}
}

/* --- the host's side ---------------------------------------------------------------------- */

static int join(struct side *s, const struct sockaddr_in *there)
{
	char c;

	s->control = s->data = open_socket(SOCK_STREAM, 0, there, false);
	if (s->control < 0 || send(s->control, &s->req, sizeof(s->req), 0) < 0)
		return -1;
	if (!by_datagrams(s))
		return 0;
	s->data = open_socket(SOCK_DGRAM, 0, there, false);
	if (s->data < 0 || recv(s->control, &c, 1, 0) != 1 || send(s->data, &c, 1, 0) < 0 ||
	    recv(s->control, &c, 1, 0) != 1)
		return -1;
	return 0;
}

static int run(struct side *s, const struct sockaddr_in *there)
{
	ssize_t n;

	if (s->req.kind == PING) {
		s->data = open_socket(SOCK_RAW, IPPROTO_ICMP, there, false);
		return s->data < 0 ? -1 : make_trips(s);
	}
	if (join(s, there) || (s->req.out ? answer(s) : act(s)) || shutdown(s->control, SHUT_WR))
		return -1;
	n = sizeof(s->result);
	if (!host_measures(&s->req))
		n = recv(s->control, &s->result, sizeof(s->result), MSG_WAITALL);
	return n == sizeof(s->result) ? 0 : -1;
}

static int usage(void)
{
	fputs("usage: netload serve | run ADDRESS stream|packets|tcp|udp|ping in|out MS "
	      "[INTERVAL]\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct side s = { .control = -1, .data = -1 };

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc < 6 || argc > 7 || strcmp(argv[1], "run") ||
	    inet_pton(AF_INET, argv[2], &there.sin_addr) != 1)
		return usage();
	while (s.req.kind < NR_KINDS && strcmp(argv[3], kind_names[s.req.kind]))
		s.req.kind++;
	s.req.out = !strcmp(argv[4], "out");
	s.req.ms = (uint32_t)strtoul(argv[5], NULL, 10);
	s.req.interval = argc == 7 ? (uint32_t)strtoul(argv[6], NULL, 10) : 0;
	if (s.req.kind == NR_KINDS || (s.req.out && (s.req.kind == TCP || s.req.kind == PING)))
		return usage();
	if (run(&s, &there)) {
		fprintf(stderr, "netload: %s: %s\n", argv[3], strerror(errno));
		return 1;
	}
	printf("%.1f %.1f %.1f\n", s.result.rate, s.result.p50, s.result.p99);
	return 0;
}
