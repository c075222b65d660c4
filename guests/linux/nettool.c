/* SPDX-License-Identifier: MIT */
/*
 * What the tests do to a network, at both of its ends:
 *
 *	nettool serve PORT			be the other end of what follows, for ever
 *	nettool HOST PORT up|down BYTES		a TCP stream there, or from there
 *	nettool HOST PORT udp-up|udp-down BYTES [SIZE]
 *						datagrams of up to SIZE bytes (1472)
 *	nettool HOST PORT blast			datagrams that nobody waits for, for ever
 *
 * Every word of a stream follows from its place in it and every word of a datagram from the
 * datagram's number, and whoever receives looks at each: what TCP's checksum has been made to fit,
 * or has not been looked at, is found as well. Datagrams may be lost, but not be changed.
 *
 * A transfer is told to the server by a TCP connection, by which it gives its verdict, too; its
 * datagrams have the same port. Prints one line; exit status 1 if what came is not what was sent.
 * At SIGTERM a stream ends where it is.
 *
 * Linked statically, it runs in an initramfs without a C library.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WORD sizeof(uint64_t)
#define BLOCK (128u << 10)
#define MAX_DATAGRAM 65507u
#define DEFAULT_DATAGRAM 1472u
#define QUIET_MS 500 /* after which no more datagrams are on their way */
#define PATIENCE_S 60 /* after which nothing more will come of a transfer */
#define BURST 16384 /* bytes of datagrams, before the receiver has a moment */

enum { UP, DOWN, UDP_UP, UDP_DOWN, NR_KINDS };

static const char *const kinds[NR_KINDS] = { "up", "down", "udp-up", "udp-down" };

struct request {
	uint64_t kind, bytes, size, seed;
};

/* What the receiver has seen. */
struct verdict {
	uint64_t received; /* bytes of a stream, or datagrams */
	uint64_t bad; /* of these: bytes from the first wrong one on, or datagrams */
};

static volatile sig_atomic_t over;

static void end(int signal)
{
	(void)signal;
	over = 1;
}

static int fail(const char *what)
{
	fprintf(stderr, "nettool: %s: %s\n", what, strerror(errno));
	return 1;
}

static uint64_t word_at(uint64_t seed, uint64_t index)
{
	uint64_t x = (seed + index) * 0x9e3779b97f4a7c15ull;

	return x ^ x >> 29;
}

static void fill(uint64_t *words, size_t bytes, uint64_t seed, uint64_t index)
{
	for (size_t i = 0; i < bytes / WORD; i++)
		words[i] = word_at(seed, index + i);
}

/* How many of the bytes, a multiple of a word's, are as fill() would have them. */
static size_t good_bytes(const uint64_t *words, size_t bytes, uint64_t seed, uint64_t index)
{
	for (size_t i = 0; i < bytes / WORD; i++)
		if (words[i] != word_at(seed, index + i))
			return i * WORD;
	return bytes;
}

static bool write_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;

	while (bytes) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		bytes -= (size_t)n;
	}
	return true;
}

