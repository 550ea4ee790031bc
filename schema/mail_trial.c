/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/mail_trial.h"

#include "base/log.h"
#include "base/mem.h"

static const struct pg_statement trials_statement = {
	"mail_trials",
	"SELECT id, recipient, sender, body, choice, recent FROM hedgerow.mail_trials()"
};
enum { ID, RECIPIENT, SENDER, BODY, CHOICE, RECENT };

struct request {
	mail_trials_fn *fn;
	void *arg;
};

static void have_trials(void *arg, enum hr_status status, const PGresult *result,
			const struct hr_err *err)
{
	struct request request = *(struct request *)arg;

	free(arg);
	for (int row = 0; status == HR_OK && row < PQntuples(result); row++)
		request.fn(request.arg, HR_OK,
			   &(struct mail_trial){
				   .id = pg_bigint(result, row, ID),
				   .recipient = pg_text(result, row, RECIPIENT),
				   .sender = pg_text(result, row, SENDER),
				   .body = pg_text(result, row, BODY),
				   .choice = pg_text(result, row, CHOICE),
				   .recent = pg_bigint(result, row, RECENT),
			   },
			   err);
	request.fn(request.arg, status, NULL, err);
}

void mail_trials(struct pg *pg, mail_trials_fn *fn, void *arg)
{
	struct request *request = mem_new(struct request);

	*request = (struct request){ fn, arg };
	pg_send_owned(pg, &trials_statement, NULL, have_trials, request);
}

static const struct pg_statement answer_statement = {
	"mail_trial_answer",
	"SELECT FROM hedgerow.mail_trial_answer($1::bigint, $2::text, $3::text, $4::text)"
};

static void answered(void *arg, enum hr_status status, const PGresult *result,
		     const struct hr_err *err)
{
	(void)arg, (void)result;
	if (status == HR_FAIL)
		log_error("mail.test_failed", LOG_ERR(err));
}

void mail_trial_answer(struct pg *pg, int64_t id, const struct mail_trial_answer *answer)
{
	static const char *const outcomes[] = {
		[MAIL_TRIAL_MAIL] = "mail", [MAIL_TRIAL_LATER] = "later", [MAIL_TRIAL_NONE] = "none"
	};
	scoped(pg_params) params = pg_params_new();

	pg_add_bigint(params, id);
	pg_add_text(params, slice_str(outcomes[answer->outcome]));
	pg_add_text(params, slice_str(answer->reason));
	pg_add_text(params, answer->mail);
	pg_send(pg, &answer_statement, params, answered, NULL);
}
