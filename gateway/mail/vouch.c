/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/vouch.h"

#include "federation/address.h"
#include "federation/email.h"
#include "gateway/mail/charset.h"
#include "gateway/mail/gmime.h"
#include "gateway/mail/mailbox.h"
#include "gateway/mail/results.h"

/* GMime's effort grows with the square of the addresses. */
enum { FROM_MAX = 4096, NAME_MAX_LEN = 200 };

/* The mailbox that From names, if it is one, and the domain by itself. */
struct author {
	char *address, *name; /* owned */
	const char *domain;   /* of address */
};

static void author_clear(struct author *author)
{
	free(author->address);
	free(author->name);
}

/* The one address in `value`; NULL: none, several, or a group. */
static InternetAddressMailbox *only_mailbox(InternetAddressList *list)
{
	if (!list || internet_address_list_length(list) != 1)
		return NULL;
	InternetAddress *address = internet_address_list_get_address(list, 0);
	return INTERNET_ADDRESS_IS_MAILBOX(address) ? INTERNET_ADDRESS_MAILBOX(address) : NULL;
}

/* As the federation writes addresses. */
static enum hr_status prepare(const char *text, struct author *author, struct hr_err *err)
{
	struct mailbox box;
	scoped_address address = { 0 };
	scoped_buf escaped = BUF_INIT(0);

	if (mailbox_parse(slice_str(text), &box, err) != HR_OK)
		return err_add(err, "From");
	email_to_address(box.local, box.domain, &escaped);
	if (address_parse(buf_slice(&escaped), &address, err) != HR_OK)
		return err_add(err, "From");
	author->domain = address.text + address.domain_at;
	author->address = give(address.text);
	return HR_OK;
}

static enum hr_status read_author(const struct mime *mime, struct author *author,
				  struct hr_err *err)
{
	const struct mime_field *from = mime_field(mime_part(mime, 0), "From", NULL);

	if (!from)
		return err_set(err, HR_FAIL, "the mail has no From");
	if (mime_field(mime_part(mime, 0), "From", from))
		return err_set(err, HR_FAIL, "the mail has more than one From");
	if (from->value.len > FROM_MAX || memchr(from->value.data, '\0', from->value.len))
		return err_set(err, HR_FAIL, "From: too long, or not text");
	scoped_buf text = BUF_INIT(0);
	charset_to_utf8(from->value, NULL, &text);
	gmime_begin();
	gmime_scoped(InternetAddressList) list = internet_address_list_parse(NULL, buf_text(&text));
	InternetAddressMailbox *box = only_mailbox(list);
	if (!box)
		return err_set(err, HR_FAIL, "From: names not exactly one address");
	const char *name = internet_address_get_name(INTERNET_ADDRESS(box));
	if (prepare(internet_address_mailbox_get_addr(box), author, err) != HR_OK)
		return err->status;
	author->name = charset_line(slice_str(name ? name : ""), NAME_MAX_LEN);
	return HR_OK;
}

static bool is_below(struct slice name, struct slice parent)
{
	return name.len > parent.len + 1 && name.data[name.len - parent.len - 1] == '.' &&
	       memcmp(name.data + name.len - parent.len, parent.data, parent.len) == 0;
}

/* Relaxed alignment: the same domain, or one below the other, which is no top-level domain. */
static bool is_aligned(struct slice a, struct slice b)
{
	struct slice parent = a.len < b.len ? a : b;

	return slice_eq(a, b) ||
	       (memchr(parent.data, '.', parent.len) && (is_below(a, b) || is_below(b, a)));
}

/* `value` is a domain or an address, as an MTA writes them. */
static bool is_of(const char *value, const char *domain, bool exactly)
{
	const char *at = value ? strrchr(value, '@') : NULL;
	scoped_address named = { 0 };
	struct hr_err err;

	if (!value || address_parse(slice_str(at ? at + 1 : value), &named, &err) != HR_OK ||
	    named.len != named.domain_len)
		return false;
	return exactly ? slice_is(address_full(&named), domain)
		       : is_aligned(address_full(&named), slice_str(domain));
}

/* Checks that are believed when they pass for a domain that is aligned, and where they name it: the
 * first property that is there counts. */
