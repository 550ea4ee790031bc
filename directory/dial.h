/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection to a host by name or address, made so that no wait for the resolver or for one
 * of its addresses is without bound, and each ends when the daemon does. */
#pragma once

#include "base/err.h"
#include "directory/stop.h"

/* Tries the addresses of `host` in the resolver's order, each for at most `limit`. *out is a
 * blocking socket with keepalive, the caller's to close. HR_RETRY: none answers. */
HR_MUST_USE enum hr_status dial(const char *host, int port, msec limit, const struct stop *stop,
				int *out, struct hr_err *err);
