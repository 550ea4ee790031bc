/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/bind.h"

#include "base/secret.h"
#include "directory/gssapi.h"

static enum hr_status bind_simple(struct server *server, const struct adapter_request *request,
				  struct hr_err *err)
{
	const struct publish_source *source = request->source;
	LDAPMessage *message = NULL;
	scoped_secret password = NULL;
	int id = 0;

	if (secret_read(request->secrets, source->bind_secret, &password, err) != HR_OK)
		return err->status;
	struct berval credentials = { strlen(password), password };
	int code = ldap_sasl_bind(server_ld(server), source->bind_dn, LDAP_SASL_SIMPLE,
				  &credentials, NULL, NULL, &id);
	secret_free(give(password));
	if (code != LDAP_SUCCESS)
		return server_fault(server, code, err);
	if (server_receive(server, id, &message, err) != HR_OK)
		return err->status;
	return server_finish(server, message, NULL, err);
}

static enum hr_status bind_gssapi(struct server *server, const struct adapter_request *request,
				  bool tls, struct hr_err *err)
{
	const struct publish_source *source = request->source;
	scoped_str keytab = NULL;
	LDAPURLDesc *url = NULL;

	if (secret_path(request->secrets, source->bind_secret, &keytab, err) != HR_OK)
		return err->status;
	if (ldap_url_parse(server_url(server), &url) != LDAP_URL_SUCCESS)
		return err_set(err, HR_FAIL, "not a URL");
	const struct gssapi_request how = { url->lud_host, source->bind_dn, keytab, tls };
	enum hr_status status = gssapi_bind(server, &how, err);
	ldap_free_urldesc(url);
	return status;
}

/* What Active Directory means by the number after "data" when it refuses a bind: Windows error
 * codes, in hexadecimal. */
static const struct {
	const char *code, *meaning;
} refusals[] = {
	{ "525", "there is no such account" },
	{ "52e", "the password is wrong, or there is no such account" },
	{ "530", "the account may not log on at this time" },
	{ "531", "the account may not log on from this host" },
	{ "532", "the password has expired" },
	{ "533", "the account is disabled" },
	{ "701", "the account has expired" },
	{ "773", "the password must be changed first" },
	{ "775", "the account is locked" },
};

static void explain(struct hr_err *err)
{
	const char *data = strstr(err->text, ", data ");

	for (size_t i = 0; data && i < countof(refusals); i++)
		if (strncmp(data + 7, refusals[i].code, 3) == 0) {
			err_set(err, err->status, "Invalid credentials (49): %s (data %s)",
				refusals[i].meaning, refusals[i].code);
			return;
		}
}

enum hr_status bind_server(struct server *server, const struct adapter_request *request, bool tls,
			   struct hr_err *err)
{
	bool gssapi = strcmp(request->source->bind, "gssapi") == 0;

	if ((gssapi ? bind_gssapi(server, request, tls, err) : bind_simple(server, request, err)) ==
	    HR_OK)
		return HR_OK;
	if (server_code(server) == LDAP_INVALID_CREDENTIALS)
		explain(err);
	return err_add(err, "bind as %s", request->source->bind_dn);
}
