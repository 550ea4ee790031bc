/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/paged.h"

enum {
	EMPTY_PAGES = 1000, /* in a row; a filter that finds few makes some */
	ENTRIES = 10 * 1000 * 1000,
};

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

/* Who takes the entries, and whether the pages go on. Cookies do not tell: some servers give the
 * same with every page. */
struct taker {
	struct server *server;
	paged_fn *fn;
	void *arg;
	int64_t entries, pages; /* pages: that had entries */
	int empty;		/* pages in a row */
	bool begun;		/* this page has an entry */
	char *mark;		/* DN of the first entry of a page before */
	int64_t mark_until;	/* this many pages; then another is marked (Brent) */
};

/* An entry that comes again, first in its page as before, is the end of an answer that has none. */
static enum hr_status check_first(struct taker *taker, LDAPMessage *entry, struct hr_err *err)
{
	struct berval dn = { 0 };
	BerElement *ber = NULL;

	int code = ldap_get_dn_ber(server_ld(taker->server), entry, &ber, &dn);
	bool again = code == LDAP_SUCCESS && taker->mark && strlen(taker->mark) == dn.bv_len &&
		     memcmp(taker->mark, dn.bv_val, dn.bv_len) == 0;
	if (!again && ++taker->pages > taker->mark_until) {
		free(taker->mark);
		taker->mark = code == LDAP_SUCCESS ? mem_dup(dn.bv_val, dn.bv_len) : NULL;
		taker->mark_until = 2 * taker->pages;
	}
	ber_free(ber, 0);
	return again ? err_set(err, HR_RETRY, "the directory's pages begin again and again")
		     : HR_OK;
}

static enum hr_status take(struct taker *taker, LDAPMessage *entry, struct hr_err *err)
{
	if (!taker->begun && check_first(taker, entry, err) != HR_OK)
		return err->status;
	taker->begun = true;
	if (++taker->entries > ENTRIES)
		return err_set(err, HR_FAIL, "the directory gives more than %d entries", ENTRIES);
	return taker->fn(taker->arg, entry, err);
}

static enum hr_status read_page(struct taker *taker, int id, struct berval *cookie,
				struct hr_err *err)
{
	taker->begun = false;
	for (LDAPMessage *message;;) {
		LDAPControl **controls = NULL;
		enum hr_status status = server_receive(taker->server, id, &message, err);
		if (status != HR_OK)
			return status;
		int type = ldap_msgtype(message);
		if (type == LDAP_RES_SEARCH_RESULT) {
			if (server_finish(taker->server, message, &controls, err) != HR_OK)
				return err->status;
			status = next_cookie(taker->server, controls, cookie, err);
			ldap_controls_free(controls);
			return status;
		}
		if (type == LDAP_RES_SEARCH_ENTRY)
			status = take(taker, message, err);
		ldap_msgfree(message);
		if (status != HR_OK)
			return status;
	}
}

enum hr_status paged_search(struct server *server, const struct server_search *search, paged_fn *fn,
			    void *arg, struct hr_err *err)
{
	struct taker taker = { .server = server, .fn = fn, .arg = arg };
	struct berval cookie = { 0 };
	enum hr_status status;
	int id;

	do {
		status = ask_page(server, search, &cookie, &id, err);
		if (status == HR_OK)
			status = read_page(&taker, id, &cookie, err);
		taker.empty = taker.begun ? 0 : taker.empty + 1;
		if (status == HR_OK && taker.empty > EMPTY_PAGES)
			status = err_set(err, HR_RETRY,
					 "the directory gives page after page without an entry");
	} while (status == HR_OK && cookie.bv_len > 0);
	ber_memfree(cookie.bv_val);
	free(taker.mark);
	return status;
}
