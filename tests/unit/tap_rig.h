/* SPDX-License-Identifier: MIT */
/*
 * A network namespace of the test's own, with taps whose other end is a packet socket. What cannot be
 * made there fails the test.
 */
#ifndef TESTS_UNIT_TAP_RIG_H
#define TESTS_UNIT_TAP_RIG_H

#include "backends/net/tap.h"
#include "tests/unit/net_host.h"

#define TAP_RIG_NAME "tap-test"
#define TAP_RIG_WAIT 2000 /* ms; only ever waited for when something is wrong */
#define TAP_RIG_TYPE 0x88b5 /* IEEE's for experiments: nothing but our frames has it */

/* For main(), before any test: false where there is no right to all this, which is said in TAP then. */
bool tap_rig_enter(void);

bool tap_rig_is_there(const char *name);

/* A descriptor of a tap, made with those IFF_ flags, as another program would open it. */
int tap_rig_open_fd(const char *name, int flags);

/* As tap_open(). */
struct net *tap_rig_open(const struct tap_config *cfg);

/* The other end: frames of that type, with the header of virtio before each or without. */
int tap_rig_packet(const char *name, uint16_t type, bool header);

/* A frame of TAP_RIG_TYPE to everybody, with a pattern by its seed. Its length: len. */
size_t tap_rig_frame(uint8_t *frame, size_t len, uint8_t seed);

/* The next frame of TAP_RIG_TYPE: the kernel itself says one thing and another on a new interface. */
const struct net_host_frame *tap_rig_take(struct net_host *h);

#endif
