/* SPDX-License-Identifier: Apache-2.0 */
/* Active Directory. Everything is read in pages. Of changes, DirSync or, where it is not granted,
 * the update sequence numbers tell who has changed, also by having been deleted; those are read
 * again by their objectGUID, which is the anchor, as the forest's filter lets them be seen: who is
 * not found is gone. Notices only wake us. When a unit, a container or a group that the filter
 * looks at has moved or gone, others have changed that are not named: a full run is due. */
#include "directory/adapter.h"

#include "directory/controller.h"
#include "directory/dirsync.h"
#include "directory/notice.h"
#include "directory/reread.h"
#include "directory/usn.h"

enum { ASK_EVERY_MS = 200 }; /* changes are not asked for more often */

struct session {
	struct adapter_session shown;
	const struct adapter_request *request; /* borrowed */
	struct server *server;
	struct reader *reader;
	struct controller controller; /* root NULL: it is none */
	struct filter *filter;
	char **asked; /* of DirSync */
	struct notice notice;
	msec asked_at;
	bool accepted; /* the position is of this controller */
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
	reader_free(session->reader);
	server_free(session->server);
	controller_clear(&session->controller);
	filter_free(session->filter);
	free(session->asked);
	free(shown->limits);
	free(session);
}

static void add_limit(struct session *session, const char *text)
{
	char **limits = &session->shown.limits;
	char *more = *limits ? str_format("%s; %s", *limits, text) : str_dup(text);

	free(*limits);
	*limits = more;
}

/* Connects, and asks who answers. */
static enum hr_status meet(struct session *session, struct hr_err *err)
{
	const struct adapter_request *request = session->request;

	if (filter_new(request->source->filter, &session->filter, err) != HR_OK ||
	    server_open(request, &session->server, err) != HR_OK)
		return err->status;
	enum hr_status status = controller_read(session->server, request->context->base_dn,
						&session->controller, err);
	if (status == HR_NONE) {
		err_add(err, "changes are seen by full runs only");
		add_limit(session, err->text);
		return HR_OK;
	}
	if (status == HR_OK && !session->controller.shows_deleted)
		add_limit(session, "deleted objects are not shown to the account: deletions may be "
				   "seen by full runs only");
	return status;
}

static enum hr_status open_session(const struct adapter_request *request,
				   struct adapter_session **out, struct hr_err *err)
{
	struct session *session = mem_new(struct session);

	session->request = request;
	if (meet(session, err) != HR_OK) {
		close_session(&session->shown);
		return err->status;
	}
	session->shown.fd = server_fd(session->server);
	session->shown.url = server_url(session->server);
	session->reader = reader_new(session->server, request->source, &reader_guid);
	session->asked = dirsync_attributes(request->source->attributes, session->filter);
	*out = &session->shown;
	return HR_OK;
}

/* Read -------------------------------------------------------------------------------------------
 */

/* What a controller answers to DirSync when it does not want to, or not with that cookie. */
static bool is_refusal(int code)
{
	static const int refusals[] = {
		LDAP_UNAVAILABLE_CRITICAL_EXTENSION,
		LDAP_UNWILLING_TO_PERFORM,
		LDAP_INSUFFICIENT_ACCESS,
		LDAP_PROTOCOL_ERROR,
		LDAP_STRONG_AUTH_REQUIRED,
	};

	for (size_t i = 0; i < countof(refusals); i++)
		if (refusals[i] == code)
			return true;
	return false;
}

/* The position of now, before anything is read. */
static enum hr_status begin(struct session *session, struct publish_cursor *position,
			    struct hr_err *err)
{
	struct controller *controller = &session->controller;
	struct slice cookie = { 0 };
	const char *method = "dirsync";

	if (!controller->root) {
		*position = (struct publish_cursor){ .method = str_dup("none") };
		return HR_OK;
	}
	if (dirsync_begin(session->server, controller->root, &cookie, err) != HR_OK) {
		if (!is_refusal(server_code(session->server)))
			return err->status;
		method = "usn";
		err_add(err, "changes are found by uSNChanged, DirSync is refused");
		add_limit(session, err->text);
	}
	if (controller_look(session->server, controller, err) != HR_OK) {
		free((char *)(uintptr_t)cookie.data);
		return err->status;
	}
	session->accepted = true;
	*position = (struct publish_cursor){
		.method = str_dup(method),
		.server = str_dup(controller->name),
		.incarnation = str_dup(controller->incarnation),
		.usn = controller->usn,
		.cookie = cookie,
	};
	return HR_OK;
}

static struct server_search search_for(const struct session *session, const char *filter)
{
	return (struct server_search){
		.base = session->request->context->base_dn,
		.filter = filter,
		.scope = LDAP_SCOPE_SUBTREE,
		.attributes = reader_attributes(session->reader),
		.page_size = session->request->source->page_size,
	};
}

static enum hr_status read_all(struct adapter_session *shown, const struct adapter_sink *sink,
			       struct publish_cursor *position, struct hr_err *err)
{
	struct session *session = own(shown);
	const struct adapter_request *request = session->request;
	const struct server_search search = search_for(session, request->source->filter);
	struct publish_cursor now;

	if (begin(session, &now, err) != HR_OK)
		return err_add(err, "%s", server_url(session->server));
	if (reader_search(session->reader, &search, sink, &now.entries, err) != HR_OK) {
		cursor_clear(&now);
		return err_add(err, "read %s of %s", request->context->base_dn,
			       server_url(session->server));
	}
	*position = now;
	return HR_OK;
}

/* Follow -----------------------------------------------------------------------------------------
 */

static enum hr_status doubt(struct session *session, enum adapter_doubt why, struct hr_err *err)
{
	session->shown.doubt = why;
	return err->status = HR_UNSURE;
}

