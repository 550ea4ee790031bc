/* SPDX-License-Identifier: Apache-2.0 */
/* Who has changed since an update sequence number of a controller of Active Directory: where
 * DirSync is not granted. It names more than that would, such as who has only logged on. */
#pragma once

#include "directory/guids.h"
#include "directory/server.h"

HR_MUST_USE enum hr_status usn_round(struct server *server, const char *root, int64_t since,
				     int page_size, struct guids *changed, struct hr_err *err);
