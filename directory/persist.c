/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/persist.h"

#include "directory/anchor.h"
#include "directory/syncrepl.h"

struct persist {
	struct server *server; /* borrowed */
	struct reader *reader; /* borrowed */
	enum persist_phase phase;
	bool whole; /* it began without a cookie */
	int id;	    /* of the search */
	int64_t entries;
	struct buf cookie;
	struct buf since; /* the cookie that persist_verify asks with */
	msec verify_at;	  /* 0: that is done */
	enum adapter_doubt doubt;
};

struct persist *persist_new(struct server *server, struct reader *reader)
{
	struct persist *persist = mem_new(struct persist);

	persist->server = server;
	persist->reader = reader;
	persist->cookie = BUF_INIT(SYNCREPL_COOKIE_BYTES);
	persist->since = BUF_INIT(SYNCREPL_COOKIE_BYTES);
	return persist;
}

void persist_free(struct persist *persist)
{
	if (!persist)
		return;
	buf_free(&persist->cookie);
	buf_free(&persist->since);
	free(persist);
}

enum persist_phase persist_phase(const struct persist *persist)
{
	return persist->phase;
}

enum adapter_doubt persist_doubt(const struct persist *persist)
{
	return persist->doubt;
}

int64_t persist_entries(const struct persist *persist)
{
	return persist->entries;
}

struct slice persist_cookie(const struct persist *persist)
{
	return buf_slice(&persist->cookie);
}

/* What to ask for, and from where on. */
struct wish {
	enum syncrepl_mode mode;
	struct slice cookie;
};

static enum hr_status ask(struct persist *persist, const struct server_search *search,
			  struct wish wish, int *id, struct hr_err *err)
{
	scoped_buf value = BUF_INIT(0);
	struct server_search with_control = *search;

	syncrepl_request(wish.mode, wish.cookie, &value);
	LDAPControl control = { (char *)(uintptr_t)SYNCREPL_REQUEST, { value.len, value.data }, 1 };
	LDAPControl *controls[] = { &control, NULL };
	with_control.controls = controls;
	return server_search(persist->server, &with_control, id, err);
}

bool persist_is_certain(const struct persist *persist)
{
	return persist->phase == PERSIST_FOLLOWS && persist->verify_at == 0;
}

static void set_cookie(struct buf *buf, struct slice cookie)
{
	buf_clear(buf);
	if (cookie.data)
		buf_add_slice(buf, cookie);
}

enum hr_status persist_begin(struct persist *persist, const struct server_search *search,
			     struct slice cookie, struct hr_err *err)
{
	const struct wish wish = { SYNCREPL_REFRESH_AND_PERSIST, cookie };

	if (ask(persist, search, wish, &persist->id, err) != HR_OK)
		return err->status;
	persist->phase = PERSIST_REFRESH;
	persist->whole = !cookie.data;
	persist->entries = 0;
	set_cookie(&persist->cookie, cookie);
	set_cookie(&persist->since, cookie);
	return HR_OK;
}

/* What is told -----------------------------------------------------------------------------------
 */

/* Everything is being read: who is not, is gone, whatever is said of them. */
static bool is_reading(const struct persist *persist)
{
	return persist->whole && persist->phase == PERSIST_REFRESH;
}

static enum hr_status not_told(struct persist *persist, struct hr_err *err)
{
	persist->doubt = ADAPTER_FORGOTTEN;
	return err_set(err, HR_UNSURE,
		       "the directory no longer remembers who has gone since we last asked");
}

static struct slice slice_of(const struct berval *value)
{
	return (struct slice){ value->bv_val, value->bv_len };
}

static enum hr_status keep_cookie(struct persist *persist, struct slice cookie, struct hr_err *err)
{
	struct buf merged = BUF_INIT(SYNCREPL_COOKIE_BYTES);

	if (!cookie.data)
		return HR_OK;
	syncrepl_merge(buf_slice(&persist->cookie), cookie, &merged);
	buf_free(&persist->cookie);
	persist->cookie = merged;
	return merged.overflowed ? err_set(err, HR_FAIL, "a cookie of more than %d bytes",
					   SYNCREPL_COOKIE_BYTES)
				 : HR_OK;
}

static enum hr_status take_gone(const struct adapter_sink *sink, struct slice uuid,
				struct hr_err *err)
{
	char anchor[ANCHOR_CHARS + 1];

