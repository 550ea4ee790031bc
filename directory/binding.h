/* SPDX-License-Identifier: Apache-2.0 */
/* What binds a login to the TLS connection that it goes over, so that nobody in between can pass it
 * on: tls-server-end-point (RFC 5929, 4), a hash of the server's certificate. Controllers of Active
 * Directory may demand it of Kerberos (LdapEnforceChannelBinding). Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* Adds the binding of a certificate, in DER, to `out`. HR_NONE: its signature has no hash that the
 * binding could use, so there is none. HR_FAIL: it is no certificate. */
HR_MUST_USE enum hr_status binding_add(struct slice certificate, struct buf *out,
				       struct hr_err *err);