static bool read_all(int fd, void *data, size_t bytes)
{
	return recv(fd, data, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

/* --- a stream ------------------------------------------------------------------- */

static bool send_stream(int fd, const struct request *r)
{
	static uint64_t block[BLOCK / WORD];

	for (uint64_t at = 0; at < r->bytes && !over; at += BLOCK) {
		size_t n = r->bytes - at < BLOCK ? r->bytes - at : BLOCK;

		fill(block, n, r->seed, at / WORD);
		if (!write_all(fd, block, n))
			return false;
	}
	return !over || !shutdown(fd, SHUT_WR);
}

/* To its end, or as far as it comes. */
static void receive_stream(int fd, const struct request *r, struct verdict *v)
{
	static uint64_t block[BLOCK / WORD];

	*v = (struct verdict){ 0 };
	while (v->received < r->bytes && !over) {
		uint64_t left = r->bytes - v->received;
		ssize_t n = recv(fd, block, left < BLOCK ? left : BLOCK, MSG_WAITALL);
		size_t good;

		if (n <= 0)
			return;
		good = good_bytes(block, (size_t)n, r->seed, v->received / WORD);
		v->received += (uint64_t)n;
		if (v->bad)
			v->bad += (uint64_t)n;
		else
			v->bad = (uint64_t)n - good;
	}
}

/* --- datagrams ------------------------------------------------------------------ */

/* Each length that a datagram of up to r->size bytes can have, in words, comes about as often. */
static size_t datagram_size(const struct request *r, uint64_t number)
{
	uint64_t words = r->size / WORD;

	return (1 + number * 7919 % words) * WORD;
}

static uint64_t nr_datagrams(const struct request *r)
{
	return r->bytes / ((r->size / WORD + 1) / 2 * WORD) + 1;
}

/* The receiver waits by fd for it to say that this is all. */
static bool send_datagrams(int udp, int fd, const struct request *r)
{
	static uint64_t data[MAX_DATAGRAM / WORD];
	const struct timespec moment = { .tv_nsec = 200000 };
	size_t burst = 0;
	char end = 'e';

	for (uint64_t i = 0; i < nr_datagrams(r); i++) {
		size_t n = datagram_size(r, i);

		data[0] = i;
		fill(data + 1, n - WORD, r->seed, i << 16);
		/* A queue that is full loses it, as a network does. */
		if (send(udp, data, n, 0) < 0 && errno != ENOBUFS && errno != ECONNREFUSED)
			return false;
		burst += n;
		if (burst > BURST) {
			nanosleep(&moment, NULL);
			burst = 0;
		}
	}
	return write_all(fd, &end, 1);
}

static bool good_datagram(const uint64_t *data, ssize_t n, const struct request *r)
{
	if (n < (ssize_t)WORD || data[0] >= nr_datagrams(r) ||
	    (size_t)n != datagram_size(r, data[0]))
		return false;
	return good_bytes(data + 1, (size_t)n - WORD, r->seed, data[0] << 16) == (size_t)n - WORD;
}

static void receive_datagrams(int udp, int fd, const struct request *r, struct verdict *v)
{
	static uint64_t data[(MAX_DATAGRAM + 1) / WORD];
	struct pollfd fds[] = { { .fd = udp, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	int patience = PATIENCE_S * 1000;
	char end;

	*v = (struct verdict){ 0 };
	while (poll(fds, 2, patience) > 0) {
		ssize_t n = recv(udp, data, sizeof(data), MSG_DONTWAIT);

		if (n >= 0) {
			v->received++;
			v->bad += !good_datagram(data, n, r);
		} else if (fds[1].revents) {
			if (!read_all(fd, &end, 1))
				return;
			fds[1].fd = -1;
			patience = QUIET_MS;
		}
	}
}

/* --- both ends ------------------------------------------------------------------ */

static int make_socket(int type)
{
	const int one = 1, large = 4 << 20;
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (type == SOCK_DGRAM)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof(large));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

static int listen_at(int type, uint16_t port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = make_socket(type);

	if (fd >= 0 && (bind(fd, (const struct sockaddr *)&at, sizeof(at)) ||
			(type == SOCK_STREAM && listen(fd, 16)))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Whoever says something first is the other end. */
static bool meet(int udp)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	char hello;

	return recvfrom(udp, &hello, 1, 0, (struct sockaddr *)&peer, &len) == 1 &&
	       !connect(udp, (const struct sockaddr *)&peer, len);
}

static bool serve_datagrams(int fd, const struct request *r, uint16_t port, struct verdict *v)
{
	int udp = listen_at(SOCK_DGRAM, port);
	char ready = 'r';
	bool good;

	if (udp < 0)
		return false;
	good = write_all(fd, &ready, 1);
	if (good && r->kind == UDP_UP)
		receive_datagrams(udp, fd, r, v);
	else if (good)
		good = meet(udp) && send_datagrams(udp, fd, r);
	close(udp);
	return good;
}

static void serve_one(int fd, uint16_t port)
{
	struct request r;
	struct verdict v = { 0 };
	bool good;

	if (!read_all(fd, &r, sizeof(r)) || r.kind >= NR_KINDS || r.size < WORD ||
	    r.size > MAX_DATAGRAM)
		return;
	if (r.kind == UP)
		receive_stream(fd, &r, &v);
	good = r.kind == UP || (r.kind == DOWN && send_stream(fd, &r)) ||
	       (r.kind >= UDP_UP && serve_datagrams(fd, &r, port, &v));
	if (good && (r.kind == UP || r.kind == UDP_UP))
		(void)!write_all(fd, &v, sizeof(v));
}

static int serve(uint16_t port)
{
	int listener = listen_at(SOCK_STREAM, port);

	if (listener < 0)
		return fail("serve");
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN)
				continue;
			return fail("accept");
		}
		if (!fork()) {
			serve_one(fd, port);
			_exit(0);
		}
		close(fd);
	}
}

/* The client's part of a transfer; false: the connection broke. */
static bool transfer(int fd, const struct sockaddr_in *to, const struct request *r,
		     struct verdict *v)
{
	bool good = false;
	int udp = -1;
	char ready;

	if (!write_all(fd, r, sizeof(*r)))
		return false;
	if (r->kind >= UDP_UP) {
		udp = make_socket(SOCK_DGRAM);
		if (udp < 0 || connect(udp, (const struct sockaddr *)to, sizeof(*to)) ||
		    !read_all(fd, &ready, 1))
			goto out;
	}
	switch (r->kind) {
	case UP:
		good = send_stream(fd, r) && read_all(fd, v, sizeof(*v));
		break;
	case DOWN:
		receive_stream(fd, r, v);
		good = true;
		break;
	case UDP_UP:
		good = send_datagrams(udp, fd, r) && read_all(fd, v, sizeof(*v));
		break;
	case UDP_DOWN:
		good = send(udp, "h", 1, 0) == 1;
		if (good)
			receive_datagrams(udp, fd, r, v);
		break;
	}
out:
	if (udp >= 0)
		close(udp);
	return good;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int run(const struct sockaddr_in *to, const struct request *r)
{
	const struct sigaction ending = { .sa_handler = end }; /* it interrupts what waits */
	struct verdict v = { 0 };
	int fd = make_socket(SOCK_STREAM);
	bool datagrams = r->kind >= UDP_UP;
	double since;

	sigaction(SIGTERM, &ending, NULL);
	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		return fail("connect");
	since = seconds();
	if (!transfer(fd, to, r, &v))
		return fail(kinds[r->kind]);
	since = seconds() - since;
	close(fd);
	if (datagrams)
		printf("%s datagrams=%llu received=%llu bad=%llu\n", kinds[r->kind],
		       (unsigned long long)nr_datagrams(r), (unsigned long long)v.received,
		       (unsigned long long)v.bad);
	else
		printf("%s bytes=%llu received=%llu bad=%llu mbit=%.0f\n", kinds[r->kind],
		       (unsigned long long)r->bytes, (unsigned long long)v.received,
		       (unsigned long long)v.bad, (double)v.received * 8 / 1e6 / since);
	return v.bad || !v.received || (!datagrams && !over && v.received != r->bytes);
}

static int blast(const struct sockaddr_in *to)
{
	static uint64_t data[DEFAULT_DATAGRAM / WORD];
	const struct timespec moment = { .tv_nsec = 1000000 };
	int udp = make_socket(SOCK_DGRAM);

	if (udp < 0)
		return fail("socket");
	for (;;) {
		/* There may be no network at the moment. */
		for (unsigned i = 0; i < BURST / sizeof(data); i++)
			(void)!sendto(udp, data, sizeof(data), MSG_DONTWAIT,
				      (const struct sockaddr *)to, sizeof(*to));
		nanosleep(&moment, NULL);
	}
}

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || *value > max) {
		fprintf(stderr, "nettool: not a number up to %llu: %s\n", (unsigned long long)max,
			text);
		return false;
	}
	return true;
}

static int usage(void)
{
	fprintf(stderr, "usage: nettool serve PORT\n"
			"       nettool HOST PORT up|down|udp-up|udp-down BYTES [SIZE]\n"
			"       nettool HOST PORT blast\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct request r = { .size = DEFAULT_DATAGRAM, .seed = (uint64_t)time(NULL) };
	uint64_t port;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		return parse_number(argv[2], UINT16_MAX, &port) ? serve((uint16_t)port) : 2;
	if (argc < 4 || argc > 6 || !inet_aton(argv[1], &to.sin_addr))
		return usage();
	if (!parse_number(argv[2], UINT16_MAX, &port))
		return 2;
	to.sin_port = htons((uint16_t)port);
	if (argc == 4)
		return strcmp(argv[3], "blast") ? usage() : blast(&to);
	while (r.kind < NR_KINDS && strcmp(argv[3], kinds[r.kind]))
		r.kind++;
	if (r.kind == NR_KINDS)
		return usage();
	if (!parse_number(argv[4], UINT64_MAX, &r.bytes) ||
	    (argc == 6 && !parse_number(argv[5], MAX_DATAGRAM, &r.size)))
		return 2;
	if (r.size < WORD || r.bytes % WORD)
		return usage();
	return run(&to, &r);
}
