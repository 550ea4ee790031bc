/* SPDX-License-Identifier: Apache-2.0 */
/* A layer in libldap's stack of socket layers, below TLS, that bounds each wait for the directory's
 * bytes. libldap itself waits without end where GnuTLS does: a server that takes the connection and
 * then says nothing would hold a thread for ever, and the daemon could not end. */
#pragma once

#include "directory/stop.h"

#include <ldap.h>

struct patience {
	const struct stop *stop; /* ends every wait at once */
	msec limit;		 /* the longest wait */
	ber_len_t most_bytes;	 /* the longest message that is taken */
	bool expired;		 /* out: a wait has ended at the limit */
};

/* Puts the layer into the connection that `ld` has. *patience must outlive it. */
int patience_apply(struct patience *patience, LDAP *ld); /* LDAP_OPT_SUCCESS or not */
