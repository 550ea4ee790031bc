/* SPDX-License-Identifier: Apache-2.0 */
/* Who a domain controller of Active Directory is, and whether it can go on from where another
 * session has stopped. Update sequence numbers (USN) are those of one controller in one life of its
 * database, which its invocationId names: a controller that was replaced, or restored as it should
 * be, has another, and one that was rolled back in secret is found by a USN that went back. */
#pragma once

#include "directory/server.h"

struct controller {
	char *name;	    /* dnsHostName */
	char *incarnation;  /* invocationId */
	char *root;	    /* the naming context that the base is in */
	int64_t usn;	    /* the highest that it has committed */
	bool shows_deleted; /* to us */
};

/* Asks for all of it; *out is to be cleared. HR_NONE: it is no controller, or has no such base. */
HR_MUST_USE enum hr_status controller_read(struct server *server, const char *base,
					   struct controller *out, struct hr_err *err);
/* Asks for the highest committed USN again. */
HR_MUST_USE enum hr_status controller_look(struct server *server, struct controller *controller,
					   struct hr_err *err);
void controller_clear(struct controller *controller); /* frees what is in it, not itself */

/* Pure. HR_UNSURE: the cursor is not of this controller as it is now. */
HR_MUST_USE enum hr_status controller_accepts(const struct controller *controller,
					      const struct publish_cursor *cursor,
					      struct hr_err *err);
/* Pure. The longest of the n roots that the base is or is below; data NULL: none. */
struct slice controller_root(const struct slice *roots, size_t n, const char *base);
