/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/gssapi.h"

#include "directory/binding.h"
#include "directory/seal.h"
#include "directory/ticket.h"

#include <gssapi/gssapi_krb5.h>

enum {
	STEPS = 10,	       /* the most of a negotiation */
	OFFER_BYTES = 4,       /* what protection there may be, and the longest piece */
	PIECE_BYTES = 1 << 15, /* the longest that we send */
};
enum { NO_PROTECTION = 1, CONFIDENTIALITY = 4 };

/* A negotiation: both ends of it. */
struct negotiation {
	struct server *server;
	gss_cred_id_t credential;
	gss_name_t name; /* the server's */
	gss_ctx_id_t context;
	bool established;
	struct gss_channel_bindings_struct binding; /* to TLS; no data: none */
};

static enum hr_status gss_fault(OM_uint32 major, OM_uint32 minor, struct hr_err *err)
{
	gss_buffer_desc what = GSS_C_EMPTY_BUFFER, why = GSS_C_EMPTY_BUFFER;
	OM_uint32 ignored, more = 0;

	gss_display_status(&ignored, major, GSS_C_GSS_CODE, GSS_C_NO_OID, &more, &what);
	more = 0;
	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, GSS_C_NO_OID, &more, &why);
	err_set(err, HR_FAIL, "Kerberos: %.*s (%.*s)", (int)why.length, (char *)why.value,
		(int)what.length, (char *)what.value);
	gss_release_buffer(&ignored, &what);
	gss_release_buffer(&ignored, &why);
	return HR_FAIL;
}

static enum hr_status name_of(const char *host, gss_name_t *out, struct hr_err *err)
{
	scoped_str text = str_format("ldap@%s", host);
	gss_buffer_desc buffer = { strlen(text), text };
	OM_uint32 minor;
	OM_uint32 major = gss_import_name(&minor, &buffer, GSS_C_NT_HOSTBASED_SERVICE, out);

	return GSS_ERROR(major) ? gss_fault(major, minor, err) : HR_OK;
}

/* Sends a step of a SASL bind and takes the answer: *reply, to be freed with ber_bvfree, NULL:
 * none. HR_NONE: it was the last, and we are bound. */
static enum hr_status exchange(struct negotiation *negotiation, const gss_buffer_desc *token,
			       struct berval **reply, struct hr_err *err)
{
	struct server *server = negotiation->server;
	struct berval credentials = { token->length, token->value };
	LDAPMessage *message;
	int id = 0;

	int code = ldap_sasl_bind(server_ld(server), NULL, "GSSAPI", &credentials, NULL, NULL, &id);
	if (code != LDAP_SUCCESS)
		return server_fault(server, code, err);
	if (server_receive(server, id, &message, err) != HR_OK)
		return err->status;
	*reply = NULL;
	code = ldap_parse_sasl_bind_result(server_ld(server), message, reply, 0);
	int result = LDAP_OTHER;
	if (code == LDAP_SUCCESS)
		ldap_parse_result(server_ld(server), message, &result, NULL, NULL, NULL, NULL, 0);
	if (result == LDAP_SASL_BIND_IN_PROGRESS) {
		ldap_msgfree(message);
		return HR_OK;
	}
	ber_bvfree(*reply);
	*reply = NULL;
	return server_finish(server, message, NULL, err) == HR_OK ? HR_NONE : err->status;
}

/* One step of the context: what the server has said, and what it is to be told. */
static enum hr_status step(struct negotiation *negotiation, const struct berval *said,
			   gss_buffer_desc *token, struct hr_err *err)
{
	const OM_uint32 flags =
		GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG;
	gss_buffer_desc input = { said ? said->bv_len : 0, said ? said->bv_val : NULL };
	OM_uint32 minor;
	OM_uint32 major = gss_init_sec_context(
		&minor, negotiation->credential, &negotiation->context, negotiation->name,
		(gss_OID)gss_mech_krb5, flags, 0,
		negotiation->binding.application_data.length > 0 ? &negotiation->binding
								 : GSS_C_NO_CHANNEL_BINDINGS,
		&input, NULL, token, NULL, NULL);

	if (GSS_ERROR(major))
		return gss_fault(major, minor, err);
	negotiation->established = (major & GSS_S_CONTINUE_NEEDED) == 0;
	return HR_OK;
}

/* Until both have proven who they are; *offer, to be freed with ber_bvfree, is what the server then
 * says first. */
static enum hr_status establish(struct negotiation *negotiation, struct berval **offer,
				struct hr_err *err)
{
	struct berval *said = NULL;

	for (int i = 0; i < STEPS; i++) {
		gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
		OM_uint32 minor;
		enum hr_status status = step(negotiation, said, &token, err);
		ber_bvfree(said);
		said = NULL;
		if (status == HR_OK)
			status = exchange(negotiation, &token, &said, err);
		gss_release_buffer(&minor, &token);
		if (status == HR_NONE)
			return err_set(err, HR_FAIL, "the directory does not prove who it is");
		if (status != HR_OK)
			return status;
		if (negotiation->established) {
			*offer = said;
			return HR_OK;
		}
	}
	ber_bvfree(said);
	return err_set(err, HR_FAIL, "the negotiation comes to no end");
}

