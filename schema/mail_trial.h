/* SPDX-License-Identifier: Apache-2.0 */
/* The mails that operators ask to see: see schema/sql/0022-mail-test.sql. */
#pragma once

#include "base/pg.h"

/* Borrowed for the call of fn. */
struct mail_trial {
	int64_t id;
	struct slice recipient; /* federation address, not prepared */
	struct slice sender;	/* likewise; data NULL: an example */
	struct slice body;
	struct slice choice; /* the recipient's own: off, notice, full; data NULL: none */
	int64_t recent;	     /* mails of this conversation in the last hour */
};
/* Called once for each that nobody has answered, then once with trial NULL and the status. */
typedef void mail_trials_fn(void *arg, enum hr_status status, const struct mail_trial *trial,
			    const struct hr_err *err);
void mail_trials(struct pg *pg, mail_trials_fn *fn, void *arg);

enum mail_trial_outcome {
	MAIL_TRIAL_MAIL,
	MAIL_TRIAL_LATER, /* the mail waits */
	MAIL_TRIAL_NONE,
};
struct mail_trial_answer {
	enum mail_trial_outcome outcome;
	const char *reason;
	struct slice mail; /* data NULL: none */
};
/* Nothing comes back: who asked waits for so long only. */
void mail_trial_answer(struct pg *pg, int64_t id, const struct mail_trial_answer *answer);
