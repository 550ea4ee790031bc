/* SPDX-License-Identifier: Apache-2.0 */
/* A forest as its follower has it: its naming contexts, each with its session of the directory, how
 * far its changes have been taken, and when it is tried again. For one thread. */
#pragma once

#include "directory/adapter.h"
#include "directory/failover.h"
#include "directory/opening.h"
#include "directory/report.h"

/* Stays known when the source is read anew and is the same: a full run that fails does not let a
 * context be tried again that refuses us. */
struct forest_known {
	struct failover failover; /* which of its servers come last */
	char *trouble;		  /* why it is not followed; NULL: nothing is against it */
	bool refused;		  /* as whom, how or what we ask: only a full run tries it again */
	bool pardoned;		  /* or changes, once: the last full run has not failed by it */
	bool unsure;		  /* it could not say what has changed: it waits for a full run */
	bool alone;	  /* no longer: others fail that, so all that it has is its changes */
	msec as_of;	  /* it is as the directory was then; 0: unknown */
	msec whole_pause; /* before the next full run that it needs */
};

struct forest_context {
	struct adapter_request request;
	struct forest_known *known;
	struct stop *stop;		 /* of the request */
	struct adapter_session *session; /* NULL: none */
	struct opening *opening;	 /* of the session; NULL: none */
	struct publish_cursor position;	 /* base_dn NULL: it is not known from where to follow */
	struct publish_cursor next;	 /* what position becomes when the run is published */
	msec poll_at;			 /* when to ask, or to connect, whatever happens */
	msec pause;			 /* before the next try to connect; 0: it worked */
	bool told;			 /* that it is followed */
};

struct forest {
	const char *name, *secrets;
	const struct stop *stop;
	const struct publish_source *source; /* borrowed: see forest_adopt */
	const struct adapter *adapter;
	struct forest_context *contexts;
	size_t n;
	struct forest_known *known; /* of each context */
	size_t known_count;
	char *fingerprint; /* of the source that they are of */
	int refusals;	   /* of contexts that would not let us in, since one did or a full run */
};

/* Takes a source that was read anew, borrowed until the next: sessions are closed, and positions
 * are as the source has them. HR_FAIL: no adapter reads its kind. */
HR_MUST_USE enum hr_status forest_adopt(struct forest *forest, const struct publish_source *source,
					struct hr_err *err);
void forest_clear(struct forest *forest); /* frees all that is in it, not itself */

/* Opens the session of a context, if it is not, without waiting for it. HR_NONE: it is being
 * opened; its descriptor or poll_at tell when to call again. Only when forest_may_ask. */
HR_MUST_USE enum hr_status forest_open(struct forest *forest, struct forest_context *context,
				       struct hr_err *err);
/* The same for a run of everything, which waits. */
HR_MUST_USE enum hr_status forest_connect(struct forest *forest, struct forest_context *context,
					  struct hr_err *err);
void forest_disconnect(struct forest *forest, struct forest_context *context);
/* Readable: changes, or the session, have come. -1: nothing is to be waited for. */
int forest_fd(const struct forest *forest, const struct forest_context *context);
/* The session answers, and nothing is known to be waiting; logged when that is new. */
void forest_works(struct forest *forest, struct forest_context *context);
/* What is against a context: HR_FAIL: it refuses. */
void forest_blame(struct forest_context *context, const struct hr_err *why);
/* Disconnects after a failure: it is tried again later, or, when it refuses, by a full run. Logged
 * when it is new. */
void forest_lose(struct forest *forest, struct forest_context *context, const struct hr_err *why,
		 struct report_counts *counts);
bool forest_is_refused(const struct forest *forest); /* by any: full runs fail */
/* Before a full run: who refuses may be tried by it, and after it once more. */
void forest_pardon(struct forest *forest);
/* Whether a context may be asked: it does not refuse. Where two in a row would not let us in, the
 * account is at fault, and no other is tried until a full run is, or it would be locked. */
bool forest_may_ask(const struct forest *forest, const struct forest_context *context);
/* Whether changes are asked for: it is known from where on, and the context may be asked. A file
 * that was refused can be seen to change in any case. */
bool forest_is_watched(const struct forest *forest, const struct forest_context *context);
/* After a full run that has failed: who waits for one is to be read alone. */
void forest_give_up_waiting(struct forest *forest);
/* next becomes position. */
void forest_advance(struct forest_context *context);

struct report_state forest_state(const struct forest *forest); /* to be cleared */
