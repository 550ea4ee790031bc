/* SPDX-License-Identifier: Apache-2.0 */
/* Active Directory: one paged search of the whole subtree. The anchor is objectGUID. */
#include "directory/adapter.h"

#include "directory/paged.h"
#include "directory/reader.h"

struct adapter_session {
	const struct publish_source *source; /* borrowed */
	struct server *server;
	struct reader *reader;
};

static void close_session(struct adapter_session *session)
{
	if (!session)
		return;
	reader_free(session->reader);
	server_free(session->server);
	free(session);
}

static enum hr_status open_session(const struct adapter_request *request,
				   struct adapter_session **out, struct hr_err *err)
{
	struct server *server;

	if (server_open(request, &server, err) != HR_OK)
		return err->status;
	struct adapter_session *session = mem_new(struct adapter_session);
	session->source = request->source;
	session->server = server;
	session->reader = reader_new(server, request->source, &reader_guid);
	*out = session;
	return HR_OK;
}

/* Where rows go. */
struct sink {
	struct reader *reader;
	adapter_entry_fn *fn;
	void *arg;
};

static enum hr_status take_entry(void *arg, LDAPMessage *message, struct hr_err *err)
{
	const struct sink *sink = arg;
	const struct publish_entry *row;

	if (reader_row(sink->reader, message, &row, err) != HR_OK)
		return err->status;
	return sink->fn(sink->arg, row, err);
}

static enum hr_status read_all(struct adapter_session *session, adapter_entry_fn *fn, void *arg,
			       struct hr_err *err)
{
	struct sink sink = { session->reader, fn, arg };
	const struct server_search search = {
		.base = session->source->contexts[0].base_dn,
		.filter = session->source->filter,
		.scope = LDAP_SCOPE_SUBTREE,
		.attributes = reader_attributes(session->reader),
	};

	if (paged_search(session->server, &search, session->source->page_size, take_entry, &sink,
			 err) != HR_OK)
		return err_add(err, "read %s", server_url(session->server));
	return HR_OK;
}

static const char *url_of(const struct adapter_session *session)
{
	return server_url(session->server);
}

const struct adapter adapter_activedirectory = {
	.kind = "activedirectory",
	.open = open_session,
	.read = read_all,
	.close = close_session,
	.url = url_of,
};