static const struct {
	const char *method, *property;
} proofs[] = {
	{ .method = "dkim", .property = "header.d" },
	{ .method = "dkim", .property = "header.i" },
	{ .method = "spf", .property = "smtp.mailfrom" },
	{ .method = "spf", .property = "smtp.mail" },
};

static bool proves(const struct results_check *check, const char *domain)
{
	if (strcmp(check->outcome, "pass") != 0)
		return false;
	for (size_t i = 0; i < countof(proofs); i++) {
		const char *value = strcmp(check->method, proofs[i].method) == 0
					    ? results_property(check, proofs[i].property)
					    : NULL;
		if (value)
			return is_of(value, domain, false);
	}
	return false;
}

/* A check of the author that could not be made, as the DNS did not answer: RFC 8601 section 2.7. */
static bool is_open_question(const struct results_check *check)
{
	return strcmp(check->outcome, "temperror") == 0 &&
	       (strcmp(check->method, "dmarc") == 0 || strcmp(check->method, "dkim") == 0 ||
		strcmp(check->method, "spf") == 0);
}

/* What the results say of `domain`: *by is the check that is believed. */
static enum hr_status judge(const struct results *results, const char *domain, const char **by,
			    struct hr_err *err)
{
	const char *dmarc = NULL;

	for (size_t i = 0; i < results->count; i++) {
		const struct results_check *check = &results->checks[i];
		if (strcmp(check->method, "dmarc") != 0)
			continue;
		if (strcmp(check->outcome, "fail") == 0)
			return err_set(err, HR_FAIL, "DMARC fails for %s", domain);
		if (strcmp(check->outcome, "pass") == 0) {
			if (!is_of(results_property(check, "header.from"), domain, true))
				return err_set(err, HR_FAIL, "DMARC passes, but not for %s",
					       domain);
			dmarc = "dmarc";
		}
	}
	*by = dmarc;
	for (size_t i = 0; i < results->count && !*by; i++)
		if (proves(&results->checks[i], domain))
			*by = strcmp(results->checks[i].method, "dkim") == 0 ? "dkim" : "spf";
	if (*by)
		return HR_OK;
	for (size_t i = 0; i < results->count; i++)
		if (is_open_question(&results->checks[i]))
			return err_set(err, HR_RETRY, "%s could not be checked for %s now",
				       results->checks[i].method, domain);
	return err_set(err, HR_FAIL, "neither DMARC, DKIM nor SPF speaks for %s", domain);
}

static enum hr_status ask_results(const struct mime *mime, const char *authserv_id,
				  const char *domain, const char **by, struct hr_err *err)
{
	const struct mime_field *field = NULL;
	scoped(results) results = NULL;

	while ((field = mime_field(mime_part(mime, 0), "Authentication-Results", field)))
		if (results_are_of(field->value, authserv_id))
			break;
	if (!field)
		return err_set(err, HR_FAIL, "no Authentication-Results of %s", authserv_id);
	if (results_parse(field->value, &results, err) != HR_OK)
		return err->status;
	return judge(results, domain, by, err);
}

static bool is_relay(const struct vouch_trust *trust, struct slice client)
{
	struct network address;
	struct hr_err err;

	if (network_parse(client, &address, &err) != HR_OK || address.bits != 128)
		return false;
	for (size_t i = 0; i < trust->relay_count; i++)
		if (network_holds(&trust->relays[i], address.address))
			return true;
	return false;
}

enum hr_status vouch(const struct mime *mime, const struct vouch_trust *trust, struct slice client,
		     struct vouched *out, struct hr_err *err)
{
	__attribute__((cleanup(author_clear))) struct author author = { 0 };
	const char *by = NULL;

	if (read_author(mime, &author, err) != HR_OK)
		return err->status;
	if (is_relay(trust, client))
		by = "relay";
	else if (!trust->authserv_id)
		return err_set(err, HR_FAIL, "nobody vouches for %s", author.address);
	else if (ask_results(mime, trust->authserv_id, author.domain, &by, err) != HR_OK)
		return err_add(err, "From %s", author.address);
	*out = (struct vouched){ give(author.address), give(author.name), by };
	return HR_OK;
}

void vouched_clear(struct vouched *vouched)
{
	free(vouched->address);
	free(vouched->name);
	*vouched = (struct vouched){ 0 };
}
