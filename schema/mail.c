/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/mail.h"

#include "base/log.h"
#include "base/mem.h"

struct request {
	union {
		mail_send_fn *send;
		mail_find_fn *find;
		mail_report_fn *report;
		mail_conversation_fn *conversation;
		mail_receive_fn *receive;
		mail_choice_fn *choice;
	} fn;
	max_align_t arg[]; /* the caller's copy */
};

static struct request *request_new(const void *arg, size_t size)
{
	struct request *request = mem_alloc(sizeof *request + size);

	memcpy(request->arg, arg, size);
	return request;
}

/* ---- send */

static const struct pg_statement send_statement = {
	"mail_send",
	"SELECT id, topic, earlier, recent, choice, taken, held, tried FROM hedgerow.mail_send("
	"$1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text,"
	" $10::bytea, $11::text[], $12::text[], $13::int, $14::int)"
};
enum {
	SEND_ID,
	SEND_TOPIC,
	SEND_EARLIER,
	SEND_RECENT,
	SEND_CHOICE,
	SEND_TAKEN,
	SEND_HELD,
	SEND_TRIED
};

static void sent(void *arg, enum hr_status status, const PGresult *result, const struct hr_err *err)
{
	struct request *request = arg;
	struct mail_send_answer answer = { 0 };

	if (status == HR_OK) {
		answer.thread = pg_bigint(result, 0, SEND_ID);
		answer.subject = pg_text(result, 0, SEND_TOPIC);
		answer.earlier_count =
			pg_texts(result, 0, SEND_EARLIER, answer.earlier, MAIL_EARLIER_MAX);
		answer.recent = pg_bigint(result, 0, SEND_RECENT);
		answer.choice = pg_text(result, 0, SEND_CHOICE);
		answer.taken = pg_int(result, 0, SEND_TAKEN);
		answer.held = pg_time(result, 0, SEND_HELD);
		answer.tried = pg_int(result, 0, SEND_TRIED);
	}
	request->fn.send(request->arg, status, status == HR_OK ? &answer : NULL, err);
	free(request);
}

void mail_send(struct pg *pg, const struct mail_send *send, mail_send_fn *fn, const void *arg,
	       size_t size)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg, size);

	request->fn.send = fn;
	pg_add_text(params, send->domain);
	pg_add_text(params, send->person);
	pg_add_text(params, send->peer);
	pg_add_text(params, send->message_id);
	pg_add_text(params, send->stanza_id);
	pg_add_text(params, send->sender);
	pg_add_text(params, send->thread);
	pg_add_text(params, send->subject);
	pg_add_text(params, send->recipient);
	pg_add_bytes(params, send->envelope_id);
	pg_begin_array(params, PG_TEXT, send->more_count);
	for (size_t i = 0; i < send->more_count; i++)
		pg_item_text(params, send->more[i].stanza_id);
	pg_begin_array(params, PG_TEXT, send->more_count);
	for (size_t i = 0; i < send->more_count; i++)
		pg_item_text(params, send->more[i].sender);
	pg_add_int(params, send->messages);
	pg_add_int(params, send->hourly);
	pg_send_owned(pg, &send_statement, params, sent, request);
}

/* ---- find */

static const struct pg_statement find_statement = {
	"mail_find", "SELECT domain, person, peer FROM hedgerow.mail_find($1::bigint)"
};
enum { FIND_DOMAIN, FIND_PERSON, FIND_PEER };

static void found(void *arg, enum hr_status status, const PGresult *result,
		  const struct hr_err *err)
{
	struct request *request = arg;
	struct mail_find_answer answer = { 0 };

	if (status == HR_OK && PQntuples(result) == 0)
		status = HR_NONE;
	if (status == HR_OK)
		answer = (struct mail_find_answer){
			.domain = pg_text(result, 0, FIND_DOMAIN),
			.person = pg_text(result, 0, FIND_PERSON),
			.peer = pg_text(result, 0, FIND_PEER),
		};
	request->fn.find(request->arg, status, status == HR_OK ? &answer : NULL, err);
	free(request);
}

void mail_find(struct pg *pg, int64_t thread, mail_find_fn *fn, const void *arg, size_t size)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg, size);

	request->fn.find = fn;
	pg_add_bigint(params, thread);
	pg_send_owned(pg, &find_statement, params, found, request);
}

