/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/bind.h"

#include "base/secret.h"

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

enum hr_status bind_server(struct server *server, const struct adapter_request *request, bool tls,
			   struct hr_err *err)
{
	(void)tls;
	if (bind_simple(server, request, err) != HR_OK)
		return err_add(err, "bind as %s", request->source->bind_dn);
	return HR_OK;
}
