/* SPDX-License-Identifier: Apache-2.0 */
/* The adapters for OpenLDAP and Active Directory: simple bind over TLS and one paged search
 * (RFC 2696) of the whole subtree. They differ in the anchor. */
#include "directory/adapter.h"

#include "directory/patience.h"
#include "directory/secret.h"

#include <ldap.h>
#include <sys/time.h>

enum {
	NETWORK_TIMEOUT_S = 10,	  /* to connect, to shake hands */
	ANSWER_TIMEOUT_S = 60,	  /* for the next message of an answer */
	TICK_MS = 250,		  /* how often *stop is looked at meanwhile */
	MESSAGE_BYTES = 16 << 20, /* the longest message that is taken */
};

static const char system_ca[] = "/etc/ssl/certs/ca-certificates.crt";

struct kind {
	const char *anchor;
	void (*set_anchor)(struct entry *entry, struct slice value);
};
static const struct kind openldap = { "entryUUID", entry_set_uuid };
static const struct kind activedirectory = { "objectGUID", entry_set_guid };

struct adapter_session {
	LDAP *ld;
	const struct kind *kind;
	const struct adapter_request *request; /* borrowed */
	const char *url;		       /* borrowed from the source */
	struct patience patience;
	struct entry *entry;
	char **wanted; /* attributes to ask for; NULL-terminated, its texts borrowed */
};

/* Failures ------------------------------------------------------------------------------------ */

/* Codes that may pass by themselves. The rest need somebody to act. */
static const int transient_codes[] = {
	LDAP_SERVER_DOWN, LDAP_TIMEOUT,		 LDAP_CONNECT_ERROR,	    LDAP_BUSY,
	LDAP_UNAVAILABLE, LDAP_OPERATIONS_ERROR, LDAP_UNWILLING_TO_PERFORM, LDAP_TIMELIMIT_EXCEEDED,
	LDAP_OTHER,
};

static enum hr_status status_of(int code)
{
	for (size_t i = 0; i < countof(transient_codes); i++)
		if (transient_codes[i] == code)
			return HR_RETRY;
	return HR_FAIL;
}

static bool must_stop(const struct adapter_session *session)
{
	return atomic_load_explicit(session->request->stop, memory_order_relaxed);
}

