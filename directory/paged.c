/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/paged.h"

/* Sends the search for one page; `cookie` is empty for the first. */
static enum hr_status ask_page(struct server *server, const struct server_search *search,
			       struct berval *cookie, int *id, struct hr_err *err)
{
	LDAPControl *controls[PAGED_CONTROLS + 2] = { NULL };
	struct server_search page = *search;
	size_t n = 0;

	while (search->controls && search->controls[n] && n < PAGED_CONTROLS) {
		controls[n] = search->controls[n];
		n++;
	}
	int code = ldap_create_page_control(server_ld(server), search->page_size, cookie, 1,
					    &controls[n]);
	if (code != LDAP_SUCCESS)
		return server_fault(server, code, err);
	page.controls = controls;
	enum hr_status status = server_search(server, &page, id, err);
	ldap_control_free(controls[n]);
	return status;
}

/* Takes the cookie of the next page from the end of this one; empty: that was the last. */
static enum hr_status next_cookie(struct server *server, LDAPControl **controls,
				  struct berval *cookie, struct hr_err *err)
{
	LDAPControl *control = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL);
	ber_int_t estimate;

	ber_memfree(cookie->bv_val);
	*cookie = (struct berval){ 0 };
	int code = control ? ldap_parse_pageresponse_control(server_ld(server), control, &estimate,
							     cookie)
			   : LDAP_CONTROL_NOT_FOUND;
	if (code != LDAP_SUCCESS)
		return err_set(err, HR_FAIL, "the directory does not page its answer (%d)", code);
	return HR_OK;
}

/* Who takes the entries. */
struct taker {
	paged_fn *fn;
	void *arg;
};

static enum hr_status read_page(struct server *server, int id, struct berval *cookie,
				const struct taker *taker, struct hr_err *err)
{
	for (LDAPMessage *message;;) {
		LDAPControl **controls = NULL;
		enum hr_status status = server_receive(server, id, &message, err);
		if (status != HR_OK)
			return status;
		int type = ldap_msgtype(message);
		if (type == LDAP_RES_SEARCH_RESULT) {
			if (server_finish(server, message, &controls, err) != HR_OK)
				return err->status;
			status = next_cookie(server, controls, cookie, err);
			ldap_controls_free(controls);
			return status;
		}
		if (type == LDAP_RES_SEARCH_ENTRY)
			status = taker->fn(taker->arg, message, err);
		ldap_msgfree(message);
		if (status != HR_OK)
			return status;
	}
}

enum hr_status paged_search(struct server *server, const struct server_search *search, paged_fn *fn,
			    void *arg, struct hr_err *err)
{
	const struct taker taker = { fn, arg };
	struct berval cookie = { 0 };
	enum hr_status status;
	int id;

	do {
		status = ask_page(server, search, &cookie, &id, err);
		if (status == HR_OK)
			status = read_page(server, id, &cookie, &taker, err);
	} while (status == HR_OK && cookie.bv_len > 0);
	ber_memfree(cookie.bv_val);
	return status;
}
