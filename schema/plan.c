/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/plan.h"

#include "base/mem.h"

const char *const publish_channels[] = { "hedgerow_sync", "hedgerow_config", NULL };

static const struct pg_statement plan_statement = {
	.name = "publish_plan",
	.sql = "SELECT forest, due_ms, kind = 'dry-run', draft FROM hedgerow.sync_plan()",
};

struct plan_call {
	publish_plan_fn *fn;
	void *arg;
};

static void on_plan(void *arg, enum hr_status status, const PGresult *result,
		    const struct hr_err *err)
{
	struct plan_call call = *(struct plan_call *)arg;

	free(arg);
	if (status != HR_OK) {
		call.fn(call.arg, status, NULL, 0, err);
		return;
	}
	size_t n = (size_t)PQntuples(result);
	struct publish_due *due = mem_array(struct publish_due, n);
	for (int i = 0; i < (int)n; i++)
		due[i] = (struct publish_due){
			.forest = pg_text(result, i, 0),
			.due_in = pg_bigint(result, i, 1),
			.kind = pg_bool(result, i, 2) ? PUBLISH_DRY_RUN : PUBLISH_FULL,
			.draft = pg_bool(result, i, 3),
		};
	call.fn(call.arg, HR_OK, due, n, NULL);
	free(due);
}

void publish_plan(struct pg *pg, publish_plan_fn *fn, void *arg)
{
	struct plan_call *call = mem_new(struct plan_call);

	*call = (struct plan_call){ fn, arg };
	pg_send_owned(pg, &plan_statement, NULL, on_plan, call);
}
