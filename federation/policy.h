/* SPDX-License-Identifier: Apache-2.0 */
/* May they? The first rule that matches decides; without one, people of one forest may talk to
 * each other and nobody else may. Who is an outsider (schema/people.h) is meant by a rule that says
 * outsider: and by no other, not by any. Pure. */
#pragma once

#include "federation/envelope.h"
#include "schema/config.h"
#include "schema/people.h"

struct policy_question {
	const struct person *from, *to;
	enum envelope_kind kind;
};

struct policy_answer {
	bool allow;
	const char *reason; /* for the sender; never NULL; borrowed from the config or static */
};

struct policy_answer policy_ask(const struct config *config,
				const struct policy_question *question);
