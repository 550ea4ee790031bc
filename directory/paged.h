/* SPDX-License-Identifier: Apache-2.0 */
/* A search whose answer comes in pages (RFC 2696), so that no server's limit cuts it. */
#pragma once

#include "directory/server.h"

enum { PAGED_CONTROLS = 4 }; /* the most controls of the caller's */

/* Takes one entry, borrowed for the call. Anything but HR_OK ends the search with that status. */
typedef enum hr_status paged_fn(void *arg, LDAPMessage *entry, struct hr_err *err);

/* HR_OK: the answer was whole. References are not followed. */
HR_MUST_USE enum hr_status paged_search(struct server *server, const struct server_search *search,
					paged_fn *fn, void *arg, struct hr_err *err);
