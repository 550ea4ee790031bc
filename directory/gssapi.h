/* SPDX-License-Identifier: Apache-2.0 */
/* The SASL mechanism GSSAPI (RFC 4752), with Kerberos: proves who we are and who the server is, and
 * encrypts what TLS does not. */
#pragma once

#include "directory/server.h"

struct gssapi_request {
	const char *host; /* of the server's URL; its Kerberos name is ldap/HOST */
	const char *principal, *keytab;
	bool tls; /* it is protected already: encrypted twice is what no controller takes */
};
HR_MUST_USE enum hr_status gssapi_bind(struct server *server, const struct gssapi_request *request,
				       struct hr_err *err);