/* A server's text may hold line ends and control characters. */
static void make_plain(char *text)
{
	for (char *at = text; at && *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
}

/* `detail`: what the server said to the operation, NULL: what libldap has to say. Freed here. */
static enum hr_status ldap_fault(struct adapter_session *session, int code, char *detail,
				 struct hr_err *err)
{
	if (must_stop(session) || session->patience.expired) {
		ldap_memfree(detail);
		return must_stop(session) ? err_set(err, HR_RETRY, "the daemon is ending")
					  : err_set(err, HR_RETRY, "no answer in %d s",
						    session->patience.limit_s);
	}
	if (!detail)
		ldap_get_option(session->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &detail);
	make_plain(detail);
	bool more = detail && *detail;
	err_set(err, status_of(code), "%s (%d)%s%s", ldap_err2string(code), code, more ? ": " : "",
		more ? detail : "");
	ldap_memfree(detail);
	return err->status;
}

/* Open ---------------------------------------------------------------------------------------- */

struct setting {
	int option;
	const void *value;
	const char *what;
};

static enum hr_status apply(LDAP *ld, const struct setting *settings, size_t n, struct hr_err *err)
{
	for (size_t i = 0; i < n; i++)
		if (ldap_set_option(ld, settings[i].option, settings[i].value) != LDAP_OPT_SUCCESS)
			return err_set(err, HR_FAIL, "cannot set %s", settings[i].what);
	return HR_OK;
}

static enum hr_status set_options(struct adapter_session *session, struct hr_err *err)
{
	static const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
	static const int least = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
	static const struct timeval timeout = { NETWORK_TIMEOUT_S, 0 };
	const struct publish_source *source = session->request->source;
	scoped_str ca = NULL;

	if (source->ca && secret_path(session->request->secrets, source->ca, &ca, err) != HR_OK)
		return err_add(err, "CA certificates");
	const struct setting settings[] = {
		{ LDAP_OPT_PROTOCOL_VERSION, &version, "LDAPv3" },
		{ LDAP_OPT_REFERRALS, LDAP_OPT_OFF, "referrals off" },
		{ LDAP_OPT_NETWORK_TIMEOUT, &timeout, "the network timeout" },
		{ LDAP_OPT_TIMEOUT, &timeout, "the timeout" },
		{ LDAP_OPT_X_TLS_REQUIRE_CERT, &demand, "the check of certificates" },
		{ LDAP_OPT_X_TLS_PROTOCOL_MIN, &least, "TLS 1.2" },
		{ LDAP_OPT_X_TLS_CACERTFILE, ca ? ca : system_ca, "the file of CA certificates" },
		{ LDAP_OPT_X_TLS_NEWCTX, &client, ca ? ca : system_ca }, /* reads the file */
	};
	session->patience = (struct patience){
		.stop = session->request->stop,
		.limit_s = NETWORK_TIMEOUT_S,
		.most_bytes = MESSAGE_BYTES,
	};
	if (patience_apply(&session->patience, session->ld) != LDAP_OPT_SUCCESS)
		return err_set(err, HR_FAIL, "cannot bound the waits of libldap");
	return apply(session->ld, settings, countof(settings), err);
}

/* Waits for a message of operation `id`: HR_OK with *message, to be freed with ldap_msgfree. */
static enum hr_status wait_for(struct adapter_session *session, int id, LDAPMessage **message,
			       struct hr_err *err)
{
	for (int waited = 0; waited < ANSWER_TIMEOUT_S * 1000; waited += TICK_MS) {
		struct timeval tick = { 0, TICK_MS * 1000 };
		int type = ldap_result(session->ld, id, LDAP_MSG_ONE, &tick, message);

		if (type > 0 && !must_stop(session))
			return HR_OK;
		if (type > 0)
			ldap_msgfree(*message);
		if (must_stop(session))
			return ldap_fault(session, LDAP_USER_CANCELLED, NULL, err);
		if (type < 0) {
			int code = LDAP_SERVER_DOWN;
			ldap_get_option(session->ld, LDAP_OPT_RESULT_CODE, &code);
			return ldap_fault(session, code, NULL, err);
		}
	}
	return err_set(err, HR_RETRY, "no answer in %d s", ANSWER_TIMEOUT_S);
}

/* The end of an operation. Frees the message; *controls, when asked for, is the caller's. */
static enum hr_status parse_end(struct adapter_session *session, LDAPMessage *message,
				LDAPControl ***controls, struct hr_err *err)
{
	char *text = NULL;
	int code = LDAP_OTHER;
	int parsed = ldap_parse_result(session->ld, message, &code, NULL, &text, NULL, controls, 1);

	if (parsed == LDAP_SUCCESS && code == LDAP_SUCCESS) {
		ldap_memfree(text);
		return HR_OK;
	}
	return ldap_fault(session, parsed == LDAP_SUCCESS ? code : parsed, text, err);
}

static enum hr_status bind_to(struct adapter_session *session, struct hr_err *err)
{
	const struct publish_source *source = session->request->source;
	LDAPMessage *message = NULL;
	char *password = NULL;
	int id = 0;

	if (secret_read(session->request->secrets, source->bind_secret, &password, err) != HR_OK)
		return err_add(err, "password of %s", source->bind_dn);
	struct berval credentials = { strlen(password), password };
	int code = ldap_sasl_bind(session->ld, source->bind_dn, LDAP_SASL_SIMPLE, &credentials,
				  NULL, NULL, &id);
	secret_free(password);
	if (code != LDAP_SUCCESS) {
		ldap_fault(session, code, NULL, err);
		return err_add(err, "connect");
	}
	if (wait_for(session, id, &message, err) != HR_OK ||
	    parse_end(session, message, NULL, err) != HR_OK)
		return err_add(err, "bind as %s", source->bind_dn);
	return HR_OK;
}

/* Connects to session->url, by TLS only, and binds. */
static enum hr_status connect_and_bind(struct adapter_session *session, struct hr_err *err)
{
	bool starttls = strcmp(session->request->source->tls, "starttls") == 0;

	if (strncmp(session->url, "ldaps://", 8) != 0 && !starttls)
		return err_set(err, HR_FAIL,
			       "without TLS nothing is read: use ldaps:// or StartTLS");
	int code = ldap_initialize(&session->ld, session->url);
	if (code != LDAP_SUCCESS)
		return err_set(err, HR_FAIL, "%s", ldap_err2string(code));
	if (set_options(session, err) != HR_OK)
		return err->status;
	if (starttls && (code = ldap_start_tls_s(session->ld, NULL, NULL)) != LDAP_SUCCESS) {
		ldap_fault(session, code, NULL, err);
		return err_add(err, "StartTLS");
	}
	return bind_to(session, err);
}

static void disconnect(struct adapter_session *session)
{
	if (session->ld)
		ldap_unbind_ext(session->ld, NULL, NULL);
	session->ld = NULL;
}

static void close_session(struct adapter_session *session)
{
	if (!session)
		return;
	disconnect(session);
	entry_free(session->entry);
	free(session->wanted);
	free(session);
}

static enum hr_status open_kind(const struct kind *kind, const struct adapter_request *request,
				struct adapter_session **out, struct hr_err *err)
{
	const struct publish_source *source = request->source;
	struct adapter_session *session = mem_new(struct adapter_session);

	session->kind = kind;
	session->request = request;
	session->entry =
		entry_new((const char *const *)source->attributes, source->attribute_count);
	session->wanted = mem_array(char *, source->attribute_count + 2);
	for (size_t i = 0; i < source->attribute_count; i++)
		session->wanted[i] = source->attributes[i];
	session->wanted[source->attribute_count] = (char *)(uintptr_t)kind->anchor;

	err_set(err, HR_FAIL, "no URL");
	for (size_t i = 0; source->urls[i]; i++) {
		session->url = source->urls[i];
		if (connect_and_bind(session, err) == HR_OK) {
			*out = session;
			return HR_OK;
		}
		disconnect(session);
		err_add(err, "%s", session->url);
		if (err->status == HR_FAIL || must_stop(session))
			break; /* the next would refuse us too, and might lock the account */
	}
	close_session(session);
	return err->status;
}

/* Read ---------------------------------------------------------------------------------------- */

static struct slice slice_of(const struct berval *value)
{
	return (struct slice){ value->bv_val, value->bv_len };
}

static enum hr_status take_entry(struct adapter_session *session, LDAPMessage *message,
				 adapter_entry_fn *fn, void *arg, struct hr_err *err)
{
	struct entry *entry = session->entry;
	size_t anchor_len = strlen(session->kind->anchor);
	struct berval dn, name, *values;
	BerElement *ber = NULL;

	int code = ldap_get_dn_ber(session->ld, message, &ber, &dn);
	if (code != LDAP_SUCCESS)
		return ldap_fault(session, code, NULL, err);
	entry_reset(entry);
	entry_set_dn(entry, slice_of(&dn));
	while ((code = ldap_get_attribute_ber(session->ld, message, ber, &name, &values)) ==
		       LDAP_SUCCESS &&
	       name.bv_val) {
		bool is_anchor = name.bv_len == anchor_len &&
				 strncasecmp(name.bv_val, session->kind->anchor, anchor_len) == 0;
		for (size_t i = 0; values && values[i].bv_val; i++) {
			if (is_anchor && i == 0)
				session->kind->set_anchor(entry, slice_of(&values[i]));
			entry_add(entry, slice_of(&name), slice_of(&values[i]));
		}
		ldap_memfree(values);
	}
	enum hr_status status = code == LDAP_SUCCESS ? fn(arg, entry_row(entry), err)
						     : ldap_fault(session, code, NULL, err);
	ber_free(ber, 0);
	return status;
}

/* Sends the search for one page; `cookie` is empty for the first. */
static enum hr_status ask_page(struct adapter_session *session, struct berval *cookie, int *id,
			       struct hr_err *err)
{
	const struct publish_source *source = session->request->source;
	LDAPControl *control = NULL;

	int code = ldap_create_page_control(session->ld, source->page_size, cookie, 1, &control);
	if (code == LDAP_SUCCESS) {
		LDAPControl *controls[] = { control, NULL };
		code = ldap_search_ext(session->ld, source->base_dn, LDAP_SCOPE_SUBTREE,
				       source->filter, session->wanted, 0, controls, NULL, NULL,
				       LDAP_NO_LIMIT, id);
		ldap_control_free(control);
	}
	if (code == LDAP_SUCCESS)
		return HR_OK;
	ldap_fault(session, code, NULL, err);
	return err_add(err, "search %s in %s", source->filter, source->base_dn);
}

/* Takes the cookie of the next page from the end of this one; empty: that was the last. */
static enum hr_status next_cookie(struct adapter_session *session, LDAPControl **controls,
				  struct berval *cookie, struct hr_err *err)
{
	LDAPControl *control = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL);
	ber_int_t estimate;

	ber_memfree(cookie->bv_val);
	*cookie = (struct berval){ 0 };
	int code =
		control ? ldap_parse_pageresponse_control(session->ld, control, &estimate, cookie)
			: LDAP_CONTROL_NOT_FOUND;
	if (code != LDAP_SUCCESS)
		return err_set(err, HR_FAIL, "the directory does not page its answer (%d)", code);
	return HR_OK;
}

