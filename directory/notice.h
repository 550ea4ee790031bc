/* SPDX-License-Identifier: Apache-2.0 */
/* Change notification of Active Directory (MS-ADTS 3.1.1.3.4.1.9): an entry comes for each change
 * in a naming context. Only heard as: something has changed, ask. */
#pragma once

#include "directory/server.h"

struct notice {
	bool asked; /* it has been asked for */
	bool given; /* and not refused */
	int id;	    /* of the search */
};

/* Asks for notices, once. A refusal comes later, and is no failure. */
HR_MUST_USE enum hr_status notice_ask(struct notice *notice, struct server *server,
				      const char *root, struct hr_err *err);
/* Takes all that are here. HR_OK: there were some. HR_NONE: there were none. */
HR_MUST_USE enum hr_status notice_take(struct notice *notice, struct server *server,
				       struct hr_err *err);
