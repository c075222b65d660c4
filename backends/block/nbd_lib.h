/* SPDX-License-Identifier: MIT */
/*
 * libnbd, loaded when the first disk asks for it: with gnutls and libxml2 behind it it is
 * megabytes that other machines do without. Private to nbd*.c; the names are libnbd's.
 */
#ifndef BACKENDS_BLOCK_NBD_LIB_H
#define BACKENDS_BLOCK_NBD_LIB_H

#include <libnbd.h>

#include "base/err.h"

struct nbd_lib {
	__typeof__(nbd_create) *create;
	__typeof__(nbd_close) *close;
	__typeof__(nbd_get_error) *get_error;
	__typeof__(nbd_set_pread_initialize) *set_pread_initialize;
	__typeof__(nbd_set_uri_allow_transports) *set_uri_allow_transports;
	__typeof__(nbd_set_uri_allow_local_file) *set_uri_allow_local_file;
	__typeof__(nbd_connect_uri) *connect_uri;
	__typeof__(nbd_aio_connect_uri) *aio_connect_uri;
	__typeof__(nbd_aio_disconnect) *aio_disconnect;
	__typeof__(nbd_get_size) *get_size;
	__typeof__(nbd_get_block_size) *get_block_size;
	__typeof__(nbd_is_read_only) *is_read_only;
	__typeof__(nbd_can_flush) *can_flush;
	__typeof__(nbd_can_fua) *can_fua;
	__typeof__(nbd_can_trim) *can_trim;
	__typeof__(nbd_can_zero) *can_zero;
	__typeof__(nbd_can_multi_conn) *can_multi_conn;
	__typeof__(nbd_aio_pread) *aio_pread;
	__typeof__(nbd_aio_pwrite) *aio_pwrite;
	__typeof__(nbd_aio_flush) *aio_flush;
	__typeof__(nbd_aio_trim) *aio_trim;
	__typeof__(nbd_aio_zero) *aio_zero;
	__typeof__(nbd_aio_get_fd) *aio_get_fd;
	__typeof__(nbd_aio_get_direction) *aio_get_direction;
	__typeof__(nbd_aio_notify_read) *aio_notify_read;
	__typeof__(nbd_aio_notify_write) *aio_notify_write;
	__typeof__(nbd_aio_is_ready) *aio_is_ready;
	__typeof__(nbd_aio_is_processing) *aio_is_processing;
	__typeof__(nbd_aio_is_dead) *aio_is_dead;
	__typeof__(nbd_aio_is_closed) *aio_is_closed;
};

/* It stays loaded. 0, or -errno with a line in err that names what to install. */
int nbd_lib_load(struct nbd_lib *lib, struct err *err) __must_check;

#endif
