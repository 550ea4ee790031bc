/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/ticket.h"

#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

struct ticket {
	krb5_context krb5;
	krb5_ccache cache; /* NULL: none yet */
	krb5_keytab keytab;
	krb5_principal principal;
	gss_cred_id_t credential; /* of the cache */
};

void ticket_free(struct ticket *ticket)
{
	OM_uint32 minor;

	if (!ticket)
		return;
	gss_release_cred(&minor, &ticket->credential);
	if (ticket->cache)
		krb5_cc_destroy(ticket->krb5, ticket->cache);
	if (ticket->keytab)
		krb5_kt_close(ticket->krb5, ticket->keytab);
	if (ticket->principal)
		krb5_free_principal(ticket->krb5, ticket->principal);
	if (ticket->krb5)
		krb5_free_context(ticket->krb5);
	free(ticket);
}

/* Codes that may pass by themselves. */
static const krb5_error_code transient_codes[] = {
	KRB5_KDC_UNREACH,
	KRB5_REALM_CANT_RESOLVE,
	KRB5KDC_ERR_SVC_UNAVAILABLE,
	KRB5_FCC_INTERNAL,
};

static enum hr_status fault(const struct ticket *ticket, krb5_error_code code, struct hr_err *err)
{
	const char *text = krb5_get_error_message(ticket->krb5, code);
	enum hr_status status = HR_FAIL;

	for (size_t i = 0; i < countof(transient_codes); i++)
		if (transient_codes[i] == code)
			status = HR_RETRY;
	err_set(err, status, "Kerberos: %s", text);
	krb5_free_error_message(ticket->krb5, text);
	return status;
}

/* Gets the ticket-granting ticket into a cache of its own. */
static krb5_error_code fetch(struct ticket *ticket)
{
	krb5_creds creds = { 0 };
	krb5_error_code code = krb5_cc_new_unique(ticket->krb5, "MEMORY", NULL, &ticket->cache);

	if (code == 0)
		code = krb5_cc_initialize(ticket->krb5, ticket->cache, ticket->principal);
	if (code == 0)
		code = krb5_get_init_creds_keytab(ticket->krb5, &creds, ticket->principal,
						  ticket->keytab, 0, NULL, NULL);
	if (code == 0)
		code = krb5_cc_store_cred(ticket->krb5, ticket->cache, &creds);
	krb5_free_cred_contents(ticket->krb5, &creds);
	return code;
}

enum hr_status ticket_new(const char *principal, const char *keytab, struct ticket **out,
			  struct hr_err *err)
{
	scoped(ticket) ticket = mem_new(struct ticket);
	scoped_str name = str_format("FILE:%s", keytab);

	if (krb5_init_context(&ticket->krb5) != 0)
		return err_set(err, HR_FAIL, "Kerberos: its configuration cannot be read");
	krb5_error_code code = krb5_parse_name(ticket->krb5, principal, &ticket->principal);
	if (code == 0)
		code = krb5_kt_resolve(ticket->krb5, name, &ticket->keytab);
	if (code == 0)
		code = fetch(ticket);
	if (code != 0)
		return fault(ticket, code, err);
	OM_uint32 minor;
	OM_uint32 major =
		gss_krb5_import_cred(&minor, ticket->cache, NULL, NULL, &ticket->credential);
	if (major != GSS_S_COMPLETE)
		return fault(ticket, (krb5_error_code)minor, err);
	*out = give(ticket);
	return HR_OK;
}

gss_cred_id_t ticket_credential(const struct ticket *ticket)
{
	return ticket->credential;
}
