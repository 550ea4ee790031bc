/* SPDX-License-Identifier: Apache-2.0 */
/* Makes rows to publish of the entries that an LDAP server sends: the values in the order of the
 * mapping's attributes, and the anchor. Where the server gave a range of the values only, the rest
 * is asked for until they are whole (or ENTRY_VALUES are there). */
#pragma once

#include "directory/paged.h"

struct reader;

/* What the entry is known by for ever, and how its bytes become the anchor. */
struct reader_anchor {
	const char *attribute;
	void (*set)(struct entry *entry, struct slice value);
};
extern const struct reader_anchor reader_uuid, reader_guid; /* entryUUID, objectGUID */

/* All borrowed for the life of the reader. */
struct reader *reader_new(struct server *server, const struct publish_source *source,
			  const struct reader_anchor *anchor);
void reader_free(struct reader *reader); /* NULL is fine */
DEFINE_SCOPED(reader)

char **reader_attributes(const struct reader *reader); /* to ask for: also the anchor's; borrowed */
/* The row of an LDAP_RES_SEARCH_ENTRY. It is borrowed, from the message too, until the next. */
HR_MUST_USE enum hr_status reader_row(struct reader *reader, LDAPMessage *message,
				      const struct publish_entry **out, struct hr_err *err);
/* Gives the sink the row of each entry that the search finds, in pages; *entries: how many. */
HR_MUST_USE enum hr_status reader_search(struct reader *reader, const struct server_search *search,
					 const struct adapter_sink *sink, int64_t *entries,
					 struct hr_err *err);
