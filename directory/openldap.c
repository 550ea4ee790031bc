/* SPDX-License-Identifier: Apache-2.0 */
/* OpenLDAP, and whoever else keeps to RFC 4533: one search reads everything and then follows the
 * changes; another goes on from a cookie. What the server leaves unsaid of that time is left to a
 * full run. Who does not know the control is read in pages, and not followed. The anchor is
 * entryUUID. */
#include "directory/adapter.h"

#include "directory/persist.h"
#include "directory/syncrepl.h"

enum { BATCH = 1000 }; /* the most messages that one call takes */

struct session {
	struct adapter_session shown;	       /* limits: changes cannot be followed */
	const struct adapter_request *request; /* borrowed */
	struct server *server;
	struct reader *reader;
	struct persist *persist;
};

static struct session *own(struct adapter_session *shown)
{
	return (struct session *)shown;
}

static void close_session(struct adapter_session *shown)
{
	struct session *session = own(shown);

	if (!session)
		return;
	persist_free(session->persist);
	reader_free(session->reader);
	server_free(session->server);
	free(session->shown.limits);
	free(session);
}

static enum hr_status open_session(const struct adapter_request *request,
				   struct adapter_session **out, struct hr_err *err)
{
	struct server *server;

	if (server_open(request, &server, err) != HR_OK)
		return err->status;
	struct session *session = mem_new(struct session);
	session->request = request;
	session->server = server;
	session->reader = reader_new(server, request->source, &reader_uuid);
	session->persist = persist_new(server, session->reader);
	session->shown.fd = server_fd(server);
	session->shown.url = server_url(server);
	*out = &session->shown;
	return HR_OK;
}

static struct server_search search_of(const struct session *session)
{
	return (struct server_search){
		.base = session->request->context->base_dn,
		.filter = session->request->source->filter,
		.scope = LDAP_SCOPE_SUBTREE,
		.attributes = reader_attributes(session->reader),
		.page_size = session->request->source->page_size,
	};
}

/* Read -------------------------------------------------------------------------------------------
 */

/* Whether the root DSE (RFC 4512, 5.1) names the control. */
static enum hr_status look_for_control(struct session *session, bool *found, struct hr_err *err)
{
	static char name[] = "supportedControl";
	char *attributes[] = { name, NULL };
	const struct server_search search = {
		.base = "", .scope = LDAP_SCOPE_BASE, .attributes = attributes, .quick = true
	};
	LDAPMessage *entry = NULL;

	*found = false;
	enum hr_status status = server_read(session->server, &search, &entry, err);
	if (status != HR_OK)
		return status == HR_NONE ? HR_OK : status;
	struct berval **values = ldap_get_values_len(server_ld(session->server), entry, name);
	for (size_t i = 0; values && values[i]; i++)
		*found |= strcmp(values[i]->bv_val, SYNCREPL_REQUEST) == 0;
	ldap_value_free_len(values);
	ldap_msgfree(entry);
	return HR_OK;
}

static enum hr_status read_and_follow(struct session *session, const struct adapter_sink *sink,
				      struct hr_err *err)
{
	const struct server_search search = search_of(session);

	if (persist_begin(session->persist, &search, (struct slice){ 0 }, err) != HR_OK)
		return err->status;
	while (persist_phase(session->persist) == PERSIST_REFRESH)
		if (persist_take(session->persist, sink, err) != HR_OK)
			return err->status;
	return HR_OK;
}

/* Whether the server may page the answer, although it does not let it be followed. */
static bool is_only_unfollowed(const struct session *session)
{
	switch (server_code(session->server)) {
	case LDAP_UNAVAILABLE_CRITICAL_EXTENSION: /* not on this suffix */
	case LDAP_SIZELIMIT_EXCEEDED:		  /* there are limits for answers without pages */
	case LDAP_ADMINLIMIT_EXCEEDED:
		return true;
	default:
		return false;
	}
}

static enum hr_status read_by_pages(struct session *session, const struct adapter_sink *sink,
				    int64_t *entries, struct hr_err *err)
{
	const struct server_search search = search_of(session);

	return reader_search(session->reader, &search, sink, entries, err);
}

