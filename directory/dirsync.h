/* SPDX-License-Identifier: Apache-2.0 */
/* The DirSync control of Active Directory (MS-ADTS 3.1.1.3.4.1.3): which objects of a naming
 * context have changed since a cookie, of which it gives only the changed ones of those attributes
 * that were asked for. So it is only heard for who has changed; they are then read as they are. */
#pragma once

#include "directory/filter.h"
#include "directory/guids.h"
#include "directory/server.h"

/* What to ask for: the attributes of the mapping and those that the filter looks at, and what tells
 * of names and deletions. NULL-terminated, one allocation, its texts borrowed. */
char **dirsync_attributes(char *const *mapped, const struct filter *filter);

/* Who belongs to which group decides who matches the filter. */
bool dirsync_asks_for_members(char *const *attributes);

/* Pure: what an entry of an answer, given attribute by attribute, says of who has changed. */
struct dirsync_entry {
	struct slice guid;
	bool named;   /* it has a name or place that it had not before */
	bool created; /* it was not there before */
};
void dirsync_note(struct dirsync_entry *entry, struct slice name, struct slice first_value);
/* Pure: the objectGUID in front of a DN, <GUID=...>;..., as the extended DN control has it. */
bool dirsync_guid_of(struct slice dn, unsigned char out[ANCHOR_RAW]);

struct dirsync_request {
	const char *root, *filter;
	char **attributes;
	struct slice cookie; /* data NULL: from the beginning */
};
struct dirsync_answer {
	struct slice cookie; /* to go on with; to be freed */
	bool more;	     /* another round is due at once */
};
/* One round: adds to *changed who has changed. NULL: nobody is of interest. */
HR_MUST_USE enum hr_status dirsync_round(struct server *server,
					 const struct dirsync_request *request,
					 struct guids *changed, struct dirsync_answer *out,
					 struct hr_err *err);
/* The cookie of now, without all that was before. */
HR_MUST_USE enum hr_status dirsync_begin(struct server *server, const char *root,
					 struct slice *cookie, struct hr_err *err);
