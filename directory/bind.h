/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are to a directory: a DN with a password, or a Kerberos principal with a keytab. */
#pragma once

#include "directory/server.h"

/* Binds as the source says. `tls`: the connection is protected; what is not must be protected by
 * Kerberos then, and a password goes over it only because the registry says so. HR_FAIL: refused.
 */
HR_MUST_USE enum hr_status bind_server(struct server *server, const struct adapter_request *request,
				       bool tls, struct hr_err *err);
