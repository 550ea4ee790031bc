/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection to a host by name or address, made so that no wait for the resolver or for one
 * of its addresses is without bound, and each ends when the daemon does. */
#pragma once

#include "base/err.h"
#include "directory/stop.h"

struct dial {
	const char *host;
	int port;
	msec limit; /* for the resolver, and for each address */
	const struct stop *stop;
};

/* Tries the addresses of the host in the resolver's order. *out is a blocking socket with
 * keepalive, the caller's to close. HR_RETRY: none answers. */
HR_MUST_USE enum hr_status dial(const struct dial *dial, int *out, struct hr_err *err);
