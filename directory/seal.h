/* SPDX-License-Identifier: Apache-2.0 */
/* A layer in libldap's stack of socket layers in which Kerberos encrypts what TLS does not: the
 * security layer of SASL GSSAPI (RFC 4752). */
#pragma once

#include "base/err.h"

#include <gssapi/gssapi.h>
#include <ldap.h>

enum { SEAL_MOST_BYTES = 1 << 20 }; /* the longest piece that is taken */

/* Puts the layer above all that `ld` has; `most_plain`: the longest piece that the server takes.
 * The context is taken, and is freed with the connection, or on failure. */
HR_MUST_USE enum hr_status seal_apply(LDAP *ld, gss_ctx_id_t context, OM_uint32 most_plain,
				      struct hr_err *err);