	if (!anchor_from_uuid(uuid, anchor))
		return err_set(err, HR_FAIL, "an entryUUID of %zu bytes", uuid.len);
	return sink->gone(sink->arg, slice_str(anchor), err);
}

static enum hr_status take_row(struct persist *persist, LDAPMessage *message,
			       const struct adapter_sink *sink, struct hr_err *err)
{
	const struct publish_entry *row;

	if (reader_row(persist->reader, message, &row, err) != HR_OK)
		return err->status;
	persist->entries++;
	return sink->entry(sink->arg, row, err);
}

/* The state of an entry, borrowed from *controls, which are to be freed in any case. */
static enum hr_status state_of(const struct persist *persist, LDAPMessage *message,
			       LDAPControl ***controls, struct syncrepl_state *out,
			       struct hr_err *err)
{
	int code = ldap_get_entry_controls(server_ld(persist->server), message, controls);

	if (code != LDAP_SUCCESS)
		return server_fault(persist->server, code, err);
	LDAPControl *control = ldap_control_find(SYNCREPL_STATE, *controls, NULL);
	if (!control)
		return err_set(err, HR_FAIL, "the directory sends an entry without its state");
	return syncrepl_parse_state(slice_of(&control->ldctl_value), out, err);
}

static enum hr_status take_stated(struct persist *persist, LDAPMessage *message,
				  const struct syncrepl_state *state,
				  const struct adapter_sink *sink, struct hr_err *err)
{
	switch (state->what) {
	case SYNCREPL_ADD:
	case SYNCREPL_MODIFY:
		return take_row(persist, message, sink, err);
	case SYNCREPL_DELETE:
		return is_reading(persist) ? HR_OK : take_gone(sink, state->uuid, err);
	case SYNCREPL_PRESENT:
		break;
	}
	return is_reading(persist) ? HR_OK : not_told(persist, err);
}

static enum hr_status take_entry(struct persist *persist, LDAPMessage *message,
				 const struct adapter_sink *sink, struct hr_err *err)
{
	LDAPControl **controls = NULL;
	struct syncrepl_state state;

	enum hr_status status = state_of(persist, message, &controls, &state, err);
	if (status == HR_OK)
		status = take_stated(persist, message, &state, sink, err);
	if (status == HR_OK)
		status = keep_cookie(persist, state.cookie, err);
	ldap_controls_free(controls);
	return status;
}

static enum hr_status take_set(struct persist *persist, const struct syncrepl_info *info,
			       const struct adapter_sink *sink, struct hr_err *err)
{
	struct slice uuids = info->uuids, uuid;
	enum hr_status status;

	if (is_reading(persist))
		return HR_OK;
	if (!info->are_gone)
		return not_told(persist, err);
	while ((status = syncrepl_next_uuid(&uuids, &uuid, err)) == HR_OK)
		if (take_gone(sink, uuid, err) != HR_OK)
			return err->status;
	return status == HR_NONE ? HR_OK : status;
}

static void follow(struct persist *persist)
{
	if (persist->whole)
		set_cookie(&persist->since, buf_slice(&persist->cookie));
	persist->phase = PERSIST_FOLLOWS;
	persist->verify_at = persist->since.len > 0 ? time_msec() + PERSIST_VERIFY_MS : 0;
}

static enum hr_status take_info(struct persist *persist, const struct syncrepl_info *info,
				const struct adapter_sink *sink, struct hr_err *err)
{
	if (info->topic == SYNCREPL_ID_SET && take_set(persist, info, sink, err) != HR_OK)
		return err->status;
	if (info->topic == SYNCREPL_REFRESH_PRESENT && !is_reading(persist))
		return not_told(persist, err);
	if (keep_cookie(persist, info->cookie, err) != HR_OK)
		return err->status;
	if (info->refresh_done)
		follow(persist);
	return HR_OK;
}

/* HR_NONE: the message is about something else. *info is borrowed from *value, to be freed with
 * ber_bvfree in any case. */
static enum hr_status info_of(const struct persist *persist, LDAPMessage *message,
			      struct berval **value, struct syncrepl_info *info, struct hr_err *err)
{
	char *oid = NULL;

	*value = NULL;
	int code =
		ldap_parse_intermediate(server_ld(persist->server), message, &oid, value, NULL, 0);
	if (code != LDAP_SUCCESS)
		return server_fault(persist->server, code, err);
	bool ours = oid && *value && strcmp(oid, SYNCREPL_INFO) == 0;
	ldap_memfree(oid);
	return ours ? syncrepl_parse_info(slice_of(*value), info, err) : HR_NONE;
}

