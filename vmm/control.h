/* SPDX-License-Identifier: MIT */
/*
 * The control socket of a running machine, and those who talk to it.
 *
 * A Unix stream socket NAME.sock, mode 0600, in $XDG_RUNTIME_DIR/bantam, or in
 * /run/bantam for root without that variable. A client writes one JSON object a line,
 *	{"verb": "exits", "args": {...}}
 * and reads one line for each, in order,
 *	{"ok": true, "result": ...} or {"ok": false, "error": "one line"}.
 * A request is at most CONTROL_MAX_REQUEST bytes, the next is read when its answer has been
 * taken: a client that does not read keeps only itself waiting. One that sends garbage gets an
 * error line and is closed.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include "base/err.h"
#include "base/loop.h"
#include "base/util.h"

#define CONTROL_MAX_REQUEST 65536
#define CONTROL_MAX_CLIENTS 16
#define CONTROL_NAME_MAX 63

struct cJSON;

/*
 * A verb of the server: args is an object (perhaps empty) that the caller keeps. Puts
 * its answer into *result (NULL: null) and returns 0, or -errno with one line in err.
 * On the server's thread, one at a time.
 */
struct control_verb {
	const char *name;
	int (*fn)(void *ctx, const struct cJSON *args, struct cJSON **result, struct err *err);
};

struct control;

/* True for a name that may be: 1 to CONTROL_NAME_MAX letters, digits, '.', '_', '-', not '.' first. */
bool control_name_ok(const char *name);

/*
 * Makes the folder and the socket and serves it on loop's thread. A socket of that name which
 * nobody answers is removed; one that is answered is -EADDRINUSE with one line. The verbs
 * stay the caller's. 0 or -errno.
 */
int control_serve(struct loop *loop, const char *name, const struct control_verb *verbs,
		  size_t nr_verbs, void *ctx, struct control **out, struct err *err) __must_check;

/* Removes the socket, drops every client. The loop no longer runs, or this is its thread. Harmless on NULL. */
void control_destroy(struct control *c);

/* --- clients: main thread, blocking -------------------------------------------- */

struct control_client;

/*
 * Connects to the machine of that name; NULL: to the only one there is. err's line says
 * when there is no such machine (and which there are), or several. 0 or -errno.
 */
int control_connect(const char *name, struct control_client **out, struct err *err) __must_check;
const char *control_client_name(const struct control_client *c);

/*
 * One request, one answer. args may be NULL and stays the caller's; *result is the caller's to delete, NULL
 * for null. 0, or -errno with the machine's (or our) line: -EPROTO for nonsense, -EPIPE where it has ended,
 * -ETIMEDOUT after timeout_ms.
 */
int control_call(struct control_client *c, const char *verb, const struct cJSON *args,
		 int timeout_ms, struct cJSON **result, struct err *err) __must_check;
void control_close(struct control_client *c);

/* Calls fn with each machine's name that answers; stale sockets are removed. 0 or -errno. */
int control_list(void (*fn)(void *ctx, const char *name), void *ctx, struct err *err) __must_check;

#endif
