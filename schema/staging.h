/* SPDX-License-Identifier: Apache-2.0 */
/* Rows on their way into the staging table of a session: COPY in binary format, some hundred
 * kilobytes a statement, so that no transaction stays open while a slow directory thinks. The
 * server reads one COPY while the next is gathered. Internal to schema/. */
#pragma once

#include "base/buf.h"
#include "schema/publish.h"

struct staging {
	PGconn *conn;	 /* borrowed */
	size_t columns;	 /* attributes, beside the fixed ones */
	uint64_t given;	 /* rows of the run so far */
	struct buf rows; /* of the COPY to come */
	bool copying;	 /* the last COPY has been sent, its result not read */
};

/* Why the last statement on a connection failed; `result` NULL: ask the connection. */
enum hr_status staging_fault(PGconn *conn, const PGresult *result, struct hr_err *err);

enum staging_state {
	STAGING_HERE,
	STAGING_GONE,
	STAGING_DOUBTFUL, /* gone from where it was, and perhaps altogether: NULL */
};

/* Adds a row, and sends those gathered when there are enough. Control characters in values, and
 * marks of direction, become spaces. */
enum hr_status staging_add(struct staging *staging, const struct publish_entry *entry,
			   enum staging_state state, struct hr_err *err);
enum hr_status staging_flush(struct staging *staging,
			     struct hr_err *err); /* all are in the table */
/* Begins anew: forgets what was gathered and waits for what was sent, whose failure is in err. */
enum hr_status staging_reset(struct staging *staging, struct hr_err *err);