/* Whether the server offers the protection that is wanted; *most is the longest piece that it
 * takes. */
static enum hr_status take_offer(struct negotiation *negotiation, const struct berval *offer,
				 unsigned char wanted, OM_uint32 *most, struct hr_err *err)
{
	gss_buffer_desc in = { offer ? offer->bv_len : 0, offer ? offer->bv_val : NULL };
	gss_buffer_desc out = GSS_C_EMPTY_BUFFER;
	unsigned char bytes[OFFER_BYTES] = { 0 };
	OM_uint32 minor;
	OM_uint32 major = gss_unwrap(&minor, negotiation->context, &in, &out, NULL, NULL);

	if (GSS_ERROR(major))
		return gss_fault(major, minor, err);
	if (out.length == OFFER_BYTES)
		memcpy(bytes, out.value, OFFER_BYTES);
	gss_release_buffer(&minor, &out);
	if ((bytes[0] & wanted) == 0)
		return err_set(err, HR_FAIL, "the directory does not offer a connection %s",
			       wanted == CONFIDENTIALITY ? "that Kerberos encrypts" : "within TLS");
	*most = (OM_uint32)bytes[1] << 16 | (OM_uint32)bytes[2] << 8 | bytes[3];
	return HR_OK;
}

static enum hr_status choose(struct negotiation *negotiation, unsigned char wanted,
			     struct hr_err *err)
{
	const uint32_t most = wanted == CONFIDENTIALITY ? SEAL_MOST_BYTES : 0;
	char bytes[OFFER_BYTES] = { (char)wanted, (char)(most >> 16), (char)(most >> 8),
				    (char)most };
	gss_buffer_desc in = { sizeof bytes, bytes }, out = GSS_C_EMPTY_BUFFER;
	struct berval *reply = NULL;
	OM_uint32 minor;
	OM_uint32 major =
		gss_wrap(&minor, negotiation->context, 0, GSS_C_QOP_DEFAULT, &in, NULL, &out);

	if (GSS_ERROR(major))
		return gss_fault(major, minor, err);
	enum hr_status status = exchange(negotiation, &out, &reply, err);
	gss_release_buffer(&minor, &out);
	ber_bvfree(reply);
	return status == HR_OK ? err_set(err, HR_FAIL, "the negotiation comes to no end") : status;
}

/* Puts the encryption into the connection, which takes the context. */
static enum hr_status protect(struct negotiation *negotiation, OM_uint32 most, struct hr_err *err)
{
	OM_uint32 minor, plain = 0;
	OM_uint32 major = gss_wrap_size_limit(&minor, negotiation->context, 1, GSS_C_QOP_DEFAULT,
					      most, &plain);

	if (GSS_ERROR(major))
		return gss_fault(major, minor, err);
	if (plain == 0)
		return err_set(err, HR_FAIL, "the directory takes no encrypted piece");
	return seal_apply(server_ld(negotiation->server), give(negotiation->context),
			  plain < PIECE_BYTES ? plain : PIECE_BYTES, err);
}

static enum hr_status negotiate(struct negotiation *negotiation, const char *host, bool tls,
				struct hr_err *err)
{
	const unsigned char wanted = tls ? NO_PROTECTION : CONFIDENTIALITY;
	struct berval *offer = NULL;
	OM_uint32 most = 0;

	if (name_of(host, &negotiation->name, err) != HR_OK ||
	    establish(negotiation, &offer, err) != HR_OK)
		return err->status;
	enum hr_status status = take_offer(negotiation, offer, wanted, &most, err);
	ber_bvfree(offer);
	if (status == HR_OK)
		status = choose(negotiation, wanted, err);
	if (status != HR_NONE)
		return status;
	return tls ? HR_OK : protect(negotiation, most, err);
}

/* Adds the binding to the server's TLS, if it has any. */
static enum hr_status bind_to_tls(struct server *server, struct buf *out, struct hr_err *err)
{
	struct berval der = { 0 };

	if (ldap_get_option(server_ld(server), LDAP_OPT_X_TLS_PEERCERT, &der) != LDAP_OPT_SUCCESS ||
	    !der.bv_val)
		return HR_OK;
	enum hr_status status = binding_add((struct slice){ der.bv_val, der.bv_len }, out, err);
	ber_memfree(der.bv_val);
	return status == HR_NONE ? HR_OK : status;
}

enum hr_status gssapi_bind(struct server *server, const struct gssapi_request *request,
			   struct hr_err *err)
{
	scoped(ticket) ticket = NULL;
	scoped_buf binding = BUF_INIT(0);
	OM_uint32 minor;

	if (ticket_new(request->principal, request->keytab, &ticket, err) != HR_OK ||
	    bind_to_tls(server, &binding, err) != HR_OK)
		return err->status;
	struct negotiation negotiation = { .server = server,
					   .credential = ticket_credential(ticket),
					   .binding.application_data = { binding.len,
									 binding.data } };
	enum hr_status status = negotiate(&negotiation, request->host, request->tls, err);
	gss_delete_sec_context(&minor, &negotiation.context, GSS_C_NO_BUFFER);
	gss_release_name(&minor, &negotiation.name);
	return status;
}
