/* SPDX-License-Identifier: Apache-2.0 */
/* A layer in libldap's stack of socket layers, below TLS, that bounds each wait for the directory's
 * bytes. libldap itself waits without end where GnuTLS does: a server that takes the connection and
 * then says nothing would hold a worker for ever, and the daemon could not end. */
#pragma once

#include <ldap.h>
#include <stdatomic.h>
#include <stdbool.h>

struct patience {
	const atomic_bool *stop; /* ends every wait within a fraction of a second */
	int limit_s;		 /* the longest wait */
	long most_bytes;	 /* the longest message that is taken */
	bool expired;		 /* out: a wait has ended at the limit */
	struct ldap_conncb callback;
};

/* Puts the layer into every connection that `ld` will make. *patience must outlive them. */
int patience_apply(struct patience *patience, LDAP *ld); /* LDAP_OPT_SUCCESS or not */
