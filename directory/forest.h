/* SPDX-License-Identifier: Apache-2.0 */
/* A forest as its follower has it: its naming contexts, each with its session of the directory, how
 * far its changes have been taken, and when it is tried again. For one thread. */
#pragma once

#include "directory/adapter.h"
#include "directory/failover.h"
#include "directory/report.h"

struct forest_context {
	struct adapter_request request;
	struct adapter_session *session; /* NULL: none */
	struct publish_cursor position;	 /* base_dn NULL: it is not known from where to follow */
	struct publish_cursor next;	 /* what position becomes when the run is published */
	msec poll_at;			 /* when to ask, or to connect, whatever happens */
	msec pause;			 /* before the next try to connect; 0: it worked */
	msec as_of;			 /* it is as the directory was then; 0: unknown */
	bool told;			 /* that it is followed */
	char *trouble;			 /* why there is no session; NULL: none */
};

struct forest {
	const char *name, *secrets;
	const struct stop *stop;
	const struct publish_source *source; /* borrowed: see forest_adopt */
	const struct adapter *adapter;
	struct forest_context *contexts;
	size_t n;
	struct failover *failovers; /* of each context; kept as long as the source is the same */
	char *fingerprint;	    /* of that source */
	bool refused; /* as whom or how we bind: nothing is tried until a full run has worked */
};

/* Takes a source that was read anew, borrowed until the next: sessions are closed, and positions
 * are as the source has them. HR_FAIL: no adapter reads its kind. */
HR_MUST_USE enum hr_status forest_adopt(struct forest *forest, const struct publish_source *source,
					struct hr_err *err);
void forest_clear(struct forest *forest); /* frees all that is in it, not itself */

/* Opens the session of a context, if it is not. */
HR_MUST_USE enum hr_status forest_connect(struct forest *forest, struct forest_context *context,
					  struct hr_err *err);
void forest_disconnect(struct forest *forest, struct forest_context *context);
/* The session answers, and nothing is known to be waiting; logged when that is new. */
void forest_works(struct forest *forest, struct forest_context *context);
/* Disconnects after a failure: it is tried again later. Logged when it is new. */
void forest_lose(struct forest *forest, struct forest_context *context, const struct hr_err *why,
		 struct report_counts *counts);
/* Whether changes can be asked for: somebody knows from where on, and we are not refused. A file
 * can be seen to change in any case. */
bool forest_is_watched(const struct forest *forest, const struct forest_context *context);
/* next becomes position. */
void forest_advance(struct forest_context *context);

struct report_state forest_state(const struct forest *forest); /* to be cleared */
