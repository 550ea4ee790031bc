/* SPDX-License-Identifier: Apache-2.0 */
/* A Kerberos ticket (RFC 4120) from a keytab, in memory only. */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <gssapi/gssapi.h>

struct ticket;

/* Asks the realm's KDC, which krb5.conf(5) or DNS names, in the bounds that the library has.
 * HR_RETRY: no KDC answers. HR_FAIL: it refuses, or the keytab does not have the principal. */
HR_MUST_USE enum hr_status ticket_new(const char *principal, const char *keytab,
				      struct ticket **out, struct hr_err *err);
void ticket_free(struct ticket *ticket); /* NULL is fine */
DEFINE_SCOPED(ticket)
gss_cred_id_t ticket_credential(const struct ticket *ticket); /* borrowed */
