/* SPDX-License-Identifier: Apache-2.0 */
/* One LDAP server (RFC 4511): connected, over TLS, bound, and asked. Every wait has a bound and
 * ends when the daemon does. After a failure of the connection each further question fails too:
 * free the server and open another. */
#pragma once

#include "directory/adapter.h"

#include <ldap.h>

struct server;

/* Connects to the first of the source's URLs that answers as it should, and binds. HR_RETRY: none
 * does. HR_FAIL: one refuses us or is no TLS server that we trust: somebody must act, and the next
 * would refuse us too, or lock the account. */
HR_MUST_USE enum hr_status server_open(const struct adapter_request *request, struct server **out,
				       struct hr_err *err);
void server_free(struct server *server); /* NULL is fine */
DEFINE_SCOPED(server)

const char *server_url(const struct server *server);
LDAP *server_ld(const struct server *server);
int server_fd(const struct server *server); /* readable: server_poll may have something */

struct server_search {
	const char *base, *filter; /* filter NULL: (objectClass=*) */
	int scope;		   /* LDAP_SCOPE_... */
	char **attributes;	   /* NULL-terminated */
	int page_size;		   /* of paged_search */
	LDAPControl **controls;	   /* NULL-terminated, or NULL */
	bool quick;		   /* no controller takes long for it, and others wait for us */
};

/* Sends a search; *id is its number. Answers are taken with server_receive until a message of type
 * LDAP_RES_SEARCH_RESULT, which server_finish takes. */
HR_MUST_USE enum hr_status server_search(struct server *server, const struct server_search *search,
					 int *id, struct hr_err *err);
/* Waits for the next message of an operation; the caller's to ldap_msgfree. */
HR_MUST_USE enum hr_status server_receive(struct server *server, int id, LDAPMessage **out,
					  struct hr_err *err);
/* The same for what is here already. HR_NONE: nothing is. */
HR_MUST_USE enum hr_status server_poll(struct server *server, int id, LDAPMessage **out,
				       struct hr_err *err);
/* The end of an operation: HR_OK when it succeeded. Frees the message; *controls, when asked for,
 * is the caller's to ldap_controls_free, and is set only with HR_OK. */
HR_MUST_USE enum hr_status server_finish(struct server *server, LDAPMessage *message,
					 LDAPControl ***controls, struct hr_err *err);
/* Search and all its answer, of which the first entry is *entry, the caller's to ldap_msgfree.
 * HR_NONE: it has none, as err says. */
HR_MUST_USE enum hr_status server_read(struct server *server, const struct server_search *search,
				       LDAPMessage **entry, struct hr_err *err);
/* LDAP_..., of the last failure; 0: there was none. */
int server_code(const struct server *server);

/* Fills err from a code of libldap or of the server. */
enum hr_status server_fault(struct server *server, int code, struct hr_err *err);