/* ---- report */

static const struct pg_statement report_statement = {
	"mail_report", "SELECT person, stanza_id, sender, standing, more_ids, more_senders"
		       " FROM hedgerow.mail_report($1::bigint, $2::text, $3::int)"
};
enum {
	REPORT_PERSON,
	REPORT_STANZA_ID,
	REPORT_SENDER,
	REPORT_STANDING,
	REPORT_MORE_IDS,
	REPORT_MORE_SENDERS
};

static enum mail_report_standing standing_of(struct slice text)
{
	static const char *const names[] = { [MAIL_REPORT_NEW] = "new",
					     [MAIL_REPORT_TOLD] = "told",
					     [MAIL_REPORT_BUSY] = "busy",
					     [MAIL_REPORT_CAPPED] = "capped" };
	size_t i = 0;

	while (i < countof(names) && !slice_is(text, names[i]))
		i++;
	return i < countof(names) ? (enum mail_report_standing)i : MAIL_REPORT_BUSY;
}

static size_t read_more(const PGresult *result, struct mail_said *out)
{
	struct slice ids[MAIL_MORE_MAX], senders[MAIL_MORE_MAX];
	size_t id_count = pg_texts(result, 0, REPORT_MORE_IDS, ids, countof(ids));
	size_t sender_count = pg_texts(result, 0, REPORT_MORE_SENDERS, senders, countof(senders));
	size_t count = id_count < sender_count ? id_count : sender_count;

	for (size_t i = 0; i < count; i++)
		out[i] = (struct mail_said){ ids[i], senders[i] };
	return count;
}

static void have_report(void *arg, enum hr_status status, const PGresult *result,
			const struct hr_err *err)
{
	struct request *request = arg;
	struct mail_report_answer answer = { 0 };

	if (status == HR_OK && PQntuples(result) == 0)
		status = HR_NONE;
	if (status == HR_OK) {
		answer.person = pg_text(result, 0, REPORT_PERSON);
		answer.stanza_id = pg_text(result, 0, REPORT_STANZA_ID);
		answer.sender = pg_text(result, 0, REPORT_SENDER);
		answer.standing = standing_of(pg_text(result, 0, REPORT_STANDING));
		answer.more_count = read_more(result, answer.more);
	}
	request->fn.report(request->arg, status, status == HR_OK ? &answer : NULL, err);
	free(request);
}

void mail_report(struct pg *pg, int64_t thread, struct slice message_id, int32_t hourly,
		 mail_report_fn *fn, const void *arg, size_t size)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg, size);

	request->fn.report = fn;
	pg_add_bigint(params, thread);
	pg_add_text(params, message_id);
	pg_add_int(params, hourly);
	pg_send_owned(pg, &report_statement, params, have_report, request);
}

/* ---- receive */

static const struct pg_statement conversation_statement = {
	"mail_conversation",
	"SELECT thread, recent FROM hedgerow.mail_conversation($1::text, $2::text,"
	" $3::text, $4::text)"
};
enum { CONVERSATION_THREAD, CONVERSATION_RECENT };

static void have_conversation(void *arg, enum hr_status status, const PGresult *result,
			      const struct hr_err *err)
{
	struct request *request = arg;
	struct mail_conversation_answer answer = { 0 };

	if (status == HR_OK && PQntuples(result) == 0)
		status = HR_NONE;
	if (status == HR_OK)
		answer = (struct mail_conversation_answer){
			.thread = pg_text(result, 0, CONVERSATION_THREAD),
			.recent = pg_bigint(result, 0, CONVERSATION_RECENT),
		};
	request->fn.conversation(request->arg, status, status == HR_OK ? &answer : NULL, err);
	free(request);
}

static struct pg_params *receive_params(const struct mail_receive *receive)
{
	struct pg_params *params = pg_params_new();

	pg_add_text(params, receive->domain);
	pg_add_text(params, receive->person);
	pg_add_text(params, receive->peer);
	pg_add_text(params, receive->message_id);
	return params;
}

