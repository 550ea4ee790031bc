/* SPDX-License-Identifier: Apache-2.0 */
/* What users ask about people and the gateway answers itself, out of the registry, instead of
 * passing it on: a search of a federated domain (XEP-0055), the vCard of a person (XEP-0054), what
 * people choose about mail for themselves (XEP-0050). */
#pragma once

#include "federation/address.h"
#include "gateway/xmpp/lane.h"

struct ask;

/* HR_OK: *out is owned by the caller. HR_NONE: it is nothing of the kind. HR_FAIL: it is to be
 * refused with *bounce and err. */
HR_MUST_USE enum hr_status ask_read(const struct scan_stanza *stanza, const struct address *to,
				    struct ask **out, enum bounce *bounce, struct hr_err *err);
void ask_free(struct ask *ask); /* NULL is fine */
DEFINE_SCOPED(ask)

/* Answers `stanza` on the lane, as a rule in a later turn; lane_free forgets what is not answered.
 * People are those of the stanza; `to` is not NULL when somebody's vCard is asked for. */
void ask_answer(const struct ask *ask, struct lane *lane, const struct stanza *stanza,
		const struct edge_people *people);
