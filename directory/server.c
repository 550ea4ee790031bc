/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/server.h"

#include "base/secret.h"
#include "directory/bind.h"
#include "directory/dial.h"
#include "directory/failover.h"
#include "directory/patience.h"

#include <openldap.h>
#include <sys/time.h>
#include <unistd.h>

enum {
	CONNECT_MS = 10 * 1000, /* to connect, and for each piece of a handshake and a bind */
	HURRY_MS = 2 * 1000,	/* the same in a hurry */
	/* For the next message of a quick answer, also where entryUUID has no index. */
	QUICK_MS = 10 * 1000,
	/* For the next message of an answer: more than a controller of Active Directory takes for a
	 * search (MaxQueryDuration, 120 s), so that it is that who says what was too much. */
	ANSWER_MS = 150 * 1000,
	MESSAGE_BYTES = 16 << 20, /* the longest message that is taken */
};

static const char system_ca[] = "/etc/ssl/certs/ca-certificates.crt";

struct server {
	LDAP *ld;
	const struct adapter_request *request; /* borrowed */
	const char *url;		       /* borrowed from the source */
	struct patience patience;
	msec answer; /* the longest wait for a message of what was asked last */
	int code;
	bool lost; /* libldap would connect again by itself, without TLS and bind */
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

/* A server's text may hold line ends and control characters. */
static void make_plain(char *text)
{
	for (char *at = text; at && *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
}

/* `detail`: what the server said to the operation, NULL: what libldap has to say. Freed here. */
static enum hr_status fault(struct server *server, int code, char *detail, struct hr_err *err)
{
	server->code = code;
	server->lost |= code < 0;
	if (stop_is_set(server->request->stop) || server->patience.expired) {
		ldap_memfree(detail);
		return stop_is_set(server->request->stop)
			       ? err_set(err, HR_RETRY, "the daemon is ending")
			       : err_set(err, HR_RETRY, "no answer in %d s",
					 (int)(server->patience.limit / 1000));
	}
	if (!detail)
		ldap_get_option(server->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &detail);
	make_plain(detail);
	bool more = detail && *detail;
	err_set(err, status_of(code), "%s (%d)%s%s", ldap_err2string(code), code, more ? ": " : "",
		more ? detail : "");
	ldap_memfree(detail);
	return err->status;
}

enum hr_status server_fault(struct server *server, int code, struct hr_err *err)
{
	return fault(server, code, NULL, err);
}

int server_code(const struct server *server)
{
	return server->code;
}

/* Open ---------------------------------------------------------------------------------------- */

struct setting {
	int option;
	const void *value;
	const char *what;
};

static enum hr_status set_options(struct server *server, struct hr_err *err)
{
	static const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
	static const int least = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
	const struct timeval timeout = { server->patience.limit / 1000, 0 };
	const struct publish_source *source = server->request->source;
	scoped_str ca = NULL;

	if (source->ca && secret_path(server->request->secrets, source->ca, &ca, err) != HR_OK)
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
	for (size_t i = 0; i < countof(settings); i++)
		if (ldap_set_option(server->ld, settings[i].option, settings[i].value) !=
		    LDAP_OPT_SUCCESS)
			return err_set(err, HR_FAIL, "cannot set %s", settings[i].what);
	return HR_OK;
}

/* A connection of libldap to the host of the URL, with bounded waits; no byte has been sent. */
static enum hr_status connect_to(struct server *server, const LDAPURLDesc *url, struct hr_err *err)
{
	const msec limit = server->request->hurry ? HURRY_MS : CONNECT_MS;
	const struct dial to = { url->lud_host, url->lud_port, limit, server->request->stop };
	int fd = -1;

	if (dial(&to, &fd, err) != HR_OK)
		return err->status;
	int code = ldap_init_fd(fd, LDAP_PROTO_TCP, server->url, &server->ld);
	if (code != LDAP_SUCCESS) {
		close(fd);
		return err_set(err, HR_FAIL, "%s", ldap_err2string(code));
	}
	server->patience = (struct patience){
		.stop = server->request->stop,
		.limit = limit,
		.most_bytes = MESSAGE_BYTES,
	};
	server->answer = limit;
	if (patience_apply(&server->patience, server->ld) != LDAP_OPT_SUCCESS)
		return err_set(err, HR_FAIL, "cannot bound the waits of libldap");
	return set_options(server, err);
}

/* libldap over GnuTLS says no more than this of a certificate that it does not accept. */
static const char no_reason[] = "(unknown error code)";

static enum hr_status secure(struct server *server, bool ldaps, struct hr_err *err)
{
	const char *ca = server->request->source->ca;
	int code = ldaps ? ldap_install_tls(server->ld) : ldap_start_tls_s(server->ld, NULL, NULL);

	if (code == LDAP_SUCCESS)
		return HR_OK;
	fault(server, code, NULL, err);
	if (code == LDAP_CONNECT_ERROR && strstr(err->text, no_reason))
		err_set(err, err->status,
			"the server's certificate has expired, names another host, or is of no "
			"authority in %s",
			ca ? ca : system_ca);
	return err_add(err, ldaps ? "TLS" : "StartTLS");
}

/* What a URL means to us. */
enum scheme { LDAPS, STARTTLS, PLAIN };

static enum hr_status scheme_of(const struct server *server, const LDAPURLDesc *url,
				enum scheme *out, struct hr_err *err)
{
	const char *tls = server->request->source->tls;

	if (!url->lud_host || !*url->lud_host)
		return err_set(err, HR_FAIL, "the URL names no host");
	if (strcmp(url->lud_scheme, "ldaps") == 0)
		*out = LDAPS;
	else if (strcmp(tls, "starttls") == 0)
		*out = STARTTLS;
	else if (strcmp(tls, "plain") == 0)
		*out = PLAIN;
	else
		return err_set(err, HR_FAIL,
			       "without TLS nothing is read: use ldaps:// or StartTLS");
	return HR_OK;
}

/* Connects to server->url, by TLS unless the registry names plain text, and binds. */
static enum hr_status connect_and_bind(struct server *server, struct hr_err *err)
{
	LDAPURLDesc *url = NULL;
	enum scheme scheme = LDAPS;

	if (ldap_url_parse(server->url, &url) != LDAP_URL_SUCCESS)
		return err_set(err, HR_FAIL, "not a URL like ldaps://dc1.example");
	enum hr_status status = scheme_of(server, url, &scheme, err);
	if (status == HR_OK)
		status = connect_to(server, url, err);
	ldap_free_urldesc(url);
	if (status == HR_OK && scheme != PLAIN)
		status = secure(server, scheme == LDAPS, err);
	return status == HR_OK ? bind_server(server, server->request, scheme != PLAIN, err)
			       : status;
}

static void disconnect(struct server *server)
{
	if (server->ld)
		ldap_unbind_ext(server->ld, NULL, NULL);
	server->ld = NULL;
	server->lost = false;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	disconnect(server);
	free(server);
}

enum hr_status server_open(const struct adapter_request *request, struct server **out,
			   struct hr_err *err)
{
	scoped(server) server = mem_new(struct server);
	const struct failover before = *request->failover;
	char **urls = request->context->urls;
	size_t n = 0;

	while (urls[n])
		n++;
	server->request = request;
	err_set(err, HR_FAIL, "no URL");
	for (size_t nth = 0; nth < n; nth++) {
		size_t i = failover_pick(&before, n, nth, time_msec());
		server->url = urls[i];
		if (connect_and_bind(server, err) == HR_OK) {
			failover_worked(request->failover, i);
			server->patience.limit = CONNECT_MS;
			*out = give(server);
			return HR_OK;
		}
		disconnect(server);
		err_add(err, "%s", server->url);
		if (err->status == HR_FAIL || stop_is_set(request->stop))
			break;
		failover_failed(request->failover, i, time_msec());
	}
	return err->status;
}

const char *server_url(const struct server *server)
{
	return server->url;
}

LDAP *server_ld(const struct server *server)
{
	return server->ld;
}

int server_fd(const struct server *server)
{
	int fd = -1;

	ldap_get_option(server->ld, LDAP_OPT_DESC, &fd);
	return fd;
}

/* Ask ----------------------------------------------------------------------------------------- */

enum hr_status server_search(struct server *server, const struct server_search *search, int *id,
			     struct hr_err *err)
{
	int code = LDAP_SERVER_DOWN;

	if (!server->lost)
		code = ldap_search_ext(server->ld, search->base, search->scope, search->filter,
				       search->attributes, 0, search->controls, NULL, NULL,
				       LDAP_NO_LIMIT, id);
	server->answer = search->quick ? QUICK_MS : ANSWER_MS;
	if (code == LDAP_SUCCESS)
		return HR_OK;
	fault(server, code, NULL, err);
	return err_add(err, "search %s in %s", search->filter ? search->filter : "(objectClass=*)",
		       search->base);
}

/* Whether a layer above the socket holds bytes that poll(2) does not know of. */
static bool has_buffered(const struct server *server)
{
	Sockbuf *socket = NULL;

	return ldap_get_option(server->ld, LDAP_OPT_SOCKBUF, &socket) == LDAP_OPT_SUCCESS &&
	       socket && ber_sockbuf_ctrl(socket, LBER_SB_OPT_DATA_READY, NULL) == 1;
}

enum hr_status server_poll(struct server *server, int id, LDAPMessage **out, struct hr_err *err)
{
	struct timeval now = { 0 };
	LDAPMessage *message = NULL;
	int type = -1;

	if (!server->lost)
		do /* each takes one piece of a message */
			type = ldap_result(server->ld, id, LDAP_MSG_ONE, &now, &message);
		while (type == 0 && has_buffered(server));
	if (type > 0) {
		*out = message;
		return HR_OK;
	}
	if (type == 0)
		return HR_NONE;
	int code = LDAP_SERVER_DOWN;
	if (!server->lost)
		ldap_get_option(server->ld, LDAP_OPT_RESULT_CODE, &code);
	return fault(server, code == LDAP_SUCCESS ? LDAP_SERVER_DOWN : code, NULL, err);
}

enum hr_status server_receive(struct server *server, int id, LDAPMessage **out, struct hr_err *err)
{
	msec deadline = time_msec() + server->answer;
	enum hr_status status;

	while ((status = server_poll(server, id, out, err)) == HR_NONE) {
		struct pollfd fds[2] = { { server_fd(server), POLLIN, 0 } };
		switch (stop_wait(server->request->stop, fds, 1, deadline - time_msec())) {
		case STOP_READY:
			break;
		case STOP_TIMEOUT:
			server->lost = true;
			return err_set(err, HR_RETRY, "no answer in %d s",
				       (int)(server->answer / 1000));
		case STOP_STOPPED:
			return err_set(err, HR_RETRY, "the daemon is ending");
		}
	}
	return status;
}

enum hr_status server_finish(struct server *server, LDAPMessage *message, LDAPControl ***controls,
			     struct hr_err *err)
{
	LDAPControl **found = NULL;
	char *text = NULL;
	int code = LDAP_OTHER;
	int parsed = ldap_parse_result(server->ld, message, &code, NULL, &text, NULL, &found, 1);

	if (parsed == LDAP_SUCCESS && code == LDAP_SUCCESS) {
		ldap_memfree(text);
		if (controls)
			*controls = found;
		else
			ldap_controls_free(found);
		return HR_OK;
	}
	ldap_controls_free(found);
	return fault(server, parsed == LDAP_SUCCESS ? code : parsed, text, err);
}

enum hr_status server_read(struct server *server, const struct server_search *search,
			   LDAPMessage **entry, struct hr_err *err)
{
	LDAPMessage *message, *first = NULL;
	enum hr_status status;
	int id;

	if (server_search(server, search, &id, err) != HR_OK)
		return err->status;
	while ((status = server_receive(server, id, &message, err)) == HR_OK) {
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_RESULT) {
			status = server_finish(server, message, NULL, err);
			break;
		}
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_ENTRY && !first)
			first = message;
		else
			ldap_msgfree(message);
	}
	if (status == HR_OK && !first)
		return err_set(err, HR_NONE, "nothing at %s", search->base);
	if (status == HR_OK)
		*entry = first;
	else
		ldap_msgfree(first);
	return status;
}