/* Once in a session: is the position of this controller? And who wakes us? */
static enum hr_status go_on_from(struct session *session, const struct publish_cursor *position,
				 struct hr_err *err)
{
	if (!session->controller.root) {
		err_set(err, HR_UNSURE, "it is no controller of Active Directory any more");
		return doubt(session, ADAPTER_REFUSED, err);
	}
	if (!session->accepted && controller_accepts(&session->controller, position, err) != HR_OK)
		return doubt(session, ADAPTER_REFUSED, err);
	session->accepted = true;
	return notice_ask(&session->notice, session->server, session->controller.root, err);
}

/* Does not ask again at once after having asked. */
static enum hr_status pace(struct session *session, struct hr_err *err)
{
	msec wait = session->asked_at + ASK_EVERY_MS - time_msec();
	struct pollfd none[1];

	if (session->asked_at != 0 && wait > 0 &&
	    stop_wait(session->request->stop, none, 0, wait) == STOP_STOPPED)
		return err_set(err, HR_RETRY, "the daemon is ending");
	session->asked_at = time_msec();
	return HR_OK;
}

static enum hr_status hear_by_dirsync(struct session *session, struct guids *changed,
				      struct publish_cursor *position, bool *more,
				      struct hr_err *err)
{
	const struct dirsync_request request = { session->controller.root, "(objectClass=*)",
						 session->asked, position->cookie };
	struct dirsync_answer answer;

	/* one that hangs is found out at once */
	if (controller_look(session->server, &session->controller, err) != HR_OK)
		return err->status;
	if (dirsync_round(session->server, &request, changed, &answer, err) != HR_OK)
		return is_refusal(server_code(session->server))
			       ? doubt(session, ADAPTER_REFUSED, err)
			       : err->status;
	free((char *)(uintptr_t)position->cookie.data);
	position->cookie = answer.cookie;
	*more = answer.more;
	return changed->n > 0 ? controller_look(session->server, &session->controller, err) : HR_OK;
}

static enum hr_status hear_by_usn(struct session *session, struct guids *changed,
				  const struct publish_cursor *position, struct hr_err *err)
{
	if (controller_look(session->server, &session->controller, err) != HR_OK)
		return err->status;
	if (session->controller.usn == position->usn)
		return HR_OK;
	const struct usn_request request = { session->controller.root, position->usn,
					     session->request->source->page_size };
	return usn_round(session->server, &request, changed, err);
}

/* Who has changed since the position, which is moved. */
static enum hr_status hear(struct session *session, struct guids *changed,
			   struct publish_cursor *position, bool *more, struct hr_err *err)
{
	enum hr_status status = strcmp(position->method, "dirsync") == 0
					? hear_by_dirsync(session, changed, position, more, err)
					: hear_by_usn(session, changed, position, err);

	if (status != HR_OK)
		return status;
	if (changed->incomplete) {
		err_set(err, HR_UNSURE, "more has changed than can be read one by one");
		return doubt(session, ADAPTER_TOO_MANY, err);
	}
	position->usn = session->controller.usn;
	return HR_OK;
}

static enum hr_status read_again(struct session *session, struct guids *changed,
				 const struct adapter_sink *sink, struct hr_err *err)
{
	bool groups = dirsync_asks_for_members(session->asked);
	scoped_str containers =
		str_format("(|(objectClass=organizationalUnit)(&(objectClass=container)"
			   "(!(objectClass=groupPolicyContainer)))%s)",
			   groups ? "(objectClass=group)" : "");
	const struct server_search search = search_for(session, session->request->source->filter);
	const struct reread how = {
		.server = session->server,
		.reader = session->reader,
		.search = &search,
		.root = session->controller.root,
		.containers = containers,
	};

	enum hr_status status = reread(&how, changed, sink, err);
	return status == HR_UNSURE ? doubt(session, ADAPTER_MOVED, err) : status;
}

static enum hr_status take_changes(struct adapter_session *shown, const struct adapter_sink *sink,
				   struct publish_cursor *position, struct hr_err *err)
{
	struct session *session = own(shown);
	struct guids changed = { 0 };
	bool more = false;

	if (go_on_from(session, position, err) != HR_OK || pace(session, err) != HR_OK)
		return err->status;
	enum hr_status status = notice_take(&session->notice, session->server, err);
	if (status != HR_OK && status != HR_NONE)
		return status;
	status = hear(session, &changed, position, &more, err);
	if (status == HR_OK && changed.n > 0)
		status = read_again(session, &changed, sink, err);
	guids_clear(&changed);
	if (status != HR_OK)
		return status;
	status = notice_take(&session->notice, session->server, err); /* since we have asked */
	return status == HR_NONE && more ? HR_OK : status;
}

static enum hr_status find(struct adapter_session *shown, const struct slice *anchors, size_t n,
			   const struct adapter_sink *sink, struct hr_err *err)
{
	struct session *session = own(shown);
	struct guids guids = { 0 };
	scoped_buf filter = BUF_INIT(0);
	int64_t entries;

	for (size_t i = 0; i < n; i++) {
		unsigned char guid[ANCHOR_RAW];
		if (anchor_to_guid(anchors[i], guid))
			guids_add(&guids, (struct slice){ (const char *)guid, sizeof guid }, false);
	}
	guids_filter(&guids, (struct guids_part){ 0, guids.n, false },
		     session->request->source->filter, &filter);
	guids_clear(&guids);
	struct server_search search = search_for(session, buf_text(&filter));
	search.quick = true;
	return reader_search(session->reader, &search, sink, &entries, err);
}

const struct adapter adapter_activedirectory = {
	.kind = "activedirectory",
	.open = open_session,
	.read = read_all,
	.changes = take_changes,
	.find = find,
	.close = close_session,
};
