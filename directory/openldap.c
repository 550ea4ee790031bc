/* SPDX-License-Identifier: Apache-2.0 */
/* OpenLDAP, and what is like it: one paged search of the whole subtree. The anchor is entryUUID. */
#include "directory/adapter.h"

#include "directory/paged.h"
#include "directory/reader.h"

struct adapter_session {
	const struct adapter_request *request; /* borrowed */
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
	session->request = request;
	session->server = server;
	session->reader = reader_new(server, request->source, &reader_uuid);
	*out = session;
	return HR_OK;
}

/* Where rows go. */
struct target {
	struct reader *reader;
	const struct adapter_sink *sink;
	int64_t count;
};

static enum hr_status take_entry(void *arg, LDAPMessage *message, struct hr_err *err)
{
	struct target *target = arg;
	const struct publish_entry *row;

	if (reader_row(target->reader, message, &row, err) != HR_OK)
		return err->status;
	target->count++;
	return target->sink->entry(target->sink->arg, row, err);
}

static enum hr_status read_all(struct adapter_session *session, const struct adapter_sink *sink,
			       struct publish_cursor *position, struct hr_err *err)
{
	const struct publish_source *source = session->request->source;
	struct target target = { session->reader, sink, 0 };
	const struct server_search search = {
		.base = session->request->context->base_dn,
		.filter = source->filter,
		.scope = LDAP_SCOPE_SUBTREE,
		.attributes = reader_attributes(session->reader),
	};

	if (paged_search(session->server, &search, source->page_size, take_entry, &target, err) !=
	    HR_OK)
		return err_add(err, "read %s", server_url(session->server));
	*position = (struct publish_cursor){ .method = str_dup("none"), .entries = target.count };
	return HR_OK;
}

static enum hr_status no_changes(struct adapter_session *session, const struct adapter_sink *sink,
				 struct publish_cursor *position, struct hr_err *err)
{
	(void)session;
	(void)sink;
	(void)position;
	(void)err;
	return HR_NONE;
}

static int no_fd(const struct adapter_session *session)
{
	(void)session;
	return -1;
}

static const char *no_limits(const struct adapter_session *session)
{
	(void)session;
	return NULL;
}

static const char *url_of(const struct adapter_session *session)
{
	return server_url(session->server);
}

const struct adapter adapter_openldap = {
	.kind = "openldap",
	.open = open_session,
	.read = read_all,
	.changes = no_changes,
	.fd = no_fd,
	.url = url_of,
	.limits = no_limits,
	.close = close_session,
};
