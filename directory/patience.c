/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/patience.h"

#include <errno.h>

enum { LEVEL = (LBER_SBIOD_LEVEL_PROVIDER + LBER_SBIOD_LEVEL_TRANSPORT) / 2 };

/* Waits until the socket can be read or written, or there is an error to learn of. */
static bool wait_for(Sockbuf_IO_Desc *layer, short events)
{
	struct patience *patience = layer->sbiod_pvt;
	struct pollfd fds[2] = { { -1, events, 0 } };

	if (ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &fds[0].fd) != 1)
		return true; /* the next layer knows what is wrong */
	switch (stop_wait(patience->stop, fds, 1, patience->limit)) {
	case STOP_READY:
		return true;
	case STOP_TIMEOUT:
		patience->expired = true;
		break;
	case STOP_STOPPED:
		break;
	}
	errno = ECONNABORTED;
	return false;
}

static ber_slen_t layer_read(Sockbuf_IO_Desc *layer, void *data, ber_len_t len)
{
	return wait_for(layer, POLLIN) ? LBER_SBIOD_READ_NEXT(layer, data, len) : -1;
}

static ber_slen_t layer_write(Sockbuf_IO_Desc *layer, void *data, ber_len_t len)
{
	return wait_for(layer, POLLOUT) ? LBER_SBIOD_WRITE_NEXT(layer, data, len) : -1;
}

static int layer_ctrl(Sockbuf_IO_Desc *layer, int option, void *value)
{
	return LBER_SBIOD_CTRL_NEXT(layer, option, value);
}

static int layer_setup(Sockbuf_IO_Desc *layer, void *patience)
{
	layer->sbiod_pvt = patience;
	return 0;
}

static Sockbuf_IO layer_io = {
	.sbi_setup = layer_setup,
	.sbi_ctrl = layer_ctrl,
	.sbi_read = layer_read,
	.sbi_write = layer_write,
};

int patience_apply(struct patience *patience, LDAP *ld)
{
	Sockbuf *socket = NULL;

	if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &socket) != LDAP_OPT_SUCCESS || !socket)
		return LDAP_OPT_ERROR;
	ber_sockbuf_ctrl(socket, LBER_SB_OPT_SET_MAX_INCOMING, &patience->most_bytes);
	/* A directory sends each entry in a TLS record of its own, which GnuTLS reads in two
	 * pieces: reading ahead makes one call of a hundred. */
	if (ber_sockbuf_add_io(socket, &layer_io, LEVEL, patience) != 0 ||
	    ber_sockbuf_add_io(socket, &ber_sockbuf_io_readahead, LEVEL + 1, NULL) != 0)
		return LDAP_OPT_ERROR;
	return LDAP_OPT_SUCCESS;
}
