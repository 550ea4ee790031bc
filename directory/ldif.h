/* SPDX-License-Identifier: Apache-2.0 */
/* LDIF content records (RFC 2849), as a directory exports them: lines that are folded or not,
 * values plain or in base64, comments, LF or CRLF. Change records (changetype) and values that are
 * in another file (attribute:< URL) are refused. Pure: bytes in, records out, in bounded memory. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "directory/attribute.h"

enum {
	LDIF_RECORD_BYTES = 8 << 20, /* the longest record, with its comments */
	LDIF_LINES = 50000,	     /* the most lines of one, folded ones counted as one */
};

struct ldif_record {
	size_t line; /* where it begins in the file, from 1 */
	struct slice dn;
	const struct attribute *values;
	size_t n;
};

/* Takes a record, borrowed for the call. Anything but HR_OK ends the parsing with that status. */
typedef enum hr_status ldif_fn(void *arg, const struct ldif_record *record, struct hr_err *err);

struct ldif;
struct ldif *ldif_new(ldif_fn *fn, void *arg);
void ldif_free(struct ldif *ldif); /* NULL is fine */
DEFINE_SCOPED(ldif)

/* The next bytes of the file; fn is called for each record that ends in them. HR_FAIL: not LDIF, as
 * err says with the line; then only ldif_free is allowed. */
HR_MUST_USE enum hr_status ldif_feed(struct ldif *ldif, struct slice bytes, struct hr_err *err);
/* The file has ended: so does its last record. */
HR_MUST_USE enum hr_status ldif_end(struct ldif *ldif, struct hr_err *err);
