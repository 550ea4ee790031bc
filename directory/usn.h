/* SPDX-License-Identifier: Apache-2.0 */
/* Who has changed since an update sequence number of a controller of Active Directory: where
 * DirSync is not granted. It names more than that would, such as who has only logged on. */
#pragma once

#include "directory/guids.h"
#include "directory/server.h"

struct usn_request {
	const char *root;
	int64_t since;
	int page_size;
};
HR_MUST_USE enum hr_status usn_round(struct server *server, const struct usn_request *request,
				     struct guids *changed, struct hr_err *err);
