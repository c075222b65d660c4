/* SPDX-License-Identifier: MIT */
/*
 * A machine with the console on standard input and output: a forked process that has one end of a
 * terminal or a pipe as its 0 and 1, and a guest behind its console. What cannot be made fails the
 * test; a test that fails leaves no process behind.
 */
#ifndef TESTS_UNIT_STDIO_RIG_H
#define TESTS_UNIT_STDIO_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

#define SRIG_BIG (1u << 20)

enum srig_guest {
	GUEST_ECHO, /* sends back what it reads */
	GUEST_DEAF, /* never reads */
	GUEST_PRINT, /* sends SRIG_BIG bytes of pattern and is done */
	GUEST_FLOOD, /* never stops sending that */
	GUEST_SAY, /* sends one line, "said", and is done */
};

struct srig {
	pid_t pid;
	int master; /* of the terminal */
	int slave; /* kept open, to look at the settings */
	struct termios before;
};

/* For main(): processes that a dead machine leaves are ours to wait for, and writing to it is no crash. */
void srig_init(void);

/* A machine with in and out as its 0 and 1; returns when its console is set up. */
pid_t srig_start(enum srig_guest guest, int in, int out);
/* Waits for its end: 0, the errno of a console that could not be made, or 1000 and a signal. */
int srig_status(pid_t pid);
/* Ends it, which gives it no chance. */
void srig_kill(pid_t pid);
/* Its child, the process that watches the terminal; 0: it has none. */
pid_t srig_watcher(pid_t pid);

/* A terminal that has something of its own to restore; without a machine yet, or with one. */
struct srig srig_terminal(void);
struct srig srig_on_terminal(enum srig_guest guest);
void srig_close(struct srig *r);

void srig_type(const struct srig *r, const char *s);
/* Types what ends the machine: it ends well, and gives the terminal back. */
void srig_quit(const struct srig *r);
bool srig_is_raw(const struct srig *r);
bool srig_is_restored(const struct srig *r);
bool srig_same(const struct termios *a, const struct termios *b);
bool srig_within_2s(bool (*is)(const struct srig *), const struct srig *r);

/* Reads until want came by; false when nothing more comes. */
bool srig_see(int fd, const char *want);

/* The pattern that guests send, from its byte at on: no escape key, and nothing that a terminal changes. */
void srig_fill(uint8_t *buf, size_t len, size_t at);
void srig_check(const uint8_t *buf, size_t len, size_t at);

void srig_sleep_us(unsigned us);

#endif