static enum hr_status take_intermediate(struct persist *persist, LDAPMessage *message,
					const struct adapter_sink *sink, struct hr_err *err)
{
	struct syncrepl_info info;
	struct berval *value;

	enum hr_status status = info_of(persist, message, &value, &info, err);
	if (status == HR_OK)
		status = take_info(persist, &info, sink, err);
	ber_bvfree(value);
	return status == HR_NONE ? HR_OK : status;
}

/* A refusal of a search that had a cookie. */
static enum hr_status refused(struct persist *persist, struct hr_err *err)
{
	int code = server_code(persist->server);

	/* slapd that was killed may take a cookie for one of its future: unwilling. */
	if (code == LDAP_SYNC_REFRESH_REQUIRED || code == LDAP_UNWILLING_TO_PERFORM) {
		persist->doubt = ADAPTER_REFUSED;
		err->status = HR_UNSURE;
	}
	return err->status;
}

/* The search has ended, which it should not. Takes the message. */
static enum hr_status take_end(struct persist *persist, LDAPMessage *message, struct hr_err *err)
{
	persist->phase = PERSIST_NONE;
	if (server_finish(persist->server, message, NULL, err) == HR_OK)
		return err_set(err, HR_RETRY, "the directory ends the search");
	return persist->whole ? err->status : refused(persist, err);
}

enum hr_status persist_take(struct persist *persist, const struct adapter_sink *sink,
			    struct hr_err *err)
{
	LDAPMessage *message;
	enum hr_status status =
		persist->phase == PERSIST_REFRESH
			? server_receive(persist->server, persist->id, &message, err)
			: server_poll(persist->server, persist->id, &message, err);

	if (status != HR_OK)
		return status;
	switch (ldap_msgtype(message)) {
	case LDAP_RES_SEARCH_RESULT:
		return take_end(persist, message, err);
	case LDAP_RES_SEARCH_ENTRY:
		status = take_entry(persist, message, sink, err);
		break;
	case LDAP_RES_INTERMEDIATE:
		status = take_intermediate(persist, message, sink, err);
		break;
	default: /* references are not followed */
		break;
	}
	ldap_msgfree(message);
	return status;
}

/* Verify ------------------------------------------------------------------------------------------
 */

/* Of what a refresh tells only who is gone; the others have been told. */
static enum hr_status take_verified(struct persist *persist, LDAPMessage *message,
				    const struct adapter_sink *sink, struct hr_err *err)
{
	struct syncrepl_state state;
	struct syncrepl_info info;
	LDAPControl **controls = NULL;
	struct berval *value = NULL;
	enum hr_status status = HR_OK;

	if (ldap_msgtype(message) == LDAP_RES_SEARCH_ENTRY) {
		status = state_of(persist, message, &controls, &state, err);
		if (status == HR_OK && state.what == SYNCREPL_DELETE)
			status = take_gone(sink, state.uuid, err);
		else if (status == HR_OK && state.what == SYNCREPL_PRESENT)
			status = not_told(persist, err);
	} else if (ldap_msgtype(message) == LDAP_RES_INTERMEDIATE) {
		status = info_of(persist, message, &value, &info, err);
		if (status == HR_OK && info.topic == SYNCREPL_ID_SET)
			status = take_set(persist, &info, sink, err);
	}
	ldap_controls_free(controls);
	ber_bvfree(value);
	return status == HR_NONE ? HR_OK : status;
}

enum hr_status persist_verify(struct persist *persist, const struct server_search *search,
			      const struct adapter_sink *sink, struct hr_err *err)
{
	const struct wish wish = { SYNCREPL_REFRESH_ONLY, buf_slice(&persist->since) };
	int id;

	if (persist->phase != PERSIST_FOLLOWS || persist->verify_at == 0 ||
	    time_msec() < persist->verify_at)
		return HR_NONE;
	if (ask(persist, search, wish, &id, err) != HR_OK)
		return err->status;
	for (LDAPMessage *message;;) {
		enum hr_status status = server_receive(persist->server, id, &message, err);
		if (status != HR_OK)
			return status;
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_RESULT) {
			persist->verify_at = 0;
			return server_finish(persist->server, message, NULL, err) == HR_OK
				       ? HR_OK
				       : refused(persist, err);
		}
		status = take_verified(persist, message, sink, err);
		ldap_msgfree(message);
		if (status != HR_OK)
			return status;
	}
}
