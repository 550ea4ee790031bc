/* SPDX-License-Identifier: Apache-2.0 */
/* The controls of content synchronization (RFC 4533), and cookies as OpenLDAP makes them. Pure.
 * What is read is borrowed from the bytes. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#define SYNCREPL_REQUEST "1.3.6.1.4.1.4203.1.9.1.1"
#define SYNCREPL_STATE "1.3.6.1.4.1.4203.1.9.1.2"
#define SYNCREPL_INFO "1.3.6.1.4.1.4203.1.9.1.4"

enum { SYNCREPL_COOKIE_BYTES = 4096 };

/* The value of a Sync Request Control. cookie.data NULL: from the beginning. */
enum syncrepl_mode { SYNCREPL_REFRESH_ONLY = 1, SYNCREPL_REFRESH_AND_PERSIST = 3 };
void syncrepl_request(enum syncrepl_mode mode, struct slice cookie, struct buf *out);

/* What is said of an entry. */
enum syncrepl_what { SYNCREPL_PRESENT, SYNCREPL_ADD, SYNCREPL_MODIFY, SYNCREPL_DELETE };
struct syncrepl_state {
	enum syncrepl_what what;
	struct slice uuid, cookie; /* 16 bytes; cookie.data NULL: none */
};
HR_MUST_USE enum hr_status syncrepl_parse_state(struct slice value, struct syncrepl_state *out,
						struct hr_err *err);

/* What is said between entries. */
enum syncrepl_topic {
	SYNCREPL_NEW_COOKIE,
	SYNCREPL_REFRESH_DELETE,  /* who is gone has been named, */
	SYNCREPL_REFRESH_PRESENT, /* or who is still there, all the others being gone */
	SYNCREPL_ID_SET
};
struct syncrepl_info {
	enum syncrepl_topic topic;
	struct slice cookie;
	bool refresh_done;  /* of REFRESH_...: changes follow as they happen */
	bool are_gone;	    /* of an ID_SET; else they are still there */
	struct slice uuids; /* of an ID_SET: see syncrepl_next_uuid */
};
HR_MUST_USE enum hr_status syncrepl_parse_info(struct slice value, struct syncrepl_info *out,
					       struct hr_err *err);
/* Takes the next off the front of `uuids`. HR_NONE: there is none any more. */
HR_MUST_USE enum hr_status syncrepl_next_uuid(struct slice *uuids, struct slice *uuid,
					      struct hr_err *err);

/* OpenLDAP's cookies hold one change number for each server that writes; while changes are followed
 * it sends only that of the writer. Adds to `newer` those of `older` that it does not have; cookies
 * of another make are taken as they are. */
void syncrepl_merge(struct slice older, struct slice newer, struct buf *out);
