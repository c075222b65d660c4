/* SPDX-License-Identifier: MIT */
#include "backends/block/nbd_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
	{ "nbd_create", offsetof(struct nbd_lib, create) },
	{ "nbd_close", offsetof(struct nbd_lib, close) },
	{ "nbd_get_error", offsetof(struct nbd_lib, get_error) },
	{ "nbd_set_pread_initialize", offsetof(struct nbd_lib, set_pread_initialize) },
	{ "nbd_set_uri_allow_transports", offsetof(struct nbd_lib, set_uri_allow_transports) },
	{ "nbd_set_uri_allow_local_file", offsetof(struct nbd_lib, set_uri_allow_local_file) },
	{ "nbd_connect_uri", offsetof(struct nbd_lib, connect_uri) },
	{ "nbd_aio_connect_uri", offsetof(struct nbd_lib, aio_connect_uri) },
	{ "nbd_aio_disconnect", offsetof(struct nbd_lib, aio_disconnect) },
	{ "nbd_get_size", offsetof(struct nbd_lib, get_size) },
	{ "nbd_get_block_size", offsetof(struct nbd_lib, get_block_size) },
	{ "nbd_is_read_only", offsetof(struct nbd_lib, is_read_only) },
	{ "nbd_can_flush", offsetof(struct nbd_lib, can_flush) },
	{ "nbd_can_fua", offsetof(struct nbd_lib, can_fua) },
	{ "nbd_can_trim", offsetof(struct nbd_lib, can_trim) },
	{ "nbd_can_zero", offsetof(struct nbd_lib, can_zero) },
	{ "nbd_can_multi_conn", offsetof(struct nbd_lib, can_multi_conn) },
	{ "nbd_aio_pread", offsetof(struct nbd_lib, aio_pread) },
	{ "nbd_aio_pwrite", offsetof(struct nbd_lib, aio_pwrite) },
	{ "nbd_aio_flush", offsetof(struct nbd_lib, aio_flush) },
	{ "nbd_aio_trim", offsetof(struct nbd_lib, aio_trim) },
	{ "nbd_aio_zero", offsetof(struct nbd_lib, aio_zero) },
	{ "nbd_aio_get_fd", offsetof(struct nbd_lib, aio_get_fd) },
	{ "nbd_aio_get_direction", offsetof(struct nbd_lib, aio_get_direction) },
	{ "nbd_aio_notify_read", offsetof(struct nbd_lib, aio_notify_read) },
	{ "nbd_aio_notify_write", offsetof(struct nbd_lib, aio_notify_write) },
	{ "nbd_aio_is_ready", offsetof(struct nbd_lib, aio_is_ready) },
	{ "nbd_aio_is_processing", offsetof(struct nbd_lib, aio_is_processing) },
	{ "nbd_aio_is_dead", offsetof(struct nbd_lib, aio_is_dead) },
	{ "nbd_aio_is_closed", offsetof(struct nbd_lib, aio_is_closed) },
};

int nbd_lib_load(struct nbd_lib *lib, struct err *err)
{
	/* Its threads' own data have destructors: it cannot go before they have. */
	void *so = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!so)
		return err_set(err, -ENOPKG, "needs the library of the package libnbd0: %s",
			       dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		void *fn = dlsym(so, functions[i].name);

		if (!fn) {
			err_set(err, -ENOPKG, "needs a newer libnbd0, one with %s()",
				functions[i].name);
			dlclose(so);
			return -ENOPKG;
		}
		memcpy((char *)lib + functions[i].offset, &fn, sizeof(fn));
	}
	dlclose(so);
	return 0;
}