static enum hr_status read_page(struct adapter_session *session, struct berval *cookie,
				adapter_entry_fn *fn, void *arg, struct hr_err *err)
{
	LDAPMessage *message = NULL;
	LDAPControl **controls = NULL;
	enum hr_status status = HR_OK;
	int id;

	if (ask_page(session, cookie, &id, err) != HR_OK)
		return err->status;
	while (status == HR_OK) {
		status = wait_for(session, id, &message, err);
		if (status != HR_OK)
			break;
		int type = ldap_msgtype(message);
		if (type == LDAP_RES_SEARCH_RESULT) {
			status = parse_end(session, message, &controls, err);
			break;
		}
		if (type == LDAP_RES_SEARCH_ENTRY) /* references are not followed */
			status = take_entry(session, message, fn, arg, err);
		ldap_msgfree(message);
	}
	if (status == HR_OK)
		status = next_cookie(session, controls, cookie, err);
	ldap_controls_free(controls);
	return status;
}

static enum hr_status read_all(struct adapter_session *session, adapter_entry_fn *fn, void *arg,
			       struct hr_err *err)
{
	struct berval cookie = { 0 };
	enum hr_status status;

	do
		status = read_page(session, &cookie, fn, arg, err);
	while (status == HR_OK && cookie.bv_len > 0);
	ber_memfree(cookie.bv_val);
	return status == HR_OK ? HR_OK : err_add(err, "read %s", session->url);
}

static const char *url_of(const struct adapter_session *session)
{
	return session->url;
}

static enum hr_status open_openldap(const struct adapter_request *request,
				    struct adapter_session **out, struct hr_err *err)
{
	return open_kind(&openldap, request, out, err);
}

static enum hr_status open_activedirectory(const struct adapter_request *request,
					   struct adapter_session **out, struct hr_err *err)
{
	return open_kind(&activedirectory, request, out, err);
}

const struct adapter ldap_openldap = {
	.kind = "openldap",
	.open = open_openldap,
	.read = read_all,
	.close = close_session,
	.url = url_of,
};

const struct adapter ldap_activedirectory = {
	.kind = "activedirectory",
	.open = open_activedirectory,
	.read = read_all,
	.close = close_session,
	.url = url_of,
};
