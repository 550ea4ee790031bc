/* SPDX-License-Identifier: Apache-2.0 */
/* The SASL mechanism GSSAPI (RFC 4752), with Kerberos: proves who we are and who the server is, and
 * encrypts what TLS does not. */
#pragma once

#include "directory/server.h"

/* `host`: of the server's URL; its Kerberos name is ldap/HOST. `tls`: the connection is protected,
 * and nothing is encrypted twice, which no controller takes. */
HR_MUST_USE enum hr_status gssapi_bind(struct server *server, const char *host,
				       const char *principal, const char *keytab, bool tls,
				       struct hr_err *err);