static enum hr_status read_either_way(struct session *session, const struct adapter_sink *sink,
				      int64_t *entries, struct hr_err *err)
{
	bool offered = false;

	if (look_for_control(session, &offered, err) != HR_OK)
		return err->status;
	if (!offered) {
		session->shown.limits = str_dup("the directory does not offer synchronization "
						"(RFC 4533): changes are seen by full runs only");
		return read_by_pages(session, sink, entries, err);
	}
	if (read_and_follow(session, sink, err) == HR_OK) {
		*entries = persist_entries(session->persist);
		return HR_OK;
	}
	if (!is_only_unfollowed(session))
		return err->status;
	session->shown.limits = str_format("changes are seen by full runs only: %s", err->text);
	return read_by_pages(session, sink, entries, err);
}

/* The position is that of the search that follows. */
static void show_cookie(const struct session *session, struct publish_cursor *position)
{
	struct slice cookie = persist_cookie(session->persist);

	if (slice_eq(cookie, position->cookie))
		return;
	free((char *)(uintptr_t)position->cookie.data);
	position->cookie = (struct slice){ 0 };
	if (cookie.len > 0)
		position->cookie = (struct slice){ mem_dup(cookie.data, cookie.len), cookie.len };
}

static enum hr_status read_all(struct adapter_session *shown, const struct adapter_sink *sink,
			       struct publish_cursor *position, struct hr_err *err)
{
	struct session *session = own(shown);
	int64_t entries = 0;

	free(give(session->shown.limits));
	if (read_either_way(session, sink, &entries, err) != HR_OK)
		return err_add(err, "read %s of %s", session->request->context->base_dn,
			       server_url(session->server));
	*position = (struct publish_cursor){
		.method = str_dup(session->shown.limits ? "none" : "syncrepl"),
		.server = str_dup(server_url(session->server)),
		.entries = entries,
	};
	if (!session->shown.limits)
		show_cookie(session, position);
	return HR_OK;
}

/* Follow -----------------------------------------------------------------------------------------
 */

static enum hr_status go_on_from(struct session *session, const struct publish_cursor *position,
				 struct hr_err *err)
{
	const struct server_search search = search_of(session);

	if (persist_phase(session->persist) != PERSIST_NONE)
		return HR_OK;
	if (position->cookie.len == 0) {
		session->shown.doubt = ADAPTER_REFUSED;
		return err_set(err, HR_UNSURE, "the directory has given no cookie to go on from");
	}
	return persist_begin(session->persist, &search, position->cookie, err);
}

static enum hr_status take_changes(struct adapter_session *shown, const struct adapter_sink *sink,
				   struct publish_cursor *position, struct hr_err *err)
{
	struct session *session = own(shown);
	const struct server_search search = search_of(session);
	enum hr_status status = go_on_from(session, position, err);

	if (status != HR_OK)
		return status;
	for (int i = 0; i < BATCH && status == HR_OK; i++)
		status = persist_take(session->persist, sink, err);
	if (status == HR_NONE)
		status = persist_verify(session->persist, &search, sink, err);
	if ((status == HR_OK || status == HR_NONE) && persist_is_certain(session->persist))
		show_cookie(session, position);
	session->shown.doubt = persist_doubt(session->persist);
	return status;
}

static enum hr_status find(struct adapter_session *shown, const struct slice *anchors, size_t n,
			   const struct adapter_sink *sink, struct hr_err *err)
{
	struct session *session = own(shown);
	struct server_search search = search_of(session);
	scoped_buf filter = BUF_INIT(0);
	int64_t entries;

	buf_format(&filter, "(&%s(|", search.filter);
	for (size_t i = 0; i < n; i++)
		buf_format(&filter, "(entryUUID=" SLICE_FMT ")", SLICE_ARG(anchors[i]));
	buf_add_str(&filter, "))");
	search.filter = buf_text(&filter);
	search.quick = true;
	return reader_search(session->reader, &search, sink, &entries, err);
}

const struct adapter adapter_openldap = {
	.kind = "openldap",
	.open = open_session,
	.read = read_all,
	.changes = take_changes,
	.find = find,
	.close = close_session,
};
