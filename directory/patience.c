/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/patience.h"

#include <errno.h>
#include <poll.h>

enum { TICK_MS = 250, LEVEL = (LBER_SBIOD_LEVEL_PROVIDER + LBER_SBIOD_LEVEL_TRANSPORT) / 2 };

/* Waits until there is something to read, or an end or an error to learn of. */
static bool wait_readable(struct patience *patience, int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };

	for (int waited = 0; waited < patience->limit_s * 1000; waited += TICK_MS) {
		if (atomic_load_explicit(patience->stop, memory_order_relaxed))
			return false;
		int ready = poll(&one, 1, TICK_MS);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return true;
	}
	patience->expired = true;
	return false;
}

static ber_slen_t layer_read(Sockbuf_IO_Desc *layer, void *data, ber_len_t len)
{
	ber_socket_t fd = -1;

	if (ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &fd) == 1 &&
	    !wait_readable(layer->sbiod_pvt, fd)) {
		errno = ECONNABORTED;
		return -1;
	}
	return LBER_SBIOD_READ_NEXT(layer, data, len);
}

static ber_slen_t layer_write(Sockbuf_IO_Desc *layer, void *data, ber_len_t len)
{
	return LBER_SBIOD_WRITE_NEXT(layer, data, len);
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

static int on_connected(LDAP *ld, Sockbuf *socket, LDAPURLDesc *url, struct sockaddr *address,
			struct ldap_conncb *callback)
{
	struct patience *patience = callback->lc_arg;
	ber_len_t most = (ber_len_t)patience->most_bytes;

	(void)ld;
	(void)url;
	(void)address;
	ber_sockbuf_ctrl(socket, LBER_SB_OPT_SET_MAX_INCOMING, &most);
	/* A directory sends each entry in a TLS record of its own, which GnuTLS reads in two
	 * pieces: reading ahead makes one call of a hundred. */
	return ber_sockbuf_add_io(socket, &layer_io, LEVEL, patience) != 0 ||
	       ber_sockbuf_add_io(socket, &ber_sockbuf_io_readahead, LEVEL + 1, NULL) != 0;
}

static void on_closing(LDAP *ld, Sockbuf *socket, struct ldap_conncb *callback)
{
	(void)ld;
	(void)socket;
	(void)callback;
}

int patience_apply(struct patience *patience, LDAP *ld)
{
	patience->callback = (struct ldap_conncb){ on_connected, on_closing, patience };
	return ldap_set_option(ld, LDAP_OPT_CONNECT_CB, &patience->callback);
}
