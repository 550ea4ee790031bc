/* SPDX-License-Identifier: Apache-2.0 */
/* One side of the load generator: the streams of one site, which components dial (role SERVER) or
 * which it dials itself. */
#pragma once

#include "tests/bench/session.h"

#include <netinet/in.h>

struct side;

struct side_options {
	enum session_role role;
	struct sockaddr_in address; /* listened at, or dialled */
	const char *domain;	    /* its own, for the component that dials; borrowed */
	const char *secret;	    /* borrowed */
};

struct side_events {
	void (*opened)(void *ctx, struct side *side);
	void (*stanza)(void *ctx, struct side *side, struct session *session,
		       const struct stanza *stanza);
	/* Freed after this. */
	void (*closed)(void *ctx, struct side *side, struct session *session,
		       const struct hr_err *err);
};

HR_MUST_USE enum hr_status side_new(struct loop *loop, const struct side_options *options,
				    const struct side_events *events, void *ctx, struct side **out,
				    struct hr_err *err);
void side_free(struct side *side);
DEFINE_SCOPED(side)

bool side_is_open(const struct side *side); /* it has a stream */
/* A stream that is open, of that domain or, when it is NULL, of any; NULL: there is none. */
struct session *side_find(const struct side *side, const char *domain);
