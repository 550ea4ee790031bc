/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/run.h"

static enum hr_status stage(void *arg, const struct publish_entry *entry, struct hr_err *err)
{
	return publish_add(arg, entry, err);
}

/* Reads the directory into staging. */
static enum hr_status read_into(struct publish *publish, const struct run_request *request,
				struct run_outcome *out, struct hr_err *err)
{
	const struct adapter_request ask = {
		.source = publish_source(publish),
		.secrets = request->secrets,
		.stop = request->stop,
	};
	const struct adapter *adapter = adapter_find(ask.source->kind);
	struct adapter_session *session;

	if (!adapter)
		return err_set(err, HR_FAIL, "no adapter reads a forest of kind %s",
			       ask.source->kind);
	if (adapter->open(&ask, &session, err) != HR_OK)
		return err->status;
	out->url = str_dup(adapter->url(session));
	enum hr_status status = adapter->read(session, stage, publish, err);
	adapter->close(session);
	return status;
}

static void keep_refusal(void *arg, struct slice anchor, struct slice reason)
{
	struct run_outcome *out = arg;

	out->refusals[out->refusal_count++] =
		str_format(SLICE_FMT " " SLICE_FMT, SLICE_ARG(anchor), SLICE_ARG(reason));
}

enum hr_status run_forest(const struct run_request *request, struct run_outcome *out,
			  struct hr_err *err)
{
	scoped(publish) publish = NULL;
	struct hr_err why;

	enum hr_status status =
		publish_open(request->database, request->forest, request->node, &publish, err);
	if (status == HR_OK)
		status = publish_begin(publish, request->kind, request->draft, err);
	if (status != HR_OK)
		return status;
	if (read_into(publish, request, out, &why) != HR_OK ||
	    publish_finish(publish, NULL, 0, &out->result, &why) != HR_OK)
		return publish_fail(publish, &why, &out->result, err);
	return publish_refusals(publish, RUN_REFUSALS, keep_refusal, out, err);
}

void run_outcome_clear(struct run_outcome *outcome)
{
	free(outcome->url);
	for (size_t i = 0; i < outcome->refusal_count; i++)
		free(outcome->refusals[i]);
	*outcome = (struct run_outcome){ 0 };
}