void mail_conversation(struct pg *pg, const struct mail_receive *receive, mail_conversation_fn *fn,
		       const void *arg, size_t size)
{
	scoped(pg_params) params = receive_params(receive);
	struct request *request = request_new(arg, size);

	request->fn.conversation = fn;
	pg_send_owned(pg, &conversation_statement, params, have_conversation, request);
}

static const struct pg_statement receive_statement = {
	"mail_receive", "SELECT FROM hedgerow.mail_receive($1::text, $2::text, $3::text, $4::text,"
			" $5::text)"
};

static void received(void *arg, enum hr_status status, const PGresult *result,
		     const struct hr_err *err)
{
	struct request *request = arg;

	(void)result;
	request->fn.receive(request->arg, status, err);
	free(request);
}

void mail_receive(struct pg *pg, const struct mail_receive *receive, mail_receive_fn *fn,
		  const void *arg, size_t size)
{
	scoped(pg_params) params = receive_params(receive);
	struct request *request = request_new(arg, size);

	request->fn.receive = fn;
	pg_add_text(params, receive->subject);
	pg_send_owned(pg, &receive_statement, params, received, request);
}

/* ---- what people chose */

static const struct pg_statement choose_statement = {
	"mail_choose", "SELECT $2::text AS mode FROM hedgerow.mail_choose($1::text, $2::text)"
};
static const struct pg_statement chosen_statement = {
	"mail_chosen",
	"SELECT coalesce(mode, '') AS mode FROM hedgerow.mail_chosen($1::text) AS mode"
};

static void have_choice(void *arg, enum hr_status status, const PGresult *result,
			const struct hr_err *err)
{
	struct request *request = arg;
	struct slice mode = status == HR_OK ? pg_text(result, 0, 0) : (struct slice){ 0 };

	request->fn.choice(request->arg, status, mode, err);
	free(request);
}

void mail_choose(struct pg *pg, struct slice address, struct slice mode, mail_choice_fn *fn,
		 const void *arg, size_t size)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg, size);

	request->fn.choice = fn;
	pg_add_text(params, address);
	pg_add_text(params, mode);
	pg_send_owned(pg, &choose_statement, params, have_choice, request);
}

void mail_chosen(struct pg *pg, struct slice address, mail_choice_fn *fn, const void *arg,
		 size_t size)
{
	scoped(pg_params) params = pg_params_new();
	struct request *request = request_new(arg, size);

	request->fn.choice = fn;
	pg_add_text(params, address);
	pg_send_owned(pg, &chosen_statement, params, have_choice, request);
}

/* ---- what went, what was told, what is kept, and the old: nothing comes back */

static const struct pg_statement reported_statement = {
	"mail_reported", "SELECT FROM hedgerow.mail_reported($1::bigint, $2::text)"
};
static const struct pg_statement taken_statement = {
	"mail_taken", "SELECT FROM hedgerow.mail_taken($1::bigint, $2::text, $3::int)"
};
static const struct pg_statement keep_statement = {
	"mail_keep", "SELECT FROM hedgerow.mail_keep($1::text, $2::text, $3::bytea)"
};
static const struct pg_statement forget_statement = { "mail_forget",
						      "SELECT hedgerow.mail_forget()" };

static void done(void *arg, enum hr_status status, const PGresult *result, const struct hr_err *err)
{
	(void)arg, (void)result;
	if (status == HR_FAIL)
		log_error("mail.maintenance_failed", LOG_ERR(err));
}

void mail_taken(struct pg *pg, int64_t thread, struct slice message_id, int32_t messages)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_bigint(params, thread);
	pg_add_text(params, message_id);
	pg_add_int(params, messages);
	pg_send(pg, &taken_statement, params, done, NULL);
}

void mail_reported(struct pg *pg, int64_t thread, struct slice message_id)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_bigint(params, thread);
	pg_add_text(params, message_id);
	pg_send(pg, &reported_statement, params, done, NULL);
}

void mail_keep(struct pg *pg, struct slice domain, struct slice message_id, struct slice bytes)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_text(params, domain);
	pg_add_text(params, message_id);
	pg_add_bytes(params, bytes);
	pg_send(pg, &keep_statement, params, done, NULL);
}

void mail_forget(struct pg *pg)
{
	pg_send(pg, &forget_statement, NULL, done, NULL);
}
