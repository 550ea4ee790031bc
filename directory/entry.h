/* SPDX-License-Identifier: Apache-2.0 */
/* One directory entry on its way to staging. Pure: takes the bytes that a directory sent, refuses
 * what PostgreSQL cannot or should not hold (not UTF-8, NUL, empty, too long, too many), and puts
 * the rest in the order of the mapping's attributes. One struct serves all entries of a run. */
#pragma once

#include "base/mem.h"
#include "schema/publish.h"

enum {
	ENTRY_VALUE_BYTES = 4096, /* the longest value that is read */
	ENTRY_VALUES = 5000,	  /* the most values of one attribute that are read */
	ENTRY_DN_BYTES = 500,	  /* the longest DN that can be an anchor */
	ENTRY_REFUSALS = 20,	  /* the most refusals of one entry that are listed */
};

struct entry;

/* `attributes`: names as publish_source has them, borrowed for the life of the entry. */
struct entry *entry_new(const char *const *attributes, size_t n);
void entry_free(struct entry *entry); /* NULL is fine */
DEFINE_SCOPED(entry)

void entry_reset(struct entry *entry); /* ready for the next; its texts are gone */
/* The name the directory gives it; what is not text is left out. Borrowed until the reset. */
void entry_set_dn(struct entry *entry, struct slice dn);

/* The anchor: entryUUID as text, or objectGUID as 16 bytes in Microsoft's order. Other bytes are
 * refused, and the entry will be listed under its DN and not published. */
void entry_set_uuid(struct entry *entry, struct slice text);
void entry_set_guid(struct entry *entry, struct slice bytes);
void entry_set_anchor_dn(struct entry *entry); /* the DN itself, where there is nothing better */

/* Adds a value. `name` is the attribute description of the directory, in any case; a value of an
 * attribute that the mapping does not name is left out. The bytes are borrowed until the reset. */
void entry_add(struct entry *entry, struct slice name, struct slice value);
/* Whether more values of the attribute would be of use. */
bool entry_has_room(const struct entry *entry, struct slice name);

/* The row to stage; borrowed until the reset. */
const struct publish_entry *entry_row(struct entry *entry);
